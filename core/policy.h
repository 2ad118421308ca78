/* Durations, windows and the schedule. Pure: no clock is read here. */
#ifndef CORE_POLICY_H
#define CORE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "err.h"

/* `350ms`, `90s`, `10m`, `2h`, `30d`, `4w`; one number and one unit, no sign, no space. ERR_USAGE says what is allowed.
 */
bool policy_duration(const char *text, int64_t *ret_ms, struct err *) MUST_CHECK;
const char *policy_duration_text(int64_t ms, char ret[32]); /* the shortest form that parses back */

/* `DAYS HH:MM-HH:MM [ZONE]`, e.g. "Mon-Fri 09:00-17:00 Europe/Berlin", "Sat,Sun 22:00-02:00" (over midnight). DAYS is a
 * list of days or ranges; ZONE is a name of the system's time-zone database, UTC when left out. */
bool policy_window_check(const char *text, struct err *) MUST_CHECK;
/* The first moment at or after `from_ms` inside the window; `from_ms` itself when it is open then. */
bool policy_window_next(const char *text, int64_t from_ms, int64_t *ret_ms, struct err *) MUST_CHECK;

/* When a secret rotated at `rotated_ms` is due again: every_ms later, moved earlier by up to `jitter_percent`, the same
 * for the same (id, rotated_ms). */
int64_t policy_due(const char *id, int64_t rotated_ms, int64_t every_ms, int jitter_percent);

#endif
