/* Sealing. Values lie in the state under XChaCha20-Poly1305 with a random data key; the data key lies there wrapped by
 * a key-encryption key (an owner-only file under `keys/`). Associated data is (secret, version, field), so that a value
 * cannot be moved to another place. Also the two keyed fingerprints of audit-format. */
#ifndef CORE_SEAL_H
#define CORE_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "buf.h"
#include "err.h"
#include "fields.h"

#define SEAL_FP_TEXT 48 /* "k1:" and 32 hex digits, NUL */
#define SEAL_FIND_BYTES 16
#define SEAL_OVERHEAD 40 /* nonce and tag */
#define SEAL_WRAPPED_MAX 128

struct seal; /* the keys, in the arena */

/* Makes the key files in `keys_dir` (O_EXCL, 0600, synced): kek, log.fp, find.fp; `ret_wrapped` is the new data key
 * under the kek, bound to the other two, to be kept in the state. */
bool seal_create(const char *keys_dir, unsigned char ret_wrapped[SEAL_WRAPPED_MAX], size_t *ret_len,
                 struct err *) MUST_CHECK;
/* ERR_REFUSED with a word on what to do when a key file is missing, readable by others, or when they do not open
 * `wrapped`
 * ("wrong key", never "corrupt"). */
bool seal_open(const char *keys_dir, const unsigned char *wrapped, size_t len, struct seal **ret,
               struct err *) MUST_CHECK;
void seal_free(struct seal *);

/* Appends nonce, ciphertext and tag to `ret`. */
bool seal_value(const struct seal *, const char *secret, uint32_t version, const char *field, const void *value,
                size_t len, struct buf *ret);
/* Opens into `fields` under the name `field`. ERR_FAILED when it was altered or belongs elsewhere. */
bool seal_unseal(const struct seal *, const char *secret, uint32_t version, const char *field, const void *sealed,
                 size_t len, struct fields *ret, struct err *) MUST_CHECK;

/* For the log: BLAKE2b-256 keyed with log.fp over length-prefixed secret id || value, first 128 bits, "k1:<hex>". The
 * value of several fields is their canonical JSON object with sorted keys; `username` alone does not make a version, so
 * it takes part. */
void seal_fingerprint(const struct seal *, const char *secret, const struct fields *, char ret[SEAL_FP_TEXT]);
/* For the state's index only: BLAKE2b keyed with find.fp over the value alone. */
void seal_find(const struct seal *, const void *value, size_t len, unsigned char ret[SEAL_FIND_BYTES]);

#endif
