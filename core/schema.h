/* What a declaration may say, as tables. One table makes the checks with positions, the defaults, the JSON Schema for
 * editors, `provider show` and the manual's lists of parameters. */
#ifndef CORE_SCHEMA_H
#define CORE_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum schema_type {                    /* in the canonical JSON that the loader makes */
	           SCHEMA_STRING,     /* string, not empty */
	           SCHEMA_INT,        /* integer, min..max */
	           SCHEMA_BOOL,       /* true, false */
	           SCHEMA_DURATION,   /* `90s`, `2h`... -> integer, milliseconds */
	           SCHEMA_PERCENT,    /* `10%` -> integer, percent */
	           SCHEMA_ENUM,       /* one of `allowed`, separated by '|' */
	           SCHEMA_PATH,       /* absolute path without `.` or `..` components */
	           SCHEMA_MODE,       /* `0640` -> integer */
	           SCHEMA_WINDOW,     /* `Mon-Fri 09:00-17:00 Europe/Berlin` -> the same string, checked */
	           SCHEMA_STRINGS,    /* list of strings (a single string is a list of one) */
	           SCHEMA_ARGV,       /* list of strings, at least one; the first is an absolute path */
	           SCHEMA_STRING_MAP, /* mapping of strings to strings, order kept */
	           SCHEMA_OBJECT,     /* mapping, keys in `sub` */
	           SCHEMA_OBJECTS,    /* list of such mappings (a single one is a list of one; a lone word is short for
	                                 {word: true}) */
	           SCHEMA_AUTH,       /* a credential reference or a list of them -> list of one-key objects */
	           SCHEMA_TIME,       /* RFC 3339 -> integer, milliseconds since 1970 */
};

enum schema_flag {
	SCHEMA_REQUIRED = 1,
	SCHEMA_ALLOW_ZERO = 2, /* a duration or list that may be 0 or empty */
	SCHEMA_ONE_KEY = 4, /* OBJECT, OBJECTS: each has exactly one of the keys, and only that one in canonical JSON */
};

struct schema_key { /* a table ends with {0} */
	const char *name;
	enum schema_type type;
	unsigned flags;
	const char *fallback; /* the default as one would write it, a scalar, `{}` or `[]` (`{}` of an OBJECT: the
	                         defaults of its keys); NULL: absent stays absent (null in canonical JSON) */
	const char *allowed;  /* ENUM */
	const struct schema_key *sub;
	long long min, max; /* INT, and DURATION in milliseconds; both 0: 0..LLONG_MAX */
	const char *help;   /* one line, lower case, for manual and `provider show` */
};

extern const struct schema_key schema_auth_keys[]; /* what one reference of SCHEMA_AUTH may be; one key of them */

/* The JSON Schema (draft 2020-12) of one table as an object schema; the caller owns it. */
json_t *schema_json(const struct schema_key *table);
json_t *schema_json_value(const struct schema_key *key); /* of one key's value */

bool schema_path_ok(const char *path);                       /* as SCHEMA_PATH has it */
bool schema_enum_has(const char *allowed, const char *word); /* `allowed` as ENUM has it */

/* Is `object` what the loader makes of `table`? Further keys are allowed when they stand in `extra` (separated by
 * single spaces, NULL none) and are the caller's to check. `whole`: keys that are not required must be there too.
 * False: *ret_key names the key at fault (borrowed from either). */
bool schema_fits(const json_t *object, const struct schema_key *table, const char *extra, bool whole,
                 const char **ret_key);

#endif
