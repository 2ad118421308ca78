#include "cmd/cmd.h"
#include "core/engine.h"
#include "core/inventory.h"
#include "core/json.h"

static int run(struct cmd_args *a, struct err *e)
{
	struct engine_opts o = ENGINE_OPTS;
	o.event = print_event;
	o.event_arg = a->print;
	char **ids = NULL;
	size_t n = 0;
	if (a->argc && !inventory_select(a->home, a->argv, (size_t)a->argc, false, &ids, &n, e))
		return (int)e->code;
	engine_catch_signals();
	AUTO_JSON *doc = NULL;
	int code = engine_verify(a->home, (const char *const *)ids, n, &o, &doc, e);
	inventory_free(ids, n);
	if (doc)
		print_document(a->print, doc, print_findings);
	return code;
}

/* Not CMD_ROTATE: a restored or cloned home may look, and must, before it is adopted. */
const struct cmd cmd_verify = {
	.name = "verify",
	.operands = "[SELECTOR...]",
	.summary = "check the world against the record; changes nothing",
	.max = -1,
	.complete = CMD_SECRETS,
	.needs = CMD_WRITE,
	.run = run,
};
