#include "core/print.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/json.h"
#include "core/print_inside.h"
#include "core/table.h"
#include "tests/unit/test.h"

#define OUT_MAX 65536
#define NOW INT64_C(1795251600000) /* 2026-11-21T09:00:00Z */

/* ---- catching what is written */

static char caught[OUT_MAX];

struct catch
{
	int fd, saved, file;
};

static struct catch catch_begin(int fd)
{
	struct catch c = { fd, dup(fd), memfd_create("caught", MFD_CLOEXEC) };
	fflush(NULL);
	dup2(c.file, fd);
	return c;
}

static const char *catch_end(struct catch c)
{
	fflush(NULL);
	dup2(c.saved, c.fd);
	close(c.saved);
	ssize_t n = pread(c.file, caught, OUT_MAX - 1, 0);
	caught[n > 0 ? n : 0] = '\0';
	close(c.file);
	return caught;
}

/* ---- a terminal that knows what the board uses: newline, CR, up, erase below, colors */

#define ROWS 60
#define COLUMNS 200

static char shown[ROWS][COLUMNS];
static size_t cursor, column;

static void put(char c)
{
	if (c == '\n') {
		cursor++;
		column = 0;
	} else if (c == '\r') {
		column = 0;
	} else if (cursor < ROWS && column < COLUMNS - 1) {
		shown[cursor][column++] = c;
	}
}

static const char *sequence(const char *p)
{
	size_t n = strtoul(p + 2, (char **)&p, 10);
	if (*p == 'A')
		cursor -= n > cursor ? cursor : n;
	else if (*p == 'J')
		for (size_t i = cursor; i < ROWS; i++)
			memset(shown[i], 0, COLUMNS);
	else
		CHECK(*p == 'm');
	return p;
}

static void play(const char *bytes)
{
	memset(shown, 0, sizeof shown);
	cursor = column = 0;
	for (const char *p = bytes; *p; p++) {
		if (*p == '\033')
			p = sequence(p);
		else
			put(*p);
	}
}

static bool row_has(size_t row, const char *text)
{
	return strstr(shown[row], text) != NULL;
}

static size_t rows_used(void)
{
	size_t n = 0;
	for (size_t i = 0; i < ROWS; i++)
		n = shown[i][0] ? i + 1 : n;
	return n;
}

/* ---- events */

static struct event event(enum event_type type, const char *secret)
{
	return (struct event){ .type = type, .time_ms = NOW, .secret = secret, .started_ms = -1, .until_ms = -1 };
}

static struct event step(const char *secret, const char *name, const char *state, const char *message)
{
	struct event e = event(EVENT_STEP, secret);
	e.step = name;
	e.target = "pg";
	e.state = state;
	e.message = message;
	return e;
}

static const char *plain(int verbosity, const struct event *e, bool json)
{
	struct catch c = catch_begin(STDERR_FILENO);
	struct print *p = print_new(json, verbosity, PRINT_AUTO);
	print_event(p, e);
	print_free(p);
	return catch_end(c);
}

static void test_plain(void)
{
	struct event e = event(EVENT_BEGIN, "prod/db");
	TEST("plain: one line with a time per event");
	e.version = 8;
	e.previous = 7;
	e.rotation = "01J";
	e.message = "started";
	CHECK_STR(plain(0, &e, false), "2026-11-21T09:00:00Z prod/db: started, version 8 after 7, rotation 01J\n");
	e = step("prod/db", "issue", "done", "accepts version 8");
	CHECK_STR(plain(0, &e, false), "2026-11-21T09:00:00Z prod/db: issue pg done: accepts version 8\n");
	e = event(EVENT_WAIT, "prod/db");
	e.waits_for = "overlap";
	e.until_ms = NOW + 600000;
	CHECK_STR(plain(0, &e, false),
	          "2026-11-21T09:00:00Z prod/db: waits for overlap until 2026-11-21T09:10:00Z, in 10m\n");
	e = step("prod/db", "issue", NULL, "unreachable");
	e.type = EVENT_RETRY;
	e.until_ms = NOW + 2000;
	CHECK_STR(plain(0, &e, false), "2026-11-21T09:00:00Z prod/db: issue pg failed for now: unreachable; next try "
	                               "2026-11-21T09:00:02Z, in 2s\n");

	TEST("plain: a hold says what to do next, once");
	e = event(EVENT_HELD, "prod/db");
	e.message = "not well";
	e.hint = "rotor rotate --continue prod/db";
	CHECK_STR(plain(0, &e, false),
	          "2026-11-21T09:00:00Z prod/db: held: not well\nnext: rotor rotate --continue prod/db\n");
	CHECK(strstr(plain(-1, &e, false), "next: rotor rotate --continue"));
	e.type = EVENT_END;
	e.state = "held";
	CHECK(!strstr(plain(0, &e, false), "next:"));
	e.state = "failed";
	CHECK(strstr(plain(-1, &e, false), "next: rotor rotate --continue"));

	TEST("plain: quiet, verbose and JSON");
	e = step("prod/db", "issue", "running", NULL);
	CHECK_STR(plain(0, &e, false), "");
	CHECK_STR(plain(1, &e, false), "2026-11-21T09:00:00Z prod/db: issue pg running\n");
	e = step("prod/db", "issue", "done", NULL);
	CHECK_STR(plain(-1, &e, false), "");
	CHECK_STR(plain(0, &e, true), "");
	e = event(EVENT_TICK, NULL);
	CHECK_STR(plain(1, &e, false), "");

	TEST("plain: control characters do not reach the terminal");
	e = step("prod/db", "issue", "done", "a\033[2Jb\nc");
	CHECK(!strchr(plain(0, &e, false), '\033'));
	CHECK(strstr(caught, "a?[2Jb?c\n"));
}

static void test_errors(void)
{
	struct err e = { 0 };
	err_set(&e, ERR_REFUSED, "secret '%s' is not plain", "a/b");
	err_hint(&e, "rotor status");
	struct print *text = print_new(false, 0, PRINT_NEVER), *json = print_new(true, 0, PRINT_NEVER);
	TEST("errors and warnings, as text and as JSON");
	struct catch c = catch_begin(STDERR_FILENO);
	print_error(text, &e);
	print_warning(text, "odd", "look");
	CHECK_STR(catch_end(c), "rotor: secret 'a/b' is not plain\nhint: rotor status\n"
	                        "rotor: warning: odd\nhint: look\n");
	c = catch_begin(STDERR_FILENO);
	print_error(json, &e);
	print_warning(json, "odd", NULL);
	CHECK_STR(catch_end(c), "{\"format\":1,\"error\":{\"code\":3,\"message\":\"secret 'a/b' is not plain\","
	                        "\"hint\":\"rotor status\"}}\n"
	                        "{\"format\":1,\"warning\":{\"message\":\"odd\",\"hint\":null}}\n");
	err_set(&e, ERR_USAGE, "bad '\xff\x01'");
	c = catch_begin(STDERR_FILENO);
	print_error(json, &e);
	CHECK_STR(catch_end(c), "{\"format\":1,\"error\":{\"code\":2,\"message\":\"bad '\?\?'\",\"hint\":null}}\n");
	print_free(text);
	print_free(json);
}

/* ---- the board */

static struct print_board *board(unsigned rows, unsigned columns)
{
	struct print_board *b = print_board_new(STDERR_FILENO, false, false);
	print_board_size(b, rows, columns);
	return b;
}

static void begin(struct print_board *b, const char *secret)
{
	struct event e = event(EVENT_BEGIN, secret);
	e.version = 8;
	e.previous = 7;
	print_board_event(b, &e);
}

static void tell(struct print_board *b, struct event e, int64_t later)
{
	e.time_ms = NOW + later;
	print_board_event(b, &e);
}

static void test_board(void)
{
	struct print_board *b = board(24, 80);
	struct catch c = catch_begin(STDERR_FILENO);
	TEST("board: a live list of steps, in place");
	begin(b, "prod/db");
	tell(b, step("prod/db", "issue", "running", NULL), 1000);
	tell(b, step("prod/db", "issue", "done", "accepts it"), 3000);
	struct event wait = event(EVENT_WAIT, "prod/db");
	wait.waits_for = "overlap";
	wait.step = "overlap";
	wait.until_ms = NOW + 63000;
	tell(b, wait, 3000);
	tell(b, event(EVENT_TICK, NULL), 8000);
	play(catch_end(c));
	CHECK(rows_used() == 3);
	CHECK(row_has(0, "prod/db  version 8 after 7  8s"));
	CHECK(row_has(1, "  + issue") && row_has(1, "2s  pg  accepts it"));
	CHECK(row_has(2, "  ~ overlap") && row_has(2, "waits, 55s left, until 2026-11-21T09:01:03Z"));

	TEST("board: a hold stays above, with what to do next");
	c = catch_begin(STDERR_FILENO);
	struct event held = event(EVENT_HELD, "prod/db");
	held.message = "not well";
	held.hint = "rotor status";
	tell(b, held, 9000);
	held.type = EVENT_END;
	held.state = "held";
	tell(b, held, 9000);
	print_board_end(b);
	play(catch_end(c));
	CHECK(strstr(caught, "! prod/db") && strstr(caught, "held: not well\n  next: rotor status\n"));
	CHECK(strstr(strstr(caught, "held: not well") + 1, "held: not well") == NULL);
	CHECK(strstr(caught, "+ issue") < strstr(caught, "held: not well"));
	CHECK(row_has(3, "next: rotor status") && rows_used() == 4);
	print_board_free(b);
}

static void test_board_fits(void)
{
	static char names[40][16];
	struct print_board *b = board(12, 50);
	struct catch c = catch_begin(STDERR_FILENO);
	TEST("board: never more rows than fit, never wider than the screen");
	for (int i = 0; i < 40; i++) {
		snprintf(names[i], sizeof names[i], "secret-%02d", i);
		begin(b, names[i]);
		tell(b,
		     step(names[i], "issue", "running",
		          "x\xe4\xb8\xad\xe6\x96\x87 text that is rather too long for it"),
		     1);
	}
	play(catch_end(c));
	CHECK(rows_used() == 11);
	CHECK(row_has(0, "secret-00") && row_has(10, "and 30 more"));
	for (size_t i = 0; i < 11; i++)
		CHECK(table_width(shown[i]) < 50);
	print_board_free(b);

	b = board(8, 80);
	c = catch_begin(STDERR_FILENO);
	begin(b, "one");
	for (int i = 0; i < 20; i++)
		tell(b, step("one", names[i], i == 19 ? "running" : "done", NULL), i);
	play(catch_end(c));
	CHECK(rows_used() == 7);
	CHECK(row_has(1, "15 earlier steps") && row_has(2, "secret-15") && row_has(6, "> secret-19"));
	print_board_free(b);

	TEST("board: an ended rotation leaves it, and its steps stay when it was alone");
	b = board(24, 80);
	c = catch_begin(STDERR_FILENO);
	begin(b, "one");
	tell(b, step("one", "issue", "done", NULL), 5);
	struct event end = event(EVENT_END, "one");
	end.state = "done";
	tell(b, end, 2000);
	begin(b, "two");
	tell(b, event(EVENT_END, "unheard-of"), 1);
	play(catch_end(c));
	CHECK(row_has(0, "+ issue") && row_has(1, "+ one") && row_has(1, "done") && row_has(2, "two"));
	CHECK(rows_used() == 3);
	print_board_free(b);
}

/* ---- documents */

static const char *document(print_text *text, const char *source, bool json, int verbosity)
{
	struct err e = { 0 };
	AUTO_JSON *doc = json_parse(source, strlen(source), JSON_DEPTH_MAX, "the test", &e);
	CHECK(doc != NULL);
	struct print *p = print_new(json, verbosity, PRINT_NEVER);
	struct catch c = catch_begin(STDOUT_FILENO);
	print_document(p, doc, text);
	print_free(p);
	return catch_end(c);
}

static void test_documents(void)
{
	static const char rotations[] =
		"{\"format\":1,\"rotations\":[{\"id\":\"01J\",\"secret\":\"prod/db\",\"state\":\"held\",\"version\":8,"
		"\"previous\":7,\"waits_for\":null,\"until\":null,\"held_because\":\"no receipt\",\"next\":\"rotor "
		"status\","
		"\"steps\":[{\"step\":\"issue\",\"target\":\"pg\",\"state\":\"done\",\"attempts\":1,\"started\":"
		"\"2026-11-21T10:00:00Z\",\"ended\":\"2026-11-21T10:00:02Z\",\"receipt\":\"ok\",\"error\":null},"
		"{\"step\":\"confirm\",\"target\":\"api\",\"state\":\"failed\",\"attempts\":3,\"started\":null,"
		"\"ended\":null,\"receipt\":null,\"error\":\"no answer\"}]}]}";
	TEST("rotations: one line each, and what to do next");
	CHECK_STR(document(print_rotations, rotations, false, 0),
	          "prod/db  8 (was 7)  held  confirm api: no receipt\n  next: rotor status\n");
	CHECK_STR(document(print_rotations, "{\"format\":1,\"rotations\":[]}", false, 0), "");
	CHECK_STR(document(print_rotations,
	                   "{\"format\":1,\"rotations\":[{\"secret\":\"a\",\"state\":\"done\",\"version\":2,"
	                   "\"previous\":null,\"held_because\":\"of old\"}]}",
	                   false, 0),
	          "a  2  done\n");
	TEST("rotation: in full, with its steps");
	document(print_rotation, rotations, false, 0);
	CHECK(strstr(caught, "rotation  01J\nsecret    prod/db\n"));
	CHECK(strstr(caught, "issue    pg   done               2s  ok\n"));
	CHECK(strstr(caught, "\nissue") && !strstr(caught, "undo"));
	CHECK(strstr(caught, "confirm  api  failed, attempt 3  -   no answer\n"));
	TEST("JSON: the document as it is, on one line");
	CHECK_STR(document(print_rotations, "{\"format\":1,\"rotations\":[]}", true, 0),
	          "{\"format\":1,\"rotations\":[]}\n");

	TEST("plan: steps, digest, and SQL that can be copied");
	document(print_plan,
	         "{\"format\":1,\"plans\":[{\"secret\":\"a\",\"rotation\":null,\"digest\":\"d1\",\"version\":2,"
	         "\"facts\":{\"overlap\":\"alternating\"},\"steps\":[{\"step\":\"issue\",\"target\":\"pg\",\"version\":"
	         "2,"
	         "\"does\":\"accepts it\"}],\"accept\":[{\"check\":\"one-slot\",\"message\":\"an outage\"}],"
	         "\"refused\":[{\"check\":\"role\",\"message\":\"is missing\",\"repair\":\"CREATE ROLE x;\\nGRANT "
	         "y;\"}],"
	         "\"notes\":[]}]}",
	         false, 0);
	CHECK(strstr(caught, "digest    d1\n") && strstr(caught, "overlap   alternating\n"));
	CHECK(strstr(caught, "  1  issue  pg  accepts it (version 2)\n"));
	CHECK(strstr(caught, "accept   one-slot: an outage\n"));
	CHECK(strstr(caught, "refused  role: is missing\n      CREATE ROLE x;\n      GRANT y;\n"));

	TEST("findings");
	CHECK_STR(
		document(print_findings,
	                 "{\"format\":1,\"findings\":[{\"secret\":\"a\",\"version\":2,\"severity\":\"error\",\"check\":"
	                 "\"current\",\"message\":\"refused\"},{\"secret\":null,\"version\":null,\"severity\":"
	                 "\"warning\","
	                 "\"check\":\"swap\",\"message\":\"not encrypted\"}]}",
	                 false, 0),
		"error    a@2  current  refused\nwarning  -    swap     not encrypted\n");
	CHECK_STR(document(print_findings, "{\"format\":1,\"findings\":[]}", false, 0), "no findings\n");
	CHECK_STR(document(print_findings, "{\"format\":1,\"findings\":[]}", false, -1), "");

	TEST("changes");
	CHECK_STR(
		document(print_changes,
	                 "{\"format\":1,\"changes\":[{\"secret\":\"a\",\"change\":\"added\",\"differs\":[],\"next\":"
	                 "null},"
	                 "{\"secret\":\"b\",\"change\":\"changed\",\"differs\":[\"/owner\",\"/risk\"],\"next\":"
	                 "\"rotor push b\"},{\"secret\":\"c\",\"change\":\"unchanged\",\"differs\":[],\"next\":null}]}",
	                 false, 0),
		"+ a\n~ b  /owner, /risk\n  next: rotor push b\n2 changed, 1 unchanged\n");

	TEST("secrets: versions, and values line by line where they were asked for");
	document(print_secrets,
	         "{\"format\":1,\"secrets\":[{\"id\":\"a\",\"labels\":{\"app\":\"x\"},\"version\":2,\"versions\":["
	         "{\"version\":2,\"state\":\"current\",\"issued_at\":\"T1\",\"reason\":\"\",\"fields\":{\"username\":"
	         "\"u\","
	         "\"key\":\"l1\\nl2\\n\",\"empty\":\"\"}}]}]}",
	         false, 0);
	CHECK(strstr(caught, "secret    a\nlabels    app=x\nversion   2\n  2  current  issued T1\n"));
	CHECK(strstr(caught, "    username: u\n    key:\n      l1\n      l2\n"));
}

static void test_table(void)
{
	TEST("widths: what a terminal shows, not bytes");
	CHECK(table_width("abc") == 3 && table_width("\xc3\xa9") == 1 && table_width("\xe4\xb8\xad") == 2);
	CHECK(table_fit("\xe4\xb8\xad\xe6\x96\x87", 3) == 3 && table_fit("abc", 9) == 3 && table_fit("", 1) == 0);
	struct catch c = catch_begin(STDOUT_FILENO);
	struct table *t = table_new(2);
	table_cell(t, "\xc3\xa9\xc3\xa9", NULL);
	table_cell(t, "x", NULL);
	table_cell(t, "abc", PRINT_RED);
	table_cell(t, NULL, NULL);
	table_below(t, "below");
	table_print(t, stdout, true);
	table_free(t);
	CHECK_STR(catch_end(c), "\xc3\xa9\xc3\xa9   x\n\033[31mabc\033[0m  -\n  below\n");
}

int main(void)
{
	json_setup();
	setenv("TERM", "xterm", 1);
	test_plain();
	test_errors();
	test_board();
	test_board_fits();
	test_documents();
	test_table();
	return TEST_END();
}
