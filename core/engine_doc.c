/* What `status` and `rotate` answer: rotations and their step rows as one JSON document. */
#include <stdlib.h>
#include <string.h>

#include "engine_run.h"

#include "json.h"

static json_t *step_doc(const struct state_step *s)
{
	json_t *j = json_pack("{s:s,s:s?,s:s,s:s?,s:I}", "step", s->step, "target", s->target, "state", s->state,
	                      "class", s->class_, "attempts", (json_int_t)s->attempts);
	json_put_int(j, "version", s->version);
	json_put_time(j, "started", s->started);
	json_put_time(j, "ended", s->ended);
	json_put_str(j, "receipt", s->receipt);
	json_put_str(j, "error", s->error);
	return j;
}

static const char *next_of(const struct state_rotation *rot, char *text, size_t size)
{
	if (rot->ended >= 0)
		return NULL;
	const char *changed = rb_why_text(RB_WHY_CHANGED);
	if (rot->held_because && strncmp(rot->held_because, changed, strlen(changed)) == 0)
		snprintf(text, size, "rotor rotate --abort %s", rot->secret); /* or put the declaration back */
	else if (strcmp(rot->state, "held") == 0)
		snprintf(text, size, "rotor rotate --continue %s", rot->secret);
	else
		snprintf(text, size, "rotor rotate --due");
	return text;
}

static const char *undo_until(const struct state_rotation *rot, const struct state_step steps[], size_t n)
{
	if (rot->ended >= 0)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (strcmp(steps[i].step, "revoke") == 0 && steps[i].started >= 0)
			return NULL;
	return "revoke";
}

json_t *engine_doc_rotation(struct home *h, const struct state_rotation *rot, struct err *e)
{
	struct state_step *steps = NULL;
	size_t n = 0;
	char next[256];
	struct kind_facts facts = { 0 };
	if (!state_steps(h->state, rot->id, &steps, &n, e))
		return NULL;
	AUTO_JSON *plan =
		rot->plan && *rot->plan ? json_parse(rot->plan, strlen(rot->plan), JSON_DEPTH_MAX, "a plan", e) : NULL;
	bool known = plan && kind_facts_parse(json_object_get(plan, "facts"), &facts, e);
	json_t *j =
		json_pack("{s:s,s:s,s:s?,s:s?,s:s,s:I}", "id", rot->id, "secret", rot->secret, "reason", rot->reason,
	                  "actor", rot->actor, "state", rot->state, "version", (json_int_t)rot->version);
	json_object_set_new(j, "previous", rot->previous ? json_integer(rot->previous) : json_null());
	json_put_time(j, "started", rot->started);
	json_put_time(j, "ended", rot->ended);
	json_put_str(j, "waits_for", rot->waits_for);
	json_put_time(j, "until", rot->until);
	json_put_str(j, "held_because", rot->held_because);
	json_put_str(j, "next", next_of(rot, next, sizeof next));
	json_put_str(j, "undo_until", undo_until(rot, steps, n));
	json_put_str(j, "evidence", known ? engine_plan_evidence(&facts) : NULL);
	json_put_str(j, "digest", rot->digest);
	json_t *rows = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(rows, step_doc(&steps[i]));
	json_object_set_new(j, "steps", rows);
	state_steps_free(steps, n);
	return j;
}

bool engine_doc_rotations(struct home *h, const char *const ids[], size_t n, json_t **ret, struct err *e)
{
	AUTO_JSON *list = json_array();
	for (size_t i = 0; i < n; i++) {
		struct state_rotation rot = { 0 };
		bool found = false;
		if (!state_rotation_get(h->state, ids[i], &rot, &found, e))
			return false;
		json_t *one = found ? engine_doc_rotation(h, &rot, e) : NULL;
		state_rotation_clear(&rot);
		if (found && !one)
			return false;
		if (one)
			json_array_append_new(list, one);
	}
	*ret = json_pack("{s:i,s:O}", "format", 1, "rotations", list);
	return true;
}

struct collect {
	struct home *home;
	json_t *list;
};

static bool collect(void *arg, const struct state_rotation *rot, struct err *e)
{
	struct collect *c = arg;
	json_t *one = engine_doc_rotation(c->home, rot, e);
	return one && json_array_append_new(c->list, one) == 0;
}

int engine_status(struct home *h, const char *which, json_t **ret, struct err *e)
{
	struct collect c = { h, json_array() };
	AUTO_JSON *list = c.list;
	if (which) {
		struct state_rotation rot = { 0 };
		bool found = false;
		if (!state_rotation_get(h->state, which, &rot, &found, e))
			return e->code;
		bool ok = found ? collect(&c, &rot, e) : err_set(e, ERR_USAGE, "there is no rotation of '%s'", which);
		state_rotation_clear(&rot);
		if (!ok)
			return e->code;
	} else if (!state_rotations(h->state, -1, collect, &c, e)) {
		return e->code;
	}
	*ret = json_pack("{s:i,s:O}", "format", 1, "rotations", list);
	return ERR_OK;
}
