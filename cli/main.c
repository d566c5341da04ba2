/* SPDX-License-Identifier: MIT */
/*
 * vmatlas: what every byte of a process's memory is.
 *
 * This file only sets the process up (locale, SIGPIPE), finds the command and makes sure that what was
 * written has arrived.
 */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>

#include <vmatlas/feature.h>

#include "option.h"
#include "report.h"
#include "usage.h"

/* A forgotten comma in VMAT_WITHOUT must not pass for a test of a fallback. */
static int check_environment(void)
{
	char name[64];

	if (!vmat_feature_unknown_name(name, sizeof(name)))
		return CLI_OK;
	return cli_usage_error("VMAT_WITHOUT: '%s' is no feature\nThey are listed by: "
			       "VMAT_WITHOUT= vmatlas doctor",
			       name);
}

/* The help of a command; NULL: of the program. */
static int show_help(const struct cli_command *command)
{
	if (command)
		cli_usage_command(stdout, command);
	else
		cli_usage_program(stdout);
	return CLI_OK;
}

static int run_help(const struct cli_args *args)
{
	const struct cli_command *command;

	if (!args->operands_count)
		return show_help(NULL);
	command = cli_command_find(args->operands[0]);
	if (!command)
		return cli_usage_error(
			"unknown command '%s'\nThe commands are listed by: vmatlas help",
			args->operands[0]);
	return show_help(command);
}

static int dispatch(const struct cli_args *args)
{
	int code;

	if (args->version) {
		printf("vmatlas %s\n", vmat_version());
		return CLI_OK;
	}
	if (args->help)
		return show_help(args->command);
	code = check_environment();
	if (code)
		return code;
	return args->command->run ? args->command->run(args) : run_help(args);
}

int main(int argc, char **argv)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct cli_args args;
	int code;

	setlocale(LC_ALL, "");
	sigaction(SIGPIPE, &ignore, NULL);
	code = cli_parse(&args, argc, argv);
	if (code)
		return code;
	code = dispatch(&args);
	if (code == CLI_INTERNAL)
		return code;
	if (fflush(stdout))
		return cli_written(-errno, code);
	return code;
}
