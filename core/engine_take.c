/* From a secret to a rotation that this process works on: begun, taken up where another left it, or regained after a
 * wait without the lease. */
#include <stdlib.h>
#include <string.h>

#include "engine_run.h"

#include "clock.h"
#include "json.h"
#include "mem.h"

#define LEASE_AGAIN_MS 500 /* until a busy lease is tried again */

bool engine_unfinished(struct run *r, bool *ret, struct err *e)
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
bool engine_consumer(const struct decl *d, const char *name, size_t *at)
{
	for (*at = 0; *at < d->n_consumers; (*at)++)
		if (strcmp(d->consumers[*at].t.name, name) == 0)
			return true;
	return false;
}

static bool same(const struct decl *a, const struct decl *b)
{
	AUTO_JSON *x = json_copy(json_object_get(a->json, "authority")),
		  *y = json_copy(json_object_get(b->json, "authority"));
	json_object_del(x, "auth"); /* how rotor logs in is resolved anew at each step */
	json_object_del(y, "auth");
	return json_equal(x, y) && json_equal(json_object_get(a->json, "stores"), json_object_get(b->json, "stores"));
}

/* The frozen plan with a changed declaration. */
static bool replan(struct run *r, json_t *plan, struct err *e)
{
	AUTO_TEXT *text = json_text(plan);
	free(r->rotation.plan);
	r->rotation.plan = mem_dup(text);
	r->rb.dirty = true;
	decl_clear(&r->decl);
	return decl_parse(json_object_get(plan, "decl"), &r->decl, e);
}

/* The credential that rotor itself uses may be corrected while a rotation is under way. */
static bool follow_auth(struct run *r, const struct decl *now, struct err *e)
{
	json_t *auth = json_object_get(json_object_get(now->json, "authority"), "auth");
	if (json_equal(auth, json_object_get(json_object_get(r->decl.json, "authority"), "auth")))
		return true;
	AUTO_JSON *plan =
		json_parse(r->rotation.plan, strlen(r->rotation.plan), JSON_DEPTH_MAX, "a plan in the state", e);
	if (!plan)
		return false;
	json_object_set(json_object_get(json_object_get(plan, "decl"), "authority"), "auth", auth);
	return replan(r, plan, e);
}

/* The frozen plan's declaration with one consumer more. */
static bool join_consumer(struct run *r, const struct decl *now, size_t at, const struct rb_now *t, struct err *e)
{
	json_t *one = json_array_get(json_object_get(now->json, "consumers"), at);
	AUTO_JSON *plan =
		json_parse(r->rotation.plan, strlen(r->rotation.plan), JSON_DEPTH_MAX, "a plan in the state", e);
	if (!plan)
		return false;
	uint16_t index = (uint16_t)r->decl.n_consumers;
	if (index >= DECL_TARGETS_MAX || !rb_join(&r->rb, index, t))
		return true; /* too late: push will be named by verify */
	json_array_append(json_object_get(json_object_get(plan, "decl"), "consumers"), one);
	if (!replan(r, plan, e))
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

/* A consumer that is no longer declared is not waited for; the log says so where it was open. */
static void leave_out(struct run *r, uint16_t consumer, const struct rb_now *now)
{
	engine_run_texts(r);
	for (size_t i = 0; i < r->rb.n; i++) {
		const struct rb_row *row = &r->rb.rows[i];
		if (rb_row_at(row) == RB_CONSUMERS && row->target == consumer && row->state <= RB_RUNNING)
			engine_run_say(&r->texts[i].error, "no longer declared");
	}
	rb_leave(&r->rb, consumer, now);
}

static bool follow_declaration(struct run *r, struct err *e)
{
	struct decl now = { 0 };
	size_t at;
	AUTO_JSON *j =
		json_parse(r->secret.decl, strlen(r->secret.decl), JSON_DEPTH_MAX, "a declaration in the state", e);
	if (!j || !decl_parse(j, &now, e))
		return false;
	struct rb_now t = engine_run_now(r);
	bool ok = true;
	if (now.policy.overlap > r->rb.policy.overlap) {
		r->rb.policy.overlap = now.policy.overlap;
		r->rb.dirty = true;
	}
	for (size_t i = 0; i < r->decl.n_consumers; i++)
		if ((r->gone[i] = !engine_consumer(&now, r->decl.consumers[i].t.name, &at)))
			leave_out(r, (uint16_t)i, &t);
	for (size_t i = 0; ok && i < now.n_consumers; i++)
		if (!engine_consumer(&r->decl, now.consumers[i].t.name, &at))
			ok = join_consumer(r, &now, i, &t, e);
	ok = ok && follow_auth(r, &now, e);
	if (ok && !same(&r->decl, &now) && r->rb.result == RB_WORKING) {
		engine_run_say(&r->last_error, "%s", "");
		rb_hold(&r->rb, RB_WHY_CHANGED);
	}
	int64_t longest = r->rb.policy.overlap;
	engine_run_policy(r);
	if (longest > r->rb.policy.overlap)
		r->rb.policy.overlap = longest;
	decl_clear(&now);
	return ok;
}

bool engine_follow(struct run *r, struct err *e)
{
	struct state_secret s = { 0 };
	bool found = false;
	r->committed = false;
	if (!r->planned)
		return engine_run_refresh(r, e);
	if (r->rb.back || r->rb.shape.order != RB_ROTATE || r->rb.result != RB_WORKING)
		return true;
	if (!state_secret_get(r->engine->home->state, r->secret.id, &s, &found, e))
		return false;
	if (!found || strcmp(s.digest, r->secret.digest) == 0) {
		state_secret_clear(&s);
		return true;
	}
	state_secret_clear(&r->secret);
	r->secret = s;
	return follow_declaration(r, e) &&
	       (engine_targets(r) || err_set(e, ERR_FAILED, "the kind 'command' is not there"));
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
	if (r->mode == RUN_ABORT)
		engine_run_say(&r->rotation.held_because, "%s", "");
	if (r->mode == RUN_ABORT && !rb_abort(&r->rb, &now)) {
		if (r->rb.back) { /* it is on its way back already: go on */
			rb_release(&r->rb);
			r->rb.flush = true;
		} else {
			err_set(e, ERR_REFUSED, "rotation '%s' of '%s' cannot be undone any more", r->rotation.id,
			        r->secret.id);
			return err_hint(e, "rotor rotate --continue %s", r->secret.id);
		}
	}
	if (!engine_targets(r))
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
	if (!engine_run_lease(r, e) || !engine_unfinished(r, &unfinished, e))
		goto undo;
	if (!unfinished || !r->planned || r->rotation.previous != version) {
		err_set(e, ERR_REFUSED, "version %u of '%s' belongs to an unfinished rotation", version, rot->secret);
		err_hint(e, "rotor rotate --abort %s", rot->secret);
		goto undo;
	}
	if (!take_up(r, e))
		goto undo;
	r->rb.force = en->opts->force;
	r->hurried = true;
	if (!rb_hurry(&r->rb)) {
		err_set(e, ERR_REFUSED, "version %u of '%s' cannot be revoked yet: a consumer's receipt is missing",
		        version, rot->secret);
		err_hint(e, "rotor status %s; --force --reason TEXT does it all the same", rot->secret);
		goto undo;
	}
	return engine_add(en, r);
undo:
	engine_run_free(r);
	return NULL;
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

void engine_start(struct engine *en, const char *id, enum run_mode mode)
{
	struct err e;
	bool unfinished = false;
	struct run *r = engine_run_new(en, id, mode, &e);
	if (!r) {
		r = mem_alloc(sizeof *r);
		*r = (struct run){ .engine = en,
			           .lease = -1,
			           .err = e,
			           .exit = e.code,
			           .status = RUN_ENDED,
			           .manual = json_object() };
		engine_add(en, r);
		return;
	}
	engine_add(en, r);
	/* a dry run only looks: it neither takes the lease nor goes on with anything */
	if (mode != RUN_DRY && (!engine_run_lease(r, &r->err) || !engine_unfinished(r, &unfinished, &r->err))) {
		if (mode == RUN_DUE && r->err.code == ERR_TEMPORARY)
			r->err.code = ERR_OK; /* somebody is at work on it */
		engine_end_error(r);
		return;
	}
	if (unfinished && en->opts->fresh && mode == RUN_START) {
		err_set(&r->err, ERR_REFUSED, "'%s' has an unfinished rotation '%s'", id, r->rotation.id);
		err_hint(&r->err,
		         "rotor rotate --abort %s, then rotate again; or continue it: rotor rotate --continue %s", id,
		         id);
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
		engine_end_error(r);
}

/* Goes on after a wait without the lease. Whoever had it meanwhile may have moved the rotation on. */
static bool regain(struct run *r, struct err *e)
{
	struct state_rotation rot = { 0 };
	struct lock_holder holder;
	struct err busy;
	bool found = false, ok = true;
	if (!lock_lease(r->engine->home->lock, r->secret.row, r->rotation.id, &r->lease, &holder, &busy)) {
		r->wake_at = clock_boot() + LEASE_AGAIN_MS;
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
	} else {
		ok = engine_follow(r, e);
	}
	if (r->status == RUN_WAITING)
		r->status = RUN_READY;
	state_rotation_clear(&rot);
	return ok;
}

void engine_wake(struct run *r)
{
	if (r->lease >= 0)
		r->status = RUN_READY;
	else if (!regain(r, &r->err))
		engine_end_error(r);
}
