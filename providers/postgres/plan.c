#include "providers/postgres/postgres.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

void postgres_finding(const struct postgres_plan *p, enum kind_severity severity, const char *check, const char *repair,
                      const char *fmt, ...)
{
	struct provider_finding f = { .severity = severity };
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(f.message, sizeof f.message, fmt, ap);
	va_end(ap);
	snprintf(f.check, sizeof f.check, "%s", check);
	snprintf(f.repair, sizeof f.repair, "%s", repair ? repair : "");
	p->found(p->arg, &f);
}

/* A repair that is longer than a finding can carry would be wrong SQL: better none. */
static const char *repair_of(const struct buf *sql)
{
	return sql->over || sql->len >= sizeof((struct provider_finding *)0)->repair ? "" : sql->data;
}

static void needs_grant(const struct postgres_plan *p, const char *role, const char *why)
{
	AUTO_BUF sql = BUF_INIT(1024);
	buf_printf(&sql, "GRANT %s TO ", role);
	postgres_name(p->s, p->conn, &sql, p->manager);
	buf_str(&sql, ";");
	postgres_finding(p, KIND_REFUSE, "manager-rights", repair_of(&sql), "'%s' is not a member of %s: it cannot %s",
	                 p->manager, role, why);
}

static void manager_findings(const struct postgres_plan *p, bool creates, bool reads, bool signals)
{
	AUTO_BUF sql = BUF_INIT(1024);
	if (!creates) {
		buf_str(&sql, "ALTER ROLE ");
		postgres_name(p->s, p->conn, &sql, p->manager);
		buf_str(&sql, " CREATEROLE;");
		postgres_finding(p, KIND_REFUSE, "manager-rights", repair_of(&sql),
		                 "'%s' has no CREATEROLE: it cannot change passwords", p->manager);
	}
	if (!reads)
		needs_grant(p, "pg_read_all_stats", "see where sessions come from and since when");
	if (!signals)
		needs_grant(p, "pg_signal_backend", "end the sessions of a role");
}

/* Who we are, and what kind of server this is. */
static enum kind_rc server(struct postgres_plan *p, bool *recovery, struct err *e)
{
	static const char what[] = "ask for the manager's rights";
	PGresult *r = NULL;
	enum kind_rc rc = postgres_run(p->s, p->call, p->conn, what,
	                               "select session_user, r.rolsuper, r.rolcreaterole or r.rolsuper, "
	                               "pg_has_role(session_user, 'pg_read_all_stats', 'usage'),"
	                               " pg_has_role(session_user, 'pg_signal_backend', 'usage'), pg_is_in_recovery() "
	                               "from pg_roles r where r.rolname = session_user",
	                               &r, e);
	if (rc == KIND_OK)
		rc = postgres_shape(p->s, r, what, 1, 6, e);
	bool is[6] = { 0 };
	for (int i = 1; rc == KIND_OK && i < 6; i++)
		if (!postgres_flag(p->s, r, 0, i, &is[i]))
			rc = postgres_odd(what, e);
	if (rc == KIND_OK) {
		snprintf(p->manager, sizeof p->manager, "%s", postgres_cell(p->s, r, 0, 0));
		p->superuser = is[1];
		*recovery = is[5];
		manager_findings(p, is[2], is[3], is[4]);
	}
	p->s->pq->PQclear(r);
	return rc;
}

static void server_findings(const struct postgres_plan *p, bool recovery)
{
	int library = p->s->pq->PQlibVersion();
	if (p->version < POSTGRES_OLDEST)
		postgres_finding(p, KIND_REFUSE, "server-version", "",
		                 "the server is PostgreSQL %d: 14 is the oldest that works", p->version / 10000);
	if (recovery)
		postgres_finding(p, KIND_REFUSE, "in-recovery", "",
		                 "the server is a standby: the url must name the primary, 'endpoints' the "
		                 "standbys");
	if (p->s->n_users == 1)
		postgres_finding(p, KIND_OUTAGE, "one-slot", "",
		                 "'%s' is the only role: its old password ends when the new one is set; a "
		                 "pair of roles has no outage",
		                 p->s->users[0]);
	for (size_t i = 0; i < p->s->n_urls; i++) {
		const struct postgres_url *u = &p->s->urls[i];
		if (u->socket || u->loopback || strcmp(u->sslmode, "verify-full") == 0)
			continue;
		postgres_finding(p, KIND_INFO, "tls-unverified", "",
		                 "the url of endpoint %zu has sslmode '%s': the server's name is not checked", i,
		                 u->sslmode);
		if (library < POSTGRES_SCRAM_ONLY)
			postgres_finding(p, KIND_INFO, "clear-password", "",
			                 "endpoint %zu could be another server that asks for the password itself, and "
			                 "libpq %d would give it: sslmode=verify-full or libpq 16 prevents that",
			                 i, library / 10000);
	}
}

/* Would the verifier stand in the server's log? */
static enum kind_rc logging(const struct postgres_plan *p, struct err *e)
{
	PGresult *r = NULL;
	AUTO_BUF sql = BUF_INIT(1024), ask = BUF_INIT(2048);
	buf_printf(&ask,
	           "select coalesce(string_agg(name, ', '), '') from pg_settings where ((name = 'log_statement' and "
	           "setting in"
	           " ('ddl', 'mod', 'all')) or (name = 'log_min_error_statement' and setting not in ('log', 'fatal', "
	           "'panic')) or (name = 'log_min_duration_statement' and setting <> '-1') or (name ="
	           " 'pg_stat_statements.track_utility' and setting = 'on')) and not %s",
	           p->version < 150000 ? (p->superuser ? "true" : "false") : "has_parameter_privilege(name, 'SET')");
	enum kind_rc rc = postgres_run(p->s, p->call, p->conn, "ask what the server logs", ask.data, &r, e);
	if (rc != KIND_OK)
		return rc;
	const char *names = postgres_cell(p->s, r, 0, 0);
	if (*names && p->version >= 150000) {
		buf_printf(&sql, "GRANT SET ON PARAMETER %s TO ", names);
		postgres_name(p->s, p->conn, &sql, p->manager);
		buf_str(&sql, ";");
	}
	if (*names)
		postgres_finding(p, KIND_INFO, "statement-log", sql.data ? repair_of(&sql) : "",
		                 "the server's log keeps statements (%s): the "
		                 "SCRAM verifier, not the password, can come to stand there",
		                 names);
	p->s->pq->PQclear(r);
	return rc;
}

/* The rules that a superuser may read: one that lets a role in unasked, or asks for the password itself. A rule behind
 * an equal one for everybody is never reached. */
static enum kind_rc hba(const struct postgres_plan *p, struct err *e)
{
	static const char head[] = "with rule as (select line_number as line, ";
	static const char tail[] =
		" as at, type, database, user_name, coalesce(address, '') as address, netmask,"
		"  auth_method as method from pg_hba_file_rules where error is null),"
		" role as (select oid, rolname from pg_roles where rolname = any ($1::text[]))"
		" select distinct b.at, b.line, b.method, b.type from rule b, role"
		" where b.method in ('trust', 'password') and (b.database && array['all', $2::text] or ('sameuser' = "
		"any "
		"(b.database)"
		"  and role.rolname = $2))"
		" and (b.user_name && array['all', role.rolname::text] or exists (select from pg_roles g where"
		"  '+' || g.rolname = any (b.user_name) and pg_has_role(role.oid, g.oid, 'member'))"
		"  or exists (select from unnest(b.user_name) as name where name like '/%' and role.rolname ~ "
		"substr(name, "
		"2)))"
		" and not exists (select from rule a where a.at < b.at and a.type = b.type and a.address = b.address"
		"  and a.netmask is not distinct from b.netmask and 'all' = any (a.database)"
		"  and a.user_name && array['all', role.rolname::text])"
		" order by b.at";
	const char *names[] = { p->s->users[0], p->s->users[1] };
	AUTO_BUF users = BUF_INIT(1024), sql = BUF_INIT(4096);
	PGresult *r = NULL;
	enum kind_rc rc = postgres_run(p->s, p->call, p->conn, "ask for the manager's rights",
	                               "select has_table_privilege('pg_catalog.pg_hba_file_rules', 'select') and"
	                               " has_function_privilege('pg_catalog.pg_hba_file_rules()', 'execute')",
	                               &r, e);
	bool may = rc == KIND_OK && *postgres_cell(p->s, r, 0, 0) == 't';
	p->s->pq->PQclear(r);
	r = NULL;
	if (!may)
		return rc;
	postgres_array(&users, names, p->s->n_users);
	buf_printf(&sql, "%s%s%s", head, p->version >= 160000 ? "rule_number" : "line_number", tail);
	const char *values[] = { users.data, p->s->urls[0].dbname };
	rc = postgres_ask(p->s, p->call, p->conn, "read the rules of pg_hba.conf", sql.data, 2, values, &r, e);
	for (int i = 0; rc == KIND_OK && i < p->s->pq->PQntuples(r); i++) {
		const char *at = postgres_cell(p->s, r, i, 1), *method = postgres_cell(p->s, r, i, 2),
			   *type = postgres_cell(p->s, r, i, 3);
		AUTO_FREE char *repair = mem_printf(
			"in pg_hba.conf, line %s: scram-sha-256 instead of %s; then SELECT pg_reload_conf();", at,
			method);
		postgres_finding(p, KIND_REFUSE, "hba", repair, "line %s of pg_hba.conf (%s, %s) %s", at, type, method,
		                 strcmp(method, "trust") == 0 ? "lets a role of this secret in without a password" :
		                                                "asks a role of this secret for the password in clear");
	}
	p->s->pq->PQclear(r);
	return rc;
}

static void facts_of(const struct provider_session *s, struct kind_facts *ret)
{
	bool pair = s->n_users > 1;
	*ret = (struct kind_facts){ .overlap = pair ? KIND_ALTERNATING : KIND_NONE,
		                    .slots = pair ? 2 : 1,
		                    .named = true,
		                    .can_suspend = pair,
		                    .put = KIND_OBSERVABLE,
		                    .activate = KIND_OBSERVABLE,
		                    .drop = KIND_OBSERVABLE,
		                    .usage = KIND_SAMPLED };
}

enum kind_rc postgres_plan(struct provider_session *s, const struct provider_call *call, struct kind_facts *ret,
                           provider_found *found, void *arg, struct err *e)
{
	bool recovery = false;
	enum kind_rc rc = postgres_enter(s, call, 0, e);
	if (rc != KIND_OK)
		return rc;
	struct postgres_plan p = { .s = s,
		                   .call = call,
		                   .conn = s->conns[0],
		                   .version = s->pq->PQserverVersion(s->conns[0]),
		                   .found = found,
		                   .arg = arg };
	rc = server(&p, &recovery, e);
	if (rc != KIND_OK)
		return rc;
	server_findings(&p, recovery);
	rc = postgres_pair(&p, e);
	if (rc == KIND_OK)
		rc = logging(&p, e);
	if (rc == KIND_OK)
		rc = hba(&p, e);
	if (rc == KIND_OK)
		facts_of(s, ret);
	return rc;
}
