/* SPDX-License-Identifier: MIT */
/* The commands, and the options that several of them share: see command.h. */
#include "command.h"

#include <string.h>

const struct cli_command *const cli_commands[CLI_COMMANDS_COUNT] = {
	&cli_map_command,      &cli_stacks_command, &cli_pages_command, &cli_cow_command,
	&cli_pagesize_command, &cli_heap_command,   &cli_leaks_command, &cli_sizes_command,
	&cli_explain_command,  &cli_check_command,  &cli_diff_command,  &cli_faults_command,
	&cli_watch_command,    &cli_record_command, &cli_dump_command,  &cli_doctor_command,
	&cli_serve_command,    &cli_help_command,
};

#define AT(member) offsetof(struct cli_args, member)

static const struct cli_option output_options[] = {
	{ 'o', "output", "COLS", CLI_COLUMNS, AT(columns),
	  "show these columns, with commas between them; `+COLS` adds them to the usual ones" },
	{ 'O', "output-all", NULL, CLI_NO_VALUE, AT(all_columns), "show all columns" },
	{ 'J', "json", NULL, CLI_NO_VALUE, AT(json),
	  "write JSON: sizes in bytes, addresses as text" },
	{ 'r', "raw", NULL, CLI_NO_VALUE, AT(raw),
	  "one blank between columns, blanks in names as \\x20, `-` for what is unknown or empty" },
	{ 'P', "pairs", NULL, CLI_NO_VALUE, AT(pairs),
	  "write NAME=\"value\" pairs, safe for a shell" },
	{ 0, "csv", NULL, CLI_NO_VALUE, AT(csv), "write comma-separated values, sizes in bytes" },
	{ 'n', "noheadings", NULL, CLI_NO_VALUE, AT(no_headings),
	  "the rows alone, without headings" },
	{ 'x', "sort", "COL", CLI_COLUMN, AT(sort), "sort by this column, small before large" },
	{ 'b', "bytes", NULL, CLI_NO_VALUE, AT(bytes), "sizes in bytes" },
	{ 'w', "width", "N", CLI_NUMBER, AT(width),
	  "cut tables to N characters; 0: cut nothing (the default when output is no terminal)" },
	{ 0, "color", "WHEN", CLI_WHEN, AT(colour),
	  "colour kinds: auto (on a terminal), always or never" },
	{ 0 },
};

static const struct cli_option target_options[] = {
	{ 0, "root", "DIR", CLI_FOLDER, AT(root),
	  "read the recorded /proc in DIR instead of the living one" },
	{ 0, "gdb", "HOST:PORT", CLI_PLACE, AT(gdb),
	  "TARGET is firmware (ELF); read its memory from this gdb server, which halts it meanwhile" },
	{ 0, "ram", "FILE@ADDR", CLI_IMAGES, AT(ram),
	  "TARGET is firmware (ELF); FILE is its memory from ADDR on (may be given several times)" },
	{ 0 },
};

const struct cli_option cli_common_options[] = {
	{ 'h', "help", NULL, CLI_NO_VALUE, AT(help), "show help and exit" },
	{ 'V', "version", NULL, CLI_NO_VALUE, AT(version), "show the version and exit" },
	{ 0 },
};

const struct cli_command *cli_command_find(const char *name)
{
	for (size_t i = 0; i < CLI_COMMANDS_COUNT; i++)
		if (!strcmp(cli_commands[i]->name, name))
			return cli_commands[i];
	return NULL;
}

void cli_command_options(const struct cli_command *command,
			 const struct cli_option *ret[CLI_OPTION_LISTS])
{
	size_t count = 0;

	if (command->options)
		ret[count++] = command->options;
	if (command->has_rows)
		ret[count++] = output_options;
	if (command->has_target)
		ret[count++] = target_options;
	ret[count++] = cli_common_options;
	ret[count] = NULL;
}
