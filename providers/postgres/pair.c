#include "providers/postgres/postgres.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

/* `name` and `value` of the server's list of a role's settings, as one takes them for another role. Names with a dot
 * are an application's own: their values may be anything, so they are not shown. */
#define SETTINGS                                                                                                       \
	"pg_db_role_setting s left join pg_database d on d.oid = s.setdatabase cross join lateral "                    \
	"unnest(s.setconfig) as c"                                                                                     \
	" cross join lateral (select split_part(c, '=', 1) as name, substr(c, strpos(c, '=') + 1) as value) as v"
#define SETTING_FOR(role, value)                                                                                       \
	"format('ALTER ROLE %I%s SET %s TO %s;', " role ", ' IN DATABASE ' || quote_ident(d.datname), v.name,"         \
	" case when v.name in ('search_path', 'temp_tablespaces', 'session_preload_libraries', "                       \
	"'local_preload_libraries')"                                                                                   \
	" then " value " else quote_literal(" value ") end)"

struct role {
	const char *name;
	bool found, super, login, admin, member_of_other, expired, expires;
	long limit;
	const char *until, *attributes;
};

/* The finding of each row: check, severity by its word, message, repair. */
static enum kind_rc rows(const struct postgres_plan *p, const char *sql, int n, const char *const values[],
                         struct err *e)
{
	static const char what[] = "compare the roles";
	PGresult *r = NULL;
	enum kind_rc rc = postgres_ask(p->s, p->call, p->conn, what, sql, n, values, &r, e);
	if (rc == KIND_OK)
		rc = postgres_shape(p->s, r, what, -1, 4, e);
	for (int i = 0; rc == KIND_OK && i < p->s->pq->PQntuples(r); i++) {
		const char *repair = postgres_cell(p->s, r, i, 3);
		int severity = kind_severity_parse(postgres_cell(p->s, r, i, 1));
		bool fits = strlen(repair) < sizeof((struct provider_finding *)0)->repair;
		postgres_finding(p, severity < 0 ? KIND_REFUSE : (enum kind_severity)severity,
		                 postgres_cell(p->s, r, i, 0), fits ? repair : NULL, "%s",
		                 postgres_cell(p->s, r, i, 2));
	}
	p->s->pq->PQclear(r);
	return rc;
}

/* ---- one role */

static enum kind_rc missing(const struct postgres_plan *p, const char *name, const char *other, struct err *e)
{
	static const char sql[] =
		"select 'role-missing', 'refuse', format('role ''%s'' is not there', $1::text),"
		" format('CREATE ROLE %I NOLOGIN', $1) || coalesce(' IN ROLE ' || (select "
		"string_agg(quote_ident(g.rolname), ', ' order by"
		"  g.rolname) from pg_auth_members m join pg_roles g on g.oid = m.roleid join pg_roles o on o.oid = "
		"m.member"
		"  where o.rolname = $2), '') || ';' || coalesce((select string_agg(E'\\n' || case when v.name like "
		"'%.%' "
		"then"
		"  format('-- and %s as role %I has it', v.name, $2) else " SETTING_FOR(
			"$1", "v.value") " end, '' order by v.name)"
					 "  from " SETTINGS
					 " join pg_roles o on o.oid = s.setrole where o.rolname = $2::text), '') ||"
					 " case when $3::bool then format(E'\\nGRANT %I TO %I WITH ADMIN TRUE, INHERIT "
					 "FALSE, "
					 "SET FALSE;', $1, $4::text) else '' end";
	const char *values[] = { name, other, p->version >= 160000 && !p->superuser ? "t" : "f", p->manager };
	return rows(p, sql, 4, values, e);
}

static void role_findings(const struct postgres_plan *p, const struct role *r)
{
	AUTO_BUF name = BUF_INIT(512), sql = BUF_INIT(1024);
	postgres_name(p->s, p->conn, &name, r->name);
	if (r->super)
		postgres_finding(p, KIND_REFUSE, "superuser", "",
		                 "role '%s' is a superuser: rotor does not rotate one by a manager's hand", r->name);
	if (p->version >= 160000 && !p->superuser && !r->admin) {
		buf_printf(&sql, "GRANT %s TO ", name.data);
		postgres_name(p->s, p->conn, &sql, p->manager);
		buf_str(&sql, " WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;");
		postgres_finding(p, KIND_REFUSE, "admin-option", sql.data,
		                 "'%s' has no ADMIN OPTION on role '%s': PostgreSQL 16 and newer "
		                 "refuse every change without it",
		                 p->manager, r->name);
		buf_reset(&sql);
	}
	if (r->expires) {
		buf_printf(&sql, "ALTER ROLE %s VALID UNTIL 'infinity';", name.data);
		postgres_finding(p, r->expired ? KIND_REFUSE : KIND_INFO, "valid-until", sql.data,
		                 "role '%s' is valid until %s only%s", r->name, r->until,
		                 r->expired ? ": it is refused whatever its password" : "");
		buf_reset(&sql);
	}
	if (r->limit == 0) {
		buf_printf(&sql, "ALTER ROLE %s CONNECTION LIMIT -1;", name.data);
		postgres_finding(p, KIND_REFUSE, "connection-limit", sql.data, "role '%s' has a connection limit of 0",
		                 r->name);
	}
}

/* ---- the pair */

static void attributes(const struct postgres_plan *p, const struct role *a, const struct role *b)
{
	AUTO_BUF sql = BUF_INIT(1024);
	if (strcmp(a->attributes, b->attributes) != 0) {
		buf_str(&sql, "ALTER ROLE ");
		postgres_name(p->s, p->conn, &sql, b->name);
		buf_printf(&sql, " %s;", a->attributes);
		postgres_finding(p, KIND_REFUSE, "pair-attributes", sql.data, "role '%s' is %s, role '%s' is %s",
		                 a->name, a->attributes, b->name, b->attributes);
		buf_reset(&sql);
	}
	if (a->limit != b->limit && a->limit != 0 && b->limit != 0) {
		const struct role *tight = a->limit < 0 || (b->limit > 0 && b->limit < a->limit) ? b : a;
		buf_str(&sql, "ALTER ROLE ");
		postgres_name(p->s, p->conn, &sql, tight->name);
		buf_printf(&sql, " CONNECTION LIMIT %ld;", tight == a ? b->limit : a->limit);
		postgres_finding(p, KIND_REFUSE, "pair-limits", sql.data,
		                 "role '%s' may have fewer connections (%ld) than the other of the pair", tight->name,
		                 tight->limit);
	}
}

static void memberships_crossed(const struct postgres_plan *p, const struct role *a, const struct role *b)
{
	AUTO_BUF sql = BUF_INIT(1024);
	if (!a->member_of_other)
		return;
	buf_str(&sql, "REVOKE ");
	postgres_name(p->s, p->conn, &sql, b->name);
	buf_str(&sql, " FROM ");
	postgres_name(p->s, p->conn, &sql, a->name);
	buf_str(&sql, ";");
	postgres_finding(p, KIND_REFUSE, "pair-crossed", sql.data,
	                 "role '%s' is a member of role '%s': give both the rights of an owner role "
	                 "without a log-in instead",
	                 a->name, b->name);
}

static enum kind_rc compare(const struct postgres_plan *p, struct err *e)
{
	static const char members[] = "select 'pair-memberships', 'refuse', format('role ''%s'' is a member of "
				      "''%s''%s, role ''%s'' is not', has, rolname, how, lacks),"
				      " format('GRANT %I TO %I%s;', rolname, lacks, how) from (select g.rolname, "
				      "m.how, case when bool_or(o.rolname = $1::text) then $1 else"
				      " $2::text end as has, case when bool_or(o.rolname = $1) then $2 else $1 end as "
				      "lacks from (select member, roleid, %s as how"
				      " from pg_auth_members) as m join pg_roles g on g.oid = m.roleid join pg_roles o "
				      "on o.oid = m.member where o.rolname in ($1, $2)"
				      " and g.rolname not in ($1, $2) group by g.rolname, m.how having count(distinct "
				      "o.rolname) = 1) as t order by rolname";
	static const char settings[] =
		"select 'pair-settings', 'refuse', format('setting ''%s'' is not the same for ''%s'' and ''%s''', "
		"name, "
		"$1::text, $2::text),"
		" case when name not like '%.%' then coalesce(for_b, for_a) end from (select d.datname, v.name, "
		"max(v.value) filter (where"
		" o.rolname = $1) as a, max(v.value) filter (where o.rolname = $2) as b,"
		" max(" SETTING_FOR(
			"$2", "v.value") ") filter (where o.rolname = $1) as for_b,"
					 " max(" SETTING_FOR(
						 "$1",
						 "v.value") ") filter (where o.rolname = $2) as for_a"
							    " from " SETTINGS
							    " join pg_roles o on o.oid = s.setrole where o.rolname "
							    "in ($1, $2) group by d.datname, v.name) as t"
							    " where a is distinct from b order by name";
	/* What stands on the role itself instead of on an owner role is lost to the application when it changes roles.
	 */
	static const char rights[] = "select 'pair-rights', 'outage', format('%s object%s %s role ''%s'' alone, not "
				     "the other of the pair', count(*), case when"
				     " count(*) = 1 then '' else 's' end, case deptype when 'o' then 'belong to' else "
				     "'give rights to' end, rolname), case deptype when"
				     " 'o' then format('REASSIGN OWNED BY %I TO the_owner_role;', rolname) end"
				     " from (select o.rolname, d.deptype from pg_shdepend d join pg_roles o on o.oid = "
				     "d.refobjid where d.refclassid ="
				     " 'pg_authid'::regclass and o.rolname in ($1::text, $2::text) and d.deptype in "
				     "('o', 'a') and not exists (select from pg_shdepend x"
				     " join pg_roles y on y.oid = x.refobjid where x.refclassid = d.refclassid and "
				     "y.rolname in ($1, $2) and y.oid <> o.oid and"
				     " x.deptype = d.deptype and x.dbid = d.dbid and x.classid = d.classid and x.objid "
				     "= d.objid)) as t group by rolname, deptype";
	const char *values[] = { p->s->users[0], p->s->users[1] };
	const char *how = p->version >= 160000 ?
	                          "' WITH INHERIT ' || inherit_option::text || ', SET ' || set_option::text" :
	                          "''::text";
	const char *gap = strstr(members, "%s as how");
	AUTO_BUF sql = BUF_INIT(4096);
	buf_add(&sql, members, (size_t)(gap - members));
	buf_str(&sql, how);
	buf_str(&sql, gap + 2);
	enum kind_rc rc = rows(p, sql.data, 2, values, e);
	if (rc == KIND_OK)
		rc = rows(p, settings, 2, values, e);
	return rc == KIND_OK ? rows(p, rights, 2, values, e) : rc;
}

static void role_take(const struct postgres_plan *p, const PGresult *r, int row, struct role *to)
{
	to->found = true;
	to->super = *postgres_cell(p->s, r, row, 1) == 't';
	to->admin = *postgres_cell(p->s, r, row, 2) == 't';
	to->member_of_other = *postgres_cell(p->s, r, row, 3) == 't';
	to->expires = *postgres_cell(p->s, r, row, 4) == 't';
	to->expired = *postgres_cell(p->s, r, row, 5) == 't';
	to->until = postgres_cell(p->s, r, row, 6);
	to->limit = strtol(postgres_cell(p->s, r, row, 7), NULL, 10);
	to->attributes = postgres_cell(p->s, r, row, 8);
}

enum kind_rc postgres_pair(const struct postgres_plan *p, struct err *e)
{
	static const char sql[] =
		"select rolname, rolsuper, pg_has_role(session_user, oid, 'member with admin option'), exists (select "
		"from "
		"pg_roles x where"
		" x.rolname = any ($1::text[]) and x.oid <> r.oid and not r.rolsuper and pg_has_role(r.oid, x.oid, "
		"'member')), coalesce("
		"rolvaliduntil < 'infinity', false), coalesce(rolvaliduntil <= now(), false), rolvaliduntil::text, "
		"rolconnlimit,"
		" concat_ws(' ', case when rolinherit then 'INHERIT' else 'NOINHERIT' end, case when rolcreaterole "
		"then "
		"'CREATEROLE' else"
		" 'NOCREATEROLE' end, case when rolcreatedb then 'CREATEDB' else 'NOCREATEDB' end, case when "
		"rolreplication then 'REPLICATION'"
		" else 'NOREPLICATION' end, case when rolbypassrls then 'BYPASSRLS' else 'NOBYPASSRLS' end)"
		" from pg_roles r where rolname = any ($1::text[])";
	static const char what[] = "read the roles";
	struct role roles[POSTGRES_USERS_MAX] = { { 0 } };
	size_t n = p->s->n_users;
	const char *names[] = { p->s->users[0], p->s->users[1] };
	AUTO_BUF array = BUF_INIT(1024);
	PGresult *r = NULL;
	postgres_array(&array, names, n);
	const char *values[] = { array.data };
	enum kind_rc rc = postgres_ask(p->s, p->call, p->conn, what, sql, 1, values, &r, e);
	if (rc == KIND_OK)
		rc = postgres_shape(p->s, r, what, -1, 9, e);
	for (size_t i = 0; rc == KIND_OK && i < n; i++) {
		roles[i].name = names[i];
		for (int row = 0; row < p->s->pq->PQntuples(r); row++)
			if (strcmp(postgres_cell(p->s, r, row, 0), names[i]) == 0)
				role_take(p, r, row, &roles[i]);
	}
	for (size_t i = 0; rc == KIND_OK && i < n; i++) {
		if (roles[i].found)
			role_findings(p, &roles[i]);
		else
			rc = missing(p, names[i], n > 1 ? names[1 - i] : NULL, e);
	}
	if (rc == KIND_OK && n > 1 && roles[0].found && roles[1].found) {
		attributes(p, &roles[0], &roles[1]);
		memberships_crossed(p, &roles[0], &roles[1]);
		memberships_crossed(p, &roles[1], &roles[0]);
		rc = compare(p, e);
	}
	p->s->pq->PQclear(r);
	return rc;
}
