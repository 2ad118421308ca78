#include "ulid.h"

#include <sodium.h>
#include <stdint.h>
#include <string.h>

#include "clock.h"

#define RANDOM_BYTES 10
#define DIGITS (ULID_SIZE - 1)

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

struct parts {
	uint64_t ms;
	unsigned char random[RANDOM_BYTES];
};

/* Makes `p` greater. The step is random, so that a fork that inherited `p` goes another way. */
static void raise_by_some(struct parts *p)
{
	uint64_t carry = (uint64_t)randombytes_random() + 1;
	for (size_t i = RANDOM_BYTES; i-- > 0 && carry;) {
		carry += p->random[i];
		p->random[i] = (unsigned char)carry;
		carry >>= 8;
	}
	if (carry)
		p->ms++;
}

void ulid_new(char ret[ULID_SIZE])
{
	static struct parts last;
	uint64_t now = (uint64_t)clock_wall();
	if (now > last.ms) {
		last.ms = now;
		randombytes_buf(last.random, sizeof last.random);
	} else {
		raise_by_some(&last);
	}
	for (size_t i = 0; i < 10; i++)
		ret[i] = alphabet[last.ms >> (45 - 5 * i) & 31];
	/* 80 bits are two groups of 40, eight digits each */
	for (size_t half = 0; half < 2; half++) {
		uint64_t bits = 0;
		for (size_t i = 0; i < 5; i++)
			bits = bits << 8 | last.random[half * 5 + i];
		for (size_t i = 0; i < 8; i++)
			ret[10 + half * 8 + i] = alphabet[bits >> (35 - 5 * i) & 31];
	}
	ret[DIGITS] = '\0';
}

bool ulid_ok(const char *text)
{
	return strlen(text) == DIGITS && strspn(text, alphabet) == DIGITS && text[0] <= '7';
}
