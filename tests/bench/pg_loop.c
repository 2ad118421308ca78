/* pg_loop CONNINFO PREFIX FIRST COUNT JOBS: rotates COUNT pairs of roles (PREFIX_n_a and PREFIX_n_b, n from FIRST on)
 * once each, in JOBS processes, by the server calls that one rotation needs and nothing else: no state, no log, no
 * waits. CONNINFO is the manager's. The free role of a pair is the one that may not log in. */
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAME 64
#define PASSWORD 33

static PGconn *manager;
static const char *conninfo;

static void fail(const char *what, PGconn *conn)
{
	fprintf(stderr, "pg_loop: %s: %s", what, PQerrorMessage(conn));
	exit(1);
}

static PGconn *connect_as(const char *user, const char *password)
{
	const char *const keys[] = { "dbname", "user", "password", "application_name", NULL };
	const char *const values[] = { conninfo, user, password, "pg_loop", NULL };
	PGconn *conn = PQconnectdbParams(user ? keys : (const char *const[]){ "dbname", NULL }, values, 1);

	if (!conn)
		abort();
	return conn;
}

static void settle(PGconn *conn)
{
	PQclear(PQexec(conn,
	               "set client_encoding = 'UTF8'; set search_path = pg_catalog; set statement_timeout = 10000;"
	               " set lock_timeout = 10000"));
}

/* A new log-in, as `probe` and `prove` make one. */
static void log_in(const char *user, const char *password, bool wanted)
{
	PGconn *conn = connect_as(user, password);

	if ((PQstatus(conn) == CONNECTION_OK) != wanted)
		fail(wanted ? "refused" : "accepted", conn);
	if (wanted) {
		PQclear(PQexec(conn, "begin read only"));
		PQclear(PQexecParams(conn, "select 1", 0, NULL, NULL, NULL, NULL, 0));
	}
	PQfinish(conn);
}

/* Returns the only value of the last row, which the caller frees. */
static char *ask(const char *fmt, const char *a, const char *b)
{
	char sql[2048];

	snprintf(sql, sizeof sql, fmt, a, b);
	PGresult *r = PQexec(manager, sql);

	if (PQresultStatus(r) != PGRES_TUPLES_OK && PQresultStatus(r) != PGRES_COMMAND_OK)
		fail(sql, manager);
	char *ret = strdup(PQntuples(r) > 0 ? PQgetvalue(r, PQntuples(r) - 1, 0) : "");

	PQclear(r);
	return ret;
}

static void look(const char *a, const char *b)
{
	free(ask("select r.rolname, r.rolcanlogin, shobj_description(r.oid, 'pg_authid'), (select count(*) from"
	         " pg_stat_activity a where a.usesysid = r.oid) from pg_roles r where r.rolname in ('%s', '%s')",
	         a, b));
}

static void usage(const char *user)
{
	free(ask("select count(*) from pg_stat_activity where usename = '%s'%s", user, ""));
}

/* What a plan has to know before anything is changed: the manager's rights, and whether both roles of the pair can do
 * the same. */
static void compare(const char *a, const char *b)
{
	free(ask("select rolsuper or rolcreaterole from pg_roles where rolname = session_user%s%s", "", ""));
	free(ask("select count(*) from pg_roles where rolname in ('%s', '%s') and pg_has_role(session_user, oid, "
	         "'member')",
	         a, b));
	free(ask("select count(*) from pg_auth_members m join pg_roles r on r.oid = m.member where r.rolname in ('%s', "
	         "'%s')",
	         a, b));
	free(ask("select count(*) from pg_db_role_setting d join pg_roles r on r.oid = d.setrole where r.rolname in "
	         "('%s', '%s')",
	         a, b));
	free(ask("select count(*) from pg_shdepend d join pg_roles r on r.oid = d.refobjid where r.rolname in ('%s', "
	         "'%s')",
	         a, b));
	free(ask("select count(*) from pg_settings where name like 'log_%%statement'%s%s", "", ""));
	free(ask("select has_table_privilege('pg_catalog.pg_hba_file_rules', 'select')%s%s", "", ""));
}

/* One role changed in one transaction: the change, a look at both under its lock, the mark. */
static void change(const char *user, const char *other, const char *clause, const char *mark)
{
	free(ask("begin%s%s", "", ""));
	free(ask("alter role \"%s\" %s", user, clause));
	look(user, other);
	if (mark)
		free(ask("comment on role \"%s\" is '%s'", user, mark));
	free(ask("commit%s%s", "", ""));
}

static void random_password(char ret[PASSWORD])
{
	unsigned char bytes[PASSWORD - 1];

	if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
		abort();
	for (size_t i = 0; i < sizeof bytes; i++)
		ret[i] = (char)('a' + bytes[i] % 26);
	ret[sizeof bytes] = '\0';
}

static void rotate(const char *old, const char *new)
{
	static const char password[] = "every-role-of-the-loop-has-this1"; /* its work does not depend on the value */
	char random[PASSWORD], clause[512];

	random_password(random);
	compare(old, new); /* authorize: facts, slots, that n-1 is good, that passwords are checked at all */
	look(old, new);
	char *old_is_in_use = ask("select rolcanlogin from pg_roles where rolname = '%s'%s", old, "");

	if (*old_is_in_use == 't')
		log_in(old, password, true);
	free(old_is_in_use);
	log_in(new, random, false);
	char *verifier = PQencryptPasswordConn(manager, password, new, "scram-sha-256");

	if (!verifier)
		fail("verifier", manager);
	snprintf(clause, sizeof clause, "login password '%s'", verifier);
	PQfreemem(verifier);
	change(new, old, clause, "held"); /* issue */
	look(old, new);
	log_in(new, password, true); /* probe, twice in a row */
	log_in(new, password, true);
	usage(old); /* drain: the first and the last sample of the shortest quiet time */
	usage(old);
	change(old, new, "nologin", NULL); /* suspend */
	look(old, new);
	usage(old);
	change(old, new, "nologin password null", "free"); /* revoke */
	look(old, new);
	free(ask("select pg_terminate_backend(pid) from pg_stat_activity where usename = '%s'%s", old, ""));
	log_in(old, random, false); /* prove */
	log_in(new, password, true);
}

static void rotate_pair(const char *prefix, int n)
{
	char a[NAME], b[NAME];

	snprintf(a, sizeof a, "%s_%d_a", prefix, n);
	snprintf(b, sizeof b, "%s_%d_b", prefix, n);
	char *free_one = ask(
		"select rolname from pg_roles where rolname in ('%s', '%s') order by rolcanlogin desc, rolname", a, b);
	bool a_is_free = strcmp(free_one, a) == 0;

	free(free_one);
	rotate(a_is_free ? b : a, a_is_free ? a : b);
}

int main(int argc, char **argv)
{
	int first = argc == 6 ? atoi(argv[3]) : 0, count = argc == 6 ? atoi(argv[4]) : 0,
	    jobs = argc == 6 ? atoi(argv[5]) : 0;
	int status, bad = 0;

	if (count < 1 || jobs < 1)
		return 2;
	conninfo = argv[1];
	for (int j = 0; j < jobs; j++) {
		if (fork() != 0)
			continue;
		for (int n = first + j; n < first + count;
		     n += jobs) { /* a rotation brings its own manager's session */
			manager = connect_as(NULL, NULL);
			if (PQstatus(manager) != CONNECTION_OK)
				fail("manager", manager);
			settle(manager);
			rotate_pair(argv[2], n);
			PQfinish(manager);
		}
		_exit(0);
	}
	while (wait(&status) > 0)
		bad |= status != 0;
	return bad;
}
