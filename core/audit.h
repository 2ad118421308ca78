/* Checking and exporting the log. `audit_verify` checks proofs; the world is checked by engine_verify. */
#ifndef CORE_AUDIT_H
#define CORE_AUDIT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include "err.h"
#include "home.h"

struct audit_result {
	uint64_t size;         /* leaves checked */
	uint64_t heads;        /* signed heads checked */
	uint64_t open_intents; /* intents without an outcome */
	char problem[512];     /* the first bad place and what is wrong with it; "" none */
	uint64_t problem_at;   /* leaf or head size */
};
/* Every leaf re-hashed, its `seq`, every head's signature and root, the texts that leaves name by size and digest, the
 * vkey and checkpoint under audit/. Memory does not grow with the log, only with intents that are open. Stops at the
 * first problem. Hashes with OpenSSL where it is installed. Returns false only when it could not be done. */
bool audit_verify(struct home *, struct audit_result *ret, struct err *) MUST_CHECK;
/* The same, texts as `blob/HEX`, over an export directory and a vkey (NULL: the one in the export), without a home. */
bool audit_verify_export(const char *dir, const char *vkey_file, struct audit_result *ret, struct err *) MUST_CHECK;
/* Writes checkpoint, vkey, tile/..., tile/entries/... and blobs; incremental: complete tiles that are there are kept,
 * everything by temporary file and rename, the checkpoint last. */
bool audit_export(struct home *, const char *dir, uint64_t *ret_size, struct err *) MUST_CHECK;
/* The newest signed head, as text. The caller frees. */
bool audit_checkpoint(struct home *, char **ret, struct err *) MUST_CHECK;

#endif
