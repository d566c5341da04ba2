/* SPDX-License-Identifier: MIT */
/*
 * usage.h: --help, made from the tables.
 */
#ifndef CLI_USAGE_H
#define CLI_USAGE_H

#include <stdio.h>

#include "command.h"

void cli_usage_program(FILE *file);
void cli_usage_command(FILE *file, const struct cli_command *command);

#endif
