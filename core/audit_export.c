#include "audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit_inside.h"
#include "mem.h"

static const char readme[] =
	"A rotor audit log in the tlog-tiles layout (https://c2sp.org/tlog-tiles).\n"
	"\n"
	"checkpoint         the signed tree head: origin, number of records, root hash, Ed25519 signature\n"
	"vkey               the public key; compare it with the one you were given another way\n"
	"tile/entries/...   the records, 256 to a file: two bytes of length (big endian), then one line of JSON\n"
	"tile/L/...         the hashes of the tree, 256 to a file\n"
	"blob/HEX           longer texts, named by their SHA-256; a record says sha256:HEX:SIZE in their place\n"
	"\n"
	"To check it with rotor:\n"
	"\n"
	"    rotor audit verify --export . --vkey FILE\n"
	"\n"
	"To check it without: a record's hash is SHA-256 of a zero byte and the record, an inner hash SHA-256 of a "
	"byte "
	"1,\n"
	"the left and the right hash (RFC 6962, section 2.1); the root of all records must be the one in the "
	"checkpoint,\n"
	"and the checkpoint a signed note (https://c2sp.org/signed-note) by vkey. Any tlog client reads this layout.\n";

struct export
{
	struct state *state;
	int dir;
	const char *name;
	uint64_t size, old; /* now, and of the export that was there */
	struct buf bundle, tile;
};

static bool cannot(const struct export *x, const char *path, struct err *e)
{
	return err_sys(e, errno == ENOSPC || errno == EDQUOT ? ERR_TEMPORARY : ERR_FAILED, errno,
	               "cannot write '%s/%s'", x->name, path);
}

static bool make_folders(const struct export *x, const char *path, struct err *e)
{
	AUTO_FREE char *part = mem_dup(path);
	for (char *p = strchr(part, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdirat(x->dir, part, 0755) != 0 && errno != EEXIST)
			return cannot(x, part, e);
		*p = '/';
	}
	return true;
}

static bool write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static bool put(const struct export *x, const char *path, const char *data, size_t len, struct err *e)
{
	AUTO_FREE char *temporary = mem_printf("%s.new", path);
	if (!make_folders(x, path, e))
		return false;
	int fd = openat(x->dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return cannot(x, path, e);
	bool ok = write_all(fd, data, len);
	close(fd);
	if (ok && renameat(x->dir, temporary, x->dir, path) == 0)
		return true;
	cannot(x, path, e);
	unlinkat(x->dir, temporary, 0);
	return false;
}

static bool there(const struct export *x, const char *path)
{
	return faccessat(x->dir, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Complete and under the earlier checkpoint, which was written last: what a killed export left behind is not. */
static bool keeps(const struct export *x, unsigned level, uint64_t index, const char *path)
{
	return (index + 1) * AUDIT_TILE <= x->old >> (8 * level) && there(x, path);
}

static unsigned width_at(uint64_t n, uint64_t index)
{
	uint64_t left = n - index * AUDIT_TILE;
	return left < AUDIT_TILE ? (unsigned)left : AUDIT_TILE;
}

static bool gather(void *arg, uint64_t seq, const char *leaf, size_t len, struct err *e)
{
	struct export *x = arg;
	struct tlog_hash h;
	char size[2] = { (char)(len >> 8), (char)(len & 0xff) };
	if (len > TLOG_LEAF_MAX)
		return err_set(e, ERR_FAILED, "leaf %llu is too long", (unsigned long long)seq);
	tlog_leaf(leaf, len, &h);
	buf_add(&x->bundle, size, sizeof size);
	buf_add(&x->bundle, leaf, len);
	buf_add(&x->tile, &h, sizeof h);
	return true;
}

static bool put_leaves(struct export *x, uint64_t index, struct err *e)
{
	char entries[96], tile[96];
	unsigned width = width_at(x->size, index);
	tlog_tile_path(-1, index, width, entries);
	tlog_tile_path(0, index, width, tile);
	if (keeps(x, 0, index, entries) && keeps(x, 0, index, tile))
		return true;
	buf_reset(&x->bundle);
	buf_reset(&x->tile);
	if (!state_leaves(x->state, index * AUDIT_TILE, index * AUDIT_TILE + width, gather, x, e))
		return false;
	if (x->tile.len != (size_t)width * TLOG_HASH)
		return err_set(e, ERR_FAILED, "leaves are missing behind %llu: see `rotor audit verify`",
		               (unsigned long long)(index * AUDIT_TILE));
	return put(x, entries, x->bundle.data, x->bundle.len, e) && put(x, tile, x->tile.data, x->tile.len, e);
}

static bool put_hashes(struct export *x, unsigned level, uint64_t index, unsigned width, struct err *e)
{
	char path[96];
	tlog_tile_path((int)level, index, width, path);
	if (keeps(x, level, index, path))
		return true;
	buf_reset(&x->tile);
	for (unsigned i = 0; i < width; i++) {
		struct tlog_hash h;
		if (!state_subtree(x->state, 8 * level, index * AUDIT_TILE + i, &h, e))
			return false;
		buf_add(&x->tile, &h, sizeof h);
	}
	return put(x, path, x->tile.data, x->tile.len, e);
}

static bool put_tree(struct export *x, struct err *e)
{
	for (uint64_t i = 0; i * AUDIT_TILE < x->size; i++)
		if (!put_leaves(x, i, e))
			return false;
	for (unsigned level = 1; level < 8; level++) {
		uint64_t n = x->size >> (8 * level);
		for (uint64_t i = 0; i * AUDIT_TILE < n; i++)
			if (!put_hashes(x, level, i, width_at(n, i), e))
				return false;
	}
	return true;
}

static bool put_blob(void *arg, const char *sha, const char *text, size_t len, struct err *e)
{
	struct export *x = arg;
	AUTO_FREE char *path = mem_printf("blob/%s", sha ? sha : "");
	return there(x, path) || put(x, path, text, len, e);
}

/* Partial tiles of the earlier export stay until the new checkpoint is there: who reads meanwhile needs them. */
static void drop_partial(const struct export *x, int level, uint64_t old, uint64_t now)
{
	char path[96], next[96];
	uint64_t index = old / AUDIT_TILE;
	if (old % AUDIT_TILE == 0)
		return;
	tlog_tile_path(level, index, width_at(old, index), path);
	tlog_tile_path(level, index, width_at(now, index), next);
	if (strcmp(path, next) == 0)
		return;
	unlinkat(x->dir, path, 0);
	*strrchr(path, '/') = '\0';
	unlinkat(x->dir, path, AT_REMOVEDIR); /* stays while the new partial tile is in it */
}

static void drop_partials(const struct export *x)
{
	drop_partial(x, -1, x->old, x->size);
	for (unsigned level = 0; level < 8; level++)
		drop_partial(x, (int)level, x->old >> (8 * level), x->size >> (8 * level));
}

/* What is there already must be an earlier export of this log, perhaps one that did not reach its end. */
static bool check_earlier(struct export *x, const struct buf *vkey, struct err *e)
{
	AUTO_BUF note = BUF_INIT(TLOG_NOTE_MAX);
	AUTO_BUF begun = BUF_INIT(1024);
	AUTO_FREE char *then = NULL;
	struct tlog_checkpoint seen, same;
	if (!there(x, "checkpoint")) {
		if (!there(x, "tile") || (audit_read(x->dir, "vkey", &begun) && strcmp(begun.data, vkey->data) == 0))
			return true;
		return err_set(e, ERR_REFUSED, "'%s' holds tiles of another log: use another folder", x->name);
	}
	if (!audit_read(x->dir, "checkpoint", &note) || strlen(note.data) != note.len ||
	    !state_head_open(x->state, note.data, true, &seen, NULL))
		return err_set(e, ERR_REFUSED, "'%s' holds another log: use another folder", x->name);
	if (!state_head_at(x->state, seen.size, &then, e))
		return false;
	if (seen.size > x->size || !then || !state_head_open(x->state, then, false, &same, NULL) ||
	    memcmp(&same.root, &seen.root, sizeof same.root) != 0)
		return err_set(e, ERR_REFUSED, "'%s' holds a log that this one does not continue: use another folder",
		               x->name);
	x->old = seen.size;
	return true;
}

static bool export_into(struct export *x, const char *note, struct err *e)
{
	AUTO_BUF vkey = BUF_INIT(1024);
	tlog_vkey_text(state_vkey(x->state), &vkey);
	buf_str(&vkey, "\n");
	if (!check_earlier(x, &vkey, e) || !put(x, "vkey", vkey.data, vkey.len, e) ||
	    !put(x, "README", readme, sizeof readme - 1, e) || !put_tree(x, e) ||
	    !state_blobs(x->state, put_blob, x, e))
		return false;
	/* One sync for thousands of files; no checkpoint may become durable before what it speaks of. */
	if (syncfs(x->dir) != 0)
		return cannot(x, "tile", e);
	if (!put(x, "checkpoint", note, strlen(note), e))
		return false;
	if (syncfs(x->dir) != 0)
		return cannot(x, "checkpoint", e);
	drop_partials(x);
	return true;
}

bool audit_export(struct home *h, const char *dir, uint64_t *ret_size, struct err *e)
{
	AUTO_FREE char *note = NULL;
	struct tlog_checkpoint head;
	if (!state_head(h->state, &note, &head, e))
		return false;
	struct export x = {
		.state = h->state,
		.name = dir,
		.size = head.size,
		.bundle = BUF_INIT(AUDIT_BUNDLE_MAX),
		.tile = BUF_INIT(AUDIT_TILE * TLOG_HASH),
	};
	if (mkdir(dir, 0755) != 0 && errno != EEXIST)
		return err_sys(e, ERR_FAILED, errno, "cannot make '%s'", dir);
	x.dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (x.dir < 0)
		return err_sys(e, ERR_FAILED, errno, "cannot open '%s'", dir);
	bool ok = export_into(&x, note, e);
	close(x.dir);
	buf_clear(&x.bundle);
	buf_clear(&x.tile);
	if (ok)
		*ret_size = head.size;
	return ok;
}

bool audit_checkpoint(struct home *h, char **ret, struct err *e)
{
	struct tlog_checkpoint head;
	return state_head(h->state, ret, &head, e);
}
