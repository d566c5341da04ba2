/* SPDX-License-Identifier: MIT */
/*
 * vmatlas help: the same as --help.
 *
 * main.c runs it, for it must know all commands: from here it would know the table that it stands in.
 */
#include "command.h"

static const struct cli_example examples[] = {
	{ "", "the commands" },
	{ "map", "the options and columns of map" },
	{ 0 },
};

static const char *const text[] = {
	"Shows the commands, or the options and columns of one of them.",
	NULL,
};

const struct cli_command cli_help_command = {
	.name = "help",
	.operands = "[COMMAND]",
	.operands_max = 1,
	.summary = "the commands, or the options and columns of one",
	.text = text,
	.examples = examples,
};
