#include "providers/provider.h"

#include <string.h>

extern const struct provider provider_command, provider_file, provider_postgres, provider_pull;

static const struct provider *const all[] = { &provider_command, &provider_file, &provider_postgres, &provider_pull };
#define N (sizeof all / sizeof *all)

const char *provider_missing(const struct provider *p)
{
	bool authority = p->kind.roles & KIND_AUTHORITY, store = p->kind.roles & KIND_STORE;
	const struct {
		const char *name;
		bool there, needed;
	} f[] = {
		{ "open", p->open, true },        { "close", p->close, true },
		{ "plan", p->plan, true },        { "put", p->put, true },
		{ "look", p->look, true },        { "drop", p->drop, authority || store },
		{ "probe", p->probe, authority }, { "list", p->list, authority },
	};
	for (size_t i = 0; i < sizeof f / sizeof *f; i++)
		if (f[i].needed && !f[i].there)
			return f[i].name;
	return NULL;
}

const struct provider *provider_find(const char *name)
{
	for (size_t i = 0; i < N; i++)
		if (strcmp(all[i]->kind.name, name) == 0 && !provider_missing(all[i]))
			return all[i];
	return NULL;
}

void provider_register_all(void)
{
	static const struct kind *kinds[N];
	size_t n = 0;
	for (size_t i = 0; i < N; i++)
		if (!provider_missing(all[i]))
			kinds[n++] = &all[i]->kind;
	kind_register(kinds, n);
}
