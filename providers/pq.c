#include "providers/pq.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#define LIBRARY "libpq.so.5"

static const struct {
	const char *name;
	size_t at;
} symbols[] = {
#define SYMBOL(name) { #name, offsetof(struct pq, name) },
	PQ_FUNCTIONS(SYMBOL)
#undef SYMBOL
};

const struct pq *pq_load(struct err *e)
{
	static struct pq table;
	static bool loaded;
	if (loaded)
		return &table;
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		err_set(e, ERR_FAILED, "the library '%s' could not be loaded", LIBRARY);
		err_hint(e, "install the package libpq5");
		return NULL;
	}
	for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
		void *f = dlsym(library, symbols[i].name);
		if (!f) {
			err_set(e, ERR_FAILED, "the library '%s' is too old: it has no '%s'", LIBRARY, symbols[i].name);
			err_hint(e, "install libpq5 14 or newer");
			return NULL;
		}
		memcpy((char *)&table + symbols[i].at, &f, sizeof f);
	}
	loaded = true;
	return &table;
}
