/* The inventory: declarations applied to the state, selectors, and what `list` and `show` tell. */
#ifndef CORE_INVENTORY_H
#define CORE_INVENTORY_H

#include <jansson.h>
#include <stdbool.h>
#include "err.h"
#include "home.h"
#include "load.h"

/* Loads and applies files, all or nothing (dry: shows only). The document:
 * {"format":1,"dry_run":false,"changes":[{"secret", "change":"added|changed|removed|unchanged","differs":[JSON
 * pointers],"next":command|null,"note":text|null}]}. Faults are in `faults` and the code is ERR_USAGE. prune drops
 * the secrets that an earlier apply of these same files declared and these no longer do (refused, 3, where a value
 * is only here, a rotation is unfinished or another secret logs in with it). Added consumers or stores of a secret
 * with a current version: `next` is the push. A changed authority or store of a secret with an unfinished rotation
 * is taken; `note` says that the rotation will be held, unless it is what that rotation was begun with. */
int inventory_apply(struct home *, const char *const files[], size_t n, bool dry, bool prune, struct load *faults,
                    json_t **ret, struct err *);
/* Checks files and changes nothing: {"format":1,"files","secrets"} (counts). `home` may be NULL; with one,
 * references to its secrets are good. Faults as above. */
int inventory_validate(struct home *, const char *const files[], size_t n, struct load *faults, json_t **ret,
                       struct err *);
/* Ids that match any of the selectors (ORed; comma within one: ANDed; `owner= risk= type= provider= KEY=VALUE`, id
 * or glob), sorted, without doubles. A selector that matches nothing is ERR_USAGE, unless it is a glob or KEY=VALUE
 * and `may_be_empty`. The caller frees with inventory_free. */
bool inventory_select(struct home *, const char *const selectors[], size_t n, bool may_be_empty, char ***ret,
                      size_t *ret_n, struct err *) MUST_CHECK;
void inventory_free(char **ids, size_t n);

struct inventory_list_opts {
	bool due;
	int64_t expiring_ms; /* -1: any */
};
/* {"format":1,"secrets":[...]} of design section 3; n == 0: all. Values never: see show. */
int inventory_list(struct home *, const char *const selectors[], size_t n, const struct inventory_list_opts *,
                   json_t **ret, struct err *);
/* Streams the human table to standard output without building a document: what `list` does without --json. The
 * heading is left out where standard output is no terminal: scripts and completion read the first column. */
int inventory_print(struct home *, const char *const selectors[], size_t n, const struct inventory_list_opts *,
                    struct err *);
/* One secret in full: also "rotation" (the unfinished one's id, or null) and "versions", whose "fields" is null;
 * effective adds the canonical declaration as the secret's "effective"; reveal fills `fields` of each kept version
 * and logs that first (act `inventory.show`). ERR_USAGE when there is none. */
int inventory_show(struct home *, const char *id, bool effective, bool reveal, json_t **ret, struct err *);
/* Refused (3) while a rotation is unfinished, a living version's value is only here, or another secret logs in with
 * it. On record (act `inventory.forget`). */
int inventory_forget(struct home *, const char *id, const char *reason, struct err *);

#endif
