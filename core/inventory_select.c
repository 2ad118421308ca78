#include "inventory_inside.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "json.h"
#include "mem.h"

#define SELECTOR_MAX 1024
#define LABELS_MAX 16

struct label {
	const char *key, *value;
};

struct selector {
	char text[SELECTOR_MAX + 1]; /* cut into its terms, which the rest points into */
	struct state_select ask;
	struct label more[LABELS_MAX]; /* labels behind the first: the state is asked for one */
	size_t n_more;
	bool exact; /* one id and nothing else */
};

static bool take_once(const char **at, const char *name, const char *value, struct err *e)
{
	if (*at)
		return err_set(e, ERR_USAGE, "selector names '%s' twice", name);
	*at = value;
	return true;
}

static bool take_label(struct selector *s, const char *key, const char *value, struct err *e)
{
	if (!s->ask.label) {
		s->ask.label = key;
		s->ask.label_value = value;
		return true;
	}
	if (s->n_more == LABELS_MAX)
		return err_set(e, ERR_USAGE, "selector has more than %d labels", LABELS_MAX + 1);
	s->more[s->n_more++] = (struct label){ key, value };
	return true;
}

static bool risk_ok(const char *risk)
{
	static const char *const all[] = { "low", "medium", "high", "critical" };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (strcmp(risk, all[i]) == 0)
			return true;
	return false;
}

static bool take_pair(struct selector *s, const char *key, const char *value, struct err *e)
{
	if (!*key || !*value)
		return err_set(e, ERR_USAGE, "selector term '%s=%s' lacks a %s", key, value, *key ? "value" : "key");
	if (strcmp(key, "owner") == 0)
		return take_once(&s->ask.owner, key, value, e);
	if (strcmp(key, "type") == 0)
		return take_once(&s->ask.type, key, value, e);
	if (strcmp(key, "provider") == 0)
		return take_once(&s->ask.provider, key, value, e);
	if (strcmp(key, "risk") != 0)
		return take_label(s, key, value, e);
	if (!risk_ok(value))
		return err_set(e, ERR_USAGE, "selector 'risk=%s': it is low, medium, high or critical", value);
	return take_once(&s->ask.risk, key, value, e);
}

static bool glob_ok(const char *text)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/*";
	return strchr(text, '*') && text[strspn(text, allowed)] == '\0';
}

static bool take_term(struct selector *s, char *term, struct err *e)
{
	char *equals = strchr(term, '=');
	if (equals) {
		*equals = '\0';
		return take_pair(s, term, equals + 1, e);
	}
	if (!decl_id_ok(term) && !glob_ok(term)) {
		err_set(e, ERR_USAGE, "'%s' is no selector", term);
		return err_hint(e, "an id, a glob such as 'prod/*', or owner=, risk=, type=, provider=, LABEL=VALUE, "
		                   "joined by commas");
	}
	if (s->ask.id)
		return err_set(e, ERR_USAGE, "selector names two ids: separate them by a space, not by a comma");
	s->ask.id = term;
	return true;
}

static bool parse(const char *text, const struct inventory_list_opts *opts, struct selector *s, struct err *e)
{
	*s = (struct selector){ .ask = { .due_before = -1, .expiring_before = -1, .limit = -1 } };
	if (opts && opts->due)
		s->ask.due_before = clock_wall();
	if (opts && opts->expiring_ms >= 0)
		s->ask.expiring_before = clock_wall() + opts->expiring_ms;
	if (!text)
		return true;
	size_t len = strlen(text);
	if (len > SELECTOR_MAX)
		return err_set(e, ERR_USAGE, "selector is longer than %d bytes", SELECTOR_MAX);
	memcpy(s->text, text, len + 1);
	s->exact = decl_id_ok(text);
	char *term, *rest = s->text;
	while ((term = strsep(&rest, ",")))
		if (!take_term(s, term, e))
			return false;
	return true;
}

/* One selector's matches, with what the state cannot be asked for sorted out here. */
struct filter {
	const struct selector *s;
	state_secret_fn *each;
	void *arg;
	size_t matches;
};

static bool filter_one(void *arg, const struct state_secret *secret, struct err *e)
{
	struct filter *f = arg;
	if (f->s->n_more) {
		AUTO_JSON *labels =
			json_parse(secret->labels ? secret->labels : "{}", secret->labels ? strlen(secret->labels) : 2,
		                   JSON_DEPTH_MAX, "labels", e);
		if (!labels)
			return err_prefix(e, "'%s'", secret->id);
		for (size_t i = 0; i < f->s->n_more; i++) {
			const char *value = json_str(labels, f->s->more[i].key);
			if (!value || strcmp(value, f->s->more[i].value) != 0)
				return true;
		}
	}
	f->matches++;
	return f->each(f->arg, secret, e);
}

static bool nothing(struct home *home, const struct selector *s, const char *text, bool may_be_empty, struct err *e)
{
	if (s->exact) {
		INVENTORY_SECRET secret = { 0 };
		bool found = false;
		if (!state_secret_get(home->state, s->ask.id, &secret, &found, e))
			return false;
		if (found)
			return true; /* there, but left out by a further condition */
		err_set(e, ERR_USAGE, "there is no secret '%s'", text);
	} else if (may_be_empty) {
		return true;
	} else {
		err_set(e, ERR_USAGE, "selector '%s' matches no secret", text);
	}
	return err_hint(e, "rotor inventory list");
}

static bool walk(struct home *home, const char *text, const struct inventory_list_opts *opts, bool may_be_empty,
                 state_secret_fn *each, void *arg, struct err *e)
{
	struct selector s;
	if (!parse(text, opts, &s, e))
		return false;
	struct filter f = { .s = &s, .each = each, .arg = arg };
	if (!state_secrets(home->state, &s.ask, false, filter_one, &f, e))
		return false;
	return f.matches > 0 || !text || nothing(home, &s, text, may_be_empty, e);
}

struct ids {
	char **id;
	size_t n, cap;
};

static bool add_id(void *arg, const struct state_secret *secret, struct err *e)
{
	(void)e;
	struct ids *ids = arg;
	if (ids->n == ids->cap) {
		ids->cap = ids->cap ? ids->cap * 2 : 64;
		ids->id = mem_grow(ids->id, ids->cap, sizeof *ids->id);
	}
	ids->id[ids->n++] = mem_dup(secret->id);
	return true;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_unique(struct ids *ids)
{
	if (!ids->n)
		return;
	qsort(ids->id, ids->n, sizeof *ids->id, by_text);
	size_t kept = 1;
	for (size_t i = 1; i < ids->n; i++) {
		if (strcmp(ids->id[i], ids->id[kept - 1]) == 0)
			free(ids->id[i]);
		else
			ids->id[kept++] = ids->id[i];
	}
	ids->n = kept;
}

static bool collect(struct home *home, const char *const selectors[], size_t n, const struct inventory_list_opts *opts,
                    bool may_be_empty, struct ids *ids, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (!walk(home, selectors[i], opts, may_be_empty, add_id, ids, e))
			return false;
	sort_unique(ids);
	return true;
}

bool inventory_select(struct home *home, const char *const selectors[], size_t n, bool may_be_empty, char ***ret,
                      size_t *ret_n, struct err *e)
{
	struct ids ids = { 0 };
	if (!collect(home, selectors, n, NULL, may_be_empty, &ids, e)) {
		inventory_free(ids.id, ids.n);
		return false;
	}
	*ret = ids.id;
	*ret_n = ids.n;
	return true;
}

void inventory_free(char **ids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(ids[i]);
	free(ids);
}

static bool each_id(struct home *home, const struct ids *ids, state_secret_fn *each, void *arg, struct err *e)
{
	for (size_t i = 0; i < ids->n; i++) {
		INVENTORY_SECRET secret = { 0 };
		bool found = false;
		if (!state_secret_get(home->state, ids->id[i], &secret, &found, e))
			return false;
		if (found && !each(arg, &secret, e))
			return false;
	}
	return true;
}

bool inventory_each(struct home *home, const char *const selectors[], size_t n, const struct inventory_list_opts *opts,
                    state_secret_fn *each, void *arg, struct err *e)
{
	if (n <= 1)
		return walk(home, n ? selectors[0] : NULL, opts, true, each, arg, e);
	struct ids ids = { 0 };
	bool ok = collect(home, selectors, n, opts, true, &ids, e) && each_id(home, &ids, each, arg, e);
	inventory_free(ids.id, ids.n);
	return ok;
}

void inventory_secret_auto(struct state_secret *secret)
{
	state_secret_clear(secret);
}
