/* verify: is the world as the state says? Current accepted, revoked refused, stores and consumers agree, nothing
 * overdue, nothing foreign. Looks only. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_run.h"

#include "audit.h"
#include "clock.h"
#include "json.h"
#include "mem.h"

struct verify { /* what one call of engine_verify found */
	json_t *findings;
	bool error, unreachable;
};

static struct verify report;

static void find(const struct run *r, const char *severity, const char *check, uint32_t version, const char *fmt, ...)
	PRINTF(5, 6);
static void find(const struct run *r, const char *severity, const char *check, uint32_t version, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	report.error |= strcmp(severity, "error") == 0;
	json_array_append_new(report.findings, json_pack("{s:s?,s:o,s:s,s:s,s:s}", "secret", r ? r->secret.id : NULL,
	                                                 "version", version ? json_integer(version) : json_null(),
	                                                 "severity", severity, "check", check, "message", text));
}

/* ---- what the state alone tells */

static void schedule(struct run *r)
{
	int64_t now = clock_wall();
	char span[CLOCK_TEXT];
	const struct decl_policy *p = &r->decl.policy;
	if (!r->secret.version) {
		find(r, "warning", "never-rotated", 0, "no version is known yet: rotor rotate %s", r->secret.id);
		return;
	}
	int64_t age = r->secret.rotated_at >= 0 ? now - r->secret.rotated_at : -1;
	if (p->max_age >= 0 && age > p->max_age)
		find(r, "error", "max-age", r->secret.version, "it is %s old, max_age is passed: rotor rotate %s",
		     clock_span(age, span), r->secret.id);
	else if (r->secret.due_at >= 0 && r->secret.due_at < now)
		find(r, "warning", "overdue", r->secret.version, "it has been due for %s: rotor rotate %s",
		     clock_span(now - r->secret.due_at, span), r->secret.id);
}

static void rotation(struct run *r)
{
	struct state_rotation rot = { 0 };
	struct err ignored;
	bool found = false;
	if (!state_rotation_get(r->engine->home->state, r->secret.id, &rot, &found, &ignored))
		return;
	r->stored = found && rot.ended < 0; /* consumers are between two versions: neither is wrong */
	if (found && rot.ended < 0 && strcmp(rot.state, "held") == 0)
		find(r, "error", "held", rot.version, "rotation %s is held: %s", rot.id,
		     rot.held_because ? rot.held_because : "");
	state_rotation_clear(&rot);
}

static bool versions(struct run *r, struct err *e)
{
	struct state *st = r->engine->home->state;
	AUTO_FREE struct state_version *all = NULL;
	size_t n = 0;
	if (!state_versions(st, r->secret.row, &all, &n, e))
		return false;
	for (size_t i = 0; i < n; i++)
		if (all[i].state == STATE_CURRENT)
			r->new = all[i];
	return !r->new.n || state_value_get(st, r->secret.row, r->secret.id, r->new.n, &r->new_value, e);
}

/* ---- what the authority and the targets tell */

static void ask(struct run *r);

static void to(struct run *r, enum auth_phase phase, unsigned at)
{
	r->plan.phase = phase;
	r->plan.at = at;
	ask(r);
}

static void ask(struct run *r)
{
	struct run_plan *p = &r->plan;
	size_t n = r->decl.n_stores + r->decl.n_consumers;
	switch (p->phase) {
	case AUTH_LIST:
		engine_call_verb(r, 0, KIND_LIST, 0, false, RUN_NEITHER, NULL);
		break;
	case AUTH_CURRENT:
		if (p->at < engine_plan_endpoints(r))
			engine_call_verb(r, 0, KIND_PROBE, p->at, false, RUN_NEW, NULL);
		else
			to(r, AUTH_TARGETS, 0);
		break;
	case AUTH_TARGETS:
		while (p->at < n && r->stored)
			p->at++;
		while (p->at < n && p->at >= r->decl.n_stores && !r->targets[1 + p->at].kind->reads_back)
			p->at++;
		if (p->at < n)
			engine_call_verb(r, 1 + p->at, KIND_LOOK, 0, false, RUN_NEW, NULL);
		else
			engine_end(r, ERR_OK);
		break;
	default:
		engine_end(r, ERR_OK);
	}
}

static void begin(struct run *r)
{
	struct err e = { .message = "the kind 'command' is not there" };
	schedule(r);
	rotation(r);
	if (!versions(r, &e) || !engine_targets(r)) {
		find(r, "error", "state", 0, "%s", e.message);
		engine_end(r, ERR_OK);
		return;
	}
	if (r->new.n && !r->new_value)
		find(r, "info", "not-checkable", r->new.n, "the current value is not kept here: not checkable");
	to(r, AUTH_LIST, 0);
}

/* Every declared role bears the mark that the state would have written. */
static void check_item(struct run *r, const json_t *item)
{
	const char *handle = json_str(item, "handle"), *home = json_str(item, "mark_home"),
		   *state = json_str(item, "mark_state");
	int64_t version = json_int(item, "mark_version", -1), login = json_int(item, "can_login", -1);
	bool marked = home && *home, ours = marked && strcmp(home, r->engine->home->id) == 0,
	     held = state && strcmp(state, "held") == 0;
	bool current = r->new.n &&handle &&strcmp(handle, r->new.handle) == 0;
	if (!handle)
		return;
	if (marked && !ours && held)
		find(r, "error", "foreign", 0, "'%s' is marked by another home", handle);
	else if (current && r->new.rotation[0] && (!ours || version != (int64_t)r->new.n))
		find(r, "error", "foreign", r->new.n,
		     "'%s' does not bear the mark of version %u: somebody else changed it", handle, r->new.n);
	else if (!current && ours && !held && login > 0)
		find(r, "error", "revoked-accepted", (uint32_t)(version > 0 ? version : 0),
		     "'%s' is free by its mark, but can log in", handle);
	if (current && login == 0)
		find(r, "error", "current-suspended", r->new.n, "'%s' holds the current version and cannot log in",
		     handle);
}

static void check_list(struct run *r, const json_t *body)
{
	const json_t *items = json_object_get(body, "items");
	size_t i;
	json_t *item;
	bool there = !r->new.n || !r->new.handle[0] || engine_run_legacy(r, &r->new);
	json_array_foreach((json_t *)items, i, item) {
		const char *handle = json_str(item, "handle");
		there |= handle && strcmp(handle, r->new.handle) == 0;
		check_item(r, item);
	}
	if (!there)
		find(r, "error", "gone", r->new.n, "'%s', which holds the current version, is not there any more",
		     r->new.handle);
}

static void check_target(struct run *r, const json_t *body)
{
	const char *name = r->targets[1 + r->plan.at].name, *seen = json_str(body, "seen");
	bool has = seen && (strcmp(seen, "current") == 0 || strcmp(seen, "held") == 0);
	if (!has)
		find(r, "error", "lacks-current", r->new.n,
		     "%s does not hold the current version (%s): rotor push %s --consumer %s", name,
		     seen ? seen : "no answer", r->secret.id, name);
}

static void answer(struct run *r, const struct helper_answer *a)
{
	bool later = a->rc == KIND_TEMPORARY || a->rc == KIND_AMBIGUOUS;
	const char *where = r->plan.phase == AUTH_TARGETS ? r->targets[1 + r->plan.at].name : r->decl.authority.name;
	if (a->rc != KIND_OK) {
		report.unreachable |= later;
		find(r, later ? "unreachable" : "error", later ? "unreachable" : "failed", 0, "%s: %s", where,
		     a->error.message);
	}
	switch (r->plan.phase) {
	case AUTH_LIST:
		if (a->rc == KIND_OK)
			check_list(r, a->body);
		if (!r->new_value)
			engine_end(r, ERR_OK);
		else if (a->rc == KIND_OK)
			to(r, AUTH_CURRENT, 0);
		else
			to(r, AUTH_TARGETS, 0);
		break;
	case AUTH_CURRENT:
		if (a->rc == KIND_OK && kind_login_parse(json_str(a->body, "login")) != KIND_ACCEPTED)
			find(r, "error", "current-refused", r->new.n, "endpoint %u refuses the current version",
			     r->plan.at);
		to(r, AUTH_CURRENT, r->plan.at + 1);
		break;
	default:
		if (a->rc == KIND_OK)
			check_target(r, a->body);
		to(r, AUTH_TARGETS, r->plan.at + 1);
	}
}

static const struct run_series series = { begin, answer };

/* ---- the home itself */

static void swap(void)
{
	char line[256], name[128], key[128];
	FILE *f = fopen("/proc/swaps", "re");
	while (f && fgets(line, sizeof line, f)) {
		if (sscanf(line, "%127s", name) != 1 || strcmp(name, "Filename") == 0 ||
		    strncmp(name, "/dev/zram", 9) == 0)
			continue;
		snprintf(key, sizeof key, "/sys/class/block/%.60s/dm/uuid",
		         strrchr(name, '/') ? strrchr(name, '/') + 1 : name);
		FILE *dm = fopen(key, "re");
		bool crypt = dm && fgets(key, sizeof key, dm) && strncmp(key, "CRYPT-", 6) == 0;
		if (dm)
			fclose(dm);
		if (!crypt)
			find(NULL, "warning", "swap", 0,
			     "swap on '%s' is not encrypted: what client libraries buffer may reach it", name);
	}
	if (f)
		fclose(f);
}

static bool home_itself(struct home *h, struct err *e)
{
	struct audit_result a;
	if (!audit_verify(h, &a, e))
		return false;
	if (a.problem[0])
		find(NULL, "error", "log", 0, "the log is wrong at %llu: %s", (unsigned long long)a.problem_at,
		     a.problem);
	if (h->trust != HOME_TRUSTED)
		find(NULL, "error", "home", 0, "%s", h->why);
	swap();
	return true;
}

struct ids {
	char **id;
	size_t n;
};

static bool collect(void *arg, const struct state_secret *s, struct err *e)
{
	struct ids *to = arg;
	(void)e;
	to->id = mem_grow(to->id, to->n + 1, sizeof *to->id);
	to->id[to->n++] = mem_dup(s->id);
	return true;
}

/* Up to `jobs` side by side. */
static bool secrets(struct home *h, const struct engine_opts *o, const char *const ids[], size_t n, struct err *e)
{
	struct engine en = { .home = h, .opts = o };
	bool ok = true;
	for (size_t i = 0; ok && i < n; i++) {
		struct run *r = engine_run_new(&en, ids[i], RUN_LOOK, e);
		ok = r != NULL;
		if (ok) {
			r->series = &series;
			engine_add(&en, r);
		}
		if (en.n_runs == (size_t)o->jobs || i + 1 == n || !ok) {
			struct err ignored = { 0 };
			engine_work(&en);
			engine_finish(&en, NULL, &ignored);
			en = (struct engine){ .home = h, .opts = o };
		}
	}
	return ok;
}

int engine_verify(struct home *h, const char *const ids[], size_t n, const struct engine_opts *o, json_t **ret,
                  struct err *e)
{
	struct ids all = { 0 };
	struct state_select any = { .due_before = -1, .expiring_before = -1, .limit = -1 };
	report = (struct verify){ .findings = json_array() };
	bool ok = n > 0 || (home_itself(h, e) && state_secrets(h->state, &any, false, collect, &all, e));
	ok = ok && secrets(h, o, n ? ids : (const char *const *)all.id, n ? n : all.n, e);
	for (size_t i = 0; i < all.n; i++)
		free(all.id[i]);
	free(all.id);
	if (!ok) {
		json_decref(report.findings);
		return e->code;
	}
	*ret = json_pack("{s:i,s:o}", "format", 1, "findings", report.findings);
	return report.error ? ERR_FAILED : report.unreachable ? ERR_TEMPORARY : ERR_OK;
}
