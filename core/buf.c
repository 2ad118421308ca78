#include "buf.h"

#include <errno.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"

char *buf_room(struct buf *b, size_t len)
{
	if (b->over || len > b->max - b->len) {
		b->over = true;
		return NULL;
	}
	if (len + 1 > b->cap - b->len) {
		size_t cap = b->cap ? b->cap : 256;
		while (cap - b->len < len + 1)
			cap *= 2;
		char *grown = mem_alloc(cap);
		if (b->len)
			memcpy(grown, b->data, b->len);
		if (b->data)
			sodium_memzero(b->data, b->cap);
		free(b->data);
		b->data = grown;
		b->cap = cap;
	}
	return b->data + b->len;
}

void buf_wrote(struct buf *b, size_t len)
{
	b->len += len;
	b->data[b->len] = '\0';
}

bool buf_add(struct buf *b, const void *bytes, size_t len)
{
	char *to = buf_room(b, len);
	if (!to)
		return false;
	if (len)
		memcpy(to, bytes, len);
	buf_wrote(b, len);
	return true;
}

bool buf_str(struct buf *b, const char *text)
{
	return buf_add(b, text, strlen(text));
}

bool buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	char *to = n < 0 ? NULL : buf_room(b, (size_t)n);
	if (to) {
		vsnprintf(to, (size_t)n + 1, fmt, again);
		buf_wrote(b, (size_t)n);
	}
	va_end(again);
	return to != NULL;
}

void buf_reset(struct buf *b)
{
	if (b->data)
		sodium_memzero(b->data, b->cap);
	b->len = 0;
	b->over = false;
}

void buf_clear(struct buf *b)
{
	buf_reset(b);
	free(b->data);
	*b = (struct buf)BUF_INIT(b->max);
}

bool buf_read_fd(struct buf *b, int fd, const char *what, struct err *e)
{
	for (;;) {
		/* Most files are small, and all that is taken here is wiped in the end. */
		size_t left = b->max - b->len, step = b->len < 4096 ? 4096 : b->len < 65536 ? b->len : 65536;
		char one, *to = left ? buf_room(b, left < step ? left : step) : &one;
		ssize_t n = read(fd, to, left ? (left < step ? left : step) : 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, ERR_FAILED, errno, "cannot read '%s'", what);
		if (n == 0)
			return true;
		if (!left)
			return err_set(e, ERR_USAGE, "'%s' is larger than %zu bytes", what, b->max);
		buf_wrote(b, (size_t)n);
	}
}
