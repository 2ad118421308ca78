#include "table.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "utf8.h"

#define COLUMNS_MAX 16

struct cell {
	char *text;
	const char *color;
};

struct table {
	size_t columns, n, cap;
	struct cell *cells;
	char **below; /* one for each row, NULL none */
	size_t n_below;
};

struct table *table_new(size_t columns)
{
	struct table *t = mem_alloc(sizeof *t);
	t->columns = columns < COLUMNS_MAX ? columns : COLUMNS_MAX;
	return t;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i].text);
	for (size_t i = 0; i < t->n_below; i++)
		free(t->below[i]);
	free(t->cells);
	free(t->below);
	free(t);
}

static char *printable(const char *text)
{
	size_t size = strlen(text) + 1;
	char *safe = mem_alloc(size);
	utf8_printable(text, size, safe);
	return safe;
}

void table_cell(struct table *t, const char *text, const char *color)
{
	if (t->n == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 64;
		t->cells = mem_grow(t->cells, t->cap, sizeof *t->cells);
	}
	t->cells[t->n++] = (struct cell){ printable(text ? text : "-"), color };
}

void table_below(struct table *t, const char *text)
{
	size_t row = (t->n + t->columns - 1) / t->columns;
	if (!row || !text)
		return;
	if (t->n_below < row) {
		t->below = mem_grow(t->below, row, sizeof *t->below);
		while (t->n_below < row)
			t->below[t->n_below++] = NULL;
	}
	free(t->below[row - 1]);
	t->below[row - 1] = printable(text);
}

static void print_row(const struct table *t, size_t row, const size_t widths[], FILE *f, bool color)
{
	const struct cell *cells = &t->cells[row * t->columns];
	size_t n = t->n - row * t->columns < t->columns ? t->n - row * t->columns : t->columns;
	while (n && !*cells[n - 1].text)
		n--;
	for (size_t c = 0; c < n; c++) {
		bool colored = color && cells[c].color;
		fprintf(f, "%s%s%s", colored ? cells[c].color : "", cells[c].text, colored ? "\033[0m" : "");
		if (c + 1 < n)
			fprintf(f, "%*s", (int)(widths[c] - table_width(cells[c].text) + 2), "");
	}
	fputc('\n', f);
	if (row < t->n_below && t->below[row])
		fprintf(f, "  %s\n", t->below[row]);
}

void table_print(const struct table *t, FILE *f, bool color)
{
	size_t widths[COLUMNS_MAX] = { 0 };
	for (size_t i = 0; i < t->n; i++) {
		size_t w = table_width(t->cells[i].text);
		if (w > widths[i % t->columns])
			widths[i % t->columns] = w;
	}
	for (size_t row = 0; row * t->columns < t->n; row++)
		print_row(t, row, widths, f, color);
}

/* Columns of the code point that begins at `p`, and its bytes. East Asian scripts and symbols begin at U+1100. */
static size_t point(const unsigned char *p, size_t *ret_bytes)
{
	size_t n = 1;
	while ((p[n] & 0xc0) == 0x80 && n < 4)
		n++;
	*ret_bytes = n;
	bool wide = n == 4 || (n == 3 && (p[0] >= 0xe3 || (p[0] == 0xe1 && p[1] >= 0x84 && p[1] <= 0x85)));
	return wide ? 2 : 1;
}

size_t table_fit(const char *text, size_t columns)
{
	size_t at = 0, used = 0, bytes;
	while (text[at]) {
		used += point((const unsigned char *)text + at, &bytes);
		if (used > columns)
			break;
		at += bytes;
	}
	return at;
}

size_t table_width(const char *text)
{
	size_t columns = 0, bytes;
	for (size_t at = 0; text[at]; at += bytes)
		columns += point((const unsigned char *)text + at, &bytes);
	return columns;
}
