#include "fields.h"

#include <string.h>

#include "arena.h"
#include "utf8.h"

struct field {
	char name[33];
	size_t len;
	char *value;
};
struct fields {
	size_t n;
	struct field f[FIELDS_MAX];
};

struct fields *fields_new(void)
{
	return arena_alloc(sizeof(struct fields));
}

void fields_free(struct fields *f)
{
	for (size_t i = 0; f && i < f->n; i++)
		arena_free(f->f[i].value);
	arena_free(f);
}

void fields_auto(struct fields **f)
{
	fields_free(*f);
}

bool fields_name_ok(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");
	return n > 0 && n <= 32 && name[n] == '\0' && name[0] >= 'a' && name[0] <= 'z';
}

static struct field *find(const struct fields *f, const char *name)
{
	for (size_t i = 0; i < f->n; i++)
		if (strcmp(f->f[i].name, name) == 0)
			return (struct field *)&f->f[i];
	return NULL;
}

bool fields_set(struct fields *f, const char *name, const char *value, size_t len, struct err *e)
{
	if (!fields_name_ok(name))
		return err_set(e, ERR_USAGE, "'%s' is no name of a field: lower case letters, digits, '_' and '-'",
		               name);
	if (len > FIELDS_VALUE_MAX)
		return err_set(e, ERR_USAGE, "field '%s' is larger than %zu bytes", name, FIELDS_VALUE_MAX);
	if (!utf8_text(value, len))
		return err_set(e, ERR_USAGE, "field '%s' is not UTF-8 text without NUL", name);
	struct field *at = find(f, name);
	if (!at && f->n == FIELDS_MAX)
		return err_set(e, ERR_USAGE, "more than %d fields", FIELDS_MAX);
	char *copy = arena_alloc(len + 1);
	memcpy(copy, value, len);
	if (!at) {
		at = &f->f[f->n++];
		memcpy(at->name, name, strlen(name) + 1);
	}
	arena_free(at->value);
	at->value = copy;
	at->len = len;
	return true;
}

struct fields *fields_copy(const struct fields *from)
{
	if (!from)
		return NULL;
	struct fields *to = fields_new();
	for (to->n = 0; to->n < from->n; to->n++) {
		to->f[to->n] = from->f[to->n];
		to->f[to->n].value = arena_alloc(from->f[to->n].len + 1);
		memcpy(to->f[to->n].value, from->f[to->n].value, from->f[to->n].len);
	}
	return to;
}

const char *fields_get(const struct fields *f, const char *name, size_t *ret_len)
{
	const struct field *at = f ? find(f, name) : NULL;
	if (at && ret_len)
		*ret_len = at->len;
	return at ? at->value : NULL;
}

size_t fields_count(const struct fields *f)
{
	return f ? f->n : 0;
}

const char *fields_name(const struct fields *f, size_t i)
{
	return f->f[i].name;
}
