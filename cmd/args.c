#include "cmd/front.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/policy.h"

const struct cmd_option cmd_global_options[] = {
	{ NULL, 'C', "DIR", "the home, instead of $ROTOR_HOME or the nearest .rotor", CMD_DIRS },
	{ "json", 0, NULL, "one JSON document on standard output, errors as JSON", CMD_WORD },
	{ NULL, 'q', NULL, "tell only what needs attention", CMD_WORD },
	{ NULL, 'v', NULL, "tell more", CMD_WORD },
	{ "color", 0, "WHEN", "auto, always or never", CMD_WORD },
	{ "help", 'h', NULL, "show help", CMD_WORD },
	{ "version", 0, NULL, "show the version", CMD_WORD },
	{ 0 },
};
enum { G_DIR, G_JSON, G_QUIET, G_VERBOSE, G_COLOR, G_HELP, G_VERSION, G_OPTIONS };

struct scan {
	const char *of;    /* " of 'rotate'", or "" */
	const char *usage; /* what the hint names */
	int argc, at;
	char *const *argv;
	struct {
		const struct cmd_option *table;
		const char **values;
	} set[2];
};

static bool at_end(const struct cmd_option *o)
{
	return !o->name && !o->letter;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Edit distance, at most `NEAR_WORD` letters long; further ones count as far. */
#define NEAR_WORD 32
static size_t distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b), row[NEAR_WORD + 1];
	if (la > NEAR_WORD || lb > NEAR_WORD)
		return NEAR_WORD;
	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t corner = row[0];
		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t up = row[j];
			row[j] = least(least(up, row[j - 1]) + 1, corner + (a[i - 1] != b[j - 1]));
			corner = up;
		}
	}
	return row[lb];
}

static bool is_near(const char *given, const char *name, size_t *best)
{
	size_t d = distance(given, name), limit = strlen(given) > 4 ? 2 : 1;
	/* an unfinished word is a near miss however much is missing */
	if (strlen(given) >= 2 && strncmp(given, name, strlen(given)) == 0)
		d = 1;
	if (d > limit || d >= *best)
		return false;
	*best = d;
	return true;
}

static bool unknown_option(const struct scan *s, const char *shown, const char *name, struct err *e)
{
	const char *near = NULL;
	size_t best = NEAR_WORD;
	err_set(e, ERR_USAGE, "unknown option '%s'%s", shown, s->of);
	for (size_t i = 0; i < 2; i++)
		for (const struct cmd_option *o = s->set[i].table; name && o && !at_end(o); o++)
			if (o->name && is_near(name, o->name, &best))
				near = o->name;
	if (near)
		return err_hint(e, "did you mean '--%s'? see %s", near, s->usage);
	return err_hint(e, "%s", s->usage);
}

/* Finds by long name, or by letter where `name` is NULL. NULL: there is none. */
static const struct cmd_option *find(const struct scan *s, const char *name, size_t len, char letter, const char ***ret)
{
	for (size_t i = 0; i < 2; i++)
		for (const struct cmd_option *o = s->set[i].table; o && !at_end(o); o++) {
			bool same_name = name && o->name && strlen(o->name) == len && strncmp(o->name, name, len) == 0;
			if (same_name || (!name && o->letter == letter)) {
				*ret = s->set[i].values + (o - s->set[i].table);
				return o;
			}
		}
	return NULL;
}

static bool takes_value(const struct cmd_option *o)
{
	return o->arg && o->arg[0] != '[';
}

static bool keep(const struct scan *s, const char *shown, const struct cmd_option *o, const char **slot,
                 const char *value, struct err *e)
{
	if (takes_value(o) && !*value) {
		err_set(e, ERR_USAGE, "option '%s'%s needs %s", shown, s->of, o->arg);
		return err_hint(e, "%s", s->usage);
	}
	if (o->arg && *slot) {
		err_set(e, ERR_USAGE, "option '%s'%s is given twice", shown, s->of);
		return err_hint(e, "%s", s->usage);
	}
	*slot = value;
	return true;
}

static const char *next_value(struct scan *s)
{
	return s->at + 1 < s->argc ? s->argv[++s->at] : "";
}

static bool long_option(struct scan *s, struct err *e)
{
	const char *arg = s->argv[s->at], *name = arg + 2, *equals = strchr(name, '='), **slot = NULL;
	size_t len = equals ? (size_t)(equals - name) : strlen(name);
	AUTO_FREE char *word = mem_dupn(name, len), *shown = mem_printf("--%s", word);
	const struct cmd_option *o = find(s, name, len, 0, &slot);
	if (!o)
		return unknown_option(s, shown, word, e);
	if (equals && !o->arg) {
		err_set(e, ERR_USAGE, "option '%s'%s takes no value", shown, s->of);
		return err_hint(e, "%s", s->usage);
	}
	return keep(s, shown, o, slot, equals ? equals + 1 : takes_value(o) ? next_value(s) : "", e);
}

static bool short_options(struct scan *s, struct err *e)
{
	for (const char *c = s->argv[s->at] + 1; *c; c++) {
		const char shown[] = { '-', *c, '\0' }, **slot = NULL;
		const struct cmd_option *o = find(s, NULL, 0, *c, &slot);
		if (!o)
			return unknown_option(s, shown, NULL, e);
		if (takes_value(o))
			return keep(s, shown, o, slot, c[1] ? c + 1 : next_value(s), e);
		if (!keep(s, shown, o, slot, "", e))
			return false;
	}
	return true;
}

static bool is_option(const char *arg)
{
	return arg[0] == '-' && arg[1];
}

static bool one_option(struct scan *s, struct err *e)
{
	return s->argv[s->at][1] == '-' ? long_option(s, e) : short_options(s, e);
}

/* Adds what the values say to what is known: the global options may stand on both sides of the command. */
static bool take_globals(const char *const v[G_OPTIONS], struct cmd_globals *g, struct err *e)
{
	static const char *const when[] = { "auto", "always", "never" };
	g->dir = v[G_DIR] ? v[G_DIR] : g->dir;
	g->json = g->json || v[G_JSON];
	g->help = g->help || v[G_HELP];
	g->version = g->version || v[G_VERSION];
	if ((v[G_QUIET] && (v[G_VERBOSE] || g->verbosity > 0)) || (v[G_VERBOSE] && g->verbosity < 0))
		return err_set(e, ERR_USAGE, "options '-q' and '-v' exclude each other");
	g->verbosity = v[G_QUIET] ? -1 : v[G_VERBOSE] ? 1 : g->verbosity;
	if (!v[G_COLOR])
		return true;
	for (int i = 0; i < 3; i++)
		if (strcmp(v[G_COLOR], when[i]) == 0) {
			g->color = (enum print_color)i; /* in the order of PRINT_AUTO, PRINT_ALWAYS, PRINT_NEVER */
			return true;
		}
	return err_set(e, ERR_USAGE, "option '--color' is auto, always or never, not '%s'", v[G_COLOR]);
}

bool cmd_parse_globals(int argc, char *const argv[], struct cmd_globals *ret, int *ret_next, struct err *e)
{
	const char *values[G_OPTIONS] = { NULL };
	struct scan s = { .of = "",
		          .usage = "rotor --help",
		          .argc = argc,
		          .at = 1,
		          .argv = argv,
		          .set = { { cmd_global_options, values } } };
	bool ok = true;
	for (; ok && s.at < argc && is_option(argv[s.at]); s.at++)
		ok = one_option(&s, e);
	*ret_next = s.at;
	return take_globals(values, ret, ok ? e : NULL) && ok;
}

bool cmd_is_group(const char *word)
{
	size_t len = strlen(word);
	for (size_t i = 0; len && cmd_all[i]; i++)
		if (strncmp(cmd_all[i]->name, word, len) == 0 && cmd_all[i]->name[len] == ' ')
			return true;
	return false;
}

/* `prefix` is the group with its blank, or "". */
static void unknown_command(const char *prefix, const char *word, struct err *e)
{
	char near[64] = "";
	size_t best = NEAR_WORD, skip = strlen(prefix);
	for (size_t i = 0; cmd_all[i]; i++) {
		char name[64];
		if (strncmp(cmd_all[i]->name, prefix, skip) != 0)
			continue;
		const char *rest = cmd_all[i]->name + skip;
		snprintf(name, sizeof name, "%.*s", (int)strcspn(rest, " "), rest);
		if (is_near(word, name, &best))
			memcpy(near, name, sizeof near);
	}
	err_set(e, ERR_USAGE, "unknown command '%s%s'", prefix, word);
	if (near[0])
		err_hint(e, "did you mean '%s%s'?", prefix, near);
	else if (skip)
		err_hint(e, "rotor %s--help", prefix);
	else
		err_hint(e, "rotor --help");
}

const struct cmd *cmd_find(int argc, char *const argv[], int *ret_used, struct err *e)
{
	bool group = cmd_is_group(argv[0]);
	if (group && argc < 2) {
		err_set(e, ERR_USAGE, "'%s' needs a command behind it", argv[0]);
		err_hint(e, "rotor %s --help", argv[0]);
		return NULL;
	}
	AUTO_FREE char *prefix = group ? mem_printf("%s ", argv[0]) : mem_dup("");
	const char *word = group ? argv[1] : argv[0];
	AUTO_FREE char *name = mem_printf("%s%s", prefix, word);
	for (size_t i = 0; cmd_all[i]; i++)
		if (strcmp(cmd_all[i]->name, name) == 0 && !strchr(word, ' ')) {
			*ret_used = group ? 2 : 1;
			return cmd_all[i];
		}
	unknown_command(prefix, word, e);
	return NULL;
}

static bool count_fits(const struct cmd *c, int n, const char *usage, struct err *e)
{
	if (n < c->min)
		err_set(e, ERR_USAGE, "'%s' needs %s", c->name, c->operands);
	else if (c->max == 0 && n > 0)
		err_set(e, ERR_USAGE, "'%s' takes no operand", c->name);
	else if (c->max >= 0 && n > c->max)
		err_set(e, ERR_USAGE, "'%s' takes at most %d operand%s", c->name, c->max, c->max == 1 ? "" : "s");
	else
		return true;
	return err_hint(e, "%s", usage);
}

bool cmd_parse(const struct cmd *c, int argc, char *const argv[], struct cmd_globals *g, struct cmd_args *ret,
               struct err *e)
{
	size_t n = 0;
	while (c->options && !at_end(&c->options[n]))
		n++;
	const char *globals[G_OPTIONS] = { NULL }, **operands = mem_array((size_t)argc + 1, sizeof *operands);
	ret->cmd = c;
	ret->argc = 0;
	ret->argv = operands;
	ret->values = mem_array(n + 1, sizeof *ret->values);
	AUTO_FREE char *of = mem_printf(" of '%s'", c->name), *usage = mem_printf("rotor %s --help", c->name);
	struct scan s = { .of = of,
		          .usage = usage,
		          .argc = argc,
		          .argv = argv,
		          .set = { { c->options, ret->values }, { cmd_global_options, globals } } };
	bool ok = true, only_operands = false;
	for (; ok && s.at < argc; s.at++) {
		if (only_operands || !is_option(argv[s.at]))
			operands[ret->argc++] = argv[s.at];
		else if (strcmp(argv[s.at], "--") == 0)
			only_operands = true;
		else
			ok = one_option(&s, e);
	}
	if (!take_globals(globals, g, ok ? e : NULL) || !ok)
		return false;
	return g->help || count_fits(c, ret->argc, usage, e);
}

void cmd_args_clear(struct cmd_args *a)
{
	free((void *)a->argv); /* the array is ours, its texts are the process's arguments */
	free(a->values);
	a->argv = NULL;
	a->values = NULL;
}

const char *cmd_option(const struct cmd_args *a, const char *name)
{
	for (size_t i = 0; a->cmd->options && !at_end(&a->cmd->options[i]); i++)
		if (a->cmd->options[i].name && strcmp(a->cmd->options[i].name, name) == 0)
			return a->values[i];
	return NULL;
}

bool cmd_option_int(const struct cmd_args *a, const char *name, long long min, long long max, long long fallback,
                    long long *ret, struct err *e)
{
	const char *text = cmd_option(a, name);
	char *end = NULL;
	if (!text) {
		*ret = fallback;
		return true;
	}
	errno = 0;
	long long v = strtoll(text, &end, 10);
	bool digits = text[strspn(text, "-0123456789")] == '\0'; /* strtoll takes blanks and '+' too */
	if (errno || end == text || *end || !digits || v < min || v > max) {
		if (max == LLONG_MAX)
			return err_set(e, ERR_USAGE, "option '--%s' is a number from %lld, not '%s'", name, min, text);
		return err_set(e, ERR_USAGE, "option '--%s' is a number from %lld to %lld, not '%s'", name, min, max,
		               text);
	}
	*ret = v;
	return true;
}

bool cmd_option_duration(const struct cmd_args *a, const char *name, long long fallback, long long *ret_ms,
                         struct err *e)
{
	const char *text = cmd_option(a, name);
	int64_t ms = fallback;
	if (text && !policy_duration(text, &ms, e))
		return err_prefix(e, "option '--%s'", name);
	*ret_ms = ms;
	return true;
}
