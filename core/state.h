/* The one place that talks to state.db: SQLite, WAL, synchronous=FULL, secure_delete. Step rows, log leaves and the
 * signed head are one transaction, so the log can neither lag nor lead. Texts given out are owned by the receiver
 * unless said otherwise; times are ms since 1970, -1 none. Nothing of SQLite's own words reaches a message but its
 * error name. */
#ifndef CORE_STATE_H
#define CORE_STATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "decl.h"
#include "err.h"
#include "fields.h"
#include "lock.h"
#include "seal.h"
#include "tlog.h"
#include "ulid.h"

#define STATE_SCHEMA 1

struct state;

enum state_mode { STATE_READ, STATE_WRITE };

/* Makes a new database at `path` (must not be there), 0600, with the meta rows given and leaf 0 (`act` "init"). */
struct state_birth {
	const char *home;             /* ULID of the home */
	const char *origin;           /* the log's origin and key name */
	const char *machine;          /* machine id, or "any" */
	const unsigned char *wrapped; /* data key, core/seal.h */
	size_t wrapped_len;
	const unsigned char *log_sk; /* 64 bytes, Ed25519 */
};
bool state_create(const char *path, const struct state_birth *, struct err *) MUST_CHECK;

/* Opens. Checks size, owner, mode, that it is a rotor database, its schema (newer: ERR_REFUSED naming both), the last
 * head's signature against the key in meta and that the frontier folds to its root. `lock` is borrowed; NULL with
 * STATE_READ only, which sees the state as it was when it was opened. */
bool state_open(const char *path, enum state_mode, struct lock *, struct state **ret, struct err *) MUST_CHECK;
void state_close(struct state *);
/* The log's secret key (64 bytes, borrowed, in the arena) and the seal, needed before the first commit and value. */
void state_keys(struct state *, const unsigned char *log_sk, const struct seal *);
/* Meta: home, origin, machine, owner, wrapped, vkey, ... NULL when absent; borrowed until the next call for the same
 * key. */
const char *state_meta(struct state *, const char *key);
/* The same for keys of any length and number ("source/ID": the file that declared ID); the caller frees. */
char *state_meta_copy(struct state *, const char *key);
bool state_meta_blob(struct state *, const char *key, unsigned char *ret, size_t *len, struct err *) MUST_CHECK;
bool state_meta_set(struct state *, const char *key, const char *text,
                    struct err *) MUST_CHECK; /* in a transaction; NULL removes it */

/* ---- transactions. begin takes the commit turn (ERR_TEMPORARY after 30 s), then BEGIN IMMEDIATE. commit writes
 * leaves, frontier and signed head, commits (one sync), gives the turn back, then derives audit/checkpoint without a
 * sync. Disk full or a failed sync: rolled back, ERR_TEMPORARY, nothing has happened. A transaction without leaves
 * signs no head. */
bool state_begin(struct state *, struct err *) MUST_CHECK;
bool state_commit(struct state *, struct err *) MUST_CHECK;
void state_abort(struct state *);
bool state_in_transaction(const struct state *);

/* ---- the log */
struct state_leaf { /* absent: NULL, 0, -1. v, seq, ts, actor, host and home are filled in */
	const char *op, *act, *secret, *rotation, *step, *target, *handle, *reason, *incident, *policy_digest, *fp_old,
		*fp_new, *receipt, *outcome;
	uint32_t version, attempt;
	int64_t policy_max_age;
};
/* In a transaction. A reason or receipt over 16 KiB, or one that begins like it, becomes a blob, "sha256:HEX:SIZE"
 * stands in its place; other texts are cut ("...") so that the leaf fits. */
bool state_log(struct state *, const struct state_leaf *, struct err *) MUST_CHECK;
bool state_head(struct state *, char **ret_note, struct tlog_checkpoint *ret, struct err *) MUST_CHECK; /* newest */
int64_t state_last_leaf_ms(struct state *); /* `ts` of the newest leaf, -1 none: a wall clock behind it is wrong */
typedef bool state_leaf_fn(void *arg, uint64_t seq, const char *leaf, size_t len, struct err *);
/* Leaves from..to-1. */
bool state_leaves(struct state *, uint64_t from, uint64_t to, state_leaf_fn *, void *arg, struct err *) MUST_CHECK;
tlog_subtree state_subtree; /* arg: struct state * */
/* Texts over 16 KiB (plans) by their SHA-256, exported with the log. */
typedef bool state_blob_fn(void *arg, const char *sha, const char *text, size_t len, struct err *);
bool state_blobs(struct state *, state_blob_fn *, void *arg, struct err *) MUST_CHECK;
/* The size of one of them; `sha` is 64 bytes of text. */
bool state_blob_size(struct state *, const char *sha, bool *ret_found, uint64_t *ret_size, struct err *) MUST_CHECK;
typedef bool state_head_fn(void *arg, uint64_t size, const char *note, struct err *);
bool state_heads(struct state *, state_head_fn *, void *arg, struct err *) MUST_CHECK; /* by size */
bool state_head_at(struct state *, uint64_t size, char **ret_note,
                   struct err *) MUST_CHECK; /* NULL: none of that size */
/* Verifies a head by the log's key under the origin that it names: the current or an earlier one, or any_origin. */
bool state_head_open(struct state *, const char *note, bool any_origin, struct tlog_checkpoint *ret,
                     struct err *) MUST_CHECK;
const struct tlog_vkey *state_vkey(const struct state *); /* borrowed; its name is the current origin */
/* Makes audit/checkpoint and audit/vkey anew from the newest head, under the commit turn. */
bool state_derive(struct state *, struct err *) MUST_CHECK;
/* From now on state_log refuses (ERR_REFUSED, `why`): a state that is not trusted must not sign heads that may
 * disagree with others under the same name. NULL lifts it. */
void state_hold(struct state *, const char *why);
/* Begins a new origin, in a transaction: the key stays, its name and all heads from now on are the new one's. */
bool state_origin_set(struct state *, const char *origin, struct err *) MUST_CHECK;

/* ---- secrets */
struct state_secret {
	int64_t row;                 /* >= 1, never reused; the lease byte */
	char *id, *decl, digest[65]; /* decl: canonical text */
	char *owner, *risk, *type, *provider, *policy, *labels;
	uint32_t version; /* current, 0 none */
	int64_t issued_at, rotated_at, due_at, expires_at;
	bool has_unfinished; /* a rotation that has not ended */
};
void state_secret_clear(struct state_secret *);
/* Inserts or updates by id; versions and schedule stay. *ret_changed: the canonical text differs from what was there.
 */
bool state_secret_put(struct state *, const struct decl *, bool *ret_changed, struct err *) MUST_CHECK;
bool state_secret_get(struct state *, const char *id, struct state_secret *ret, bool *ret_found,
                      struct err *) MUST_CHECK;
struct state_select {   /* NULL and -1: any. All that are set must hold */
	const char *id; /* exact or glob: one star within a level, two stars across levels */
	const char *owner, *risk, *type, *provider, *label, *label_value;
	int64_t due_before, expiring_before;
	int64_t limit; /* -1 all */
};
typedef bool state_secret_fn(void *arg, const struct state_secret *, struct err *); /* false ends with its error */
/* Ordered by id, or by due time when due_before is set (then without those that have an unfinished rotation). What `fn`
 * gets is borrowed for the call; `decl` is NULL unless with_decl. */
bool state_secrets(struct state *, const struct state_select *, bool with_decl, state_secret_fn *, void *arg,
                   struct err *) MUST_CHECK;
bool state_secret_schedule(struct state *, int64_t row, int64_t rotated_at, int64_t due_at, int64_t expires_at,
                           struct err *) MUST_CHECK;
bool state_secret_forget(struct state *, int64_t row,
                         struct err *) MUST_CHECK; /* with versions and values; rotations stay */

/* ---- versions and their values */
enum state_vstate {
	STATE_PENDING,
	STATE_CURRENT,
	STATE_PREVIOUS,
	STATE_SUSPENDED,
	STATE_REVOKED,
	STATE_ORPHANED,
	STATE_VSTATES
};
const char *state_vstate_name(enum state_vstate);
struct state_version {
	uint32_t n;
	enum state_vstate state;
	int64_t issued_at, expires_at, revoked_at;
	char handle[256];         /* "" not known */
	char rotation[ULID_SIZE]; /* "" imported or adopted */
	char reason[256];
	char fp[SEAL_FP_TEXT]; /* "" value never known */
	char slot[64];         /* for single-purpose marks of the engine; "" none */
	bool has_value;        /* out only */
};
bool state_version_put(struct state *, int64_t row, const struct state_version *,
                       struct err *) MUST_CHECK; /* insert or replace by n */
/* Newest first; *ret is one block to free(). At most one version is current: put keeps the secret's columns in step. */
bool state_versions(struct state *, int64_t row, struct state_version **ret, size_t *ret_n, struct err *) MUST_CHECK;
bool state_value_put(struct state *, int64_t row, const char *id, uint32_t n, const struct fields *,
                     struct err *) MUST_CHECK;
bool state_value_get(struct state *, int64_t row, const char *id, uint32_t n, struct fields **ret,
                     struct err *) MUST_CHECK; /* *ret NULL: none is kept */
bool state_value_erase(struct state *, int64_t row, uint32_t n, struct err *) MUST_CHECK;
/* What a target held before a first put, sealed; under a name the engine chooses ("ROTATION/TARGET"). */
bool state_kept_put(struct state *, int64_t row, const char *id, const char *name, const struct fields *,
                    struct err *) MUST_CHECK;
bool state_kept_get(struct state *, int64_t row, const char *id, const char *name, struct fields **ret,
                    struct err *) MUST_CHECK;
bool state_kept_erase(struct state *, int64_t row, struct err *) MUST_CHECK; /* all of the secret's */

/* ---- rotations and their step rows */
struct state_rotation {
	char id[ULID_SIZE];
	int64_t row;                           /* of the secret */
	char *secret, *state, *reason, *actor; /* state: planned running waiting held done rolled_back failed */
	uint32_t version, previous;            /* 0 none */
	int64_t started, ended;                /* ended -1: unfinished */
	int64_t next_at;                       /* when `--due` should look again; -1 only when asked (held) */
	char *waits_for, *held_because;        /* NULL none */
	int64_t until;
	uint32_t runbook;           /* version of the runbook that made it */
	char *plan, *digest, *body; /* frozen plan (JSON), its digest, the engine's own durable figures (JSON) */
};
void state_rotation_clear(struct state_rotation *);
bool state_rotation_put(struct state *, const struct state_rotation *,
                        struct err *) MUST_CHECK; /* insert or replace by id */
/* `which` is a rotation id or a secret id (then the newest one). */
bool state_rotation_get(struct state *, const char *which, struct state_rotation *ret, bool *ret_found,
                        struct err *) MUST_CHECK;
typedef bool state_rotation_fn(void *arg, const struct state_rotation *, struct err *);
/* Unfinished ones, oldest first; with ready_before >= 0 only those with next_at in 0..ready_before. */
bool state_rotations(struct state *, int64_t ready_before, state_rotation_fn *, void *arg, struct err *) MUST_CHECK;

struct state_step {
	int idx; /* order within the rotation */
	char *step, *target, *state, *class_, *receipt, *error,
		*body; /* NULL where absent; body: the engine's figures (JSON) */
	uint32_t version, attempts;
	int64_t started, ended;
};
bool state_step_put(struct state *, const char *rotation, const struct state_step *,
                    struct err *) MUST_CHECK; /* by idx */
bool state_steps(struct state *, const char *rotation, struct state_step **ret, size_t *ret_n, struct err *) MUST_CHECK;
void state_steps_free(struct state_step *, size_t n);

/* After a rotation has closed: truncates the WAL so that erased values are gone from it too. Best effort. */
void state_scrub(struct state *);

#endif
