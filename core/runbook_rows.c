/* What each row does: one function a row, called until it is done. */
#include "runbook_inside.h"

/* ---- the rows */

enum turn rb_run_at_once(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	return rb_gated(rb, r, now, act) ? STOP : rb_done(r, now);
}

enum turn rb_run_core(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	int verb = rb_kinds[r->step].act;
	const struct rb_answer *a = rb_answer_to(rb, verb);
	if (!a) {
		if (r->state != RB_RUNNING)
			rb_begin(rb, r, now, RB_ACT, false);
		return rb_ask(rb, r, act, verb, RB_CORE, 0);
	}
	return a->rc == KIND_OK ? rb_done(r, now) : rb_trouble(rb, r, now, act, a);
}

static int act_of(const struct rb *rb, const struct rb_row *r)
{
	if (r->undo && r->step == RB_SUSPEND)
		return KIND_RESTORE;
	if (r->undo && !rb->shape.has_old && (r->step == RB_STORE || r->step == RB_DISTRIBUTE))
		return RB_UNPUT;
	return rb_kinds[r->step].act;
}

/* The answer to a look, after the act (RB_ASK) or before it is repeated (RB_LOOK). */
static enum turn looked(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act,
                        const struct rb_answer *a, unsigned want)
{
	if (a->rc != KIND_OK && a->rc != KIND_MORE)
		return rb_trouble(rb, r, now, act, a);
	if (want & SEEN(a->seen))
		return rb_done(r, now);
	if (a->seen == KIND_FOREIGN)
		return rb_held(rb, RB_WHY_FOREIGN);
	if (r->phase == RB_ASK)
		return rb_fail(rb, r, now, RB_WHY_MISSING);
	rb_begin(rb, r, now, RB_ACT, true);
	return AGAIN;
}

/* The answer to the act itself. `next` is where OK leads. */
static enum turn acted(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act,
                       const struct rb_answer *a, enum rb_phase next)
{
	if (a->rc == KIND_OK) {
		r->phase = (uint8_t)next;
		r->part = 0;
		rb->v.backoff = 0;
		return AGAIN;
	}
	if (a->rc == KIND_MORE)
		return AGAIN;
	if (a->rc != KIND_AMBIGUOUS)
		return rb_trouble(rb, r, now, act, a);
	rb_lost(rb, r);
	r->phase = RB_LOOK;
	return rb_temporary(rb, r, now, act);
}

/* The baking of the canaries stands before the first of the others. */
static bool bakes(const struct rb *rb, const struct rb_row *r)
{
	return r->step == RB_DISTRIBUTE && !r->undo && rb->shape.order == RB_ROTATE && rb->policy.canary > 0 &&
	       r->target == rb->policy.canary && rb->shape.consumers > rb->policy.canary;
}

enum turn rb_run_effect(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	int verb = act_of(rb, r), look = verb == RB_UNPUT ? -1 : rb_kinds[r->step].ask;
	unsigned want = verb == KIND_RESTORE ? IN_USE : rb_kinds[r->step].want;
	const struct rb_answer *a;
	enum turn turn;
	bool bad = false;
	switch (r->phase) {
	case RB_START:
		if (r->step == RB_RETIRE && !rb->shape.has_old)
			return rb_skip(r);
		if (bakes(rb, r) && !rb_waited(rb, r, rb->policy.bake, RB_FOR_BAKE, now, act, &turn, &bad))
			return bad ? rb_held(rb, RB_WHY_HEALTH) : turn;
		if (rb_gated(rb, r, now, act))
			return STOP;
		if (r->undo && r->step == RB_ISSUE)
			r->phase = RB_LOOK; /* somebody else may have taken the only slot meanwhile */
		else
			rb_begin(rb, r, now, RB_ACT, true);
		return AGAIN;
	case RB_ACT:
		a = rb_answer_to(rb, verb);
		if (!a)
			return rb_ask(rb, r, act, verb, rb_row_at(r), 0);
		turn = acted(rb, r, now, act, a, RB_ASK);
		return r->phase == RB_ASK && look < 0 ? rb_done(r, now) : turn;
	case RB_LOOK:
		if (look < 0) { /* idempotent and not to be seen: once more */
			rb_begin(rb, r, now, RB_ACT, true);
			return AGAIN;
		}
		__attribute__((fallthrough));
	default:
		a = rb_answer_to(rb, look);
		return a ? looked(rb, r, now, act, a, want) : rb_ask(rb, r, act, look, rb_row_at(r), 0);
	}
}

/* One log-in more, at the endpoint that `part` has come to. */
enum turn rb_run_probe(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	uint32_t each = (uint32_t)rb->policy.probe_successes, endpoint = r->part / each;
	if (r->state != RB_RUNNING)
		rb_begin(rb, r, now, RB_ASK, false);
	if (endpoint >= rb->endpoints)
		return rb_done(r, now);
	const struct rb_answer *a = rb_answer_to(rb, KIND_PROBE);
	if (!a)
		return rb_ask(rb, r, act, KIND_PROBE, RB_AUTHORITY, endpoint);
	if (a->rc != KIND_OK)
		return rb_trouble(rb, r, now, act, a);
	rb_recovered(rb, r);
	if (a->login == KIND_ACCEPTED) {
		r->part++;
		return AGAIN;
	}
	if (endpoint == 0)
		return rb_fail(rb, r, now, RB_WHY_REFUSED);
	int64_t left = 0; /* a further endpoint may lag */
	r->part = endpoint * each;
	if (!r->wait.on)
		rb_wait_begin(&r->wait, rb->policy.probe_timeout, now, -1);
	left = rb_wait_left(&r->wait, now);
	return left ? rb_pause(rb, r, now, act, RB_FOR_PROBE, rb_backoff(rb, now, RB_BACKOFF_RECEIPT), left) :
	              rb_fail(rb, r, now, RB_WHY_REFUSED);
}

enum turn rb_run_confirm(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	if (r->state != RB_RUNNING)
		rb_begin(rb, r, now, RB_ASK, false);
	const struct rb_answer *a = rb_answer_to(rb, RB_RECEIPT);
	if (!a && rb->v.question != KIND_NOW)
		return rb_ask(rb, r, act, RB_RECEIPT, RB_CONSUMERS, 0);
	if (a && a->rc == KIND_OK && a->yes)
		return rb_done(r, now);
	if (a && a->rc == KIND_PERMANENT)
		return rb_fail(rb, r, now, RB_WHY_PERMANENT);
	int64_t left = 0;
	if (!rb_time_left(rb, r, rb->policy.confirm_timeout, now, act, &left))
		return STOP;
	return left ? rb_pause(rb, r, now, act, RB_FOR_RECEIPT, rb_backoff(rb, now, RB_BACKOFF_RECEIPT), left) :
	              rb_fail(rb, r, now, RB_WHY_RECEIPT);
}

enum turn rb_run_overlap(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	enum turn turn;
	bool bad;
	if (!rb->shape.has_old || rb_one_slot(rb))
		return rb_skip(r);
	if (r->state != RB_RUNNING)
		rb_begin(rb, r, now, RB_ASK, false);
	if (rb_waited(rb, r, rb->policy.overlap, RB_FOR_OVERLAP, now, act, &turn, &bad))
		return rb_done(r, now);
	return bad ? rb_held(rb, RB_WHY_HEALTH) : turn;
}

/* One sample: sessions at every endpoint. False: `act` asks for the next one, or *turn says what to do about trouble.
 */
static bool sampled(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act, enum turn *turn)
{
	const struct rb_answer *a = rb_answer_to(rb, KIND_USAGE);
	if (a && a->rc != KIND_OK) {
		r->part = 0;
		*turn = rb_trouble(rb, r, now, act, a);
		return false;
	}
	if (a) {
		rb->v.sessions += a->sessions;
		r->part++;
	} else {
		rb->v.sessions = 0;
		r->part = 0;
	}
	if (r->part < rb->endpoints) {
		*turn = rb_ask(rb, r, act, KIND_USAGE, RB_AUTHORITY, r->part);
		return false;
	}
	r->part = 0;
	rb_recovered(rb, r);
	return true;
}

enum turn rb_run_drain(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	struct rb_volatile *v = &rb->v;
	int64_t left = 0, gap = rb->policy.sample * 3 > 1000 ? rb->policy.sample * 3 : 1000;
	enum turn turn = STOP;
	if (!rb->shape.has_old || rb->facts.usage != KIND_SAMPLED || rb_one_slot(rb))
		return rb_skip(r);
	if (r->state != RB_RUNNING)
		rb_begin(rb, r, now, RB_ASK, false);
	enum watch w = rb_watch(rb, r, now, act);
	if (w == WATCH_CALL)
		return STOP;
	if (w == WATCH_BAD)
		return rb_held(rb, RB_WHY_HEALTH);
	int64_t quiet_at = v->clean_since < 0 ? INT64_MAX : v->clean_since + rb->policy.quiet_for;
	bool due = v->last_sample < 0 || now->boot >= v->last_sample + rb->policy.sample || now->boot >= quiet_at;
	if (v->question == KIND_USAGE || (due && v->question != KIND_NOW)) {
		if (!sampled(rb, r, now, act, &turn))
			return turn;
		if (v->last_sample >= 0 && now->boot - v->last_sample > gap)
			v->clean_since = -1;
		v->clean_since = v->sessions ? -1 : v->clean_since < 0 ? now->boot : v->clean_since;
		v->last_sample = now->boot;
		r->attempts++;
	}
	if (v->clean_since >= 0 && v->last_sample - v->clean_since >= rb->policy.quiet_for && w == WATCH_WELL)
		return rb_done(r, now);
	if (!rb_time_left(rb, r, rb->policy.drain_timeout, now, act, &left))
		return STOP;
	if (left == 0 && v->clean_since < 0)
		return rb->policy.revoke_on_timeout ? rb_done(r, now) : rb_held(rb, RB_WHY_DRAIN);
	int64_t next = rb_at_least_0(v->last_sample + rb->policy.sample - now->boot);
	int64_t quiet = v->clean_since < 0 ? -1 : rb_at_least_0(v->clean_since + rb->policy.quiet_for - now->boot);
	rb_pause(rb, r, now, act, RB_FOR_DRAIN, rb_sooner(rb, now, quiet > 0 && quiet < next ? quiet : next), quiet);
	act->sampling = true;
	return STOP;
}

/* The drain ended by its timeout, and the policy says to go on in spite of sessions. */
static bool overdue(struct rb *rb)
{
	const struct rb_row *drain = rb_find(rb, RB_DRAIN);
	return rb->policy.revoke_on_timeout && drain && drain->state == RB_DONE && drain->wait.on &&
	       drain->wait.credit >= drain->wait.need;
}

/* Sessions were seen where none may be: everything as before, and drain once more. */
static enum turn drain_again(struct rb *rb, struct rb_row *r)
{
	struct rb_row *drain = rb_find(rb, RB_DRAIN);
	rb_reset(r);
	if (!drain)
		return rb_held(rb, RB_WHY_IN_USE);
	rb_reset(drain);
	return AGAIN;
}

static enum turn restored(struct rb *rb, struct rb_row *r)
{
	bool sick = rb->why == RB_WHY_HEALTH;
	enum turn turn = drain_again(rb, r);
	return sick ? rb_held(rb, RB_WHY_HEALTH) : turn;
}

enum turn rb_run_suspend(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	const struct rb_answer *a;
	enum turn turn = STOP;
	bool bad, used, must_be_unused = rb->facts.usage == KIND_SAMPLED && !overdue(rb);
	if (r->undo)
		return rb_run_effect(rb, r, now, act);
	if (!rb->shape.has_old || !rb->facts.can_suspend || rb_one_slot(rb))
		return rb_skip(r);
	switch (r->phase) {
	case RB_START:
		if (rb_gated(rb, r, now, act))
			return STOP;
		rb_begin(rb, r, now, RB_ACT, true);
		return AGAIN;
	case RB_ACT:
		a = rb_answer_to(rb, KIND_SUSPEND);
		return a ? acted(rb, r, now, act, a, RB_ASK) : rb_ask(rb, r, act, KIND_SUSPEND, RB_AUTHORITY, 0);
	case RB_LOOK:
	case RB_ASK:
		if (rb->v.question != KIND_USAGE) {
			a = rb_answer_to(rb, KIND_LOOK);
			if (!a)
				return rb_ask(rb, r, act, KIND_LOOK, RB_AUTHORITY, 0);
			if (a->rc != KIND_OK || a->seen != KIND_SUSPENDED)
				return looked(rb, r, now, act, a, SEEN(KIND_SUSPENDED));
		}
		if (must_be_unused && !sampled(rb, r, now, act, &turn))
			return turn;
		used = must_be_unused && rb->v.sessions;
		r->phase = used ? RB_RESTORE : RB_SOAK;
		rb->flush |= used; /* another effect; that it is suspended rides with what follows */
		r->retry.on = false;
		rb_touch(r);
		return AGAIN;
	case RB_SOAK:
		if (rb_waited(rb, r, rb->policy.soak, RB_FOR_SOAK, now, act, &turn, &bad))
			return rb_done(r, now);
		if (!bad)
			return turn;
		rb->why = RB_WHY_HEALTH;
		r->phase = RB_RESTORE;
		rb->flush = rb->dirty = true;
		rb_touch(r);
		return AGAIN;
	default: /* RB_RESTORE */
		a = rb_answer_to(rb, KIND_RESTORE);
		if (!a)
			return rb_ask(rb, r, act, KIND_RESTORE, RB_AUTHORITY, 0);
		if (a->rc == KIND_OK)
			return restored(rb, r);
		if (a->rc == KIND_PERMANENT || a->rc == KIND_CONFLICT)
			return rb_held(rb, a->rc == KIND_CONFLICT ? RB_WHY_CONFLICT : RB_WHY_PERMANENT);
		if (a->rc == KIND_AMBIGUOUS)
			rb_lost(rb, r);
		return rb_temporary(rb, r, now, act);
	}
}

static bool suspended(struct rb *rb)
{
	const struct rb_row *s = rb_find(rb, RB_SUSPEND);
	return s && s->state == RB_DONE;
}

/* The version is used again, or still: it must be accepted, and drain before the next try. */
static enum turn spared(struct rb *rb, struct rb_row *r)
{
	struct rb_row *s = rb_find(rb, RB_SUSPEND);
	if (r->undo)
		return rb_held(rb, RB_WHY_IN_USE);
	if (!suspended(rb))
		return drain_again(rb, r);
	rb_reset(r);
	s->state = RB_RUNNING;
	s->phase = RB_RESTORE;
	s->ended = -1;
	rb_touch(s);
	rb->flush = true;
	return AGAIN;
}

/* Before a version is dropped: is it ours, and is nobody using it? Somebody may have restored by hand what soaked. */
static enum turn before_revoke(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	enum turn turn = STOP;
	bool must_be_unused = rb->facts.usage == KIND_SAMPLED && !rb->force && (r->undo || !overdue(rb)) &&
	                      !(r->undo && !rb_any_begun(rb, RB_DISTRIBUTE));
	if (rb->v.question != KIND_USAGE && (r->undo || !suspended(rb))) {
		const struct rb_answer *a = rb_answer_to(rb, KIND_LOOK);
		if (!a)
			return rb_ask(rb, r, act, KIND_LOOK, RB_AUTHORITY, 0);
		if (a->rc != KIND_OK)
			return rb_trouble(rb, r, now, act, a);
		if (a->seen == KIND_ABSENT || (a->seen == KIND_FOREIGN && r->undo))
			return rb_done(r, now); /* another's credential is never touched */
		if (a->seen == KIND_FOREIGN)
			return rb_held(rb, RB_WHY_FOREIGN);
	}
	if (must_be_unused && !sampled(rb, r, now, act, &turn))
		return turn;
	if (must_be_unused && rb->v.sessions)
		return spared(rb, r);
	rb_begin(rb, r, now, RB_ACT, true);
	return AGAIN;
}

/* Sessions outlive the credential in most systems: end them at every endpoint. True: none is left. */
static bool disconnected(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act, enum turn *turn)
{
	const struct rb_answer *a = rb_answer_to(rb, KIND_DISCONNECT);
	if (a && a->rc != KIND_OK && a->rc != KIND_MORE) {
		if (a->rc == KIND_AMBIGUOUS)
			rb_lost(rb, r);
		*turn = rb_trouble(rb, r, now, act, a);
		return false;
	}
	if (a && a->sessions == 0)
		r->part++;
	if (r->part >= rb->endpoints)
		return true;
	*turn = a && a->sessions ? rb_temporary(rb, r, now, act) :
	                           rb_ask(rb, r, act, KIND_DISCONNECT, RB_AUTHORITY, r->part);
	return false;
}

enum turn rb_run_revoke(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	const struct rb_answer *a;
	enum turn turn = STOP;
	if (!r->undo && (!rb->shape.has_old || (rb_one_slot(rb) && rb->shape.order == RB_ROTATE)))
		return rb_skip(r);
	if (r->undo && rb_one_slot(rb) && rb->shape.has_old)
		return rb_skip(r); /* n ended when n-1 was put back */
	switch (r->phase) {
	case RB_START:
		if (now->clock_behind)
			return rb_pause(rb, r, now, act, RB_FOR_CLOCK, RB_CLOCK_WORTH, -1);
		if (!suspended(rb) && rb_gated(rb, r, now, act)) /* a soak that has begun may finish */
			return STOP;
		return before_revoke(rb, r, now, act);
	case RB_ACT:
		a = rb_answer_to(rb, KIND_DROP);
		return a ? acted(rb, r, now, act, a, RB_ASK) : rb_ask(rb, r, act, KIND_DROP, RB_AUTHORITY, 0);
	case RB_LOOK:
		a = rb_answer_to(rb, KIND_LOOK);
		if (!a)
			return rb_ask(rb, r, act, KIND_LOOK, RB_AUTHORITY, 0);
		if (a->rc != KIND_OK || a->seen != KIND_ABSENT)
			return looked(rb, r, now, act, a, SEEN(KIND_ABSENT));
		r->phase = RB_ASK; /* it took effect; its sessions may still be there */
		r->part = 0;
		return AGAIN;
	default:
		if (rb->v.question != KIND_LOOK && !disconnected(rb, r, now, act, &turn))
			return turn;
		a = rb_answer_to(rb, KIND_LOOK);
		return a ? looked(rb, r, now, act, a, SEEN(KIND_ABSENT)) :
		           rb_ask(rb, r, act, KIND_LOOK, RB_AUTHORITY, 0);
	}
}

/* On the way back only what was written can be read back: a new store never had n-1. */
static bool reads_back(const struct rb *rb, const struct rb_row *r, uint32_t store)
{
	for (size_t i = 0; i < rb->n; i++)
		if (rb->rows[i].step == RB_STORE && rb->rows[i].undo == r->undo && rb->rows[i].target == store)
			return true;
	return !r->undo;
}

/* Checks in turn: the bad version refused at each endpoint, the good one accepted at each, each store reads it back. */
enum turn rb_run_prove(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	uint32_t e = rb->endpoints, all = 2 * e + rb->shape.stores;
	if (r->state != RB_RUNNING)
		rb_begin(rb, r, now, RB_ASK, false);
	bool bad_known = (r->old || (rb->shape.has_old && rb->old_known)) && !rb->facts.refusal_locks;
	bool good_known = !r->old || rb->old_known;
	if (r->part < e && !bad_known)
		r->part = e;
	if (r->part < all && r->part >= e && !good_known)
		r->part = all;
	while (r->part >= 2 * e && r->part < all && !reads_back(rb, r, r->part - 2 * e))
		r->part++;
	if (r->part >= all)
		return rb_done(r, now);
	bool bad = r->part < e, store = r->part >= 2 * e;
	int verb = store ? KIND_LOOK : KIND_PROBE;
	const struct rb_answer *a = rb_answer_to(rb, verb);
	if (!a) {
		rb_ask(rb, r, act, verb, store ? RB_STORES : RB_AUTHORITY, r->part % e);
		act->target = store ? (uint16_t)(r->part - 2 * e) : 0;
		act->old = r->old != bad;
		return STOP;
	}
	if (a->rc != KIND_OK)
		return a->rc == KIND_PERMANENT ? rb_held(rb, RB_WHY_PERMANENT) : rb_temporary(rb, r, now, act);
	rb_recovered(rb, r);
	bool well = store ? (IN_USE & SEEN(a->seen)) != 0 : (a->login == KIND_REFUSED) == bad;
	if (well) {
		r->part++;
		return AGAIN;
	}
	bool lags = !store && r->part % e > 0;
	if (lags && !r->wait.on)
		rb_wait_begin(&r->wait, rb->policy.probe_timeout, now, -1);
	int64_t left = lags ? rb_wait_left(&r->wait, now) : 0;
	if (left)
		return rb_pause(rb, r, now, act, RB_FOR_PROBE, rb_backoff(rb, now, RB_BACKOFF_RECEIPT), left);
	return rb_held(rb, store ? RB_WHY_MISSING : bad ? RB_WHY_STILL_ACCEPTED : RB_WHY_REFUSED);
}
