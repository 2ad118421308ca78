#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/provider.h"
#include "core/json.h"
#include "core/kind.h"
#include "core/mem.h"
#include "core/table.h"

static const char *type_name(enum schema_type t)
{
	static const char *const names[] = {
		[SCHEMA_STRING] = "string",     [SCHEMA_INT] = "number",       [SCHEMA_BOOL] = "true or false",
		[SCHEMA_DURATION] = "duration", [SCHEMA_PERCENT] = "percent",  [SCHEMA_ENUM] = "word",
		[SCHEMA_PATH] = "path",         [SCHEMA_MODE] = "mode",        [SCHEMA_WINDOW] = "window",
		[SCHEMA_STRINGS] = "strings",   [SCHEMA_ARGV] = "command",     [SCHEMA_STRING_MAP] = "mapping",
		[SCHEMA_OBJECT] = "mapping",    [SCHEMA_OBJECTS] = "mappings", [SCHEMA_AUTH] = "credential",
		[SCHEMA_TIME] = "time",
	};
	return names[t];
}

static json_t *allowed_words(const char *allowed)
{
	if (!allowed)
		return json_null();
	json_t *list = json_array();
	for (;;) {
		size_t len = strcspn(allowed, "|");
		json_array_append_new(list, json_stringn(allowed, len));
		if (!allowed[len])
			return list;
		allowed += len + 1;
	}
}

static json_t *params_json(const struct schema_key *table)
{
	json_t *list = json_array();
	for (const struct schema_key *k = table; k && k->name; k++) {
		json_t *one = json_pack("{s:s,s:s,s:b,s:s?,s:o,s:s?}", "name", k->name, "type", type_name(k->type),
		                        "required", (k->flags & SCHEMA_REQUIRED) != 0, "default", k->fallback,
		                        "allowed", allowed_words(k->allowed), "help", k->help);
		json_object_set_new(one, "params", k->sub ? params_json(k->sub) : json_null());
		json_array_append_new(list, one);
	}
	return list;
}

json_t *cmd_provider_json(const struct kind *k, bool full)
{
	static const struct {
		unsigned bit;
		const char *word;
	} words[] = { { KIND_AUTHORITY, "authority" }, { KIND_STORE, "store" }, { KIND_CONSUMER, "consumer" } };
	json_t *roles = json_array();
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (k->roles & words[i].bit)
			json_array_append_new(roles, json_string(words[i].word));
	json_t *j = json_pack("{s:s,s:s,s:o,s:s?,s:s?,s:s?}", "name", k->name, "summary", k->summary, "roles", roles,
	                      "type", k->secret_type, "overlap", k->overlap, "evidence", k->evidence);
	if (full) {
		json_object_set_new(j, "params", params_json(k->params));
		json_put_str(j, "example", k->example);
	}
	return j;
}

void cmd_provider_roles(const json_t *kind, size_t size, char ret[])
{
	size_t i, len = 0;
	json_t *role;
	ret[0] = '\0';
	json_array_foreach(json_object_get(kind, "roles"), i, role)
		len += (size_t)snprintf(ret + len, size - len, "%s%s", i ? ", " : "", json_string_value(role));
}

static void line(const char *label, const char *text)
{
	if (text)
		printf("%-10s%s\n", label, text);
}

/* "word: env, json, raw" */
static char *type_text(const json_t *param)
{
	const json_t *allowed = json_object_get(param, "allowed");
	char *text = mem_dup(json_str(param, "type"));
	size_t i;
	json_t *word;
	json_array_foreach(allowed, i, word) {
		char *longer = mem_printf("%s%s%s", text, i ? ", " : ": ", json_string_value(word));
		free(text);
		text = longer;
	}
	return text;
}

static void add_params(struct table *t, const json_t *params, const char *prefix)
{
	size_t i;
	json_t *k;
	json_array_foreach(params, i, k) {
		AUTO_FREE char *name = mem_printf("%s%s", prefix, json_str(k, "name")), *type = type_text(k);
		const char *fallback = json_str(k, "default");
		AUTO_FREE char *need = json_bool(k, "required") ? mem_dup("required") :
		                       fallback                 ? mem_printf("default %s", fallback) :
		                                                  mem_dup("optional");
		table_cell(t, name, NULL);
		table_cell(t, type, NULL);
		table_cell(t, need, NULL);
		table_cell(t, json_str(k, "help"), NULL);
		AUTO_FREE char *below = mem_printf("%s.", name);
		add_params(t, json_object_get(k, "params"), below);
	}
}

static void show(struct print *p, const json_t *doc)
{
	const json_t *k = json_object_get(doc, "provider");
	struct table *t = table_new(4);
	char roles[64];
	cmd_provider_roles(k, sizeof roles, roles);
	printf("%s: %s\n", json_str(k, "name"), json_str(k, "summary"));
	line("roles", roles);
	line("type", json_str(k, "type"));
	line("overlap", json_str(k, "overlap"));
	line("evidence", json_str(k, "evidence"));
	add_params(t, json_object_get(k, "params"), "  ");
	puts(json_array_size(json_object_get(k, "params")) ? "\nparameters:" : "\nno parameters");
	table_print(t, stdout, print_in_color(p));
	table_free(t);
	if (json_str(k, "example"))
		printf("\nthe least that works:\n\n%s", json_str(k, "example"));
}

static int run(struct cmd_args *a, struct err *e)
{
	const struct kind *k = kind_find(a->argv[0]);
	if (!k) {
		err_set(e, ERR_USAGE, "there is no provider '%s'", a->argv[0]);
		err_hint(e, "rotor provider list");
		return ERR_USAGE;
	}
	AUTO_JSON *doc = json_pack("{s:i,s:o}", "format", 1, "provider", cmd_provider_json(k, true));
	print_document(a->print, doc, show);
	return ERR_OK;
}

const struct cmd cmd_provider_show = {
	.name = "provider show",
	.operands = "KIND",
	.summary = "show a kind: parameters, overlap, evidence, an example",
	.min = 1,
	.max = 1,
	.complete = CMD_KINDS,
	.needs = CMD_NO_HOME,
	.run = run,
};
