/* jansson with wiping allocators, ceilings, and the few accessors that everybody needs. */
#ifndef CORE_JSON_H
#define CORE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "err.h"
#include "fields.h"

#define JSON_DEPTH_MAX 32

/* Before jansson's first use: memory is wiped when it is freed, hashing is seeded, out of memory ends with 75. */
void json_setup(void);

void json_auto(json_t **);
#define AUTO_JSON __attribute__((cleanup(json_auto))) json_t

/* One strict document: no duplicate keys, UTF-8, no NUL, at most `depth` levels (checked before it is parsed). The
 * error names `what` and the place, never the text. The caller owns the result; NULL on failure. */
json_t *json_parse(const char *text, size_t len, size_t depth, const char *what, struct err *) MUST_CHECK;
/* Compact, keys in the order in which they were set, no final newline. The caller frees with json_text_free (wipes). */
char *json_text(const json_t *);
void json_text_free(char *);
void json_text_auto(char **);
#define AUTO_TEXT __attribute__((cleanup(json_text_auto))) char

/* Members of an object; NULL, the fallback, or false when absent or of another type. Borrowed. */
const char *json_str(const json_t *, const char *key);
int64_t json_int(const json_t *, const char *key, int64_t fallback);
bool json_bool(const json_t *, const char *key);
/* Sets "key" to a string, or to null when `text` is NULL. */
void json_put_str(json_t *object, const char *key, const char *text);
void json_put_int(json_t *object, const char *key, int64_t);
void json_put_bool(json_t *object, const char *key, bool);
/* RFC 3339 UTC with seconds; null below 0. */
void json_put_time(json_t *object, const char *key, int64_t ms);
/* Fields as an object of strings and back. fields_to never fails; `ret` of from is new, the caller frees it. */
json_t *json_from_fields(const struct fields *);
bool json_to_fields(const json_t *, struct fields **ret, struct err *) MUST_CHECK;

#endif
