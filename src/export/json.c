/* SPDX-License-Identifier: MIT */
/*
 * JSON written as it comes. The state is one bit per level: has it got a member already? What a row
 * needs of its columns, the quoted keys, is composed once per array; no printf stands on the way of a
 * cell: 60,000 rows of 4 columns take about 10 ms.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/export.h>

#include "export/escape.h"
#include "export/format.h"
#include "export/sink.h"

#define DEPTH_MAX 32
#define KEY_MAX   64

struct vmat_json {
	struct vmat_sink sink;
	bool is_line; /* nothing but its end is a line feed */
	unsigned depth;
	bool has_member[DEPTH_MAX];
};

/* The keys of a selection as they stand in a row: `,"start":`. */
struct row_keys {
	char text[VMAT_COLUMNS_MAX][KEY_MAX];
	uint8_t length[VMAT_COLUMNS_MAX];
};

/* The reasons for which cells of one row are unknown or bounds, gathered while it is written. */
struct row_notes {
	size_t unknown[VMAT_COLUMNS_MAX];
	uint64_t reason[VMAT_COLUMNS_MAX];
	size_t unknown_count;
	size_t bounds[VMAT_COLUMNS_MAX];
	size_t bounds_count;
};

static void write_rows(struct vmat_json *json, const struct vmat_rows *rows,
		       const struct vmat_selection *selection, const char *separator);

int vmat_json_new(struct vmat_json **ret, FILE *file)
{
	struct vmat_json *json = malloc(sizeof(*json));

	if (!json)
		return -ENOMEM;
	vmat_sink_init(&json->sink, file);
	json->is_line = false;
	json->depth = 0;
	json->has_member[0] = false;
	*ret = json;
	return 0;
}

void vmat_json_one_line(struct vmat_json *json)
{
	json->is_line = true;
}

int vmat_json_finish(struct vmat_json *json)
{
	int r;

	if (!json)
		return 0;
	vmat_sink_byte(&json->sink, '\n');
	r = vmat_sink_finish(&json->sink);
	free(json);
	return r;
}

static void write_escape(struct vmat_sink *sink, uint32_t unit)
{
	static const char hex[] = "0123456789abcdef";
	char *to = vmat_sink_room(sink, 6);

	to[0] = '\\';
	to[1] = 'u';
	for (unsigned i = 0; i < 4; i++)
		to[2 + i] = hex[unit >> (12 - 4 * i) & 15];
	vmat_sink_commit(sink, 6);
}

/* What is no plain run of ASCII. Returns how many bytes of the text it took. */
static size_t write_character(struct vmat_sink *sink, const char *text, size_t size)
{
	uint32_t character = 0;
	unsigned length = vmat_utf8_decode(text, size, &character);

	if (*text == '"' || *text == '\\') {
		vmat_sink_byte(sink, '\\');
		vmat_sink_byte(sink, *text);
		return 1;
	}
	if (!length) {
		write_escape(sink, (unsigned char)*text);
		return 1;
	}
	if (vmat_character_is_harmful(character))
		write_escape(sink, character); /* all of them are below U+10000 */
	else
		vmat_sink_add(sink, text, length);
	return length;
}

static void write_string(struct vmat_sink *sink, const char *text)
{
	size_t size = strlen(text);

	vmat_sink_byte(sink, '"');
	while (size) {
		size_t plain = vmat_plain_length(text, size);

		vmat_sink_add(sink, text, plain);
		text += plain;
		size -= plain;
		if (size) {
			size_t took = write_character(sink, text, size);

			text += took;
			size -= took;
		}
	}
	vmat_sink_byte(sink, '"');
}

static void write_number(struct vmat_sink *sink, uint64_t number)
{
	vmat_sink_commit(sink, vmat_format_number(vmat_sink_room(sink, VMAT_FORMAT_MAX), number));
}

/* Puts a comma and the key where the next member begins. */
static void begin_member(struct vmat_json *json, const char *key)
{
	if (json->has_member[json->depth])
		vmat_sink_text(&json->sink, json->depth == 1 && !json->is_line ? ",\n" : ",");
	json->has_member[json->depth] = true;
	if (key) {
		write_string(&json->sink, key);
		vmat_sink_byte(&json->sink, ':');
	}
}

void vmat_json_begin(struct vmat_json *json, const char *key)
{
	begin_member(json, key);
	vmat_sink_byte(&json->sink, '{');
	if (json->depth + 1 < DEPTH_MAX)
		json->depth++;
	json->has_member[json->depth] = false;
}

void vmat_json_end(struct vmat_json *json)
{
	vmat_sink_byte(&json->sink, '}');
	if (json->depth)
		json->depth--;
}

void vmat_json_string(struct vmat_json *json, const char *key, const char *text)
{
	begin_member(json, key);
	if (text)
		write_string(&json->sink, text);
	else
		vmat_sink_text(&json->sink, "null");
}

void vmat_json_number(struct vmat_json *json, const char *key, uint64_t number)
{
	begin_member(json, key);
	if (vmat_is_known(number))
		write_number(&json->sink, number);
	else
		vmat_sink_text(&json->sink, "null");
}

void vmat_json_real(struct vmat_json *json, const char *key, double number)
{
	double size = number < 0 ? -number : number;
	uint64_t thousandths;

	begin_member(json, key);
	if (!(size < 9e12)) {
		vmat_sink_text(&json->sink, "null");
		return;
	}
	/* By whole numbers: the decimal point of printf is the locale's. */
	thousandths = (uint64_t)(size * 1000 + 0.5);
	if (number < 0 && thousandths)
		vmat_sink_byte(&json->sink, '-');
	write_number(&json->sink, thousandths / 1000);
	vmat_sink_byte(&json->sink, '.');
	vmat_sink_byte(&json->sink, (char)('0' + thousandths / 100 % 10));
	vmat_sink_byte(&json->sink, (char)('0' + thousandths / 10 % 10));
	vmat_sink_byte(&json->sink, (char)('0' + thousandths % 10));
}

void vmat_json_bool(struct vmat_json *json, const char *key, bool is_true)
{
	begin_member(json, key);
	vmat_sink_text(&json->sink, is_true ? "true" : "false");
}

static void write_words(struct vmat_sink *sink, const struct vmat_column *column, uint64_t bits)
{
	const char *separator = "";

	vmat_sink_byte(sink, '[');
	for (unsigned bit = 0; bit < 64; bit++) {
		const char *word = bits >> bit & 1 ? column->word(bit) : NULL;

		if (!word)
			continue;
		vmat_sink_text(sink, separator);
		write_string(sink, word);
		separator = ",";
	}
	vmat_sink_byte(sink, ']');
}

static void write_nested(struct vmat_json *json, const struct vmat_rows *rows)
{
	struct vmat_selection selection;

	vmat_selection_default(&selection, rows->list, VMAT_SHOW_JSON);
	write_rows(json, rows, &selection, ",");
}

static void write_value(struct vmat_json *json, const struct vmat_column *column,
			const struct vmat_value *value)
{
	struct vmat_sink *sink = &json->sink;
	char *to;

	switch (column->type) {
	case VMAT_TYPE_BYTES:
	case VMAT_TYPE_COUNT:
		write_number(sink, value->number);
		break;
	case VMAT_TYPE_ADDR:
		to = vmat_sink_room(sink, VMAT_FORMAT_MAX + 2);
		to[0] = '"';
		to += 1 + vmat_format_addr(to + 1, value->number);
		*to++ = '"';
		vmat_sink_commit(sink, (size_t)(to - (sink->data + sink->used)));
		break;
	case VMAT_TYPE_STRING:
		write_string(sink, value->text);
		break;
	case VMAT_TYPE_BOOL:
		vmat_sink_text(sink, value->number ? "true" : "false");
		break;
	case VMAT_TYPE_WORDS:
		write_words(sink, column, value->number);
		break;
	case VMAT_TYPE_ROWS:
		write_nested(json, &value->rows);
		break;
	}
}

static void compose_keys(struct row_keys *keys, const struct vmat_rows *rows,
			 const struct vmat_selection *selection)
{
	for (size_t i = 0; i < selection->count; i++) {
		const char *key = rows->list->columns[selection->columns[i]].key;
		size_t length = strnlen(key, KEY_MAX - 5), used = 0;
		char *to = keys->text[i];

		to[used++] = ',';
		to[used++] = '"';
		memcpy(to + used, key, length);
		used += length;
		to[used++] = '"';
		to[used++] = ':';
		keys->length[i] = (uint8_t)used;
	}
}

static void write_notes(struct vmat_json *json, const struct vmat_list *list,
			const struct row_notes *notes)
{
	struct vmat_sink *sink = &json->sink;

	for (size_t i = 0; i < notes->unknown_count; i++) {
		vmat_sink_text(sink, i ? "," : ",\"unknown\":{");
		write_string(sink, list->columns[notes->unknown[i]].key);
		vmat_sink_byte(sink, ':');
		write_string(sink, vmat_reason_text(vmat_reason(notes->reason[i])));
	}
	if (notes->unknown_count)
		vmat_sink_byte(sink, '}');
	for (size_t i = 0; i < notes->bounds_count; i++) {
		vmat_sink_text(sink, i ? "," : ",\"upper_bound\":[");
		write_string(sink, list->columns[notes->bounds[i]].key);
	}
	if (notes->bounds_count)
		vmat_sink_byte(sink, ']');
}

static void write_row(struct vmat_json *json, const struct vmat_rows *rows, size_t row,
		      const struct vmat_selection *selection, const struct row_keys *keys)
{
	struct vmat_sink *sink = &json->sink;
	struct row_notes notes;
	struct vmat_value value;

	size_t comma = 0;

	notes.unknown_count = notes.bounds_count = 0;
	vmat_sink_byte(sink, '{');
	for (size_t i = 0; i < selection->count; i++) {
		size_t number = selection->columns[i];
		const struct vmat_column *column = &rows->list->columns[number];

		vmat_rows_cell(rows, row, number, &value);
		if (column->is_optional && !value.rows.count)
			continue;
		/* the first member has no comma in front */
		vmat_sink_add(sink, keys->text[i] + 1 - comma, keys->length[i] - 1 + comma);
		comma = 1;
		if (column->type != VMAT_TYPE_ROWS && !vmat_is_known(value.number)) {
			vmat_sink_text(sink, "null");
			notes.unknown[notes.unknown_count] = number;
			notes.reason[notes.unknown_count++] = value.number;
			continue;
		}
		write_value(json, column, &value);
		if (value.is_upper_bound)
			notes.bounds[notes.bounds_count++] = number;
	}
	write_notes(json, rows->list, &notes);
	vmat_sink_byte(sink, '}');
}

static void write_rows(struct vmat_json *json, const struct vmat_rows *rows,
		       const struct vmat_selection *selection, const char *separator)
{
	struct row_keys keys;

	compose_keys(&keys, rows, selection);
	vmat_sink_byte(&json->sink, '[');
	for (size_t row = 0; row < rows->count && !json->sink.error; row++) {
		vmat_sink_text(&json->sink, row ? separator : separator + 1);
		write_row(json, rows, row, selection, &keys);
	}
	vmat_sink_byte(&json->sink, ']');
}

void vmat_json_rows(struct vmat_json *json, const struct vmat_rows *rows,
		    const struct vmat_selection *selection)
{
	begin_member(json, rows->list->key);
	write_rows(json, rows, selection, json->is_line ? "," : ",\n");
}

void vmat_json_row(struct vmat_json *json, const char *key, const struct vmat_rows *rows,
		   size_t row, const struct vmat_selection *selection)
{
	struct row_keys keys;

	begin_member(json, key);
	compose_keys(&keys, rows, selection);
	write_row(json, rows, row, selection, &keys);
}
