/* SPDX-License-Identifier: MIT */
/*
 * sample_list.h: a list with a column of every type, rows with children, hostile names and unknown
 * facts, and a way to see what a writer writes of it.
 */
#ifndef SAMPLE_LIST_H
#define SAMPLE_LIST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/export.h>

struct sample {
	const char *name; /* NULL: unknown */
	uint64_t size, count, addr, flag, words;
	bool is_bound;
	size_t children;
};

enum sample_column {
	SAMPLE_NAME,
	SAMPLE_ADDR,
	SAMPLE_SIZE,
	SAMPLE_COUNT,
	SAMPLE_FLAG,
	SAMPLE_WORDS,
	SAMPLE_CHILDREN,
};

static const char *sample_word(unsigned bit)
{
	return bit == 0 ? "zero" : bit == 3 ? "three" : NULL;
}

static void child_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	(void)model;
	ret->number = 0x1000 * (row + 1) + (column ? 0x800 : 0);
}

static const struct vmat_column child_columns[] = {
	{ "ADDR", "addr", VMAT_TYPE_ADDR, VMAT_SHOW_JSON, 0, "where", "test" },
	{ "END", "end", VMAT_TYPE_ADDR, VMAT_SHOW_JSON, 0, "where", "test" },
};

static const struct vmat_list child_list = {
	.name = "child",
	.key = "children",
	.columns = child_columns,
	.columns_count = 2,
	.cell = child_cell,
};

static const struct vmat_column sample_columns[] = {
	{ "NAME", "name", VMAT_TYPE_STRING, 7, 0, "a name", "test", .child_key = "addr",
	  .ample = 1 },
	{ "ADDR", "addr", VMAT_TYPE_ADDR, 7, VMAT_NEED_PAGES, "an address", "test",
	  .is_tinted = true },
	{ "SIZE", "size", VMAT_TYPE_BYTES, 7, VMAT_NEED_SMAPS, "a size", "test" },
	{ "COUNT", "count", VMAT_TYPE_COUNT, 4, 0, "a count", "test" },
	{ "FLAG", "flag", VMAT_TYPE_BOOL, 4, 0, "a truth", "test" },
	{ "WORDS", "words", VMAT_TYPE_WORDS, 4, 0, "words", "test", .word = sample_word,
	  .ample = 3 },
	{ "CHILDREN", "children", VMAT_TYPE_ROWS, 4, 0, "rows", "test", .is_optional = true },
};

static void sample_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct sample *sample = (const struct sample *)model + row;

	switch ((enum sample_column)column) {
	case SAMPLE_NAME:
		ret->text = sample->name;
		if (!sample->name)
			ret->number = VMAT_UNKNOWN(VMAT_NOT_FOUND);
		break;
	case SAMPLE_ADDR:
		ret->number = sample->addr;
		break;
	case SAMPLE_SIZE:
		ret->number = sample->size;
		ret->is_upper_bound = sample->is_bound;
		break;
	case SAMPLE_COUNT:
		ret->number = sample->count;
		break;
	case SAMPLE_FLAG:
		ret->number = sample->flag;
		break;
	case SAMPLE_WORDS:
		ret->number = sample->words;
		break;
	case SAMPLE_CHILDREN:
		ret->rows = (struct vmat_rows){ .list = &child_list, .count = sample->children };
		break;
	}
}

static enum vmat_tint sample_tint(const void *model, size_t row)
{
	(void)model;
	return row ? VMAT_TINT_NONE : VMAT_TINT_BAD;
}

static const struct vmat_list sample_list = {
	.name = "sample",
	.key = "samples",
	.columns = sample_columns,
	.columns_count = 7,
	.cell = sample_cell,
	.tint = sample_tint,
	.children = SAMPLE_CHILDREN + 1,
};

/* What was written. The caller frees. */
typedef int sample_writer(FILE *file, const struct vmat_rows *rows,
			  const struct vmat_selection *selection,
			  const struct vmat_text_options *options);

static inline char *sample_write(sample_writer *writer, const struct sample *samples, size_t count,
				 const char *columns, const struct vmat_text_options *options)
{
	struct vmat_rows rows = { .list = &sample_list, .model = samples, .count = count };
	struct vmat_selection selection = { .count = 0 };
	char *text = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);
	int r = -1;

	if (file && !vmat_selection_parse(&selection, &sample_list, columns, NULL))
		r = writer(file, &rows, &selection, options);
	if (file)
		fclose(file);
	if (r < 0) {
		free(text);
		return NULL;
	}
	return text;
}

#endif
