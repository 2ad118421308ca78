/* A growable byte buffer with a ceiling. It wipes what it leaves behind, so secrets may pass through it. Embed it, set
 * it up with BUF_INIT(max), end it with buf_clear (or AUTO_BUF). */
#ifndef CORE_BUF_H
#define CORE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include "err.h"

struct buf {
	char *data; /* NUL behind the last byte once something was added; NULL before */
	size_t len, cap, max;
	bool over; /* an addition would have passed `max`; sticky, the contents stay as they were */
};

#define BUF_INIT(ceiling)                                                                                              \
	{                                                                                                              \
		.max = (ceiling)                                                                                       \
	}
#define AUTO_BUF __attribute__((cleanup(buf_clear))) struct buf

/* Each returns false, and changes nothing, when the ceiling would be passed or was passed before. A builder may ignore
 * that and look at `over` once at the end. */
bool buf_add(struct buf *, const void *bytes, size_t len);
bool buf_str(struct buf *, const char *text);
bool buf_printf(struct buf *, const char *fmt, ...) PRINTF(2, 3);
/* Room for `len` further bytes behind the end; NULL over the ceiling. Count what was written with buf_wrote. */
char *buf_room(struct buf *, size_t len);
void buf_wrote(struct buf *, size_t len);
void buf_reset(struct buf *); /* empty again, wiped, memory kept */
void buf_clear(struct buf *); /* wiped and freed; may be used again */
/* Reads all of `fd`, or as much as the ceiling lets it: then ERR_USAGE naming `what`. */
bool buf_read_fd(struct buf *, int fd, const char *what, struct err *) MUST_CHECK;

#endif
