/* The targets of a rotation: a helper process for each, opened with the credential that its reference leads to. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine_run.h"

#include "buf.h"
#include "clock.h"
#include "json.h"
#include "mem.h"

#define STARTED_BEFORE 3 /* helpers */
#define CREDENTIAL_MAX ((size_t)64 * 1024)

static void target(struct run *r, const struct kind *kind, json_t *params, const json_t *auth, const char *name)
{
	r->targets = mem_grow(r->targets, r->n_targets + 1, sizeof *r->targets);
	r->targets[r->n_targets++] = (struct run_target){ .kind = kind, .params = params, .auth = auth, .name = name };
}

static json_t *command_params(const json_t *argv, const char *as)
{
	return json_pack("{s:O,s:b}", "command", (json_t *)argv, as, 1);
}

/* Authority, stores, consumers; then each consumer's confirm commands and health commands, in the order declared. */
bool engine_targets(struct run *r)
{
	const struct decl *d = &r->decl;
	engine_targets_end(r);
	json_t *authority = json_copy((json_t *)d->authority.params);
	json_put_str(authority, "probe_query", d->policy.probe_query);
	target(r, d->authority.kind, authority, d->authority.auth, d->authority.name);
	for (size_t i = 0; i < d->n_stores; i++)
		target(r, d->stores[i].kind, json_copy((json_t *)d->stores[i].params), d->stores[i].auth,
		       d->stores[i].name);
	for (size_t i = 0; i < d->n_consumers; i++)
		target(r, d->consumers[i].t.kind, json_copy((json_t *)d->consumers[i].t.params), d->consumers[i].t.auth,
		       d->consumers[i].t.name);
	const struct kind *command = kind_find("command");
	for (size_t i = 0; i < d->n_consumers; i++)
		for (size_t k = 0; k < d->consumers[i].n_confirms; k++)
			if (d->consumers[i].confirms[k].kind == DECL_CONFIRM_COMMAND)
				target(r, command, command_params(d->consumers[i].confirms[k].argv, "receipt"), NULL,
				       d->consumers[i].t.name);
	for (size_t i = 0; i < d->n_consumers; i++) {
		size_t k;
		json_t *h;
		json_array_foreach((json_t *)(r->gone[i] ? NULL : d->consumers[i].health), k, h)
			target(r, command, command_params(json_object_get(h, "command"), "receipt"), NULL,
			       d->consumers[i].t.name);
	}
	return command != NULL;
}

/* Starting a program takes about as long as a log-in: done beforehand, it passes while the server works. */
void engine_targets_start(struct run *r)
{
	struct err ignored; /* the call that needs it says so */
	size_t n = 1 + r->decl.n_stores + r->decl.n_consumers;
	for (size_t i = 0; i < n && i < STARTED_BEFORE; i++)
		if (!r->targets[i].helper &&
		    !helper_start(r->targets[i].kind->name, r->lease, &r->targets[i].helper, &ignored))
			return;
}

struct run_target *engine_target_confirm(struct run *r, size_t consumer, size_t form)
{
	size_t at = 1 + r->decl.n_stores + r->decl.n_consumers;
	for (size_t i = 0; i < r->decl.n_consumers; i++)
		for (size_t k = 0; k < r->decl.consumers[i].n_confirms; k++) {
			if (i == consumer && k == form)
				return &r->targets[at];
			at += r->decl.consumers[i].confirms[k].kind == DECL_CONFIRM_COMMAND;
		}
	return NULL;
}

struct run_target *engine_target_health(struct run *r, size_t which)
{
	return &r->targets[r->n_targets - r->rb.n_health + which];
}

void engine_target_close(struct run_target *t)
{
	helper_end(t->helper);
	t->helper = NULL;
	t->open = false;
}

void engine_targets_end(struct run *r)
{
	for (size_t i = 0; i < r->n_targets; i++) {
		engine_target_close(&r->targets[i]);
		json_decref(r->targets[i].params);
	}
	free(r->targets);
	r->targets = NULL;
	r->n_targets = 0;
	r->calling = NULL;
	helper_end(r->fetcher);
	r->fetcher = NULL;
}

/* ---- credentials that rotor itself needs */

static size_t auth_count(const struct run_target *t)
{
	return t->auth ? json_array_size(t->auth) : 0;
}

static bool read_credential(int fd, const char *what, struct fields **ret, struct err *e)
{
	AUTO_BUF b = BUF_INIT(CREDENTIAL_MAX);
	AUTO_FIELDS *f = fields_new();
	if (!buf_read_fd(&b, fd, what, e))
		return false;
	if (b.len && b.data[b.len - 1] == '\n')
		b.len--;
	if (!b.len)
		return err_set(e, ERR_FAILED, "the credential '%s' is empty", what);
	if (!fields_set(f, "password", b.data, b.len, e))
		return false;
	*ret = STEAL(f);
	return true;
}

/* A pipe can be read once: what it gave is kept for the whole command. Only what the caller handed over is read:
 * rotor's own descriptors close on exec. */
static bool credential_of_fd(struct engine *en, int fd, struct fields **ret, struct err *e)
{
	char what[32];
	snprintf(what, sizeof what, "fd %d", fd);
	for (size_t i = 0; i < en->n_handed; i++)
		if (en->handed[i].fd == fd) {
			*ret = fields_copy(en->handed[i].value);
			return true;
		}
	int flags = fcntl(fd, F_GETFD);
	if (fd < 0 || flags < 0 || (flags & FD_CLOEXEC))
		return err_set(e, ERR_FAILED, "descriptor %d was not handed to rotor", fd);
	struct fields *value = NULL;
	if (!read_credential(fd, what, &value, e))
		return false;
	en->handed = mem_grow(en->handed, en->n_handed + 1, sizeof *en->handed);
	en->handed[en->n_handed++] = (struct engine_handed){ fd, value };
	*ret = fields_copy(value);
	return true;
}

static bool credential_of_secret(struct run *r, const char *id, struct fields **ret, struct err *e)
{
	struct state *st = r->engine->home->state;
	struct state_secret s = { 0 };
	bool found = false;
	if (!state_secret_get(st, id, &s, &found, e))
		return false;
	AUTO_FREE struct state_version *all = NULL;
	size_t n = 0;
	uint32_t version = found ? s.version : 0;
	/* while a single slot changes hands nothing is current: what is being given out is what the authority accepts
	 */
	if (found && !version && state_versions(st, s.row, &all, &n, e))
		for (size_t i = 0; i < n; i++)
			version = all[i].state == STATE_PENDING ? all[i].n : version;
	bool ok = version && state_value_get(st, s.row, s.id, version, ret, e) && *ret;
	if (!ok)
		err_set(e, ERR_FAILED, "the credential in secret '%s' is not known to this home", id);
	state_secret_clear(&s);
	return ok;
}

/* One reference that needs no other process. *ret NULL: nothing to log in with (a command's comes later). */
static bool credential(struct run *r, const json_t *ref, struct fields **ret, struct err *e)
{
	const char *id = json_str(ref, "secret"), *path = json_str(ref, "file");
	if (id)
		return credential_of_secret(r, id, ret, e);
	if (json_bool(ref, "self")) {
		*ret = fields_copy(r->calling->auth_at % 2 && r->new_value ? r->new_value :
		                   r->old_value                            ? r->old_value :
		                                                             r->new_value);
		return *ret || err_set(e, ERR_FAILED, "'%s' has no current version to log in with", r->secret.id);
	}
	if (!path)
		return credential_of_fd(r->engine, (int)json_int(ref, "fd", -1), ret, e);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, ERR_FAILED, errno, "cannot open the credential '%s'", path);
	struct stat st;
	bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ?
	                  read_credential(fd, path, ret, e) :
	                  err_set(e, ERR_FAILED, "the credential '%s' is not a regular file", path);
	close(fd);
	return ok;
}

static void wire(struct run *r, struct helper *h, json_t *q)
{
	struct err e;
	if (helper_send(h, q, clock_boot() + ENGINE_CALL_MS, &e))
		return;
	engine_target_close(r->calling);
	engine_call_fail(r, KIND_TEMPORARY, &e);
}

static void open_with(struct run *r, const struct fields *auth)
{
	struct run_target *t = r->calling;
	AUTO_JSON *q = engine_call_request(r, KIND_OPEN, "open");
	json_object_set(q, "params", t->params);
	json_object_set_new(q, "auth", auth ? json_from_fields(auth) : json_null());
	r->opening = true;
	wire(r, t->helper, q);
}

static void fetch(struct run *r, const json_t *ref)
{
	struct err e;
	AUTO_JSON *q = engine_call_request(r, KIND_OPEN, "credential");
	json_object_set_new(q, "params", command_params(json_object_get(ref, "command"), "credential"));
	r->crediting = true;
	if (!helper_start("command", -1, &r->fetcher, &e)) {
		engine_call_fail(r, KIND_TEMPORARY, &e);
		return;
	}
	wire(r, r->fetcher, q);
}

static const json_t *reference(const struct run_target *t)
{
	return auth_count(t) ? json_array_get(t->auth, t->auth_at % auth_count(t)) : NULL;
}

/* Starts the target's helper and opens its session, or sends the request if that has been done. */
void engine_target_send(struct run *r)
{
	struct run_target *t = r->calling;
	struct err e;
	r->status = RUN_CALLING;
	r->opening = r->crediting = false;
	if (t->helper && !helper_alive(t->helper))
		engine_target_close(t);
	if (t->open) {
		wire(r, t->helper, r->request);
		return;
	}
	t->auth_checked = false;
	if (!t->helper && !helper_start(t->kind->name, r->lease, &t->helper, &e)) {
		engine_call_fail(r, KIND_TEMPORARY, &e);
		return;
	}
	const json_t *ref = reference(t);
	AUTO_FIELDS *auth = NULL;
	while (ref && !json_object_get(ref, "command") && !credential(r, ref, &auth, &e)) {
		if (t->auth_at + 1 >= auth_count(t)) { /* none of them is to be had */
			t->auth_at = 0;
			engine_call_fail(r, e.code == ERR_TEMPORARY ? KIND_TEMPORARY : KIND_PERMANENT, &e);
			return;
		}
		t->auth_at++;
		ref = reference(t);
	}
	if (ref && json_object_get(ref, "command"))
		fetch(r, ref);
	else
		open_with(r, auth);
}

void engine_target_fetched(struct run *r, const struct helper_answer *a)
{
	struct err e;
	AUTO_FIELDS *auth = NULL;
	const json_t *value = json_object_get(json_object_get(a->body, "made"), "value");
	bool opened = json_object_get(a->body, "made") == NULL;
	if (a->rc == KIND_OK && opened) {
		AUTO_JSON *q = engine_call_request(r, KIND_LOOK, "credential");
		json_put_bool(q, "read", true);
		wire(r, r->fetcher, q);
		return;
	}
	helper_end(r->fetcher);
	r->fetcher = NULL;
	r->crediting = false;
	if (a->rc != KIND_OK)
		engine_call_fail(r, a->rc == KIND_AMBIGUOUS ? KIND_TEMPORARY : a->rc, &a->error);
	else if (!json_to_fields(value, &auth, &e))
		engine_call_fail(r, KIND_PERMANENT, &e);
	else
		open_with(r, auth);
}

/* The session is open. Where there are several credentials to try, or the own one may be the new or the old, a question
 * without effect tells whether this one is let in. */
void engine_target_opened(struct run *r, const struct helper_answer *a)
{
	struct run_target *t = r->calling;
	size_t several = auth_count(t) > 1 || (auth_count(t) && json_bool(json_array_get(t->auth, 0), "self")) ?
	                         2 * auth_count(t) :
	                         0;
	bool refused = a->rc == KIND_PERMANENT;
	if (refused && several && ++t->auth_at < several) {
		engine_target_close(t);
		engine_target_send(r);
		return;
	}
	if (a->rc != KIND_OK) {
		t->auth_at = 0;
		engine_target_close(t);
		engine_call_fail(r, a->rc == KIND_AMBIGUOUS ? KIND_TEMPORARY : a->rc, &a->error);
		return;
	}
	if (several && !t->auth_checked && t == &r->targets[0]) {
		t->auth_checked = true;
		AUTO_JSON *q = engine_call_request(r, KIND_NOW, "open");
		wire(r, t->helper, q);
		return;
	}
	t->open = t->fresh = true;
	engine_target_send(r);
}

bool engine_target_moves(struct run *r, const struct run_target *t)
{
	const char *id = json_str(reference(t), "secret");
	struct state_secret s = { 0 };
	struct err ignored;
	bool found = false;
	if (!id || !state_secret_get(r->engine->home->state, id, &s, &found, &ignored))
		return false;
	bool moves = found && s.has_unfinished;
	state_secret_clear(&s);
	return moves;
}

/* Another rotation may have changed the credential that this session was opened with: each step resolves it anew. */
bool engine_target_refreshed(struct run *r, const struct helper_answer *a)
{
	struct run_target *t = r->calling;
	bool was_fresh = t->fresh;
	t->fresh = false;
	if (!t->auth || (a->rc != KIND_PERMANENT && a->rc != KIND_TEMPORARY))
		return false;
	engine_target_close(t);
	if (was_fresh || a->rc != KIND_PERMANENT)
		return false;
	engine_target_send(r);
	return true;
}
