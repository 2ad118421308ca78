/* procwatch OUT: until a signal ends it, looks through the process list every few milliseconds and writes each argument
 * list once to OUT, a line each: what a neighbour on the machine could have seen. Environments too, but only of what
 * descends from the process that started the watch: those of others are not this test's business. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_MS 10
#define SEEN_SLOTS ((size_t)1 << 18) /* of 64-bit hashes; the watch fails aloud before it is full */

static uint64_t seen[SEEN_SLOTS];
static size_t n_seen;
static volatile sig_atomic_t ended;

static void end(int sig)
{
	(void)sig;
	ended = 1;
}

static bool is_new(const char *bytes, size_t len)
{
	uint64_t h = 14695981039346656037u; /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)bytes[i]) * 1099511628211u;
	h |= 1; /* 0 marks a free slot */
	for (size_t i = h >> 20;; i++) {
		uint64_t *slot = &seen[i % SEEN_SLOTS];

		if (*slot == h)
			return false;
		if (*slot == 0) {
			*slot = h;
			break;
		}
	}
	if (++n_seen > SEEN_SLOTS / 2) {
		fputs("procwatch: too many different processes\n", stderr);
		exit(1);
	}
	return true;
}

static int parent_of(int pid)
{
	char path[32], line[512];
	int parent = 0;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	FILE *f = fopen(path, "re");

	if (!f)
		return 0;
	if (fgets(line, sizeof line, f)) {
		const char *behind = strrchr(line, ')'); /* the name before it may hold anything */

		if (!behind || sscanf(behind, ") %*c %d", &parent) != 1)
			parent = 0;
	}
	fclose(f);
	return parent;
}

static bool is_ours(const char *pid)
{
	int starter = getppid();

	for (int p = atoi(pid); p > 1; p = parent_of(p)) {
		if (p == starter)
			return true;
	}
	return false;
}

static void look(const char *pid, const char *what, FILE *out)
{
	static char bytes[256 * 1024];
	char path[64];
	size_t len = 0;
	ssize_t n;

	snprintf(path, sizeof path, "/proc/%.20s/%s", pid, what);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	while (len < sizeof bytes && (n = read(fd, bytes + len, sizeof bytes - len)) > 0)
		len += (size_t)n;
	close(fd);
	if (len == 0 || !is_new(bytes, len))
		return;
	for (size_t i = 0; i < len; i++)
		putc(bytes[i] == '\0' ? ' ' : bytes[i], out);
	putc('\n', out);
	fflush(out);
}

int main(int argc, char **argv)
{
	const struct sigaction on_end = { .sa_handler = end };
	umask(077);
	FILE *out = argc == 2 ? fopen(argv[1], "we") : NULL;

	if (!out) {
		perror("procwatch");
		return 1;
	}
	sigaction(SIGTERM, &on_end, NULL);
	sigaction(SIGINT, &on_end, NULL);
	while (!ended) {
		DIR *proc = opendir("/proc");
		const struct dirent *d;

		while (proc && (d = readdir(proc))) {
			if (!isdigit((unsigned char)d->d_name[0]))
				continue;
			look(d->d_name, "cmdline", out);
			if (is_ours(d->d_name))
				look(d->d_name, "environ", out);
		}
		if (proc)
			closedir(proc);
		nanosleep(&(struct timespec){ 0, PERIOD_MS * 1000000L }, NULL);
	}
	return fclose(out) == 0 ? 0 : 1;
}
