/* Changes members of a JSON file in its text: numbers, order and layout of everything else stay what they were. The
 * text is parsed strictly first, so the walk below only ever sees valid JSON. */
#include "providers/file/file.h"

#include <stdlib.h>
#include <string.h>

#include "core/json.h"
#include "core/mem.h"

#define POINTER_PARTS_MAX JSON_DEPTH_MAX

struct member {
	size_t value, end; /* of its value; both 0 where it is not there */
	size_t first;      /* behind the object's '{' */
	size_t last;       /* behind the object's last value; `first` in an empty object */
};

static size_t space(const char *t, size_t at)
{
	return at + strspn(t + at, " \t\r\n");
}

static size_t skip_string(const char *t, size_t at)
{
	for (at++; t[at] != '"'; at++)
		if (t[at] == '\\')
			at++;
	return at + 1;
}

/* Behind the value that begins at `at`. */
static size_t skip_value(const char *t, size_t at)
{
	size_t level = 0;
	do {
		if (t[at] == '"') {
			at = skip_string(t, at);
		} else if (strchr("{[", t[at])) {
			level++;
			at++;
		} else if (strchr("}]", t[at])) {
			level--;
			at++;
		} else if (strchr(",: \t\r\n", t[at])) {
			at++;
		} else {
			at += strcspn(t + at, ",:]} \t\r\n");
		}
	} while (level);
	return at;
}

/* Is the string at [from, to), quotes included, `key`? It may be written with escapes. */
static bool same_key(const char *t, size_t from, size_t to, const char *key)
{
	AUTO_JSON *s = json_loadb(t + from, to - from, JSON_DECODE_ANY, NULL);
	return s && strcmp(json_string_value(s), key) == 0;
}

/* Looks for `key` in the object that begins at `at`. */
static struct member find_member(const char *t, size_t at, const char *key)
{
	struct member m = { .first = at + 1, .last = at + 1 };
	for (at = space(t, at + 1); t[at] != '}'; at = space(t, at)) {
		size_t name_end = skip_string(t, at);
		size_t value = space(t, space(t, name_end) + 1), end = skip_value(t, value);
		if (same_key(t, at, name_end, key)) {
			m.value = value;
			m.end = end;
		}
		m.last = end;
		at = space(t, end);
		at += t[at] == ',';
	}
	return m;
}

/* Splits a key into the names on the way, RFC 6901. The caller frees each, also on failure. */
static bool split(const char *key, char *ret[POINTER_PARTS_MAX], size_t *n, struct err *e)
{
	*n = 0;
	if (key[0] != '/') {
		ret[(*n)++] = mem_dup(key);
		return true;
	}
	while (*key) {
		size_t len = strcspn(++key, "/"), out = 0;
		if (*n == POINTER_PARTS_MAX)
			return err_set(e, ERR_FAILED, "a JSON pointer has more than %d parts", POINTER_PARTS_MAX);
		char *part = ret[(*n)++] = mem_dupn(key, len);
		for (size_t i = 0; i < len; i++) {
			bool escape = part[i] == '~' && i + 1 < len && (part[i + 1] == '0' || part[i + 1] == '1');
			part[out++] = escape ? (part[i + 1] == '1' ? '/' : '~') : part[i];
			i += escape;
		}
		part[out] = '\0';
		key += len;
	}
	return true;
}

/* Follows `names` from the top. `*holder` is whether the object that has, or should have, the last one is there. */
static bool walk(const char *t, char *const names[], size_t n, const char *key, struct member *ret, bool *holder,
                 struct err *e)
{
	size_t at = space(t, 0);
	*ret = (struct member){ 0 };
	*holder = false;
	for (size_t i = 0; i < n; i++) {
		if (t[at] != '{')
			return err_set(e, ERR_FAILED, "'%s' does not lead through objects", key);
		*ret = find_member(t, at, names[i]);
		*holder = i + 1 == n;
		if (!ret->value)
			return true;
		at = ret->value;
	}
	return true;
}

static bool locate(const struct buf *text, const char *key, struct member *ret, bool *holder, struct err *e)
{
	AUTO_JSON *j = json_parse(text->data, text->len, JSON_DEPTH_MAX, "it", e);
	if (!j)
		return false;
	if (!json_is_object(j))
		return err_set(e, ERR_FAILED, "it is no JSON object");
	char *names[POINTER_PARTS_MAX];
	size_t n;
	bool ok = split(key, names, &n, e) && walk(text->data, names, n, key, ret, holder, e);
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	if (ok && ret->value && !strchr("\"n", text->data[ret->value]))
		return err_set(e, ERR_FAILED, "'%s' is no string", key);
	return ok;
}

static bool blank(const struct buf *text)
{
	return !text->len || space(text->data, 0) == text->len;
}

bool file_json_get(const struct buf *text, const char *key, bool *there, struct buf *ret, struct err *e)
{
	struct member m = { 0 };
	bool holder;
	*there = false;
	if (blank(text))
		return true;
	if (!locate(text, key, &m, &holder, e))
		return false;
	AUTO_JSON *s = m.value ? json_loadb(text->data + m.value, m.end - m.value, JSON_DECODE_ANY, NULL) : NULL;
	*there = json_is_string(s);
	if (*there && !buf_add(ret, json_string_value(s), json_string_length(s)))
		return err_set(e, ERR_FAILED, "'%s' has a value of more than %zu bytes", key, ret->max);
	return true;
}

/* A new last member, laid out like the first one. */
static bool insert(struct buf *text, const struct member *m, const char *key, const char *value, struct err *e)
{
	char *names[POINTER_PARTS_MAX];
	size_t n, lead = space(text->data, m->first) - m->first;
	AUTO_JSON *name = split(key, names, &n, e) ? json_string(names[n - 1]) : NULL;
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	if (!name)
		return err_set(e, ERR_FAILED, "'%s' is no name of a member", key);
	AUTO_TEXT *label = json_text(name);
	AUTO_BUF added = BUF_INIT(FILE_SIZE_MAX);
	if (m->last != m->first) {
		buf_str(&added, lead ? "," : ", ");
		buf_add(&added, text->data + m->first, lead);
	}
	buf_printf(&added, "%s: %s", label, value);
	return file_splice(text, m->last, m->last, added.data, added.len, e);
}

bool file_json_set(struct buf *text, const char *key, const char *value, size_t len, struct err *e)
{
	AUTO_JSON *s = json_stringn(value, len);
	if (!s)
		return err_set(e, ERR_FAILED, "'%s': its new value is no UTF-8 text", key);
	AUTO_TEXT *word = json_text(s);
	if (blank(text) && !file_splice(text, 0, text->len, "{}\n", 3, e))
		return false;
	struct member m = { 0 };
	bool holder;
	if (!locate(text, key, &m, &holder, e))
		return false;
	if (m.value)
		return file_splice(text, m.value, m.end, word, strlen(word), e);
	if (!holder)
		return err_set(e, ERR_FAILED, "the object that should hold '%s' is not there", key);
	return insert(text, &m, key, word, e);
}
