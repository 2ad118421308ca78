#include "mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void mem_out(void)
{
	static const char text[] = "rotor: out of memory; nothing is lost, run the same command again\n";
	if (write(STDERR_FILENO, text, sizeof text - 1) < 0) { /* there is nobody left to tell */
	}
	_exit(75);
}

void *mem_array(size_t count, size_t size)
{
	void *p = calloc(count ? count : 1, size ? size : 1);
	if (!p)
		mem_out();
	return p;
}

void *mem_alloc(size_t size)
{
	return mem_array(1, size);
}

void *mem_grow(void *old, size_t count, size_t size)
{
	if (size && count > SIZE_MAX / size)
		mem_out();
	void *p = realloc(old, count && size ? count * size : 1);
	if (!p)
		mem_out();
	return p;
}

char *mem_dupn(const char *text, size_t len)
{
	char *p = mem_alloc(len + 1);
	memcpy(p, text, len);
	return p;
}

char *mem_dup(const char *text)
{
	return mem_dupn(text, strlen(text));
}

char *mem_printf(const char *fmt, ...)
{
	char *p = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&p, fmt, ap);
	va_end(ap);
	if (n < 0)
		mem_out();
	return p;
}

void mem_auto(void *address_of_pointer)
{
	void *p;
	memcpy(&p, address_of_pointer, sizeof p);
	free(p);
}
