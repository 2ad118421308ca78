/* One secret of a declaration file: its targets, its links, its place in the result. */
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/decl.h"
#include "core/json.h"
#include "core/kind.h"
#include "core/load_inside.h"
#include "core/load_tables.h"
#include "core/mem.h"

#define NAME_MAX_BYTES 200

/* What is shown in lists and used in commands is one short line. */
static void check_line(struct loader *l, const struct tree_node *at, const char *text, const char *what)
{
	bool control = false;
	for (const char *p = text; *p; p++)
		control |= (unsigned char)*p < 0x20 || *p == 0x7f;
	if (control || strlen(text) > NAME_MAX_BYTES)
		check_tell(&l->check, at, "'%s' must be one line of at most %d bytes", what, NAME_MAX_BYTES);
}

/* ---- targets */

static const char *role_name(unsigned role)
{
	return role == KIND_AUTHORITY ? "authority" : role == KIND_STORE ? "store" : "consumer";
}

static void tell_no_kind(struct loader *l, const struct tree_node *at, const char *name, unsigned role)
{
	AUTO_BUF words = BUF_INIT(640);
	const struct kind *k;
	for (size_t i = 0; (k = kind_at(i)); i++)
		if (k->roles & role)
			buf_printf(&words, "%s%s", words.len ? ", " : "", k->name);
	const char *allowed = words.len ? words.data : "none";
	if (!name)
		check_tell(&l->check, at, "the key 'provider' is missing here; as %s this rotor has %s",
		           role_name(role), allowed);
	else if (kind_find(name))
		check_tell(&l->check, at, "provider '%.64s' does not work as %s; this rotor has %s", name,
		           role_name(role), allowed);
	else
		check_tell(&l->check, at, "this rotor has no provider '%.64s'; as %s it has %s", name, role_name(role),
		           allowed);
}

/* The kind of a target; `{file: PATH}` without a provider is short for provider: file. */
static const struct kind *find_kind(struct loader *l, const struct tree_node *map, unsigned role, bool *ret_short)
{
	const struct tree_node *provider = tree_get(map, "provider");
	const char *name = provider && provider->type == TREE_SCALAR ? provider->text : NULL;
	*ret_short = !provider && tree_get(map, "file");
	if (*ret_short)
		name = "file";
	const struct kind *kind = name ? kind_find(name) : NULL;
	if (kind && kind->roles & role)
		return kind;
	if (!provider || provider->type == TREE_SCALAR)
		tell_no_kind(l, provider ? provider : map, name, role);
	else
		check_tell(&l->check, provider, "'provider' must be the name of a kind");
	return NULL;
}

static char *target_name(struct loader *l, const struct check_part *general, const struct kind *kind,
                         const json_t *params, const struct tree_node *map)
{
	const char *given = json_str(general->json, "name");
	char *name = given ? mem_dup(given) : kind->address ? kind->address(params) : NULL;
	if (!name)
		name = mem_dup(kind->name);
	check_line(l, given ? check_node(general, "name") : map, name, "name");
	return name;
}

static void check_params(struct loader *l, const struct kind *kind, unsigned role, const struct check_part *params,
                         const struct tree_node *map)
{
	const char *key = NULL;
	struct err e = { 0 };
	if (!kind->check || kind->check(params->json, role, &key, &e))
		return;
	const struct tree_node *at = key ? check_node(params, key) : NULL;
	check_tell(&l->check, at ? at : map, e.hint[0] ? "%s (%s)" : "%s", e.message, e.hint);
}

/* Canonical form of a target, NULL when its kind is not known. `names` holds the secret's other names. */
static json_t *read_target(struct loader *l, const struct tree_node *map, unsigned role, json_t *names)
{
	bool brief;
	if (map->type != TREE_MAP) {
		if (map->type != TREE_BAD)
			check_tell(&l->check, map, "%s must be a mapping",
			           role == KIND_AUTHORITY ? "an authority" : "each target");
		return NULL;
	}
	static const struct schema_key no_keys[] = { { 0 } };
	const struct kind *kind = find_kind(l, map, role, &brief);
	struct check_part parts[] = { { .table = role == KIND_CONSUMER ? load_tables_consumer : load_tables_target },
		                      { .table = kind ? kind->params : no_keys, .alias_of = "path" } };
	if (kind && brief)
		parts[1].alias = "file";
	size_t faults = load_faults(l);
	check_map(&l->check, map, parts, 2, !kind);
	json_t *target = NULL;
	if (kind) {
		/* a kind's own check may rely on what its table promises */
		if (load_faults(l) == faults)
			check_params(l, kind, role, &parts[1], map);
		AUTO_FREE char *name =
			load_faults(l) == faults ? target_name(l, &parts[0], kind, parts[1].json, map) : NULL;
		if (name && json_object_get(names, name))
			check_tell(&l->check, map,
			           "two targets of this secret are called '%.100s'; a 'name' tells them apart", name);
		if (name)
			json_object_set_new(names, name, json_true());
		target = json_pack("{s:s?,s:s,s:O,s:O}", "name", name, "provider", kind->name, "params", parts[1].json,
		                   "auth", json_object_get(parts[0].json, "auth"));
		for (const char *const *k = (const char *const[]){ "cache_ttl", "confirm", "health", NULL }; *k; k++)
			if (json_object_get(parts[0].json, *k))
				json_object_set(target, *k, json_object_get(parts[0].json, *k));
	}
	check_done(parts, 2);
	return target;
}

static void check_consumer(struct loader *l, const json_t *consumer, const struct tree_node *map)
{
	const json_t *confirm = json_object_get(consumer, "confirm");
	if (json_array_size(confirm) > DECL_CONFIRMS_MAX)
		check_tell(&l->check, tree_get(map, "confirm"), "more than %d receipts; %d are allowed",
		           DECL_CONFIRMS_MAX, DECL_CONFIRMS_MAX);
	if (strcmp(json_str(consumer, "provider"), "pull") == 0 && !json_array_size(confirm) &&
	    json_int(consumer, "cache_ttl", 0) == 0)
		check_tell(&l->check, map, "a consumer that fetches by itself needs 'cache_ttl' or 'confirm'");
}

/* Does a value of `map`, or a template, give the user name? A bare value is a field; braces doubled are text. */
static bool gives_username(const char *value, bool bare)
{
	static const char word[] = "username";
	if (bare && strcmp(value, word) == 0)
		return true;
	for (const char *at = value; (at = strchr(at, '{')); at++) {
		if (at[1] == '{') {
			at++;
			continue;
		}
		const char *end = at + sizeof word;
		if (strncmp(at + 1, word, sizeof word - 1) == 0 && (*end == '}' || *end == ':'))
			return true;
	}
	return false;
}

/* With several users each version has another one, which the consumer must be told. */
static void check_username(struct loader *l, const json_t *consumer, const struct tree_node *map)
{
	const json_t *params = json_object_get(consumer, "params"), *values = json_object_get(params, "map");
	const char *key, *whole = json_str(params, "template"), *format = json_str(params, "format");
	json_t *value;
	bool raw = whole || (format && strcmp(format, "raw") == 0); /* by itself it is the password alone */
	if (!json_is_object(values) && !raw)
		return;
	if (whole && gives_username(whole, false))
		return;
	json_object_foreach((json_t *)values, key, value)
		if (json_is_string(value) && gives_username(json_string_value(value), true))
			return;
	const char *lacks = raw ? "template" : "map";
	const struct tree_node *at = tree_get(map, lacks);
	check_tell(&l->check, at ? at : map,
	           "'%s' lacks 'username', which changes with each version because the authority has several 'users'",
	           lacks);
}

static json_t *read_targets(struct loader *l, const struct tree_node *list, unsigned role, bool many_users,
                            json_t *names)
{
	json_t *ret = json_array();
	if (!list || list->type == TREE_BAD)
		return ret;
	if (list->type == TREE_SCALAR || (list->type == TREE_LIST && list->n > DECL_TARGETS_MAX)) {
		check_tell(&l->check, list, "a list of at most %d mappings is allowed", DECL_TARGETS_MAX);
		return ret;
	}
	const struct tree_node *item = list->type == TREE_LIST ? list->first : list;
	for (; item; item = list->type == TREE_LIST ? item->next : NULL) {
		size_t faults = load_faults(l);
		json_t *target = read_target(l, item, role, names);
		if (role == KIND_CONSUMER && load_faults(l) == faults) {
			check_consumer(l, target, item);
			if (many_users)
				check_username(l, target, item);
		}
		if (target)
			json_array_append_new(ret, target);
	}
	return ret;
}

/* ---- the secret */

static void add_pending(struct loader *l, const struct tree_node *policy, const struct tree_node *id,
                        bool accept_outage)
{
	if (policy && policy->type != TREE_SCALAR && policy->type != TREE_MAP) {
		if (policy->type == TREE_LIST)
			check_tell(&l->check, policy, "'policy' must be the name of a policy or a mapping");
		return;
	}
	if (l->n_pending == l->cap_pending) {
		l->cap_pending = l->cap_pending * 2 + 16;
		l->pending = mem_grow(l->pending, l->cap_pending, sizeof *l->pending);
	}
	bool inlined = policy && policy->type == TREE_MAP;
	l->pending[l->n_pending++] =
		(struct load_pending){ .secret = l->secret,
		                       .accept_outage = accept_outage,
		                       .policy = inlined ? NULL : mem_dup(policy ? policy->text : "default"),
		                       .inlined = inlined ? load_policy(l, NULL, policy) : NULL,
		                       .at = load_place(l, policy ? policy : id) };
}

/* The index that the secret will have, LOAD_NONE when its id cannot be kept. */
static size_t claim_id(struct loader *l, const struct tree_node *id)
{
	const json_t *other = json_object_get(l->ids, id->text);
	if (!decl_id_ok(id->text)) {
		check_tell(&l->check, id,
		           "bad id '%.64s': parts of letters, digits, '.', '_' and '-' are allowed, "
		           "separated by '/', none of them '.' or '..', at most 200 bytes",
		           id->text);
		return LOAD_NONE;
	}
	if (other) {
		const struct load_secret *s = &l->out->secrets[json_integer_value(other)];
		check_tell(&l->check, id,
		           "secret '%.200s' is there twice, first in %s line %d; each id is allowed once", id->text,
		           s->file, s->line);
		return LOAD_NONE;
	}
	json_object_set_new(l->ids, id->text, json_integer((json_int_t)l->out->n_secrets));
	return l->out->n_secrets;
}

static json_t *canonical(struct loader *l, const char *id, const json_t *own, json_t *authority, json_t *stores,
                         json_t *consumers)
{
	const char *provider = json_str(authority, "provider");
	const struct kind *kind = provider ? kind_find(provider) : NULL;
	const char *type = json_str(own, "type");
	const json_t *owner = json_object_get(own, "owner");
	if (!type)
		type = kind && kind->secret_type ? kind->secret_type : "password";
	return json_pack("{s:s,s:s,s:O,s:O,s:O,s:O,s:O,s:n,s:O,s:O,s:o?,s:o,s:o}", "id", id, "type", type, "owner",
	                 json_is_string(owner) ? owner : l->owner, "risk", json_object_get(own, "risk"), "labels",
	                 json_object_get(own, "labels"), "accept_outage", json_object_get(own, "accept_outage"), "keep",
	                 json_object_get(own, "keep"), "policy", "generate", json_object_get(own, "generate"), "adopt",
	                 json_object_get(own, "adopt"), "authority", authority, "stores", stores, "consumers",
	                 consumers);
}

static void keep(struct loader *l, const struct tree_node *id, const json_t *json)
{
	struct load *out = l->out;
	if ((out->n_secrets & (out->n_secrets - 1)) == 0)
		out->secrets = mem_grow(out->secrets, out->n_secrets ? out->n_secrets * 2 : 1, sizeof *out->secrets);
	out->secrets[out->n_secrets++] = (struct load_secret){ .id = mem_dup(id->text),
		                                               .text = json_text(json),
		                                               .file = mem_dup(l->files[l->file]),
		                                               .line = (int)id->line };
}

void load_secret_read(struct loader *l, const struct tree_node *id, const struct tree_node *map)
{
	l->secret = claim_id(l, id);
	if (map->type != TREE_MAP && map->type != TREE_BAD)
		check_tell(&l->check, map, "a secret must be a mapping");
	struct check_part parts[] = { { .table = load_tables_secret }, { .table = load_tables_link, .raw = true } };
	check_map(&l->check, map, parts, 2, false);
	const struct tree_node *authority = check_node(&parts[1], "authority");
	for (const char *const *k = (const char *const[]){ "type", "owner", NULL }; *k; k++)
		if (json_str(parts[0].json, *k))
			check_line(l, check_node(&parts[0], *k), json_str(parts[0].json, *k), *k);
	json_t *names = json_object();
	json_t *where = authority ? read_target(l, authority, KIND_AUTHORITY, names) : NULL;
	bool many = json_array_size(json_object_get(json_object_get(where, "params"), "users")) > 1;
	json_t *stores = read_targets(l, check_node(&parts[1], "stores"), KIND_STORE, many, names);
	json_t *consumers = read_targets(l, check_node(&parts[1], "consumers"), KIND_CONSUMER, many, names);
	add_pending(l, check_node(&parts[1], "policy"), id, json_bool(parts[0].json, "accept_outage"));
	json_t *json = canonical(l, id->text, parts[0].json, where, stores, consumers);
	if (l->secret != LOAD_NONE)
		keep(l, id, json);
	json_decref(json);
	json_decref(names);
	check_done(parts, 2);
}

json_t *load_secret_json(const struct load_secret *s)
{
	json_t *json = json_loads(s->text, 0, NULL);
	if (!json)
		mem_out(); /* jansson wrote the text itself */
	json_object_set(json, "policy", s->policy);
	return json;
}
