/* Helper processes: this program is its own helper, with a provider that misbehaves on request in the place of
 * postgres. */
#include "core/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/clock.h"
#include "core/json.h"
#include "core/mem.h"
#include "providers/provider.h"
#include "tests/unit/test.h"

/* A helper has no environment to read such things from; a process that is not dumpable cannot look for its leaks. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

struct provider_session {
	char mode[32];
	int puts;
};

static int opened; /* sessions that are open in this process */

static enum kind_rc fake_open(const json_t *params, const struct fields *auth, const struct provider_call *call,
                              struct provider_session **ret, struct err *e)
{
	const char *mode = json_str(params, "mode");
	(void)call;
	if (!mode) {
		err_set(e, ERR_FAILED, "no mode: %s", auth ? fields_get(auth, "username", NULL) : "no auth");
		err_hint(e, "give one");
		return KIND_PERMANENT;
	}
	*ret = mem_alloc(sizeof **ret);
	snprintf((*ret)->mode, sizeof(*ret)->mode, "%s", mode);
	opened++;
	return KIND_OK;
}

static void fake_close(struct provider_session *s)
{
	opened -= s != NULL;
	free(s);
}

static enum kind_rc fake_plan(struct provider_session *s, const struct provider_call *call, struct kind_facts *ret,
                              provider_found *found, void *arg, struct err *e)
{
	struct provider_finding f = { .check = "x", .severity = KIND_OUTAGE };
	(void)s;
	(void)call;
	(void)e;
	*ret = (struct kind_facts){ .slots = 2, .named = true, .put = KIND_OBSERVABLE, .usage = KIND_SAMPLED };
	snprintf(f.message, sizeof f.message, "a\033[31mb");
	snprintf(f.repair, sizeof f.repair, "one;\ntwo;\n");
	found(arg, &f);
	return KIND_OK;
}

/* Instead of the answer: what would follow is not awaited. */
static void answer_raw(const char *text)
{
	if (write(HELPER_FD, text, strlen(text)) < 0)
		_exit(1);
	pause();
}

static void flood(void)
{
	static char block[65536];
	memset(block, 'x', sizeof block);
	for (;;)
		if (send(HELPER_FD, block, sizeof block, MSG_NOSIGNAL) < 0)
			_exit(1);
}

static enum kind_rc fake_put(struct provider_session *s, const struct provider_call *call,
                             const struct provider_cred *n, const struct provider_cred *prev, struct provider_made *ret,
                             struct err *e)
{
	if (strcmp(s->mode, "hang") == 0)
		pause();
	if (strcmp(s->mode, "die") == 0)
		_exit(0);
	if (strcmp(s->mode, "garbage") == 0)
		answer_raw("{]\n");
	if (strcmp(s->mode, "flood") == 0)
		flood();
	if (strcmp(s->mode, "twice") == 0)
		answer_raw("{\"id\":2,\"rc\":\"ok\",\"made\":{\"handle\":\"\",\"cursor\":\"\",\"receipt\":\"\","
		           "\"value\":null}}\nx");
	if (strcmp(s->mode, "wrong-id") == 0)
		answer_raw("{\"id\":1,\"rc\":\"ok\",\"made\":{\"handle\":\"\",\"cursor\":\"\",\"receipt\":\"\","
		           "\"value\":null}}\n");
	if (strcmp(s->mode, "no-made") == 0)
		answer_raw("{\"id\":2,\"rc\":\"ok\"}\n");
	if (strcmp(s->mode, "conflict") == 0) {
		err_set(e, ERR_REFUSED, "mark is 'x'");
		return KIND_CONFLICT;
	}
	snprintf(ret->handle, sizeof ret->handle, "%s", n->handle);
	snprintf(ret->receipt, sizeof ret->receipt, "%d opened=%d %s %s %u %s expect=%s fence=%s", ++s->puts, opened,
	         call->tag, n->rotation, prev ? prev->n : 0, call->read ? "read" : "-", call->expect, call->fence);
	ret->value = fields_copy(n->value);
	return KIND_OK;
}

/* What a process sees of itself. */
static enum kind_rc fake_look(struct provider_session *s, const struct provider_call *call,
                              const struct provider_cred *n, enum kind_seen *ret, struct provider_made *made,
                              struct err *e)
{
	extern char **environ;
	char cloexec = fcntl(HELPER_LEASE, F_GETFD) & FD_CLOEXEC ? 'y' : 'n';
	int death = 0;
	struct rlimit core;
	(void)s;
	(void)call;
	(void)n;
	(void)e;
	prctl(PR_GET_PDEATHSIG, &death);
	getrlimit(RLIMIT_CORE, &core);
	*ret = KIND_SUSPENDED;
	snprintf(made->receipt, sizeof made->receipt, "env=%d lease=%c stray=%d dumpable=%d death=%d group=%d core=%d",
	         environ[0] != NULL, cloexec, fcntl(5, F_GETFD) >= 0, prctl(PR_GET_DUMPABLE), death,
	         getpgrp() == getpid(), (int)core.rlim_cur);
	return KIND_OK;
}

static enum kind_rc fake_usage(struct provider_session *s, const struct provider_call *call,
                               const struct provider_cred creds[], size_t n, const struct provider_filter *filter,
                               struct provider_usage ret[], struct err *e)
{
	(void)s;
	(void)call;
	(void)e;
	for (size_t i = 0; i < n; i++) {
		ret[i] = (struct provider_usage){ .sessions = creds[i].n, .last_ms = -1 };
		snprintf(ret[i].detail, sizeof ret[i].detail, "%s", filter->client);
	}
	return KIND_OK;
}

static enum kind_rc fake_list(struct provider_session *s, const struct provider_call *call, provider_each *each,
                              void *arg, struct err *e)
{
	static char big[1001];
	(void)call;
	(void)e;
	memset(big, 'h', sizeof big - 1);
	for (int i = 0; i < (strcmp(s->mode, "huge") == 0 ? 5000 : 1); i++)
		each(arg, &(struct provider_item){ .handle = big,
		                                   .created_ms = -1,
		                                   .used_ms = -1,
		                                   .sessions = 1,
		                                   .can_login = -1,
		                                   .has_value = -1 });
	return KIND_OK;
}

static enum kind_rc fake_drop(struct provider_session *s, const struct provider_call *call,
                              const struct provider_cred *n, struct err *e)
{
	(void)s;
	(void)call;
	(void)n;
	(void)e;
	return KIND_OK;
}

static enum kind_rc fake_probe(struct provider_session *s, const struct provider_call *call,
                               const struct provider_cred *n, enum kind_login *ret, struct err *e)
{
	(void)s;
	(void)call;
	(void)e;
	*ret = n->value ? KIND_ACCEPTED : KIND_REFUSED;
	return KIND_OK;
}

extern const struct provider provider_postgres;
const struct provider provider_postgres = {
	.kind = { .name = "postgres", .roles = KIND_AUTHORITY },
	.open = fake_open,
	.close = fake_close,
	.plan = fake_plan,
	.put = fake_put,
	.look = fake_look,
	.drop = fake_drop,
	.probe = fake_probe,
	.list = fake_list,
	.usage = fake_usage,
};

static struct helper *h;
static struct helper_answer a;

static void start(int lease)
{
	struct err e = { 0 };
	helper_end(h);
	h = NULL;
	CHECK(helper_start("postgres", lease, &h, &e));
}

static void call(const char *text, int64_t ms)
{
	struct err e;
	AUTO_JSON *j = json_parse(text, strlen(text), 8, "request", &e);
	json_decref(a.body);
	a = (struct helper_answer){ 0 };
	CHECK(j != NULL);
	helper_call(h, j, clock_boot() + ms, &a);
}

static void open_as(const char *mode)
{
	char text[128];
	start(-1);
	snprintf(text, sizeof text, "{\"verb\":\"open\",\"params\":{\"mode\":\"%s\"},\"auth\":null}", mode);
	call(text, 5000);
	CHECK(a.rc == KIND_OK);
}

#define PUT                                                                                                            \
	"{\"verb\":\"put\",\"tag\":\"R/issue/2\",\"fence\":\"R/2\",\"expect\":\"\",\"read\":true,"                     \
	"\"n\":{\"n\":8,\"handle\":\"orders_b\",\"value\":{\"password\":\"p\\u00e9\"},\"rotation\":\"R\"},\"prev\":{"  \
	"\"n\":7}}"
#define LOOK "{\"verb\":\"look\",\"n\":{\"n\":8}}"

static void good_tests(void)
{
	TEST("a request and its answer");
	open_as("good");
	call(PUT, 5000);
	CHECK(a.rc == KIND_OK);
	const json_t *made = json_object_get(a.body, "made");
	CHECK_STR(json_str(made, "handle"), "orders_b");
	CHECK_STR(json_str(made, "receipt"), "1 opened=1 R/issue/2 R 7 read expect= fence=R/2");
	CHECK_STR(json_str(json_object_get(made, "value"), "password"), "p\xc3\xa9");

	TEST("the session lasts, and opening anew closes the former");
	call(PUT, 5000);
	CHECK(strncmp(json_str(json_object_get(a.body, "made"), "receipt"), "2 opened=1", 10) == 0);
	call("{\"verb\":\"open\",\"params\":{\"mode\":\"x\"}}", 5000);
	call(PUT, 5000);
	CHECK(strncmp(json_str(json_object_get(a.body, "made"), "receipt"), "1 opened=1", 10) == 0);

	TEST("plan, usage, probe, list");
	call("{\"verb\":\"plan\"}", 5000);
	const json_t *found = json_array_get(json_object_get(a.body, "findings"), 0);
	CHECK(a.rc == KIND_OK && json_int(json_object_get(a.body, "facts"), "slots", 0) == 2);
	CHECK_STR(json_str(found, "message"), "a?[31mb");
	CHECK_STR(json_str(found, "repair"), "one;\ntwo;\n");
	call("{\"verb\":\"usage\",\"creds\":[{\"n\":3},{\"n\":4}],\"filter\":{\"client\":\"10.0.0.0/8\"}}", 5000);
	const json_t *second = json_array_get(json_object_get(a.body, "usage"), 1);
	CHECK(json_int(second, "sessions", 0) == 4);
	CHECK_STR(json_str(second, "detail"), "10.0.0.0/8");
	call("{\"verb\":\"probe\",\"n\":{\"n\":1}}", 5000);
	CHECK_STR(json_str(a.body, "login"), "refused");
	call("{\"verb\":\"list\"}", 5000);
	CHECK(json_array_size(json_object_get(a.body, "items")) == 1);

	TEST("errors keep class, text and hint");
	call("{\"verb\":\"open\",\"params\":{},\"auth\":{\"username\":\"root\"}}", 5000);
	CHECK(a.rc == KIND_PERMANENT && a.error.code == ERR_FAILED);
	CHECK_STR(a.error.message, "no mode: root");
	CHECK_STR(a.error.hint, "give one");
	call(LOOK, 5000);
	CHECK(a.rc == KIND_PERMANENT && strstr(a.error.message, "before it is open"));
	open_as("conflict");
	call(PUT, 5000);
	CHECK(a.rc == KIND_CONFLICT && a.error.code == ERR_REFUSED);
	call("{\"verb\":\"flush\"}", 5000);
	CHECK(a.rc == KIND_PERMANENT);
	CHECK_STR(a.error.message, "kind 'postgres' has no verb 'flush'");
	call("{\"verb\":\"drop\"}", 5000);
	CHECK(a.rc == KIND_PERMANENT && helper_alive(h));
	open_as("huge");
	call("{\"verb\":\"list\"}", 5000);
	CHECK(a.rc == KIND_AMBIGUOUS && helper_alive(h) && strstr(a.error.message, "larger"));
}

static void process_tests(void)
{
	TEST("the process: no environment, the lease and no other descriptor, not dumpable, dies with its parent");
	int stray[4], lease = open("/dev/null", O_RDONLY | O_CLOEXEC);
	for (size_t i = 0; i < 4; i++)
		stray[i] = open("/dev/null", O_RDONLY); /* not close-on-exec, on purpose */
	setenv("LEAK", "1", 1);
	start(lease);
	call("{\"verb\":\"open\",\"params\":{\"mode\":\"good\"}}", 5000);
	call(LOOK, 5000);
	CHECK_STR(json_str(json_object_get(a.body, "made"), "receipt"),
	          "env=0 lease=y stray=0 dumpable=0 death=9 group=1 core=0");
	CHECK_STR(json_str(a.body, "seen"), "suspended");
	for (size_t i = 0; i < 4; i++)
		close(stray[i]);
	close(lease);

	TEST("without the parent who made its socket it does nothing");
	int status = -1;
	helper_end(h);
	h = NULL;
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		int pair[2];
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || fork() != 0)
			_exit(0);
		dup2(pair[1], 100);
		close_range(3, 99, 0);
		dup2(100, HELPER_FD);
		usleep(100000); /* the parent, who made the socket, is gone then */
		_exit(provider_serve("postgres"));
	}
	CHECK(waitpid(pid, NULL, 0) == pid);
	CHECK(waitpid(-1, &status, 0) > 0);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == ERR_TEMPORARY);
}

static void bad_tests(void)
{
	static const struct {
		const char *mode, *why;
	} bad[] = { { "die", "ended by itself" },    { "garbage", "malformed" },  { "flood", "more than it may" },
		    { "twice", "more than it may" }, { "wrong-id", "malformed" }, { "no-made", "malformed" } };

	TEST("a helper that misbehaves is ended, and the answer is ambiguous");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		open_as(bad[i].mode);
		call(PUT, 5000);
		CHECK(a.rc == KIND_AMBIGUOUS && !a.body && a.error.code == ERR_TEMPORARY && !helper_alive(h));
		CHECK(strstr(a.error.message, bad[i].why) && strstr(a.error.message, "'postgres'"));
		call(PUT, 5000);
		CHECK(a.rc == KIND_TEMPORARY && strstr(a.error.message, "is gone"));
	}

	TEST("a deadline is a kill, and not a moment too early");
	open_as("hang");
	int64_t begin = clock_boot();
	call(PUT, 300);
	int64_t took = clock_boot() - begin;
	CHECK(a.rc == KIND_AMBIGUOUS && !helper_alive(h) && took >= 290 && took < 2000);
	CHECK(strstr(a.error.message, "in time") != NULL);

	TEST("one request at a time; receive does not block");
	open_as("hang");
	struct err e;
	AUTO_JSON *j = json_parse(PUT, strlen(PUT), 8, "request", &e);
	int64_t deadline = clock_boot() + 60000;
	CHECK(helper_send(h, j, deadline, &e) && helper_busy(h) && helper_deadline(h) == deadline);
	CHECK(!helper_send(h, j, deadline, &e));
	begin = clock_boot();
	CHECK(!helper_receive(h, clock_boot(), &a) && clock_boot() - begin < 200);
	CHECK(helper_receive(h, deadline, &a) && a.rc == KIND_AMBIGUOUS && !helper_busy(h) && helper_deadline(h) == -1);

	TEST("a request that is too long is not sent; a long one is");
	open_as("good");
	char *big = mem_alloc(5u << 20);
	memset(big, 'x', (5u << 20) - 1);
	AUTO_JSON *request = json_parse(LOOK, strlen(LOOK), 8, "request", &e);
	json_put_str(request, "pad", big);
	CHECK(!helper_send(h, request, clock_boot() + 5000, &e) && helper_alive(h) && !helper_busy(h));
	big[4000000] = '\0';
	json_put_str(request, "pad", big);
	helper_call(h, request, clock_boot() + 5000, &a);
	CHECK(a.rc == KIND_OK);
	free(big);

	TEST("an idle helper that ended is noticed");
	open_as("good");
	CHECK(write(helper_fd(h), "nonsense\n", 9) == 9);
	struct pollfd p = { helper_fd(h), POLLIN, 0 };
	CHECK(poll(&p, 1, 5000) == 1 && !helper_receive(h, clock_boot(), &a) && !helper_alive(h));
}

static void registry_tests(void)
{
	TEST("the registry");
	struct provider p = provider_postgres;
	CHECK(!provider_missing(&p) && provider_find("postgres") == &provider_postgres && !provider_find("nonsense"));
	p.probe = NULL;
	CHECK_STR(provider_missing(&p), "probe");
	provider_register_all();
	CHECK(kind_find("file") && kind_find("command") && kind_find("pull") && kind_find("postgres") && !kind_at(4));
	for (size_t i = 0; kind_at(i); i++)
		CHECK(provider_find(kind_at(i)->name) && !provider_missing(provider_find(kind_at(i)->name)));
}

static void command_tests(void)
{
	struct err e = { 0 };
	static const char *const open = "{\"verb\":\"open\",\"params\":{\"command\":[\"/bin/sh\",\"-c\",\"%s\"]%s}}";
	char text[512];
	helper_end(h);
	h = NULL;
	CHECK(helper_start("command", -1, &h, &e));

	TEST("command: fields on standard input, exit codes");
	snprintf(text, sizeof text, open,
	         "read l; [ $l = '{\\\"secret\\\":\\\"a/b\\\",\\\"version\\\":8,\\\"fields\\\":"
	         "{\\\"password\\\":\\\"x\\\"}}' ] && exit $ROTOR_VERSION",
	         "");
	call(text, 5000);
	CHECK(a.rc == KIND_OK);
	call("{\"verb\":\"put\",\"secret\":\"a/b\",\"n\":{\"n\":8,\"value\":{\"password\":\"x\"}}}", 5000);
	CHECK(a.rc == KIND_PERMANENT && strstr(a.error.message, "exit code 8"));
	snprintf(text, sizeof text, open, "exit 75", "");
	call(text, 5000);
	call("{\"verb\":\"put\",\"n\":{\"n\":8,\"value\":{\"password\":\"x\"}}}", 5000);
	CHECK(a.rc == KIND_TEMPORARY);

	TEST("command: the deadline ends the program before it ends the helper");
	snprintf(text, sizeof text, open, "sleep 30", "");
	call(text, 5000);
	call("{\"verb\":\"put\",\"n\":{\"n\":8,\"value\":{\"password\":\"x\"}}}", 800);
	CHECK(a.rc == KIND_AMBIGUOUS && helper_alive(h) && strstr(a.error.message, "in time"));

	TEST("command: receipts");
	snprintf(text, sizeof text, open, "[ $ROTOR_VERSION = 8 ]", ",\"receipt\":true");
	call(text, 5000);
	call(LOOK, 5000);
	CHECK_STR(json_str(a.body, "seen"), "current");
	call("{\"verb\":\"look\",\"n\":{\"n\":7}}", 5000);
	CHECK_STR(json_str(a.body, "seen"), "held");

	TEST("command: credentials");
	snprintf(text, sizeof text, open, "echo 'p w'; echo", ",\"credential\":true");
	call(text, 5000);
	call("{\"verb\":\"look\",\"read\":true}", 5000);
	CHECK_STR(json_str(json_object_get(json_object_get(a.body, "made"), "value"), "password"), "p w\n");
	snprintf(text, sizeof text, open, "echo '{\\\"username\\\":\\\"u\\\"}'", ",\"credential\":true");
	call(text, 5000);
	call("{\"verb\":\"look\",\"read\":true,\"n\":{\"n\":0}}", 5000);
	CHECK_STR(json_str(json_object_get(json_object_get(a.body, "made"), "value"), "username"), "u");
	snprintf(text, sizeof text, open, "true", ",\"credential\":true");
	call(text, 5000);
	call("{\"verb\":\"look\",\"read\":true,\"n\":{\"n\":0}}", 5000);
	CHECK(a.rc == KIND_PERMANENT);

	TEST("pull");
	helper_end(h);
	CHECK(helper_start("pull", -1, &h, &e));
	call("{\"verb\":\"open\",\"params\":{}}", 5000);
	call(LOOK, 5000);
	CHECK_STR(json_str(a.body, "seen"), "held");
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[0], "rotor-helper") == 0)
		return provider_serve(argv[1]);
	CHECK(arena_init(NULL));
	json_setup();
	good_tests();
	process_tests();
	bad_tests();
	registry_tests();
	command_tests();
	helper_end(h);
	json_decref(a.body);
	return TEST_END();
}
