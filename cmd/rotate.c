#include <limits.h>
#include <string.h>

#include "cmd/cmd.h"
#include "core/engine.h"
#include "core/inventory.h"
#include "core/json.h"

static const struct cmd_option options[] = {
	{ "dry-run", 'n', NULL, "print plan and digest, change nothing; exit 3 if it must be accepted first",
	  CMD_WORD },
	{ "due", 0, NULL, "all that are due, and all that wait and whose time has come", CMD_WORD },
	{ "limit", 0, "N", "begin at most N that are due", CMD_WORD },
	{ "strict", 0, NULL, "with --due: count what was held before, too", CMD_WORD },
	{ "continue", 0, NULL, "go on with ROTATION, without one with all unfinished", CMD_WORD },
	{ "abort", 0, NULL, "roll ROTATION back", CMD_WORD },
	{ "confirm", 0, "CONSUMER", "a person's receipt: CONSUMER uses the new version", CMD_CONSUMERS },
	{ "expect", 0, "DIGEST", "refuse any plan but the one with this digest", CMD_WORD },
	{ "wait", 0, "[confirmed|done]", "stay until all consumers have confirmed, or until it is done", CMD_WORD },
	{ "jobs", 0, "N", "work on up to N secrets at once; default 1", CMD_WORD },
	{ "reason", 0, "TEXT", "why, for the record", CMD_WORD },
	{ "now", 0, NULL, "pass window and freeze; needs --reason", CMD_WORD },
	{ "fresh", 0, NULL, "begin anew: refuse where one is unfinished", CMD_WORD },
	{ "accept-drift", 0, NULL, "go on although a slot is not as it was left", CMD_WORD },
	{ 0 },
};

enum mode { START = 1, DUE = 2, CONTINUE = 4, ABORT = 8, CONFIRM = 16 };

static const struct {
	const char *option;
	unsigned modes;
} goes_with[] = {
	{ "dry-run", START },
	{ "limit", DUE },
	{ "strict", DUE },
	{ "expect", START },
	{ "jobs", START | DUE | CONTINUE },
	{ "now", START | CONTINUE },
	{ "fresh", START },
	{ "accept-drift", START | CONTINUE },
};

#define JOBS_MAX 256

static bool usage(struct err *e, const char *text)
{
	err_set(e, ERR_USAGE, "%s", text);
	return err_hint(e, "rotor rotate --help");
}

static bool find_mode(const struct cmd_args *a, enum mode *ret, struct err *e)
{
	unsigned modes = (cmd_option(a, "due") ? DUE : 0u) | (cmd_option(a, "continue") ? CONTINUE : 0u) |
	                 (cmd_option(a, "abort") ? ABORT : 0u) | (cmd_option(a, "confirm") ? CONFIRM : 0u);
	if (modes & (modes - 1))
		return usage(e, "give one of --due, --continue, --abort and --confirm");
	*ret = modes ? (enum mode)modes : START;
	if (*ret == START && !a->argc)
		return usage(e, "'rotate' needs SELECTOR..., --due, --continue, --abort or --confirm");
	if (*ret == DUE && a->argc)
		return usage(e, "'rotate --due' takes no SELECTOR");
	if (*ret != START && a->argc > 1)
		return usage(e, "give at most one ROTATION");
	for (size_t i = 0; i < sizeof goes_with / sizeof *goes_with; i++)
		if (cmd_option(a, goes_with[i].option) && !(goes_with[i].modes & *ret)) {
			err_set(e, ERR_USAGE, "option '--%s' does not go with this form of 'rotate'",
			        goes_with[i].option);
			return err_hint(e, "rotor rotate --help");
		}
	return true;
}

static bool find_wait(const struct cmd_args *a, enum engine_wait *ret, struct err *e)
{
	const char *wait = cmd_option(a, "wait");
	if (!wait)
		*ret = ENGINE_WAIT_NONE;
	else if (!*wait || strcmp(wait, "done") == 0)
		*ret = ENGINE_WAIT_DONE;
	else if (strcmp(wait, "confirmed") == 0)
		*ret = ENGINE_WAIT_CONFIRMED;
	else
		return usage(e, "option '--wait' is confirmed or done");
	return true;
}

static bool read_options(struct cmd_args *a, struct engine_opts *o, struct err *e)
{
	long long jobs = 1, limit = -1;
	if (!find_wait(a, &o->wait, e) || !cmd_option_int(a, "jobs", 1, JOBS_MAX, 1, &jobs, e) ||
	    !cmd_option_int(a, "limit", 1, INT_MAX, -1, &limit, e))
		return false;
	o->jobs = (int)jobs;
	o->limit = limit;
	o->reason = cmd_option(a, "reason");
	o->expect = cmd_option(a, "expect");
	o->now = cmd_option(a, "now");
	o->fresh = cmd_option(a, "fresh");
	o->accept_drift = cmd_option(a, "accept-drift");
	o->strict = cmd_option(a, "strict");
	o->event = print_event;
	o->event_arg = a->print;
	if (o->now && !o->reason)
		return usage(e, "option '--now' needs --reason TEXT");
	return true;
}

static int start(struct cmd_args *a, const struct engine_opts *o, json_t **doc, struct err *e)
{
	char **ids = NULL;
	size_t n = 0;
	if (!inventory_select(a->home, a->argv, (size_t)a->argc, false, &ids, &n, e))
		return (int)e->code;
	const char *const *which = (const char *const *)ids;
	int code;
	if (o->expect && n != 1) {
		usage(e, "option '--expect' needs a SELECTOR of exactly one secret");
		code = ERR_USAGE;
	} else if (cmd_option(a, "dry-run")) {
		code = engine_plan(a->home, which, n, o, doc, e);
	} else {
		code = engine_rotate(a->home, which, n, o, doc, e);
	}
	inventory_free(ids, n);
	return code;
}

static int run(struct cmd_args *a, struct err *e)
{
	struct engine_opts o = ENGINE_OPTS;
	enum mode mode = START;
	if (!find_mode(a, &mode, e) || !read_options(a, &o, e))
		return (int)e->code;
	engine_catch_signals();
	const char *which = a->argc ? a->argv[0] : NULL;
	AUTO_JSON *doc = NULL;
	int code = ERR_OK;
	switch (mode) {
	case START:
		code = start(a, &o, &doc, e);
		break;
	case DUE:
		code = engine_due(a->home, &o, &doc, e);
		break;
	case CONTINUE:
		code = engine_continue(a->home, which, &o, &doc, e);
		break;
	case ABORT:
		code = engine_abort(a->home, which, &o, &doc, e);
		break;
	case CONFIRM:
		code = engine_confirm(a->home, which, cmd_option(a, "confirm"), &o, &doc, e);
		break;
	}
	if (doc)
		print_document(a->print, doc, cmd_option(a, "dry-run") ? print_plan : print_rotations);
	return code;
}

const struct cmd cmd_rotate = {
	.name = "rotate",
	.operands = "(SELECTOR... | --due | (--continue | --abort | --confirm CONSUMER) [ROTATION])",
	.summary = "rotate secrets, or go on with what waits",
	.options = options,
	.max = -1,
	.complete = CMD_SECRETS,
	.needs = CMD_ROTATE,
	.run = run,
};
