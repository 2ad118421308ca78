#include "core/ulid.h"

#include <sodium.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "tests/unit/test.h"

static long long time_of(const char *ulid)
{
	static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	long long ms = 0;
	for (int i = 0; i < 10; i++)
		ms = ms * 32 + (strchr(alphabet, ulid[i]) - alphabet);
	return ms;
}

static void test_new(void)
{
	TEST("each is well-formed and greater than the one before");
	char last[ULID_SIZE] = "", now[ULID_SIZE];
	for (int i = 0; i < 20000; i++) {
		ulid_new(now);
		CHECK(ulid_ok(now));
		CHECK(strcmp(last, now) < 0);
		memcpy(last, now, sizeof last);
	}
	TEST("the first ten characters are the wall clock");
	while (clock_wall() <= time_of(now)) {
	}
	long long before = clock_wall();
	ulid_new(now);
	CHECK(time_of(now) >= before && time_of(now) <= clock_wall());
	TEST("every random character varies");
	char seen[16][ULID_SIZE];
	for (int i = 0; i < 16; i++) {
		long long t = clock_wall();
		while (clock_wall() == t) {
		}
		ulid_new(seen[i]);
	}
	for (int at = 10; at < 26; at++) {
		int differ = 0;
		for (int i = 1; i < 16; i++)
			differ |= seen[i][at] != seen[0][at];
		CHECK(differ);
	}
}

static void test_fork(void)
{
	TEST("a fork goes another way");
	for (int round = 0; round < 20; round++) {
		char mine[ULID_SIZE], theirs[ULID_SIZE] = "";
		int p[2];
		ulid_new(mine);
		CHECK(pipe(p) == 0);
		pid_t pid = fork();
		if (pid == 0) {
			ulid_new(theirs);
			_exit(write(p[1], theirs, sizeof theirs) != sizeof theirs);
		}
		ulid_new(mine);
		CHECK(read(p[0], theirs, sizeof theirs) == sizeof theirs);
		CHECK(waitpid(pid, NULL, 0) == pid);
		CHECK(ulid_ok(theirs) && strcmp(mine, theirs) != 0);
		close(p[0]);
		close(p[1]);
	}
}

static void test_ok(void)
{
	TEST("ulid_ok takes the alphabet, 26 characters and 48 bits of time only");
	CHECK(ulid_ok("01ARZ3NDEKTSV4RRFFQ69G5FAV"));
	CHECK(ulid_ok("7ZZZZZZZZZZZZZZZZZZZZZZZZZ"));
	CHECK(!ulid_ok("8ZZZZZZZZZZZZZZZZZZZZZZZZZ"));
	CHECK(!ulid_ok("01ARZ3NDEKTSV4RRFFQ69G5FA"));
	CHECK(!ulid_ok("01ARZ3NDEKTSV4RRFFQ69G5FAVV"));
	CHECK(!ulid_ok("01arz3ndektsv4rrffq69g5fav"));
	CHECK(!ulid_ok("01ARZ3NDEKTSV4RRFFQ69G5FAI"));
	CHECK(!ulid_ok("01ARZ3NDEKTSV4RRFFQ69G5FAL"));
	CHECK(!ulid_ok("01ARZ3NDEKTSV4RRFFQ69G5FAO"));
	CHECK(!ulid_ok("01ARZ3NDEKTSV4RRFFQ69G5FAU"));
	CHECK(!ulid_ok("01ARZ3NDEKTSV4RRFFQ69G5F V"));
	CHECK(!ulid_ok(""));
}

int main(void)
{
	if (sodium_init() < 0)
		return 1;
	test_new();
	test_fork();
	test_ok();
	return TEST_END();
}
