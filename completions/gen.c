/* Prints the completion of one shell from the command rows: `completions bash|zsh|fish`. Run at build time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/front.h"

static bool there(const struct cmd_option *o)
{
	return o && (o->name || o->letter);
}

static bool takes_value(const struct cmd_option *o)
{
	return o->arg && o->arg[0] != '[';
}

/* Calls `each` for the first word of every two-word command, once. */
static void each_group(void (*each)(const char *word))
{
	char last[64] = "";
	for (size_t i = 0; cmd_all[i]; i++) {
		char word[64];
		size_t len = strcspn(cmd_all[i]->name, " ");
		snprintf(word, sizeof word, "%.*s", (int)len, cmd_all[i]->name);
		if (cmd_all[i]->name[len] && strcmp(word, last) != 0)
			each(word);
		memcpy(last, word, sizeof last);
	}
}

/* The words that can stand at the place after `group` (NULL: the first place), each with a blank before it. */
static void words_after(const char *group)
{
	size_t skip = group ? strlen(group) + 1 : 0;
	char last[64] = "";
	for (size_t i = 0; cmd_all[i]; i++) {
		const char *name = cmd_all[i]->name;
		char word[64];
		if (group && (strncmp(name, group, skip - 1) != 0 || name[skip - 1] != ' '))
			continue;
		snprintf(word, sizeof word, "%.*s", (int)strcspn(name + skip, " "), name + skip);
		if (strcmp(word, last) != 0)
			printf(" %s", word);
		memcpy(last, word, sizeof last);
	}
}

/* Alternatives joined by `between`, quoted as the shell's `case` needs it: the options that take the next word. */
static void value_options(const struct cmd_option *table, const char *between)
{
	const char *sep = "";
	for (const struct cmd_option *o = table; there(o); o++) {
		if (!takes_value(o))
			continue;
		if (o->name)
			printf("%s--%s", sep, o->name);
		sep = o->name ? between : sep;
		if (o->letter)
			printf("%s-%c", sep, o->letter);
		sep = between;
	}
}

static void group_alternative(const char *word)
{
	static const char *sep = "";
	printf("%s%s", sep, word);
	sep = " | ";
}

/* ---- bash */

static const char *bash_action(enum cmd_complete what)
{
	static const char *const actions[] = {
		[CMD_WORD] = "",
		[CMD_CONSUMERS] = "",
		[CMD_FILES] = "compgen -f -- \"$cur\"",
		[CMD_DIRS] = "compgen -d -- \"$cur\"",
		[CMD_SECRETS] = "_rotor_ids inventory list",
		[CMD_ROTATIONS] = "_rotor_ids inventory list",
		[CMD_KINDS] = "_rotor_ids provider list",
	};
	return actions[what];
}

static void bash_options(const struct cmd_option *table)
{
	for (const struct cmd_option *o = table; there(o); o++) {
		if (o->name)
			printf(" --%s", o->name);
		if (o->letter)
			printf(" -%c", o->letter);
	}
}

static void bash_values(const struct cmd *c)
{
	for (const struct cmd_option *o = c->options; there(o); o++)
		if (takes_value(o) && o->name && *bash_action(o->complete))
			printf("\t'%s --%s') mapfile -t COMPREPLY < <(%s); return ;;\n", c->name, o->name,
			       bash_action(o->complete));
		else if (takes_value(o) && o->name)
			printf("\t'%s --%s') return ;;\n", c->name, o->name);
}

static void bash_row(const struct cmd *c)
{
	printf("\t'%s')\n\t\twords='", c->name);
	bash_options(c->options);
	fputs("'\n\t\t[[ $cur == -* ]] || { ", stdout);
	if (c->max != 0 && *bash_action(c->complete))
		printf("mapfile -t COMPREPLY < <(%s); ", bash_action(c->complete));
	puts("return; }\n\t\t;;");
}

static void bash_group(const char *word)
{
	printf("\t'%s') words='", word);
	words_after(word);
	puts("' ;;");
}

static void bash(void)
{
	fputs("# bash completion of rotor, made from its command table\n\n"
	      "# First column of what a list prints, for the home that the line names.\n"
	      "_rotor_ids() {\n"
	      "\tlocal id\n"
	      "\tcommand rotor \"${home[@]}\" -q \"$@\" 2>/dev/null | while read -r id _; do\n"
	      "\t\t[[ $id != \"$cur\"* ]] || printf '%s\\n' \"$id\"\n"
	      "\tdone\n"
	      "}\n\n"
	      "_rotor() {\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} name='' words='' i home=()\n"
	      "\tCOMPREPLY=()\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tcase ${COMP_WORDS[i]} in\n"
	      "\t\t",
	      stdout);
	value_options(cmd_global_options, " | ");
	fputs(")\n"
	      "\t\t\t[[ ${COMP_WORDS[i]} != -C ]] || home=(-C \"${COMP_WORDS[i + 1]}\")\n"
	      "\t\t\t((i++))\n"
	      "\t\t\t;;\n"
	      "\t\t-*) ;;\n"
	      "\t\t*)\n"
	      "\t\t\tcase $name in\n"
	      "\t\t\t'') name=${COMP_WORDS[i]} ;;\n"
	      "\t\t\t",
	      stdout);
	each_group(group_alternative);
	fputs(") name+=\" ${COMP_WORDS[i]}\" ;;\n"
	      "\t\t\tesac\n"
	      "\t\t\t;;\n"
	      "\t\tesac\n"
	      "\tdone\n"
	      "\tcase $prev in\n"
	      "\t-C) mapfile -t COMPREPLY < <(compgen -d -- \"$cur\"); return ;;\n"
	      "\t--color) mapfile -t COMPREPLY < <(compgen -W 'auto always never' -- \"$cur\"); return ;;\n"
	      "\tesac\n"
	      "\tcase \"$name $prev\" in\n",
	      stdout);
	for (size_t i = 0; cmd_all[i]; i++)
		bash_values(cmd_all[i]);
	fputs("\tesac\n\tcase $name in\n\t'') words='", stdout);
	words_after(NULL);
	puts(" help' ;;");
	each_group(bash_group);
	for (size_t i = 0; cmd_all[i]; i++)
		bash_row(cmd_all[i]);
	fputs("\tesac\n\t[[ $cur != -* ]] || words+='", stdout);
	bash_options(cmd_global_options);
	fputs("'\n\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
	      "}\n"
	      "complete -o filenames -F _rotor rotor\n",
	      stdout);
}

/* ---- zsh */

static const char *zsh_action(enum cmd_complete what)
{
	static const char *const actions[] = {
		[CMD_WORD] = " ",
		[CMD_CONSUMERS] = " ",
		[CMD_FILES] = "_files",
		[CMD_DIRS] = "_files -/",
		[CMD_SECRETS] = "_rotor_secrets",
		[CMD_ROTATIONS] = "_rotor_secrets",
		[CMD_KINDS] = "_rotor_kinds",
	};
	return actions[what];
}

/* Within '...' and within a specification of _arguments. */
static void zsh_text(const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\'", stdout);
		else if (strchr("[]:\\", *text))
			putchar('\\');
		putchar(*text);
	}
}

static void zsh_one(const char *dashes, const char *name, const struct cmd_option *o)
{
	printf(" \\\n\t\t'%s%s%s[", dashes, name,
	       o->arg && !takes_value(o)   ? "=-" :
	       takes_value(o) && dashes[1] ? "=" :
	                                     "");
	zsh_text(o->help);
	putchar(']');
	if (o->arg) {
		fputs(takes_value(o) ? ":" : "::", stdout);
		zsh_text(o->arg);
		printf(":%s", o->name && strcmp(o->name, "color") == 0 ? "(auto always never)" :
		              takes_value(o)                           ? zsh_action(o->complete) :
		                                                         "(confirmed done)");
	}
	putchar('\'');
}

static void zsh_options(const struct cmd_option *table)
{
	for (const struct cmd_option *o = table; there(o); o++) {
		char letter[2] = { o->letter, '\0' };
		if (o->name)
			zsh_one("--", o->name, o);
		if (o->letter)
			zsh_one("-", letter, o);
	}
}

static void zsh_group(const char *word)
{
	printf("\t%s)\n\t\t_arguments -C '1:command:(", word);
	words_after(word);
	printf(")' '*::argument:->more' && return 0\n\t\t[[ $state == more ]] && name='%s '$words[1] || return "
	       "1\n\t\t;;\n",
	       word);
}

static void zsh(void)
{
	fputs("#compdef rotor\n# zsh completion of rotor, made from its command table\n\n"
	      "_rotor_ids() {\n"
	      "\tlocal -a ids\n"
	      "\tids=(${${(f)\"$(_call_program ids rotor $home -q $* 2>/dev/null)\"}%% *})\n"
	      "\tcompadd -a ids\n"
	      "}\n"
	      "_rotor_secrets() { _rotor_ids inventory list }\n"
	      "_rotor_kinds() { _rotor_ids provider list }\n\n"
	      "_rotor() {\n"
	      "\tlocal curcontext=$curcontext state name\n"
	      "\tlocal -a home line\n"
	      "\ttypeset -A opt_args\n"
	      "\t_arguments -C",
	      stdout);
	zsh_options(cmd_global_options);
	fputs(" \\\n\t\t'1:command:(", stdout);
	words_after(NULL);
	fputs(" help)' '*::argument:->argument' && return 0\n"
	      "\t[[ $state == argument ]] || return 1\n"
	      "\t[[ -z $opt_args[-C] ]] || home=(-C $opt_args[-C])\n"
	      "\tname=$words[1]\n"
	      "\tcase $name in\n",
	      stdout);
	each_group(zsh_group);
	fputs("\tesac\n\tcase $name in\n", stdout);
	for (size_t i = 0; cmd_all[i]; i++) {
		const struct cmd *c = cmd_all[i];
		printf("\t'%s')\n\t\t_arguments", c->name);
		zsh_options(c->options);
		if (c->max != 0)
			printf(" \\\n\t\t'%s:%s:%s'", c->max == 1 ? "1" : "*", "operand", zsh_action(c->complete));
		else if (!there(c->options))
			fputs(" '*: :'", stdout);
		puts("\n\t\t;;");
	}
	fputs("\tesac\n}\n\n_rotor \"$@\"\n", stdout);
}

/* ---- fish */

static void fish_text(const char *text)
{
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
}

static void fish_values(enum cmd_complete what)
{
	static const char *const actions[] = {
		[CMD_WORD] = " -x",
		[CMD_CONSUMERS] = " -x",
		[CMD_FILES] = " -r -F",
		[CMD_DIRS] = " -x -a '(__fish_complete_directories)'",
		[CMD_SECRETS] = " -x -a '(__rotor_ids inventory list)'",
		[CMD_ROTATIONS] = " -x -a '(__rotor_ids inventory list)'",
		[CMD_KINDS] = " -x -a '(__rotor_ids provider list)'",
	};
	fputs(actions[what], stdout);
}

static void fish_options(const struct cmd_option *table, const char *condition)
{
	for (const struct cmd_option *o = table; there(o); o++) {
		printf("complete -c rotor%s", condition);
		if (o->name)
			printf(" -l %s", o->name);
		if (o->letter)
			printf(" -s %c", o->letter);
		if (o->name && strcmp(o->name, "color") == 0)
			fputs(" -x -a 'auto always never'", stdout);
		else if (takes_value(o))
			fish_values(o->complete);
		fputs(" -d '", stdout);
		fish_text(o->help);
		puts("'");
	}
}

static void fish_words(const char *group)
{
	printf("complete -c rotor -n '__rotor_at \"%s\"' -f -a '", group);
	words_after(*group ? group : NULL);
	puts(*group ? "'" : " help'");
}

static void fish_group_case(const char *word)
{
	printf(" %s", word);
}

static void fish(void)
{
	fputs("# fish completion of rotor, made from its command table\n\n"
	      "# The words of the command so far, without options.\n"
	      "function __rotor_command\n"
	      "    set -l found\n"
	      "    set -l skip 0\n"
	      "    for word in (commandline -opc)[2..-1]\n"
	      "        if test $skip = 1\n"
	      "            set skip 0\n"
	      "        else if contains -- $word ",
	      stdout);
	value_options(cmd_global_options, " ");
	fputs("\n            set skip 1\n"
	      "        else if not string match -q -- '-*' $word\n"
	      "            set -a found $word\n"
	      "        end\n"
	      "    end\n"
	      "    if contains -- \"$found[1]\"",
	      stdout);
	each_group(fish_group_case);
	fputs("\n        set found $found[1..2]\n"
	      "    else\n"
	      "        set found $found[1]\n"
	      "    end\n"
	      "    echo \"$found\"\n"
	      "end\n\n"
	      "function __rotor_at\n"
	      "    test (__rotor_command) = \"$argv\"\n"
	      "end\n\n"
	      "function __rotor_ids\n"
	      "    set -l home\n"
	      "    set -l words (commandline -opc)\n"
	      "    if set -l at (contains -i -- -C $words)\n"
	      "        set home -C $words[(math $at + 1)]\n"
	      "    end\n"
	      "    command rotor $home -q $argv 2>/dev/null | string replace -r ' .*' ''\n"
	      "end\n\n"
	      "complete -c rotor -f\n",
	      stdout);
	fish_options(cmd_global_options, "");
	fish_words("");
	each_group(fish_words);
	for (size_t i = 0; cmd_all[i]; i++) {
		const struct cmd *c = cmd_all[i];
		char condition[128];
		snprintf(condition, sizeof condition, " -n '__rotor_at \"%s\"'", c->name);
		fish_options(c->options, condition);
		if (c->max != 0 && c->complete != CMD_WORD && c->complete != CMD_CONSUMERS) {
			printf("complete -c rotor%s", condition);
			fish_values(c->complete);
			putchar('\n');
		}
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*print)(void);
	} shells[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };
	for (size_t i = 0; argc == 2 && i < sizeof shells / sizeof *shells; i++)
		if (strcmp(argv[1], shells[i].name) == 0) {
			shells[i].print();
			return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
		}
	fputs("usage: completions bash|zsh|fish\n", stderr);
	return 2;
}
