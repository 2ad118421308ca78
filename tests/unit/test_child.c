#include "core/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "tests/unit/test.h"

static struct err e;

static bool sh(const char *script, char *const env[], const char *input, int64_t ms, struct buf *out, int *status)
{
	char program[] = "/bin/sh", flag[] = "-c", text[1024];
	snprintf(text, sizeof text, "%s", script);
	char *argv[] = { program, flag, text, NULL };
	e = (struct err){ 0 };
	return child_run(argv, env, input, input ? strlen(input) : 0, clock_boot() + ms, out, status, &e);
}

static void run_tests(void)
{
	AUTO_BUF out = BUF_INIT(1000);
	int status = -1;

	TEST("output and exit code");
	CHECK(sh("echo hello; exit 3", NULL, NULL, 5000, &out, &status) && status == 3);
	CHECK_STR(out.data, "hello\n");

	TEST("a signal is 128 and more");
	CHECK(sh("kill -TERM $$", NULL, NULL, 5000, NULL, &status) && status == 128 + SIGTERM);

	TEST("the environment is given, not inherited");
	char one[] = "ROTOR_SECRET=a b";
	char *env[] = { one, NULL };
	setenv("LEAK", "1", 1);
	buf_reset(&out);
	CHECK(sh("/usr/bin/env | sort | grep -v '^\\(PWD\\|_\\|SHLVL\\|OLDPWD\\)='", env, NULL, 5000, &out, &status));
	CHECK(out.data && !strstr(out.data, "LEAK") && strstr(out.data, "ROTOR_SECRET=a b\n"));
	CHECK(out.data && strstr(out.data, "HOME=/") && strstr(out.data, "LANG=C.UTF-8\n") &&
	      strstr(out.data, "PATH=/"));
	size_t lines = 0;
	for (size_t i = 0; i < out.len; i++)
		lines += out.data[i] == '\n';
	CHECK(lines == 4);

	TEST("input arrives whole, also when it is larger than a pipe");
	static char big[300001];
	memset(big, 'x', sizeof big - 1);
	buf_reset(&out);
	CHECK(sh("sleep 0.05; wc -c", NULL, big, 5000, &out, &status) && status == 0);
	CHECK_STR(out.data, "300000\n");

	TEST("a program that does not read its input is no error, and SIGPIPE is as before");
	CHECK(sh("exec 0<&-; sleep 0.05; exit 0", NULL, big, 5000, NULL, &status) && status == 0);
	struct sigaction now;
	CHECK(sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
}

static void limit_tests(void)
{
	AUTO_BUF out = BUF_INIT(1000);
	int status = -1;

	TEST("the deadline ends the whole group");
	int64_t begin = clock_boot();
	char path[] = "/tmp/rotor-test-child-XXXXXX", script[256];
	int fd = mkstemp(path);
	snprintf(script, sizeof script, "(sleep 0.6; echo late >%s) & sleep 30", path);
	CHECK(!sh(script, NULL, NULL, 200, NULL, &status) && e.code == ERR_TEMPORARY);
	CHECK(clock_boot() - begin < 3000);
	usleep(800000);
	CHECK(lseek(fd, 0, SEEK_END) == 0);
	close(fd);
	unlink(path);

	TEST("too much output");
	CHECK(!sh("head -c 1001 /dev/zero", NULL, NULL, 5000, &out, &status) && e.code == ERR_TEMPORARY);
	CHECK(strstr(e.message, "1000 bytes"));
	buf_reset(&out);
	CHECK(sh("head -c 1000 /dev/zero", NULL, NULL, 5000, &out, &status) && out.len == 1000);

	TEST("what goes on in the background is not waited for");
	begin = clock_boot();
	buf_reset(&out);
	CHECK(sh("sleep 5 & echo done", NULL, NULL, 10000, &out, &status) && clock_boot() - begin < 3000);
	CHECK_STR(out.data, "done\n");

	TEST("no such program");
	char missing[] = "/nonexistent/program", relative[] = "sh";
	char *argv[] = { missing, NULL }, *argv2[] = { relative, NULL };
	CHECK(!child_run(argv, NULL, NULL, 0, clock_boot() + 1000, NULL, &status, &e) && e.code == ERR_FAILED);
	CHECK_STR(e.message, "cannot start '/nonexistent/program': No such file or directory");
	CHECK(!child_run(argv2, NULL, NULL, 0, clock_boot() + 1000, NULL, &status, &e));
}

static void spawn_tests(void)
{
	int p[2], status = -1, stray = open("/dev/null", O_RDONLY); /* not close-on-exec, on purpose */
	char seen[512] = "", want[64], program[] = "ls", folder[] = "/proc/self/fd";
	char *argv[] = { program, folder, NULL }, *env[] = { NULL };
	pid_t pid = -1;

	TEST("exactly the named descriptors, also where one takes the number of another; own group");
	CHECK(stray >= 0 && pipe2(p, O_CLOEXEC) == 0 && p[1] > 2 && p[1] < 10);
	const struct child_fd fds[] = { { -1, 0 }, { p[0], p[1] }, { p[1], 1 } };
	CHECK(child_spawn("/bin/ls", argv, env, fds, 3, &pid, &e));
	CHECK(getpgid(pid) == pid);
	CHECK(waitpid(pid, &status, 0) == pid);
	snprintf(want, sizeof want, "0\n1\n2\n%d\n", p[1]); /* 2 is the folder that ls lists */
	CHECK(read(p[0], seen, sizeof seen - 1) > 0);
	CHECK_STR(seen, want);
	close(p[0]);
	close(p[1]);
	close(stray);

	TEST("signals are at their defaults");
	struct sigaction ignore = { .sa_handler = SIG_IGN }, before;
	sigset_t all, mask;
	sigfillset(&all);
	sigaction(SIGINT, &ignore, &before);
	sigprocmask(SIG_BLOCK, &all, &mask);
	CHECK(sh("kill -INT $$; exit 7", NULL, NULL, 5000, NULL, &status) && status == 128 + SIGINT);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	sigaction(SIGINT, &before, NULL);
}

int main(void)
{
	run_tests();
	limit_tests();
	spawn_tests();
	return TEST_END();
}
