/* The one place where children are made: posix_spawn with default signals, an own process group, no descriptor but
 * those named, and an environment that is given in full. */
#ifndef CORE_CHILD_H
#define CORE_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "buf.h"
#include "err.h"

#define CHILD_FDS_MAX 8

struct child_fd {
	int from; /* in this process; -1: /dev/null */
	int to;   /* in the child */
};

/* `path` is absolute; `env` ends with NULL. All descriptors but `fds` are closed in the child. */
bool child_spawn(const char *path, char *const argv[], char *const env[], const struct child_fd *fds, size_t n_fds,
                 pid_t *ret, struct err *) MUST_CHECK;
/* Runs a program to its end: `input` on its standard input, standard output into `out` (NULL: discarded), standard
 * error discarded. Environment: PATH, HOME, LANG and `env` (NULL-terminated `KEY=value` list or NULL). At the deadline
 * (CLOCK_BOOTTIME ms) the whole process group is killed: false, ERR_TEMPORARY. Output over the ceiling of `out`
 * likewise. Otherwise true, and *ret_status is the exit code (128 + signal when a signal ended it). */
bool child_run(char *const argv[], char *const env[], const void *input, size_t input_len, int64_t deadline_boot_ms,
               struct buf *out, int *ret_status, struct err *) MUST_CHECK;

#endif
