/* SPDX-License-Identifier: MIT */
/*
 * cell.h: one cell as text, for every format but JSON.
 */
#ifndef VMAT_CELL_H
#define VMAT_CELL_H

#include <vmatlas/column.h>

#include "base/buffer.h"

struct vmat_cell_style {
	uint32_t escape;     /* enum vmat_escape_flag */
	bool is_exact;       /* sizes as bytes */
	const char *unknown; /* instead of what is not known */
	const char *empty;   /* instead of an empty text */
	bool marks_bounds;   /* "<=" before an upper bound */
};

/*
 * Appends the cell to `buffer`; *width (may be NULL) is what it takes on a terminal.
 * Returns 0 or -ENOMEM.
 */
int vmat_cell_text(struct vmat_buffer *buffer, const struct vmat_column *column,
		   const struct vmat_value *value, const struct vmat_cell_style *style,
		   size_t *width);

/* Numbers stand on the right. */
static inline bool vmat_type_is_right(enum vmat_type type)
{
	return type == VMAT_TYPE_BYTES || type == VMAT_TYPE_COUNT;
}

#endif
