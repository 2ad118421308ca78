#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "mem.h"
#include "state_inside.h"

#define ID_MAX 255
#define COLUMNS                                                                                                        \
	"row, id, digest, owner, risk, type, provider, policy, labels, version, issued_at, rotated_at, due_at, "       \
	"expires_at,"                                                                                                  \
	" unfinished"

static const char *const vstates[STATE_VSTATES] = {
	"pending", "current", "previous", "suspended", "revoked", "orphaned"
};

const char *state_vstate_name(enum state_vstate v)
{
	return (unsigned)v < STATE_VSTATES ? vstates[v] : "unknown";
}

/* ---- secrets */

void state_secret_clear(struct state_secret *x)
{
	char **texts[] = { &x->id, &x->decl, &x->owner, &x->risk, &x->type, &x->provider, &x->policy, &x->labels };
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		free(*texts[i]);
	*x = (struct state_secret){ 0 };
}

/* The texts are the statement's own. */
static void borrow_secret(const struct state_q *q, struct state_secret *ret)
{
	*ret = (struct state_secret){
		.row = state_q_i64(q, 0),
		.id = (char *)state_q_str(q, 1),
		.owner = (char *)state_q_str(q, 3),
		.risk = (char *)state_q_str(q, 4),
		.type = (char *)state_q_str(q, 5),
		.provider = (char *)state_q_str(q, 6),
		.policy = (char *)state_q_str(q, 7),
		.labels = (char *)state_q_str(q, 8),
		.version = (uint32_t)state_q_i64(q, 9),
		.issued_at = state_q_when(q, 10),
		.rotated_at = state_q_when(q, 11),
		.due_at = state_q_when(q, 12),
		.expires_at = state_q_when(q, 13),
		.has_unfinished = state_q_i64(q, 14) != 0,
	};
	snprintf(ret->digest, sizeof ret->digest, "%s", state_q_str(q, 2) ? state_q_str(q, 2) : "");
}

static char *dup_or_null(const char *text)
{
	return text ? mem_dup(text) : NULL;
}

static bool open_decl(struct state_q *q, struct state *s, int64_t row, const char **ret, struct err *e)
{
	static const char sql[] = "SELECT text FROM decl WHERE row = ?";
	bool found;
	if (!state_q_open(q, s, sql, e))
		return false;
	state_q_int(q, row);
	if (!state_q_next(q, &found, e))
		return false;
	*ret = found ? state_q_str(q, 0) : NULL;
	return true;
}

bool state_secret_get(struct state *s, const char *id, struct state_secret *ret, bool *ret_found, struct err *e)
{
	static const char sql[] = "SELECT " COLUMNS " FROM secret WHERE id = ?";
	AUTO_Q q = { 0 };
	AUTO_Q text = { 0 };
	struct state_secret x;
	const char *decl;
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_text(&q, id);
	if (!state_q_next(&q, ret_found, e))
		return false;
	if (!*ret_found)
		return true;
	borrow_secret(&q, &x);
	if (!open_decl(&text, s, x.row, &decl, e))
		return false;
	*ret = x;
	ret->id = dup_or_null(x.id);
	ret->decl = dup_or_null(decl);
	ret->owner = dup_or_null(x.owner);
	ret->risk = dup_or_null(x.risk);
	ret->type = dup_or_null(x.type);
	ret->provider = dup_or_null(x.provider);
	ret->policy = dup_or_null(x.policy);
	ret->labels = dup_or_null(x.labels);
	return true;
}

static bool put_decl(struct state *s, int64_t row, const char *text, struct err *e)
{
	static const char sql[] = "INSERT INTO decl VALUES(?, ?) ON CONFLICT(row) DO UPDATE SET text = excluded.text";
	AUTO_Q q = { 0 };
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, row);
	state_q_text(&q, text);
	return state_q_run(&q, e);
}

static bool same_digest(struct state *s, const char *id, const char *digest, bool *ret, struct err *e)
{
	static const char sql[] = "SELECT 1 FROM secret WHERE id = ? AND digest = ?";
	AUTO_Q q = { 0 };
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_text(&q, id);
	state_q_text(&q, digest);
	return state_q_next(&q, ret, e);
}

bool state_secret_put(struct state *s, const struct decl *d, bool *ret_changed, struct err *e)
{
	static const char sql[] =
		"INSERT INTO secret(id, digest, owner, risk, type, provider, policy, labels) VALUES(?, ?, ?, ?, ?, ?, "
		"?, ?)"
		" ON CONFLICT(id) DO UPDATE SET digest = excluded.digest, owner = excluded.owner, risk = excluded.risk,"
		" type = excluded.type, provider = excluded.provider, policy = excluded.policy, labels = "
		"excluded.labels"
		" RETURNING row";
	char digest[65];
	bool same, row;
	AUTO_Q q = { 0 };
	if (strlen(d->id) > ID_MAX)
		return err_set(e, ERR_USAGE, "'%s' is too long for an id", d->id);
	decl_digest(d->json, digest);
	if (!state_must_write(s, e) || !same_digest(s, d->id, digest, &same, e))
		return false;
	*ret_changed = !same;
	if (same)
		return true;
	AUTO_TEXT *text = json_text(d->json);
	AUTO_TEXT *labels = d->labels ? json_text(d->labels) : NULL;
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_text(&q, d->id);
	state_q_text(&q, digest);
	state_q_text(&q, d->owner);
	state_q_text(&q, d->risk);
	state_q_text(&q, d->type);
	state_q_text(&q, json_str(json_object_get(d->json, "authority"), "provider"));
	state_q_text(&q, d->policy.name);
	state_q_text(&q, labels);
	if (!state_q_next(&q, &row, e))
		return false;
	int64_t n = state_q_i64(&q, 0);
	return state_q_run(&q, e) && put_decl(s, n, text, e);
}

/* ---- selecting */

/* Which beginnings of `text` the pattern so far can match, as a set: linear in both, whatever the pattern. */
static bool glob_match(const char *p, const char *text)
{
	bool at[ID_MAX + 1] = { true };
	size_t n = strlen(text);
	if (n > ID_MAX)
		return false;
	for (; *p; p++) {
		if (*p == '*') {
			bool deep = p[1] == '*';
			for (size_t i = 0; i < n; i++)
				at[i + 1] = at[i + 1] || (at[i] && (deep || text[i] != '/'));
			p += deep;
			continue;
		}
		for (size_t i = n; i > 0; i--)
			at[i] = at[i - 1] && text[i - 1] == *p;
		at[0] = false;
	}
	return at[n];
}

static bool is_or_any(const char *want, const char *have)
{
	return !want || (have && strcmp(want, have) == 0);
}

static bool label_matches(const struct state_select *sel, const char *labels)
{
	if (!sel->label)
		return true;
	if (!labels)
		return false;
	AUTO_JSON *j = json_parse(labels, strlen(labels), JSON_DEPTH_MAX, "labels", NULL);
	const char *value = json_str(j, sel->label);
	return value && is_or_any(sel->label_value, value);
}

static bool selected(const struct state_select *sel, const struct state_secret *x)
{
	if (sel->expiring_before >= 0 && (x->expires_at < 0 || x->expires_at > sel->expiring_before))
		return false;
	return is_or_any(sel->owner, x->owner) && is_or_any(sel->risk, x->risk) && is_or_any(sel->type, x->type) &&
	       is_or_any(sel->provider, x->provider) && (!sel->id || glob_match(sel->id, x->id)) &&
	       label_matches(sel, x->labels);
}

/* Ids are ASCII: all that begin with the pattern's fixed part lie between it and itself with 0x7f behind. */
static void id_range(const char *pattern, char **ret_from, char **ret_to)
{
	size_t fixed = pattern ? strcspn(pattern, "*") : 0;
	bool exact = pattern && !pattern[fixed];
	*ret_from = mem_dupn(pattern ? pattern : "", fixed);
	*ret_to = mem_printf("%s%c", *ret_from, exact ? 0x01 : 0x7f);
}

static const char *select_sql(const struct state_select *sel)
{
	static const char by_id[] = "SELECT " COLUMNS " FROM secret WHERE id >= ? AND id < ? ORDER BY id";
	static const char by_due[] =
		"SELECT " COLUMNS " FROM secret INDEXED BY secret_due"
		" WHERE id >= ? AND id < ? AND unfinished = 0 AND due_at IS NOT NULL AND due_at <= ? ORDER BY due_at";
	static const char by_expiry[] =
		"SELECT " COLUMNS " FROM secret INDEXED BY secret_expires"
		" WHERE id >= ? AND id < ? AND expires_at IS NOT NULL AND expires_at <= ? ORDER BY id";
	return sel->due_before >= 0 ? by_due : sel->expiring_before >= 0 ? by_expiry : by_id;
}

static bool hand_out(struct state *s, struct state_secret *x, bool with_decl, state_secret_fn *fn, void *arg,
                     struct err *e)
{
	AUTO_Q text = { 0 };
	const char *decl = NULL;
	if (with_decl && !open_decl(&text, s, x->row, &decl, e))
		return false;
	x->decl = (char *)decl;
	return fn(arg, x, e);
}

bool state_secrets(struct state *s, const struct state_select *sel, bool with_decl, state_secret_fn *fn, void *arg,
                   struct err *e)
{
	AUTO_FREE char *from = NULL;
	AUTO_FREE char *to = NULL;
	AUTO_Q q = { 0 };
	bool row;
	id_range(sel->id, &from, &to);
	if (!state_q_open(&q, s, select_sql(sel), e))
		return false;
	state_q_text(&q, from);
	state_q_text(&q, to);
	if (sel->due_before >= 0 || sel->expiring_before >= 0)
		state_q_int(&q, sel->due_before >= 0 ? sel->due_before : sel->expiring_before);
	for (int64_t given = 0; sel->limit < 0 || given < sel->limit;) {
		struct state_secret x;
		if (!state_q_next(&q, &row, e))
			return false;
		if (!row)
			return true;
		borrow_secret(&q, &x);
		if (!selected(sel, &x))
			continue;
		if (!hand_out(s, &x, with_decl, fn, arg, e))
			return false;
		given++;
	}
	return true;
}

bool state_secret_schedule(struct state *s, int64_t row, int64_t rotated_at, int64_t due_at, int64_t expires_at,
                           struct err *e)
{
	static const char sql[] = "UPDATE secret SET rotated_at = ?, due_at = ?, expires_at = ? WHERE row = ?";
	AUTO_Q q = { 0 };
	if (!state_must_write(s, e) || !state_q_open(&q, s, sql, e))
		return false;
	state_q_time(&q, rotated_at);
	state_q_time(&q, due_at);
	state_q_time(&q, expires_at);
	state_q_int(&q, row);
	return state_q_run(&q, e);
}

bool state_secret_forget(struct state *s, int64_t row, struct err *e)
{
	static const char *const sql[] = {
		"DELETE FROM secret WHERE row = ?",  "DELETE FROM decl WHERE row = ?",
		"DELETE FROM version WHERE row = ?", "DELETE FROM value WHERE row = ?",
		"DELETE FROM found WHERE row = ?",   "DELETE FROM kept WHERE row = ?",
	};
	if (!state_must_write(s, e))
		return false;
	for (size_t i = 0; i < sizeof sql / sizeof *sql; i++) {
		AUTO_Q q = { 0 };
		if (!state_q_open(&q, s, sql[i], e))
			return false;
		state_q_int(&q, row);
		if (!state_q_run(&q, e))
			return false;
	}
	return true;
}

/* ---- versions */

static bool make_current(struct state *s, int64_t row, const struct state_version *v, struct err *e)
{
	static const char demote[] = "UPDATE version SET state = 2 WHERE row = ? AND state = 1 AND n <> ?";
	static const char sql[] = "UPDATE secret SET version = ?, issued_at = ?, expires_at = ? WHERE row = ?";
	AUTO_Q old = { 0 };
	AUTO_Q q = { 0 };
	if (!state_q_open(&old, s, demote, e))
		return false;
	state_q_int(&old, row);
	state_q_int(&old, v->n);
	if (!state_q_run(&old, e) || !state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, v->n);
	state_q_time(&q, v->issued_at);
	state_q_time(&q, v->expires_at);
	state_q_int(&q, row);
	return state_q_run(&q, e);
}

static bool not_current(struct state *s, int64_t row, uint32_t n, struct err *e)
{
	static const char sql[] =
		"UPDATE secret SET version = 0, issued_at = NULL, expires_at = NULL WHERE row = ? AND version = ?";
	AUTO_Q q = { 0 };
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, row);
	state_q_int(&q, n);
	return state_q_run(&q, e);
}

bool state_version_put(struct state *s, int64_t row, const struct state_version *v, struct err *e)
{
	static const char sql[] =
		"INSERT INTO version VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(row, n) DO UPDATE SET"
		" state = excluded.state, issued_at = excluded.issued_at, expires_at = excluded.expires_at,"
		" revoked_at = excluded.revoked_at, handle = excluded.handle, rotation = excluded.rotation,"
		" reason = excluded.reason, fp = excluded.fp, slot = excluded.slot";
	AUTO_Q q = { 0 };
	if (!v->n || (unsigned)v->state >= STATE_VSTATES)
		return err_set(e, ERR_FAILED, "version %u cannot be kept", v->n);
	if (!state_must_write(s, e) || !state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, row);
	state_q_int(&q, v->n);
	state_q_int(&q, v->state);
	state_q_time(&q, v->issued_at);
	state_q_time(&q, v->expires_at);
	state_q_time(&q, v->revoked_at);
	state_q_text(&q, v->handle);
	state_q_text(&q, v->rotation);
	state_q_text(&q, v->reason);
	state_q_text(&q, v->fp);
	state_q_text(&q, v->slot);
	if (!state_q_run(&q, e))
		return false;
	return v->state == STATE_CURRENT ? make_current(s, row, v, e) : not_current(s, row, v->n, e);
}

static void copy_text(const struct state_q *q, int column, size_t size, char ret[])
{
	const char *text = state_q_str(q, column);
	snprintf(ret, size, "%s", text ? text : "");
}

static void read_version(const struct state_q *q, struct state_version *ret)
{
	*ret = (struct state_version){
		.n = (uint32_t)state_q_i64(q, 0),
		.state = (enum state_vstate)state_q_i64(q, 1),
		.issued_at = state_q_when(q, 2),
		.expires_at = state_q_when(q, 3),
		.revoked_at = state_q_when(q, 4),
		.has_value = state_q_i64(q, 10) != 0,
	};
	copy_text(q, 5, sizeof ret->handle, ret->handle);
	copy_text(q, 6, sizeof ret->rotation, ret->rotation);
	copy_text(q, 7, sizeof ret->reason, ret->reason);
	copy_text(q, 8, sizeof ret->fp, ret->fp);
	copy_text(q, 9, sizeof ret->slot, ret->slot);
}

bool state_versions(struct state *s, int64_t row, struct state_version **ret, size_t *ret_n, struct err *e)
{
	static const char sql[] =
		"SELECT n, state, issued_at, expires_at, revoked_at, handle, rotation, reason, fp, slot,"
		" EXISTS(SELECT 1 FROM value WHERE value.row = version.row AND value.n = version.n)"
		" FROM version WHERE row = ? ORDER BY n DESC";
	AUTO_FREE struct state_version *all = NULL;
	size_t n = 0;
	AUTO_Q q = { 0 };
	bool more;
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, row);
	for (;;) {
		if (!state_q_next(&q, &more, e))
			return false;
		if (!more)
			break;
		if ((n & (n - 1)) == 0)
			all = mem_grow(all, n ? 2 * n : 1, sizeof *all);
		read_version(&q, &all[n++]);
	}
	*ret = STEAL(all);
	*ret_n = n;
	return true;
}
