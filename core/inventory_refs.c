#include "inventory_inside.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "mem.h"

static void refs_of_target(const json_t *target, json_t *seen)
{
	size_t i;
	json_t *ref;
	json_array_foreach(json_object_get(target, "auth"), i, ref) {
		const char *id = json_str(ref, "secret");
		if (id)
			json_put_bool(seen, id, true);
	}
}

json_t *inventory_refs_of(const json_t *decl)
{
	static const char *const lists[] = { "stores", "consumers" };
	AUTO_JSON *seen = json_object();
	refs_of_target(json_object_get(decl, "authority"), seen);
	for (size_t l = 0; l < 2; l++) {
		size_t i;
		json_t *target;
		json_array_foreach(json_object_get(decl, lists[l]), i, target)
			refs_of_target(target, seen);
	}
	json_t *refs = json_array();
	const char *id;
	json_t *yes;
	json_object_foreach(seen, id, yes)
		json_array_append_new(refs, json_string(id));
	return refs;
}

static bool refs_of_text(const char *id, const char *decl, json_t **ret, struct err *e)
{
	if (!strstr(decl, "\"secret\":")) { /* spares most secrets the parsing */
		*ret = json_array();
		return true;
	}
	AUTO_JSON *j = json_parse(decl, strlen(decl), JSON_DEPTH_MAX, "declaration", e);
	if (!j)
		return err_prefix(e, "'%s'", id);
	*ret = inventory_refs_of(j);
	return true;
}

struct search {
	const json_t *gone;
	char *user, *used; /* the first found */
};

static bool find_user(void *arg, const struct state_secret *s, struct err *e)
{
	struct search *search = arg;
	AUTO_JSON *refs = NULL;
	if (search->user || json_object_get(search->gone, s->id))
		return true;
	if (!refs_of_text(s->id, s->decl, &refs, e))
		return false;
	size_t i;
	json_t *ref;
	json_array_foreach(refs, i, ref) {
		if (search->user || !json_object_get(search->gone, json_string_value(ref)))
			continue;
		search->user = mem_dup(s->id);
		search->used = mem_dup(json_string_value(ref));
	}
	return true;
}

bool inventory_refs_unused(struct home *home, const json_t *gone, struct err *e)
{
	struct state_select all = { .due_before = -1, .expiring_before = -1, .limit = -1 };
	struct search search = { .gone = gone };
	if (json_object_size(gone) == 0)
		return true;
	bool ok = state_secrets(home->state, &all, true, find_user, &search, e);
	if (ok && search.user) {
		ok = err_set(e, ERR_REFUSED, "'%s' cannot go: '%s' logs in with it", search.used, search.user);
		err_hint(e, "declare another `auth` for '%s' first", search.user);
	}
	free(search.user);
	free(search.used);
	return ok;
}

struct frame {
	char *id;
	json_t *refs;
	size_t next;
};

struct path {
	struct frame *f;
	size_t n, cap;
};

static bool push(struct home *home, struct path *p, const char *id, json_t *visited, struct err *e)
{
	INVENTORY_SECRET s = { 0 };
	bool found = false;
	if (!state_secret_get(home->state, id, &s, &found, e))
		return false;
	if (!found)
		return err_set(e, ERR_USAGE, "there is no secret '%s'%s%s%s", id, p->n ? ", which '" : "",
		               p->n ? p->f[p->n - 1].id : "", p->n ? "' logs in with" : "");
	json_t *refs = NULL;
	if (!refs_of_text(id, s.decl, &refs, e))
		return false;
	if (p->n == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 16;
		p->f = mem_grow(p->f, p->cap, sizeof *p->f);
	}
	p->f[p->n++] = (struct frame){ mem_dup(id), refs, 0 };
	json_put_bool(visited, id, true);
	return true;
}

static void pop(struct path *p, json_t *visited)
{
	struct frame *f = &p->f[--p->n];
	json_put_bool(visited, f->id, false);
	json_decref(f->refs);
	free(f->id);
}

static char *loop_text(const struct path *p, const char *id)
{
	AUTO_BUF text = BUF_INIT(512); /* a longer loop is shown by its beginning */
	size_t from = 0;
	while (strcmp(p->f[from].id, id) != 0)
		from++;
	for (size_t i = from; i < p->n; i++)
		buf_printf(&text, "%s -> ", p->f[i].id);
	buf_str(&text, id);
	return mem_dup(text.data);
}

/* `visited` holds true for what is on the path, false for what was walked to its end. */
bool inventory_refs_loop(struct home *home, const char *start, json_t *visited, char **ret_loop, struct err *e)
{
	struct path p = { 0 };
	char *loop = NULL;
	bool ok = json_object_get(visited, start) || push(home, &p, start, visited, e);
	while (ok && p.n && !loop) {
		struct frame *f = &p.f[p.n - 1];
		const char *ref = json_string_value(json_array_get(f->refs, f->next++));
		if (!ref)
			pop(&p, visited);
		else if (json_is_true(json_object_get(visited, ref)))
			loop = loop_text(&p, ref);
		else if (!json_object_get(visited, ref))
			ok = push(home, &p, ref, visited, e);
	}
	while (p.n)
		pop(&p, visited);
	free(p.f);
	if (ok)
		*ret_loop = loop;
	else
		free(loop);
	return ok;
}
