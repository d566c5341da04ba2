/* SPDX-License-Identifier: MIT */
#include "export/cell.h"

#include <errno.h>
#include <string.h>

#include "export/escape.h"
#include "export/format.h"

static int add_escaped(struct vmat_buffer *buffer, const char *text, uint32_t flags, size_t *width)
{
	size_t size = strlen(text), columns;
	int r = vmat_buffer_reserve(buffer, 4 * size);

	if (r < 0)
		return r;
	buffer->size += vmat_escape(buffer->data + buffer->size, text, size, flags, &columns);
	*width += columns;
	return 0;
}

static int add_plain(struct vmat_buffer *buffer, const char *text, size_t *width)
{
	*width += strlen(text);
	return vmat_buffer_add(buffer, text, strlen(text));
}

static int add_number(struct vmat_buffer *buffer, enum vmat_type type, uint64_t number,
		      const struct vmat_cell_style *style, size_t *width)
{
	int r = vmat_buffer_reserve(buffer, VMAT_FORMAT_MAX);
	char *to = buffer->data + buffer->size;
	size_t length;

	if (r < 0)
		return r;
	if (type == VMAT_TYPE_ADDR)
		length = vmat_format_addr(to, number);
	else if (type == VMAT_TYPE_BYTES && !style->is_exact)
		length = vmat_format_bytes(to, number);
	else
		length = vmat_format_number(to, number);
	buffer->size += length;
	*width += length;
	return 0;
}

static int add_words(struct vmat_buffer *buffer, const struct vmat_column *column, uint64_t bits,
		     size_t *width)
{
	const char *separator = "";
	int r = 0;

	for (unsigned bit = 0; bit < 64 && r >= 0; bit++) {
		const char *word = bits >> bit & 1 ? column->word(bit) : NULL;

		if (!word)
			continue;
		r = add_plain(buffer, separator, width);
		if (r >= 0)
			r = add_plain(buffer, word, width);
		separator = ",";
	}
	return r;
}

/* "0x1000-0x3000 0x5000-0x6000": the first two columns of such a list are start and end. */
static int add_rows(struct vmat_buffer *buffer, const struct vmat_rows *rows,
		    const struct vmat_cell_style *style, size_t *width)
{
	const char *blank = style->escape & VMAT_ESCAPE_BLANKS ? "," : " ";
	int r = 0;

	for (size_t i = 0; i < rows->count && r >= 0; i++) {
		struct vmat_value start, end;

		vmat_rows_cell(rows, i, 0, &start);
		vmat_rows_cell(rows, i, 1, &end);
		r = i ? add_plain(buffer, blank, width) : 0;
		if (r >= 0)
			r = add_number(buffer, VMAT_TYPE_ADDR, start.number, style, width);
		if (r >= 0)
			r = add_plain(buffer, "-", width);
		if (r >= 0)
			r = add_number(buffer, VMAT_TYPE_ADDR, end.number, style, width);
	}
	return r;
}

int vmat_cell_text(struct vmat_buffer *buffer, const struct vmat_column *column,
		   const struct vmat_value *value, const struct vmat_cell_style *style,
		   size_t *width)
{
	size_t before = buffer->size, columns = 0;
	int r = 0;

	if (column->type != VMAT_TYPE_ROWS && !vmat_is_known(value->number)) {
		r = add_plain(buffer, style->unknown, &columns);
		if (width)
			*width = columns;
		return r;
	}
	if (value->is_upper_bound && style->marks_bounds)
		r = add_plain(buffer, "<=", &columns);
	if (r < 0)
		return r;
	switch (column->type) {
	case VMAT_TYPE_STRING:
		r = add_escaped(buffer, value->text, style->escape, &columns);
		break;
	case VMAT_TYPE_BOOL:
		r = add_plain(buffer, value->number ? "yes" : "no", &columns);
		break;
	case VMAT_TYPE_WORDS:
		r = add_words(buffer, column, value->number, &columns);
		break;
	case VMAT_TYPE_ROWS:
		r = add_rows(buffer, &value->rows, style, &columns);
		break;
	default:
		r = add_number(buffer, value->is_count ? VMAT_TYPE_COUNT : column->type,
			       value->number, style, &columns);
	}
	if (r >= 0 && buffer->size == before)
		r = add_plain(buffer, style->empty, &columns);
	if (width)
		*width = columns;
	return r;
}
