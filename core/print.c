#include "print.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "json.h"
#include "mem.h"
#include "print_inside.h"
#include "utf8.h"

static bool dumb(void)
{
	const char *term = getenv("TERM");
	return !term || !*term || strcmp(term, "dumb") == 0;
}

static bool colored(enum print_color when, int fd)
{
	const char *none = getenv("NO_COLOR");
	if (when != PRINT_AUTO)
		return when == PRINT_ALWAYS;
	return (!none || !*none) && !dumb() && isatty(fd);
}

static bool utf8_terminal(void)
{
	static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };
	for (size_t i = 0; i < 3; i++) {
		const char *v = getenv(names[i]);
		if (v && *v)
			return strstr(v, "UTF-8") || strstr(v, "utf8");
	}
	return false;
}

struct print *print_new(bool json, int verbosity, enum print_color color)
{
	struct print *p = mem_alloc(sizeof *p);
	p->json = json;
	p->verbosity = verbosity;
	p->color_out = colored(color, STDOUT_FILENO);
	p->color_err = colored(color, STDERR_FILENO);
	if (!json && verbosity >= 0 && !dumb() && isatty(STDERR_FILENO))
		p->board = print_board_new(STDERR_FILENO, p->color_err, utf8_terminal());
	return p;
}

void print_free(struct print *p)
{
	if (!p)
		return;
	print_board_free(p->board);
	free(p);
}

bool print_is_json(const struct print *p)
{
	return p->json;
}

bool print_is_quiet(const struct print *p)
{
	return p->verbosity < 0;
}

bool print_in_color(const struct print *p)
{
	return p->color_out;
}

const char *print_state_color(const char *state)
{
	static const struct {
		const char *state, *color;
	} colors[] = { { "done", PRINT_GREEN }, { "running", PRINT_YELLOW }, { "waiting", PRINT_YELLOW },
		       { "held", PRINT_RED },   { "failed", PRINT_RED },     { "rolled_back", PRINT_YELLOW } };
	for (size_t i = 0; state && i < sizeof colors / sizeof *colors; i++)
		if (strcmp(colors[i].state, state) == 0)
			return colors[i].color;
	return NULL;
}

void print_safe(const char *text)
{
	size_t size = text ? strlen(text) + 1 : 2;
	AUTO_BUF safe = BUF_INIT(size); /* it may be a value that was asked for */
	utf8_printable(text ? text : "-", size, buf_room(&safe, size));
	fputs(safe.data, stdout);
}

/* Standard error has no buffer: one write for one text, so that lines of several processes do not mix. */
static void say(struct print *p, const struct buf *text)
{
	if (p->board) {
		print_board_say(p->board, text->data);
		return;
	}
	for (size_t at = 0; at < text->len;) {
		ssize_t n = write(STDERR_FILENO, text->data + at, text->len - at);
		if (n < 0 && errno != EINTR)
			return; /* nobody is left to tell */
		at += n > 0 ? (size_t)n : 0;
	}
}

static void add_safe(struct buf *b, const char *before, const char *text, const char *after)
{
	if (!text || !*text)
		return;
	size_t size = strlen(text) + 1;
	AUTO_FREE char *safe = mem_alloc(size);
	utf8_printable(text, size, safe);
	buf_str(b, before);
	buf_str(b, safe);
	buf_str(b, after);
}

#define SAY_MAX ((size_t)64 * 1024)

static void say_json(struct print *p, const char *what, int code, const char *message, const char *hint)
{
	AUTO_BUF b = BUF_INIT(SAY_MAX);
	AUTO_JSON *doc = json_object(), *inner = json_object();
	/* a message may quote what is not UTF-8 */
	size_t size = strlen(message) + 1;
	AUTO_FREE char *safe = mem_alloc(size);
	utf8_printable(message, size, safe);
	if (code)
		json_put_int(inner, "code", code);
	json_put_str(inner, "message", safe);
	char safe_hint[512];
	utf8_printable(hint ? hint : "", sizeof safe_hint, safe_hint);
	json_put_str(inner, "hint", safe_hint[0] ? safe_hint : NULL);
	json_put_int(doc, "format", 1);
	json_object_set(doc, what, inner);
	AUTO_TEXT *text = json_text(doc);
	buf_str(&b, text);
	buf_str(&b, "\n");
	say(p, &b);
}

void print_error(struct print *p, const struct err *e)
{
	if (p->json) {
		say_json(p, "error", (int)e->code, e->message, e->hint);
		return;
	}
	AUTO_BUF b = BUF_INIT(SAY_MAX);
	add_safe(&b, p->color_err ? PRINT_RED "rotor:\033[0m " : "rotor: ", e->message, "\n");
	add_safe(&b, "hint: ", e->hint, "\n");
	say(p, &b);
}

void print_warning(struct print *p, const char *message, const char *hint)
{
	if (print_is_quiet(p))
		return;
	if (p->json) {
		say_json(p, "warning", 0, message, hint);
		return;
	}
	AUTO_BUF b = BUF_INIT(SAY_MAX);
	add_safe(&b, p->color_err ? PRINT_YELLOW "rotor: warning:\033[0m " : "rotor: warning: ", message, "\n");
	add_safe(&b, "hint: ", hint, "\n");
	say(p, &b);
}

static bool is(const char *a, const char *b)
{
	return a && strcmp(a, b) == 0;
}

/* Quiet: what needs a person. Verbose: beginnings and left-out steps as well. */
static bool worth_telling(const struct print *p, const struct event *e)
{
	if (e->type == EVENT_TICK)
		return false;
	if (p->verbosity < 0)
		return e->type == EVENT_HELD || (e->type == EVENT_END && is(e->state, "failed"));
	if (e->type == EVENT_STEP && (is(e->state, "running") || is(e->state, "skipped") || is(e->state, "pending")))
		return p->verbosity > 0;
	return true;
}

static void add_until(struct buf *b, const struct event *e, const char *before)
{
	char text[CLOCK_TEXT], span[CLOCK_TEXT];
	if (e->until_ms < 0)
		return;
	buf_printf(b, "%s%s", before, clock_text(e->until_ms, text));
	if (e->until_ms > e->time_ms)
		buf_printf(b, ", in %s", clock_span(e->until_ms - e->time_ms, span));
}

static void add_words(struct buf *b, const struct event *e)
{
	switch (e->type) {
	case EVENT_BEGIN:
		add_safe(b, " ", e->message ? e->message : "started", "");
		buf_printf(b, ", version %u", e->version);
		if (e->previous)
			buf_printf(b, " after %u", e->previous);
		add_safe(b, ", rotation ", e->rotation, "");
		break;
	case EVENT_STEP:
	case EVENT_RETRY:
		add_safe(b, " ", e->step, "");
		add_safe(b, " ", e->target, "");
		add_safe(b, " ", e->type == EVENT_RETRY ? "failed for now" : e->state, "");
		add_safe(b, ": ", e->message, "");
		if (e->type == EVENT_RETRY)
			add_until(b, e, "; next try ");
		break;
	case EVENT_WAIT:
		add_safe(b, " waits for ", e->waits_for, "");
		add_until(b, e, " until ");
		add_safe(b, ": ", e->message, "");
		break;
	case EVENT_HELD:
		add_safe(b, " held: ", e->message ? e->message : "no reason given", "");
		break;
	case EVENT_END:
		add_safe(b, " ended: ", is(e->state, "rolled_back") ? "rolled back" : e->state, "");
		add_safe(b, ": ", e->message, "");
		break;
	case EVENT_WARN:
	case EVENT_TICK:
		break;
	}
}

static void plain(struct print *p, const struct event *e)
{
	AUTO_BUF b = BUF_INIT(SAY_MAX);
	char time[CLOCK_TEXT];
	buf_str(&b, clock_text(e->time_ms, time));
	add_safe(&b, " ", e->secret ? e->secret : "rotor", ":");
	add_words(&b, e);
	buf_str(&b, "\n");
	/* a held one has said it already, when it was held */
	if (e->type == EVENT_HELD || (e->type == EVENT_END && !is(e->state, "held")))
		add_safe(&b, "next: ", e->hint, "\n");
	say(p, &b);
}

void print_event(void *arg, const struct event *e)
{
	struct print *p = arg;
	if (e->type == EVENT_WARN)
		print_warning(p, e->message ? e->message : "", e->hint);
	else if (p->json)
		return;
	else if (p->board)
		print_board_event(p->board, e);
	else if (worth_telling(p, e))
		plain(p, e);
}

void print_document(struct print *p, const json_t *doc, print_text *text)
{
	if (p->board)
		print_board_end(p->board);
	if (!p->json) {
		text(p, doc);
		return;
	}
	AUTO_TEXT *compact = json_text(doc);
	puts(compact);
}
