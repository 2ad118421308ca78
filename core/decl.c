#include "core/decl.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/load_tables.h"
#include "core/mem.h"

#define ID_MAX 200

bool decl_id_ok(const char *id)
{
	if (strlen(id) > ID_MAX)
		return false;
	for (const char *at = id;; at++) {
		size_t len = strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
		if (len == 0 || (len <= 2 && strspn(at, ".") >= len))
			return false;
		at += len;
		if (*at != '/')
			return !*at;
	}
}

void decl_digest(const json_t *json, char ret[65])
{
	AUTO_TEXT *text = json_text(json);
	unsigned char hash[crypto_hash_sha256_BYTES];
	crypto_hash_sha256(hash, (const unsigned char *)text, strlen(text));
	sodium_bin2hex(ret, 65, hash, sizeof hash);
}

static bool damaged(const char *key, struct err *e)
{
	return err_set(e, ERR_FAILED, "a declaration is damaged at '%.64s'", key);
}

static bool text_or_null(const json_t *j, const char *key, struct err *e)
{
	const json_t *v = json_object_get(j, key);
	return json_is_null(v) || (json_is_string(v) && json_string_length(v)) || damaged(key, e);
}

static bool parse_target(const json_t *j, unsigned role, const struct schema_key *table, struct decl_target *ret,
                         struct err *e)
{
	const char *key;
	if (!schema_fits(j, table, "params", true, &key))
		return damaged(key, e);
	const char *provider = json_str(j, "provider");
	*ret = (struct decl_target){ .name = json_str(j, "name"),
		                     .kind = provider ? kind_find(provider) : NULL,
		                     .params = json_object_get(j, "params"),
		                     .auth = json_object_get(j, "auth") };
	if (!ret->name || !provider)
		return damaged(ret->name ? "provider" : "name", e);
	if (!ret->kind || !(ret->kind->roles & role))
		return err_set(e, ERR_FAILED, "this rotor has no provider '%.64s' for '%.64s'", provider, ret->name);
	if (!schema_fits(ret->params, ret->kind->params, NULL, false, &key))
		return damaged(key, e) || err_prefix(e, "target '%.64s'", ret->name);
	if (json_is_null(ret->auth))
		ret->auth = NULL;
	return true;
}

static void parse_confirm(const json_t *j, struct decl_confirm *ret)
{
	const json_t *authority = json_object_get(j, "authority");
	*ret = (struct decl_confirm){ .kind = DECL_CONFIRM_MANUAL };
	if (authority)
		*ret = (struct decl_confirm){ .kind = DECL_CONFIRM_AUTHORITY,
			                      .application_name = json_str(authority, "application_name"),
			                      .client = json_str(authority, "client"),
			                      .min = json_int(authority, "min", 1),
			                      .none_old = json_bool(authority, "none_old") };
	else if (json_object_get(j, "command"))
		*ret = (struct decl_confirm){ .kind = DECL_CONFIRM_COMMAND, .argv = json_object_get(j, "command") };
}

static bool parse_consumer(const json_t *j, struct decl_consumer *ret, struct err *e)
{
	if (!parse_target(j, KIND_CONSUMER, load_tables_consumer, &ret->t, e))
		return false;
	const json_t *confirms = json_object_get(j, "confirm");
	if (json_array_size(confirms) > DECL_CONFIRMS_MAX)
		return damaged("confirm", e);
	ret->cache_ttl = json_int(j, "cache_ttl", 0);
	ret->health = json_object_get(j, "health");
	ret->n_confirms = json_array_size(confirms);
	for (size_t i = 0; i < ret->n_confirms; i++)
		parse_confirm(json_array_get(confirms, i), &ret->confirms[i]);
	return true;
}

static bool parse_policy(const json_t *j, struct decl_policy *ret, struct err *e)
{
	const char *key;
	if (!schema_fits(j, load_tables_policy, "name approvals", true, &key))
		return damaged(key, e);
	if (!text_or_null(j, "name", e))
		return false;
	if (!json_is_null(json_object_get(j, "approvals")))
		return damaged("approvals", e);
	const json_t *probe = json_object_get(j, "probe"), *canary = json_object_get(j, "canary");
	const json_t *drain = json_object_get(j, "drain");
	*ret = (struct decl_policy){ .name = json_str(j, "name"),
		                     .rotate_every = json_int(j, "rotate_every", 0),
		                     .max_age = json_int(j, "max_age", -1),
		                     .jitter = (int)json_int(j, "jitter", 0),
		                     .window = json_str(j, "window"),
		                     .freeze = json_object_get(j, "freeze"),
		                     .probe_successes = json_int(probe, "successes", 0),
		                     .probe_timeout = json_int(probe, "timeout", 0),
		                     .probe_query = json_str(probe, "query"),
		                     .canary_consumers = json_int(canary, "consumers", 0),
		                     .canary_bake = json_int(canary, "bake", 0),
		                     .confirm_timeout = json_int(json_object_get(j, "confirm"), "timeout", 0),
		                     .overlap = json_int(j, "overlap", 0),
		                     .quiet_for = json_int(drain, "quiet_for", 0),
		                     .sample = json_int(drain, "sample", 0),
		                     .drain_timeout = json_int(drain, "timeout", 0),
		                     .revoke_on_timeout = strcmp(json_str(drain, "on_timeout"), "revoke") == 0,
		                     .soak = json_int(j, "soak", 0),
		                     .retry_deadline = json_int(json_object_get(j, "retry"), "deadline", 0),
		                     .hold_on_failure = strcmp(json_str(j, "on_failure"), "hold") == 0 };
	return true;
}

static bool parse_secret(const json_t *j, struct decl *d, struct err *e)
{
	const char *key;
	if (!schema_fits(j, load_tables_secret, "id policy authority stores consumers", true, &key))
		return damaged(key, e);
	d->id = json_str(j, "id");
	d->type = json_str(j, "type");
	d->owner = json_str(j, "owner");
	if (!d->id || !decl_id_ok(d->id) || !d->type || !d->owner)
		return damaged(!d->type ? "type" : !d->owner ? "owner" : "id", e);
	const json_t *generate = json_object_get(j, "generate");
	d->risk = json_str(j, "risk");
	d->labels = json_object_get(j, "labels");
	d->accept_outage = json_bool(j, "accept_outage");
	d->keep_none = strcmp(json_str(j, "keep"), "none") == 0;
	d->length = json_int(generate, "length", 0);
	d->alphabet = json_str(generate, "alphabet");
	d->adopt = json_str(json_object_get(j, "adopt"), "username");
	return true;
}

static bool parse_targets(const json_t *j, struct decl *d, struct err *e)
{
	const json_t *stores = json_object_get(j, "stores"), *consumers = json_object_get(j, "consumers");
	if (!json_is_array(stores) || json_array_size(stores) > DECL_TARGETS_MAX)
		return damaged("stores", e);
	if (!json_is_array(consumers) || json_array_size(consumers) > DECL_TARGETS_MAX)
		return damaged("consumers", e);
	if (!parse_target(json_object_get(j, "authority"), KIND_AUTHORITY, load_tables_target, &d->authority, e))
		return false;
	d->n_stores = json_array_size(stores);
	d->stores = mem_array(d->n_stores + 1, sizeof *d->stores);
	for (size_t i = 0; i < d->n_stores; i++)
		if (!parse_target(json_array_get(stores, i), KIND_STORE, load_tables_target, &d->stores[i], e))
			return false;
	d->n_consumers = json_array_size(consumers);
	d->consumers = mem_array(d->n_consumers + 1, sizeof *d->consumers);
	for (size_t i = 0; i < d->n_consumers; i++)
		if (!parse_consumer(json_array_get(consumers, i), &d->consumers[i], e))
			return false;
	return true;
}

bool decl_parse(json_t *json, struct decl *ret, struct err *e)
{
	struct decl d = { .json = json_incref(json) };
	if (!parse_secret(json, &d, e) || !parse_policy(json_object_get(json, "policy"), &d.policy, e) ||
	    !parse_targets(json, &d, e)) {
		decl_clear(&d);
		return false;
	}
	*ret = d;
	return true;
}

void decl_clear(struct decl *d)
{
	free(d->stores);
	free(d->consumers);
	json_decref(d->json);
	*d = (struct decl){ 0 };
}
