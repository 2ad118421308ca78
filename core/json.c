#include "json.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "mem.h"
#include "utf8.h"

/* jansson's free gets no size, so each block carries its own. */
union block {
	size_t size;
	max_align_t align;
};

static void *wiping_malloc(size_t size)
{
	union block *b = size <= PTRDIFF_MAX - sizeof *b ? malloc(sizeof *b + size) : NULL; /* jansson fills it */
	if (!b)
		mem_out();
	b->size = size;
	return b + 1;
}

static void wiping_free(void *p)
{
	if (!p)
		return;
	union block *b = (union block *)p - 1;
	sodium_memzero(p, b->size);
	free(b);
}

void json_setup(void)
{
	json_set_alloc_funcs(wiping_malloc, wiping_free);
	uint32_t seed;
	randombytes_buf(&seed, sizeof seed);
	json_object_seed(seed | 1);
}

void json_auto(json_t **j)
{
	json_decref(*j);
}

/* jansson's own depth limit is 2048 stack frames; ours is told before it starts. */
static bool shallow(const char *text, size_t len, size_t depth)
{
	size_t level = 0;
	bool quoted = false;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == '{' || c == '[') && ++level > depth)
			return false;
		else if (!quoted && (c == '}' || c == ']') && level)
			level--;
	}
	return true;
}

json_t *json_parse(const char *text, size_t len, size_t depth, const char *what, struct err *e)
{
	json_error_t at;
	if (!utf8_text(text, len)) {
		err_set(e, ERR_FAILED, "%s is not UTF-8 text", what);
		return NULL;
	}
	if (!shallow(text, len, depth)) {
		err_set(e, ERR_FAILED, "%s is nested deeper than %zu levels", what, depth);
		return NULL;
	}
	json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &at);
	if (!j)
		err_set(e, ERR_FAILED, "%s is not valid JSON at byte %d", what, at.position);
	return j;
}

char *json_text(const json_t *j)
{
	char *text = json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY);
	if (!text)
		mem_out();
	return text;
}

void json_text_free(char *text)
{
	wiping_free(text);
}

void json_text_auto(char **text)
{
	wiping_free(*text);
}

const char *json_str(const json_t *j, const char *key)
{
	return json_string_value(json_object_get(j, key));
}

int64_t json_int(const json_t *j, const char *key, int64_t fallback)
{
	const json_t *v = json_object_get(j, key);
	return json_is_integer(v) ? json_integer_value(v) : fallback;
}

bool json_bool(const json_t *j, const char *key)
{
	return json_is_true(json_object_get(j, key));
}

void json_put_str(json_t *object, const char *key, const char *text)
{
	json_object_set_new(object, key, text ? json_string(text) : json_null());
}

void json_put_int(json_t *object, const char *key, int64_t v)
{
	json_object_set_new(object, key, json_integer(v));
}

void json_put_bool(json_t *object, const char *key, bool v)
{
	json_object_set_new(object, key, json_boolean(v));
}

void json_put_time(json_t *object, const char *key, int64_t ms)
{
	char text[CLOCK_TEXT];
	json_put_str(object, key, ms < 0 ? NULL : clock_text(ms, text));
}

json_t *json_from_fields(const struct fields *f)
{
	json_t *j = json_object();
	for (size_t i = 0; i < fields_count(f); i++) {
		size_t len = 0;
		const char *value = fields_get(f, fields_name(f, i), &len);
		json_object_set_new(j, fields_name(f, i), json_stringn(value, len));
	}
	return j;
}

bool json_to_fields(const json_t *j, struct fields **ret, struct err *e)
{
	if (!json_is_object(j))
		return err_set(e, ERR_FAILED, "fields are not a JSON object");
	AUTO_FIELDS *f = fields_new();
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)j, name, value) {
		if (!json_is_string(value))
			return err_set(e, ERR_USAGE, "field '%s' is not a string", name);
		if (!fields_set(f, name, json_string_value(value), json_string_length(value), e))
			return false;
	}
	*ret = STEAL(f);
	return true;
}
