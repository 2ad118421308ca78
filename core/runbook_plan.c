/* Which rows there are, forward and back, and how one ends. */
#include "runbook_inside.h"

#include <string.h>

#include "mem.h"

/* ---- how a row ends */

void rb_touch(struct rb_row *r)
{
	r->dirty = true;
}

void rb_begin(struct rb *rb, struct rb_row *r, const struct rb_now *now, enum rb_phase phase, bool effect)
{
	if (r->state != RB_RUNNING)
		r->started = now->wall;
	r->state = RB_RUNNING;
	r->phase = (uint8_t)phase;
	r->attempts++;
	rb_touch(r);
	rb->flush |= effect;
}

enum turn rb_done(struct rb_row *r, const struct rb_now *now)
{
	if (r->started < 0)
		r->started = now->wall;
	r->state = RB_DONE;
	r->ended = now->wall;
	r->retry.on = false;
	rb_touch(r);
	return AGAIN;
}

enum turn rb_skip(struct rb_row *r)
{
	r->state = RB_SKIPPED;
	rb_touch(r);
	return AGAIN;
}

void rb_reset(struct rb_row *r)
{
	r->state = RB_PENDING;
	r->phase = RB_START;
	r->part = 0;
	r->wait.on = r->retry.on = false;
	r->ended = -1;
	rb_touch(r);
}

void rb_hold(struct rb *rb, enum rb_why why)
{
	rb->result = RB_HELD;
	rb->why = (uint8_t)why;
	rb->dirty = true;
}

enum turn rb_held(struct rb *rb, enum rb_why why)
{
	rb_hold(rb, why);
	return AGAIN;
}

struct rb_row *rb_find(struct rb *rb, enum rb_step step)
{
	for (size_t i = 0; i < rb->n; i++)
		if (rb->rows[i].step == step && !rb->rows[i].undo)
			return &rb->rows[i];
	return NULL;
}

bool rb_one_slot(const struct rb *rb)
{
	return rb->facts.slots == 1;
}

const char *rb_unsupported(const struct kind_facts *f)
{
	if (f->staged)
		return "a version that is staged first";
	if (f->makes_value || f->put == KIND_ONE_SHOT)
		return "a value that the authority makes";
	if (f->grace_ms > 0)
		return "a grace that the authority ends by itself";
	return f->usage == KIND_REMEMBERED ? "a last use that the authority remembers" : NULL;
}

/* ---- laying out rows */

struct rb_row *rb_add(struct rb *rb, enum rb_step step, bool old, bool undo, uint16_t target)
{
	if (rb->n == rb->cap) {
		rb->cap = rb->cap ? rb->cap * 2 : 24;
		rb->rows = mem_grow(rb->rows, rb->cap, sizeof *rb->rows);
	}
	struct rb_row *r = &rb->rows[rb->n++];
	*r = (struct rb_row){ .step = (uint8_t)step,
		              .old = old,
		              .undo = undo,
		              .target = target,
		              .started = -1,
		              .ended = -1,
		              .dirty = true };
	return r;
}

static void add_consumers(struct rb *rb, uint16_t from, uint16_t to)
{
	for (uint16_t i = from; i < to; i++)
		rb_add(rb, RB_DISTRIBUTE, false, false, i);
	for (uint16_t i = from; i < to; i++)
		rb_add(rb, RB_CONFIRM, false, false, i);
}

void rb_plan(struct rb *rb, int64_t now_wall)
{
	const struct rb_shape *s = &rb->shape;
	bool rotate = s->order == RB_ROTATE, push = s->order == RB_PUSH;
	if (!rb->n) {
		struct rb_row *r = rb_add(rb, RB_AUTHORIZE, false, false, 0);
		r->state = RB_DONE;
		r->started = r->ended = now_wall;
	}
	if (rotate) {
		rb_add(rb, RB_GENERATE, false, false, 0);
		rb_add(rb, RB_ISSUE, false, false, 0);
		rb_add(rb, RB_PROBE, false, false, 0);
	}
	if (rotate || push) {
		for (uint16_t i = 0; i < s->stores; i++)
			rb_add(rb, RB_STORE, false, false, i);
		uint16_t canary = rotate && rb->policy.canary < s->consumers ? (uint16_t)rb->policy.canary : 0;
		add_consumers(rb, 0, canary);
		add_consumers(rb, canary, s->consumers);
	}
	if (rotate) {
		rb_add(rb, RB_OVERLAP, true, false, 0);
		rb_add(rb, RB_DRAIN, true, false, 0);
		rb_add(rb, RB_SUSPEND, true, false, 0);
	}
	if (!push) {
		rb_add(rb, RB_REVOKE, true, false, 0);
		for (uint16_t i = 0; i < s->stores; i++)
			rb_add(rb, RB_RETIRE, true, false, i);
		rb_add(rb, RB_PROVE, false, false, 0);
	}
	rb_add(rb, RB_CLOSE, false, false, 0);
}

static bool begun(const struct rb_row *r)
{
	return r->state == RB_RUNNING || r->state == RB_DONE || r->state == RB_FAILED;
}

bool rb_any_begun(const struct rb *rb, enum rb_step step)
{
	for (size_t i = 0; i < rb->n; i++)
		if (rb->rows[i].step == step && !rb->rows[i].undo && begun(&rb->rows[i]))
			return true;
	return false;
}

bool rb_can_roll_back(const struct rb *rb)
{
	if (rb->back || rb_any_begun(rb, RB_REVOKE))
		return false;
	if (rb->shape.order != RB_ROTATE || !rb->shape.has_old || rb->old_known)
		return true;
	/* n-1 is valid but nobody here can hand it out again */
	return !rb_any_begun(rb, RB_DISTRIBUTE) && !rb_any_begun(rb, RB_STORE) &&
	       !(rb_one_slot(rb) && rb_any_begun(rb, RB_ISSUE));
}

static void way_back(struct rb *rb)
{
	size_t forward = rb->n;
	bool had = rb->shape.has_old, issued = rb_any_begun(rb, RB_ISSUE), told = false;
	if (rb_any_begun(rb, RB_SUSPEND))
		rb_add(rb, RB_SUSPEND, true, true, 0);
	if (issued && rb_one_slot(rb) && had)
		rb_add(rb, RB_ISSUE, true, true, 0);
	if (had && (rb_any_begun(rb, RB_STORE) || rb_any_begun(rb, RB_DISTRIBUTE)))
		rb_add(rb, RB_PROBE, true, true, 0); /* nobody is told what is refused */
	for (size_t i = 0; i < forward; i++)
		if (rb->rows[i].step == RB_STORE && begun(&rb->rows[i]))
			rb_add(rb, RB_STORE, true, true, rb->rows[i].target);
	for (size_t i = 0; i < forward; i++)
		if (rb->rows[i].step == RB_DISTRIBUTE && begun(&rb->rows[i])) {
			rb_add(rb, RB_DISTRIBUTE, true, true, rb->rows[i].target);
			told = had;
		}
	for (size_t i = 0; told && i < forward; i++)
		if (rb->rows[i].step == RB_DISTRIBUTE && begun(&rb->rows[i]))
			rb_add(rb, RB_CONFIRM, true, true, rb->rows[i].target);
	if (told) {
		rb_add(rb, RB_OVERLAP, false, true, 0);
		rb_add(rb, RB_DRAIN, false, true, 0);
	}
	if (issued) {
		rb_add(rb, RB_REVOKE, false, true, 0);
		rb_add(rb, RB_PROVE, true, true, 0);
	}
	rb_add(rb, RB_CLOSE, true, true, 0);
}

static void roll_back(struct rb *rb, const struct rb_now *now)
{
	size_t forward = rb->n;
	if (rb->shape.order == RB_ROTATE)
		way_back(rb);
	else
		rb_add(rb, RB_CLOSE, true, true, 0);
	for (size_t i = 0; i < forward; i++) {
		struct rb_row *r = &rb->rows[i];
		if (r->state == RB_PENDING || r->state == RB_RUNNING) {
			/* what runs may have taken effect: it is no longer `skipped` */
			r->state = r->state == RB_RUNNING && rb_kinds[r->step].act >= 0 ? RB_FAILED : RB_SKIPPED;
			r->ended = now->wall;
			rb_touch(r);
		}
	}
	rb->back = true;
	rb->result = RB_WORKING;
	rb->dirty = true;
}

/* An effect's reply was lost: what is asked next has to keep the request from landing later. */
void rb_lost(struct rb *rb, struct rb_row *r)
{
	rb->attempt++;
	rb->dirty = rb->flush = true;
	rb->in_doubt |= rb_row_at(r) == RB_AUTHORITY;
	rb_touch(r);
}

/* A series of failures is over: the next one has its own deadline. */
void rb_recovered(struct rb *rb, struct rb_row *r)
{
	if (!r->retry.on)
		return;
	rb->v.backoff = 0;
	r->retry.on = false;
	rb_touch(r);
}

/* The row cannot be carried out: back if the policy says so and there is a way back, else held with everything valid.
 */
enum turn rb_fail(struct rb *rb, struct rb_row *r, const struct rb_now *now, enum rb_why why)
{
	/* Once everybody has shown that n works, trouble at the authority is no reason to take it away again. */
	bool proven = r->step >= RB_OVERLAP && !r->undo && (why == RB_WHY_DEADLINE || why == RB_WHY_PERMANENT);
	if (rb->policy.hold_on_failure || proven || !rb_can_roll_back(rb) || rb->shape.order != RB_ROTATE)
		return rb_held(rb, why);
	r->state = RB_FAILED;
	r->ended = now->wall;
	rb_touch(r);
	rb->why = (uint8_t)why;
	roll_back(rb, now);
	return AGAIN;
}

bool rb_abort(struct rb *rb, const struct rb_now *now)
{
	if (!rb_can_roll_back(rb))
		return false;
	rb->aborting = true;
	rb->why = RB_WHY_NONE;
	roll_back(rb, now);
	return true;
}

/* Nothing was changed and repeating may help. */
enum turn rb_temporary(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	if (!r->retry.on) {
		rb_wait_begin(&r->retry, rb->policy.retry_deadline, now, -1);
		rb_touch(r);
	}
	if (rb_wait_left(&r->retry, now) == 0)
		return rb_fail(rb, r, now, RB_WHY_DEADLINE);
	int64_t ms = rb_backoff(rb, now, RB_BACKOFF_RETRY);
	return rb_pause(rb, r, now, act, RB_FOR_RETRY, ms, ms);
}

/* An answer that ends no row: OK and MORE are the caller's. */
enum turn rb_trouble(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act,
                     const struct rb_answer *a)
{
	if (a->rc == KIND_CONFLICT && r->old && !r->undo)
		return rb_held(rb, RB_WHY_CONFLICT); /* n-1 is another's: nobody may be sent back to it */
	if (a->rc == KIND_CONFLICT)
		return rb_fail(rb, r, now, RB_WHY_CONFLICT);
	if (a->rc == KIND_PERMANENT)
		return rb_fail(rb, r, now, RB_WHY_PERMANENT);
	return rb_temporary(rb, r, now, act);
}
