#include "cmd/cmd.h"

#include "core/inventory.h"
#include "core/json.h"

extern const struct cmd cmd_inventory_show;

static int run(struct cmd_args *a, struct err *e)
{
	AUTO_JSON *doc = NULL;
	int code = inventory_show(a->home, a->argv[0], cmd_option(a, "effective") != NULL,
	                          cmd_option(a, "reveal") != NULL, &doc, e);
	if (doc)
		print_document(a->print, doc, print_secrets);
	return code;
}

static const struct cmd_option options[] = {
	{ "effective", 0, NULL, "with the declaration, all defaults filled in", CMD_WORD },
	{ "reveal", 0, NULL, "with the values that are kept; this goes on record", CMD_WORD },
	{ 0 },
};

const struct cmd cmd_inventory_show = {
	.name = "inventory show",
	.operands = "ID",
	.summary = "show one secret and its versions",
	.options = options,
	.min = 1,
	.max = 1,
	.complete = CMD_SECRETS,
	.needs = CMD_WRITE,
	.run = run,
};
