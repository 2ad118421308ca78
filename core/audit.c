#include "audit.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit_inside.h"
#include "mem.h"
#include "ulid.h"

#define OP (ULID_SIZE - 1)
#define BUCKETS 4096

/* Intents that wait for their outcome. */
struct intent {
	struct intent *next;
	char op[OP];
};

struct check {
	struct state *state; /* NULL: an export, whose folder is `dir` */
	int dir;
	struct tlog_frontier tree;
	struct tlog_hash leaf; /* of the newest one */
	struct audit_result *res;
	struct intent *intents[BUCKETS];
};

bool audit_read(int dir, const char *path, struct buf *ret)
{
	int fd = openat(dir, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool ok = buf_read_fd(ret, fd, path, NULL) && ret->len > 0;
	close(fd);
	return ok;
}

static bool problem(struct check *c, uint64_t at, const char *fmt, ...) PRINTF(3, 4);
static bool problem(struct check *c, uint64_t at, const char *fmt, ...)
{
	va_list ap;
	if (c->res->problem[0])
		return false;
	va_start(ap, fmt);
	vsnprintf(c->res->problem, sizeof c->res->problem, fmt, ap);
	va_end(ap);
	c->res->problem_at = at;
	return false;
}

/* ---- leaves */

static struct intent **bucket(struct check *c, const char *op)
{
	/* The end of a ULID is random. */
	uint32_t h = 0;
	for (int i = OP - 6; i < OP; i++)
		h = h * 31 + (unsigned char)op[i];
	return &c->intents[h % BUCKETS];
}

static void note_intent(struct check *c, const char *op, bool begins)
{
	struct intent **at = bucket(c, op);
	while (*at && memcmp((*at)->op, op, OP) != 0)
		at = &(*at)->next;
	if (begins && !*at) {
		*at = mem_alloc(sizeof **at);
		memcpy((*at)->op, op, OP);
		c->res->open_intents++;
	} else if (!begins && *at) {
		struct intent *gone = *at;
		*at = gone->next;
		free(gone);
		c->res->open_intents--;
	}
}

static void forget_intents(struct check *c)
{
	for (size_t i = 0; i < BUCKETS; i++)
		while (c->intents[i]) {
			struct intent *gone = c->intents[i];
			c->intents[i] = gone->next;
			free(gone);
		}
}

static bool skip(const char **p, const char *end, const char *text)
{
	size_t len = strlen(text);
	if ((size_t)(end - *p) < len || memcmp(*p, text, len) != 0)
		return false;
	*p += len;
	return true;
}

/* Decimal, as the log writes it: without leading zeros. */
static bool skip_number(const char **p, const char *end, uint64_t n)
{
	char text[20], *at = text + sizeof text;
	do
		*--at = (char)('0' + n % 10);
	while (n /= 10);
	size_t len = (size_t)(text + sizeof text - at);
	if ((size_t)(end - *p) < len || memcmp(*p, at, len) != 0)
		return false;
	*p += len;
	return true;
}

/* The value of `outcome`, which comes last: an escaped quote never looks like the end of that key. */
static const char *outcome_of(const char *leaf, size_t len)
{
	static const char key[] = ",\"outcome\":";
	const size_t key_len = sizeof key - 1;
	if (len < 4)
		return NULL;
	const char *quote = memrchr(leaf, '"', len - 2);
	if (!quote || (size_t)(quote - leaf) < key_len || memcmp(quote - key_len, key, key_len) != 0)
		return NULL;
	return quote + 1;
}

/* ---- long texts, by the names that leaves have for them */

struct text {
	const char *sha; /* 64 hex digits, in the leaf */
	uint64_t size;
};

/* At `p`, which is behind "sha256:". */
static bool parse_text(const char *p, const char *end, struct text *ret)
{
	ret->sha = p;
	ret->size = 0;
	for (int i = 0; i < 64; i++, p++)
		if (p == end || !*p || !strchr("0123456789abcdef", *p))
			return false;
	if (!skip(&p, end, ":"))
		return false;
	const char *digits = p;
	for (; p < end && *p >= '0' && *p <= '9' && p - digits < 12; p++)
		ret->size = ret->size * 10 + (uint64_t)(*p - '0');
	return p > digits && p < end && *p == '"';
}

/* Piece by piece, as a text may be large. */
static bool file_is(int fd, const struct text *t)
{
	static unsigned char piece[65536];
	unsigned char want[crypto_hash_sha256_BYTES], hash[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state state;
	uint64_t size = 0;
	ssize_t n;
	crypto_hash_sha256_init(&state);
	while (size <= t->size && (n = read(fd, piece, sizeof piece)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		crypto_hash_sha256_update(&state, piece, (size_t)n);
		size += (uint64_t)n;
	}
	crypto_hash_sha256_final(&state, hash);
	return size == t->size && sodium_hex2bin(want, sizeof want, t->sha, 64, NULL, NULL, NULL) == 0 &&
	       memcmp(want, hash, sizeof hash) == 0;
}

static bool exported_text(struct check *c, uint64_t seq, const struct text *t)
{
	char path[5 + 64 + 1];
	snprintf(path, sizeof path, "blob/%.64s", t->sha);
	int fd = openat(c->dir, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return problem(c, seq, "'%s' is missing, which leaf %llu names", path, (unsigned long long)seq);
	bool same = file_is(fd, t);
	close(fd);
	return same ? true :
	              problem(c, seq, "'%s' was altered: it is not what leaf %llu names", path,
	                      (unsigned long long)seq);
}

/* Its bytes are check_blob's, once for all leaves that name it. */
static bool stored_text(struct check *c, uint64_t seq, const struct text *t, struct err *e)
{
	uint64_t size;
	bool found;
	if (!state_blob_size(c->state, t->sha, &found, &size, e))
		return false;
	if (!found)
		return problem(c, seq, "the text '%.64s' is missing, which leaf %llu names", t->sha,
		               (unsigned long long)seq);
	if (size != t->size)
		return problem(c, seq, "the text '%.64s' was altered: it is not what leaf %llu names", t->sha,
		               (unsigned long long)seq);
	return true;
}

/* A quote within a string is escaped, so this sequence is always a key's value. It is looked for by its 'h': that is
 * rare in leaves, where digests are hexadecimal and ids upper case, and a million of them are searched. */
static bool check_texts(struct check *c, uint64_t seq, const char *leaf, size_t len, struct err *e)
{
	static const char begin[] = "\":\"sha256:", *const keys[] = { ",\"reason", ",\"receipt" };
	const size_t n = sizeof begin - 1, mark = 4;
	const char *end = leaf + len, *at = leaf + mark; /* no leaf is shorter */
	for (; (at = memchr(at, 'h', (size_t)(end - at))) != NULL; at++) {
		const char *p = at - mark;
		struct text t;
		if ((size_t)(end - at) < n - mark || memcmp(p, begin, n) != 0)
			continue;
		bool names = false;
		for (size_t i = 0; i < 2; i++) {
			size_t key = strlen(keys[i]);
			names = names || ((size_t)(p - leaf) >= key && memcmp(p - key, keys[i], key) == 0);
		}
		if (!names)
			continue;
		if (!parse_text(p + n, end, &t))
			return problem(c, seq, "leaf %llu names a text in a way that is not understood",
			               (unsigned long long)seq);
		if (!(c->state ? stored_text(c, seq, &t, e) : exported_text(c, seq, &t)))
			return false;
	}
	return true;
}

/* The order of keys is fixed, so the few that matter are found without parsing a million documents. */
static bool check_leaf(void *arg, uint64_t seq, const char *leaf, size_t len, struct err *e)
{
	struct check *c = arg;
	const char *p = leaf, *end = leaf + len;
	if (seq != c->tree.size)
		return problem(c, c->tree.size, "leaf %llu is missing", (unsigned long long)c->tree.size);
	if (len > TLOG_LEAF_MAX || !skip(&p, end, "{\"v\":1,\"seq\":") || !skip_number(&p, end, seq) ||
	    !skip(&p, end, ",\"ts\":\"") || leaf[len - 1] != '}')
		return problem(c, seq, "leaf %llu is not a record with that number", (unsigned long long)seq);
	p = memchr(p, '"', (size_t)(end - p));
	if (p && skip(&p, end, "\",\"op\":\"") && end - p > OP && p[OP] == '"') {
		const char *outcome = outcome_of(leaf, len);
		if (outcome)
			note_intent(c, p, strncmp(outcome, "intent\"", 7) == 0);
	}
	tlog_leaf(leaf, len, &c->leaf);
	tlog_append(&c->tree, &c->leaf);
	c->res->size++;
	return check_texts(c, seq, leaf, len, e);
}

/* ---- the home's log */

static bool check_head(void *arg, uint64_t size, const char *note, struct err *e)
{
	struct check *c = arg;
	struct tlog_checkpoint head;
	struct tlog_hash root;
	if (!state_head_open(c->state, note, false, &head, NULL) || head.size != size)
		return problem(c, size, "the head of size %llu is not signed by the log's key",
		               (unsigned long long)size);
	if (!state_leaves(c->state, c->tree.size, size, check_leaf, c, e))
		return false;
	if (c->tree.size != size)
		return problem(c, c->tree.size, "leaf %llu is missing", (unsigned long long)c->tree.size);
	tlog_root(&c->tree, &root);
	if (memcmp(&root, &head.root, sizeof root) != 0)
		return problem(c, size, "the leaves do not fold to the head of size %llu", (unsigned long long)size);
	c->res->heads++;
	return true;
}

static bool check_blob(void *arg, const char *sha, const char *text, size_t len, struct err *e)
{
	struct check *c = arg;
	unsigned char hash[crypto_hash_sha256_BYTES];
	char hex[65];
	(void)e;
	crypto_hash_sha256(hash, (const unsigned char *)text, len);
	sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
	if (!sha || strcmp(sha, hex) != 0)
		return problem(c, c->tree.size, "the text '%.64s' was altered", sha ? sha : "");
	return true;
}

static bool behind_the_end(void *arg, uint64_t seq, const char *leaf, size_t len, struct err *e)
{
	(void)leaf;
	(void)len;
	(void)e;
	return problem(arg, seq, "leaf %llu is under no signed head", (unsigned long long)seq);
}

static bool check_derived(struct check *c, const char *home)
{
	AUTO_FREE char *dir = mem_printf("%s/audit", home);
	AUTO_FREE char *then = NULL;
	AUTO_BUF note = BUF_INIT(TLOG_NOTE_MAX);
	AUTO_BUF vkey = BUF_INIT(1024);
	AUTO_BUF want = BUF_INIT(1024);
	struct tlog_checkpoint seen, head;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool have = fd >= 0 && audit_read(fd, "checkpoint", &note) && audit_read(fd, "vkey", &vkey);
	if (fd >= 0)
		close(fd);
	tlog_vkey_text(state_vkey(c->state), &want);
	buf_str(&want, "\n");
	if (!have || strlen(note.data) != note.len || !state_head_open(c->state, note.data, true, &seen, NULL))
		return problem(c, c->tree.size, "'%s' lacks a readable checkpoint or vkey", dir);
	if (vkey.len != want.len || memcmp(vkey.data, want.data, want.len) != 0)
		return problem(c, c->tree.size, "'%s/vkey' is not the log's key", dir);
	if (!state_head_at(c->state, seen.size, &then, NULL) || !then ||
	    !state_head_open(c->state, then, false, &head, NULL) ||
	    memcmp(&head.root, &seen.root, sizeof head.root) != 0 || strcmp(head.origin, seen.origin) != 0)
		return problem(c, seen.size, "'%s/checkpoint' names size %llu, which the log does not have", dir,
		               (unsigned long long)seen.size);
	return true;
}

bool audit_verify(struct home *h, struct audit_result *ret, struct err *e)
{
	struct audit_result res = { 0 };
	struct check *c = mem_alloc(sizeof *c);
	tlog_bulk();
	*c = (struct check){ .state = h->state, .res = &res };
	bool ok = state_heads(h->state, check_head, c, e) &&
	          state_leaves(h->state, c->tree.size, UINT64_MAX, behind_the_end, c, e) &&
	          state_blobs(h->state, check_blob, c, e);
	if (ok)
		check_derived(c, h->dir);
	forget_intents(c);
	free(c);
	if (!ok && !res.problem[0])
		return false;
	*ret = res;
	return true;
}

/* ---- an export */

struct tiles { /* of the export that is checked; hash[l] is the tile of level l under way */
	int dir;
	struct check *c;
	struct tlog_hash hash[8][AUDIT_TILE];
	uint64_t n[8]; /* hashes so far at this level */
};

static bool check_tile(struct tiles *t, int level, unsigned width)
{
	char path[96];
	AUTO_BUF file = BUF_INIT(AUDIT_TILE * TLOG_HASH);
	uint64_t index = (t->n[level] - 1) / AUDIT_TILE;
	tlog_tile_path(level, index, width, path);
	if (!audit_read(t->dir, path, &file) || file.len != (size_t)width * TLOG_HASH ||
	    memcmp(file.data, t->hash[level], file.len) != 0)
		return problem(t->c, t->c->tree.size, "'%s' does not hold the hashes of the leaves", path);
	return true;
}

static bool add_hash(struct tiles *t, int level, const struct tlog_hash *h)
{
	if (level >= 8)
		return true;
	t->hash[level][t->n[level]++ % AUDIT_TILE] = *h;
	if (t->n[level] % AUDIT_TILE)
		return true;
	struct tlog_frontier f = { 0 };
	for (size_t i = 0; i < AUDIT_TILE; i++)
		tlog_append(&f, &t->hash[level][i]);
	return check_tile(t, level, AUDIT_TILE) && add_hash(t, level + 1, &f.h[0]);
}

static bool check_bundle(struct tiles *t, uint64_t index, unsigned width, struct buf *file)
{
	char path[96];
	tlog_tile_path(-1, index, width, path);
	buf_reset(file);
	if (!audit_read(t->dir, path, file))
		return problem(t->c, index * AUDIT_TILE, "'%s' is missing", path);
	const unsigned char *p = (const unsigned char *)file->data, *end = p + file->len;
	for (unsigned i = 0; i < width; i++) {
		size_t len = end - p >= 2 ? (size_t)p[0] << 8 | p[1] : SIZE_MAX;
		if (len > (size_t)(end - p) - (end - p >= 2 ? 2 : 0))
			return problem(t->c, t->c->tree.size, "'%s' is cut off", path);
		if (!check_leaf(t->c, index * AUDIT_TILE + i, (const char *)p + 2, len, NULL) ||
		    !add_hash(t, 0, &t->c->leaf))
			return false;
		p += 2 + len;
	}
	return p == end ? true : problem(t->c, t->c->tree.size, "'%s' holds more than its entries", path);
}

static bool check_tiles(struct tiles *t, const struct tlog_checkpoint *head)
{
	AUTO_BUF file = BUF_INIT(AUDIT_BUNDLE_MAX);
	struct tlog_hash root;
	for (uint64_t i = 0; i * AUDIT_TILE < head->size; i++) {
		uint64_t left = head->size - i * AUDIT_TILE;
		if (!check_bundle(t, i, left < AUDIT_TILE ? (unsigned)left : AUDIT_TILE, &file))
			return false;
	}
	for (int l = 0; l < 8; l++)
		if (t->n[l] % AUDIT_TILE && !check_tile(t, l, (unsigned)(t->n[l] % AUDIT_TILE)))
			return false;
	tlog_root(&t->c->tree, &root);
	if (memcmp(&root, &head->root, sizeof root) != 0)
		return problem(t->c, head->size, "the entries do not fold to the checkpoint of size %llu",
		               (unsigned long long)head->size);
	t->c->res->heads = 1;
	return true;
}

static bool read_vkey(int dir, const char *file, struct tlog_vkey *ret, struct err *e)
{
	AUTO_BUF text = BUF_INIT(1024);
	if (!audit_read(file ? AT_FDCWD : dir, file ? file : "vkey", &text))
		return err_set(e, ERR_FAILED, "cannot read the key in '%s'", file ? file : "vkey");
	text.data[strcspn(text.data, "\r\n")] = '\0';
	return tlog_vkey_parse(text.data, ret, e);
}

static bool check_export(int dir, const char *name, const char *vkey_file, struct audit_result *res, struct err *e)
{
	AUTO_BUF note = BUF_INIT(TLOG_NOTE_MAX);
	struct tlog_vkey key;
	struct tlog_checkpoint head;
	size_t len;
	if (!read_vkey(dir, vkey_file, &key, e))
		return false;
	if (!audit_read(dir, "checkpoint", &note))
		return err_set(e, ERR_FAILED, "cannot read '%s/checkpoint'", name);
	struct check *c = mem_alloc(sizeof *c);
	struct tiles *t = mem_alloc(sizeof *t);
	tlog_bulk();
	c->res = res;
	c->dir = t->dir = dir;
	t->c = c;
	if (!tlog_note_open(note.data, note.len, &key, 1, &len, NULL) ||
	    !tlog_checkpoint_parse(note.data, len, &head, NULL) || strcmp(head.origin, key.name) != 0)
		problem(c, 0, "'%s/checkpoint' is not signed by that key", name);
	else
		check_tiles(t, &head);
	forget_intents(c);
	free(t);
	free(c);
	return true;
}

bool audit_verify_export(const char *dir, const char *vkey_file, struct audit_result *ret, struct err *e)
{
	struct audit_result res = { 0 };
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, ERR_USAGE, errno, "cannot open '%s'", dir);
	bool ok = check_export(fd, dir, vkey_file, &res, e);
	close(fd);
	if (ok)
		*ret = res;
	return ok;
}
