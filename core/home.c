#include "home.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arena.h"
#include "clock.h"
#include "home_inside.h"
#include "json.h"
#include "load.h"
#include "mem.h"

#define ADOPT "rotor home adopt --reason TEXT"

const struct schema_key home_config_keys[] = {
	{ .name = "origin", .type = SCHEMA_STRING, .help = "the log's name, as it was made by init" },
	{ .name = "machine", .type = SCHEMA_ENUM, .allowed = "any", .help = "any: the home may move between machines" },
	{ 0 },
};

char *home_path(const char *dir, const char *name)
{
	return mem_printf("%s/%s", dir, name);
}

/* ---- finding */

static bool own_folder(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 022);
}

static char *find_upwards(void)
{
	AUTO_FREE char *at = getcwd(NULL, 0);
	while (at) {
		AUTO_FREE char *here = mem_printf("%s/.rotor", strcmp(at, "/") == 0 ? "" : at);
		if (own_folder(here))
			return STEAL(here);
		char *slash = strrchr(at, '/');
		if (!slash || !at[1])
			return NULL;
		slash[slash == at] = '\0';
	}
	return NULL;
}

/* HOME as the user has it; the password file's where it is unset. */
static char *user_folder(void)
{
	const char *home = getenv("HOME");
	const struct passwd *pw = home && home[0] == '/' ? NULL : getpwuid(geteuid());
	return home && home[0] == '/' ? mem_dup(home) : pw ? mem_dup(pw->pw_dir) : NULL;
}

char *home_find(const char *dir, struct err *e)
{
	const char *named = dir ? dir : getenv("ROTOR_HOME");
	if (named && *named)
		return mem_dup(named);
	if (dir) {
		err_set(e, ERR_USAGE, "the home's folder has an empty name");
		return NULL;
	}
	char *found = find_upwards();
	if (found)
		return found;
	const char *states = getenv("XDG_STATE_HOME");
	if (states && states[0] == '/')
		return mem_printf("%s/rotor", states);
	AUTO_FREE char *user = user_folder();
	if (!user) {
		err_set(e, ERR_USAGE, "cannot tell where the home is: HOME is not set");
		err_hint(e, "name it with -C DIR or ROTOR_HOME");
		return NULL;
	}
	return mem_printf("%s/.local/state/rotor", user);
}

/* ---- opening */

void home_machine(char ret[HOME_MACHINE_MAX])
{
	char text[HOME_MACHINE_MAX] = "";
	int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	text[strspn(text, "0123456789abcdefABCDEF")] = '\0';
	snprintf(ret, HOME_MACHINE_MAX, "%s", text[0] ? text : "none");
}

static bool check_folder(const char *dir, struct err *e)
{
	struct stat st;
	if (stat(dir, &st) != 0) {
		err_sys(e, ERR_USAGE, errno, "there is no home at '%s'", dir);
		return errno == ENOENT ?
		               err_hint(e, "make one with `rotor init`, or name one with -C DIR or ROTOR_HOME") :
		               false;
	}
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ERR_USAGE, "'%s' is not a folder", dir);
	if (st.st_uid != geteuid()) {
		err_set(e, ERR_REFUSED, "'%s' belongs to user id %u, not to %u", dir, (unsigned)st.st_uid,
		        (unsigned)geteuid());
		return err_hint(e, "run rotor as the user who owns the home");
	}
	if (st.st_mode & 022) {
		err_set(e, ERR_REFUSED, "'%s' has mode %04o: others can write it", dir, (unsigned)(st.st_mode & 07777));
		return err_hint(e, "chmod 700 '%s'", dir);
	}
	return true;
}

/* A member must be what init made: never a link that leads out of the home. */
static bool check_member(const char *dir, const char *name, bool folder, struct err *e)
{
	struct stat st;
	AUTO_FREE char *path = home_path(dir, name);
	if (lstat(path, &st) != 0) {
		if (errno == ENOENT && strcmp(name, "state.db") == 0) {
			err_set(e, ERR_USAGE, "'%s' is not a home: it has no state.db", dir);
			return err_hint(e, "make one with `rotor init`, or name one with -C DIR or ROTOR_HOME");
		}
		err_sys(e, ERR_REFUSED, errno, "cannot use '%s'", path);
		/* An empty one will do: it only says who holds what now. */
		return strcmp(name, "lock") == 0 ? err_hint(e,
		                                            "copy it back from a backup of the home, or make an empty "
		                                            "one: install -m 600 /dev/null '%s'",
		                                            path) :
		                                   err_hint(e, "copy it back from a backup of the home");
	}
	if (folder ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode))
		return err_set(e, ERR_REFUSED, "'%s' is not a %s", path, folder ? "folder" : "regular file");
	if (st.st_uid != geteuid() || (st.st_mode & 022)) {
		err_set(e, ERR_REFUSED, "'%s' can be written by others", path);
		return err_hint(e, "make it yours alone: chown and chmod go-w");
	}
	return true;
}

static bool check_members(const char *dir, enum home_need need, struct err *e)
{
	AUTO_FREE char *audit = home_path(dir, "audit");
	struct stat st;
	bool derived = lstat(audit, &st) == 0 || errno != ENOENT;
	/* It is derived, so it is made anew; before the state is opened, which writes into it. */
	if (!derived && need != HOME_READ && mkdir(audit, 0700) != 0)
		return err_sys(e, ERR_FAILED, errno, "cannot make '%s'", audit);
	return check_member(dir, "state.db", false, e) && check_member(dir, "lock", false, e) &&
	       check_member(dir, "keys", true, e) &&
	       ((!derived && need == HOME_READ) || check_member(dir, "audit", true, e));
}

static bool read_key(int fd, const char *path, unsigned char seed[32], struct err *e)
{
	struct stat st;
	char hex[80] = "";
	size_t len = 0;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077)) {
		err_set(e, ERR_REFUSED, "'%s' must be a file that only its owner can read", path);
		return err_hint(e, "chmod 600 '%s'", path);
	}
	ssize_t n = read(fd, hex, sizeof hex - 1);
	bool ok = n >= 64 && (hex[64] == '\n' || hex[64] == '\0') &&
	          sodium_hex2bin(seed, 32, hex, 64, NULL, &len, NULL) == 0 && len == 32;
	sodium_memzero(hex, sizeof hex);
	if (!ok) {
		err_set(e, ERR_REFUSED, "'%s' does not hold a key", path);
		err_hint(e, "copy it back from a backup of the home");
	}
	return ok;
}

bool home_log_key(const char *dir, unsigned char **ret, struct err *e)
{
	AUTO_FREE char *path = home_path(dir, "keys/log.key");
	unsigned char seed[32], pk[32];
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		err_sys(e, ERR_REFUSED, errno, "cannot read '%s'", path);
		return err_hint(e, "copy it back from a backup of the home");
	}
	bool ok = read_key(fd, path, seed, e);
	close(fd);
	if (ok) {
		*ret = arena_alloc(crypto_sign_SECRETKEYBYTES);
		crypto_sign_seed_keypair(pk, *ret, seed);
	}
	sodium_memzero(seed, sizeof seed);
	return ok;
}

static bool open_keys(struct home *h, struct err *e)
{
	unsigned char wrapped[SEAL_WRAPPED_MAX];
	size_t len = sizeof wrapped;
	AUTO_FREE char *keys = home_path(h->dir, "keys");
	if (!state_meta_blob(h->state, "wrapped", wrapped, &len, e) || !seal_open(keys, wrapped, len, &h->seal, e) ||
	    !home_log_key(h->dir, &h->log_sk, e))
		return false;
	if (memcmp(h->log_sk + 32, state_vkey(h->state)->pk, 32) != 0) {
		err_set(e, ERR_REFUSED, "'%s/log.key' is not the key of this home's log", keys);
		return err_hint(e, "copy it back from a backup of the home");
	}
	state_keys(h->state, h->log_sk, h->seal);
	return true;
}

static bool check_config(struct home *h, struct err *e)
{
	AUTO_FREE char *path = home_path(h->dir, "config.yaml");
	h->config = load_config(path, home_config_keys, e);
	return h->config != NULL;
}

/* The log's name changes only by adoption, which puts a number behind it. */
static bool check_origin(const struct home *h, struct err *e)
{
	const char *want = json_str(h->config, "origin"), *have = state_vkey(h->state)->name;
	size_t len = want ? strlen(want) : 0;
	if (!want || (strncmp(have, want, len) == 0 && (have[len] == '\0' || have[len] == '/')))
		return true;
	err_set(e, ERR_USAGE, "'%s/config.yaml' says origin '%s', the log is '%s'", h->dir, want, have);
	return err_hint(e, "the origin is fixed when the home is made: put it back in config.yaml");
}

/* ---- trust */

static bool read_small(const char *path, struct buf *ret)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool ok = buf_read_fd(ret, fd, path, NULL) && ret->len > 0 && !memchr(ret->data, '\0', ret->len);
	close(fd);
	return ok;
}

static void distrust(struct home *h, enum home_trust trust, const char *fmt, ...) PRINTF(3, 4);
static void distrust(struct home *h, enum home_trust trust, const char *fmt, ...)
{
	va_list ap;
	if (h->trust != HOME_TRUSTED)
		return;
	h->trust = trust;
	va_start(ap, fmt);
	int n = vsnprintf(h->why, sizeof h->why, fmt, ap);
	va_end(ap);
	if (n > 0 && (size_t)n < sizeof h->why)
		snprintf(h->why + n, sizeof h->why - (size_t)n, "; accept it with `%s`", ADOPT);
}

/* False: nothing can be learned from it. */
static bool judge_checkpoint(struct home *h, const struct buf *note)
{
	struct tlog_checkpoint seen, head;
	AUTO_FREE char *newest = NULL;
	AUTO_FREE char *then = NULL;
	if (!note->len || !state_head(h->state, &newest, &head, NULL))
		return false;
	if (strcmp(note->data, newest) == 0)
		return true; /* the same bytes, and the state's own have been verified */
	if (!state_head_open(h->state, note->data, true, &seen, NULL))
		return false;
	if (seen.size > head.size) {
		distrust(h, HOME_RESTORED,
		         "the state is older than its own record: it ends at log size %llu, audit/checkpoint at %llu",
		         (unsigned long long)head.size, (unsigned long long)seen.size);
		return true;
	}
	struct tlog_checkpoint same;
	if (!state_head_at(h->state, seen.size, &then, NULL) || !then ||
	    !state_head_open(h->state, then, false, &same, NULL) ||
	    memcmp(&same.root, &seen.root, sizeof same.root) != 0 || strcmp(same.origin, seen.origin) != 0)
		distrust(h, HOME_RESTORED,
		         "the state has another history than its own record: audit/checkpoint at log size %llu differs",
		         (unsigned long long)seen.size);
	return true;
}

static void judge_place(struct home *h)
{
	char here[HOME_MACHINE_MAX], owner[16];
	const char *machine = state_meta(h->state, "machine"), *uid = state_meta(h->state, "owner");
	const char *any = json_str(h->config, "machine");
	home_machine(here);
	snprintf(owner, sizeof owner, "%u", (unsigned)geteuid());
	if (!any && machine && strcmp(machine, "any") != 0 && strcmp(machine, here) != 0)
		distrust(h, HOME_CLONED, "the home was made on another machine (id %.12s, here %.12s)", machine, here);
	if (!uid || strcmp(uid, owner) != 0)
		distrust(h, HOME_OTHER_OWNER, "the home was made by user id %.15s, not by %s", uid ? uid : "unknown",
		         owner);
}

static bool same_vkey(const struct home *h)
{
	AUTO_FREE char *path = home_path(h->dir, "audit/vkey");
	AUTO_BUF text = BUF_INIT(1024);
	AUTO_BUF want = BUF_INIT(1024);
	tlog_vkey_text(state_vkey(h->state), &want);
	buf_str(&want, "\n");
	return read_small(path, &text) && strcmp(text.data, want.data) == 0;
}

static void judge(struct home *h, enum home_need need, const struct buf *note)
{
	bool ok = judge_checkpoint(h, note), vkey = same_vkey(h);
	judge_place(h);
	state_hold(h->state, h->trust == HOME_TRUSTED ? NULL : h->why);
	if (ok && vkey)
		return;
	const char *name = ok ? "vkey" : "checkpoint";
	/* A trusted one is made anew; that of a restored home is what shows that it is one. */
	bool done = need != HOME_READ && h->trust == HOME_TRUSTED && state_derive(h->state, NULL);
	snprintf(h->warning, sizeof h->warning, "'audit/%s' was missing or unreadable; %s", name,
	         done ? "it was made anew from the state" : "the next command that changes something makes it anew");
}

static bool open_parts(struct home *h, enum home_need need, struct err *e)
{
	AUTO_FREE char *checkpoint = home_path(h->dir, "audit/checkpoint");
	AUTO_FREE char *lock = home_path(h->dir, "lock");
	AUTO_FREE char *db = home_path(h->dir, "state.db");
	AUTO_BUF note = BUF_INIT(TLOG_NOTE_MAX);
	if (!check_members(h->dir, need, e) || !check_config(h, e))
		return false;
	/* Before the state: what is written after it can then only be ahead of a state that was put back. */
	if (!read_small(checkpoint, &note))
		buf_reset(&note);
	if ((need != HOME_READ && !lock_open(lock, &h->lock, e)) ||
	    !state_open(db, need == HOME_READ ? STATE_READ : STATE_WRITE, h->lock, &h->state, e) ||
	    !check_origin(h, e) || (need != HOME_READ && !open_keys(h, e)))
		return false;
	h->id = state_meta(h->state, "home");
	judge(h, need, &note);
	if (need != HOME_ROTATE || h->trust == HOME_TRUSTED)
		return true;
	err_set(e, ERR_REFUSED, "'%s' may not be worked on: %s", h->dir, h->why);
	return err_hint(e, "look with `rotor verify`, then `%s`", ADOPT);
}

bool home_open(const char *dir, enum home_need need, struct home *ret, struct err *e)
{
	struct home h = { 0 };
	if (!check_folder(dir, e))
		return false;
	h.dir = realpath(dir, NULL);
	if (!h.dir)
		return err_sys(e, ERR_FAILED, errno, "cannot resolve '%s'", dir);
	if (!open_parts(&h, need, e)) {
		home_close(&h);
		return false;
	}
	*ret = h;
	return true;
}

void home_close(struct home *h)
{
	state_close(h->state);
	seal_free(h->seal);
	if (h->log_sk)
		arena_free(h->log_sk);
	if (h->lock)
		lock_close(h->lock);
	json_decref(h->config);
	free(h->dir);
	*h = (struct home){ 0 };
}

/* ---- adopting */

/* Two heads that disagree are never signed under one name: what was lost, or goes on elsewhere, keeps the old one. */
static char *next_origin(struct home *h, const char *seen)
{
	const char *old = state_meta(h->state, "origins"), *now = state_vkey(h->state)->name;
	AUTO_FREE char *base = old ? mem_dupn(old, strcspn(old, "\n")) : mem_dup(now);
	size_t len = strlen(base);
	long n = 1;
	const char *names[] = { now, seen };
	for (size_t i = 0; i < 2; i++) {
		if (strncmp(names[i], base, len) != 0 || names[i][len] != '/')
			continue;
		long k = strtol(names[i] + len + 1, NULL, 10);
		n = k > n && k < INT_MAX ? k : n;
	}
	if (h->trust != HOME_CLONED)
		return mem_printf("%s/%ld", base, n + 1);
	return mem_printf("%s/%ld-%06x", base, n + 1, randombytes_random() & 0xffffff); /* other clones count alike */
}

static char *last_known(struct home *h, struct tlog_checkpoint *seen)
{
	struct tlog_checkpoint head;
	AUTO_FREE char *path = home_path(h->dir, "audit/checkpoint");
	AUTO_BUF note = BUF_INIT(TLOG_NOTE_MAX);
	*seen = (struct tlog_checkpoint){ 0 };
	if (!state_head(h->state, NULL, &head, NULL))
		return NULL;
	if (!read_small(path, &note) || !state_head_open(h->state, note.data, true, seen, NULL) ||
	    seen->size < head.size)
		*seen = head;
	char root[2 * TLOG_HASH + 1];
	sodium_bin2hex(root, sizeof root, seen->root.b, TLOG_HASH);
	return mem_printf("last head of %s: size %llu root %s", seen->origin, (unsigned long long)seen->size, root);
}

static bool adopt_here(struct home *h, const char *reason, struct err *e)
{
	char here[HOME_MACHINE_MAX], owner[16], now[CLOCK_TEXT];
	struct tlog_checkpoint seen;
	AUTO_FREE char *receipt = last_known(h, &seen);
	AUTO_FREE char *origin = next_origin(h, seen.origin);
	const char *machine = state_meta(h->state, "machine");
	home_machine(here);
	if (machine && strcmp(machine, "any") == 0)
		snprintf(here, sizeof here, "any");
	snprintf(owner, sizeof owner, "%u", (unsigned)geteuid());
	struct state_leaf leaf = {
		.act = "home.adopt",
		.reason = reason,
		.receipt = receipt,
		.outcome = "done",
		.policy_max_age = -1,
	};
	return state_origin_set(h->state, origin, e) && state_meta_set(h->state, "machine", here, e) &&
	       state_meta_set(h->state, "owner", owner, e) &&
	       state_meta_set(h->state, "adopted", clock_text(clock_wall(), now), e) && state_log(h->state, &leaf, e);
}

bool home_adopt(struct home *h, const char *reason, struct err *e)
{
	if (!reason || !*reason)
		return err_set(e, ERR_USAGE, "adopting a home needs a reason");
	if (h->trust == HOME_TRUSTED)
		return err_set(e, ERR_USAGE, "'%s' is trusted: there is nothing to adopt", h->dir);
	if (!state_begin(h->state, e))
		return false;
	state_hold(h->state, NULL);
	bool ok = adopt_here(h, reason, e) && state_commit(h->state, e);
	state_abort(h->state); /* does nothing after the commit */
	if (!ok) {
		state_hold(h->state, h->why);
		return false;
	}
	if (!state_derive(h->state, e))
		return false;
	h->trust = HOME_TRUSTED;
	h->why[0] = '\0';
	return true;
}
