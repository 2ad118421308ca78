/* The state's inside: connection, prepared statements, the transaction under way. Shared by core/state*.c only. */
#ifndef CORE_STATE_INSIDE_H
#define CORE_STATE_INSIDE_H

#include <sqlite3.h>

#include "buf.h"
#include "state.h"

#define STATE_STATEMENTS 64
#define STATE_METAS 16
#define STATE_BLOB_OVER ((size_t)16 * 1024) /* a longer text of a leaf becomes a blob */

struct state {
	sqlite3 *db;
	char *path;
	enum state_mode mode;
	struct lock *lock;           /* borrowed */
	int audit_fd;                /* the folder `audit` beside the database, -1 none */
	const unsigned char *log_sk; /* borrowed */
	const struct seal *seal;     /* borrowed */
	struct {
		const char *sql; /* compared by address: each function has its own constant */
		sqlite3_stmt *stmt;
	} cache[STATE_STATEMENTS];
	size_t n_cache;
	struct {
		char key[32], *text;
	} metas[STATE_METAS];
	char home[ULID_SIZE];
	bool open_tx;
	uint64_t leaves;           /* appended by the transaction under way */
	struct tlog_frontier tree; /* as of the transaction under way, or as it was opened */
	struct tlog_vkey vkey;
	char *held; /* why nothing may be logged, NULL nothing */
};

/* One use of a prepared statement. Parameters are bound in order and borrowed until the end of its scope. */
struct state_q {
	struct state *s;
	sqlite3_stmt *stmt;
	int bound;
	bool own; /* not from the cache: the cached one is being stepped further up the stack */
};
#define AUTO_Q __attribute__((cleanup(state_q_end))) struct state_q

bool state_q_open(struct state_q *, struct state *, const char *sql, struct err *) MUST_CHECK;
void state_q_end(struct state_q *);
void state_q_text(struct state_q *, const char *); /* NULL binds NULL */
void state_q_textn(struct state_q *, const char *, size_t);
void state_q_blob(struct state_q *, const void *, size_t);
void state_q_int(struct state_q *, int64_t);
void state_q_time(struct state_q *, int64_t); /* below 0 binds NULL */
bool state_q_next(struct state_q *, bool *ret_row, struct err *) MUST_CHECK;
bool state_q_run(struct state_q *, struct err *) MUST_CHECK; /* to its end; may be bound anew then */
const char *state_q_str(const struct state_q *, int column); /* borrowed until the next step; NULL for NULL */
char *state_q_dup(const struct state_q *, int column);
int64_t state_q_i64(const struct state_q *, int column);
int64_t state_q_when(const struct state_q *, int column); /* NULL is -1 */
const void *state_q_bytes(const struct state_q *, int column, size_t *ret_len);

bool state_exec(struct state *, const char *sql, struct err *) MUST_CHECK;
/* What an SQLite result means for a person. Always false. */
bool state_failed(const struct state *, int rc, struct err *);
/* ERR_FAILED unless a transaction is open: every write asks. */
bool state_must_write(const struct state *, struct err *) MUST_CHECK;
bool state_must_seal(const struct state *, struct err *) MUST_CHECK;

/* state_log.c */
bool state_log_load(struct state *, struct err *) MUST_CHECK; /* tree and vkey from the tables */
/* The newest head's signature, and that the tree folds to its root. */
bool state_log_check(struct state *, struct err *) MUST_CHECK;
bool state_log_sign(struct state *, struct buf *ret_note, struct err *) MUST_CHECK; /* writes tree and head */
void state_log_derive(struct state *, const struct buf *note); /* audit/checkpoint; under the commit turn */

#endif
