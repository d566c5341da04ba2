/* SPDX-License-Identifier: MIT */
/* --help, made from the tables: see usage.h. */
#include "usage.h"

#include <string.h>

#define LINE_WIDTH 79

/* Writes a text from column `at` on, wrapped, further lines indented to `indent`. */
static void put_wrapped(FILE *file, const char *text, size_t at, size_t indent)
{
	while (*text) {
		size_t word = strcspn(text, " ");

		if (at + word > LINE_WIDTH && at > indent) {
			fprintf(file, "\n%*s", (int)indent, "");
			at = indent;
		}
		fprintf(file, "%.*s", (int)word, text);
		at += word;
		text += word;
		if (*text == ' ') {
			text++;
			if (*text && at + 1 + strcspn(text, " ") <= LINE_WIDTH) {
				fputc(' ', file);
				at++;
			} else if (*text) {
				fprintf(file, "\n%*s", (int)indent, "");
				at = indent;
			}
		}
	}
	fputc('\n', file);
}

/* A name, and its meaning beside it. */
static void put_item(FILE *file, const char *name, const char *meaning, size_t indent)
{
	size_t used = 2 + strlen(name);

	fprintf(file, "  %s", name);
	if (used + 2 > indent) {
		fprintf(file, "\n%*s", (int)indent, "");
		used = indent;
	}
	fprintf(file, "%*s", (int)(indent - used), "");
	put_wrapped(file, meaning, indent, indent);
}

static void put_options(FILE *file, const struct cli_option *options)
{
	for (; options->name; options++) {
		char name[64];

		snprintf(name, sizeof(name), "%c%c%s--%s%s%s", options->letter ? '-' : ' ',
			 options->letter ? options->letter : ' ', options->letter ? ", " : "  ",
			 options->name, options->value_name ? " " : "",
			 options->value_name ? options->value_name : "");
		put_item(file, name, options->meaning, 24);
	}
}

static void put_columns(FILE *file, const struct vmat_list *list)
{
	fprintf(file, "\nColumns of %s:\n", list->name);
	for (size_t i = 0; i < list->columns_count; i++)
		if (list->columns[i].type != VMAT_TYPE_ROWS)
			put_item(file, list->columns[i].name, list->columns[i].meaning, 18);
}

void cli_usage_command(FILE *file, const struct cli_command *command)
{
	const struct cli_option *lists[CLI_OPTION_LISTS];

	fprintf(file, "Usage: vmatlas %s [options] %s\n\n", command->name, command->operands);
	for (size_t i = 0; command->text[i]; i++)
		put_wrapped(file, command->text[i], 0, 0);
	fputs("\nOptions:\n", file);
	cli_command_options(command, lists);
	for (size_t i = 0; lists[i]; i++)
		put_options(file, lists[i]);
	for (size_t i = 0; command->lists && command->lists[i]; i++)
		put_columns(file, command->lists[i]);
	fputs("\nExamples:\n", file);
	for (const struct cli_example *e = command->examples; e->arguments; e++)
		fprintf(file, "  vmatlas %s%s%s\n        %s\n", command->name,
			*e->arguments ? " " : "", e->arguments, e->meaning);
	fprintf(file, "\nMore: man vmatlas-%s\n", command->name);
}

void cli_usage_program(FILE *file)
{
	fputs("Usage: vmatlas COMMAND [options] [TARGET ...]\n\n"
	      "Shows what every byte of a process's memory is: whose it is, whether it is\n"
	      "really there, and why we say so. From outside, without stopping the process.\n\n"
	      "Commands:\n",
	      file);
	for (size_t i = 0; i < CLI_COMMANDS_COUNT; i++)
		put_item(file, cli_commands[i]->name, cli_commands[i]->summary, 14);
	fputs("\nTARGET is a process id, or @NAME: the name of a process or of its program.\n"
	      "\nOptions:\n",
	      file);
	put_options(file, cli_common_options);
	fputs("\nExamples:\n"
	      "  vmatlas map 1234\n        every region of process 1234\n"
	      "  vmatlas map @redis-server -o +PSS -x PSS\n        with proportional sizes, "
	      "sorted\n"
	      "  vmatlas stacks 1234\n        where each thread's stack lies\n"
	      "\nEnvironment:\n",
	      file);
	put_item(file, "NO_COLOR", "not empty: no colours", 18);
	put_item(file, "VMAT_WITHOUT",
		 "features not to use, with commas between them; `vmatlas doctor` "
		 "lists them",
		 18);
	fputs("\nExit status:\n"
	      "  0 fine (an answer that is partial says so)    4 not permitted\n"
	      "  1 judged bad: leaks found some                5 this kernel cannot do it\n"
	      "  2 wrong usage                                 6 bad input file\n"
	      "  3 the target is not there, or no longer\n"
	      "  70 internal error, or the output could not be written\n"
	      "\nMore: vmatlas help COMMAND, man vmatlas\n",
	      file);
}
