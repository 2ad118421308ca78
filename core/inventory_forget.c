#include "inventory_inside.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "mem.h"

/* Does anybody but this home keep the current value, going by the declaration? A consumer that fetches by itself is
 * told nothing. */
static bool held_outside(const json_t *decl)
{
	if (json_array_size(json_object_get(decl, "stores")))
		return true;
	size_t i;
	json_t *consumer;
	json_array_foreach(json_object_get(decl, "consumers"), i, consumer) {
		const char *provider = json_str(consumer, "provider");
		if (provider && strcmp(provider, "pull") != 0)
			return true;
	}
	return false;
}

static bool living(const struct state_version *v)
{
	return v->state == STATE_PENDING || v->state == STATE_CURRENT || v->state == STATE_PREVIOUS ||
	       v->state == STATE_SUSPENDED;
}

/* An imported value came from outside; one made here is outside once its rotation has told stores and consumers. */
static bool only_here(const struct state_version *v, bool outside)
{
	return living(v) && v->has_value && (v->state != STATE_CURRENT || (v->rotation[0] && !outside));
}

bool inventory_forget_allowed(struct home *home, const struct state_secret *s, struct err *e)
{
	if (s->has_unfinished) {
		err_set(e, ERR_REFUSED, "'%s' has an unfinished rotation", s->id);
		return err_hint(e, "rotor status %s", s->id);
	}
	AUTO_JSON *decl = json_parse(s->decl, strlen(s->decl), JSON_DEPTH_MAX, "declaration", e);
	if (!decl)
		return err_prefix(e, "'%s'", s->id);
	AUTO_FREE struct state_version *v = NULL;
	size_t n = 0;
	if (!state_versions(home->state, s->row, &v, &n, e))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!only_here(&v[i], held_outside(decl)))
			continue;
		err_set(e, ERR_REFUSED, "the value of version %u of '%s' is kept only here", v[i].n, s->id);
		return v[i].state == STATE_CURRENT ? err_hint(e, "declare a store for it and `rotor push %s`", s->id) :
		                                     err_hint(e, "rotor revoke %s@%u", s->id, v[i].n);
	}
	return true;
}

char *inventory_source_key(const char *id)
{
	return mem_printf("source/%s", id);
}

bool inventory_forget_one(struct home *home, const struct state_secret *s, const char *op, const char *reason,
                          struct err *e)
{
	struct state_leaf leaf = { .op = op,
		                   .act = "inventory.forget",
		                   .secret = s->id,
		                   .version = s->version,
		                   .reason = reason,
		                   .receipt = s->digest,
		                   .outcome = "done",
		                   .policy_max_age = -1 };
	AUTO_FREE char *key = inventory_source_key(s->id);
	return state_log(home->state, &leaf, e) && state_secret_forget(home->state, s->row, e) &&
	       state_meta_set(home->state, key, NULL, e);
}

static bool forget(struct home *home, const char *id, const char *reason, struct err *e)
{
	INVENTORY_SECRET s = { 0 };
	bool found = false;
	if (!state_secret_get(home->state, id, &s, &found, e))
		return false;
	if (!found) {
		err_set(e, ERR_USAGE, "there is no secret '%s'", id);
		return err_hint(e, "rotor inventory list");
	}
	AUTO_JSON *gone = json_object();
	json_put_bool(gone, id, true);
	char op[ULID_SIZE];
	ulid_new(op);
	return inventory_forget_allowed(home, &s, e) && inventory_refs_unused(home, gone, e) &&
	       inventory_forget_one(home, &s, op, reason, e);
}

int inventory_forget(struct home *home, const char *id, const char *reason, struct err *e)
{
	if (!state_begin(home->state, e))
		return (int)e->code;
	bool ok = forget(home, id, reason, e) && state_commit(home->state, e);
	if (state_in_transaction(home->state))
		state_abort(home->state);
	if (ok)
		state_scrub(home->state);
	return ok ? ERR_OK : (int)e->code;
}
