#include <stdio.h>

#include "cmd/cmd.h"
#include "core/json.h"

static const struct cmd_option options[] = {
	{ "reason", 0, "TEXT", "why, for the record; required", CMD_WORD },
	{ 0 },
};

static void show(struct print *p, const json_t *doc)
{
	if (print_is_quiet(p))
		return;
	printf("adopted ");
	print_safe(json_str(doc, "home"));
	puts("\nnext: rotor verify");
}

static int run(struct cmd_args *a, struct err *e)
{
	const char *reason = cmd_option(a, "reason");
	if (!reason) {
		err_set(e, ERR_USAGE, "'home adopt' needs --reason TEXT");
		err_hint(e, "rotor home adopt --help");
		return ERR_USAGE;
	}
	if (!home_adopt(a->home, reason, e))
		return (int)e->code;
	AUTO_JSON *doc = json_pack("{s:i,s:s}", "format", 1, "home", a->home->dir);
	print_document(a->print, doc, show);
	return ERR_OK;
}

const struct cmd cmd_home_adopt = {
	.name = "home adopt",
	.operands = "",
	.summary = "accept a restored, copied or moved home, on record",
	.options = options,
	.needs = CMD_WRITE,
	.run = run,
};
