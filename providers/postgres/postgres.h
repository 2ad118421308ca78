/* The inside of the kind `postgres`; included by providers/postgres/ only.
 *
 *   kind.c   the table, parameters, open and close
 *   url.c    what a url may say
 *   mark.c   rotor's line in a role's comment
 *   link.c   connections, questions, and what a failure means
 *   slot.c   put, suspend, drop, look, list: one role is one slot
 *   use.c    probe, usage, disconnect, now
 *   plan.c   facts, and findings about the server and the manager
 *   pair.c   findings about the roles, alone and compared with each other */
#ifndef PROVIDERS_POSTGRES_POSTGRES_H
#define PROVIDERS_POSTGRES_POSTGRES_H

#include "core/buf.h"
#include "providers/pq.h"
#include "providers/provider.h"

#define POSTGRES_NAME 64 /* NAMEDATALEN: a longer identifier would be cut by the server */
#define POSTGRES_SQL ((size_t)64 * 1024)
#define POSTGRES_USERS_MAX 2
#define POSTGRES_ENDPOINTS_MAX 64
#define POSTGRES_OLDEST 140000     /* pg_terminate_backend that waits */
#define POSTGRES_SCRAM_ONLY 160000 /* libpq that can be told which authentication it may answer */

/* ---- url.c */
struct postgres_url {   /* "" where absent, unless said otherwise */
	char host[256]; /* name, address or socket folder; "" the library's socket folder */
	char port[8];   /* always set */
	char user[POSTGRES_NAME], dbname[POSTGRES_NAME];
	char sslmode[16]; /* always set */
	char sslrootcert[512], sslcert[512], sslkey[512];
	int connect_timeout; /* seconds, 0 none */
	bool socket, loopback;
};
/* Strict: what is not understood is ERR_USAGE. The message never shows more of the url than a parameter's name, since a
 * password may stand anywhere in a malformed one. */
bool postgres_url_parse(const char *text, struct postgres_url *ret, struct err *) MUST_CHECK;

/* ---- mark.c */
struct postgres_mark {
	enum { POSTGRES_MARK_NONE, POSTGRES_MARK_STRANGE /* a line that is not ours */, POSTGRES_MARK_OURS } kind;
	char line[256]; /* "" none, "?" strange */
	char home[64], rotation[64] /* "-" none */, state[8];
	uint32_t version;
};
/* Finds the mark in a role's comment (NULL: no comment). */
void postgres_mark_find(const char *comment, struct postgres_mark *ret);
/* False when a part cannot stand in a mark. */
bool postgres_mark_make(const char *home, uint32_t version, const char *rotation, bool held, struct postgres_mark *ret);
/* The comment with all marks taken out and this one appended; other lines stay byte for byte. */
void postgres_mark_put(const char *comment, const struct postgres_mark *, struct buf *ret);
/* What PQencryptPasswordConn must give back; anything else the server would take for the password itself. */
bool postgres_verifier_ok(const char *text);

/* ---- kind.c */
struct provider_session {
	const struct pq *pq;
	size_t n_urls, n_users;
	struct postgres_url urls[1 + POSTGRES_ENDPOINTS_MAX]; /* the url itself, then the endpoints */
	PGconn *conns[1 + POSTGRES_ENDPOINTS_MAX];            /* as the manager; NULL not connected */
	char users[POSTGRES_USERS_MAX][POSTGRES_NAME];
	char *probe_query;          /* NULL: select 1 */
	struct fields *auth;        /* NULL none */
	char app[POSTGRES_NAME];    /* application_name of `conns` */
	char fenced[POSTGRES_NAME]; /* the last fence that was carried out on the present connection */
	char *quiet; /* SQL that keeps a verifier out of the log, as far as permitted; NULL not asked yet */
};

/* ---- link.c. All verbs begin with postgres_enter, which connects as the manager to endpoint `at` if need be and
 * fences when the call says so. Texts in `what` and `subject` are public. */
enum kind_rc postgres_enter(struct provider_session *, const struct provider_call *, unsigned at, struct err *);
/* application_name for this call: rotor/ROTATION/ATTEMPT, or `rotor` without a tag. */
void postgres_app(const struct provider_call *, char ret[POSTGRES_NAME]);
/* The id of the rotation that calls; "" none. */
void postgres_rotation(const struct provider_call *, char ret[POSTGRES_NAME]);

/* Several statements at once, without parameters; *ret (may be NULL) is the last result. The caller clears it. On
 * failure the error is composed here, of SQLSTATE and `what` ("change role 'x'"), never of the server's words. */
enum kind_rc postgres_run(struct provider_session *, const struct provider_call *, PGconn *, const char *what,
                          const char *sql, PGresult **ret, struct err *);
/* One statement with text parameters; *ret holds rows. */
enum kind_rc postgres_ask(struct provider_session *, const struct provider_call *, PGconn *, const char *what,
                          const char *sql, int n, const char *const values[], PGresult **ret, struct err *);
/* One statement with text parameters and at most one row; the connection is not to be used after it. */
enum kind_rc postgres_ask_once(struct provider_session *, const struct provider_call *, PGconn *, const char *what,
                               const char *sql, struct err *);
/* A transaction on the first connection. commit runs `sql` (NULL nothing; `over` is an error), then COMMIT: when no
 * answer comes, or one that the end of the server could have cut short, it is KIND_AMBIGUOUS. */
enum kind_rc postgres_begin(struct provider_session *, const struct provider_call *, const char *what, struct err *);
enum kind_rc postgres_commit(struct provider_session *, const struct provider_call *, const char *what,
                             const struct buf *sql, struct err *);
void postgres_rollback(struct provider_session *, const struct provider_call *);

/* One log-in outside of the session. KIND_OK: *ret is open. Otherwise *ret is NULL, and `state` and `asked` tell what
 * the server said and whether it asked for the password. */
struct postgres_login {
	const char *user, *password; /* password NULL: none */
	bool own_path;               /* keeps the role's own search_path */
};
enum kind_rc postgres_connect(struct provider_session *, const struct provider_call *, const struct postgres_url *,
                              const struct postgres_login *, PGconn **ret, char state[6], bool *asked, struct err *);
int64_t postgres_left(const struct provider_call *); /* ms that a server may still use, at least 1 */

/* Append `text` quoted. Text that is not UTF-8 makes the buffer `over`, like too much of it. */
void postgres_name(struct provider_session *, PGconn *, struct buf *, const char *text);
void postgres_literal(struct provider_session *, PGconn *, struct buf *, const char *text);
/* `{"a","b"}` for an array parameter. */
void postgres_array(struct buf *, const char *const texts[], size_t n);
/* Any server may be a hostile one: whatever it says is looked at through these. cell: "" for null and for what is not
 * there. count and flag: false unless it is exactly a number of at most UINT32_MAX, a boolean. */
const char *postgres_cell(struct provider_session *, const PGresult *, int row, int column);
bool postgres_count(struct provider_session *, const PGresult *, int row, int column, uint32_t *ret) MUST_CHECK;
bool postgres_flag(struct provider_session *, const PGresult *, int row, int column, bool *ret) MUST_CHECK;
/* KIND_OK when the result has so many columns, and so many rows (-1: any number); else postgres_odd. */
enum kind_rc postgres_shape(struct provider_session *, const PGresult *, const char *what, int rows, int columns,
                            struct err *);
/* KIND_TEMPORARY: the server's answer is not what was asked for, so nothing is concluded from it. */
enum kind_rc postgres_odd(const char *what, struct err *);

/* ---- verbs */
enum kind_rc postgres_plan(struct provider_session *, const struct provider_call *, struct kind_facts *,
                           provider_found *, void *arg, struct err *);
enum kind_rc postgres_put(PROVIDER_VERB, const struct provider_cred *prev, struct provider_made *, struct err *);
enum kind_rc postgres_suspend(PROVIDER_VERB, bool on, struct err *);
enum kind_rc postgres_drop(PROVIDER_VERB, struct err *);
enum kind_rc postgres_look(PROVIDER_VERB, enum kind_seen *, struct provider_made *, struct err *);
enum kind_rc postgres_probe(PROVIDER_VERB, enum kind_login *, struct err *);
enum kind_rc postgres_disconnect(PROVIDER_VERB, unsigned *left, struct err *);
enum kind_rc postgres_usage(struct provider_session *, const struct provider_call *, const struct provider_cred creds[],
                            size_t n, const struct provider_filter *, struct provider_usage ret[], struct err *);
enum kind_rc postgres_now(struct provider_session *, const struct provider_call *, int64_t *ret_ms, struct err *);
enum kind_rc postgres_list(struct provider_session *, const struct provider_call *, provider_each *, void *arg,
                           struct err *);

/* ---- plan.c and pair.c */
struct postgres_plan {
	struct provider_session *s;
	const struct provider_call *call;
	PGconn *conn;
	int version;
	bool superuser;
	char manager[POSTGRES_NAME];
	provider_found *found;
	void *arg;
};
void postgres_finding(const struct postgres_plan *, enum kind_severity, const char *check, const char *repair,
                      const char *fmt, ...) PRINTF(5, 6);
enum kind_rc postgres_pair(const struct postgres_plan *, struct err *);

#endif
