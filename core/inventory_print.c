#include "inventory.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "inventory_inside.h"
#include "mem.h"
#include "table.h"
#include "utf8.h"

#define CELL 208 /* an id of 200 bytes fits */
#define AHEAD 256 /* rows that are looked at before the first is printed, for the widths */

enum column { ID, TYPE, OWNER, RISK, PROVIDER, VERSION, DUE, ROTATED, COLUMNS };

struct row {
	char cell[COLUMNS][CELL];
};

struct rows {
	int64_t now;
	struct row *rows;  /* the first AHEAD; NULL once they are printed */
	size_t n;
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

static void print_row(const struct rows *t, const struct row *row)
{
	for (int c = 0; c < COLUMNS - 1; c++) {
		int room = t->width[c] - (int)table_width(row->cell[c]); /* below 0 in a row behind those that were measured */
		printf("%s%*s", row->cell[c], (room > 0 ? room : 0) + 2, "");
	}
	printf("%s\n", row->cell[COLUMNS - 1]);
}

static void widen(struct rows *t, const struct row *row)
{
	for (int c = 0; c < COLUMNS; c++) {
		int width = (int)table_width(row->cell[c]);
		if (width > t->width[c])
			t->width[c] = width;
	}
}

/* Prints what was held back, once the widths are known. */
static void release(struct rows *t)
{
	for (size_t i = 0; i < t->n; i++)
		print_row(t, &t->rows[i]);
	free(t->rows);
	t->rows = NULL;
}

static bool take_row(void *arg, const struct state_secret *s, struct err *e)
{
	(void)e;
	struct rows *t = arg;
	if (t->rows && t->n == AHEAD)
		release(t);
	struct row own, *row = t->rows ? &t->rows[t->n++] : &own;
	fill(s, t->now, row);
	if (t->rows)
		widen(t, row);
	else
		print_row(t, row);
	return true;
}

int inventory_print(struct home *home, const char *const selectors[], size_t n, const struct inventory_list_opts *opts,
                    struct err *e)
{
	static const struct row heading = { { "ID", "TYPE", "OWNER", "RISK", "PROVIDER", "VERSION", "DUE", "ROTATED" } };
	struct rows t = { .now = clock_wall(), .rows = mem_array(AHEAD, sizeof *t.rows) };
	if (isatty(STDOUT_FILENO)) { /* scripts and completion read the first column */
		t.rows[t.n++] = heading;
		widen(&t, &heading);
	}
	bool ok = inventory_each(home, selectors, n, opts, take_row, &t, e);
	if (ok && t.rows)
		release(&t);
	free(t.rows);
	return ok ? ERR_OK : (int)e->code;
}
