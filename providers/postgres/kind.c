#include "providers/postgres/postgres.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/json.h"
#include "core/mem.h"
#include "core/utf8.h"

static const struct schema_key params[] = {
	{ .name = "url",
	  .type = SCHEMA_STRING,
	  .flags = SCHEMA_REQUIRED,
	  .help = "postgresql://USER@HOST:PORT/DATABASE?sslmode=...; the manager's log-in, without a password; no "
	          "host: "
	          "the local socket; off loopback sslmode is verify-full, by the system's certificates or "
	          "sslrootcert" },
	{ .name = "users",
	  .type = SCHEMA_STRINGS,
	  .flags = SCHEMA_REQUIRED,
	  .help = "the pair of log-in roles that take turns, or a single role (an outage at each rotation)" },
	{ .name = "endpoints",
	  .type = SCHEMA_STRINGS,
	  .help = "urls of further servers that accept the same roles (standbys); asked for log-ins and sessions too" },
	{ 0 }
};

/* ---- reading params */

static bool user_ok(const char *user, struct err *e)
{
	if (!*user || strlen(user) >= POSTGRES_NAME || !utf8_text(user, strlen(user)) || strpbrk(user, "\n\r\t"))
		return err_set(e, ERR_USAGE, "a role's name has 1 to %d bytes on one line", POSTGRES_NAME - 1);
	return strncmp(user, "pg_", 3) != 0 || err_set(e, ERR_USAGE, "'%s' is one of the server's own roles", user);
}

static bool users_read(const json_t *list, struct provider_session *s, struct err *e)
{
	s->n_users = json_array_size(list);
	if (s->n_users < 1 || s->n_users > POSTGRES_USERS_MAX)
		return err_set(e, ERR_USAGE, "one or two roles are needed, not %zu", s->n_users);
	for (size_t i = 0; i < s->n_users; i++) {
		const char *user = json_string_value(json_array_get(list, i));
		if (!user_ok(user ? user : "", e))
			return false;
		snprintf(s->users[i], sizeof s->users[i], "%s", user);
	}
	return s->n_users == 1 || strcmp(s->users[0], s->users[1]) != 0 ||
	       err_set(e, ERR_USAGE, "'%s' is there twice", s->users[0]);
}

static bool endpoints_read(const json_t *list, struct provider_session *s, struct err *e)
{
	size_t n = json_array_size(list);
	if (n > POSTGRES_ENDPOINTS_MAX)
		return err_set(e, ERR_USAGE, "more than %d endpoints", POSTGRES_ENDPOINTS_MAX);
	for (size_t i = 0; i < n; i++) {
		const char *url = json_string_value(json_array_get(list, i));
		if (!postgres_url_parse(url ? url : "", &s->urls[1 + i], e))
			return false;
	}
	s->n_urls = 1 + n;
	return true;
}

static bool params_read(const json_t *j, struct provider_session *s, const char **key, struct err *e)
{
	const char *url = json_str(j, "url");
	*key = "url";
	if (!postgres_url_parse(url ? url : "", &s->urls[0], e))
		return false;
	*key = "endpoints";
	if (!endpoints_read(json_object_get(j, "endpoints"), s, e))
		return false;
	*key = "users";
	return users_read(json_object_get(j, "users"), s, e);
}

static bool check(const json_t *j, unsigned role, const char **ret_key, struct err *e)
{
	(void)role;
	struct provider_session *s = mem_alloc(sizeof *s);
	bool ok = params_read(j, s, ret_key, e);
	free(s);
	return ok;
}

static char *address(const json_t *j)
{
	struct postgres_url u;
	const char *url = json_str(j, "url");
	if (!url || !postgres_url_parse(url, &u, NULL))
		return mem_dup("postgres");
	return mem_printf("postgres:%s:%s/%s", u.host[0] ? u.host : "local", u.port, u.dbname[0] ? u.dbname : u.user);
}

/* ---- the session */

/* Who logs in: `auth`, else the url, else (like every client of PostgreSQL) the system's user. An endpoint that leaves
 * user or database out has those of the url. */
static bool people(struct provider_session *s, struct err *e)
{
	const char *user = fields_get(s->auth, "username", NULL);
	const struct passwd *me = user || s->urls[0].user[0] ? NULL : getpwuid(geteuid());
	if (user && !user_ok(user, e))
		return err_prefix(e, "field 'username' of auth");
	for (size_t i = 0; i < s->n_urls; i++) {
		struct postgres_url *u = &s->urls[i];
		if (user)
			snprintf(u->user, sizeof u->user, "%s", user);
		else if (!u->user[0] && i > 0)
			memcpy(u->user, s->urls[0].user, sizeof u->user);
		else if (!u->user[0] && me && strlen(me->pw_name) < sizeof u->user)
			snprintf(u->user, sizeof u->user, "%s", me->pw_name);
		if (!u->user[0])
			return err_set(e, ERR_FAILED, "the url names no user, and the system's user has no name");
		if (!u->dbname[0])
			memcpy(u->dbname, i ? s->urls[0].dbname : u->user, sizeof u->dbname);
	}
	return true;
}

static void shut(struct provider_session *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_urls && s->pq; i++)
		s->pq->PQfinish(s->conns[i]);
	fields_free(s->auth);
	free(s->probe_query);
	free(s->quiet);
	free(s);
}

static enum kind_rc start(const json_t *j, const struct fields *auth, const struct provider_call *call,
                          struct provider_session **ret, struct err *e)
{
	(void)call;
	struct provider_session *s = mem_alloc(sizeof *s);
	const char *key = NULL, *query = json_str(j, "probe_query");
	s->auth = fields_copy(auth);
	s->pq = pq_load(e);
	if (!s->pq)
		goto undo;
	if (!params_read(j, s, &key, e)) {
		err_prefix(e, "parameter '%s'", key);
		goto undo;
	}
	if (!people(s, e))
		goto undo;
	s->probe_query = query ? mem_dup(query) : NULL;
	*ret = s;
	return KIND_OK;
undo:
	shut(s);
	return KIND_PERMANENT;
}

const struct provider provider_postgres = {
	.kind = {
		.name = "postgres",
		.summary = "log-in roles of a PostgreSQL server, 14 or newer",
		.roles = KIND_AUTHORITY,
		.secret_type = "password",
		.overlap = "alternating: two roles with the same rights take turns; one role alone is an outage",
		.evidence = "sampled: the sessions of each role, on every endpoint",
		.params = params,
		.example =
			"rotor: 1\n"
			"secrets:\n"
			"  orders-db:\n"
			"    authority: {provider: postgres, url: \"postgresql://rotor@db:5432/orders\",\n"
			"      auth: {file: /etc/rotor/pg}, users: [orders_a, orders_b]}\n"
			"    consumers:\n"
			"      - {file: /etc/orders/env, map: {PGUSER: username, PGPASSWORD: password},\n"
			"         reload: {unit: orders.service}}\n",
		.check = check,
		.address = address,
	},
	.open = start,
	.close = shut,
	.plan = postgres_plan,
	.put = postgres_put,
	.suspend = postgres_suspend,
	.drop = postgres_drop,
	.look = postgres_look,
	.probe = postgres_probe,
	.disconnect = postgres_disconnect,
	.usage = postgres_usage,
	.now = postgres_now,
	.list = postgres_list,
};
