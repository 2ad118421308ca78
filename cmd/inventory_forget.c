#include "cmd/cmd.h"

#include "core/inventory.h"

extern const struct cmd cmd_inventory_forget;

static int run(struct cmd_args *a, struct err *e)
{
	const char *reason = cmd_option(a, "reason");
	if (!reason || !*reason) {
		err_set(e, ERR_USAGE, "forgetting '%s' needs a reason for the record", a->argv[0]);
		err_hint(e, "rotor inventory forget %s --reason TEXT", a->argv[0]);
		return ERR_USAGE;
	}
	return inventory_forget(a->home, a->argv[0], reason, e);
}

static const struct cmd_option options[] = {
	{ "reason", 0, "TEXT", "why, for the record; must be given", CMD_WORD },
	{ 0 },
};

const struct cmd cmd_inventory_forget = {
	.name = "inventory forget",
	.operands = "ID",
	.summary = "drop a secret from the inventory, not from its systems",
	.options = options,
	.min = 1,
	.max = 1,
	.complete = CMD_SECRETS,
	.needs = CMD_WRITE,
	.run = run,
};
