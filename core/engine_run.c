/* A rotation as this process holds it: made, loaded from its durable form, and put into words. */
#include "engine_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "json.h"
#include "mem.h"
#include "policy.h"

#define CLOCK_SLACK 5000 /* a wall clock so far behind the last leaf is wrong */

void engine_run_say(char **text, const char *fmt, ...)
{
	va_list ap;
	char line[512];
	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	free(*text);
	*text = line[0] ? mem_dup(line) : NULL;
}

static uint64_t boot_number(void)
{
	static uint64_t number;
	for (const char *c = clock_boot_id(); !number && *c; c++)
		for (number = UINT64_C(14695981039346656037); *c; c++)
			number = (number ^ (unsigned char)*c) * UINT64_C(1099511628211);
	return number & INT64_MAX;
}

static bool frozen(const struct decl_policy *p, int64_t wall, int64_t *until)
{
	size_t i;
	json_t *f;
	json_array_foreach((json_t *)p->freeze, i, f)
		if (wall >= json_int(f, "from", INT64_MAX) && wall < json_int(f, "to", 0)) {
			*until = json_int(f, "to", 0);
			return true;
		}
	return false;
}

struct rb_now engine_run_now(struct run *r)
{
	struct rb_now now = { .wall = clock_wall(), .boot = clock_boot(), .boot_id = boot_number(), .gate_open = true };
	struct err ignored;
	int64_t last = state_last_leaf_ms(r->engine->home->state);
	now.clock_behind = last >= 0 && now.wall < last - CLOCK_SLACK;
	if (r->engine->opts->now)
		return now;
	const struct decl_policy *p = &r->decl.policy;
	if (frozen(p, now.wall, &now.gate_until))
		now.gate_open = false;
	else if (p->window && policy_window_next(p->window, now.wall, &now.gate_until, &ignored))
		now.gate_open = now.gate_until <= now.wall;
	return now;
}

bool engine_run_legacy(const struct run *r, const struct state_version *v)
{
	const json_t *users = json_object_get(r->decl.authority.params, "users");
	size_t i;
	json_t *user;
	if (!v->handle[0] || v->rotation[0] || !users)
		return false;
	json_array_foreach((json_t *)users, i, user)
		if (strcmp(json_string_value(user), v->handle) == 0)
			return false;
	return true;
}

/* ---- words for people */

const char *engine_run_target_name(const struct run *r, const struct rb_row *row)
{
	switch (rb_row_at(row)) {
	case RB_AUTHORITY:
		return r->decl.authority.name;
	case RB_STORES:
		return row->target < r->decl.n_stores ? r->decl.stores[row->target].name : NULL;
	case RB_CONSUMERS:
		return row->target < r->decl.n_consumers ? r->decl.consumers[row->target].t.name : NULL;
	case RB_CORE:
		break;
	}
	return NULL;
}

const char *engine_run_next(const struct run *r)
{
	static char text[512];
	const char *id = r->rotation.secret;
	if (r->rb.result == RB_HELD && rb_can_roll_back(&r->rb))
		snprintf(text, sizeof text, "rotor rotate --continue %s, or rotor rotate --abort %s", id, id);
	else if (r->rb.result == RB_HELD)
		snprintf(text, sizeof text, "rotor rotate --continue %s", id);
	else
		snprintf(text, sizeof text, "rotor rotate --due");
	return text;
}

void engine_run_event(struct run *r, enum event_type type, const struct rb_row *row, const char *state,
                      const char *message, const char *hint, int64_t until)
{
	const struct engine_opts *o = r->engine->opts;
	if (!o->event)
		return;
	struct event e = { .type = type,
		           .time_ms = clock_wall(),
		           .secret = r->rotation.secret,
		           .rotation = r->rotation.id,
		           .state = state,
		           .message = message,
		           .hint = hint,
		           .version = r->rotation.version,
		           .previous = r->rotation.previous,
		           .started_ms = row ? row->started : r->rotation.started,
		           .until_ms = until,
		           .total = (unsigned)r->rb.n };
	for (size_t i = 0; i < r->rb.n; i++)
		e.done += r->rb.rows[i].state != RB_PENDING && r->rb.rows[i].state != RB_RUNNING;
	if (row) {
		e.step = rb_step_name((enum rb_step)row->step);
		e.target = engine_run_target_name(r, row);
	}
	if (type == EVENT_WAIT)
		e.waits_for = r->rotation.waits_for;
	o->event(o->event_arg, &e);
}

void engine_run_texts(struct run *r)
{
	if (r->n_texts >= r->rb.n)
		return;
	r->texts = mem_grow(r->texts, r->rb.n, sizeof *r->texts);
	memset(r->texts + r->n_texts, 0, (r->rb.n - r->n_texts) * sizeof *r->texts);
	for (; r->n_texts < r->rb.n; r->n_texts++)
		ulid_new(r->texts[r->n_texts].op);
}

/* ---- figures as JSON */

static bool wait_parse(const json_t *j, struct rb_wait *ret)
{
	*ret = (struct rb_wait){ 0 };
	if (!j || json_is_null(j))
		return true;
	json_int_t v[6];
	if (json_unpack((json_t *)j, "[I,I,I,I,I,I!]", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5]) != 0 || v[0] < 0 ||
	    v[1] < 0)
		return false;
	*ret = (struct rb_wait){ .on = true,
		                 .need = v[0],
		                 .credit = v[1],
		                 .wall = v[2],
		                 .boot = v[3],
		                 .boot_id = (uint64_t)v[4],
		                 .authority = v[5] };
	return true;
}

static bool row_load(struct rb_row *row, struct run_text *t, const struct state_step *s, const struct rb_shape *shape)
{
	int step = rb_step_parse(s->step), state = rb_state_parse(s->state);
	struct err ignored;
	AUTO_JSON *j = s->body ? json_parse(s->body, strlen(s->body), 4, "a step row", &ignored) : NULL;
	int64_t phase = json_int(j, "phase", -1), target = json_int(j, "target", -1), part = json_int(j, "part", -1);
	const char *op = json_str(j, "op");
	if (step < 0 || state < 0 || phase < 0 || phase >= RB_PHASES || target < 0 || part < 0 || part > UINT32_MAX ||
	    !op || !ulid_ok(op))
		return false;
	*row = (struct rb_row){ .step = (uint8_t)step,
		                .state = (uint8_t)state,
		                .phase = (uint8_t)phase,
		                .old = json_bool(j, "old"),
		                .undo = json_bool(j, "undo"),
		                .target = (uint16_t)target,
		                .attempts = s->attempts,
		                .part = (uint32_t)part,
		                .started = s->started,
		                .ended = s->ended };
	enum rb_at at = rb_row_at(row);
	if ((at == RB_CONSUMERS && target >= shape->consumers) || (at == RB_STORES && target >= shape->stores))
		return false;
	snprintf(t->op, sizeof t->op, "%s", op);
	t->logged_state = (uint8_t)json_int(j, "logged", 0);
	t->logged_phase = (uint8_t)json_int(j, "logged_phase", 0);
	t->logged_attempts = (uint32_t)json_int(j, "logged_attempts", 0);
	t->receipt = s->receipt ? mem_dup(s->receipt) : NULL;
	t->error = s->error ? mem_dup(s->error) : NULL;
	return wait_parse(json_object_get(j, "wait"), &row->wait) &&
	       wait_parse(json_object_get(j, "retry"), &row->retry);
}

void engine_run_policy(struct run *r)
{
	const struct decl_policy *p = &r->decl.policy;
	struct rb_policy *to = &r->rb.policy;
	*to = (struct rb_policy){ .probe_successes = p->probe_successes,
		                  .probe_timeout = p->probe_timeout,
		                  .canary = p->canary_consumers,
		                  .bake = p->canary_bake,
		                  .confirm_timeout = p->confirm_timeout,
		                  .overlap = p->overlap,
		                  .quiet_for = p->quiet_for,
		                  .sample = p->sample,
		                  .drain_timeout = p->drain_timeout,
		                  .soak = p->soak,
		                  .retry_deadline = p->retry_deadline,
		                  .revoke_on_timeout = p->revoke_on_timeout,
		                  .hold_on_failure = p->hold_on_failure };
	for (size_t i = 0; i < r->decl.n_consumers; i++)
		if (2 * r->decl.consumers[i].cache_ttl > to->overlap)
			to->overlap = 2 * r->decl.consumers[i].cache_ttl;
	r->rb.n_health = 0;
	for (size_t i = 0; i < r->decl.n_consumers; i++)
		if (!r->gone[i])
			r->rb.n_health = (uint16_t)(r->rb.n_health + json_array_size(r->decl.consumers[i].health));
}

static bool figures_load(struct run *r, const json_t *j)
{
	struct rb *rb = &r->rb;
	int64_t attempt = json_int(j, "attempt", -1), result = json_int(j, "result", -1), why = json_int(j, "why", -1);
	int64_t order = json_int(j, "order", -1), consumers = json_int(j, "consumers", -1),
		overlap = json_int(j, "overlap", 0);
	if (attempt < 0 || attempt > UINT32_MAX || result < 0 || result >= RB_RESULTS || why < 0 || why >= RB_WHYS ||
	    order < 0 || order >= RB_ORDERS || consumers < 0 || consumers > (int64_t)r->decl.n_consumers)
		return false;
	rb->attempt = (uint32_t)attempt;
	rb->back = json_bool(j, "back");
	rb->aborting = json_bool(j, "aborting");
	rb->result = (uint8_t)result;
	rb->why = (uint8_t)why;
	rb->shape = (struct rb_shape){ .order = (enum rb_order)order,
		                       .stores = (uint16_t)r->decl.n_stores,
		                       .consumers = (uint16_t)consumers,
		                       .has_old = json_bool(j, "has_old") };
	rb->old_known = json_bool(j, "old_known");
	rb->force = json_bool(j, "force");
	if (overlap > rb->policy.overlap) /* the longer overlap wins */
		rb->policy.overlap = overlap;
	snprintf(r->expect, sizeof r->expect, "%s", json_str(j, "expect") ? json_str(j, "expect") : "");
	r->kept_for = json_str(j, "kept") ? mem_dup(json_str(j, "kept")) : NULL;
	json_t *manual = json_object_get(j, "manual");
	if (json_is_object(manual))
		json_object_update(r->manual, manual);
	return true;
}

/* ---- versions and values */

static bool version_find(struct run *r, uint32_t n, struct state_version *ret, struct err *e)
{
	AUTO_FREE struct state_version *all = NULL;
	size_t count = 0;
	if (!state_versions(r->engine->home->state, r->secret.row, &all, &count, e))
		return false;
	for (size_t i = 0; i < count; i++)
		if (all[i].n == n) {
			*ret = all[i];
			return true;
		}
	return err_set(e, ERR_FAILED, "version %u of '%s' is not in the state", n, r->secret.id);
}

static bool versions_load(struct run *r, struct err *e)
{
	struct state *st = r->engine->home->state;
	const struct state_rotation *rot = &r->rotation;
	if (rot->version && (!version_find(r, rot->version, &r->new, e) ||
	                     !state_value_get(st, r->secret.row, r->secret.id, rot->version, &r->new_value, e)))
		return false;
	if (rot->previous && (!version_find(r, rot->previous, &r->old, e) ||
	                      !state_value_get(st, r->secret.row, r->secret.id, rot->previous, &r->old_value, e)))
		return false;
	r->new_was = (uint8_t)r->new.state;
	r->old_was = (uint8_t)r->old.state;
	return true;
}

/* ---- making and loading */

bool engine_run_lease(struct run *r, struct err *e)
{
	struct lock_holder holder = { 0 };
	struct err why;
	for (int tries = 0;; tries++) {
		if (lock_lease(r->engine->home->lock, r->secret.row, r->rotation.id, &r->lease, &holder, &why))
			return true;
		bool wait =
			holder.alive ? r->engine->opts->wait == ENGINE_WAIT_DONE && r->mode != RUN_DUE : tries < 100;
		if (why.code != ERR_TEMPORARY || !wait)
			break;
		usleep(100000); /* the helper of a dead process is ending, or the user asked to wait */
	}
	if (why.code == ERR_TEMPORARY && holder.pid) {
		char since[CLOCK_TEXT];
		err_set(e, ERR_TEMPORARY, "'%s' is being worked on by process %d since %s (rotation %s)", r->secret.id,
		        (int)holder.pid, clock_text(holder.since_ms, since), holder.rotation);
		return err_hint(e, "wait for it with --wait, or look with: rotor status %s", r->secret.id);
	}
	*e = why;
	return false;
}

static bool decl_of(struct run *r, const char *text, struct err *e)
{
	AUTO_JSON *j = json_parse(text, strlen(text), JSON_DEPTH_MAX, "a declaration in the state", e);
	return j && decl_parse(j, &r->decl, e);
}

struct run *engine_run_new(struct engine *en, const char *secret, enum run_mode mode, struct err *e)
{
	struct run *r = mem_alloc(sizeof *r);
	bool found = false;
	*r = (struct run){ .engine = en,
		           .mode = mode,
		           .series = &engine_plan_series,
		           .lease = -1,
		           .waits_since = -1,
		           .waits_row = SIZE_MAX,
		           .told_row = SIZE_MAX - 1,
		           .manual = json_object(),
		           .rotation = { .ended = -1, .until = -1, .next_at = -1, .runbook = RB_VERSION } };
	if (!state_secret_get(en->home->state, secret, &r->secret, &found, e))
		goto undo;
	if (!found) {
		err_set(e, ERR_USAGE, "there is no secret '%s'", secret);
		err_hint(e, "rotor inventory list");
		goto undo;
	}
	r->rotation.row = r->secret.row;
	r->rotation.secret = mem_dup(r->secret.id);
	r->rotation.state = mem_dup("planned");
	r->rotation.actor = mem_dup(home_actor());
	r->rotation.reason = mem_dup(en->opts->reason ? en->opts->reason : mode == RUN_DUE ? "scheduled" : "manual");
	r->rotation.started = clock_wall();
	ulid_new(r->rotation.id);
	if (!decl_of(r, r->secret.decl, e))
		goto undo;
	return r;
undo:
	engine_run_free(r);
	return NULL;
}

static char *copy(const char *text)
{
	return text ? mem_dup(text) : NULL;
}

static void rotation_take(struct run *r, const struct state_rotation *from)
{
	struct state_rotation *to = &r->rotation;
	state_rotation_clear(to);
	*to = *from;
	to->secret = copy(from->secret);
	to->state = copy(from->state);
	to->reason = copy(from->reason);
	to->actor = copy(from->actor);
	to->waits_for = copy(from->waits_for);
	to->held_because = copy(from->held_because);
	to->plan = copy(from->plan);
	to->digest = copy(from->digest);
	to->body = copy(from->body);
}

static bool plan_load(struct run *r, struct err *e)
{
	AUTO_JSON *plan =
		json_parse(r->rotation.plan, strlen(r->rotation.plan), JSON_DEPTH_MAX, "a plan in the state", e);
	json_t *decl = json_object_get(plan, "decl");
	int64_t endpoints = json_int(plan, "endpoints", 0);
	if (!plan)
		return false;
	if (!decl || endpoints < 1 || endpoints > 1000)
		return err_set(e, ERR_FAILED, "the plan of rotation '%s' is damaged", r->rotation.id);
	decl_clear(&r->decl);
	r->rb.endpoints = (uint16_t)endpoints;
	return decl_parse(decl, &r->decl, e) && kind_facts_parse(json_object_get(plan, "facts"), &r->rb.facts, e);
}

bool engine_run_load(struct run *r, const struct state_rotation *rot, struct err *e)
{
	struct state_step *steps = NULL;
	size_t n = 0;
	bool ok = false;
	if (rot->runbook > RB_VERSION)
		return err_set(e, ERR_TEMPORARY, "rotation '%s' was begun by a newer rotor", rot->id);
	rotation_take(r, rot);
	r->stored = true;
	r->planned = rot->plan && *rot->plan;
	if (!r->planned)
		return true;
	AUTO_JSON *body = json_parse(rot->body, strlen(rot->body), 8, "a rotation in the state", e);
	if (!body || !plan_load(r, e))
		return false;
	engine_run_policy(r);
	if (!figures_load(r, body))
		return err_set(e, ERR_FAILED, "rotation '%s' is damaged in the state", rot->id);
	if (!versions_load(r, e) || !state_steps(r->engine->home->state, rot->id, &steps, &n, e))
		return false;
	r->rb.rows = mem_array(n, sizeof *r->rb.rows);
	r->rb.n = r->rb.cap = n;
	engine_run_texts(r);
	ok = n > 0;
	for (size_t i = 0; ok && i < n; i++)
		ok = steps[i].idx == (int)i && row_load(&r->rb.rows[i], &r->texts[i], &steps[i], &r->rb.shape);
	state_steps_free(steps, n);
	return ok || err_set(e, ERR_FAILED, "the step rows of rotation '%s' are damaged in the state", rot->id);
}

/* What was loaded or made for the rotation; the secret, the lease and the place in the engine stay. */
static void clear(struct run *r)
{
	engine_targets_end(r);
	rb_clear(&r->rb);
	for (size_t i = 0; i < r->n_texts; i++) {
		free(r->texts[i].receipt);
		free(r->texts[i].error);
	}
	free(r->texts);
	engine_plan_clear(&r->plan);
	fields_free(r->new_value);
	fields_free(r->old_value);
	fields_free(r->kept);
	json_decref(r->request);
	free(r->kept_for);
	free(r->last_error);
	free(r->authority);
	free(r->batch);
	r->authority = NULL;
	r->batch = NULL;
	r->texts = NULL;
	r->n_texts = 0;
	r->new_value = r->old_value = r->kept = NULL;
	r->request = NULL;
	r->kept_for = r->last_error = NULL;
}

bool engine_run_reload(struct run *r, const struct state_rotation *rot, struct err *e)
{
	bool found = false;
	char *id = r->secret.id;
	clear(r);
	r->secret.id = NULL;
	state_secret_clear(&r->secret);
	bool ok = state_secret_get(r->engine->home->state, id, &r->secret, &found, e);
	if (ok && !found)
		ok = err_set(e, ERR_FAILED, "secret '%s' is gone", id);
	free(id);
	r->waits_row = SIZE_MAX;
	r->told_row = SIZE_MAX - 1;
	return ok && engine_run_load(r, rot, e);
}

bool engine_run_refresh(struct run *r, struct err *e)
{
	struct state_secret s = { 0 };
	bool found = false;
	if (!state_secret_get(r->engine->home->state, r->secret.id, &s, &found, e))
		return false;
	if (!found)
		return err_set(e, ERR_FAILED, "secret '%s' is gone", r->secret.id);
	state_secret_clear(&r->secret);
	r->secret = s;
	decl_clear(&r->decl);
	return decl_of(r, r->secret.decl, e);
}

void engine_run_free(struct run *r)
{
	if (!r)
		return;
	clear(r);
	state_secret_clear(&r->secret);
	state_rotation_clear(&r->rotation);
	decl_clear(&r->decl);
	json_decref(r->manual);
	json_decref(r->doc);
	if (r->lease >= 0)
		close(r->lease);
	free(r);
}
