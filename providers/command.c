/* A program as a consumer: it gets the fields on its standard input. The engine uses the same kind for the programs
 * that answer `confirm` and `health` (internal parameter `receipt`) and that give credentials (`credential`). */
#include "providers/provider.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/child.h"
#include "core/json.h"
#include "core/mem.h"

#define ANSWER_MS 250 /* kept of the deadline, so that the program is ended here and the reason told */
#define ARGV_MAX 64
#define OUTPUT_MAX ((size_t)256 * 1024)
#define EXIT_AGAIN 75 /* EX_TEMPFAIL of sysexits.h */

struct provider_session {
	char *argv[ARGV_MAX + 1];
	bool receipt, credential;
};

static const struct schema_key keys[] = {
	{ .name = "command",
	  .type = SCHEMA_ARGV,
	  .flags = SCHEMA_REQUIRED,
	  .help = "program and arguments; gets {\"secret\", \"version\", \"fields\"} as JSON on standard input" },
	{ 0 }
};

static bool check(const json_t *params, unsigned role, const char **ret_key, struct err *e)
{
	const json_t *argv = json_object_get(params, "command"), *word;
	size_t i, n = json_array_size(argv);
	(void)role;
	*ret_key = "command";
	if (n < 1 || n > ARGV_MAX)
		return err_set(e, ERR_USAGE, "a command has 1 to %d words", ARGV_MAX);
	json_array_foreach((json_t *)argv, i, word)
		if (!json_is_string(word) || (i == 0 && json_string_value(word)[0] != '/'))
			return err_set(e, ERR_USAGE, "a command is a list of strings, the first an absolute path");
	return true;
}

static char *address(const json_t *params)
{
	return mem_printf("command:%s", json_string_value(json_array_get(json_object_get(params, "command"), 0)));
}

static enum kind_rc session_open(const json_t *params, const struct fields *auth, const struct provider_call *call,
                                 struct provider_session **ret, struct err *e)
{
	const char *key;
	(void)auth;
	(void)call;
	if (!check(params, KIND_CONSUMER, &key, e))
		return KIND_PERMANENT;
	const json_t *argv = json_object_get(params, "command");
	struct provider_session *s = mem_alloc(sizeof *s);
	for (size_t i = 0; i < json_array_size(argv); i++)
		s->argv[i] = mem_dup(json_string_value(json_array_get(argv, i)));
	s->receipt = json_bool(params, "receipt");
	s->credential = json_bool(params, "credential");
	*ret = s;
	return KIND_OK;
}

static void session_close(struct provider_session *s)
{
	for (size_t i = 0; s && s->argv[i]; i++)
		free(s->argv[i]);
	free(s);
}

static enum kind_rc plan(struct provider_session *s, const struct provider_call *call, struct kind_facts *ret,
                         provider_found *found, void *arg, struct err *e)
{
	(void)call;
	(void)e;
	*ret = (struct kind_facts){ .put = KIND_IDEMPOTENT };
	if (access(s->argv[0], X_OK) != 0) {
		struct provider_finding f = { .check = "command", .severity = KIND_REFUSE };
		snprintf(f.message, sizeof f.message, "cannot run '%.300s': %s", s->argv[0], strerror(errno));
		found(arg, &f);
	}
	return KIND_OK;
}

static bool run(const struct provider_session *s, const struct provider_call *call, const struct provider_cred *n,
                const char *input, struct buf *out, int *ret_status, struct err *e)
{
	AUTO_FREE char *secret = mem_printf("ROTOR_SECRET=%s", call->secret ? call->secret : "");
	AUTO_FREE char *version = mem_printf("ROTOR_VERSION=%u", n->n);
	AUTO_FREE char *rotation = n->rotation ? mem_printf("ROTOR_ROTATION=%s", n->rotation) : NULL;
	char *env[] = { secret, version, rotation, NULL };
	return child_run(s->argv, env, input, input ? strlen(input) : 0, call->deadline_ms - ANSWER_MS, out, ret_status,
	                 e);
}

static enum kind_rc ended(const struct provider_session *s, int status, struct err *e)
{
	bool again = status == EXIT_AGAIN;
	err_set(e, again ? ERR_TEMPORARY : ERR_FAILED, "'%s' ended with exit code %d", s->argv[0], status);
	return again ? KIND_TEMPORARY : KIND_PERMANENT;
}

static enum kind_rc put(struct provider_session *s, const struct provider_call *call, const struct provider_cred *n,
                        const struct provider_cred *prev, struct provider_made *ret, struct err *e)
{
	int status = 0;
	(void)prev;
	AUTO_JSON *j = json_object();
	json_put_str(j, "secret", call->secret);
	json_put_int(j, "version", n->n);
	json_object_set_new(j, "fields", json_from_fields(n->value));
	AUTO_TEXT *text = json_text(j);
	if (!n->value) {
		err_set(e, ERR_FAILED, "no value for '%s'", s->argv[0]);
		return KIND_PERMANENT;
	}
	if (access(s->argv[0], X_OK) != 0) {
		err_sys(e, ERR_FAILED, errno, "cannot run '%s'", s->argv[0]);
		return KIND_PERMANENT;
	}
	if (!run(s, call, n, text, NULL, &status, e))
		return KIND_AMBIGUOUS;
	if (status == 0) {
		snprintf(ret->receipt, sizeof ret->receipt, "'%.200s' took it", s->argv[0]);
		return KIND_OK;
	}
	return ended(s, status, e);
}

/* Standard output as fields: a JSON object of strings, or one line that is the password. */
static bool credential_of(const char *program, const struct buf *out, struct fields **ret, struct err *e)
{
	size_t len = out->len;
	if (len && out->data[0] == '{') {
		AUTO_JSON *j = json_parse(out->data, len, 2, "the output", e);
		return (j && json_to_fields(j, ret, e)) || err_prefix(e, "'%s'", program);
	}
	len -= len && out->data[len - 1] == '\n';
	if (!len)
		return err_set(e, ERR_FAILED, "'%s' gave no credential", program);
	AUTO_FIELDS *f = fields_new();
	if (!fields_set(f, "password", out->data, len, e))
		return err_prefix(e, "'%s'", program);
	*ret = STEAL(f);
	return true;
}

static enum kind_rc look_credential(const struct provider_session *s, const struct provider_call *call,
                                    const struct provider_cred *n, struct provider_made *made, struct err *e)
{
	AUTO_BUF out = BUF_INIT(OUTPUT_MAX);
	int status = 0;
	if (!run(s, call, n, NULL, &out, &status, e))
		return KIND_TEMPORARY;
	if (status != 0)
		return ended(s, status, e);
	return credential_of(s->argv[0], &out, &made->value, e) ? KIND_OK : KIND_PERMANENT;
}

static enum kind_rc look(struct provider_session *s, const struct provider_call *call, const struct provider_cred *n,
                         enum kind_seen *ret, struct provider_made *made, struct err *e)
{
	int status = 0;
	*ret = KIND_HELD;
	if (s->credential && call->read)
		return look_credential(s, call, n, made, e);
	if (!s->receipt) /* what a program did with the fields only its `confirm` can tell */
		return KIND_OK;
	if (!run(s, call, n, NULL, NULL, &status, e))
		return KIND_TEMPORARY;
	*ret = status == 0 ? KIND_CURRENT : KIND_HELD;
	snprintf(made->receipt, sizeof made->receipt, "'%.200s' ended with exit code %d", s->argv[0], status);
	return KIND_OK;
}

extern const struct provider provider_command;
const struct provider provider_command = {
	.kind = {
		.name = "command",
		.summary = "a program that hands the secret on",
		.roles = KIND_CONSUMER,
		.params = keys,
		.example = "consumers:\n"
		           "  - {name: orders, provider: command, command: [/usr/local/bin/tell-orders]}\n",
		.check = check,
		.address = address,
	},
	.open = session_open,
	.close = session_close,
	.plan = plan,
	.put = put,
	.look = look,
};
