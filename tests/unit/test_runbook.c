/* What the search cannot tell: how much of a wait is proven, and sequences that have to end in one way only. */
#include <stdlib.h>

#include "core/runbook.h"
#include "test.h"

#define HOUR INT64_C(3600000)
#define YEAR (INT64_C(365) * 24 * HOUR)

static struct rb_now at(int64_t wall, int64_t boot, uint64_t boot_id)
{
	return (struct rb_now){ .wall = wall, .boot = boot, .boot_id = boot_id, .gate_open = true };
}

static struct rb_wait begun(int64_t need, int64_t wall, int64_t boot, int64_t authority)
{
	return (struct rb_wait){
		.on = true, .need = need, .wall = wall, .boot = boot, .boot_id = 1, .authority = authority
	};
}

static int64_t left(struct rb_wait *w, int64_t wall, int64_t boot, uint64_t boot_id)
{
	struct rb_now now = at(wall, boot, boot_id);
	return rb_wait_left(w, &now);
}

static void within_one_boot(void)
{
	TEST("a wait counts down, also over many looks, and never below nothing");
	struct rb_wait w = begun(1000, 5000, 70, -1);
	CHECK(left(&w, 5000, 70, 1) == 1000);
	CHECK(left(&w, 5400, 470, 1) == 600);
	CHECK(left(&w, 5400, 470, 1) == 600);
	for (int64_t ms = 1; ms <= 599; ms++)
		CHECK(left(&w, 5400 + ms, 470 + ms, 1) == 600 - ms);
	CHECK(left(&w, 6000, 1070, 1) == 0);
	CHECK(left(&w, 6000 + YEAR, 1070 + YEAR, 1) == 0);

	TEST("a wall clock that jumps on by ten years proves nothing");
	w = begun(1000, 5000, 70, -1);
	CHECK(left(&w, 5000 + 10 * YEAR, 170, 1) == 900);
	CHECK(left(&w, 5000 + 10 * YEAR + 100, 270, 1) == 800);

	TEST("a wall clock that jumps back takes away what passed since the last look, and no more");
	w = begun(1000, 10 * HOUR, 70, -1);
	CHECK(left(&w, 10 * HOUR + 300, 370, 1) == 700);
	CHECK(left(&w, 9 * HOUR, 470, 1) == 700);
	CHECK(left(&w, 9 * HOUR + 700, 1170, 1) == 0);

	TEST("a boot clock that stands or goes back (a restored machine) proves nothing");
	w = begun(1000, 5000, 700, -1);
	CHECK(left(&w, 6500, 700, 1) == 1000);
	CHECK(left(&w, 7500, 100, 1) == 1000);
	CHECK(left(&w, 8500, 1100, 1) == 0);
}

static void across_boots(void)
{
	TEST("another boot proves nothing by itself, and what was proven stays");
	struct rb_wait w = begun(1000, 5000, 70, -1);
	CHECK(left(&w, 5600, 670, 1) == 400);
	CHECK(left(&w, 5600 + HOUR, 5, 2) == 400);
	CHECK(w.boot_id == 2);
	CHECK(left(&w, 5600 + HOUR + 400, 405, 2) == 0);

	TEST("a boot clock that is ahead after a reboot proves nothing either");
	w = begun(1000, 5000, 70, -1);
	CHECK(left(&w, 5000 + HOUR, 70 + HOUR, 2) == 1000);

	TEST("the authority's base moves with the longer clock: nothing is credited twice");
	w = begun(10 * HOUR, 5000, 70, 900000);
	CHECK(left(&w, 5000 + HOUR, 70 + HOUR, 1) == 9 * HOUR);
	CHECK(w.authority == 900000 + HOUR);
	CHECK(left(&w, 5000 + HOUR + 2 * HOUR, 70 + HOUR + 1, 1) == 9 * HOUR - 1);
	CHECK(w.authority == 900000 + 3 * HOUR);
	CHECK(left(&w, 5000, 70 + HOUR + 2, 1) == 9 * HOUR - 1);
	CHECK(w.authority >= 900000 + 3 * HOUR);

	TEST("what the authority said in another boot is no base in this one");
	w = begun(1000, 5000, 70, 900000);
	CHECK(left(&w, 5100, 5, 2) == 1000);
	CHECK(w.authority == -1);
}

/* ---- sequences */

static struct rb rotation(void)
{
	struct rb rb = { .facts = { .slots = 2, .named = true, .can_suspend = true, .usage = KIND_SAMPLED },
		         .endpoints = 1,
		         .old_known = true,
		         .attempt = 1,
		         .policy = { .probe_successes = 1,
		                     .probe_timeout = 1000,
		                     .confirm_timeout = HOUR,
		                     .overlap = HOUR,
		                     .quiet_for = 100,
		                     .sample = 50,
		                     .drain_timeout = 5 * HOUR,
		                     .soak = HOUR,
		                     .retry_deadline = 1000 },
		         .shape = { .order = RB_ROTATE, .stores = 1, .consumers = 1, .has_old = true } };
	rb_plan(&rb, 1);
	return rb;
}

static struct rb_row *row_of(struct rb *rb, enum rb_step step, bool undo)
{
	for (size_t i = 0; i < rb->n; i++)
		if (rb->rows[i].step == step && rb->rows[i].undo == undo)
			return &rb->rows[i];
	return NULL;
}

/* The rows before `step` are over. */
static struct rb up_to(enum rb_step step)
{
	struct rb rb = rotation();
	struct rb_now now = at(HOUR, HOUR, 1);
	for (size_t i = 0; i < rb.n && rb.rows[i].step != step; i++)
		rb.rows[i].state = RB_DONE;
	rb_committed(&rb);
	rb_resume(&rb, &now);
	return rb;
}

/* Carries commits out until something else comes. */
static struct rb_act next(struct rb *rb, const struct rb_answer *a, const struct rb_now *now)
{
	struct rb_act act;
	rb_next(rb, a, now, &act);
	for (int i = 0; i < 10 && act.what == RB_COMMIT; i++) {
		rb_committed(rb);
		rb_next(rb, NULL, now, &act);
	}
	return act;
}

static struct rb_act said(struct rb *rb, enum kind_rc rc, uint32_t sessions, const struct rb_now *now)
{
	struct rb_answer a = { .rc = rc, .sessions = sessions, .now_ms = -1, .last_ms = -1 };
	return next(rb, &a, now);
}

static struct rb_act saw(struct rb *rb, enum kind_seen seen, enum kind_login login, const struct rb_now *now)
{
	struct rb_answer a = { .rc = KIND_OK, .seen = seen, .login = login, .now_ms = -1, .last_ms = -1 };
	return next(rb, &a, now);
}

static void pass(struct rb_now *now, int64_t ms)
{
	now->wall += ms;
	now->boot += ms;
}

static void waits(void)
{
	TEST("a wait that begins with a commit is waited all the same");
	struct rb rb = up_to(RB_PROBE);
	struct rb_now now = at(HOUR, HOUR, 1);
	struct rb_act act = next(&rb, NULL, &now);
	CHECK(act.what == RB_CALL && act.verb == KIND_PROBE);
	act = said(&rb, KIND_TEMPORARY, 0, &now);
	CHECK(act.what == RB_WAIT && act.waits_for == RB_FOR_RETRY && act.poll_at > now.boot);
	pass(&now, act.poll_at - now.boot);
	act = next(&rb, NULL, &now);
	CHECK(act.what == RB_CALL && act.verb == KIND_PROBE);
	rb_clear(&rb);

	TEST("retry.deadline is that of one series of failures, not of a whole drain");
	rb = up_to(RB_DRAIN);
	act = next(&rb, NULL, &now);
	for (int i = 0; i < 5; i++) {
		while (act.what == RB_CALL && act.verb == KIND_NOW)
			act = said(&rb, KIND_TEMPORARY, 0, &now);
		for (; act.what == RB_WAIT; act = next(&rb, NULL, &now))
			pass(&now, act.poll_at - now.boot);
		CHECK(act.what == RB_CALL && act.verb == KIND_USAGE);
		act = said(&rb, i % 2 ? KIND_OK : KIND_TEMPORARY, 1, &now);
		pass(&now, 900);
	}
	CHECK(rb.result == RB_WORKING && !rb.back);
	rb_clear(&rb);

	TEST("a series of failures that outlives retry.deadline on the way back is held, and released");
	rb = up_to(RB_OVERLAP);
	CHECK(rb_abort(&rb, &now));
	act = next(&rb, NULL, &now);
	CHECK(act.what == RB_CALL && act.verb == KIND_PROBE && act.old);
	for (int i = 0; i < 20 && rb.result == RB_WORKING; i++) {
		act = said(&rb, KIND_TEMPORARY, 0, &now);
		if (act.what == RB_WAIT)
			pass(&now, act.poll_at - now.boot);
		act = next(&rb, NULL, &now);
	}
	CHECK(rb.result == RB_HELD && rb.why == RB_WHY_DEADLINE);
	rb_release(&rb);
	act = next(&rb, NULL, &now);
	CHECK(act.what == RB_CALL && act.verb == KIND_PROBE);
	rb_clear(&rb);
}

/* Answers samples with `sessions` until `ms` have passed or the row is over. */
static struct rb_act drain_for(struct rb *rb, struct rb_now *now, int64_t ms, uint32_t sessions)
{
	int64_t end = now->boot + ms;
	struct rb_act act = next(rb, NULL, now);
	while (now->boot < end && row_of(rb, RB_DRAIN, false)->state == RB_RUNNING && rb->result == RB_WORKING) {
		if (act.what == RB_WAIT) {
			pass(now, act.poll_at - now->boot);
			act = next(rb, NULL, now);
		} else {
			act = said(rb, act.verb == KIND_NOW ? KIND_TEMPORARY : KIND_OK, sessions, now);
		}
	}
	return act;
}

static void drains(void)
{
	TEST("a drain that is quiet when its timeout comes is given its quiet time");
	struct rb rb = up_to(RB_DRAIN);
	struct rb_now now = at(HOUR, HOUR, 1);
	rb.policy.drain_timeout = 60;
	rb.policy.quiet_for = 500;
	drain_for(&rb, &now, 1000, 0);
	CHECK(rb.result == RB_WORKING && row_of(&rb, RB_DRAIN, false)->state == RB_DONE);
	CHECK(now.boot >= HOUR + 500);
	rb_clear(&rb);

	TEST("a drain that is not quiet when its timeout comes is held");
	rb = up_to(RB_DRAIN);
	rb.policy.drain_timeout = 60;
	drain_for(&rb, &now, 1000, 1);
	CHECK(rb.result == RB_HELD && rb.why == RB_WHY_DRAIN);
	rb_clear(&rb);

	TEST("a gap between two samples begins the quiet time anew");
	rb = up_to(RB_DRAIN);
	drain_for(&rb, &now, 60, 0);
	pass(&now, 2000);
	drain_for(&rb, &now, 10, 0);
	CHECK(row_of(&rb, RB_DRAIN, false)->state == RB_RUNNING);
	rb_clear(&rb);

	TEST("on_timeout: revoke revokes after a timeout, not after a drain that ended quietly");
	for (uint32_t sessions = 0; sessions < 2; sessions++) {
		rb = up_to(RB_DRAIN);
		rb.policy.drain_timeout = 1000;
		rb.policy.revoke_on_timeout = true;
		rb.facts.can_suspend = false;
		drain_for(&rb, &now, 5000, sessions);
		struct rb_act act = next(&rb, NULL, &now);
		CHECK(row_of(&rb, RB_DRAIN, false)->state == RB_DONE && act.verb == KIND_LOOK);
		act = saw(&rb, KIND_HELD, KIND_ACCEPTED, &now);
		CHECK(act.verb == (sessions ? KIND_DROP : KIND_USAGE));
		rb_clear(&rb);
	}
}

static void gates(void)
{
	TEST("what was seen before a gate closed is seen anew when it opens");
	struct rb rb = up_to(RB_REVOKE);
	struct rb_now now = at(HOUR, HOUR, 1);
	row_of(&rb, RB_SUSPEND, false)->state = RB_SKIPPED;
	next(&rb, NULL, &now);
	struct rb_act act = saw(&rb, KIND_HELD, KIND_ACCEPTED, &now);
	CHECK(act.what == RB_CALL && act.verb == KIND_USAGE);
	now.gate_open = false;
	now.gate_until = now.wall + HOUR;
	act = said(&rb, KIND_OK, 0, &now);
	CHECK(act.what == RB_WAIT && act.waits_for == RB_FOR_WINDOW);
	pass(&now, HOUR);
	now.gate_open = true;
	act = next(&rb, NULL, &now);
	CHECK(act.what == RB_CALL && act.verb == KIND_LOOK);
	rb_clear(&rb);

	TEST("a version that is used again after the soak is restored, and drains once more");
	rb = up_to(RB_REVOKE);
	act = next(&rb, NULL, &now);
	CHECK(act.what == RB_CALL && act.verb == KIND_USAGE && act.old);
	act = said(&rb, KIND_OK, 1, &now);
	CHECK(act.what == RB_CALL && act.verb == KIND_RESTORE);
	act = said(&rb, KIND_OK, 0, &now);
	CHECK(act.verb == KIND_USAGE && row_of(&rb, RB_DRAIN, false)->state == RB_RUNNING);
	CHECK(row_of(&rb, RB_SUSPEND, false)->state == RB_PENDING);
	rb_clear(&rb);

	TEST("a clock behind the log revokes nothing");
	rb = up_to(RB_REVOKE);
	now.clock_behind = true;
	act = next(&rb, NULL, &now);
	CHECK(act.what == RB_WAIT && act.waits_for == RB_FOR_CLOCK);
	rb_clear(&rb);
}

static void ways_back(void)
{
	TEST("a store that was never written need not read back n-1");
	struct rb rb = up_to(RB_STORE);
	struct rb_now now = at(HOUR, HOUR, 1);
	CHECK(rb_abort(&rb, &now));
	struct rb_act act = next(&rb, NULL, &now);
	CHECK(act.verb == KIND_LOOK && act.at == RB_AUTHORITY && !act.old);
	act = saw(&rb, KIND_ABSENT, KIND_REFUSED, &now); /* nothing to revoke */
	CHECK(act.verb == KIND_PROBE && !act.old);
	act = saw(&rb, KIND_ABSENT, KIND_REFUSED, &now);
	CHECK(act.verb == KIND_PROBE && act.old);
	act = saw(&rb, KIND_ABSENT, KIND_ACCEPTED, &now);
	CHECK(act.verb == RB_CLOSE_BOOKS);
	rb_clear(&rb);

	TEST("n-1 that is refused is told to nobody: held");
	rb = up_to(RB_OVERLAP);
	CHECK(rb_abort(&rb, &now));
	next(&rb, NULL, &now);
	saw(&rb, KIND_ABSENT, KIND_REFUSED, &now);
	CHECK(rb.result == RB_HELD && rb.why == RB_WHY_REFUSED);
	rb_clear(&rb);

	TEST("n-1 that became another's before it was suspended is no way back: held, and forward stays open");
	rb = up_to(RB_SUSPEND);
	act = next(&rb, NULL, &now);
	CHECK(act.verb == KIND_SUSPEND);
	said(&rb, KIND_CONFLICT, 0, &now);
	CHECK(rb.result == RB_HELD && rb.why == RB_WHY_CONFLICT && !rb.back);
	rb_clear(&rb);

	TEST("a lost restore is fenced before it is repeated");
	rb = up_to(RB_SUSPEND);
	struct rb_row *r = row_of(&rb, RB_SUSPEND, false);
	r->state = RB_RUNNING;
	r->phase = RB_RESTORE;
	rb.in_doubt = false;
	uint32_t attempt = rb.attempt;
	act = next(&rb, NULL, &now);
	CHECK(act.verb == KIND_RESTORE && !act.fence);
	act = said(&rb, KIND_AMBIGUOUS, 0, &now);
	pass(&now, act.poll_at - now.boot);
	act = next(&rb, NULL, &now);
	CHECK(act.verb == KIND_RESTORE && act.fence && rb.attempt == attempt + 1);
	rb_clear(&rb);

	TEST("there is no way back from revoke");
	rb = up_to(RB_REVOKE);
	CHECK(rb_can_roll_back(&rb));
	row_of(&rb, RB_REVOKE, false)->state = RB_RUNNING;
	CHECK(!rb_can_roll_back(&rb) && !rb_abort(&rb, &now));
	rb_clear(&rb);
}

static void newcomers(void)
{
	TEST("a consumer that joins in the soak is told before the soak goes on");
	struct rb rb = up_to(RB_SUSPEND);
	struct rb_now now = at(HOUR, HOUR, 1);
	row_of(&rb, RB_SUSPEND, false)->state = RB_RUNNING;
	row_of(&rb, RB_SUSPEND, false)->phase = RB_SOAK;
	CHECK(rb_join(&rb, 1, &now));
	struct rb_act act = next(&rb, NULL, &now);
	CHECK(act.what == RB_CALL && act.verb == KIND_PUT && act.at == RB_CONSUMERS && act.target == 1);
	rb_clear(&rb);

	TEST("one that joins where nothing can be suspended has its overlap before revoke");
	rb = up_to(RB_REVOKE);
	row_of(&rb, RB_SUSPEND, false)->state = RB_SKIPPED;
	CHECK(rb_join(&rb, 1, &now));
	CHECK(row_of(&rb, RB_OVERLAP, false)->state == RB_PENDING && row_of(&rb, RB_DRAIN, false)->state == RB_PENDING);
	rb_clear(&rb);

	TEST("one that leaves is waited for no more, and what had begun is on record");
	rb = up_to(RB_CONFIRM);
	act = next(&rb, NULL, &now);
	CHECK(act.verb == RB_RECEIPT);
	rb_leave(&rb, 0, &now);
	CHECK(row_of(&rb, RB_CONFIRM, false)->state == RB_FAILED);
	act = next(&rb, NULL, &now);
	CHECK(row_of(&rb, RB_OVERLAP, false)->state == RB_RUNNING && rb.result == RB_WORKING);
	rb_clear(&rb);

	TEST("none joins a revoke that has begun");
	rb = up_to(RB_REVOKE);
	row_of(&rb, RB_REVOKE, false)->state = RB_RUNNING;
	CHECK(!rb_join(&rb, 1, &now));
	rb_clear(&rb);
}

int main(void)
{
	within_one_boot();
	across_boots();
	waits();
	drains();
	gates();
	ways_back();
	newcomers();
	return TEST_END();
}
