#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/state.h"

static const struct cmd_option options[] = {
	{ "secret", 0, "ID", "only leaves about this secret", CMD_SECRETS },
	{ "rotation", 0, "ID", "only leaves of this rotation", CMD_WORD },
	{ "since", 0, "SEQ", "only from this number on", CMD_WORD },
	{ "limit", 0, "N", "only the newest N of them", CMD_WORD },
	{ 0 },
};

struct log {
	const char *secret, *rotation; /* NULL any */
	uint64_t matched, skip;        /* the first `skip` matches are left out */
	bool count_only, json, first;
};

static bool same(const json_t *leaf, const char *key, const char *want)
{
	const char *got = json_str(leaf, key);
	return !want || (got && strcmp(got, want) == 0);
}

static void field(const char *before, const json_t *leaf, const char *key)
{
	const char *text = json_str(leaf, key);
	if (!text || !*text)
		return;
	fputs(before, stdout);
	print_safe(text);
}

static void show(const json_t *leaf)
{
	printf("%" PRId64, json_int(leaf, "seq", -1));
	field("  ", leaf, "ts");
	field("  ", leaf, "act");
	field(" ", leaf, "outcome");
	field("  ", leaf, "secret");
	if (json_int(leaf, "version", 0) > 0)
		printf("@%" PRId64, json_int(leaf, "version", 0));
	field(" ", leaf, "target");
	field(" ", leaf, "handle");
	field("  ", leaf, "receipt");
	field("  reason: ", leaf, "reason");
	field("  by ", leaf, "actor");
	field(" in ", leaf, "rotation");
	putchar('\n');
}

static bool each(void *arg, uint64_t seq, const char *bytes, size_t len, struct err *e)
{
	struct log *l = arg;
	AUTO_FREE char *what = mem_printf("leaf %" PRIu64, seq);
	AUTO_JSON *leaf = json_parse(bytes, len, JSON_DEPTH_MAX, what, e);
	if (!leaf)
		return false;
	if (!same(leaf, "secret", l->secret) || !same(leaf, "rotation", l->rotation))
		return true;
	if (l->matched++ < l->skip || l->count_only)
		return true;
	if (!l->json) {
		show(leaf);
		return true;
	}
	fputs(l->first ? "\n" : ",\n", stdout);
	fwrite(bytes, 1, len, stdout); /* the leaf as it was hashed */
	l->first = false;
	return true;
}

/* Where reading begins so that `limit` matches are left. Without a filter that needs no reading. */
static bool find_start(struct state *st, struct log *l, uint64_t limit, uint64_t size, uint64_t *since, struct err *e)
{
	if (!l->secret && !l->rotation) {
		if (size - *since > limit)
			*since = size - limit;
		return true;
	}
	l->count_only = true;
	if (!state_leaves(st, *since, size, each, l, e))
		return false;
	l->skip = l->matched > limit ? l->matched - limit : 0;
	l->matched = 0;
	l->count_only = false;
	return true;
}

static int run(struct cmd_args *a, struct err *e)
{
	struct log l = { .secret = cmd_option(a, "secret"),
		         .rotation = cmd_option(a, "rotation"),
		         .json = print_is_json(a->print),
		         .first = true };
	long long since = 0, limit = -1;
	if (!cmd_option_int(a, "since", 0, LLONG_MAX, 0, &since, e) ||
	    !cmd_option_int(a, "limit", 1, LLONG_MAX, -1, &limit, e))
		return (int)e->code;
	AUTO_FREE char *note = NULL;
	struct tlog_checkpoint head;
	if (!state_head(a->home->state, &note, &head, e))
		return (int)e->code;
	uint64_t from = (uint64_t)since < head.size ? (uint64_t)since : head.size;
	if (limit > 0 && !find_start(a->home->state, &l, (uint64_t)limit, head.size, &from, e))
		return (int)e->code;
	if (l.json)
		fputs("{\"format\": 1, \"leaves\": [", stdout);
	if (!state_leaves(a->home->state, from, head.size, each, &l, e))
		return (int)e->code;
	if (l.json)
		fputs("\n]}\n", stdout);
	return ERR_OK;
}

/* Prints as it reads and makes no document: a log may be larger than memory. */
const struct cmd cmd_audit_log = {
	.name = "audit log",
	.operands = "",
	.summary = "show what is on record, oldest first",
	.options = options,
	.needs = CMD_READ,
	.run = run,
};
