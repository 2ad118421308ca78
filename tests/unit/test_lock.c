#include "core/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "tests/unit/test.h"

#define PROCESSES 8
#define TURNS 200
#define WORST_MS 250
#define WAIT_MS 20000
#define RECORD_OF(row) (((off_t)1 << 24) + 4096 + (off_t)(row)*128)

static char dir[] = "/tmp/rotor-test-lock-XXXXXX";
static char path[128];

/* ---- a file system without locks: this fcntl stands before the C library's ---- */

static enum { REAL, GRANTS_ALL, HAS_NONE } fake;

int fcntl(int fd, int cmd, ...)
{
	va_list ap;
	va_start(ap, cmd);
	void *arg = va_arg(ap, void *);
	va_end(ap);
	if (cmd == F_OFD_SETLK && fake == GRANTS_ALL)
		return 0;
	if (cmd == F_OFD_SETLK && fake == HAS_NONE) {
		errno = ENOLCK;
		return -1;
	}
	return (int)syscall(SYS_fcntl, fd, cmd, arg);
}

static void make(const char *name, mode_t mode)
{
	snprintf(path, sizeof path, "%s/%s", dir, name);
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && fchmod(fd, mode) == 0);
	close(fd);
}

static struct lock *open_lock(void)
{
	struct lock *l = NULL;
	struct err e = { 0 };
	if (!lock_open(path, &l, &e)) {
		printf("Bail out! %s\n", e.message);
		exit(1);
	}
	return l;
}

/* ---- opening ---- */

static void test_open(void)
{
	struct lock *l = NULL;
	struct err e = { 0 };
	TEST("a lock file must be there, regular, and nobody else's to write");
	snprintf(path, sizeof path, "%s/none", dir);
	CHECK(!lock_open(path, &l, &e) && e.code == ERR_FAILED && !l);
	make("group", 0620);
	CHECK(!lock_open(path, &l, &e) && e.code == ERR_REFUSED && !l);
	make("others", 0602);
	CHECK(!lock_open(path, &l, &e) && e.code == ERR_REFUSED && !l);
	make("readable", 0644);
	CHECK(lock_open(path, &l, &e));
	lock_close(l);
	l = NULL;
	char link[160];
	snprintf(link, sizeof link, "%s/link", dir);
	CHECK(symlink(path, link) == 0);
	CHECK(!lock_open(link, &l, &e) && e.code == ERR_FAILED && !l);
	snprintf(path, sizeof path, "%s/fifo", dir);
	CHECK(mkfifo(path, 0600) == 0);
	CHECK(!lock_open(path, &l, &e) && e.code == ERR_REFUSED && !l);
	CHECK(!lock_open(dir, &l, &e) && !l);
	TEST("a file system without working locks is refused, with a way out");
	make("lock", 0600);
	fake = GRANTS_ALL;
	CHECK(!lock_open(path, &l, &e) && e.code == ERR_TEMPORARY && !l);
	CHECK(strstr(e.message, "no working locks") && e.hint[0]);
	fake = HAS_NONE;
	CHECK(!lock_open(path, &l, &e) && e.code == ERR_TEMPORARY && !l);
	CHECK(strstr(e.message, "no working locks") && e.hint[0]);
	fake = REAL;
	lock_close(NULL);
}

/* ---- leases ---- */

static void test_lease(void)
{
	struct lock *a = open_lock(), *b = open_lock();
	struct lock_holder h = { 0 };
	struct err e = { 0 };
	int first = -1, second = -1, other = -1;
	int64_t before = clock_wall();
	TEST("one lease per row, and the holder is told");
	CHECK(!lock_lease_holder(a, 7, &h));
	CHECK(lock_lease(a, 7, "01ARZ3NDEKTSV4RRFFQ69G5FAV", &first, &h, &e));
	CHECK(fcntl(first, F_GETFD, NULL) & FD_CLOEXEC);
	CHECK(!lock_lease(b, 7, "OTHER", &second, &h, &e) && e.code == ERR_TEMPORARY && second == -1);
	CHECK(h.pid == getpid() && h.alive && h.since_ms >= before && h.since_ms <= clock_wall());
	CHECK_STR(h.rotation, "01ARZ3NDEKTSV4RRFFQ69G5FAV");
	CHECK(!lock_lease(a, 7, "OTHER", &second, &h, &e)); /* not even the same object twice */
	CHECK(lock_lease_holder(b, 7, &h) && h.pid == getpid());
	CHECK_STR(h.rotation, "01ARZ3NDEKTSV4RRFFQ69G5FAV");
	CHECK(lock_lease(b, 8, "", &other, &h, &e));
	CHECK(lock_lease_holder(a, 8, &h) && !h.rotation[0]);
	TEST("a lease does not stop the turn, nor end with the lock object");
	CHECK(lock_turn(b, 0, &e));
	lock_turn_end(b);
	lock_close(a);
	CHECK(lock_lease_holder(b, 7, &h));
	close(first);
	CHECK(!lock_lease_holder(b, 7, &h));
	CHECK(lock_lease(b, 7, "OTHER", &second, &h, &e));
	close(second);
	close(other);
	TEST("only rows that have a byte");
	CHECK(!lock_lease(b, 0, "X", &second, &h, &e) && e.code == ERR_FAILED);
	CHECK(!lock_lease(b, -1, "X", &second, &h, &e));
	CHECK(!lock_lease(b, (int64_t)1 << 24, "X", &second, &h, &e));
	CHECK(lock_lease(b, ((int64_t)1 << 24) - 1, "X", &second, &h, &e));
	close(second);
	TEST("a file that was put in the place of the lock is noticed");
	CHECK(unlink(path) == 0);
	make("lock", 0600);
	CHECK(!lock_lease(b, 7, "X", &second, &h, &e) && e.code == ERR_TEMPORARY);
	lock_close(b);
}

/* The child keeps the lease until the pipe `hold` is closed. */
static void test_lease_in_child(void)
{
	struct lock *l = open_lock();
	struct lock_holder h = { 0 };
	struct err e = { 0 };
	int fd = -1, again = -1, hold[2], ready[2], status = 0;
	char byte;
	TEST("a lease lives in a child that has it after the parent closed it");
	CHECK(pipe(hold) == 0);
	CHECK(lock_lease(l, 3, "R", &fd, &h, &e));
	pid_t pid = fork();
	if (pid == 0) {
		close(hold[1]);
		_exit(read(hold[0], &byte, 1) == 0 ? 0 : 1);
	}
	close(hold[0]);
	close(fd);
	CHECK(!lock_lease(l, 3, "S", &again, &h, &e) && h.alive && h.pid == getpid());
	close(hold[1]);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(lock_lease(l, 3, "S", &again, &h, &e));
	close(again);
	TEST("a holder that died is told as dead while its child lives on");
	CHECK(pipe(hold) == 0 && pipe(ready) == 0);
	pid = fork();
	if (pid == 0) {
		/* the record must name this process, so it opens the lock itself */
		struct lock *mine = open_lock();
		if (!lock_lease(mine, 4, "DEAD", &fd, &h, &e))
			_exit(1);
		if (fork() == 0) {
			close(hold[1]);
			close(ready[1]);
			_exit(read(hold[0], &byte, 1) == 0 ? 0 : 1);
		}
		_exit(0);
	}
	close(hold[0]);
	close(ready[1]);
	siginfo_t info;
	CHECK(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) == 0 && info.si_status == 0);
	CHECK(!lock_lease(l, 4, "S", &again, &h, &e) && h.pid == pid && !h.alive); /* not reaped yet */
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(!lock_lease(l, 4, "S", &again, &h, &e) && h.pid == pid && !h.alive);
	CHECK_STR(h.rotation, "DEAD");
	close(hold[1]);
	for (int i = 0; i < 500 && lock_lease_holder(l, 4, &h); i++)
		usleep(10000);
	CHECK(!lock_lease_holder(l, 4, &h));
	close(ready[0]);
	lock_close(l);
}

/* Rewrites the record of `row` in the file, keeping its length. */
static void forge(int64_t row, const char *text)
{
	char record[128];
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	memset(record, ' ', sizeof record);
	memcpy(record, text, strlen(text));
	record[sizeof record - 1] = '\n';
	CHECK(pwrite(fd, record, sizeof record, RECORD_OF(row)) == (ssize_t)sizeof record);
	close(fd);
}

static void test_record(void)
{
	struct lock *l = open_lock();
	struct lock_holder h = { 0 };
	struct err e = { 0 };
	char text[128];
	int fd = -1;
	TEST("another start time, another boot and nonsense are nobody alive");
	CHECK(lock_lease(l, 5, "R", &fd, &h, &e));
	CHECK(lock_lease_holder(l, 5, &h) && h.alive);
	snprintf(text, sizeof text, "%d 1 %s R 5", (int)getpid(), clock_boot_id());
	forge(5, text);
	CHECK(lock_lease_holder(l, 5, &h) && !h.alive && h.pid == getpid() && h.since_ms == 5);
	close(fd);
	CHECK(lock_lease(l, 5, "R", &fd, &h, &e));
	CHECK(pread(fd, text, sizeof text, RECORD_OF(5)) == (ssize_t)sizeof text);
	char *boot = memmem(text, sizeof text, clock_boot_id(), strlen(clock_boot_id()));
	CHECK(boot && lock_lease_holder(l, 5, &h) && h.alive);
	boot[0] = boot[0] == 'a' ? 'b' : 'a';
	CHECK(pwrite(fd, text, sizeof text, RECORD_OF(5)) == (ssize_t)sizeof text);
	CHECK(lock_lease_holder(l, 5, &h) && !h.alive && h.pid == getpid());
	static const char *const bad[] = {
		"", "x", "0 0 b R 5", "-4 0 b R 5", "12", "99999999999999999999", "1 2 3 4"
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		forge(5, bad[i]);
		CHECK(lock_lease_holder(l, 5, &h) && !h.alive && !h.rotation[0]);
	}
	memset(text, 'A', sizeof text);
	text[sizeof text - 1] = '\0';
	forge(5, text);
	CHECK(lock_lease_holder(l, 5, &h) && h.pid == 0);
	close(fd);
	lock_close(l);
}

/* ---- the turn ---- */

static void test_turn(void)
{
	struct lock *a = open_lock(), *b = open_lock();
	struct err e = { 0 };
	char want[64];
	TEST("the turn is waited for until the time is over, and the holder is named");
	CHECK(lock_turn(a, 0, &e));
	CHECK(!lock_turn(b, 0, &e) && e.code == ERR_TEMPORARY);
	int64_t before = clock_boot();
	CHECK(!lock_turn(b, 150, &e) && e.code == ERR_TEMPORARY);
	int64_t took = clock_boot() - before;
	CHECK(took >= 149 && took < 1500);
	snprintf(want, sizeof want, "process %d has it", (int)getpid());
	CHECK(strstr(e.message, want) && e.hint[0]);
	TEST("also when the timer's signal is blocked, and it is blocked again afterwards");
	sigset_t set, old, now;
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, &old);
	CHECK(!lock_turn(b, 50, &e) && e.code == ERR_TEMPORARY);
	sigprocmask(SIG_SETMASK, &old, &now);
	CHECK(sigismember(&now, SIGALRM) == 1);
	TEST("one that gave up is in nobody's way");
	lock_turn_end(a);
	CHECK(lock_turn(a, 0, &e));
	lock_turn_end(a);
	CHECK(lock_turn(b, 0, &e));
	lock_turn_end(b);
	TEST("a waiting one gets the turn when it is given back, other signals notwithstanding");
	CHECK(lock_turn(a, 0, &e));
	pid_t pid = fork();
	if (pid == 0) {
		struct sigaction none = { .sa_handler = SIG_IGN };
		sigaction(SIGUSR1, &none, NULL);
		_exit(lock_turn(b, WAIT_MS, &e) ? 0 : 1);
	}
	usleep(60000);
	kill(pid, SIGALRM);
	usleep(60000);
	int status = 0;
	CHECK(waitpid(pid, &status, WNOHANG) == 0);
	lock_turn_end(a);
	CHECK(!lock_turn(a, 0,
	                 &e)); /* one that asks again at once stands behind it, also while it is still waking up */
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	/* the child shared the description of `b`, so the turn is still there until it is closed here */
	CHECK(!lock_turn(a, 0, &e));
	lock_close(b);
	CHECK(lock_turn(a, 0, &e));
	lock_close(a);
}

/* One process of the crowd: counts in a file by reading and writing it back. Returns the worst wait in ms, -1 on error.
 */
static int64_t crowd_member(int counter)
{
	struct lock *l = open_lock();
	struct err e;
	int64_t worst = 0;
	for (int i = 0; i < TURNS; i++) {
		int n = 0;
		int64_t before = clock_boot();
		if (!lock_turn(l, WAIT_MS, &e))
			return -1;
		int64_t waited = clock_boot() - before;
		worst = waited > worst ? waited : worst;
		if (pread(counter, &n, sizeof n, 0) != (ssize_t)sizeof n)
			return -1;
		usleep(100); /* others get the processor with the turn taken */
		n++;
		if (pwrite(counter, &n, sizeof n, 0) != (ssize_t)sizeof n)
			return -1;
		lock_turn_end(l);
	}
	lock_close(l);
	return worst;
}

static void test_crowd(void)
{
	char name[160];
	int n = 0, results[2];
	int64_t worst = 0;
	TEST("eight processes count exactly, and none waits long");
	snprintf(name, sizeof name, "%s/counter", dir);
	int counter = open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	CHECK(pwrite(counter, &n, sizeof n, 0) == (ssize_t)sizeof n && pipe(results) == 0);
	for (int i = 0; i < PROCESSES; i++)
		if (fork() == 0) {
			int64_t mine = crowd_member(counter);
			_exit(write(results[1], &mine, sizeof mine) == (ssize_t)sizeof mine && mine >= 0 ? 0 : 1);
		}
	for (int i = 0; i < PROCESSES; i++) {
		int64_t one = -1;
		int status = 0;
		CHECK(read(results[0], &one, sizeof one) == (ssize_t)sizeof one && one >= 0);
		CHECK(wait(&status) > 0 && status == 0);
		worst = one > worst ? one : worst;
	}
	CHECK(pread(counter, &n, sizeof n, 0) == (ssize_t)sizeof n && n == PROCESSES * TURNS);
	printf("# worst wait %lld ms\n", (long long)worst);
	CHECK(worst < WORST_MS);
	close(counter);
}

static void clean(void)
{
	static const char *const names[] = { "group", "others", "readable", "link", "fifo", "lock", "counter" };
	char name[160];
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(name, sizeof name, "%s/%s", dir, names[i]);
		unlink(name);
	}
	rmdir(dir);
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	test_open();
	test_lease();
	test_lease_in_child();
	test_record();
	test_turn();
	test_crowd();
	clean();
	return TEST_END();
}
