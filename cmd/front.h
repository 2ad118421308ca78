/* What the dispatcher is made of: arguments read by the rows' tables, and help made from them. */
#ifndef CMD_FRONT_H
#define CMD_FRONT_H

#include <stdbool.h>
#include <stdio.h>
#include "cmd/cmd.h"

struct cmd_globals {
	const char *dir; /* -C, NULL when not given */
	bool json, help, version;
	int verbosity; /* -1 quiet, 0, 1 verbose */
	enum print_color color;
};

extern const struct cmd_option cmd_global_options[];

/* Reads options up to the first operand, which *ret_next tells. What was found before an error is in `ret`. */
bool cmd_parse_globals(int argc, char *const argv[], struct cmd_globals *ret, int *ret_next, struct err *) MUST_CHECK;
/* The row named by the first one or two words; *ret_used tells how many. NULL with ERR_USAGE. */
const struct cmd *cmd_find(int argc, char *const argv[], int *ret_used, struct err *);
bool cmd_is_group(const char *word); /* `inventory`: the first of two words of some row */
/* Reads options and operands of one row, options anywhere before `--`, the global ones too. Fills cmd, argc, argv,
 * values of `ret`, which the caller ends with cmd_args_clear, after an error as well. */
bool cmd_parse(const struct cmd *, int argc, char *const argv[], struct cmd_globals *, struct cmd_args *ret,
               struct err *) MUST_CHECK;
void cmd_args_clear(struct cmd_args *);

void cmd_help(FILE *, const struct cmd *);
void cmd_help_group(FILE *, const char *word); /* rows that begin with `word`; NULL: all, and the global options */
/* "-n, --dry-run", "--wait[=confirmed|done]", as help and manual show it. */
void cmd_option_text(const struct cmd_option *, size_t size, char ret[]);

#endif
