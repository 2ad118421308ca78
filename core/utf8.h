/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef CORE_UTF8_H
#define CORE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

bool utf8_text(const char *bytes, size_t len); /* well-formed and without NUL */
/* Copies `text` to `ret`, at most `size` bytes with the final NUL, as something safe to show on a terminal: control
 * characters and malformed bytes become '?'. */
void utf8_printable(const char *text, size_t size, char ret[]);

#endif
