/* Declarations: canonical form, defaults, and faults with their places. The kinds are the test's own. */
#include "core/load.h"

#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/decl.h"
#include "core/json.h"
#include "core/kind.h"
#include "core/mem.h"
#include "tests/unit/test.h"

static const struct schema_key db_keys[] = {
	{ .name = "url", .type = SCHEMA_STRING, .flags = SCHEMA_REQUIRED, .help = "where it is" },
	{ .name = "users", .type = SCHEMA_STRINGS, .flags = SCHEMA_REQUIRED, .help = "log-in roles" },
	{ .name = "port", .type = SCHEMA_INT, .fallback = "5432", .min = 1, .max = 65535 },
	{ 0 },
};
static const struct schema_key reload_keys[] = {
	{ .name = "unit", .type = SCHEMA_STRING },
	{ .name = "command", .type = SCHEMA_ARGV },
	{ 0 },
};
static const struct schema_key file_keys[] = {
	{ .name = "path", .type = SCHEMA_PATH, .flags = SCHEMA_REQUIRED },
	{ .name = "format", .type = SCHEMA_ENUM, .allowed = "env|json|raw" },
	{ .name = "map", .type = SCHEMA_STRING_MAP },
	{ .name = "template", .type = SCHEMA_STRING },
	{ .name = "mode", .type = SCHEMA_MODE },
	{ .name = "reload", .type = SCHEMA_OBJECT, .sub = reload_keys },
	{ 0 },
};
static const struct schema_key no_keys[] = { { 0 } };

static bool db_check(const json_t *params, unsigned role, const char **ret_key, struct err *e)
{
	(void)role;
	*ret_key = "url";
	return !strstr(json_str(params, "url"), "PASSWORD") || err_set(e, ERR_USAGE, "a password in 'url'");
}

static char *file_address(const json_t *params)
{
	return mem_printf("file:%s", json_str(params, "path"));
}

static const struct kind db = { .name = "db",
	                        .summary = "a database",
	                        .roles = KIND_AUTHORITY,
	                        .secret_type = "password",
	                        .params = db_keys,
	                        .check = db_check };
static const struct kind file = { .name = "file",
	                          .summary = "a file",
	                          .roles = KIND_CONSUMER | KIND_STORE,
	                          .params = file_keys,
	                          .address = file_address };
static const struct kind pull = { .name = "pull", .summary = "fetches", .roles = KIND_CONSUMER, .params = no_keys };
static const struct kind *const kinds[] = { &db, &file, &pull };

static char dir[] = "/tmp/rotor-load-XXXXXX";

static const char *path_of(const char *name)
{
	static char path[4][128];
	static size_t turn;
	char *ret = path[turn++ % 4];
	snprintf(ret, sizeof path[0], "%s/%s", dir, name);
	return ret;
}

static const char *put(const char *name, const char *bytes, size_t len)
{
	const char *path = path_of(name);
	FILE *f = fopen(path, "w");
	if (!f || fwrite(bytes, 1, len, f) != len || fclose(f) != 0)
		exit(99);
	return path;
}

static const char *put_text(const char *name, const char *text)
{
	return put(name, text, strlen(text));
}

static bool in_home(void *arg, const char *id)
{
	(void)arg;
	return strcmp(id, "at/home") == 0;
}

static bool load_bytes(const char *bytes, size_t len, struct load *ret)
{
	const char *path = put("a.yaml", bytes, len);
	return load_files(&path, 1, in_home, NULL, ret);
}

/* Takes the directory off the front, so that the tests can say `a.yaml:2:3: ...`. */
static const char *fault(const struct load *l, size_t i)
{
	if (i >= l->n_faults)
		return "(no such fault)";
	const char *text = l->faults[i].text;
	return strncmp(text, dir, strlen(dir)) == 0 ? text + strlen(dir) + 1 : text;
}

/* Exactly these faults, each by its beginning; the list ends with NULL. */
static void faults(const char *yaml, const char *const want[])
{
	struct load l;
	bool ok = load_bytes(yaml, strlen(yaml), &l);
	size_t n = 0;
	while (want[n])
		n++;
	CHECK(ok == (n == 0));
	CHECK(l.n_faults == n);
	for (size_t i = 0; i < n || i < l.n_faults; i++)
		if (i >= n || strncmp(fault(&l, i), want[i], strlen(want[i])) != 0) {
			test_bad_ = 1;
			printf("# got:  %s\n# want: %s\n", fault(&l, i), i < n ? want[i] : "none");
		}
	load_clear(&l);
}
#define FAULTS(yaml, ...) faults(yaml, (const char *const[]){ __VA_ARGS__, NULL })

/* Pieces of declarations. */
#define DB "{provider: db, url: u, users: a}"
#define SECRETS "rotor: 1\nsecrets:\n"
#define ONE(rest) SECRETS "  s:\n    authority: " DB "\n" rest
#define POLICY(rest) "rotor: 1\npolicies:\n  p: {" rest "}\n"

/* The canonical text of the one secret in `yaml`; the caller frees. */
static char *canonical(const char *yaml)
{
	struct load l;
	char *ret = NULL;
	if (!load_bytes(yaml, strlen(yaml), &l))
		printf("# %s\n", fault(&l, 0));
	else if (l.n_secrets == 1) {
		AUTO_JSON *j = load_secret_json(&l.secrets[0]);
		ret = json_text(j);
	}
	load_clear(&l);
	return ret;
}

static void small(void)
{
	TEST("the smallest declaration has every default");
	AUTO_TEXT *text =
		canonical(SECRETS "  orders-db:\n    owner: o\n    authority: {provider: db, url: u, users: [a, b]}\n"
	                          "    consumers:\n      - {file: /e/env, map: {U: "
	                          "\"x://{username}:{password:url}@h\"}, reload: {unit: o.service}}\n");
	CHECK_STR(text,
	          "{\"id\":\"orders-db\",\"type\":\"password\",\"owner\":\"o\",\"risk\":\"medium\",\"labels\":{},"
	          "\"accept_outage\":false,\"keep\":\"needed\",\"policy\":{\"name\":\"default\",\"rotate_every\":"
	          "2592000000,"
	          "\"max_age\":null,\"jitter\":0,\"window\":null,\"freeze\":[],\"probe\":{\"successes\":2,\"query\":"
	          "null,\"timeout\":60000},"
	          "\"canary\":{\"consumers\":0,\"bake\":300000},\"confirm\":{\"timeout\":1800000},\"overlap\":600000,"
	          "\"drain\":{\"quiet_for\":900000,\"sample\":10000,\"timeout\":7200000,\"on_timeout\":\"hold\"},"
	          "\"soak\":86400000,"
	          "\"retry\":{\"deadline\":600000},\"on_failure\":\"rollback\",\"approvals\":null},"
	          "\"generate\":{\"length\":32,\"alphabet\":\"alnum\"},\"adopt\":null,"
	          "\"authority\":{\"name\":\"db\",\"provider\":\"db\",\"params\":{\"url\":\"u\",\"users\":[\"a\",\"b\"]"
	          ",\"port\":5432},\"auth\":null},"
	          "\"stores\":[],\"consumers\":[{\"name\":\"file:/e/"
	          "env\",\"provider\":\"file\",\"params\":{\"path\":\"/e/env\",\"format\":null,"
	          "\"map\":{\"U\":\"x://"
	          "{username}:{password:url}@h\"},\"template\":null,\"mode\":null,\"reload\":{\"unit\":\"o.service\","
	          "\"command\":null}},"
	          "\"auth\":null,\"cache_ttl\":0,\"confirm\":[],\"health\":[]}]}");

	TEST("the owner is the login user by default");
	AUTO_TEXT *plain = canonical(ONE(""));
	struct err e;
	AUTO_JSON *j = plain ? json_parse(plain, strlen(plain), 32, "x", &e) : NULL;
	CHECK(json_str(j, "owner") && json_str(j, "owner")[0]);
}

static const char full_yaml[] =
	"policies:\n  standard: {rotate_every: 4w, max_age: 45d, jitter: 10%, window: Mon-Fri 09:00-17:00 "
	"Europe/Berlin,\n"
	"    freeze: {from: 2026-12-20T00:00:00Z, to: 2027-01-02T00:00:00Z, reason: holidays}, probe: {successes: "
	"\"3\", query: select 1},\n"
	"    canary: {consumers: 1}, confirm: {timeout: 1h}, overlap: 20m, drain: {on_timeout: revoke, sample: 350ms}, "
	"soak: 0s,\n"
	"    retry: {deadline: 90s}, on_failure: hold}\n"
	"secrets:\n  prod/orders-db:\n    type: pg\n    owner: yes\n    risk: high\n    labels: {app: 1e3, n: ~}\n    "
	"policy: standard\n"
	"    generate: {length: 64, alphabet: ascii}\n    keep: none\n    adopt: {username: orders}\n    "
	"accept_outage: true\n"
	"    authority: {provider: db, name: main, url: u, users: [a, b], auth: [{secret: at/home}, {file: /k}, {fd: "
	"3}, {command: [/bin/x, y]}, self]}\n"
	"    stores: {provider: file, path: /store, mode: 0640}\n"
	"    consumers:\n      - {provider: pull, cache_ttl: 60s, confirm: manual, health: {command: [/bin/h]}}\n"
	"      - {provider: pull, name: p2, confirm: [{command: [/bin/c, \"1\"]}, {authority: {client: 10.0.0.0/8, "
	"none_old: true}}, {manual: true}]}\n"
	"rotor: 1\n";

static void full(void)
{
	struct load l;
	struct decl d = { 0 };
	struct err e = { 0 };
	TEST("everything that can be said arrives in the reader of canonical JSON");
	CHECK(load_bytes(full_yaml, sizeof full_yaml - 1, &l));
	if (l.n_faults)
		printf("# %s\n", fault(&l, 0));
	AUTO_JSON *j = l.n_secrets == 1 ? load_secret_json(&l.secrets[0]) : NULL;
	CHECK(decl_parse(j, &d, &e));
	if (!d.json) {
		printf("# %s\n", e.message);
		return;
	}
	CHECK_STR(l.secrets[0].id, "prod/orders-db");
	CHECK(l.secrets[0].line == 7);
	CHECK_STR(d.type, "pg");
	CHECK_STR(d.owner, "yes");
	CHECK_STR(d.risk, "high");
	CHECK_STR(json_str(d.labels, "app"), "1e3");
	CHECK_STR(json_str(d.labels, "n"), "~");
	CHECK(d.accept_outage && d.keep_none && d.length == 64);
	CHECK_STR(d.alphabet, "ascii");
	CHECK_STR(d.adopt, "orders");
	const struct decl_policy *p = &d.policy;
	CHECK_STR(p->name, "standard");
	CHECK(p->rotate_every == 2419200000 && p->max_age == 3888000000 && p->jitter == 10 && p->probe_successes == 3);
	CHECK_STR(p->window, "Mon-Fri 09:00-17:00 Europe/Berlin");
	CHECK(json_int(json_array_get(p->freeze, 0), "from", 0) == 1797724800000);
	CHECK_STR(p->probe_query, "select 1");
	CHECK(p->probe_timeout == 60000 && p->canary_consumers == 1 && p->canary_bake == 300000 &&
	      p->confirm_timeout == 3600000);
	CHECK(p->overlap == 1200000 && p->revoke_on_timeout && p->sample == 350 && p->quiet_for == 900000 &&
	      p->drain_timeout == 7200000);
	CHECK(p->soak == 0 && p->retry_deadline == 90000 && p->hold_on_failure);
	CHECK_STR(d.authority.name, "main");
	CHECK(d.authority.kind == &db && json_array_size(d.authority.auth) == 5);
	CHECK(json_is_true(json_object_get(json_array_get(d.authority.auth, 4), "self")));
	CHECK(json_int(json_array_get(d.authority.auth, 2), "fd", 0) == 3);
	CHECK(d.n_stores == 1 && d.n_consumers == 2);
	CHECK_STR(d.stores[0].name, "file:/store");
	CHECK(json_int(d.stores[0].params, "mode", 0) == 0640 && !d.stores[0].auth);
	CHECK(d.consumers[0].cache_ttl == 60000 && d.consumers[0].n_confirms == 1 &&
	      json_array_size(d.consumers[0].health) == 1);
	CHECK(d.consumers[0].confirms[0].kind == DECL_CONFIRM_MANUAL);
	CHECK_STR(d.consumers[0].t.name, "pull");
	const struct decl_confirm *c = d.consumers[1].confirms;
	CHECK(d.consumers[1].n_confirms == 3 && c[0].kind == DECL_CONFIRM_COMMAND && json_array_size(c[0].argv) == 2);
	CHECK(c[1].kind == DECL_CONFIRM_AUTHORITY && c[1].min == 1 && c[1].none_old && !c[1].application_name);
	CHECK_STR(c[1].client, "10.0.0.0/8");
	CHECK(c[2].kind == DECL_CONFIRM_MANUAL);
	decl_clear(&d);
	load_clear(&l);
}

/* Applies `change` to a good canonical declaration and reads it. */
static bool damaged(void (*change)(json_t *), const char *key)
{
	struct load l;
	struct decl d;
	struct err e = { 0 };
	bool refused = false;
	if (load_bytes(full_yaml, sizeof full_yaml - 1, &l)) {
		AUTO_JSON *json = load_secret_json(&l.secrets[0]),
			  *copy = json_deep_copy(json); /* its policy is shared */
		change(copy);
		refused = !decl_parse(copy, &d, &e);
		if (!refused)
			decl_clear(&d);
	}
	load_clear(&l);
	if (refused && !strstr(e.message, key))
		printf("# '%s' is not in '%s'\n", key, e.message);
	return refused && e.code == ERR_FAILED && strstr(e.message, key);
}

static void no_risk(json_t *j)
{
	json_object_del(j, "risk");
}
static void other_risk(json_t *j)
{
	json_put_str(j, "risk", "none");
}
static void more(json_t *j)
{
	json_put_str(j, "extra", "x");
}
static void bad_id(json_t *j)
{
	json_put_str(j, "id", "../x");
}
static void no_type(json_t *j)
{
	json_put_str(j, "type", NULL);
}
static void text_overlap(json_t *j)
{
	json_put_str(json_object_get(j, "policy"), "overlap", "10m");
}
static void approvals(json_t *j)
{
	json_put_int(json_object_get(j, "policy"), "approvals", 1);
}
static void no_drain(json_t *j)
{
	json_object_del(json_object_get(json_object_get(j, "policy"), "drain"), "sample");
}
static void provider(json_t *j)
{
	json_put_str(json_object_get(j, "authority"), "provider", "gone");
}
static void role(json_t *j)
{
	json_put_str(json_object_get(j, "authority"), "provider", "pull");
}
static void param(json_t *j)
{
	json_put_str(json_object_get(json_object_get(j, "authority"), "params"), "port", "x");
}
static void new_param(json_t *j)
{
	json_put_str(json_object_get(json_object_get(j, "authority"), "params"), "px", "x");
}
static void stores(json_t *j)
{
	json_object_set_new(j, "stores", json_object());
}
static void confirm(json_t *j)
{
	json_object_set_new(json_array_get(json_object_get(j, "consumers"), 0), "confirm", json_pack("[{}]"));
}
static void auth(json_t *j)
{
	json_object_set_new(json_object_get(j, "authority"), "auth",
	                    json_pack("[{s:s,s:s}]", "secret", "a", "file", "/b"));
}

static void damage(void)
{
	TEST("what the loader would not write is refused, and the key is named");
	CHECK(damaged(no_risk, "risk"));
	CHECK(damaged(other_risk, "risk"));
	CHECK(damaged(more, "extra"));
	CHECK(damaged(bad_id, "id"));
	CHECK(damaged(no_type, "type"));
	CHECK(damaged(text_overlap, "overlap"));
	CHECK(damaged(approvals, "approvals"));
	CHECK(damaged(no_drain, "drain"));
	CHECK(damaged(provider, "gone"));
	CHECK(damaged(role, "pull"));
	CHECK(damaged(param, "port"));
	CHECK(damaged(new_param, "px"));
	CHECK(damaged(stores, "stores"));
	CHECK(damaged(confirm, "confirm"));
	CHECK(damaged(auth, "auth"));

	TEST("ids");
	static const char *const good[] = { "a", "prod/orders-db", "A.b_c-1/...", "..." };
	static const char *const bad[] = { "", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a b", "a\n", "\xc3\xa4" };
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		CHECK(decl_id_ok(good[i]));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK(!decl_id_ok(bad[i]));
	char digest[65];
	AUTO_JSON *empty = json_object();
	decl_digest(empty, digest);
	CHECK_STR(digest, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
}

static void keys(void)
{
	TEST("keys: unknown, near, twice, missing, of a later version");
	FAULTS(ONE("    ownr: x\n"),
	       "a.yaml:5:5: unknown key 'ownr', did you mean 'owner'? allowed are type, owner, risk");
	FAULTS(ONE("    colour: x\n"), "a.yaml:5:5: unknown key 'colour'; allowed are type, owner,");
	FAULTS(ONE("    owner: a\n    owner: b\n"),
	       "a.yaml:6:5: key 'owner' is there twice, first in line 5; each key is allowed once");
	FAULTS(SECRETS "  s: {owner: a}\n", "a.yaml:3:6: the key 'authority' is missing here");
	FAULTS("rotor: 1\nsecret: {a: 1, b: 2}\n", "a.yaml:2:1: unknown key 'secret', did you mean 'secrets'?");
	FAULTS(POLICY("approvals: {need: 1}"),
	       "a.yaml:3:7: this rotor has no 'approvals' here, it is not in this version; allowed are rotate_every,");
	FAULTS(ONE("    consumers: {provider: pull, confirm: {http: \"http://x/\"}}\n"),
	       "a.yaml:5:43: this rotor has no 'http' here");
	FAULTS(ONE("    consumers: {provider: pull, cache_ttl: 1s, health: {http: \"http://x/\"}}\n"),
	       "a.yaml:5:57: this rotor has no 'http' here");
	FAULTS(SECRETS "  s: {authority: {provider: db, url: u, users: a, prt: 1, url: v}}\n",
	       "a.yaml:3:51: unknown key 'prt', did you mean 'port'? allowed are name, provider, auth, url, users, "
	       "port",
	       "a.yaml:3:59: key 'url' is there twice");
	FAULTS(ONE("    stores: {file: /a, path: /b}\n"), "a.yaml:5:30: 'file' and 'path' say the same");
	FAULTS(ONE("    <<: {owner: x}\n"), "a.yaml:5:5: merge keys are not read");
	FAULTS(ONE("    [a]: x\n"), "a.yaml:5:5: a key must be a plain text");
	FAULTS("secrets: {}\n", "a.yaml:1:1: the key 'rotor' is missing");
	FAULTS("", "a.yaml:1:1: the key 'rotor' is missing");
	FAULTS("rotor: 2\n", "a.yaml:1:8: 'rotor' is the version of this format: only 1 is allowed");
	FAULTS("rotor: {a: 1}\n", "a.yaml:1:1: 'rotor' is the version of this format");
	FAULTS("rotor: 1\nrotor: 1\n", "a.yaml:2:1: key 'rotor' is there twice, first in line 1");
	FAULTS("rotor: 1\nsecrets: [a]\n", "a.yaml:2:10: 'secrets' must be a mapping");
	FAULTS(SECRETS "  s: x\n", "a.yaml:3:6: a secret must be a mapping");
}

static void values(void)
{
	TEST("values: each says what is allowed");
	FAULTS(POLICY("overlap: 10"),
	       "a.yaml:3:16: 'overlap': bad duration '10': allowed is one whole number and one unit of ms s m h d w");
	FAULTS(POLICY("rotate_every: 0s"), "a.yaml:3:21: bad value '0s' of 'rotate_every': more than 0s is allowed");
	FAULTS(POLICY("rotate_every: 30d, max_age: 1d"),
	       "a.yaml:3:35: 'max_age' must not be shorter than 'rotate_every'");
	FAULTS(POLICY("jitter: 101%"), "a.yaml:3:15: bad value '101%' of 'jitter': 0% to 100% is allowed");
	FAULTS(POLICY("window: Mon 9-5"), "a.yaml:3:15: bad window 'Mon 9-5'");
	FAULTS(POLICY("window: Mon 09:00-17:00 Mars/Base"),
	       "a.yaml:3:15: bad window 'Mon 09:00-17:00 Mars/Base': its time zone is none of this system's");
	FAULTS(POLICY("probe: {successes: 0}"),
	       "a.yaml:3:26: bad value '0' of 'successes': a whole number from 1 to 1000 is allowed");
	FAULTS(POLICY("probe: {successes: 1e3}"), "a.yaml:3:26: bad value '1e3' of 'successes'");
	FAULTS(POLICY("probe: 3"), "a.yaml:3:14: bad value '3' of 'probe': a mapping is allowed");
	FAULTS(POLICY("on_failure: no"),
	       "a.yaml:3:19: bad value 'no' of 'on_failure': allowed is one of rollback|hold");
	FAULTS(POLICY("freeze: {from: yesterday, to: 2027-01-02T00:00:00Z}"),
	       "a.yaml:3:22: bad value 'yesterday' of 'from': a time as in");
	FAULTS(POLICY("freeze: {from: 2027-01-03T00:00:00Z, to: 2027-01-02T00:00:00Z}"),
	       "a.yaml:3:15: a freeze must end after it begins");
	FAULTS(POLICY("freeze: {from: 2027-01-03T00:00:00Z}"), "a.yaml:3:15: the key 'to' is missing here");
	FAULTS(ONE("    accept_outage: yes\n"),
	       "a.yaml:5:20: bad value 'yes' of 'accept_outage': true or false is allowed");
	FAULTS(ONE("    owner:\n"), "a.yaml:5:11: 'owner' must not be empty");
	FAULTS(ONE("    owner: \"a\\nb\"\n"), "a.yaml:5:12: 'owner' must be one line");
	FAULTS(ONE("    owner: [a]\n"), "a.yaml:5:12: bad value of 'owner': one text or number is allowed");
	FAULTS(ONE("    labels: {a: {b: c}}\n"), "a.yaml:5:17: bad value of 'labels': a mapping of texts to texts");
	FAULTS(ONE("    stores: {file: relative}\n"), "a.yaml:5:20: bad value 'relative' of 'path': an absolute path");
	FAULTS(ONE("    stores: {file: /a/../b}\n"), "a.yaml:5:20: bad value '/a/../b' of 'path'");
	FAULTS(ONE("    stores: {file: /a, mode: \"0999\"}\n"), "a.yaml:5:30: bad value '0999' of 'mode'");
	FAULTS(ONE("    generate: {length: 7}\n"),
	       "a.yaml:5:24: bad value '7' of 'length': a whole number from 8 to 1024");
	FAULTS(ONE("    consumers: {provider: pull, confirm: {command: [sh]}}\n"),
	       "a.yaml:5:53: bad value 'sh' of 'command'");
	FAULTS(SECRETS "  s: {authority: {provider: db, url: u, users: []}}\n", "a.yaml:3:48: bad value of 'users'");
}

static void targets(void)
{
	TEST("targets: kinds, roles, names, the kind's own check");
	FAULTS(SECRETS "  s: {authority: {provider: pg}}\n",
	       "a.yaml:3:29: this rotor has no provider 'pg'; as authority it has db");
	FAULTS(SECRETS "  s: {authority: {url: u}}\n",
	       "a.yaml:3:18: the key 'provider' is missing here; as authority this rotor has db");
	FAULTS(SECRETS "  s: {authority: {file: /a}}\n",
	       "a.yaml:3:18: provider 'file' does not work as authority; this rotor has db");
	FAULTS(ONE("    stores: {provider: pull}\n"),
	       "a.yaml:5:24: provider 'pull' does not work as store; this rotor has file");
	FAULTS(ONE("    consumers: {provider: http}\n"),
	       "a.yaml:5:27: this rotor has no provider 'http'; as consumer it has file, pull");
	FAULTS(ONE("    consumers: [{file: /a}, {file: /a}]\n"),
	       "a.yaml:5:29: two targets of this secret are called 'file:/a'");
	FAULTS(ONE("    stores: {file: /a}\n    consumers: {file: /a, name: b}\n"), NULL);
	FAULTS(ONE("    consumers: {provider: pull}\n"),
	       "a.yaml:5:16: a consumer that fetches by itself needs 'cache_ttl' or 'confirm'");
	FAULTS(ONE("    consumers: [[a]]\n"), "a.yaml:5:17: each target must be a mapping");
	FAULTS(SECRETS "  s: {authority: {provider: db, url: PASSWORD, users: a}}\n",
	       "a.yaml:3:38: a password in 'url'");

	TEST("several users: each map must give the user name");
#define TWO(map)                                                                                                       \
	SECRETS "  s: {authority: {provider: db, url: u, users: [a, b]}, consumers: {file: /a, map: " map "}}\n"
	FAULTS(TWO("{P: password}"), "a.yaml:3:84: 'map' lacks 'username'");
	FAULTS(TWO("{P: \"{{username}}\"}"), "a.yaml:3:84: 'map' lacks 'username'");
	FAULTS(TWO("{P: \"{usernames}\"}"), "a.yaml:3:84: 'map' lacks 'username'");
	FAULTS(TWO("{P: password, U: username}"), NULL);
	FAULTS(TWO("{P: \"x{username:url}\"}"), NULL);
	FAULTS(ONE("    consumers: {file: /a, map: {P: password}}\n"), NULL);
#define RAW(more) SECRETS "  s: {authority: {provider: db, url: u, users: [a, b]}, consumers: {file: /a, " more "}}\n"
	FAULTS(RAW("template: \"{password}\""), "a.yaml:3:89: 'template' lacks 'username'");
	FAULTS(RAW("format: raw, template: username"), "a.yaml:3:102: 'template' lacks 'username'");
	FAULTS(RAW("format: raw"), "a.yaml:3:68: 'template' lacks 'username'");
	FAULTS(RAW("format: raw, template: \"{username}:{password}\""), NULL);
	FAULTS(ONE("    consumers: {file: /a, format: raw}\n"), NULL);

	TEST("receipts and references: exactly one form each");
	FAULTS(ONE("    consumers: {provider: pull, confirm: {command: [/a], manual: true}}\n"),
	       "a.yaml:5:42: 'confirm' must have exactly one of the keys command, authority, manual");
	FAULTS(ONE("    consumers: {provider: pull, confirm: {}}\n"),
	       "a.yaml:5:42: 'confirm' must have exactly one of the keys");
	FAULTS(ONE("    consumers: {provider: pull, confirm: {manual: false}}\n"),
	       "a.yaml:5:51: bad value 'false' of 'manual': only true is allowed");
	FAULTS(ONE("    consumers: {provider: pull, confirm: later}\n"), "a.yaml:5:42: bad value 'later' of 'confirm'");
	FAULTS(ONE("    consumers: {provider: pull, confirm: [manual, manual, manual, manual, manual, manual, manual, "
	           "manual, manual]}\n"),
	       "a.yaml:5:42: more than 8 receipts");
	FAULTS(ONE("    stores: {file: /a, auth: {vault: x}}\n"),
	       "a.yaml:5:31: unknown key 'vault'; allowed are secret, file, fd, command, self");
	FAULTS(ONE("    stores: {file: /a, auth: []}\n"), "a.yaml:5:30: bad value of 'auth'");
}

#define USES(id) "{authority: {provider: db, url: u, users: a, auth: {secret: " id "}}}\n"

static void links(void)
{
	TEST("policies: unknown, twice, built in, no overlap");
	FAULTS(ONE("    policy: strict\n"),
	       "a.yaml:5:13: policy 'strict' is declared in none of these files; allowed are default");
	FAULTS("rotor: 1\npolicies: {default: {}}\n", "a.yaml:2:12: policy 'default' is built in");
	FAULTS("rotor: 1\npolicies: {a/b: {}}\n", "a.yaml:2:12: bad policy name 'a/b'");
	FAULTS(ONE("    policy: {overlap: 0s}\n"),
	       "a.yaml:5:13: its policy has no overlap, which is an outage: `accept_outage: true`");
	FAULTS(ONE("    policy: {overlap: 0s}\n    accept_outage: true\n"), NULL);
	FAULTS(ONE("    policy: z\npolicies: {z: {overlap: 0s}}\n"), "a.yaml:5:13: its policy has no overlap");
	AUTO_TEXT *text = canonical(ONE("    policy: {soak: 1h}\n"));
	CHECK(text && strstr(text, "\"policy\":{\"name\":null,") && strstr(text, "\"soak\":3600000"));

	TEST("references: unknown, to itself, in a loop");
	FAULTS(SECRETS "  s: " USES("at/home"), NULL);
	FAULTS(SECRETS "  s: " USES("nowhere"), "a.yaml:3:66: secret 'nowhere' is not known");
	FAULTS(SECRETS "  s: " USES("s"), "a.yaml:3:66: secret 's' refers to itself; `self` is allowed");
	FAULTS(SECRETS "  s: " USES("../s"), "a.yaml:3:66: bad value '../s' of 'secret'");
	FAULTS(SECRETS "  a: " USES("b") "  b: " USES("c") "  c: " USES("b"),
	       "a.yaml:5:66: references in a loop: b -> c -> b");
	FAULTS(SECRETS "  a: " USES("b") "  b: " USES("c") "  c: " USES("at/home") "  d: " USES("b"), NULL);

	TEST("ids: bad, twice over all files; a policy may stand in a later file");
	FAULTS(SECRETS "  a/../b: {authority: " DB "}\n", "a.yaml:3:3: bad id 'a/../b'");
	put_text("one.yaml", SECRETS "  a: {authority: " DB ", policy: late}\n");
	put_text("two.yaml", "rotor: 1\npolicies: {late: {soak: 5s}}\nsecrets: {a: {}}\n");
	struct load l;
	CHECK(!load_files((const char *const[]){ path_of("one.yaml"), path_of("two.yaml"), path_of("none.yaml") }, 3,
	                  NULL, NULL, &l));
	CHECK(l.n_faults == 3 && l.n_secrets == 1);
	CHECK(strstr(fault(&l, 0), "two.yaml:3:11: secret 'a' is there twice, first in ") != NULL);
	CHECK(strstr(fault(&l, 1), "two.yaml:3:14: the key 'authority' is missing") != NULL);
	CHECK_STR(fault(&l, 2), "none.yaml: cannot be opened: No such file or directory");
	CHECK(json_int(l.secrets[0].policy, "soak", 0) == 5000);
	load_clear(&l);
}

static void hostile(const char *bytes, size_t len, const char *want)
{
	struct load l;
	CHECK(!load_bytes(bytes, len, &l));
	if (strncmp(fault(&l, 0), want, strlen(want)) != 0) {
		test_bad_ = 1;
		printf("# got:  %s\n# want: %s\n", fault(&l, 0), want);
	}
	load_clear(&l);
}
#define HOSTILE(text, want) hostile(text, sizeof text - 1, want)

static void bytes(void)
{
	TEST("hostile bytes");
	HOSTILE("rotor: 1\na\0b: 1\n", "a.yaml:2:2: a control character (byte 0x00); only UTF-8 text is allowed");
	HOSTILE("rotor: 1\n# \xc3\xa4\x1b[2J\n", "a.yaml:2:4: a control character (byte 0x1b)");
	HOSTILE("rotor: 1\n# \xc3\xa4\xff\n", "a.yaml:2:4: no UTF-8 (byte 0xff)");
	HOSTILE("\x7f"
	        "ELF\x02\x01\x01",
	        "a.yaml:1:1: a control character (byte 0x7f)");
	HOSTILE("rotor: \"\\0\"\n", "a.yaml:1:8: a text with a NUL character");
	HOSTILE("rotor: 1\nsecrets:\n\ta: {}\n", "a.yaml:3:1: a tab in the indentation; only spaces are allowed");
	HOSTILE("rotor: [1\n", "a.yaml:2:1: no valid YAML: ");
	HOSTILE("rotor: 1\n---\nrotor: 1\n", "a.yaml:2:1: a second document; one for each file is allowed");
	HOSTILE("- rotor\n", "a.yaml:1:1: a mapping must stand here");
	HOSTILE("rotor: !!int 1\n", "a.yaml:1:8: tags are not read");
	HOSTILE("rotor: \xc2\x9b"
	        "1\n",
	        "a.yaml:1:");
	struct load l;
	CHECK(!load_files((const char *const[]){ dir }, 1, NULL, NULL, &l));
	CHECK(l.n_faults == 1 && strstr(l.faults[0].text, "directory"));
	load_clear(&l);

	TEST("a fault shows no control characters of the file");
	HOSTILE("rotor: 1\n\"a\\eb\": 1\n", "a.yaml:2:1: unknown key 'a?b'");

	TEST("depth");
	AUTO_BUF b = BUF_INIT(1 << 22);
	buf_str(&b, "rotor: ");
	for (int i = 0; i < 200000; i++)
		buf_str(&b, "[");
	hostile(b.data, b.len, "a.yaml:1:39: nested too deep; 32 levels are allowed");

	TEST("aliases: used, unknown, recursive, bombs wide and deep");
	FAULTS("rotor: 1\npolicies: {p: {probe: &x {successes: 3}}, q: {probe: *x}}\n", NULL);
	FAULTS("rotor: 1\npolicies: {p: {probe: *x}}\n", "a.yaml:2:23: alias 'x' has no anchor before it");
	FAULTS("rotor: 1\npolicies: &x {p: *x}\n", "a.yaml:2:18: alias 'x' stands within what it stands for");
	FAULTS("rotor: 1\npolicies: {p: {probe: &x {}, canary: &x {}}}\n", "a.yaml:2:38: anchor 'x' is there twice");
	buf_reset(&b);
	buf_str(&b, "rotor: 1\nx:\n  a0: &a0 [0,0,0,0,0,0,0,0,0,0]\n");
	for (int i = 1; i < 8; i++) {
		buf_printf(&b, "  a%d: &a%d [", i, i);
		for (int j = 0; j < 10; j++)
			buf_printf(&b, "%s*a%d", j ? "," : "", i - 1);
		buf_str(&b, "]\n");
	}
	struct load bomb;
	CHECK(!load_bytes(b.data, b.len, &bomb));
	CHECK(bomb.n_faults == 2 && strstr(fault(&bomb, 1), "a.yaml:8:") &&
	      strstr(fault(&bomb, 1), ": the aliases stand for too much; 1048576 values"));
	load_clear(&bomb);
	buf_reset(&b);
	buf_str(&b, "rotor: 1\nx:\n  a0: &a0 [0]\n");
	for (int i = 1; i < 40; i++)
		buf_printf(&b, "  a%d: &a%d [*a%d]\n", i, i, i - 1);
	CHECK(!load_bytes(b.data, b.len, &bomb));
	CHECK(bomb.n_faults == 2 && strstr(fault(&bomb, 1), ": nested too deep by an alias"));
	load_clear(&bomb);

	TEST("ceilings: one text, one entry, faults");
	buf_reset(&b);
	buf_str(&b, "rotor: ");
	memset(buf_room(&b, 65537), 'x', 65537);
	buf_wrote(&b, 65537);
	hostile(b.data, b.len, "a.yaml:1:8: a text of 65537 bytes; 65536 are allowed");
	buf_reset(&b);
	buf_str(&b, "rotor: 1\npolicies:\n  p: [");
	for (int i = 0; i < 1100000; i++)
		buf_str(&b, "0,");
	buf_str(&b, "0]\n");
	hostile(b.data, b.len, "a.yaml:3:");
	buf_reset(&b);
	buf_str(&b, "rotor: 1\nsecrets:\n");
	for (int i = 0; i < 150; i++)
		buf_printf(&b, "  s%d: {}\n", i);
	CHECK(!load_bytes(b.data, b.len, &l));
	CHECK(l.n_faults == LOAD_FAULTS_MAX && l.n_more == 50);
	load_clear(&l);
}

static void many(void)
{
	TEST("many keys in one mapping, many secrets, a long chain of references");
	AUTO_BUF b = BUF_INIT(1 << 24);
	buf_str(&b, SECRETS "  s:\n    authority: " DB "\n    labels:\n");
	for (int i = 0; i < 20000; i++)
		buf_printf(&b, "      k%d: v\n", i);
	for (int i = 0; i < 20000; i++)
		buf_printf(&b, "  c%d: {authority: {provider: db, url: u, users: a, auth: {secret: c%d}}}\n", i, i + 1);
	buf_str(&b, "  c20000: {authority: " DB "}\n  c7: {}\n");
	struct load l;
	CHECK(!load_bytes(b.data, b.len, &l));
	CHECK(l.n_secrets == 20002);
	CHECK(l.n_faults == 1 && strstr(fault(&l, 0), "key 'c7' is there twice, first in line 20013"));
	load_clear(&l);
}

static const struct schema_key metrics_keys[] = { { .name = "file", .type = SCHEMA_PATH }, { 0 } };
static const struct schema_key config_keys[] = {
	{ .name = "origin", .type = SCHEMA_STRING },
	{ .name = "wait", .type = SCHEMA_DURATION, .fallback = "5s" },
	{ .name = "metrics", .type = SCHEMA_OBJECT, .sub = metrics_keys, .fallback = "{}" },
	{ 0 },
};

static void config(void)
{
	struct err e = { 0 };
	TEST("configuration: defaults without a file, values, the first fault");
	AUTO_JSON *none = load_config(path_of("missing.yaml"), config_keys, &e);
	AUTO_TEXT *text = none ? json_text(none) : NULL;
	CHECK_STR(text, "{\"origin\":null,\"wait\":5000,\"metrics\":{\"file\":null}}");
	AUTO_JSON *comment = load_config(put_text("c.yaml", "# nothing\n"), config_keys, &e);
	CHECK(json_equal(none, comment));
	AUTO_JSON *some = load_config(put_text("c.yaml", "wait: 2m\nmetrics: {file: /m}\n"), config_keys, &e);
	CHECK(json_int(some, "wait", 0) == 120000);
	CHECK(!load_config(put_text("c.yaml", "wait: 2\nmetric: {}\n"), config_keys, &e));
	CHECK(e.code == ERR_USAGE && strstr(e.message, "c.yaml:2:1: unknown key 'metric', did you mean 'metrics'?"));
	CHECK(!load_config(put_text("c.yaml", "a: [\n"), config_keys, &e));
	CHECK(strstr(e.message, "c.yaml:2:1: no valid YAML"));
	CHECK(!load_config(dir, config_keys, &e));
}

static void editors(void)
{
	TEST("the JSON Schema for editors comes from the same tables");
	AUTO_JSON *j = load_schema();
	const json_t *defs = json_object_get(j, "$defs");
	const json_t *policy = json_object_get(json_object_get(defs, "policy"), "properties");
	CHECK_STR(json_str(json_object_get(policy, "rotate_every"), "default"), "30d");
	CHECK(json_array_size(json_object_get(json_object_get(defs, "authority"), "anyOf")) == 1);
	CHECK(json_array_size(json_object_get(json_object_get(defs, "consumer"), "anyOf")) == 3);
	const json_t *one = json_array_get(json_object_get(json_object_get(defs, "authority"), "anyOf"), 0);
	CHECK(json_object_get(json_object_get(one, "properties"), "users"));
	CHECK(json_object_get(json_object_get(one, "properties"), "auth"));
	CHECK(json_array_size(json_object_get(one, "required")) == 3);
	CHECK(json_object_get(json_object_get(json_object_get(defs, "secret"), "properties"), "consumers"));
}

int main(void)
{
	if (sodium_init() < 0 || !mkdtemp(dir))
		return 1;
	json_setup();
	kind_register(kinds, sizeof kinds / sizeof *kinds);
	small();
	full();
	damage();
	keys();
	values();
	targets();
	links();
	bytes();
	many();
	config();
	editors();
	static const char *const made[] = { "a.yaml", "one.yaml", "two.yaml", "c.yaml" };
	for (size_t i = 0; i < sizeof made / sizeof *made; i++)
		unlink(path_of(made[i]));
	rmdir(dir);
	return TEST_END();
}
