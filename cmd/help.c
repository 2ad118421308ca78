#include "cmd/front.h"

#include <string.h>

#define LEFT 30 /* columns for an option or a command before its text */

void cmd_option_text(const struct cmd_option *o, size_t size, char ret[])
{
	char letter[4] = "", arg[80] = "";
	if (o->letter)
		snprintf(letter, sizeof letter, "-%c", o->letter);
	if (o->arg && o->arg[0] == '[')
		snprintf(arg, sizeof arg, "[=%s", o->arg + 1);
	else if (o->arg)
		snprintf(arg, sizeof arg, " %s", o->arg);
	snprintf(ret, size, "%s%s%s%s%s", letter, o->letter && o->name ? ", " : "", o->name ? "--" : "",
	         o->name ? o->name : "", arg);
}

static void line(FILE *f, const char *left, const char *text)
{
	if (strlen(left) < LEFT - 1)
		fprintf(f, "  %-*s%s\n", LEFT, left, text);
	else
		fprintf(f, "  %s\n  %-*s%s\n", left, LEFT, "", text);
}

static void options(FILE *f, const struct cmd_option *o)
{
	for (; o && (o->name || o->letter); o++) {
		char text[128], left[160];
		cmd_option_text(o, sizeof text, text);
		snprintf(left, sizeof left, "%s%s", o->letter ? "" : "    ", text);
		line(f, left, o->help);
	}
}

void cmd_help(FILE *f, const struct cmd *c)
{
	bool has_options = c->options && (c->options->name || c->options->letter);
	fprintf(f, "usage: rotor %s%s%s%s\n\n%s\n", c->name, has_options ? " [OPTION...]" : "", *c->operands ? " " : "",
	        c->operands, c->summary);
	if (has_options) {
		fputs("\noptions:\n", f);
		options(f, c->options);
	}
	fputs("\nglobal options: rotor --help\n", f);
}

static void rows(FILE *f, const char *word)
{
	size_t len = word ? strlen(word) : 0;
	for (size_t i = 0; cmd_all[i]; i++)
		if (!word || (strncmp(cmd_all[i]->name, word, len) == 0 && cmd_all[i]->name[len] == ' '))
			line(f, cmd_all[i]->name, cmd_all[i]->summary);
}

void cmd_help_group(FILE *f, const char *word)
{
	if (word) {
		fprintf(f, "usage: rotor %s COMMAND\n\ncommands:\n", word);
		rows(f, word);
		return;
	}
	fputs("usage: rotor [-C DIR] [--json] [-q | -v] [--color=WHEN] COMMAND ...\n\n"
	      "Rotates secrets without an outage, and proves that it did.\n\ncommands:\n",
	      f);
	rows(f, NULL);
	line(f, "help [COMMAND]", "show help");
	fputs("\noptions:\n", f);
	options(f, cmd_global_options);
	fputs("\nexit: 0 done or healthily waiting, 1 failed or held, 2 usage or configuration, 3 refused,\n"
	      "4 some of several failed or are held, 75 temporary: run again\n",
	      f);
}
