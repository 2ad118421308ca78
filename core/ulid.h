/* ULIDs (github.com/ulid/spec): 48 bits of milliseconds, 80 random bits, Crockford base 32. Within one process each is
 * greater than the one before. */
#ifndef CORE_ULID_H
#define CORE_ULID_H

#include <stdbool.h>

#define ULID_SIZE 27 /* with NUL */

void ulid_new(char ret[ULID_SIZE]);
bool ulid_ok(const char *text); /* 26 characters of the alphabet, first at most '7' */

#endif
