/* What went wrong, for a person. One error per call that can fail; made where the fault is found, prefixed by callers,
 * printed once by cmd/main.c. A message is lower case, names first what failed, quotes its subject, and never holds a
 * secret or a server's reply body. The code is the exit code it leads to (design: section "Commands"). */
#ifndef CORE_ERR_H
#define CORE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))

enum err_code {
	ERR_OK = 0,
	ERR_FAILED = 1,
	ERR_USAGE = 2,
	ERR_REFUSED = 3,
	ERR_PARTIAL = 4,
	ERR_TEMPORARY = 75,
};

struct err {
	enum err_code code;
	char message[1024]; /* UTF-8, cut at the end when longer */
	char hint[512];     /* what to do next; empty where rotor does not know */
};

/* Sets code and message, clears the hint. Always returns false, so that a function can `return err_set(...)`.
 * `e` may be NULL: the caller does not want to know. */
bool err_set(struct err *e, enum err_code code, const char *fmt, ...) PRINTF(3, 4);
bool err_vset(struct err *e, enum err_code code, const char *fmt, va_list ap) PRINTF(3, 0);
/* The same with ": " and the text of `errnum` behind. */
bool err_sys(struct err *e, enum err_code code, int errnum, const char *fmt, ...) PRINTF(4, 5);
/* Puts "TEXT: " before the message. Always returns false. */
bool err_prefix(struct err *e, const char *fmt, ...) PRINTF(2, 3);
/* Sets the hint. Always returns false. */
bool err_hint(struct err *e, const char *fmt, ...) PRINTF(2, 3);
/* The code that several results come to together: 2 before 3, 4, 1, 75, 0. */
int err_worst(int a, int b);

#endif
