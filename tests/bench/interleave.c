/* interleave RUNS COMMAND... -- COMMAND... [-- ...]: runs each command in turn, RUNS times round, and prints for each
 * the least wall time in microseconds and the greatest resident memory in KiB, a line each. Taking turns lets a slow
 * moment of the machine fall on all of them. Their output is thrown away; one that fails ends the measurement. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COMMANDS_MAX 16

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t run(char **argv, long *ret_kib)
{
	struct rusage usage;
	int status;
	int64_t begin = now_us();
	pid_t pid = vfork();

	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, STDOUT_FILENO);
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &usage) != pid || status != 0) {
		fprintf(stderr, "interleave: '%s' failed\n", argv[0]);
		exit(1);
	}
	*ret_kib = usage.ru_maxrss;
	return now_us() - begin;
}

int main(int argc, char **argv)
{
	char **commands[COMMANDS_MAX];
	int64_t least[COMMANDS_MAX];
	long most[COMMANDS_MAX] = { 0 }, kib;
	int n = 0, runs = argc > 2 ? atoi(argv[1]) : 0;

	for (int i = 2, begins = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			argv[i] = NULL;
			begins = 1;
		} else if (begins && n < COMMANDS_MAX) {
			commands[n] = &argv[i];
			least[n++] = INT64_MAX;
			begins = 0;
		}
	}
	if (runs < 1 || n == 0)
		return 2;
	for (int r = 0; r < runs; r++) {
		for (int i = 0; i < n; i++) {
			int64_t us = run(commands[i], &kib);

			least[i] = us < least[i] ? us : least[i];
			most[i] = kib > most[i] ? kib : most[i];
		}
	}
	for (int i = 0; i < n; i++)
		printf("%lld %ld\n", (long long)least[i], most[i]);
	return 0;
}
