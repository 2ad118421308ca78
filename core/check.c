#include "core/check.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/decl.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/policy.h"
#include "core/utf8.h"

#define WORD_MAX 64 /* longer keys have no near miss */

static json_t *check_value(struct check *c, const struct schema_key *k, const struct tree_node *v);

void check_clear(struct check *c)
{
	for (size_t i = 0; i < CHECK_DEFAULTS; i++) {
		json_decref(c->defaults[i].json);
		c->defaults[i] = (struct check_default){ 0 };
	}
}

void check_tell(struct check *c, const struct tree_node *at, const char *fmt, ...)
{
	char text[1024], line[sizeof text];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	utf8_printable(text, sizeof line, line);
	c->fault(c->arg, at ? at->line : 0, at ? at->column : 0, line);
}

static void *bad(struct check *c, const struct schema_key *k, const struct tree_node *v, const char *allowed)
{
	if (v->type == TREE_SCALAR && v->n == 0)
		check_tell(c, v, "'%s' must not be empty: %s", k->name, allowed);
	else if (v->type == TREE_SCALAR)
		check_tell(c, v, "bad value '%.60s' of '%s': %s", v->text, k->name, allowed);
	else if (v->type != TREE_BAD)
		check_tell(c, v, "bad value of '%s': %s", k->name, allowed);
	return NULL;
}

/* ---- scalars */

static bool integer(const char *text, size_t base, long long *ret)
{
	char *end;
	const char *digits = text + (*text == '-');
	if (!*digits || strspn(digits, base == 8 ? "01234567" : "0123456789") != strlen(digits))
		return false;
	errno = 0;
	*ret = strtoll(text, &end, (int)base);
	return errno == 0 && !*end;
}

static json_t *check_int(struct check *c, const struct schema_key *k, const struct tree_node *v)
{
	long long n, max = k->min || k->max ? k->max : LLONG_MAX;
	char allowed[96];
	if (integer(v->text, 10, &n) && n >= k->min && n <= max)
		return json_integer(n);
	if (max == LLONG_MAX)
		snprintf(allowed, sizeof allowed, "a whole number from %lld on is allowed", k->min);
	else
		snprintf(allowed, sizeof allowed, "a whole number from %lld to %lld is allowed", k->min, max);
	return bad(c, k, v, allowed);
}

static json_t *check_duration(struct check *c, const struct schema_key *k, const struct tree_node *v)
{
	int64_t ms;
	struct err e;
	char allowed[96], from[32], to[32];
	if (!policy_duration(v->text, &ms, &e))
		return check_tell(c, v, "'%s': %s", k->name, e.message), NULL;
	if (ms == 0 && !(k->flags & SCHEMA_ALLOW_ZERO))
		return bad(c, k, v, "more than 0s is allowed");
	if (ms >= k->min && (!k->max || ms <= k->max))
		return json_integer(ms);
	if (k->max)
		snprintf(allowed, sizeof allowed, "%s to %s is allowed", policy_duration_text(k->min, from),
		         policy_duration_text(k->max, to));
	else
		snprintf(allowed, sizeof allowed, "%s or more is allowed", policy_duration_text(k->min, from));
	return bad(c, k, v, allowed);
}

static json_t *check_percent(struct check *c, const struct schema_key *k, const struct tree_node *v)
{
	char digits[8];
	long long n;
	if (v->n >= 2 && v->n < sizeof digits && v->text[v->n - 1] == '%') {
		snprintf(digits, sizeof digits, "%.*s", (int)v->n - 1, v->text);
		if (integer(digits, 10, &n) && n >= 0 && n <= 100)
			return json_integer(n);
	}
	return bad(c, k, v, "0% to 100% is allowed");
}

static json_t *check_enum(struct check *c, const struct schema_key *k, const struct tree_node *v)
{
	if (schema_enum_has(k->allowed, v->text))
		return json_stringn(v->text, v->n);
	char allowed[512];
	snprintf(allowed, sizeof allowed, "allowed is one of %s", k->allowed);
	return bad(c, k, v, allowed);
}

static json_t *check_window(struct check *c, const struct tree_node *v)
{
	struct err e = { 0 };
	if (policy_window_check(v->text, &e))
		return json_stringn(v->text, v->n);
	check_tell(c, v, e.hint[0] ? "%s (%s)" : "%s", e.message, e.hint);
	return NULL;
}

static json_t *check_scalar(struct check *c, const struct schema_key *k, const struct tree_node *v)
{
	long long n;
	int64_t ms;
	switch (k->type) {
	case SCHEMA_INT:
		return check_int(c, k, v);
	case SCHEMA_BOOL:
		if (strcmp(v->text, "true") == 0 || strcmp(v->text, "false") == 0)
			return json_boolean(v->text[0] == 't');
		return bad(c, k, v, "true or false is allowed");
	case SCHEMA_DURATION:
		return check_duration(c, k, v);
	case SCHEMA_PERCENT:
		return check_percent(c, k, v);
	case SCHEMA_ENUM:
		return check_enum(c, k, v);
	case SCHEMA_PATH:
		if (schema_path_ok(v->text))
			return json_stringn(v->text, v->n);
		return bad(c, k, v, "an absolute path without empty, '.' or '..' parts is allowed");
	case SCHEMA_MODE:
		if (v->n >= 3 && v->n <= 5 && integer(v->text, 8, &n) && n >= 0 && n <= 07777)
			return json_integer(n);
		return bad(c, k, v, "a mode in octal, as in 0640, is allowed");
	case SCHEMA_WINDOW:
		return check_window(c, v);
	case SCHEMA_TIME:
		if (clock_parse(v->text, &ms))
			return json_integer(ms);
		return bad(c, k, v, "a time as in 2026-11-21T10:20:00Z is allowed");
	default:
		return json_stringn(v->text, v->n);
	}
}

/* ---- lists and mappings */

static json_t *check_strings(struct check *c, const struct schema_key *k, const struct tree_node *v)
{
	const bool argv = k->type == SCHEMA_ARGV;
	const char *allowed = argv ? "a list of texts is allowed, the absolute path of the program first" :
	                             "a text or a list of texts is allowed";
	if (v->type == TREE_SCALAR && v->n && !argv)
		return json_pack("[o]", json_stringn(v->text, v->n));
	if (v->type != TREE_LIST || (v->n == 0 && !(k->flags & SCHEMA_ALLOW_ZERO)))
		return bad(c, k, v, allowed);
	AUTO_JSON *list = json_array();
	for (const struct tree_node *item = v->first; item; item = item->next) {
		if (item->type != TREE_SCALAR || item->n == 0 ||
		    (argv && item == v->first && !schema_path_ok(item->text)))
			return bad(c, k, item, allowed);
		json_array_append_new(list, json_stringn(item->text, item->n));
	}
	return STEAL(list);
}

static json_t *check_string_map(struct check *c, const struct schema_key *k, const struct tree_node *v)
{
	if (v->type != TREE_MAP)
		return bad(c, k, v, "a mapping of texts to texts is allowed");
	AUTO_JSON *map = json_object();
	for (const struct tree_node *key = v->first; key; key = key->next->next) {
		const struct tree_node *item = key->next;
		if (key->type != TREE_SCALAR || item->type != TREE_SCALAR || key->n == 0 || item->n == 0)
			bad(c, k, item, "a mapping of texts to texts is allowed");
		else
			json_object_set_new(map, key->text, json_stringn(item->text, item->n));
	}
	return STEAL(map);
}

/* `word` alone is short for {word: true}. */
static json_t *check_word(const struct schema_key *sub, const struct tree_node *v)
{
	for (const struct schema_key *k = sub; k->name; k++)
		if (k->type == SCHEMA_BOOL && strcmp(k->name, v->text) == 0)
			return json_pack("{s:b}", k->name, 1);
	return NULL;
}

static json_t *check_one_key(struct check *c, const struct schema_key *k, const struct check_part *part,
                             const struct tree_node *v)
{
	const char *name = NULL;
	size_t given = 0;
	for (size_t i = 0; part->table[i].name; i++) {
		if (!part->nodes[i])
			continue;
		given++;
		name = part->table[i].name;
		if (part->table[i].type == SCHEMA_BOOL && json_is_false(json_object_get(part->json, name)))
			bad(c, &part->table[i], part->nodes[i], "only true is allowed");
	}
	if (given == 1)
		return json_pack("{s:O}", name, json_object_get(part->json, name));
	AUTO_BUF words = BUF_INIT(1024);
	for (const struct schema_key *s = part->table; s->name; s++)
		buf_printf(&words, "%s%s", s == part->table ? "" : ", ", s->name);
	if (v->n == given) /* else an unknown key was told */
		check_tell(c, v, "'%s' must have exactly one of the keys %s", k->name, words.data);
	return NULL;
}

static json_t *check_object(struct check *c, const struct schema_key *k, const struct schema_key *sub, unsigned flags,
                            const struct tree_node *v)
{
	if (v->type == TREE_SCALAR && flags & SCHEMA_ONE_KEY) {
		json_t *word = check_word(sub, v);
		if (word)
			return word;
	}
	if (v->type != TREE_MAP)
		return bad(c, k, v, "a mapping is allowed");
	struct check_part part = { .table = sub };
	check_map(c, v, &part, 1, false);
	json_t *ret = flags & SCHEMA_ONE_KEY ? check_one_key(c, k, &part, v) : json_incref(part.json);
	check_done(&part, 1);
	return ret;
}

static json_t *check_objects(struct check *c, const struct schema_key *k, const struct schema_key *sub, unsigned flags,
                             const struct tree_node *v)
{
	if (v->type == TREE_BAD)
		return NULL;
	if (v->type == TREE_LIST && v->n == 0 && !(flags & SCHEMA_ALLOW_ZERO))
		return bad(c, k, v, "at least one must stand here");
	json_t *list = json_array();
	const struct tree_node *item = v->type == TREE_LIST ? v->first : v;
	for (; item; item = v->type == TREE_LIST ? item->next : NULL) {
		json_t *object = check_object(c, k, sub, flags, item);
		if (object)
			json_array_append_new(list, object);
	}
	return list;
}

static json_t *check_auth(struct check *c, const struct schema_key *k, const struct tree_node *v)
{
	json_t *list = check_objects(c, k, schema_auth_keys, SCHEMA_ONE_KEY, v);
	const struct tree_node *item = v->type == TREE_LIST ? v->first : v;
	for (; item; item = v->type == TREE_LIST ? item->next : NULL) {
		const struct tree_node *id = tree_get(item, "secret");
		if (!id || id->type != TREE_SCALAR || !id->n)
			continue;
		if (!decl_id_ok(id->text))
			check_tell(c, id, "bad value '%.60s' of 'secret': the id of a secret is allowed", id->text);
		else if (c->reference)
			c->reference(c->arg, id, id->text);
	}
	return list;
}

static json_t *check_value(struct check *c, const struct schema_key *k, const struct tree_node *v)
{
	if (v->type == TREE_BAD)
		return NULL;
	switch (k->type) {
	case SCHEMA_STRINGS:
	case SCHEMA_ARGV:
		return check_strings(c, k, v);
	case SCHEMA_STRING_MAP:
		return check_string_map(c, k, v);
	case SCHEMA_OBJECT:
		return check_object(c, k, k->sub, k->flags, v);
	case SCHEMA_OBJECTS:
		return check_objects(c, k, k->sub, k->flags, v);
	case SCHEMA_AUTH:
		return check_auth(c, k, v);
	default:
		if (v->type == TREE_SCALAR && v->n)
			return check_scalar(c, k, v);
		return bad(c, k, v, "one text or number is allowed");
	}
}

/* ---- defaults */

static json_t *make_default(struct check *c, const struct schema_key *k)
{
	if (strcmp(k->fallback, "[]") == 0)
		return json_array();
	struct tree_node v = { .text = k->fallback, .n = strlen(k->fallback) };
	if (strcmp(k->fallback, "{}") == 0)
		v = (struct tree_node){ .type = TREE_MAP };
	return check_value(c, k, &v);
}

static json_t *get_default(struct check *c, const struct schema_key *k)
{
	if (!k->fallback)
		return json_null();
	size_t i = ((uintptr_t)k / sizeof *k) % CHECK_DEFAULTS;
	struct check_default *d = &c->defaults[i];
	if (d->key != k) {
		json_t *made = make_default(c, k); /* may use the same place for a key within */
		json_decref(d->json);
		*d = (struct check_default){ k, made };
	}
	return json_incref(d->json);
}

/* ---- keys */

static size_t distance(const char *a, const char *b)
{
	size_t row[WORD_MAX + 1], n = strlen(b);
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t change = diagonal + (a[i - 1] != b[j - 1]);
			size_t other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
			diagonal = row[j];
			row[j] = change < other ? change : other;
		}
	}
	return row[n];
}

static void near_miss(const char *key, const char *word, const char **ret, size_t *ret_distance)
{
	if (strlen(key) > WORD_MAX || strlen(word) > WORD_MAX)
		return;
	size_t d = distance(key, word);
	if (d < *ret_distance) {
		*ret = word;
		*ret_distance = d;
	}
}

/* Keys of the contract that come with a later version: told apart from slips of the pen. */
static bool is_later(const char *key)
{
	static const char *const later[] = { "approvals", "http", "instances", "json", "equals", "dns" };
	for (size_t i = 0; i < sizeof later / sizeof *later; i++)
		if (strcmp(later[i], key) == 0)
			return true;
	return false;
}

void check_unknown(struct check *c, const struct tree_node *key, const struct check_part parts[], size_t n)
{
	AUTO_BUF words = BUF_INIT(640);
	const char *guess = NULL;
	size_t closest = key->n <= 3 ? 2 : 3;
	for (size_t i = 0; i < n; i++) {
		for (const struct schema_key *k = parts[i].table; k->name; k++) {
			buf_printf(&words, "%s%s", words.len ? ", " : "", k->name);
			near_miss(key->text, k->name, &guess, &closest);
		}
		if (parts[i].alias)
			buf_printf(&words, "%s%s", words.len ? ", " : "", parts[i].alias);
	}
	const char *allowed = words.len ? words.data : "none";
	if (is_later(key->text))
		check_tell(c, key, "this rotor has no '%s' here, it is not in this version; allowed are %s", key->text,
		           allowed);
	else if (guess)
		check_tell(c, key, "unknown key '%.64s', did you mean '%s'? allowed are %s", key->text, guess, allowed);
	else
		check_tell(c, key, "unknown key '%.64s'; allowed are %s", key->text, allowed);
}

static bool place_key(const struct tree_node *key, struct check_part parts[], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *name =
			parts[i].alias && strcmp(key->text, parts[i].alias) == 0 ? parts[i].alias_of : key->text;
		for (size_t j = 0; parts[i].table[j].name; j++) {
			if (strcmp(parts[i].table[j].name, name) != 0)
				continue;
			parts[i].nodes[j] = key->next;
			return true;
		}
	}
	return false;
}

static void fill_part(struct check *c, struct check_part *p, const struct tree_node *map)
{
	if (!p->raw)
		p->json = json_object();
	for (size_t i = 0; p->table[i].name; i++) {
		const struct schema_key *k = &p->table[i];
		if (!p->nodes[i] && k->flags & SCHEMA_REQUIRED && (!map || map->type == TREE_MAP))
			check_tell(c, map, "the key '%s' is missing here", k->name);
		if (p->raw)
			continue;
		json_t *v = p->nodes[i] ? check_value(c, k, p->nodes[i]) : get_default(c, k);
		json_object_set_new_nocheck(p->json, k->name, v ? v : json_null());
	}
}

void check_map(struct check *c, const struct tree_node *map, struct check_part parts[], size_t n, bool any)
{
	for (size_t i = 0; i < n; i++) {
		size_t keys = 0;
		while (parts[i].table[keys].name)
			keys++;
		parts[i].nodes = mem_array(keys + 1, sizeof *parts[i].nodes);
		const char *a = parts[i].alias, *b = parts[i].alias_of;
		if (a && tree_get(map, a) && tree_get(map, b))
			check_tell(c, tree_get(map, b), "'%s' and '%s' say the same; one of them is allowed", a, b);
	}
	for (const struct tree_node *k = map && map->type == TREE_MAP ? map->first : NULL; k; k = k->next->next)
		if (k->type == TREE_SCALAR && !place_key(k, parts, n) && !any)
			check_unknown(c, k, parts, n);
	for (size_t i = 0; i < n; i++)
		fill_part(c, &parts[i], map);
}

const struct tree_node *check_node(const struct check_part *p, const char *key)
{
	for (size_t i = 0; p->table[i].name; i++)
		if (strcmp(p->table[i].name, key) == 0)
			return p->nodes[i];
	return NULL;
}

void check_done(struct check_part parts[], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(parts[i].nodes);
		json_decref(parts[i].json);
		parts[i].nodes = NULL;
		parts[i].json = NULL;
	}
}
