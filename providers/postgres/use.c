#include "providers/postgres/postgres.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/mem.h"

#define RANDOM_LENGTH 32
#define GONE_MS 1000 /* an ended session needs a moment to go */

static enum kind_rc give_up(struct err *e, const char *fmt, ...) PRINTF(2, 3);
static enum kind_rc give_up(struct err *e, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	err_vset(e, ERR_FAILED, fmt, ap);
	va_end(ap);
	return KIND_PERMANENT;
}

/* ---- probe */

static void random_password(char ret[RANDOM_LENGTH + 1])
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	for (size_t i = 0; i < RANDOM_LENGTH; i++)
		ret[i] = set[randombytes_uniform(sizeof set - 1)];
	ret[RANDOM_LENGTH] = '\0';
}

static enum kind_rc unasked(const char *user, unsigned endpoint, struct err *e)
{
	give_up(e, "role '%s' is not asked for a password at endpoint %u: no log-in there proves one", user, endpoint);
	err_hint(e, "pg_hba.conf must say scram-sha-256 for this role, database and address; peer, trust, cert, or no "
	            "line at all "
	            "will not do");
	return KIND_PERMANENT;
}

/* What a failed log-in tells. 28000 without having been asked says nothing of the password: under `trust` a role that
 * may not log in is answered the same. So a random value, sent to learn whether passwords are checked, must be asked
 * for. */
static enum kind_rc failed(enum kind_rc rc, const char *state, bool asked, const char *user, unsigned endpoint,
                           bool random, enum kind_login *ret, struct err *e)
{
	bool wrong = strcmp(state, "28P01") == 0;
	if (!wrong && strcmp(state, "28000") != 0)
		return rc;
	if (random && !wrong && !asked)
		return unasked(user, endpoint, e);
	*ret = KIND_REFUSED;
	return KIND_OK;
}

/* In a read-only transaction, as one statement: a query from the declaration changes nothing by mistake. */
static enum kind_rc run_query(struct provider_session *s, const struct provider_call *call, PGconn *conn, struct err *e)
{
	enum kind_rc rc = postgres_run(s, call, conn, "begin the probe's query", "begin read only", NULL, e);
	return rc == KIND_OK ? postgres_ask_once(s, call, conn, "run the probe's query",
	                                         s->probe_query ? s->probe_query : "select 1", e) :
	                       rc;
}

enum kind_rc postgres_probe(struct provider_session *s, const struct provider_call *call, const struct provider_cred *n,
                            enum kind_login *ret, struct err *e)
{
	char random[RANDOM_LENGTH + 1], state[6] = "";
	const char *password = random;
	bool asked = false;
	PGconn *conn = NULL;
	if (call->endpoint >= s->n_urls)
		return give_up(e, "there is no endpoint %u", call->endpoint);
	if (!n->handle)
		return give_up(e, "version %u has no role", n->n);
	if (n->value)
		password = fields_get(n->value, "password", NULL);
	else
		random_password(random);
	if (!password || !*password)
		return give_up(e, "version %u has no field 'password'", n->n);
	struct postgres_login l = { .user = n->handle, .password = password, .own_path = s->probe_query };
	enum kind_rc rc = postgres_connect(s, call, &s->urls[call->endpoint], &l, &conn, state, &asked, e);
	if (rc != KIND_OK)
		return failed(rc, state, asked, n->handle, call->endpoint, !n->value, ret, e);
	if (n->value && !asked)
		rc = unasked(n->handle, call->endpoint, e);
	else if (n->value)
		rc = run_query(s, call, conn, e);
	s->pq->PQfinish(conn);
	if (rc == KIND_OK)
		*ret = KIND_ACCEPTED;
	return rc;
}

/* ---- usage */

/* `*` stands for anything; everything else for itself. */
static void like_of(const char *glob, struct buf *ret)
{
	for (const char *c = glob; *c; c++) {
		if (*c == '%' || *c == '_' || *c == '\\')
			buf_str(ret, "\\");
		buf_add(ret, *c == '*' ? "%" : c, 1);
	}
}

/* ms since 1970 that a date can be made of */
static bool time_take(struct provider_session *s, const PGresult *r, int row, int column, int64_t *ret)
{
	const char *text = postgres_cell(s, r, row, column);
	size_t digits = strspn(text, "0123456789");
	if (!digits || digits > 14 || text[digits])
		return false;
	*ret = strtoll(text, NULL, 10);
	return true;
}

/* One row for each role, used or not: a row that is missing is no evidence of anything. */
static enum kind_rc usage_take(struct provider_session *s, const PGresult *r, const char *what, size_t n,
                               struct provider_usage ret[], struct err *e)
{
	enum kind_rc rc = postgres_shape(s, r, what, (int)n, 4, e);
	for (size_t i = 0; rc == KIND_OK && i < n; i++) {
		int row = (int)i;
		int64_t since;
		char when[CLOCK_TEXT] = "";
		const char *app = postgres_cell(s, r, row, 1), *from = postgres_cell(s, r, row, 2);
		struct provider_usage *u = &ret[i];
		*u = (struct provider_usage){ .last_ms = -1 };
		if (!postgres_count(s, r, row, 0, &u->sessions))
			return postgres_odd(what, e);
		if (!u->sessions)
			continue;
		bool dated = time_take(s, r, row, 3, &since);
		if (dated)
			clock_text(since, when);
		snprintf(u->detail, sizeof u->detail, "%.60s from %s%s%s", *app ? app : "a client without a name",
		         *from ? from : "the local socket", dated ? " since " : "", when);
	}
	return rc;
}

enum kind_rc postgres_usage(struct provider_session *s, const struct provider_call *call,
                            const struct provider_cred creds[], size_t n, const struct provider_filter *filter,
                            struct provider_usage ret[], struct err *e)
{
	/* A client may call itself anything, so rotor's own are only those of this very rotation. */
	static const char sql[] =
		"select count(a.pid), (array_agg(a.application_name order by a.backend_start))[1],"
		" (array_agg(host(a.client_addr) order by a.backend_start))[1],"
		" (extract(epoch from min(a.backend_start)) * 1000)::bigint"
		" from unnest($1::text[]) with ordinality as u (name, i) left join pg_stat_activity a on"
		" a.usename = u.name and a.pid <> pg_backend_pid() and coalesce(a.backend_type, 'client backend') in "
		"('client backend', "
		"'walsender')"
		" and not starts_with(coalesce(a.application_name, ''), $2)"
		" and ($3::text is null or coalesce(a.application_name, '') like $3) and ($4::inet is null or "
		"a.client_addr <<= $4::inet)"
		" group by u.i order by u.i";
	static const char what[] = "count sessions";
	char rotation[POSTGRES_NAME];
	AUTO_BUF names = BUF_INIT((size_t)8 << 20), own = BUF_INIT(256), like = BUF_INIT(1024);
	AUTO_FREE const char **handles = mem_array(n ? n : 1, sizeof *handles);
	PGresult *r = NULL;
	for (size_t i = 0; i < n; i++)
		handles[i] = creds[i].handle ? creds[i].handle : "";
	postgres_array(&names, handles, n);
	postgres_rotation(call, rotation);
	buf_printf(&own, "rotor/%s/", rotation);
	if (filter && filter->application_name)
		like_of(filter->application_name, &like);
	if (names.over || like.over)
		return give_up(e, "too many roles, or a filter that is too long");
	const char *values[] = { names.data, own.data, like.data, filter ? filter->client : NULL };
	enum kind_rc rc = postgres_enter(s, call, call->endpoint, e);
	if (rc == KIND_OK)
		rc = postgres_ask(s, call, s->conns[call->endpoint], what, sql, 4, values, &r, e);
	if (rc == KIND_OK)
		rc = usage_take(s, r, what, n, ret, e);
	s->pq->PQclear(r);
	return rc;
}

/* ---- disconnect */

enum kind_rc postgres_disconnect(struct provider_session *s, const struct provider_call *call,
                                 const struct provider_cred *n, unsigned *left, struct err *e)
{
	/* All are told first; then each is waited for, which costs nothing where it is gone already. */
	static const char tell[] =
		"select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = $1 and"
		" pid <> pg_backend_pid()";
	static const char await[] =
		"select count(pg_terminate_backend(pid, $2::bigint)) from (select pid from pg_stat_activity where"
		" usename = $1 and pid <> pg_backend_pid() limit 8) as first";
	static const char count[] =
		"select count(*) from pg_stat_activity where usename = $1 and pid <> pg_backend_pid()";
	static const char what[] = "end the sessions of a role";
	const char *const questions[] = { tell, await, count };
	char wait[32];
	int64_t each = postgres_left(call) / 16;
	uint32_t remain = 0;
	if (!n->handle) {
		*left = 0;
		return KIND_OK;
	}
	snprintf(wait, sizeof wait, "%lld", (long long)(each < 1 ? 1 : each < GONE_MS ? each : GONE_MS));
	const char *values[] = { n->handle, wait };
	enum kind_rc rc = postgres_enter(s, call, call->endpoint, e);
	for (size_t i = 0; rc == KIND_OK && i < 3; i++) {
		PGresult *r = NULL;
		rc = postgres_ask(s, call, s->conns[call->endpoint], what, questions[i], i == 1 ? 2 : 1, values, &r, e);
		if (rc == KIND_OK)
			rc = postgres_shape(s, r, what, 1, 1, e);
		if (rc == KIND_OK && !postgres_count(s, r, 0, 0, &remain))
			rc = postgres_odd(what, e);
		s->pq->PQclear(r);
		if (rc == KIND_OK && i == 0 && !remain)
			break;
	}
	if (rc != KIND_OK)
		return rc;
	*left = remain;
	return remain ? KIND_MORE : KIND_OK;
}

enum kind_rc postgres_now(struct provider_session *s, const struct provider_call *call, int64_t *ret_ms, struct err *e)
{
	static const char what[] = "ask for the time";
	PGresult *r = NULL;
	enum kind_rc rc = postgres_enter(s, call, 0, e);
	if (rc == KIND_OK)
		rc = postgres_run(s, call, s->conns[0], what,
		                  "select (extract(epoch from clock_timestamp()) * 1000)::bigint", &r, e);
	if (rc == KIND_OK)
		rc = postgres_shape(s, r, what, 1, 1, e);
	if (rc == KIND_OK && !time_take(s, r, 0, 0, ret_ms))
		rc = postgres_odd(what, e);
	s->pq->PQclear(r);
	return rc;
}
