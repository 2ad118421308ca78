#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "core/engine.h"
#include "core/json.h"
#include "core/mem.h"

static const struct cmd_option options[] = {
	{ "force", 0, NULL, "in spite of sessions and missing receipts; needs --reason", CMD_WORD },
	{ "reason", 0, "TEXT", "why, for the record", CMD_WORD },
	{ 0 },
};

/* ID[@VERSION]; an id holds no '@'. */
static bool split(const char *text, char **ret_id, uint32_t *ret_version, struct err *e)
{
	const char *at = strchr(text, '@');
	if (!at) {
		*ret_id = mem_dup(text);
		*ret_version = 0;
		return true;
	}
	size_t digits = strspn(at + 1, "0123456789");
	unsigned long v = digits && digits <= 10 && !at[1 + digits] && at[1] != '0' ? strtoul(at + 1, NULL, 10) : 0;
	if (v == 0 || v > UINT32_MAX || at == text)
		return err_set(e, ERR_USAGE, "'%s' is not ID@VERSION, such as prod/orders-db@7", text);
	*ret_id = mem_dupn(text, (size_t)(at - text));
	*ret_version = (uint32_t)v;
	return true;
}

static int run(struct cmd_args *a, struct err *e)
{
	struct engine_opts o = ENGINE_OPTS;
	o.force = cmd_option(a, "force");
	o.reason = cmd_option(a, "reason");
	o.event = print_event;
	o.event_arg = a->print;
	if (o.force && !o.reason) {
		err_set(e, ERR_USAGE, "option '--force' needs --reason TEXT");
		err_hint(e, "rotor revoke --help");
		return ERR_USAGE;
	}
	AUTO_FREE char *id = NULL;
	uint32_t version = 0;
	if (!split(a->argv[0], &id, &version, e))
		return (int)e->code;
	engine_catch_signals();
	AUTO_JSON *doc = NULL;
	int code = engine_revoke(a->home, id, version, &o, &doc, e);
	if (doc)
		print_document(a->print, doc, print_rotations);
	return code;
}

const struct cmd cmd_revoke = {
	.name = "revoke",
	.operands = "ID[@VERSION]",
	.summary = "end a version that is not the current one",
	.options = options,
	.min = 1,
	.max = 1,
	.complete = CMD_SECRETS,
	.needs = CMD_ROTATE,
	.run = run,
};
