#include "inventory.h"

#include <stdlib.h>
#include <string.h>

#include "inventory_inside.h"
#include "json.h"
#include "mem.h"

static json_t *document(json_t **ret_secrets)
{
	json_t *doc = json_object();
	json_put_int(doc, "format", 1);
	*ret_secrets = json_array();
	json_object_set_new(doc, "secrets", *ret_secrets);
	return doc;
}

static bool secret_json(const struct state_secret *s, json_t **ret, struct err *e)
{
	json_t *labels =
		s->labels ? json_parse(s->labels, strlen(s->labels), JSON_DEPTH_MAX, "labels", e) : json_object();
	if (!labels)
		return err_prefix(e, "'%s'", s->id);
	json_t *j = json_object();
	json_put_str(j, "id", s->id);
	json_put_str(j, "type", s->type);
	json_put_str(j, "owner", s->owner);
	json_put_str(j, "risk", s->risk);
	json_put_str(j, "provider", s->provider);
	json_put_str(j, "policy", s->policy);
	json_object_set_new(j, "labels", labels);
	json_object_set_new(j, "version", s->version ? json_integer(s->version) : json_null());
	json_put_time(j, "issued_at", s->issued_at);
	json_put_time(j, "rotated_at", s->rotated_at);
	json_put_time(j, "due_at", s->due_at);
	json_put_time(j, "expires_at", s->expires_at);
	*ret = j;
	return true;
}

static json_t *version_json(const struct state_version *v)
{
	json_t *j = json_object();
	json_put_int(j, "version", v->n);
	json_put_str(j, "state", state_vstate_name(v->state));
	json_put_str(j, "handle", v->handle[0] ? v->handle : NULL);
	json_put_time(j, "issued_at", v->issued_at);
	json_put_time(j, "expires_at", v->expires_at);
	json_put_time(j, "revoked_at", v->revoked_at);
	json_put_str(j, "reason", v->reason[0] ? v->reason : NULL);
	json_put_str(j, "fields", NULL);
	return j;
}

/* On record before it is shown: whoever is cut off in between has seen nothing, never the other way round. */
static bool record_reveal(struct home *home, const char *id, const struct state_version *v, size_t n, struct err *e)
{
	char op[ULID_SIZE];
	ulid_new(op);
	if (!state_begin(home->state, e))
		return false;
	bool ok = true;
	for (size_t i = 0; i < n && ok; i++) {
		struct state_leaf leaf = { .op = op,
			                   .act = "inventory.show",
			                   .secret = id,
			                   .version = v[i].n,
			                   .outcome = "done",
			                   .handle = v[i].handle[0] ? v[i].handle : NULL,
			                   .policy_max_age = -1 };
		ok = !v[i].has_value || state_log(home->state, &leaf, e);
	}
	ok = ok && state_commit(home->state, e);
	if (state_in_transaction(home->state))
		state_abort(home->state);
	return ok;
}

static bool reveal_values(struct home *home, const struct state_secret *s, const struct state_version *v, size_t n,
                          json_t *versions, struct err *e)
{
	if (!record_reveal(home, s->id, v, n, e))
		return false;
	for (size_t i = 0; i < n; i++) {
		AUTO_FIELDS *fields = NULL;
		if (!v[i].has_value)
			continue;
		if (!state_value_get(home->state, s->row, s->id, v[i].n, &fields, e))
			return false;
		if (fields)
			json_object_set_new(json_array_get(versions, i), "fields", json_from_fields(fields));
	}
	return true;
}

static bool add_versions(struct home *home, const struct state_secret *s, bool reveal, json_t *j, struct err *e)
{
	AUTO_FREE struct state_version *v = NULL;
	size_t n = 0;
	if (!state_versions(home->state, s->row, &v, &n, e))
		return false;
	json_t *versions = json_array();
	json_object_set_new(j, "versions", versions);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(versions, version_json(&v[i]));
	return !reveal || reveal_values(home, s, v, n, versions, e);
}

static bool add_rotation(struct home *home, const struct state_secret *s, json_t *j, struct err *e)
{
	json_put_str(j, "rotation", NULL);
	if (!s->has_unfinished)
		return true;
	struct state_rotation r = { 0 };
	bool found = false;
	if (!state_rotation_get(home->state, s->id, &r, &found, e))
		return false;
	if (found && r.ended < 0)
		json_put_str(j, "rotation", r.id);
	state_rotation_clear(&r);
	return true;
}

struct listing {
	struct home *home;
	json_t *secrets;
};

static bool list_one(void *arg, const struct state_secret *s, struct err *e)
{
	struct listing *l = arg;
	json_t *j = NULL;
	if (!secret_json(s, &j, e))
		return false;
	json_array_append_new(l->secrets, j);
	return add_versions(l->home, s, false, j, e);
}

int inventory_list(struct home *home, const char *const selectors[], size_t n, const struct inventory_list_opts *opts,
                   json_t **ret, struct err *e)
{
	struct listing l = { .home = home };
	AUTO_JSON *doc = document(&l.secrets);
	if (!inventory_each(home, selectors, n, opts, list_one, &l, e))
		return (int)e->code;
	*ret = STEAL(doc);
	return ERR_OK;
}

int inventory_show(struct home *home, const char *id, bool effective, bool reveal, json_t **ret, struct err *e)
{
	INVENTORY_SECRET s = { 0 };
	bool found = false;
	if (!state_secret_get(home->state, id, &s, &found, e))
		return (int)e->code;
	if (!found) {
		err_set(e, ERR_USAGE, "there is no secret '%s'", id);
		err_hint(e, "rotor inventory list");
		return ERR_USAGE;
	}
	json_t *secrets, *j = NULL;
	AUTO_JSON *doc = document(&secrets);
	if (!secret_json(&s, &j, e))
		return (int)e->code;
	json_array_append_new(secrets, j);
	if (!add_rotation(home, &s, j, e) || !add_versions(home, &s, reveal, j, e))
		return (int)e->code;
	if (effective) {
		json_t *decl = json_parse(s.decl, strlen(s.decl), JSON_DEPTH_MAX, "declaration", e);
		if (!decl) {
			err_prefix(e, "'%s'", id);
			return (int)e->code;
		}
		json_object_set_new(j, "effective", decl);
	}
	*ret = STEAL(doc);
	return ERR_OK;
}
