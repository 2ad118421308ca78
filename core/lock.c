#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"

/* The file, by offset: lock bytes 0 .. ROW_END - 1, two further lock bytes, and the records, one of RECORD bytes for
 * each lock byte. Lock bytes hold no data, so a home with few secrets has a small file. */
#define TURN_BYTE 0
#define ROW_END ((int64_t)1 << 24)
#define TRIAL_BYTE ROW_END
#define QUEUE_BYTE (ROW_END + 1)
#define RECORDS (ROW_END + 4096)
#define RECORD 128
#define NAG_MS 20

struct lock {
	int fd; /* the turn's; leases have their own */
	char *path;
	dev_t dev;
	ino_t ino;
	int64_t started; /* this process, in clock ticks since boot */
};

/* ---- bytes ---- */

static struct flock one_byte(short type, int64_t byte)
{
	return (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1 };
}

/* 0, or errno; EAGAIN when another description has it. */
static int take(int fd, int64_t byte)
{
	struct flock f = one_byte(F_WRLCK, byte);
	if (fcntl(fd, F_OFD_SETLK, &f) == 0)
		return 0;
	return errno == EACCES ? EAGAIN : errno;
}

static void give(int fd, int64_t byte)
{
	struct flock f = one_byte(F_UNLCK, byte);
	if (fcntl(fd, F_OFD_SETLK, &f) != 0)
		mem_out(); /* the kernel is short of memory; to go on would leave everybody waiting for us */
}

/* ---- records ---- */

/* Start time of a process in clock ticks since boot; 0 when it cannot be seen, -1 when it has ended. */
static int64_t started_at(pid_t pid)
{
	char path[64], text[1024];
	if (kill(pid, 0) != 0 && errno == ESRCH)
		return -1;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	/* the name in parentheses may hold anything, so count from the last one: state is field 3, start time 22 */
	char *at = strrchr(text, ')');
	if (!at || at[1] != ' ')
		return 0;
	at += 2;
	if (*at == 'Z' || *at == 'X')
		return -1;
	for (int field = 3; at && field < 22; field++) {
		at = strchr(at, ' ');
		at = at ? at + 1 : NULL;
	}
	return at ? strtoll(at, NULL, 10) : 0;
}

static off_t record_at(int64_t row)
{
	return (off_t)(RECORDS + row * RECORD);
}

static void write_record(const struct lock *l, int fd, int64_t row, const char *rotation)
{
	char text[RECORD + 1];
	int n = snprintf(text, sizeof text, "%d %lld %s %.31s %lld", (int)getpid(), (long long)l->started,
	                 clock_boot_id(), rotation && *rotation ? rotation : "-", (long long)clock_wall());
	if (n < 0 || n >= RECORD)
		return;
	memset(text + n, ' ', (size_t)(RECORD - 1 - n));
	text[RECORD - 1] = '\n';
	if (pwrite(fd, text, RECORD, record_at(row)) != RECORD) {
		/* the lock holds all the same; only a message will lack a name */
	}
}

/* Whoever wrote the record may have just ended, or not written it yet: then nobody alive is named. */
static void read_record(const struct lock *l, int64_t row, struct lock_holder *ret)
{
	char text[RECORD + 1], boot[37], rotation[32];
	long long start, since;
	int pid;
	*ret = (struct lock_holder){ .since_ms = -1 };
	if (pread(l->fd, text, RECORD, record_at(row)) != RECORD)
		return;
	text[RECORD] = '\0';
	if (sscanf(text, "%9d %19lld %36s %31s %19lld", &pid, &start, boot, rotation, &since) != 5 || pid <= 0)
		return;
	ret->pid = pid;
	ret->since_ms = since;
	if (strcmp(rotation, "-") != 0)
		memcpy(ret->rotation, rotation, sizeof rotation);
	int64_t now = started_at(pid);
	ret->alive = strcmp(boot, clock_boot_id()) == 0 && now >= 0 && (now == 0 || now == start);
}

static const char *describe(const struct lock_holder *h, char ret[96])
{
	if (h->pid)
		snprintf(ret, 96, "process %d%s%s", (int)h->pid, h->rotation[0] ? " for rotation " : "", h->rotation);
	else
		snprintf(ret, 96, "another process");
	return ret;
}

/* ---- the file ---- */

static int open_file(const char *path)
{
	return open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static bool check_file(const char *path, const struct stat *st, struct err *e)
{
	if (!S_ISREG(st->st_mode))
		return err_set(e, ERR_REFUSED, "lock file '%s' is no regular file", path);
	if (st->st_uid != geteuid())
		return err_set(e, ERR_REFUSED, "lock file '%s' belongs to uid %u, rotor runs as %u", path,
		               (unsigned)st->st_uid, (unsigned)geteuid());
	if (st->st_mode & 022)
		return err_set(e, ERR_REFUSED, "lock file '%s' can be written by others (mode %04o)", path,
		               (unsigned)(st->st_mode & 07777));
	return true;
}

/* A further open file description of the file that `l` has; -1 with the error set. */
static int open_again(const struct lock *l, struct err *e)
{
	struct stat st;
	int fd = open_file(l->path);
	if (fd < 0) {
		err_sys(e, errno == EMFILE || errno == ENFILE ? ERR_TEMPORARY : ERR_FAILED, errno,
		        "cannot open lock file '%s'", l->path);
		return -1;
	}
	if (fstat(fd, &st) != 0 || st.st_dev != l->dev || st.st_ino != l->ino) {
		close(fd);
		err_set(e, ERR_TEMPORARY, "lock file '%s' was replaced while rotor ran", l->path);
		return -1;
	}
	return fd;
}

/* That a lock is granted says nothing: some file systems grant all. */
static bool try_locks(const struct lock *l, struct err *e)
{
	int rc = take(l->fd, TRIAL_BYTE);
	if (rc == EAGAIN)
		return true; /* another process makes this trial just now, and was heard */
	if (rc == 0) {
		int other = open_again(l, e);
		rc = other < 0 ? EAGAIN : take(other, TRIAL_BYTE);
		give(l->fd, TRIAL_BYTE);
		if (other < 0)
			return false;
		close(other);
		if (rc == EAGAIN)
			return true;
	}
	if (rc == 0)
		err_set(e, ERR_TEMPORARY, "file system of '%s' has no working locks: it gave one lock twice", l->path);
	else
		err_sys(e, ERR_TEMPORARY, rc, "file system of '%s' has no working locks", l->path);
	return err_hint(e, "move the home to a local file system");
}

bool lock_open(const char *path, struct lock **ret, struct err *e)
{
	struct stat st;
	int fd = open_file(path);
	if (fd < 0)
		return err_sys(e, ERR_FAILED, errno, "cannot open lock file '%s'", path);
	if (fstat(fd, &st) != 0 || !check_file(path, &st, e)) {
		close(fd);
		return false;
	}
	struct lock *l = mem_alloc(sizeof *l);
	*l = (struct lock){ .fd = fd, .path = mem_dup(path), .dev = st.st_dev, .ino = st.st_ino };
	l->started = started_at(getpid());
	if (!try_locks(l, e)) {
		lock_close(l);
		return false;
	}
	*ret = l;
	return true;
}

void lock_close(struct lock *l)
{
	if (!l)
		return;
	close(l->fd);
	free(l->path);
	free(l);
}

/* ---- the turn ---- */

static void wake(int sig)
{
	(void)sig; /* fcntl returns EINTR, that is all */
}

static int64_t monotonic(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Waits in the kernel's queue; 0, EAGAIN at the deadline, or errno. */
static int wait_for(int fd, int64_t byte, int64_t deadline)
{
	for (;;) {
		struct flock f = one_byte(F_WRLCK, byte);
		if (fcntl(fd, F_OFD_SETLKW, &f) == 0)
			return 0;
		if (errno != EINTR)
			return errno;
		if (monotonic() >= deadline)
			return EAGAIN;
	}
}

/* The two bytes together are a fair queue: whoever has the queue byte is next, so one that gives the turn back and asks
 * again at once stands behind those who waited. */
static int queue(int fd, int64_t wait_ms)
{
	int64_t deadline = monotonic() + wait_ms;
	int rc = wait_for(fd, QUEUE_BYTE, deadline);
	if (rc)
		return rc;
	rc = wait_for(fd, TURN_BYTE, deadline);
	give(fd, QUEUE_BYTE);
	return rc;
}

/* queue() under a timer. The timer repeats, because its signal may come just before fcntl begins to sleep. */
static int queue_timed(int fd, int64_t wait_ms)
{
	struct sigaction act = { .sa_handler = wake };
	sigset_t alarm, before;
	timer_t timer;
	struct itimerspec when = { .it_value = { wait_ms / 1000, (long)(wait_ms % 1000) * 1000000 },
		                   .it_interval = { 0, NAG_MS * 1000000 } };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	/* the handler stays: a late signal must find it */
	if (sigaction(SIGALRM, &act, NULL) != 0 || timer_create(CLOCK_MONOTONIC, &ev, &timer) != 0)
		return errno;
	sigprocmask(SIG_UNBLOCK, &alarm, &before);
	int rc = timer_settime(timer, 0, &when, NULL) == 0 ? queue(fd, wait_ms) : errno;
	timer_delete(timer);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return rc;
}

bool lock_turn(struct lock *l, int64_t wait_ms, struct err *e)
{
	int rc = take(l->fd, QUEUE_BYTE);
	if (rc == 0) {
		rc = take(l->fd, TURN_BYTE);
		give(l->fd, QUEUE_BYTE);
	}
	if (rc == EAGAIN && wait_ms > 0)
		rc = queue_timed(l->fd, wait_ms);
	if (rc == 0) {
		write_record(l, l->fd, TURN_BYTE, NULL);
		return true;
	}
	if (rc != EAGAIN)
		return err_sys(e, ERR_TEMPORARY, rc, "cannot take the commit turn on '%s'", l->path);
	struct lock_holder holder;
	char who[96];
	read_record(l, TURN_BYTE, &holder);
	err_set(e, ERR_TEMPORARY, "no commit turn on '%s' in %lld ms: %s has it", l->path, (long long)wait_ms,
	        describe(&holder, who));
	return err_hint(e, "run the same command again");
}

void lock_turn_end(struct lock *l)
{
	give(l->fd, TURN_BYTE);
}

/* ---- leases ---- */

bool lock_lease(struct lock *l, int64_t row, const char *rotation, int *ret_fd, struct lock_holder *holder,
                struct err *e)
{
	if (row < 1 || row >= ROW_END)
		return err_set(e, ERR_FAILED, "no lock byte for row %lld: rows are 1 to %lld", (long long)row,
		               (long long)(ROW_END - 1));
	int fd = open_again(l, e);
	if (fd < 0)
		return false;
	int rc = take(fd, row);
	if (rc == 0) {
		write_record(l, fd, row, rotation);
		*ret_fd = fd;
		return true;
	}
	close(fd);
	if (rc != EAGAIN)
		return err_sys(e, ERR_TEMPORARY, rc, "cannot take the lease of row %lld on '%s'", (long long)row,
		               l->path);
	char who[96];
	read_record(l, row, holder);
	return err_set(e, ERR_TEMPORARY, "lease of row %lld is held by %s", (long long)row, describe(holder, who));
}

bool lock_lease_holder(struct lock *l, int64_t row, struct lock_holder *ret)
{
	struct flock f = one_byte(F_WRLCK, row);
	if (row < 1 || row >= ROW_END || fcntl(l->fd, F_OFD_GETLK, &f) != 0 || f.l_type == F_UNLCK)
		return false;
	read_record(l, row, ret);
	return true;
}
