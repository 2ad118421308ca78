#include "providers/postgres/postgres.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define URL_MAX 2048
#define TIMEOUT_MAX 600 /* seconds */

static int hex(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;
	return at ? (int)(at - digits) : -1;
}

/* Decodes %XX. Control characters are refused in either form. */
static bool decode(const char *from, size_t len, const char *name, char *ret, size_t size, struct err *e)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)from[i];
		if (c == '%') {
			int high = i + 1 < len ? hex(from[i + 1]) : -1, low = i + 2 < len ? hex(from[i + 2]) : -1;
			if (high < 0 || low < 0)
				return err_set(e, ERR_USAGE, "'%s' of the url has a malformed %%XX", name);
			c = (unsigned char)(high * 16 + low);
			i += 2;
		}
		if (c < 0x20 || c == 0x7f)
			return err_set(e, ERR_USAGE, "'%s' of the url has a control character", name);
		if (n + 1 >= size)
			return err_set(e, ERR_USAGE, "'%s' of the url is longer than %zu bytes", name, size - 1);
		ret[n++] = (char)c;
	}
	ret[n] = '\0';
	return true;
}

static bool no_password(struct err *e)
{
	err_set(e, ERR_USAGE, "the url holds a password");
	return err_hint(e, "take it out and name its place with auth: {file: PATH} or auth: {secret: ID}");
}

/* Digits alone, at most `max`; -1 anything else. */
static int number(const char *text, int max)
{
	int n = 0;
	const char *at = text;
	for (; *at >= '0' && *at <= '9' && n <= max; at++)
		n = n * 10 + (*at - '0');
	return at == text || *at || n > max ? -1 : n;
}

static bool port_ok(const char *text)
{
	return text[0] != '0' && number(text, 65535) > 0;
}

static bool host_ok(const char *host)
{
	size_t n = strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:_-");
	return host[0] == '/' ? !strchr(host, ',') : !host[n] && host[0] != '-';
}

static bool is_loopback(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;
	if (inet_pton(AF_INET, host, &v4) == 1)
		return (ntohl(v4.s_addr) >> 24) == 127;
	if (inet_pton(AF_INET6, host, &v6) == 1)
		return IN6_IS_ADDR_LOOPBACK(&v6);
	return strcmp(host, "localhost") == 0;
}

static bool one_of(const char *text, const char *const words[])
{
	for (size_t i = 0; words[i]; i++)
		if (strcmp(text, words[i]) == 0)
			return true;
	return false;
}

/* "user@host:port", all of it optional. */
static bool authority(const char *at, size_t len, struct postgres_url *ret, struct err *e)
{
	const char *sign = memrchr(at, '@', len);
	if (sign) {
		size_t n = (size_t)(sign - at);
		if (memchr(at, ':', n))
			return no_password(e);
		if (!decode(at, n, "user", ret->user, sizeof ret->user, e))
			return false;
		len -= n + 1;
		at = sign + 1;
	}
	const char *close = len && at[0] == '[' ? memchr(at, ']', len) : NULL, *from = close ? close : at;
	const char *colon = memchr(from, ':', len - (size_t)(from - at));
	size_t host = colon ? (size_t)(colon - at) : len;
	if (memchr(at, ',', len))
		return err_set(e, ERR_USAGE,
		               "the url has several hosts: one url names one server, 'endpoints' further ones");
	if (close && (size_t)(close + 1 - at) != host)
		return err_set(e, ERR_USAGE, "'host' of the url has something behind its ']'");
	if (!decode(close ? at + 1 : at, close ? host - 2 : host, "host", ret->host, sizeof ret->host, e))
		return false;
	return !colon || decode(colon + 1, len - host - 1, "port", ret->port, sizeof ret->port, e);
}

/* One `key=value`. `seen` has a bit for each key that came already. */
static bool parameter(const char *at, size_t len, struct postgres_url *ret, unsigned *seen, struct err *e)
{
	char timeout[8] = "";
	const struct {
		const char *name;
		char *to;
		size_t size;
	} all[] = {
		{ "host", ret->host, sizeof ret->host },
		{ "port", ret->port, sizeof ret->port },
		{ "dbname", ret->dbname, sizeof ret->dbname },
		{ "user", ret->user, sizeof ret->user },
		{ "sslmode", ret->sslmode, sizeof ret->sslmode },
		{ "sslrootcert", ret->sslrootcert, sizeof ret->sslrootcert },
		{ "sslcert", ret->sslcert, sizeof ret->sslcert },
		{ "sslkey", ret->sslkey, sizeof ret->sslkey },
		{ "connect_timeout", timeout, sizeof timeout },
	};
	const char *equals = memchr(at, '=', len);
	size_t key = equals ? (size_t)(equals - at) : len;
	if (key == 8 && strncmp(at, "password", 8) == 0)
		return no_password(e);
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		if (strlen(all[i].name) != key || strncmp(at, all[i].name, key) != 0)
			continue;
		if (*seen & 1u << i || all[i].to[0])
			return err_set(e, ERR_USAGE, "'%s' is twice in the url", all[i].name);
		*seen |= 1u << i;
		if (!equals || key + 1 == len)
			return err_set(e, ERR_USAGE, "'%s' of the url is empty", all[i].name);
		if (!decode(equals + 1, len - key - 1, all[i].name, all[i].to, all[i].size, e))
			return false;
		if (all[i].to == timeout) {
			ret->connect_timeout = number(timeout, TIMEOUT_MAX);
			if (ret->connect_timeout < 1)
				return err_set(e, ERR_USAGE, "'connect_timeout' of the url is not 1 to %d seconds",
				               TIMEOUT_MAX);
		}
		return true;
	}
	return err_set(e, ERR_USAGE,
	               "the url has a parameter that is not one of host, port, dbname, user, sslmode, sslrootcert, "
	               "sslcert, sslkey, connect_timeout");
}

static bool query(const char *at, struct postgres_url *ret, struct err *e)
{
	unsigned seen = 0;
	for (;;) {
		size_t len = strcspn(at, "&");
		if (!parameter(at, len, ret, &seen, e))
			return false;
		if (!at[len])
			return true;
		at += len + 1;
	}
}

static bool paths_ok(const struct postgres_url *u, struct err *e)
{
	const struct {
		const char *name, *path;
	} all[] = { { "sslrootcert", u->sslrootcert }, { "sslcert", u->sslcert }, { "sslkey", u->sslkey } };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i].path[0] && all[i].path[0] != '/' && (i > 0 || strcmp(all[i].path, "system") != 0))
			return err_set(e, ERR_USAGE, "'%s' of the url is not an absolute path", all[i].name);
	if ((u->sslcert[0] != '\0') != (u->sslkey[0] != '\0'))
		return err_set(e, ERR_USAGE, "'sslcert' and 'sslkey' of the url belong together");
	return true;
}

static bool complete(struct postgres_url *u, struct err *e)
{
	static const char *const modes[] = {
		"disable", "allow", "prefer", "require", "verify-ca", "verify-full", NULL
	};
	if (!host_ok(u->host))
		return err_set(e, ERR_USAGE, "'host' of the url is neither a host, an address nor an absolute folder");
	if (!u->port[0])
		memcpy(u->port, "5432", sizeof "5432");
	if (!port_ok(u->port))
		return err_set(e, ERR_USAGE, "'port' of the url is not a number from 1 to 65535");
	u->socket = !u->host[0] || u->host[0] == '/';
	u->loopback = !u->socket && is_loopback(u->host);
	if (!u->sslmode[0])
		snprintf(u->sslmode, sizeof u->sslmode, "%s",
		         u->socket   ? "disable" :
		         u->loopback ? "prefer" :
		                       "verify-full");
	if (!one_of(u->sslmode, modes))
		return err_set(
			e, ERR_USAGE,
			"'sslmode' of the url is not one of disable, allow, prefer, require, verify-ca, verify-full");
	return paths_ok(u, e);
}

bool postgres_url_parse(const char *text, struct postgres_url *ret, struct err *e)
{
	static const char *const schemes[] = { "postgresql://", "postgres://" };
	struct postgres_url u = { 0 };
	const char *at = NULL;
	for (size_t i = 0; i < 2; i++)
		if (strncmp(text, schemes[i], strlen(schemes[i])) == 0)
			at = text + strlen(schemes[i]);
	if (!at || strlen(text) > URL_MAX)
		return err_set(e, ERR_USAGE,
		               "the url is not 'postgresql://USER@HOST:PORT/DATABASE' of at most %d bytes", URL_MAX);
	if (strchr(at, '#'))
		return err_set(e, ERR_USAGE, "the url has a '#': write %%23");
	size_t len = strcspn(at, "/?");
	if (!authority(at, len, &u, e))
		return false;
	at += len;
	if (*at == '/') {
		len = strcspn(++at, "?");
		if (memchr(at, '@', len) && !u.user[0])
			return err_set(e, ERR_USAGE,
			               "the url has an '@' behind its host: write %%40, and %%2F for a '/' in a name");
		if (!decode(at, len, "dbname", u.dbname, sizeof u.dbname, e))
			return false;
		at += len;
	}
	if (*at == '?' && !query(at + 1, &u, e))
		return false;
	if (!complete(&u, e))
		return false;
	*ret = u;
	return true;
}
