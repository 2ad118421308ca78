/* The kind `postgres` without a server: urls, marks, verifiers, and what a hostile server may answer. */
#include "tests/unit/test.h"

#include <stdlib.h>

#include "core/arena.h"
#include "core/clock.h"
#include "core/json.h"
#include "core/mem.h"
#include "providers/postgres/postgres.h"

extern const struct provider provider_postgres;

static struct err err;

static void url_good(void)
{
	struct postgres_url u;
	TEST("urls: all parts");
	CHECK(postgres_url_parse("postgresql://ro%20tor@db.example:6432/or%2Fders?sslmode=require&connect_timeout=7",
	                         &u, &err));
	CHECK_STR(u.host, "db.example");
	CHECK_STR(u.port, "6432");
	CHECK_STR(u.user, "ro tor");
	CHECK_STR(u.dbname, "or/ders");
	CHECK_STR(u.sslmode, "require");
	CHECK(u.connect_timeout == 7 && !u.socket && !u.loopback);

	TEST("urls: TLS is verified off loopback unless said otherwise");
	static const char *const modes[][2] = {
		{ "postgresql://h/d", "verify-full" },
		{ "postgres://127.0.0.1/d", "prefer" },
		{ "postgresql://[::1]:5433/d", "prefer" },
		{ "postgresql://[fe80::1]/d", "verify-full" },
		{ "postgresql:///orders", "disable" },
		{ "postgresql:///orders?host=/run/pg", "disable" },
		{ "postgresql://localhost", "prefer" },
		{ "postgresql://localhost.example.org", "verify-full" },
		{ "postgresql://%2Frun%2Fpg/orders", "disable" },
		{ "postgresql://h?sslmode=verify-ca", "verify-ca" },
	};
	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
		CHECK(postgres_url_parse(modes[i][0], &u, &err));
		CHECK_STR(u.sslmode, modes[i][1]);
		CHECK(u.socket == (strcmp(u.sslmode, "disable") == 0));
	}
	CHECK(postgres_url_parse("postgresql://u@[2001:db8::7]:6000/d", &u, &err) &&
	      strcmp(u.host, "2001:db8::7") == 0);
	CHECK_STR(u.port, "6000");
}

static void url_bad(void)
{
	struct postgres_url u;
	static const char *const bad[] = {
		"",
		"mysql://h/d",
		"postgresql:/h",
		"postgresql://h:0/d",
		"postgresql://h:65536/d",
		"postgresql://h:54x/d",
		"postgresql://h1,h2/d",
		"postgresql://h/d?host=a,b",
		"postgresql://h/d?sslmode=none",
		"postgresql://h/d?sslmode=",
		"postgresql://h/d?options=-c%20x",
		"postgresql://h/d?service=x",
		"postgresql://h/d?passfile=/x",
		"postgresql://h/d?",
		"postgresql://h/d?hostaddr=1.2.3.4",
		"postgresql://h/d?user=a&user=b",
		"postgresql://a@h/d?user=b",
		"postgresql://h/d%0a",
		"postgresql://h/d%0",
		"postgresql://h/d%",
		"postgresql://h/d%zz",
		"postgresql://h/d%00",
		"postgresql://h/d#x",
		"postgresql://h/d?connect_timeout=0",
		"postgresql://h/d?connect_timeout=601",
		"postgresql://h/d?connect_timeout=9x",
		"postgresql://h/d?sslrootcert=ca.pem",
		"postgresql://h/d?sslcert=/c",
		"postgresql://[::1/d",
		"postgresql://[::1]x:1/d",
		"postgresql://-h/d",
		"postgresql://h h/d",
		"postgresql://h/d?port=1&port=2",
		"postgresql://h\n/d",
	};
	TEST("urls: what is not understood is refused");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		bool ok = postgres_url_parse(bad[i], &u, &err);
		CHECK(!ok && err.code == ERR_USAGE);
		if (ok)
			printf("# accepted: %s\n", bad[i]);
	}
	static const char *const secret[] = {
		"postgresql://u:canary@h/d",   "postgresql://u:can@ary@h/d",         "postgresql://u:canary/x@h/d",
		"postgresql://u:canary?x@h/d", "postgresql://u@h/d?password=canary", "postgresql://:canary@h/d",
		"postgresql://u:canary",       "postgresql://h/d?canary=1",          "postgresql://u/canary@h/d",
	};
	TEST("urls: a password is refused, and never shown");
	for (size_t i = 0; i < sizeof secret / sizeof *secret; i++) {
		CHECK(!postgres_url_parse(secret[i], &u, &err) && err.code == ERR_USAGE);
		CHECK(!strstr(err.message, "can") && !strstr(err.message, "ary") && !strstr(err.hint, "canary"));
	}
}

#define LINE "rotor: home=01HOME version=7 rotation=01ROT state=held"

static void marks(void)
{
	struct postgres_mark m;
	TEST("marks: read where they stand");
	postgres_mark_find(NULL, &m);
	CHECK(m.kind == POSTGRES_MARK_NONE && m.line[0] == '\0');
	postgres_mark_find("for people\n" LINE "\nmore", &m);
	CHECK(m.kind == POSTGRES_MARK_OURS && m.version == 7);
	CHECK_STR(m.line, LINE);
	CHECK_STR(m.home, "01HOME");
	CHECK_STR(m.rotation, "01ROT");
	CHECK_STR(m.state, "held");
	postgres_mark_find("about rotor: a story", &m);
	CHECK(m.kind == POSTGRES_MARK_NONE);

	TEST("marks: anything that is not exactly one of ours is strange");
	static const char *const strange[] = {
		LINE "\n" LINE,
		"rotor: x\n" LINE,
		LINE "\nrotor:",
		LINE " ",
		"rotor:  home=01HOME version=7 rotation=01ROT state=held",
		"rotor: home=01HOME version=07 rotation=01ROT state=held",
		"rotor: home=01HOME version=4294967296 rotation=01ROT state=held",
		"rotor: home=01HOME version=-1 rotation=01ROT state=held",
		"rotor: home=01HOME version=7 rotation=01ROT state=hel",
		"rotor: home= version=7 rotation=01ROT state=held",
		"rotor: home=01HOME version=7 rotation=01ROT",
		"rotor:" LINE,
		"rotor: home=01HO\xc3\xa4ME version=7 rotation=01ROT state=held",
	};
	for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
		postgres_mark_find(strange[i], &m);
		CHECK(m.kind == POSTGRES_MARK_STRANGE && strcmp(m.line, "?") == 0);
	}
	char *big = malloc(100001);
	memset(big, 'x', 100000);
	memcpy(big, "rotor:", 6);
	big[100000] = '\0';
	postgres_mark_find(big, &m);
	CHECK(m.kind == POSTGRES_MARK_STRANGE);
	free(big);

	TEST("marks: put in place of any other, the rest stays");
	static const char *const puts[][2] = {
		{ NULL, LINE },
		{ "", LINE },
		{ "people", "people\n" LINE },
		{ "people\n", "people\n" LINE },
		{ "a\n\nb\n" LINE, "a\n\nb\n" LINE },
		{ "rotor: old\na\nrotor: older", "a\n" LINE },
		{ "\n", "\n" LINE },
	};
	CHECK(postgres_mark_make("01HOME", 7, "01ROT", true, &m));
	for (size_t i = 0; i < sizeof puts / sizeof *puts; i++) {
		AUTO_BUF b = BUF_INIT(4096);
		postgres_mark_put(puts[i][0], &m, &b);
		CHECK_STR(b.data, puts[i][1]);
	}
	CHECK(!postgres_mark_make("a b", 7, "01ROT", true, &m) && !postgres_mark_make(NULL, 7, "01ROT", true, &m));
	CHECK(!postgres_mark_make("01HOME", 7, "x\ny", true, &m) && postgres_mark_make("01HOME", 7, NULL, false, &m));
	CHECK_STR(m.line, "rotor: home=01HOME version=7 rotation=- state=free");
}

#define KEY "S9A1MoXXTwAiVP2oaTXaG/B1/CdXe2Tz3svFEIpiG9I="
#define SALT "7rZv69iXafzNQrbBFzbHiA=="

static void verifiers(void)
{
	static const char *const bad[] = {
		"",
		"a password",
		"md5d41d8cd98f00b204e9800998ecf8427e",
		"SCRAM-SHA-256$4096:" SALT "$" KEY,
		"SCRAM-SHA-256$4096:" SALT "$" KEY ":",
		"SCRAM-SHA-256$" SALT "$" KEY ":" KEY,
		"SCRAM-SHA-256$96:" SALT "$" KEY ":" KEY,
		"SCRAM-SHA-256$04096:" SALT "$" KEY ":" KEY,
		"SCRAM-SHA-256$4096:$" KEY ":" KEY,
		"SCRAM-SHA-256$4096:" SALT "$" KEY ":" KEY "x",
		"SCRAM-SHA-256$4096:" SALT "$" SALT ":" KEY,
		"SCRAM-SHA-256$4096:" SALT "$" KEY ":" SALT,
		"SCRAM-SHA-256$4096:7r\"v69==$" KEY ":" KEY,
		"scram-sha-256$4096:" SALT "$" KEY ":" KEY,
		" SCRAM-SHA-256$4096:" SALT "$" KEY ":" KEY,
		"SCRAM-SHA-256$4096:" SALT "$" KEY ":" KEY "\n",
	};
	TEST("verifiers: only the exact form");
	CHECK(postgres_verifier_ok("SCRAM-SHA-256$4096:" SALT "$" KEY ":" KEY));
	CHECK(!postgres_verifier_ok(NULL));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK(!postgres_verifier_ok(bad[i]));
}

static void params(void)
{
	static const struct {
		const char *json, *key; /* NULL: good */
	} all[] = {
		{ "{\"url\":\"postgresql:///o\",\"users\":[\"a\",\"b\"],\"endpoints\":null}", NULL },
		{ "{\"url\":\"postgresql:///o\",\"users\":[\"a\"],\"endpoints\":[\"postgresql://x/o\"]}", NULL },
		{ "{\"url\":\"postgresql:///o\",\"users\":[\"a\",\"a\"]}", "users" },
		{ "{\"url\":\"postgresql:///o\",\"users\":[]}", "users" },
		{ "{\"url\":\"postgresql:///o\",\"users\":[\"a\",\"b\",\"c\"]}", "users" },
		{ "{\"url\":\"postgresql:///o\",\"users\":[\"pg_monitor\"]}", "users" },
		{ "{\"url\":\"postgresql:///o\",\"users\":[\"a\\nb\"]}", "users" },
		{ "{\"url\":\"postgresql:///"
		  "o\",\"users\":[\"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg\"]}",
		  "users" },
		{ "{\"url\":\"postgresql://u:p@h/o\",\"users\":[\"a\"]}", "url" },
		{ "{\"url\":\"postgresql://h/o\",\"users\":[\"a\"],\"endpoints\":[\"postgresql://u:p@h/o\"]}",
		  "endpoints" },
	};
	TEST("parameters: check names the one at fault");
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		const char *key = NULL;
		AUTO_JSON *j = json_parse(all[i].json, strlen(all[i].json), 4, "test", &err);
		bool ok = provider_postgres.kind.check(j, KIND_AUTHORITY, &key, &err);
		CHECK(ok == !all[i].key);
		if (!ok)
			CHECK_STR(key, all[i].key);
	}
	TEST("parameters: the address names server and database");
	AUTO_JSON *j = json_pack("{s:s}", "url", "postgresql://rotor@db:6000/orders");
	char *address = provider_postgres.kind.address(j);
	CHECK_STR(address, "postgres:db:6000/orders");
	free(address);
}

/* ---- a server that answers every question alike: libpq's results are ours here */

struct pg_result {
	bool given; /* PQgetResult has given it */
	int rows, columns;
	const char *const *cells; /* of each row; NULL null */
};
static struct pg_result answer;
static char manager; /* its address stands for the connection */

static ConnStatusType fake_status(const PGconn *c)
{
	(void)c;
	return CONNECTION_OK;
}
static int fake_send(PGconn *c, const char *sql)
{
	(void)c;
	answer.given = false;
	return sql != NULL;
}
static int fake_send_params(PGconn *c, const char *sql, int n, const Oid *types, const char *const *values,
                            const int *lengths, const int *formats, int format)
{
	(void)n, (void)types, (void)values, (void)lengths, (void)formats, (void)format;
	return fake_send(c, sql);
}
static int fake_zero(PGconn *c)
{
	(void)c;
	return 0;
}
static PGresult *fake_get(PGconn *c)
{
	(void)c;
	bool given = answer.given;
	answer.given = true;
	return given ? NULL : &answer;
}
static ExecStatusType fake_result(const PGresult *r)
{
	return r->columns ? PGRES_TUPLES_OK : PGRES_COMMAND_OK;
}
static int fake_rows(const PGresult *r)
{
	return r->rows;
}
static int fake_columns(const PGresult *r)
{
	return r->columns;
}
static char *fake_value(const PGresult *r, int row, int column)
{
	return row < r->rows && column < r->columns ? (char *)r->cells[column] : NULL;
}
static int fake_null(const PGresult *r, int row, int column)
{
	return !fake_value(r, row, column);
}
static char *fake_field(const PGresult *r, int field)
{
	(void)r, (void)field;
	return NULL;
}
static void fake_clear(PGresult *r)
{
	(void)r;
}
static void fake_finish(PGconn *c)
{
	(void)c;
}
static char *fake_quote(PGconn *c, const char *text, size_t len)
{
	(void)c;
	return mem_printf("'%.*s'", (int)len, text);
}
static int fake_version(const PGconn *c)
{
	(void)c;
	return 150000;
}
static int library = 150000;
static int fake_library(void)
{
	return library;
}

static const struct pq fake = { .PQstatus = fake_status,
	                        .PQsendQuery = fake_send,
	                        .PQsendQueryParams = fake_send_params,
	                        .PQisBusy = fake_zero,
	                        .PQgetResult = fake_get,
	                        .PQresultStatus = fake_result,
	                        .PQntuples = fake_rows,
	                        .PQnfields = fake_columns,
	                        .PQgetvalue = fake_value,
	                        .PQgetisnull = fake_null,
	                        .PQresultErrorField = fake_field,
	                        .PQclear = fake_clear,
	                        .PQfinish = fake_finish,
	                        .PQescapeLiteral = fake_quote,
	                        .PQescapeIdentifier = fake_quote,
	                        .PQfreemem = free,
	                        .PQserverVersion = fake_version,
	                        .PQlibVersion = fake_library };

static unsigned listed, found, clear;

static void take_item(void *arg, const struct provider_item *item)
{
	(void)arg, (void)item;
	listed++;
}

static void take_finding(void *arg, const struct provider_finding *f)
{
	(void)arg;
	found++;
	clear += strcmp(f->check, "clear-password") == 0 && f->severity == KIND_INFO;
}

/* The verbs that read; each one's answer to what the server says. */
enum verb { USAGE, DISCONNECT, NOW, LOOK, LIST, PLAN, SUSPEND, FENCE, VERBS };

static enum kind_rc ask(enum verb v, unsigned *sessions)
{
	struct provider_session s = { .pq = &fake, .n_urls = 1, .n_users = 1, .users = { "a" }, .app = "rotor" };
	struct provider_call call = { .deadline_ms = clock_boot() + 5000, .home = "01HOME" };
	struct provider_cred n = { .n = 1, .handle = "a" };
	struct provider_usage usage = { 0 };
	struct provider_made made = { 0 };
	struct kind_facts facts;
	enum kind_seen seen;
	enum kind_rc rc = KIND_OK;
	int64_t now;
	s.conns[0] = (PGconn *)&manager;
	err = (struct err){ 0 };
	call.fence = v == FENCE ? "01ROT/2" : NULL;
	switch (v) {
	case USAGE:
		rc = postgres_usage(&s, &call, &n, 1, NULL, &usage, &err);
		break;
	case DISCONNECT:
		rc = postgres_disconnect(&s, &call, &n, sessions, &err);
		break;
	case FENCE:
	case NOW:
		rc = postgres_now(&s, &call, &now, &err);
		break;
	case LOOK:
		rc = postgres_look(&s, &call, &n, &seen, &made, &err);
		break;
	case LIST:
		rc = postgres_list(&s, &call, take_item, NULL, &err);
		break;
	case PLAN:
		rc = postgres_plan(&s, &call, &facts, take_finding, NULL, &err);
		break;
	case SUSPEND:
		rc = postgres_suspend(&s, &call, &n, true, &err);
		break;
	case VERBS:
		break;
	}
	if (v == USAGE)
		*sessions = usage.sessions;
	free(s.quiet);
	return rc;
}

static void hostile(void)
{
	static const char *const none[10] = { 0 }, *const words[] = { "x", "x", "x", "x", "x", "x", "x", "x", "x" };
	static const char *const counts[][4] = {
		{ "", "a", "b", "1" },   { "-1", "a", "b", "1" }, { "4294967296", "a", "b", "1" },
		{ " 0", "a", "b", "1" }, { "0x", "a", "b", "1" }, { NULL, "a", "b", "1" },
	};
	unsigned sessions = 0;
	TEST("a hostile server: no answer of the wrong form is taken for one, none is fatal");
	for (int v = 0; v < VERBS; v++)
		for (int columns = 0; columns < 10; columns++)
			for (int rows = 0; rows < 3; rows++)
				for (int kind = 0; kind < 2; kind++) {
					answer = (struct pg_result){ .rows = rows,
						                     .columns = columns,
						                     .cells = kind ? words : none };
					enum kind_rc rc = ask((enum verb)v, &sessions);
					bool empty = rows == 0 && columns == 4 && (v == LOOK || v == LIST);
					CHECK(empty ||
					      (rc == KIND_TEMPORARY && strstr(err.message, "not what was asked")));
				}
	TEST("a hostile server: a malformed count is no evidence that nobody is there");
	for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
		answer = (struct pg_result){ .rows = 1, .columns = 4, .cells = counts[i] };
		CHECK(ask(USAGE, &sessions) == KIND_TEMPORARY);
		answer.columns = 1;
		CHECK(ask(DISCONNECT, &sessions) == KIND_TEMPORARY);
		CHECK(ask(FENCE, &sessions) == KIND_TEMPORARY);
		const char *const role[] = { "a", "t", NULL, counts[i][0] };
		answer = (struct pg_result){ .rows = 1, .columns = 4, .cells = role };
		CHECK(ask(LOOK, &sessions) == KIND_TEMPORARY && ask(LIST, &sessions) == KIND_TEMPORARY);
	}
	TEST("the same server, when it answers well");
	static const char *const good[] = { "2", NULL, NULL, NULL }, *const role[] = { "a", "f", NULL, "0" };
	answer = (struct pg_result){ .rows = 1, .columns = 4, .cells = good };
	CHECK(ask(USAGE, &sessions) == KIND_OK && sessions == 2);
	answer.columns = 1;
	CHECK(ask(DISCONNECT, &sessions) == KIND_MORE && sessions == 2);
	answer = (struct pg_result){ .rows = 1, .columns = 4, .cells = role };
	CHECK(ask(LOOK, &sessions) == KIND_OK);
	CHECK(listed == 0 && found == 0);
}

/* The plan fails behind its findings about the server, which is enough here. */
static unsigned clear_findings(const char *url)
{
	static const char *const cells[] = { "rotor", "t", "t", "t", "t", "f" };
	struct provider_session s = { .pq = &fake, .n_urls = 1, .n_users = 1, .users = { "a" }, .app = "rotor" };
	struct provider_call call = { .deadline_ms = clock_boot() + 5000, .home = "01HOME" };
	struct kind_facts facts;
	CHECK(postgres_url_parse(url, &s.urls[0], &err));
	s.conns[0] = (PGconn *)&manager;
	answer = (struct pg_result){ .rows = 1, .columns = 6, .cells = cells };
	clear = 0;
	CHECK(postgres_plan(&s, &call, &facts, take_finding, NULL, &err) == KIND_TEMPORARY);
	return clear;
}

static void clear_password(void)
{
	TEST("the plan says where an old libpq would give the password to any server");
	library = 150000;
	CHECK(clear_findings("postgresql://h/d?sslmode=verify-ca") == 1);
	CHECK(clear_findings("postgresql://h/d?sslmode=disable") == 1);
	CHECK(clear_findings("postgresql://h/d") == 0);
	CHECK(clear_findings("postgresql://127.0.0.1/d") == 0);
	CHECK(clear_findings("postgresql:///d") == 0);
	library = 160000;
	CHECK(clear_findings("postgresql://h/d?sslmode=require") == 0);
}

int main(void)
{
	json_setup();
	url_good();
	url_bad();
	marks();
	verifiers();
	params();
	hostile();
	clear_password();
	return TEST_END();
}
