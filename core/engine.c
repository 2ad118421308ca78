/* The coordinator: one thread, one poll loop. It alone owns state, keys, timers and signals; rotations advance side by
 * side, and what becomes ready together is committed together. */
#include "engine.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "engine_run.h"
#include "json.h"
#include "mem.h"

#define TICK_MS 1000      /* elapsed times move on a terminal */
#define GIVES_BACK_MS 500 /* a longer wait is waited without the lease */

static volatile sig_atomic_t stopping;

static void on_signal(int sig)
{
	(void)sig;
	if (stopping++)
		_exit(ERR_TEMPORARY);
}

void engine_catch_signals(void)
{
	struct sigaction a = { .sa_handler = on_signal };
	sigaction(SIGINT, &a, NULL);
	sigaction(SIGTERM, &a, NULL);
}

/* ---- one run */

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
	if (r->stored && !r->planned && r->mode != RUN_DRY && r->rotation.ended < 0 && (code == ERR_REFUSED || code == ERR_FAILED))
		drop_refused(r);
	if (r->exit == ERR_OK)
		r->exit = code;
	engine_call_end(r);
	if (r->lease >= 0)
		close(r->lease);
	r->lease = -1;
}

static void end_error(struct run *r)
{
	r->exit = r->err.code;
	engine_end(r, r->err.code);
}

static bool confirmed(const struct rb *rb)
{
	for (size_t i = 0; i < rb->n; i++)
		if (rb->rows[i].step == RB_CONFIRM && (rb->rows[i].state == RB_PENDING || rb->rows[i].state == RB_RUNNING))
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
	if (stopping || (o->wait == ENGINE_WAIT_CONFIRMED && confirmed(&r->rb)))
		return false;
	if (o->wait != ENGINE_WAIT_NONE)
		return true;
	if (a->sampling && r->engine->staying)
		return true;
	if (boot - r->waits_since >= ENGINE_STAY_MS)
		return false;
	return a->until < 0 || a->until - wall <= ENGINE_STAY_MS;
}

static void leave(struct run *r)
{
	struct state *st = r->engine->home->state;
	const struct rb_act *a = &r->act;
	int64_t wall = clock_wall(), poll = wall + (a->poll_at - clock_boot());
	bool polls = a->waits_for == RB_FOR_RECEIPT || a->waits_for == RB_FOR_RETRY || a->waits_for == RB_FOR_PROBE || a->sampling;
	int64_t next = polls || a->until < 0 ? poll : a->until;
	if (!state_begin(st, &r->err) || !engine_run_head(r, "waiting", rb_waits_name(a->waits_for), a->until, next, &r->err) ||
	    !state_commit(st, &r->err)) {
		state_abort(st);
		end_error(r);
		return;
	}
	engine_run_event(r, EVENT_END, NULL, "waiting", NULL, engine_run_next(r), a->until);
	if (a->waits_for == RB_FOR_CLOCK) {
		err_set(&r->err, ERR_REFUSED, "'%s': the wall clock is behind the log's last record: nothing is revoked", r->secret.id);
		err_hint(&r->err, "set the clock, then: rotor rotate --continue %s", r->secret.id);
		end_error(r);
		return;
	}
	engine_end(r, stopping || a->waits_for == RB_FOR_RETRY ? ERR_TEMPORARY : ERR_OK);
}

/* A waiting step holds nothing: others may confirm, abort or go on meanwhile. */
static void give_back(struct run *r)
{
	for (size_t i = 0; i < r->n_targets; i++)
		engine_call_close(&r->targets[i]);
	if (r->lease >= 0)
		close(r->lease);
	r->lease = -1;
}

static void wait_for(struct run *r)
{
	const struct rb_act *a = &r->act;
	const struct rb_row *row = a->row < r->rb.n ? &r->rb.rows[a->row] : NULL;
	bool again = r->rotation.waits_for && strcmp(r->rotation.waits_for, rb_waits_name(a->waits_for)) == 0 && r->waits_row == a->row;
	engine_run_say(&r->rotation.waits_for, "%s", rb_waits_name(a->waits_for));
	if (!again || a->waits_for == RB_FOR_RETRY)
		engine_run_event(r, a->waits_for == RB_FOR_RETRY ? EVENT_RETRY : EVENT_WAIT, row, NULL, r->last_error, NULL, a->until);
	if (!stays(r)) {
		leave(r);
		return;
	}
	r->status = RUN_WAITING;
	r->wake_at = a->poll_at;
	if (!a->sampling && r->planned && a->poll_at - clock_boot() >= GIVES_BACK_MS)
		give_back(r);
}

static const char alnum[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static const char *alphabet_of(const char *name)
{
	static const struct { const char *name, *letters; } all[] = {
		{ "alnum", alnum }, { "hex", "0123456789abcdef" },
		{ "base64url", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" },
		{ "ascii", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!()*+,-./:;<=>?@[]^_{|}~" } };
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
	if (r->planned || now->gate_open || r->mode == RUN_DRY)
		return false;
	r->act = (struct rb_act){ .what = RB_WAIT, .waits_for = RB_FOR_WINDOW, .until = now->gate_until, .row = SIZE_MAX,
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
		end_error(r);
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
static void advance(struct run *r)
{
	while (r->status == RUN_READY) {
		struct rb_now now = engine_run_now(r);
		if (!r->planned && (gate_waits(r, &now) || !authorized(r)))
			continue;
		rb_next(&r->rb, r->have_answer ? &r->answer : NULL, &now, &r->act);
		r->have_answer = false;
		switch (r->act.what) {
		case RB_COMMIT:
			r->status = RUN_COMMITTING;
			break;
		case RB_CALL:
			if (stopping)
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

/* ---- all of them */

/* Everything that waits for a commit becomes durable in one. */
static void commit(struct engine *en)
{
	struct state *st = en->home->state;
	struct err e;
	size_t n = 0;
	for (size_t i = 0; i < en->n_runs; i++)
		n += en->runs[i]->status == RUN_COMMITTING;
	if (!n)
		return;
	bool ok = state_begin(st, &e);
	for (size_t i = 0; ok && i < en->n_runs; i++)
		if (en->runs[i]->status == RUN_COMMITTING)
			ok = engine_run_save(en->runs[i], &e);
	ok = ok && state_commit(st, &e);
	if (!ok)
		state_abort(st);
	for (size_t i = 0; i < en->n_runs; i++) {
		struct run *r = en->runs[i];
		if (r->status != RUN_COMMITTING)
			continue;
		if (ok) {
			rb_committed(&r->rb);
			r->status = RUN_READY;
		} else {
			r->err = e;
			end_error(r);
		}
	}
}

/* Runs that use a helper now; what only waits costs nothing. */
static size_t at_work(const struct engine *en)
{
	size_t n = 0;
	for (size_t i = 0; i < en->n_runs; i++)
		n += en->runs[i]->status != RUN_ENDED && en->runs[i]->status != RUN_WAITING;
	return n;
}

/* A sample is never late for want of a job: a gap would begin the quiet time anew. */
static bool may_wake(const struct engine *en, const struct run *r)
{
	return r->act.sampling || stopping || at_work(en) < (size_t)en->opts->jobs;
}

static int timeout_of(const struct engine *en)
{
	int64_t now = clock_boot(), at = now + (en->opts->event ? TICK_MS : 60000);
	for (size_t i = 0; i < en->n_runs; i++) {
		const struct run *r = en->runs[i];
		struct helper *h = engine_call_waits(r);
		int64_t t = r->status == RUN_WAITING && may_wake(en, r) ? r->wake_at : h ? helper_deadline(h) : at;
		if (r->status == RUN_READY || r->status == RUN_COMMITTING)
			t = now;
		if (t < at)
			at = t;
	}
	return at > now ? (int)(at - now) : 0;
}

static void tick(const struct engine *en)
{
	struct event e = { .type = EVENT_TICK, .time_ms = clock_wall(), .started_ms = -1, .until_ms = -1 };
	if (en->opts->event)
		en->opts->event(en->opts->event_arg, &e);
}

static void wake(struct run *);

static void wait_answers(struct engine *en)
{
	AUTO_FREE struct pollfd *fds = mem_array(en->n_runs, sizeof *fds);
	nfds_t n = 0;
	for (size_t i = 0; i < en->n_runs; i++) {
		struct helper *h = engine_call_waits(en->runs[i]);
		if (h)
			fds[n++] = (struct pollfd){ .fd = helper_fd(h), .events = POLLIN };
	}
	int ms = timeout_of(en), got = poll(fds, n, ms);
	if (got < 0 && errno != EINTR)
		usleep(1000);
	if (got == 0 && ms >= TICK_MS - 1)
		tick(en);
	int64_t now = clock_boot();
	for (size_t i = 0; i < en->n_runs; i++) {
		struct run *r = en->runs[i];
		if (engine_call_waits(r))
			engine_call_receive(r, now);
		if (r->status == RUN_WAITING && (now >= r->wake_at || stopping) && may_wake(en, r))
			wake(r);
	}
}

static bool work(struct engine *en)
{
	size_t open = 0;
	for (size_t i = 0; i < en->n_runs; i++) {
		advance(en->runs[i]);
		open += en->runs[i]->status != RUN_ENDED;
	}
	commit(en);
	if (open)
		wait_answers(en);
	return open > 0;
}

void engine_work(struct engine *en)
{
	while (work(en))
		;
}

/* ---- from a secret to a run */

static bool find_unfinished(struct run *r, bool *ret, struct err *e)
{
	struct state_rotation rot = { 0 };
	bool found = false;
	*ret = false;
	if (!state_rotation_get(r->engine->home->state, r->secret.id, &rot, &found, e))
		return false;
	bool ok = true;
	if (found && rot.ended < 0) {
		*ret = true;
		ok = engine_run_load(r, &rot, e);
	}
	state_rotation_clear(&rot);
	return ok;
}

/* What the declaration says now may differ from the frozen one. */
static bool consumer_in(const struct decl *d, const char *name, size_t *at)
{
	for (*at = 0; *at < d->n_consumers; (*at)++)
		if (strcmp(d->consumers[*at].t.name, name) == 0)
			return true;
	return false;
}

static bool same(const struct decl *a, const struct decl *b)
{
	return json_equal(json_object_get(a->json, "authority"), json_object_get(b->json, "authority")) &&
	       json_equal(json_object_get(a->json, "stores"), json_object_get(b->json, "stores"));
}

/* The frozen plan's declaration with one consumer more. */
static bool join_consumer(struct run *r, const struct decl *now, size_t at, const struct rb_now *t, struct err *e)
{
	json_t *one = json_array_get(json_object_get(now->json, "consumers"), at);
	AUTO_JSON *plan = json_parse(r->rotation.plan, strlen(r->rotation.plan), JSON_DEPTH_MAX, "a plan in the state", e);
	if (!plan)
		return false;
	uint16_t index = (uint16_t)r->decl.n_consumers;
	if (index >= DECL_TARGETS_MAX || !rb_join(&r->rb, index, t))
		return true; /* too late: push will be named by verify */
	json_array_append(json_object_get(json_object_get(plan, "decl"), "consumers"), one);
	AUTO_TEXT *text = json_text(plan);
	free(r->rotation.plan);
	r->rotation.plan = mem_dup(text);
	decl_clear(&r->decl);
	if (!decl_parse(json_object_get(plan, "decl"), &r->decl, e))
		return false;
	/* rows moved: their texts are found again by what they are about */
	struct run_text *old = r->texts;
	size_t n_old = r->n_texts, from = 0;
	r->texts = NULL;
	r->n_texts = 0;
	engine_run_texts(r);
	for (size_t i = 0; i < r->rb.n && from < n_old; i++) {
		const struct rb_row *row = &r->rb.rows[i];
		bool newcomer = rb_row_at(row) == RB_CONSUMERS && row->target == index;
		if (!newcomer)
			r->texts[i] = old[from++];
	}
	free(old);
	return true;
}

static bool follow_declaration(struct run *r, struct err *e)
{
	struct decl now = { 0 };
	size_t at;
	AUTO_JSON *j = json_parse(r->secret.decl, strlen(r->secret.decl), JSON_DEPTH_MAX, "a declaration in the state", e);
	if (!j || !decl_parse(j, &now, e))
		return false;
	struct rb_now t = engine_run_now(r);
	bool ok = true;
	if (now.policy.overlap > r->rb.policy.overlap) {
		r->rb.policy.overlap = now.policy.overlap;
		r->rb.dirty = true;
	}
	for (size_t i = 0; i < r->decl.n_consumers; i++)
		if (!consumer_in(&now, r->decl.consumers[i].t.name, &at))
			rb_leave(&r->rb, (uint16_t)i, &t);
	for (size_t i = 0; ok && i < now.n_consumers; i++)
		if (!consumer_in(&r->decl, now.consumers[i].t.name, &at))
			ok = join_consumer(r, &now, i, &t, e);
	if (ok && !same(&r->decl, &now) && r->rb.result == RB_WORKING) {
		engine_run_say(&r->last_error, "%s", "");
		rb_hold(&r->rb, RB_WHY_CHANGED);
	}
	engine_run_policy(r);
	if (now.policy.overlap > r->rb.policy.overlap)
		r->rb.policy.overlap = now.policy.overlap;
	decl_clear(&now);
	return ok;
}

/* Takes an unfinished rotation up: lease first, then everything is read again under it. */
static bool take_up(struct run *r, struct err *e)
{
	if (!r->planned)
		return true;
	struct rb_now now = engine_run_now(r);
	rb_resume(&r->rb, &now);
	if (r->rb.result == RB_HELD && r->mode != RUN_ABORT) {
		rb_release(&r->rb);
		r->rb.flush = true;
	}
	if (r->mode != RUN_ABORT && r->rb.shape.order == RB_ROTATE && !r->rb.back && !follow_declaration(r, e))
		return false;
	if (r->mode == RUN_ABORT && !rb_abort(&r->rb, &now)) {
		if (r->rb.back) { /* it is on its way back already: go on */
			rb_release(&r->rb);
			r->rb.flush = true;
		} else {
			err_set(e, ERR_REFUSED, "rotation '%s' of '%s' cannot be undone any more", r->rotation.id, r->secret.id);
			return err_hint(e, "rotor rotate --continue %s", r->secret.id);
		}
	}
	if (!engine_call_targets(r))
		return err_set(e, ERR_FAILED, "the kind 'command' is not there");
	engine_run_event(r, EVENT_BEGIN, NULL, NULL, r->mode == RUN_ABORT ? "aborting" : "continued", NULL, -1);
	return true;
}

struct run *engine_hurry(struct engine *en, const struct state_rotation *rot, uint32_t version, struct err *e)
{
	struct run *r = engine_run_new(en, rot->secret, RUN_CONTINUE, e);
	bool unfinished = false;
	if (!r)
		return NULL;
	if (!engine_run_lease(r, e) || !find_unfinished(r, &unfinished, e))
		goto undo;
	if (!unfinished || !r->planned || r->rotation.previous != version) {
		err_set(e, ERR_REFUSED, "version %u of '%s' belongs to an unfinished rotation", version, rot->secret);
		err_hint(e, "rotor rotate --abort %s", rot->secret);
		goto undo;
	}
	if (!take_up(r, e))
		goto undo;
	r->rb.force = en->opts->force;
	if (!rb_hurry(&r->rb)) {
		err_set(e, ERR_REFUSED, "version %u of '%s' cannot be revoked yet: a consumer's receipt is missing", version, rot->secret);
		err_hint(e, "rotor status %s; --force --reason TEXT does it all the same", rot->secret);
		goto undo;
	}
	return engine_add(en, r);
undo:
	engine_run_free(r);
	return NULL;
}

struct run *engine_add(struct engine *en, struct run *r)
{
	if (en->n_runs == en->cap) {
		en->cap = en->cap ? en->cap * 2 : 16;
		en->runs = mem_grow(en->runs, en->cap, sizeof *en->runs);
	}
	en->runs[en->n_runs++] = r;
	return r;
}

/* An aborted rotation that was never planned has nothing to undo. */
static bool drop_unplanned(struct run *r, struct err *e)
{
	struct state *st = r->engine->home->state;
	r->rotation.ended = clock_wall();
	if (!state_begin(st, e) || !engine_run_head(r, "rolled_back", NULL, -1, -1, e) || !state_commit(st, e)) {
		state_abort(st);
		return false;
	}
	return true;
}

static void start(struct engine *en, const char *id, enum run_mode mode)
{
	struct err e;
	bool unfinished = false;
	struct run *r = engine_run_new(en, id, mode, &e);
	if (!r) {
		r = mem_alloc(sizeof *r);
		*r = (struct run){ .engine = en, .lease = -1, .err = e, .exit = e.code, .status = RUN_ENDED, .manual = json_object() };
		engine_add(en, r);
		return;
	}
	engine_add(en, r);
	/* a dry run only looks: it neither takes the lease nor goes on with anything */
	if (mode != RUN_DRY && (!engine_run_lease(r, &r->err) || !find_unfinished(r, &unfinished, &r->err))) {
		if (mode == RUN_DUE && r->err.code == ERR_TEMPORARY)
			r->err.code = ERR_OK; /* somebody is at work on it */
		end_error(r);
		return;
	}
	if (unfinished && en->opts->fresh && mode == RUN_START) {
		err_set(&r->err, ERR_REFUSED, "'%s' has an unfinished rotation '%s'", id, r->rotation.id);
		err_hint(&r->err, "rotor rotate --abort %s, then rotate again; or continue it: rotor rotate --continue %s", id, id);
	} else if (!unfinished && (mode == RUN_CONTINUE || mode == RUN_ABORT)) {
		err_set(&r->err, ERR_USAGE, "'%s' has no unfinished rotation", id);
		err_hint(&r->err, "rotor status");
	} else if (mode == RUN_ABORT && !r->planned) {
		if (drop_unplanned(r, &r->err))
			engine_end(r, ERR_OK);
	} else if (!take_up(r, &r->err)) {
		engine_run_say(&r->last_error, "%s", r->err.message);
	}
	if (r->err.code != ERR_OK)
		end_error(r);
}

int engine_finish(struct engine *en, json_t **ret, struct err *e)
{
	int code = ERR_OK;
	size_t bad = 0, shown = 0;
	const char **ids = mem_array(en->n_runs, sizeof *ids);
	for (size_t i = 0; i < en->n_runs; i++) {
		struct run *r = en->runs[i];
		code = err_worst(code, r->exit);
		bad += r->exit == ERR_FAILED;
		if (r->stored)
			ids[shown++] = r->rotation.id;
		if (r->err.code != ERR_OK && e->code == ERR_OK)
			*e = r->err;
		else if (r->err.code != ERR_OK)
			engine_run_event(r, EVENT_WARN, NULL, NULL, r->err.message, r->err.hint[0] ? r->err.hint : NULL, -1);
	}
	if (code == ERR_FAILED && en->n_runs > bad)
		code = ERR_PARTIAL;
	struct err ignored;
	if (ret && shown && !engine_doc_rotations(en->home, ids, shown, ret, &ignored))
		*ret = NULL;
	state_scrub(en->home->state);
	for (size_t i = 0; i < en->n_runs; i++)
		engine_run_free(en->runs[i]);
	free(en->runs);
	free(ids);
	return code;
}

/* Goes on after a wait without the lease. Whoever had it meanwhile may have moved the rotation on. */
static bool regain(struct run *r, struct err *e)
{
	struct state_rotation rot = { 0 };
	struct lock_holder holder;
	struct err busy;
	bool found = false, ok = true;
	if (!lock_lease(r->engine->home->lock, r->secret.row, r->rotation.id, &r->lease, &holder, &busy)) {
		r->wake_at = clock_boot() + GIVES_BACK_MS;
		if (busy.code != ERR_TEMPORARY)
			*e = busy;
		return busy.code == ERR_TEMPORARY;
	}
	if (!state_rotation_get(r->engine->home->state, r->rotation.id, &rot, &found, e))
		return false;
	bool moved = found && strcmp(rot.body, r->rotation.body) != 0;
	if (moved && (rot.ended >= 0 || strcmp(rot.state, "held") == 0)) {
		engine_run_event(r, EVENT_END, NULL, rot.state, rot.held_because, NULL, -1);
		engine_end(r, strcmp(rot.state, "done") == 0 ? ERR_OK : ERR_FAILED);
	} else if (moved) {
		ok = engine_run_reload(r, &rot, e) && take_up(r, e);
	}
	if (r->status == RUN_WAITING)
		r->status = RUN_READY;
	state_rotation_clear(&rot);
	return ok;
}

static void wake(struct run *r)
{
	if (r->lease >= 0 || !r->planned)
		r->status = RUN_READY;
	else if (!regain(r, &r->err))
		end_error(r);
}

struct queue {
	char **ids;
	size_t n;
};

static bool queue_add(struct queue *q, const char *id)
{
	for (size_t i = 0; i < q->n; i++)
		if (strcmp(q->ids[i], id) == 0)
			return false;
	q->ids = mem_grow(q->ids, q->n + 1, sizeof *q->ids);
	q->ids[q->n++] = mem_dup(id);
	return true;
}

static void queue_cut(struct queue *q, size_t n)
{
	while (q->n > n)
		free(q->ids[--q->n]);
}

static void queue_clear(struct queue *q)
{
	for (size_t i = 0; i < q->n; i++)
		free(q->ids[i]);
	free(q->ids);
}

/* Up to `jobs` at a time; the next one begins when one has ended. */
static int carry(struct home *h, const char *const ids[], size_t n, enum run_mode mode, const struct engine_opts *o, bool staying,
                 json_t **ret, struct err *e)
{
	struct engine en = { .home = h, .opts = o, .staying = staying };
	size_t next = 0;
	bool open = true;
	e->code = ERR_OK;
	while (open || (next < n && !stopping)) {
		for (; next < n && at_work(&en) < (size_t)o->jobs && !stopping; next++)
			start(&en, ids[next], mode);
		open = work(&en);
	}
	return engine_finish(&en, ret, e);
}

/* ---- the commands */

int engine_plan(struct home *h, const char *const ids[], size_t n, const struct engine_opts *o, json_t **ret, struct err *e)
{
	struct engine en = { .home = h, .opts = o };
	json_t *plans = json_array();
	e->code = ERR_OK;
	for (size_t i = 0; i < n && !stopping; i++) {
		start(&en, ids[i], RUN_DRY);
		engine_work(&en);
		json_t *doc = en.runs[en.n_runs - 1]->doc;
		if (doc)
			json_array_append(plans, doc);
	}
	*ret = json_pack("{s:i,s:o}", "format", 1, "plans", plans);
	return engine_finish(&en, NULL, e);
}

int engine_rotate(struct home *h, const char *const ids[], size_t n, const struct engine_opts *o, json_t **ret, struct err *e)
{
	return carry(h, ids, n, RUN_START, o, false, ret, e);
}

static bool add_secret(void *arg, const struct state_secret *s, struct err *e)
{
	(void)e;
	if (s->version) /* a first rotation is a person's decision */
		queue_add(arg, s->id);
	return true;
}

static bool add_rotation(void *arg, const struct state_rotation *rot, struct err *e)
{
	(void)e;
	queue_add(arg, rot->secret);
	return true;
}

static bool count_held(void *arg, const struct state_rotation *rot, struct err *e)
{
	(void)e;
	*(size_t *)arg += strcmp(rot->state, "held") == 0;
	return true;
}

/* The secret that this one's authority is managed with; NULL none. */
static char *manager_of(struct home *h, const char *id)
{
	struct state_secret s = { 0 };
	struct err ignored;
	bool found = false;
	char *ret = NULL;
	size_t i;
	json_t *ref;
	if (!state_secret_get(h->state, id, &s, &found, &ignored) || !found)
		return NULL;
	AUTO_JSON *decl = json_parse(s.decl, strlen(s.decl), JSON_DEPTH_MAX, "a declaration in the state", &ignored);
	json_array_foreach(json_object_get(json_object_get(decl, "authority"), "auth"), i, ref)
		if (!ret && json_str(ref, "secret"))
			ret = mem_dup(json_str(ref, "secret"));
	state_secret_clear(&s);
	return ret;
}

/* A due manager goes before those that log in with it. */
static void managers_first(struct home *h, struct queue *q)
{
	for (size_t i = 0, moves = 0; i < q->n && moves < q->n; i++) {
		AUTO_FREE char *manager = manager_of(h, q->ids[i]);
		for (size_t k = i + 1; manager && k < q->n; k++) {
			if (strcmp(q->ids[k], manager) != 0)
				continue;
			char *id = q->ids[k];
			memmove(&q->ids[i + 1], &q->ids[i], (k - i) * sizeof *q->ids);
			q->ids[i] = id;
			moves++;
			i--; /* it may have a manager of its own */
			break;
		}
	}
}

int engine_due(struct home *h, const struct engine_opts *o, json_t **ret, struct err *e)
{
	struct queue q = { 0 };
	int64_t now = clock_wall();
	size_t held = 0;
	struct state_select due = { .due_before = now, .expiring_before = -1, .limit = o->limit };
	int code = ERR_FAILED;
	if (state_rotations(h->state, -1, count_held, &held, e) && state_rotations(h->state, now, add_rotation, &q, e) &&
	    state_secrets(h->state, &due, false, add_secret, &q, e)) {
		if (o->limit >= 0)
			queue_cut(&q, (size_t)o->limit);
		managers_first(h, &q);
		code = carry(h, (const char *const *)q.ids, q.n, RUN_DUE, o, true, ret, e);
		if (o->strict && held && code == ERR_OK)
			code = ERR_FAILED;
	} else {
		code = e->code;
	}
	queue_clear(&q);
	return code;
}

/* The secret of the rotation meant. `only`: without a name there must be exactly one. */
static int pick(struct home *h, const char *which, bool only, struct queue *q, struct err *e)
{
	struct state_rotation rot = { 0 };
	bool found = false;
	if (which) {
		if (!state_rotation_get(h->state, which, &rot, &found, e))
			return e->code;
		if (found)
			queue_add(q, rot.secret);
		state_rotation_clear(&rot);
		if (!found) {
			err_set(e, ERR_USAGE, "there is no rotation of '%s'", which);
			err_hint(e, "rotor status");
		}
		return found ? ERR_OK : ERR_USAGE;
	}
	if (!state_rotations(h->state, -1, add_rotation, q, e))
		return e->code;
	if (!only || q->n == 1)
		return ERR_OK;
	err_set(e, ERR_USAGE, q->n ? "several rotations are unfinished: say which" : "no rotation is unfinished");
	err_hint(e, "rotor status");
	return ERR_USAGE;
}

int engine_continue(struct home *h, const char *which, const struct engine_opts *o, json_t **ret, struct err *e)
{
	struct queue q = { 0 };
	int code = pick(h, which, false, &q, e);
	if (code == ERR_OK)
		code = carry(h, (const char *const *)q.ids, q.n, RUN_CONTINUE, o, true, ret, e);
	queue_clear(&q);
	return code;
}

int engine_abort(struct home *h, const char *which, const struct engine_opts *o, json_t **ret, struct err *e)
{
	struct queue q = { 0 };
	int code = pick(h, which, true, &q, e);
	if (code == ERR_OK)
		code = carry(h, (const char *const *)q.ids, q.n, RUN_ABORT, o, true, ret, e);
	queue_clear(&q);
	return code;
}

/* A person says that a consumer uses the version it waits for. */
static bool write_receipt(struct run *r, const char *consumer, struct err *e)
{
	struct state *st = r->engine->home->state;
	size_t at;
	if (!r->planned || !consumer_in(&r->decl, consumer, &at))
		return err_set(e, ERR_USAGE, "the rotation of '%s' has no consumer '%s'", r->secret.id, consumer);
	json_put_int(r->manual, consumer, (r->rb.back ? r->old : r->new).n);
	char op[ULID_SIZE];
	ulid_new(op);
	struct state_leaf leaf = { .op = op, .act = "confirm", .secret = r->secret.id, .rotation = r->rotation.id, .step = "confirm",
		.target = consumer, .version = (r->rb.back ? r->old : r->new).n, .receipt = "a person's word", .outcome = "done",
		.policy_max_age = -1 };
	bool held = r->rb.result == RB_HELD;
	if (!state_begin(st, e) || !engine_run_head(r, held ? "held" : "waiting", r->rotation.waits_for, r->rotation.until,
	                                            held ? -1 : clock_wall(), e) ||
	    !state_log(st, &leaf, e) || !state_commit(st, e)) {
		state_abort(st);
		return false;
	}
	return true;
}

int engine_confirm(struct home *h, const char *which, const char *consumer, const struct engine_opts *o, json_t **ret, struct err *e)
{
	struct queue q = { 0 };
	int code = pick(h, which, true, &q, e);
	struct engine en = { .home = h, .opts = o };
	bool unfinished = false;
	struct run *r = code == ERR_OK ? engine_run_new(&en, q.ids[0], RUN_CONTINUE, e) : NULL;
	if (r) {
		bool ok = engine_run_lease(r, e) && find_unfinished(r, &unfinished, e);
		if (ok && !unfinished)
			ok = err_set(e, ERR_USAGE, "'%s' has no unfinished rotation", q.ids[0]);
		code = ok && write_receipt(r, consumer, e) ? ERR_OK : (int)e->code;
		engine_run_free(r);
	} else if (code == ERR_OK) {
		code = e->code;
	}
	if (code == ERR_OK)
		code = carry(h, (const char *const *)q.ids, q.n, RUN_CONTINUE, o, true, ret, e);
	queue_clear(&q);
	return code;
}
