#include <inttypes.h>
#include <stdio.h>

#include "cmd/cmd.h"
#include "core/audit.h"
#include "core/json.h"

static void show(struct print *p, const json_t *doc)
{
	if (print_is_quiet(p))
		return;
	int64_t size = json_int(doc, "size", 0);
	printf("exported %" PRId64 " %s to ", size, size == 1 ? "leaf" : "leaves");
	print_safe(json_str(doc, "dir"));
	putchar('\n');
}

static int run(struct cmd_args *a, struct err *e)
{
	uint64_t size = 0;
	if (!audit_export(a->home, a->argv[0], &size, e))
		return (int)e->code;
	AUTO_JSON *doc = json_pack("{s:i,s:I}", "format", 1, "size", (json_int_t)size);
	json_put_str(doc, "dir", a->argv[0]);
	print_document(a->print, doc, show);
	return ERR_OK;
}

const struct cmd cmd_audit_export = {
	.name = "audit export",
	.operands = "DIR",
	.summary = "write the log as tiles that others can check",
	.min = 1,
	.max = 1,
	.complete = CMD_DIRS,
	.needs = CMD_READ,
	.run = run,
};
