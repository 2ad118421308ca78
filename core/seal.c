#include "seal.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arena.h"

#define KEY_BYTES 32
#define KEY_FILE_SIZE (2 * KEY_BYTES + 1) /* hex digits, newline */
#define NONCE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG crypto_aead_xchacha20poly1305_ietf_ABYTES
#define WRAP_VERSION 1
#define WRAPPED_LEN (1 + NONCE + KEY_BYTES + TAG)
#define VALUE_AD_BYTES 32
#define WRAP_AD_BYTES 32

_Static_assert(SEAL_OVERHEAD == NONCE + TAG, "the header promises the size of what is sealed");
_Static_assert(KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "one size for all keys");
_Static_assert(WRAPPED_LEN <= SEAL_WRAPPED_MAX, "a wrapped key fits the caller's array");

enum key_name { KEK, LOG_FP, FIND_FP, KEY_NAMES };
static const char *const key_names[KEY_NAMES] = { "kek", "log.fp", "find.fp" };

struct seal {
	unsigned char data[KEY_BYTES], log_fp[KEY_BYTES], find_fp[KEY_BYTES];
};

/* ---- key files ---- */

static int open_folder(const char *keys_dir, struct err *e)
{
	int dir = open(keys_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		err_sys(e, errno == ENOENT ? ERR_REFUSED : ERR_FAILED, errno, "cannot open key folder '%s'", keys_dir);
	return dir;
}

static bool write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		text += n;
		len -= (size_t)n;
	}
	return true;
}

/* Removes again what it made when it fails. */
static bool write_key(int dir, const char *keys_dir, const char *name, const unsigned char key[KEY_BYTES],
                      struct err *e)
{
	char text[KEY_FILE_SIZE + 1];
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST)
		return err_set(e, ERR_REFUSED, "key file '%s/%s' is already there", keys_dir, name);
	if (fd < 0)
		return err_sys(e, ERR_FAILED, errno, "cannot make key file '%s/%s'", keys_dir, name);
	sodium_bin2hex(text, sizeof text, key, KEY_BYTES);
	text[KEY_FILE_SIZE - 1] = '\n';
	/* fchmod, because a umask can take away even the owner's bits */
	bool ok = fchmod(fd, 0600) == 0 && write_all(fd, text, KEY_FILE_SIZE) && fsync(fd) == 0;
	int why = errno;
	sodium_memzero(text, sizeof text);
	if (close(fd) != 0 && ok) {
		ok = false;
		why = errno;
	}
	if (ok)
		return true;
	unlinkat(dir, name, 0);
	return err_sys(e, ERR_FAILED, why, "cannot write key file '%s/%s'", keys_dir, name);
}

static bool owner_only(const struct stat *st, const char *keys_dir, const char *name, struct err *e)
{
	if (!S_ISREG(st->st_mode))
		return err_set(e, ERR_REFUSED, "key file '%s/%s' is no regular file", keys_dir, name);
	if (st->st_uid != geteuid()) {
		err_set(e, ERR_REFUSED, "key file '%s/%s' belongs to uid %u, rotor runs as %u", keys_dir, name,
		        (unsigned)st->st_uid, (unsigned)geteuid());
		return err_hint(e, "run rotor as the user who owns this home");
	}
	if (st->st_mode & 077) {
		err_set(e, ERR_REFUSED, "key file '%s/%s' is open to others (mode %04o)", keys_dir, name,
		        (unsigned)(st->st_mode & 07777));
		return err_hint(e, "chmod 600 it, and treat what it protected as known to whoever could read it");
	}
	if (st->st_size != KEY_FILE_SIZE) {
		err_set(e, ERR_REFUSED, "key file '%s/%s' has %lld bytes, not %d", keys_dir, name,
		        (long long)st->st_size, KEY_FILE_SIZE);
		return err_hint(e, "put it back from the backup of this home");
	}
	return true;
}

/* Text of a checked key file; wiped by the caller. */
static bool read_text(int fd, char text[KEY_FILE_SIZE])
{
	for (size_t have = 0; have < KEY_FILE_SIZE;) {
		ssize_t n = read(fd, text + have, KEY_FILE_SIZE - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		have += (size_t)n;
	}
	return true;
}

static bool read_key(int dir, const char *keys_dir, const char *name, unsigned char ret[KEY_BYTES], struct err *e)
{
	/* O_NONBLOCK: a FIFO in its place must not hang us */
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0) {
		int why = errno;
		err_sys(e, ERR_REFUSED, why, "cannot open key file '%s/%s'", keys_dir, name);
		return why == ENOENT ? err_hint(e, "put it back from the backup of this home") : false;
	}
	char text[KEY_FILE_SIZE];
	size_t got = 0;
	struct stat st;
	bool ok = false;
	if (fstat(fd, &st) != 0)
		err_sys(e, ERR_FAILED, errno, "cannot look at key file '%s/%s'", keys_dir, name);
	else if (!owner_only(&st, keys_dir, name, e))
		ok = false;
	else if (!read_text(fd, text))
		err_set(e, ERR_FAILED, "cannot read key file '%s/%s'", keys_dir, name);
	else if (text[KEY_FILE_SIZE - 1] != '\n' ||
	         sodium_hex2bin(ret, KEY_BYTES, text, KEY_FILE_SIZE - 1, NULL, &got, NULL) != 0 || got != KEY_BYTES)
		err_set(e, ERR_REFUSED, "key file '%s/%s' is not %d hex digits and a newline", keys_dir, name,
		        2 * KEY_BYTES);
	else
		ok = true;
	sodium_memzero(text, sizeof text);
	close(fd);
	return ok;
}

/* ---- the data key ---- */

/* The fingerprint keys go into the associated data: with another one nothing would match any more, and nobody would
 * notice. */
static void wrap_ad(unsigned char keys[KEY_NAMES][KEY_BYTES], unsigned char ret[WRAP_AD_BYTES])
{
	static const char label[] = "rotor data key";
	crypto_generichash_state h;
	crypto_generichash_init(&h, NULL, 0, WRAP_AD_BYTES);
	crypto_generichash_update(&h, (const unsigned char *)label, sizeof label);
	crypto_generichash_update(&h, keys[LOG_FP], KEY_BYTES);
	crypto_generichash_update(&h, keys[FIND_FP], KEY_BYTES);
	crypto_generichash_final(&h, ret, WRAP_AD_BYTES);
	sodium_memzero(&h, sizeof h);
}

static void wrap(unsigned char keys[KEY_NAMES][KEY_BYTES], const unsigned char data[KEY_BYTES],
                 unsigned char ret[WRAPPED_LEN])
{
	unsigned char ad[WRAP_AD_BYTES];
	wrap_ad(keys, ad);
	ret[0] = WRAP_VERSION;
	randombytes_buf(ret + 1, NONCE);
	crypto_aead_xchacha20poly1305_ietf_encrypt(ret + 1 + NONCE, NULL, data, KEY_BYTES, ad, sizeof ad, NULL, ret + 1,
	                                           keys[KEK]);
	sodium_memzero(ad, sizeof ad);
}

static bool unwrap(unsigned char keys[KEY_NAMES][KEY_BYTES], const unsigned char *wrapped, size_t len,
                   const char *keys_dir, unsigned char ret[KEY_BYTES], struct err *e)
{
	unsigned char ad[WRAP_AD_BYTES];
	if (len != WRAPPED_LEN || wrapped[0] != WRAP_VERSION) {
		err_set(e, ERR_REFUSED, "data key in the state has a form that this rotor does not know");
		return err_hint(e, "use the rotor that wrote this home, or a newer one");
	}
	wrap_ad(keys, ad);
	bool ok = crypto_aead_xchacha20poly1305_ietf_decrypt(ret, NULL, NULL, wrapped + 1 + NONCE, KEY_BYTES + TAG, ad,
	                                                     sizeof ad, wrapped + 1, keys[KEK]) == 0;
	sodium_memzero(ad, sizeof ad);
	if (ok)
		return true;
	err_set(e, ERR_REFUSED, "the keys in '%s' do not fit this state: kek, log.fp or find.fp is a wrong key",
	        keys_dir);
	return err_hint(e, "state and keys/ belong together: put back the key files of this home");
}

static bool write_keys(int dir, const char *keys_dir, unsigned char keys[KEY_NAMES][KEY_BYTES], struct err *e)
{
	size_t made = 0;
	while (made < KEY_NAMES && write_key(dir, keys_dir, key_names[made], keys[made], e))
		made++;
	if (made == KEY_NAMES && fsync(dir) == 0)
		return true;
	if (made == KEY_NAMES)
		err_sys(e, ERR_FAILED, errno, "cannot sync key folder '%s'", keys_dir);
	while (made > 0)
		unlinkat(dir, key_names[--made], 0);
	return false;
}

bool seal_create(const char *keys_dir, unsigned char ret_wrapped[SEAL_WRAPPED_MAX], size_t *ret_len, struct err *e)
{
	int dir = open_folder(keys_dir, e);
	if (dir < 0)
		return false;
	unsigned char(*keys)[KEY_BYTES] = arena_alloc((KEY_NAMES + 1) * KEY_BYTES);
	randombytes_buf(keys, (KEY_NAMES + 1) * KEY_BYTES);
	bool ok = write_keys(dir, keys_dir, keys, e);
	if (ok) {
		wrap(keys, keys[KEY_NAMES], ret_wrapped);
		*ret_len = WRAPPED_LEN;
	}
	arena_free(keys);
	close(dir);
	return ok;
}

bool seal_open(const char *keys_dir, const unsigned char *wrapped, size_t len, struct seal **ret, struct err *e)
{
	int dir = open_folder(keys_dir, e);
	if (dir < 0)
		return false;
	struct seal *s = arena_alloc(sizeof *s);
	unsigned char(*keys)[KEY_BYTES] = arena_alloc(KEY_NAMES * KEY_BYTES);
	size_t n = 0;
	while (n < KEY_NAMES && read_key(dir, keys_dir, key_names[n], keys[n], e))
		n++;
	bool ok = n == KEY_NAMES && unwrap(keys, wrapped, len, keys_dir, s->data, e);
	memcpy(s->log_fp, keys[LOG_FP], KEY_BYTES);
	memcpy(s->find_fp, keys[FIND_FP], KEY_BYTES);
	arena_free(keys);
	close(dir);
	if (!ok) {
		seal_free(s);
		return false;
	}
	*ret = s;
	return true;
}

void seal_free(struct seal *s)
{
	arena_free(s);
}

/* ---- values ---- */

static void hash_number(crypto_generichash_state *h, uint32_t n)
{
	const unsigned char bytes[4] = { (unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8),
		                         (unsigned char)n };
	crypto_generichash_update(h, bytes, sizeof bytes);
}

/* With its length before it, so that no two lists of texts hash the same bytes. */
static void hash_text(crypto_generichash_state *h, const char *text)
{
	size_t len = strlen(text);
	hash_number(h, (uint32_t)len);
	crypto_generichash_update(h, (const unsigned char *)text, len);
}

/* The associated data of a value: a digest, so that a name may have any length. */
static void value_ad(const char *secret, uint32_t version, const char *field, unsigned char ret[VALUE_AD_BYTES])
{
	crypto_generichash_state h;
	crypto_generichash_init(&h, NULL, 0, VALUE_AD_BYTES);
	hash_text(&h, "rotor value");
	hash_text(&h, secret);
	hash_number(&h, version);
	hash_text(&h, field);
	crypto_generichash_final(&h, ret, VALUE_AD_BYTES);
}

bool seal_value(const struct seal *s, const char *secret, uint32_t version, const char *field, const void *value,
                size_t len, struct buf *ret)
{
	unsigned char ad[VALUE_AD_BYTES];
	if (len > FIELDS_VALUE_MAX)
		return false;
	unsigned char *to = (unsigned char *)buf_room(ret, len + SEAL_OVERHEAD);
	if (!to)
		return false;
	value_ad(secret, version, field, ad);
	randombytes_buf(to, NONCE);
	crypto_aead_xchacha20poly1305_ietf_encrypt(to + NONCE, NULL, value, len, ad, sizeof ad, NULL, to, s->data);
	buf_wrote(ret, len + SEAL_OVERHEAD);
	return true;
}

bool seal_unseal(const struct seal *s, const char *secret, uint32_t version, const char *field, const void *sealed,
                 size_t len, struct fields *ret, struct err *e)
{
	unsigned char ad[VALUE_AD_BYTES];
	const unsigned char *from = sealed;
	if (len < SEAL_OVERHEAD || len > FIELDS_VALUE_MAX + SEAL_OVERHEAD)
		return err_set(e, ERR_FAILED, "sealed value '%s' of '%s' version %u has an impossible size", field,
		               secret, version);
	value_ad(secret, version, field, ad);
	unsigned char *clear = arena_alloc(len - SEAL_OVERHEAD);
	bool ok = crypto_aead_xchacha20poly1305_ietf_decrypt(clear, NULL, NULL, from + NONCE, len - NONCE, ad,
	                                                     sizeof ad, from, s->data) == 0;
	if (!ok)
		err_set(e, ERR_FAILED,
		        "sealed value '%s' of '%s' version %u does not open: it was altered or belongs elsewhere",
		        field, secret, version);
	else
		ok = fields_set(ret, field, (const char *)clear, len - SEAL_OVERHEAD, e);
	arena_free(clear);
	return ok;
}

/* ---- fingerprints ---- */

static void hash_bytes(crypto_generichash_state *h, const char *bytes, size_t len)
{
	crypto_generichash_update(h, (const unsigned char *)bytes, len);
}

/* A JSON string as RFC 8785 writes it. It goes to the hash piece by piece: no copy of the value is made. */
static void hash_json(crypto_generichash_state *h, const char *text, size_t len)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	size_t plain = 0;
	hash_bytes(h, "\"", 1);
	for (size_t i = 0; i < len; i++) {
		const char *at = memchr(from, text[i], sizeof from - 1);
		char escape[8];
		if (!at && (unsigned char)text[i] >= 0x20)
			continue;
		if (at)
			snprintf(escape, sizeof escape, "\\%c", to[at - from]);
		else
			snprintf(escape, sizeof escape, "\\u%04x", (unsigned)text[i]);
		hash_bytes(h, text + plain, i - plain);
		hash_bytes(h, escape, strlen(escape));
		plain = i + 1;
	}
	hash_bytes(h, text + plain, len - plain);
	hash_bytes(h, "\"", 1);
}

/* The smallest name behind `last` (NULL: the smallest of all); NULL when there is none. */
static const char *next_name(const struct fields *f, const char *last)
{
	const char *best = NULL;
	for (size_t i = 0; i < fields_count(f); i++) {
		const char *name = fields_name(f, i);
		if ((!last || strcmp(name, last) > 0) && (!best || strcmp(name, best) < 0))
			best = name;
	}
	return best;
}

static void hash_fields(crypto_generichash_state *h, const struct fields *f)
{
	const char *before = "{";
	for (const char *name = next_name(f, NULL); name; name = next_name(f, name)) {
		size_t len = 0;
		const char *value = fields_get(f, name, &len);
		hash_bytes(h, before, 1);
		hash_json(h, name, strlen(name));
		hash_bytes(h, ":", 1);
		hash_json(h, value, len);
		before = ",";
	}
	hash_bytes(h, "}", 1);
}

void seal_fingerprint(const struct seal *s, const char *secret, const struct fields *f, char ret[SEAL_FP_TEXT])
{
	unsigned char digest[32];
	crypto_generichash_state h;
	crypto_generichash_init(&h, s->log_fp, KEY_BYTES, sizeof digest);
	hash_text(&h, secret);
	if (fields_count(f) == 1) {
		size_t len = 0;
		const char *value = fields_get(f, fields_name(f, 0), &len);
		hash_bytes(&h, value, len);
	} else {
		hash_fields(&h, f);
	}
	crypto_generichash_final(&h, digest, sizeof digest);
	sodium_memzero(&h, sizeof h);
	memcpy(ret, "k1:", 3);
	sodium_bin2hex(ret + 3, SEAL_FP_TEXT - 3, digest, 16);
}

void seal_find(const struct seal *s, const void *value, size_t len, unsigned char ret[SEAL_FIND_BYTES])
{
	crypto_generichash(ret, SEAL_FIND_BYTES, value, len, s->find_fp, KEY_BYTES);
}
