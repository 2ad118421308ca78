/* Provable time, questions and answers, pauses, gates, and the health of consumers. */
#include "runbook_inside.h"

#define BACKOFF_FIRST 100
#define GATE_POLL 60000

/* ---- provable time */

int64_t rb_at_least_0(int64_t ms)
{
	return ms > 0 ? ms : 0;
}

void rb_wait_begin(struct rb_wait *w, int64_t need, const struct rb_now *now, int64_t authority)
{
	*w = (struct rb_wait){ .on = true,
		               .need = need,
		               .wall = now->wall,
		               .boot = now->boot,
		               .boot_id = now->boot_id,
		               .authority = authority };
}

static void wait_rebase(struct rb_wait *w, const struct rb_now *now, int64_t proven, int64_t authority)
{
	w->credit += proven;
	w->wall = now->wall;
	w->boot = now->boot;
	w->boot_id = now->boot_id;
	w->authority = authority;
}

int64_t rb_wait_left(struct rb_wait *w, const struct rb_now *now)
{
	if (w->boot_id == now->boot_id) {
		int64_t wall = now->wall - w->wall, boot = now->boot - w->boot;
		int64_t proven = rb_at_least_0(wall < boot ? wall : boot),
			longest = rb_at_least_0(wall > boot ? wall : boot);
		/* the authority's base moves by the longer of the two, so that a later boot is never credited twice */
		wait_rebase(w, now, proven, w->authority < 0 ? -1 : w->authority + longest);
	} else {
		wait_rebase(w, now, 0, -1);
	}
	return rb_at_least_0(w->need - w->credit);
}

/* ---- questions, answers, pauses */

enum turn rb_ask(struct rb *rb, const struct rb_row *r, struct rb_act *act, int verb, enum rb_at at, uint32_t part)
{
	rb->v.asked = true;
	rb->v.have = false;
	rb->v.question = verb;
	rb->v.fenced = at == RB_AUTHORITY && rb->in_doubt;
	*act = (struct rb_act){ .what = RB_CALL,
		                .row = (size_t)(r - rb->rows),
		                .verb = verb,
		                .at = at,
		                .old = r->old,
		                .target = r->target,
		                .endpoint = at == RB_AUTHORITY ? (uint16_t)part : 0,
		                .fence = rb->v.fenced || (at != RB_AUTHORITY && r->phase == RB_LOOK) };
	return STOP;
}

/* The answer to `verb`, if that is what came in. */
const struct rb_answer *rb_answer_to(struct rb *rb, int verb)
{
	if (!rb->v.have || rb->v.question != verb || rb->v.health_out)
		return NULL;
	rb->v.have = false;
	rb->v.question = -1;
	return &rb->answer;
}

enum turn rb_pause(struct rb *rb, const struct rb_row *r, const struct rb_now *now, struct rb_act *act,
                   enum rb_waits waits_for, int64_t for_ms, int64_t left)
{
	rb->v.have = false; /* an answer from before a wait proves nothing after it */
	rb->v.question = -1;
	*act = (struct rb_act){ .what = RB_WAIT,
		                .row = (size_t)(r - rb->rows),
		                .waits_for = waits_for,
		                .poll_at = now->boot + for_ms,
		                .until = left < 0 ? -1 : now->wall + left,
		                .verb = -1 };
	return STOP;
}

int64_t rb_backoff(struct rb *rb, const struct rb_now *now, int64_t ceiling)
{
	int64_t next = rb->v.backoff ? rb->v.backoff * 2 : BACKOFF_FIRST;
	rb->v.backoff = next < ceiling ? next : ceiling;
	/* jitter: between a half and the whole, from what differs between processes that fail together */
	uint64_t mix = ((uint64_t)now->boot ^ now->boot_id ^ rb->attempt) * UINT64_C(0x9e3779b97f4a7c15);
	return rb->v.backoff / 2 + (int64_t)((mix >> 40) % (uint64_t)(rb->v.backoff / 2 + 1));
}

/* ---- gates, time and health */

bool rb_gated(struct rb *rb, const struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	bool told = r->step == RB_DISTRIBUTE && rb_any_begun(rb, RB_DISTRIBUTE); /* only the first one is gated */
	if (r->undo || !rb_kinds[r->step].gated || told || now->gate_open)
		return false;
	int64_t left = rb_at_least_0(now->gate_until - now->wall);
	rb_pause(rb, r, now, act, RB_FOR_WINDOW, left < GATE_POLL ? left + 1 : GATE_POLL, left);
	return true;
}

/* How much of the row's wait is left. False: `act` asks the authority for the time first. */
bool rb_time_left(struct rb *rb, struct rb_row *r, int64_t need, const struct rb_now *now, struct rb_act *act,
                  int64_t *left)
{
	bool other_boot = r->wait.on && r->wait.boot_id != now->boot_id;
	int64_t authority = -1;
	if ((!r->wait.on || other_boot) && need >= RB_CLOCK_WORTH) {
		const struct rb_answer *a = rb_answer_to(rb, KIND_NOW);
		if (!a && !rb->v.clock_asked) {
			rb->v.clock_asked = true;
			rb_ask(rb, r, act, KIND_NOW, RB_AUTHORITY, 0);
			return false;
		}
		authority = a && a->rc == KIND_OK ? a->now_ms : -1;
	}
	if (!r->wait.on) {
		rb_wait_begin(&r->wait, need, now, authority);
		rb_touch(r);
	} else if (other_boot) {
		bool proof = authority >= 0 && r->wait.authority >= 0;
		wait_rebase(&r->wait, now, proof ? rb_at_least_0(authority - r->wait.authority) : 0, authority);
		rb_touch(r);
	}
	if (r->wait.need < need) /* the longer overlap wins */
		r->wait.need = need;
	*left = rb_wait_left(&r->wait, now);
	return true;
}

/* Health of all consumers that declare it: every 5 s, three failures in a row are one too many. */
enum watch rb_watch(struct rb *rb, const struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	struct rb_volatile *v = &rb->v;
	if (!rb->n_health)
		return WATCH_WELL;
	if (v->health_out && v->have) {
		v->have = v->health_out = false;
		v->question = -1;
		if (rb->answer.rc == KIND_OK && rb->answer.yes) {
			v->health_bad = 0;
			v->health_target++;
		} else if (++v->health_bad >= RB_HEALTH_FAILURES) {
			v->health_bad = v->health_target = 0;
			return WATCH_BAD;
		} else {
			v->health_at = now->boot + RB_HEALTH_EVERY;
		}
		if (v->health_target >= rb->n_health) {
			v->health_target = 0;
			v->health_asked = true;
			v->health_at = now->boot + RB_HEALTH_EVERY;
		}
	}
	if (now->boot >= v->health_at && !v->have) {
		rb_ask(rb, r, act, RB_HEALTH, RB_CONSUMERS, 0);
		act->target = v->health_target;
		v->health_out = true;
		return WATCH_CALL;
	}
	return v->health_asked && !v->health_bad ? WATCH_WELL : WATCH_UNSURE;
}

int64_t rb_sooner(const struct rb *rb, const struct rb_now *now, int64_t ms)
{
	int64_t health = rb->n_health ? rb_at_least_0(rb->v.health_at - now->boot) : ms;
	return health < ms ? health : ms;
}

/* A watched wait of `need`. True: it is over. False: `act` and *ret say what to do. */
bool rb_waited(struct rb *rb, struct rb_row *r, int64_t need, enum rb_waits waits_for, const struct rb_now *now,
               struct rb_act *act, enum turn *ret, bool *bad)
{
	int64_t left = 0;
	enum watch w = rb_watch(rb, r, now, act);
	*bad = w == WATCH_BAD;
	*ret = STOP;
	if (w == WATCH_CALL || w == WATCH_BAD || !rb_time_left(rb, r, need, now, act, &left))
		return false;
	if (left == 0 && w == WATCH_WELL)
		return true;
	int64_t shown = left ? left : RB_HEALTH_EVERY;
	*ret = rb_pause(rb, r, now, act, waits_for, rb_sooner(rb, now, shown), shown);
	return false;
}
