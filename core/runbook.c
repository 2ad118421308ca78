#include "runbook.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

#define CLOCK_WORTH 5000      /* shorter waits are not worth asking the authority for the time */
#define BACKOFF_FIRST 100
#define BACKOFF_RETRY 30000
#define BACKOFF_RECEIPT 10000
#define GATE_POLL 60000

/* What the row at hand does next: look at the rows again, or carry out what `act` says. */
enum turn { AGAIN, STOP };
typedef enum turn run_fn(struct rb *, struct rb_row *, const struct rb_now *, struct rb_act *);
static run_fn run_at_once, run_core, run_effect, run_probe, run_confirm, run_overlap, run_drain, run_suspend, run_revoke,
	run_prove;

#define SEEN(s) (1u << (s))
#define IN_USE (SEEN(KIND_HELD) | SEEN(KIND_CURRENT))

/* The runbook. A row with `act` is committed as running, with its intent leaf, before the call; `ask` is read after it,
 * and before it on resume, until one of `want` is seen. A row without `act` rides on the next commit. */
static const struct {
	const char *name;
	enum rb_at at;
	run_fn *run;
	int act, ask;
	unsigned want;
	bool gated;
	const char *does;
} table[RB_STEPS] = {
	[RB_AUTHORIZE] = { "authorize", RB_CORE, run_at_once, -1, -1, 0, true, "check window, facts and slot; freeze the plan" },
	[RB_GENERATE] = { "generate", RB_CORE, run_core, RB_GENERATE_VALUE, -1, 0, false, "make the value and seal it" },
	[RB_ISSUE] = { "issue", RB_AUTHORITY, run_effect, KIND_PUT, KIND_LOOK, IN_USE, false,
		"let the authority accept the new version beside the old one" },
	[RB_PROBE] = { "probe", RB_AUTHORITY, run_probe, -1, KIND_PROBE, 0, false, "log in with the new version at every endpoint" },
	[RB_STORE] = { "store", RB_STORES, run_effect, KIND_PUT, KIND_LOOK, IN_USE, true, "write the new version to the store" },
	[RB_DISTRIBUTE] = { "distribute", RB_CONSUMERS, run_effect, KIND_PUT, -1, 0, true, "hand the new version to the consumer" },
	[RB_CONFIRM] = { "confirm", RB_CONSUMERS, run_confirm, -1, RB_RECEIPT, 0, false, "wait for the consumer's receipt" },
	[RB_OVERLAP] = { "overlap", RB_CORE, run_overlap, -1, -1, 0, false, "keep both versions valid" },
	[RB_DRAIN] = { "drain", RB_AUTHORITY, run_drain, -1, KIND_USAGE, 0, false, "wait until the old version is unused" },
	[RB_SUSPEND] = { "suspend", RB_AUTHORITY, run_suspend, KIND_SUSPEND, KIND_LOOK, SEEN(KIND_SUSPENDED), true,
		"refuse the old version, reversibly, and soak" },
	[RB_REVOKE] = { "revoke", RB_AUTHORITY, run_revoke, KIND_DROP, KIND_LOOK, SEEN(KIND_ABSENT), true,
		"refuse the old version for good and end its sessions" },
	[RB_RETIRE] = { "retire", RB_STORES, run_effect, KIND_DROP, KIND_LOOK, SEEN(KIND_ABSENT), false,
		"destroy the old version in the store" },
	[RB_PROVE] = { "prove", RB_AUTHORITY, run_prove, -1, KIND_PROBE, 0, false, "old refused, new accepted, stores agree" },
	[RB_CLOSE] = { "close", RB_CORE, run_core, RB_CLOSE_BOOKS, -1, 0, false, "erase what nothing needs, schedule the next" },
};

/* ---- words */

static const char *const state_words[] = { "pending", "running", "done", "skipped", "undone", "failed" };
static const char *const waits_words[] = { "nothing", "window", "retry", "probe", "receipt", "bake", "overlap", "drain", "soak",
	"clock" };
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
	return table[s].name;
}

int rb_step_parse(const char *word)
{
	for (int i = 0; word && i < RB_STEPS; i++)
		if (strcmp(table[i].name, word) == 0)
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
	return table[s].does;
}

enum rb_at rb_row_at(const struct rb_row *r)
{
	return table[r->step].at;
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

/* ---- provable time */

static int64_t at_least_0(int64_t ms)
{
	return ms > 0 ? ms : 0;
}

static void wait_begin(struct rb_wait *w, int64_t need, const struct rb_now *now, int64_t authority)
{
	*w = (struct rb_wait){ .on = true, .need = need, .wall = now->wall, .boot = now->boot, .boot_id = now->boot_id,
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
		int64_t proven = at_least_0(wall < boot ? wall : boot), longest = at_least_0(wall > boot ? wall : boot);
		/* the authority's base moves by the longer of the two, so that a later boot is never credited twice */
		wait_rebase(w, now, proven, w->authority < 0 ? -1 : w->authority + longest);
	} else {
		wait_rebase(w, now, 0, -1);
	}
	return at_least_0(w->need - w->credit);
}

/* ---- questions, answers, pauses */

static enum turn ask(struct rb *rb, const struct rb_row *r, struct rb_act *act, int verb, enum rb_at at, uint32_t part)
{
	rb->v.asked = true;
	rb->v.have = false;
	rb->v.question = verb;
	rb->v.fenced = at == RB_AUTHORITY && rb->in_doubt;
	*act = (struct rb_act){ .what = RB_CALL, .row = (size_t)(r - rb->rows), .verb = verb, .at = at, .old = r->old,
		.target = r->target, .endpoint = at == RB_AUTHORITY ? (uint16_t)part : 0,
		.fence = rb->v.fenced || (at != RB_AUTHORITY && r->phase == RB_LOOK) };
	return STOP;
}

/* The answer to `verb`, if that is what came in. */
static const struct rb_answer *answer(struct rb *rb, int verb)
{
	if (!rb->v.have || rb->v.question != verb || rb->v.health_out)
		return NULL;
	rb->v.have = false;
	rb->v.question = -1;
	return &rb->answer;
}

static enum turn pause(struct rb *rb, const struct rb_row *r, const struct rb_now *now, struct rb_act *act,
                       enum rb_waits waits_for, int64_t for_ms, int64_t left)
{
	rb->v.have = false; /* an answer from before a wait proves nothing after it */
	rb->v.question = -1;
	*act = (struct rb_act){ .what = RB_WAIT, .row = (size_t)(r - rb->rows), .waits_for = waits_for,
		.poll_at = now->boot + for_ms, .until = left < 0 ? -1 : now->wall + left, .verb = -1 };
	return STOP;
}

static int64_t backoff(struct rb *rb, const struct rb_now *now, int64_t ceiling)
{
	int64_t next = rb->v.backoff ? rb->v.backoff * 2 : BACKOFF_FIRST;
	rb->v.backoff = next < ceiling ? next : ceiling;
	/* jitter: between a half and the whole, from what differs between processes that fail together */
	uint64_t mix = ((uint64_t)now->boot ^ now->boot_id ^ rb->attempt) * UINT64_C(0x9e3779b97f4a7c15);
	return rb->v.backoff / 2 + (int64_t)((mix >> 40) % (uint64_t)(rb->v.backoff / 2 + 1));
}

/* ---- how a row ends */

static void touch(struct rb_row *r)
{
	r->dirty = true;
}

static void begin(struct rb *rb, struct rb_row *r, const struct rb_now *now, enum rb_phase phase, bool effect)
{
	if (r->state != RB_RUNNING)
		r->started = now->wall;
	r->state = RB_RUNNING;
	r->phase = (uint8_t)phase;
	r->attempts++;
	touch(r);
	rb->flush |= effect;
}

static enum turn done(struct rb_row *r, const struct rb_now *now)
{
	if (r->started < 0)
		r->started = now->wall;
	r->state = RB_DONE;
	r->ended = now->wall;
	r->retry.on = false;
	touch(r);
	return AGAIN;
}

static enum turn skip(struct rb_row *r)
{
	r->state = RB_SKIPPED;
	touch(r);
	return AGAIN;
}

static void reset(struct rb_row *r)
{
	r->state = RB_PENDING;
	r->phase = RB_START;
	r->part = 0;
	r->wait.on = r->retry.on = false;
	r->ended = -1;
	touch(r);
}

void rb_hold(struct rb *rb, enum rb_why why)
{
	rb->result = RB_HELD;
	rb->why = (uint8_t)why;
	rb->dirty = true;
}

static enum turn hold(struct rb *rb, enum rb_why why)
{
	rb_hold(rb, why);
	return AGAIN;
}

static struct rb_row *find(struct rb *rb, enum rb_step step)
{
	for (size_t i = 0; i < rb->n; i++)
		if (rb->rows[i].step == step && !rb->rows[i].undo)
			return &rb->rows[i];
	return NULL;
}

static bool one_slot(const struct rb *rb)
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

static struct rb_row *add(struct rb *rb, enum rb_step step, bool old, bool undo, uint16_t target)
{
	if (rb->n == rb->cap) {
		rb->cap = rb->cap ? rb->cap * 2 : 24;
		rb->rows = mem_grow(rb->rows, rb->cap, sizeof *rb->rows);
	}
	struct rb_row *r = &rb->rows[rb->n++];
	*r = (struct rb_row){ .step = (uint8_t)step, .old = old, .undo = undo, .target = target, .started = -1, .ended = -1,
		.dirty = true };
	return r;
}

static void add_consumers(struct rb *rb, uint16_t from, uint16_t to)
{
	for (uint16_t i = from; i < to; i++)
		add(rb, RB_DISTRIBUTE, false, false, i);
	for (uint16_t i = from; i < to; i++)
		add(rb, RB_CONFIRM, false, false, i);
}

void rb_plan(struct rb *rb, int64_t now_wall)
{
	const struct rb_shape *s = &rb->shape;
	bool rotate = s->order == RB_ROTATE, push = s->order == RB_PUSH;
	if (!rb->n) {
		struct rb_row *r = add(rb, RB_AUTHORIZE, false, false, 0);
		r->state = RB_DONE;
		r->started = r->ended = now_wall;
	}
	if (rotate) {
		add(rb, RB_GENERATE, false, false, 0);
		add(rb, RB_ISSUE, false, false, 0);
		add(rb, RB_PROBE, false, false, 0);
	}
	if (rotate || push) {
		for (uint16_t i = 0; i < s->stores; i++)
			add(rb, RB_STORE, false, false, i);
		uint16_t canary = rotate && rb->policy.canary < s->consumers ? (uint16_t)rb->policy.canary : 0;
		add_consumers(rb, 0, canary);
		add_consumers(rb, canary, s->consumers);
	}
	if (rotate) {
		add(rb, RB_OVERLAP, true, false, 0);
		add(rb, RB_DRAIN, true, false, 0);
		add(rb, RB_SUSPEND, true, false, 0);
	}
	if (!push) {
		add(rb, RB_REVOKE, true, false, 0);
		for (uint16_t i = 0; i < s->stores; i++)
			add(rb, RB_RETIRE, true, false, i);
		add(rb, RB_PROVE, false, false, 0);
	}
	add(rb, RB_CLOSE, false, false, 0);
}

static bool begun(const struct rb_row *r)
{
	return r->state == RB_RUNNING || r->state == RB_DONE || r->state == RB_FAILED;
}

static bool any_begun(const struct rb *rb, enum rb_step step)
{
	for (size_t i = 0; i < rb->n; i++)
		if (rb->rows[i].step == step && !rb->rows[i].undo && begun(&rb->rows[i]))
			return true;
	return false;
}

bool rb_can_roll_back(const struct rb *rb)
{
	if (rb->back || any_begun(rb, RB_REVOKE))
		return false;
	if (rb->shape.order != RB_ROTATE || !rb->shape.has_old || rb->old_known)
		return true;
	/* n-1 is valid but nobody here can hand it out again */
	return !any_begun(rb, RB_DISTRIBUTE) && !any_begun(rb, RB_STORE) && !(one_slot(rb) && any_begun(rb, RB_ISSUE));
}

static void way_back(struct rb *rb)
{
	size_t forward = rb->n;
	bool had = rb->shape.has_old, issued = any_begun(rb, RB_ISSUE), told = false;
	if (any_begun(rb, RB_SUSPEND))
		add(rb, RB_SUSPEND, true, true, 0);
	if (issued && one_slot(rb) && had)
		add(rb, RB_ISSUE, true, true, 0);
	if (had && (any_begun(rb, RB_STORE) || any_begun(rb, RB_DISTRIBUTE)))
		add(rb, RB_PROBE, true, true, 0); /* nobody is told what is refused */
	for (size_t i = 0; i < forward; i++)
		if (rb->rows[i].step == RB_STORE && begun(&rb->rows[i]))
			add(rb, RB_STORE, true, true, rb->rows[i].target);
	for (size_t i = 0; i < forward; i++)
		if (rb->rows[i].step == RB_DISTRIBUTE && begun(&rb->rows[i])) {
			add(rb, RB_DISTRIBUTE, true, true, rb->rows[i].target);
			told = had;
		}
	for (size_t i = 0; told && i < forward; i++)
		if (rb->rows[i].step == RB_DISTRIBUTE && begun(&rb->rows[i]))
			add(rb, RB_CONFIRM, true, true, rb->rows[i].target);
	if (told) {
		add(rb, RB_OVERLAP, false, true, 0);
		add(rb, RB_DRAIN, false, true, 0);
	}
	if (issued) {
		add(rb, RB_REVOKE, false, true, 0);
		add(rb, RB_PROVE, true, true, 0);
	}
	add(rb, RB_CLOSE, true, true, 0);
}

static void roll_back(struct rb *rb, const struct rb_now *now)
{
	size_t forward = rb->n;
	if (rb->shape.order == RB_ROTATE)
		way_back(rb);
	else
		add(rb, RB_CLOSE, true, true, 0);
	for (size_t i = 0; i < forward; i++) {
		struct rb_row *r = &rb->rows[i];
		if (r->state == RB_PENDING || r->state == RB_RUNNING) {
			/* what runs may have taken effect: it is no longer `skipped` */
			r->state = r->state == RB_RUNNING && table[r->step].act >= 0 ? RB_FAILED : RB_SKIPPED;
			r->ended = now->wall;
			touch(r);
		}
	}
	rb->back = true;
	rb->result = RB_WORKING;
	rb->dirty = true;
}

/* An effect's reply was lost: what is asked next has to keep the request from landing later. */
static void lost(struct rb *rb, struct rb_row *r)
{
	rb->attempt++;
	rb->dirty = rb->flush = true;
	rb->in_doubt |= rb_row_at(r) == RB_AUTHORITY;
	touch(r);
}

/* A series of failures is over: the next one has its own deadline. */
static void recovered(struct rb *rb, struct rb_row *r)
{
	if (!r->retry.on)
		return;
	rb->v.backoff = 0;
	r->retry.on = false;
	touch(r);
}

/* The row cannot be carried out: back if the policy says so and there is a way back, else held with everything valid. */
static enum turn fail(struct rb *rb, struct rb_row *r, const struct rb_now *now, enum rb_why why)
{
	if (rb->policy.hold_on_failure || !rb_can_roll_back(rb) || rb->shape.order != RB_ROTATE)
		return hold(rb, why);
	r->state = RB_FAILED;
	r->ended = now->wall;
	touch(r);
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
static enum turn temporary(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	if (!r->retry.on) {
		wait_begin(&r->retry, rb->policy.retry_deadline, now, -1);
		touch(r);
	}
	if (rb_wait_left(&r->retry, now) == 0)
		return fail(rb, r, now, RB_WHY_DEADLINE);
	int64_t ms = backoff(rb, now, BACKOFF_RETRY);
	return pause(rb, r, now, act, RB_FOR_RETRY, ms, ms);
}

/* An answer that ends no row: OK and MORE are the caller's. */
static enum turn trouble(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act, const struct rb_answer *a)
{
	if (a->rc == KIND_CONFLICT && r->old && !r->undo)
		return hold(rb, RB_WHY_CONFLICT); /* n-1 is another's: nobody may be sent back to it */
	if (a->rc == KIND_CONFLICT)
		return fail(rb, r, now, RB_WHY_CONFLICT);
	if (a->rc == KIND_PERMANENT)
		return fail(rb, r, now, RB_WHY_PERMANENT);
	return temporary(rb, r, now, act);
}

/* ---- gates, time and health */

static bool gated(struct rb *rb, const struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	bool told = r->step == RB_DISTRIBUTE && any_begun(rb, RB_DISTRIBUTE); /* only the first one is gated */
	if (r->undo || !table[r->step].gated || told || now->gate_open)
		return false;
	int64_t left = at_least_0(now->gate_until - now->wall);
	pause(rb, r, now, act, RB_FOR_WINDOW, left < GATE_POLL ? left + 1 : GATE_POLL, left);
	return true;
}

/* How much of the row's wait is left. False: `act` asks the authority for the time first. */
static bool time_left(struct rb *rb, struct rb_row *r, int64_t need, const struct rb_now *now, struct rb_act *act, int64_t *left)
{
	bool other_boot = r->wait.on && r->wait.boot_id != now->boot_id;
	int64_t authority = -1;
	if ((!r->wait.on || other_boot) && need >= CLOCK_WORTH) {
		const struct rb_answer *a = answer(rb, KIND_NOW);
		if (!a && !rb->v.clock_asked) {
			rb->v.clock_asked = true;
			ask(rb, r, act, KIND_NOW, RB_AUTHORITY, 0);
			return false;
		}
		authority = a && a->rc == KIND_OK ? a->now_ms : -1;
	}
	if (!r->wait.on) {
		wait_begin(&r->wait, need, now, authority);
		touch(r);
	} else if (other_boot) {
		bool proof = authority >= 0 && r->wait.authority >= 0;
		wait_rebase(&r->wait, now, proof ? at_least_0(authority - r->wait.authority) : 0, authority);
		touch(r);
	}
	if (r->wait.need < need) /* the longer overlap wins */
		r->wait.need = need;
	*left = rb_wait_left(&r->wait, now);
	return true;
}

enum watch { WATCH_WELL, WATCH_CALL, WATCH_BAD, WATCH_UNSURE };

/* Health of all consumers that declare it: every 5 s, three failures in a row are one too many. */
static enum watch watch(struct rb *rb, const struct rb_row *r, const struct rb_now *now, struct rb_act *act)
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
		ask(rb, r, act, RB_HEALTH, RB_CONSUMERS, 0);
		act->target = v->health_target;
		v->health_out = true;
		return WATCH_CALL;
	}
	return v->health_asked && !v->health_bad ? WATCH_WELL : WATCH_UNSURE;
}

static int64_t sooner(const struct rb *rb, const struct rb_now *now, int64_t ms)
{
	int64_t health = rb->n_health ? at_least_0(rb->v.health_at - now->boot) : ms;
	return health < ms ? health : ms;
}

/* A watched wait of `need`. True: it is over. False: `act` and *ret say what to do. */
static bool waited(struct rb *rb, struct rb_row *r, int64_t need, enum rb_waits waits_for, const struct rb_now *now,
                   struct rb_act *act, enum turn *ret, bool *bad)
{
	int64_t left = 0;
	enum watch w = watch(rb, r, now, act);
	*bad = w == WATCH_BAD;
	*ret = STOP;
	if (w == WATCH_CALL || w == WATCH_BAD || !time_left(rb, r, need, now, act, &left))
		return false;
	if (left == 0 && w == WATCH_WELL)
		return true;
	int64_t shown = left ? left : RB_HEALTH_EVERY;
	*ret = pause(rb, r, now, act, waits_for, sooner(rb, now, shown), shown);
	return false;
}

/* ---- the rows */

static enum turn run_at_once(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	return gated(rb, r, now, act) ? STOP : done(r, now);
}

static enum turn run_core(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	int verb = table[r->step].act;
	const struct rb_answer *a = answer(rb, verb);
	if (!a) {
		if (r->state != RB_RUNNING)
			begin(rb, r, now, RB_ACT, false);
		return ask(rb, r, act, verb, RB_CORE, 0);
	}
	return a->rc == KIND_OK ? done(r, now) : trouble(rb, r, now, act, a);
}

static int act_of(const struct rb *rb, const struct rb_row *r)
{
	if (r->undo && r->step == RB_SUSPEND)
		return KIND_RESTORE;
	if (r->undo && !rb->shape.has_old && (r->step == RB_STORE || r->step == RB_DISTRIBUTE))
		return RB_UNPUT;
	return table[r->step].act;
}

/* The answer to a look, after the act (RB_ASK) or before it is repeated (RB_LOOK). */
static enum turn looked(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act, const struct rb_answer *a,
                        unsigned want)
{
	if (a->rc != KIND_OK && a->rc != KIND_MORE)
		return trouble(rb, r, now, act, a);
	if (want & SEEN(a->seen))
		return done(r, now);
	if (a->seen == KIND_FOREIGN)
		return hold(rb, RB_WHY_FOREIGN);
	if (r->phase == RB_ASK)
		return fail(rb, r, now, RB_WHY_MISSING);
	begin(rb, r, now, RB_ACT, true);
	return AGAIN;
}

/* The answer to the act itself. `next` is where OK leads. */
static enum turn acted(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act, const struct rb_answer *a,
                       enum rb_phase next)
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
		return trouble(rb, r, now, act, a);
	lost(rb, r);
	r->phase = RB_LOOK;
	return temporary(rb, r, now, act);
}

/* The baking of the canaries stands before the first of the others. */
static bool bakes(const struct rb *rb, const struct rb_row *r)
{
	return r->step == RB_DISTRIBUTE && !r->undo && rb->shape.order == RB_ROTATE && rb->policy.canary > 0 &&
	       r->target == rb->policy.canary && rb->shape.consumers > rb->policy.canary;
}

static enum turn run_effect(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	int verb = act_of(rb, r), look = verb == RB_UNPUT ? -1 : table[r->step].ask;
	unsigned want = verb == KIND_RESTORE ? IN_USE : table[r->step].want;
	const struct rb_answer *a;
	enum turn turn;
	bool bad = false;
	switch (r->phase) {
	case RB_START:
		if (r->step == RB_RETIRE && !rb->shape.has_old)
			return skip(r);
		if (bakes(rb, r) && !waited(rb, r, rb->policy.bake, RB_FOR_BAKE, now, act, &turn, &bad))
			return bad ? hold(rb, RB_WHY_HEALTH) : turn;
		if (gated(rb, r, now, act))
			return STOP;
		if (r->undo && r->step == RB_ISSUE)
			r->phase = RB_LOOK; /* somebody else may have taken the only slot meanwhile */
		else
			begin(rb, r, now, RB_ACT, true);
		return AGAIN;
	case RB_ACT:
		a = answer(rb, verb);
		if (!a)
			return ask(rb, r, act, verb, rb_row_at(r), 0);
		turn = acted(rb, r, now, act, a, RB_ASK);
		return r->phase == RB_ASK && look < 0 ? done(r, now) : turn;
	case RB_LOOK:
		if (look < 0) { /* idempotent and not to be seen: once more */
			begin(rb, r, now, RB_ACT, true);
			return AGAIN;
		}
		__attribute__((fallthrough));
	default:
		a = answer(rb, look);
		return a ? looked(rb, r, now, act, a, want) : ask(rb, r, act, look, rb_row_at(r), 0);
	}
}

/* One log-in more, at the endpoint that `part` has come to. */
static enum turn run_probe(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	uint32_t each = (uint32_t)rb->policy.probe_successes, endpoint = r->part / each;
	if (r->state != RB_RUNNING)
		begin(rb, r, now, RB_ASK, false);
	if (endpoint >= rb->endpoints)
		return done(r, now);
	const struct rb_answer *a = answer(rb, KIND_PROBE);
	if (!a)
		return ask(rb, r, act, KIND_PROBE, RB_AUTHORITY, endpoint);
	if (a->rc != KIND_OK)
		return trouble(rb, r, now, act, a);
	recovered(rb, r);
	if (a->login == KIND_ACCEPTED) {
		r->part++;
		return AGAIN;
	}
	if (endpoint == 0)
		return fail(rb, r, now, RB_WHY_REFUSED);
	int64_t left = 0; /* a further endpoint may lag */
	r->part = endpoint * each;
	if (!r->wait.on)
		wait_begin(&r->wait, rb->policy.probe_timeout, now, -1);
	left = rb_wait_left(&r->wait, now);
	return left ? pause(rb, r, now, act, RB_FOR_PROBE, backoff(rb, now, BACKOFF_RECEIPT), left)
	            : fail(rb, r, now, RB_WHY_REFUSED);
}

static enum turn run_confirm(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	if (r->state != RB_RUNNING)
		begin(rb, r, now, RB_ASK, false);
	const struct rb_answer *a = answer(rb, RB_RECEIPT);
	if (!a && rb->v.question != KIND_NOW)
		return ask(rb, r, act, RB_RECEIPT, RB_CONSUMERS, 0);
	if (a && a->rc == KIND_OK && a->yes)
		return done(r, now);
	if (a && a->rc == KIND_PERMANENT)
		return fail(rb, r, now, RB_WHY_PERMANENT);
	int64_t left = 0;
	if (!time_left(rb, r, rb->policy.confirm_timeout, now, act, &left))
		return STOP;
	return left ? pause(rb, r, now, act, RB_FOR_RECEIPT, backoff(rb, now, BACKOFF_RECEIPT), left)
	            : fail(rb, r, now, RB_WHY_RECEIPT);
}

static enum turn run_overlap(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	enum turn turn;
	bool bad;
	if (!rb->shape.has_old || one_slot(rb))
		return skip(r);
	if (r->state != RB_RUNNING)
		begin(rb, r, now, RB_ASK, false);
	if (waited(rb, r, rb->policy.overlap, RB_FOR_OVERLAP, now, act, &turn, &bad))
		return done(r, now);
	return bad ? hold(rb, RB_WHY_HEALTH) : turn;
}

/* One sample: sessions at every endpoint. False: `act` asks for the next one, or *turn says what to do about trouble. */
static bool sampled(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act, enum turn *turn)
{
	const struct rb_answer *a = answer(rb, KIND_USAGE);
	if (a && a->rc != KIND_OK) {
		r->part = 0;
		*turn = trouble(rb, r, now, act, a);
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
		*turn = ask(rb, r, act, KIND_USAGE, RB_AUTHORITY, r->part);
		return false;
	}
	r->part = 0;
	recovered(rb, r);
	return true;
}

static enum turn run_drain(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	struct rb_volatile *v = &rb->v;
	int64_t left = 0, gap = rb->policy.sample * 3 > 1000 ? rb->policy.sample * 3 : 1000;
	enum turn turn = STOP;
	if (!rb->shape.has_old || rb->facts.usage != KIND_SAMPLED || one_slot(rb))
		return skip(r);
	if (r->state != RB_RUNNING)
		begin(rb, r, now, RB_ASK, false);
	enum watch w = watch(rb, r, now, act);
	if (w == WATCH_CALL)
		return STOP;
	if (w == WATCH_BAD)
		return hold(rb, RB_WHY_HEALTH);
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
		return done(r, now);
	if (!time_left(rb, r, rb->policy.drain_timeout, now, act, &left))
		return STOP;
	if (left == 0 && v->clean_since < 0)
		return rb->policy.revoke_on_timeout ? done(r, now) : hold(rb, RB_WHY_DRAIN);
	int64_t next = at_least_0(v->last_sample + rb->policy.sample - now->boot);
	int64_t quiet = v->clean_since < 0 ? -1 : at_least_0(v->clean_since + rb->policy.quiet_for - now->boot);
	pause(rb, r, now, act, RB_FOR_DRAIN, sooner(rb, now, quiet > 0 && quiet < next ? quiet : next), quiet);
	act->sampling = true;
	return STOP;
}

/* The drain ended by its timeout, and the policy says to go on in spite of sessions. */
static bool overdue(struct rb *rb)
{
	const struct rb_row *drain = find(rb, RB_DRAIN);
	return rb->policy.revoke_on_timeout && drain && drain->state == RB_DONE && drain->wait.on &&
	       drain->wait.credit >= drain->wait.need;
}

/* Sessions were seen where none may be: everything as before, and drain once more. */
static enum turn drain_again(struct rb *rb, struct rb_row *r)
{
	struct rb_row *drain = find(rb, RB_DRAIN);
	reset(r);
	if (!drain)
		return hold(rb, RB_WHY_IN_USE);
	reset(drain);
	return AGAIN;
}

static enum turn restored(struct rb *rb, struct rb_row *r)
{
	bool sick = rb->why == RB_WHY_HEALTH;
	enum turn turn = drain_again(rb, r);
	return sick ? hold(rb, RB_WHY_HEALTH) : turn;
}

static enum turn run_suspend(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	const struct rb_answer *a;
	enum turn turn = STOP;
	bool bad, used, must_be_unused = rb->facts.usage == KIND_SAMPLED && !overdue(rb);
	if (r->undo)
		return run_effect(rb, r, now, act);
	if (!rb->shape.has_old || !rb->facts.can_suspend || one_slot(rb))
		return skip(r);
	switch (r->phase) {
	case RB_START:
		if (gated(rb, r, now, act))
			return STOP;
		begin(rb, r, now, RB_ACT, true);
		return AGAIN;
	case RB_ACT:
		a = answer(rb, KIND_SUSPEND);
		return a ? acted(rb, r, now, act, a, RB_ASK) : ask(rb, r, act, KIND_SUSPEND, RB_AUTHORITY, 0);
	case RB_LOOK:
	case RB_ASK:
		if (rb->v.question != KIND_USAGE) {
			a = answer(rb, KIND_LOOK);
			if (!a)
				return ask(rb, r, act, KIND_LOOK, RB_AUTHORITY, 0);
			if (a->rc != KIND_OK || a->seen != KIND_SUSPENDED)
				return looked(rb, r, now, act, a, SEEN(KIND_SUSPENDED));
		}
		if (must_be_unused && !sampled(rb, r, now, act, &turn))
			return turn;
		used = must_be_unused && rb->v.sessions;
		r->phase = used ? RB_RESTORE : RB_SOAK;
		rb->flush |= used; /* another effect; that it is suspended rides with what follows */
		r->retry.on = false;
		touch(r);
		return AGAIN;
	case RB_SOAK:
		if (waited(rb, r, rb->policy.soak, RB_FOR_SOAK, now, act, &turn, &bad))
			return done(r, now);
		if (!bad)
			return turn;
		rb->why = RB_WHY_HEALTH;
		r->phase = RB_RESTORE;
		rb->flush = rb->dirty = true;
		touch(r);
		return AGAIN;
	default: /* RB_RESTORE */
		a = answer(rb, KIND_RESTORE);
		if (!a)
			return ask(rb, r, act, KIND_RESTORE, RB_AUTHORITY, 0);
		if (a->rc == KIND_OK)
			return restored(rb, r);
		if (a->rc == KIND_PERMANENT || a->rc == KIND_CONFLICT)
			return hold(rb, a->rc == KIND_CONFLICT ? RB_WHY_CONFLICT : RB_WHY_PERMANENT);
		if (a->rc == KIND_AMBIGUOUS)
			lost(rb, r);
		return temporary(rb, r, now, act);
	}
}

static bool suspended(struct rb *rb)
{
	const struct rb_row *s = find(rb, RB_SUSPEND);
	return s && s->state == RB_DONE;
}

/* The version is used again, or still: it must be accepted, and drain before the next try. */
static enum turn spared(struct rb *rb, struct rb_row *r)
{
	struct rb_row *s = find(rb, RB_SUSPEND);
	if (r->undo)
		return hold(rb, RB_WHY_IN_USE);
	if (!suspended(rb))
		return drain_again(rb, r);
	reset(r);
	s->state = RB_RUNNING;
	s->phase = RB_RESTORE;
	s->ended = -1;
	touch(s);
	rb->flush = true;
	return AGAIN;
}

/* Before a version is dropped: is it ours, and is nobody using it? Somebody may have restored by hand what soaked. */
static enum turn before_revoke(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	enum turn turn = STOP;
	bool must_be_unused = rb->facts.usage == KIND_SAMPLED && !rb->force && (r->undo || !overdue(rb)) &&
	                      !(r->undo && !any_begun(rb, RB_DISTRIBUTE));
	if (rb->v.question != KIND_USAGE && (r->undo || !suspended(rb))) {
		const struct rb_answer *a = answer(rb, KIND_LOOK);
		if (!a)
			return ask(rb, r, act, KIND_LOOK, RB_AUTHORITY, 0);
		if (a->rc != KIND_OK)
			return trouble(rb, r, now, act, a);
		if (a->seen == KIND_ABSENT || (a->seen == KIND_FOREIGN && r->undo))
			return done(r, now); /* another's credential is never touched */
		if (a->seen == KIND_FOREIGN)
			return hold(rb, RB_WHY_FOREIGN);
	}
	if (must_be_unused && !sampled(rb, r, now, act, &turn))
		return turn;
	if (must_be_unused && rb->v.sessions)
		return spared(rb, r);
	begin(rb, r, now, RB_ACT, true);
	return AGAIN;
}

/* Sessions outlive the credential in most systems: end them at every endpoint. True: none is left. */
static bool disconnected(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act, enum turn *turn)
{
	const struct rb_answer *a = answer(rb, KIND_DISCONNECT);
	if (a && a->rc != KIND_OK && a->rc != KIND_MORE) {
		if (a->rc == KIND_AMBIGUOUS)
			lost(rb, r);
		*turn = trouble(rb, r, now, act, a);
		return false;
	}
	if (a && a->sessions == 0)
		r->part++;
	if (r->part >= rb->endpoints)
		return true;
	*turn = a && a->sessions ? temporary(rb, r, now, act) : ask(rb, r, act, KIND_DISCONNECT, RB_AUTHORITY, r->part);
	return false;
}

static enum turn run_revoke(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	const struct rb_answer *a;
	enum turn turn = STOP;
	if (!r->undo && (!rb->shape.has_old || (one_slot(rb) && rb->shape.order == RB_ROTATE)))
		return skip(r);
	if (r->undo && one_slot(rb) && rb->shape.has_old)
		return skip(r); /* n ended when n-1 was put back */
	switch (r->phase) {
	case RB_START:
		if (now->clock_behind)
			return pause(rb, r, now, act, RB_FOR_CLOCK, CLOCK_WORTH, -1);
		if (!suspended(rb) && gated(rb, r, now, act)) /* a soak that has begun may finish */
			return STOP;
		return before_revoke(rb, r, now, act);
	case RB_ACT:
		a = answer(rb, KIND_DROP);
		return a ? acted(rb, r, now, act, a, RB_ASK) : ask(rb, r, act, KIND_DROP, RB_AUTHORITY, 0);
	case RB_LOOK:
		a = answer(rb, KIND_LOOK);
		if (!a)
			return ask(rb, r, act, KIND_LOOK, RB_AUTHORITY, 0);
		if (a->rc != KIND_OK || a->seen != KIND_ABSENT)
			return looked(rb, r, now, act, a, SEEN(KIND_ABSENT));
		r->phase = RB_ASK; /* it took effect; its sessions may still be there */
		r->part = 0;
		return AGAIN;
	default:
		if (rb->v.question != KIND_LOOK && !disconnected(rb, r, now, act, &turn))
			return turn;
		a = answer(rb, KIND_LOOK);
		return a ? looked(rb, r, now, act, a, SEEN(KIND_ABSENT)) : ask(rb, r, act, KIND_LOOK, RB_AUTHORITY, 0);
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
static enum turn run_prove(struct rb *rb, struct rb_row *r, const struct rb_now *now, struct rb_act *act)
{
	uint32_t e = rb->endpoints, all = 2 * e + rb->shape.stores;
	if (r->state != RB_RUNNING)
		begin(rb, r, now, RB_ASK, false);
	bool bad_known = (r->old || (rb->shape.has_old && rb->old_known)) && !rb->facts.refusal_locks;
	bool good_known = !r->old || rb->old_known;
	if (r->part < e && !bad_known)
		r->part = e;
	if (r->part < all && r->part >= e && !good_known)
		r->part = all;
	while (r->part >= 2 * e && r->part < all && !reads_back(rb, r, r->part - 2 * e))
		r->part++;
	if (r->part >= all)
		return done(r, now);
	bool bad = r->part < e, store = r->part >= 2 * e;
	int verb = store ? KIND_LOOK : KIND_PROBE;
	const struct rb_answer *a = answer(rb, verb);
	if (!a) {
		ask(rb, r, act, verb, store ? RB_STORES : RB_AUTHORITY, r->part % e);
		act->target = store ? (uint16_t)(r->part - 2 * e) : 0;
		act->old = r->old != bad;
		return STOP;
	}
	if (a->rc != KIND_OK)
		return a->rc == KIND_PERMANENT ? hold(rb, RB_WHY_PERMANENT) : temporary(rb, r, now, act);
	recovered(rb, r);
	bool well = store ? (IN_USE & SEEN(a->seen)) != 0 : (a->login == KIND_REFUSED) == bad;
	if (well) {
		r->part++;
		return AGAIN;
	}
	bool lags = !store && r->part % e > 0;
	if (lags && !r->wait.on)
		wait_begin(&r->wait, rb->policy.probe_timeout, now, -1);
	int64_t left = lags ? rb_wait_left(&r->wait, now) : 0;
	if (left)
		return pause(rb, r, now, act, RB_FOR_PROBE, backoff(rb, now, BACKOFF_RECEIPT), left);
	return hold(rb, store ? RB_WHY_MISSING : bad ? RB_WHY_STILL_ACCEPTED : RB_WHY_REFUSED);
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
		bool effect = r->step == RB_GENERATE || r->step == RB_ISSUE || r->step == RB_STORE || r->step == RB_DISTRIBUTE ||
		              r->step == RB_SUSPEND;
		if (!r->undo && effect && r->state == RB_DONE) {
			r->state = RB_UNDONE;
			touch(r);
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
		turn = table[r->step].run(rb, r, now, ret);
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
	if ((r->phase == RB_ACT || r->phase == RB_ASK) && table[r->step].act >= 0 && rb_row_at(r) != RB_CORE)
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
		r->phase = table[r->step].act >= 0 && rb_row_at(r) != RB_CORE && r->state == RB_RUNNING ? RB_LOOK : r->phase;
	touch(r);
}

bool rb_hurry(struct rb *rb)
{
	struct rb_row *revoke = find(rb, RB_REVOKE);
	if (rb->back || !revoke || revoke->state != RB_PENDING)
		return false;
	for (struct rb_row *r = rb->rows; r < revoke; r++)
		if (r->step <= RB_CONFIRM && (r->state == RB_PENDING || r->state == RB_RUNNING) && !rb->force)
			return false;
	for (struct rb_row *r = rb->rows; r < revoke; r++) {
		bool waits = r->step == RB_OVERLAP || r->step == RB_DRAIN || r->step == RB_CONFIRM || r->step == RB_SUSPEND;
		if (!waits || (r->state != RB_PENDING && r->state != RB_RUNNING))
			continue;
		if (r->step == RB_SUSPEND && r->state == RB_RUNNING && r->phase == RB_SOAK)
			r->state = RB_DONE;
		else if (r->step != RB_SUSPEND || r->state == RB_PENDING)
			r->state = RB_SKIPPED;
		touch(r);
	}
	rb->v = nothing_yet(SIZE_MAX);
	return true;
}

static void insert(struct rb *rb, size_t at, enum rb_step step, uint16_t target)
{
	add(rb, step, false, false, target);
	struct rb_row row = rb->rows[rb->n - 1];
	memmove(&rb->rows[at + 1], &rb->rows[at], (rb->n - 1 - at) * sizeof *rb->rows);
	rb->rows[at] = row;
	for (size_t i = at; i < rb->n; i++)
		touch(&rb->rows[i]);
	rb->v = nothing_yet(SIZE_MAX);
}

bool rb_join(struct rb *rb, uint16_t consumer, const struct rb_now *now)
{
	(void)now;
	struct rb_row *suspend = find(rb, RB_SUSPEND), *revoke = find(rb, RB_REVOKE), *drain = find(rb, RB_DRAIN);
	if (rb->back || rb->shape.order != RB_ROTATE || !revoke || revoke->state != RB_PENDING)
		return false;
	struct rb_row *before = suspend->state == RB_RUNNING ? suspend : revoke; /* it is told at once, not after the soak */
	if (suspend->state == RB_PENDING || suspend->state == RB_SKIPPED) {
		/* n-1 is untouched: the overlap begins anew for the newcomer */
		before = find(rb, RB_OVERLAP);
		reset(before);
		reset(drain);
		reset(suspend);
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
		if (rb_row_at(r) != RB_CONSUMERS || r->target != consumer || (r->state != RB_PENDING && r->state != RB_RUNNING))
			continue;
		r->ended = now->wall;
		r->state = r->state == RB_RUNNING ? RB_FAILED : RB_SKIPPED; /* what had begun is on record as given up */
		touch(r);
	}
}

void rb_clear(struct rb *rb)
{
	free(rb->rows);
	*rb = (struct rb){ 0 };
}
