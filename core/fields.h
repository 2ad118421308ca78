/* The named values of one version (`username password url key certificate chain`...), in guarded memory. Names are
 * [a-z][a-z0-9_-]{0,31}; a value is UTF-8 without NUL, at most FIELDS_VALUE_MAX bytes. */
#ifndef CORE_FIELDS_H
#define CORE_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include "err.h"

#define FIELDS_MAX 16
#define FIELDS_VALUE_MAX ((size_t)64 * 1024)

struct fields;

struct fields *fields_new(void);
struct fields *fields_copy(const struct fields *); /* takes NULL: NULL */
void fields_free(struct fields *);                 /* wipes; takes NULL */
void fields_auto(struct fields **);
#define AUTO_FIELDS __attribute__((cleanup(fields_auto))) struct fields

/* Sets or replaces. ERR_USAGE on a bad name, a bad or too long value, too many fields. The error never shows the value.
 */
bool fields_set(struct fields *, const char *name, const char *value, size_t len, struct err *) MUST_CHECK;
/* NUL-terminated, borrowed until the next change; NULL when absent. `ret_len` may be NULL. */
const char *fields_get(const struct fields *, const char *name, size_t *ret_len);
size_t fields_count(const struct fields *);
const char *fields_name(const struct fields *, size_t i);
bool fields_name_ok(const char *name);

#endif
