/* C2SP tlog arithmetic and text forms, over bytes the caller holds: RFC 6962 hashes, the frontier of a growing tree,
 * inclusion and consistency proofs, signed notes, checkpoints, tile names. No files; the only state is tlog_bulk's. */
#ifndef CORE_TLOG_H
#define CORE_TLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "buf.h"
#include "err.h"

#define TLOG_HASH 32
#define TLOG_LEVELS 64
#define TLOG_LEAF_MAX 65535
#define TLOG_NOTE_MAX ((size_t)64 * 1024)
#define TLOG_NAME_MAX 200

struct tlog_hash {
	unsigned char b[TLOG_HASH];
};

void tlog_leaf(const void *data, size_t len, struct tlog_hash *ret);
void tlog_node(const struct tlog_hash *l, const struct tlog_hash *r, struct tlog_hash *ret);

/* From now on hashes with OpenSSL, which uses the processor's own instructions for SHA-256; false and nothing changed
 * where its library is not installed. For whoever has much to hash: opening it takes as long as some thousand hashes.
 */
bool tlog_bulk(void);

/* The roots of the perfect subtrees of a tree of `size` leaves, largest first: as many as `size` has 1 bits. */
struct tlog_frontier {
	uint64_t size;
	size_t n;
	struct tlog_hash h[TLOG_LEVELS];
};
void tlog_append(struct tlog_frontier *, const struct tlog_hash *leaf);
void tlog_root(const struct tlog_frontier *, struct tlog_hash *ret); /* of the empty tree: SHA-256("") */

/* Gives the root of the perfect subtree of 2^level leaves that begins at leaf index << level. */
typedef bool tlog_subtree(void *arg, unsigned level, uint64_t index, struct tlog_hash *ret, struct err *);
/* RFC 6962 2.1.1 and 2.1.2; `ret` holds at most TLOG_LEVELS hashes. */
bool tlog_prove(tlog_subtree *, void *arg, uint64_t index, uint64_t size, struct tlog_hash ret[TLOG_LEVELS],
                size_t *ret_n, struct err *) MUST_CHECK;
bool tlog_prove_consistency(tlog_subtree *, void *arg, uint64_t old_size, uint64_t size,
                            struct tlog_hash ret[TLOG_LEVELS], size_t *ret_n, struct err *) MUST_CHECK;
bool tlog_check(const struct tlog_hash *leaf, uint64_t index, uint64_t size, const struct tlog_hash *root,
                const struct tlog_hash proof[], size_t n);
bool tlog_check_consistency(uint64_t old_size, const struct tlog_hash *old_root, uint64_t size,
                            const struct tlog_hash *root, const struct tlog_hash proof[], size_t n);

/* Signed notes (Ed25519, type 0x01). */
struct tlog_vkey {
	char name[TLOG_NAME_MAX + 1];
	uint32_t id;
	unsigned char pk[32];
};
bool tlog_name_ok(const char *name);
void tlog_vkey_make(const char *name, const unsigned char pk[32], struct tlog_vkey *ret);
bool tlog_vkey_parse(const char *text, struct tlog_vkey *ret, struct err *) MUST_CHECK;
void tlog_vkey_text(const struct tlog_vkey *, struct buf *ret);
/* Appends the signature line (with its newline) of `text` (with its final newline). `sk` is libsodium's 64-byte key. */
void tlog_sign(const struct tlog_vkey *, const unsigned char sk[64], const char *text, size_t len, struct buf *ret);
/* Finds the text of a note and verifies it: at least one signature by one of `keys`, every known one good, at least 16
 * lines taken, unknown ones ignored. *ret_len bytes from `note` are the text. */
bool tlog_note_open(const char *note, size_t len, const struct tlog_vkey keys[], size_t n_keys, size_t *ret_len,
                    struct err *) MUST_CHECK;

struct tlog_checkpoint {
	char origin[TLOG_NAME_MAX + 1];
	uint64_t size;
	struct tlog_hash root;
};
void tlog_checkpoint_text(const struct tlog_checkpoint *, struct buf *ret);
bool tlog_checkpoint_parse(const char *text, size_t len, struct tlog_checkpoint *ret, struct err *) MUST_CHECK;

/* "tile/0/x001/x234/067.p/8": `level` -1 is entries; width 256 has no ".p/" part. */
void tlog_tile_path(int level, uint64_t index, unsigned width, char ret[96]);

#endif
