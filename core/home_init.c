#include "home.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arena.h"
#include "home_inside.h"
#include "mem.h"

#define UNFINISHED "init.unfinished" /* there while init is at work */

static bool put_file(const char *dir, const char *name, const char *text, struct err *e)
{
	AUTO_FREE char *path = home_path(dir, name);
	size_t len = strlen(text);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
	if (!ok)
		err_sys(e, ERR_FAILED, errno, "cannot write '%s'", path);
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool put_folder(const char *dir, const char *name, struct err *e)
{
	AUTO_FREE char *path = home_path(dir, name);
	return mkdir(path, 0700) == 0 ? true : err_sys(e, ERR_FAILED, errno, "cannot make '%s'", path);
}

static bool sync_folder(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ok = fd >= 0 && fsync(fd) == 0;
	if (!ok)
		err_sys(e, ERR_TEMPORARY, errno, "cannot make '%s' durable", path);
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool make_parents(const char *dir, struct err *e)
{
	AUTO_FREE char *path = mem_dup(dir);
	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(path, 0700) != 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
			return err_sys(e, ERR_FAILED, errno, "cannot make '%s'", path);
		*p = '/';
	}
	return true;
}

static bool there(const char *dir, const char *name)
{
	struct stat st;
	AUTO_FREE char *path = home_path(dir, name);
	return lstat(path, &st) == 0;
}

/* What init makes; what is in a folder comes before it. The mark goes last, so that even this can be killed. */
static const char *const parts[] = {
	"audit/checkpoint.new",
	"audit/checkpoint",
	"audit/vkey.new",
	"audit/vkey",
	"audit",
	"state.db",
	"state.db-wal",
	"state.db-shm",
	"state.db.new",
	"state.db.new-journal",
	"state.db.new-wal",
	"state.db.new-shm",
	"keys/log.key",
	"keys/kek",
	"keys/log.fp",
	"keys/find.fp",
	"keys",
	"lock",
	"config.yaml",
	UNFINISHED,
};

/* After a failure, or from an init that was killed. */
static void unmake(const char *dir)
{
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		AUTO_FREE char *path = home_path(dir, parts[i]);
		remove(path);
	}
}

static bool is_part(const char *name)
{
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (strcmp(name, parts[i]) == 0)
			return true;
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* One name in `dir` that no init made, or "". */
static bool find_foreign(const char *dir, char ret[256], bool *ret_empty, struct err *e)
{
	DIR *d = opendir(dir);
	if (!d)
		return err_sys(e, ERR_FAILED, errno, "cannot read '%s'", dir);
	ret[0] = '\0';
	*ret_empty = true;
	for (struct dirent *x; (x = readdir(d)) != NULL;) {
		*ret_empty = *ret_empty && (strcmp(x->d_name, ".") == 0 || strcmp(x->d_name, "..") == 0);
		if (!is_part(x->d_name))
			snprintf(ret, 256, "%s", x->d_name);
	}
	closedir(d);
	return true;
}

/* Empty, or what a killed init left: only its own mark tells that from a home that lost its state, whose keys are worth
 * keeping. */
static bool check_free(const char *dir, struct err *e)
{
	char foreign[256];
	bool empty = false;
	if (there(dir, "state.db"))
		return err_set(e, ERR_REFUSED, "'%s' is a home already", dir);
	if (!find_foreign(dir, foreign, &empty, e) || empty)
		return empty;
	if (foreign[0]) {
		err_set(e, ERR_REFUSED, "'%s' is not empty: it holds '%s'", dir, foreign);
		return err_hint(e, "name an empty folder or a new one, or move that file away");
	}
	if (!there(dir, UNFINISHED) || there(dir, "audit/checkpoint")) {
		err_set(e, ERR_REFUSED, "'%s' holds parts of a home whose state.db is gone", dir);
		return err_hint(e, "put state.db back from a backup, or name another folder");
	}
	unmake(dir);
	return true;
}

static bool claim_folder(const char *dir, bool *ret_made, struct err *e)
{
	struct stat st;
	*ret_made = false;
	if (!make_parents(dir, e))
		return false;
	if (mkdir(dir, 0700) == 0) {
		*ret_made = true;
		return true;
	}
	if (errno != EEXIST)
		return err_sys(e, ERR_FAILED, errno, "cannot make '%s'", dir);
	if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode))
		return err_set(e, ERR_REFUSED, "'%s' is there and is not a folder", dir);
	if (st.st_uid != geteuid())
		return err_set(e, ERR_REFUSED, "'%s' belongs to user id %u", dir, (unsigned)st.st_uid);
	return true;
}

static bool make_log_key(const char *dir, struct err *e)
{
	unsigned char seed[32];
	char hex[66];
	randombytes_buf(seed, sizeof seed);
	sodium_bin2hex(hex, sizeof hex, seed, sizeof seed);
	memcpy(hex + 64, "\n", 2);
	bool ok = put_file(dir, "keys/log.key", hex, e);
	sodium_memzero(seed, sizeof seed);
	sodium_memzero(hex, sizeof hex);
	return ok;
}

/* JSON's escapes are YAML's too; a name of a log has no control characters. */
static char *quoted(const char *text)
{
	char *ret = mem_array(2 * strlen(text) + 3, 1), *to = ret;
	*to++ = '"';
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			*to++ = '\\';
		*to++ = *text;
	}
	*to = '"';
	return ret;
}

static bool make_config(const char *dir, const char *origin, struct err *e)
{
	AUTO_FREE char *name = quoted(origin);
	AUTO_FREE char *text =
		mem_printf("# Settings of this home.\n"
	                   "\n"
	                   "# The name of its log and of the key that signs it (audit/vkey). It was fixed when the "
	                   "home was made.\n"
	                   "origin: %s\n"
	                   "\n"
	                   "# A home that moves between machines, as on CI runners, is otherwise refused as a copy.\n"
	                   "# machine: any\n",
	                   name);
	return put_file(dir, "config.yaml", text, e);
}

static bool make_state(const char *dir, const char *origin, struct err *e)
{
	AUTO_FREE char *keys = home_path(dir, "keys");
	AUTO_FREE char *db = home_path(dir, "state.db");
	unsigned char wrapped[SEAL_WRAPPED_MAX], *sk = NULL;
	char id[ULID_SIZE], machine[HOME_MACHINE_MAX];
	size_t len = 0;
	if (!seal_create(keys, wrapped, &len, e) || !make_log_key(dir, e) || !home_log_key(dir, &sk, e))
		return false;
	ulid_new(id);
	home_machine(machine);
	struct state_birth birth = {
		.home = id,
		.origin = origin,
		.machine = machine,
		.wrapped = wrapped,
		.wrapped_len = len,
		.log_sk = sk,
	};
	bool ok = sync_folder(keys, e) && state_create(db, &birth, e);
	arena_free(sk);
	return ok;
}

static bool make_derived(const char *dir, struct err *e)
{
	AUTO_FREE char *lock_path = home_path(dir, "lock");
	AUTO_FREE char *db = home_path(dir, "state.db");
	struct lock *lock = NULL;
	struct state *s = NULL;
	if (!lock_open(lock_path, &lock, e))
		return false;
	bool ok = state_open(db, STATE_WRITE, lock, &s, e) && state_derive(s, e);
	state_close(s);
	lock_close(lock);
	return ok;
}

static char *default_origin(void)
{
	char host[256] = "";
	if (gethostname(host, sizeof host - 1) != 0 || !tlog_name_ok(host))
		snprintf(host, sizeof host, "host");
	return mem_printf("rotor/%.100s/h%06x", host, randombytes_random() & 0xffffff);
}

static bool make_parts(const char *dir, const char *origin, struct err *e)
{
	AUTO_FREE char *mark = home_path(dir, UNFINISHED);
	if (!put_file(dir, UNFINISHED, "", e) || !sync_folder(dir, e) || !put_folder(dir, "keys", e) ||
	    !put_folder(dir, "audit", e) || !put_file(dir, "lock", "", e) || !make_config(dir, origin, e) ||
	    !make_state(dir, origin, e) || !make_derived(dir, e))
		return false;
	return unlink(mark) == 0 ? true : err_sys(e, ERR_FAILED, errno, "cannot remove '%s'", mark);
}

static bool make(const char *dir, const char *origin, bool made, struct err *e)
{
	if (!check_free(dir, e))
		return false;
	if (chmod(dir, 0700) != 0)
		return err_sys(e, ERR_FAILED, errno, "cannot make '%s' yours alone", dir);
	if (make_parts(dir, origin, e))
		return true;
	unmake(dir);
	if (made)
		rmdir(dir);
	return false;
}

bool home_init(const char *dir, const char *origin, struct err *e)
{
	AUTO_FREE char *name = origin ? mem_dup(origin) : default_origin();
	bool made;
	if (!tlog_name_ok(name) || strlen(name) > TLOG_NAME_MAX - 24) {
		err_set(e, ERR_USAGE, "'%s' cannot be an origin", name);
		return err_hint(e, "up to %d bytes without spaces and '+', e.g. example.com/rotor", TLOG_NAME_MAX - 24);
	}
	if (!claim_folder(dir, &made, e))
		return false;
	int turn = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ok = turn >= 0 && flock(turn, LOCK_EX | LOCK_NB) == 0;
	if (!ok)
		err_sys(e, ERR_TEMPORARY, errno, "cannot have '%s' for this init alone", dir);
	else
		ok = make(dir, name, made, e);
	if (turn >= 0)
		close(turn);
	return ok;
}
