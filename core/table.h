/* Text in columns, for people. Every cell is made printable; a width is in terminal columns. */
#ifndef CORE_TABLE_H
#define CORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct table;

struct table *table_new(size_t columns);
void table_free(struct table *); /* takes NULL */
/* Fills row after row. `text` is copied, NULL is shown as "-"; `color` is a static SGR sequence for it, NULL none. */
void table_cell(struct table *, const char *text, const char *color);
/* A line of its own below the row made last, not in columns. */
void table_below(struct table *, const char *text);
void table_print(const struct table *, FILE *, bool color);
/* Columns that `text` takes on a terminal, told from its code points; rather too many than too few. */
size_t table_width(const char *text);
/* The bytes of `text` that fit into `columns`. */
size_t table_fit(const char *text, size_t columns);

#endif
