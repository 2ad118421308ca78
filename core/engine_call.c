/* Questions to providers. A call never blocks: it is begun here, and received when its helper's descriptor is readable.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine_run.h"

#include "clock.h"
#include "json.h"
#include "mem.h"

#define BATCH_MAX 1000 /* secrets in one sample */
#define SHARED_MS 100  /* an answer of this age is as good as an own one */

/* ---- requests */

json_t *engine_call_request(struct run *r, enum kind_verb verb, const char *step)
{
	json_t *q = json_pack("{s:s,s:s,s:s}", "verb", kind_verb_name(verb), "home", r->engine->home->id, "secret",
	                      r->secret.id);
	AUTO_FREE char *tag = mem_printf("%s/%s/%u", r->rotation.id, step, r->rb.attempt);
	json_put_str(q, "tag", tag);
	return q;
}

/* What a version is to a target: its public handle, and its fields with those that consumers may ask for besides. */
static json_t *cred_json(const struct run *r, const struct state_version *v, const struct fields *value)
{
	AUTO_FREE char *number = mem_printf("%u", v->n);
	json_t *fields = value ? json_from_fields(value) : json_null();
	if (value) {
		json_put_str(fields, "version", number);
		json_put_str(fields, "rotation", v->rotation[0] ? v->rotation : r->rotation.id);
		json_put_str(fields, "fingerprint", v->fp);
	}
	return json_pack("{s:I,s:s?,s:o,s:s?}", "n", engine_run_legacy(r, v) ? (json_int_t)0 : (json_int_t)v->n,
	                 "handle", v->handle[0] ? v->handle : NULL, "value", fields, "rotation",
	                 v->rotation[0] ? v->rotation : NULL);
}

static json_t *version_cred(const struct run *r, bool old)
{
	return old ? cred_json(r, &r->old, r->old_value) : cred_json(r, &r->new, r->new_value);
}

static void answer_now(struct run *r, enum kind_rc rc, bool yes)
{
	r->answer = (struct rb_answer){ .rc = rc, .yes = yes, .last_ms = -1, .now_ms = -1 };
	r->have_answer = true;
	r->status = RUN_READY;
	r->calling = NULL;
	json_decref(r->request);
	r->request = NULL;
}

void engine_call_fail(struct run *r, enum kind_rc rc, const struct err *e)
{
	engine_run_say(&r->last_error, "%s", e->message);
	if (!r->planned) {
		struct helper_answer a = { .rc = rc, .error = *e };
		r->calling = NULL;
		json_decref(r->request);
		r->request = NULL;
		r->status = RUN_READY;
		r->series->answer(r, &a);
		return;
	}
	answer_now(r, rc, false);
}

/* ---- the runbook's calls */

static json_t *verb_request(struct run *r, enum kind_verb verb, bool old, unsigned endpoint)
{
	const struct rb_row *row = &r->rb.rows[r->act.row];
	json_t *q = engine_call_request(r, verb, rb_step_name((enum rb_step)row->step));
	json_object_set_new(q, "n", version_cred(r, old));
	json_put_int(q, "endpoint", endpoint);
	if (r->act.fence) {
		AUTO_FREE char *fence = mem_printf("%s/%u", r->rotation.id, r->rb.attempt);
		json_put_str(q, "fence", fence);
	}
	if (r->cursor[0])
		json_put_str(q, "cursor", r->cursor);
	if (verb == KIND_PUT) {
		bool has = old ? r->new.n : r->old.n;
		json_object_set_new(q, "prev", has ? version_cred(r, !old) : json_null());
	}
	if (r->act.at == RB_AUTHORITY && !old)
		json_put_str(q, "expect", r->expect);
	return q;
}

static void call(struct run *r, struct run_target *t, json_t *q)
{
	json_decref(r->request);
	r->request = q;
	r->calling = t;
	engine_target_send(r);
}

/* ---- one question for all that drain at an authority */

static char *authority_of(const struct run *r)
{
	const struct decl_target *t = &r->decl.authority;
	AUTO_FREE char *address = t->kind->address ? t->kind->address(t->params) : mem_dup(t->kind->name);
	AUTO_JSON *key = json_pack("[s,s,O?,O?]", t->kind->name, address, json_object_get(t->params, "endpoints"),
	                           (json_t *)t->auth);
	AUTO_TEXT *text = json_text(key);
	return mem_dup(text);
}

static bool samples(const struct run *r)
{
	return r->act.verb == KIND_USAGE && r->rb.rows[r->act.row].step == RB_DRAIN;
}

/* Those who would ask the same soon. */
static void batch(struct run *r, json_t *creds)
{
	const struct engine *en = r->engine;
	int64_t soon = clock_boot() + r->rb.policy.sample / 2;
	if (!r->authority)
		r->authority = authority_of(r);
	r->n_batch = 0;
	for (size_t i = 0; i < en->n_runs && r->n_batch < BATCH_MAX && r->act.endpoint < RUN_SEEN; i++) {
		struct run *o = en->runs[i];
		if (o == r || o->status != RUN_WAITING || !o->act.sampling || o->wake_at > soon)
			continue;
		if (!o->authority)
			o->authority = authority_of(o);
		if (strcmp(o->authority, r->authority) != 0)
			continue;
		r->batch = mem_grow(r->batch, r->n_batch + 1, sizeof *r->batch);
		r->batch[r->n_batch++] = o;
		json_array_append_new(creds, version_cred(o, o->rb.rows[o->act.row].old));
	}
}

static void share_sample(struct run *r, const json_t *usage)
{
	int64_t now = clock_boot();
	for (size_t i = 0; i < r->n_batch; i++) {
		struct run *o = r->batch[i];
		int64_t n = json_int(json_array_get(usage, i + 1), "sessions", -1);
		if (n < 0)
			continue;
		o->seen[r->act.endpoint] = (struct run_seen){ now, (uint32_t)n };
		if (r->act.endpoint + 1u == r->rb.endpoints)
			o->wake_at = now;
	}
	r->n_batch = 0;
}

/* Another run's question has just been answered for this one too. */
static bool shared(struct run *r)
{
	struct run_seen *s = r->act.endpoint < RUN_SEEN ? &r->seen[r->act.endpoint] : NULL;
	if (!s || !s->at || clock_boot() - s->at > SHARED_MS)
		return false;
	answer_now(r, KIND_OK, false);
	r->answer.sessions = s->sessions;
	s->at = 0;
	return true;
}

static void usage_call(struct run *r, bool old, unsigned endpoint, const char *application_name, const char *client)
{
	if (samples(r) && shared(r))
		return;
	json_t *q = verb_request(r, KIND_USAGE, old, endpoint);
	json_t *creds = json_pack("[o]", version_cred(r, old));
	if (samples(r))
		batch(r, creds);
	json_object_set_new(q, "creds", creds);
	json_object_set_new(q, "filter",
	                    json_pack("{s:s?,s:s?}", "application_name", application_name, "client", client));
	call(r, &r->targets[0], q);
}

/* A consumer's receipt is all of its forms together; the next form is asked when one has said yes. */
static void receipt_call(struct run *r)
{
	const struct decl_consumer *c = &r->decl.consumers[r->act.target];
	bool sees = r->rb.facts.usage == KIND_SAMPLED;
	static const struct decl_confirm by_sessions = { .kind = DECL_CONFIRM_AUTHORITY, .min = 1 },
					 by_person = { .kind = DECL_CONFIRM_MANUAL };
	if (r->receipt_at >= (c->n_confirms ? c->n_confirms : 1)) {
		r->receipt_at = 0;
		answer_now(r, KIND_OK, true);
		return;
	}
	const struct decl_confirm *f = c->n_confirms ? &c->confirms[r->receipt_at] : sees ? &by_sessions : &by_person;
	int64_t wanted = (r->act.old ? r->old : r->new).n;
	switch (f->kind) {
	case DECL_CONFIRM_COMMAND:
		call(r, engine_target_confirm(r, r->act.target, r->receipt_at),
		     verb_request(r, KIND_LOOK, r->act.old, 0));
		break;
	case DECL_CONFIRM_AUTHORITY:
		usage_call(r, r->act.endpoint >= r->rb.endpoints ? !r->act.old : r->act.old,
		           r->act.endpoint % r->rb.endpoints, f->application_name, f->client);
		break;
	case DECL_CONFIRM_MANUAL:
		if (json_int(r->manual, c->t.name, 0) != wanted) {
			r->receipt_at = 0;
			r->by_person = true;
			engine_run_say(&r->last_error, "a person must say so: rotor rotate --confirm %s %s", c->t.name,
			               r->rotation.secret);
			answer_now(r, KIND_OK, false);
			break;
		}
		r->receipt_at++;
		receipt_call(r);
	}
}

/* Sessions of the version wanted are summed over all endpoints; with `none_old`, then those of the other one. */
static void receipt_usage(struct run *r, uint32_t sessions)
{
	const struct decl_consumer *c = &r->decl.consumers[r->act.target];
	int64_t min = c->n_confirms ? c->confirms[r->receipt_at].min : 1;
	bool none_old = c->n_confirms && c->confirms[r->receipt_at].none_old && r->rb.shape.has_old;
	unsigned e = r->rb.endpoints;
	bool others = r->act.endpoint >= e;
	r->receipt_sessions += sessions;
	r->act.endpoint++;
	if (r->act.endpoint == e || r->act.endpoint == 2 * e) {
		bool yes = others ? r->receipt_sessions == 0 : r->receipt_sessions >= min;
		r->receipt_sessions = 0;
		if (!yes) {
			r->receipt_at = 0;
			answer_now(r, KIND_OK, false);
			return;
		}
		if (others || !none_old) {
			r->receipt_at++;
			r->act.endpoint = 0;
		}
	}
	receipt_call(r);
}

static struct run_target *kept_target(struct run *r)
{
	return &r->targets[1 + r->decl.n_stores + r->act.target];
}

static char *kept_name(const struct run *r, const struct run_target *t)
{
	return mem_printf("%s/%s", r->rotation.id, t->name);
}

/* A first put replaces something that no version knows: it is read and sealed before. */
static bool keeps_first(struct run *r)
{
	const struct rb_row *row = &r->rb.rows[r->act.row];
	if (row->step != RB_DISTRIBUTE || row->undo || r->rb.shape.has_old || r->act.verb != KIND_PUT ||
	    !kept_target(r)->kind->reads_back)
		return false;
	AUTO_FREE char *name = kept_name(r, kept_target(r));
	return !r->kept_for || strcmp(r->kept_for, name) != 0;
}

static void consumer_call(struct run *r, struct run_target *t)
{
	if (keeps_first(r)) {
		json_t *q = verb_request(r, KIND_LOOK, false, 0);
		json_put_bool(q, "read", true);
		r->keeping = true;
		call(r, t, q);
		return;
	}
	if (r->act.verb != RB_UNPUT) {
		call(r, t, verb_request(r, (enum kind_verb)r->act.verb, r->act.old, 0));
		return;
	}
	struct err e;
	AUTO_FIELDS *before = NULL;
	AUTO_FREE char *name = kept_name(r, t);
	if (!state_kept_get(r->engine->home->state, r->secret.row, r->secret.id, name, &before, &e)) {
		engine_call_fail(r, KIND_TEMPORARY, &e);
		return;
	}
	json_t *q = verb_request(r, KIND_DROP, false, 0);
	size_t len = 0;
	const char *content = fields_get(before, "content", &len);
	if (content)
		json_object_set_new(json_object_get(json_object_get(q, "n"), "value"), "content",
		                    json_stringn(content, len));
	call(r, t, q);
}

void engine_call_begin(struct run *r)
{
	const struct rb_act *a = &r->act;
	r->receipt_at = r->receipt_sessions = 0;
	r->by_person = false;
	if (a->verb == RB_RECEIPT) {
		receipt_call(r);
	} else if (a->verb == RB_HEALTH) {
		call(r, engine_target_health(r, a->target), verb_request(r, KIND_LOOK, false, 0));
	} else if (a->verb == KIND_USAGE) {
		usage_call(r, a->old, a->endpoint, NULL, NULL);
	} else if (a->at == RB_AUTHORITY) {
		call(r, &r->targets[0], verb_request(r, (enum kind_verb)a->verb, a->old, a->endpoint));
	} else if (a->at == RB_STORES && a->verb != RB_UNPUT) {
		call(r, &r->targets[1 + a->target], verb_request(r, (enum kind_verb)a->verb, a->old, 0));
	} else {
		size_t base = a->at == RB_STORES ? 1 : 1 + r->decl.n_stores;
		consumer_call(r, &r->targets[base + a->target]);
	}
}

void engine_call_verb(struct run *r, size_t at, enum kind_verb verb, unsigned endpoint, bool read, enum run_which which,
                      const char *handle)
{
	json_t *q = engine_call_request(r, verb, "authorize");
	json_put_int(q, "endpoint", endpoint);
	json_put_bool(q, "read", read);
	if (which != RUN_NEITHER)
		json_object_set_new(q, "n", version_cred(r, which == RUN_OLD));
	else if (handle)
		json_object_set_new(q, "n", json_pack("{s:i,s:s,s:n}", "n", 0, "handle", handle, "value"));
	call(r, &r->targets[at], q);
}

/* ---- answers */

static enum kind_seen seen_of(const json_t *body)
{
	int seen = kind_seen_parse(json_str(body, "seen"));
	return seen < 0 ? KIND_FOREIGN : (enum kind_seen)seen;
}

static void note_made(struct run *r, const json_t *made)
{
	const char *receipt = json_str(made, "receipt"), *cursor = json_str(made, "cursor");
	snprintf(r->cursor, sizeof r->cursor, "%s", cursor ? cursor : "");
	if (receipt && *receipt) {
		engine_run_texts(r);
		engine_run_say(&r->texts[r->act.row].receipt, "%s", receipt);
	}
}

static void keep(struct run *r, const struct helper_answer *a)
{
	struct err e;
	struct fields *before = NULL;
	r->keeping = false;
	const json_t *value = json_object_get(json_object_get(a->body, "made"), "value");
	if (a->rc != KIND_OK) {
		engine_call_fail(r, a->rc, &a->error);
		return;
	}
	if (!json_is_object(value))
		before = fields_new();
	else if (!json_to_fields(value, &before, &e)) {
		engine_call_fail(r, KIND_PERMANENT, &e);
		return;
	}
	free(r->kept_for);
	r->kept_for = kept_name(r, r->calling);
	fields_free(r->kept);
	r->kept = before;
	r->status = RUN_COMMITTING; /* durable before the file is touched */
	r->calling = NULL;
}

static void sessions_seen(struct run *r, const json_t *body)
{
	json_t *usage = json_object_get(body, "usage"), *first = json_array_get(usage, 0);
	share_sample(r, usage);
	int64_t sessions = json_int(first, "sessions", -1);
	const char *who = json_str(first, "detail");
	/* an answer without a count is no evidence that nobody is there */
	r->answer.sessions = sessions < 0 ? 1 : (uint32_t)sessions;
	r->answer.last_ms = json_int(first, "last", -1);
	if (r->answer.sessions && who && *who)
		engine_run_say(&r->last_error, "%s", who);
}

static void take(struct run *r, const struct helper_answer *a)
{
	const json_t *body = a->body;
	answer_now(r, a->rc, false);
	struct rb_answer *to = &r->answer;
	int login = kind_login_parse(json_str(body, "login"));
	to->seen = seen_of(body);
	to->login = login == KIND_ACCEPTED ? KIND_ACCEPTED : KIND_REFUSED;
	to->now_ms = json_int(body, "now", -1);
	if (a->rc != KIND_OK && a->rc != KIND_MORE) {
		engine_run_say(&r->last_error, "%s", a->error.message);
		engine_run_texts(r);
		engine_run_say(&r->texts[r->act.row].error, "%s", a->error.message);
		return;
	}
	if (r->act.verb == KIND_PROBE && login < 0)
		to->rc = KIND_TEMPORARY;          /* neither accepted nor refused is no answer */
	engine_run_say(&r->last_error, "%s", ""); /* what went wrong before is over */
	note_made(r, json_object_get(body, "made"));
	if (r->act.verb == KIND_DISCONNECT)
		to->sessions = (uint32_t)json_int(body, "left", 1);
	if (r->act.verb == KIND_USAGE)
		sessions_seen(r, body);
	if (r->act.verb == RB_HEALTH)
		to->yes = to->seen == KIND_CURRENT;
}

static void receipt_answer(struct run *r, const struct helper_answer *a)
{
	if (a->rc != KIND_OK) {
		r->receipt_at = 0;
		take(r, a);
		return;
	}
	json_t *usage = json_object_get(a->body, "usage");
	if (usage) {
		int64_t n = json_int(json_array_get(usage, 0), "sessions", 0);
		receipt_usage(r, n > 0 ? (uint32_t)n : 0);
	} else if (seen_of(a->body) == KIND_CURRENT) {
		r->receipt_at++;
		receipt_call(r);
	} else {
		r->receipt_at = 0;
		answer_now(r, KIND_OK, false);
	}
}

struct helper *engine_call_waits(const struct run *r)
{
	if (r->status != RUN_CALLING || !r->calling)
		return NULL;
	return r->crediting ? r->fetcher : r->calling->helper;
}

static void answered(struct run *r, const struct helper_answer *a)
{
	if (r->crediting) {
		engine_target_fetched(r, a);
	} else if (r->opening) {
		engine_target_opened(r, a);
	} else {
		if (engine_target_refreshed(r, a))
			return;
		if (a->rc == KIND_AMBIGUOUS)
			engine_target_close(r->calling); /* its session bears an attempt that is dead now */
		if (!r->planned) {
			r->calling = NULL;
			r->status = RUN_READY;
			r->series->answer(r, a);
		} else if (r->keeping) {
			keep(r, a);
		} else if (r->act.verb == RB_RECEIPT) {
			receipt_answer(r, a);
		} else {
			take(r, a);
		}
	}
}

void engine_call_receive(struct run *r, int64_t now_boot)
{
	struct helper_answer a = { .rc = KIND_AMBIGUOUS };
	struct helper *h = engine_call_waits(r);
	if (!h || !helper_receive(h, now_boot, &a))
		return;
	bool log_in = r->opening || r->calling->fresh;
	if (a.rc == KIND_PERMANENT && !r->crediting && log_in && engine_target_moves(r, r->calling))
		a.rc = KIND_TEMPORARY;
	answered(r, &a);
	json_decref(a.body);
}
