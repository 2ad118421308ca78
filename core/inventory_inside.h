/* Shared by core/inventory*.c only: walking what selectors name, references between secrets, what keeps one from
 * being forgotten. */
#ifndef CORE_INVENTORY_INSIDE_H
#define CORE_INVENTORY_INSIDE_H

#include "inventory.h"

/* Calls `each` for every secret that the selectors name (n == 0: all), once, ordered by id (by due time with
 * opts->due and at most one selector). `decl` may be NULL in what is handed out. `opts` may be NULL: no further
 * condition. A selector that is an exact id must name a secret (ERR_USAGE), even if `opts` then leaves it out. */
bool inventory_each(struct home *, const char *const selectors[], size_t n, const struct inventory_list_opts *opts,
                    state_secret_fn *each, void *arg, struct err *) MUST_CHECK;

/* The meta key under which the file that declared `id` is remembered. The caller frees. */
char *inventory_source_key(const char *id);

/* What differs between two canonical declarations (`before` NULL: there was none): the change's document members
 * "differs", "next" and "note" are set in `ret`. `s` is the state before the change, `frozen` what its
 * unfinished rotation works by (NULL: there is none). */
void inventory_diff(const struct state_secret *s, const json_t *frozen, const json_t *before, const json_t *after,
                    json_t *ret);

/* The ids that a canonical declaration takes credentials from: a list of strings, each once. The caller owns it. */
json_t *inventory_refs_of(const json_t *decl);
/* ERR_REFUSED when a secret that stays logs in with one of `gone` (an object whose keys are ids). */
bool inventory_refs_unused(struct home *, const json_t *gone, struct err *) MUST_CHECK;
/* Follows references through the state, from `start`. *ret_loop is "a -> b -> a", or NULL where there is no loop;
 * the caller frees. `visited` is an object kept by the caller over several starts, so that nothing is walked twice.
 * ERR_USAGE when a reference leads to a secret that is not there. */
bool inventory_refs_loop(struct home *, const char *start, json_t *visited, char **ret_loop, struct err *) MUST_CHECK;

/* ERR_REFUSED while a rotation is unfinished, or a living version's value is kept nowhere but here. */
bool inventory_forget_allowed(struct home *, const struct state_secret *, struct err *) MUST_CHECK;
/* Writes the leaf (act `inventory.forget`) and removes it. In a transaction. */
bool inventory_forget_one(struct home *, const struct state_secret *, const char *op, const char *reason,
                          struct err *) MUST_CHECK;

/* A state_secret that is cleared at the end of its scope. */
void inventory_secret_auto(struct state_secret *);
#define INVENTORY_SECRET __attribute__((cleanup(inventory_secret_auto))) struct state_secret

#endif
