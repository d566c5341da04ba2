/* SPDX-License-Identifier: MIT */
/*
 * Tables for a terminal, through libsmartcols: it cuts the columns to the width there is, the ample
 * ones first. The texts come escaped (cell.h), so its own escaping is off.
 */
#include <errno.h>
#include <libsmartcols/libsmartcols.h>
#include <stdlib.h>

#include <vmatlas/export.h>

#include "export/grid.h"
#include "export/sink.h"

struct screen {
	struct vmat_grid grid;
	struct libscols_table *table;
	struct vmat_buffer cell;
};

static int add_line(void *context, const struct vmat_grid_line *line)
{
	struct screen *screen = context;
	struct libscols_line *added = scols_table_new_line(screen->table, NULL);

	if (!added)
		return -ENOMEM;
	for (size_t i = 0; i < screen->grid.selection->count; i++) {
		enum vmat_tint tint = vmat_grid_tint(&screen->grid, line, i);
		size_t width;
		int r;

		screen->cell.size = 0;
		r = vmat_grid_cell(&screen->grid, line, i, &screen->cell, &width);
		if (r >= 0)
			r = vmat_buffer_add(&screen->cell, "", 1);
		if (r >= 0 && screen->cell.size > 1)
			r = scols_line_set_data(added, i, screen->cell.data);
		if (r >= 0 && tint != VMAT_TINT_NONE)
			r = scols_cell_set_color(scols_line_get_cell(added, i),
						 vmat_tint_sequence(tint));
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_columns(struct screen *screen)
{
	for (size_t i = 0; i < screen->grid.selection->count; i++) {
		const struct vmat_column *column = vmat_grid_column(&screen->grid, i);
		int flags = 0;

		if (vmat_type_is_right(column->type))
			flags |= SCOLS_FL_RIGHT;
		if (column->is_ample)
			flags |= SCOLS_FL_TRUNC;
		if (!scols_table_new_column(screen->table, column->name, 0, flags))
			return -ENOMEM;
	}
	return 0;
}

static void set_up(struct screen *screen, FILE *file)
{
	const struct vmat_text_options *options = screen->grid.options;

	scols_table_set_stream(screen->table, file);
	scols_table_set_termforce(screen->table, SCOLS_TERMFORCE_ALWAYS);
	scols_table_set_termwidth(screen->table, options->width);
	scols_table_enable_noencoding(screen->table, 1);
	scols_table_enable_noheadings(screen->table, options->no_headings);
	scols_table_enable_colors(screen->table, options->has_colour);
}

int vmat_write_screen(FILE *file, const struct vmat_rows *rows,
		      const struct vmat_selection *selection,
		      const struct vmat_text_options *options)
{
	struct screen screen = { .table = scols_new_table() };
	int r = screen.table ? 0 : -ENOMEM;

	if (r < 0)
		return r;
	vmat_grid_init(&screen.grid, rows, selection, options);
	set_up(&screen, file);
	r = add_columns(&screen);
	if (r >= 0)
		r = vmat_grid_walk(&screen.grid, add_line, &screen);
	/* without lines smartcols prints not even the headings */
	if (r >= 0 && !rows->count)
		r = vmat_write_table(file, rows, selection, options);
	else if (r >= 0)
		r = scols_print_table(screen.table);
	scols_unref_table(screen.table);
	vmat_buffer_deinit(&screen.cell);
	return r < 0 ? r : vmat_file_finish(file);
}
