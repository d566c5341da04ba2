/* SPDX-License-Identifier: MIT */
/* What stands in the lines of a table: see grid.h. */
#include "export/grid.h"

#include <stdio.h>
#include <string.h>

#include "export/escape.h"

void vmat_grid_init(struct vmat_grid *grid, const struct vmat_rows *rows,
		    const struct vmat_selection *selection, const struct vmat_text_options *options)
{
	*grid = (struct vmat_grid){
		.rows = rows,
		.selection = selection,
		.options = options,
		.style = {
			.escape = options->is_utf8 ? VMAT_ESCAPE_UTF8 : 0,
			.is_exact = options->is_exact,
			.unknown = "-",
			.empty = "",
			.marks_bounds = true,
		},
	};
}

static void find_child_columns(struct vmat_grid *grid, const struct vmat_list *children)
{
	for (size_t i = 0; i < grid->selection->count; i++) {
		const struct vmat_column *column = vmat_grid_column(grid, i);
		const char *key = column->child_key ? column->child_key : column->key;
		size_t found = vmat_column_find(children, key, strlen(key));

		grid->child_column[i] = found < children->columns_count ? found + 1 : 0;
	}
	grid->has_child_columns = true;
}

static int walk_children(struct vmat_grid *grid, const struct vmat_rows *children,
			 vmat_grid_visit *visit, void *context)
{
	size_t most = grid->options->children_max;
	struct vmat_grid_line line = { .rows = children, .is_child = true };
	int r = 0;

	if (!grid->has_child_columns)
		find_child_columns(grid, children->list);
	/* a line that says `1 more` takes as much room as the one child would */
	if (!most || children->count <= most + 1)
		most = children->count;
	for (line.row = 0; line.row < most && r >= 0; line.row++) {
		line.is_last = line.row + 1 == children->count;
		r = visit(context, &line);
	}
	if (most < children->count && r >= 0) {
		line.is_last = true;
		line.omitted = children->count - most;
		r = visit(context, &line);
	}
	return r;
}

int vmat_grid_walk(struct vmat_grid *grid, vmat_grid_visit *visit, void *context)
{
	size_t children = grid->options->no_children ? 0 : grid->rows->list->children;
	int r = 0;

	for (size_t row = 0; row < grid->rows->count && r >= 0; row++) {
		struct vmat_grid_line line = { .rows = grid->rows, .row = row };
		struct vmat_value value;

		r = visit(context, &line);
		if (!children || r < 0)
			continue;
		vmat_rows_cell(grid->rows, row, children - 1, &value);
		if (value.rows.count)
			r = walk_children(grid, &value.rows, visit, context);
	}
	return r;
}

static int add_branch(const struct vmat_grid *grid, const struct vmat_grid_line *line,
		      struct vmat_buffer *buffer)
{
	const char *branch;

	if (grid->options->is_utf8)
		branch = line->is_last ? "└─" : "├─";
	else
		branch = line->is_last ? "`-" : "|-";
	return vmat_buffer_add(buffer, branch, strlen(branch));
}

static int child_cell(const struct vmat_grid *grid, const struct vmat_grid_line *line, size_t i,
		      struct vmat_buffer *buffer, size_t *width)
{
	size_t column = grid->child_column[i], branch = 0;
	struct vmat_value value;
	int r = 0;

	*width = 0;
	if (i == 0) {
		r = add_branch(grid, line, buffer);
		branch = 2;
	}
	if (r >= 0 && line->omitted && i == 0) {
		char text[40];
		int n = snprintf(text, sizeof(text), "%zu more", line->omitted);

		*width = branch + (size_t)n;
		return vmat_buffer_add(buffer, text, (size_t)n);
	}
	if (r >= 0 && column && !line->omitted) {
		vmat_rows_cell(line->rows, line->row, column - 1, &value);
		r = vmat_cell_text(buffer, &line->rows->list->columns[column - 1], &value,
				   &grid->style, width);
	}
	*width += branch;
	return r;
}

int vmat_grid_cell(const struct vmat_grid *grid, const struct vmat_grid_line *line, size_t i,
		   struct vmat_buffer *buffer, size_t *width)
{
	struct vmat_value value;

	if (line->is_child)
		return child_cell(grid, line, i, buffer, width);
	vmat_rows_cell(line->rows, line->row, grid->selection->columns[i], &value);
	return vmat_cell_text(buffer, vmat_grid_column(grid, i), &value, &grid->style, width);
}

struct measuring {
	const struct vmat_grid *grid;
	struct vmat_buffer cell;
	size_t *widths;
};

static int measure_line(void *context, const struct vmat_grid_line *line)
{
	struct measuring *measuring = context;
	int r = 0;

	for (size_t i = 0; i < measuring->grid->selection->count && r >= 0; i++) {
		size_t width;

		measuring->cell.size = 0;
		r = vmat_grid_cell(measuring->grid, line, i, &measuring->cell, &width);
		if (r >= 0 && width > measuring->widths[i])
			measuring->widths[i] = width;
	}
	return r;
}

int vmat_grid_measure(struct vmat_grid *grid, size_t widths[VMAT_COLUMNS_MAX])
{
	struct measuring measuring = { .grid = grid, .widths = widths };
	int r;

	for (size_t i = 0; i < grid->selection->count; i++)
		widths[i] =
			grid->options->no_headings ? 0 : strlen(vmat_grid_column(grid, i)->name);
	r = vmat_grid_walk(grid, measure_line, &measuring);
	vmat_buffer_deinit(&measuring.cell);
	return r;
}

/* The widest column of a level that may still lose something; the count of columns if there is none. */
static size_t widest_of(const struct vmat_grid *grid, const size_t *widths, unsigned level)
{
	static const size_t least[] = { 0, 8, 12, 16 };
	size_t count = grid->selection->count, found = count;

	for (size_t i = 0; i < count; i++)
		if (vmat_grid_column(grid, i)->ample == level && widths[i] > least[level] &&
		    (found == count || widths[i] > widths[found]))
			found = i;
	return found;
}

void vmat_grid_narrow(const struct vmat_grid *grid, size_t widths[VMAT_COLUMNS_MAX], size_t width)
{
	size_t count = grid->selection->count, total = count ? count - 1 : 0;

	for (size_t i = 0; i < count; i++)
		total += widths[i];
	for (unsigned level = 3; level > 0; level--) {
		size_t i;

		while (total > width && (i = widest_of(grid, widths, level)) < count) {
			widths[i]--;
			total--;
		}
	}
}

enum vmat_tint vmat_grid_tint(const struct vmat_grid *grid, const struct vmat_grid_line *line,
			      size_t i)
{
	if (!grid->options->has_colour || !vmat_grid_column(grid, i)->is_tinted || line->omitted)
		return VMAT_TINT_NONE;
	return vmat_rows_tint(line->rows, line->row);
}

const char *vmat_tint_sequence(enum vmat_tint tint)
{
	static const char *const sequences[] = {
		[VMAT_TINT_NONE] = "",          [VMAT_TINT_CODE] = "\033[36m",
		[VMAT_TINT_FILE] = "\033[34m",  [VMAT_TINT_HEAP] = "\033[33m",
		[VMAT_TINT_STACK] = "\033[32m", [VMAT_TINT_SHARED] = "\033[35m",
		[VMAT_TINT_KERNEL] = "\033[1m", [VMAT_TINT_IDLE] = "\033[2m",
		[VMAT_TINT_BAD] = "\033[31m",   [VMAT_TINT_GOOD] = "\033[32m",
	};

	return (size_t)tint < VMAT_TINT_COUNT ? sequences[tint] : "";
}
