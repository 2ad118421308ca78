/* What a helper says. The first byte of the input is the verb that was asked (a letter, from 'A'), the second how many
 * credentials were asked about ('0' to '9'), the rest comes through the socket; then the helper closes it. */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/child.h"
#include "core/helper.h"
#include "core/json.h"

static int peer = -1; /* the helper's end */

/* In the place of core/child.c: no process is made. No process can ever have this id, so what the coordinator does to
 * it (kill, wait) meets nobody. */
bool child_spawn(const char *path, char *const argv[], char *const env[], const struct child_fd *fds, size_t n_fds,
                 pid_t *ret, struct err *e)
{
	(void)path;
	(void)argv;
	(void)env;
	(void)e;
	for (size_t i = 0; i < n_fds; i++)
		if (fds[i].to == HELPER_FD)
			peer = fcntl(fds[i].from, F_DUPFD_CLOEXEC, 3);
	*ret = INT32_MAX;
	return peer >= 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	json_setup();
	MUST(arena_init(NULL));
	/* the arena forbids it, and the leak checker could not look at this process then */
	MUST(prctl(PR_SET_DUMPABLE, 1) == 0);
	return 0;
}

static json_t *request(uint8_t verb, uint8_t creds)
{
	json_t *j = json_object(), *list = json_array();
	json_put_str(j, "verb", kind_verb_name((enum kind_verb)(verb % KIND_VERBS)));
	for (int i = 0; i < creds % 10; i++)
		json_array_append_new(list, json_pack("{s:i}", "n", i + 1));
	json_object_set_new(j, "creds", list);
	return j;
}

static void judge(const struct helper *h, struct helper_answer *a)
{
	bool good = a->rc == KIND_OK || a->rc == KIND_MORE;
	MUST(!helper_busy(h) && helper_deadline(h) == -1);
	MUST(a->rc < KIND_RCS);
	MUST(good ? a->body != NULL : a->error.code != ERR_OK && a->error.message[0]);
	MUST(a->body ? json_is_object(a->body) : !helper_alive(h) && a->rc == KIND_AMBIGUOUS);
	json_decref(a->body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct helper *h = NULL;
	struct helper_answer a;
	struct err e;
	if (size < 2)
		return 0;
	MUST(helper_start("fuzz", -1, &h, &e));
	AUTO_JSON *asked = request((uint8_t)(data[0] - 'A'), (uint8_t)(data[1] - '0'));
	MUST(helper_send(h, asked, INT64_MAX, &e));
	size_t sent = 2, half = 2 + (size - 2) / 2;
	bool answered = false;
	while (!answered && sent < size) {
		size_t want = (sent < half ? half : size) - sent;
		ssize_t n = send(peer, data + sent, want, MSG_DONTWAIT | MSG_NOSIGNAL);
		MUST(n > 0 || helper_busy(h));
		sent += n > 0 ? (size_t)n : 0;
		answered = helper_receive(h, 0, &a);
	}
	close(peer);
	/* the end of the helper is an answer, too */
	if (!answered)
		MUST(helper_receive(h, 0, &a));
	judge(h, &a);
	helper_end(h);
	return 0;
}
