#include "cmd/faults.h"

#include <stdio.h>

#include "core/json.h"
#include "core/utf8.h"

#define LINE 4096

static void tell_json(const struct load *load, const struct err *e)
{
	AUTO_JSON *doc = json_object();
	json_t *error = json_object(), *faults = json_array();
	json_put_int(doc, "format", 1);
	json_object_set_new(doc, "error", error);
	json_put_int(error, "code", (int64_t)e->code);
	json_put_str(error, "message", e->message);
	json_put_str(error, "hint", e->hint[0] ? e->hint : NULL);
	json_object_set_new(error, "faults", faults);
	for (size_t i = 0; i < load->n_faults; i++) {
		char line[LINE];
		utf8_printable(load->faults[i].text, sizeof line, line);
		json_array_append_new(faults, json_string(line));
	}
	json_put_int(error, "more", (int64_t)load->n_more);
	AUTO_TEXT *text = json_text(doc);
	fprintf(stderr, "%s\n", text);
}

void cmd_faults_tell(const struct print *print, const struct load *load, struct err *e)
{
	if (load->n_faults == 0)
		return;
	if (print_is_json(print)) {
		tell_json(load, e);
		*e = (struct err){ 0 };
		return;
	}
	for (size_t i = 0; i < load->n_faults; i++) {
		char line[LINE];
		utf8_printable(load->faults[i].text, sizeof line, line);
		fprintf(stderr, "%s\n", line);
	}
	if (load->n_more)
		fprintf(stderr, "and %zu more\n", load->n_more);
}
