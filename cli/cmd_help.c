/* SPDX-License-Identifier: MIT */
/* vmatlas help: the same as --help. */
#include "report.h"
#include "usage.h"

static int help_run(const struct cli_args *args)
{
	const struct cli_command *command;

	if (!args->operands_count) {
		cli_usage_program(stdout);
		return CLI_OK;
	}
	command = cli_command_find(args->operands[0]);
	if (!command)
		return cli_usage_error(
			"unknown command '%s'\nThe commands are listed by: vmatlas help",
			args->operands[0]);
	cli_usage_command(stdout, command);
	return CLI_OK;
}

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
	.run = help_run,
};
