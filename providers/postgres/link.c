#include "providers/postgres/postgres.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/mem.h"

#define ANSWER_MS 250 /* kept of the deadline, so that what happened is told here and not by a kill */
#define SESSION_MS                                                                                                     \
	60000 /* no statement runs longer; a connection serves several calls, each has its own deadline here */
#define BUNDLE "/etc/ssl/certs/ca-certificates.crt"
#define QUIET_MAX 4096           /* bytes of SQL; what is asked for makes some 300 */
#define NOWHERE "/dev/null/none" /* a path that cannot be: libpq's own defaults in a home folder are not looked at */

int64_t postgres_left(const struct provider_call *call)
{
	int64_t left = call->deadline_ms - clock_boot() - ANSWER_MS;
	return left > 1 ? left : 1;
}

/* The server gives up first, so that its answer still comes. */
static long long server_left(const struct provider_call *call)
{
	long long left = (long long)postgres_left(call);
	return left - left / 8;
}

void postgres_rotation(const struct provider_call *call, char ret[POSTGRES_NAME])
{
	size_t n = call->tag ? strcspn(call->tag, "/") : 0;
	snprintf(ret, POSTGRES_NAME, "%.*s", n < POSTGRES_NAME ? (int)n : 0, call->tag ? call->tag : "");
}

void postgres_app(const struct provider_call *call, char ret[POSTGRES_NAME])
{
	char rotation[POSTGRES_NAME];
	const char *attempt = call->tag ? strrchr(call->tag, '/') : NULL;
	postgres_rotation(call, rotation);
	int n = attempt ? snprintf(ret, POSTGRES_NAME, "rotor/%s/%s", rotation, attempt + 1) : POSTGRES_NAME;
	if (n >= POSTGRES_NAME)
		snprintf(ret, POSTGRES_NAME, "rotor");
}

/* ---- what a failure means */

static const char *word_of(const char *state)
{
	static const struct {
		const char *state, *word; /* a class where the state has two characters */
	} words[] = {
		{ "28P01", "wrong password" },
		{ "28000", "not permitted to log in" },
		{ "3D000", "no such database" },
		{ "42501", "a right is missing" },
		{ "42704", "no such role or setting" },
		{ "53300", "too many connections" },
		{ "57014", "statement time-out" },
		{ "55P03", "lock time-out" },
		{ "25006", "the server is read-only" },
		{ "57P01", "the session was ended" },
		{ "57P02", "the server crashed" },
		{ "57P03", "the server is starting or stopping" },
		{ "42P01", "no such table" },
		{ "42601", "syntax error" },
		{ "22P02", "malformed value" },
		{ "08", "connection lost" },
		{ "28", "not permitted to log in" },
		{ "40", "another change came between" },
		{ "53", "the server is out of resources" },
		{ "58", "the server's system failed" },
		{ "XX", "the server failed, or another change came between" },
	};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strncmp(state, words[i].state, strlen(words[i].state)) == 0)
			return words[i].word;
	return "refused by the server";
}

static enum kind_rc class_of(const char *state)
{
	static const char *const temporary[] = {
		"08", "25006", "40", "53", "55P03", "55006", "57014", "57P", "58", "XX"
	};
	bool may_help = !state[0];
	for (size_t i = 0; i < sizeof temporary / sizeof *temporary; i++)
		may_help |= strncmp(state, temporary[i], strlen(temporary[i])) == 0;
	return may_help ? KIND_TEMPORARY : KIND_PERMANENT;
}

static enum kind_rc fail(struct err *e, enum kind_rc rc, const char *fmt, ...) PRINTF(3, 4);
static enum kind_rc fail(struct err *e, enum kind_rc rc, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	err_vset(e, rc == KIND_TEMPORARY ? ERR_TEMPORARY : ERR_FAILED, fmt, ap);
	va_end(ap);
	return rc;
}

static void state_copy(const char *from, char ret[6])
{
	ret[0] = '\0';
	if (from && strlen(from) == 5 && strspn(from, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == 5)
		memcpy(ret, from, 6);
}

/* ---- connecting */

/* With PQERRORS_SQLSTATE a refusal ends with "SEVERITY:  STATE\n"; the severity may be translated. */
static void state_of_login(const char *message, char ret[6])
{
	size_t n = strlen(message);
	char last[6] = "";
	if (n >= 9 && message[n - 1] == '\n' && strncmp(message + n - 9, ":  ", 3) == 0)
		memcpy(last, message + n - 6, 5);
	state_copy(last, ret);
}

static void peer_text(const struct postgres_url *u, char ret[300])
{
	bool v6 = strchr(u->host, ':') && u->host[0] != '/';
	snprintf(ret, 300, v6 ? "[%s]:%s" : "%s:%s", u->host[0] ? u->host : "local socket", u->port);
}

static enum kind_rc refused(struct provider_session *s, const struct postgres_url *u, const struct postgres_login *l,
                            PGconn *conn, char state[6], struct err *e)
{
	/* Where the server said nothing these are libpq's own words; no locale is set, so they are English. */
	const char *text = s->pq->PQerrorMessage(conn);
	char peer[300];
	peer_text(u, peer);
	state_of_login(text, state);
	if (state[0])
		return fail(e, class_of(state), "log-in of '%s' at '%s' refused: %s (%s)", l->user, peer,
		            word_of(state), state);
	if (s->pq->PQconnectionNeedsPassword(conn))
		return fail(e, KIND_PERMANENT,
		            "log-in of '%s' at '%s' failed: the server asks for a password and 'auth' gives none",
		            l->user, peer);
	if (strstr(text, "authentication method requirement"))
		return fail(e, KIND_PERMANENT, "log-in of '%s' at '%s' failed: the server %s", l->user, peer,
		            l->password ? "asks for the password itself, not for its SCRAM proof" :
		                          "asks for a credential and 'auth' gives none");
	if (strstr(text, "certificate") || strstr(text, "server does not support SSL"))
		return fail(e, KIND_PERMANENT,
		            "log-in of '%s' at '%s' failed: TLS with sslmode '%s' could not be verified", l->user, peer,
		            u->sslmode);
	return fail(e, KIND_TEMPORARY, "server at '%s' cannot be reached", peer);
}

/* Everything that libpq would else take from files and variables is said here.
 * A libpq before 16 cannot be kept from answering a server that asks for the clear password; there TLS (verify-full by
 * default) is what says who that server is. */
static PGconn *start(struct provider_session *s, const struct provider_call *call, const struct postgres_url *u,
                     const struct postgres_login *l)
{
	bool new = s->pq->PQlibVersion() >= POSTGRES_SCRAM_ONLY, tls = strcmp(u->sslmode, "disable") != 0;
	bool verifies = strncmp(u->sslmode, "verify", 6) == 0;
	const char *roots = u->sslrootcert[0] ? u->sslrootcert : verifies ? BUNDLE : NOWHERE, *names[24], *values[24];
	char app[POSTGRES_NAME], options[160];
	size_t n = 0;
	postgres_app(call, app);
	snprintf(options, sizeof options,
	         "%s-c standard_conforming_strings=on -c statement_timeout=%d -c lock_timeout=%d",
	         l->own_path ? "" : "-c search_path=pg_catalog ", SESSION_MS, SESSION_MS);
#define SET(name, value) (names[n] = (name), values[n++] = (value))
	if (u->host[0])
		SET("host", u->host);
	SET("port", u->port);
	SET("user", l->user);
	SET("dbname", u->dbname);
	SET("passfile", NOWHERE);
	SET("application_name", app);
	SET("client_encoding", "UTF8");
	SET("options", options);
	SET("gssencmode", "disable");
	SET("target_session_attrs", "any");
	SET("sslmode", u->sslmode);
	SET("sslrootcert", roots);
	SET("sslcrl", NOWHERE);
	SET("sslcert", tls && u->sslcert[0] ? u->sslcert : NOWHERE);
	SET("sslkey", tls && u->sslkey[0] ? u->sslkey : NOWHERE);
	if (l->password)
		SET("password", l->password);
	if (new)
		SET("require_auth", l->password ? "scram-sha-256,none" : "none");
	names[n] = values[n] = NULL;
#undef SET
	PGconn *conn = s->pq->PQconnectStartParams(names, values, 0);
	if (!conn)
		mem_out();
	return conn;
}

static void mute(void *arg, const PGresult *notice)
{
	(void)arg;
	(void)notice;
}

/* False: the time is up. */
static bool wait_for(int fd, bool write, int64_t until)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = write ? POLLOUT : POLLIN };
		int64_t left = until - clock_boot();
		if (left <= 0)
			return false;
		int n = poll(&p, 1, left < 60000 ? (int)left : 60000);
		if (n > 0 || (n < 0 && errno != EINTR))
			return true;
	}
}

enum kind_rc postgres_connect(struct provider_session *s, const struct provider_call *call,
                              const struct postgres_url *u, const struct postgres_login *l, PGconn **ret, char state[6],
                              bool *asked, struct err *e)
{
	char own_state[6], peer[300];
	int64_t allowed = postgres_left(call), until;
	if (u->connect_timeout && allowed > u->connect_timeout * 1000)
		allowed = u->connect_timeout * 1000;
	until = clock_boot() + allowed;
	PGconn *conn = start(s, call, u, l);
	PostgresPollingStatusType p =
		s->pq->PQstatus(conn) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
	s->pq->PQsetErrorVerbosity(conn, PQERRORS_SQLSTATE);
	s->pq->PQsetNoticeReceiver(conn, mute, NULL);
	bool in_time = true;
	while (in_time && p != PGRES_POLLING_OK && p != PGRES_POLLING_FAILED) {
		in_time = wait_for(s->pq->PQsocket(conn), p == PGRES_POLLING_WRITING, until);
		if (in_time)
			p = s->pq->PQconnectPoll(conn);
	}
	if (asked)
		*asked = s->pq->PQconnectionUsedPassword(conn);
	if (p == PGRES_POLLING_OK) {
		*ret = conn;
		return KIND_OK;
	}
	peer_text(u, peer);
	enum kind_rc rc = in_time ? refused(s, u, l, conn, state ? state : own_state, e) :
	                            fail(e, KIND_TEMPORARY, "server at '%s' did not answer in time", peer);
	s->pq->PQfinish(conn);
	return rc;
}

/* ---- questions */

static void abandon(struct provider_session *s, const PGconn *conn)
{
	for (size_t i = 0; i < s->n_urls; i++)
		if (s->conns[i] == conn) {
			s->pq->PQfinish(s->conns[i]);
			s->conns[i] = NULL;
		}
}

/* The last result, or the first that failed; NULL when there was none in time. */
static PGresult *collect(struct provider_session *s, const struct provider_call *call, PGconn *conn, bool one)
{
	int64_t until = clock_boot() + postgres_left(call);
	PGresult *last = NULL;
	for (;;) {
		while (s->pq->PQisBusy(conn))
			if (!wait_for(s->pq->PQsocket(conn), false, until) || !s->pq->PQconsumeInput(conn)) {
				s->pq->PQclear(last);
				return NULL;
			}
		PGresult *r = s->pq->PQgetResult(conn);
		if (!r)
			return last;
		ExecStatusType status = s->pq->PQresultStatus(r);
		if (last && s->pq->PQresultStatus(last) == PGRES_FATAL_ERROR) {
			s->pq->PQclear(r);
			continue;
		}
		s->pq->PQclear(last);
		last = r;
		if (one || (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_FATAL_ERROR &&
		            status != PGRES_EMPTY_QUERY))
			return last;
	}
}

/* Ends a question: its result, or an error and the SQLSTATE. */
static enum kind_rc settle(struct provider_session *s, const struct provider_call *call, PGconn *conn, bool sent,
                           bool one, const char *what, PGresult **ret, char state[6], struct err *e)
{
	PGresult *r = sent ? collect(s, call, conn, one) : NULL;
	ExecStatusType status = r ? s->pq->PQresultStatus(r) : PGRES_FATAL_ERROR;
	enum kind_rc rc = KIND_OK;
	state_copy(r ? s->pq->PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL, state);
	if (status == PGRES_FATAL_ERROR && state[0])
		rc = fail(e, class_of(state), "cannot %s: %s (%s)", what, word_of(state), state);
	else if (status == PGRES_FATAL_ERROR)
		rc = fail(e, KIND_TEMPORARY, "cannot %s: no answer from the server", what);
	else if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_SINGLE_TUPLE &&
	         status != PGRES_EMPTY_QUERY)
		rc = fail(e, KIND_PERMANENT, "cannot %s: the server gives something else than rows", what);
	/* a question that is still under way would answer the next one */
	if (status == PGRES_FATAL_ERROR ? !state[0] : rc != KIND_OK)
		abandon(s, conn);
	if (rc == KIND_OK && ret)
		*ret = r;
	else
		s->pq->PQclear(r);
	return rc;
}

enum kind_rc postgres_run(struct provider_session *s, const struct provider_call *call, PGconn *conn, const char *what,
                          const char *sql, PGresult **ret, struct err *e)
{
	char state[6];
	return settle(s, call, conn, s->pq->PQsendQuery(conn, sql), false, what, ret, state, e);
}

enum kind_rc postgres_ask(struct provider_session *s, const struct provider_call *call, PGconn *conn, const char *what,
                          const char *sql, int n, const char *const values[], PGresult **ret, struct err *e)
{
	char state[6];
	int sent = s->pq->PQsendQueryParams(conn, sql, n, NULL, values, NULL, NULL, 0);
	return settle(s, call, conn, sent, false, what, ret, state, e);
}

enum kind_rc postgres_ask_once(struct provider_session *s, const struct provider_call *call, PGconn *conn,
                               const char *what, const char *sql, struct err *e)
{
	char state[6];
	bool sent =
		s->pq->PQsendQueryParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0) && s->pq->PQsetSingleRowMode(conn);
	return settle(s, call, conn, sent, true, what, NULL, state, e);
}

/* ---- the fence */

static bool fence_parse(const char *fence, char rotation[POSTGRES_NAME], char attempt[16])
{
	const char *slash = strrchr(fence, '/');
	size_t n = slash ? (size_t)(slash - fence) : 0, digits = slash ? strspn(slash + 1, "0123456789") : 0;
	if (!n || n >= POSTGRES_NAME || !digits || digits > 10 || slash[1 + digits])
		return false;
	snprintf(rotation, POSTGRES_NAME, "%.*s", (int)n, fence);
	memcpy(attempt, slash + 1, digits + 1);
	return true;
}

/* How many, as the one cell of the answer says. */
static enum kind_rc ask_count(struct provider_session *s, const struct provider_call *call, const char *what,
                              const char *sql, int n, const char *const values[], uint32_t *ret, struct err *e)
{
	PGresult *r = NULL;
	enum kind_rc rc = postgres_ask(s, call, s->conns[0], what, sql, n, values, &r, e);
	if (rc == KIND_OK)
		rc = postgres_shape(s, r, what, 1, 1, e);
	if (rc == KIND_OK && !postgres_count(s, r, 0, 0, ret))
		rc = postgres_odd(what, e);
	s->pq->PQclear(r);
	return rc;
}

/* Ends the sessions of dead attempts and waits until they are gone: what they sent has then taken effect or never will.
 */
static enum kind_rc fence(struct provider_session *s, const struct provider_call *call, struct err *e)
{
	static const char dead[] = "pg_stat_activity where pid <> pg_backend_pid() and application_name like 'rotor/%'"
				   " and split_part(application_name, '/', 2) = $1 and case when "
				   "split_part(application_name, '/', 3) ~ '^[0-9]{1,10}$'"
				   " then split_part(application_name, '/', 3)::bigint < $2::bigint end";
	char rotation[POSTGRES_NAME], attempt[16], sql[512];
	if (!fence_parse(call->fence, rotation, attempt))
		return fail(e, KIND_PERMANENT, "fence '%s' is not ROTATION/ATTEMPT", call->fence);
	if (strcmp(s->fenced, call->fence) == 0)
		return KIND_OK;
	const char *values[] = { rotation, attempt };
	uint32_t left = 0;
	snprintf(sql, sizeof sql, "select count(pg_terminate_backend(pid, 2000)) from %s", dead);
	enum kind_rc rc = ask_count(s, call, "end the sessions of an earlier attempt", sql, 2, values, &left, e);
	snprintf(sql, sizeof sql, "select count(*) from %s", dead);
	if (rc == KIND_OK && left)
		rc = ask_count(s, call, "see whether an earlier attempt is over", sql, 2, values, &left, e);
	if (rc != KIND_OK)
		return rc;
	if (left)
		return fail(e, KIND_TEMPORARY, "a session of an earlier attempt of rotation '%s' has not ended yet",
		            rotation);
	snprintf(s->fenced, sizeof s->fenced, "%s", call->fence);
	return KIND_OK;
}

static enum kind_rc connect_manager(struct provider_session *s, const struct provider_call *call, unsigned at,
                                    struct err *e)
{
	if (s->conns[at] && s->pq->PQstatus(s->conns[at]) == CONNECTION_OK)
		return KIND_OK;
	abandon(s, s->conns[at]);
	if (at == 0)
		s->fenced[0] = '\0';
	struct postgres_login l = { .user = s->urls[at].user, .password = fields_get(s->auth, "password", NULL) };
	return postgres_connect(s, call, &s->urls[at], &l, &s->conns[at], NULL, NULL, e);
}

enum kind_rc postgres_enter(struct provider_session *s, const struct provider_call *call, unsigned at, struct err *e)
{
	char app[POSTGRES_NAME];
	if (at >= s->n_urls)
		return fail(e, KIND_PERMANENT, "there is no endpoint %u", at);
	postgres_app(call, app);
	if (strcmp(app, s->app) != 0)
		for (size_t i = 0; i < s->n_urls; i++)
			abandon(s, s->conns[i]);
	memcpy(s->app, app, sizeof app);
	if (call->fence) { /* only the first endpoint is ever written to */
		enum kind_rc rc = connect_manager(s, call, 0, e);
		rc = rc == KIND_OK ? fence(s, call, e) : rc;
		if (rc != KIND_OK)
			return rc;
	}
	return connect_manager(s, call, at, e);
}

/* ---- transactions */

/* A verifier is not the password, but it need not lie in logs either. What the manager may not set stays as it is; the
 * plan tells. */
static enum kind_rc quiet(struct provider_session *s, const struct provider_call *call, struct err *e)
{
	static const char sql[] =
		"select coalesce(string_agg(format('; set local %s = %L', name, value), ''), '') from (values"
		" ('log_statement', 'none'), ('log_min_error_statement', 'panic'), ('log_min_duration_statement', "
		"'-1'),"
		" ('log_min_duration_sample', '-1'), ('log_transaction_sample_rate', '0'), ('pgaudit.log', 'none'),"
		" ('pg_stat_statements.track_utility', 'off')) as all_of (name, value) where current_setting(name, "
		"true) "
		"is not null"
		" and ";
	static const char what[] = "ask what may be kept out of the server's log";
	bool old = s->pq->PQserverVersion(s->conns[0]) < 150000;
	AUTO_BUF text = BUF_INIT(POSTGRES_SQL);
	PGresult *r = NULL;
	if (s->quiet)
		return KIND_OK;
	buf_str(&text, sql);
	buf_str(&text, old ? "current_setting('is_superuser')::bool" : "has_parameter_privilege(name, 'SET')");
	enum kind_rc rc = postgres_run(s, call, s->conns[0], what, text.data, &r, e);
	if (rc == KIND_OK)
		rc = postgres_shape(s, r, what, 1, 1, e);
	if (rc == KIND_OK && strlen(postgres_cell(s, r, 0, 0)) > QUIET_MAX)
		rc = postgres_odd(what, e);
	if (rc == KIND_OK)
		s->quiet = mem_dup(postgres_cell(s, r, 0, 0));
	s->pq->PQclear(r);
	return rc;
}

enum kind_rc postgres_begin(struct provider_session *s, const struct provider_call *call, const char *what,
                            struct err *e)
{
	AUTO_BUF sql = BUF_INIT(POSTGRES_SQL);
	enum kind_rc rc = quiet(s, call, e);
	if (rc != KIND_OK)
		return rc;
	long long left = server_left(call);
	/* A server that answers before the change is on its disk would make the commit a promise that it does not keep.
	 */
	buf_printf(&sql,
	           "begin isolation level read committed read write; set local statement_timeout = %lld;"
	           " set local lock_timeout = %lld; set local idle_in_transaction_session_timeout = %lld;"
	           " select set_config('synchronous_commit', 'on', true) where current_setting('synchronous_commit') = "
	           "'off'%s",
	           left, left, left, s->quiet);
	rc = postgres_run(s, call, s->conns[0], what, sql.data, NULL, e);
	if (rc == KIND_PERMANENT && s->quiet[0]) {
		/* being heard is better than not rotating */
		postgres_rollback(s, call);
		s->quiet[0] = '\0';
		return s->conns[0] ? postgres_begin(s, call, what, e) : rc;
	}
	if (rc != KIND_OK)
		postgres_rollback(s, call);
	return rc;
}

void postgres_rollback(struct provider_session *s, const struct provider_call *call)
{
	if (s->conns[0] && postgres_run(s, call, s->conns[0], "roll back", "rollback", NULL, NULL) != KIND_OK)
		abandon(s, s->conns[0]); /* the server rolls back when the session ends */
}

enum kind_rc postgres_commit(struct provider_session *s, const struct provider_call *call, const char *what,
                             const struct buf *sql, struct err *e)
{
	AUTO_BUF text = BUF_INIT(POSTGRES_SQL);
	PGresult *r = NULL;
	char state[6];
	buf_printf(&text, "%s%s", sql ? sql->data : "", sql ? "; commit" : "commit");
	if (text.over || (sql && sql->over)) {
		postgres_rollback(s, call);
		return fail(e, KIND_PERMANENT, "cannot %s: the comment of a role cannot be written, or is too long",
		            what);
	}
	enum kind_rc rc =
		settle(s, call, s->conns[0], s->pq->PQsendQuery(s->conns[0], text.data), false, what, &r, state, e);
	/* The end of a session can hide that its commit is on disk (40003, 57P0x, 08xxx, nothing at all). */
	if (rc != KIND_OK && (!state[0] || strncmp(state, "08", 2) == 0 || strncmp(state, "57P", 3) == 0 ||
	                      strcmp(state, "40003") == 0)) {
		abandon(s, s->conns[0]);
		return fail(e, KIND_AMBIGUOUS, "cannot tell whether it took effect to %s: no answer to its commit",
		            what);
	}
	if (rc == KIND_OK && strcmp(s->pq->PQcmdStatus(r), "COMMIT") != 0)
		rc = fail(e, KIND_TEMPORARY, "cannot %s: the server rolled back", what);
	s->pq->PQclear(r);
	if (rc != KIND_OK)
		postgres_rollback(s, call);
	return rc;
}

/* ---- texts */

static void quoted(struct provider_session *s, struct buf *to, char *text)
{
	if (text)
		buf_str(to, text);
	else
		to->over = true;
	if (text)
		sodium_memzero(text, strlen(text));
	s->pq->PQfreemem(text);
}

void postgres_name(struct provider_session *s, PGconn *conn, struct buf *to, const char *text)
{
	quoted(s, to, s->pq->PQescapeIdentifier(conn, text, strlen(text)));
}

void postgres_literal(struct provider_session *s, PGconn *conn, struct buf *to, const char *text)
{
	quoted(s, to, s->pq->PQescapeLiteral(conn, text, strlen(text)));
}

void postgres_array(struct buf *to, const char *const texts[], size_t n)
{
	buf_str(to, "{");
	for (size_t i = 0; i < n; i++) {
		buf_str(to, i ? ",\"" : "\"");
		for (const char *c = texts[i]; *c; c++) {
			if (*c == '"' || *c == '\\')
				buf_str(to, "\\");
			buf_add(to, c, 1);
		}
		buf_str(to, "\"");
	}
	buf_str(to, "}");
}

/* ---- answers */

const char *postgres_cell(struct provider_session *s, const PGresult *r, int row, int column)
{
	return s->pq->PQgetisnull(r, row, column) ? "" : s->pq->PQgetvalue(r, row, column);
}

bool postgres_count(struct provider_session *s, const PGresult *r, int row, int column, uint32_t *ret)
{
	const char *text = postgres_cell(s, r, row, column);
	size_t digits = strspn(text, "0123456789");
	unsigned long long value = digits && digits <= 10 && !text[digits] ? strtoull(text, NULL, 10) : ULLONG_MAX;
	if (value > UINT32_MAX)
		return false;
	*ret = (uint32_t)value;
	return true;
}

bool postgres_flag(struct provider_session *s, const PGresult *r, int row, int column, bool *ret)
{
	const char *text = postgres_cell(s, r, row, column);
	*ret = *text == 't';
	return (*text == 't' || *text == 'f') && !text[1];
}

enum kind_rc postgres_odd(const char *what, struct err *e)
{
	return fail(e, KIND_TEMPORARY, "cannot %s: the server's answer is not what was asked for", what);
}

enum kind_rc postgres_shape(struct provider_session *s, const PGresult *r, const char *what, int rows, int columns,
                            struct err *e)
{
	bool fits = s->pq->PQnfields(r) == columns && (rows < 0 || s->pq->PQntuples(r) == rows);
	return fits ? KIND_OK : postgres_odd(what, e);
}
