/* SPDX-License-Identifier: MIT */
/*
 * The formats of one line a row that are not aligned: raw, pairs and CSV.
 */
#include <errno.h>

#include <vmatlas/export.h>

#include "base/cleanup.h"
#include "export/cell.h"
#include "export/escape.h"
#include "export/sink.h"

static uint32_t utf8_flag(const struct vmat_text_options *options)
{
	return options->is_utf8 ? VMAT_ESCAPE_UTF8 : 0;
}

/* Hands each cell of all rows, as text, to `write`. */
typedef void write_fn(struct vmat_sink *sink, const struct vmat_column *column, const char *text,
		      size_t size);

static int write_lines(struct vmat_sink *sink, const struct vmat_rows *rows,
		       const struct vmat_selection *selection, const struct vmat_cell_style *style,
		       char separator, write_fn *write)
{
	struct vmat_buffer text = { 0 };
	int r = 0;

	for (size_t row = 0; row < rows->count && !sink->error && r >= 0; row++) {
		for (size_t i = 0; i < selection->count && r >= 0; i++) {
			size_t number = selection->columns[i];
			struct vmat_value value;

			text.size = 0;
			vmat_rows_cell(rows, row, number, &value);
			r = vmat_cell_text(&text, &rows->list->columns[number], &value, style,
					   NULL);
			if (i)
				vmat_sink_byte(sink, separator);
			if (r >= 0)
				write(sink, &rows->list->columns[number], text.data, text.size);
		}
		vmat_sink_byte(sink, '\n');
	}
	vmat_buffer_deinit(&text);
	return r;
}

/* Writes with a sink of its own: it is too large for the stack of a small thread. */
static int with_sink(FILE *file, const struct vmat_rows *rows,
		     const struct vmat_selection *selection, const struct vmat_cell_style *style,
		     char separator, write_fn *write,
		     const char *(*heading)(const struct vmat_column *))
{
	vmat_autofree struct vmat_sink *sink = malloc(sizeof(*sink));
	int r, finished;

	if (!sink)
		return -ENOMEM;
	vmat_sink_init(sink, file);
	for (size_t i = 0; heading && i < selection->count; i++) {
		if (i)
			vmat_sink_byte(sink, separator);
		vmat_sink_text(sink, heading(&rows->list->columns[selection->columns[i]]));
	}
	if (heading)
		vmat_sink_byte(sink, '\n');
	r = write_lines(sink, rows, selection, style, separator, write);
	finished = vmat_sink_finish(sink);
	return r < 0 ? r : finished;
}

static const char *heading_name(const struct vmat_column *column)
{
	return column->name;
}

static const char *heading_key(const struct vmat_column *column)
{
	return column->key;
}

static void write_plain(struct vmat_sink *sink, const struct vmat_column *column, const char *text,
			size_t size)
{
	(void)column;
	vmat_sink_add(sink, text, size);
}

int vmat_write_raw(FILE *file, const struct vmat_rows *rows, const struct vmat_selection *selection,
		   const struct vmat_text_options *options)
{
	struct vmat_cell_style style = {
		.escape = VMAT_ESCAPE_BLANKS | utf8_flag(options),
		.is_exact = options->is_exact,
		.unknown = "-",
		.empty = "-",
		.marks_bounds = true,
	};

	return with_sink(file, rows, selection, &style, ' ', write_plain,
			 options->no_headings ? NULL : heading_name);
}

static void write_pair(struct vmat_sink *sink, const struct vmat_column *column, const char *text,
		       size_t size)
{
	vmat_sink_text(sink, column->name);
	vmat_sink_add(sink, "=\"", 2);
	vmat_sink_add(sink, text, size);
	vmat_sink_byte(sink, '"');
}

int vmat_write_pairs(FILE *file, const struct vmat_rows *rows,
		     const struct vmat_selection *selection,
		     const struct vmat_text_options *options)
{
	struct vmat_cell_style style = {
		.escape = VMAT_ESCAPE_SHELL | utf8_flag(options),
		.is_exact = options->is_exact,
		.unknown = "",
		.empty = "",
	};

	return with_sink(file, rows, selection, &style, ' ', write_pair, NULL);
}

static void write_field(struct vmat_sink *sink, const struct vmat_column *column, const char *text,
			size_t size)
{
	bool is_formula = column->type == VMAT_TYPE_STRING && size && strchr("=+-@", text[0]);
	bool is_quoted = false;

	for (size_t i = 0; i < size; i++)
		is_quoted |= text[i] == '"' || text[i] == ',' || text[i] == ' ' || text[i] == ';';
	if (is_quoted)
		vmat_sink_byte(sink, '"');
	if (is_formula)
		vmat_sink_byte(sink, '\'');
	for (size_t i = 0; i < size; i++) {
		if (text[i] == '"')
			vmat_sink_byte(sink, '"');
		vmat_sink_byte(sink, text[i]);
	}
	if (is_quoted)
		vmat_sink_byte(sink, '"');
}

int vmat_write_csv(FILE *file, const struct vmat_rows *rows, const struct vmat_selection *selection,
		   const struct vmat_text_options *options)
{
	struct vmat_cell_style style = {
		.escape = utf8_flag(options),
		.is_exact = true,
		.unknown = "",
		.empty = "",
	};

	return with_sink(file, rows, selection, &style, ',', write_field,
			 options->no_headings ? NULL : heading_key);
}
