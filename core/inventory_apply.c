#include "inventory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inventory_inside.h"
#include "json.h"
#include "mem.h"
#include "policy.h"

struct apply {
	struct home *home;
	const char *const *files;
	size_t n_files;
	char **sources; /* where each file really is; "-" standard input */
	bool prune;
	struct load *load;
	json_t *declared; /* object: the ids of `load` */
	bool *leads_out;  /* one for each of `load` */
	char op[ULID_SIZE];
	json_t *changes;
};

static bool find_sources(struct apply *a, struct err *e)
{
	a->sources = mem_array(a->n_files, sizeof *a->sources);
	for (size_t i = 0; i < a->n_files; i++) {
		if (strcmp(a->files[i], "-") == 0) {
			if (a->prune)
				return err_set(e, ERR_USAGE,
				               "--prune compares with what the same files declared before: "
				               "standard input is never the same");
			a->sources[i] = mem_dup("-");
			continue;
		}
		char *real = realpath(a->files[i], NULL);
		if (!real && errno == ENOMEM)
			mem_out();
		a->sources[i] = real ? real : mem_dup(a->files[i]); /* the loader says what is wrong with it */
	}
	return true;
}

static const char *source_of(const struct apply *a, const struct load_secret *s)
{
	for (size_t i = 0; i < a->n_files; i++)
		if (s->file && strcmp(s->file, a->files[i]) == 0)
			return a->sources[i];
	return s->file;
}

static bool from_these_files(const struct apply *a, const char *id)
{
	AUTO_FREE char *key = inventory_source_key(id);
	AUTO_FREE char *source = state_meta_copy(a->home->state, key);
	for (size_t i = 0; source && i < a->n_files; i++)
		if (strcmp(source, a->sources[i]) == 0)
			return true;
	return false;
}

/* load_known: asked only for what the files do not declare. What is about to be pruned does not count. */
static bool known_at_home(void *arg, const char *id)
{
	const struct apply *a = arg;
	INVENTORY_SECRET s = { 0 };
	bool found = false;
	return a->home && state_secret_get(a->home->state, id, &s, &found, NULL) && found &&
	       !(a->prune && from_these_files(a, id));
}

static bool count_faults(const struct load *load, const char *outcome, struct err *e)
{
	size_t n = load->n_faults + load->n_more;
	return n == 0 || err_set(e, ERR_USAGE, "%zu fault%s in the declarations%s", n, n == 1 ? "" : "s", outcome);
}

static bool read_files(struct apply *a, struct err *e)
{
	if (!load_files(a->files, a->n_files, known_at_home, a, a->load))
		return count_faults(a->load, "; nothing was applied", e);
	for (size_t i = 0; i < a->load->n_secrets; i++)
		json_put_bool(a->declared, a->load->secrets[i].id, true);
	return true;
}

static bool log_change(struct apply *a, const struct decl *d, const char *digest, struct err *e)
{
	char policy[65];
	decl_digest(json_object_get(d->json, "policy"), policy);
	struct state_leaf leaf = { .op = a->op,
		                   .act = "inventory.apply",
		                   .secret = d->id,
		                   .receipt = digest,
		                   .policy_digest = policy,
		                   .policy_max_age = d->policy.max_age,
		                   .outcome = "done" };
	return state_log(a->home->state, &leaf, e);
}

/* A new interval counts from the last rotation, or from the import. What has no date yet is begun by hand. */
static bool reschedule(struct apply *a, const struct state_secret *s, const struct decl *d, struct err *e)
{
	int64_t from = s->rotated_at >= 0 ? s->rotated_at : s->issued_at;
	if (!s->version || from < 0 || s->due_at < 0)
		return true;
	int64_t due = policy_due(d->id, from, d->policy.rotate_every, d->policy.jitter);
	return due == s->due_at || state_secret_schedule(a->home->state, s->row, s->rotated_at, due, s->expires_at, e);
}

static bool remember_source(struct apply *a, const struct load_secret *s, struct err *e)
{
	const char *source = source_of(a, s);
	AUTO_FREE char *key = inventory_source_key(s->id);
	AUTO_FREE char *before = state_meta_copy(a->home->state, key);
	return (before && strcmp(before, source) == 0) || state_meta_set(a->home->state, key, source, e);
}

static json_t *report(struct apply *a, const char *id, const char *change)
{
	json_t *j = json_object();
	json_put_str(j, "secret", id);
	json_put_str(j, "change", change);
	json_array_append_new(a->changes, j);
	return j;
}

/* The declaration that an unfinished rotation was begun with. */
static bool frozen_decl(struct apply *a, const struct state_secret *s, json_t **ret, struct err *e)
{
	struct state_rotation rot = { 0 };
	bool found = false;
	if (!s->has_unfinished)
		return true;
	if (!state_rotation_get(a->home->state, s->id, &rot, &found, e))
		return false;
	AUTO_JSON *plan =
		found ? json_parse(rot.plan, strlen(rot.plan), JSON_DEPTH_MAX, "a plan in the state", e) : NULL;
	state_rotation_clear(&rot);
	*ret = json_incref(json_object_get(plan, "decl"));
	return plan || !found;
}

static bool put_changed(struct apply *a, json_t *json, const struct state_secret *old, const char *digest,
                        struct err *e)
{
	bool found = old->id != NULL, changed;
	AUTO_JSON *before = NULL;
	AUTO_JSON *frozen = NULL;
	struct decl d = { 0 };
	if (found && !(before = json_parse(old->decl, strlen(old->decl), JSON_DEPTH_MAX, "declaration", e)))
		return false;
	if (!frozen_decl(a, old, &frozen, e))
		return false;
	inventory_diff(old, frozen, before, json, report(a, json_str(json, "id"), found ? "changed" : "added"));
	bool ok = decl_parse(json, &d, e) && state_secret_put(a->home->state, &d, &changed, e) &&
	          log_change(a, &d, digest, e) && (!found || reschedule(a, old, &d, e));
	decl_clear(&d);
	return ok;
}

/* Does it log in with a secret that these files do not declare? */
static bool leads_out(const struct apply *a, const json_t *json)
{
	AUTO_JSON *refs = inventory_refs_of(json);
	size_t i;
	json_t *ref;
	json_array_foreach(refs, i, ref)
		if (!json_object_get(a->declared, json_string_value(ref)))
			return true;
	return false;
}

static bool put_one(struct apply *a, size_t i, struct err *e)
{
	const struct load_secret *s = &a->load->secrets[i];
	INVENTORY_SECRET old = { 0 };
	AUTO_JSON *json = load_secret_json(s);
	bool found = false, ok = true;
	char digest[65];
	if (!state_secret_get(a->home->state, s->id, &old, &found, e))
		return false;
	decl_digest(json, digest);
	if (found && strcmp(digest, old.digest) == 0)
		inventory_diff(&old, NULL, json, json, report(a, s->id, "unchanged"));
	else
		ok = put_changed(a, json, &old, digest, e);
	a->leads_out[i] = leads_out(a, json);
	ok = ok && remember_source(a, s, e);
	return ok || err_prefix(e, "'%s'", s->id);
}

static void add_fault(const struct apply *a, const struct load_secret *s, const char *text)
{
	struct load *load = a->load;
	size_t file = 0;
	if (load->n_faults == LOAD_FAULTS_MAX) {
		load->n_more++;
		return;
	}
	while (file + 1 < a->n_files && strcmp(s->file, a->files[file]) != 0)
		file++;
	load->faults = mem_grow(load->faults, load->n_faults + 1, sizeof *load->faults);
	load->faults[load->n_faults++] = (struct load_fault){ .text = mem_printf("%s:%d:1: %s", s->file, s->line, text),
		                                              .file = file,
		                                              .line = (unsigned)s->line,
		                                              .column = 1 };
}

/* Loops within the files are the loader's; here are those that lead through secrets that the home had before. */
static bool find_loops(struct apply *a, struct err *e)
{
	AUTO_JSON *visited = json_object();
	for (size_t i = 0; i < a->load->n_secrets; i++) {
		const struct load_secret *s = &a->load->secrets[i];
		AUTO_FREE char *loop = NULL;
		if (a->leads_out[i] && !inventory_refs_loop(a->home, s->id, visited, &loop, e))
			return false;
		if (!loop)
			continue;
		AUTO_FREE char *text = mem_printf("secrets log in with each other in a loop: %s", loop);
		add_fault(a, s, text);
	}
	return count_faults(a->load, "; nothing was applied", e);
}

static bool put_all(struct apply *a, struct err *e)
{
	a->leads_out = mem_array(a->load->n_secrets, sizeof *a->leads_out);
	for (size_t i = 0; i < a->load->n_secrets; i++)
		if (!put_one(a, i, e))
			return false;
	return find_loops(a, e);
}

struct undeclared {
	const struct apply *a;
	json_t *ids;
};

static bool note_undeclared(void *arg, const struct state_secret *s, struct err *e)
{
	(void)e;
	struct undeclared *u = arg;
	if (!json_object_get(u->a->declared, s->id) && from_these_files(u->a, s->id))
		json_put_bool(u->ids, s->id, true);
	return true;
}

static bool prune_one(struct apply *a, const char *id, struct err *e)
{
	INVENTORY_SECRET s = { 0 };
	bool found = false;
	if (!state_secret_get(a->home->state, id, &s, &found, e))
		return false;
	if (!found)
		return true;
	json_t *change = report(a, id, "removed");
	json_object_set_new(change, "differs", json_array());
	json_put_str(change, "next", NULL);
	json_put_str(change, "note", NULL);
	return inventory_forget_allowed(a->home, &s, e) && inventory_forget_one(a->home, &s, a->op, "prune", e);
}

static bool prune_all(struct apply *a, struct err *e)
{
	struct state_select all = { .due_before = -1, .expiring_before = -1, .limit = -1 };
	AUTO_JSON *gone = json_object();
	struct undeclared u = { a, gone };
	if (!state_secrets(a->home->state, &all, false, note_undeclared, &u, e) ||
	    !inventory_refs_unused(a->home, gone, e))
		return false;
	const char *id;
	json_t *yes;
	json_object_foreach(gone, id, yes)
		if (!prune_one(a, id, e))
			return false;
	return true;
}

/* A dry run does the same and takes it back, so that it finds what the real one would find. */
static bool carry_out(struct apply *a, bool dry, struct err *e)
{
	if (!state_begin(a->home->state, e))
		return false;
	bool ok = put_all(a, e) && (!a->prune || prune_all(a, e)) && (dry || state_commit(a->home->state, e));
	if (state_in_transaction(a->home->state))
		state_abort(a->home->state);
	return ok;
}

static void apply_clear(struct apply *a)
{
	for (size_t i = 0; a->sources && i < a->n_files; i++)
		free(a->sources[i]);
	free(a->sources);
	free(a->leads_out);
	json_decref(a->declared);
	json_decref(a->changes);
}

int inventory_apply(struct home *home, const char *const files[], size_t n, bool dry, bool prune, struct load *faults,
                    json_t **ret, struct err *e)
{
	struct apply a = { .home = home,
		           .files = files,
		           .n_files = n,
		           .prune = prune,
		           .load = faults,
		           .declared = json_object(),
		           .changes = json_array() };
	ulid_new(a.op);
	bool ok = find_sources(&a, e) && read_files(&a, e) && carry_out(&a, dry, e);
	if (ok) {
		*ret = json_object();
		json_put_int(*ret, "format", 1);
		json_put_bool(*ret, "dry_run", dry);
		json_object_set(*ret, "changes", a.changes);
		if (prune && !dry)
			state_scrub(home->state);
	}
	apply_clear(&a);
	return ok ? ERR_OK : (int)e->code;
}

int inventory_validate(struct home *home, const char *const files[], size_t n, struct load *faults, json_t **ret,
                       struct err *e)
{
	struct apply a = { .home = home, .load = faults };
	if (!load_files(files, n, known_at_home, &a, faults)) {
		count_faults(faults, "", e);
		return ERR_USAGE;
	}
	*ret = json_object();
	json_put_int(*ret, "format", 1);
	json_put_int(*ret, "files", (int64_t)n);
	json_put_int(*ret, "secrets", (int64_t)faults->n_secrets);
	return ERR_OK;
}
