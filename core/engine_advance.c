/* One rotation, carried on until it has to wait for an answer, a commit or time. */
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "engine_run.h"

#include "buf.h"
#include "clock.h"

#define TOLD_MS 1000      /* a shorter wait is not worth a sync */
#define GIVES_BACK_MS 500 /* a longer wait is waited without the lease */

/* What waited for its window and is refused then was no rotation: nothing was begun. */
static void drop_refused(struct run *r)
{
	struct state *st = r->engine->home->state;
	struct err e;
	r->rotation.ended = clock_wall();
	engine_run_say(&r->rotation.held_because, "%s", r->err.message);
	if (!state_begin(st, &e) || !engine_run_head(r, "failed", NULL, -1, -1, &e) || !state_commit(st, &e))
		state_abort(st);
}

void engine_end(struct run *r, int code)
{
	r->status = RUN_ENDED;
	if (r->stored && !r->planned && r->mode != RUN_DRY && r->rotation.ended < 0 &&
	    (code == ERR_REFUSED || code == ERR_FAILED))
		drop_refused(r);
	if (r->exit == ERR_OK)
		r->exit = code;
	engine_targets_end(r);
	if (r->lease >= 0)
		close(r->lease);
	r->lease = -1;
}

void engine_end_error(struct run *r)
{
	r->exit = r->err.code;
	engine_end(r, r->err.code);
}

static bool confirmed(const struct rb *rb)
{
	for (size_t i = 0; i < rb->n; i++)
		if (rb->rows[i].step == RB_CONFIRM &&
		    (rb->rows[i].state == RB_PENDING || rb->rows[i].state == RB_RUNNING))
			return false;
	return true;
}

/* Whether this process sits the wait out. */
static bool stays(struct run *r)
{
	const struct engine_opts *o = r->engine->opts;
	const struct rb_act *a = &r->act;
	int64_t boot = clock_boot(), wall = clock_wall();
	if (r->waits_row != a->row || r->waits_since < 0) {
		r->waits_row = a->row;
		r->waits_since = boot;
	}
	if (engine_stopping() || (o->wait == ENGINE_WAIT_CONFIRMED && confirmed(&r->rb)))
		return false;
	if (o->wait != ENGINE_WAIT_NONE)
		return true;
	if (a->sampling && r->engine->staying)
		return true;
	if (boot - r->waits_since >= ENGINE_STAY_MS)
		return false;
	if (a->waits_for == RB_FOR_RECEIPT) /* it may come any moment, whatever confirm.timeout allows */
		return !r->by_person;
	return a->until < 0 || a->until - wall <= ENGINE_STAY_MS;
}

/* What is waited for, and when to look again, for `status` and `--due`. */
static bool tell(struct run *r)
{
	struct state *st = r->engine->home->state;
	const struct rb_act *a = &r->act;
	int64_t wall = clock_wall(), poll = wall + (a->poll_at - clock_boot());
	bool polls = a->waits_for == RB_FOR_RECEIPT || a->waits_for == RB_FOR_RETRY || a->waits_for == RB_FOR_PROBE ||
	             a->sampling;
	int64_t next = polls || a->until < 0 ? poll : a->until;
	if (state_begin(st, &r->err) &&
	    engine_run_head(r, "waiting", rb_waits_name(a->waits_for), a->until, next, &r->err) &&
	    state_commit(st, &r->err))
		return true;
	state_abort(st);
	return false;
}

static void leave(struct run *r)
{
	const struct rb_act *a = &r->act;
	if (!tell(r)) {
		engine_end_error(r);
		return;
	}
	engine_run_event(r, EVENT_END, NULL, "waiting", NULL, engine_run_next(r), a->until);
	if (a->waits_for == RB_FOR_CLOCK) {
		err_set(&r->err, ERR_REFUSED,
		        "'%s': the wall clock is behind the log's last record: nothing is revoked", r->secret.id);
		err_hint(&r->err, "set the clock, then: rotor rotate --continue %s", r->secret.id);
		engine_end_error(r);
		return;
	}
	engine_end(r, engine_stopping() || a->waits_for == RB_FOR_RETRY ? ERR_TEMPORARY : ERR_OK);
}

/* A waiting step holds nothing: others may confirm, abort or go on meanwhile. */
static void give_back(struct run *r)
{
	for (size_t i = 0; i < r->n_targets; i++)
		engine_target_close(&r->targets[i]);
	if (r->lease >= 0)
		close(r->lease);
	r->lease = -1;
}

static void wait_for(struct run *r)
{
	const struct rb_act *a = &r->act;
	const struct rb_row *row = a->row < r->rb.n ? &r->rb.rows[a->row] : NULL;
	bool again = r->rotation.waits_for && strcmp(r->rotation.waits_for, rb_waits_name(a->waits_for)) == 0 &&
	             r->waits_row == a->row;
	engine_run_say(&r->rotation.waits_for, "%s", rb_waits_name(a->waits_for));
	if (!again || a->waits_for == RB_FOR_RETRY)
		engine_run_event(r, a->waits_for == RB_FOR_RETRY ? EVENT_RETRY : EVENT_WAIT, row, NULL, r->last_error,
		                 NULL, a->until);
	if (!stays(r)) {
		leave(r);
		return;
	}
	int64_t boot = clock_boot();
	bool lasts = a->poll_at - boot >= TOLD_MS || boot - r->waits_since >= TOLD_MS;
	if (lasts && r->told_row != a->row && !tell(r)) {
		engine_end_error(r);
		return;
	}
	r->told_row = lasts ? a->row : r->told_row;
	r->status = RUN_WAITING;
	r->wake_at = a->poll_at;
	if (!a->sampling && a->poll_at - clock_boot() >= GIVES_BACK_MS)
		give_back(r);
}

static const char alnum[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static const char *alphabet_of(const char *name)
{
	static const struct {
		const char *name, *letters;
	} all[] = { { "alnum", alnum },
		    { "hex", "0123456789abcdef" },
		    { "base64url", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" },
		    { "ascii",
		      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!()*+,-./:;<=>?@[]^_{|}~" } };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (strcmp(all[i].name, name) == 0)
			return all[i].letters;
	return alnum;
}

static bool generate(struct run *r, struct err *e)
{
	const char *letters = alphabet_of(r->decl.alphabet);
	size_t len = (size_t)r->decl.length, n = strlen(letters);
	AUTO_BUF text = BUF_INIT(len);
	for (size_t i = 0; i < len; i++)
		buf_add(&text, &letters[randombytes_uniform((uint32_t)n)], 1);
	fields_free(r->new_value);
	r->new_value = fields_new();
	if (r->new.handle[0] && !fields_set(r->new_value, "username", r->new.handle, strlen(r->new.handle), e))
		return false;
	if (!fields_set(r->new_value, "password", text.data, text.len, e))
		return false;
	seal_fingerprint(r->engine->home->seal, r->secret.id, r->new_value, r->new.fp);
	r->new.issued_at = clock_wall();
	r->new_was = UINT8_MAX;
	r->new_unsaved = true;
	return true;
}

static void core_call(struct run *r)
{
	bool ok = true;
	if (r->act.verb == RB_GENERATE_VALUE)
		ok = generate(r, &r->err);
	else
		r->closing = true;
	r->answer = (struct rb_answer){ .rc = ok ? KIND_OK : KIND_PERMANENT, .yes = ok };
	r->have_answer = true;
}

static void over(struct run *r)
{
	bool held = r->rb.result == RB_HELD, back = r->rb.result == RB_ROLLED_BACK;
	const char *word = held ? "held" : back ? "rolled_back" : "done";
	const char *why = r->rotation.held_because;
	bool asked = back && r->rb.aborting;
	if (held)
		engine_run_event(r, EVENT_HELD, NULL, word, why, engine_run_next(r), -1);
	engine_run_event(r, EVENT_END, NULL, word, why, held ? engine_run_next(r) : NULL, -1);
	engine_end(r, held || (back && !asked) ? ERR_FAILED : ERR_OK);
}

static bool gate_waits(struct run *r, const struct rb_now *now)
{
	if (r->planned || now->gate_open || r->mode == RUN_DRY || r->series != &engine_plan_series)
		return false;
	r->act = (struct rb_act){ .what = RB_WAIT,
		                  .waits_for = RB_FOR_WINDOW,
		                  .until = now->gate_until,
		                  .row = SIZE_MAX,
		                  .poll_at = now->boot + (now->gate_until - now->wall) };
	wait_for(r);
	return true;
}

static bool authorized(struct run *r)
{
	if (!r->plan.decided) {
		r->series->begin(r);
		return false;
	}
	bool laid = engine_plan_lay(r, &r->err);
	if (r->mode == RUN_DRY && laid) {
		r->doc = engine_plan_doc(r);
		engine_end(r, r->exit);
		return false;
	}
	if (!laid) {
		engine_end_error(r);
		return false;
	}
	engine_run_event(r, EVENT_BEGIN, NULL, NULL, "started", NULL, -1);
	return true;
}

/* Nothing new is begun; what came in is made durable first. */
static void interrupted(struct run *r)
{
	if (rb_unsaved(&r->rb)) {
		r->status = RUN_COMMITTING;
		return;
	}
	engine_run_event(r, EVENT_WARN, NULL, NULL, "interrupted", engine_run_next(r), -1);
	engine_end(r, ERR_TEMPORARY);
}

/* Carries the run on until it has to wait for something. */
void engine_advance(struct run *r)
{
	while (r->status == RUN_READY) {
		struct rb_now now = engine_run_now(r);
		if (!r->planned && (gate_waits(r, &now) || !authorized(r)))
			continue;
		if (r->committed && !engine_follow(r, &r->err)) {
			engine_end_error(r);
			continue;
		}
		rb_next(&r->rb, r->have_answer ? &r->answer : NULL, &now, &r->act);
		r->have_answer = false;
		switch (r->act.what) {
		case RB_COMMIT:
			r->status = RUN_COMMITTING;
			break;
		case RB_CALL:
			if (engine_stopping())
				interrupted(r);
			else if (r->act.at == RB_CORE)
				core_call(r);
			else
				engine_call_begin(r);
			break;
		case RB_WAIT:
			wait_for(r);
			break;
		case RB_END:
			over(r);
			break;
		}
	}
}
