#include "providers/file/file.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"

#define PARTS_MAX 32

enum part_kind { LITERAL, FIELD, FIELD_URL };

struct part {
	enum part_kind kind;
	const char *text; /* literal bytes within the template */
	size_t len;
	char name[33]; /* of the field */
};

struct parts {
	size_t n;
	struct part p[PARTS_MAX];
};

static bool known(const char *name)
{
	static const char *const names[] = { "username", "password", "url",      "key",        "certificate",
		                             "chain",    "version",  "rotation", "fingerprint" };
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* `text` is what stands between the braces. */
static bool add_field(struct parts *t, const char *text, size_t len, struct err *e)
{
	const char *colon = memchr(text, ':', len);
	size_t name = colon ? (size_t)(colon - text) : len;
	struct part *p = &t->p[t->n++];
	*p = (struct part){ .kind = colon ? FIELD_URL : FIELD };
	if (name < sizeof p->name)
		memcpy(p->name, text, name);
	if (!known(p->name)) {
		err_set(e, ERR_USAGE, "'%.*s' is no field", (int)(name < 64 ? name : 64), text);
		return err_hint(e, "fields are username, password, url, key, certificate, chain, version, rotation and "
		                   "fingerprint; a literal brace is written '{{' or '}}'");
	}
	if (colon && (len - name != 4 || memcmp(colon, ":url", 4) != 0))
		return err_set(e, ERR_USAGE, "'{%s:...}' knows no form but '{%s:url}'", p->name, p->name);
	return true;
}

static bool parse(const char *text, bool bare, struct parts *ret, struct err *e)
{
	ret->n = 0;
	if (bare && !strpbrk(text, "{}"))
		return add_field(ret, text, strlen(text), e);
	for (const char *at = text; *at;) {
		if (ret->n == PARTS_MAX)
			return err_set(e, ERR_USAGE, "a template has more than %d parts", PARTS_MAX);
		bool brace = *at == '{' || *at == '}';
		if (brace && at[1] == *at) {
			ret->p[ret->n++] = (struct part){ .kind = LITERAL, .text = at, .len = 1 };
			at += 2;
		} else if (brace) {
			size_t len = strcspn(at + 1, "{}");
			if (*at == '}' || at[1 + len] != '}')
				return err_set(e, ERR_USAGE, "a template has a '%c' without its partner", *at);
			if (!add_field(ret, at + 1, len, e))
				return false;
			at += len + 2;
		} else {
			size_t len = strcspn(at, "{}");
			ret->p[ret->n++] = (struct part){ .kind = LITERAL, .text = at, .len = len };
			at += len;
		}
	}
	return true;
}

bool file_template_check(const char *text, bool bare, struct err *e)
{
	struct parts t;
	return parse(text, bare, &t, e);
}

/* RFC 3986, section 2.3: what needs no encoding. */
static bool unreserved(char c)
{
	return c && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", c);
}

static bool encode(const char *value, size_t len, struct buf *ret)
{
	for (size_t i = 0; i < len; i++)
		if (unreserved(value[i]) ? !buf_add(ret, &value[i], 1) :
		                           !buf_printf(ret, "%%%02X", (unsigned char)value[i]))
			return false;
	return true;
}

static bool add_value(const struct part *p, const struct provider_cred *n, struct buf *ret, struct err *e)
{
	char number[16];
	size_t len = 0;
	const char *value = fields_get(n->value, p->name, &len);
	if (strcmp(p->name, "version") == 0) {
		len = (size_t)snprintf(number, sizeof number, "%u", n->n);
		value = number;
	} else if (strcmp(p->name, "rotation") == 0 && n->rotation) {
		value = n->rotation;
		len = strlen(value);
	}
	if (!value)
		return err_set(e, ERR_FAILED, "version %u has no field '%s'", n->n, p->name);
	if (!(p->kind == FIELD_URL ? encode(value, len, ret) : buf_add(ret, value, len)))
		return err_set(e, ERR_FAILED, "field '%s' is too large here", p->name);
	return true;
}

bool file_template_expand(const char *text, bool bare, const struct provider_cred *n, struct buf *ret, struct err *e)
{
	struct parts t;
	if (!parse(text, bare, &t, e))
		return false;
	for (size_t i = 0; i < t.n; i++) {
		const struct part *p = &t.p[i];
		if (p->kind != LITERAL && !add_value(p, n, ret, e))
			return false;
		if (p->kind == LITERAL && !buf_add(ret, p->text, p->len))
			return err_set(e, ERR_FAILED, "a template grows too large");
	}
	return true;
}

struct span {
	size_t from, to;
};

/* Shortest fields: each literal at its first place behind the one before. The last literal is bound to the end. */
static bool match_forward(const struct parts *t, const char *value, size_t len, struct span ret[])
{
	size_t at = 0;
	for (size_t i = 0; i < t->n; i++) {
		const struct part *p = &t->p[i];
		if (p->kind != LITERAL) {
			ret[i] = (struct span){ at, len };
			continue;
		}
		bool bound = i == 0 || t->p[i - 1].kind == LITERAL, last = i + 1 == t->n;
		const char *found = NULL;
		if (last && len - at >= p->len)
			found = memcmp(value + len - p->len, p->text, p->len) == 0 ? value + len - p->len : NULL;
		else if (!last)
			found = memmem(value + at, len - at, p->text, p->len);
		if (!found || (bound && found != value + at))
			return false;
		if (i && !bound)
			ret[i - 1].to = (size_t)(found - value);
		at = (size_t)(found - value) + p->len;
	}
	return t->n ? t->p[t->n - 1].kind != LITERAL || at == len : len == 0;
}

static const char *find_last(const char *value, size_t len, const struct part *p)
{
	for (size_t at = len; at >= p->len; at--)
		if (memcmp(value + at - p->len, p->text, p->len) == 0)
			return value + at - p->len;
	return NULL;
}

/* Longest fields: the same from the end. Where both agree there is one reading only. */
static bool match_backward(const struct parts *t, const char *value, size_t len, struct span ret[])
{
	size_t end = len;
	for (size_t i = t->n; i-- > 0;) {
		const struct part *p = &t->p[i];
		if (p->kind != LITERAL) {
			ret[i] = (struct span){ 0, end };
			continue;
		}
		bool bound = i + 1 == t->n || t->p[i + 1].kind == LITERAL;
		const char *found = NULL;
		if (i == 0)
			found = end >= p->len && memcmp(value, p->text, p->len) == 0 ? value : NULL;
		else
			found = find_last(value, end, p);
		if (!found || (bound && (size_t)(found - value) + p->len != end))
			return false;
		if (!bound)
			ret[i + 1].from = (size_t)(found - value) + p->len;
		end = (size_t)(found - value);
	}
	return true;
}

static bool decode(const char *text, size_t len, struct buf *ret)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char byte = (unsigned char)text[i];
		if (text[i] == '%') {
			if (len - i < 3 || sodium_hex2bin(&byte, 1, text + i + 1, 2, NULL, NULL, NULL) != 0)
				return false;
			i += 2;
		} else if (strchr("/?#[]@ ", text[i])) {
			return false; /* these end the part of a URL in which a field can stand */
		}
		if (!buf_add(ret, &byte, 1))
			return false;
	}
	return true;
}

static bool take_field(const struct part *p, const char *text, size_t len, struct fields *ret, struct err *e)
{
	AUTO_BUF value = BUF_INIT(FIELDS_VALUE_MAX);
	/* What rotor knows by itself is not taken from a file. */
	if (strcmp(p->name, "version") == 0 || strcmp(p->name, "rotation") == 0 || strcmp(p->name, "fingerprint") == 0)
		return true;
	if (!(p->kind == FIELD_URL ? decode(text, len, &value) : buf_add(&value, text, len)))
		return err_set(e, ERR_FAILED, "field '%s' cannot be read back: it is not percent-encoded", p->name);
	size_t had_len = 0;
	const char *had = fields_get(ret, p->name, &had_len);
	if (had && (had_len != value.len || sodium_memcmp(had, value.data ? value.data : "", had_len) != 0))
		return err_set(e, ERR_FAILED, "field '%s' has two different values", p->name);
	return fields_set(ret, p->name, value.data ? value.data : "", value.len, e);
}

bool file_template_invert(const char *text, bool bare, const char *value, size_t len, struct fields *ret, struct err *e)
{
	struct parts t;
	struct span least[PARTS_MAX] = { 0 }, most[PARTS_MAX] = { 0 };
	if (!parse(text, bare, &t, e))
		return false;
	for (size_t i = 1; i < t.n; i++)
		if (t.p[i].kind != LITERAL && t.p[i - 1].kind != LITERAL)
			return err_set(e, ERR_FAILED, "nothing stands between '{%s}' and '{%s}': no telling them apart",
			               t.p[i - 1].name, t.p[i].name);
	if (!match_forward(&t, value, len, least) || !match_backward(&t, value, len, most))
		return err_set(e, ERR_FAILED, "the value does not have the form of its template");
	for (size_t i = 0; i < t.n; i++) {
		if (t.p[i].kind == LITERAL)
			continue;
		if (least[i].from != most[i].from || least[i].to != most[i].to)
			return err_set(e, ERR_FAILED, "field '%s' can be read back in more than one way", t.p[i].name);
		if (!take_field(&t.p[i], value + least[i].from, least[i].to - least[i].from, ret, e))
			return false;
	}
	return true;
}
