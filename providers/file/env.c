/* `KEY=value` lines as sh (`.`) and systemd (`EnvironmentFile=`) both read them. Where the two would disagree about
 * where a line ends or what a value is, the file is refused rather than guessed at. */
#include "providers/file/file.h"

#include <ctype.h>
#include <string.h>

#include "core/mem.h"

#define BLANKS " \t"

struct line {
	size_t number;   /* of its first physical line, from 1 */
	const char *key; /* NULL: no assignment */
	size_t key_len;
	bool exports;
	size_t value, end, next; /* offsets: behind the '=', of the newline or the end, of the next line */
};

bool file_splice(struct buf *text, size_t from, size_t to, const char *bytes, size_t len, struct err *e)
{
	AUTO_BUF out = BUF_INIT(FILE_SIZE_MAX);
	const char *old = text->data ? text->data : "";
	buf_add(&out, old, from);
	buf_add(&out, bytes, len);
	buf_add(&out, old + to, text->len - to);
	if (out.over)
		return err_set(e, ERR_FAILED, "it would become larger than %zu bytes", FILE_SIZE_MAX);
	struct buf swap = *text;
	*text = out;
	out = swap;
	return true;
}

bool file_env_key_ok(const char *key)
{
	size_t n = strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
	return n > 0 && key[n] == '\0' && !isdigit((unsigned char)key[0]);
}

static bool differs(const struct line *l, const char *what, struct err *e)
{
	return err_set(e, ERR_FAILED, "line %zu: sh and systemd read %s differently", l->number, what);
}

static bool skip_comment(const struct buf *t, size_t *at, const struct line *l, struct err *e)
{
	while (*at < t->len && t->data[*at] != '\n')
		++*at;
	return t->data[*at - 1] != '\\' || differs(l, "a backslash at the end of a comment", e);
}

/* Steps over the quoted text that begins at *at. `first`: it stands where both readers see a quote. */
static bool skip_quoted(const struct buf *t, size_t *at, bool first, const struct line *l, struct err *e)
{
	char quote = t->data[(*at)++];
	bool newline = false;
	while (*at < t->len && t->data[*at] != quote) {
		newline = newline || t->data[*at] == '\n';
		if (quote == '"' && t->data[*at] == '\\')
			++*at;
		++*at;
	}
	if (*at >= t->len)
		return err_set(e, ERR_FAILED, "line %zu: a quote does not end", l->number);
	++*at;
	return first || !newline || differs(l, "a quote within a value", e);
}

/* Finds the newline that ends the logical line. */
static bool find_end(const struct buf *t, size_t at, struct line *l, struct err *e)
{
	bool first = true;
	while (at < t->len && t->data[at] != '\n') {
		char c = t->data[at];
		if (c == '\'' || c == '"') {
			if (!skip_quoted(t, &at, first, l, e))
				return false;
			first = true;
			continue;
		}
		if (c == '#' && at && strchr(BLANKS, t->data[at - 1])) {
			if (!skip_comment(t, &at, l, e))
				return false;
			break;
		}
		at += c == '\\' && at + 1 < t->len ? 2 : 1;
		first = false;
	}
	l->end = at;
	l->next = at < t->len ? at + 1 : at;
	return true;
}

static size_t blanks(const struct buf *t, size_t at)
{
	return at + strspn(t->data + at, BLANKS);
}

/* Sees whether an assignment begins at `at`; the answer is where its value, or the line's text, begins. */
static size_t find_key(const struct buf *t, size_t at, struct line *l)
{
	size_t key = at;
	if (strncmp(t->data + at, "export", 6) == 0 && blanks(t, at + 6) > at + 6) {
		key = blanks(t, at + 6);
		l->exports = true;
	}
	size_t end = key;
	while (isalnum((unsigned char)t->data[end]) || t->data[end] == '_')
		end++;
	if (end == key || t->data[end] != '=' || isdigit((unsigned char)t->data[key]))
		return at;
	l->key = t->data + key;
	l->key_len = end - key;
	return l->value = end + 1;
}

static bool read_line(const struct buf *t, size_t at, size_t number, struct line *ret, struct err *e)
{
	*ret = (struct line){ .number = number };
	at = blanks(t, at);
	if (t->data[at] == '#' || t->data[at] == ';') {
		if (!skip_comment(t, &at, ret, e))
			return false;
		ret->end = at;
		ret->next = at < t->len ? at + 1 : at;
		return true;
	}
	return find_end(t, find_key(t, at, ret), ret, e);
}

/* The one line that assigns `key`; `ret->key` is NULL where there is none, and `exports` is then what the last
 * assignment of the file does. */
static bool find(const struct buf *t, const char *key, struct line *ret, struct err *e)
{
	bool exports = false;
	size_t number = 1;
	*ret = (struct line){ 0 };
	if (t->len && memchr(t->data, '\0', t->len))
		return err_set(e, ERR_FAILED, "it holds a NUL byte: no env file");
	for (size_t at = 0; at < t->len;) {
		struct line l;
		if (!read_line(t, at, number, &l, e))
			return false;
		for (; at < l.next; at++)
			number += t->data[at] == '\n';
		if (!l.key)
			continue;
		exports = l.exports;
		if (strlen(key) != l.key_len || memcmp(key, l.key, l.key_len) != 0)
			continue;
		if (ret->key)
			return err_set(e, ERR_FAILED, "line %zu: '%s' is there already in line %zu", l.number, key,
			               ret->number);
		*ret = l;
	}
	if (!ret->key)
		ret->exports = exports;
	return true;
}

/* The text that both readers see behind the '='. False: they differ, or a command follows. */
static bool plain(const struct buf *t, const struct line *l, const char **ret, size_t *ret_len)
{
	const char *raw = t->data + l->value;
	size_t len = l->end - l->value;
	while (len && strchr(BLANKS, raw[len - 1]))
		len--;
	bool quoted = len >= 2 && (raw[0] == '\'' || raw[0] == '"') && raw[len - 1] == raw[0];
	const char *bad = !quoted ? " \t\n\r'\"\\`$;<>|()" : raw[0] == '\'' ? "'\\" : "\"\\`$";
	*ret = quoted ? raw + 1 : raw;
	*ret_len = quoted ? len - 2 : len;
	for (size_t i = 0; i < *ret_len; i++) {
		char c = (*ret)[i];
		bool tilde = !quoted && c == '~' && (i == 0 || (*ret)[i - 1] == ':');
		if (strchr(bad, c) || tilde)
			return false;
	}
	return true;
}

bool file_env_get(const struct buf *text, const char *key, bool *there, struct buf *ret, struct err *e)
{
	struct line l;
	const char *value;
	size_t len;
	if (!find(text, key, &l, e))
		return false;
	*there = l.key != NULL;
	if (!l.key)
		return true;
	if (!plain(text, &l, &value, &len))
		return differs(&l, "the present value", e) || err_prefix(e, "'%s'", key);
	if (!buf_add(ret, value, len))
		return err_set(e, ERR_FAILED, "line %zu: '%s' has a value of more than %zu bytes", l.number, key,
		               ret->max);
	return true;
}

/* As little quoting as both readers need; some values no quoting makes safe for both. */
static bool quote(const char *value, size_t len, struct buf *ret)
{
	bool bare = true;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)value[i];
		if (c < 0x20 || c == 0x7f || c == '\'' || c == '\\')
			return false;
		bare = bare && c < 0x80 && (isalnum(c) || strchr("_./:@%+,=^-", c));
	}
	buf_str(ret, bare ? "" : "'");
	buf_add(ret, value, len);
	buf_str(ret, bare ? "" : "'");
	return true;
}

bool file_env_set(struct buf *text, const char *key, const char *value, size_t len, struct err *e)
{
	AUTO_BUF word = BUF_INIT(FILE_SIZE_MAX);
	struct line l;
	const char *old;
	size_t old_len;
	if (!file_env_key_ok(key))
		return err_set(e, ERR_FAILED, "'%s' is no name of a variable", key);
	if (!quote(value, len, &word))
		return err_set(e, ERR_FAILED, "'%s': sh and systemd would read its new value differently", key);
	if (!find(text, key, &l, e))
		return false;
	if (l.key && !plain(text, &l, &old, &old_len))
		return differs(&l, "the present value", e) || err_prefix(e, "'%s'", key);
	if (l.key)
		return file_splice(text, l.value, l.end, word.data, word.len, e);
	AUTO_BUF added = BUF_INIT(FILE_SIZE_MAX);
	buf_printf(&added, "%s%s%s=%s\n", text->len && text->data[text->len - 1] != '\n' ? "\n" : "",
	           l.exports ? "export " : "", key, word.data ? word.data : "");
	return file_splice(text, text->len, text->len, added.data, added.len, e);
}
