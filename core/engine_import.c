/* import: takes a value that is in use already as the current version, once the authority has accepted it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_run.h"

#include "clock.h"
#include "json.h"
#include "mem.h"
#include "policy.h"

static size_t reading_consumer(const struct run *r)
{
	size_t base = 1 + r->decl.n_stores;
	for (size_t i = 0; i < r->decl.n_consumers; i++)
		if (r->targets[base + i].kind->reads_back)
			return base + i;
	return 0;
}

/* The handle of an imported credential is its user name, or the only one there can be. */
static bool take_value(struct run *r, const struct fields *f, struct err *e)
{
	const json_t *users = json_object_get(r->decl.authority.params, "users");
	const char *user = fields_get(f, "username", NULL);
	if (!fields_get(f, "password", NULL))
		return err_set(e, ERR_USAGE, "the value of '%s' has no field 'password'", r->secret.id);
	if (!user && json_array_size(users) == 1)
		user = json_string_value(json_array_get(users, 0));
	if (!user && json_array_size(users) > 1) {
		err_set(e, ERR_USAGE, "the value of '%s' has no field 'username', and several users are declared",
		        r->secret.id);
		return err_hint(e, "give a JSON object: {\"username\": NAME, \"password\": VALUE}");
	}
	fields_free(r->new_value);
	r->new_value = fields_copy(f);
	if (user && !fields_set(r->new_value, "username", user, strlen(user), e))
		return false;
	snprintf(r->new.handle, sizeof r->new.handle, "%s", user ? user : "");
	seal_fingerprint(r->engine->home->seal, r->secret.id, r->new_value, r->new.fp);
	return true;
}

static void probe(struct run *r)
{
	r->plan.phase = AUTH_CURRENT;
	engine_call_verb(r, 0, KIND_PROBE, 0, false, RUN_NEW, NULL);
}

static void begin(struct run *r)
{
	if (!engine_targets(r)) {
		engine_end(r, ERR_FAILED);
		return;
	}
	size_t consumer = reading_consumer(r);
	if (r->from_consumer && !consumer)
		engine_plan_refuse(r, ERR_USAGE, "'%s' has no consumer whose file can be read", r->secret.id);
	else if (r->from_consumer)
		engine_call_verb(r, consumer, KIND_LOOK, 0, true, RUN_NEITHER, NULL);
	else if (!take_value(r, r->given, &r->err))
		engine_end(r, r->err.code);
	else
		probe(r);
}

/* What was current before is no longer known to be in use by anybody: it stays alive as previous. */
static bool record(struct run *r, struct err *e)
{
	struct state *st = r->engine->home->state;
	AUTO_FREE struct state_version *all = NULL;
	size_t n = 0;
	int64_t now = clock_wall();
	char op[ULID_SIZE];
	ulid_new(op);
	if (!state_versions(st, r->secret.row, &all, &n, e))
		return false;
	r->new.n = n ? all[0].n + 1 : 1;
	for (size_t i = 0; i < n; i++) {
		if (all[i].state != STATE_CURRENT)
			continue;
		all[i].state = strcmp(all[i].handle, r->new.handle) == 0 ? STATE_REVOKED : STATE_PREVIOUS;
		if (!state_version_put(st, r->secret.row, &all[i], e))
			return false;
	}
	r->new.state = STATE_CURRENT;
	r->new.issued_at = r->new.expires_at = r->new.revoked_at = -1;
	snprintf(r->new.reason, sizeof r->new.reason, "%s",
	         r->engine->opts->reason ? r->engine->opts->reason : "imported");
	struct state_leaf leaf = { .op = op,
		                   .act = "inventory.import",
		                   .secret = r->secret.id,
		                   .version = r->new.n,
		                   .handle = r->new.handle[0] ? r->new.handle : NULL,
		                   .reason = r->new.reason,
		                   .fp_new = r->new.fp,
		                   .receipt = r->from_consumer ? "read from a consumer, accepted by the authority" :
		                                                 "accepted by the authority",
		                   .outcome = "done",
		                   .policy_max_age = -1 };
	return state_version_put(st, r->secret.row, &r->new, e) &&
	       state_value_put(st, r->secret.row, r->secret.id, r->new.n, r->new_value, e) &&
	       state_secret_schedule(st, r->secret.row, -1,
	                             policy_due(r->secret.id, now, r->decl.policy.rotate_every, r->decl.policy.jitter),
	                             -1, e) &&
	       state_log(st, &leaf, e);
}

static void accepted(struct run *r)
{
	struct state *st = r->engine->home->state;
	if (!state_begin(st, &r->err) || !record(r, &r->err) || !state_commit(st, &r->err)) {
		state_abort(st);
		engine_end(r, r->err.code);
		return;
	}
	r->doc = json_pack("{s:i,s:s,s:I,s:s?,s:s}", "format", 1, "secret", r->secret.id, "version",
	                   (json_int_t)r->new.n, "handle", r->new.handle[0] ? r->new.handle : NULL, "fingerprint",
	                   r->new.fp);
	engine_end(r, ERR_OK);
}

static void answer(struct run *r, const struct helper_answer *a)
{
	if (a->rc != KIND_OK) {
		bool later = a->rc == KIND_TEMPORARY || a->rc == KIND_AMBIGUOUS;
		engine_plan_refuse(r, later ? ERR_TEMPORARY : ERR_FAILED, "'%s': %s", r->secret.id, a->error.message);
		return;
	}
	if (r->plan.phase == AUTH_CURRENT) {
		if (kind_login_parse(json_str(a->body, "login")) == KIND_ACCEPTED)
			accepted(r);
		else
			engine_plan_refuse(r, ERR_REFUSED,
			                   "the authority refuses the value given for '%s': it is not the one in use",
			                   r->secret.id);
		return;
	}
	AUTO_FIELDS *read = NULL;
	const json_t *value = json_object_get(json_object_get(a->body, "made"), "value");
	if (!json_is_object(value))
		engine_plan_refuse(r, ERR_FAILED, "'%s': the consumer's file holds no credential", r->secret.id);
	else if (!json_to_fields(value, &read, &r->err) || !take_value(r, read, &r->err))
		engine_end(r, r->err.code);
	else
		probe(r);
}

static const struct run_series series = { begin, answer };

int engine_import(struct home *h, const char *id, const struct fields *value, bool from_consumer,
                  const struct engine_opts *o, json_t **ret, struct err *e)
{
	struct engine en = { .home = h, .opts = o };
	struct state_rotation rot = { 0 };
	bool found = false;
	e->code = ERR_OK;
	struct run *r = engine_run_new(&en, id, RUN_LOOK, e);
	if (!r)
		return e->code;
	r->series = &series;
	r->given = value;
	r->from_consumer = from_consumer;
	engine_add(&en, r);
	if (!engine_run_lease(r, &r->err) || !state_rotation_get(h->state, id, &rot, &found, &r->err)) {
		engine_end(r, r->err.code);
	} else if (found && rot.ended < 0) {
		err_set(&r->err, ERR_REFUSED, "'%s' has an unfinished rotation", id);
		err_hint(&r->err, "rotor status %s", id);
		engine_end(r, r->err.code);
	}
	state_rotation_clear(&rot);
	engine_work(&en);
	*ret = json_incref(r->doc);
	return engine_finish(&en, NULL, e);
}
