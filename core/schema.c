#include "core/schema.h"

#include <limits.h>
#include <string.h>

#include "core/json.h"
#include "core/mem.h"

const struct schema_key schema_auth_keys[] = {
	{ .name = "secret", .type = SCHEMA_STRING, .help = "the current version of another secret, by its id" },
	{ .name = "file", .type = SCHEMA_PATH, .help = "a file; one final newline is dropped" },
	{ .name = "fd", .type = SCHEMA_INT, .max = 1023, .help = "an open descriptor" },
	{ .name = "command", .type = SCHEMA_ARGV, .help = "what a program writes to its standard output" },
	{ .name = "self", .type = SCHEMA_BOOL, .help = "the current version of this secret" },
	{ 0 },
};

bool schema_path_ok(const char *path)
{
	if (path[0] != '/' || strlen(path) >= PATH_MAX)
		return false;
	for (const char *at = path; *at == '/';) {
		size_t len = strcspn(++at, "/");
		if (len == 0 || (len == 1 && at[0] == '.') || (len == 2 && at[0] == '.' && at[1] == '.'))
			return false;
		at += len;
	}
	return true;
}

/* `words` are separated by `by`. */
static bool has_word(const char *words, char by, const char *word)
{
	size_t len = strlen(word);
	while (words) {
		const char *end = strchr(words, by);
		if ((end ? (size_t)(end - words) : strlen(words)) == len && memcmp(words, word, len) == 0)
			return true;
		words = end ? end + 1 : NULL;
	}
	return false;
}

bool schema_enum_has(const char *allowed, const char *word)
{
	return has_word(allowed, '|', word);
}

/* ---- the check of canonical JSON */

static bool value_fits(const json_t *v, const struct schema_key *k);

static bool integer_fits(const json_t *v, long long min, long long max)
{
	return json_is_integer(v) && json_integer_value(v) >= min && json_integer_value(v) <= max;
}

static bool string_fits(const json_t *v)
{
	return json_is_string(v) && json_string_length(v) > 0;
}

static bool strings_fit(const json_t *v, bool may_be_empty)
{
	size_t i;
	const json_t *item;
	json_array_foreach(v, i, item)
		if (!string_fits(item))
			return false;
	return json_is_array(v) && (i > 0 || may_be_empty);
}

static bool map_fits(const json_t *v)
{
	const char *name;
	json_t *item;
	json_object_foreach((json_t *)v, name, item)
		if (!string_fits(item))
			return false;
	return json_is_object(v);
}

static bool object_fits(const json_t *v, const struct schema_key *sub, bool one_key)
{
	const char *key;
	if (!one_key)
		return schema_fits(v, sub, NULL, true, &key);
	for (; json_object_size(v) == 1 && sub->name; sub++) {
		const json_t *item = json_object_get(v, sub->name);
		if (item)
			return sub->type == SCHEMA_BOOL ? json_is_true(item) : value_fits(item, sub);
	}
	return false;
}

static bool objects_fit(const json_t *v, const struct schema_key *sub, unsigned flags)
{
	size_t i;
	const json_t *item;
	json_array_foreach(v, i, item)
		if (!object_fits(item, sub, flags & SCHEMA_ONE_KEY))
			return false;
	return json_is_array(v) && (i > 0 || flags & SCHEMA_ALLOW_ZERO);
}

static bool value_fits(const json_t *v, const struct schema_key *k)
{
	long long max = k->min || k->max ? k->max : LLONG_MAX;
	switch (k->type) {
	case SCHEMA_STRING:
	case SCHEMA_WINDOW:
		return string_fits(v);
	case SCHEMA_INT:
		return integer_fits(v, k->min, max);
	case SCHEMA_DURATION:
		return integer_fits(v, k->flags & SCHEMA_ALLOW_ZERO ? 0 : 1, LLONG_MAX);
	case SCHEMA_BOOL:
		return json_is_boolean(v);
	case SCHEMA_PERCENT:
		return integer_fits(v, 0, 100);
	case SCHEMA_ENUM:
		return string_fits(v) && schema_enum_has(k->allowed, json_string_value(v));
	case SCHEMA_PATH:
		return string_fits(v) && schema_path_ok(json_string_value(v));
	case SCHEMA_MODE:
		return integer_fits(v, 0, 07777);
	case SCHEMA_STRINGS:
		return strings_fit(v, k->flags & SCHEMA_ALLOW_ZERO || k->fallback);
	case SCHEMA_ARGV:
		return strings_fit(v, false) && schema_path_ok(json_string_value(json_array_get(v, 0)));
	case SCHEMA_STRING_MAP:
		return map_fits(v);
	case SCHEMA_OBJECT:
		return object_fits(v, k->sub, k->flags & SCHEMA_ONE_KEY);
	case SCHEMA_OBJECTS:
		return objects_fit(v, k->sub, k->flags);
	case SCHEMA_AUTH:
		return objects_fit(v, schema_auth_keys, SCHEMA_ONE_KEY);
	case SCHEMA_TIME:
		return json_is_integer(v);
	}
	return false;
}

bool schema_fits(const json_t *object, const struct schema_key *table, const char *extra, bool whole,
                 const char **ret_key)
{
	*ret_key = "";
	for (const struct schema_key *k = table; json_is_object(object) && k->name; k++) {
		const json_t *v = json_object_get(object, k->name);
		*ret_key = k->name;
		bool may_lack = !(k->flags & SCHEMA_REQUIRED) && (v ? !k->fallback : !whole);
		if (!v || json_is_null(v) ? !may_lack : !value_fits(v, k))
			return false;
	}
	const char *name;
	json_t *item;
	json_object_foreach((json_t *)object, name, item) {
		const struct schema_key *k = table;
		while (k->name && strcmp(k->name, name) != 0)
			k++;
		*ret_key = name;
		if (!k->name && !(extra && has_word(extra, ' ', name)))
			return false;
	}
	return json_is_object(object);
}

/* ---- JSON Schema */

static json_t *typed(const char *type)
{
	return json_pack("{s:s}", "type", type);
}

static json_t *pattern(const char *regex)
{
	return json_pack("{s:s,s:s}", "type", "string", "pattern", regex);
}

/* What the key decides may be written with or without quotes, so a number may come as either. */
static json_t *integer_schema(const struct schema_key *k)
{
	json_t *j = json_pack("{s:[s,s],s:s}", "type", "integer", "string", "pattern", "^-?[0-9]+$");
	json_put_int(j, "minimum", k->min);
	if (k->max)
		json_put_int(j, "maximum", k->max);
	return j;
}

static json_t *enum_schema(const char *allowed)
{
	json_t *words = json_array();
	for (const char *at = allowed; *at; at += *at == '|') {
		size_t len = strcspn(at, "|");
		json_array_append_new(words, json_stringn(at, len));
		at += len;
	}
	return json_pack("{s:o}", "enum", words);
}

static json_t *list_schema(json_t *item, bool may_be_empty)
{
	return json_pack("{s:s,s:o,s:i}", "type", "array", "items", item, "minItems", may_be_empty ? 0 : 1);
}

/* One, or a list of them. */
static json_t *many_schema(json_t *item, bool may_be_empty)
{
	return json_pack("{s:[o,o]}", "anyOf", json_incref(item), list_schema(item, may_be_empty));
}

static json_t *object_schema(const struct schema_key *sub, bool one_key)
{
	json_t *j = schema_json(sub);
	if (one_key) {
		json_put_int(j, "minProperties", 1);
		json_put_int(j, "maxProperties", 1);
	}
	return j;
}

static json_t *objects_schema(const struct schema_key *sub, unsigned flags)
{
	json_t *object = object_schema(sub, flags & SCHEMA_ONE_KEY), *words = json_array();
	for (const struct schema_key *k = sub; k->name; k++)
		if (k->type == SCHEMA_BOOL && flags & SCHEMA_ONE_KEY)
			json_array_append_new(words, json_string(k->name));
	if (json_array_size(words))
		object = json_pack("{s:[o,{s:O}]}", "anyOf", object, "enum", words);
	json_decref(words);
	return many_schema(object, flags & SCHEMA_ALLOW_ZERO);
}

static json_t *type_schema(const struct schema_key *k)
{
	bool zero = k->flags & SCHEMA_ALLOW_ZERO;
	switch (k->type) {
	case SCHEMA_STRING:
		return json_pack("{s:[s,s,s],s:i}", "type", "string", "number", "boolean", "minLength", 1);
	case SCHEMA_INT:
		return integer_schema(k);
	case SCHEMA_BOOL:
		return typed("boolean");
	case SCHEMA_DURATION:
		return pattern("^[0-9]+(ms|s|m|h|d|w)$");
	case SCHEMA_PERCENT:
		return pattern("^(100|[0-9]{1,2})%$");
	case SCHEMA_ENUM:
		return enum_schema(k->allowed);
	case SCHEMA_PATH:
		return pattern("^/");
	case SCHEMA_MODE:
		return json_pack("{s:[s,s],s:s}", "type", "integer", "string", "pattern", "^0?[0-7]{3,4}$");
	case SCHEMA_WINDOW:
		return pattern("^[A-Za-z,-]+ [0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}( [A-Za-z0-9_+/-]+)?$");
	case SCHEMA_STRINGS:
		return many_schema(typed("string"), zero);
	case SCHEMA_ARGV:
		return list_schema(typed("string"), false);
	case SCHEMA_STRING_MAP:
		return json_pack("{s:s,s:{s:[s,s,s]}}", "type", "object", "additionalProperties", "type", "string",
		                 "number", "boolean");
	case SCHEMA_OBJECT:
		return object_schema(k->sub, k->flags & SCHEMA_ONE_KEY);
	case SCHEMA_OBJECTS:
		return objects_schema(k->sub, k->flags);
	case SCHEMA_AUTH:
		return objects_schema(schema_auth_keys, SCHEMA_ONE_KEY);
	case SCHEMA_TIME:
		return json_pack("{s:s,s:s}", "type", "string", "format", "date-time");
	}
	return json_object();
}

json_t *schema_json_value(const struct schema_key *k)
{
	json_t *j = type_schema(k);
	if (k->help)
		json_put_str(j, "description", k->help);
	if (k->fallback && k->fallback[0] != '{' && k->fallback[0] != '[')
		json_put_str(j, "default", k->fallback);
	return j;
}

json_t *schema_json(const struct schema_key *table)
{
	json_t *properties = json_object(), *required = json_array();
	for (const struct schema_key *k = table; k->name; k++) {
		json_object_set_new(properties, k->name, schema_json_value(k));
		if (k->flags & SCHEMA_REQUIRED)
			json_array_append_new(required, json_string(k->name));
	}
	return json_pack("{s:s,s:o,s:o,s:b}", "type", "object", "properties", properties, "required", required,
	                 "additionalProperties", 0);
}
