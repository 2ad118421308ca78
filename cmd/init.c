#include <stdio.h>
#include <stdlib.h>

#include "cmd/cmd.h"
#include "core/arena.h"
#include "core/json.h"
#include "core/mem.h"

static const struct cmd_option options[] = {
	{ "origin", 0, "NAME", "name of the log and of its key; default rotor/HOST/RANDOM", CMD_WORD },
	{ 0 },
};

static void show(struct print *p, const json_t *doc)
{
	if (print_is_quiet(p))
		return;
	printf("made a home at ");
	print_safe(json_str(doc, "home"));
	puts("\nnext: rotor inventory apply FILE");
}

static int run(struct cmd_args *a, struct err *e)
{
	const char *dir = a->argc ? a->argv[0] : a->dir ? a->dir : ".rotor";
	if (!arena_init(e) || !home_init(dir, cmd_option(a, "origin"), e))
		return (int)e->code;
	AUTO_FREE char *full = realpath(dir, NULL);
	AUTO_JSON *doc = json_pack("{s:i,s:s}", "format", 1, "home", full ? full : dir);
	print_document(a->print, doc, show);
	return ERR_OK;
}

const struct cmd cmd_init = {
	.name = "init",
	.operands = "[DIR]",
	.summary = "make a home: state, keys and log",
	.options = options,
	.max = 1,
	.complete = CMD_DIRS,
	.needs = CMD_NO_HOME,
	.run = run,
};
