#include "cmd/cmd.h"

#include <stdio.h>
#include <unistd.h>

#include "cmd/input.h"
#include "core/engine.h"
#include "core/json.h"

extern const struct cmd cmd_inventory_import;

static bool read_value(const struct cmd_args *a, struct fields **ret, struct err *e)
{
	long long fd;
	if (!cmd_option_int(a, "fd", 0, 65535, STDIN_FILENO, &fd, e) || !cmd_input_fd((int)fd, e))
		return false;
	return cmd_input_fields((int)fd, cmd_option(a, "field"), a->argv[0], ret, e);
}

static void show(struct print *print, const json_t *doc)
{
	if (print_is_quiet(print))
		return;
	printf("version %lld of ", (long long)json_int(doc, "version", 0));
	print_safe(json_str(doc, "secret"));
	fputs(json_str(doc, "handle") ? " is in use as " : " is in use\n", stdout);
	if (json_str(doc, "handle")) {
		print_safe(json_str(doc, "handle"));
		putchar('\n');
	}
}

static int run(struct cmd_args *a, struct err *e)
{
	AUTO_JSON *doc = NULL;
	AUTO_FIELDS *value = NULL;
	bool from_consumer = cmd_option(a, "from-consumer") != NULL;
	if (from_consumer && (cmd_option(a, "field") || cmd_option(a, "fd"))) {
		err_set(e, ERR_USAGE,
		        "--from-consumer reads the value from the consumer: --field and --fd do not go with it");
		return ERR_USAGE;
	}
	if (!from_consumer && !read_value(a, &value, e))
		return (int)e->code;
	struct engine_opts opts = ENGINE_OPTS;
	opts.reason = cmd_option(a, "reason");
	opts.event = print_event;
	opts.event_arg = a->print;
	engine_catch_signals();
	int code = engine_import(a->home, a->argv[0], value, from_consumer, &opts, &doc, e);
	if (doc)
		print_document(a->print, doc, show);
	return code;
}

static const struct cmd_option options[] = {
	{ "field", 0, "NAME", "the input is the value of this field", CMD_WORD },
	{ "fd", 0, "N", "read from this descriptor instead of standard input", CMD_WORD },
	{ "from-consumer", 0, NULL, "read the value from the first consumer's file", CMD_WORD },
	{ "reason", 0, "TEXT", "why, for the record", CMD_WORD },
	{ 0 },
};

const struct cmd cmd_inventory_import = {
	.name = "inventory import",
	.operands = "ID",
	.summary = "take an existing value as the current version",
	.options = options,
	.min = 1,
	.max = 1,
	.complete = CMD_SECRETS,
	.needs = CMD_ROTATE,
	.run = run,
};
