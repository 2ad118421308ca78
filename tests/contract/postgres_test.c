/* The kind `postgres` against a real server: postgres_test SOCKET_FOLDER PORT. The server is one of
 * tests/peers/postgres.sh, used by nobody else; tests/contract/postgres runs this on every version. */
#include <stdlib.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/clock.h"
#include "core/json.h"
#include "core/mem.h"
#include "providers/pq.h"
#include "providers/provider.h"
#include "tests/unit/test.h"

extern const struct provider provider_postgres;
static const struct provider *const p = &provider_postgres;

#define HOME "01HOMEHOMEHOMEHOMEHOMEHOME"
#define ROT "01ROTATIONROTATIONROTATION"
#define OLD_ROT "01OLDOLDOLDOLDOLDOLDOLDOLD"
#define MANAGER_PASSWORD "manager-password"

static const struct pq *pq;
static const char *folder, *port;
static PGconn *admin;
static struct err err;

static PGconn *login(const char *host, const char *user, const char *password, const char *app)
{
	const char *names[] = { "host", "port", "user", "password", "dbname", "application_name", NULL };
	const char *values[] = { host, port, user, password, "postgres", app, NULL };
	PGconn *c = pq->PQconnectStartParams(names, values, 0);
	while (pq->PQstatus(c) != CONNECTION_OK && pq->PQstatus(c) != CONNECTION_BAD) {
		usleep(1000);
		pq->PQconnectPoll(c);
	}
	return c;
}

/* First value of the last result, "" without one; NULL when the server refuses. The caller frees. */
static char *on(PGconn *c, const char *sql)
{
	char *text = mem_dup("");
	pq->PQsendQuery(c, sql);
	for (PGresult *r; (r = pq->PQgetResult(c)); pq->PQclear(r)) {
		if (pq->PQresultStatus(r) == PGRES_FATAL_ERROR) {
			printf("# %s: %s", sql, pq->PQerrorMessage(c));
			mem_auto(&text);
		} else if (text && pq->PQntuples(r) > 0) {
			free(text);
			text = mem_dup(pq->PQgetvalue(r, 0, 0));
		}
	}
	return text;
}

static bool sql(const char *text)
{
	char *got = on(admin, text);
	bool ok = got != NULL;
	free(got);
	return ok;
}

static bool sql_is(const char *text, const char *want)
{
	char *got = on(admin, text);
	bool same = got && strcmp(got, want) == 0;
	if (!same)
		printf("# %s gives '%s', not '%s'\n", text, got ? got : "(error)", want);
	free(got);
	return same;
}

static struct provider_call call_of(int64_t ms, const char *tag, const char *expect)
{
	return (struct provider_call){
		.deadline_ms = clock_boot() + ms, .tag = tag, .home = HOME, .expect = expect, .secret = "orders"
	};
}
#define CALL(expect) call_of(20000, ROT "/issue/1", (expect))

static struct fields *password(const char *text)
{
	struct fields *f = fields_new();
	if (!fields_set(f, "password", text, strlen(text), &err))
		abort();
	return f;
}

static struct provider_session *open_as(const char *user, const char *secret, const char *a, const char *b)
{
	struct provider_session *s = NULL;
	struct provider_call c = CALL(NULL);
	AUTO_FREE char *url = mem_printf("postgresql://%s@127.0.0.1:%s/postgres", user, port);
	AUTO_JSON *users = json_array(), *params = json_object();
	AUTO_FIELDS *auth = password(secret);
	json_array_append_new(users, json_string(a));
	if (b)
		json_array_append_new(users, json_string(b));
	json_put_str(params, "url", url);
	json_object_set(params, "users", users);
	CHECK(p->open(params, auth, &c, &s, &err) == KIND_OK);
	return s;
}

static struct provider_session *open_pair(void)
{
	return open_as("rotor", MANAGER_PASSWORD, "orders_a", "orders_b");
}

/* ---- plan: what it demands is the exact SQL that makes it content */

struct findings {
	size_t n;
	struct provider_finding at[64];
};

static void take_finding(void *arg, const struct provider_finding *f)
{
	struct findings *all = arg;
	if (all->n < 64)
		all->at[all->n++] = *f;
}

static const struct provider_finding *finding(const struct findings *all, const char *check)
{
	for (size_t i = 0; i < all->n; i++)
		if (strcmp(all->at[i].check, check) == 0)
			return &all->at[i];
	return NULL;
}

static size_t refusals(const struct findings *all, bool show)
{
	size_t n = 0;
	for (size_t i = 0; i < all->n; i++) {
		n += all->at[i].severity != KIND_INFO;
		if (show && all->at[i].severity != KIND_INFO)
			printf("# %s: %s [%s]\n", all->at[i].check, all->at[i].message, all->at[i].repair);
	}
	return n;
}

static struct kind_facts plan(struct provider_session *s, struct findings *ret)
{
	struct provider_call c = CALL(NULL);
	struct kind_facts facts = { 0 };
	ret->n = 0;
	enum kind_rc rc = p->plan(s, &c, &facts, take_finding, ret, &err);
	if (rc != KIND_OK)
		printf("# plan: %s\n", err.message);
	CHECK(rc == KIND_OK);
	return facts;
}

static void repair(const struct findings *all)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->at[i].repair[0])
			CHECK(sql(all->at[i].repair));
}

static void test_plan_repairs(void)
{
	struct provider_session *s = open_pair();
	struct findings all = { 0 };
	bool sixteen = pq->PQserverVersion(admin) >= 160000;
	TEST("plan names every missing right, and its SQL grants it");
	plan(s, &all);
	CHECK(finding(&all, "manager-rights") && finding(&all, "statement-log"));
	CHECK(!sixteen || finding(&all, "admin-option"));
	CHECK(finding(&all, "role-missing") && strstr(finding(&all, "role-missing")->repair, "IN ROLE orders_owner"));
	repair(&all);
	plan(s, &all);
	CHECK(refusals(&all, true) == 0);
	CHECK(!finding(&all, "statement-log"));

	TEST("a role made by the plan's SQL has its fellow's settings");
	CHECK(sql_is(
		"select string_agg(c, ';' order by c) from pg_db_role_setting s, unnest(setconfig) c where setrole ="
		" 'orders_b'::regrole",
		"role=orders_owner;search_path=app, public;work_mem=5MB"));

	TEST("plan compares the pair, and its SQL makes them equal");
	CHECK(sql("alter role orders_a set statement_timeout = '7s'; alter role orders_b in database postgres set "
	          "work_mem = '9MB';"
	          "create role extra; grant extra to orders_a; alter role orders_b noinherit connection limit 3 valid "
	          "until '2001-01-01';"
	          "grant orders_b to orders_a"));
	plan(s, &all);
	CHECK(finding(&all, "pair-settings") && finding(&all, "pair-memberships") && finding(&all, "pair-attributes"));
	CHECK(finding(&all, "pair-limits") && finding(&all, "pair-crossed") && finding(&all, "valid-until"));
	repair(&all);
	plan(s, &all);
	CHECK(refusals(&all, true) == 0);

	TEST("objects of one role alone are an outage to be announced");
	CHECK(sql("create table mine (); alter table mine owner to orders_a; create table ours (); grant select on "
	          "ours to orders_b"));
	plan(s, &all);
	CHECK(finding(&all, "pair-rights") && finding(&all, "pair-rights")->severity == KIND_OUTAGE &&
	      refusals(&all, false) == 2);
	CHECK(sql("drop table mine, ours"));

	TEST("a superuser is no role of a pair");
	CHECK(sql("alter role orders_a superuser"));
	plan(s, &all);
	CHECK(finding(&all, "superuser"));
	CHECK(sql("alter role orders_a nosuperuser"));

	TEST("facts of a pair");
	struct kind_facts f = plan(s, &all);
	CHECK(f.slots == 2 && f.named && f.can_suspend && f.usage == KIND_SAMPLED && f.put == KIND_OBSERVABLE &&
	      !f.makes_value);
	p->close(s);
}

static void test_hba(void)
{
	struct provider_session *s = open_as("admin", "adminpw", "orders_a", "orders_b");
	struct findings all = { 0 };
	TEST("a superuser's plan finds rules that let a role in unasked");
	plan(s, &all);
	CHECK(!finding(&all, "hba"));
	AUTO_FREE char *file = on(admin, "show hba_file");
	AUTO_FREE char *text = mem_printf(
		"create temp table old_hba as select pg_read_file('%s') as t;"
		" copy (select unnest(string_to_array('local all admin trust,host all orders_b 127.0.0.1/32 password,"
		"host all +orders_owner 127.0.0.1/32 trust,host all all 127.0.0.1/32 scram-sha-256,"
		"host all all 127.0.0.1/32 trust', ','))) to '%s'; select pg_reload_conf()",
		file, file);
	CHECK(sql(text));
	usleep(200000);
	plan(s, &all);
	CHECK(refusals(&all, false) == 2 && finding(&all, "hba")->severity == KIND_REFUSE);
	CHECK(all.n >= 2 && strstr(all.at[all.n - 2].message, "line 2 ") &&
	      strstr(all.at[all.n - 1].message, "line 3 "));

	TEST("under trust a random password is seen not to be asked for");
	struct provider_call c = CALL(NULL);
	struct provider_cred n = { .n = 1, .handle = "orders_a" };
	enum kind_login got = KIND_REFUSED;
	CHECK(sql("alter role orders_a login"));
	CHECK(p->probe(s, &c, &n, &got, &err) == KIND_OK && got == KIND_ACCEPTED);
	CHECK(sql("alter role orders_a nologin"));
	CHECK(p->probe(s, &c, &n, &got, &err) == KIND_PERMANENT && strstr(err.message, "not asked for a password"));
	AUTO_FIELDS *value = password("whatever");
	n.value = value;
	CHECK(sql("alter role orders_a login"));
	CHECK(p->probe(s, &c, &n, &got, &err) == KIND_PERMANENT);
	CHECK(sql("alter role orders_a nologin"));

	TEST("a libpq that can refuse never gives the clear password");
	n.handle = "orders_b";
	CHECK(sql("alter role orders_b login password 'whatever'"));
	enum kind_rc rc = p->probe(s, &c, &n, &got, &err);
	CHECK(pq->PQlibVersion() < 160000 ? rc == KIND_OK :
	                                    rc == KIND_PERMANENT && strstr(err.message, "the password itself"));
	CHECK(sql("alter role orders_b nologin password null"));
	AUTO_FREE char *back =
		mem_printf("copy (select unnest(string_to_array(rtrim(t, E'\\n'), E'\\n')) from old_hba) to '%s';"
	                   " drop table old_hba; select pg_reload_conf()",
	                   file);
	CHECK(sql(back));
	usleep(200000);
	p->close(s);
}

/* ---- the life of a version */

static enum kind_seen look(struct provider_session *s, const struct provider_cred *n)
{
	struct provider_call c = CALL(NULL);
	struct provider_made made = { 0 };
	enum kind_seen seen = KIND_CURRENT;
	enum kind_rc rc = p->look(s, &c, n, &seen, &made, &err);
	if (rc != KIND_OK)
		printf("# look: %s\n", err.message);
	CHECK(rc == KIND_OK);
	return seen;
}

static enum kind_rc put(struct provider_session *s, const struct provider_cred *n, const struct provider_cred *prev,
                        const char *expect)
{
	struct provider_call c = CALL(expect);
	struct provider_made made = { 0 };
	enum kind_rc rc = p->put(s, &c, n, prev, &made, &err);
	if (rc != KIND_OK)
		printf("# put: %s\n", err.message);
	return rc;
}

static bool logs_in(struct provider_session *s, const struct provider_cred *n)
{
	struct provider_call c = CALL(NULL);
	enum kind_login got = KIND_REFUSED;
	enum kind_rc rc = p->probe(s, &c, n, &got, &err);
	if (rc != KIND_OK)
		printf("# probe: %s\n", err.message);
	CHECK(rc == KIND_OK);
	return got == KIND_ACCEPTED;
}

static void test_life(void)
{
	struct provider_session *s = open_pair();
	struct provider_call c = CALL(NULL);
	AUTO_FIELDS *one = password("value-of-version-one"), *two = password("value-of-version-two");
	struct provider_cred v1 = { .n = 1, .handle = "orders_a", .value = one, .rotation = OLD_ROT };
	struct provider_cred v2 = { .n = 2, .handle = "orders_b", .value = two, .rotation = ROT };
	struct provider_cred blind = { .n = 2, .handle = "orders_b" };

	TEST("a random password is refused on a free role");
	CHECK(!logs_in(s, &blind));

	TEST("put: verifier and mark in one, others' comments kept, the pair marked");
	CHECK(sql("comment on role orders_a is E'owned by team orders\\ncall 555'"));
	CHECK(look(s, &v1) == KIND_ABSENT);
	CHECK(put(s, &v1, NULL, "") == KIND_OK);
	CHECK(sql_is("select shobj_description('orders_a'::regrole, 'pg_authid')",
	             "owned by team orders\ncall 555\n"
	             "rotor: home=" HOME " version=1 rotation=" OLD_ROT " state=held"));
	CHECK(sql_is("select shobj_description('orders_b'::regrole, 'pg_authid')",
	             "rotor: home=" HOME " version=0 rotation=- state=free"));
	CHECK(sql_is("select left(rolpassword, 14) from pg_authid where rolname = 'orders_a'", "SCRAM-SHA-256$"));
	CHECK(look(s, &v1) == KIND_HELD && logs_in(s, &v1));

	TEST("put: another mark than the expected one is a conflict, and nothing is changed");
	CHECK(put(s, &v2, &v1, "") == KIND_CONFLICT);
	CHECK(sql_is(
		"select rolcanlogin::text || (rolpassword is null)::text from pg_authid where rolname = 'orders_b'",
		"falsetrue"));
	CHECK(look(s, &v2) == KIND_ABSENT);

	TEST("put: the second of the pair, both accepted");
	CHECK(put(s, &v2, &v1, "rotor: home=" HOME " version=0 rotation=- state=free") == KIND_OK);
	CHECK(look(s, &v1) == KIND_HELD && look(s, &v2) == KIND_HELD && logs_in(s, &v1) && logs_in(s, &v2));

	TEST("suspend keeps the password, restore brings it back");
	CHECK(p->suspend(s, &c, &v1, true, &err) == KIND_OK && p->suspend(s, &c, &v1, true, &err) == KIND_OK);
	CHECK(look(s, &v1) == KIND_SUSPENDED && !logs_in(s, &v1) && logs_in(s, &v2));
	CHECK(p->suspend(s, &c, &v1, false, &err) == KIND_OK);
	CHECK(look(s, &v1) == KIND_HELD && logs_in(s, &v1));

	TEST("drop takes log-in and password, and may be repeated");
	CHECK(p->drop(s, &c, &v1, &err) == KIND_OK && p->drop(s, &c, &v1, &err) == KIND_OK);
	CHECK(look(s, &v1) == KIND_ABSENT && !logs_in(s, &v1));
	CHECK(sql_is("select shobj_description('orders_a'::regrole, 'pg_authid')",
	             "owned by team orders\ncall 555\n"
	             "rotor: home=" HOME " version=1 rotation=" OLD_ROT " state=free"));
	CHECK(p->suspend(s, &c, &v1, false, &err) == KIND_CONFLICT && !logs_in(s, &v1));

	TEST("a role that somebody brought back is foreign");
	CHECK(sql("alter role orders_a login"));
	CHECK(look(s, &v1) == KIND_FOREIGN);
	CHECK(sql("alter role orders_a nologin"));

	TEST("another's mark is never overwritten, suspended or dropped");
	CHECK(sql("comment on role orders_b is 'rotor: home=01SOMEBODYELSE version=2 rotation=- state=held'"));
	CHECK(look(s, &v2) == KIND_FOREIGN && p->drop(s, &c, &v2, &err) == KIND_CONFLICT);
	CHECK(p->suspend(s, &c, &v2, true, &err) == KIND_CONFLICT && logs_in(s, &v2));
	CHECK(sql("comment on role orders_b is 'rotor: anything'"));
	CHECK(look(s, &v2) == KIND_FOREIGN && p->drop(s, &c, &v2, &err) == KIND_CONFLICT && logs_in(s, &v2));
	CHECK(sql("comment on role orders_b is null"));
	CHECK(p->drop(s, &c, &v2, &err) == KIND_CONFLICT && logs_in(s, &v2));
	p->close(s);
}

static void test_legacy(void)
{
	struct provider_session *s = open_pair();
	struct provider_call c = CALL(NULL);
	struct provider_cred n = { .n = 0, .handle = "legacy" };
	TEST("a legacy role is suspended and disabled, never robbed of its password");
	CHECK(look(s, &n) == KIND_HELD);
	CHECK(p->suspend(s, &c, &n, true, &err) == KIND_OK && look(s, &n) == KIND_SUSPENDED);
	CHECK(p->suspend(s, &c, &n, false, &err) == KIND_OK && look(s, &n) == KIND_HELD);
	CHECK(p->drop(s, &c, &n, &err) == KIND_OK && look(s, &n) == KIND_ABSENT);
	CHECK(sql_is(
		"select (rolpassword is not null)::text || rolcanlogin::text from pg_authid where rolname = 'legacy'",
		"truefalse"));

	TEST("a version that was imported, without a mark");
	CHECK(sql("comment on role orders_a is null; comment on role orders_b is null; alter role orders_a login "
	          "password 'imported-pw'"));
	AUTO_FIELDS *value = password("imported-pw"), *new = password("value-of-version-two-b");
	struct provider_cred v1 = { .n = 1, .handle = "orders_a", .value = value };
	struct provider_cred v2 = { .n = 2, .handle = "orders_b", .value = new, .rotation = ROT };
	CHECK(sql("alter role orders_b nologin"));
	CHECK(look(s, &v1) == KIND_HELD && logs_in(s, &v1) && look(s, &v2) == KIND_ABSENT);
	CHECK(put(s, &v2, &v1, "") == KIND_OK && look(s, &v1) == KIND_HELD);
	CHECK(sql_is("select shobj_description('orders_a'::regrole, 'pg_authid')",
	             "rotor: home=" HOME " version=1 rotation=- state=held"));
	CHECK(p->drop(s, &c, &v1, &err) == KIND_OK && look(s, &v1) == KIND_ABSENT && !logs_in(s, &v1));
	p->close(s);
}

/* ---- sessions */

static void test_sessions(void)
{
	struct provider_session *s = open_pair();
	struct provider_call c = CALL(NULL);
	struct provider_cred creds[] = { { .n = 1, .handle = "orders_a" },
		                         { .n = 2, .handle = "orders_b" },
		                         { .n = 2, .handle = "orders_b" } };
	struct provider_usage use[3];
	struct provider_filter f = { 0 };
	unsigned left = 9;
	PGconn *one = login("127.0.0.1", "orders_b", "value-of-version-two-b", "shop 100%_x");
	PGconn *two = login(folder, "orders_b", "value-of-version-two-b", "batch");
	PGconn *own = login("127.0.0.1", "orders_b", "value-of-version-two-b", "rotor/" ROT "/1");
	PGconn *fake = login("127.0.0.1", "orders_b", "value-of-version-two-b", "rotor/elsewhere/1");

	TEST("usage counts all but this rotation's own, each role of the question");
	CHECK(p->usage(s, &c, creds, 3, &f, use, &err) == KIND_OK);
	CHECK(use[0].sessions == 0 && use[1].sessions == 3 && use[2].sessions == 3 && use[1].last_ms == -1);
	CHECK(strstr(use[1].detail, "shop 100%_x from 127.0.0.1 since 20"));

	TEST("usage filters by name and by address");
	f = (struct provider_filter){ .application_name = "shop*%_x" };
	CHECK(p->usage(s, &c, creds, 2, &f, use, &err) == KIND_OK && use[1].sessions == 1);
	f = (struct provider_filter){ .application_name = "shop 100_*" };
	CHECK(p->usage(s, &c, creds, 2, &f, use, &err) == KIND_OK && use[1].sessions == 0);
	f = (struct provider_filter){ .client = "127.0.0.0/8" };
	CHECK(p->usage(s, &c, creds, 2, &f, use, &err) == KIND_OK && use[1].sessions == 2);
	f = (struct provider_filter){ .client = "10.1.2.3" };
	CHECK(p->usage(s, &c, creds, 2, &f, use, &err) == KIND_OK && use[1].sessions == 0);
	f = (struct provider_filter){ .client = "nowhere" };
	CHECK(p->usage(s, &c, creds, 2, &f, use, &err) == KIND_PERMANENT);

	TEST("put at a role that is in use is a conflict");
	AUTO_FIELDS *value = password("value-of-version-three");
	struct provider_cred v3 = { .n = 3, .handle = "orders_b", .value = value, .rotation = ROT };
	CHECK(put(s, &v3, NULL, NULL) == KIND_CONFLICT && strstr(err.message, "3 sessions"));

	TEST("disconnect ends every session of the role");
	CHECK(p->disconnect(s, &c, &creds[1], &left, &err) == KIND_OK && left == 0);
	CHECK(sql_is("select count(*) from pg_stat_activity where usename = 'orders_b'", "0"));
	CHECK(p->disconnect(s, &c, &creds[0], &left, &err) == KIND_OK && left == 0);
	pq->PQfinish(one);
	pq->PQfinish(two);
	pq->PQfinish(own);
	pq->PQfinish(fake);

	TEST("now is the server's clock");
	int64_t now = 0;
	CHECK(p->now(s, &c, &now, &err) == KIND_OK && now > clock_wall() - 60000 && now < clock_wall() + 60000);
	p->close(s);
}

static void take_item(void *arg, const struct provider_item *item)
{
	struct provider_item *at = arg;
	at += strcmp(item->handle, "orders_b") == 0;
	CHECK(item->mark && item->mark_home && strcmp(item->mark_home, HOME) == 0 && item->mark_state);
	*at = *item;
	at->mark = at->tag = at->handle = NULL;
}

static void test_list(void)
{
	struct provider_item two[2] = { { 0 } };
	struct provider_call c = CALL(NULL);
	TEST("list tells marks, sessions and log-in; passwords only to who may know");
	struct provider_session *s = open_pair();
	CHECK(p->list(s, &c, take_item, two, &err) == KIND_OK);
	CHECK(two[0].mark_version == 1 && two[1].mark_version == 2 && two[0].can_login == 0 && two[1].can_login == 1);
	CHECK(two[0].has_value == -1 && two[1].sessions == 0);
	p->close(s);
	s = open_as("admin", "adminpw", "orders_a", "orders_b");
	CHECK(p->list(s, &c, take_item, two, &err) == KIND_OK && two[0].has_value == 0 && two[1].has_value == 1);
	p->close(s);
}

/* ---- dead attempts and lost answers */

static void test_fence(void)
{
	struct provider_session *s = open_pair();
	struct provider_call c = call_of(20000, ROT "/issue/2", NULL);
	struct provider_cred n = { .n = 3, .handle = "orders_a", .rotation = ROT };
	struct provider_made made = { 0 };
	enum kind_seen seen;
	PGconn *dead = login("127.0.0.1", "rotor", MANAGER_PASSWORD, "rotor/" ROT "/1");
	PGconn *other = login("127.0.0.1", "rotor", MANAGER_PASSWORD, "rotor/" ROT "/2");
	TEST("a fence ends earlier attempts of the rotation, and nobody else");
	free(on(dead, "begin; alter role orders_a login"));
	c.fence = ROT "/2";
	CHECK(p->look(s, &c, &n, &seen, &made, &err) == KIND_OK);
	CHECK(sql_is("select count(*) from pg_stat_activity where application_name = 'rotor/" ROT "/1'", "0"));
	CHECK(sql_is("select count(*) from pg_stat_activity where application_name = 'rotor/" ROT "/2'", "2"));
	CHECK(sql_is("select rolcanlogin::text from pg_roles where rolname = 'orders_a'", "false"));
	pq->PQfinish(dead);
	pq->PQfinish(other);
	p->close(s);

	TEST("a commit without an answer is ambiguous, and the fenced look tells what became of it");
	AUTO_FIELDS *value = password("value-of-version-three");
	n.value = value;
	s = open_pair();
	CHECK(sql("alter system set synchronous_standby_names = 'nobody'") && sql("select pg_reload_conf()"));
	usleep(300000);
	c = call_of(2000, ROT "/issue/3", NULL);
	CHECK(p->put(s, &c, &n, NULL, &made, &err) == KIND_AMBIGUOUS);
	CHECK(clock_boot() < c.deadline_ms);
	c = call_of(20000, ROT "/issue/4", NULL);
	c.fence = ROT "/4";
	CHECK(p->look(s, &c, &n, &seen, &made, &err) == KIND_OK && seen == KIND_HELD);
	free(on(admin, "set synchronous_commit = local"));
	CHECK(sql("alter system reset synchronous_standby_names") && sql("select pg_reload_conf()"));
	usleep(300000);
	CHECK(logs_in(s, &n) && p->drop(s, &c, &n, &err) == KIND_OK);

	TEST("a lock that somebody holds is a temporary trouble, and nothing is changed");
	PGconn *busy = login(folder, "admin", NULL, "busy");
	free(on(busy, "begin; alter role orders_a connection limit 5"));
	c = call_of(1000, ROT "/issue/4", NULL);
	CHECK(p->put(s, &c, &n, NULL, &made, &err) == KIND_TEMPORARY && clock_boot() < c.deadline_ms);
	free(on(busy, "rollback"));
	pq->PQfinish(busy);
	CHECK(look(s, &n) == KIND_ABSENT);
	p->close(s);
}

static void test_trouble(void)
{
	struct provider_call c = CALL(NULL);
	int64_t now;
	TEST("a manager with a wrong password is permanent, a server that is away temporary");
	struct provider_session *s = open_as("rotor", "wrong-password", "orders_a", "orders_b");
	CHECK(p->now(s, &c, &now, &err) == KIND_PERMANENT && strstr(err.message, "28P01") &&
	      !strstr(err.message, "wrong-password"));
	p->close(s);
	AUTO_JSON *params =
		json_pack("{s:s,s:[s,s]}", "url", "postgresql://rotor@127.0.0.1:1/postgres", "users", "a", "b");
	CHECK(p->open(params, NULL, &c, &s, &err) == KIND_OK);
	CHECK(p->now(s, &c, &now, &err) == KIND_TEMPORARY && strstr(err.message, "127.0.0.1:1"));
	p->close(s);

	TEST("no password in auth where the server wants one");
	AUTO_FREE char *url = mem_printf("postgresql://rotor@127.0.0.1:%s/postgres", port);
	AUTO_JSON *bare = json_pack("{s:s,s:[s,s]}", "url", url, "users", "a", "b");
	CHECK(p->open(bare, NULL, &c, &s, &err) == KIND_OK);
	CHECK(p->now(s, &c, &now, &err) == KIND_PERMANENT);
	p->close(s);

	TEST("a connection that the server ended is made anew");
	s = open_pair();
	CHECK(p->now(s, &c, &now, &err) == KIND_OK);
	CHECK(sql("select pg_terminate_backend(pid, 2000) from pg_stat_activity where usename = 'rotor'"));
	CHECK(p->now(s, &c, &now, &err) == KIND_TEMPORARY && p->now(s, &c, &now, &err) == KIND_OK);
	p->close(s);

	TEST("the probe's own query runs as the role, and cannot write");
	AUTO_FREE char *me = mem_printf("postgresql://rotor@127.0.0.1:%s/postgres", port);
	static const struct {
		const char *query;
		enum kind_rc want;
	} queries[] = {
		{ "select 1 from app.orders", KIND_OK },  { "select 1 from orders limit 1", KIND_OK },
		{ "select 1 from gone", KIND_PERMANENT }, { "insert into orders values (1)", KIND_TEMPORARY },
		{ "commit; select 1", KIND_PERMANENT },   { "copy orders to stdout", KIND_PERMANENT },
	};
	AUTO_FIELDS *auth = password(MANAGER_PASSWORD), *value = password("value-of-version-two-b");
	struct provider_cred v2 = { .n = 2, .handle = "orders_b", .value = value };
	for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
		enum kind_login got = KIND_REFUSED;
		AUTO_JSON *j = json_pack("{s:s,s:[s,s],s:s}", "url", me, "users", "orders_a", "orders_b", "probe_query",
		                         queries[i].query);
		CHECK(p->open(j, auth, &c, &s, &err) == KIND_OK);
		enum kind_rc rc = p->probe(s, &c, &v2, &got, &err);
		if (rc != queries[i].want)
			printf("# %s: %d %s\n", queries[i].query, rc, err.message);
		CHECK(rc == queries[i].want && (rc != KIND_OK || got == KIND_ACCEPTED));
		p->close(s);
	}
}

static void test_endpoints(void)
{
	AUTO_FREE char *url = mem_printf("postgresql://rotor@127.0.0.1:%s/postgres", port);
	AUTO_FREE char *socket = mem_printf("postgresql:///?host=%s&port=%s", folder, port);
	AUTO_JSON *params = json_pack("{s:s,s:[s,s],s:[s,s]}", "url", url, "users", "orders_a", "orders_b", "endpoints",
	                              socket, "postgresql://127.0.0.1:1");
	AUTO_FIELDS *auth = password(MANAGER_PASSWORD), *value = password("value-of-version-two-b");
	struct provider_cred v2 = { .n = 2, .handle = "orders_b", .value = value };
	struct provider_call c = CALL(NULL);
	struct provider_session *s = NULL;
	struct provider_usage use;
	enum kind_login got;
	unsigned left;
	TEST("log-ins, sessions and their end at further endpoints, which take user and database from the url");
	CHECK(p->open(params, auth, &c, &s, &err) == KIND_OK);
	PGconn *app = login(folder, "orders_b", "value-of-version-two-b", "app");
	for (c.endpoint = 0; c.endpoint < 2; c.endpoint++) {
		CHECK(logs_in(s, &v2));
		CHECK(p->probe(s, &c, &v2, &got, &err) == KIND_OK && got == KIND_ACCEPTED);
		CHECK(p->usage(s, &c, &v2, 1, NULL, &use, &err) == KIND_OK && use.sessions == 1);
	}
	CHECK(p->probe(s, &c, &v2, &got, &err) == KIND_TEMPORARY &&
	      p->usage(s, &c, &v2, 1, NULL, &use, &err) == KIND_TEMPORARY);
	c.endpoint = 1;
	CHECK(p->disconnect(s, &c, &v2, &left, &err) == KIND_OK && left == 0);
	c.endpoint = 3;
	CHECK(p->probe(s, &c, &v2, &got, &err) == KIND_PERMANENT &&
	      p->usage(s, &c, &v2, 1, NULL, &use, &err) == KIND_PERMANENT);
	pq->PQfinish(app);
	p->close(s);

	TEST("TLS that cannot be verified is permanent, and nothing is sent");
	AUTO_FREE char *tls = mem_printf("postgresql://rotor@127.0.0.1:%s/postgres?sslmode=verify-full", port);
	AUTO_JSON *strict = json_pack("{s:s,s:[s,s]}", "url", tls, "users", "orders_a", "orders_b");
	int64_t now;
	CHECK(p->open(strict, auth, &c, &s, &err) == KIND_OK);
	CHECK(p->now(s, &c, &now, &err) == KIND_PERMANENT && strstr(err.message, "TLS"));
	p->close(s);
}

static void test_single(void)
{
	struct findings all = { 0 };
	AUTO_FIELDS *one = password("single-one"), *two = password("single-two");
	struct provider_cred v1 = { .n = 1, .handle = "Odd \"role' \303\244", .value = one, .rotation = OLD_ROT };
	struct provider_cred v2 = { .n = 2, .handle = v1.handle, .value = two, .rotation = ROT };
	struct provider_session *s = open_as("admin", "adminpw", v1.handle, NULL);
	TEST("a single role is one slot and an outage; its sessions are no conflict; its name needs quoting");
	struct kind_facts f = plan(s, &all);
	CHECK(f.slots == 1 && !f.can_suspend && finding(&all, "one-slot")->severity == KIND_OUTAGE &&
	      finding(&all, "role-missing"));
	repair(&all);
	CHECK(put(s, &v1, NULL, "") == KIND_OK && logs_in(s, &v1));
	PGconn *open = login("127.0.0.1", v1.handle, "single-one", "app");
	CHECK(pq->PQstatus(open) == CONNECTION_OK);
	CHECK(put(s, &v2, &v1, NULL) == KIND_OK && logs_in(s, &v2) && !logs_in(s, &v1));
	CHECK(look(s, &v1) == KIND_ABSENT && look(s, &v2) == KIND_HELD);
	CHECK(put(s, &v1, &v2, NULL) == KIND_OK && logs_in(s, &v1));
	pq->PQfinish(open);
	p->close(s);
}

static bool set_up(void)
{
	return sql("create role orders_owner; create role rotor login password '" MANAGER_PASSWORD "';"
	           "create role orders_a nologin in role orders_owner; alter role orders_a set role to orders_owner;"
	           "alter role orders_a set search_path to app, public; alter role orders_a in database postgres set "
	           "work_mem = '5MB';"
	           "create role legacy login password 'legacy-pw';"
	           "create schema app authorization orders_owner; create table app.orders (n int);"
	           "alter table app.orders owner to orders_owner; insert into app.orders values (1)") &&
	       (pq->PQserverVersion(admin) < 160000 ||
	        sql("grant legacy to rotor with admin true, inherit false, set false"));
}

int main(int argc, char **argv)
{
	if (argc != 3 || !arena_init(&err) || !(pq = pq_load(&err))) {
		fprintf(stderr, "usage: %s SOCKET_FOLDER PORT %s\n", argv[0], err.message);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	json_setup();
	folder = argv[1];
	port = argv[2];
	admin = login(folder, "admin", NULL, "test");
	TEST("a fresh server");
	CHECK(set_up());
	test_plan_repairs();
	test_hba();
	test_life();
	test_legacy();
	test_sessions();
	test_list();
	test_fence();
	test_trouble();
	test_endpoints();
	test_single();
	pq->PQfinish(admin);
	return TEST_END();
}
