/* SPDX-License-Identifier: MIT */
/*
 * paragraph.h: a text for people, in lines that fit.
 */
#ifndef CLI_PARAGRAPH_H
#define CLI_PARAGRAPH_H

#include "output.h"

/* Prints a text that has been escaped, each line `indent` blanks from the left; the first one begins with `first`. */
void cli_paragraph(const struct cli_output *output, unsigned indent, const char *first,
		   const char *text);

#endif
