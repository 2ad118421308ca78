#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "core/engine.h"
#include "core/json.h"

static const struct cmd_option options[] = {
	{ "check", 0, NULL, "exit 1 if any is held", CMD_WORD },
	{ 0 },
};

static void show_all(struct print *p, const json_t *doc)
{
	if (json_array_size(json_object_get(doc, "rotations")))
		print_rotations(p, doc);
	else if (!print_is_quiet(p))
		puts("no unfinished rotation");
}

static bool any_held(const json_t *doc)
{
	size_t i;
	json_t *r;
	json_array_foreach(json_object_get(doc, "rotations"), i, r) {
		const char *state = json_str(r, "state");
		if (state && strcmp(state, "held") == 0)
			return true;
	}
	return false;
}

static int run(struct cmd_args *a, struct err *e)
{
	AUTO_JSON *doc = NULL;
	int code = engine_status(a->home, a->argc ? a->argv[0] : NULL, &doc, e);
	if (!doc)
		return code;
	print_document(a->print, doc, a->argc ? print_rotation : show_all);
	if (cmd_option(a, "check") && any_held(doc))
		code = err_worst(code, ERR_FAILED);
	return code;
}

const struct cmd cmd_status = {
	.name = "status",
	.operands = "[ROTATION]",
	.summary = "show unfinished rotations, or one in full",
	.options = options,
	.max = 1,
	.complete = CMD_ROTATIONS,
	.needs = CMD_READ,
	.run = run,
};
