#include "providers/postgres/postgres.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"

#define ROLES_MAX (POSTGRES_USERS_MAX + 1)

struct slot {
	const char *name; /* borrowed, as are the comments, from the result */
	bool found, login;
	uint32_t sessions;
	const char *comment;
	struct postgres_mark mark;
};

struct slots {
	size_t n;
	struct slot at[ROLES_MAX];
	PGresult *result;
};

static enum kind_rc give_up(struct err *e, enum kind_rc rc, const char *fmt, ...) PRINTF(3, 4);
static enum kind_rc give_up(struct err *e, enum kind_rc rc, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	err_vset(e, rc == KIND_CONFLICT ? ERR_REFUSED : ERR_FAILED, fmt, ap);
	va_end(ap);
	return rc;
}

/* ---- reading */

/* The roles of the declaration and `handle`, each once. */
static void slots_init(struct provider_session *s, const char *handle, struct slots *ret)
{
	*ret = (struct slots){ 0 };
	for (size_t i = 0; i < s->n_users; i++)
		ret->at[ret->n++].name = s->users[i];
	for (size_t i = 0; handle && i < ret->n; i++)
		if (strcmp(ret->at[i].name, handle) == 0)
			return;
	if (handle)
		ret->at[ret->n++].name = handle;
}

static struct slot *slots_find(struct slots *all, const char *name)
{
	for (size_t i = 0; i < all->n; i++)
		if (strcmp(all->at[i].name, name) == 0)
			return &all->at[i];
	return NULL;
}

/* In one statement, so that role, mark and sessions are of one moment. */
static void slots_sql(struct provider_session *s, const struct provider_call *call, const struct slots *all,
                      struct buf *sql)
{
	char rotation[POSTGRES_NAME];
	AUTO_BUF own = BUF_INIT(256);
	postgres_rotation(call, rotation);
	buf_printf(&own, "rotor/%s/", rotation);
	buf_str(sql, "select r.rolname, r.rolcanlogin, shobj_description(r.oid, 'pg_authid'), (select count(*) from "
	             "pg_stat_activity a"
	             " where a.usesysid = r.oid and a.pid <> pg_backend_pid()"
	             " and coalesce(a.backend_type, 'client backend') in ('client backend', 'walsender')"
	             " and not starts_with(coalesce(a.application_name, ''), ");
	postgres_literal(s, s->conns[0], sql, own.data);
	buf_str(sql, ")) from pg_roles r where r.rolname in (");
	for (size_t i = 0; i < all->n; i++) {
		buf_str(sql, i ? ", " : "");
		postgres_literal(s, s->conns[0], sql, all->at[i].name);
	}
	buf_str(sql, ")");
}

static void slots_end(struct provider_session *s, struct slots *all)
{
	s->pq->PQclear(all->result);
	all->result = NULL;
}

/* Takes the result over. An answer that is not understood must not look like a role that nobody uses. */
static enum kind_rc slots_take(struct provider_session *s, struct slots *all, const char *what, PGresult *r,
                               struct err *e)
{
	all->result = r;
	enum kind_rc rc = postgres_shape(s, r, what, -1, 4, e);
	for (int i = 0; rc == KIND_OK && i < s->pq->PQntuples(r); i++) {
		struct slot *at = slots_find(all, postgres_cell(s, r, i, 0));
		if (!at || at->found || !postgres_flag(s, r, i, 1, &at->login) ||
		    !postgres_count(s, r, i, 3, &at->sessions)) {
			rc = postgres_odd(what, e);
			break;
		}
		at->found = true;
		at->comment = postgres_cell(s, r, i, 2);
		postgres_mark_find(at->comment, &at->mark);
	}
	if (rc != KIND_OK)
		slots_end(s, all);
	return rc;
}

static enum kind_rc slots_read(struct provider_session *s, const struct provider_call *call, struct slots *all,
                               struct err *e)
{
	AUTO_BUF sql = BUF_INIT(POSTGRES_SQL);
	static const char what[] = "read the roles";
	PGresult *r = NULL;
	slots_sql(s, call, all, &sql);
	if (sql.over)
		return give_up(e, KIND_PERMANENT, "the name of a role is not UTF-8");
	enum kind_rc rc = postgres_run(s, call, s->conns[0], what, sql.data, &r, e);
	return rc == KIND_OK ? slots_take(s, all, what, r, e) : rc;
}

/* ---- whose is it */

enum whose { UNMARKED, MINE, OTHER_VERSION, STRANGE };

static enum whose whose(const struct provider_call *call, const struct provider_cred *n, const struct slot *at)
{
	if (at->mark.kind == POSTGRES_MARK_NONE)
		return UNMARKED;
	if (at->mark.kind != POSTGRES_MARK_OURS || !call->home || strcmp(at->mark.home, call->home) != 0)
		return STRANGE;
	if (at->mark.version != n->n)
		return OTHER_VERSION;
	return !n->rotation || strcmp(at->mark.rotation, n->rotation) == 0 ? MINE : STRANGE;
}

/* Before a role is changed for the sake of n: is it still n's? A version from before rotor has no mark yet. */
static enum kind_rc still_mine(const struct provider_call *call, const struct provider_cred *n, const struct slot *at,
                               struct err *e)
{
	enum whose w = whose(call, n, at);
	if (!at->found)
		return give_up(e, KIND_PERMANENT, "role '%s' is not there", at->name);
	if (w == MINE || (w == UNMARKED && !n->rotation))
		return KIND_OK;
	if (w == UNMARKED)
		return give_up(e, KIND_CONFLICT, "role '%s' does not hold version %u: its mark is gone", at->name,
		               n->n);
	return give_up(e, KIND_CONFLICT, "role '%s' does not hold version %u: it is marked '%s'", at->name, n->n,
	               at->mark.kind == POSTGRES_MARK_OURS ? at->mark.line : "by somebody else");
}

/* ---- one role, changed in one transaction. ALTER ROLE comes first: its lock on the role's row makes what is read
 * behind it the last word until the commit. */
static enum kind_rc change(struct provider_session *s, const struct provider_call *call, const char *handle,
                           const char *what, const char *clause, struct slots *all, struct err *e)
{
	AUTO_BUF sql = BUF_INIT(POSTGRES_SQL);
	PGresult *r = NULL;
	enum kind_rc rc = postgres_enter(s, call, 0, e);
	if (rc == KIND_OK)
		rc = postgres_begin(s, call, what, e);
	if (rc != KIND_OK)
		return rc;
	slots_init(s, handle, all);
	buf_str(&sql, "alter role ");
	postgres_name(s, s->conns[0], &sql, handle);
	buf_printf(&sql, " %s; ", clause);
	slots_sql(s, call, all, &sql);
	rc = sql.over ? give_up(e, KIND_PERMANENT, "cannot %s: its name is not UTF-8", what) :
	                postgres_run(s, call, s->conns[0], what, sql.data, &r, e);
	if (rc == KIND_OK)
		rc = slots_take(s, all, what, r, e);
	if (rc != KIND_OK)
		postgres_rollback(s, call);
	return rc;
}

static void comment_sql(struct provider_session *s, const struct slot *at, const struct postgres_mark *mark,
                        struct buf *sql)
{
	AUTO_BUF text = BUF_INIT(POSTGRES_SQL);
	postgres_mark_put(at->comment, mark, &text);
	sql->over |= text.over;
	buf_str(sql, sql->len ? "; comment on role " : "comment on role ");
	postgres_name(s, s->conns[0], sql, at->name);
	buf_str(sql, " is ");
	postgres_literal(s, s->conns[0], sql, text.data);
}

/* ---- put */

/* A role of the pair that nobody has marked yet is marked with the first put: held by n-1 if that is where it lives. */
static bool others_sql(struct provider_session *s, const struct provider_call *call, struct slots *all,
                       const char *handle, const struct provider_cred *prev, struct buf *sql)
{
	for (size_t i = 0; i < s->n_users; i++) {
		struct slot *at = &all->at[i];
		struct postgres_mark mark;
		bool old = prev && prev->handle && strcmp(prev->handle, at->name) == 0;
		if (!at->found || at->mark.kind != POSTGRES_MARK_NONE || strcmp(at->name, handle) == 0)
			continue;
		if (!postgres_mark_make(call->home, old ? prev->n : 0, old ? prev->rotation : NULL, old, &mark))
			return false;
		comment_sql(s, at, &mark, sql);
	}
	return true;
}

static enum kind_rc put_allowed(const struct provider_session *s, const struct provider_call *call,
                                const struct slot *at, struct err *e)
{
	if (!at->found)
		return give_up(e, KIND_PERMANENT, "role '%s' is not there", at->name);
	if (call->expect && strcmp(call->expect, at->mark.line) != 0)
		return give_up(e, KIND_CONFLICT, "role '%s' is not as it was seen: its mark is now '%s'", at->name,
		               at->mark.line);
	if (s->n_users > 1 && at->sessions)
		return give_up(e, KIND_CONFLICT, "role '%s' is in use: it has %u session%s", at->name, at->sessions,
		               at->sessions == 1 ? "" : "s");
	return KIND_OK;
}

/* `login password 'VERIFIER'`; the value itself never leaves this process. */
static bool verifier_clause(struct provider_session *s, const struct provider_cred *n, struct buf *ret, struct err *e)
{
	const char *password = fields_get(n->value, "password", NULL);
	if (!password || !*password)
		return err_set(e, ERR_FAILED, "version %u has no field 'password'", n->n);
	char *verifier = s->pq->PQencryptPasswordConn(s->conns[0], password, n->handle, "scram-sha-256");
	bool ok = postgres_verifier_ok(verifier);
	if (ok) {
		buf_str(ret, "login password ");
		postgres_literal(s, s->conns[0], ret, verifier);
	}
	if (verifier)
		sodium_memzero(verifier, strlen(verifier));
	s->pq->PQfreemem(verifier);
	return ok || err_set(e, ERR_FAILED, "no SCRAM verifier could be made for role '%s'", n->handle);
}

enum kind_rc postgres_put(struct provider_session *s, const struct provider_call *call, const struct provider_cred *n,
                          const struct provider_cred *prev, struct provider_made *ret, struct err *e)
{
	AUTO_BUF clause = BUF_INIT(1024), sql = BUF_INIT(POSTGRES_SQL);
	AUTO_FREE char *what = mem_printf("give role '%s' its new password", n->handle ? n->handle : "");
	struct postgres_mark mark;
	struct slots all;
	if (!n->handle)
		return give_up(e, KIND_PERMANENT, "version %u has no role to live in", n->n);
	if (!postgres_mark_make(call->home, n->n, n->rotation, true, &mark))
		return give_up(e, KIND_PERMANENT, "the id of the home or of the rotation cannot stand in a mark");
	enum kind_rc rc = postgres_enter(s, call, 0, e);
	if (rc != KIND_OK)
		return rc;
	if (!verifier_clause(s, n, &clause, e))
		return KIND_PERMANENT;
	rc = change(s, call, n->handle, what, clause.data, &all, e);
	if (rc != KIND_OK)
		return rc;
	struct slot *at = slots_find(&all, n->handle);
	rc = put_allowed(s, call, at, e);
	if (rc == KIND_OK) {
		comment_sql(s, at, &mark, &sql);
		if (!others_sql(s, call, &all, n->handle, prev, &sql))
			sql.over = true;
		rc = postgres_commit(s, call, what, &sql, e);
	} else {
		postgres_rollback(s, call);
	}
	slots_end(s, &all);
	if (rc == KIND_OK) {
		snprintf(ret->handle, sizeof ret->handle, "%s", n->handle);
		snprintf(ret->receipt, sizeof ret->receipt, "role %s can log in with version %u", n->handle, n->n);
	}
	return rc;
}

/* ---- suspend and drop */

enum kind_rc postgres_suspend(struct provider_session *s, const struct provider_call *call,
                              const struct provider_cred *n, bool on, struct err *e)
{
	AUTO_FREE char *what = mem_printf("%s role '%s'", on ? "suspend" : "restore", n->handle ? n->handle : "");
	struct slots all;
	if (!n->handle)
		return give_up(e, KIND_PERMANENT, "version %u has no role", n->n);
	enum kind_rc rc = change(s, call, n->handle, what, on ? "nologin" : "login", &all, e);
	if (rc != KIND_OK)
		return rc;
	const struct slot *at = slots_find(&all, n->handle);
	rc = still_mine(call, n, at, e);
	if (rc == KIND_OK && strcmp(at->mark.state, "free") == 0)
		rc = give_up(e, KIND_CONFLICT, "cannot %s: version %u was dropped", what, n->n);
	if (rc == KIND_OK)
		rc = postgres_commit(s, call, what, NULL, e);
	else
		postgres_rollback(s, call);
	slots_end(s, &all);
	return rc;
}

/* A legacy role (version 0) may own tables and be meant to come back: it loses its log-in, not its password. */
enum kind_rc postgres_drop(struct provider_session *s, const struct provider_call *call, const struct provider_cred *n,
                           struct err *e)
{
	AUTO_FREE char *what = mem_printf("take the password of role '%s'", n->handle ? n->handle : "");
	AUTO_BUF sql = BUF_INIT(POSTGRES_SQL);
	struct postgres_mark mark;
	struct slots all;
	if (!n->handle)
		return KIND_OK; /* nothing was ever made */
	if (!postgres_mark_make(call->home, n->n, n->rotation, false, &mark))
		return give_up(e, KIND_PERMANENT, "the id of the home or of the rotation cannot stand in a mark");
	enum kind_rc rc = change(s, call, n->handle, what, n->n ? "nologin password null" : "nologin", &all, e);
	if (rc != KIND_OK)
		return rc;
	const struct slot *at = slots_find(&all, n->handle);
	bool gone = whose(call, n, at) == OTHER_VERSION; /* another version of this home has taken its place */
	rc = gone ? KIND_OK : still_mine(call, n, at, e);
	if (rc == KIND_OK && !gone) {
		if (at->mark.kind == POSTGRES_MARK_OURS) /* keeps the rotation that is written there */
			postgres_mark_make(call->home, n->n, at->mark.rotation, false, &mark);
		comment_sql(s, at, &mark, &sql);
		rc = postgres_commit(s, call, what, &sql, e);
	} else {
		postgres_rollback(s, call);
	}
	slots_end(s, &all);
	return rc;
}

/* ---- look and list */

static enum kind_seen seen_of(const struct provider_call *call, const struct provider_cred *n, const struct slot *at)
{
	char rotation[POSTGRES_NAME];
	enum whose w = whose(call, n, at);
	postgres_rotation(call, rotation);
	if (!at->found)
		return KIND_ABSENT;
	if (w == MINE && strcmp(at->mark.state, "held") == 0)
		return at->login ? KIND_HELD : KIND_SUSPENDED;
	if (w == MINE) /* dropped; if it can log in somebody has brought it back */
		return at->login ? KIND_FOREIGN : KIND_ABSENT;
	if (w == OTHER_VERSION)
		return KIND_ABSENT;
	if (w == UNMARKED && !n->rotation)
		return at->login ? KIND_HELD : KIND_SUSPENDED;
	bool untouched = call->expect && strcmp(call->expect, at->mark.line) == 0;
	bool being_made = n->rotation && strcmp(n->rotation, rotation) == 0;
	if (being_made && (untouched || w == UNMARKED)) /* as it was when the slot was chosen: n has not come yet */
		return KIND_ABSENT;
	return w == UNMARKED && !at->login ? KIND_ABSENT : KIND_FOREIGN;
}

static const struct slot *look_at(const struct provider_call *call, const struct provider_cred *n, struct slots *all)
{
	if (n->handle)
		return slots_find(all, n->handle);
	for (size_t i = 0; i < all->n; i++)
		if (whose(call, n, &all->at[i]) == MINE)
			return &all->at[i];
	return NULL;
}

enum kind_rc postgres_look(struct provider_session *s, const struct provider_call *call, const struct provider_cred *n,
                           enum kind_seen *ret, struct provider_made *made, struct err *e)
{
	struct slots all;
	enum kind_rc rc = postgres_enter(s, call, 0, e);
	slots_init(s, n->handle, &all);
	if (rc == KIND_OK)
		rc = slots_read(s, call, &all, e);
	if (rc != KIND_OK)
		return rc;
	const struct slot *at = look_at(call, n, &all);
	*ret = at ? seen_of(call, n, at) : KIND_ABSENT;
	if (at) {
		snprintf(made->handle, sizeof made->handle, "%s", at->name);
		snprintf(made->receipt, sizeof made->receipt, "role %s %s, %s%s, %u session%s", at->name,
		         !at->found ? "is not there" :
		         at->login  ? "can log in" :
		                      "cannot log in",
		         at->mark.kind == POSTGRES_MARK_NONE ? "no mark" : "marked ",
		         at->mark.kind == POSTGRES_MARK_OURS    ? at->mark.state :
		         at->mark.kind == POSTGRES_MARK_STRANGE ? "by another" :
		                                                  "",
		         at->sessions, at->sessions == 1 ? "" : "s");
	}
	slots_end(s, &all);
	return KIND_OK;
}

/* has[i]: 1, 0, or -1 where this manager may not know. */
static enum kind_rc passwords(struct provider_session *s, const struct provider_call *call, const struct slots *all,
                              int has[ROLES_MAX], struct err *e)
{
	PGresult *r = NULL;
	for (size_t i = 0; i < ROLES_MAX; i++)
		has[i] = -1;
	enum kind_rc rc = postgres_run(s, call, s->conns[0], "ask for the manager's rights",
	                               "select has_table_privilege('pg_catalog.pg_authid', 'select')", &r, e);
	bool may = rc == KIND_OK && *postgres_cell(s, r, 0, 0) == 't';
	s->pq->PQclear(r);
	for (size_t i = 0; rc == KIND_OK && may && i < all->n; i++) {
		const char *values[] = { all->at[i].name };
		r = NULL;
		rc = postgres_ask(s, call, s->conns[0], "see which roles have a password",
		                  "select rolpassword is not null from pg_authid where rolname = $1", 1, values, &r, e);
		bool yes;
		if (rc == KIND_OK && postgres_flag(s, r, 0, 0, &yes))
			has[i] = yes;
		s->pq->PQclear(r);
	}
	return rc;
}

enum kind_rc postgres_list(struct provider_session *s, const struct provider_call *call, provider_each *each, void *arg,
                           struct err *e)
{
	struct slots all;
	int has[ROLES_MAX];
	enum kind_rc rc = postgres_enter(s, call, 0, e);
	slots_init(s, NULL, &all);
	if (rc == KIND_OK)
		rc = slots_read(s, call, &all, e);
	if (rc == KIND_OK)
		rc = passwords(s, call, &all, has, e);
	for (size_t i = 0; rc == KIND_OK && i < all.n; i++) {
		const struct slot *at = &all.at[i];
		bool ours = at->mark.kind == POSTGRES_MARK_OURS;
		struct provider_item item = { .handle = at->name,
			                      .mark = at->mark.line[0] ? at->mark.line : NULL,
			                      .tag = ours && strcmp(at->mark.rotation, "-") != 0 ? at->mark.rotation :
			                                                                           NULL,
			                      .mark_home = ours ? at->mark.home : NULL,
			                      .mark_state = ours ? at->mark.state : NULL,
			                      .mark_version = ours ? (int64_t)at->mark.version : -1,
			                      .created_ms = -1,
			                      .used_ms = -1,
			                      .sessions = (int)at->sessions,
			                      .can_login = at->login,
			                      .has_value = has[i] };
		if (at->found)
			each(arg, &item);
	}
	slots_end(s, &all);
	return rc;
}
