/* SPDX-License-Identifier: MIT */
/*
 * strip_text.h: strips of a heap drawn with characters, one for each cell.
 */
#ifndef CLI_STRIP_TEXT_H
#define CLI_STRIP_TEXT_H

#include <vmatlas/strip.h>

#include "output.h"

/* How many cells stand in a line of this width (0: of 80). */
size_t cli_strip_columns(size_t width);

void cli_strip_write(const struct cli_output *output, const struct vmat_heap *heap,
		     const struct vmat_heap_strips *strips);

#endif
