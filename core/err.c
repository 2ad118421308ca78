#include "err.h"

#include <stdio.h>
#include <string.h>

bool err_vset(struct err *e, enum err_code code, const char *fmt, va_list ap)
{
	if (!e)
		return false;
	char text[sizeof e->message]; /* the arguments may point into the old message */
	vsnprintf(text, sizeof text, fmt, ap);
	memcpy(e->message, text, sizeof text);
	e->code = code;
	e->hint[0] = '\0';
	return false;
}

bool err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	err_vset(e, code, fmt, ap);
	va_end(ap);
	return false;
}

bool err_sys(struct err *e, enum err_code code, int errnum, const char *fmt, ...)
{
	if (!e)
		return false;
	va_list ap;
	va_start(ap, fmt);
	err_vset(e, code, fmt, ap);
	va_end(ap);
	size_t len = strlen(e->message);
	snprintf(e->message + len, sizeof e->message - len, ": %s", strerror(errnum));
	return false;
}

bool err_prefix(struct err *e, const char *fmt, ...)
{
	if (!e)
		return false;
	char text[sizeof e->message];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	size_t len = strlen(text), room = sizeof text - 3, rest = strlen(e->message);
	len = len < room ? len : room;
	rest = rest < room - len ? rest : room - len;
	memmove(e->message + len + 2, e->message, rest);
	memcpy(e->message, text, len);
	memcpy(e->message + len, ": ", 2);
	e->message[len + 2 + rest] = '\0';
	return false;
}

bool err_hint(struct err *e, const char *fmt, ...)
{
	if (!e)
		return false;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(e->hint, sizeof e->hint, fmt, ap);
	va_end(ap);
	return false;
}

int err_worst(int a, int b)
{
	static const int order[] = { ERR_USAGE, ERR_REFUSED, ERR_PARTIAL, ERR_FAILED, ERR_TEMPORARY, ERR_OK };
	for (size_t i = 0; i < sizeof order / sizeof *order; i++)
		if (a == order[i] || b == order[i])
			return order[i];
	return ERR_FAILED;
}
