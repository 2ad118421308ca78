#include "print.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "clock.h"
#include "fields.h"
#include "json.h"
#include "mem.h"
#include "print_inside.h"
#include "table.h"

static const json_t *list(const json_t *doc, const char *key)
{
	return json_object_get(doc, key);
}

static void line(const char *label, const char *text)
{
	if (!text)
		return;
	printf("%s", label);
	print_safe(text);
	putchar('\n');
}

/* "8 (was 7)", "8", "-" */
static char *version_text(const json_t *o)
{
	int64_t version = json_int(o, "version", 0), previous = json_int(o, "previous", 0);
	if (version <= 0)
		return mem_dup("-");
	return previous > 0 ? mem_printf("%" PRId64 " (was %" PRId64 ")", version, previous) :
	                      mem_printf("%" PRId64, version);
}

/* "2026-11-21T10:20:00Z, in 9m58s" */
static char *until_text(const char *time)
{
	int64_t ms, now = clock_wall();
	char span[CLOCK_TEXT];
	if (!clock_parse(time, &ms))
		return mem_dup(time);
	if (ms <= now)
		return mem_printf("%s, now", time);
	return mem_printf("%s, in %s", time, clock_span(ms - now, span));
}

static const char *state_words(const char *state)
{
	return state && strcmp(state, "rolled_back") == 0 ? "rolled back" : state;
}

/* ---- rotations */

/* The step at work: a running one, else a failed one; NULL none. */
static const json_t *step_at_work(const json_t *rotation)
{
	const json_t *failed = NULL;
	size_t i;
	json_t *s;
	json_array_foreach(list(rotation, "steps"), i, s) {
		const char *state = json_str(s, "state");
		if (state && strcmp(state, "running") == 0)
			return s;
		if (state && strcmp(state, "failed") == 0)
			failed = s;
	}
	return failed;
}

static char *doing_text(const json_t *r)
{
	const char *state = json_str(r, "state"), *waits = json_str(r, "waits_for"), *until = json_str(r, "until");
	const char *held = state && strcmp(state, "held") == 0 ? json_str(r, "held_because") : NULL;
	const json_t *step = step_at_work(r);
	const char *name = json_str(step, "step"), *target = json_str(step, "target");
	AUTO_FREE char *at = name ? mem_printf("%s%s%s", name, target ? " " : "", target ? target : "") : mem_dup("");
	const char *sep = *at ? ": " : "";
	if (held)
		return mem_printf("%s%s%s", at, sep, held);
	if (!waits)
		return STEAL(at);
	AUTO_FREE char *when = until ? until_text(until) : NULL;
	return mem_printf("%s%swaits for %s%s%s", at, sep, waits, when ? " until " : "", when ? when : "");
}

void print_rotations(struct print *p, const json_t *doc)
{
	struct table *t = table_new(4);
	size_t i;
	json_t *r;
	json_array_foreach(list(doc, "rotations"), i, r) {
		AUTO_FREE char *version = version_text(r), *doing = doing_text(r);
		const char *state = json_str(r, "state"), *next = json_str(r, "next");
		AUTO_FREE char *below = next ? mem_printf("next: %s", next) : NULL;
		table_cell(t, json_str(r, "secret"), NULL);
		table_cell(t, version, NULL);
		table_cell(t, state_words(state), print_state_color(state));
		table_cell(t, doing, NULL);
		table_below(t, below);
	}
	table_print(t, stdout, p->color_out);
	table_free(t);
}

/* The times are whole seconds. */
static char *took_text(const json_t *step)
{
	const char *from = json_str(step, "started"), *to = json_str(step, "ended");
	int64_t a, b = clock_wall();
	char span[CLOCK_TEXT];
	if (!from || !clock_parse(from, &a) || (to && !clock_parse(to, &b)))
		return mem_dup("-");
	return mem_dup(b - a < 1000 ? "<1s" : clock_span(b - a, span));
}

static void print_steps(struct print *p, const json_t *steps)
{
	struct table *t = table_new(5);
	size_t i;
	json_t *s;
	json_array_foreach(steps, i, s) {
		const char *state = json_str(s, "state"), *error = json_str(s, "error");
		int64_t attempts = json_int(s, "attempts", 0);
		AUTO_FREE char *took = took_text(s);
		AUTO_FREE char *words = attempts > 1 ?
		                                mem_printf("%s, attempt %" PRId64, state ? state : "-", attempts) :
		                                mem_dup(state ? state : "-");
		table_cell(t, json_str(s, "step"), NULL);
		table_cell(t, json_str(s, "target"), NULL);
		table_cell(t, words, print_state_color(state));
		table_cell(t, took, NULL);
		table_cell(t, error ? error : json_str(s, "receipt"), error ? PRINT_RED : NULL);
	}
	table_print(t, stdout, p->color_out);
	table_free(t);
}

void print_rotation(struct print *p, const json_t *doc)
{
	size_t i;
	json_t *r;
	json_array_foreach(list(doc, "rotations"), i, r) {
		AUTO_FREE char *version = version_text(r), *doing = doing_text(r);
		if (i)
			putchar('\n');
		line("rotation  ", json_str(r, "id"));
		line("secret    ", json_str(r, "secret"));
		line("version   ", version);
		line("state     ", state_words(json_str(r, "state")));
		line("at        ", *doing ? doing : NULL);
		line("reason    ", json_str(r, "reason"));
		line("actor     ", json_str(r, "actor"));
		line("evidence  ", json_str(r, "evidence"));
		line("undo      until ", json_str(r, "undo_until"));
		line("next      ", json_str(r, "next"));
		print_steps(p, list(r, "steps"));
	}
}

/* ---- plans */

/* SQL and the like come as several lines, each to be copied as it is. */
static void indented(const char *text)
{
	while (text && *text) {
		size_t len = strcspn(text, "\n");
		AUTO_FREE char *one = mem_dupn(text, len);
		line("      ", one);
		text += len + (text[len] == '\n');
	}
}

static void print_checks(struct print *p, const char *word, const char *color, const json_t *checks)
{
	size_t i;
	json_t *c;
	json_array_foreach(checks, i, c) {
		printf("  %s%s%s  ", p->color_out ? color : "", word, p->color_out ? "\033[0m" : "");
		print_safe(json_str(c, "check"));
		line(": ", json_str(c, "message") ? json_str(c, "message") : "-");
		indented(json_str(c, "repair"));
	}
}

static void print_plan_steps(struct print *p, const json_t *steps)
{
	struct table *t = table_new(4);
	size_t i;
	json_t *s;
	json_array_foreach(steps, i, s) {
		int64_t version = json_int(s, "version", 0);
		AUTO_FREE char *number = mem_printf("  %zu", i + 1);
		const char *does = json_str(s, "does") ? json_str(s, "does") : "";
		AUTO_FREE char *what =
			version > 0 ? mem_printf("%s (version %" PRId64 ")", does, version) : mem_dup(does);
		table_cell(t, number, NULL);
		table_cell(t, json_str(s, "step"), NULL);
		table_cell(t, json_str(s, "target"), NULL);
		table_cell(t, what, NULL);
	}
	table_print(t, stdout, p->color_out);
	table_free(t);
}

void print_plan(struct print *p, const json_t *doc)
{
	size_t i;
	json_t *plan;
	json_array_foreach(list(doc, "plans"), i, plan) {
		AUTO_FREE char *version = version_text(plan);
		if (i)
			putchar('\n');
		line("plan for  ", json_str(plan, "secret"));
		line("goes on   ", json_str(plan, "rotation"));
		line("digest    ", json_str(plan, "digest"));
		line("version   ", version);
		line("slot      ", json_str(plan, "slot"));
		line("overlap   ", json_str(list(plan, "facts"), "overlap"));
		line("evidence  ", json_str(plan, "evidence"));
		line("undo      until ", json_str(plan, "undo_until"));
		line("revoke    ", json_str(plan, "revoke_expected"));
		print_plan_steps(p, list(plan, "steps"));
		print_checks(p, "note   ", "", list(plan, "notes"));
		print_checks(p, "accept ", PRINT_YELLOW, list(plan, "accept"));
		print_checks(p, "refused", PRINT_RED, list(plan, "refused"));
	}
}

/* ---- findings, changes, secrets */

static const char *severity_color(const char *severity)
{
	if (severity && strcmp(severity, "error") == 0)
		return PRINT_RED;
	return severity && strcmp(severity, "warning") == 0 ? PRINT_YELLOW : NULL;
}

void print_findings(struct print *p, const json_t *doc)
{
	struct table *t = table_new(4);
	size_t i, n = json_array_size(list(doc, "findings"));
	json_t *f;
	json_array_foreach(list(doc, "findings"), i, f) {
		const char *severity = json_str(f, "severity"), *secret = json_str(f, "secret");
		int64_t version = json_int(f, "version", 0);
		AUTO_FREE char *what = secret && version > 0 ? mem_printf("%s@%" PRId64, secret, version) :
		                                               mem_dup(secret ? secret : "-");
		table_cell(t, severity, severity_color(severity));
		table_cell(t, what, NULL);
		table_cell(t, json_str(f, "check"), NULL);
		table_cell(t, json_str(f, "message"), NULL);
	}
	table_print(t, stdout, p->color_out);
	table_free(t);
	if (!n && !print_is_quiet(p))
		puts("no findings");
}

static void print_change(struct print *p, const json_t *c)
{
	static const struct {
		const char *change, *sign, *color;
	} signs[] = { { "added", "+ ", PRINT_GREEN },
		      { "changed", "~ ", PRINT_YELLOW },
		      { "removed", "- ", PRINT_RED } };
	const char *change = json_str(c, "change");
	const json_t *differs = list(c, "differs");
	size_t i = 0, k;
	json_t *d;
	while (i < 2 && change && strcmp(signs[i].change, change) != 0)
		i++;
	printf("%s%s%s", p->color_out ? signs[i].color : "", signs[i].sign, p->color_out ? "\033[0m" : "");
	print_safe(json_str(c, "secret"));
	json_array_foreach(differs, k, d) {
		fputs(k ? ", " : "  ", stdout);
		print_safe(json_string_value(d));
	}
	putchar('\n');
	line("  note: ", json_str(c, "note"));
	line("  next: ", json_str(c, "next"));
}

void print_changes(struct print *p, const json_t *doc)
{
	size_t i, n = json_array_size(list(doc, "changes")), same = 0;
	json_t *c;
	json_array_foreach(list(doc, "changes"), i, c) {
		const char *change = json_str(c, "change");
		if (change && strcmp(change, "unchanged") == 0)
			same++;
		else if (!print_is_quiet(p) || json_str(c, "next"))
			print_change(p, c);
	}
	if (!print_is_quiet(p))
		printf("%zu changed, %zu unchanged\n", n - same, same);
}

/* A value as it is kept, line by line: keys and certificates have several. */
static void print_value(const char *name, const char *value)
{
	size_t first = strcspn(value, "\n");
	bool several = value[first] != '\0';
	fputs("    ", stdout);
	print_safe(name);
	fputs(several ? ":\n" : ": ", stdout);
	const char *at = value;
	do {
		size_t len = strcspn(at, "\n");
		AUTO_BUF one = BUF_INIT(FIELDS_VALUE_MAX);
		buf_add(&one, at, len);
		fputs(several ? "      " : "", stdout);
		print_safe(one.data);
		putchar('\n');
		at += len + (at[len] == '\n');
	} while (*at);
}

static void print_version(struct print *p, const json_t *v)
{
	static const char *const keys[] = { "issued_at", "expires_at", "reason" };
	static const char *const labels[] = { "  issued ", "  expires ", "  " };
	const char *state = json_str(v, "state"), *name;
	const char *color = p->color_out && state && strcmp(state, "current") == 0 ? PRINT_GREEN : NULL;
	printf("  %" PRId64 "  %s%s%s", json_int(v, "version", 0), color ? color : "", state ? state : "-",
	       color ? "\033[0m" : "");
	for (size_t i = 0; i < 3; i++)
		if (json_str(v, keys[i]) && *json_str(v, keys[i])) {
			fputs(labels[i], stdout);
			print_safe(json_str(v, keys[i]));
		}
	putchar('\n');
	json_t *value;
	json_object_foreach(json_object_get(v, "fields"), name, value)
		if (json_is_string(value))
			print_value(name, json_string_value(value));
}

static void print_labels(const json_t *labels)
{
	const char *name;
	json_t *value;
	if (!json_object_size(labels))
		return;
	fputs("labels   ", stdout);
	json_object_foreach((json_t *)labels, name, value) {
		putchar(' ');
		print_safe(name);
		putchar('=');
		print_safe(json_string_value(value));
	}
	putchar('\n');
}

static void print_effective(const json_t *declaration)
{
	if (!declaration)
		return;
	AUTO_TEXT *text = json_dumps(declaration, JSON_INDENT(2));
	if (!text)
		mem_out();
	puts(text);
}

void print_secrets(struct print *p, const json_t *doc)
{
	static const char *const keys[] = { "id",     "type",      "owner",      "risk",   "provider",
		                            "policy", "issued_at", "rotated_at", "due_at", "expires_at" };
	static const char *const shown[] = { "secret    ", "type      ", "owner     ", "risk      ", "provider  ",
		                             "policy    ", "issued    ", "rotated   ", "due       ", "expires   " };
	size_t i, k;
	json_t *s, *v;
	json_array_foreach(list(doc, "secrets"), i, s) {
		if (i)
			putchar('\n');
		for (size_t n = 0; n < sizeof keys / sizeof *keys; n++)
			line(shown[n], json_str(s, keys[n]));
		print_labels(list(s, "labels"));
		if (json_int(s, "version", 0) > 0)
			printf("version   %" PRId64 "\n", json_int(s, "version", 0));
		json_array_foreach(list(s, "versions"), k, v)
			print_version(p, v);
		print_effective(list(s, "effective"));
	}
}
