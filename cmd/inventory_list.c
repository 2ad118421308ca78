#include "cmd/cmd.h"

#include "core/inventory.h"
#include "core/json.h"

extern const struct cmd cmd_inventory_list;

static int run(struct cmd_args *a, struct err *e)
{
	AUTO_JSON *doc = NULL;
	long long expiring;
	if (!cmd_option_duration(a, "expiring", -1, &expiring, e))
		return (int)e->code;
	struct inventory_list_opts opts = { .due = cmd_option(a, "due") != NULL, .expiring_ms = expiring };
	if (!print_is_json(a->print))
		return inventory_print(a->home, a->argv, (size_t)a->argc, &opts, e);
	int code = inventory_list(a->home, a->argv, (size_t)a->argc, &opts, &doc, e);
	if (doc)
		print_document(a->print, doc, NULL);
	return code;
}

static const struct cmd_option options[] = {
	{ "due", 0, NULL, "only those whose rotation is due", CMD_WORD },
	{ "expiring", 0, "DURATION", "only those that expire within this time, e.g. 7d", CMD_WORD },
	{ 0 },
};

const struct cmd cmd_inventory_list = {
	.name = "inventory list",
	.operands = "[SELECTOR...]",
	.summary = "list secrets",
	.options = options,
	.min = 0,
	.max = -1,
	.complete = CMD_SECRETS,
	.needs = CMD_READ,
	.run = run,
};
