/* Authorize: what the authority and the targets are like now, which slot is proven free, what must be accepted. Changes
 * nothing outside; what it finds is frozen as the rotation's plan. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_run.h"

#include "clock.h"
#include "json.h"
#include "mem.h"

#define WORKING_ROLES 64 /* slots looked at */

void engine_plan_clear(struct run_plan *p)
{
	json_decref(p->findings);
	free(p->slots);
	for (size_t i = 0; i < DECL_TARGETS_MAX; i++)
		free(p->held[i]);
	*p = (struct run_plan){ 0 };
}

static void found(struct run *r, enum kind_severity severity, bool drift, const char *check, const char *repair,
                  const char *fmt, ...) PRINTF(6, 7);
static void found(struct run *r, enum kind_severity severity, bool drift, const char *check, const char *repair,
                  const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (drift && severity == KIND_REFUSE && r->engine->opts->accept_drift)
		severity = KIND_INFO;
	json_array_append_new(r->plan.findings,
	                      json_pack("{s:s,s:s,s:s,s:s}", "check", check, "severity", kind_severity_name(severity),
	                                "message", text, "repair", repair));
}

static size_t n_targets(const struct run *r)
{
	return 1 + r->decl.n_stores + r->decl.n_consumers;
}

/* ---- taking answers */

bool engine_plan_refuse(struct run *r, enum err_code code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	err_vset(&r->err, code, fmt, ap);
	va_end(ap);
	r->exit = code;
	engine_end(r, code);
	return false;
}

static void take_findings(struct run *r, const json_t *body, const char *name)
{
	size_t i;
	json_t *f;
	json_array_foreach(json_object_get(body, "findings"), i, f) {
		int severity = kind_severity_parse(json_str(f, "severity"));
		const char *check = json_str(f, "check"), *message = json_str(f, "message"),
			   *repair = json_str(f, "repair");
		if (severity >= 0 && check && message)
			found(r, (enum kind_severity)severity, false, check, repair ? repair : "", "%s: %s", name,
			      message);
	}
}

static void text_of(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from ? from : "");
}

static void take_items(struct run *r, const json_t *body)
{
	struct run_plan *p = &r->plan;
	const json_t *items = json_object_get(body, "items");
	size_t n = json_array_size(items), i;
	json_t *j;
	free(p->slots);
	p->slots = mem_array(n < WORKING_ROLES ? n : WORKING_ROLES, sizeof *p->slots);
	p->n_slots = 0;
	json_array_foreach((json_t *)items, i, j) {
		if (p->n_slots == WORKING_ROLES)
			break;
		struct run_slot *s = &p->slots[p->n_slots++];
		text_of(s->handle, sizeof s->handle, json_str(j, "handle"));
		text_of(s->mark, sizeof s->mark, json_str(j, "mark"));
		text_of(s->mark_home, sizeof s->mark_home, json_str(j, "mark_home"));
		text_of(s->mark_state, sizeof s->mark_state, json_str(j, "mark_state"));
		s->mark_version = json_int(j, "mark_version", -1);
		s->sessions = (int)json_int(j, "sessions", -1);
		s->can_login = (int)json_int(j, "can_login", -1);
		s->has_value = (int)json_int(j, "has_value", -1);
	}
}

/* ---- which slot is free */

static bool old_load(struct run *r, struct err *e)
{
	struct state *st = r->engine->home->state;
	AUTO_FREE struct state_version *all = NULL;
	size_t n = 0;
	if (!state_versions(st, r->secret.row, &all, &n, e))
		return false;
	r->plan.first = true;
	for (size_t i = 0; i < n; i++) {
		if (all[i].state == STATE_CURRENT)
			r->old = all[i];
		if (all[i].n >= r->new.n)
			r->new.n = all[i].n + 1;
		r->plan.first &= !all[i].rotation[0];
	}
	if (!n)
		r->new.n = 1;
	if (!r->old.n)
		return true;
	r->old_was = (uint8_t)r->old.state;
	fields_free(r->old_value);
	r->old_value = NULL;
	return state_value_get(st, r->secret.row, r->secret.id, r->old.n, &r->old_value, e);
}

static const char *holder_of(const struct run *r, const char *user)
{
	for (size_t i = 0; i < r->decl.n_consumers; i++)
		if (r->plan.held[i] && strcmp(r->plan.held[i], user) == 0)
			return r->decl.consumers[i].t.name;
	return NULL;
}

/* Does the state know the version in the mark as revoked or rolled back? */
static bool known_gone(struct run *r, int64_t n)
{
	AUTO_FREE struct state_version *all = NULL;
	size_t count = 0;
	struct err ignored;
	if (!state_versions(r->engine->home->state, r->secret.row, &all, &count, &ignored))
		return false;
	for (size_t i = 0; i < count; i++)
		if (all[i].n == n)
			return all[i].state == STATE_REVOKED || all[i].state == STATE_ORPHANED;
	return false;
}

/* Why the slot may not be written, in words; NULL: it is proven free. */
static char *slot_taken(struct run *r, const struct run_slot *s)
{
	const char *holder = holder_of(r, s->handle);
	bool ours = strcmp(s->mark_home, r->engine->home->id) == 0;
	if (s->sessions > 0)
		return mem_printf("it has %d open session%s", s->sessions, s->sessions == 1 ? "" : "s");
	if (holder)
		return mem_printf("consumer '%s' holds it", holder);
	if (strcmp(s->mark_state, "free") == 0 || (ours && known_gone(r, s->mark_version)))
		return NULL;
	if (s->mark[0] && !ours)
		return mem_printf("it is marked by another home: %s", s->mark);
	if (s->mark[0])
		return mem_printf("its mark names a version that is not known as revoked: %s", s->mark);
	if (s->has_value == 1)
		return mem_dup("it has a password and no mark of rotor's");
	return r->plan.first ? NULL : mem_dup("it bears no mark of rotor's");
}

static bool plain(struct run *r)
{
	for (size_t i = 0; i < r->plan.n_slots; i++)
		if (r->plan.slots[i].sessions > 0 || r->plan.slots[i].has_value == 1 ||
		    holder_of(r, r->plan.slots[i].handle))
			return false;
	return true;
}

static bool living_at(struct run *r, const char *handle)
{
	return (r->old.n && strcmp(r->old.handle, handle) == 0) ||
	       (r->decl.adopt && strcmp(r->decl.adopt, handle) == 0);
}

static void choose_slot(struct run *r)
{
	struct run_plan *p = &r->plan;
	const char *why_not = NULL;
	AUTO_FREE char *all = mem_dup("");
	p->chosen = SIZE_MAX;
	for (size_t i = 0; i < p->n_slots && p->chosen == SIZE_MAX; i++) {
		const struct run_slot *s = &p->slots[i];
		bool single = p->facts.slots == 1;
		if (living_at(r, s->handle) && !single)
			continue;
		AUTO_FREE char *taken = single ? NULL : slot_taken(r, s);
		if (!taken || (r->engine->opts->accept_drift && s->sessions <= 0 && !holder_of(r, s->handle))) {
			p->chosen = i;
			if (taken)
				found(r, KIND_INFO, true, "slot-accepted", "",
				      "slot '%s' is taken in spite of this: %s", s->handle, taken);
			break;
		}
		char *more = mem_printf("%s%s'%s': %s", all, why_not ? "; " : "", s->handle, taken);
		free(all);
		all = more;
		why_not = all;
	}
	if (p->chosen == SIZE_MAX)
		found(r, KIND_REFUSE, false, "slot-not-free",
		      "find out who uses it; then rotate again, or --accept-drift if it is nobody",
		      "no slot is proven free: %s", why_not ? why_not : "none is declared beside the one in use");
}

/* The role of the current version must be as this home left it. */
static void current_slot(struct run *r)
{
	for (size_t i = 0; i < r->plan.n_slots; i++) {
		const struct run_slot *s = &r->plan.slots[i];
		if (!r->old.n || strcmp(s->handle, r->old.handle) != 0)
			continue;
		bool ours = strcmp(s->mark_home, r->engine->home->id) == 0 && s->mark_version == (int64_t)r->old.n;
		bool others = s->mark_home[0] && strcmp(s->mark_home, r->engine->home->id) != 0;
		if (s->mark[0] && !ours && (others || r->old.rotation[0]))
			found(r, KIND_REFUSE, !others, "current-foreign",
			      others ? "rotate it from there" :
			               "see who changed it; --accept-drift goes on all the same",
			      "'%s' holds the current version %u, but is marked: %s", s->handle, r->old.n, s->mark);
		if (!s->mark[0] && r->old.rotation[0])
			found(r, KIND_REFUSE, true, "current-unmarked",
			      "see who changed it; --accept-drift goes on all the same",
			      "'%s' holds the current version %u, but rotor's mark is gone from it", s->handle,
			      r->old.n);
		return;
	}
	if (r->old.n && r->old.handle[0] && !engine_run_legacy(r, &r->old))
		found(r, KIND_REFUSE, true, "current-gone", "declare the role again, or import what is in use",
		      "'%s', which holds the current version %u, is not among the authority's", r->old.handle,
		      r->old.n);
}

static void first_time(struct run *r)
{
	AUTO_FREE char *ways = mem_printf(
		"rotor inventory import %s --from-consumer, or declare adopt: {username: NAME, then: disable}",
		r->secret.id);
	if (r->old.n || r->decl.adopt)
		return;
	if (!plain(r))
		found(r, KIND_REFUSE, false, "first-rotation", ways,
		      "this is the first rotation and a declared role is in use, has a password, or stands in a "
		      "consumer's file; "
		      "rotor does not know its value");
	for (size_t i = 0; i < r->decl.n_consumers; i++)
		if (r->plan.held[i] && !living_at(r, r->plan.held[i]))
			found(r, KIND_INFO, false, "legacy-user", ways, "%s holds user '%s', which rotor will not end",
			      r->decl.consumers[i].t.name, r->plan.held[i]);
}

/* ---- the series of questions */

static void step_on(struct run *r);

static void ask(struct run *r, size_t target, enum kind_verb verb, bool read)
{
	engine_call_verb(r, target, verb, 0, read, RUN_NEITHER, NULL);
}

static void to(struct run *r, enum auth_phase phase, unsigned at)
{
	r->plan.phase = phase;
	r->plan.at = at;
	step_on(r);
}

unsigned engine_plan_endpoints(const struct run *r)
{
	return 1 + (unsigned)json_array_size(json_object_get(r->decl.authority.params, "endpoints"));
}

static void ask_target(struct run *r)
{
	if (r->plan.at >= n_targets(r))
		to(r, AUTH_HELD, 0);
	else
		ask(r, r->plan.at, KIND_PLAN, false);
}

static void ask_held(struct run *r)
{
	size_t base = 1 + r->decl.n_stores;
	while (r->plan.at < r->decl.n_consumers && !r->targets[base + r->plan.at].kind->reads_back)
		r->plan.at++;
	if (r->plan.at < r->decl.n_consumers) {
		ask(r, base + r->plan.at, KIND_LOOK, true);
		return;
	}
	if (r->plan.facts.named) {
		first_time(r);
		choose_slot(r);
		current_slot(r);
	}
	to(r, AUTH_CURRENT, 0);
}

static void ask_current(struct run *r)
{
	if (r->old_value && r->old.n && !r->plan.facts.refusal_locks)
		engine_call_verb(r, 0, KIND_PROBE, 0, false, RUN_OLD, NULL);
	else
		to(r, AUTH_RANDOM, 0);
}

/* That passwords are checked at all: a random one must be refused everywhere. */
static void ask_random(struct run *r)
{
	const struct run_plan *p = &r->plan;
	if (!p->facts.named || p->facts.refusal_locks || p->chosen >= p->n_slots || p->at >= engine_plan_endpoints(r))
		to(r, AUTH_DECIDE, 0);
	else
		engine_call_verb(r, 0, KIND_PROBE, p->at, false, RUN_NEITHER, p->slots[p->chosen].handle);
}

static void outages(struct run *r)
{
	for (size_t i = 0; i < r->decl.n_consumers; i++)
		if (json_is_object(json_object_get(r->decl.consumers[i].t.params, "restart")))
			found(r, KIND_OUTAGE, false, "restart", "", "%s is restarted, not reloaded",
			      r->decl.consumers[i].t.name);
	if (r->decl.policy.overlap == 0)
		found(r, KIND_OUTAGE, false, "no-overlap", "", "the policy keeps no overlap");
	bool known = !r->decl.adopt || r->old.n;
	if (!known)
		found(r, KIND_OUTAGE, false, "no-way-back", "",
		      "the value of '%s' is not known: once a consumer has the new one there is no way back",
		      r->decl.adopt);
}

/* What must hold before anything begins; ERR_REFUSED with all of it otherwise. */
static void decide(struct run *r)
{
	size_t i;
	json_t *f;
	const char *unsupported = rb_unsupported(&r->plan.facts);
	outages(r);
	if (unsupported)
		found(r, KIND_REFUSE, false, "unsupported", "", "this rotor cannot handle %s", unsupported);
	r->plan.decided = true;
	r->status = RUN_READY;
	json_array_foreach(r->plan.findings, i, f) {
		const char *severity = json_str(f, "severity"), *repair = json_str(f, "repair");
		bool outage = strcmp(severity, "outage") == 0 && !r->decl.accept_outage;
		if (strcmp(severity, "refuse") != 0 && !outage)
			continue;
		if (r->exit == ERR_OK)
			engine_plan_refuse(r, ERR_REFUSED, "%s: %s",
			                   outage ? "must be accepted first" : json_str(f, "check"),
			                   json_str(f, "message"));
		if (outage)
			err_hint(&r->err, "set accept_outage: true on '%s', or change the plan: rotor rotate -n %s",
			         r->secret.id, r->secret.id);
		else if (repair && *repair && !r->err.hint[0])
			err_hint(&r->err, "%s", repair);
	}
	if (r->mode == RUN_DRY && r->status == RUN_ENDED)
		r->status = RUN_READY; /* the plan is shown all the same */
}

static void step_on(struct run *r)
{
	switch (r->plan.phase) {
	case AUTH_FACTS:
		ask(r, 0, KIND_PLAN, false);
		break;
	case AUTH_LIST:
		ask(r, 0, KIND_LIST, false);
		break;
	case AUTH_TARGETS:
		ask_target(r);
		break;
	case AUTH_HELD:
		ask_held(r);
		break;
	case AUTH_CURRENT:
		ask_current(r);
		break;
	case AUTH_RANDOM:
		ask_random(r);
		break;
	case AUTH_DECIDE:
		decide(r);
	}
}

static void begin(struct run *r)
{
	engine_plan_clear(&r->plan);
	r->plan.findings = json_array();
	r->plan.chosen = SIZE_MAX;
	r->rb.attempt = 1; /* the session of authorize is the one that issues */
	memset(&r->old, 0, sizeof r->old);
	memset(&r->new, 0, sizeof r->new);
	if (!old_load(r, &r->err) || !engine_targets(r)) {
		engine_end(r, r->err.code);
		return;
	}
	engine_targets_start(r);
	to(r, AUTH_FACTS, 0);
}

static bool login_is(const struct helper_answer *a, enum kind_login login)
{
	return kind_login_parse(json_str(a->body, "login")) == (int)login;
}

static void answer(struct run *r, const struct helper_answer *a)
{
	struct run_plan *p = &r->plan;
	if (a->rc == KIND_PERMANENT &&
	    p->phase == AUTH_RANDOM) { /* let in, or turned away, without a question for a password */
		found(r, KIND_REFUSE, false, "not-checked", a->error.hint, "%s", a->error.message);
		to(r, AUTH_RANDOM, p->at + 1);
		return;
	}
	if (a->rc != KIND_OK) {
		bool later = a->rc == KIND_TEMPORARY || a->rc == KIND_AMBIGUOUS;
		engine_plan_refuse(r, later ? ERR_TEMPORARY : ERR_FAILED, "'%s': %s", r->secret.id, a->error.message);
		if (a->error.hint[0])
			err_hint(&r->err, "%s", a->error.hint);
		return;
	}
	switch (p->phase) {
	case AUTH_FACTS:
		if (!kind_facts_parse(json_object_get(a->body, "facts"), &p->facts, &r->err)) {
			engine_plan_refuse(r, ERR_FAILED, "'%s': the provider's facts are not understood",
			                   r->secret.id);
			return;
		}
		take_findings(r, a->body, r->decl.authority.name);
		to(r, AUTH_LIST, 0);
		break;
	case AUTH_LIST:
		take_items(r, a->body);
		to(r, AUTH_TARGETS, 1);
		break;
	case AUTH_TARGETS:
		take_findings(r, a->body, r->targets[p->at].name);
		to(r, AUTH_TARGETS, p->at + 1);
		break;
	case AUTH_HELD: {
		const char *user = json_str(json_object_get(json_object_get(a->body, "made"), "value"), "username");
		p->held[p->at] = user ? mem_dup(user) : NULL;
		to(r, AUTH_HELD, p->at + 1);
		break;
	}
	case AUTH_CURRENT:
		if (!login_is(a, KIND_ACCEPTED))
			found(r, KIND_REFUSE, true, "current-refused",
			      "see who changed it, import what is in use, or --accept-drift",
			      "the authority refuses the current version %u at '%s': somebody else changed it",
			      r->old.n, r->old.handle);
		to(r, AUTH_RANDOM, 0);
		break;
	case AUTH_RANDOM:
		if (!login_is(a, KIND_REFUSED))
			found(r, KIND_REFUSE, false, "not-checked", "let pg_hba ask for scram-sha-256 there",
			      "endpoint %u accepts any password for '%s': passwords are not checked", p->at,
			      p->slots[p->chosen].handle);
		to(r, AUTH_RANDOM, p->at + 1);
		break;
	case AUTH_DECIDE:
		break;
	}
}

const struct run_series engine_plan_series = { begin, answer };

/* ---- freezing it */

static json_t *frozen(const struct run *r)
{
	const struct run_plan *p = &r->plan;
	const struct run_slot *s = p->chosen < p->n_slots ? &p->slots[p->chosen] : NULL;
	return json_pack("{s:i,s:i,s:s,s:I,s:s?,s:s?,s:o,s:O,s:i,s:O}", "format", 1, "runbook", RB_VERSION, "secret",
	                 r->secret.id, "previous", (json_int_t)r->old.n, "slot", s ? s->handle : NULL, "mark",
	                 s ? s->mark : NULL, "facts", kind_facts_json(&p->facts), "decl", r->decl.json, "endpoints",
	                 (int)engine_plan_endpoints(r), "findings", p->findings);
}

static void digest_of(const char *text, char ret[static 65])
{
	unsigned char h[crypto_hash_sha256_BYTES];
	crypto_hash_sha256(h, (const unsigned char *)text, strlen(text));
	sodium_bin2hex(ret, 65, h, sizeof h);
}

/* The credential from before rotor becomes a version of its own, with a handle and no value. */
static void adopt(struct run *r)
{
	r->old = (struct state_version){
		.n = r->new.n, .state = STATE_PENDING, .issued_at = -1, .expires_at = -1, .revoked_at = -1
	};
	snprintf(r->old.handle, sizeof r->old.handle, "%s", r->decl.adopt);
	snprintf(r->old.reason, sizeof r->old.reason, "adopted");
	r->old_was = UINT8_MAX; /* not durable yet */
	r->new.n++;
}

static enum rb_order order_of(const struct run *r)
{
	return r->mode == RUN_PUSH ? RB_PUSH : r->mode == RUN_REVOKE ? RB_REVOKE_ONE : RB_ROTATE;
}

/* The version that this rotation makes. */
static void new_version(struct run *r)
{
	struct run_plan *p = &r->plan;
	r->new.state = STATE_PENDING;
	r->new.issued_at = r->new.expires_at = r->new.revoked_at = -1;
	r->new_was = UINT8_MAX;
	snprintf(r->new.rotation, sizeof r->new.rotation, "%s", r->rotation.id);
	snprintf(r->new.reason, sizeof r->new.reason, "%s", r->rotation.reason);
	if (p->chosen < p->n_slots) {
		snprintf(r->new.handle, sizeof r->new.handle, "%s", p->slots[p->chosen].handle);
		snprintf(r->expect, sizeof r->expect, "%s", p->slots[p->chosen].mark);
	}
}

/* A push leaves alone who has the version already. */
static void leave_out(struct run *r)
{
	for (size_t i = 0; i < r->rb.n; i++) {
		struct rb_row *row = &r->rb.rows[i];
		enum rb_at at = rb_row_at(row);
		size_t which = at == RB_STORES ? row->target : r->decl.n_stores + row->target;
		if ((at == RB_STORES || at == RB_CONSUMERS) && !r->lacks[which])
			row->state = RB_SKIPPED;
	}
}

bool engine_plan_lay(struct run *r, struct err *e)
{
	struct run_plan *p = &r->plan;
	struct rb *rb = &r->rb;
	enum rb_order order = order_of(r);
	if (order == RB_ROTATE && !r->old.n && r->decl.adopt)
		adopt(r);
	AUTO_JSON *plan = frozen(r);
	AUTO_TEXT *text = json_text(plan);
	char digest[65];
	digest_of(text, digest);
	if (r->engine->opts->expect && strcmp(r->engine->opts->expect, digest) != 0 && r->mode == RUN_START) {
		err_set(e, ERR_REFUSED, "the plan of '%s' is not the one expected: its digest is %s", r->secret.id,
		        digest);
		return err_hint(e, "look at it with: rotor rotate -n %s", r->secret.id);
	}
	free(r->rotation.plan);
	free(r->rotation.digest);
	r->rotation.plan = mem_dup(text);
	r->rotation.digest = mem_dup(digest);
	r->rotation.version = r->new.n;
	r->rotation.previous = r->old.n;
	if (order == RB_ROTATE)
		new_version(r);
	rb->facts = p->facts;
	rb->endpoints = (uint16_t)engine_plan_endpoints(r);
	rb->old_known = r->old_value != NULL;
	rb->shape = (struct rb_shape){ .order = order,
		                       .stores = (uint16_t)r->decl.n_stores,
		                       .consumers = (uint16_t)r->decl.n_consumers,
		                       .has_old = r->old.n != 0 };
	engine_run_policy(r);
	rb_plan(rb, clock_wall());
	if (order == RB_PUSH)
		leave_out(r);
	engine_run_texts(r);
	rb->force = order == RB_REVOKE_ONE && r->engine->opts->force;
	engine_run_say(&r->texts[0].receipt, "plan %.12s%s%s", digest, r->new.handle[0] ? ", slot " : "",
	               r->new.handle);
	r->planned = true;
	return true;
}

/* ---- as a document */

static json_t *step_doc(const struct run *r, const struct rb_row *row)
{
	enum rb_step step = (enum rb_step)row->step;
	return json_pack("{s:s,s:s?,s:I,s:s}", "step", rb_step_name(step), "target", engine_run_target_name(r, row),
	                 "version", (json_int_t)(row->old ? r->old.n : r->new.n), "does", rb_does(step));
}

static int64_t waits_of(const struct run *r)
{
	const struct rb_policy *p = &r->rb.policy;
	bool drains = r->rb.facts.usage == KIND_SAMPLED, soaks = r->rb.facts.can_suspend;
	bool bakes = p->canary > 0 && p->canary < r->rb.shape.consumers;
	return r->rb.shape.has_old ?
	               p->overlap + (drains ? p->quiet_for : 0) + (soaks ? p->soak : 0) + (bakes ? p->bake : 0) :
	               0;
}

static const char *undo_until(const struct run *r)
{
	const struct rb *rb = &r->rb;
	if (!rb->shape.has_old)
		return "close: an undo takes the new version away again";
	if (!rb->old_known)
		return rb->facts.slots == 1 ? "issue: the old value is not known" :
		                              "distribute: the old value is not known";
	return "revoke";
}

const char *engine_plan_evidence(const struct kind_facts *f)
{
	return f->usage == KIND_SAMPLED ? "receipts+authority (sampled)" : "receipts only";
}

json_t *engine_plan_doc(const struct run *r)
{
	AUTO_JSON *accept = json_array(), *refused = json_array(), *notes = json_array(), *steps = json_array();
	size_t i;
	json_t *f;
	json_array_foreach(r->plan.findings, i, f) {
		const char *severity = json_str(f, "severity");
		bool outage = strcmp(severity, "outage") == 0;
		json_array_append(strcmp(severity, "refuse") == 0  ? refused :
		                  outage && !r->decl.accept_outage ? accept :
		                                                     notes,
		                  f);
	}
	for (i = 0; i < r->rb.n; i++)
		json_array_append_new(steps, step_doc(r, &r->rb.rows[i]));
	json_t *doc = json_pack("{s:s,s:n,s:s,s:O,s:O,s:O,s:o,s:I,s:o,s:s?,s:s,s:s,s:O}", "secret", r->secret.id,
	                        "rotation", "digest", r->rotation.digest, "accept", accept, "refused", refused, "notes",
	                        notes, "facts", kind_facts_json(&r->rb.facts), "version", (json_int_t)r->new.n,
	                        "previous", r->old.n ? json_integer(r->old.n) : json_null(), "slot",
	                        r->new.handle[0] ? r->new.handle : NULL, "evidence", engine_plan_evidence(&r->rb.facts),
	                        "undo_until", undo_until(r), "steps", steps);
	json_put_time(doc, "revoke_expected", r->old.n ? clock_wall() + waits_of(r) : -1);
	return doc;
}
