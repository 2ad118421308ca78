#include <stdio.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/provider.h"
#include "core/json.h"
#include "core/kind.h"
#include "core/table.h"

static void show(struct print *p, const json_t *doc)
{
	struct table *t = table_new(3);
	size_t i;
	json_t *k;
	if (isatty(STDOUT_FILENO)) { /* scripts and completion read the first column */
		table_cell(t, "KIND", NULL);
		table_cell(t, "ROLES", NULL);
		table_cell(t, "SUMMARY", NULL);
	}
	json_array_foreach(json_object_get(doc, "providers"), i, k) {
		char words[64];
		cmd_provider_roles(k, sizeof words, words);
		table_cell(t, json_str(k, "name"), NULL);
		table_cell(t, words, NULL);
		table_cell(t, json_str(k, "summary"), NULL);
	}
	table_print(t, stdout, print_in_color(p));
	table_free(t);
}

static int run(struct cmd_args *a, struct err *e)
{
	(void)e;
	json_t *list = json_array();
	for (size_t i = 0; kind_at(i); i++)
		json_array_append_new(list, cmd_provider_json(kind_at(i), false));
	AUTO_JSON *doc = json_pack("{s:i,s:o}", "format", 1, "providers", list);
	print_document(a->print, doc, show);
	return ERR_OK;
}

const struct cmd cmd_provider_list = {
	.name = "provider list",
	.operands = "",
	.summary = "list the kinds of systems that this rotor knows",
	.needs = CMD_NO_HOME,
	.run = run,
};
