#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "clock.h"
#include "mem.h"
#include "print_inside.h"
#include "table.h"
#include "utf8.h"

#define TARGET_MAX 24 /* columns */

enum mark { MARK_RUNNING, MARK_WAITING, MARK_DONE, MARK_FAILED, MARK_UNDONE, MARK_NONE };

static const struct {
	const char *utf8, *ascii, *color;
} marks[] = {
	[MARK_RUNNING] = { "▸", ">", PRINT_YELLOW }, [MARK_WAITING] = { "…", "~", PRINT_YELLOW },
	[MARK_DONE] = { "✓", "+", PRINT_GREEN },     [MARK_FAILED] = { "✗", "!", PRINT_RED },
	[MARK_UNDONE] = { "↶", "<", PRINT_YELLOW },  [MARK_NONE] = { " ", " ", NULL },
};

struct step {
	char *name, *target, *note; /* note: receipt, error, or what is waited for */
	uint32_t version;
	enum mark mark;
	int64_t started, ended; /* ended -1: not yet */
	int64_t until;          /* -1 none */
};

struct job {
	char *secret, *rotation;
	uint32_t version, previous;
	int64_t begun;
	unsigned done, total;
	bool held_told;
	struct step *steps;
	size_t n, cap;
};

struct line {
	enum mark mark;
	unsigned indent;
	char *text;
};

struct lines {
	struct line *l;
	size_t n, cap;
};

struct print_board {
	int fd;
	bool color, utf8;
	unsigned fixed_rows, fixed_columns; /* 0: ask the terminal */
	int64_t now;
	struct job *jobs;
	size_t n, cap, seen;
	unsigned *drawn; /* width of each line on the screen */
	size_t n_drawn;
};

struct print_board *print_board_new(int fd, bool color, bool utf8)
{
	struct print_board *b = mem_alloc(sizeof *b);
	b->fd = fd;
	b->color = color;
	b->utf8 = utf8;
	return b;
}

static void job_clear(struct job *j)
{
	for (size_t i = 0; i < j->n; i++) {
		free(j->steps[i].name);
		free(j->steps[i].target);
		free(j->steps[i].note);
	}
	free(j->steps);
	free(j->secret);
	free(j->rotation);
}

void print_board_free(struct print_board *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->n; i++)
		job_clear(&b->jobs[i]);
	free(b->jobs);
	free(b->drawn);
	free(b);
}

void print_board_size(struct print_board *b, unsigned rows, unsigned columns)
{
	b->fixed_rows = rows;
	b->fixed_columns = columns;
}

static void screen(const struct print_board *b, unsigned *rows, unsigned *columns)
{
	struct winsize w = { 0 };
	if (!b->fixed_rows && ioctl(b->fd, TIOCGWINSZ, &w) != 0)
		w = (struct winsize){ 0 };
	*rows = b->fixed_rows ? b->fixed_rows : w.ws_row ? w.ws_row : 24;
	*columns = b->fixed_columns ? b->fixed_columns : w.ws_col ? w.ws_col : 80;
}

static char *safe(const char *text)
{
	size_t size = text ? strlen(text) + 1 : 1;
	char *copy = mem_alloc(size);
	utf8_printable(text ? text : "", size, copy);
	return copy;
}

/* ---- what is known */

static struct job *job_of(struct print_board *b, const struct event *e)
{
	for (size_t i = 0; i < b->n; i++)
		if (e->secret && strcmp(b->jobs[i].secret, e->secret) == 0)
			return &b->jobs[i];
	if (!e->secret || e->type == EVENT_END)
		return NULL;
	if (b->n == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 8;
		b->jobs = mem_grow(b->jobs, b->cap, sizeof *b->jobs);
	}
	b->seen++;
	b->jobs[b->n] =
		(struct job){ .secret = mem_dup(e->secret), .rotation = safe(e->rotation), .begun = e->time_ms };
	return &b->jobs[b->n++];
}

static void job_drop(struct print_board *b, struct job *j)
{
	size_t at = (size_t)(j - b->jobs);
	job_clear(j);
	memmove(j, j + 1, (b->n - at - 1) * sizeof *j);
	b->n--;
}

static struct step *step_of(struct job *j, const char *step, const struct event *e)
{
	AUTO_FREE char *name = safe(step), *target = safe(e->target);
	for (size_t i = 0; i < j->n; i++)
		if (strcmp(j->steps[i].name, name) == 0 && strcmp(j->steps[i].target, target) == 0 &&
		    j->steps[i].version == e->version)
			return &j->steps[i];
	if (j->n == j->cap) {
		j->cap = j->cap ? j->cap * 2 : 16;
		j->steps = mem_grow(j->steps, j->cap, sizeof *j->steps);
	}
	struct step *s = &j->steps[j->n++];
	*s = (struct step){ .version = e->version, .started = e->time_ms, .ended = -1, .until = -1 };
	s->name = STEAL(name);
	s->target = STEAL(target);
	s->note = mem_dup("");
	return s;
}

static void note(struct step *s, const char *text, int64_t until)
{
	free(s->note);
	s->note = safe(text);
	s->until = until;
}

static void take_step(struct job *j, const struct event *e)
{
	static const struct {
		const char *state;
		enum mark mark;
	} states[] = {
		{ "running", MARK_RUNNING }, { "done", MARK_DONE }, { "failed", MARK_FAILED }, { "undone", MARK_UNDONE }
	};
	for (size_t i = 0; e->step && e->state && i < sizeof states / sizeof *states; i++) {
		if (strcmp(states[i].state, e->state) != 0)
			continue;
		struct step *s = step_of(j, e->step, e);
		s->mark = states[i].mark;
		s->started = e->started_ms >= 0                       ? e->started_ms :
		             s->mark == MARK_RUNNING && s->ended >= 0 ? e->time_ms :
		                                                        s->started;
		s->ended = s->mark == MARK_RUNNING ? -1 : e->time_ms;
		note(s, e->message, -1);
	}
}

static char *wait_text(const struct step *s, const struct event *e)
{
	if (e->type == EVENT_RETRY)
		return mem_dup(e->message ? e->message : "failed for now");
	bool named = !e->waits_for || strcmp(e->waits_for, s->name) == 0;
	return mem_printf("waits%s%s%s%s", named ? "" : " for ", named ? "" : e->waits_for, e->message ? ": " : "",
	                  e->message ? e->message : "");
}

/* A wait or a retry belongs to the named step, else to the last one that is not over. */
static void take_wait(struct job *j, const struct event *e)
{
	struct step *s = e->step ? step_of(j, e->step, e) : NULL;
	for (size_t i = j->n; !s && i-- > 0;)
		if (j->steps[i].ended < 0)
			s = &j->steps[i];
	if (!s)
		s = step_of(j, e->waits_for ? e->waits_for : "wait", e);
	s->mark = MARK_WAITING;
	s->ended = -1;
	AUTO_FREE char *text = wait_text(s, e);
	note(s, text, e->until_ms);
}

static void take(struct job *j, const struct event *e)
{
	if (e->total) {
		j->done = e->done;
		j->total = e->total;
	}
	if (e->type == EVENT_BEGIN) {
		j->version = e->version;
		j->previous = e->previous;
		j->begun = e->time_ms;
	} else if (e->type == EVENT_STEP) {
		take_step(j, e);
	} else if (e->type == EVENT_WAIT || e->type == EVENT_RETRY) {
		take_wait(j, e);
	}
}

/* ---- lines */

static void add_line(struct lines *ls, enum mark mark, unsigned indent, char *text)
{
	if (ls->n == ls->cap) {
		ls->cap = ls->cap ? ls->cap * 2 : 32;
		ls->l = mem_grow(ls->l, ls->cap, sizeof *ls->l);
	}
	ls->l[ls->n++] = (struct line){ mark, indent, text };
}

static void lines_clear(struct lines *ls)
{
	for (size_t i = 0; i < ls->n; i++)
		free(ls->l[i].text);
	free(ls->l);
}

static char *head_text(const struct job *j, int64_t now)
{
	char span[CLOCK_TEXT], previous[24] = "", steps[32] = "";
	if (j->previous)
		snprintf(previous, sizeof previous, " after %u", j->previous);
	if (j->total)
		snprintf(steps, sizeof steps, "  %u/%u", j->done, j->total);
	AUTO_FREE char *name = safe(j->secret);
	return mem_printf("%s  version %u%s%s  %s", name, j->version, previous, steps,
	                  clock_span(now - j->begun, span));
}

/* Columns for the targets of a job, so that what is waited for has room. */
static int target_width(const struct job *j)
{
	size_t most = 0;
	for (size_t i = 0; i < j->n; i++) {
		size_t width = table_width(j->steps[i].target);
		most = width > most ? width : most;
	}
	return most < TARGET_MAX ? (int)most : TARGET_MAX;
}

/* What matters most stands first, as the line is cut at the screen's edge. */
static char *step_text(const struct step *s, int64_t now, int width)
{
	char span[CLOCK_TEXT], until[2 * CLOCK_TEXT + 16] = "", at[CLOCK_TEXT], left[CLOCK_TEXT];
	if (s->until >= 0)
		snprintf(until, sizeof until, ", %s left, until %s", clock_span(s->until - now, left),
		         clock_text(s->until, at));
	clock_span((s->ended < 0 ? now : s->ended) - s->started, span);
	AUTO_FREE char *target = mem_dupn(s->target, table_fit(s->target, TARGET_MAX));
	int pad = width - (int)table_width(target);
	return mem_printf("%-10s  %6s  %s%*s  %s%s", s->name, span, target, pad > 0 ? pad : 0, "", s->note, until);
}

/* One job in at most `share` lines. */
static void job_lines(const struct job *j, int64_t now, size_t share, struct lines *ls)
{
	const struct step *last = j->n ? &j->steps[j->n - 1] : NULL;
	if (share < 3 || j->n == 0) {
		AUTO_FREE char *head = head_text(j, now),
			       *step = last && share < 3 ? step_text(last, now, 0) : mem_dup("");
		add_line(ls, last ? last->mark : MARK_RUNNING, 0, mem_printf("%s  %s", head, step));
		return;
	}
	size_t room = share - 1, first = 0;
	add_line(ls, MARK_NONE, 0, head_text(j, now));
	if (j->n > room) {
		first = j->n - room + 1;
		add_line(ls, MARK_NONE, 2, mem_printf("%zu earlier steps", first));
	}
	for (size_t i = first; i < j->n; i++)
		add_line(ls, j->steps[i].mark, 2, step_text(&j->steps[i], now, target_width(j)));
}

static void all_lines(const struct print_board *b, size_t budget, struct lines *ls)
{
	size_t total = 0, shown = b->n;
	for (size_t i = 0; i < b->n; i++)
		total += b->jobs[i].n + 1;
	if (b->n > budget)
		shown = budget - 1;
	for (size_t i = 0; i < shown; i++)
		job_lines(&b->jobs[i], b->now, total <= budget ? b->jobs[i].n + 3 : budget / b->n, ls);
	if (shown < b->n)
		add_line(ls, MARK_NONE, 0, mem_printf("and %zu more", b->n - shown));
}

/* ---- the screen */

static void send(const struct print_board *b, const struct buf *out)
{
	for (size_t at = 0; at < out->len;) {
		ssize_t n = write(b->fd, out->data + at, out->len - at);
		if (n < 0 && errno != EINTR)
			return;
		at += n > 0 ? (size_t)n : 0;
	}
}

/* Goes to where the list begins; lines that a narrower window has broken take several rows. */
static void rewind_to_top(struct print_board *b, unsigned columns, struct buf *out)
{
	size_t rows = 0;
	for (size_t i = 0; i < b->n_drawn; i++)
		rows += b->drawn[i] ? (b->drawn[i] + columns - 1) / columns : 1;
	if (rows)
		buf_printf(out, "\033[%zuA\r", rows);
	buf_str(out, "\033[J");
	b->n_drawn = 0;
}

static unsigned put_line(const struct print_board *b, const struct line *l, unsigned columns, struct buf *out)
{
	unsigned room = columns > l->indent + 3 ? columns - l->indent - 3 : 0;
	size_t bytes = table_fit(l->text, room);
	const char *mark = b->utf8 ? marks[l->mark].utf8 : marks[l->mark].ascii;
	while (bytes && l->text[bytes - 1] == ' ')
		bytes--;
	if (b->color && marks[l->mark].color)
		buf_printf(out, "%*s%s%s\033[0m ", (int)l->indent, "", marks[l->mark].color, mark);
	else
		buf_printf(out, "%*s%s ", (int)l->indent, "", mark);
	buf_add(out, l->text, bytes);
	buf_str(out, "\n");
	AUTO_FREE char *shown = mem_dupn(l->text, bytes);
	return l->indent + 2 + (unsigned)table_width(shown);
}

#define SCREEN_MAX ((size_t)1 << 20)

/* Takes the list away, prints `said` for good, and draws anew. */
static void draw(struct print_board *b, const char *said)
{
	AUTO_BUF out = BUF_INIT(SCREEN_MAX);
	unsigned rows, columns;
	screen(b, &rows, &columns);
	rewind_to_top(b, columns, &out);
	if (said)
		buf_str(&out, said);
	struct lines ls = { 0 };
	all_lines(b, rows > 3 ? rows - 1 : 2, &ls);
	b->drawn = mem_grow(b->drawn, ls.n + 1, sizeof *b->drawn);
	for (size_t i = 0; i < ls.n; i++)
		b->drawn[b->n_drawn++] = put_line(b, &ls.l[i], columns, &out);
	lines_clear(&ls);
	send(b, &out);
}

void print_board_say(struct print_board *b, const char *lines)
{
	draw(b, lines);
}

/* ---- endings */

static void add_next(struct buf *said, const char *hint)
{
	AUTO_FREE char *text = safe(hint);
	if (*text)
		buf_printf(said, "  next: %s\n", text);
}

static void said_line(const struct print_board *b, const struct job *j, enum mark mark, const char *word,
                      const char *message, struct buf *said)
{
	AUTO_FREE char *text = safe(message), *head = head_text(j, b->now);
	struct line l = { mark, 0, mem_printf("%s  %s%s%s", head, word, *text ? ": " : "", text) };
	put_line(b, &l, 4096, said); /* it stays, so the terminal may break it */
	free(l.text);
}

/* The steps of a job, as they were last seen, for good. */
static void said_steps(const struct print_board *b, const struct job *j, struct buf *said)
{
	unsigned rows, columns;
	screen(b, &rows, &columns);
	for (size_t i = 0; i < j->n; i++) {
		struct line l = { j->steps[i].mark, 2, step_text(&j->steps[i], b->now, target_width(j)) };
		put_line(b, &l, columns, said);
		free(l.text);
	}
}

static void held(struct print_board *b, struct job *j, const struct event *e)
{
	AUTO_BUF said = BUF_INIT(SCREEN_MAX);
	j->held_told = true;
	if (b->seen == 1)
		said_steps(b, j, &said);
	said_line(b, j, MARK_FAILED, "held", e->message, &said);
	add_next(&said, e->hint);
	draw(b, said.data);
}

static void ended(struct print_board *b, struct job *j, const struct event *e)
{
	AUTO_BUF said = BUF_INIT(SCREEN_MAX);
	const char *state = e->state ? e->state : "ended";
	enum mark mark = strcmp(state, "done") == 0        ? MARK_DONE :
	                 strcmp(state, "waiting") == 0     ? MARK_WAITING :
	                 strcmp(state, "rolled_back") == 0 ? MARK_UNDONE :
	                                                     MARK_FAILED;
	if (b->seen == 1 && !j->held_told)
		said_steps(b, j, &said);
	if (mark != MARK_FAILED || !j->held_told) {
		said_line(b, j, mark, mark == MARK_UNDONE ? "rolled back" : state, e->message, &said);
		add_next(&said, e->hint);
	}
	job_drop(b, j);
	draw(b, said.data);
}

void print_board_event(struct print_board *b, const struct event *e)
{
	b->now = e->time_ms;
	struct job *j = e->type == EVENT_TICK ? NULL : job_of(b, e);
	if (j)
		take(j, e);
	if (j && e->type == EVENT_HELD)
		held(b, j, e);
	else if (j && e->type == EVENT_END)
		ended(b, j, e);
	else
		draw(b, NULL);
}

void print_board_end(struct print_board *b)
{
	AUTO_BUF out = BUF_INIT(SCREEN_MAX);
	unsigned rows, columns;
	screen(b, &rows, &columns);
	if (b->n_drawn)
		rewind_to_top(b, columns, &out);
	send(b, &out);
	while (b->n)
		job_drop(b, &b->jobs[b->n - 1]);
}
