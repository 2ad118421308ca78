#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"
#include "state_inside.h"

#define APPLICATION 0x726f7472 /* "rotr" in the file's header */
#define PAGE 4096
#define TURN_WAIT_MS 30000
#define BUSY_MS 5000
#define WAY_BACK "copy a backup of the home back and run `rotor home adopt --reason TEXT`"

/* Everything that changes with each step of a rotation is in small rows of their own: plans, declarations and sealed
 * values would otherwise be written again with them. */
static const char schema[] =
	"PRAGMA page_size=4096;"
	"PRAGMA journal_mode=WAL;"
	"BEGIN;"
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
	"CREATE TABLE tree(one INTEGER PRIMARY KEY CHECK(one = 1), size INTEGER NOT NULL, frontier BLOB NOT NULL);"
	"CREATE TABLE leaf(seq INTEGER PRIMARY KEY, data TEXT NOT NULL);"
	"CREATE TABLE node(level INTEGER, idx INTEGER, hash BLOB NOT NULL, PRIMARY KEY(level, idx)) WITHOUT ROWID;"
	"CREATE TABLE head(size INTEGER PRIMARY KEY, note TEXT NOT NULL);"
	"CREATE TABLE blob(sha TEXT PRIMARY KEY, data TEXT NOT NULL);"
	"CREATE TABLE secret(row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, digest TEXT NOT NULL,"
	" owner TEXT, risk TEXT, type TEXT, provider TEXT, policy TEXT, labels TEXT,"
	" version INTEGER NOT NULL DEFAULT 0, issued_at INTEGER, rotated_at INTEGER, due_at INTEGER, expires_at "
	"INTEGER,"
	" unfinished INTEGER NOT NULL DEFAULT 0);"
	"CREATE INDEX secret_due ON secret(due_at) WHERE unfinished = 0 AND due_at IS NOT NULL;"
	"CREATE INDEX secret_expires ON secret(expires_at) WHERE expires_at IS NOT NULL;"
	"CREATE TABLE decl(row INTEGER PRIMARY KEY, text TEXT NOT NULL);"
	"CREATE TABLE version(row INTEGER, n INTEGER, state INTEGER NOT NULL, issued_at INTEGER, expires_at INTEGER,"
	" revoked_at INTEGER, handle TEXT NOT NULL, rotation TEXT NOT NULL, reason TEXT NOT NULL, fp TEXT NOT NULL,"
	" slot TEXT NOT NULL, PRIMARY KEY(row, n)) WITHOUT ROWID;"
	"CREATE TABLE value(row INTEGER, n INTEGER, field TEXT, sealed BLOB NOT NULL, PRIMARY KEY(row, n, field))"
	" WITHOUT ROWID;"
	"CREATE TABLE found(hash BLOB, row INTEGER, n INTEGER, PRIMARY KEY(hash, row, n)) WITHOUT ROWID;"
	"CREATE INDEX found_row ON found(row);"
	"CREATE TABLE kept(row INTEGER, name TEXT, field TEXT, sealed BLOB NOT NULL, PRIMARY KEY(row, name, field))"
	" WITHOUT ROWID;"
	"CREATE TABLE rotation(n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, row INTEGER NOT NULL, secret TEXT NOT "
	"NULL,"
	" state TEXT NOT NULL, reason TEXT, actor TEXT, version INTEGER, previous INTEGER, started INTEGER, ended "
	"INTEGER,"
	" next_at INTEGER, waits_for TEXT, held_because TEXT, until INTEGER, runbook INTEGER, digest TEXT, body TEXT);"
	"CREATE INDEX rotation_row ON rotation(row);"
	"CREATE INDEX rotation_open ON rotation(next_at) WHERE ended IS NULL;"
	"CREATE TABLE plan(n INTEGER PRIMARY KEY, text TEXT);"
	"CREATE TABLE step(rotation TEXT, idx INTEGER, step TEXT, target TEXT, state TEXT, class TEXT, receipt TEXT,"
	" error TEXT, body TEXT, version INTEGER, attempts INTEGER, started INTEGER, ended INTEGER,"
	" PRIMARY KEY(rotation, idx)) WITHOUT ROWID;"
	"INSERT INTO tree VALUES(1, 0, x'');";

/* ---- what SQLite answers */

static const char *rc_name(int rc)
{
	static const struct {
		int rc;
		const char *name;
	} names[] = {
		{ SQLITE_FULL, "SQLITE_FULL" },
		{ SQLITE_IOERR, "SQLITE_IOERR" },
		{ SQLITE_CORRUPT, "SQLITE_CORRUPT" },
		{ SQLITE_NOTADB, "SQLITE_NOTADB" },
		{ SQLITE_BUSY, "SQLITE_BUSY" },
		{ SQLITE_LOCKED, "SQLITE_LOCKED" },
		{ SQLITE_NOMEM, "SQLITE_NOMEM" },
		{ SQLITE_READONLY, "SQLITE_READONLY" },
		{ SQLITE_CANTOPEN, "SQLITE_CANTOPEN" },
		{ SQLITE_PROTOCOL, "SQLITE_PROTOCOL" },
		{ SQLITE_CONSTRAINT, "SQLITE_CONSTRAINT" },
		{ SQLITE_TOOBIG, "SQLITE_TOOBIG" },
		{ SQLITE_SCHEMA, "SQLITE_SCHEMA" },
	};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].rc == (rc & 0xff))
			return names[i].name;
	return "SQLITE_ERROR";
}

static bool damaged(const char *path, const char *why, struct err *e)
{
	err_set(e, ERR_REFUSED, "'%s' is damaged: %s", path, why);
	return err_hint(e, WAY_BACK);
}

bool state_failed(const struct state *s, int rc, struct err *e)
{
	const char *name = rc_name(rc);
	switch (rc & 0xff) {
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return damaged(s->path, name, e);
	case SQLITE_FULL:
		return err_set(e, ERR_TEMPORARY, "cannot write '%s': the disk is full (%s)", s->path, name);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL:
		return err_set(e, ERR_TEMPORARY, "cannot use '%s': another program holds it (%s)", s->path, name);
	case SQLITE_IOERR:
	case SQLITE_NOMEM:
	case SQLITE_CANTOPEN:
		return err_set(e, ERR_TEMPORARY, "cannot use '%s': %s", s->path, name);
	default:
		return err_set(e, ERR_FAILED, "cannot use '%s': %s", s->path, name);
	}
}

bool state_exec(struct state *s, const char *sql, struct err *e)
{
	int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
	return rc == SQLITE_OK ? true : state_failed(s, rc, e);
}

bool state_q_open(struct state_q *q, struct state *s, const char *sql, struct err *e)
{
	*q = (struct state_q){ .s = s };
	size_t i = 0;
	while (i < s->n_cache && s->cache[i].sql != sql)
		i++;
	bool cached = i < s->n_cache;
	if (cached && !sqlite3_stmt_busy(s->cache[i].stmt)) {
		q->stmt = s->cache[i].stmt;
		return true;
	}
	q->own = cached || s->n_cache == STATE_STATEMENTS;
	int rc = sqlite3_prepare_v3(s->db, sql, -1, q->own ? 0 : SQLITE_PREPARE_PERSISTENT, &q->stmt, NULL);
	if (rc != SQLITE_OK)
		return state_failed(s, rc, e);
	if (!q->own) {
		s->cache[s->n_cache].sql = sql;
		s->cache[s->n_cache++].stmt = q->stmt;
	}
	return true;
}

void state_q_end(struct state_q *q)
{
	if (!q->stmt)
		return;
	if (q->own) {
		sqlite3_finalize(q->stmt);
	} else {
		sqlite3_reset(q->stmt);
		sqlite3_clear_bindings(q->stmt);
	}
	q->stmt = NULL;
}

void state_q_textn(struct state_q *q, const char *text, size_t len)
{
	sqlite3_bind_text64(q->stmt, ++q->bound, text, len, SQLITE_STATIC, SQLITE_UTF8);
}

void state_q_text(struct state_q *q, const char *text)
{
	if (text)
		state_q_textn(q, text, strlen(text));
	else
		sqlite3_bind_null(q->stmt, ++q->bound);
}

void state_q_blob(struct state_q *q, const void *bytes, size_t len)
{
	if (len)
		sqlite3_bind_blob64(q->stmt, ++q->bound, bytes, len, SQLITE_STATIC);
	else
		sqlite3_bind_zeroblob(q->stmt, ++q->bound, 0);
}

void state_q_int(struct state_q *q, int64_t v)
{
	sqlite3_bind_int64(q->stmt, ++q->bound, v);
}

void state_q_time(struct state_q *q, int64_t ms)
{
	if (ms < 0)
		sqlite3_bind_null(q->stmt, ++q->bound);
	else
		sqlite3_bind_int64(q->stmt, ++q->bound, ms);
}

bool state_q_next(struct state_q *q, bool *ret_row, struct err *e)
{
	int rc = sqlite3_step(q->stmt);
	*ret_row = rc == SQLITE_ROW;
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? true : state_failed(q->s, rc, e);
}

bool state_q_run(struct state_q *q, struct err *e)
{
	bool row;
	do {
		if (!state_q_next(q, &row, e))
			return false;
	} while (row);
	sqlite3_reset(q->stmt);
	q->bound = 0;
	return true;
}

const char *state_q_str(const struct state_q *q, int column)
{
	return (const char *)sqlite3_column_text(q->stmt, column);
}

char *state_q_dup(const struct state_q *q, int column)
{
	const char *text = state_q_str(q, column);
	return text ? mem_dup(text) : NULL;
}

int64_t state_q_i64(const struct state_q *q, int column)
{
	return sqlite3_column_int64(q->stmt, column);
}

int64_t state_q_when(const struct state_q *q, int column)
{
	return sqlite3_column_type(q->stmt, column) == SQLITE_NULL ? -1 : sqlite3_column_int64(q->stmt, column);
}

const void *state_q_bytes(const struct state_q *q, int column, size_t *ret_len)
{
	const void *p = sqlite3_column_blob(q->stmt, column);
	*ret_len = (size_t)sqlite3_column_bytes(q->stmt, column);
	return p;
}

/* ---- opening */

static bool check_file(const char *path, struct err *e)
{
	struct stat st, wal;
	if (lstat(path, &st) != 0)
		return err_sys(e, errno == ENOENT || errno == ENOTDIR ? ERR_USAGE : ERR_FAILED, errno,
		               "cannot find '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_REFUSED, "'%s' is not a regular file", path);
	if (st.st_uid != geteuid()) {
		err_set(e, ERR_REFUSED, "'%s' belongs to user id %u, not to %u", path, (unsigned)st.st_uid,
		        (unsigned)geteuid());
		return err_hint(e, "run rotor as the user who owns the home");
	}
	if (st.st_mode & 077) {
		err_set(e, ERR_REFUSED, "'%s' has mode %04o: others may use it", path, (unsigned)(st.st_mode & 07777));
		return err_hint(e, "chmod 600 '%s'", path);
	}
	if (st.st_size == 0)
		return damaged(path, "it is empty", e);
	/* A torn last page is normal only while the WAL still holds that page. */
	AUTO_FREE char *wal_path = mem_printf("%s-wal", path);
	if (st.st_size % PAGE && (lstat(wal_path, &wal) != 0 || wal.st_size == 0))
		return damaged(path, "it is cut off", e);
	return true;
}

static bool pragma_int(struct state *s, const char *sql, int64_t *ret, struct err *e)
{
	AUTO_Q q = { 0 };
	bool row;
	if (!state_q_open(&q, s, sql, e) || !state_q_next(&q, &row, e))
		return false;
	*ret = row ? state_q_i64(&q, 0) : 0;
	return true;
}

static bool schema_version(struct state *s, int64_t *ret, struct err *e)
{
	static const char sql[] = "PRAGMA user_version";
	return pragma_int(s, sql, ret, e);
}

static bool check_header(struct state *s, struct err *e)
{
	static const char sql[] = "PRAGMA application_id";
	int64_t application, version;
	if (!pragma_int(s, sql, &application, e) || !schema_version(s, &version, e))
		return false;
	if (application != APPLICATION)
		return err_set(e, ERR_REFUSED, "'%s' is not a rotor state", s->path);
	if (version > STATE_SCHEMA) {
		err_set(e, ERR_REFUSED, "'%s' has schema %lld, this rotor knows up to %d", s->path, (long long)version,
		        STATE_SCHEMA);
		return err_hint(e, "use the newer rotor that wrote it");
	}
	if (version != STATE_SCHEMA)
		return damaged(s->path, "its schema is unknown", e);
	return true;
}

static bool connect_db(struct state *s, struct err *e)
{
	/* One thread, and nobody asks for its figures; refused, without harm, once a database is open. */
	sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	int flags = s->mode == STATE_WRITE ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
	int rc = sqlite3_open_v2(s->path, &s->db,
	                         flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE, NULL);
	if (rc != SQLITE_OK)
		return state_failed(s, rc, e);
	sqlite3_busy_timeout(s->db, BUSY_MS);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	/* A WAL that stays costs the next first commit no new file and no sync of the folder. */
	int on = 1;
	sqlite3_file_control(s->db, "main", SQLITE_FCNTL_PERSIST_WAL, &on);
	if (s->mode == STATE_READ) {
		sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
		return state_exec(s, "BEGIN", e);
	}
	return state_exec(s,
	                  "PRAGMA synchronous=FULL; PRAGMA secure_delete=ON; PRAGMA temp_store=MEMORY;"
	                  "PRAGMA journal_size_limit=4194304; PRAGMA cell_size_check=ON",
	                  e);
}

static int open_audit(const char *path)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *dir = slash ? mem_printf("%.*s/audit", (int)(slash - path), path) : mem_dup("audit");
	return open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static bool open_checked(struct state *s, struct err *e)
{
	if (!connect_db(s, e) || !check_header(s, e) || !state_log_load(s, e) || !state_log_check(s, e))
		return false;
	const char *home = state_meta(s, "home");
	if (!home || !ulid_ok(home))
		return damaged(s->path, "the home's id is missing", e);
	memcpy(s->home, home, ULID_SIZE);
	return true;
}

bool state_open(const char *path, enum state_mode mode, struct lock *lock, struct state **ret, struct err *e)
{
	if (!check_file(path, e))
		return false;
	struct state *s = mem_alloc(sizeof *s);
	s->path = mem_dup(path);
	s->mode = mode;
	s->lock = lock;
	s->audit_fd = mode == STATE_WRITE ? open_audit(path) : -1;
	if (!open_checked(s, e)) {
		state_close(s);
		return false;
	}
	*ret = s;
	return true;
}

void state_close(struct state *s)
{
	if (!s)
		return;
	state_abort(s);
	for (size_t i = 0; i < s->n_cache; i++)
		sqlite3_finalize(s->cache[i].stmt);
	sqlite3_close_v2(s->db);
	for (size_t i = 0; i < STATE_METAS; i++)
		free(s->metas[i].text);
	if (s->audit_fd >= 0)
		close(s->audit_fd);
	free(s->held);
	free(s->path);
	free(s);
}

void state_keys(struct state *s, const unsigned char *log_sk, const struct seal *seal)
{
	s->log_sk = log_sk;
	s->seal = seal;
}

/* ---- making one */

static bool put_birth(struct state *s, const struct state_birth *b, struct err *e)
{
	AUTO_BUF vkey = BUF_INIT(512);
	tlog_vkey_make(b->origin, b->log_sk + 32, &s->vkey);
	tlog_vkey_text(&s->vkey, &vkey);
	char owner[16];
	snprintf(owner, sizeof owner, "%u", (unsigned)geteuid());
	if (!state_meta_set(s, "home", b->home, e) || !state_meta_set(s, "origin", b->origin, e) ||
	    !state_meta_set(s, "machine", b->machine, e) || !state_meta_set(s, "owner", owner, e) ||
	    !state_meta_set(s, "vkey", vkey.data, e))
		return false;
	static const char sql[] = "INSERT INTO meta VALUES('wrapped', ?)";
	AUTO_Q q = { 0 };
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_blob(&q, b->wrapped, b->wrapped_len);
	return state_q_run(&q, e);
}

static bool fill_new(struct state *s, const struct state_birth *b, struct err *e)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE;
	int rc = sqlite3_open_v2(s->path, &s->db, flags, NULL);
	if (rc != SQLITE_OK)
		return state_failed(s, rc, e);
	if (!state_exec(s, schema, e))
		return false;
	s->open_tx = true;
	char pragmas[96];
	snprintf(pragmas, sizeof pragmas, "PRAGMA application_id=%d; PRAGMA user_version=%d", APPLICATION,
	         STATE_SCHEMA);
	AUTO_BUF note = BUF_INIT(TLOG_NOTE_MAX);
	memcpy(s->home, b->home, ULID_SIZE);
	if (!state_exec(s, pragmas, e) || !put_birth(s, b, e) ||
	    !state_log(s, &(struct state_leaf){ .act = "init", .outcome = "done", .policy_max_age = -1 }, e) ||
	    !state_log_sign(s, &note, e) || !state_exec(s, "COMMIT", e))
		return false;
	s->open_tx = false;
	return true;
}

static bool sync_folder(const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *dir = slash ? mem_dupn(path, (size_t)(slash - path) + 1) : mem_dup(".");
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ok = fd >= 0 && fsync(fd) == 0;
	if (!ok)
		err_sys(e, ERR_TEMPORARY, errno, "cannot make '%s' durable", dir);
	if (fd >= 0)
		close(fd);
	return ok;
}

/* Made under another name and renamed, so that what is called state.db is never half made. */
bool state_create(const char *path, const struct state_birth *b, struct err *e)
{
	struct stat st;
	if (lstat(path, &st) == 0)
		return err_set(e, ERR_REFUSED, "'%s' is there already", path);
	struct state *s = mem_alloc(sizeof *s);
	s->path = mem_printf("%s.new", path);
	s->mode = STATE_WRITE;
	s->audit_fd = -1;
	state_keys(s, b->log_sk, NULL);
	AUTO_FREE char *made = mem_dup(s->path);
	int fd = open(made, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		err_sys(e, ERR_FAILED, errno, "cannot make '%s'", made);
		state_close(s);
		return false;
	}
	close(fd);
	bool ok = fill_new(s, b, e);
	state_close(s); /* moves the WAL into the file, and syncs it */
	if (ok && rename(made, path) != 0)
		ok = err_sys(e, ERR_FAILED, errno, "cannot make '%s'", path);
	if (!ok)
		unlink(made);
	return ok && sync_folder(path, e);
}

/* ---- meta */

const char *state_meta(struct state *s, const char *key)
{
	static const char sql[] = "SELECT value FROM meta WHERE key = ?";
	AUTO_Q q = { 0 };
	bool row;
	size_t i = 0;
	while (i < STATE_METAS && s->metas[i].key[0] && strcmp(s->metas[i].key, key) != 0)
		i++;
	if (i == STATE_METAS || strlen(key) >= sizeof s->metas[i].key || !state_q_open(&q, s, sql, NULL))
		return NULL;
	state_q_text(&q, key);
	if (!state_q_next(&q, &row, NULL) || !row)
		return NULL;
	snprintf(s->metas[i].key, sizeof s->metas[i].key, "%s", key);
	free(s->metas[i].text);
	s->metas[i].text = state_q_dup(&q, 0);
	return s->metas[i].text;
}

char *state_meta_copy(struct state *s, const char *key)
{
	static const char sql[] = "SELECT value FROM meta WHERE key = ?";
	AUTO_Q q = { 0 };
	bool row;
	if (!state_q_open(&q, s, sql, NULL))
		return NULL;
	state_q_text(&q, key);
	return state_q_next(&q, &row, NULL) && row ? state_q_dup(&q, 0) : NULL;
}

bool state_meta_blob(struct state *s, const char *key, unsigned char *ret, size_t *len, struct err *e)
{
	static const char sql[] = "SELECT value FROM meta WHERE key = ?";
	AUTO_Q q = { 0 };
	bool row;
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_text(&q, key);
	if (!state_q_next(&q, &row, e))
		return false;
	size_t have = 0;
	const void *bytes = row ? state_q_bytes(&q, 0, &have) : NULL;
	if (!bytes || have > *len)
		return damaged(s->path, "a key that it should hold is missing", e);
	memcpy(ret, bytes, have);
	*len = have;
	return true;
}

bool state_meta_set(struct state *s, const char *key, const char *text, struct err *e)
{
	static const char put[] = "INSERT INTO meta VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value";
	static const char drop[] = "DELETE FROM meta WHERE key = ?";
	AUTO_Q q = { 0 };
	if (!state_must_write(s, e) || !state_q_open(&q, s, text ? put : drop, e))
		return false;
	state_q_text(&q, key);
	if (text)
		state_q_text(&q, text);
	return state_q_run(&q, e);
}

/* ---- transactions */

bool state_must_write(const struct state *s, struct err *e)
{
	return s->open_tx ? true : err_set(e, ERR_FAILED, "cannot change '%s' outside of a transaction", s->path);
}

bool state_must_seal(const struct state *s, struct err *e)
{
	return s->seal ? true : err_set(e, ERR_FAILED, "cannot use values of '%s': its keys are not open", s->path);
}

static bool begin_turn(struct state *s, struct err *e)
{
	static const char sql[] = "BEGIN IMMEDIATE";
	AUTO_Q q = { 0 };
	int64_t version;
	if (!state_q_open(&q, s, sql, e) || !state_q_run(&q, e))
		return false;
	s->open_tx = true;
	s->leaves = 0;
	if (!schema_version(s, &version, e) || !state_log_load(s, e))
		return false;
	if (version != STATE_SCHEMA)
		return err_set(e, ERR_TEMPORARY, "'%s' was changed by a newer rotor: run again with that one", s->path);
	return true;
}

bool state_begin(struct state *s, struct err *e)
{
	if (s->open_tx || s->mode != STATE_WRITE || !s->lock)
		return err_set(e, ERR_FAILED, "cannot begin to change '%s'", s->path);
	if (!lock_turn(s->lock, TURN_WAIT_MS, e))
		return false;
	if (begin_turn(s, e))
		return true;
	if (s->open_tx)
		state_abort(s);
	else
		lock_turn_end(s->lock);
	return false;
}

bool state_commit(struct state *s, struct err *e)
{
	static const char sql[] = "COMMIT";
	AUTO_BUF note = BUF_INIT(TLOG_NOTE_MAX);
	AUTO_Q q = { 0 };
	/* SQLite ends a transaction by itself on some failures; what came after would then be on its own. */
	bool ok = s->open_tx && !sqlite3_get_autocommit(s->db);
	if (!ok)
		err_set(e, ERR_TEMPORARY, "cannot write '%s': an earlier failure ended the transaction", s->path);
	ok = ok && (s->leaves == 0 || state_log_sign(s, &note, e)) && state_q_open(&q, s, sql, e) && state_q_run(&q, e);
	if (!ok) {
		state_q_end(&q);
		state_abort(s);
		return false;
	}
	s->open_tx = false;
	/* Still within the turn: an older head must never replace a newer one. */
	if (s->leaves)
		state_log_derive(s, &note);
	lock_turn_end(s->lock);
	return true;
}

void state_abort(struct state *s)
{
	if (!s->open_tx)
		return;
	s->open_tx = false;
	if (!sqlite3_get_autocommit(s->db))
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	if (s->lock)
		lock_turn_end(s->lock);
}

bool state_in_transaction(const struct state *s)
{
	return s->open_tx;
}

void state_scrub(struct state *s)
{
	if (s->open_tx || s->mode != STATE_WRITE || !s->lock || !lock_turn(s->lock, 1000, NULL))
		return;
	sqlite3_busy_timeout(s->db, 0);
	sqlite3_wal_checkpoint_v2(s->db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	sqlite3_busy_timeout(s->db, BUSY_MS);
	lock_turn_end(s->lock);
}
