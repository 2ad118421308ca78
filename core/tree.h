/* One YAML document as a small tree with positions, made from libyaml's events. Nothing is typed: a scalar is its text,
 * and the key that holds it decides what it means. Tags, merge keys, keys that are no scalars, duplicate keys, NUL and
 * control characters, a second document and whatever passes a ceiling below are faults. */
#ifndef CORE_TREE_H
#define CORE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TREE_DEPTH_MAX 32
#define TREE_NODES_MAX ((size_t)1 << 20)       /* held at once: an entry of tree_entries, or all of tree_document */
#define TREE_ALIAS_NODES_MAX ((size_t)1 << 20) /* what all aliases of a document stand for together */
#define TREE_SCALAR_MAX ((size_t)64 * 1024)    /* bytes */

enum tree_type { TREE_SCALAR, TREE_LIST, TREE_MAP, TREE_BAD /* a fault was told; stay silent */ };

struct tree_node {
	enum tree_type type;
	uint32_t line, column;         /* from 1; of the alias where one stands */
	uint32_t height;               /* levels below, 0 for a scalar */
	uint32_t nodes;                /* of the whole subtree, aliases followed */
	size_t n;                      /* bytes, items, or pairs */
	const char *text;              /* scalar; NUL-terminated, no NUL within */
	const struct tree_node *first; /* item, or key (its value is key->next) */
	const struct tree_node *next;  /* the next item; for a value the next key */
};

struct tree; /* one document being read; owns all nodes */

/* Line and column are 0 where the fault has no place. `text` is borrowed for the call. */
typedef void tree_fault(void *arg, uint32_t line, uint32_t column, const char *text);
/* The value of a top-level key. A mapping comes as one call with `key` and `value` NULL and then one for each entry;
 * anything else as one call with `key` NULL. Nodes live until the call returns. */
typedef void tree_entry(void *arg, const struct tree_node *section, const struct tree_node *key,
                        const struct tree_node *value);

/* `bytes` are borrowed until tree_free. */
struct tree *tree_new(const char *bytes, size_t len, tree_fault *, void *arg);
void tree_free(struct tree *); /* takes NULL */
/* Reads the document, which must be a mapping (empty where there is no document), in one piece: valid until tree_free.
 * NULL when it could not be read to its end (the fault was told); other faults leave TREE_BAD in their place. */
const struct tree_node *tree_document(struct tree *);
/* The same entry by entry: only one entry of a top-level mapping is held at a time. False: not read to its end. */
bool tree_entries(struct tree *, tree_entry *, void *arg);

/* The value; NULL if absent or no map. */
const struct tree_node *tree_get(const struct tree_node *map, const char *key);

#endif
