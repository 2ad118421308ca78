/* Between core/load.c (files, policies, what spans secrets) and core/load_secret.c (one secret). */
#ifndef CORE_LOAD_INSIDE_H
#define CORE_LOAD_INSIDE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include "check.h"
#include "load.h"
#include "tree.h"

#define LOAD_NONE SIZE_MAX

struct load_place {
	size_t file;
	uint32_t line, column;
};

struct load_pending {  /* a secret's policy; named ones may stand in a later file */
	size_t secret; /* index, LOAD_NONE: it was at fault and is not kept */
	char *policy;  /* name, NULL: inlined */
	json_t *inlined;
	bool accept_outage;
	struct load_place at;
};

struct load_reference {  /* an auth {secret: ID}; in the order of the secrets that hold them */
	size_t from, to; /* indexes or LOAD_NONE */
	char *id;
	struct load_place at;
};

struct loader {
	struct load *out;
	const char *const *files;
	size_t file; /* index of the one being read */
	bool seen_version;
	struct check check;
	load_known *known;
	void *known_arg;
	json_t *ids, *policies; /* id -> index; name -> canonical */
	json_t *owner;
	size_t secret; /* index of the secret being read, LOAD_NONE */
	struct load_pending *pending;
	size_t n_pending, cap_pending;
	struct load_reference *references;
	size_t n_references, cap_references;
};

size_t load_faults(const struct loader *); /* told so far */
struct load_place load_place(const struct loader *, const struct tree_node *);
json_t *load_policy(struct loader *, const char *name, const struct tree_node *map); /* `map` NULL: all defaults */
void load_secret_read(struct loader *, const struct tree_node *id, const struct tree_node *map);

#endif
