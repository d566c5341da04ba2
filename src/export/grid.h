/* SPDX-License-Identifier: MIT */
/*
 * grid.h: rows with the rows that belong to them, as the lines of a table.
 *
 * A child's cells are found by key; its first cell is headed by a branch. No line is kept.
 */
#ifndef VMAT_GRID_H
#define VMAT_GRID_H

#include <vmatlas/export.h>

#include "base/buffer.h"
#include "export/cell.h"

struct vmat_grid {
	const struct vmat_rows *rows;
	const struct vmat_selection *selection;
	const struct vmat_text_options *options;
	struct vmat_cell_style style;
	/* of each selected column, the number of the children's column + 1; 0: they have none */
	size_t child_column[VMAT_COLUMNS_MAX];
	bool has_child_columns; /* child_column is filled in */
};

struct vmat_grid_line {
	const struct vmat_rows *rows; /* of the grid, or the children of one of its rows */
	size_t row;
	bool is_child;
	bool is_last;   /* child */
	size_t omitted; /* not a row: so many children are not shown */
};

void vmat_grid_init(struct vmat_grid *grid, const struct vmat_rows *rows,
		    const struct vmat_selection *selection,
		    const struct vmat_text_options *options);

/* Calls `visit` for each line, until it returns a negative number; returns that, or 0. */
typedef int vmat_grid_visit(void *context, const struct vmat_grid_line *line);
int vmat_grid_walk(struct vmat_grid *grid, vmat_grid_visit *visit, void *context);

/* Appends the cell of the i-th selected column. 0 or -ENOMEM. */
int vmat_grid_cell(const struct vmat_grid *grid, const struct vmat_grid_line *line, size_t i,
		   struct vmat_buffer *buffer, size_t *width);

/* Sets widths[i] to what the i-th column takes, its heading included. 0 or -ENOMEM. */
int vmat_grid_measure(struct vmat_grid *grid, size_t widths[VMAT_COLUMNS_MAX]);

/*
 * Narrows the ample columns until all fits `width`: those of level 3 first, the widest of a level
 * before the others, none below a width that still says something.
 */
void vmat_grid_narrow(const struct vmat_grid *grid, size_t widths[VMAT_COLUMNS_MAX], size_t width);

/* The i-th selected column. */
static inline const struct vmat_column *vmat_grid_column(const struct vmat_grid *grid, size_t i)
{
	return &grid->rows->list->columns[grid->selection->columns[i]];
}

/* The tint of that cell. */
enum vmat_tint vmat_grid_tint(const struct vmat_grid *grid, const struct vmat_grid_line *line,
			      size_t i);

#endif
