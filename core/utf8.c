#include "utf8.h"

#include <string.h>

/* Length of the well-formed sequence at the start of `p`, 0 if there is none. */
static size_t sequence(const unsigned char *p, size_t len)
{
	if (p[0] < 0x80)
		return 1;
	size_t n = p[0] >= 0xc2 && p[0] <= 0xdf ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4 : 0;
	if (!n || n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
	bool surrogate = p[0] == 0xed && p[1] >= 0xa0;
	bool beyond = p[0] == 0xf4 && p[1] >= 0x90;
	return overlong || surrogate || beyond ? 0 : n;
}

bool utf8_text(const char *bytes, size_t len)
{
	for (size_t at = 0; at < len;) {
		size_t n = bytes[at] ? sequence((const unsigned char *)bytes + at, len - at) : 0;
		if (!n)
			return false;
		at += n;
	}
	return true;
}

void utf8_printable(const char *text, size_t size, char ret[])
{
	size_t len = strlen(text), out = 0;
	for (size_t at = 0; at < len;) {
		if (text[at] >= 0x20 && text[at] < 0x7f &&
		    out + 2 <= size) { /* nearly all that there is, in lists of a million */
			ret[out++] = text[at++];
			continue;
		}
		const unsigned char *p = (const unsigned char *)text + at;
		size_t n = sequence(p, len - at);
		/* C1 controls are two bytes in UTF-8 and some terminals obey them */
		bool show = n && p[0] >= 0x20 && p[0] != 0x7f && !(p[0] == 0xc2 && p[1] < 0xa0);
		size_t take = show ? n : 1;
		if (out + take + 1 > size)
			break;
		if (show)
			memcpy(ret + out, p, n);
		else
			ret[out] = '?';
		out += take;
		at += n ? n : 1;
	}
	ret[out] = '\0';
}
