#include "tests/unit/test.h"

#include <fcntl.h>
#include <sodium.h>
#include <sqlite3.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/clock.h"
#include "core/decl.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/state.h"

static char dir[64], db[80], lock_path[80], audit[80], keys[80];
static unsigned char sk[64], wrapped[SEAL_WRAPPED_MAX];
static size_t wrapped_len;
static struct seal *seal;
static struct err err;

#define OK(call) \
	do { \
		err = (struct err){ 0 }; \
		if (!(call)) { \
			test_bad_ = 1; \
			printf("# %s:%d: %s: %s\n", __FILE__, __LINE__, #call, err.message); \
		} \
	} while (0)
#define FAILS(call, want) \
	do { \
		err = (struct err){ 0 }; \
		CHECK(!(call)); \
		if (err.code != (want)) { \
			test_bad_ = 1; \
			printf("# %s:%d: code %d, want %d: %s\n", __FILE__, __LINE__, (int)err.code, (int)(want), err.message); \
		} \
	} while (0)

struct opened {
	struct lock *lock;
	struct state *s;
};

static struct opened reopen(enum state_mode mode)
{
	struct opened o = { 0 };
	OK(lock_open(lock_path, &o.lock, &err));
	OK(state_open(db, mode, o.lock, &o.s, &err));
	if (o.s)
		state_keys(o.s, sk, seal);
	return o;
}

static void shut(struct opened *o)
{
	state_close(o->s);
	if (o->lock)
		lock_close(o->lock);
	*o = (struct opened){ 0 };
}

static void fresh(void)
{
	char command[256];
	snprintf(command, sizeof command, "rm -f '%s'* '%s'/*", db, audit);
	CHECK(system(command) == 0);
	struct state_birth birth = {
		.home = "01ARZ3NDEKTSV4RRFFQ69G5FAV", .origin = "example.com/log", .machine = "m1",
		.wrapped = wrapped, .wrapped_len = wrapped_len, .log_sk = sk,
	};
	OK(state_create(db, &birth, &err));
}

static bool log_one(struct state *s, const char *act)
{
	return state_log(s, &(struct state_leaf){ .act = act, .outcome = "done", .policy_max_age = -1 }, &err);
}

static struct decl *make_decl(const char *id, const char *owner)
{
	struct decl *d = mem_alloc(sizeof *d);
	char text[1024];
	snprintf(text, sizeof text,
	         "{\"id\":\"%s\",\"owner\":\"%s\",\"authority\":{\"provider\":\"postgres\"}}", id, owner);
	d->json = json_parse(text, strlen(text), 8, "test", NULL);
	d->id = json_str(d->json, "id");
	d->owner = json_str(d->json, "owner");
	d->risk = "high";
	d->type = "password";
	d->policy.name = "standard";
	json_t *labels = json_object();
	json_put_str(labels, "app", owner);
	d->labels = labels;
	return d;
}

static bool put_secret(struct state *s, const char *id, const char *owner, bool *changed)
{
	struct decl *d = make_decl(id, owner);
	bool ok = state_secret_put(s, d, changed, &err);
	json_decref((json_t *)(uintptr_t)d->labels);
	json_decref(d->json);
	free(d);
	return ok;
}

static int64_t row_of(struct state *s, const char *id)
{
	struct state_secret x = { 0 };
	bool found = false;
	OK(state_secret_get(s, id, &x, &found, &err));
	int64_t row = found ? x.row : -1;
	if (found)
		state_secret_clear(&x);
	return row;
}

static bool collect(void *arg, const struct state_secret *x, struct err *e)
{
	(void)e;
	char *all = arg;
	size_t len = strlen(all);
	snprintf(all + len, 1024 - len, "%s ", x->id);
	return true;
}

/* 0 is any, here. */
static const char *ids(struct state *s, struct state_select sel)
{
	static char all[1024];
	sel.due_before = sel.due_before ? sel.due_before : -1;
	sel.expiring_before = sel.expiring_before ? sel.expiring_before : -1;
	sel.limit = sel.limit ? sel.limit : -1;
	all[0] = '\0';
	OK(state_secrets(s, &sel, false, collect, all, &err));
	return all;
}

#define SELECT(...) ((struct state_select){ __VA_ARGS__ })

static void test_secrets(void)
{
	fresh();
	struct opened o = reopen(STATE_WRITE);
	bool changed = false;
	TEST("secrets are put, changed and told apart");
	FAILS(put_secret(o.s, "a", "x", &changed), ERR_FAILED);
	OK(state_begin(o.s, &err));
	OK(put_secret(o.s, "prod/a", "one", &changed));
	CHECK(changed);
	OK(put_secret(o.s, "prod/a", "one", &changed));
	CHECK(!changed);
	OK(put_secret(o.s, "prod/a", "two", &changed));
	CHECK(changed);
	OK(put_secret(o.s, "prod/db/b", "one", &changed));
	OK(put_secret(o.s, "test", "one", &changed));
	OK(put_secret(o.s, "prod", "one", &changed));
	OK(state_commit(o.s, &err));

	TEST("selecting by id, glob, owner and label");
	CHECK_STR(ids(o.s, SELECT(.id = NULL)), "prod prod/a prod/db/b test ");
	CHECK_STR(ids(o.s, SELECT(.id = "prod")), "prod ");
	CHECK_STR(ids(o.s, SELECT(.id = "prod/*")), "prod/a ");
	CHECK_STR(ids(o.s, SELECT(.id = "prod/**")), "prod/a prod/db/b ");
	CHECK_STR(ids(o.s, SELECT(.id = "**b")), "prod/db/b ");
	CHECK_STR(ids(o.s, SELECT(.id = "*/*/b")), "prod/db/b ");
	CHECK_STR(ids(o.s, SELECT(.id = "*")), "prod test ");
	CHECK_STR(ids(o.s, SELECT(.id = "pro")), "");
	CHECK_STR(ids(o.s, SELECT(.owner = "two")), "prod/a ");
	CHECK_STR(ids(o.s, SELECT(.label = "app", .label_value = "two")), "prod/a ");
	CHECK_STR(ids(o.s, SELECT(.label = "app", .limit = 2)), "prod prod/a ");
	CHECK_STR(ids(o.s, SELECT(.label = "none")), "");
	CHECK_STR(ids(o.s, SELECT(.provider = "postgres", .id = "t*")), "test ");
	CHECK_STR(ids(o.s, SELECT(.risk = "low")), "");

	TEST("due secrets come by time, without those being rotated");
	struct state_rotation r = { .row = row_of(o.s, "test"), .secret = "test", .state = "waiting", .started = 1, .ended = -1,
		                        .next_at = 70, .until = -1, .plan = "{}", .digest = "d" };
	ulid_new(r.id);
	OK(state_begin(o.s, &err));
	OK(state_secret_schedule(o.s, row_of(o.s, "prod/a"), 1, 50, 90, &err));
	OK(state_secret_schedule(o.s, row_of(o.s, "prod/db/b"), 1, 40, -1, &err));
	OK(state_secret_schedule(o.s, row_of(o.s, "prod"), 1, 60, 80, &err));
	OK(state_secret_schedule(o.s, row_of(o.s, "test"), 1, 10, -1, &err));
	OK(state_rotation_put(o.s, &r, &err));
	OK(state_commit(o.s, &err));
	CHECK_STR(ids(o.s, SELECT(.due_before = 50)), "prod/db/b prod/a ");
	CHECK_STR(ids(o.s, SELECT(.expiring_before = 100)), "prod prod/a ");
	CHECK_STR(ids(o.s, SELECT(.expiring_before = 80)), "prod ");
	OK(state_begin(o.s, &err));
	r.ended = 99;
	r.state = "done";
	OK(state_rotation_put(o.s, &r, &err));
	OK(state_commit(o.s, &err));
	CHECK_STR(ids(o.s, SELECT(.due_before = 50)), "test prod/db/b prod/a ");

	TEST("a forgotten row is never given out again");
	int64_t last = row_of(o.s, "prod");
	OK(state_begin(o.s, &err));
	OK(state_secret_forget(o.s, last, &err));
	OK(put_secret(o.s, "prod", "one", &changed));
	OK(state_commit(o.s, &err));
	CHECK(row_of(o.s, "prod") > last);
	shut(&o);
}

static struct fields *some(const char *password)
{
	struct fields *f = fields_new();
	CHECK(fields_set(f, "username", "orders_a", 8, NULL));
	CHECK(fields_set(f, "password", password, strlen(password), NULL));
	return f;
}

static void test_versions(void)
{
	fresh();
	struct opened o = reopen(STATE_WRITE);
	bool changed, found;
	uint32_t n = 0;
	struct state_version *all = NULL;
	struct state_secret x = { 0 };
	size_t count = 0;
	OK(state_begin(o.s, &err));
	OK(put_secret(o.s, "a", "one", &changed));
	OK(put_secret(o.s, "b", "one", &changed));
	OK(state_commit(o.s, &err));
	int64_t row = row_of(o.s, "a");

	TEST("version numbers are never given out twice");
	OK(state_begin(o.s, &err));
	OK(state_version_next(o.s, row, &n, &err));
	CHECK(n == 1);
	OK(state_version_put(o.s, row, &(struct state_version){ .n = 5, .state = STATE_CURRENT, .issued_at = 7, .expires_at = -1,
	                                                        .revoked_at = -1, .handle = "h5" }, &err));
	OK(state_version_next(o.s, row, &n, &err));
	CHECK(n == 6);
	OK(state_commit(o.s, &err));
	FAILS(state_version_next(o.s, row, &n, &err), ERR_FAILED);

	TEST("one version is current, and the secret's columns follow");
	OK(state_begin(o.s, &err));
	OK(state_version_put(o.s, row, &(struct state_version){ .n = 6, .state = STATE_CURRENT, .issued_at = 8, .expires_at = 9,
	                                                        .revoked_at = -1 }, &err));
	OK(state_commit(o.s, &err));
	OK(state_versions(o.s, row, &all, &count, &err));
	CHECK(count == 2 && all[0].n == 6 && all[0].state == STATE_CURRENT && all[1].state == STATE_PREVIOUS);
	CHECK(count == 2 && strcmp(all[1].handle, "h5") == 0 && all[1].issued_at == 7 && all[1].expires_at == -1);
	free(all);
	OK(state_secret_get(o.s, "a", &x, &found, &err));
	CHECK(found && x.version == 6 && x.issued_at == 8 && x.expires_at == 9 && x.decl && strstr(x.decl, "postgres"));
	state_secret_clear(&x);
	OK(state_begin(o.s, &err));
	OK(state_version_put(o.s, row, &(struct state_version){ .n = 6, .state = STATE_REVOKED, .issued_at = 8, .expires_at = -1,
	                                                        .revoked_at = 10 }, &err));
	OK(state_commit(o.s, &err));
	OK(state_secret_get(o.s, "a", &x, &found, &err));
	CHECK(found && x.version == 0 && x.issued_at == -1);
	state_secret_clear(&x);

	TEST("values are sealed, found by hash, erased, and move with a rename");
	AUTO_FIELDS *f = some("canary-4711");
	AUTO_FIELDS *got = NULL;
	AUTO_FIELDS *kept = NULL;
	unsigned char hash[SEAL_FIND_BYTES];
	char list[1024] = "";
	OK(state_begin(o.s, &err));
	OK(state_value_put(o.s, row, "a", 6, f, &err));
	OK(state_kept_put(o.s, row, "a", "R/t", f, &err));
	OK(state_commit(o.s, &err));
	FAILS(state_value_get(o.s, row, "b", 6, &got, &err), ERR_FAILED);
	CHECK(got == NULL);
	OK(state_begin(o.s, &err));
	FAILS(state_secret_rename(o.s, row, "b", &err), ERR_USAGE);
	OK(state_secret_rename(o.s, row, "c/d", &err));
	OK(state_commit(o.s, &err));
	OK(state_value_get(o.s, row, "c/d", 6, &got, &err));
	CHECK_STR(fields_get(got, "password", NULL), "canary-4711");
	OK(state_kept_get(o.s, row, "c/d", "R/t", &kept, &err));
	CHECK_STR(fields_get(kept, "password", NULL), "canary-4711");
	OK(state_begin(o.s, &err));
	OK(state_value_erase(o.s, row, 6, &err));
	OK(state_kept_erase(o.s, row, &err));
	OK(state_commit(o.s, &err));
	seal_find(seal, "canary-4711", 11, hash);
	OK(state_values_find(o.s, hash, collect, list, &err));
	CHECK_STR(list, "c/d ");
	fields_free(got);
	got = NULL;
	OK(state_value_get(o.s, row, "c/d", 6, &got, &err));
	CHECK(got == NULL);
	OK(state_versions(o.s, row, &all, &count, &err));
	CHECK(count == 2 && !all[0].has_value);
	free(all);
	shut(&o);
}

static bool count_rotation(void *arg, const struct state_rotation *r, struct err *e)
{
	(void)e;
	*(int *)arg += r->ended == -1 ? 1 : 100;
	return true;
}

static void test_rotations(void)
{
	fresh();
	struct opened o = reopen(STATE_WRITE);
	bool changed, found;
	OK(state_begin(o.s, &err));
	OK(put_secret(o.s, "a", "one", &changed));
	int64_t row = row_of(o.s, "a");
	struct state_rotation r[3], got = { 0 };
	for (int i = 0; i < 3; i++) {
		r[i] = (struct state_rotation){ .row = row, .secret = "a", .state = "waiting", .started = i, .ended = i == 0 ? 9 : -1,
			                            .next_at = i == 1 ? -1 : 40, .until = -1, .version = 2, .plan = "{\"p\":1}", .digest = "d" };
		ulid_new(r[i].id);
		OK(state_rotation_put(o.s, &r[i], &err));
	}
	OK(state_commit(o.s, &err));

	TEST("rotations by id, by secret, unfinished and ready");
	OK(state_rotation_get(o.s, r[0].id, &got, &found, &err));
	CHECK(found && got.ended == 9 && got.next_at == 40 && !got.waits_for);
	CHECK_STR(got.plan, "{\"p\":1}");
	state_rotation_clear(&got);
	OK(state_rotation_get(o.s, "a", &got, &found, &err));
	CHECK(found && strcmp(got.id, r[2].id) == 0);
	state_rotation_clear(&got);
	OK(state_rotation_get(o.s, "nothing", &got, &found, &err));
	CHECK(!found);
	int n = 0, ready = 0, early = 0;
	OK(state_rotations(o.s, -1, count_rotation, &n, &err));
	OK(state_rotations(o.s, 40, count_rotation, &ready, &err));
	OK(state_rotations(o.s, 39, count_rotation, &early, &err));
	CHECK(n == 2 && ready == 1 && early == 0);
	struct state_secret x = { 0 };
	OK(state_secret_get(o.s, "a", &x, &found, &err));
	CHECK(found && x.has_unfinished);
	state_secret_clear(&x);

	TEST("step rows are kept by their index");
	struct state_step *steps = NULL;
	size_t count = 0;
	OK(state_begin(o.s, &err));
	OK(state_step_put(o.s, r[2].id, &(struct state_step){ .idx = 1, .step = "issue", .state = "running", .ended = -1 }, &err));
	OK(state_step_put(o.s, r[2].id, &(struct state_step){ .idx = 0, .step = "generate", .state = "done", .ended = 3 }, &err));
	OK(state_step_put(o.s, r[2].id, &(struct state_step){ .idx = 1, .step = "issue", .state = "done", .ended = 4 }, &err));
	OK(state_commit(o.s, &err));
	OK(state_steps(o.s, r[2].id, &steps, &count, &err));
	CHECK(count == 2 && strcmp(steps[0].step, "generate") == 0 && strcmp(steps[1].state, "done") == 0 && steps[1].ended == 4);
	state_steps_free(steps, count);
	OK(state_begin(o.s, &err));
	OK(state_steps_drop(o.s, r[2].id, &err));
	OK(state_commit(o.s, &err));
	OK(state_steps(o.s, r[2].id, &steps, &count, &err));
	CHECK(count == 0);
	state_steps_free(steps, count);
	shut(&o);
}

struct leaves {
	struct tlog_frontier f;
	char last[TLOG_LEAF_MAX + 1];
};

static bool keep_leaf(void *arg, uint64_t seq, const char *leaf, size_t len, struct err *e)
{
	struct leaves *l = arg;
	struct tlog_hash h;
	(void)e;
	CHECK(seq == l->f.size && len <= TLOG_LEAF_MAX);
	tlog_leaf(leaf, len, &h);
	tlog_append(&l->f, &h);
	memcpy(l->last, leaf, len);
	l->last[len] = '\0';
	return true;
}

static void check_log(struct state *s, uint64_t want)
{
	static struct leaves l;
	struct tlog_checkpoint head;
	struct tlog_hash root;
	memset(&l, 0, sizeof l);
	OK(state_leaves(s, 0, UINT64_MAX, keep_leaf, &l, &err));
	OK(state_head(s, NULL, &head, &err));
	tlog_root(&l.f, &root);
	CHECK(l.f.size == want && head.size == want && memcmp(&root, &head.root, sizeof root) == 0);
}

static void test_log(void)
{
	fresh();
	struct opened o = reopen(STATE_WRITE);
	TEST("leaves carry what was said, escaped and cut, in order");
	static char long_text[20000], huge[TLOG_LEAF_MAX];
	memset(long_text, 'x', sizeof long_text - 1);
	memset(huge, '\x01', sizeof huge - 1);
	OK(state_begin(o.s, &err));
	OK(state_log(o.s, &(struct state_leaf){ .op = "01ARZ3NDEKTSV4RRFFQ69G5FAV", .act = "issue", .secret = "a\"\\\n\xff",
	                                        .version = 8, .attempt = 2, .reason = long_text, .policy_digest = "abc",
	                                        .policy_max_age = 5, .outcome = "intent" }, &err));
	OK(state_commit(o.s, &err));
	static struct leaves l;
	memset(&l, 0, sizeof l);
	OK(state_leaves(o.s, 0, 2, keep_leaf, &l, &err));
	AUTO_JSON *j = json_parse(l.last, strlen(l.last), 8, "leaf", &err);
	CHECK(json_int(j, "v", 0) == 1 && json_int(j, "seq", 0) == 1 && json_int(j, "version", 0) == 8);
	CHECK_STR(json_str(j, "secret"), "a\"\\??");
	CHECK_STR(json_str(j, "home"), "01ARZ3NDEKTSV4RRFFQ69G5FAV");
	CHECK(json_int(json_object_get(j, "policy"), "max_age", 0) == 5);
	CHECK(strncmp(l.last, "{\"v\":1,\"seq\":1,\"ts\":\"", 21) == 0);
	CHECK(!strchr(l.last, '\n') && !json_object_get(j, "receipt"));
	const char *order[] = { "\"ts\"", "\"op\"", "\"act\"", "\"actor\"", "\"host\"", "\"secret\"", "\"version\"", "\"attempt\"",
		                    "\"reason\"", "\"home\"", "\"policy\"", "\"outcome\"" };
	const char *at = l.last;
	for (size_t i = 0; i < sizeof order / sizeof *order && at; i++) {
		at = strstr(at, order[i]);
		CHECK(at);
	}
	int64_t ms = state_last_leaf_ms(o.s);
	CHECK(ms > clock_wall() - 60000 && ms <= clock_wall());

	TEST("a long text is a blob that its leaf names");
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	const char *reason = json_str(j, "reason");
	char sha[65];
	CHECK(reason && strncmp(reason, "sha256:", 7) == 0 && strcmp(reason + 71, ":19999") == 0);
	snprintf(sha, sizeof sha, "%.64s", reason ? reason + 7 : "");
	OK(state_blob_get(o.s, sha, &text, &len, &err));
	CHECK(len == 19999 && text && strcmp(text, long_text) == 0);

	TEST("a leaf always fits");
	OK(state_begin(o.s, &err));
	OK(state_log(o.s, &(struct state_leaf){ .act = huge, .secret = huge, .target = huge, .handle = huge, .incident = huge,
	                                        .outcome = "done", .policy_max_age = -1 }, &err));
	OK(state_commit(o.s, &err));
	check_log(o.s, 3);

	TEST("subtrees and proofs agree with the leaves across tiles");
	OK(state_begin(o.s, &err));
	for (int i = 0; i < 700; i++)
		if (!log_one(o.s, "fill"))
			break;
	OK(state_commit(o.s, &err));
	check_log(o.s, 703);
	struct tlog_hash proof[TLOG_LEVELS], leaf, sub;
	struct tlog_checkpoint head;
	size_t n = 0;
	OK(state_head(o.s, NULL, &head, &err));
	for (uint64_t i = 0; i < 703; i += 117) {
		OK(state_subtree(o.s, 0, i, &leaf, &err));
		OK(tlog_prove(state_subtree, o.s, i, 703, proof, &n, &err));
		CHECK(tlog_check(&leaf, i, 703, &head.root, proof, n));
	}
	OK(state_subtree(o.s, 9, 0, &sub, &err));
	FAILS(state_subtree(o.s, 8, 2, &sub, &err), ERR_REFUSED);

	TEST("audit/checkpoint is the newest head");
	char derived[256] = "", path[128];
	AUTO_FREE char *note = NULL;
	snprintf(path, sizeof path, "%s/checkpoint", audit);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && read(fd, derived, sizeof derived - 1) > 0);
	close(fd);
	OK(state_head(o.s, &note, &head, &err));
	CHECK_STR(derived, note);

	TEST("a transaction without leaves signs no head; an aborted one leaves nothing");
	OK(state_begin(o.s, &err));
	OK(state_meta_set(o.s, "x", "1", &err));
	OK(state_commit(o.s, &err));
	OK(state_begin(o.s, &err));
	OK(state_meta_set(o.s, "x", "2", &err));
	CHECK(log_one(o.s, "lost"));
	state_abort(o.s);
	check_log(o.s, 703);
	CHECK_STR(state_meta(o.s, "x"), "1");

	TEST("a held state records nothing");
	state_hold(o.s, "because");
	OK(state_begin(o.s, &err));
	FAILS(log_one(o.s, "refused"), ERR_REFUSED);
	state_abort(o.s);
	state_hold(o.s, NULL);
	shut(&o);
}

static void test_crash(void)
{
	fresh();
	TEST("a process that ends inside a transaction leaves nothing of it");
	pid_t pid = fork();
	if (pid == 0) {
		struct opened o = reopen(STATE_WRITE);
		bool changed;
		_exit(!(state_begin(o.s, &err) && log_one(o.s, "a") && state_commit(o.s, &err) && state_begin(o.s, &err)
		        && put_secret(o.s, "half", "x", &changed) && log_one(o.s, "b")));
	}
	int status = -1;
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	struct opened o = reopen(STATE_WRITE);
	check_log(o.s, 2);
	CHECK(row_of(o.s, "half") == -1);

	TEST("two processes take turns");
	shut(&o);
	pid_t pids[2];
	for (int p = 0; p < 2; p++) {
		pids[p] = fork();
		if (pids[p] == 0) {
			o = reopen(STATE_WRITE);
			bool ok = true;
			for (int i = 0; i < 40 && ok; i++)
				ok = state_begin(o.s, &err) && log_one(o.s, "turn") && state_commit(o.s, &err);
			shut(&o);
			_exit(!ok);
		}
	}
	for (int p = 0; p < 2; p++)
		CHECK(waitpid(pids[p], &status, 0) == pids[p] && status == 0);
	o = reopen(STATE_READ);
	check_log(o.s, 82);
	shut(&o);

	TEST("no room: nothing has happened, and it goes on later");
	o = reopen(STATE_WRITE);
	struct rlimit old, small = { 0 };
	CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
	small = (struct rlimit){ .rlim_cur = 65536, .rlim_max = old.rlim_max };
	signal(SIGXFSZ, SIG_IGN);
	CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
	static char text[16000];
	memset(text, 'y', sizeof text - 1);
	bool ok = state_begin(o.s, &err);
	for (int i = 0; i < 60 && ok; i++)
		ok = state_log(o.s, &(struct state_leaf){ .act = "big", .reason = text, .outcome = "done", .policy_max_age = -1 }, &err);
	err = (struct err){ 0 };
	CHECK(!(ok && state_commit(o.s, &err)));
	CHECK(err.code == ERR_TEMPORARY);
	state_abort(o.s);
	CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
	check_log(o.s, 82);
	OK(state_begin(o.s, &err));
	CHECK(log_one(o.s, "after"));
	OK(state_commit(o.s, &err));
	shut(&o);
	o = reopen(STATE_READ);
	check_log(o.s, 83);
	shut(&o);
}

static void sql(const char *text)
{
	sqlite3 *raw = NULL;
	CHECK(sqlite3_open(db, &raw) == SQLITE_OK);
	CHECK(sqlite3_exec(raw, text, NULL, NULL, NULL) == SQLITE_OK);
	sqlite3_close(raw);
}

static void refused(const char *what)
{
	struct state *s = NULL;
	TEST(what);
	FAILS(state_open(db, STATE_READ, NULL, &s, &err), ERR_REFUSED);
	CHECK(s == NULL && strstr(err.message, "state.db"));
}

static void test_refusals(void)
{
	fresh();
	CHECK(chmod(db, 0640) == 0);
	refused("a state that others may read is refused");
	CHECK(chmod(db, 0600) == 0);
	sql("PRAGMA user_version = 2");
	refused("a newer schema is refused");
	CHECK(strstr(err.message, "schema 2"));
	sql("PRAGMA user_version = 1; PRAGMA application_id = 7");
	refused("another program's database is refused");
	fresh();
	sql("UPDATE head SET note = replace(note, 'example.com/log', 'example.com/lag')");
	refused("a head that the key did not sign is refused");
	fresh();
	sql("UPDATE tree SET frontier = randomblob(32)");
	refused("a tree that does not fold to its head is refused");
	fresh();
	sql("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
	CHECK(truncate(db, 8192) == 0);
	refused("a state that was cut off is refused");
	CHECK(strstr(err.hint, "backup"));
	CHECK(truncate(db, 0) == 0);
	refused("an empty file is refused");
	FILE *f = fopen(db, "w");
	CHECK(f && fputs("this is not a database, it is a text that is long enough to be looked at, twice over and more.\n", f) >= 0);
	CHECK(f && fclose(f) == 0 && truncate(db, 4096) == 0);
	refused("a text is refused");
	CHECK(unlink(db) == 0 && symlink("/dev/null", db) == 0);
	refused("a link is refused");
	CHECK(unlink(db) == 0);
	struct state *s = NULL;
	FAILS(state_open(db, STATE_READ, NULL, &s, &err), ERR_USAGE);
}

static bool leaks(const char *path)
{
	char command[256];
	snprintf(command, sizeof command, "grep -q 'old note canary' '%s'* 2>/dev/null", path);
	return system(command) == 0;
}

static void test_scrub(void)
{
	fresh();
	TEST("what was deleted is gone from the files after a scrub");
	struct opened o = reopen(STATE_WRITE);
	OK(state_begin(o.s, &err));
	OK(state_meta_set(o.s, "x", "old note canary", &err));
	OK(state_commit(o.s, &err));
	CHECK(leaks(db));
	OK(state_begin(o.s, &err));
	OK(state_meta_set(o.s, "x", "new", &err));
	OK(state_commit(o.s, &err));
	CHECK(leaks(db));
	state_scrub(o.s);
	CHECK(!leaks(db));
	CHECK(state_commits(o.s) == 2);
	shut(&o);
}

static void test_origin(void)
{
	fresh();
	TEST("a new origin signs from then on, and the earlier heads stay good");
	struct opened o = reopen(STATE_WRITE);
	struct tlog_checkpoint head;
	AUTO_FREE char *first = NULL;
	OK(state_begin(o.s, &err));
	OK(state_origin_set(o.s, "example.com/log/2", &err));
	CHECK(log_one(o.s, "home.adopt"));
	OK(state_commit(o.s, &err));
	OK(state_head(o.s, NULL, &head, &err));
	CHECK_STR(head.origin, "example.com/log/2");
	OK(state_head_at(o.s, 1, &first, &err));
	OK(state_head_open(o.s, first, false, &head, &err));
	CHECK_STR(head.origin, "example.com/log");
	shut(&o);
	o = reopen(STATE_READ);
	CHECK_STR(state_vkey(o.s)->name, "example.com/log/2");
	shut(&o);
}

int main(void)
{
	CHECK(arena_init(&err));
	json_setup();
	snprintf(dir, sizeof dir, "/tmp/rotor-state-XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	snprintf(db, sizeof db, "%s/state.db", dir);
	snprintf(lock_path, sizeof lock_path, "%s/lock", dir);
	snprintf(audit, sizeof audit, "%s/audit", dir);
	snprintf(keys, sizeof keys, "%s/keys", dir);
	int fd = open(lock_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	TEST("set-up");
	CHECK(fd >= 0 && close(fd) == 0 && mkdir(audit, 0700) == 0 && mkdir(keys, 0700) == 0);
	unsigned char pk[32], seed[32] = { 7 };
	crypto_sign_seed_keypair(pk, sk, seed);
	OK(seal_create(keys, wrapped, &wrapped_len, &err));
	OK(seal_open(keys, wrapped, wrapped_len, &seal, &err));
	test_secrets();
	test_versions();
	test_rotations();
	test_log();
	test_crash();
	test_refusals();
	test_scrub();
	test_origin();
	seal_free(seal);
	char command[96];
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	CHECK(system(command) == 0);
	return TEST_END();
}
