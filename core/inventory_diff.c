#include "inventory_inside.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "mem.h"

#define POINTER_MAX 4096

static void differ(const json_t *a, const json_t *b, struct buf *at, json_t *ret);

/* RFC 6901: `~` and `/` are escaped. Where the ceiling is reached the pointer names the place above. */
static void add_token(struct buf *at, const char *token)
{
	buf_str(at, "/");
	for (; *token; token++) {
		if (*token == '~' || *token == '/')
			buf_str(at, *token == '~' ? "~0" : "~1");
		else
			buf_add(at, token, 1);
	}
}

static void below(const json_t *a, const json_t *b, const char *token, const struct buf *at, json_t *ret)
{
	AUTO_BUF deeper = BUF_INIT(POINTER_MAX);
	buf_add(&deeper, at->data ? at->data : "", at->len);
	add_token(&deeper, token);
	differ(a, b, &deeper, ret);
}

static void differ_objects(const json_t *a, const json_t *b, const struct buf *at, json_t *ret)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)b, key, value)
		below(json_object_get(a, key), value, key, at, ret);
	json_object_foreach((json_t *)a, key, value)
		if (!json_object_get(b, key))
			below(value, NULL, key, at, ret);
}

static void differ_arrays(const json_t *a, const json_t *b, const struct buf *at, json_t *ret)
{
	size_t n = json_array_size(a) > json_array_size(b) ? json_array_size(a) : json_array_size(b);
	for (size_t i = 0; i < n; i++) {
		char token[24];
		snprintf(token, sizeof token, "%zu", i);
		below(json_array_get(a, i), json_array_get(b, i), token, at, ret);
	}
}

/* NULL: absent. */
static void differ(const json_t *a, const json_t *b, struct buf *at, json_t *ret)
{
	if (json_is_object(a) && json_is_object(b))
		differ_objects(a, b, at, ret);
	else if (json_is_array(a) && json_is_array(b))
		differ_arrays(a, b, at, ret);
	else if (!a || !b || !json_equal(a, b))
		json_array_append_new(ret, json_stringn(at->data ? at->data : "", at->len));
}

static bool same_place(const json_t *a, const json_t *b)
{
	static const char *const keys[] = { "name", "provider", "params" };
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (!json_equal(json_object_get(a, keys[i]), json_object_get(b, keys[i])))
			return false;
	return true;
}

/* Does every target of `wanted` stand in `have`, at the same place? */
static bool covered(const json_t *wanted, const json_t *have)
{
	size_t i, k;
	json_t *w, *h;
	json_array_foreach(wanted, i, w) {
		bool found = false;
		json_array_foreach(have, k, h)
			found = found || same_place(w, h);
		if (!found)
			return false;
	}
	return true;
}

static bool list_covered(const json_t *wanted, const json_t *have, const char *list)
{
	return covered(json_object_get(wanted, list), json_object_get(have, list));
}

static bool authority_same(const json_t *a, const json_t *b)
{
	return same_place(json_object_get(a, "authority"), json_object_get(b, "authority"));
}

/* What the engine asks at its next step: a changed `auth` it takes up. */
static const char *why_held(const json_t *frozen, const json_t *after)
{
	AUTO_JSON *a = json_copy(json_object_get(frozen, "authority"));
	AUTO_JSON *b = json_copy(json_object_get(after, "authority"));
	json_object_del(a, "auth");
	json_object_del(b, "auth");
	if (!json_equal(a, b))
		return "the authority changed: the unfinished rotation will be held";
	if (!json_equal(json_object_get(frozen, "stores"), json_object_get(after, "stores")))
		return "a store changed: the unfinished rotation will be held";
	return NULL;
}

static void put_next(json_t *ret, const char *command, const char *id)
{
	AUTO_FREE char *next = mem_printf("rotor %s %s", command, id);
	json_put_str(ret, "next", next);
}

static void advise(const struct state_secret *s, const json_t *frozen, const json_t *before, const json_t *after,
                   json_t *ret)
{
	bool authority = authority_same(before, after);
	bool reached = list_covered(after, before, "stores") && list_covered(after, before, "consumers");
	if (s->has_unfinished) {
		put_next(ret, "status", s->id);
		json_put_str(ret, "note", why_held(frozen, after));
	} else if (s->version && !authority) {
		put_next(ret, "verify", s->id);
		json_put_str(ret, "note", "the authority changed: it may not know the current version");
	} else if (s->version && !reached) {
		put_next(ret, "push", s->id);
	}
}

void inventory_diff(const struct state_secret *s, const json_t *frozen, const json_t *before, const json_t *after,
                    json_t *ret)
{
	json_t *differs = json_array();
	json_object_set_new(ret, "differs", differs);
	json_put_str(ret, "next", NULL);
	json_put_str(ret, "note", NULL);
	if (!before) {
		put_next(ret, "rotate --dry-run", json_str(after, "id"));
		return;
	}
	AUTO_BUF at = BUF_INIT(POINTER_MAX);
	if (before != after)
		differ(before, after, &at, differs);
	if (json_array_size(differs))
		advise(s, frozen, before, after, ret);
}
