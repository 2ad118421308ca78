#include "tests/unit/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/home.h"
#include "core/json.h"
#include "core/mem.h"

static char root[64], dir[96];
static struct err err;

#define OK(call)                                                                                                       \
	do {                                                                                                           \
		err = (struct err){ 0 };                                                                               \
		if (!(call)) {                                                                                         \
			test_bad_ = 1;                                                                                 \
			printf("# %s:%d: %s: %s\n", __FILE__, __LINE__, #call, err.message);                           \
		}                                                                                                      \
	} while (0)
#define FAILS(call, want)                                                                                              \
	do {                                                                                                           \
		err = (struct err){ 0 };                                                                               \
		CHECK(!(call));                                                                                        \
		if (err.code != (want)) {                                                                              \
			test_bad_ = 1;                                                                                 \
			printf("# %s:%d: code %d, want %d: %s\n", __FILE__, __LINE__, (int)err.code, (int)(want),      \
			       err.message);                                                                           \
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

static void fresh(void)
{
	sh("rm -rf '%s'", dir);
	OK(home_init(dir, "example.com/home", &err));
}

static bool note(struct home *h, const char *act)
{
	return state_begin(h->state, &err) &&
	       state_log(h->state, &(struct state_leaf){ .act = act, .outcome = "done", .policy_max_age = -1 }, &err) &&
	       state_commit(h->state, &err);
}

static void log_more(int n)
{
	struct home h = { 0 };
	OK(home_open(dir, HOME_ROTATE, &h, &err));
	for (int i = 0; h.state && i < n; i++)
		OK(note(&h, "test"));
	home_close(&h);
}

static enum home_trust trust(enum home_need need, char warning[256])
{
	struct home h = { 0 };
	OK(home_open(dir, need, &h, &err));
	enum home_trust t = h.trust;
	if (warning)
		memcpy(warning, h.warning, 256);
	CHECK((t == HOME_TRUSTED) == !h.why[0]);
	home_close(&h);
	return t;
}

static unsigned mode_of(const char *name)
{
	struct stat st;
	AUTO_FREE char *path = mem_printf("%s/%s", dir, name);
	return lstat(path, &st) == 0 ? st.st_mode & 07777 : 0;
}

static void test_init(void)
{
	struct home h = { 0 };
	TEST("a new home is its owner's alone and can be worked on");
	fresh();
	CHECK(mode_of(".") == 0700 && mode_of("keys") == 0700 && mode_of("state.db") == 0600 &&
	      mode_of("lock") == 0600);
	CHECK(mode_of("keys/log.key") == 0600 && mode_of("keys/kek") == 0600);
	OK(home_open(dir, HOME_ROTATE, &h, &err));
	CHECK(h.trust == HOME_TRUSTED && h.seal && h.log_sk && h.id && strlen(h.id) == 26);
	CHECK_STR(h.warning, "");
	CHECK_STR(json_str(h.config, "origin"), "example.com/home");
	home_close(&h);
	OK(home_open(dir, HOME_READ, &h, &err));
	CHECK(!h.seal && !h.log_sk && h.trust == HOME_TRUSTED);
	home_close(&h);

	TEST("init makes a home once, and only in an empty folder");
	FAILS(home_init(dir, NULL, &err), ERR_REFUSED);
	CHECK(strstr(err.message, "already"));
	sh("rm -rf '%s' && mkdir '%s' && echo x > '%s/file'", dir, dir, dir);
	FAILS(home_init(dir, NULL, &err), ERR_REFUSED);
	CHECK(strstr(err.message, "'file'") && err.hint[0]);
	sh("rm '%s/file'", dir);
	FAILS(home_init(dir, "a b", &err), ERR_USAGE);
	OK(home_init(dir, NULL, &err));
	CHECK(trust(HOME_ROTATE, NULL) == HOME_TRUSTED);
	sh("rm -rf '%s'", dir);
	FAILS(home_open(dir, HOME_READ, &h, &err), ERR_USAGE);
	AUTO_FREE char *deep = mem_printf("%s/x/y/z", dir);
	OK(home_init(deep, NULL, &err));
}

static void test_half_made(void)
{
	TEST("what a killed init left is cleared away by the next");
	fresh();
	sh("cd '%s' && rm -r audit/* && mv state.db state.db.new && : > state.db.new-wal && : > init.unfinished", dir);
	OK(home_init(dir, NULL, &err));
	CHECK(mode_of("init.unfinished") == 0 && mode_of("state.db.new-wal") == 0);
	CHECK(trust(HOME_ROTATE, NULL) == HOME_TRUSTED);

	TEST("a home that lost its state is not cleared away: its keys are worth keeping");
	sh("rm '%s/state.db' && cp '%s/keys/kek' '%s/kek'", dir, dir, root);
	FAILS(home_init(dir, NULL, &err), ERR_REFUSED);
	CHECK(strstr(err.message, "state.db is gone") && strstr(err.hint, "backup"));
	sh(": > '%s/init.unfinished'", dir);
	FAILS(home_init(dir, NULL, &err), ERR_REFUSED);
	CHECK(strstr(err.message, "state.db is gone"));
	sh("cmp '%s/keys/kek' '%s/kek' && rm '%s/audit/checkpoint' && : > '%s/mine'", dir, root, dir, dir);
	FAILS(home_init(dir, NULL, &err), ERR_REFUSED);
	CHECK(strstr(err.message, "'mine'"));
	sh("cmp '%s/keys/kek' '%s/kek' && rm '%s/mine'", dir, root, dir);

	TEST("two at once: the second waits for nothing and touches nothing");
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0);
	FAILS(home_init(dir, NULL, &err), ERR_TEMPORARY);
	sh("cmp '%s/keys/kek' '%s/kek'", dir, root);
	close(fd);
	OK(home_init(dir, NULL, &err));
}

static void test_restored(void)
{
	struct home h = { 0 };
	char warning[256];
	TEST("a backup that was put back is not worked on until it is adopted");
	fresh();
	log_more(2);
	sh("cp -a '%s' '%s.old'", dir, dir);
	log_more(3);
	sh("cp -a '%s/audit' '%s.audit' && rm -rf '%s' && cp -a '%s.old' '%s' && rm -rf '%s/audit' && mv '%s.audit' "
	   "'%s/audit'",
	   dir, dir, dir, dir, dir, dir, dir, dir);
	CHECK(trust(HOME_READ, NULL) == HOME_RESTORED);
	CHECK(trust(HOME_WRITE, NULL) == HOME_RESTORED);
	FAILS(home_open(dir, HOME_ROTATE, &h, &err), ERR_REFUSED);
	CHECK(strstr(err.message, "older") && strstr(err.hint, "home adopt"));

	TEST("until then nothing is recorded, and the checkpoint stays");
	OK(home_open(dir, HOME_WRITE, &h, &err));
	FAILS(note(&h, "sneaky"), ERR_REFUSED);
	state_abort(h.state);
	FAILS(home_adopt(&h, "", &err), ERR_USAGE);
	CHECK(h.trust == HOME_RESTORED);
	home_close(&h);
	CHECK(trust(HOME_READ, NULL) == HOME_RESTORED);

	TEST("adopting begins a new origin that names the last known head");
	OK(home_open(dir, HOME_WRITE, &h, &err));
	OK(home_adopt(&h, "disk broke", &err));
	CHECK(h.trust == HOME_TRUSTED && state_meta(h.state, "adopted"));
	CHECK_STR(state_vkey(h.state)->name, "example.com/home/2");
	OK(note(&h, "after"));
	home_close(&h);
	CHECK(trust(HOME_ROTATE, warning) == HOME_TRUSTED);
	CHECK_STR(warning, "");
	sh("cat '%s/state.db'* | grep -aq 'disk broke.*last head of example.com/home: size 6 root'", dir);
	OK(home_open(dir, HOME_WRITE, &h, &err));
	FAILS(home_adopt(&h, "again", &err), ERR_USAGE);
	home_close(&h);

	TEST("the same backup put back once more is told too, and gets a third origin");
	sh("cp -a '%s/audit' '%s.audit' && rm -rf '%s' && cp -a '%s.old' '%s' && rm -rf '%s/audit' && mv '%s.audit' "
	   "'%s/audit'",
	   dir, dir, dir, dir, dir, dir, dir, dir);
	OK(home_open(dir, HOME_WRITE, &h, &err));
	CHECK(h.trust == HOME_RESTORED);
	OK(home_adopt(&h, "again", &err));
	CHECK_STR(state_vkey(h.state)->name, "example.com/home/3");
	home_close(&h);

	TEST("a state that went another way at the same size is told");
	sh("rm -rf '%s' && cp -a '%s.old' '%s'", dir, dir, dir);
	log_more(3);
	sh("cp '%s/audit/checkpoint' '%s.fork' && rm -rf '%s' && cp -a '%s.old' '%s'", dir, dir, dir, dir, dir);
	log_more(4);
	sh("cp '%s.fork' '%s/audit/checkpoint'", dir, dir);
	FAILS(home_open(dir, HOME_ROTATE, &h, &err), ERR_REFUSED);
	CHECK(strstr(err.message, "another history"));
	sh("rm -rf '%s.old' '%s.fork'", dir, dir);
}

static void test_derived(void)
{
	char warning[256];
	static const char *const breaks[] = { "rm '%s/audit/checkpoint'", "echo nonsense > '%s/audit/checkpoint'",
		                              ": > '%s/audit/checkpoint'", "rm -r '%s/audit'", "rm '%s/audit/vkey'" };
	TEST("what is derived is made anew, with a word");
	fresh();
	for (size_t i = 0; i < sizeof breaks / sizeof *breaks; i++) {
		sh(breaks[i], dir);
		CHECK(trust(HOME_READ, warning) == HOME_TRUSTED);
		CHECK(strstr(warning, "missing or unreadable; the next"));
		CHECK(trust(HOME_ROTATE, warning) == HOME_TRUSTED);
		CHECK(strstr(warning, "made anew from"));
		CHECK(trust(HOME_ROTATE, warning) == HOME_TRUSTED);
		CHECK_STR(warning, "");
	}

	TEST("a checkpoint that lags is no harm");
	sh("cp '%s/audit/checkpoint' '%s.lag'", dir, dir);
	log_more(2);
	sh("mv '%s.lag' '%s/audit/checkpoint'", dir, dir);
	CHECK(trust(HOME_ROTATE, warning) == HOME_TRUSTED);
	CHECK_STR(warning, "");
}

static void set_meta(const char *key, const char *text)
{
	struct home h = { 0 };
	OK(home_open(dir, HOME_WRITE, &h, &err));
	OK(state_begin(h.state, &err));
	OK(state_meta_set(h.state, key, text, &err));
	OK(state_commit(h.state, &err));
	home_close(&h);
}

static void test_place(void)
{
	struct home h = { 0 };
	TEST("a home from another machine is told, unless it may move");
	fresh();
	set_meta("machine", "ffffffffffffffffffffffffffffffff");
	CHECK(trust(HOME_READ, NULL) == HOME_CLONED);
	FAILS(home_open(dir, HOME_ROTATE, &h, &err), ERR_REFUSED);
	sh("echo 'machine: any' >> '%s/config.yaml'", dir);
	CHECK(trust(HOME_ROTATE, NULL) == HOME_TRUSTED);
	sh("sed -i '/^machine/d' '%s/config.yaml'", dir);
	OK(home_open(dir, HOME_WRITE, &h, &err));
	OK(home_adopt(&h, "moved", &err));
	CHECK(strncmp(state_vkey(h.state)->name, "example.com/home/2-", 19) == 0);
	home_close(&h);
	CHECK(trust(HOME_ROTATE, NULL) == HOME_TRUSTED);

	TEST("a home that another user made is told");
	set_meta("owner", "54321");
	CHECK(trust(HOME_WRITE, NULL) == HOME_OTHER_OWNER);

	TEST("config.yaml is checked");
	fresh();
	sh("sed -i 's/^origin:.*/origin: other/' '%s/config.yaml'", dir);
	FAILS(home_open(dir, HOME_READ, &h, &err), ERR_USAGE);
	sh("echo 'metric: {}' > '%s/config.yaml'", dir);
	FAILS(home_open(dir, HOME_READ, &h, &err), ERR_USAGE);
	sh("rm '%s/config.yaml'", dir);
	CHECK(trust(HOME_ROTATE, NULL) == HOME_TRUSTED);
}

static void test_refusals(void)
{
	struct home h = { 0 };
	static const struct {
		const char *what, *breaks;
	} bad[] = {
		{ "a home that others can write is refused", "chmod 770 '%s'" },
		{ "keys that others can write are refused", "chmod 770 '%s/keys'" },
		{ "a log key that others can read is refused", "chmod 640 '%s/keys/log.key'" },
		{ "a missing log key is refused", "rm '%s/keys/log.key'" },
		{ "a cut log key is refused", "truncate -s 40 '%s/keys/log.key'" },
		{ "another fingerprint key is refused",
		  "(head -c 64 /dev/zero | tr '\\0' a; echo) > '%s/keys/find.fp'" },
		{ "another log key is refused", "(head -c 64 /dev/zero | tr '\\0' a; echo) > '%s/keys/log.key'" },
		{ "a missing lock is refused", "rm '%s/lock'" },
		{ "a link in place of the lock is refused", "cd '%s' && mv lock ../away && ln -s ../away lock" },
		{ "a link in place of the state is refused",
		  "cd '%s' && mv state.db ../state.db && ln -s ../state.db state.db" },
		{ "a link in place of the keys is refused", "cd '%s' && mv keys ../keys && ln -s ../keys keys" },
		{ "a link in place of a key is refused", "cd '%s' && mv keys/log.key k && ln -s ../k keys/log.key" },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		TEST(bad[i].what);
		sh("rm -rf '%s'/*", root);
		fresh();
		sh(bad[i].breaks, dir);
		FAILS(home_open(dir, HOME_WRITE, &h, &err), ERR_REFUSED);
		CHECK(h.dir == NULL);
		if (strstr(bad[i].breaks, "rm '%s/lock'"))
			CHECK(strstr(err.hint, "install -m 600 /dev/null '"));
	}
}

static void test_find(void)
{
	TEST("the home is found: named, by ROTOR_HOME, upwards, in the state folder");
	sh("rm -rf '%s'/* && mkdir -p '%s/a/b' '%s/a/.rotor' '%s/.rotor' && chmod 700 '%s/a/.rotor' '%s/.rotor'", root,
	   root, root, root, root, root);
	AUTO_FREE char *here = mem_printf("%s/a/b", root);
	AUTO_FREE char *near = mem_printf("%s/a/.rotor", root);
	AUTO_FREE char *far = mem_printf("%s/.rotor", root);
	CHECK(chdir(here) == 0 && unsetenv("ROTOR_HOME") == 0);
	AUTO_FREE char *one = home_find("named", &err);
	CHECK_STR(one, "named");
	AUTO_FREE char *two = home_find(NULL, &err);
	CHECK_STR(two, near);
	CHECK(chmod(near, 0720) == 0);
	AUTO_FREE char *three = home_find(NULL, &err);
	CHECK_STR(three, far);
	CHECK(rmdir(far) == 0 && symlink(here, far) == 0 && setenv("XDG_STATE_HOME", "/var/x", 1) == 0);
	AUTO_FREE char *four = home_find(NULL, &err);
	CHECK_STR(four, "/var/x/rotor");
	CHECK(setenv("XDG_STATE_HOME", "relative", 1) == 0 && setenv("HOME", "/home/u", 1) == 0);
	AUTO_FREE char *five = home_find(NULL, &err);
	CHECK_STR(five, "/home/u/.local/state/rotor");
	CHECK(setenv("ROTOR_HOME", "/r", 1) == 0);
	AUTO_FREE char *six = home_find(NULL, &err);
	CHECK_STR(six, "/r");
	FAILS(home_find("", &err), ERR_USAGE);
	CHECK(chdir("/") == 0);

	TEST("the actor is the kernel's word, not the environment's");
	CHECK(setenv("USER", "mallory", 1) == 0 && setenv("LOGNAME", "mallory", 1) == 0);
	char uid[24];
	snprintf(uid, sizeof uid, "(%u)", (unsigned)geteuid());
	CHECK(!strstr(home_actor(), "mallory") && strstr(home_actor(), uid));
}

int main(void)
{
	TEST("set-up");
	OK(arena_init(&err));
	json_setup();
	umask(022);
	snprintf(root, sizeof root, "/tmp/rotor-home-XXXXXX");
	if (!mkdtemp(root))
		return 1;
	snprintf(dir, sizeof dir, "%s/home", root);
	test_init();
	test_half_made();
	test_restored();
	test_derived();
	test_place();
	test_refusals();
	test_find();
	sh("rm -rf '%s'", root);
	return TEST_END();
}
