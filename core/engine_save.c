/* What a rotation leaves behind at a commit: its rows and figures, versions, values, and the leaves of the log. */
#include <stdlib.h>
#include <string.h>

#include "engine_run.h"

#include "clock.h"
#include "json.h"
#include "mem.h"
#include "policy.h"

static json_t *wait_json(const struct rb_wait *w)
{
	return w->on ? json_pack("[I,I,I,I,I,I]", (json_int_t)w->need, (json_int_t)w->credit, (json_int_t)w->wall,
	                         (json_int_t)w->boot, (json_int_t)w->boot_id, (json_int_t)w->authority) :
	               json_null();
}

/* On the ordinary heap: the state frees what it is given. */
static char *plain_text(const json_t *j)
{
	AUTO_TEXT *text = json_text(j);
	return mem_dup(text);
}

static char *row_body(const struct run *r, size_t i)
{
	const struct rb_row *row = &r->rb.rows[i];
	AUTO_JSON *j = json_pack("{s:i,s:b,s:b,s:i,s:i,s:s,s:i,s:i,s:I,s:o,s:o}", "phase", row->phase, "old", row->old,
	                         "undo", row->undo, "target", row->target, "part", (int)row->part, "op", r->texts[i].op,
	                         "logged", r->texts[i].logged_state, "logged_phase", r->texts[i].logged_phase,
	                         "logged_attempts", (json_int_t)r->texts[i].logged_attempts, "wait",
	                         wait_json(&row->wait), "retry", wait_json(&row->retry));
	return plain_text(j);
}

static char *head_body(const struct run *r)
{
	const struct rb *rb = &r->rb;
	AUTO_JSON *j = json_pack("{s:I,s:b,s:b,s:i,s:i,s:i,s:b,s:b,s:b,s:i,s:I,s:s,s:O,s:s?}", "attempt",
	                         (json_int_t)rb->attempt, "back", rb->back, "aborting", rb->aborting, "result",
	                         rb->result, "why", rb->why, "order", (int)rb->shape.order, "has_old",
	                         rb->shape.has_old, "old_known", rb->old_known, "force", rb->force, "consumers",
	                         rb->shape.consumers, "overlap", (json_int_t)rb->policy.overlap, "expect", r->expect,
	                         "manual", r->manual, "kept", r->kept_for);
	return plain_text(j);
}

/* ---- versions and values */

/* What the rows say about the two versions. */
static void versions_follow(struct run *r)
{
	bool confirmed = true, issue_ended = false, suspended = false, revoked = false;
	const struct rb *rb = &r->rb;
	if (rb->shape.order == RB_PUSH)
		return;
	for (size_t i = 0; i < rb->n; i++) {
		const struct rb_row *row = &rb->rows[i];
		bool open = row->state == RB_PENDING || row->state == RB_RUNNING;
		if (row->step == RB_CLOSE || row->step == RB_AUTHORIZE)
			continue;
		if (row->step <= RB_CONFIRM && open)
			confirmed = false;
		issue_ended |= row->step == RB_ISSUE && row->state == RB_DONE && !row->undo;
		suspended |= row->step == RB_SUSPEND && !row->undo &&
		             ((row->state == RB_RUNNING && row->phase == RB_SOAK) || row->state == RB_DONE);
		revoked |= row->step == RB_REVOKE && row->state == RB_DONE;
	}
	bool one_slot = rb->facts.slots == 1 && rb->shape.order == RB_ROTATE;
	if (rb->back && rb->shape.order == RB_REVOKE_ONE)
		return; /* nothing was done to either */
	if (rb->back) {
		bool over = rb->result == RB_ROLLED_BACK;
		r->new.state = revoked || over ? STATE_REVOKED : STATE_PENDING;
		if (r->old.n)
			r->old.state = STATE_CURRENT;
		return;
	}
	if (rb->shape.order == RB_ROTATE)
		r->new.state = confirmed &&issue_ended ? STATE_CURRENT : STATE_PENDING;
	if (!r->old.n)
		return;
	if (revoked || (one_slot && issue_ended))
		r->old.state = STATE_REVOKED;
	else if (suspended)
		r->old.state = STATE_SUSPENDED;
	else if (rb->shape.order == RB_ROTATE)
		r->old.state = confirmed && issue_ended ? STATE_PREVIOUS : STATE_CURRENT;
}

static bool version_save(struct run *r, struct state_version *v, uint8_t *was, struct err *e)
{
	if (!v->n || *was == (uint8_t)v->state)
		return true;
	if (v->state == STATE_REVOKED)
		v->revoked_at = clock_wall();
	*was = (uint8_t)v->state;
	return state_version_put(r->engine->home->state, r->secret.row, v, e);
}

static bool versions_save(struct run *r, struct err *e)
{
	struct state *st = r->engine->home->state;
	versions_follow(r);
	bool new_first = r->new.state != STATE_CURRENT; /* never two current ones at a time */
	if ((new_first && !version_save(r, &r->new, &r->new_was, e)) || !version_save(r, &r->old, &r->old_was, e) ||
	    (!new_first && !version_save(r, &r->new, &r->new_was, e)))
		return false;
	if (r->new_unsaved && !state_value_put(st, r->secret.row, r->secret.id, r->new.n, r->new_value, e))
		return false;
	r->new_unsaved = false;
	if (r->kept) {
		if (!state_kept_put(st, r->secret.row, r->secret.id, r->kept_for, r->kept, e))
			return false;
		fields_free(r->kept);
		r->kept = NULL;
	}
	return true;
}

/* The books of a rotation that has ended: erase what nothing needs, schedule the next. */
static bool close_books(struct run *r, struct err *e)
{
	struct state *st = r->engine->home->state;
	int64_t row = r->secret.row, now = clock_wall();
	const struct decl_policy *p = &r->decl.policy;
	r->closing = false;
	if (!state_kept_erase(st, row, e))
		return false;
	if (r->rb.shape.order == RB_PUSH)
		return true;
	if (r->rb.shape.order == RB_REVOKE_ONE)
		return r->rb.back || state_value_erase(st, row, r->rotation.previous, e);
	if (r->rb.back)
		return state_value_erase(st, row, r->rotation.version, e);
	if (r->rotation.previous && !state_value_erase(st, row, r->rotation.previous, e))
		return false;
	if (r->decl.keep_none && !state_value_erase(st, row, r->rotation.version, e))
		return false;
	return state_secret_schedule(st, row, now, policy_due(r->secret.id, now, p->rotate_every, p->jitter), -1, e);
}

/* ---- the log */

static bool leaf_of_row(struct run *r, const struct rb_row *row, struct run_text *t, struct err *e)
{
	bool effect = rb_row_class(&r->rb, row) != KIND_IDEMPOTENT || row->step == RB_STORE ||
	              row->step == RB_DISTRIBUTE || row->step == RB_SUSPEND || row->step == RB_RETIRE ||
	              row->step == RB_ISSUE || row->step == RB_REVOKE;
	bool restore = row->phase == RB_RESTORE || (row->step == RB_SUSPEND && row->undo);
	const char *outcome = NULL;
	if (row->state == RB_RUNNING && effect &&
	    (t->logged_attempts != row->attempts || t->logged_state != RB_RUNNING))
		outcome = "intent";
	else if (row->state == RB_RUNNING && t->logged_phase != row->phase)
		outcome = row->phase == RB_RESTORE ? "intent" :
		          row->phase == RB_SOAK    ? "done" :
		          row->phase == RB_LOOK    ? "ambiguous" :
		                                     NULL;
	else if (row->state != t->logged_state)
		outcome = row->state == RB_DONE ? "done" : row->state == RB_FAILED ? "failed" : NULL;
	if (row->state == RB_SKIPPED && t->error && rb_row_at(row) == RB_CONSUMERS && t->logged_state != RB_SKIPPED)
		outcome = "failed";
	if (row->state == RB_PENDING && t->logged_phase == RB_RESTORE) {
		outcome = "done"; /* restored: drain begins anew */
		restore = true;
	}
	bool after_soak = row->step == RB_SUSPEND && row->state == RB_DONE && t->logged_phase == RB_SOAK;
	t->logged_state = row->state;
	t->logged_phase = row->phase;
	t->logged_attempts = row->attempts;
	if (!outcome || after_soak)
		return true;
	const struct state_version *v = row->old ? &r->old : &r->new;
	bool first = row->step == RB_AUTHORIZE, now = row->step == RB_REVOKE && r->hurried;
	struct state_leaf leaf = { .op = t->op,
		                   .act = restore ? "restore" : rb_step_name((enum rb_step)row->step),
		                   .secret = r->rotation.secret,
		                   .rotation = r->rotation.id,
		                   .step = rb_step_name((enum rb_step)row->step),
		                   .target = engine_run_target_name(r, row),
		                   .handle = v->handle[0] ? v->handle : NULL,
		                   .version = v->n,
		                   .attempt = r->rb.attempt,
		                   .reason = first ? r->rotation.reason :
		                             now   ? r->engine->opts->reason :
		                                     NULL,
		                   .policy_digest = first ? r->rotation.digest : NULL,
		                   .policy_max_age = first ? r->decl.policy.max_age : -1,
		                   .fp_new = row->step == RB_ISSUE && r->new.fp[0] ? r->new.fp : NULL,
		                   .fp_old = row->old && r->old.fp[0] ? r->old.fp : NULL,
		                   .receipt = strcmp(outcome, "failed") == 0 ? t->error : t->receipt,
		                   .outcome = outcome };
	return state_log(r->engine->home->state, &leaf, e);
}

static bool leaf_of_end(struct run *r, const char *act, const char *outcome, const char *text, struct err *e)
{
	char op[ULID_SIZE];
	ulid_new(op);
	struct state_leaf leaf = { .op = op,
		                   .act = act,
		                   .secret = r->rotation.secret,
		                   .rotation = r->rotation.id,
		                   .version = r->rotation.version,
		                   .attempt = r->rb.attempt,
		                   .receipt = text && *text ? text : NULL,
		                   .outcome = outcome,
		                   .policy_max_age = -1 };
	return state_log(r->engine->home->state, &leaf, e);
}

/* What a person set aside for this run is on record with the reason. */
static bool leaves_of_person(struct run *r, struct err *e)
{
	const struct engine_opts *o = r->engine->opts;
	const char *acts[] = { o->now ? "now" : NULL, o->accept_drift ? "accept-drift" : NULL,
		               r->mode == RUN_ABORT ? "abort" : NULL };
	for (size_t i = 0; i < sizeof acts / sizeof *acts && !r->person_logged; i++) {
		char op[ULID_SIZE];
		ulid_new(op);
		struct state_leaf leaf = { .op = op,
			                   .act = acts[i],
			                   .secret = r->rotation.secret,
			                   .rotation = r->rotation.id,
			                   .version = r->rotation.version,
			                   .attempt = r->rb.attempt,
			                   .reason = o->reason,
			                   .outcome = "done",
			                   .policy_max_age = -1 };
		if (acts[i] && !state_log(r->engine->home->state, &leaf, e))
			return false;
	}
	r->person_logged = true;
	return true;
}

/* ---- saving */

static bool rows_save(struct run *r, struct err *e)
{
	struct state *st = r->engine->home->state;
	engine_run_texts(r);
	for (size_t i = 0; i < r->rb.n; i++) {
		struct rb_row *row = &r->rb.rows[i];
		if (!row->dirty)
			continue;
		if (!leaf_of_row(r, row, &r->texts[i], e))
			return false;
		AUTO_FREE char *body = row_body(r, i);
		struct state_step s = { .idx = (int)i,
			                .step = (char *)rb_step_name((enum rb_step)row->step),
			                .target = (char *)engine_run_target_name(r, row),
			                .state = (char *)rb_state_name((enum rb_state)row->state),
			                .class_ = (char *)kind_class_name(rb_row_class(&r->rb, row)),
			                .receipt = r->texts[i].receipt,
			                .error = r->texts[i].error,
			                .body = body,
			                .version = (row->old ? r->old : r->new).n,
			                .attempts = row->attempts,
			                .started = row->started,
			                .ended = row->ended };
		if (!state_step_put(st, r->rotation.id, &s, e))
			return false;
		if (row->state != RB_PENDING && row->state != RB_SKIPPED)
			engine_run_event(r, EVENT_STEP, row, rb_state_name((enum rb_state)row->state),
			                 row->state == RB_FAILED ? r->texts[i].error : r->texts[i].receipt, NULL, -1);
	}
	return true;
}

static const char *result_word(const struct run *r)
{
	static const char *const words[] = { "running", "held", "done", "rolled_back" };
	return words[r->rb.result];
}

static void held_text(struct run *r)
{
	engine_run_say(&r->rotation.held_because, "%s%s%s", rb_why_text((enum rb_why)r->rb.why),
	               r->last_error ? ": " : "", r->last_error ? r->last_error : "");
}

bool engine_run_save(struct run *r, struct err *e)
{
	struct state *st = r->engine->home->state;
	struct state_rotation *rot = &r->rotation;
	bool ended = r->rb.result == RB_FINISHED || r->rb.result == RB_ROLLED_BACK, held = r->rb.result == RB_HELD;
	bool was_held = strcmp(rot->state, "held") == 0, was_over = rot->ended >= 0;
	engine_run_texts(r);
	if (r->closing && !close_books(r, e))
		return false;
	if (!versions_save(r, e))
		return false;
	engine_run_say(&rot->state, "%s", result_word(r));
	if (held && !was_held)
		held_text(r);
	if (!held && !r->rb.back)
		engine_run_say(&rot->held_because, "%s", "");
	if (r->rb.back && !held && r->rb.why && !rot->held_because)
		held_text(r); /* why it goes back, not what it meets on the way */
	engine_run_say(&rot->waits_for, "%s", "");
	rot->until = -1;
	rot->next_at = held || ended ? -1 : clock_wall();
	if (ended && !was_over)
		rot->ended = clock_wall();
	free(rot->body);
	rot->body = head_body(r);
	/* rows refer to the rotation */
	if (!state_rotation_put(st, rot, e) || !leaves_of_person(r, e) || !rows_save(r, e))
		return false;
	r->stored = true;
	if (held && !was_held)
		return leaf_of_end(r, "hold", "held", rot->held_because, e);
	return !ended || was_over || leaf_of_end(r, r->rb.back ? "rollback" : "rotate", "done", rot->held_because, e);
}

bool engine_run_head(struct run *r, const char *state, const char *waits_for, int64_t until, int64_t next_at,
                     struct err *e)
{
	struct state_rotation *rot = &r->rotation;
	engine_run_say(&rot->state, "%s", state);
	if (strcmp(state, "held") != 0 && !r->rb.back)
		engine_run_say(&rot->held_because, "%s", "");
	engine_run_say(&rot->waits_for, "%s", waits_for ? waits_for : "");
	rot->until = until;
	rot->next_at = next_at;
	free(rot->body);
	rot->body = head_body(r);
	r->stored = true;
	return state_rotation_put(r->engine->home->state, rot, e);
}
