/* SPDX-License-Identifier: MIT */
/* Whatever a target calls its things: no format lets a harmful character or broken UTF-8 through. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/export.h>

#include "export/escape.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_harmless(const char *text, size_t size, bool allows_lines)
{
	for (size_t i = 0; i < size;) {
		uint32_t character = 0;
		unsigned length = vmat_utf8_decode(text + i, size - i, &character);

		if (!length ||
		    (vmat_character_is_harmful(character) && !(allows_lines && character == '\n')))
			abort();
		i += length;
	}
}

static void cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	(void)row;
	(void)column;
	ret->text = model;
}

static const struct vmat_column column = { "NAME", "name",   VMAT_TYPE_STRING, 7,
					   0,      "a name", "fuzz",           .ample = 1 };
static const struct vmat_list list = {
	.name = "fuzz", .key = "rows", .columns = &column, .columns_count = 1, .cell = cell
};

static int write_json(FILE *file, const struct vmat_rows *rows,
		      const struct vmat_selection *selection,
		      const struct vmat_text_options *options)
{
	struct vmat_json *json;

	(void)options;
	if (vmat_json_new(&json, file) < 0)
		abort();
	vmat_json_begin(json, NULL);
	vmat_json_rows(json, rows, selection);
	vmat_json_end(json);
	return vmat_json_finish(json);
}

typedef int writer_fn(FILE *file, const struct vmat_rows *rows,
		      const struct vmat_selection *selection,
		      const struct vmat_text_options *options);

static void check_writer(writer_fn *writer, const char *name,
			 const struct vmat_text_options *options)
{
	struct vmat_rows rows = { .list = &list, .model = name, .count = 1 };
	struct vmat_selection selection = { .columns = { 0 }, .count = 1 };
	char *text = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);

	if (!file || writer(file, &rows, &selection, options) < 0 || fclose(file))
		abort();
	check_harmless(text, size, true);
	/* nothing but what the format itself puts there ends a line: a heading and one row */
	if (size > 0 && (char *)memchr(text, '\n', size) == NULL)
		abort();
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmat_text_options options = { .size = sizeof(options),
					     .is_utf8 = size & 1,
					     .width = size % 97 };
	char *name = malloc(size + 1), *escaped = malloc(4 * size + 1);
	size_t length, width, cut;

	if (!name || !escaped)
		abort();
	memcpy(name, data, size);
	name[size] = '\0';
	length = vmat_escape(escaped, name, size, size & 2 ? VMAT_ESCAPE_UTF8 : 0, &width);
	check_harmless(escaped, length, false);
	cut = vmat_escaped_prefix(escaped, length, width / 2, &width);
	check_harmless(escaped, cut, false);
	check_writer(vmat_write_table, name, &options);
	check_writer(vmat_write_raw, name, &options);
	check_writer(vmat_write_pairs, name, &options);
	check_writer(vmat_write_csv, name, &options);
	check_writer(write_json, name, &options);
	free(name);
	free(escaped);
	return 0;
}
