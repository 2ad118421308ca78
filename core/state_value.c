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
	AUTO_Q q = { 0 };
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
	AUTO_Q q = { 0 };
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
	AUTO_Q q = { 0 };
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
	AUTO_Q q = { 0 };
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
	AUTO_Q q = { 0 };
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
		AUTO_Q q = { 0 };
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
	AUTO_Q q = { 0 };
	if (!state_must_seal(s, e) || !state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, row);
	state_q_text(&q, name);
	return unseal_rows(&q, under, 0, ret, e) ? true : err_prefix(e, "cannot read what '%s' held", name);
}

bool state_kept_erase(struct state *s, int64_t row, struct err *e)
{
	static const char sql[] = "DELETE FROM kept WHERE row = ?";
	AUTO_Q q = { 0 };
	if (!state_must_write(s, e) || !state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, row);
	return state_q_run(&q, e);
}
