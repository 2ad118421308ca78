#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "state_inside.h"

/* A secret may have been renamed since: its rotations go by its present id. */
#define COLUMNS                                                                                                        \
	"id, row, COALESCE((SELECT secret.id FROM secret WHERE secret.row = rotation.row), rotation.secret), state, "  \
	"reason,"                                                                                                      \
	" actor, version, previous, started, ended, next_at, waits_for, held_because, until, runbook,"                 \
	" (SELECT text FROM plan WHERE plan.n = rotation.n), digest, body"

void state_rotation_clear(struct state_rotation *r)
{
	char **texts[] = { &r->secret,       &r->state, &r->reason, &r->actor, &r->waits_for,
		           &r->held_because, &r->plan,  &r->digest, &r->body };
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		free(*texts[i]);
	*r = (struct state_rotation){ 0 };
}

/* The texts are the statement's own. */
static void borrow_rotation(const struct state_q *q, struct state_rotation *ret)
{
	*ret = (struct state_rotation){
		.row = state_q_i64(q, 1),
		.secret = (char *)state_q_str(q, 2),
		.state = (char *)state_q_str(q, 3),
		.reason = (char *)state_q_str(q, 4),
		.actor = (char *)state_q_str(q, 5),
		.version = (uint32_t)state_q_i64(q, 6),
		.previous = (uint32_t)state_q_i64(q, 7),
		.started = state_q_when(q, 8),
		.ended = state_q_when(q, 9),
		.next_at = state_q_when(q, 10),
		.waits_for = (char *)state_q_str(q, 11),
		.held_because = (char *)state_q_str(q, 12),
		.until = state_q_when(q, 13),
		.runbook = (uint32_t)state_q_i64(q, 14),
		.plan = (char *)state_q_str(q, 15),
		.digest = (char *)state_q_str(q, 16),
		.body = (char *)state_q_str(q, 17),
	};
	snprintf(ret->id, sizeof ret->id, "%s", state_q_str(q, 0) ? state_q_str(q, 0) : "");
}

static void own(char **text)
{
	*text = *text ? mem_dup(*text) : NULL;
}

static bool put_plan(struct state *s, int64_t n, const char *plan, struct err *e)
{
	static const char sql[] = "INSERT INTO plan VALUES(?, ?) ON CONFLICT(n) DO UPDATE SET text = excluded.text "
				  "WHERE text IS NOT excluded.text";
	AUTO_Q q = { 0 };
	if (!plan)
		return true;
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, n);
	state_q_text(&q, plan);
	return state_q_run(&q, e);
}

/* The due index leaves out secrets that a rotation works on. */
static bool mark_secret(struct state *s, int64_t row, struct err *e)
{
	static const char sql[] =
		"UPDATE secret SET unfinished = NOT unfinished WHERE row = ?"
		" AND unfinished <> EXISTS(SELECT 1 FROM rotation WHERE rotation.row = secret.row AND ended IS NULL)";
	AUTO_Q q = { 0 };
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_int(&q, row);
	return state_q_run(&q, e);
}

static void bind_rotation(struct state_q *q, const struct state_rotation *r)
{
	state_q_text(q, r->id);
	state_q_int(q, r->row);
	state_q_text(q, r->secret);
	state_q_text(q, r->state);
	state_q_text(q, r->reason);
	state_q_text(q, r->actor);
	state_q_int(q, r->version);
	state_q_int(q, r->previous);
	state_q_time(q, r->started);
	state_q_time(q, r->ended);
	state_q_time(q, r->next_at);
	state_q_text(q, r->waits_for);
	state_q_text(q, r->held_because);
	state_q_time(q, r->until);
	state_q_int(q, r->runbook);
	state_q_text(q, r->digest);
	state_q_text(q, r->body);
}

bool state_rotation_put(struct state *s, const struct state_rotation *r, struct err *e)
{
	static const char sql[] =
		"INSERT INTO rotation(id, row, secret, state, reason, actor, version, previous, started, ended, "
		"next_at,"
		" waits_for, held_because, until, runbook, digest, body) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
		"?, "
		"?, ?, ?)"
		" ON CONFLICT(id) DO UPDATE SET state = excluded.state, reason = excluded.reason, actor = "
		"excluded.actor,"
		" version = excluded.version, previous = excluded.previous, started = excluded.started, ended = "
		"excluded.ended,"
		" next_at = excluded.next_at, waits_for = excluded.waits_for, held_because = excluded.held_because,"
		" until = excluded.until, runbook = excluded.runbook, digest = excluded.digest, body = excluded.body "
		"RETURNING n";
	AUTO_Q q = { 0 };
	bool row;
	if (!ulid_ok(r->id) || !r->secret || !r->state)
		return err_set(e, ERR_FAILED, "a rotation without id, secret or state cannot be kept");
	if (!state_must_write(s, e) || !state_q_open(&q, s, sql, e))
		return false;
	bind_rotation(&q, r);
	if (!state_q_next(&q, &row, e))
		return false;
	int64_t n = state_q_i64(&q, 0);
	return state_q_run(&q, e) && put_plan(s, n, r->plan, e) && mark_secret(s, r->row, e);
}

static bool get_rotation(struct state *s, const char *sql, const char *which, struct state_rotation *ret,
                         bool *ret_found, struct err *e)
{
	AUTO_Q q = { 0 };
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_text(&q, which);
	if (!state_q_next(&q, ret_found, e))
		return false;
	if (!*ret_found)
		return true;
	borrow_rotation(&q, ret);
	char **texts[] = { &ret->secret,       &ret->state, &ret->reason, &ret->actor, &ret->waits_for,
		           &ret->held_because, &ret->plan,  &ret->digest, &ret->body };
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		own(texts[i]);
	return true;
}

bool state_rotation_get(struct state *s, const char *which, struct state_rotation *ret, bool *ret_found, struct err *e)
{
	static const char by_id[] = "SELECT " COLUMNS " FROM rotation WHERE id = ?";
	static const char newest[] =
		"SELECT " COLUMNS
		" FROM rotation WHERE row = (SELECT row FROM secret WHERE id = ?) ORDER BY n DESC LIMIT 1";
	*ret_found = false;
	if (ulid_ok(which) && !get_rotation(s, by_id, which, ret, ret_found, e))
		return false;
	return *ret_found || get_rotation(s, newest, which, ret, ret_found, e);
}

bool state_rotations(struct state *s, int64_t ready_before, state_rotation_fn *fn, void *arg, struct err *e)
{
	static const char all[] =
		"SELECT " COLUMNS " FROM rotation INDEXED BY rotation_open WHERE ended IS NULL ORDER BY n";
	static const char ready[] = "SELECT " COLUMNS " FROM rotation INDEXED BY rotation_open"
				    " WHERE ended IS NULL AND next_at >= 0 AND next_at <= ? ORDER BY n";
	AUTO_Q q = { 0 };
	bool row;
	if (!state_q_open(&q, s, ready_before >= 0 ? ready : all, e))
		return false;
	if (ready_before >= 0)
		state_q_int(&q, ready_before);
	for (;;) {
		struct state_rotation r;
		if (!state_q_next(&q, &row, e))
			return false;
		if (!row)
			return true;
		borrow_rotation(&q, &r);
		if (!fn(arg, &r, e))
			return false;
	}
}

/* ---- step rows */

static void clear_step(struct state_step *x)
{
	char **texts[] = { &x->step, &x->target, &x->state, &x->class_, &x->receipt, &x->error, &x->body };
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		free(*texts[i]);
	*x = (struct state_step){ 0 };
}

void state_steps_free(struct state_step *all, size_t n)
{
	for (size_t i = 0; i < n; i++)
		clear_step(&all[i]);
	free(all);
}

bool state_step_put(struct state *s, const char *rotation, const struct state_step *x, struct err *e)
{
	static const char sql[] =
		"INSERT INTO step VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(rotation, idx) DO UPDATE "
		"SET"
		" step = excluded.step, target = excluded.target, state = excluded.state, class = excluded.class,"
		" receipt = excluded.receipt, error = excluded.error, body = excluded.body, version = excluded.version,"
		" attempts = excluded.attempts, started = excluded.started, ended = excluded.ended";
	AUTO_Q q = { 0 };
	if (!state_must_write(s, e) || !state_q_open(&q, s, sql, e))
		return false;
	state_q_text(&q, rotation);
	state_q_int(&q, x->idx);
	state_q_text(&q, x->step);
	state_q_text(&q, x->target);
	state_q_text(&q, x->state);
	state_q_text(&q, x->class_);
	state_q_text(&q, x->receipt);
	state_q_text(&q, x->error);
	state_q_text(&q, x->body);
	state_q_int(&q, x->version);
	state_q_int(&q, x->attempts);
	state_q_time(&q, x->started);
	state_q_time(&q, x->ended);
	return state_q_run(&q, e);
}

static void read_step(const struct state_q *q, struct state_step *ret)
{
	*ret = (struct state_step){
		.idx = (int)state_q_i64(q, 0),
		.step = state_q_dup(q, 1),
		.target = state_q_dup(q, 2),
		.state = state_q_dup(q, 3),
		.class_ = state_q_dup(q, 4),
		.receipt = state_q_dup(q, 5),
		.error = state_q_dup(q, 6),
		.body = state_q_dup(q, 7),
		.version = (uint32_t)state_q_i64(q, 8),
		.attempts = (uint32_t)state_q_i64(q, 9),
		.started = state_q_when(q, 10),
		.ended = state_q_when(q, 11),
	};
}

bool state_steps(struct state *s, const char *rotation, struct state_step **ret, size_t *ret_n, struct err *e)
{
	static const char sql[] = "SELECT idx, step, target, state, class, receipt, error, body, version, attempts, "
				  "started, ended FROM step"
				  " WHERE rotation = ? ORDER BY idx";
	struct state_step *all = NULL;
	size_t n = 0;
	AUTO_Q q = { 0 };
	bool row;
	if (!state_q_open(&q, s, sql, e))
		return false;
	state_q_text(&q, rotation);
	for (;;) {
		if (!state_q_next(&q, &row, e)) {
			state_steps_free(all, n);
			return false;
		}
		if (!row)
			break;
		if ((n & (n - 1)) == 0)
			all = mem_grow(all, n ? 2 * n : 1, sizeof *all);
		read_step(&q, &all[n++]);
	}
	*ret = all;
	*ret_n = n;
	return true;
}
