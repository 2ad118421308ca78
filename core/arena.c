#include "arena.h"

#include <errno.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "mem.h"

/* A chunk is `len` bytes behind its header; first fit, neighbours are joined on free. The arena holds some hundred
 * values at most, so a list is enough. */
struct chunk {
	size_t len;
	size_t used;
};

static unsigned char *base;

static struct chunk *chunk_at(size_t offset)
{
	return (struct chunk *)(void *)(base + offset);
}

bool arena_init(struct err *e)
{
	if (base)
		return true;
	if (sodium_init() < 0)
		return err_set(e, ERR_TEMPORARY, "libsodium does not start");
	struct rlimit none = { 0, 0 };
	if (prctl(PR_SET_DUMPABLE, 0) != 0 || setrlimit(RLIMIT_CORE, &none) != 0)
		return err_sys(e, ERR_TEMPORARY, errno, "cannot switch off core dumps");
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char *map = mmap(NULL, ARENA_SIZE + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED || mprotect(map + page, ARENA_SIZE, PROT_READ | PROT_WRITE) != 0)
		return err_sys(e, ERR_TEMPORARY, errno, "cannot reserve memory for secrets");
	if (mlock(map + page, ARENA_SIZE) != 0) {
		err_sys(e, ERR_TEMPORARY, errno, "cannot lock %zu bytes of memory for secrets", ARENA_SIZE);
		return err_hint(e, "raise RLIMIT_MEMLOCK (ulimit -l %zu, LimitMEMLOCK= in a unit)", ARENA_SIZE / 1024);
	}
	madvise(map + page, ARENA_SIZE, MADV_DONTDUMP);
	madvise(map + page, ARENA_SIZE, MADV_DONTFORK);
	base = map + page;
	chunk_at(0)->len = ARENA_SIZE - sizeof(struct chunk);
	return true;
}

void *arena_alloc(size_t size)
{
	size = (size + 15) & ~(size_t)15;
	for (size_t at = 0; base && size < ARENA_SIZE && at < ARENA_SIZE;
	     at += sizeof(struct chunk) + chunk_at(at)->len) {
		struct chunk *c = chunk_at(at);
		if (c->used || c->len < size)
			continue;
		if (c->len >= size + sizeof(struct chunk) + 16) {
			struct chunk *rest = chunk_at(at + sizeof *c + size);
			rest->len = c->len - size - sizeof *rest;
			rest->used = 0;
			c->len = size;
		}
		c->used = 1;
		memset(c + 1, 0, c->len);
		return c + 1;
	}
	mem_out();
}

void arena_free(void *p)
{
	if (!p)
		return;
	struct chunk *mine = (struct chunk *)p - 1;
	sodium_memzero(p, mine->len);
	mine->used = 0;
	struct chunk *last = NULL;
	for (size_t at = 0; at < ARENA_SIZE;) {
		struct chunk *c = chunk_at(at);
		at += sizeof *c + c->len;
		if (last && !last->used && !c->used)
			last->len += sizeof *c + c->len;
		else
			last = c;
	}
}
