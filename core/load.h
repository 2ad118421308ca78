/* Loads declarations: YAML by libyaml's events under an own small loader (duplicates by hash; ceilings on depth,
 * aliases, size), checked against tables, resolved to canonical form (core/decl.h). All faults are found in one go. */
#ifndef CORE_LOAD_H
#define CORE_LOAD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include "err.h"
#include "schema.h"

#define LOAD_FILE_MAX ((size_t)256 << 20)
#define LOAD_FAULTS_MAX 100 /* further ones are counted only */

struct load_secret { /* as text: trees of 100,000 secrets would take a gigabyte */
	char *id;
	char *text;     /* canonical but for the policy */
	json_t *policy; /* canonical, shared with others that have the same one */
	char *file;     /* where it stands */
	int line;
};

struct load_fault {
	char *text;  /* `file:line:column: what, and what is allowed`; without a place `file: what` */
	size_t file; /* its index, faults are sorted by it and their place */
	unsigned line, column;
};

struct load {                        /* empty: {0} */
	struct load_secret *secrets; /* in file order */
	size_t n_secrets;
	struct load_fault *faults;
	size_t n_faults, n_more;
};

/* Asked for references to secrets that these files do not declare: true when the home has `id`. */
typedef bool load_known(void *arg, const char *id);

/* Loads all files together: a policy may stand in another file than its users, an id must be unique over all of them.
 * `-` is standard input. True when there is no fault; else the faults are in `ret` and nothing may be applied. */
bool load_files(const char *const files[], size_t n, load_known *, void *arg, struct load *ret);
void load_clear(struct load *);
/* The canonical declaration (core/decl.h); the caller owns it. Only of a load without faults. */
json_t *load_secret_json(const struct load_secret *);

/* One configuration file (config.yaml) against a table: canonical JSON, the caller owns it. NULL with ERR_USAGE holding
 * the first fault. A missing file is the table's defaults. */
json_t *load_config(const char *path, const struct schema_key *table, struct err *) MUST_CHECK;

/* The JSON Schema of declaration files, from the tables of the loader and of all registered kinds. The caller owns it.
 */
json_t *load_schema(void);

#endif
