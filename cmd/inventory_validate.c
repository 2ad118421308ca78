#include "cmd/cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/faults.h"
#include "core/inventory.h"
#include "core/json.h"
#include "core/mem.h"

extern const struct cmd cmd_inventory_validate;

/* A home is welcome, not needed: only one that was named must be there. */
static bool open_home(const char *named, struct home *ret, bool *ret_open, struct err *e)
{
	AUTO_FREE char *dir = home_find(named, e);
	if (dir && !named) {
		AUTO_FREE char *state = mem_printf("%s/state.db", dir);
		if (access(state, F_OK) != 0) {
			free(dir);
			dir = NULL;
		}
	}
	if (!dir && !named) {
		*e = (struct err){ 0 };
		return true;
	}
	*ret_open = dir && home_open(dir, HOME_READ, ret, e);
	return *ret_open;
}

static void show(struct print *print, const json_t *doc)
{
	(void)print;
	long long secrets = json_int(doc, "secrets", 0), files = json_int(doc, "files", 0);
	printf("%lld secret%s in %lld file%s: no faults\n", secrets, secrets == 1 ? "" : "s", files,
	       files == 1 ? "" : "s");
}

static int run(struct cmd_args *a, struct err *e)
{
	AUTO_JSON *doc = NULL;
	struct load load = { 0 };
	struct home home = { 0 };
	bool open = false;
	if (!open_home(a->dir, &home, &open, e))
		return (int)e->code;
	int code = inventory_validate(open ? &home : NULL, a->argv, (size_t)a->argc, &load, &doc, e);
	if (doc)
		print_document(a->print, doc, show);
	else
		cmd_faults_tell(a->print, &load, e);
	load_clear(&load);
	if (open)
		home_close(&home);
	return code;
}

const struct cmd cmd_inventory_validate = {
	.name = "inventory validate",
	.operands = "FILE...",
	.summary = "check declarations without a server and without a change",
	.options = (const struct cmd_option[]){ { 0 } },
	.min = 1,
	.max = -1,
	.complete = CMD_FILES,
	.needs = CMD_NO_HOME,
	.run = run,
};
