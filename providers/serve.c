#include "providers/provider.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/buf.h"
#include "core/helper.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/utf8.h"

#define CREDS_MAX 65536

struct serve {
	const struct provider *p;
	struct provider_session *session; /* NULL: not open */
	struct buf in;
};

/* One request, decoded. Texts are borrowed from its JSON, values are owned. */
struct request {
	int64_t id;
	enum kind_verb verb;
	const json_t *json;
	struct provider_call call;
	struct provider_cred n, prev;
	bool has_n, has_prev;
	struct provider_cred *creds;
	size_t n_creds;
	struct provider_filter filter;
};

static void cred_clear(struct provider_cred *c)
{
	fields_free((struct fields *)c->value);
	c->value = NULL;
}

static void request_clear(struct request *r)
{
	cred_clear(&r->n);
	cred_clear(&r->prev);
	for (size_t i = 0; i < r->n_creds; i++)
		cred_clear(&r->creds[i]);
	mem_auto(&r->creds);
	*r = (struct request){ 0 };
}

/* A string, or NULL where it is null or absent. False: something else. */
static bool text_of(const json_t *j, const char *key, const char **ret)
{
	const json_t *v = json_object_get(j, key);
	*ret = json_string_value(v);
	return !v || json_is_null(v) || json_is_string(v);
}

static bool cred_of(const json_t *j, struct provider_cred *ret)
{
	const json_t *value = json_object_get(j, "value");
	int64_t n = json_int(j, "n", -1);
	AUTO_FIELDS *f = NULL;
	if (n < 0 || n > UINT32_MAX || !text_of(j, "handle", &ret->handle) || !text_of(j, "rotation", &ret->rotation))
		return false;
	if (value && !json_is_null(value) && !json_to_fields(value, &f, NULL))
		return false;
	ret->n = (uint32_t)n;
	ret->value = STEAL(f);
	return true;
}

static bool maybe_cred(const json_t *j, const char *key, bool *has, struct provider_cred *ret)
{
	const json_t *v = json_object_get(j, key);
	*has = v && !json_is_null(v);
	return !*has || cred_of(v, ret);
}

static bool creds_of(const json_t *list, struct request *r)
{
	size_t n = json_array_size(list);
	if ((list && !json_is_null(list) && !json_is_array(list)) || n > CREDS_MAX)
		return false;
	r->creds = mem_array(n, sizeof *r->creds);
	for (r->n_creds = 0; r->n_creds < n; r->n_creds++)
		if (!cred_of(json_array_get(list, r->n_creds), &r->creds[r->n_creds]))
			return false;
	return true;
}

static bool request_of(const json_t *j, struct request *r)
{
	struct provider_call *c = &r->call;
	const json_t *filter = json_object_get(j, "filter");
	int64_t endpoint = json_int(j, "endpoint", 0);
	int verb = kind_verb_parse(json_str(j, "verb"));
	r->json = j;
	r->id = json_int(j, "id", -1);
	r->verb = (enum kind_verb)verb;
	c->deadline_ms = json_int(j, "deadline", -1);
	c->endpoint = (unsigned)endpoint;
	c->read = json_bool(j, "read");
	return verb >= 0 && r->id >= 0 && c->deadline_ms >= 0 && endpoint >= 0 && endpoint <= 65535 &&
	       text_of(j, "tag", &c->tag) && text_of(j, "fence", &c->fence) && text_of(j, "cursor", &c->cursor) &&
	       text_of(j, "home", &c->home) && text_of(j, "expect", &c->expect) && text_of(j, "secret", &c->secret) &&
	       text_of(filter, "application_name", &r->filter.application_name) &&
	       text_of(filter, "client", &r->filter.client) && maybe_cred(j, "n", &r->has_n, &r->n) &&
	       maybe_cred(j, "prev", &r->has_prev, &r->prev) && creds_of(json_object_get(j, "creds"), r);
}

/* What a server says may hold anything; what leaves the helper is safe to show. */
static void put_text(json_t *object, const char *key, const char *text)
{
	char safe[1024];
	if (text)
		utf8_printable(text, sizeof safe, safe);
	json_put_str(object, key, text ? safe : NULL);
}

/* The same for a text that may have several lines, such as SQL to paste. */
static void put_lines(json_t *object, const char *key, const char *text)
{
	AUTO_BUF all = BUF_INIT(4096);
	for (const char *at = text; *at;) {
		size_t len = strcspn(at, "\n");
		AUTO_FREE char *line = mem_dupn(at, len);
		char safe[1024];
		utf8_printable(line, sizeof safe, safe);
		buf_str(&all, safe);
		at += len;
		if (*at) {
			buf_str(&all, "\n");
			at++;
		}
	}
	json_put_str(object, key, all.data ? all.data : "");
}

static void put_made(json_t *answer, struct provider_made *made)
{
	json_t *j = json_object();
	put_text(j, "handle", made->handle);
	put_text(j, "cursor", made->cursor);
	put_text(j, "receipt", made->receipt);
	json_object_set_new(j, "value", made->value ? json_from_fields(made->value) : json_null());
	json_object_set_new(answer, "made", j);
}

static void on_found(void *arg, const struct provider_finding *f)
{
	json_t *j = json_object();
	put_text(j, "check", f->check);
	json_put_str(j, "severity", kind_severity_name(f->severity));
	put_text(j, "message", f->message);
	put_lines(j, "repair", f->repair);
	json_array_append_new(arg, j);
}

static void on_item(void *arg, const struct provider_item *item)
{
	json_t *j = json_object();
	put_text(j, "handle", item->handle);
	put_text(j, "tag", item->tag);
	put_text(j, "mark", item->mark);
	put_text(j, "mark_home", item->mark_home);
	put_text(j, "mark_state", item->mark_state);
	json_put_int(j, "mark_version", item->mark_version);
	json_put_int(j, "created", item->created_ms);
	json_put_int(j, "used", item->used_ms);
	json_put_int(j, "sessions", item->sessions);
	json_put_int(j, "can_login", item->can_login);
	json_put_int(j, "has_value", item->has_value);
	json_array_append_new(arg, j);
}

static enum kind_rc do_open(struct serve *s, const struct request *r, json_t *answer, struct err *e)
{
	(void)answer;
	const json_t *auth = json_object_get(r->json, "auth");
	AUTO_FIELDS *f = NULL;
	if (auth && !json_is_null(auth) && !json_to_fields(auth, &f, e))
		return KIND_PERMANENT;
	s->p->close(s->session);
	s->session = NULL;
	return s->p->open(json_object_get(r->json, "params"), f, &r->call, &s->session, e);
}

static enum kind_rc do_plan(struct serve *s, const struct request *r, json_t *answer, struct err *e)
{
	struct kind_facts facts = { 0 };
	json_t *found = json_array();
	json_object_set_new(answer, "findings", found);
	enum kind_rc rc = s->p->plan(s->session, &r->call, &facts, on_found, found, e);
	json_object_set_new(answer, "facts", kind_facts_json(&facts));
	return rc;
}

static enum kind_rc do_put(struct serve *s, const struct request *r, json_t *answer, struct err *e)
{
	struct provider_made made = { 0 };
	enum kind_rc rc = s->p->put(s->session, &r->call, &r->n, r->has_prev ? &r->prev : NULL, &made, e);
	put_made(answer, &made);
	fields_free(made.value);
	return rc;
}

static enum kind_rc do_look(struct serve *s, const struct request *r, json_t *answer, struct err *e)
{
	struct provider_made made = { 0 };
	enum kind_seen seen = KIND_ABSENT;
	enum kind_rc rc = s->p->look(s->session, &r->call, &r->n, &seen, &made, e);
	json_put_str(answer, "seen", kind_seen_name(seen));
	put_made(answer, &made);
	fields_free(made.value);
	return rc;
}

static enum kind_rc do_activate(struct serve *s, const struct request *r, json_t *answer, struct err *e)
{
	(void)answer;
	return s->p->activate(s->session, &r->call, &r->n, e);
}

static enum kind_rc do_suspend(struct serve *s, const struct request *r, json_t *answer, struct err *e)
{
	(void)answer;
	return s->p->suspend(s->session, &r->call, &r->n, r->verb == KIND_SUSPEND, e);
}

static enum kind_rc do_drop(struct serve *s, const struct request *r, json_t *answer, struct err *e)
{
	(void)answer;
	return s->p->drop(s->session, &r->call, &r->n, e);
}

static enum kind_rc do_probe(struct serve *s, const struct request *r, json_t *answer, struct err *e)
{
	enum kind_login login = KIND_REFUSED;
	enum kind_rc rc = s->p->probe(s->session, &r->call, &r->n, &login, e);
	json_put_str(answer, "login", kind_login_name(login));
	return rc;
}

static enum kind_rc do_disconnect(struct serve *s, const struct request *r, json_t *answer, struct err *e)
{
	unsigned left = 0;
	enum kind_rc rc = s->p->disconnect(s->session, &r->call, &r->n, &left, e);
	json_put_int(answer, "left", left);
	return rc;
}

static enum kind_rc do_usage(struct serve *s, const struct request *r, json_t *answer, struct err *e)
{
	struct provider_usage *u = mem_array(r->n_creds, sizeof *u);
	enum kind_rc rc = s->p->usage(s->session, &r->call, r->creds, r->n_creds, &r->filter, u, e);
	json_t *list = json_array();
	for (size_t i = 0; i < r->n_creds; i++) {
		json_t *one = json_object();
		json_put_int(one, "sessions", u[i].sessions);
		json_put_int(one, "last", u[i].last_ms);
		put_text(one, "detail", u[i].detail);
		json_array_append_new(list, one);
	}
	json_object_set_new(answer, "usage", list);
	mem_auto(&u);
	return rc;
}

static enum kind_rc do_now(struct serve *s, const struct request *r, json_t *answer, struct err *e)
{
	int64_t now = -1;
	enum kind_rc rc = s->p->now(s->session, &r->call, &now, e);
	json_put_int(answer, "now", now);
	return rc;
}

static enum kind_rc do_list(struct serve *s, const struct request *r, json_t *answer, struct err *e)
{
	json_t *items = json_array();
	json_object_set_new(answer, "items", items);
	return s->p->list(s->session, &r->call, on_item, items, e);
}

static enum kind_rc do_flush(struct serve *s, const struct request *r, json_t *answer, struct err *e)
{
	(void)answer;
	return s->p->flush(s->session, &r->call, e);
}

static enum kind_rc answer_verb(struct serve *s, const struct request *r, json_t *answer, struct err *e)
{
	const struct provider *p = s->p;
	const struct {
		bool there, of_n;
		enum kind_rc (*run)(struct serve *, const struct request *, json_t *, struct err *);
	} verbs[KIND_VERBS] = {
		[KIND_OPEN] = { true, false, do_open },
		[KIND_PLAN] = { true, false, do_plan },
		[KIND_PUT] = { true, true, do_put },
		[KIND_ACTIVATE] = { p->activate, true, do_activate },
		[KIND_SUSPEND] = { p->suspend, true, do_suspend },
		[KIND_RESTORE] = { p->suspend, true, do_suspend },
		[KIND_DROP] = { p->drop, true, do_drop },
		[KIND_LOOK] = { true, false, do_look },
		[KIND_PROBE] = { p->probe, true, do_probe },
		[KIND_DISCONNECT] = { p->disconnect, true, do_disconnect },
		[KIND_USAGE] = { p->usage, false, do_usage },
		[KIND_NOW] = { p->now, false, do_now },
		[KIND_LIST] = { p->list, false, do_list },
		[KIND_FLUSH] = { p->flush, false, do_flush },
	};
	const char *name = kind_verb_name(r->verb);
	if (!verbs[r->verb].there)
		err_set(e, ERR_FAILED, "kind '%s' has no verb '%s'", p->kind.name, name);
	else if (r->verb != KIND_OPEN && !s->session)
		err_set(e, ERR_FAILED, "kind '%s' is asked to '%s' before it is open", p->kind.name, name);
	else if (verbs[r->verb].of_n && !r->has_n)
		err_set(e, ERR_FAILED, "kind '%s' is asked to '%s' without a version", p->kind.name, name);
	else
		return verbs[r->verb].run(s, r, answer, e);
	return KIND_PERMANENT;
}

/* An answer that did not work out has its error only. The caller owns the result. */
static json_t *answer_head(int64_t id, enum kind_rc rc, const struct err *e)
{
	json_t *j = json_object();
	json_put_int(j, "id", id);
	json_put_str(j, "rc", kind_rc_name(rc));
	if (rc != KIND_OK && rc != KIND_MORE) {
		json_t *error = json_object();
		put_text(error, "message", e->message[0] ? e->message : "failed without a reason");
		put_text(error, "hint", e->hint);
		json_object_set_new(j, "error", error);
	}
	return j;
}

static bool send_line(const json_t *j)
{
	AUTO_TEXT *text = json_text(j);
	size_t len = strlen(text);
	text[len++] = '\n'; /* takes the place of the final NUL */
	for (size_t at = 0; at < len;) {
		ssize_t n = send(HELPER_FD, text + at, len - at, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return false;
		at += n > 0 ? (size_t)n : 0;
	}
	return true;
}

static bool too_long(const json_t *j)
{
	return json_dumpb(j, NULL, 0, JSON_COMPACT) >= HELPER_LINE_MAX;
}

/* False: the request was malformed or nobody takes the answer. */
static bool serve_one(struct serve *s, const char *line, size_t len)
{
	AUTO_JSON *j = json_parse(line, len, JSON_DEPTH_MAX, "request", NULL);
	struct request r = { 0 };
	if (!json_is_object(j) || !request_of(j, &r)) {
		request_clear(&r);
		return false;
	}
	struct err e = { 0 };
	AUTO_JSON *body = json_object();
	enum kind_rc rc = answer_verb(s, &r, body, &e);
	AUTO_JSON *answer = answer_head(r.id, rc, &e);
	if (rc == KIND_OK || rc == KIND_MORE) {
		json_object_update(answer, body);
		if (too_long(answer)) {
			json_decref(answer);
			err_set(&e, ERR_FAILED, "the answer is larger than %zu bytes", HELPER_LINE_MAX);
			answer = answer_head(r.id, KIND_AMBIGUOUS, &e);
		}
	}
	request_clear(&r);
	return send_line(answer);
}

/* One line without its newline; -1 at the end, on an error, and when more than one line came. */
static ssize_t read_line(struct buf *in)
{
	for (;;) {
		size_t left = in->max - in->len, want = left < 65536 ? left : 65536;
		char *at = want ? buf_room(in, want) : NULL;
		ssize_t n = at ? recv(HELPER_FD, at, want, 0) : 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		const char *newline = memchr(at, '\n', (size_t)n);
		buf_wrote(in, (size_t)n);
		if (newline)
			return newline + 1 == at + n ? (ssize_t)in->len - 1 : -1;
	}
}

/* Alone, mute, and gone as soon as the coordinator is. */
static bool confine(void)
{
	struct ucred peer;
	socklen_t size = sizeof peer;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	close_range(HELPER_LEASE + 1, ~0u, 0);
	close_range(HELPER_FD, HELPER_LEASE, CLOSE_RANGE_CLOEXEC);
	/* The socket knows who made it: a parent that died before the prctl is noticed. */
	return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 &&
	       getsockopt(HELPER_FD, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid == getppid() &&
	       arena_init(NULL);
}

int provider_serve(const char *kind)
{
	if (!confine())
		return ERR_TEMPORARY;
	json_setup();
	struct serve s = { .p = provider_find(kind), .in = BUF_INIT(HELPER_LINE_MAX) };
	if (!s.p)
		return ERR_USAGE;
	bool ok = true;
	while (ok) {
		ssize_t len = read_line(&s.in);
		ok = len >= 0 && serve_one(&s, s.in.data, (size_t)len);
		buf_reset(&s.in);
	}
	s.p->close(s.session);
	buf_clear(&s.in);
	return ERR_OK;
}
