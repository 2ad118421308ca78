#include "state.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "mem.h"
#include "state_inside.h"

#define SEALED_MAX (FIELDS_VALUE_MAX + 64)

/* ---- values of versions */

bool state_value_erase(struct state *s, int64_t row, uint32_t n, struct err *e)
{
	static const char sql[] = "DELETE FROM value WHERE row = ? AND n = ?";
	AUTO_Q q = {0};
	if (!state_must_write(s, e) || !state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, row);
	state_q_int(&q, n);
	return state_q_run(&q, e);
}

/* Stays when the value is erased: a leaked old value must still be recognised. */
static bool put_found(struct state *s, int64_t row, uint32_t n, const char *value, size_t len, struct err *e)
{
	static const char sql[] = "INSERT INTO found VALUES(?, ?, ?) ON CONFLICT DO NOTHING";
	unsigned char hash[SEAL_FIND_BYTES];
	AUTO_Q q = {0};
	if (!state_q_open(&q, s, sql, e))
		return false;
	seal_find(s->seal, value, len, hash);
	state_q_blob(&q, hash, sizeof hash);
	state_q_int(&q, row);
	state_q_int(&q, n);
	return state_q_run(&q, e);
}

static bool put_sealed(struct state *s, int64_t row, const char *id, uint32_t n, const char *field, const char *value,
		       size_t len, struct err *e)
{
	static const char sql[] = "INSERT INTO value VALUES(?, ?, ?, ?)";
	AUTO_BUF sealed = BUF_INIT(SEALED_MAX);
	AUTO_Q q = {0};
	if (!seal_value(s->seal, id, n, field, value, len, &sealed))
		return err_set(e, ERR_FAILED, "cannot seal field '%s' of '%s'", field, id);
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, row);
	state_q_int(&q, n);
	state_q_text(&q, field);
	state_q_blob(&q, sealed.data, sealed.len);
	return state_q_run(&q, e);
}

bool state_value_put(struct state *s, int64_t row, const char *id, uint32_t n, const struct fields *f, struct err *e)
{
	if (!state_must_seal(s, e) || !state_value_erase(s, row, n, e))
		return false;
	for (size_t i = 0; i < fields_count(f); i++) {
		size_t len = 0;
		const char *name = fields_name(f, i), *value = fields_get(f, name, &len);
		if (!put_sealed(s, row, id, n, name, value, len, e) || !put_found(s, row, n, value, len, e))
			return false;
	}
	return true;
}

/* Rows of (field, sealed) opened into new fields; NULL when there is none. `id` and `n` are what they were sealed
 * under. */
static bool unseal_rows(struct state_q *q, const char *id, uint32_t n, struct fields **ret, struct err *e)
{
	AUTO_FIELDS *f = NULL;
	bool row;
	for (;;) {
		if (!state_q_next(q, &row, e))
			return false;
		if (!row)
			break;
		size_t len;
		const void *sealed = state_q_bytes(q, 1, &len);
		if (!f)
			f = fields_new();
		if (!seal_unseal(q->s->seal, id, n, state_q_str(q, 0), sealed, len, f, e))
			return false;
	}
	*ret = STEAL(f);
	return true;
}

bool state_value_get(struct state *s, int64_t row, const char *id, uint32_t n, struct fields **ret, struct err *e)
{
	static const char sql[] = "SELECT field, sealed FROM value WHERE row = ? AND n = ?";
	AUTO_Q q = {0};
	if (!state_must_seal(s, e) || !state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, row);
	state_q_int(&q, n);
	return unseal_rows(&q, id, n, ret, e) ? true : err_prefix(e, "cannot read version %u of '%s'", n, id);
}

/* ---- what targets held before */

/* Sealed under a name that no id can have, so that neither can stand in the other's place. */
static char *kept_id(const char *id, const char *name)
{
	return mem_printf("%s\n%s", id, name);
}

static bool kept_drop(struct state *s, int64_t row, const char *name, struct err *e)
{
	static const char sql[] = "DELETE FROM kept WHERE row = ? AND name = ?";
	AUTO_Q q = {0};
	if (!state_must_write(s, e) || !state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, row);
	state_q_text(&q, name);
	return state_q_run(&q, e);
}

bool state_kept_put(struct state *s, int64_t row, const char *id, const char *name, const struct fields *f,
		    struct err *e)
{
	static const char sql[] = "INSERT INTO kept VALUES(?, ?, ?, ?)";
	AUTO_FREE char *under = kept_id(id, name);
	if (!state_must_seal(s, e) || !kept_drop(s, row, name, e))
		return false;
	for (size_t i = 0; i < fields_count(f); i++) {
		AUTO_BUF sealed = BUF_INIT(SEALED_MAX);
		AUTO_Q q = {0};
		size_t len = 0;
		const char *field = fields_name(f, i), *value = fields_get(f, field, &len);
		if (!seal_value(s->seal, under, 0, field, value, len, &sealed))
			return err_set(e, ERR_FAILED, "cannot seal what '%s' held", name);
		if (!state_q_open(&q, s, sql, e))
			return false;
		state_q_int(&q, row);
		state_q_text(&q, name);
		state_q_text(&q, field);
		state_q_blob(&q, sealed.data, sealed.len);
		if (!state_q_run(&q, e))
			return false;
	}
	return true;
}

bool state_kept_get(struct state *s, int64_t row, const char *id, const char *name, struct fields **ret, struct err *e)
{
	static const char sql[] = "SELECT field, sealed FROM kept WHERE row = ? AND name = ?";
	AUTO_FREE char *under = kept_id(id, name);
	AUTO_Q q = {0};
	if (!state_must_seal(s, e) || !state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, row);
	state_q_text(&q, name);
	return unseal_rows(&q, under, 0, ret, e) ? true : err_prefix(e, "cannot read what '%s' held", name);
}

bool state_kept_erase(struct state *s, int64_t row, struct err *e)
{
	static const char sql[] = "DELETE FROM kept WHERE row = ?";
	AUTO_Q q = {0};
	if (!state_must_write(s, e) || !state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, row);
	return state_q_run(&q, e);
}

/* ---- finding */

bool state_values_find(struct state *s, const unsigned char find[SEAL_FIND_BYTES], state_secret_fn *fn, void *arg,
		       struct err *e)
{
	static const char sql[] = "SELECT DISTINCT secret.id FROM found JOIN secret ON secret.row = found.row WHERE "
				  "hash = ? ORDER BY secret.id";
	AUTO_Q q = {0};
	bool row;
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_blob(&q, find, SEAL_FIND_BYTES);
	for (;;) {
		if (!state_q_next(&q, &row, e))
			return false;
		if (!row)
			return true;
		struct state_secret x = {0};
		bool found, ok = state_secret_get(s, state_q_str(&q, 0), &x, &found, e) && (!found || fn(arg, &x, e));
		state_secret_clear(&x);
		if (!ok)
			return false;
	}
}

/* ---- renaming */

static bool set_id(struct state *s, int64_t row, const char *id, struct err *e)
{
	static const char sql[] = "UPDATE secret SET id = ? WHERE row = ?";
	AUTO_Q q = {0};
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_text(&q, id);
	state_q_int(&q, row);
	return state_q_run(&q, e);
}

static bool id_of(struct state *s, int64_t row, char **ret, struct err *e)
{
	static const char sql[] = "SELECT id FROM secret WHERE row = ?";
	AUTO_Q q = {0};
	bool found;
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, row);
	if (!state_q_next(&q, &found, e))
		return false;
	if (!found)
		return err_set(e, ERR_FAILED, "there is no secret with row %lld", (long long)row);
	*ret = state_q_dup(&q, 0);
	return true;
}

/* A value is sealed under its secret's id, and its fingerprint made with it. */
static bool move_value(struct state *s, int64_t row, const char *old, const char *id, struct state_version *v,
		       struct err *e)
{
	AUTO_FIELDS *f = NULL;
	if (!v->has_value)
		return true;
	if (!state_value_get(s, row, old, v->n, &f, e) || !state_value_put(s, row, id, v->n, f, e))
		return false;
	seal_fingerprint(s->seal, id, f, v->fp);
	return state_version_put(s, row, v, e);
}

static bool kept_names(struct state *s, int64_t row, char ***ret, size_t *ret_n, struct err *e)
{
	static const char sql[] = "SELECT DISTINCT name FROM kept WHERE row = ?";
	AUTO_Q q = {0};
	bool more;
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, row);
	for (;;) {
		if (!state_q_next(&q, &more, e))
			return false;
		if (!more)
			return true;
		*ret = mem_grow(*ret, *ret_n + 1, sizeof **ret);
		(*ret)[(*ret_n)++] = state_q_dup(&q, 0);
	}
}

static bool move_kept(struct state *s, int64_t row, const char *old, const char *id, struct err *e)
{
	char **names = NULL;
	size_t n = 0;
	bool ok = kept_names(s, row, &names, &n, e);
	for (size_t i = 0; i < n; i++) {
		AUTO_FIELDS *f = NULL;
		ok = ok && state_kept_get(s, row, old, names[i], &f, e) && state_kept_put(s, row, id, names[i], f, e);
		free(names[i]);
	}
	free(names);
	return ok;
}

bool state_secret_rename(struct state *s, int64_t row, const char *id, struct err *e)
{
	AUTO_FREE char *old = NULL;
	AUTO_FREE struct state_version *all = NULL;
	size_t n;
	bool taken;
	struct state_secret other = {0};
	if (!state_must_write(s, e) || !state_must_seal(s, e) || !id_of(s, row, &old, e) ||
	    !state_secret_get(s, id, &other, &taken, e))
		return false;
	state_secret_clear(&other);
	if (taken || !decl_id_ok(id))
		return err_set(e, ERR_USAGE, taken ? "'%s' is there already" : "'%s' is not an id", id);
	if (!state_versions(s, row, &all, &n, e))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!move_value(s, row, old, id, &all[i], e))
			return false;
	return move_kept(s, row, old, id, e) && set_id(s, row, id, e);
}
