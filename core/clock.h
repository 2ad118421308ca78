/* The clocks, and times as text. All times are int64_t milliseconds; -1 is "none". */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include "err.h"

#define CLOCK_TEXT 32

int64_t clock_wall(void);                                    /* CLOCK_REALTIME, since 1970 */
int64_t clock_boot(void);                                    /* CLOCK_BOOTTIME: runs through suspend, never jumps */
const char *clock_boot_id(void);                             /* the kernel's random id of this boot; static */
const char *clock_text(int64_t ms, char ret[CLOCK_TEXT]);    /* RFC 3339 UTC, seconds: 2026-11-21T10:20:00Z */
const char *clock_text_ms(int64_t ms, char ret[CLOCK_TEXT]); /* with milliseconds, as the log's leaves have it */
bool clock_parse(const char *text, int64_t *ret_ms);         /* either form, `Z` or an offset */
const char *clock_span(int64_t ms, char ret[CLOCK_TEXT]);    /* for people: `9m58s`, `2d4h`, `350ms` */

#endif
