#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	printf("\nnext: ");
	print_safe(json_str(doc, "next"));
	putchar('\n');
}

static int run(struct cmd_args *a, struct err *e)
{
	const char *dir = a->argc ? a->argv[0] : a->dir ? a->dir : ".rotor";
	if (!arena_init(e) || !home_init(dir, cmd_option(a, "origin"), e))
		return (int)e->code;
	AUTO_FREE char *full = realpath(dir, NULL);
	bool found = strcmp(dir, ".rotor") == 0; /* by a later start in this folder */
	AUTO_FREE char *next =
		found ? mem_dup("rotor inventory apply FILE") : mem_printf("rotor -C %s inventory apply FILE", dir);
	AUTO_JSON *doc = json_pack("{s:i}", "format", 1);
	json_put_str(doc, "home", full ? full : dir);
	json_put_str(doc, "next", next);
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
