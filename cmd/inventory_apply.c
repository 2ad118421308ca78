#include "cmd/cmd.h"

#include "cmd/faults.h"
#include "core/inventory.h"
#include "core/json.h"

extern const struct cmd cmd_inventory_apply;

static int run(struct cmd_args *a, struct err *e)
{
	AUTO_JSON *doc = NULL;
	struct load load = { 0 };
	int code = inventory_apply(a->home, a->argv, (size_t)a->argc, cmd_option(a, "dry-run") != NULL,
	                           cmd_option(a, "prune") != NULL, &load, &doc, e);
	if (doc)
		print_document(a->print, doc, print_changes);
	else
		cmd_faults_tell(a->print, &load, e);
	load_clear(&load);
	return code;
}

static const struct cmd_option options[] = {
	{ "dry-run", 'n', NULL, "show what would change, change nothing", CMD_WORD },
	{ "prune", 0, NULL, "drop what these same files no longer declare", CMD_WORD },
	{ 0 },
};

const struct cmd cmd_inventory_apply = {
	.name = "inventory apply",
	.operands = "FILE...",
	.summary = "load declarations into the inventory",
	.options = options,
	.min = 1,
	.max = -1,
	.complete = CMD_FILES,
	.needs = CMD_WRITE,
	.run = run,
};
