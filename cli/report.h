/* SPDX-License-Identifier: MIT */
/*
 * report.h: exit codes, and what goes to stderr: "vmatlas: what: why", with the fix indented below.
 */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include <vmatlas/base.h>

enum cli_exit {
	CLI_OK = 0,
	CLI_JUDGED_BAD = 1, /* leaks: there are some */
	CLI_USAGE = 2,
	CLI_GONE = 3, /* no such process, or no longer */
	CLI_NOT_PERMITTED = 4,
	CLI_KERNEL_LACKS = 5,
	CLI_BAD_FILE = 6,
	CLI_INTERNAL = 70,
};

/* The exit code for a negative errno of the library. */
enum cli_exit cli_exit_of(int code);

/* Prints the error; returns cli_exit_of(err->code). */
int cli_fail(const struct vmat_error *err);
/* Prints a text; returns CLI_USAGE. */
int cli_usage_error(const char *format, ...) VMAT_PRINTF(1, 2);
void cli_warn(const char *format, ...) VMAT_PRINTF(1, 2);

/*
 * The exit code for what writing to stdout returned (0 or a negative errno), if the command would
 * else end with `code`. A reader that went away (EPIPE) has seen what it wanted: no text, no failure.
 */
int cli_written(int r, int code);

#endif
