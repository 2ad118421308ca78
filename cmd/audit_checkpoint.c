#include <stdio.h>

#include "cmd/cmd.h"
#include "core/audit.h"
#include "core/json.h"
#include "core/mem.h"

static void show(struct print *p, const json_t *doc)
{
	(void)p;
	fputs(json_str(doc, "checkpoint"), stdout); /* a note: to the byte what was signed */
}

static int run(struct cmd_args *a, struct err *e)
{
	AUTO_FREE char *note = NULL;
	if (!audit_checkpoint(a->home, &note, e))
		return (int)e->code;
	AUTO_JSON *doc = json_pack("{s:i,s:s}", "format", 1, "checkpoint", note);
	if (!doc) {
		err_set(e, ERR_FAILED, "the newest signed head is not UTF-8 text");
		return ERR_FAILED;
	}
	print_document(a->print, doc, show);
	return ERR_OK;
}

const struct cmd cmd_audit_checkpoint = {
	.name = "audit checkpoint",
	.operands = "",
	.summary = "print the log's newest signed head",
	.needs = CMD_READ,
	.run = run,
};
