/* SPDX-License-Identifier: MIT */
/*
 * option.h: the command line, read by the table of command.h.
 */
#ifndef CLI_OPTION_H
#define CLI_OPTION_H

#include "command.h"

/*
 * Fills *ret from the arguments behind the name of the program. Returns 0, or an exit code after it
 * has said on stderr what is wrong. With --help or --version nothing else is asked for.
 */
int cli_parse(struct cli_args *ret, int argc, char **argv);

#endif
