/* A command is one row and one file: cmd/NAME.c exports one `const struct cmd`, cmd/main.c lists it. Usage, help,
 * completion and the test of the manual are made from the row. */
#ifndef CMD_CMD_H
#define CMD_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include "core/err.h"
#include "core/home.h"
#include "core/print.h"

enum cmd_complete { CMD_WORD, CMD_FILES, CMD_DIRS, CMD_SECRETS, CMD_ROTATIONS, CMD_KINDS, CMD_CONSUMERS };

struct cmd_option {       /* a table ends with {0} */
	const char *name; /* "reason", shown as --reason; NULL where there is a letter only */
	char letter;      /* 'n', 0 none */
	const char *arg;  /* "TEXT"; NULL: a switch; "[confirmed|done]": optional, given as --wait=done */
	const char *help; /* one line, lower case */
	enum cmd_complete complete;
};

struct cmd_args {
	const struct cmd *cmd;
	int argc; /* operands */
	const char *const *argv;
	const char **values; /* one for each option of the row, see cmd_option */
	struct home *home;   /* opened as cmd->needs says; NULL with CMD_NO_HOME */
	const char *dir;     /* -C, NULL when not given */
	struct print *print;
};

enum cmd_need { CMD_NO_HOME, CMD_READ, CMD_WRITE, CMD_ROTATE };

struct cmd {
	const char *name;     /* "inventory apply" */
	const char *operands; /* "FILE...", "[SELECTOR...]", "" */
	const char *summary;  /* one line */
	const struct cmd_option *options;
	int min, max; /* operands; max -1: any number */
	enum cmd_complete complete;
	enum cmd_need needs;
	/* Reads its arguments, makes one call into the core, hands the document to a printer. Returns the exit code;
	 * what it leaves in the error is printed by the dispatcher. */
	int (*run)(struct cmd_args *, struct err *);
};

/* The value of a given option ("" for a switch or a left-out optional argument); NULL when it was not given. */
const char *cmd_option(const struct cmd_args *, const char *name);
/* The same as a number in min..max or a duration; `fallback` when not given. ERR_USAGE otherwise. */
bool cmd_option_int(const struct cmd_args *, const char *name, long long min, long long max, long long fallback,
                    long long *ret, struct err *) MUST_CHECK;
bool cmd_option_duration(const struct cmd_args *, const char *name, long long fallback, long long *ret_ms,
                         struct err *) MUST_CHECK;

extern const struct cmd *const cmd_all[]; /* ends with NULL; cmd/table.c */

#endif
