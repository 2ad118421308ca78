#include "providers/postgres/postgres.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "rotor:"
#define WORD "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

static bool word_ok(const char *text, size_t size)
{
	size_t n = strspn(text, WORD);
	return n && n < size && !text[n];
}

bool postgres_mark_make(const char *home, uint32_t version, const char *rotation, bool held, struct postgres_mark *ret)
{
	const char *id = rotation && *rotation ? rotation : "-";
	*ret = (struct postgres_mark){ .kind = POSTGRES_MARK_OURS, .version = version };
	if (!home || !word_ok(home, sizeof ret->home) || !word_ok(id, sizeof ret->rotation))
		return false;
	snprintf(ret->home, sizeof ret->home, "%s", home);
	snprintf(ret->rotation, sizeof ret->rotation, "%s", id);
	snprintf(ret->state, sizeof ret->state, "%s", held ? "held" : "free");
	snprintf(ret->line, sizeof ret->line, PREFIX " home=%s version=%u rotation=%s state=%s", home, version, id,
	         ret->state);
	return true;
}

/* Takes "KEY=WORD" and a blank or the end off the front of `at`. */
static const char *part(const char *at, const char *key, char *ret, size_t size)
{
	size_t k = strlen(key);
	if (!at || strncmp(at, key, k) != 0 || at[k] != '=')
		return NULL;
	at += k + 1;
	size_t n = strspn(at, WORD);
	if (!n || n >= size || (at[n] && at[n] != ' '))
		return NULL;
	memcpy(ret, at, n);
	ret[n] = '\0';
	return at[n] ? at + n + 1 : at + n;
}

static bool parse(const char *line, struct postgres_mark *ret)
{
	char home[sizeof ret->home], version[16], rotation[sizeof ret->rotation], state[sizeof ret->state], *end;
	if (strncmp(line, PREFIX " ", sizeof PREFIX) != 0)
		return false;
	const char *at = part(line + sizeof PREFIX, "home", home, sizeof home);
	at = part(at, "version", version, sizeof version);
	at = part(at, "rotation", rotation, sizeof rotation);
	at = part(at, "state", state, sizeof state);
	if (!at || *at || (strcmp(state, "held") != 0 && strcmp(state, "free") != 0))
		return false;
	unsigned long n = strtoul(version, &end, 10);
	/* One text only for each mark: what is read back and written again must be the same bytes. */
	return !*end && n <= UINT32_MAX &&
	       postgres_mark_make(home, (uint32_t)n, rotation, strcmp(state, "held") == 0, ret) &&
	       strcmp(ret->line, line) == 0;
}

/* The next line from `*at`, without its end; false behind the last. */
static bool next_line(const char **at, const char **ret, size_t *len)
{
	if (!*at || !**at)
		return false;
	*ret = *at;
	*len = strcspn(*at, "\n");
	*at += *len + ((*at)[*len] ? 1 : 0);
	return true;
}

static bool is_mark(const char *line, size_t len)
{
	return len >= strlen(PREFIX) && strncmp(line, PREFIX, strlen(PREFIX)) == 0;
}

void postgres_mark_find(const char *comment, struct postgres_mark *ret)
{
	const char *line;
	size_t len, marks = 0;
	bool good = true;
	*ret = (struct postgres_mark){ .kind = POSTGRES_MARK_NONE };
	while (next_line(&comment, &line, &len)) {
		char text[sizeof ret->line];
		if (!is_mark(line, len))
			continue;
		marks++;
		good &= len < sizeof text;
		if (!good)
			continue;
		memcpy(text, line, len);
		text[len] = '\0';
		good = parse(text, ret);
	}
	if (marks && (!good || marks > 1))
		*ret = (struct postgres_mark){ .kind = POSTGRES_MARK_STRANGE, .line = "?" };
}

void postgres_mark_put(const char *comment, const struct postgres_mark *mark, struct buf *ret)
{
	const char *line;
	size_t len;
	while (next_line(&comment, &line, &len)) {
		if (is_mark(line, len))
			continue;
		buf_add(ret, line, len);
		buf_str(ret, "\n");
	}
	buf_str(ret, mark->line);
}

static const char *base64(const char *at, size_t groups, char end)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = strspn(at, set), pad = strspn(at + n, "=");
	bool ok = n > 0 && pad <= 2 && (n + pad) % 4 == 0 && (!groups || n + pad == groups * 4);
	return ok && at[n + pad] == end ? at + n + pad : NULL;
}

bool postgres_verifier_ok(const char *text)
{
	static const char scheme[] = "SCRAM-SHA-256$";
	if (!text || strncmp(text, scheme, sizeof scheme - 1) != 0)
		return false;
	const char *at = text + sizeof scheme - 1;
	size_t digits = strspn(at, "0123456789");
	if (digits < 4 || digits > 9 || at[0] == '0' || at[digits] != ':')
		return false;
	at = base64(at + digits + 1, 0, '$');
	at = at ? base64(at + 1, 11, ':') : NULL; /* 32 bytes are 11 groups */
	return at && base64(at + 1, 11, '\0');
}
