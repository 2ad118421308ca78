#include "providers/file/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "core/child.h"
#include "core/clock.h"
#include "core/json.h"
#include "core/mem.h"

#define SYSTEMCTL "/usr/bin/systemctl"
#define ANSWER_MS 250 /* kept of the deadline, so that a program is ended here and the reason told */
#define ARGV_MAX 64
#define START_SLACK_MS 2000 /* a clock tick, and a clock that was set since */

const struct schema_key file_tell_keys[] = {
	{ .name = "unit", .type = SCHEMA_STRING, .help = "systemd unit that systemctl reloads or restarts" },
	{ .name = "signal",
	  .type = SCHEMA_ENUM,
	  .allowed = "HUP|INT|QUIT|TERM|USR1|USR2|WINCH",
	  .help = "signal for the process named by pidfile; needs pidfile and exe" },
	{ .name = "pidfile", .type = SCHEMA_PATH, .help = "file with the process id" },
	{ .name = "exe", .type = SCHEMA_PATH, .help = "program that this process must be running" },
	{ .name = "command",
	  .type = SCHEMA_ARGV,
	  .help = "program and arguments; gets ROTOR_SECRET and ROTOR_VERSION, never a value" },
	{ 0 }
};

static bool unit_ok(const char *unit)
{
	size_t n = strspn(unit, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_.\\@-");
	return n && !unit[n] && n < 256 && unit[0] != '-' && strchr(unit, '.');
}

bool file_tell_check(const json_t *tell, struct err *e)
{
	const char *unit = json_str(tell, "unit"), *signal = json_str(tell, "signal");
	const char *pidfile = json_str(tell, "pidfile"), *exe = json_str(tell, "exe");
	size_t argc = json_array_size(json_object_get(tell, "command"));
	if ((unit != NULL) + (signal != NULL) + (argc > 0) != 1)
		return err_set(e, ERR_USAGE, "exactly one of 'unit', 'signal' and 'command' is needed");
	if ((signal != NULL) != (pidfile != NULL) || (signal != NULL) != (exe != NULL))
		return err_set(e, ERR_USAGE, "'signal', 'pidfile' and 'exe' belong together");
	if (unit && !unit_ok(unit))
		return err_set(e, ERR_USAGE, "'%s' is no name of a unit, such as 'orders.service'", unit);
	if (argc > ARGV_MAX)
		return err_set(e, ERR_USAGE, "a command has more than %d arguments", ARGV_MAX);
	return true;
}

static int signal_number(const char *name)
{
	static const struct {
		const char *name;
		int number;
	} all[] = { { "HUP", SIGHUP },   { "INT", SIGINT },   { "QUIT", SIGQUIT },  { "TERM", SIGTERM },
		    { "USR1", SIGUSR1 }, { "USR2", SIGUSR2 }, { "WINCH", SIGWINCH } };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (strcmp(all[i].name, name) == 0)
			return all[i].number;
	return 0;
}

static bool read_small(const char *path, int flags, struct stat *ret_st, struct buf *ret, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags);
	if (fd < 0)
		return err_sys(e, ERR_TEMPORARY, errno, "cannot open '%s'", path);
	bool ok = fstat(fd, ret_st) == 0 && S_ISREG(ret_st->st_mode);
	ok = ok ? buf_read_fd(ret, fd, path, e) : err_set(e, ERR_FAILED, "'%s' is no regular file", path);
	close(fd);
	return ok;
}

static bool read_pid(const char *pidfile, pid_t *ret, struct stat *st, struct err *e)
{
	AUTO_BUF text = BUF_INIT(32);
	if (!read_small(pidfile, O_NOFOLLOW, st, &text, e))
		return false;
	char *end = text.data;
	long pid = text.len && text.data[0] >= '1' && text.data[0] <= '9' ? strtol(text.data, &end, 10) : 0;
	if (pid < 2 || pid > (1 << 22) || end[strspn(end, " \t\r\n")] != '\0')
		return err_set(e, ERR_FAILED, "'%s' does not hold a process id", pidfile);
	*ret = (pid_t)pid;
	return true;
}

/* When the process started, in ms since 1970; -1 when that cannot be told. */
static int64_t started(pid_t pid)
{
	char path[64];
	struct stat st;
	AUTO_BUF text = BUF_INIT(4096);
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	if (!read_small(path, 0, &st, &text, NULL) || !text.len)
		return -1;
	const char *at = strrchr(text.data, ')'); /* the name before it may hold anything */
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	long ticks = sysconf(_SC_CLK_TCK);
	if (!at || ticks <= 0)
		return -1;
	return clock_wall() - clock_boot() + (int64_t)(strtoull(at + 1, NULL, 10) * 1000 / (unsigned long long)ticks);
}

static bool effective_uid(pid_t pid, uid_t *ret)
{
	char path[64];
	struct stat st;
	AUTO_BUF text = BUF_INIT(16384);
	unsigned real, effective;
	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	const char *at = read_small(path, 0, &st, &text, NULL) && text.len ? strstr(text.data, "\nUid:") : NULL;
	if (!at || sscanf(at, "\nUid: %u %u", &real, &effective) != 2)
		return false;
	*ret = effective;
	return true;
}

static bool runs(pid_t pid, const char *exe)
{
	char path[64], target[4096];
	snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
	ssize_t n = readlink(path, target, sizeof target - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	size_t len = strlen(exe);
	/* An upgrade replaced the file below the running process: still the same service. */
	return strncmp(target, exe, len) == 0 && (!target[len] || strcmp(target + len, " (deleted)") == 0);
}

/* A pid that was given to another process since, or that somebody else wrote there, is never signalled. The process is
 * held by its pidfd first: what is read of it below is of this process, or the signal does not arrive. */
static bool aim(const json_t *tell, int *ret_pidfd, struct err *e)
{
	const char *pidfile = json_str(tell, "pidfile"), *exe = json_str(tell, "exe"), *wrong = NULL;
	struct stat st;
	pid_t pid = 0;
	uid_t uid;
	if (!read_pid(pidfile, &pid, &st, e))
		return false;
	int fd = pidfd_open(pid, 0);
	if (fd < 0)
		return err_sys(e, ERR_TEMPORARY, errno, "no process for the id in '%s'", pidfile);
	int64_t since = started(pid), written = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	if (!effective_uid(pid, &uid) || since < 0)
		wrong = "cannot be examined";
	else if (st.st_uid != 0 && st.st_uid != geteuid() && st.st_uid != uid)
		wrong = "does not belong to the user who wrote that";
	else if (!runs(pid, exe))
		wrong = "does not run the declared program";
	else if (since > written + START_SLACK_MS)
		wrong = "is younger than that";
	if (wrong) {
		close(fd);
		err_set(e, ERR_TEMPORARY, "process %d from '%s' %s", (int)pid, pidfile, wrong);
		return err_hint(e, "the declared program is '%s'", exe);
	}
	*ret_pidfd = fd;
	return true;
}

enum kind_rc file_tell_ready(const json_t *tell, struct err *e)
{
	const char *program = json_string_value(json_array_get(json_object_get(tell, "command"), 0));
	int fd = -1;
	if (json_str(tell, "unit"))
		program = SYSTEMCTL;
	if (program && access(program, X_OK) != 0) {
		err_sys(e, ERR_FAILED, errno, "cannot run '%s'", program);
		return KIND_PERMANENT;
	}
	if (json_str(tell, "signal")) {
		if (!aim(tell, &fd, e))
			return KIND_TEMPORARY; /* a service that is being started has no pidfile yet */
		close(fd);
	}
	return KIND_OK;
}

static bool run(char *argv[], const struct provider_call *call, uint32_t version, struct err *e)
{
	AUTO_FREE char *secret = mem_printf("ROTOR_SECRET=%s", call->secret ? call->secret : "");
	AUTO_FREE char *number = mem_printf("ROTOR_VERSION=%u", version);
	char *env[] = { secret, number, NULL };
	int status = 0;
	if (!child_run(argv, env, NULL, 0, call->deadline_ms - ANSWER_MS, NULL, &status, e))
		return false;
	return status == 0 || err_set(e, ERR_TEMPORARY, "'%s' ended with exit code %d", argv[0], status);
}

static bool tell_unit(const char *unit, const char *verb, const struct provider_call *call, uint32_t version,
                      struct err *e)
{
	AUTO_FREE char *program = mem_dup(SYSTEMCTL), *what = mem_dup(verb), *which = mem_dup(unit);
	AUTO_FREE char *quiet = mem_dup("--no-ask-password"), *rest = mem_dup("--");
	char *argv[] = { program, quiet, what, rest, which, NULL };
	return run(argv, call, version, e);
}

static bool tell_command(const json_t *command, const struct provider_call *call, uint32_t version, struct err *e)
{
	char *argv[ARGV_MAX + 1] = { 0 };
	size_t n = json_array_size(command);
	if (n > ARGV_MAX)
		return err_set(e, ERR_FAILED, "a command has more than %d arguments", ARGV_MAX);
	for (size_t i = 0; i < n; i++)
		argv[i] = mem_dup(json_string_value(json_array_get(command, i)));
	bool ok = run(argv, call, version, e);
	for (size_t i = 0; i < n; i++)
		free(argv[i]);
	return ok;
}

static bool tell_process(const json_t *tell, struct err *e)
{
	int fd = -1;
	if (!aim(tell, &fd, e))
		return false;
	int rc = pidfd_send_signal(fd, signal_number(json_str(tell, "signal")), NULL, 0), why = errno;
	close(fd);
	return rc == 0 ||
	       err_sys(e, ERR_TEMPORARY, why, "cannot signal the process from '%s'", json_str(tell, "pidfile"));
}

enum kind_rc file_tell(const json_t *tell, const char *verb, const struct provider_call *call, uint32_t version,
                       char *ret, size_t size, struct err *e)
{
	const char *unit = json_str(tell, "unit"), *signal = json_str(tell, "signal");
	const json_t *command = json_object_get(tell, "command");
	bool ok = unit   ? tell_unit(unit, verb, call, version, e) :
	          signal ? tell_process(tell, e) :
	                   tell_command(command, call, version, e);
	if (!ok) {
		err_prefix(e, "the consumer could not be told (%s)", verb);
		return KIND_AMBIGUOUS;
	}
	const char *what = unit ? unit : signal ? json_str(tell, "exe") : json_string_value(json_array_get(command, 0));
	snprintf(ret, size, "%sed '%s'%s", verb, what, signal ? " by signal" : command && !unit ? " by command" : "");
	return KIND_OK;
}
