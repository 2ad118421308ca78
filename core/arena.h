/* The one guarded arena of a process: locked in memory, left out of core dumps, a page that faults before and behind.
 * Data key and values of running steps live here and nowhere else for longer than a call. */
#ifndef CORE_ARENA_H
#define CORE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include "err.h"

#define ARENA_SIZE ((size_t)1 << 20)

/* Once per process, before the first arena_alloc: sodium_init, no core dumps, the lock. ERR_TEMPORARY when memory
 * cannot be locked (RLIMIT_MEMLOCK), with the figure that is needed. */
bool arena_init(struct err *) MUST_CHECK;
/* Zeroed; ends the process with 75 when the arena is full. */
void *arena_alloc(size_t size);
void arena_free(void *); /* wipes; takes NULL */

#endif
