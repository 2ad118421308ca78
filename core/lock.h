/* The home's one lock file. Byte 0 is the commit turn, queued in the kernel; byte n is the lease of the secret with row
 * n. Open-file-description locks, so a lease lives as long as anybody has its descriptor: the coordinator or the helper
 * that it was handed to. Who holds what stands in the same file behind the lock bytes, for messages only. */
#ifndef CORE_LOCK_H
#define CORE_LOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "err.h"

struct lock;

struct lock_holder {
	pid_t pid;
	bool alive; /* the same process (pid, start time, boot) still runs */
	char rotation[32];
	int64_t since_ms; /* wall clock */
};

/* `path` must be there, a regular file of this user that no other may write. ERR_TEMPORARY when the file system has no
 * working locks (tried: a second open file description must be refused). */
bool lock_open(const char *path, struct lock **ret, struct err *) MUST_CHECK;
void lock_close(struct lock *);

/* Waits for the commit turn at most `wait_ms` (0: only tries), then ERR_TEMPORARY naming the holder. While it waits,
 * SIGALRM is unblocked and its handler, which does nothing, stays installed afterwards. One thread only. */
bool lock_turn(struct lock *, int64_t wait_ms, struct err *) MUST_CHECK;
void lock_turn_end(struct lock *);

/* Takes the lease of secret row `row` (1 to 2^24 - 1, else ERR_FAILED) for `rotation`. Never waits: ERR_TEMPORARY with
 * `holder` filled when another has it. *ret_fd is an own open of the file, close-on-exec; closing the last copy gives
 * the lease back. */
bool lock_lease(struct lock *, int64_t row, const char *rotation, int *ret_fd, struct lock_holder *holder,
                struct err *) MUST_CHECK;
bool lock_lease_holder(struct lock *, int64_t row, struct lock_holder *ret); /* false: nobody holds it */

#endif
