/* The commands that work on rotations: which secrets, in which order, how many at a time. */
#include <stdlib.h>
#include <string.h>

#include "engine_run.h"

#include "clock.h"
#include "json.h"
#include "mem.h"

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
static int carry(struct home *h, const char *const ids[], size_t n, enum run_mode mode, const struct engine_opts *o,
                 bool staying, json_t **ret, struct err *e)
{
	struct engine en = { .home = h, .opts = o, .staying = staying };
	size_t next = 0;
	bool open = true;
	e->code = ERR_OK;
	while (open || (next < n && !engine_stopping())) {
		for (; next < n && engine_at_work(&en) < (size_t)o->jobs && !engine_stopping(); next++)
			engine_start(&en, ids[next], mode);
		open = engine_turn(&en);
	}
	return engine_finish(&en, ret, e);
}

/* ---- the commands */

int engine_plan(struct home *h, const char *const ids[], size_t n, const struct engine_opts *o, json_t **ret,
                struct err *e)
{
	struct engine en = { .home = h, .opts = o };
	json_t *plans = json_array();
	e->code = ERR_OK;
	for (size_t i = 0; i < n && !engine_stopping(); i++) {
		engine_start(&en, ids[i], RUN_DRY);
		engine_work(&en);
		json_t *doc = en.runs[en.n_runs - 1]->doc;
		if (doc)
			json_array_append(plans, doc);
	}
	*ret = json_pack("{s:i,s:o}", "format", 1, "plans", plans);
	return engine_finish(&en, NULL, e);
}

int engine_rotate(struct home *h, const char *const ids[], size_t n, const struct engine_opts *o, json_t **ret,
                  struct err *e)
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
	if (state_rotations(h->state, -1, count_held, &held, e) &&
	    state_rotations(h->state, now, add_rotation, &q, e) &&
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
	if (!r->planned || !engine_consumer(&r->decl, consumer, &at))
		return err_set(e, ERR_USAGE, "the rotation of '%s' has no consumer '%s'", r->secret.id, consumer);
	json_put_int(r->manual, consumer, (r->rb.back ? r->old : r->new).n);
	char op[ULID_SIZE];
	ulid_new(op);
	struct state_leaf leaf = { .op = op,
		                   .act = "confirm",
		                   .secret = r->secret.id,
		                   .rotation = r->rotation.id,
		                   .step = "confirm",
		                   .target = consumer,
		                   .version = (r->rb.back ? r->old : r->new).n,
		                   .receipt = "a person's word",
		                   .outcome = "done",
		                   .policy_max_age = -1 };
	bool held = r->rb.result == RB_HELD;
	if (!state_begin(st, e) ||
	    !engine_run_head(r, held ? "held" : "waiting", r->rotation.waits_for, r->rotation.until,
	                     held ? -1 : clock_wall(), e) ||
	    !state_log(st, &leaf, e) || !state_commit(st, e)) {
		state_abort(st);
		return false;
	}
	return true;
}

int engine_confirm(struct home *h, const char *which, const char *consumer, const struct engine_opts *o, json_t **ret,
                   struct err *e)
{
	struct queue q = { 0 };
	int code = pick(h, which, true, &q, e);
	struct engine en = { .home = h, .opts = o };
	bool unfinished = false;
	struct run *r = code == ERR_OK ? engine_run_new(&en, q.ids[0], RUN_CONTINUE, e) : NULL;
	if (r) {
		bool ok = engine_run_lease(r, e) && engine_unfinished(r, &unfinished, e);
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
