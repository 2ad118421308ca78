/* Values that people and programs hand in: by standard input, a descriptor, or a terminal that does not show them. */
#ifndef CMD_INPUT_H
#define CMD_INPUT_H

#include "core/buf.h"
#include "core/err.h"
#include "core/fields.h"

#define CMD_INPUT_JSON_MAX ((size_t)1 << 20)

/* ERR_USAGE unless `fd` was handed to this process, open for reading. */
bool cmd_input_fd(int fd, struct err *) MUST_CHECK;
/* One line from the terminal `fd`, not shown, without its newline. `prompt` goes to standard error. ERR_FAILED when
 * it was broken off (^C, or ^D on an empty line). */
bool cmd_input_hidden(int fd, const char *prompt, struct buf *ret, struct err *) MUST_CHECK;
/* Reads the fields of one version from `fd`. `field` given: everything is that field's value. NULL: a JSON object of
 * strings where the input begins with `{` (never from a terminal), else the value of `password`. One final newline
 * is dropped. The caller frees. `what` names the secret in the prompt. */
bool cmd_input_fields(int fd, const char *field, const char *what, struct fields **ret, struct err *) MUST_CHECK;

#endif
