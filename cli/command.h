/* SPDX-License-Identifier: MIT */
/*
 * command.h: the one table of commands and their options.
 *
 * getopt_long, --help, the OPTIONS of the manual pages and the completions are all made from it. An
 * option says where its value goes: a bool or a const char * of struct cli_args.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <vmatlas/column.h>

#define CLI_OPERANDS_MAX 256

#define CLI_VALUES_MAX 32

/* The values of an option that may be given several times. */
struct cli_values {
	const char *values[CLI_VALUES_MAX];
	size_t count;
};

/* What the command line says. Strings point into argv. */
struct cli_args {
	const struct cli_command *command;
	const char *operands[CLI_OPERANDS_MAX]; /* the first is TARGET, where the command has one */
	size_t operands_count;

	bool help, version;
	const char *root, *gdb;
	struct cli_values ram;

	const char *columns, *sort, *width, *colour;
	bool all_columns, json, raw, pairs, csv, no_headings, bytes;

	bool summary, tree, gaps, all, flags, ranges, chunks, map, no_stop, snapshot;
	const char *where, *max_stop, *fail_over, *allocator, *cell, *max_size;
	struct cli_values exclude_roots;
	const char *file;
	bool force;
	bool rtos;
	const char *plan, *word, *tcb, *heap;
	const char *for_time, *interval, *every;
	bool no_samples;
	const char *budget;
	bool until_exit, walks_heap;
	bool durable, no_children, verbose;
	bool has_command; /* the operands stood behind -- */
	const char *pid, *from, *to;
	bool metrics_only, once;
	const char *listen, *group_by;
	struct cli_values groups, details;
};

/* What an option's value is: for the completions. */
enum cli_value {
	CLI_NO_VALUE,
	CLI_COLUMNS,
	CLI_COLUMN,
	CLI_FOLDER,
	CLI_FILE,
	CLI_WHEN,      /* auto always never */
	CLI_ALLOCATOR, /* glibc musl mimalloc */
	CLI_SIZE,
	CLI_NUMBER,
	CLI_PLACE, /* HOST:PORT */
	CLI_TEXT,
	CLI_TEXTS,  /* may be given several times: a struct cli_values */
	CLI_IMAGES, /* the same, of FILE@ADDR */
};

struct cli_option {
	char letter;      /* 0: none */
	const char *name; /* NULL ends a list of options */
	const char *value_name;
	enum cli_value value;
	size_t offset; /* in struct cli_args */
	const char *meaning;
};

struct cli_example {
	const char *arguments; /* NULL ends a list of examples */
	const char *meaning;
};

struct cli_command {
	const char *name;
	const char *operands; /* "TARGET [ADDR]" */
	size_t operands_min, operands_max;
	const char *summary;              /* for the list of commands */
	const char *const *text;          /* paragraphs; NULL ends them */
	const struct cli_option *options; /* of this command only; may be NULL */
	bool has_target, has_rows;        /* takes the options of a target, of output */
	bool takes_firmware;              /* its target may be firmware, which has no kernel */
	const struct vmat_list *const
		*lists; /* the first is what -o chooses from; NULL ends them */
	const struct cli_example *examples;
	int (*run)(const struct cli_args *args); /* returns an exit code; NULL: help, see main.c */
};

#define CLI_COMMANDS_COUNT 18
extern const struct cli_command *const cli_commands[CLI_COMMANDS_COUNT];

/* NULL when there is none of that name. */
const struct cli_command *cli_command_find(const char *name);

/* The lists of options of a command, the own ones first. NULL ends them; at most 4. */
#define CLI_OPTION_LISTS 5
void cli_command_options(const struct cli_command *command,
			 const struct cli_option *ret[CLI_OPTION_LISTS]);

/* Options that stand before any command. */
extern const struct cli_option cli_common_options[];

extern const struct cli_command cli_map_command, cli_stacks_command, cli_pages_command,
	cli_cow_command, cli_pagesize_command, cli_heap_command, cli_leaks_command,
	cli_sizes_command, cli_explain_command, cli_dump_command, cli_doctor_command,
	cli_watch_command, cli_help_command, cli_faults_command, cli_record_command,
	cli_check_command, cli_diff_command, cli_serve_command;

#endif
