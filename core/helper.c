#include "core/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/child.h"
#include "core/clock.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/utf8.h"

#define STUCK_MS 2000 /* a helper that does not read a request for so long will not read it at all */
#define LEAVE_MS 200  /* to close its session after the socket was closed */

struct helper {
	char *kind;
	pid_t pid; /* -1: reaped */
	int fd;    /* -1: closed */
	struct buf in;
	bool busy;
	int64_t id, deadline;
	int verb;       /* of the request under way */
	size_t n_creds; /* likewise */
};

bool helper_start(const char *kind, int lease, struct helper **ret, struct err *e)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return err_sys(e, ERR_TEMPORARY, errno, "cannot make a socket for a helper of kind '%s'", kind);
	AUTO_FREE char *name = mem_dup("rotor-helper"), *which = mem_dup(kind);
	char *argv[] = { name, which, NULL }, *env[] = { NULL };
	const struct child_fd fds[] = {
		{ -1, 0 }, { -1, 1 }, { -1, 2 }, { pair[1], HELPER_FD }, { lease, HELPER_LEASE }
	};
	pid_t pid = -1;
	bool ok = child_spawn("/proc/self/exe", argv, env, fds, lease >= 0 ? 5 : 4, &pid, e);
	close(pair[1]);
	if (!ok) {
		close(pair[0]);
		return err_prefix(e, "helper of kind '%s'", kind);
	}
	struct helper *h = mem_alloc(sizeof *h);
	*h = (struct helper){
		.kind = mem_dup(kind), .pid = pid, .fd = pair[0], .in = BUF_INIT(HELPER_LINE_MAX), .deadline = -1
	};
	*ret = h;
	return true;
}

static void reap(struct helper *h)
{
	while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
		;
	h->pid = -1;
}

/* The socket stays open, so that helper_fd can be polled until helper_end. */
static void destroy(struct helper *h)
{
	if (h->pid < 0)
		return;
	kill(-h->pid, SIGKILL);
	reap(h);
	buf_reset(&h->in);
}

void helper_end(struct helper *h)
{
	if (!h)
		return;
	close(h->fd);
	if (h->pid >= 0) {
		int ended = pidfd_open(h->pid, 0);
		struct pollfd p = { ended, POLLIN, 0 };
		if (ended >= 0 && !h->busy)
			poll(&p, 1, LEAVE_MS);
		if (ended >= 0)
			close(ended);
		destroy(h);
	}
	buf_clear(&h->in);
	free(h->kind);
	free(h);
}

/* Only the final newline makes a request: a helper that is killed before it has read that has done nothing. */
static bool write_line(struct helper *h, const char *line, size_t len, int64_t deadline, struct err *e)
{
	int64_t stuck = clock_boot() + STUCK_MS;
	deadline = deadline < stuck ? deadline : stuck;
	while (len) {
		ssize_t n = send(h->fd, line, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) {
			line += n;
			len -= (size_t)n;
			continue;
		}
		int64_t left = deadline - clock_boot();
		if ((errno != EAGAIN && errno != EINTR) || left <= 0)
			return err_set(e, ERR_TEMPORARY, "helper of kind '%s' takes no request", h->kind);
		struct pollfd p = { h->fd, POLLOUT, 0 };
		poll(&p, 1, (int)left);
	}
	return true;
}

bool helper_send(struct helper *h, json_t *request, int64_t deadline_boot_ms, struct err *e)
{
	int verb = kind_verb_parse(json_str(request, "verb"));
	if (verb < 0 || h->busy)
		return err_set(e, ERR_FAILED, "helper of kind '%s': %s", h->kind, h->busy ? "busy" : "no such verb");
	if (h->pid < 0)
		return err_set(e, ERR_TEMPORARY, "helper of kind '%s' is gone", h->kind);
	json_put_int(request, "id", ++h->id);
	json_put_int(request, "deadline", deadline_boot_ms);
	AUTO_TEXT *text = json_text(request);
	size_t len = strlen(text);
	if (len >= HELPER_LINE_MAX)
		return err_set(e, ERR_FAILED, "request to the helper of kind '%s' is larger than %zu bytes", h->kind,
		               HELPER_LINE_MAX);
	text[len] = '\n'; /* takes the place of the final NUL */
	if (!write_line(h, text, len + 1, deadline_boot_ms, e)) {
		destroy(h);
		return false;
	}
	h->busy = true;
	h->deadline = deadline_boot_ms;
	h->verb = verb;
	h->n_creds = json_array_size(json_object_get(request, "creds"));
	return true;
}

bool helper_busy(const struct helper *h)
{
	return h->busy;
}

bool helper_alive(const struct helper *h)
{
	return h->pid >= 0;
}

int helper_fd(const struct helper *h)
{
	return h->fd;
}

int64_t helper_deadline(const struct helper *h)
{
	return h->busy ? h->deadline : -1;
}

static bool text_fits(const json_t *j, const char *key, size_t size)
{
	const json_t *v = json_object_get(j, key);
	return json_is_string(v) && json_string_length(v) < size;
}

static bool made_fits(const json_t *made)
{
	const json_t *value = json_object_get(made, "value");
	AUTO_FIELDS *f = NULL;
	return text_fits(made, "handle", 256) && text_fits(made, "cursor", 128) && text_fits(made, "receipt", 256) &&
	       (json_is_null(value) || json_to_fields(value, &f, NULL));
}

static bool usage_fits(const json_t *usage, size_t n)
{
	size_t i;
	json_t *u;
	if (!json_is_array(usage) || json_array_size(usage) != n)
		return false;
	json_array_foreach((json_t *)usage, i, u) {
		int64_t sessions = json_int(u, "sessions", -1);
		if (sessions < 0 || sessions > UINT32_MAX || json_int(u, "last", -2) < -1 ||
		    !text_fits(u, "detail", 128))
			return false;
	}
	return true;
}

static bool plan_fits(const json_t *body)
{
	struct kind_facts facts;
	const json_t *found = json_object_get(body, "findings");
	size_t i;
	json_t *f;
	if (!json_is_array(found) || !kind_facts_parse(json_object_get(body, "facts"), &facts, NULL))
		return false;
	json_array_foreach((json_t *)found, i, f) {
		if (!text_fits(f, "check", 48) || kind_severity_parse(json_str(f, "severity")) < 0 ||
		    !text_fits(f, "message", 512) || !text_fits(f, "repair", 1024))
			return false;
	}
	return true;
}

static bool items_fit(const json_t *items)
{
	static const char *const texts[] = { "tag", "mark", "mark_home", "mark_state" };
	static const char *const numbers[] = {
		"mark_version", "created", "used", "sessions", "can_login", "has_value"
	};
	size_t i;
	json_t *item;
	if (!json_is_array(items))
		return false;
	json_array_foreach((json_t *)items, i, item) {
		if (!json_str(item, "handle"))
			return false;
		for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
			if (!json_is_null(json_object_get(item, texts[k])) && !json_str(item, texts[k]))
				return false;
		for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
			if (json_int(item, numbers[k], -2) < -1)
				return false;
	}
	return true;
}

/* Has a good answer what its verb promises? Whoever reads the body need not check again. */
static bool body_fits(const struct helper *h, const json_t *body)
{
	switch ((enum kind_verb)h->verb) {
	case KIND_PUT:
		return made_fits(json_object_get(body, "made"));
	case KIND_LOOK:
		return made_fits(json_object_get(body, "made")) && kind_seen_parse(json_str(body, "seen")) >= 0;
	case KIND_PROBE:
		return kind_login_parse(json_str(body, "login")) >= 0;
	case KIND_DISCONNECT:
		return json_int(body, "left", -1) >= 0 && json_int(body, "left", -1) <= UINT32_MAX;
	case KIND_NOW:
		return json_int(body, "now", -1) >= 0;
	case KIND_USAGE:
		return usage_fits(json_object_get(body, "usage"), h->n_creds);
	case KIND_PLAN:
		return plan_fits(body);
	case KIND_LIST:
		return items_fit(json_object_get(body, "items"));
	default:
		return true;
	}
}

static enum err_code code_of(enum kind_rc rc)
{
	return rc == KIND_PERMANENT ? ERR_FAILED : rc == KIND_CONFLICT ? ERR_REFUSED : ERR_TEMPORARY;
}

static bool read_error(const json_t *error, enum kind_rc rc, struct err *ret)
{
	const char *message = json_str(error, "message"), *hint = json_str(error, "hint");
	if (!message || !*message)
		return false;
	ret->code = code_of(rc);
	utf8_printable(message, sizeof ret->message, ret->message);
	utf8_printable(hint ? hint : "", sizeof ret->hint, ret->hint);
	return true;
}

static bool read_answer(const struct helper *h, size_t len, struct helper_answer *ret)
{
	AUTO_JSON *body = json_parse(h->in.data, len, JSON_DEPTH_MAX, "answer", NULL);
	int rc = kind_rc_parse(json_str(body, "rc"));
	if (!json_is_object(body) || json_int(body, "id", -1) != h->id || rc < 0)
		return false;
	bool good = rc == KIND_OK || rc == KIND_MORE;
	if (good ? !body_fits(h, body) : !read_error(json_object_get(body, "error"), (enum kind_rc)rc, &ret->error))
		return false;
	ret->rc = (enum kind_rc)rc;
	ret->body = STEAL(body);
	return true;
}

static bool fail(struct helper *h, struct helper_answer *ret, const char *why)
{
	destroy(h);
	if (!h->busy)
		return false;
	h->busy = false;
	*ret = (struct helper_answer){ .rc = KIND_AMBIGUOUS };
	err_set(&ret->error, ERR_TEMPORARY, "helper of kind '%s' %s", h->kind, why);
	return true;
}

enum got { GOT_NOTHING, GOT_LINE, GOT_END, GOT_TOO_MUCH };

/* Reads what is there, up to and with a newline; what stands behind one was not asked for. */
static enum got take(struct helper *h)
{
	for (;;) {
		size_t left = h->in.max - h->in.len, want = left < 65536 ? left : 65536;
		if (!want)
			return GOT_TOO_MUCH;
		char *at = buf_room(&h->in, want);
		ssize_t n = recv(h->fd, at, want, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return GOT_NOTHING;
		if (n <= 0)
			return GOT_END;
		const char *newline = memchr(at, '\n', (size_t)n);
		buf_wrote(&h->in, (size_t)n);
		if (newline)
			return newline + 1 == at + n ? GOT_LINE : GOT_TOO_MUCH;
	}
}

bool helper_receive(struct helper *h, int64_t now_boot_ms, struct helper_answer *ret)
{
	if (h->pid < 0)
		return fail(h, ret, "is gone");
	switch (take(h)) {
	case GOT_END:
		return fail(h, ret, "ended by itself");
	case GOT_TOO_MUCH:
		return fail(h, ret, "answered more than it may");
	case GOT_NOTHING:
		return h->busy && now_boot_ms >= h->deadline ? fail(h, ret, "did not answer in time") : false;
	case GOT_LINE:
		break;
	}
	struct helper_answer got = { .rc = KIND_AMBIGUOUS };
	if (!h->busy || !read_answer(h, h->in.len - 1, &got))
		return fail(h, ret, "gave a malformed answer");
	buf_reset(&h->in);
	h->busy = false;
	*ret = got;
	return true;
}

void helper_call(struct helper *h, json_t *request, int64_t deadline_boot_ms, struct helper_answer *ret)
{
	*ret = (struct helper_answer){ .rc = KIND_TEMPORARY };
	if (!helper_send(h, request, deadline_boot_ms, &ret->error)) {
		if (ret->error.code == ERR_FAILED)
			ret->rc = KIND_PERMANENT;
		return;
	}
	for (;;) {
		int64_t now = clock_boot(), left = deadline_boot_ms - now;
		if (helper_receive(h, now, ret))
			return;
		struct pollfd p = { h->fd, POLLIN, 0 };
		poll(&p, 1, left <= 0 ? 0 : left > 60000 ? 60000 : (int)left);
	}
}
