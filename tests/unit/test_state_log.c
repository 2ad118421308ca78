#include "tests/unit/state_rig.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>

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

/* arg: digest and text that are looked for; the digest is forgotten when they are there. */
static bool is_blob(void *arg, const char *sha, const char *text, size_t len, struct err *e)
{
	const char **want = arg;
	(void)e;
	if (want[0] && strcmp(sha, want[0]) == 0 && len == strlen(want[1]) && memcmp(text, want[1], len) == 0)
		want[0] = NULL;
	return true;
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
	OK(state_log(o.s,
	             &(struct state_leaf){ .op = "01ARZ3NDEKTSV4RRFFQ69G5FAV",
	                                   .act = "issue",
	                                   .secret = "a\"\\\n\xff",
	                                   .version = 8,
	                                   .attempt = 2,
	                                   .reason = long_text,
	                                   .policy_digest = "abc",
	                                   .policy_max_age = 5,
	                                   .outcome = "intent" },
	             &err));
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
	const char *order[] = { "\"ts\"",      "\"op\"",      "\"act\"",    "\"actor\"", "\"host\"",   "\"secret\"",
		                "\"version\"", "\"attempt\"", "\"reason\"", "\"home\"",  "\"policy\"", "\"outcome\"" };
	const char *at = l.last;
	for (size_t i = 0; i < sizeof order / sizeof *order && at; i++) {
		at = strstr(at, order[i]);
		CHECK(at);
	}
	int64_t ms = state_last_leaf_ms(o.s);
	CHECK(ms > clock_wall() - 60000 && ms <= clock_wall());

	TEST("a long text is a blob that its leaf names");
	const char *reason = json_str(j, "reason");
	char sha[65];
	CHECK(reason && strncmp(reason, "sha256:", 7) == 0 && strcmp(reason + 71, ":19999") == 0);
	snprintf(sha, sizeof sha, "%.64s", reason ? reason + 7 : "");
	const char *wanted[] = { sha, long_text };
	OK(state_blobs(o.s, is_blob, wanted, &err));
	CHECK(wanted[0] == NULL);

	TEST("a leaf always fits");
	OK(state_begin(o.s, &err));
	OK(state_log(o.s,
	             &(struct state_leaf){ .act = huge,
	                                   .secret = huge,
	                                   .target = huge,
	                                   .handle = huge,
	                                   .incident = huge,
	                                   .outcome = "done",
	                                   .policy_max_age = -1 },
	             &err));
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
		_exit(!(state_begin(o.s, &err) && log_one(o.s, "a") && state_commit(o.s, &err) &&
		        state_begin(o.s, &err) && put_secret(o.s, "half", "x", &changed) && log_one(o.s, "b")));
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
	signal(SIGXFSZ, SIG_IGN); /* as the program does first of all */
	CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
	static char text[16000];
	memset(text, 'y', sizeof text - 1);
	bool ok = state_begin(o.s, &err);
	for (int i = 0; i < 60 && ok; i++)
		ok = state_log(
			o.s,
			&(struct state_leaf){ .act = "big", .reason = text, .outcome = "done", .policy_max_age = -1 },
			&err);
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
	refused("a head of an unknown origin is refused");
	fresh();
	sql("UPDATE head SET note = replace(note, char(10, 49, 10), char(10, 50, 10))");
	refused("a head that the key did not sign is refused");
	CHECK(strstr(err.message, "signature"));
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
	CHECK(f &&
	      fputs("this is not a database, it is a text that is long enough to be looked at, twice over and more.\n",
	            f) >= 0);
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
	bool changed;
	fresh();
	TEST("what was deleted is gone from the files after a scrub");
	struct opened o = reopen(STATE_WRITE);
	OK(state_begin(o.s, &err));
	OK(put_secret(o.s, "a", "old note canary", &changed));
	OK(put_secret(o.s, "b", "other", &changed));
	OK(state_commit(o.s, &err));
	state_scrub(o.s);
	CHECK(leaks(db));
	OK(state_begin(o.s, &err));
	OK(state_secret_forget(o.s, row_of(o.s, "a"), &err));
	OK(state_commit(o.s, &err));
	state_scrub(o.s);
	CHECK(!leaks(db));
	shut(&o);
}

static void test_turn(void)
{
	fresh();
	TEST("a transaction waits for the commit turn");
	struct opened o = reopen(STATE_WRITE);
	int ready[2];
	char byte = 0;
	CHECK(pipe(ready) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct lock *other = NULL;
		bool ok = lock_open(lock_path, &other, &err) && lock_turn(other, 1000, &err) &&
		          write(ready[1], "x", 1) == 1;
		usleep(300000);
		_exit(!ok);
	}
	CHECK(read(ready[0], &byte, 1) == 1);
	int64_t start = clock_boot();
	OK(state_begin(o.s, &err));
	CHECK(clock_boot() - start >= 200);
	state_abort(o.s);
	int status = -1;
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	close(ready[0]);
	close(ready[1]);
	shut(&o);
}

static void test_snapshot(void)
{
	struct tlog_checkpoint before, after;
	fresh();
	TEST("a reader sees one moment, and a later reader what came since");
	struct opened o = reopen(STATE_WRITE);
	struct opened r = reopen(STATE_READ);
	OK(state_head(r.s, NULL, &before, &err));
	OK(state_begin(o.s, &err));
	CHECK(log_one(o.s, "later"));
	OK(state_commit(o.s, &err));
	OK(state_head(r.s, NULL, &after, &err));
	CHECK(after.size == before.size);
	check_log(r.s, before.size);
	shut(&r);
	r = reopen(STATE_READ);
	check_log(r.s, before.size + 1);
	shut(&r);
	shut(&o);
}

static void test_deep(void)
{
	fresh();
	TEST("subtrees above 65,536 leaves");
	struct opened o = reopen(STATE_WRITE);
	struct tlog_frontier f = { 0 };
	struct tlog_hash got = { 0 }, leaf;
	OK(state_begin(o.s, &err));
	for (int i = 1; i < 65600; i++)
		if (!log_one(o.s, "fill")) {
			CHECK(false);
			break;
		}
	OK(state_commit(o.s, &err));
	for (uint64_t i = 0; i < 256; i++) {
		OK(state_subtree(o.s, 8, i, &leaf, &err));
		tlog_append(&f, &leaf);
	}
	OK(state_subtree(o.s, 16, 0, &got, &err));
	CHECK(f.n == 1 && memcmp(&got, &f.h[0], sizeof got) == 0);
	check_log(o.s, 65600);
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
	if (!rig_begin())
		return 1;
	test_log();
	test_crash();
	test_refusals();
	test_scrub();
	test_turn();
	test_snapshot();
	test_deep();
	test_origin();
	rig_end();
	return TEST_END();
}
