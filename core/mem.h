/* Memory that is there or the program ends: out of memory is exit 75 with a word on standard error, not an error path.
 * Every step row is durable before its effect, so ending anywhere is safe. */
#ifndef CORE_MEM_H
#define CORE_MEM_H

#include <stddef.h>

#define MEM_RETURNS __attribute__((malloc, returns_nonnull, warn_unused_result))

void *mem_alloc(size_t size) MEM_RETURNS;               /* zeroed; free() it */
void *mem_array(size_t count, size_t size) MEM_RETURNS; /* zeroed; the product is checked */
/* Grows to `count` elements; new ones are not zeroed. Never for secrets: the old copy is not wiped. */
void *mem_grow(void *old, size_t count, size_t size) __attribute__((returns_nonnull, warn_unused_result));
char *mem_dup(const char *text) MEM_RETURNS;
char *mem_dupn(const char *text, size_t len) MEM_RETURNS;
char *mem_printf(const char *fmt, ...) MEM_RETURNS __attribute__((format(printf, 1, 2)));
_Noreturn void mem_out(void);

/* Clean-up by attribute: `AUTO_FREE char *s = NULL;`. Hand over with STEAL(s). */
void mem_auto(void *address_of_pointer);
#define AUTO_FREE __attribute__((cleanup(mem_auto)))
#define STEAL(p)                                                                                                       \
	(__extension__({                                                                                               \
		__typeof__(p) stolen_ = (p);                                                                           \
		(p) = NULL;                                                                                            \
		stolen_;                                                                                               \
	}))

#endif
