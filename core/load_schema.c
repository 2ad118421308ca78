/* The JSON Schema of declaration files, for editors. It allows a little more than the loader where a schema cannot say
 * what the loader checks, never less. */
#include <string.h>

#include "core/json.h"
#include "core/kind.h"
#include "core/load.h"
#include "core/load_tables.h"

#define ID_PATTERN "^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$"

static json_t *reference(const char *to)
{
	return json_pack("{s:s+}", "$ref", "#/$defs/", to);
}

/* A target of one kind: its own parameters beside the keys that all targets have. */
static json_t *target_of(const struct kind *k, const struct schema_key *general, bool brief)
{
	json_t *j = schema_json(general), *params = schema_json(k->params);
	json_t *properties = json_object_get(j, "properties"), *required = json_object_get(j, "required");
	json_object_update(properties, json_object_get(params, "properties"));
	json_array_extend(required, json_object_get(params, "required"));
	json_put_str(j, "description", k->summary);
	if (!brief) {
		json_object_set_new(properties, "provider", json_pack("{s:s}", "const", k->name));
		json_array_append_new(required, json_string("provider"));
	} else {
		json_object_set(properties, "file", json_object_get(properties, "path"));
		json_object_del(properties, "path");
		json_object_del(properties, "provider");
		size_t i;
		json_t *key;
		json_array_foreach(required, i, key)
			if (strcmp(json_string_value(key), "path") == 0)
				json_array_set_new(required, i, json_string("file"));
	}
	json_decref(params);
	return j;
}

static json_t *targets(unsigned role, const struct schema_key *general)
{
	json_t *any = json_array();
	const struct kind *k;
	for (size_t i = 0; (k = kind_at(i)); i++) {
		if (!(k->roles & role))
			continue;
		json_array_append_new(any, target_of(k, general, false));
		if (strcmp(k->name, "file") == 0)
			json_array_append_new(any, target_of(k, general, true));
	}
	if (json_array_size(any))
		return json_pack("{s:o}", "anyOf", any);
	json_decref(any);
	return json_false();
}

static json_t *list_of(const char *what)
{
	return json_pack("{s:[o,{s:s,s:o}]}", "anyOf", reference(what), "type", "array", "items", reference(what));
}

static json_t *secret(void)
{
	json_t *j = schema_json(load_tables_secret), *properties = json_object_get(j, "properties");
	json_object_set_new(properties, "policy",
	                    json_pack("{s:[{s:s},o]}", "anyOf", "type", "string", reference("policy")));
	json_object_set_new(properties, "authority", reference("authority"));
	json_object_set_new(properties, "stores", list_of("store"));
	json_object_set_new(properties, "consumers", list_of("consumer"));
	json_array_append_new(json_object_get(j, "required"), json_string("authority"));
	return j;
}

json_t *load_schema(void)
{
	json_t *defs = json_pack("{s:o,s:o,s:o,s:o,s:o}", "policy", schema_json(load_tables_policy), "secret", secret(),
	                         "authority", targets(KIND_AUTHORITY, load_tables_target), "store",
	                         targets(KIND_STORE, load_tables_target), "consumer",
	                         targets(KIND_CONSUMER, load_tables_consumer));
	json_t *policies = json_pack("{s:s,s:o}", "type", "object", "additionalProperties", reference("policy"));
	json_t *secrets = json_pack("{s:s,s:{s:s},s:o}", "type", "object", "propertyNames", "pattern", ID_PATTERN,
	                            "additionalProperties", reference("secret"));
	return json_pack("{s:s,s:s,s:s,s:{s:{s:i},s:o,s:o},s:[s],s:b,s:o}", "$schema",
	                 "https://json-schema.org/draft/2020-12/schema", "title", "rotor declarations", "type",
	                 "object", "properties", "rotor", "const", 1, "policies", policies, "secrets", secrets,
	                 "required", "rotor", "additionalProperties", 0, "$defs", defs);
}
