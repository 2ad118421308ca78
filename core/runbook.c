#include "runbook.h"

#include <stdlib.h>
#include <string.h>

#include "runbook_inside.h"

/* The runbook. A row with `act` is committed as running, with its intent leaf, before the call; `ask` is read after it,
 * and before it on resume, until one of `want` is seen. A row without `act` rides on the next commit. */
const struct rb_kind rb_kinds[RB_STEPS] = {
	[RB_AUTHORIZE] = { "authorize", RB_CORE, rb_run_at_once, -1, -1, 0, true,
	                   "check window, facts and slot; freeze the plan" },
	[RB_GENERATE] = { "generate", RB_CORE, rb_run_core, RB_GENERATE_VALUE, -1, 0, false,
	                  "make the value and seal it" },
	[RB_ISSUE] = { "issue", RB_AUTHORITY, rb_run_effect, KIND_PUT, KIND_LOOK, IN_USE, false,
	               "let the authority accept the new version beside the old one" },
	[RB_PROBE] = { "probe", RB_AUTHORITY, rb_run_probe, -1, KIND_PROBE, 0, false,
	               "log in with the new version at every endpoint" },
	[RB_STORE] = { "store", RB_STORES, rb_run_effect, KIND_PUT, KIND_LOOK, IN_USE, true,
	               "write the new version to the store" },
	[RB_DISTRIBUTE] = { "distribute", RB_CONSUMERS, rb_run_effect, KIND_PUT, -1, 0, true,
	                    "hand the new version to the consumer" },
	[RB_CONFIRM] = { "confirm", RB_CONSUMERS, rb_run_confirm, -1, RB_RECEIPT, 0, false,
	                 "wait for the consumer's receipt" },
	[RB_OVERLAP] = { "overlap", RB_CORE, rb_run_overlap, -1, -1, 0, false, "keep both versions valid" },
	[RB_DRAIN] = { "drain", RB_AUTHORITY, rb_run_drain, -1, KIND_USAGE, 0, false,
	               "wait until the old version is unused" },
	[RB_SUSPEND] = { "suspend", RB_AUTHORITY, rb_run_suspend, KIND_SUSPEND, KIND_LOOK, SEEN(KIND_SUSPENDED), true,
	                 "refuse the old version, reversibly, and soak" },
	[RB_REVOKE] = { "revoke", RB_AUTHORITY, rb_run_revoke, KIND_DROP, KIND_LOOK, SEEN(KIND_ABSENT), true,
	                "refuse the old version for good and end its sessions" },
	[RB_RETIRE] = { "retire", RB_STORES, rb_run_effect, KIND_DROP, KIND_LOOK, SEEN(KIND_ABSENT), false,
	                "destroy the old version in the store" },
	[RB_PROVE] = { "prove", RB_AUTHORITY, rb_run_prove, -1, KIND_PROBE, 0, false,
	               "old refused, new accepted, stores agree" },
	[RB_CLOSE] = { "close", RB_CORE, rb_run_core, RB_CLOSE_BOOKS, -1, 0, false,
	               "erase what nothing needs, schedule the next" },
};

/* ---- words */

static const char *const state_words[] = { "pending", "running", "done", "skipped", "undone", "failed" };
static const char *const waits_words[] = { "nothing", "window",  "retry", "probe", "receipt",
	                                   "bake",    "overlap", "drain", "soak",  "clock" };
static const char *const why_texts[] = {
	[RB_WHY_NONE] = "",
	[RB_WHY_CONFLICT] = "the slot is not as it was when the plan was made; nothing was changed",
	[RB_WHY_FOREIGN] = "somebody else changed it",
	[RB_WHY_PERMANENT] = "refused",
	[RB_WHY_DEADLINE] = "still failing after retry.deadline",
	[RB_WHY_REFUSED] = "the authority refuses the version that must be accepted",
	[RB_WHY_RECEIPT] = "no receipt within confirm.timeout",
	[RB_WHY_HEALTH] = "a consumer's health check failed three times in a row",
	[RB_WHY_DRAIN] = "the old version is still in use after drain.timeout",
	[RB_WHY_STILL_ACCEPTED] = "the authority still accepts the revoked version",
	[RB_WHY_MISSING] = "what was written cannot be read back",
	[RB_WHY_CHANGED] = "the declaration's authority or stores changed while the rotation was under way",
	[RB_WHY_IN_USE] = "the version is in use",
};

static int parse(const char *const words[], size_t n, const char *word)
{
	for (size_t i = 0; word && i < n; i++)
		if (strcmp(words[i], word) == 0)
			return (int)i;
	return -1;
}

const char *rb_step_name(enum rb_step s)
{
	return rb_kinds[s].name;
}

int rb_step_parse(const char *word)
{
	for (int i = 0; word && i < RB_STEPS; i++)
		if (strcmp(rb_kinds[i].name, word) == 0)
			return i;
	return -1;
}

const char *rb_state_name(enum rb_state s)
{
	return state_words[s];
}

int rb_state_parse(const char *word)
{
	return parse(state_words, RB_STATES, word);
}

const char *rb_waits_name(enum rb_waits w)
{
	return waits_words[w];
}

const char *rb_why_text(enum rb_why w)
{
	return why_texts[w];
}

const char *rb_does(enum rb_step s)
{
	return rb_kinds[s].does;
}

enum rb_at rb_row_at(const struct rb_row *r)
{
	return rb_kinds[r->step].at;
}

const char *rb_verb_name(int verb)
{
	static const char *const own[] = { "generate", "close", "receipt", "health", "undo" };
	return verb < 0 ? "none" : verb < KIND_VERBS ? kind_verb_name((enum kind_verb)verb) : own[verb - KIND_VERBS];
}

enum kind_class rb_row_class(const struct rb *rb, const struct rb_row *r)
{
	return r->step == RB_ISSUE ? rb->facts.put : r->step == RB_REVOKE ? rb->facts.drop : KIND_IDEMPOTENT;
}

/* ---- from outside */

static struct rb_volatile nothing_yet(size_t row)
{
	return (struct rb_volatile){ .row = row, .question = -1, .clean_since = -1, .last_sample = -1 };
}

static struct rb_row *current(struct rb *rb)
{
	for (size_t i = 0; i < rb->n; i++)
		if (rb->rows[i].state == RB_PENDING || rb->rows[i].state == RB_RUNNING)
			return &rb->rows[i];
	return NULL;
}

static void finish(struct rb *rb)
{
	rb->result = rb->back ? RB_ROLLED_BACK : RB_FINISHED;
	rb->dirty = true;
	for (size_t i = 0; rb->back && i < rb->n; i++) {
		struct rb_row *r = &rb->rows[i];
		bool effect = r->step == RB_GENERATE || r->step == RB_ISSUE || r->step == RB_STORE ||
		              r->step == RB_DISTRIBUTE || r->step == RB_SUSPEND;
		if (!r->undo && effect && r->state == RB_DONE) {
			r->state = RB_UNDONE;
			rb_touch(r);
		}
	}
}

bool rb_unsaved(const struct rb *rb)
{
	bool dirty = rb->dirty;
	for (size_t i = 0; i < rb->n; i++)
		dirty |= rb->rows[i].dirty;
	return dirty;
}

void rb_committed(struct rb *rb)
{
	rb->dirty = rb->flush = false;
	for (size_t i = 0; i < rb->n; i++)
		rb->rows[i].dirty = false;
}

static void take(struct rb *rb, const struct rb_answer *a)
{
	if (!rb->v.asked)
		return;
	rb->v.asked = false;
	rb->v.have = true;
	rb->answer = *a;
	if (rb->v.fenced && (a->rc == KIND_OK || a->rc == KIND_MORE))
		rb->in_doubt = false;
}

/* A wait that a commit came before. */
static bool still_waits(struct rb *rb, const struct rb_now *now, struct rb_act *ret)
{
	struct rb_act was = rb->v.after_commit;
	rb->v.after_commit.what = RB_COMMIT;
	if (was.what != RB_WAIT || was.poll_at <= now->boot)
		return false;
	*ret = was;
	return true;
}

void rb_next(struct rb *rb, const struct rb_answer *a, const struct rb_now *now, struct rb_act *ret)
{
	if (a)
		take(rb, a);
	enum turn turn = AGAIN;
	*ret = (struct rb_act){ .what = RB_END, .verb = -1 };
	while (turn == AGAIN && rb->result == RB_WORKING && !rb->flush) {
		struct rb_row *r = current(rb);
		if (!r) {
			finish(rb);
			break;
		}
		if (rb->v.row != (size_t)(r - rb->rows))
			rb->v = nothing_yet((size_t)(r - rb->rows));
		if (still_waits(rb, now, ret))
			break;
		turn = rb_kinds[r->step].run(rb, r, now, ret);
	}
	if (!rb->flush && (ret->what == RB_CALL || !rb_unsaved(rb)))
		return;
	rb->v.after_commit = *ret;
	*ret = (struct rb_act){ .what = RB_COMMIT, .verb = -1 };
}

void rb_resume(struct rb *rb, const struct rb_now *now)
{
	(void)now;
	rb->v = nothing_yet(SIZE_MAX);
	rb->attempt++;
	rb->in_doubt = rb->attempt > 1;
	rb->dirty = true;
	rb->flush = rb->attempt > 1;
	struct rb_row *r = current(rb);
	if (!r || r->state != RB_RUNNING)
		return;
	r->part = 0;
	if ((r->phase == RB_ACT || r->phase == RB_ASK) && rb_kinds[r->step].act >= 0 && rb_row_at(r) != RB_CORE)
		r->phase = RB_LOOK;
}

void rb_release(struct rb *rb)
{
	struct rb_row *r = current(rb);
	rb->result = RB_WORKING;
	rb->why = RB_WHY_NONE;
	rb->dirty = true;
	rb->v = nothing_yet(SIZE_MAX);
	if (!r)
		return;
	r->retry.on = false;
	if (r->step == RB_CONFIRM || r->step == RB_DRAIN || r->step == RB_PROBE || r->step == RB_PROVE)
		r->wait.on = false;
	if (r->phase == RB_ACT || r->phase == RB_ASK)
		r->phase = rb_kinds[r->step].act >= 0 && rb_row_at(r) != RB_CORE && r->state == RB_RUNNING ? RB_LOOK :
		                                                                                             r->phase;
	rb_touch(r);
}

bool rb_hurry(struct rb *rb)
{
	struct rb_row *revoke = rb_find(rb, RB_REVOKE);
	if (rb->back || !revoke || revoke->state != RB_PENDING)
		return false;
	for (struct rb_row *r = rb->rows; r < revoke; r++)
		if (r->step <= RB_CONFIRM && (r->state == RB_PENDING || r->state == RB_RUNNING) && !rb->force)
			return false;
	for (struct rb_row *r = rb->rows; r < revoke; r++) {
		bool waits =
			r->step == RB_OVERLAP || r->step == RB_DRAIN || r->step == RB_CONFIRM || r->step == RB_SUSPEND;
		if (!waits || (r->state != RB_PENDING && r->state != RB_RUNNING))
			continue;
		if (r->step == RB_SUSPEND && r->state == RB_RUNNING && r->phase == RB_SOAK)
			r->state = RB_DONE;
		else if (r->step != RB_SUSPEND || r->state == RB_PENDING)
			r->state = RB_SKIPPED;
		rb_touch(r);
	}
	rb->v = nothing_yet(SIZE_MAX);
	return true;
}

static void insert(struct rb *rb, size_t at, enum rb_step step, uint16_t target)
{
	rb_add(rb, step, false, false, target);
	struct rb_row row = rb->rows[rb->n - 1];
	memmove(&rb->rows[at + 1], &rb->rows[at], (rb->n - 1 - at) * sizeof *rb->rows);
	rb->rows[at] = row;
	for (size_t i = at; i < rb->n; i++)
		rb_touch(&rb->rows[i]);
	rb->v = nothing_yet(SIZE_MAX);
}

bool rb_join(struct rb *rb, uint16_t consumer, const struct rb_now *now)
{
	(void)now;
	struct rb_row *suspend = rb_find(rb, RB_SUSPEND), *revoke = rb_find(rb, RB_REVOKE),
		      *drain = rb_find(rb, RB_DRAIN);
	if (rb->back || rb->shape.order != RB_ROTATE || !revoke || revoke->state != RB_PENDING)
		return false;
	struct rb_row *before =
		suspend->state == RB_RUNNING ? suspend : revoke; /* it is told at once, not after the soak */
	if (suspend->state == RB_PENDING || suspend->state == RB_SKIPPED) {
		/* n-1 is untouched: the overlap begins anew for the newcomer */
		before = rb_find(rb, RB_OVERLAP);
		rb_reset(before);
		rb_reset(drain);
		rb_reset(suspend);
	}
	size_t at = (size_t)(before - rb->rows);
	insert(rb, at, RB_DISTRIBUTE, consumer);
	insert(rb, at + 1, RB_CONFIRM, consumer);
	if (consumer >= rb->shape.consumers)
		rb->shape.consumers = (uint16_t)(consumer + 1);
	rb->dirty = true;
	return true;
}

void rb_leave(struct rb *rb, uint16_t consumer, const struct rb_now *now)
{
	for (size_t i = 0; i < rb->n; i++) {
		struct rb_row *r = &rb->rows[i];
		if (rb_row_at(r) != RB_CONSUMERS || r->target != consumer ||
		    (r->state != RB_PENDING && r->state != RB_RUNNING))
			continue;
		r->ended = now->wall;
		r->state =
			r->state == RB_RUNNING ? RB_FAILED : RB_SKIPPED; /* what had begun is on record as given up */
		rb_touch(r);
	}
}

void rb_clear(struct rb *rb)
{
	free(rb->rows);
	*rb = (struct rb){ 0 };
}
