#include "cmd/cmd.h"
#include "core/engine.h"
#include "core/inventory.h"
#include "core/json.h"

static const struct cmd_option options[] = {
	{ "consumer", 0, "NAME", "only this consumer or store", CMD_CONSUMERS },
	{ 0 },
};

static int run(struct cmd_args *a, struct err *e)
{
	struct engine_opts o = ENGINE_OPTS;
	o.event = print_event;
	o.event_arg = a->print;
	char **ids = NULL;
	size_t n = 0;
	if (!inventory_select(a->home, a->argv, (size_t)a->argc, false, &ids, &n, e))
		return (int)e->code;
	engine_catch_signals();
	AUTO_JSON *doc = NULL;
	int code = engine_push(a->home, (const char *const *)ids, n, cmd_option(a, "consumer"), &o, &doc, e);
	inventory_free(ids, n);
	if (doc)
		print_document(a->print, doc, print_rotations);
	return code;
}

const struct cmd cmd_push = {
	.name = "push",
	.operands = "SELECTOR...",
	.summary = "hand the current version again to who lacks it",
	.options = options,
	.min = 1,
	.max = -1,
	.complete = CMD_SECRETS,
	.needs = CMD_ROTATE,
	.run = run,
};
