/* Values handed in by pipe and by terminal. */
#include "cmd/input.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/json.h"
#include "tests/unit/test.h"

/* The fields of `input` through a pipe as "name=value;name=value;", or the error. */
static const char *piped(const char *input, size_t len, const char *field)
{
	static char text[256 * 1024];
	int fds[2];
	struct fields *f = NULL;
	struct err e = { 0 };
	text[0] = '\0';
	if (pipe2(fds, O_CLOEXEC) != 0)
		exit(99);
	pid_t writer = fork();
	if (writer == 0) {
		close(fds[0]);
		while (len) {
			ssize_t n = write(fds[1], input, len);
			if (n <= 0)
				_exit(0);
			input += n;
			len -= (size_t)n;
		}
		_exit(0);
	}
	close(fds[1]);
	if (!cmd_input_fields(fds[0], field, "x", &f, &e))
		snprintf(text, sizeof text, "%d: %s", (int)e.code, e.message);
	close(fds[0]);
	waitpid(writer, NULL, 0);
	for (size_t i = 0; i < fields_count(f); i++) {
		size_t at = strlen(text);
		snprintf(text + at, sizeof text - at, "%s=%s;", fields_name(f, i),
		         fields_get(f, fields_name(f, i), NULL));
	}
	fields_free(f);
	return text;
}

static const char *text_of(const char *input, const char *field)
{
	return piped(input, strlen(input), field);
}

static void test_pipe(void)
{
	TEST("a raw value is the password; one newline goes, no more");
	CHECK_STR(text_of("secret\n", NULL), "password=secret;");
	CHECK_STR(text_of("secret", NULL), "password=secret;");
	CHECK_STR(text_of(" se cret \n\n", NULL), "password= se cret \n;");
	TEST("a named field takes everything");
	CHECK_STR(text_of("{\"a\":\"b\"}\n", "url"), "url={\"a\":\"b\"};");
	TEST("a JSON object of strings");
	CHECK_STR(text_of("{\"username\":\"u\",\"password\":\"p\\n\"}\n", NULL), "username=u;password=p\n;");
	TEST("what is no value is refused, and not shown");
	CHECK_STR(text_of("", NULL), "2: value of field 'password' is empty");
	CHECK_STR(text_of("\n", NULL), "2: value of field 'password' is empty");
	CHECK_STR(text_of("{}", NULL), "2: value is an object without fields");
	CHECK_STR(text_of("{\"a\":1}", NULL), "2: field 'a' is not a string");
	CHECK_STR(text_of("x", "Not A Name"),
	          "2: 'Not A Name' is no name of a field: lower case letters, digits, '_' and '-'");
	const char *torn = text_of("{\"a\":\"canary", NULL);
	CHECK(strncmp(torn, "2: ", 3) == 0 && !strstr(torn, "canary"));
	const char *twice = text_of("{\"a\":\"canary\",\"a\":\"canary\"}", NULL);
	CHECK(strncmp(twice, "2: ", 3) == 0 && !strstr(twice, "canary"));
	const char *nul = piped("can\0ary", 7, NULL);
	CHECK(strncmp(nul, "2: ", 3) == 0 && !strstr(nul, "can"));
	TEST("too large");
	size_t len = CMD_INPUT_JSON_MAX + 2;
	char *big = malloc(len);
	memset(big, 'x', len);
	CHECK(strncmp(piped(big, len, NULL), "2: ", 3) == 0);
	CHECK(strncmp(piped(big, FIELDS_VALUE_MAX + 1, NULL), "2: ", 3) == 0);
	CHECK(strncmp(piped(big, FIELDS_VALUE_MAX, NULL), "password=xxx", 12) == 0);
	free(big);
}

/* Types `keys` on a terminal once it is hidden; tells the fields or the error, and everything the terminal showed. */
static const char *typed(const char *keys, const char *field, char shown[256], bool *ret_restored)
{
	static char text[2048];
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
	struct termios before, after;
	struct fields *f = NULL;
	struct err e = { 0 };
	if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0)
		exit(99);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || tcgetattr(slave, &before) != 0)
		exit(99);
	pid_t typist = fork();
	if (typist == 0) {
		struct termios now;
		do
			usleep(1000);
		while (tcgetattr(slave, &now) == 0 && (now.c_lflag & ECHO));
		_exit(write(master, keys, strlen(keys)) == (ssize_t)strlen(keys) ? 0 : 1);
	}
	text[0] = '\0';
	if (!cmd_input_fields(slave, field, "x", &f, &e))
		snprintf(text, sizeof text, "%d: %s", (int)e.code, e.message);
	else
		snprintf(text, sizeof text, "%s=%s", fields_name(f, 0), fields_get(f, fields_name(f, 0), NULL));
	fields_free(f);
	waitpid(typist, NULL, 0);
	*ret_restored = tcgetattr(slave, &after) == 0 && after.c_lflag == before.c_lflag;
	fcntl(master, F_SETFL, O_NONBLOCK);
	ssize_t n = read(master, shown, 255);
	shown[n > 0 ? n : 0] = '\0';
	close(slave);
	close(master);
	return text;
}

static void test_terminal(void)
{
	char shown[256];
	bool restored;
	TEST("a terminal does not show what is typed, and is set back");
	CHECK_STR(typed("canary\n", NULL, shown, &restored), "password=canary");
	CHECK(!strstr(shown, "canary") && restored);
	TEST("keys");
	CHECK_STR(typed("cax\177nary\n", "url", shown, &restored), "url=canary");
	CHECK_STR(typed("a\303\244\177b\r", NULL, shown, &restored), "password=ab");
	CHECK_STR(typed("wrong\025right\n", NULL, shown, &restored), "password=right");
	CHECK_STR(typed("end\004", NULL, shown, &restored), "password=end");
	TEST("broken off");
	CHECK_STR(typed("canary\003", NULL, shown, &restored), "1: nothing was entered");
	CHECK(restored);
	CHECK_STR(typed("\004", NULL, shown, &restored), "1: nothing was entered");
	CHECK_STR(typed("\n", NULL, shown, &restored), "2: value of field 'password' is empty");
	TEST("no JSON from a terminal, unless it is a field's value");
	CHECK(strncmp(typed("{\"a\":\"b\"}\n", NULL, shown, &restored), "2: a JSON object is not read", 28) == 0);
	CHECK_STR(typed("{x\n", "password", shown, &restored), "password={x");
}

static void test_descriptor(void)
{
	struct err e = { 0 };
	int fds[2];
	TEST("a descriptor must have been handed over, open for reading");
	if (pipe(fds) != 0)
		exit(99);
	CHECK(cmd_input_fd(fds[0], &e));
	CHECK(!cmd_input_fd(fds[1], &e) && e.code == ERR_USAGE);
	fcntl(fds[0], F_SETFD, FD_CLOEXEC);
	CHECK(!cmd_input_fd(fds[0], &e) && e.code == ERR_USAGE);
	CHECK(!cmd_input_fd(60000, &e) && e.code == ERR_USAGE);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	struct err e = { 0 };
	json_setup();
	if (!arena_init(&e)) {
		printf("Bail out! %s\n", e.message);
		return 99;
	}
	test_pipe();
	test_terminal();
	test_descriptor();
	return TEST_END();
}
