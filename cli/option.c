/* SPDX-License-Identifier: MIT */
/* getopt_long over the table of command.h. */
#include "option.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "number.h"
#include "report.h"

#define OPTIONS_MAX 48

/* What getopt_long wants, made from the lists of options of one command. */
struct parser {
	const struct cli_option *options[OPTIONS_MAX];
	struct option longs[OPTIONS_MAX + 1];
	char letters[2 * OPTIONS_MAX + 3];
	size_t count;
};

/* Values of getopt_long for options without a letter begin here. */
#define LONG_ONLY 256

static void add_option(struct parser *parser, size_t *used, const struct cli_option *option)
{
	size_t i = parser->count;

	if (i == OPTIONS_MAX)
		return;
	parser->options[i] = option;
	parser->longs[i] = (struct option){
		.name = option->name,
		.has_arg = option->value ? required_argument : no_argument,
		.val = LONG_ONLY + (int)i,
	};
	parser->count++;
	if (!option->letter)
		return;
	parser->letters[(*used)++] = option->letter;
	if (option->value)
		parser->letters[(*used)++] = ':';
}

static void init_parser(struct parser *parser, const struct cli_command *command)
{
	const struct cli_option *lists[CLI_OPTION_LISTS] = { cli_common_options, NULL };
	size_t used = 0;

	memset(parser, 0, sizeof(*parser));
	if (command)
		cli_command_options(command, lists);
	else
		parser->letters[used++] = '+'; /* stop at the command */
	parser->letters[used++] = ':';
	for (size_t i = 0; lists[i]; i++)
		for (const struct cli_option *option = lists[i]; option->name; option++)
			add_option(parser, &used, option);
}

static int store(struct cli_args *args, const struct cli_option *option, char *value)
{
	char *at = (char *)args + option->offset;

	if (option->value == CLI_TEXTS || option->value == CLI_IMAGES) {
		struct cli_values *values = (struct cli_values *)(void *)at;

		if (values->count == CLI_VALUES_MAX)
			return cli_usage_error("--%s can be given %d times", option->name,
					       CLI_VALUES_MAX);
		values->values[values->count++] = value;
	} else if (option->value) {
		memcpy(at, &value, sizeof(value));
	} else {
		*(bool *)at = true;
	}
	return CLI_OK;
}

static const struct cli_option *option_of(const struct parser *parser, int found)
{
	if (found >= LONG_ONLY)
		return parser->options[found - LONG_ONLY];
	for (size_t i = 0; i < parser->count; i++)
		if (parser->options[i]->letter == found)
			return parser->options[i];
	return NULL;
}

static int bad_option(int found, char **argv, const struct cli_command *command)
{
	const char *name = command ? command->name : "", *blank = command ? " " : "";
	char letter[3] = { '-', (char)optopt, '\0' };
	/* of a long option getopt says only where it stands */
	const char *option = optopt > 0 && optopt < LONG_ONLY ? letter : argv[optind - 1];

	if (found == ':')
		return cli_usage_error("option %s needs a value\nTry: vmatlas %s%s--help", option,
				       name, blank);
	return cli_usage_error("unknown option %s\nTry: vmatlas %s%s--help", option, name, blank);
}

/* Reads the options of one level; leaves optind at what is left. */
static int read_options(struct cli_args *args, int argc, char **argv,
			const struct cli_command *command)
{
	struct parser parser;
	int found;

	init_parser(&parser, command);
	opterr = 0;
	optind = 0; /* glibc: begin anew */
	while ((found = getopt_long(argc, argv, parser.letters, parser.longs, NULL)) != -1) {
		const struct cli_option *option = option_of(&parser, found);

		if (!option)
			return bad_option(found, argv, command);
		if (store(args, option, optarg))
			return CLI_USAGE;
	}
	return CLI_OK;
}

static int check_operands(const struct cli_args *args)
{
	const struct cli_command *command = args->command;

	if (args->operands_count < command->operands_min)
		return cli_usage_error(
			"%s: %s is missing\nUsage: vmatlas %s [options] %s", command->name,
			command->has_target && !args->operands_count ? "TARGET" : "an argument",
			command->name, command->operands);
	if (args->operands_count > command->operands_max)
		return cli_usage_error(
			"%s: unexpected argument '%s'\nUsage: vmatlas %s [options] %s",
			command->name, args->operands[command->operands_max], command->name,
			command->operands);
	return CLI_OK;
}

static int check_formats(const struct cli_args *args)
{
	if (args->json + args->raw + args->pairs + args->csv > 1)
		return cli_usage_error("choose one of --json, --raw, --pairs and --csv");
	if (args->columns && args->all_columns)
		return cli_usage_error("choose one of --output and --output-all");
	return CLI_OK;
}

static int parse_command(struct cli_args *args, int argc, char **argv)
{
	int code;

	args->command = cli_command_find(argv[0]);
	if (!args->command)
		return cli_usage_error(
			"unknown command '%s'\nThe commands are listed by: vmatlas help", argv[0]);
	code = read_options(args, argc, argv, args->command);
	if (code || args->help || args->version)
		return code;
	if ((size_t)(argc - optind) > CLI_OPERANDS_MAX)
		return cli_usage_error("too many arguments, the most is %d", CLI_OPERANDS_MAX);
	args->has_command = optind > 1 && !strcmp(argv[optind - 1], "--");
	for (int i = optind; i < argc; i++)
		args->operands[args->operands_count++] = argv[i];
	code = check_operands(args);
	return code ? code : check_formats(args);
}

int cli_parse(struct cli_args *ret, int argc, char **argv)
{
	int code;

	memset(ret, 0, sizeof(*ret));
	code = read_options(ret, argc, argv, NULL);
	if (code || ret->help || ret->version)
		return code;
	if (optind >= argc)
		return cli_usage_error("no command\nTry: vmatlas --help");
	return parse_command(ret, argc - optind, argv + optind);
}
