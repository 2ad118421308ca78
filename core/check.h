/* Trees (core/tree.h) checked against tables (core/schema.h): canonical JSON on one side, faults with their places on
 * the other. Checking never stops at a fault; what is at fault is null in the JSON. */
#ifndef CORE_CHECK_H
#define CORE_CHECK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "err.h"
#include "schema.h"
#include "tree.h"

#define CHECK_DEFAULTS 256

/* `text` is one printable line, borrowed for the call. Line 0: no place within the file. */
typedef void check_fault(void *arg, uint32_t line, uint32_t column, const char *text);
typedef void check_reference(void *arg, const struct tree_node *at, const char *id); /* an auth {secret: ID} */

struct check { /* set the first three, the rest is {0} at first */
	check_fault *fault;
	check_reference *reference; /* NULL: nobody asks */
	void *arg;
	struct check_default { /* defaults are made once and shared */
		const struct schema_key *key;
		json_t *json;
	} defaults[CHECK_DEFAULTS];
};
void check_clear(struct check *);

void check_tell(struct check *, const struct tree_node *at, const char *fmt, ...) PRINTF(3, 4);

/* One mapping may hold the keys of several tables. */
struct check_part {
	const struct schema_key *table;
	const char *alias, *alias_of; /* `alias` is read as the table's key `alias_of`; NULL none */
	bool raw;                     /* only find the values, do not look at them */
	const struct tree_node *
		*nodes; /* the values found, in the table's order, NULL where absent; check_done frees */
	json_t *json;   /* not raw: every key of the table; the caller owns it */
};
/* Reads `map`, which may be NULL (empty). Keys that no part has are faults, unless `any`. */
void check_map(struct check *, const struct tree_node *map, struct check_part parts[], size_t n, bool any);
void check_unknown(struct check *, const struct tree_node *key, const struct check_part parts[],
                   size_t n);                                                   /* tells it */
const struct tree_node *check_node(const struct check_part *, const char *key); /* from `nodes`; NULL absent */
void check_done(struct check_part parts[], size_t n);                           /* frees nodes and json */

#endif
