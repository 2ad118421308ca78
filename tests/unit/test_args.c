#include "cmd/front.h"

#include <stdlib.h>

#include "core/mem.h"
#include "tests/unit/test.h"

static int nothing(struct cmd_args *a, struct err *e)
{
	(void)a;
	(void)e;
	return 0;
}

static const struct cmd_option turn_options[] = {
	{ "dry-run", 'n', NULL, "look only", CMD_WORD },     { "reason", 0, "TEXT", "why", CMD_WORD },
	{ "limit", 'l', "N", "how many", CMD_WORD },         { "wait", 0, "[confirmed|done]", "stay", CMD_WORD },
	{ "expiring", 0, "DURATION", "how soon", CMD_WORD }, { 0 },
};
static const struct cmd turn = { .name = "turn",
	                         .operands = "ID...",
	                         .summary = "turn it",
	                         .options = turn_options,
	                         .min = 1,
	                         .max = 2,
	                         .run = nothing };
static const struct cmd box_open = { .name = "box open", .operands = "", .summary = "open it", .run = nothing };
static const struct cmd box_show = {
	.name = "box show", .operands = "ID", .summary = "show it", .min = 1, .max = 1, .run = nothing
};
const struct cmd *const cmd_all[] = { &turn, &box_open, &box_show, NULL };

#define ARGV_MAX 16

struct parsed {
	bool ok;
	struct cmd_args a;
	struct cmd_globals g;
	struct err e;
};

/* Parses blank-separated words for one row. */
static void parse(const struct cmd *c, const char *line, struct parsed *ret)
{
	static char text[256];
	static char *argv[ARGV_MAX];
	int argc = 0;
	snprintf(text, sizeof text, "%s", line);
	for (char *word = strtok(text, " "); word && argc < ARGV_MAX; word = strtok(NULL, " "))
		argv[argc++] = word;
	*ret = (struct parsed){ 0 };
	ret->ok = cmd_parse(c, argc, argv, &ret->g, &ret->a, &ret->e);
}

static void refused(const struct cmd *c, const char *line, const char *message)
{
	struct parsed p;
	parse(c, line, &p);
	CHECK(!p.ok);
	CHECK(p.e.code == ERR_USAGE);
	CHECK_STR(p.e.message, message);
	cmd_args_clear(&p.a);
}

static void test_options(void)
{
	struct parsed p;
	TEST("long, short, joined and separate values, operands between them");
	parse(&turn, "a --reason because -nl7 b", &p);
	CHECK(p.ok);
	CHECK(p.a.argc == 2);
	CHECK_STR(p.a.argv[0], "a");
	CHECK_STR(p.a.argv[1], "b");
	CHECK_STR(cmd_option(&p.a, "reason"), "because");
	CHECK_STR(cmd_option(&p.a, "dry-run"), "");
	CHECK_STR(cmd_option(&p.a, "limit"), "7");
	CHECK(!cmd_option(&p.a, "wait"));
	CHECK(!cmd_option(&p.a, "nonsense"));
	cmd_args_clear(&p.a);
	parse(&turn, "a --reason=x=y -l 8", &p);
	CHECK(p.ok);
	CHECK_STR(cmd_option(&p.a, "reason"), "x=y");
	CHECK_STR(cmd_option(&p.a, "limit"), "8");
	cmd_args_clear(&p.a);

	TEST("an optional value is taken from behind '=' only");
	parse(&turn, "--wait a", &p);
	CHECK(p.ok && p.a.argc == 1);
	CHECK_STR(cmd_option(&p.a, "wait"), "");
	cmd_args_clear(&p.a);
	parse(&turn, "--wait=done a", &p);
	CHECK(p.ok);
	CHECK_STR(cmd_option(&p.a, "wait"), "done");
	cmd_args_clear(&p.a);

	TEST("'--' ends options, '-' is an operand, a value may begin with '-'");
	parse(&turn, "- -- --reason", &p);
	CHECK(p.ok && p.a.argc == 2);
	CHECK_STR(p.a.argv[0], "-");
	CHECK_STR(p.a.argv[1], "--reason");
	CHECK(!cmd_option(&p.a, "reason"));
	cmd_args_clear(&p.a);
	parse(&turn, "a --reason --wait", &p);
	CHECK(p.ok);
	CHECK_STR(cmd_option(&p.a, "reason"), "--wait");
	cmd_args_clear(&p.a);
}

static void test_refused(void)
{
	struct parsed p;
	TEST("what is wrong is refused, and named");
	refused(&turn, "a --reas x", "unknown option '--reas' of 'turn'");
	refused(&turn, "a -x", "unknown option '-x' of 'turn'");
	refused(&turn, "a --dry-run=1", "option '--dry-run' of 'turn' takes no value");
	refused(&turn, "a --reason", "option '--reason' of 'turn' needs TEXT");
	refused(&turn, "a --reason=", "option '--reason' of 'turn' needs TEXT");
	refused(&turn, "a -l", "option '-l' of 'turn' needs N");
	refused(&turn, "a -l 1 --limit 2", "option '--limit' of 'turn' is given twice");
	refused(&turn, "", "'turn' needs ID...");
	refused(&turn, "a b c", "'turn' takes at most 2 operands");
	refused(&box_open, "a", "'box open' takes no operand");
	refused(&box_show, "a b", "'box show' takes at most 1 operand");
	refused(&turn, "a -q -v", "options '-q' and '-v' exclude each other");
	refused(&turn, "a --color=sometimes", "option '--color' is auto, always or never, not 'sometimes'");

	TEST("a near miss is suggested, a beginning is not accepted");
	parse(&turn, "a --reasn x", &p);
	CHECK_STR(p.e.hint, "did you mean '--reason'? see rotor turn --help");
	cmd_args_clear(&p.a);
	parse(&turn, "a --dry", &p);
	CHECK(!p.ok);
	CHECK_STR(p.e.hint, "did you mean '--dry-run'? see rotor turn --help");
	cmd_args_clear(&p.a);
	parse(&turn, "a --zebra", &p);
	CHECK_STR(p.e.hint, "rotor turn --help");
	cmd_args_clear(&p.a);
}

static void test_globals(void)
{
	struct parsed p;
	TEST("global options stand before the command and behind it");
	parse(&turn, "a --json -v -C /h", &p);
	CHECK(p.ok && p.g.json && p.g.verbosity == 1);
	CHECK_STR(p.g.dir, "/h");
	cmd_args_clear(&p.a);
	char *argv[] = { "rotor", "-C/x", "-q", "--color=never", "turn", "--json", NULL };
	struct cmd_globals g = { 0 };
	struct err e = { 0 };
	int next = 0;
	CHECK(cmd_parse_globals(6, argv, &g, &next, &e));
	CHECK(next == 4 && g.verbosity == -1 && g.color == PRINT_NEVER && !g.json);
	CHECK_STR(g.dir, "/x");
	char *bad[] = { "rotor", "--json", "--jsn", NULL };
	g = (struct cmd_globals){ 0 };
	CHECK(!cmd_parse_globals(3, bad, &g, &next, &e));
	CHECK_STR(e.message, "unknown option '--jsn'");
	CHECK(g.json); /* so that this error comes as JSON */

	TEST("--help needs no operands");
	parse(&turn, "--help", &p);
	CHECK(p.ok && p.g.help);
	cmd_args_clear(&p.a);
}

static void test_find(void)
{
	struct err e = { 0 };
	int used = 0;
	TEST("commands of one and of two words");
	CHECK(cmd_find(1, (char *[]){ "turn" }, &used, &e) == &turn && used == 1);
	CHECK(cmd_find(2, (char *[]){ "box", "show" }, &used, &e) == &box_show && used == 2);
	CHECK(cmd_is_group("box") && !cmd_is_group("turn") && !cmd_is_group("") && !cmd_is_group("bo"));
	CHECK(!cmd_find(1, (char *[]){ "box" }, &used, &e));
	CHECK_STR(e.message, "'box' needs a command behind it");
	CHECK(!cmd_find(1, (char *[]){ "trun" }, &used, &e));
	CHECK_STR(e.message, "unknown command 'trun'");
	CHECK_STR(e.hint, "rotor --help");
	CHECK(!cmd_find(1, (char *[]){ "turns" }, &used, &e));
	CHECK_STR(e.hint, "did you mean 'turn'?");
	CHECK(!cmd_find(2, (char *[]){ "box", "opn" }, &used, &e));
	CHECK_STR(e.message, "unknown command 'box opn'");
	CHECK_STR(e.hint, "did you mean 'box open'?");
	CHECK(!cmd_find(1, (char *[]){ "box open" }, &used, &e));
}

static void test_values(void)
{
	struct parsed p;
	long long v = 0;
	TEST("numbers and durations are read strictly");
	parse(&turn, "a --limit 12 --expiring 7d", &p);
	CHECK(cmd_option_int(&p.a, "limit", 1, 20, -1, &v, &p.e) && v == 12);
	CHECK(!cmd_option_int(&p.a, "limit", 1, 11, -1, &v, &p.e) && p.e.code == ERR_USAGE);
	CHECK(cmd_option_duration(&p.a, "expiring", -1, &v, &p.e) && v == 7LL * 86400000);
	CHECK(cmd_option_int(&p.a, "wait", 1, 20, -5, &v, &p.e) && v == -5);
	cmd_args_clear(&p.a);
	static const char *const bad[] = { "+1", "1x", "0x1", "99999999999999999999", "-", "1.5" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		AUTO_FREE char *line = mem_printf("a --limit=%s", bad[i]);
		parse(&turn, line, &p);
		v = 77;
		CHECK(!cmd_option_int(&p.a, "limit", 0, 1000, -1, &v, &p.e) && v == 77);
		cmd_args_clear(&p.a);
	}
	parse(&turn, "a --expiring soon", &p);
	CHECK(!cmd_option_duration(&p.a, "expiring", -1, &v, &p.e));
	CHECK(strncmp(p.e.message, "option '--expiring': ", 21) == 0);
	cmd_args_clear(&p.a);
}

static void test_help(void)
{
	char *text = NULL, option[64];
	size_t size = 0;
	TEST("help shows usage, summary and every option");
	FILE *f = open_memstream(&text, &size);
	cmd_help(f, &turn);
	fclose(f);
	CHECK(strstr(text, "usage: rotor turn [OPTION...] ID...\n\nturn it\n"));
	CHECK(strstr(text, "-n, --dry-run") && strstr(text, "    --reason TEXT") && strstr(text, "-l, --limit N"));
	CHECK(strstr(text, "--wait[=confirmed|done]"));
	free(text);
	cmd_option_text(&cmd_global_options[0], sizeof option, option);
	CHECK_STR(option, "-C DIR");
	f = open_memstream(&text, &size);
	cmd_help_group(f, "box");
	fclose(f);
	CHECK(strstr(text, "box open") && strstr(text, "box show") && !strstr(text, "turn"));
	free(text);
}

int main(void)
{
	test_options();
	test_refused();
	test_globals();
	test_find();
	test_values();
	test_help();
	return TEST_END();
}
