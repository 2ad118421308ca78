#include "tests/unit/test.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/audit.h"
#include "core/json.h"
#include "core/mem.h"

static char root[64], dir[96], out[96], vkey[128];
static struct err err;

#define OK(call)                                                                                                       \
	do {                                                                                                           \
		err = (struct err){ 0 };                                                                               \
		if (!(call)) {                                                                                         \
			test_bad_ = 1;                                                                                 \
			printf("# %s:%d: %s: %s\n", __FILE__, __LINE__, #call, err.message);                           \
		}                                                                                                      \
	} while (0)

static void sh(const char *fmt, ...) PRINTF(1, 2);
static void sh(const char *fmt, ...)
{
	char command[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(command, sizeof command, fmt, ap);
	va_end(ap);
	if (system(command) != 0) {
		test_bad_ = 1;
		printf("# failed: %s\n", command);
	}
}

static bool leaf(struct home *h, const char *op, const char *outcome, const char *reason)
{
	return state_log(h->state,
	                 &(struct state_leaf){
				 .op = op, .act = "issue", .reason = reason, .outcome = outcome, .policy_max_age = -1 },
	                 &err);
}

static void grow(struct home *h, int n, const char *reason)
{
	OK(state_begin(h->state, &err));
	for (int i = 0; i < n; i++)
		if (!leaf(h, NULL, "done", reason)) {
			OK(false);
			break;
		}
	OK(state_commit(h->state, &err));
}

static const char *problem(struct home *h)
{
	static struct audit_result r;
	OK(audit_verify(h, &r, &err));
	return r.problem;
}

static const char *export_problem(void)
{
	static struct audit_result r;
	OK(audit_verify_export(out, vkey, &r, &err));
	return r.problem;
}

static void fresh(struct home *h)
{
	home_close(h);
	sh("rm -rf '%s' '%s'", dir, out);
	OK(home_init(dir, "example.com/audit", &err));
	OK(home_open(dir, HOME_WRITE, h, &err));
}

static void alter(struct home *h, const char *sql)
{
	char path[128];
	sqlite3 *raw = NULL;
	home_close(h);
	snprintf(path, sizeof path, "%s/state.db", dir);
	CHECK(sqlite3_open(path, &raw) == SQLITE_OK);
	CHECK(sqlite3_exec(raw, sql, NULL, NULL, NULL) == SQLITE_OK && sqlite3_total_changes(raw) > 0);
	sqlite3_close(raw);
	OK(home_open(dir, HOME_WRITE, h, &err));
}

static void test_verify(void)
{
	struct home h = { 0 };
	struct audit_result r;
	TEST("a whole log is good, its open intents are counted");
	fresh(&h);
	for (int i = 0; i < 6; i++) {
		char op[ULID_SIZE];
		ulid_new(op);
		OK(state_begin(h.state, &err));
		CHECK(leaf(&h, op, "intent", NULL));
		OK(state_commit(h.state, &err));
		OK(state_begin(h.state, &err));
		if (i % 3)
			CHECK(leaf(&h, op, i == 1 ? "failed" : "done", "say \",\"outcome\":\"intent"));
		OK(state_commit(h.state, &err));
	}
	OK(state_begin(h.state, &err));
	OK(state_log(
		h.state,
		&(struct state_leaf){ .op = "01ARZ3NDEKTSV4RRFFQ69G5FAV", .receipt = "intent", .policy_max_age = -1 },
		&err));
	OK(state_commit(h.state, &err));
	grow(&h, 599, "r");
	OK(audit_verify(&h, &r, &err));
	CHECK(r.size == 611 && r.heads == 13 && r.open_intents == 2);
	CHECK_STR(r.problem, "");
	AUTO_FREE char *note = NULL;
	OK(audit_checkpoint(&h, &note, &err));
	CHECK(note && strncmp(note, "example.com/audit\n611\n", 22) == 0);

	TEST("what was altered is found");
	sh("cp -a '%s' '%s.good'", dir, dir);
	static const struct {
		const char *sql, *says;
	} bad[] = {
		{ "UPDATE leaf SET data = replace(data, '\"r\"', '\"s\"') WHERE seq = 300", "do not fold" },
		{ "UPDATE leaf SET data = replace(data, '\"seq\":300,', '\"seq\":301,') WHERE seq = 300",
		  "leaf 300 is not" },
		{ "DELETE FROM leaf WHERE seq = 400", "leaf 400 is missing" },
		{ "INSERT INTO leaf VALUES(611, '{}')", "leaf 611 is under no" },
		{ "UPDATE head SET note = replace(note, char(10, 51, 10), char(10, 50, 10)) WHERE size = 3",
		  "head of size 3" },
		{ "DELETE FROM leaf WHERE seq = 610", "leaf 610 is missing" },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		alter(&h, bad[i].sql);
		if (!strstr(problem(&h), bad[i].says)) {
			test_bad_ = 1;
			printf("# %s: '%s'\n", bad[i].sql, problem(&h));
		}
		home_close(&h);
		sh("rm -rf '%s' && cp -a '%s.good' '%s'", dir, dir, dir);
		OK(home_open(dir, HOME_WRITE, &h, &err));
	}
	CHECK_STR(problem(&h), "");
	sh("echo other+11111111+AAAA > '%s/audit/vkey'", dir);
	CHECK(strstr(problem(&h), "vkey"));
	sh("cp '%s.good/audit/vkey' '%s/audit/vkey' && echo x > '%s/audit/checkpoint'", dir, dir, dir);
	CHECK(strstr(problem(&h), "checkpoint"));
	home_close(&h);
	sh("rm -rf '%s.good'", dir);
}

static void test_blob(void)
{
	struct home h = { 0 };
	static char text[30000];
	uint64_t size;
	TEST("a long text goes out with the log, and is checked");
	fresh(&h);
	memset(text, 'p', sizeof text - 1);
	grow(&h, 1, text);
	CHECK_STR(problem(&h), "");
	OK(audit_export(&h, out, &size, &err));
	sh("cd '%s/blob' && for f in *; do test \"$(sha256sum < $f)\" = \"$f  -\" && test $(wc -c < $f) = 29999; done",
	   out);
	alter(&h, "UPDATE blob SET data = data || 'x'");
	CHECK(strstr(problem(&h), "altered"));
	alter(&h, "UPDATE blob SET data = replace(data, 'x', '')");
	CHECK_STR(problem(&h), "");
	alter(&h, "UPDATE blob SET data = replace(data, 'p', 'q')");
	CHECK(strstr(problem(&h), "altered"));
	alter(&h, "DELETE FROM blob");
	CHECK(strstr(problem(&h), "missing, which leaf 1 names"));

	TEST("a text that vanished from an export, or was altered there, is found");
	snprintf(vkey, sizeof vkey, "%s/audit/vkey", dir);
	CHECK_STR(export_problem(), "");
	sh("cp -a '%s/blob' '%s/kept' && sed -i s/p/q/ '%s'/blob/*", out, root, out);
	CHECK(strstr(export_problem(), "altered"));
	sh("cp '%s'/kept/* '%s/blob' && truncate -s +1 '%s'/blob/*", root, out, out);
	CHECK(strstr(export_problem(), "altered"));
	sh("rm '%s'/blob/*", out);
	CHECK(strstr(export_problem(), "missing, which leaf 1 names"));
	sh("ln -s '%s'/kept/* '%s/blob'", root, out);
	CHECK(strstr(export_problem(), "missing"));
	sh("rm -r '%s/kept'", root);

	TEST("a reason that looks like the name of a text is not taken for one");
	fresh(&h);
	grow(&h, 1, "sha256:0000000000000000000000000000000000000000000000000000000000000000:20000");
	grow(&h, 1, "sha256:");
	grow(&h, 1, "say \",\"reason\":\"sha256:1\"");
	CHECK_STR(problem(&h), "");
	OK(audit_export(&h, out, &size, &err));
	CHECK_STR(export_problem(), "");
	home_close(&h);
}

/* The tiles hold what the specification says, worked out here from the entries alone. */
static void rehash(uint64_t size)
{
	char path[256], name[96];
	struct tlog_frontier f = { 0 };
	struct tlog_checkpoint head;
	struct tlog_hash want;
	AUTO_BUF note = BUF_INIT(4096);
	for (uint64_t t = 0; t * 256 < size; t++) {
		unsigned width = size - t * 256 < 256 ? (unsigned)(size - t * 256) : 256;
		AUTO_BUF entries = BUF_INIT((size_t)20 << 20);
		AUTO_BUF tile = BUF_INIT(8192);
		tlog_tile_path(-1, t, width, name);
		snprintf(path, sizeof path, "%s/%s", out, name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		OK(buf_read_fd(&entries, fd, path, &err));
		close(fd);
		tlog_tile_path(0, t, width, name);
		snprintf(path, sizeof path, "%s/%s", out, name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		OK(buf_read_fd(&tile, fd, path, &err));
		close(fd);
		CHECK(tile.len == (size_t)width * TLOG_HASH);
		size_t at = 0;
		for (unsigned i = 0; i < width && at + 2 <= entries.len; i++) {
			size_t len = (size_t)(unsigned char)entries.data[at] << 8 | (unsigned char)entries.data[at + 1];
			struct tlog_hash h;
			CHECK(at + 2 + len <= entries.len);
			tlog_leaf(entries.data + at + 2, len, &h);
			tlog_append(&f, &h);
			CHECK(memcmp(tile.data + (size_t)i * TLOG_HASH, &h, sizeof h) == 0);
			at += 2 + len;
		}
		CHECK(at == entries.len);
	}
	snprintf(path, sizeof path, "%s/checkpoint", out);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	OK(buf_read_fd(&note, fd, path, &err));
	close(fd);
	const char *end = strstr(note.data, "\n\n");
	OK(tlog_checkpoint_parse(note.data, (size_t)(end - note.data) + 1, &head, &err));
	tlog_root(&f, &want);
	CHECK(f.size == size && head.size == size && memcmp(&want, &head.root, sizeof want) == 0);
}

static ino_t inode(const char *name)
{
	struct stat st;
	AUTO_FREE char *path = mem_printf("%s/%s", out, name);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

static void test_export(void)
{
	struct home h = { 0 };
	struct audit_result r;
	uint64_t size = 0;
	TEST("an export is whole and can be checked without the home");
	fresh(&h);
	grow(&h, 699, "one");
	OK(audit_export(&h, out, &size, &err));
	CHECK(size == 700);
	snprintf(vkey, sizeof vkey, "%s/audit/vkey", dir);
	rehash(700);
	OK(audit_verify_export(out, vkey, &r, &err));
	CHECK(r.size == 700 && r.heads == 1);
	CHECK_STR(r.problem, "");
	OK(audit_verify_export(out, NULL, &r, &err));
	CHECK_STR(r.problem, "");
	CHECK(inode("README") && inode("tile/0/002.p/188") && inode("tile/1/000.p/2") &&
	      inode("tile/entries/002.p/188"));

	TEST("a further export keeps complete tiles and replaces partial ones");
	ino_t first = inode("tile/entries/001"), hashes = inode("tile/0/001");
	grow(&h, 100, "two");
	OK(audit_export(&h, out, &size, &err));
	CHECK(size == 800 && inode("tile/entries/001") == first && inode("tile/0/001") == hashes);
	CHECK(!inode("tile/0/002.p") && !inode("tile/entries/002.p") && inode("tile/0/002") &&
	      inode("tile/0/003.p/32"));
	CHECK(!inode("tile/1/000.p/2") && inode("tile/1/000.p/3"));
	rehash(800);
	CHECK_STR(export_problem(), "");

	TEST("what was altered in an export is found");
	static const struct {
		const char *breaks, *says;
	} bad[] = {
		{ "sed -i 's/\"one\"/\"uno\"/' tile/entries/001", "does not hold the hashes" },
		{ "truncate -s 8000 tile/entries/002", "cut off" },
		{ "echo >> tile/entries/002", "more than" },
		{ "rm tile/entries/003.p/32", "missing" },
		{ "dd if=/dev/zero of=tile/0/001 bs=1 seek=64 count=32 conv=notrunc 2>/dev/null", "tile/0/001" },
		{ "dd if=/dev/zero of=tile/1/000.p/3 bs=1 count=32 conv=notrunc 2>/dev/null", "tile/1/000.p/3" },
		{ "sed -i 's/^800$/799/' checkpoint", "not signed" },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		sh("cp -a '%s' '%s.good' && cd '%s' && %s", out, out, out, bad[i].breaks);
		const char *says = export_problem();
		if (!strstr(says, bad[i].says)) {
			test_bad_ = 1;
			printf("# %s: '%s'\n", bad[i].breaks, says);
		}
		sh("rm -rf '%s' && mv '%s.good' '%s'", out, out, out);
	}
	sh("echo 'example.com/audit+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k' > '%s/k'", root);
	char key[128];
	snprintf(key, sizeof key, "%s/k", root);
	CHECK(!audit_verify_export(out, key, &r, &err) || r.problem[0]);

	TEST("a killed export is taken up; another log's folder is refused");
	sh("rm '%s/checkpoint' && echo junk > '%s/tile/entries/001'", out, out);
	OK(audit_export(&h, out, &size, &err));
	CHECK_STR(export_problem(), "");
	home_close(&h);
	sh("rm -rf '%s'", dir);
	OK(home_init(dir, "example.com/audit", &err));
	OK(home_open(dir, HOME_WRITE, &h, &err));
	CHECK(!audit_export(&h, out, &size, &err) && err.code == ERR_REFUSED);
	sh("rm '%s/checkpoint'", out);
	CHECK(!audit_export(&h, out, &size, &err) && err.code == ERR_REFUSED);
	home_close(&h);
}

int main(void)
{
	TEST("set-up");
	OK(arena_init(&err));
	json_setup();
	snprintf(root, sizeof root, "/tmp/rotor-audit-XXXXXX");
	if (!mkdtemp(root))
		return 1;
	snprintf(dir, sizeof dir, "%s/home", root);
	snprintf(out, sizeof out, "%s/out", root);
	test_verify();
	test_blob();
	test_export();
	sh("rm -rf '%s'", root);
	return TEST_END();
}
