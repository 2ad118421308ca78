#include "core/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/mem.h"

/* Descriptors are copied above every `to` first, so that no dup2 hits one that is still needed. */
#define LOWEST_COPY 64
#define CHUNK 65536

static bool attributes(posix_spawnattr_t *a)
{
	sigset_t all, none;
	sigfillset(&all);
	sigemptyset(&none);
	const short flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
	return posix_spawnattr_setflags(a, flags) == 0 && posix_spawnattr_setpgroup(a, 0) == 0 &&
	       posix_spawnattr_setsigdefault(a, &all) == 0 && posix_spawnattr_setsigmask(a, &none) == 0;
}

/* Puts copies[i] at fds[i].to and closes everything else. */
static bool actions(posix_spawn_file_actions_t *a, const struct child_fd *fds, const int copies[], size_t n)
{
	int top = -1;
	for (size_t i = 0; i < n; i++) {
		if (posix_spawn_file_actions_adddup2(a, copies[i], fds[i].to) != 0)
			return false;
		top = fds[i].to > top ? fds[i].to : top;
	}
	for (int fd = 0; fd < top; fd++) {
		bool named = false;
		for (size_t i = 0; i < n; i++)
			named = named || fds[i].to == fd;
		if (!named && posix_spawn_file_actions_addclose(a, fd) != 0)
			return false;
	}
	return posix_spawn_file_actions_addclosefrom_np(a, top + 1) == 0;
}

static bool copy_fds(const struct child_fd *fds, size_t n, int ret[], struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		int from = fds[i].from >= 0 ? fds[i].from : open("/dev/null", O_RDWR | O_CLOEXEC);
		ret[i] = from >= 0 ? fcntl(from, F_DUPFD_CLOEXEC, LOWEST_COPY) : -1;
		int why = errno;
		if (fds[i].from < 0 && from >= 0)
			close(from);
		if (ret[i] < 0)
			return err_sys(e, ERR_TEMPORARY, why, "cannot prepare a descriptor for a child process");
	}
	return true;
}

static bool passing(int why)
{
	return why == EAGAIN || why == ENOMEM || why == ETXTBSY;
}

bool child_spawn(const char *path, char *const argv[], char *const env[], const struct child_fd *fds, size_t n_fds,
                 pid_t *ret, struct err *e)
{
	int copies[CHILD_FDS_MAX];
	memset(copies, -1, sizeof copies);
	if (path[0] != '/')
		return err_set(e, ERR_FAILED, "cannot start '%s': not an absolute path", path);
	if (n_fds > CHILD_FDS_MAX)
		return err_set(e, ERR_FAILED, "cannot start '%s': more than %d descriptors", path, CHILD_FDS_MAX);
	bool ok = copy_fds(fds, n_fds, copies, e);
	if (ok) {
		posix_spawnattr_t attr;
		posix_spawn_file_actions_t acts;
		if (posix_spawnattr_init(&attr) != 0 || posix_spawn_file_actions_init(&acts) != 0 ||
		    !attributes(&attr) || !actions(&acts, fds, copies, n_fds))
			mem_out();
		pid_t pid;
		int why = posix_spawn(&pid, path, &acts, &attr, argv, env);
		posix_spawn_file_actions_destroy(&acts);
		posix_spawnattr_destroy(&attr);
		if (why == 0)
			*ret = pid;
		else
			ok = err_sys(e, passing(why) ? ERR_TEMPORARY : ERR_FAILED, why, "cannot start '%s'", path);
	}
	for (size_t i = 0; i < n_fds; i++)
		if (copies[i] >= 0)
			close(copies[i]);
	return ok;
}

/* What child_run knows of the program while it runs. */
struct run {
	const char *name;
	pid_t pid;
	int in, out, ended; /* pipe ends and the pidfd; -1 when closed */
	const char *input;
	size_t input_len;
	struct buf *to;
	int64_t deadline;
};

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void feed(struct run *r)
{
	ssize_t n = write(r->in, r->input, r->input_len);
	if (n > 0) {
		r->input += n;
		r->input_len -= (size_t)n;
	}
	/* A program need not read its input: that it closed the pipe is no error. */
	if (r->input_len == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		shut(&r->in);
}

/* Takes what is there. False: more came than the ceiling lets in. */
static bool drain(struct run *r)
{
	for (;;) {
		size_t left = r->to->max - r->to->len;
		size_t want = left < CHUNK ? left : CHUNK;
		char one, *at = left ? buf_room(r->to, want) : &one;
		ssize_t n = read(r->out, at, left ? want : 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n <= 0) {
			shut(&r->out);
			return true;
		}
		if (!left)
			return false;
		buf_wrote(r->to, (size_t)n);
	}
}

/* Until the program has ended. What it left running in the background may keep the pipe open and is not waited for. */
static bool attend(struct run *r, struct err *e)
{
	for (;;) {
		int64_t left = r->deadline - clock_boot();
		if (left <= 0)
			return err_set(e, ERR_TEMPORARY, "'%s' did not end in time", r->name);
		struct pollfd p[3] = { { r->ended, POLLIN, 0 }, { r->in, POLLOUT, 0 }, { r->out, POLLIN, 0 } };
		if (poll(p, 3, left > 60000 ? 60000 : (int)left) < 0 && errno != EINTR)
			return err_sys(e, ERR_TEMPORARY, errno, "cannot wait for '%s'", r->name);
		if (p[1].revents)
			feed(r);
		if (r->out >= 0 && (p[2].revents || p[0].revents) && !drain(r))
			return err_set(e, ERR_TEMPORARY, "'%s' wrote more than %zu bytes", r->name, r->to->max);
		if (p[0].revents)
			return true;
	}
}

static char **environment(char *const env[])
{
	size_t n = 0;
	while (env && env[n])
		n++;
	char **all = mem_array(n + 4, sizeof *all);
	const struct passwd *pw = getpwuid(geteuid());
	/* Fixed, not inherited: the same command behaves alike from a shell, from cron and from a helper. */
	all[0] = mem_dup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	all[1] = mem_printf("HOME=%s", pw && pw->pw_dir ? pw->pw_dir : "/");
	all[2] = mem_dup("LANG=C.UTF-8");
	for (size_t i = 0; i < n; i++)
		all[3 + i] = mem_dup(env[i]);
	return all;
}

static bool start(struct run *r, char *const argv[], char *const env[], struct err *e)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 };
	if ((r->input_len && pipe2(in, O_CLOEXEC) != 0) || (r->to && pipe2(out, O_CLOEXEC) != 0)) {
		err_sys(e, ERR_TEMPORARY, errno, "cannot make a pipe for '%s'", r->name);
		shut(&in[0]);
		shut(&in[1]);
		return false;
	}
	char **all = environment(env);
	const struct child_fd fds[] = { { in[0], 0 }, { out[1], 1 }, { -1, 2 } };
	bool ok = child_spawn(argv[0], argv, all, fds, 3, &r->pid, e);
	for (size_t i = 0; all[i]; i++)
		free(all[i]);
	free(all);
	shut(&in[0]);
	shut(&out[1]);
	r->in = in[1];
	r->out = out[0];
	if (r->in >= 0)
		fcntl(r->in, F_SETFL, O_NONBLOCK);
	if (r->out >= 0)
		fcntl(r->out, F_SETFL, O_NONBLOCK);
	return ok;
}

bool child_run(char *const argv[], char *const env[], const void *input, size_t input_len, int64_t deadline_boot_ms,
               struct buf *out, int *ret_status, struct err *e)
{
	struct run r = { .name = argv[0],
		         .pid = -1,
		         .in = -1,
		         .out = -1,
		         .ended = -1,
		         .input = input,
		         .input_len = input_len,
		         .to = out,
		         .deadline = deadline_boot_ms };
	struct sigaction ignore = { .sa_handler = SIG_IGN }, before;
	sigaction(SIGPIPE, &ignore, &before);
	bool ok = start(&r, argv, env, e);
	if (ok) {
		r.ended = pidfd_open(r.pid, 0);
		ok = r.ended >= 0 ? attend(&r, e) : err_sys(e, ERR_TEMPORARY, errno, "cannot watch '%s'", r.name);
		/* Not reaped yet, so the group still is ours. */
		if (!ok)
			kill(-r.pid, SIGKILL);
		int status = 0;
		pid_t reaped;
		while ((reaped = waitpid(r.pid, &status, 0)) < 0 && errno == EINTR)
			;
		if (ok && reaped < 0)
			ok = err_sys(e, ERR_TEMPORARY, errno, "cannot learn how '%s' ended", r.name);
		if (ok)
			*ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	shut(&r.in);
	shut(&r.out);
	shut(&r.ended);
	sigaction(SIGPIPE, &before, NULL);
	return ok;
}
