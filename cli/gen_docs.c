/* SPDX-License-Identifier: MIT */
/*
 * gen_docs: at build time, what is written of the tables of command.h and column.h: parts of the
 * manual pages and the completions. Not installed.
 *
 *   gen_docs man < vmatlas-map.1.scd   replaces the lines @OPTIONS COMMAND@, @COLUMNS LIST@,
 *                                      @COMMANDS@ and @KINDS@ in a manual page
 *   gen_docs bash | zsh | fish         writes a completion
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "report.h"

/* scdoc: _ and * are markup, and so is < in some places. */
static void put_scdoc(const char *text)
{
	for (; *text; text++) {
		if (strchr("_*\\<>#~[]`", *text))
			putchar('\\');
		putchar(*text);
	}
}

/* A meaning as a sentence. */
static void put_sentence(const char *text)
{
	char first[2] = { (char)toupper((unsigned char)text[0]), '\0' };

	put_scdoc(first);
	put_scdoc(text + 1);
}

static void man_options(const struct cli_command *command)
{
	const struct cli_option *lists[CLI_OPTION_LISTS] = { cli_common_options, NULL };

	if (command)
		cli_command_options(command, lists);
	for (size_t i = 0; lists[i]; i++)
		for (const struct cli_option *o = lists[i]; o->name; o++) {
			if (o->letter)
				printf("*-%c*, ", o->letter);
			printf("*--%s*", o->name);
			if (o->value_name)
				printf(" _%s_", o->value_name);
			fputs("\n\t", stdout);
			put_sentence(o->meaning);
			fputs(".\n\n", stdout);
		}
}

static const struct vmat_list *find_list(const char *name)
{
	for (size_t i = 0; i < CLI_COMMANDS_COUNT; i++)
		for (size_t k = 0; cli_commands[i]->lists && cli_commands[i]->lists[k]; k++)
			if (!strcmp(cli_commands[i]->lists[k]->name, name))
				return cli_commands[i]->lists[k];
	if (!strcmp(name, vmat_list_parts.name))
		return &vmat_list_parts;
	if (!strcmp(name, vmat_list_counters.name))
		return &vmat_list_counters;
	if (!strcmp(name, vmat_list_process.name))
		return &vmat_list_process;
	return NULL;
}

/* "smaps" and the like, for what costs more than the rest. */
static const char *cost_of(const struct vmat_column *column)
{
	if (column->need & VMAT_NEED_SMAPS)
		return " Read from smaps, only when it is asked for.";
	if (column->need & VMAT_NEED_KPAGEFLAGS)
		return " Read only when it is asked for.";
	return "";
}

static void man_columns(const struct vmat_list *list)
{
	for (size_t i = 0; i < list->columns_count; i++) {
		const struct vmat_column *c = &list->columns[i];

		putchar('*');
		put_scdoc(c->name);
		fputs("* (JSON: ", stdout);
		put_scdoc(c->key);
		printf("; %s", vmat_type_name(c->type));
		if (c->show & VMAT_SHOW_TABLE)
			fputs("; by default", stdout);
		else if (c->show & VMAT_SHOW_WIDE)
			printf("; by default from %d characters on", VMAT_WIDE_COLUMNS);
		else if (c->show & VMAT_SHOW_JSON)
			fputs("; by default in JSON", stdout);
		fputs(")\n\t", stdout);
		put_sentence(c->meaning);
		fputs(". From ", stdout);
		put_scdoc(c->origin);
		printf(".%s\n\n", cost_of(c));
	}
}

static void man_commands(void)
{
	for (size_t i = 0; i < CLI_COMMANDS_COUNT; i++) {
		const struct cli_command *c = cli_commands[i];

		printf("*%s* ", c->name);
		put_scdoc(c->operands);
		fputs("\n\t", stdout);
		put_sentence(c->summary);
		fputs(".\n\n", stdout);
	}
}

static void man_kinds(void)
{
	for (int kind = 0; kind < VMAT_KIND_COUNT; kind++) {
		putchar('*');
		put_scdoc(vmat_kind_name((enum vmat_kind)kind));
		fputs("*\n\t", stdout);
		put_sentence(vmat_kind_meaning((enum vmat_kind)kind));
		fputs(".\n\n", stdout);
	}
}

/* Writes what stands for a line of the template. False when it asks for what there is not. */
static bool man_line(char *line)
{
	char *end = strrchr(line, '@'), *name;

	if (line[0] != '@' || end == line) {
		fputs(line, stdout);
		return true;
	}
	*end = '\0';
	name = strchr(line, ' ');
	if (!strcmp(line, "@COMMANDS")) {
		man_commands();
	} else if (!strcmp(line, "@KINDS")) {
		man_kinds();
	} else if (!strcmp(line, "@OPTIONS")) {
		man_options(NULL);
	} else if (name && !strncmp(line, "@OPTIONS ", 9) && cli_command_find(name + 1)) {
		man_options(cli_command_find(name + 1));
	} else if (name && !strncmp(line, "@COLUMNS ", 9) && find_list(name + 1)) {
		man_columns(find_list(name + 1));
	} else {
		fprintf(stderr, "gen_docs: %s@ is not known\n", line);
		return false;
	}
	return true;
}

static int man(void)
{
	char line[4096];
	int code = EXIT_SUCCESS;

	while (fgets(line, sizeof(line), stdin))
		if (!man_line(line))
			code = EXIT_FAILURE;
	return code;
}

/* The words of a list's columns, or of --color. "" when the shell finds the values itself. */
static void put_values(const struct cli_command *command, enum cli_value value)
{
	if (value == CLI_WHEN)
		fputs("auto always never", stdout);
	if (value == CLI_ALLOCATOR)
		fputs("glibc musl mimalloc", stdout);
	if ((value != CLI_COLUMNS && value != CLI_COLUMN) || !command->lists)
		return;
	for (size_t i = 0; i < command->lists[0]->columns_count; i++)
		printf("%s%s", i ? " " : "", command->lists[0]->columns[i].name);
}

static void put_option_words(const struct cli_command *command)
{
	const struct cli_option *lists[CLI_OPTION_LISTS];

	cli_command_options(command, lists);
	for (size_t i = 0; lists[i]; i++)
		for (const struct cli_option *o = lists[i]; o->name; o++) {
			if (o->letter)
				printf("-%c ", o->letter);
			printf("--%s ", o->name);
		}
}

static void bash_value_cases(const struct cli_command *command)
{
	const struct cli_option *lists[CLI_OPTION_LISTS];

	cli_command_options(command, lists);
	for (size_t i = 0; lists[i]; i++)
		for (const struct cli_option *o = lists[i]; o->name; o++) {
			if (!o->value)
				continue;
			printf("\t%s:--%s", command->name, o->name);
			if (o->letter)
				printf("|%s:-%c", command->name, o->letter);
			fputs(") ", stdout);
			if (o->value == CLI_FOLDER) {
				puts("COMPREPLY=($(compgen -d -- \"$cur\")); return ;;");
				continue;
			}
			if (o->value == CLI_FILE || o->value == CLI_IMAGES) {
				puts("COMPREPLY=($(compgen -f -- \"$cur\")); return ;;");
				continue;
			}
			printf("_vmatlas_%s \"", o->value == CLI_COLUMNS ? "list" : "words");
			put_values(command, o->value);
			puts("\"; return ;;");
		}
}

static void bash(void)
{
	puts("# bash completion for vmatlas; made by gen_docs from the table of options\n"
	     "_vmatlas_words() {\n"
	     "\tmapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$cur\")\n"
	     "}\n"
	     "# the last of several words with commas between them\n"
	     "_vmatlas_list() {\n"
	     "\tlocal before=\"\" last=$cur\n"
	     "\tcase $last in +*) before=+ last=${last#+} ;; esac\n"
	     "\tcase $last in *,*) before+=${last%,*}, last=${last##*,} ;; esac\n"
	     "\tmapfile -t COMPREPLY < <(compgen -P \"$before\" -W \"$1\" -- \"${last^^}\")\n"
	     "\tcompopt -o nospace\n"
	     "}\n"
	     "_vmatlas_targets() {\n"
	     "\tlocal dir names=\"\"\n"
	     "\tfor dir in /proc/[0-9]*; do\n"
	     "\t\tnames+=\" ${dir#/proc/}\"\n"
	     "\t\tif [[ $cur == @* && -r $dir/comm ]]; then names+=\" @$(<\"$dir/comm\")\"; fi\n"
	     "\tdone\n"
	     "\t_vmatlas_words \"$names\"\n"
	     "} 2>/dev/null\n"
	     "_vmatlas() {\n"
	     "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} "
	     "command=${COMP_WORDS[1]}");
	fputs("\tif ((COMP_CWORD == 1)); then\n\t\t_vmatlas_words \"", stdout);
	for (size_t i = 0; i < CLI_COMMANDS_COUNT; i++)
		printf("%s ", cli_commands[i]->name);
	puts("--help --version\"\n\t\treturn\n\tfi\n\tcase $command:$prev in");
	for (size_t i = 0; i < CLI_COMMANDS_COUNT; i++)
		bash_value_cases(cli_commands[i]);
	puts("\tesac\n\tcase $command:$cur in");
	for (size_t i = 0; i < CLI_COMMANDS_COUNT; i++) {
		printf("\t%s:-*) _vmatlas_words \"", cli_commands[i]->name);
		put_option_words(cli_commands[i]);
		puts("\" ;;");
	}
	fputs("\thelp:*) _vmatlas_words \"", stdout);
	for (size_t i = 0; i < CLI_COMMANDS_COUNT; i++)
		printf("%s ", cli_commands[i]->name);
	puts("\" ;;\n\t*) _vmatlas_targets ;;\n\tesac\n}\ncomplete -F _vmatlas vmatlas");
}

/* Quoted for '...' in zsh and fish; zsh's specs also give [ ] and : a meaning. */
static void put_quoted(const char *text, bool is_spec, bool is_fish)
{
	for (; *text; text++) {
		if (*text == '\'')
			fputs(is_fish ? "\\'" : "'\\''", stdout);
		else if (is_spec && strchr("[]:\\", *text))
			printf("\\%c", *text);
		else if (is_fish && *text == '\\')
			fputs("\\\\", stdout);
		else
			putchar(*text);
	}
}

static void zsh_value(const struct cli_command *command, const struct cli_option *o)
{
	if (!o->value)
		return;
	printf(":%s:", o->value_name);
	switch (o->value) {
	case CLI_FOLDER:
		fputs("_files -/", stdout);
		break;
	case CLI_FILE:
	case CLI_IMAGES:
		fputs("_files", stdout);
		break;
	case CLI_COLUMNS:
		fputs("_sequence compadd - ", stdout);
		put_values(command, o->value);
		break;
	case CLI_COLUMN:
	case CLI_WHEN:
	case CLI_ALLOCATOR:
		putchar('(');
		put_values(command, o->value);
		putchar(')');
		break;
	default:
		putchar(' ');
	}
}

static void zsh_options(const struct cli_command *command)
{
	const struct cli_option *lists[CLI_OPTION_LISTS];

	cli_command_options(command, lists);
	for (size_t i = 0; lists[i]; i++)
		for (const struct cli_option *o = lists[i]; o->name; o++) {
			for (int is_long = o->letter ? 0 : 1; is_long < 2; is_long++) {
				fputs("\t\t'", stdout);
				if (is_long)
					printf("--%s%s", o->name, o->value ? "=" : "");
				else
					printf("-%c%s", o->letter, o->value ? "+" : "");
				putchar('[');
				put_quoted(o->meaning, true, false);
				putchar(']');
				zsh_value(command, o);
				puts("' \\");
			}
		}
}

static void zsh(void)
{
	puts("#compdef vmatlas\n# zsh completion for vmatlas; made by gen_docs from the table of "
	     "options\n"
	     "_vmatlas_target() {\n"
	     "\tlocal -a pids names\n"
	     "\tpids=(/proc/<->(N:t))\n"
	     "\tnames=(@${^$(cat /proc/<->/comm(N) 2>/dev/null)})\n"
	     "\t_alternative \"processes:process id:($pids)\" \"names:name:($names)\"\n"
	     "}\n"
	     "_vmatlas() {\n"
	     "\tlocal -a commands\n\tcommands=(");
	for (size_t i = 0; i < CLI_COMMANDS_COUNT; i++) {
		printf("\t\t'%s:", cli_commands[i]->name);
		put_quoted(cli_commands[i]->summary, true, false);
		puts("'");
	}
	puts("\t)\n"
	     "\tif ((CURRENT == 2)); then\n"
	     "\t\t_describe -t commands command commands\n"
	     "\t\t_arguments '--help[show help and exit]' '--version[show the version and exit]'\n"
	     "\t\treturn\n\tfi\n"
	     "\tlocal command=$words[2]\n"
	     "\tshift words\n\t((CURRENT--))\n"
	     "\tcase $command in");
	for (size_t i = 0; i < CLI_COMMANDS_COUNT; i++) {
		printf("\t(%s)\n\t\t_arguments \\\n", cli_commands[i]->name);
		zsh_options(cli_commands[i]);
		if (cli_commands[i]->has_target)
			puts("\t\t'1:target:_vmatlas_target' '*:address: '\n\t\t;;");
		else if (cli_commands[i] == &cli_help_command)
			puts("\t\t'1:command:(map stacks pages cow pagesize doctor help)'\n\t\t;;");
		else
			puts("\t\t\n\t\t;;");
	}
	puts("\tesac\n}\n_vmatlas \"$@\"");
}

static void fish_options(const struct cli_command *command)
{
	const struct cli_option *lists[CLI_OPTION_LISTS];

	cli_command_options(command, lists);
	for (size_t i = 0; lists[i]; i++)
		for (const struct cli_option *o = lists[i]; o->name; o++) {
			printf("complete -c vmatlas -n '__fish_seen_subcommand_from %s' -l %s",
			       command->name, o->name);
			if (o->letter)
				printf(" -s %c", o->letter);
			if (o->value == CLI_FOLDER || o->value == CLI_FILE ||
			    o->value == CLI_IMAGES)
				fputs(" -r -F", stdout);
			else if (o->value)
				fputs(" -x", stdout);
			if (o->value == CLI_COLUMNS) {
				fputs(" -a '(__fish_complete_list , \"string split \\\" \\\" -- ",
				      stdout);
				put_values(command, o->value);
				fputs("\")'", stdout);
			} else if (o->value == CLI_COLUMN || o->value == CLI_WHEN ||
				   o->value == CLI_ALLOCATOR) {
				fputs(" -a '", stdout);
				put_values(command, o->value);
				putchar('\'');
			}
			fputs(" -d '", stdout);
			put_quoted(o->meaning, false, true);
			puts("'");
		}
}

static void fish(void)
{
	puts("# fish completion for vmatlas; made by gen_docs from the table of options\n"
	     "function __vmatlas_targets\n"
	     "\tfor dir in /proc/[0-9]*\n"
	     "\t\tset -l name (cat $dir/comm 2>/dev/null); or continue\n"
	     "\t\tprintf '%s\\t%s\\n' (string replace /proc/ '' $dir) $name\n"
	     "\t\tprintf '@%s\\n' $name\n"
	     "\tend\n"
	     "end\n"
	     "complete -c vmatlas -f\n"
	     "complete -c vmatlas -n __fish_use_subcommand -l help -s h -d 'show help and exit'\n"
	     "complete -c vmatlas -n __fish_use_subcommand -l version -s V -d 'show the version "
	     "and exit'");
	for (size_t i = 0; i < CLI_COMMANDS_COUNT; i++) {
		const struct cli_command *c = cli_commands[i];

		printf("complete -c vmatlas -n __fish_use_subcommand -a %s -d '", c->name);
		put_quoted(c->summary, false, true);
		puts("'");
		if (c->has_target)
			printf("complete -c vmatlas -n '__fish_seen_subcommand_from %s' -a "
			       "'(__vmatlas_targets)'\n",
			       c->name);
		fish_options(c);
	}
}

int main(int argc, char **argv)
{
	const char *what = argc == 2 ? argv[1] : "";
	int code = EXIT_SUCCESS;

	if (!strcmp(what, "man"))
		code = man();
	else if (!strcmp(what, "bash"))
		bash();
	else if (!strcmp(what, "zsh"))
		zsh();
	else if (!strcmp(what, "fish"))
		fish();
	else
		code = EXIT_FAILURE;
	return fflush(stdout) ? EXIT_FAILURE : code;
}
