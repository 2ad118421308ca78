#include "inventory.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "inventory_inside.h"
#include "table.h"
#include "utf8.h"

#define CELL 208  /* an id of 200 bytes fits */
#define AHEAD 256 /* rows that are looked at before the first is printed, for the widths */

enum column { ID, TYPE, OWNER, RISK, PROVIDER, VERSION, DUE, ROTATED, COLUMNS };

struct row {
	char cell[COLUMNS][CELL];
};

struct rows {
	int64_t now;
	struct buf held; /* the cells of the first rows, each with its NUL, until they are printed */
	size_t n_held;
	bool measured; /* the widths are settled */
	int width[COLUMNS];
};

static void due_text(const struct state_secret *s, int64_t now, char ret[CELL])
{
	char span[CLOCK_TEXT];
	if (s->has_unfinished)
		snprintf(ret, CELL, "rotating");
	else if (s->due_at < 0)
		snprintf(ret, CELL, "-");
	else if (s->due_at > now)
		snprintf(ret, CELL, "in %s", clock_span(s->due_at - now, span));
	else
		snprintf(ret, CELL, "overdue %s", clock_span(now - s->due_at, span));
}

static void rotated_text(const struct state_secret *s, int64_t now, char ret[CELL])
{
	char span[CLOCK_TEXT];
	if (s->rotated_at < 0)
		snprintf(ret, CELL, "never");
	else
		snprintf(ret, CELL, "%s ago", clock_span(now - s->rotated_at, span));
}

static void fill(const struct state_secret *s, int64_t now, struct row *ret)
{
	utf8_printable(s->id, CELL, ret->cell[ID]);
	utf8_printable(s->type, CELL, ret->cell[TYPE]);
	utf8_printable(s->owner, CELL, ret->cell[OWNER]);
	utf8_printable(s->risk, CELL, ret->cell[RISK]);
	utf8_printable(s->provider, CELL, ret->cell[PROVIDER]);
	if (s->version)
		snprintf(ret->cell[VERSION], CELL, "%u", s->version);
	else
		snprintf(ret->cell[VERSION], CELL, "-");
	due_text(s, now, ret->cell[DUE]);
	rotated_text(s, now, ret->cell[ROTATED]);
}

static void print_cell(const struct rows *t, int column, const char *text)
{
	int room = t->width[column] - (int)table_width(text); /* below 0 in a row behind those that were measured */
	fputs_unlocked(text, stdout);
	if (column == COLUMNS - 1) {
		putchar_unlocked('\n');
		return;
	}
	for (room = (room > 0 ? room : 0) + 2; room > 0; room--)
		putchar_unlocked(' ');
}

static void hold(struct rows *t, const struct row *row)
{
	for (int c = 0; c < COLUMNS; c++) {
		int width = (int)table_width(row->cell[c]);
		if (width > t->width[c])
			t->width[c] = width;
		buf_add(&t->held, row->cell[c], strlen(row->cell[c]) + 1);
	}
	t->n_held++;
}

static void release(struct rows *t)
{
	const char *cell = t->held.data;
	for (size_t i = 0; i < t->n_held * COLUMNS; i++, cell += strlen(cell) + 1)
		print_cell(t, (int)(i % COLUMNS), cell);
	buf_clear(&t->held);
	t->n_held = 0;
	t->measured = true;
}

static bool take_row(void *arg, const struct state_secret *s, struct err *e)
{
	(void)e;
	struct rows *t = arg;
	struct row row;
	fill(s, t->now, &row);
	if (!t->measured && t->n_held < AHEAD) {
		hold(t, &row);
		return true;
	}
	if (!t->measured)
		release(t);
	for (int c = 0; c < COLUMNS; c++)
		print_cell(t, c, row.cell[c]);
	return true;
}

int inventory_print(struct home *home, const char *const selectors[], size_t n, const struct inventory_list_opts *opts,
                    struct err *e)
{
	static const struct row heading = { { "ID", "TYPE", "OWNER", "RISK", "PROVIDER", "VERSION", "DUE",
		                              "ROTATED" } };
	struct rows t = { .now = clock_wall(), .held = BUF_INIT((AHEAD + 1) * sizeof(struct row)) };
	if (isatty(STDOUT_FILENO)) /* scripts and completion read the first column */
		hold(&t, &heading);
	bool ok = inventory_each(home, selectors, n, opts, take_row, &t, e);
	if (ok)
		release(&t);
	buf_clear(&t.held);
	return ok ? ERR_OK : (int)e->code;
}
