#include "tlog.h"

#include <dlfcn.h>
#include <sodium.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "utf8.h"

#define ED25519 0x01
#define ID_BYTES 4
#define SIG_BYTES crypto_sign_BYTES
#define SIG_LINES_MAX 100
#define SIG_LINE "\xe2\x80\x94 "              /* U+2014, space */
#define SIZE_MAX_LEAVES ((uint64_t)INT64_MAX) /* beyond, a proof could have more than TLOG_LEVELS hashes */

/* ---- hashes ---- */

/* libcrypto's SHA256_CTX takes 112 bytes in every version that has these names. */
union context {
	unsigned char room[256];
	max_align_t align;
};

/* Empty until tlog_bulk. */
static struct openssl {
	int (*SHA256_Init)(union context *);
	int (*SHA256_Update)(union context *, const void *data, size_t len);
	int (*SHA256_Final)(unsigned char *ret, union context *);
} openssl;

static bool take_symbols(void *library)
{
	static const struct {
		const char *name;
		size_t at;
	} symbols[] = {
#define SYMBOL(name) { #name, offsetof(struct openssl, name) }
		SYMBOL(SHA256_Init),
		SYMBOL(SHA256_Update),
		SYMBOL(SHA256_Final),
#undef SYMBOL
	};
	struct openssl found;
	for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
		void *f = dlsym(library, symbols[i].name);
		if (!f)
			return false;
		memcpy((char *)&found + symbols[i].at, &f, sizeof f);
	}
	openssl = found;
	return true;
}

bool tlog_bulk(void)
{
	static const char *const names[] = { "libcrypto.so.3", "libcrypto.so.1.1" };
	for (size_t i = 0; i < sizeof names / sizeof *names && !openssl.SHA256_Init; i++) {
		void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
		if (library && !take_symbols(library))
			dlclose(library);
	}
	return openssl.SHA256_Init != NULL;
}

/* `data` begins with the prefix. */
static void hash(const unsigned char *data, size_t len, struct tlog_hash *ret)
{
	union context c;
	if (!openssl.SHA256_Init) {
		crypto_hash_sha256(ret->b, data, len);
		return;
	}
	openssl.SHA256_Init(&c);
	openssl.SHA256_Update(&c, data, len);
	openssl.SHA256_Final(ret->b, &c);
}

void tlog_leaf(const void *data, size_t len, struct tlog_hash *ret)
{
	/* In one piece, since that is hashed faster than a byte and a piece; few records are longer. */
	unsigned char all[4096];
	crypto_hash_sha256_state s;
	all[0] = 0;
	if (len < sizeof all) {
		if (len)
			memcpy(all + 1, data, len);
		hash(all, 1 + len, ret);
		return;
	}
	crypto_hash_sha256_init(&s);
	crypto_hash_sha256_update(&s, all, 1);
	crypto_hash_sha256_update(&s, data, len);
	crypto_hash_sha256_final(&s, ret->b);
}

void tlog_node(const struct tlog_hash *l, const struct tlog_hash *r, struct tlog_hash *ret)
{
	unsigned char both[1 + 2 * TLOG_HASH] = { 1 };
	memcpy(both + 1, l->b, TLOG_HASH);
	memcpy(both + 1 + TLOG_HASH, r->b, TLOG_HASH);
	hash(both, sizeof both, ret);
}

static bool same(const struct tlog_hash *a, const struct tlog_hash *b)
{
	return memcmp(a->b, b->b, TLOG_HASH) == 0;
}

void tlog_append(struct tlog_frontier *f, const struct tlog_hash *leaf)
{
	struct tlog_hash h = *leaf;
	for (uint64_t s = f->size; s & 1; s >>= 1)
		tlog_node(&f->h[--f->n], &h, &h);
	f->h[f->n++] = h;
	f->size++;
}

void tlog_root(const struct tlog_frontier *f, struct tlog_hash *ret)
{
	if (!f->n) {
		crypto_hash_sha256(ret->b, NULL, 0);
		return;
	}
	struct tlog_hash h = f->h[f->n - 1];
	for (size_t i = f->n - 1; i-- > 0;)
		tlog_node(&f->h[i], &h, &h);
	*ret = h;
}

/* ---- making proofs ---- */

struct prover {
	tlog_subtree *subtree;
	void *arg;
	struct tlog_hash *ret;
	size_t n;
	struct err *err;
};

/* The root over leaves [from, from + count), where `from` is a multiple of a power of two that is at least `count`. */
static bool add_range(struct prover *p, uint64_t from, uint64_t count)
{
	struct tlog_frontier f = { .size = count };
	for (unsigned level = TLOG_LEVELS; level-- > 0;) {
		if (!(count >> level & 1))
			continue;
		if (!p->subtree(p->arg, level, from >> level, &f.h[f.n++], p->err))
			return false;
		from += (uint64_t)1 << level;
	}
	tlog_root(&f, &p->ret[p->n++]);
	return true;
}

/* The largest power of two below `n`, for n >= 2. */
static uint64_t split(uint64_t n)
{
	uint64_t k = 1;
	while (k < n - k)
		k *= 2;
	return k;
}

static void reverse(struct tlog_hash h[], size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		struct tlog_hash t = h[i];
		h[i] = h[n - 1 - i];
		h[n - 1 - i] = t;
	}
}

static bool too_large(uint64_t size, struct err *e)
{
	if (size <= SIZE_MAX_LEAVES)
		return false;
	err_set(e, ERR_FAILED, "a log of %llu records is too large for proofs", (unsigned long long)size);
	return true;
}

bool tlog_prove(tlog_subtree *subtree, void *arg, uint64_t index, uint64_t size, struct tlog_hash ret[TLOG_LEVELS],
                size_t *ret_n, struct err *e)
{
	if (too_large(size, e))
		return false;
	if (index >= size)
		return err_set(e, ERR_FAILED, "record %llu is not in a log of %llu", (unsigned long long)index,
		               (unsigned long long)size);
	struct prover p = { .subtree = subtree, .arg = arg, .ret = ret, .err = e };
	uint64_t from = 0;
	while (size > 1) {
		uint64_t k = split(size);
		bool left = index - from < k;
		if (!(left ? add_range(&p, from + k, size - k) : add_range(&p, from, k)))
			return false;
		from += left ? 0 : k;
		size = left ? k : size - k;
	}
	reverse(ret, p.n);
	*ret_n = p.n;
	return true;
}

bool tlog_prove_consistency(tlog_subtree *subtree, void *arg, uint64_t old_size, uint64_t size,
                            struct tlog_hash ret[TLOG_LEVELS], size_t *ret_n, struct err *e)
{
	if (too_large(size, e))
		return false;
	if (old_size > size)
		return err_set(e, ERR_FAILED, "a log of %llu records has no earlier state of %llu",
		               (unsigned long long)size, (unsigned long long)old_size);
	struct prover p = { .subtree = subtree, .arg = arg, .ret = ret, .err = e };
	uint64_t from = 0;
	while (old_size && old_size != size) {
		uint64_t k = split(size);
		bool left = old_size <= k;
		if (!(left ? add_range(&p, from + k, size - k) : add_range(&p, from, k)))
			return false;
		from += left ? 0 : k;
		old_size -= left ? 0 : k;
		size = left ? k : size - k;
	}
	/* the verifier has the old root already when the old tree is the whole left edge that is left over */
	if (from && !add_range(&p, from, size))
		return false;
	reverse(ret, p.n);
	*ret_n = p.n;
	return true;
}

/* ---- checking proofs ---- */

/* One step up in both trees; in the smaller one past the levels at which its last node has no sibling. */
static void climb(uint64_t *fn, uint64_t *sn)
{
	while (!(*fn & 1) && *fn) {
		*fn >>= 1;
		*sn >>= 1;
	}
	*fn >>= 1;
	*sn >>= 1;
}

bool tlog_check(const struct tlog_hash *leaf, uint64_t index, uint64_t size, const struct tlog_hash *root,
                const struct tlog_hash proof[], size_t n)
{
	if (index >= size)
		return false;
	uint64_t fn = index, sn = size - 1;
	struct tlog_hash h = *leaf;
	for (size_t i = 0; i < n; i++) {
		if (!sn)
			return false;
		if (fn & 1 || fn == sn) {
			tlog_node(&proof[i], &h, &h);
			climb(&fn, &sn);
		} else {
			tlog_node(&h, &proof[i], &h);
			fn >>= 1;
			sn >>= 1;
		}
	}
	return !sn && same(&h, root);
}

static bool check_from_empty(const struct tlog_hash *old_root, uint64_t size, const struct tlog_hash *root)
{
	struct tlog_hash empty;
	tlog_root(&(struct tlog_frontier){ 0 }, &empty);
	return same(old_root, &empty) && (size || same(root, &empty));
}

bool tlog_check_consistency(uint64_t old_size, const struct tlog_hash *old_root, uint64_t size,
                            const struct tlog_hash *root, const struct tlog_hash proof[], size_t n)
{
	if (old_size > size)
		return false;
	if (!old_size)
		return !n && check_from_empty(old_root, size, root);
	if (old_size == size)
		return !n && same(old_root, root);
	uint64_t fn = old_size - 1, sn = size - 1;
	while (fn & 1) {
		fn >>= 1;
		sn >>= 1;
	}
	/* a perfect old tree is a node of the new one, so its root begins the path and is not sent */
	size_t i = fn ? 1 : 0;
	if (n < i)
		return false;
	struct tlog_hash o = fn ? proof[0] : *old_root, s = o;
	for (; i < n; i++) {
		if (!sn)
			return false;
		if (fn & 1 || fn == sn) {
			tlog_node(&proof[i], &o, &o);
			tlog_node(&proof[i], &s, &s);
			climb(&fn, &sn);
		} else {
			tlog_node(&s, &proof[i], &s);
			fn >>= 1;
			sn >>= 1;
		}
	}
	return !sn && same(&o, old_root) && same(&s, root);
}

/* ---- base64 ---- */

/* Canonical, with padding. */
static bool from_base64(const char *text, size_t len, unsigned char ret[], size_t size, size_t *ret_got)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] >= 0x80) /* libsodium up to 1.0.18 takes these for '/' */
			return false;
	return sodium_base642bin(ret, size, text, len, NULL, ret_got, NULL, sodium_base64_VARIANT_ORIGINAL) == 0;
}

static bool all_from_base64(const char *text, size_t len, unsigned char ret[], size_t size)
{
	size_t got;
	return from_base64(text, len, ret, size, &got) && got == size;
}

/* `len` is at most BASE64_IN. */
#define BASE64_IN (ID_BYTES + SIG_BYTES)
static void add_base64(struct buf *to, const unsigned char *bytes, size_t len)
{
	char text[sodium_base64_ENCODED_LEN(BASE64_IN, sodium_base64_VARIANT_ORIGINAL)];
	buf_str(to, sodium_bin2base64(text, sizeof text, bytes, len, sodium_base64_VARIANT_ORIGINAL));
}

/* ---- names and keys ---- */

/* The code points with Unicode's White_Space, in UTF-8; `p` is well-formed. */
static bool space_at(const unsigned char *p)
{
	if (p[0] <= 0x20)
		return true; /* control bytes are no spaces, but no note may hold one */
	if (p[0] == 0xc2)
		return p[1] == 0x85 || p[1] == 0xa0;
	if (p[0] == 0xe1)
		return p[1] == 0x9a && p[2] == 0x80;
	if (p[0] == 0xe2 && p[1] == 0x80)
		return (p[2] >= 0x80 && p[2] <= 0x8a) || p[2] == 0xa8 || p[2] == 0xa9 || p[2] == 0xaf;
	if (p[0] == 0xe2)
		return p[1] == 0x81 && p[2] == 0x9f;
	return p[0] == 0xe3 && p[1] == 0x80 && p[2] == 0x80;
}

static bool name_ok(const char *name, size_t len)
{
	if (!len || !utf8_text(name, len) || memchr(name, '+', len))
		return false;
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)name[i] & 0xc0) != 0x80 && space_at((const unsigned char *)name + i))
			return false;
	return true;
}

bool tlog_name_ok(const char *name)
{
	size_t len = strnlen(name, TLOG_NAME_MAX + 1);
	return len <= TLOG_NAME_MAX && name_ok(name, len);
}

void tlog_vkey_make(const char *name, const unsigned char pk[32], struct tlog_vkey *ret)
{
	static const unsigned char between[2] = { '\n', ED25519 };
	unsigned char id[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state s;
	*ret = (struct tlog_vkey){ 0 };
	snprintf(ret->name, sizeof ret->name, "%s", name);
	memcpy(ret->pk, pk, sizeof ret->pk);
	crypto_hash_sha256_init(&s);
	crypto_hash_sha256_update(&s, (const unsigned char *)ret->name, strlen(ret->name));
	crypto_hash_sha256_update(&s, between, sizeof between);
	crypto_hash_sha256_update(&s, pk, 32);
	crypto_hash_sha256_final(&s, id);
	ret->id = (uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3];
}

bool tlog_vkey_parse(const char *text, struct tlog_vkey *ret, struct err *e)
{
	struct tlog_vkey key;
	char name[TLOG_NAME_MAX + 1], id[9];
	unsigned char bytes[1 + 32];
	size_t len = strcspn(text, "+");
	if (len > TLOG_NAME_MAX || !name_ok(text, len))
		return err_set(e, ERR_USAGE, "verifier key has no valid name before its first '+'");
	memcpy(name, text, len);
	name[len] = '\0';
	const char *hex = text + len + (text[len] ? 1 : 0);
	if (strcspn(hex, "+") != 8 || strspn(hex, "0123456789abcdef") != 8 || hex[8] != '+')
		return err_set(e, ERR_USAGE, "verifier key of '%s' has no id of eight hex digits", name);
	if (!all_from_base64(hex + 9, strlen(hex + 9), bytes, sizeof bytes) || bytes[0] != ED25519)
		return err_set(e, ERR_USAGE, "verifier key of '%s' is no Ed25519 key in base64", name);
	tlog_vkey_make(name, bytes + 1, &key);
	snprintf(id, sizeof id, "%08x", key.id);
	if (memcmp(id, hex, 8) != 0)
		return err_set(e, ERR_USAGE, "verifier key of '%s' does not belong to its id '%.8s'", name, hex);
	*ret = key;
	return true;
}

void tlog_vkey_text(const struct tlog_vkey *key, struct buf *ret)
{
	unsigned char bytes[1 + 32] = { ED25519 };
	memcpy(bytes + 1, key->pk, 32);
	buf_printf(ret, "%s+%08x+", key->name, key->id);
	add_base64(ret, bytes, sizeof bytes);
}

/* ---- notes ---- */

static void put_id(unsigned char to[ID_BYTES], uint32_t id)
{
	for (unsigned i = 0; i < ID_BYTES; i++)
		to[i] = (unsigned char)(id >> (24 - 8 * i));
}

void tlog_sign(const struct tlog_vkey *key, const unsigned char sk[64], const char *text, size_t len, struct buf *ret)
{
	unsigned char bytes[ID_BYTES + SIG_BYTES];
	put_id(bytes, key->id);
	crypto_sign_detached(bytes + ID_BYTES, NULL, (const unsigned char *)text, len, sk);
	buf_printf(ret, SIG_LINE "%s ", key->name);
	add_base64(ret, bytes, sizeof bytes);
	buf_str(ret, "\n");
}

struct sig_line {
	const char *name, *b64;
	size_t name_len, b64_len;
};

/* One signature line of `len` bytes, without its newline. */
static bool split_line(const char *line, size_t len, struct sig_line *ret)
{
	size_t head = strlen(SIG_LINE);
	if (len < head || memcmp(line, SIG_LINE, head) != 0)
		return false;
	const char *end = line + len, *space = memchr(line + head, ' ', len - head);
	if (!space)
		return false;
	*ret = (struct sig_line){ line + head, space + 1, (size_t)(space - line) - head, (size_t)(end - space) - 1 };
	return name_ok(ret->name, ret->name_len) && ret->b64_len > 0;
}

/* -1 malformed, 0 by a key that is not known, 1 good, 2 by a known key and bad. `scratch` takes the decoded bytes. */
static int check_line(const struct sig_line *l, const char *text, size_t len, const struct tlog_vkey keys[], size_t n,
                      unsigned char scratch[], size_t scratch_size, const struct tlog_vkey **ret_key)
{
	size_t got;
	unsigned char id[ID_BYTES];
	if (!from_base64(l->b64, l->b64_len, scratch, scratch_size, &got) || got <= ID_BYTES)
		return -1;
	for (size_t i = 0; i < n; i++) {
		put_id(id, keys[i].id);
		if (memcmp(id, scratch, ID_BYTES) != 0 || strlen(keys[i].name) != l->name_len ||
		    memcmp(keys[i].name, l->name, l->name_len) != 0)
			continue;
		*ret_key = &keys[i];
		bool good = got == ID_BYTES + SIG_BYTES &&
		            crypto_sign_verify_detached(scratch + ID_BYTES, (const unsigned char *)text, len,
		                                        keys[i].pk) == 0;
		return good ? 1 : 2;
	}
	return 0;
}

/* Offset behind the blank line that ends the text; 0 when these are no bytes of a note. */
static size_t find_signatures(const char *note, size_t len)
{
	if (!utf8_text(note, len) || !len || note[len - 1] != '\n')
		return 0;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)note[i] < 0x20 && note[i] != '\n')
			return 0;
	for (size_t i = len; i-- > 1;)
		if (note[i] == '\n' && note[i - 1] == '\n')
			return i + 1 < len ? i + 1 : 0;
	return 0;
}

bool tlog_note_open(const char *note, size_t len, const struct tlog_vkey keys[], size_t n_keys, size_t *ret_len,
                    struct err *e)
{
	if (len > TLOG_NOTE_MAX)
		return err_set(e, ERR_FAILED, "signed note is larger than %zu bytes", TLOG_NOTE_MAX);
	size_t at = find_signatures(note, len), good = 0, lines = 0;
	if (!at)
		return err_set(e, ERR_FAILED,
		               "signed note is malformed: no text with a blank line and signatures behind it");
	size_t text_len = at - 1;
	AUTO_FREE unsigned char *scratch = mem_alloc(len); /* signatures of other kinds can be large */
	while (at < len) {
		const char *line = note + at, *newline = memchr(line, '\n', len - at);
		const struct tlog_vkey *key = NULL;
		struct sig_line l;
		size_t line_len = (size_t)(newline - line);
		int is = ++lines > SIG_LINES_MAX || !split_line(line, line_len, &l) ?
		                 -1 :
		                 check_line(&l, note, text_len, keys, n_keys, scratch, len, &key);
		if (is < 0)
			return err_set(e, ERR_FAILED, "signed note is malformed: signature line %zu", lines);
		if (is == 2)
			return err_set(e, ERR_FAILED, "signature of '%s' on the note is not good", key->name);
		good += is == 1;
		at += line_len + 1;
	}
	if (!good)
		return err_set(e, ERR_FAILED, "signed note has no signature of a known key");
	*ret_len = text_len;
	return true;
}

/* ---- checkpoints ---- */

void tlog_checkpoint_text(const struct tlog_checkpoint *c, struct buf *ret)
{
	buf_printf(ret, "%s\n%llu\n", c->origin, (unsigned long long)c->size);
	add_base64(ret, c->root.b, sizeof c->root.b);
	buf_str(ret, "\n");
}

static bool parse_size(const char *text, size_t len, uint64_t *ret)
{
	uint64_t n = 0;
	if (!len || len > 19 || (text[0] == '0' && len > 1)) /* 19 digits are below 2^64 */
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(text[i] - '0');
	}
	*ret = n;
	return n <= SIZE_MAX_LEAVES;
}

bool tlog_checkpoint_parse(const char *text, size_t len, struct tlog_checkpoint *ret, struct err *e)
{
	struct tlog_checkpoint c = { 0 };
	const char *line[3], *at = text, *end = text + len;
	size_t line_len[3];
	for (size_t i = 0; i < 3; i++) {
		const char *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
		if (!newline)
			return err_set(e, ERR_FAILED, "checkpoint is malformed: it has fewer than three lines");
		line[i] = at;
		line_len[i] = (size_t)(newline - at);
		at = newline + 1;
	}
	if (at != end)
		return err_set(e, ERR_FAILED, "checkpoint is malformed: it has extension lines");
	if (line_len[0] > TLOG_NAME_MAX || !name_ok(line[0], line_len[0]))
		return err_set(e, ERR_FAILED, "checkpoint is malformed: its origin");
	memcpy(c.origin, line[0], line_len[0]);
	if (!parse_size(line[1], line_len[1], &c.size))
		return err_set(e, ERR_FAILED, "checkpoint of '%s' is malformed: its size", c.origin);
	if (!all_from_base64(line[2], line_len[2], c.root.b, sizeof c.root.b))
		return err_set(e, ERR_FAILED, "checkpoint of '%s' is malformed: its root", c.origin);
	*ret = c;
	return true;
}

/* ---- tiles ---- */

void tlog_tile_path(int level, uint64_t index, unsigned width, char ret[96])
{
	char groups[48], *at = groups + sizeof groups;
	*--at = '\0';
	for (bool last = true; last || index; last = false, index /= 1000) {
		char group[8];
		size_t len = (size_t)snprintf(group, sizeof group, last ? "%03u" : "x%03u/", (unsigned)(index % 1000));
		at -= len;
		memcpy(at, group, len);
	}
	int len = level < 0 ? snprintf(ret, 96, "tile/entries/%s", at) : snprintf(ret, 96, "tile/%d/%s", level, at);
	if (width < 256)
		snprintf(ret + len, 96 - (size_t)len, ".p/%u", width);
}
