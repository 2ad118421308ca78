#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/front.h"
#include "core/arena.h"
#include "core/helper.h"
#include "core/json.h"
#include "providers/provider.h"

static bool is_helper(int argc, char *const argv[])
{
	struct stat st;
	const char *slash = argc == 2 ? strrchr(argv[0], '/') : NULL;
	return argc == 2 && strcmp(slash ? slash + 1 : argv[0], "rotor-helper") == 0 && fstat(HELPER_FD, &st) == 0 &&
	       S_ISSOCK(st.st_mode);
}

/* `rotor help [COMMAND]` and --help with or without a command. */
static int help(int argc, char *const words[], struct err *e)
{
	int used = 0;
	if (argc == 0) {
		cmd_help_group(stdout, NULL);
	} else if (argc == 1 && cmd_is_group(words[0])) {
		cmd_help_group(stdout, words[0]);
	} else {
		const struct cmd *c = cmd_find(argc, words, &used, e);
		if (!c)
			return (int)e->code;
		cmd_help(stdout, c);
	}
	return ERR_OK;
}

static void tell_home(struct print *p, const struct home *h)
{
	if (h->warning[0])
		print_warning(p, h->warning, NULL);
	if (h->trust != HOME_TRUSTED)
		print_warning(p, h->why, NULL);
}

/* Opens what the row needs, and runs it. */
static int run(struct cmd_args *a, struct err *e)
{
	static const enum home_need need[] = {
		[CMD_READ] = HOME_READ, [CMD_WRITE] = HOME_WRITE, [CMD_ROTATE] = HOME_ROTATE
	};
	enum cmd_need needs = a->cmd->needs;
	if (needs == CMD_NO_HOME)
		return a->cmd->run(a, e);
	if (needs != CMD_READ && !arena_init(e))
		return (int)e->code;
	struct home home = { 0 };
	char *dir = home_find(a->dir, e);
	if (!dir || !home_open(dir, need[needs], &home, e)) {
		free(dir);
		return (int)e->code;
	}
	free(dir);
	a->home = &home;
	tell_home(a->print, &home);
	int code = a->cmd->run(a, e);
	home_close(&home);
	return code;
}

static int command(int argc, char *const argv[], struct cmd_globals *g, struct print **print, struct err *e)
{
	int used = 0;
	if (strcmp(argv[0], "help") == 0)
		return help(argc - 1, argv + 1, e);
	bool group_help =
		argc >= 2 && cmd_is_group(argv[0]) && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
	if (g->help || group_help)
		return help(group_help ? 1 : argc, argv, e);
	const struct cmd *c = cmd_find(argc, argv, &used, e);
	if (!c)
		return (int)e->code;
	struct cmd_args a = { 0 };
	int code = ERR_USAGE;
	bool ok = cmd_parse(c, argc - used, argv + used, g, &a, e);
	print_free(*print); /* the row's part may hold global options too */
	*print = print_new(g->json, g->verbosity, g->color);
	a.dir = g->dir;
	a.print = *print;
	if (ok && g->help) {
		cmd_help(stdout, c);
		code = ERR_OK;
	} else if (ok) {
		provider_register_all();
		code = run(&a, e);
	}
	cmd_args_clear(&a);
	return code;
}

/* A result that did not arrive is a failure; that nobody wanted to read on (EPIPE) needs no words. */
static int flushed(int code, struct err *e)
{
	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	if (errno != EPIPE && !e->message[0])
		err_sys(e, ERR_FAILED, errno ? errno : EIO, "cannot write to standard output");
	return err_worst(code, ERR_FAILED);
}

/* So that no file opened later takes their place. Each is open the wrong way round: what would be lost is an error. */
static bool standard_descriptors(void)
{
	static const int modes[] = { O_WRONLY, O_RDONLY, O_RDONLY };
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd)
			return false;
	return true;
}

int main(int argc, char **argv)
{
	if (!standard_descriptors())
		return ERR_TEMPORARY;
	if (is_helper(argc, argv))
		return provider_serve(argv[1]);
	umask(077);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is a failed write, like a full disk */
	struct cmd_globals g = { 0 };
	struct err e = { 0 };
	struct print *print = NULL;
	int next = 0, code = ERR_USAGE;
	bool ok = cmd_parse_globals(argc, argv, &g, &next, &e);
	if (ok && g.version) {
		puts("rotor " ROTOR_VERSION);
		return flushed(ERR_OK, &e);
	}
	json_setup();
	print = print_new(g.json, g.verbosity, g.color);
	if (ok && next < argc)
		code = command(argc - next, argv + next, &g, &print, &e);
	else if (ok && g.help)
		code = help(0, NULL, &e);
	else if (ok) {
		err_set(&e, ERR_USAGE, "no command given");
		err_hint(&e, "rotor --help");
	}
	code = flushed(code, &e);
	if (e.message[0])
		print_error(print, &e);
	print_free(print);
	return code;
}
