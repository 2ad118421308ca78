/* push: hands the current version again to the stores and consumers that lack it. revoke: ends a version now. Both are
 * rotations with an order of rows of their own. */
#include <stdlib.h>
#include <string.h>

#include "engine_run.h"

#include "json.h"
#include "mem.h"

static size_t n_targets(const struct run *r)
{
	return r->decl.n_stores + r->decl.n_consumers;
}

/* ---- the current version, and who lacks it */

static bool versions(struct run *r, struct err *e)
{
	struct state *st = r->engine->home->state;
	AUTO_FREE struct state_version *all = NULL;
	size_t n = 0;
	if (!state_versions(st, r->secret.row, &all, &n, e))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (all[i].state == STATE_CURRENT)
			r->new = all[i];
		if (r->mode == RUN_REVOKE && all[i].n == r->target_version)
			r->old = all[i];
	}
	r->new_was = (uint8_t)r->new.state;
	r->old_was = (uint8_t)r->old.state;
	return (!r->new.n || state_value_get(st, r->secret.row, r->secret.id, r->new.n, &r->new_value, e)) &&
	       (!r->old.n || state_value_get(st, r->secret.row, r->secret.id, r->old.n, &r->old_value, e));
}

static void next_look(struct run *r)
{
	struct run_plan *p = &r->plan;
	for (; p->at < n_targets(r); p->at++) {
		const char *name = r->targets[1 + p->at].name;
		bool wanted = !r->only || strcmp(r->only, name) == 0;
		bool store = p->at < r->decl.n_stores;
		r->lacks[p->at] = wanted;
		if (wanted && (store || r->targets[1 + p->at].kind->reads_back)) {
			engine_call_verb(r, 1 + p->at, KIND_LOOK, 0, false, RUN_NEW, NULL);
			return;
		}
	}
	p->decided = true;
	r->status = RUN_READY;
}

static void begin(struct run *r)
{
	engine_plan_clear(&r->plan);
	r->plan.findings = json_array();
	r->plan.chosen = SIZE_MAX;
	r->rb.attempt = 1;
	if (!versions(r, &r->err) || !engine_targets(r)) {
		engine_end(r, r->err.code);
		return;
	}
	size_t at = 0;
	while (r->only && at < n_targets(r) && strcmp(r->targets[1 + at].name, r->only) != 0)
		at++;
	if (r->only && at == n_targets(r))
		engine_plan_refuse(r, ERR_USAGE, "'%s' has no consumer or store '%s'", r->secret.id, r->only);
	else if (r->mode == RUN_PUSH && !r->new_value)
		engine_plan_refuse(r, ERR_REFUSED, "'%s' has no current version whose value is kept here",
		                   r->secret.id);
	else
		engine_call_verb(r, 0, KIND_PLAN, 0, false, RUN_NEITHER, NULL);
}

static void answer(struct run *r, const struct helper_answer *a)
{
	struct run_plan *p = &r->plan;
	if (a->rc != KIND_OK) {
		bool later = a->rc == KIND_TEMPORARY || a->rc == KIND_AMBIGUOUS;
		engine_plan_refuse(r, later ? ERR_TEMPORARY : ERR_FAILED, "'%s': %s", r->secret.id, a->error.message);
		return;
	}
	if (p->phase == AUTH_FACTS) {
		if (!kind_facts_parse(json_object_get(a->body, "facts"), &p->facts, &r->err)) {
			engine_end(r, r->err.code);
			return;
		}
		p->phase = AUTH_TARGETS;
		if (r->mode == RUN_REVOKE) {
			p->decided = true;
			r->status = RUN_READY;
			return;
		}
	} else {
		int seen = kind_seen_parse(json_str(a->body, "seen"));
		r->lacks[p->at++] = seen != KIND_CURRENT && seen != KIND_HELD;
	}
	next_look(r);
}

static const struct run_series series = { begin, answer };

/* ---- beginning */

static bool busy(struct run *r, struct err *e)
{
	struct state_rotation rot = { 0 };
	bool found = false;
	if (!state_rotation_get(r->engine->home->state, r->secret.id, &rot, &found, e))
		return true;
	bool unfinished = found && rot.ended < 0;
	state_rotation_clear(&rot);
	if (!unfinished)
		return false;
	err_set(e, ERR_REFUSED, "'%s' has an unfinished rotation", r->secret.id);
	err_hint(e, "rotor status %s", r->secret.id);
	return true;
}

static struct run *start(struct engine *en, const char *id, enum run_mode mode, struct err *e)
{
	struct run *r = engine_run_new(en, id, mode, e);
	if (!r)
		return NULL;
	if (!engine_run_lease(r, e) || busy(r, e)) {
		engine_run_free(r);
		return NULL;
	}
	r->series = &series;
	return engine_add(en, r);
}

int engine_push(struct home *h, const char *const ids[], size_t n, const char *consumer, const struct engine_opts *o,
                json_t **ret, struct err *e)
{
	struct engine_opts with = *o;
	struct engine en = { .home = h, .opts = &with, .staying = true };
	int code = ERR_OK;
	e->code = ERR_OK;
	with.reason = o->reason ? o->reason : "push";
	for (size_t i = 0; i < n; i++) {
		struct err why;
		struct run *r = start(&en, ids[i], RUN_PUSH, &why);
		if (!r) {
			*e = why;
			code = err_worst(code, why.code);
			continue;
		}
		r->only = consumer;
		engine_work(&en);
	}
	return err_worst(code, engine_finish(&en, ret, e));
}

/* ---- revoke */

static bool alive(const struct state_version *v, uint32_t replaced)
{
	bool current = v->state == STATE_CURRENT && v->n != replaced;
	return !current && v->state != STATE_REVOKED && v->state != STATE_ORPHANED;
}

static int bad_version(struct err *e, const char *id, const struct state_version *v, const struct state_version all[],
                       size_t n)
{
	size_t living = 0;
	for (size_t i = 0; i < n; i++)
		living += alive(&all[i], 0);
	if (!v)
		err_set(e, ERR_USAGE,
		        living ? "'%s' has %zu living versions beside the current one: say which" :
		                 "'%s' has no living version beside the current one",
		        id, living);
	else if (v->state == STATE_CURRENT)
		err_set(e, ERR_REFUSED, "version %u of '%s' is the current one: rotate first", v->n, id);
	else
		err_set(e, ERR_USAGE, "version %u of '%s' is revoked already", v->n, id);
	err_hint(e, "rotor inventory show %s", id);
	return e->code;
}

/* `replaced`: the version that an unfinished rotation is about to replace; current until all have confirmed. */
static int choose(struct home *h, const char *id, uint32_t replaced, uint32_t *version, struct err *e)
{
	struct state_secret s = { 0 };
	AUTO_FREE struct state_version *all = NULL;
	const struct state_version *found = NULL;
	size_t n = 0, living = 0;
	bool there = false;
	if (!state_secret_get(h->state, id, &s, &there, e))
		return e->code;
	if (!there)
		err_set(e, ERR_USAGE, "there is no secret '%s'", id);
	bool ok = there && state_versions(h->state, s.row, &all, &n, e);
	state_secret_clear(&s);
	if (!ok)
		return e->code;
	for (size_t i = 0; i < n; i++) {
		bool lives = alive(&all[i], replaced);
		living += lives;
		if (*version ? all[i].n == *version : lives)
			found = &all[i];
	}
	if (*version && !found) {
		err_set(e, ERR_USAGE, "'%s' has no version %u", id, *version);
		return ERR_USAGE;
	}
	bool lives = found && alive(found, replaced);
	if (!lives || (!*version && living != 1))
		return bad_version(e, id, *version ? found : NULL, all, n);
	*version = found->n;
	return ERR_OK;
}

static int outcome(struct home *h, const char *id, uint32_t version, int code, struct err *e)
{
	struct state_secret s = { 0 };
	AUTO_FREE struct state_version *all = NULL;
	size_t n = 0;
	bool there = false;
	if (code != ERR_OK || !state_secret_get(h->state, id, &s, &there, e))
		return code;
	bool ok = state_versions(h->state, s.row, &all, &n, e);
	state_secret_clear(&s);
	for (size_t i = 0; ok && i < n; i++)
		if (all[i].n == version && all[i].state != STATE_REVOKED) {
			err_set(e, ERR_REFUSED, "version %u of '%s' is in use", version, id);
			err_hint(e, "rotor status %s; --force --reason TEXT ends its sessions", id);
			return ERR_REFUSED;
		}
	return code;
}

int engine_revoke(struct home *h, const char *id, uint32_t version, const struct engine_opts *o, json_t **ret,
                  struct err *e)
{
	struct engine en = { .home = h, .opts = o };
	struct state_rotation rot = { 0 };
	bool found = false;
	if (!state_rotation_get(h->state, id, &rot, &found, e))
		return e->code;
	bool unfinished = found && rot.ended < 0;
	int code = choose(h, id, unfinished && version ? rot.previous : 0, &version, e);
	struct run *r = NULL;
	if (code != ERR_OK) {
		state_rotation_clear(&rot);
		return code;
	}
	if (!unfinished) {
		state_rotation_clear(&rot);
		r = start(&en, id, RUN_REVOKE, e);
		if (!r)
			return e->code;
		r->target_version = version;
	} else {
		r = engine_hurry(&en, &rot, version, e);
		state_rotation_clear(&rot);
		if (!r)
			return e->code;
	}
	engine_work(&en);
	return outcome(h, id, version, engine_finish(&en, ret, e), e);
}
