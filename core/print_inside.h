/* Shared by core/print*.c only. */
#ifndef CORE_PRINT_INSIDE_H
#define CORE_PRINT_INSIDE_H

#include <stdbool.h>
#include "buf.h"
#include "event.h"
#include "print.h"

#define PRINT_RED "\033[31m"
#define PRINT_GREEN "\033[32m"
#define PRINT_YELLOW "\033[33m"

struct print_board;

struct print {
	bool json;
	int verbosity;
	bool color_out, color_err;
	struct print_board *board; /* NULL: plain lines */
};

/* The SGR sequence for the state of a rotation or a step, NULL none. */
const char *print_state_color(const char *state);

/* The live list at the lower end of a terminal. */
struct print_board *print_board_new(int fd, bool color, bool utf8);
void print_board_free(struct print_board *);
void print_board_event(struct print_board *, const struct event *);
/* Text that stays, above the list: whole lines. */
void print_board_say(struct print_board *, const char *lines);
/* Takes away what is left of the list. */
void print_board_end(struct print_board *);
/* For tests: a screen of this size instead of the terminal's. */
void print_board_size(struct print_board *, unsigned rows, unsigned columns);

#endif
