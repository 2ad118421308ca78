#include "kind.h"

#include <string.h>

#include "json.h"

static const struct kind *const *kinds;
static size_t n_kinds;

void kind_register(const struct kind *const *all, size_t n)
{
	kinds = all;
	n_kinds = n;
}

const struct kind *kind_at(size_t i)
{
	return i < n_kinds ? kinds[i] : NULL;
}

const struct kind *kind_find(const char *name)
{
	for (size_t i = 0; i < n_kinds; i++)
		if (strcmp(kinds[i]->name, name) == 0)
			return kinds[i];
	return NULL;
}

#define WORDS(type, fn, ...)                                                                                           \
	static const char *const fn##_words[] = { __VA_ARGS__ };                                                       \
	const char *kind_##fn##_name(type v)                                                                           \
	{                                                                                                              \
		return fn##_words[v];                                                                                  \
	}                                                                                                              \
	int kind_##fn##_parse(const char *word)                                                                        \
	{                                                                                                              \
		return parse(fn##_words, sizeof fn##_words / sizeof *fn##_words, word);                                \
	}

static int parse(const char *const words[], size_t n, const char *word)
{
	for (size_t i = 0; word && i < n; i++)
		if (strcmp(words[i], word) == 0)
			return (int)i;
	return -1;
}

WORDS(enum kind_verb, verb, "open", "plan", "put", "activate", "suspend", "restore", "drop", "look", "probe",
      "disconnect", "usage", "now", "list", "flush")
WORDS(enum kind_rc, rc, "ok", "more", "conflict", "temporary", "permanent", "ambiguous")
WORDS(enum kind_seen, seen, "absent", "held", "current", "suspended", "foreign")
WORDS(enum kind_login, login, "accepted", "refused")
WORDS(enum kind_class, class, "idempotent", "observable", "one-shot")
WORDS(enum kind_overlap, overlap, "none", "two-slot", "n-slot", "alternating", "grace", "trust-bundle")
WORDS(enum kind_evidence, evidence, "blind", "sampled", "remembered")
WORDS(enum kind_severity, severity, "info", "outage", "refuse")

json_t *kind_facts_json(const struct kind_facts *f)
{
	return json_pack("{s:s,s:I,s:I,s:b,s:b,s:b,s:b,s:b,s:b,s:s,s:s,s:s,s:s}", "overlap",
	                 kind_overlap_name(f->overlap), "slots", (json_int_t)f->slots, "grace_ms",
	                 (json_int_t)f->grace_ms, "named", f->named, "staged", f->staged, "makes_value", f->makes_value,
	                 "can_suspend", f->can_suspend, "refusal_locks", f->refusal_locks, "tells_refused",
	                 f->tells_refused, "put", kind_class_name(f->put), "activate", kind_class_name(f->activate),
	                 "drop", kind_class_name(f->drop), "usage", kind_evidence_name(f->usage));
}

bool kind_facts_parse(const json_t *j, struct kind_facts *ret, struct err *e)
{
	int overlap = kind_overlap_parse(json_str(j, "overlap")), put = kind_class_parse(json_str(j, "put"));
	int activate = kind_class_parse(json_str(j, "activate")), drop = kind_class_parse(json_str(j, "drop"));
	int usage = kind_evidence_parse(json_str(j, "usage"));
	int64_t slots = json_int(j, "slots", -1), grace = json_int(j, "grace_ms", -1);
	if (overlap < 0 || put < 0 || activate < 0 || drop < 0 || usage < 0 || slots < 0 || slots > 1000000 ||
	    grace < 0)
		return err_set(e, ERR_FAILED, "facts of a provider are incomplete or out of range");
	*ret = (struct kind_facts){ .overlap = (enum kind_overlap)overlap,
		                    .slots = (unsigned)slots,
		                    .grace_ms = grace,
		                    .named = json_bool(j, "named"),
		                    .staged = json_bool(j, "staged"),
		                    .makes_value = json_bool(j, "makes_value"),
		                    .can_suspend = json_bool(j, "can_suspend"),
		                    .refusal_locks = json_bool(j, "refusal_locks"),
		                    .tells_refused = json_bool(j, "tells_refused"),
		                    .put = (enum kind_class)put,
		                    .activate = (enum kind_class)activate,
		                    .drop = (enum kind_class)drop,
		                    .usage = (enum kind_evidence)usage };
	return true;
}
