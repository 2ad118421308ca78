#include "state.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "home.h"
#include "json.h"
#include "mem.h"
#include "state_inside.h"
#include "utf8.h"

#define TILE 8 /* subtree hashes are kept for every eighth level, 256 below one */

static bool wrong(const struct state *s, const char *what, struct err *e)
{
	err_set(e, ERR_REFUSED, "'%s' is damaged: %s", s->path, what);
	return err_hint(e, "copy a backup of the home back and run `rotor home adopt --reason TEXT`");
}

/* ---- tree and head */

bool state_log_load(struct state *s, struct err *e)
{
	static const char sql[] = "SELECT (SELECT value FROM meta WHERE key = 'vkey'), size, frontier FROM tree";
	AUTO_Q q = { 0 };
	bool row;
	if (!state_q_open(&q, s, sql, e) || !state_q_next(&q, &row, e))
		return false;
	const char *vkey = row ? state_q_str(&q, 0) : NULL;
	if (!vkey || state_q_i64(&q, 1) < 0 || !tlog_vkey_parse(vkey, &s->vkey, NULL))
		return wrong(s, "the log's key is missing", e);
	size_t len;
	uint64_t size = (uint64_t)state_q_i64(&q, 1);
	const void *hashes = state_q_bytes(&q, 2, &len);
	if (len != (size_t)__builtin_popcountll(size) * TLOG_HASH)
		return wrong(s, "the log's tree does not fit its size", e);
	s->tree.size = size;
	s->tree.n = len / TLOG_HASH;
	if (len)
		memcpy(s->tree.h, hashes, len);
	return true;
}

/* Heads under earlier origins stay: each adoption of a home begins a new one. */
static bool origin_known(struct state *s, const char *origin)
{
	if (strcmp(origin, s->vkey.name) == 0)
		return true;
	const char *old = state_meta(s, "origins");
	size_t len = strlen(origin);
	for (const char *p = old; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
		if (strncmp(p, origin, len) == 0 && (p[len] == '\n' || p[len] == '\0'))
			return true;
	return false;
}

bool state_head_open(struct state *s, const char *note, bool any_origin, struct tlog_checkpoint *ret, struct err *e)
{
	size_t len = strlen(note), text_len;
	const char *end = memchr(note, '\n', len);
	char origin[TLOG_NAME_MAX + 1] = "";
	if (end && end - note <= TLOG_NAME_MAX)
		memcpy(origin, note, (size_t)(end - note));
	if (!tlog_name_ok(origin) || (!any_origin && !origin_known(s, origin)))
		return err_set(e, ERR_FAILED, "a signed head has an unknown origin");
	struct tlog_vkey key;
	tlog_vkey_make(origin, s->vkey.pk, &key);
	return tlog_note_open(note, len, &key, 1, &text_len, e) && tlog_checkpoint_parse(note, text_len, ret, e);
}

bool state_log_check(struct state *s, struct err *e)
{
	AUTO_FREE char *note = NULL;
	struct tlog_checkpoint head;
	struct tlog_hash root;
	if (!state_head(s, &note, &head, e))
		return false;
	if (!state_head_open(s, note, false, &head, NULL))
		return wrong(s, "the newest head's signature is not by the log's key", e);
	tlog_root(&s->tree, &root);
	if (head.size != s->tree.size || memcmp(&root, &head.root, sizeof root) != 0)
		return wrong(s, "the log's tree does not fold to its signed head", e);
	return true;
}

static bool put_tree(struct state *s, struct err *e)
{
	static const char sql[] = "UPDATE tree SET size = ?, frontier = ?";
	AUTO_Q q = { 0 };
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, (int64_t)s->tree.size);
	state_q_blob(&q, s->tree.h, s->tree.n * TLOG_HASH);
	return state_q_run(&q, e);
}

bool state_log_sign(struct state *s, struct buf *ret_note, struct err *e)
{
	static const char sql[] = "INSERT INTO head VALUES(?, ?)";
	struct tlog_checkpoint head = { .size = s->tree.size };
	AUTO_Q q = { 0 };
	if (!s->log_sk)
		return err_set(e, ERR_FAILED, "cannot sign the log of '%s': its key is not open", s->path);
	snprintf(head.origin, sizeof head.origin, "%s", s->vkey.name);
	tlog_root(&s->tree, &head.root);
	tlog_checkpoint_text(&head, ret_note);
	AUTO_BUF line = BUF_INIT(1024);
	tlog_sign(&s->vkey, s->log_sk, ret_note->data, ret_note->len, &line);
	buf_str(ret_note, "\n");
	buf_add(ret_note, line.data, line.len);
	if (!put_tree(s, e) || !state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, (int64_t)head.size);
	state_q_textn(&q, ret_note->data, ret_note->len);
	return state_q_run(&q, e);
}

static bool replace(int dir, const char *name, const char *text, size_t len)
{
	AUTO_FREE char *temporary = mem_printf("%s.new", name);
	int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return false;
	bool ok = write(fd, text, len) == (ssize_t)len;
	close(fd);
	ok = ok && renameat(dir, temporary, dir, name) == 0;
	if (!ok)
		unlinkat(dir, temporary, 0);
	return ok;
}

/* Best effort: a checkpoint that is behind is no harm, the next commit brings it up to date. */
void state_log_derive(struct state *s, const struct buf *note)
{
	if (s->audit_fd >= 0)
		replace(s->audit_fd, "checkpoint", note->data, note->len);
}

static bool derive(struct state *s, struct err *e)
{
	AUTO_FREE char *note = NULL;
	AUTO_BUF vkey = BUF_INIT(1024);
	struct tlog_checkpoint head;
	if (!state_head(s, &note, &head, e))
		return false;
	tlog_vkey_text(&s->vkey, &vkey);
	buf_str(&vkey, "\n");
	if (s->audit_fd < 0 || !replace(s->audit_fd, "vkey", vkey.data, vkey.len) ||
	    !replace(s->audit_fd, "checkpoint", note, strlen(note)))
		return err_set(e, ERR_TEMPORARY, "cannot write 'audit' beside '%s'", s->path);
	return true;
}

bool state_derive(struct state *s, struct err *e)
{
	if (!state_begin(s, e))
		return false;
	bool ok = derive(s, e);
	state_abort(s);
	return ok;
}

bool state_head(struct state *s, char **ret_note, struct tlog_checkpoint *ret, struct err *e)
{
	static const char sql[] = "SELECT note FROM head ORDER BY size DESC LIMIT 1";
	AUTO_Q q = { 0 };
	bool row;
	if (!state_q_open(&q, s, sql, e) || !state_q_next(&q, &row, e))
		return false;
	AUTO_FREE char *note = row ? state_q_dup(&q, 0) : NULL;
	const char *end = note ? strstr(note, "\n\n") : NULL;
	if (!end || !tlog_checkpoint_parse(note, (size_t)(end - note) + 1, ret, NULL))
		return wrong(s, "the log has no signed head", e);
	if (ret_note)
		*ret_note = STEAL(note);
	return true;
}

bool state_head_at(struct state *s, uint64_t size, char **ret_note, struct err *e)
{
	static const char sql[] = "SELECT note FROM head WHERE size = ?";
	AUTO_Q q = { 0 };
	bool row;
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, (int64_t)size);
	if (!state_q_next(&q, &row, e))
		return false;
	*ret_note = row ? state_q_dup(&q, 0) : NULL;
	return true;
}

bool state_heads(struct state *s, state_head_fn *fn, void *arg, struct err *e)
{
	static const char sql[] = "SELECT size, note FROM head ORDER BY size";
	AUTO_Q q = { 0 };
	bool row;
	if (!state_q_open(&q, s, sql, e))
		return false;
	for (;;) {
		if (!state_q_next(&q, &row, e))
			return false;
		if (!row)
			return true;
		if (!fn(arg, (uint64_t)state_q_i64(&q, 0), state_q_str(&q, 1) ? state_q_str(&q, 1) : "", e))
			return false;
	}
}

bool state_origin_set(struct state *s, const char *origin, struct err *e)
{
	AUTO_BUF vkey = BUF_INIT(512);
	struct tlog_vkey key;
	if (!tlog_name_ok(origin))
		return err_set(e, ERR_FAILED, "'%s' cannot be the name of a log", origin);
	const char *old = state_meta(s, "origins");
	AUTO_FREE char *origins = mem_printf("%s%s%s", old ? old : "", old ? "\n" : "", s->vkey.name);
	tlog_vkey_make(origin, s->vkey.pk, &key);
	tlog_vkey_text(&key, &vkey);
	if (!state_meta_set(s, "origins", origins, e) || !state_meta_set(s, "origin", origin, e) ||
	    !state_meta_set(s, "vkey", vkey.data, e))
		return false;
	s->vkey = key;
	return true;
}

const struct tlog_vkey *state_vkey(const struct state *s)
{
	return &s->vkey;
}

void state_hold(struct state *s, const char *why)
{
	free(s->held);
	s->held = why ? mem_dup(why) : NULL;
}

/* ---- leaves */

static void add_string(struct buf *b, const char *text, size_t len)
{
	buf_str(b, "\"");
	for (size_t i = 0, from = 0; i <= len; i++) {
		unsigned char c = i < len ? (unsigned char)text[i] : 0;
		if (i < len && c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
			continue;
		buf_add(b, text + from, i - from);
		if (i < len)
			buf_printf(b, c == '"' || c == '\\' ? "\\%c" : "\\u%04x", c);
		from = i + 1;
	}
	buf_str(b, "\"");
}

/* Cut where a character begins, so that it stays UTF-8. */
static void add_cut(struct buf *b, const char *text, size_t max)
{
	size_t len = strlen(text);
	AUTO_FREE char *clean = NULL;
	if (!utf8_text(text, len)) {
		clean = mem_alloc(len + 1);
		utf8_printable(text, len + 1, clean);
		text = clean;
		len = strlen(clean);
	}
	if (len <= max) {
		add_string(b, text, len);
		return;
	}
	size_t keep = max - 3;
	while (keep && ((unsigned char)text[keep] & 0xc0) == 0x80)
		keep--;
	AUTO_FREE char *cut = mem_printf("%.*s...", (int)keep, text);
	add_string(b, cut, keep + 3);
}

static void add_text(struct buf *b, const char *key, const char *text, size_t max)
{
	if (!text)
		return;
	buf_printf(b, ",\"%s\":", key);
	add_cut(b, text, max);
}

static void add_number(struct buf *b, const char *key, uint32_t n)
{
	if (n)
		buf_printf(b, ",\"%s\":%u", key, n);
}

static const char *host_name(void)
{
	static char name[256];
	if (!name[0] && gethostname(name, sizeof name - 1) != 0)
		snprintf(name, sizeof name, "unknown");
	return name;
}

/* The order of keys is part of the format (audit-format: leaf). */
static void write_leaf(const struct state *s, const struct state_leaf *l, size_t max, struct buf *b)
{
	char ts[CLOCK_TEXT];
	buf_reset(b);
	buf_printf(b, "{\"v\":1,\"seq\":%llu,\"ts\":\"%s\"", (unsigned long long)s->tree.size,
	           clock_text_ms(clock_wall(), ts));
	add_text(b, "op", l->op, max);
	add_text(b, "act", l->act, max);
	add_text(b, "actor", home_actor(), max);
	add_text(b, "host", host_name(), max);
	add_text(b, "secret", l->secret, max);
	add_number(b, "version", l->version);
	add_text(b, "rotation", l->rotation, max);
	add_text(b, "step", l->step, max);
	add_number(b, "attempt", l->attempt);
	add_text(b, "target", l->target, max);
	add_text(b, "handle", l->handle, max);
	add_text(b, "reason", l->reason, max);
	add_text(b, "incident", l->incident, max);
	add_text(b, "home", s->home, max);
	if (l->policy_digest) {
		buf_str(b, ",\"policy\":{\"digest\":");
		add_cut(b, l->policy_digest, max);
		if (l->policy_max_age >= 0)
			buf_printf(b, ",\"max_age\":%lld", (long long)l->policy_max_age);
		buf_str(b, "}");
	}
	add_text(b, "fp_old", l->fp_old, max);
	add_text(b, "fp_new", l->fp_new, max);
	add_text(b, "receipt", l->receipt, max);
	add_text(b, "outcome", l->outcome, max);
	buf_str(b, "}");
}

static bool put_blob(struct state *s, const char *text, size_t len, char ret_sha[65], struct err *e)
{
	static const char sql[] = "INSERT INTO blob VALUES(?, ?) ON CONFLICT DO NOTHING";
	unsigned char hash[crypto_hash_sha256_BYTES];
	AUTO_Q q = { 0 };
	if (!state_q_open(&q, s, sql, e))
		return false;
	crypto_hash_sha256(hash, (const unsigned char *)text, len);
	sodium_bin2hex(ret_sha, 65, hash, sizeof hash);
	state_q_text(&q, ret_sha);
	state_q_textn(&q, text, len);
	return state_q_run(&q, e);
}

/* Long texts move to the blob table; *text then points into `ret`, which names the blob. So does a text that a reader
 * would take for such a name. */
static bool outsource(struct state *s, const char **text, char ret[96], struct err *e)
{
	size_t len = *text ? strlen(*text) : 0;
	char sha[65];
	if (len <= STATE_BLOB_OVER && (!len || strncmp(*text, "sha256:", 7) != 0))
		return true;
	if (!put_blob(s, *text, len, sha, e))
		return false;
	snprintf(ret, 96, "sha256:%s:%zu", sha, len);
	*text = ret;
	return true;
}

static bool put_node(struct state *s, unsigned level, uint64_t idx, const struct tlog_hash *h, struct err *e)
{
	static const char sql[] = "INSERT INTO node VALUES(?, ?, ?)";
	AUTO_Q q = { 0 };
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, level);
	state_q_int(&q, (int64_t)idx);
	state_q_blob(&q, h, sizeof *h);
	return state_q_run(&q, e);
}

/* The roots of the tiles that this leaf completes, before the frontier swallows them. */
static bool put_nodes(struct state *s, const struct tlog_hash *leaf, struct err *e)
{
	struct tlog_hash h = *leaf;
	size_t at = s->tree.n;
	uint64_t next = s->tree.size + 1;
	for (unsigned level = TILE; level < 64 && next % ((uint64_t)1 << level) == 0; level += TILE) {
		for (int i = 0; i < TILE; i++)
			tlog_node(&s->tree.h[--at], &h, &h);
		if (!put_node(s, level, (next >> level) - 1, &h, e))
			return false;
	}
	return true;
}

bool state_log(struct state *s, const struct state_leaf *leaf, struct err *e)
{
	static const char sql[] = "INSERT INTO leaf VALUES(?, ?)";
	struct state_leaf l = *leaf;
	char reason[96], receipt[96];
	AUTO_BUF b = BUF_INIT((size_t)1 << 20);
	AUTO_Q q = { 0 };
	if (s->held) {
		err_set(e, ERR_REFUSED, "nothing may be recorded in '%s': %s", s->path, s->held);
		return err_hint(e, "look with `rotor verify`, then `rotor home adopt --reason TEXT`");
	}
	if (!state_must_write(s, e) || !outsource(s, &l.reason, reason, e) || !outsource(s, &l.receipt, receipt, e))
		return false;
	for (size_t max = STATE_BLOB_OVER; b.len == 0 || b.len > TLOG_LEAF_MAX; max /= 2)
		write_leaf(s, &l, max, &b);
	struct tlog_hash hash;
	tlog_leaf(b.data, b.len, &hash);
	if (!put_nodes(s, &hash, e) || !state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, (int64_t)s->tree.size);
	state_q_textn(&q, b.data, b.len);
	if (!state_q_run(&q, e))
		return false;
	tlog_append(&s->tree, &hash);
	s->leaves++;
	return true;
}

int64_t state_last_leaf_ms(struct state *s)
{
	static const char sql[] = "SELECT data FROM leaf ORDER BY seq DESC LIMIT 1";
	AUTO_Q q = { 0 };
	bool row;
	int64_t ms;
	if (!state_q_open(&q, s, sql, NULL) || !state_q_next(&q, &row, NULL) || !row)
		return -1;
	size_t len;
	const char *data = state_q_bytes(&q, 0, &len);
	AUTO_JSON *leaf = json_parse(data, len, JSON_DEPTH_MAX, "the newest leaf", NULL);
	const char *ts = json_str(leaf, "ts");
	return ts && clock_parse(ts, &ms) ? ms : -1;
}

bool state_leaves(struct state *s, uint64_t from, uint64_t to, state_leaf_fn *fn, void *arg, struct err *e)
{
	static const char sql[] = "SELECT seq, data FROM leaf WHERE seq >= ? AND seq < ? ORDER BY seq";
	AUTO_Q q = { 0 };
	bool row;
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, from > INT64_MAX ? INT64_MAX : (int64_t)from);
	state_q_int(&q, to > INT64_MAX ? INT64_MAX : (int64_t)to);
	for (;;) {
		if (!state_q_next(&q, &row, e))
			return false;
		if (!row)
			return true;
		size_t len;
		const char *data = state_q_bytes(&q, 1, &len);
		if (!fn(arg, (uint64_t)state_q_i64(&q, 0), data ? data : "", len, e))
			return false;
	}
}

static bool fold_leaf(void *arg, uint64_t seq, const char *leaf, size_t len, struct err *e)
{
	struct tlog_frontier *fold = arg;
	struct tlog_hash h;
	(void)seq;
	(void)e;
	tlog_leaf(leaf, len, &h);
	tlog_append(fold, &h);
	return true;
}

static bool fold_nodes(struct state *s, unsigned level, uint64_t from, uint64_t n, struct tlog_frontier *fold,
                       struct err *e)
{
	static const char sql[] = "SELECT hash FROM node WHERE level = ? AND idx >= ? AND idx < ? ORDER BY idx";
	AUTO_Q q = { 0 };
	bool row;
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, level);
	state_q_int(&q, (int64_t)from);
	state_q_int(&q, (int64_t)(from + n));
	for (;;) {
		if (!state_q_next(&q, &row, e))
			return false;
		if (!row)
			return true;
		size_t len;
		struct tlog_hash h;
		const void *bytes = state_q_bytes(&q, 0, &len);
		if (len != sizeof h)
			return wrong(s, "a hash of the log's tree has a wrong size", e);
		memcpy(&h, bytes, len);
		tlog_append(fold, &h);
	}
}

bool state_subtree(void *arg, unsigned level, uint64_t index, struct tlog_hash *ret, struct err *e)
{
	struct state *s = arg;
	struct tlog_frontier fold = { 0 };
	unsigned base = level / TILE * TILE, up = level - base;
	uint64_t n = (uint64_t)1 << up;
	if (level > 62 || index >= (uint64_t)INT64_MAX >> level)
		return err_set(e, ERR_FAILED, "the log has no such subtree");
	bool ok = base == 0 ? state_leaves(s, index << up, (index << up) + n, fold_leaf, &fold, e) :
	                      fold_nodes(s, base, index << up, n, &fold, e);
	if (!ok)
		return false;
	if (fold.size != n)
		return wrong(s, "a part of the log's tree is missing", e);
	*ret = fold.h[0];
	return true;
}

/* ---- blobs */

bool state_blobs(struct state *s, state_blob_fn *fn, void *arg, struct err *e)
{
	static const char sql[] = "SELECT sha, data FROM blob";
	AUTO_Q q = { 0 };
	bool row;
	if (!state_q_open(&q, s, sql, e))
		return false;
	for (;;) {
		if (!state_q_next(&q, &row, e))
			return false;
		if (!row)
			return true;
		size_t len;
		const char *data = state_q_bytes(&q, 1, &len);
		if (!fn(arg, state_q_str(&q, 0), data ? data : "", len, e))
			return false;
	}
}

bool state_blob_size(struct state *s, const char *sha, bool *ret_found, uint64_t *ret_size, struct err *e)
{
	static const char sql[] = "SELECT length(CAST(data AS BLOB)) FROM blob WHERE sha = ?";
	AUTO_Q q = { 0 };
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_textn(&q, sha, 64);
	if (!state_q_next(&q, ret_found, e))
		return false;
	*ret_size = *ret_found ? (uint64_t)state_q_i64(&q, 0) : 0;
	return true;
}
