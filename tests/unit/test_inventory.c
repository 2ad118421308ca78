/* The inventory over a real home in a folder of its own, with kinds that are made up. */
#include "core/inventory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/json.h"
#include "core/kind.h"
#include "core/mem.h"
#include "tests/unit/test.h"

#define DAY ((int64_t)24 * 3600 * 1000)

static const struct schema_key place_keys[] = {
	{ .name = "at", .type = SCHEMA_STRING, .flags = SCHEMA_REQUIRED, .help = "where" },
	{ 0 },
};
static const struct schema_key no_keys[] = { { 0 } };

static const struct kind db = { .name = "db",
	                        .summary = "a database",
	                        .roles = KIND_AUTHORITY,
	                        .secret_type = "password",
	                        .overlap = "-",
	                        .evidence = "-",
	                        .params = place_keys,
	                        .example = "" };
static const struct kind shelf = {
	.name = "shelf", .summary = "a store", .roles = KIND_STORE, .params = place_keys, .example = ""
};
static const struct kind app = {
	.name = "app", .summary = "a consumer", .roles = KIND_CONSUMER, .params = place_keys, .example = ""
};
static const struct kind pull = {
	.name = "pull", .summary = "fetches", .roles = KIND_CONSUMER, .params = no_keys, .example = ""
};
static const struct kind *const kinds[] = { &db, &shelf, &app, &pull };

static char dir[] = "/tmp/rotor-inventory-XXXXXX";
static struct home home;

static char *file(const char *name)
{
	return mem_printf("%s/%s", dir, name);
}

static void write_file(const char *name, const char *text)
{
	AUTO_FREE char *path = file(name);
	FILE *f = fopen(path, "w");
	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		exit(99);
}

/* Applies one file with this text; *ret is the document, or NULL. */
static int apply(const char *name, const char *text, bool dry, bool prune, json_t **ret, struct err *e)
{
	AUTO_FREE char *path = file(name);
	const char *files[] = { path };
	struct load load = { 0 };
	*ret = NULL;
	*e = (struct err){ 0 };
	write_file(name, text);
	int code = inventory_apply(&home, files, 1, dry, prune, &load, ret, e);
	for (size_t i = 0; i < load.n_faults; i++)
		printf("# %s\n", load.faults[i].text);
	load_clear(&load);
	return code;
}

/* "added prod/a, changed prod/b" without what is unchanged. */
static const char *changes(const json_t *doc)
{
	static char text[4096];
	size_t i;
	json_t *c;
	text[0] = '\0';
	json_array_foreach(json_object_get(doc, "changes"), i, c) {
		const char *what = json_str(c, "change");
		size_t len = strlen(text);
		if (strcmp(what, "unchanged") != 0)
			snprintf(text + len, sizeof text - len, "%s%s %s", len ? ", " : "", what,
			         json_str(c, "secret"));
	}
	return text;
}

static const json_t *change(const json_t *doc, size_t i)
{
	return json_array_get(json_object_get(doc, "changes"), i);
}

static bool has_pointer(const json_t *c, const char *pointer)
{
	size_t i;
	json_t *p;
	json_array_foreach(json_object_get(c, "differs"), i, p)
		if (strcmp(json_string_value(p), pointer) == 0)
			return true;
	return false;
}

/* The ids that selectors name, joined by blanks; the error's message where there is one. */
static const char *selected(const char *a, const char *b, bool may_be_empty)
{
	static char text[4096];
	const char *selectors[] = { a, b };
	char **ids = NULL;
	size_t n = 0;
	struct err e = { 0 };
	text[0] = '\0';
	if (!inventory_select(&home, selectors, b ? 2 : 1, may_be_empty, &ids, &n, &e)) {
		snprintf(text, sizeof text, "%d: %s", (int)e.code, e.message);
		return text;
	}
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(text);
		snprintf(text + len, sizeof text - len, "%s%s", len ? " " : "", ids[i]);
	}
	inventory_free(ids, n);
	return text;
}

static bool exists(const char *id)
{
	struct state_secret s = { 0 };
	bool found = false;
	struct err e = { 0 };
	if (!state_secret_get(home.state, id, &s, &found, &e))
		exit(98);
	state_secret_clear(&s);
	return found;
}

/* Gives `id` a version with a value, as the engine would. */
static void give_version(const char *id, uint32_t n, enum state_vstate state, const char *rotation, int64_t rotated_at)
{
	struct err e = { 0 };
	struct state_secret s = { 0 };
	bool found = false;
	struct fields *f = fields_new();
	struct state_version v = {
		.n = n, .state = state, .issued_at = rotated_at, .expires_at = -1, .revoked_at = -1
	};
	snprintf(v.rotation, sizeof v.rotation, "%s", rotation);
	snprintf(v.handle, sizeof v.handle, "role_%u", n);
	bool ok = state_begin(home.state, &e) && state_secret_get(home.state, id, &s, &found, &e) && found &&
	          state_version_put(home.state, s.row, &v, &e) && fields_set(f, "password", "canary-value", 12, &e) &&
	          state_value_put(home.state, s.row, id, n, f, &e) &&
	          state_secret_schedule(home.state, s.row, rotated_at, rotated_at + 30 * DAY, -1, &e) &&
	          state_commit(home.state, &e);
	fields_free(f);
	state_secret_clear(&s);
	if (!ok) {
		printf("# %s\n", e.message);
		exit(97);
	}
}

/* Its frozen declaration is the one of now. */
static void give_rotation(const char *id, const char *rotation, int64_t ended)
{
	struct err e = { 0 };
	struct state_secret s = { 0 };
	bool found = false;
	bool ok = state_begin(home.state, &e) && state_secret_get(home.state, id, &s, &found, &e) && found;
	AUTO_FREE char *plan = mem_printf("{\"decl\":%s}", ok ? s.decl : "{}");
	struct state_rotation r = { .row = s.row,
		                    .secret = s.id,
		                    .state = (char *)(ended < 0 ? "waiting" : "done"),
		                    .reason = (char *)"manual",
		                    .actor = (char *)"me",
		                    .version = 1,
		                    .started = 1,
		                    .ended = ended,
		                    .next_at = -1,
		                    .until = -1,
		                    .runbook = 1,
		                    .plan = plan,
		                    .digest = (char *)"",
		                    .body = (char *)"{}" };
	memcpy(r.id, rotation, ULID_SIZE);
	ok = ok && state_rotation_put(home.state, &r, &e) && state_commit(home.state, &e);
	state_secret_clear(&s);
	if (!ok) {
		printf("# %s\n", e.message);
		exit(96);
	}
}

struct found {
	const char *act, *secret, *reason;
	size_t n;
};

static bool count_leaf(void *arg, uint64_t seq, const char *leaf, size_t len, struct err *e)
{
	(void)seq;
	struct found *f = arg;
	AUTO_JSON *j = json_parse(leaf, len, JSON_DEPTH_MAX, "leaf", e);
	if (!j)
		return false;
	const char *act = json_str(j, "act"), *secret = json_str(j, "secret"), *reason = json_str(j, "reason");
	f->n += act && strcmp(act, f->act) == 0 && secret && strcmp(secret, f->secret) == 0 &&
	        (!f->reason || (reason && strcmp(reason, f->reason) == 0));
	return true;
}

static size_t leaves(const char *act, const char *secret, const char *reason)
{
	struct found f = { act, secret, reason, 0 };
	struct tlog_checkpoint head;
	char *note = NULL;
	struct err e = { 0 };
	if (!state_head(home.state, &note, &head, &e) || !state_leaves(home.state, 0, head.size, count_leaf, &f, &e))
		exit(95);
	free(note);
	return f.n;
}

#define HEAD "rotor: 1\nsecrets:\n"
#define A(at)                                                                                                          \
	"  prod/a:\n    owner: team-a\n    risk: high\n    labels: {app: orders, env: prod}\n"                         \
	"    authority: {provider: db, at: " at "}\n"
#define B "  prod/b:\n    owner: team-b\n    labels: {app: orders, env: test}\n    authority: {provider: db, at: two}\n"
#define APP "    consumers: [{provider: app, at: x}]\n"
#define MOVED "  prod/b:\n    authority: {provider: db, at: moved}\n"
#define LOGS_IN "  prod/b:\n    authority: {provider: db, at: two, auth: {file: /f}}\n"
#define SHELF "    stores: [{provider: shelf, at: x}]\n"
#define C "  test/deep/c:\n    owner: team-a\n    authority: {provider: db, at: three}\n"

static void test_apply(void)
{
	struct err e;
	json_t *doc;
	TEST("a dry run shows what would change and changes nothing");
	CHECK(apply("1.yaml", HEAD A("one") B C, true, false, &doc, &e) == 0);
	CHECK_STR(changes(doc), "added prod/a, added prod/b, added test/deep/c");
	CHECK(json_bool(doc, "dry_run"));
	CHECK(!exists("prod/a") && leaves("inventory.apply", "prod/a", NULL) == 0);
	json_decref(doc);

	TEST("apply takes everything up, one leaf each");
	CHECK(apply("1.yaml", HEAD A("one") B C, false, false, &doc, &e) == 0);
	CHECK_STR(changes(doc), "added prod/a, added prod/b, added test/deep/c");
	CHECK_STR(json_str(change(doc, 0), "next"), "rotor rotate --dry-run prod/a");
	CHECK(exists("prod/a") && exists("test/deep/c") && leaves("inventory.apply", "prod/a", NULL) == 1);
	json_decref(doc);

	TEST("the same again changes nothing and writes no leaf");
	CHECK(apply("1.yaml", HEAD A("one") B C, false, false, &doc, &e) == 0);
	CHECK_STR(changes(doc), "");
	CHECK(json_array_size(json_object_get(doc, "changes")) == 3);
	CHECK(leaves("inventory.apply", "prod/a", NULL) == 1);
	json_decref(doc);

	TEST("a change is told by its place");
	CHECK(apply("1.yaml", HEAD A("elsewhere") B C, false, false, &doc, &e) == 0);
	CHECK_STR(changes(doc), "changed prod/a");
	CHECK(has_pointer(change(doc, 0), "/authority/params/at"));
	CHECK(!has_pointer(change(doc, 0), "/owner"));
	CHECK(json_is_null(json_object_get(change(doc, 0), "next"))); /* no version: nothing to push or verify */
	CHECK(leaves("inventory.apply", "prod/a", NULL) == 2);
	json_decref(doc);

	TEST("one fault and nothing is applied");
	CHECK(apply("1.yaml", HEAD A("third") "  prod/new:\n    authority: {provider: db}\n", false, false, &doc, &e) ==
	      ERR_USAGE);
	CHECK(!doc && !exists("prod/new") && leaves("inventory.apply", "prod/a", NULL) == 2);
	CHECK(strstr(e.message, "1 fault ") && strstr(e.message, "nothing was applied"));
}

static void test_select(void)
{
	TEST("selectors");
	CHECK_STR(selected("prod/b", NULL, false), "prod/b");
	CHECK_STR(selected("prod/*", NULL, false), "prod/a prod/b");
	CHECK_STR(selected("*", NULL, true), "");
	CHECK_STR(selected("**", NULL, false), "prod/a prod/b test/deep/c");
	CHECK_STR(selected("owner=team-a", NULL, false), "prod/a test/deep/c");
	CHECK_STR(selected("risk=high", NULL, false), "prod/a");
	CHECK_STR(selected("provider=db,type=password", NULL, false), "prod/a prod/b test/deep/c");
	TEST("a comma ands, a further selector ors, without doubles and sorted");
	CHECK_STR(selected("app=orders,owner=team-b", NULL, false), "prod/b");
	CHECK_STR(selected("app=orders,env=prod", NULL, false), "prod/a");
	CHECK_STR(selected("app=orders,env=stage", NULL, true), "");
	CHECK_STR(selected("prod/*,owner=team-a", NULL, false), "prod/a");
	CHECK_STR(selected("test/deep/c", "prod/*", false), "prod/a prod/b test/deep/c");
	CHECK_STR(selected("prod/a", "owner=team-a", false), "prod/a test/deep/c");
	TEST("a selector without a match");
	CHECK_STR(selected("prod/none", NULL, true), "2: there is no secret 'prod/none'");
	CHECK_STR(selected("none/*", NULL, false), "2: selector 'none/*' matches no secret");
	CHECK_STR(selected("none/*", NULL, true), "");
	CHECK_STR(selected("owner=nobody", NULL, false), "2: selector 'owner=nobody' matches no secret");
	CHECK_STR(selected("prod/a", "prod/none", false), "2: there is no secret 'prod/none'");
	TEST("what is no selector");
	CHECK_STR(selected("prod a", NULL, true), "2: 'prod a' is no selector");
	CHECK_STR(selected("", NULL, true), "2: '' is no selector");
	CHECK_STR(selected("prod/a,", NULL, true), "2: '' is no selector");
	CHECK_STR(selected("../a", NULL, true), "2: '../a' is no selector");
	CHECK_STR(selected("owner=", NULL, true), "2: selector term 'owner=' lacks a value");
	CHECK_STR(selected("=x", NULL, true), "2: selector term '=x' lacks a key");
	CHECK_STR(selected("risk=huge", NULL, true), "2: selector 'risk=huge': it is low, medium, high or critical");
	CHECK_STR(selected("owner=a,owner=b", NULL, true), "2: selector names 'owner' twice");
	CHECK(strstr(selected("prod/a,prod/b", NULL, true), "names two ids"));
}

static void test_list(void)
{
	struct err e = { 0 };
	json_t *doc = NULL;
	struct inventory_list_opts all = { .expiring_ms = -1 }, due = { .due = true, .expiring_ms = -1 };
	const char *one[] = { "prod/b" }, *none[] = { "prod/x" };
	TEST("list as a document");
	CHECK(inventory_list(&home, NULL, 0, &all, &doc, &e) == 0);
	const json_t *s = json_array_get(json_object_get(doc, "secrets"), 0);
	CHECK(json_array_size(json_object_get(doc, "secrets")) == 3);
	CHECK_STR(json_str(s, "id"), "prod/a");
	CHECK_STR(json_str(s, "risk"), "high");
	CHECK_STR(json_str(json_object_get(s, "labels"), "app"), "orders");
	CHECK(json_is_null(json_object_get(s, "version")) && json_is_null(json_object_get(s, "due_at")));
	CHECK(json_is_array(json_object_get(s, "versions")) && json_array_size(json_object_get(s, "versions")) == 0);
	json_decref(doc);
	doc = NULL;
	TEST("list keeps to its conditions");
	CHECK(inventory_list(&home, NULL, 0, &due, &doc, &e) == 0);
	CHECK(json_array_size(json_object_get(doc, "secrets")) == 0); /* a first rotation is never due */
	json_decref(doc);
	doc = NULL;
	CHECK(inventory_list(&home, one, 1, &due, &doc, &e) == 0);
	CHECK(json_array_size(json_object_get(doc, "secrets")) == 0);
	json_decref(doc);
	doc = NULL;
	CHECK(inventory_list(&home, none, 1, &due, &doc, &e) == ERR_USAGE && !doc);
}

static void test_next(void)
{
	struct err e;
	json_t *doc;
	give_version("prod/b", 1, STATE_CURRENT, "01HZZZZZZZZZZZZZZZZZZZZZZA", 1700000000000);
	TEST("an added consumer of a current version: push");
	CHECK(apply("1.yaml", HEAD A("elsewhere") B APP C, false, false, &doc, &e) == 0);
	CHECK_STR(changes(doc), "changed prod/b");
	CHECK(has_pointer(change(doc, 1), "/consumers/0"));
	CHECK_STR(json_str(change(doc, 1), "next"), "rotor push prod/b");
	json_decref(doc);
	TEST("a new interval counts from the last rotation");
	CHECK(apply("1.yaml", HEAD A("elsewhere") B "    policy: {rotate_every: 7d}\n" APP C, false, false, &doc, &e) ==
	      0);
	struct state_secret s = { 0 };
	bool found = false;
	CHECK(state_secret_get(home.state, "prod/b", &s, &found, &e) && found);
	CHECK(s.due_at == 1700000000000 + 7 * DAY && s.rotated_at == 1700000000000 && s.version == 1);
	CHECK(json_is_null(json_object_get(change(doc, 1), "next")));
	state_secret_clear(&s);
	json_decref(doc);
	TEST("list --due shows it");
	struct inventory_list_opts due = { .due = true, .expiring_ms = -1 };
	CHECK(inventory_list(&home, NULL, 0, &due, &doc, &e) == 0);
	CHECK(json_array_size(json_object_get(doc, "secrets")) == 1);
	json_decref(doc);
	TEST("a changed authority under an unfinished rotation is taken and told");
	give_rotation("prod/b", "01HZZZZZZZZZZZZZZZZZZZZZZB", -1);
	CHECK(apply("2.yaml", HEAD MOVED, false, false, &doc, &e) == 0);
	CHECK_STR(json_str(change(doc, 0), "next"), "rotor status prod/b");
	CHECK(strstr(json_str(change(doc, 0), "note"), "authority changed"));
	json_decref(doc);
	TEST("put back it is not held, nor by another way to log in");
	CHECK(apply("2.yaml", HEAD B, false, false, &doc, &e) == 0);
	CHECK_STR(json_str(change(doc, 0), "next"), "rotor status prod/b");
	CHECK(json_is_null(json_object_get(change(doc, 0), "note")));
	json_decref(doc);
	CHECK(apply("2.yaml", HEAD LOGS_IN, false, false, &doc, &e) == 0);
	CHECK(has_pointer(change(doc, 0), "/authority/auth"));
	CHECK(json_is_null(json_object_get(change(doc, 0), "note")));
	json_decref(doc);
	TEST("a store more holds it");
	CHECK(apply("2.yaml", HEAD B SHELF, false, false, &doc, &e) == 0);
	CHECK(strstr(json_str(change(doc, 0), "note"), "a store changed"));
	json_decref(doc);
	CHECK(apply("2.yaml", HEAD MOVED, false, false, &doc, &e) == 0);
	json_decref(doc);
}

static void test_show(void)
{
	struct err e = { 0 };
	json_t *doc = NULL;
	TEST("show without reveal has no value and leaves no record");
	CHECK(inventory_show(&home, "prod/b", true, false, &doc, &e) == 0);
	const json_t *s = json_array_get(json_object_get(doc, "secrets"), 0);
	const json_t *v = json_array_get(json_object_get(s, "versions"), 0);
	CHECK_STR(json_str(v, "state"), "current");
	CHECK_STR(json_str(v, "handle"), "role_1");
	CHECK(json_is_null(json_object_get(v, "fields")));
	CHECK_STR(json_str(s, "rotation"), "01HZZZZZZZZZZZZZZZZZZZZZZB");
	CHECK_STR(json_str(json_object_get(json_object_get(s, "effective"), "authority"), "provider"), "db");
	CHECK(leaves("inventory.show", "prod/b", NULL) == 0);
	json_decref(doc);
	doc = NULL;
	TEST("show with reveal has the value, and it is on record");
	CHECK(inventory_show(&home, "prod/b", false, true, &doc, &e) == 0);
	s = json_array_get(json_object_get(doc, "secrets"), 0);
	v = json_array_get(json_object_get(s, "versions"), 0);
	CHECK_STR(json_str(json_object_get(v, "fields"), "password"), "canary-value");
	CHECK(!json_object_get(s, "effective"));
	CHECK(leaves("inventory.show", "prod/b", NULL) == 1);
	json_decref(doc);
	doc = NULL;
	TEST("show of what is not there");
	CHECK(inventory_show(&home, "prod/none", false, true, &doc, &e) == ERR_USAGE && !doc);
}

static void test_forget(void)
{
	struct err e = { 0 };
	TEST("forget is refused while a rotation is unfinished");
	CHECK(inventory_forget(&home, "prod/b", "gone", &e) == ERR_REFUSED && exists("prod/b"));
	CHECK_STR(e.hint, "rotor status prod/b");
	give_rotation("prod/b", "01HZZZZZZZZZZZZZZZZZZZZZZB", 2);
	TEST("forget is refused while the value is only here");
	CHECK(inventory_forget(&home, "prod/b", "gone", &e) == ERR_REFUSED && exists("prod/b"));
	CHECK(strstr(e.message, "kept only here"));
	json_t *doc;
	CHECK(apply("2.yaml", HEAD MOVED "    consumers: [{provider: pull, cache_ttl: 1m}]\n", false, false, &doc,
	            &e) == 0);
	json_decref(doc);
	CHECK(inventory_forget(&home, "prod/b", "gone", &e) == ERR_REFUSED);
	CHECK(apply("2.yaml", HEAD MOVED "    stores: [{provider: shelf, at: x}]\n", false, false, &doc, &e) == 0);
	json_decref(doc);
	give_version("prod/b", 2, STATE_PREVIOUS, "01HZZZZZZZZZZZZZZZZZZZZZZB", 1700000000000);
	CHECK(inventory_forget(&home, "prod/b", "gone", &e) == ERR_REFUSED);
	CHECK_STR(e.hint, "rotor revoke prod/b@2");
	give_version("prod/b", 2, STATE_REVOKED, "01HZZZZZZZZZZZZZZZZZZZZZZB", 1700000000000);
	TEST("forget drops it, on record with the reason");
	CHECK(inventory_forget(&home, "prod/b", "gone", &e) == 0 && !exists("prod/b"));
	CHECK(leaves("inventory.forget", "prod/b", "gone") == 1);
	AUTO_FREE char *source = state_meta_copy(home.state, "source/prod/b");
	CHECK(!source);
	CHECK(inventory_forget(&home, "prod/b", "gone", &e) == ERR_USAGE);
}

#define USER(id, ref) "  " id ":\n    authority: {provider: db, at: x, auth: {secret: " ref "}}\n"
#define PLAIN(id) "  " id ":\n    authority: {provider: db, at: x}\n"

static void test_refs(void)
{
	struct err e;
	json_t *doc;
	TEST("a reference to a secret of the home is good");
	CHECK(apply("m.yaml", HEAD PLAIN("m"), false, false, &doc, &e) == 0);
	json_decref(doc);
	CHECK(apply("u.yaml", HEAD USER("u", "m"), false, false, &doc, &e) == 0);
	json_decref(doc);
	TEST("one to nowhere is a fault");
	CHECK(apply("v.yaml", HEAD USER("v", "nowhere"), false, false, &doc, &e) == ERR_USAGE && !exists("v"));
	TEST("a loop through the home is a fault");
	CHECK(apply("m.yaml", HEAD USER("m", "u"), false, false, &doc, &e) == ERR_USAGE && !doc);
	CHECK(apply("m.yaml", HEAD USER("m", "w") USER("w", "u"), true, false, &doc, &e) == ERR_USAGE && !doc);
	CHECK(!exists("w"));
	TEST("what another secret logs in with does not go");
	CHECK(inventory_forget(&home, "m", "gone", &e) == ERR_REFUSED && exists("m"));
	CHECK_STR(e.message, "'m' cannot go: 'u' logs in with it");
	CHECK(apply("m.yaml", HEAD PLAIN("other"), false, true, &doc, &e) == ERR_REFUSED && !doc);
	CHECK(exists("m") && !exists("other"));
	TEST("nor is a reference good to what is being dropped");
	CHECK(apply("m.yaml", HEAD USER("other", "m"), false, true, &doc, &e) == ERR_USAGE && exists("m"));
}

static void test_prune(void)
{
	struct err e;
	json_t *doc;
	TEST("prune drops what these files no longer declare, and nothing else");
	CHECK(apply("p.yaml", HEAD PLAIN("p1") PLAIN("p2"), false, false, &doc, &e) == 0);
	json_decref(doc);
	CHECK(apply("p.yaml", HEAD PLAIN("p1"), false, false, &doc, &e) == 0 && exists("p2"));
	json_decref(doc);
	CHECK(apply("p.yaml", HEAD PLAIN("p1"), true, true, &doc, &e) == 0 && exists("p2"));
	CHECK_STR(changes(doc), "removed p2");
	json_decref(doc);
	CHECK(apply("p.yaml", HEAD PLAIN("p1"), false, true, &doc, &e) == 0);
	CHECK_STR(changes(doc), "removed p2");
	CHECK(!exists("p2") && exists("p1") && exists("m") && exists("prod/a"));
	CHECK(leaves("inventory.forget", "p2", "prune") == 1);
	json_decref(doc);
	TEST("a secret that another file took over stays");
	CHECK(apply("q.yaml", HEAD PLAIN("p1"), false, false, &doc, &e) == 0);
	json_decref(doc);
	CHECK(apply("p.yaml", HEAD PLAIN("p3"), false, true, &doc, &e) == 0);
	CHECK_STR(changes(doc), "added p3");
	CHECK(exists("p1"));
	json_decref(doc);
	TEST("a secret and what it logs in with go together");
	CHECK(apply("r.yaml", HEAD PLAIN("m2") USER("u2", "m2"), false, false, &doc, &e) == 0);
	json_decref(doc);
	CHECK(apply("r.yaml", HEAD PLAIN("p5"), false, true, &doc, &e) == 0);
	CHECK(!exists("m2") && !exists("u2") && exists("p5"));
	json_decref(doc);
	TEST("prune of a value that is only here is refused, and nothing else is done");
	give_version("p3", 1, STATE_CURRENT, "01HZZZZZZZZZZZZZZZZZZZZZZC", 1700000000000);
	CHECK(apply("p.yaml", HEAD PLAIN("p4"), false, true, &doc, &e) == ERR_REFUSED && !doc);
	CHECK(exists("p3") && !exists("p4"));
	TEST("prune does not go with standard input");
	const char *files[] = { "-" };
	struct load load = { 0 };
	CHECK(inventory_apply(&home, files, 1, false, true, &load, &doc, &e) == ERR_USAGE);
	load_clear(&load);
}

static void test_validate(void)
{
	struct err e = { 0 };
	struct load load = { 0 };
	json_t *doc = NULL;
	AUTO_FREE char *path = file("u.yaml");
	const char *files[] = { path };
	TEST("validate counts; a home makes its secrets known");
	CHECK(inventory_validate(&home, files, 1, &load, &doc, &e) == 0);
	CHECK(json_int(doc, "secrets", 0) == 1 && json_int(doc, "files", 0) == 1);
	json_decref(doc);
	load_clear(&load);
	load = (struct load){ 0 };
	TEST("validate without a home knows only the files");
	doc = NULL;
	CHECK(inventory_validate(NULL, files, 1, &load, &doc, &e) == ERR_USAGE && !doc && load.n_faults == 1);
	load_clear(&load);
}

int main(void)
{
	struct err e = { 0 };
	json_setup();
	kind_register(kinds, sizeof kinds / sizeof *kinds);
	if (!mkdtemp(dir))
		return 99;
	AUTO_FREE char *path = file("home");
	if (!arena_init(&e) || !home_init(path, "rotor.test/inventory", &e) ||
	    !home_open(path, HOME_WRITE, &home, &e)) {
		printf("Bail out! %s\n", e.message);
		return 99;
	}
	test_apply();
	test_select();
	test_list();
	test_next();
	test_show();
	test_forget();
	test_refs();
	test_prune();
	test_validate();
	home_close(&home);
	AUTO_FREE char *tidy = mem_printf("rm -rf '%s'", dir);
	if (system(tidy) != 0)
		return 99;
	return TEST_END();
}
