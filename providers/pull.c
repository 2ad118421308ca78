/* A consumer that fetches by itself: there is nothing to tell it. What it needs is time (`cache_ttl`) or a receipt
 * (`confirm`), which the loader demands. */
#include <stdio.h>
#include <stdlib.h>

#include "core/mem.h"
#include "providers/provider.h"

struct provider_session {
	char unused;
};

static const struct schema_key keys[] = { { 0 } };

static enum kind_rc session_open(const json_t *params, const struct fields *auth, const struct provider_call *call,
                                 struct provider_session **ret, struct err *e)
{
	(void)params;
	(void)auth;
	(void)call;
	(void)e;
	*ret = mem_alloc(sizeof **ret);
	return KIND_OK;
}

static void session_close(struct provider_session *s)
{
	free(s);
}

static enum kind_rc plan(struct provider_session *s, const struct provider_call *call, struct kind_facts *ret,
                         provider_found *found, void *arg, struct err *e)
{
	(void)s;
	(void)call;
	(void)found;
	(void)arg;
	(void)e;
	*ret = (struct kind_facts){ .put = KIND_IDEMPOTENT };
	return KIND_OK;
}

static enum kind_rc put(struct provider_session *s, const struct provider_call *call, const struct provider_cred *n,
                        const struct provider_cred *prev, struct provider_made *ret, struct err *e)
{
	(void)s;
	(void)call;
	(void)n;
	(void)prev;
	(void)e;
	snprintf(ret->receipt, sizeof ret->receipt, "fetches by itself");
	return KIND_OK;
}

static enum kind_rc look(struct provider_session *s, const struct provider_call *call, const struct provider_cred *n,
                         enum kind_seen *ret, struct provider_made *made, struct err *e)
{
	(void)s;
	(void)call;
	(void)n;
	(void)made;
	(void)e;
	*ret = KIND_HELD;
	return KIND_OK;
}

extern const struct provider provider_pull;
const struct provider provider_pull = {
	.kind = {
		.name = "pull",
		.summary = "a consumer that fetches the secret by itself",
		.roles = KIND_CONSUMER,
		.params = keys,
		.example = "consumers:\n"
		           "  - {name: orders-batch, provider: pull, cache_ttl: 5m}\n",
	},
	.open = session_open,
	.close = session_close,
	.plan = plan,
	.put = put,
	.look = look,
};
