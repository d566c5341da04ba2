/* SPDX-License-Identifier: MIT */
/*
 * export.h: models out as bytes: tables, JSON, CSV.
 *
 * Each format is written once, for every list (column.h). Writers are pure: they write to a FILE that
 * the caller opened and open nothing. What the target calls its things is hostile: control bytes,
 * broken UTF-8 and the invisible characters that reorder text are escaped in every format.
 *
 * Errors of all writers: a negative errno of the first write that failed (-ENOSPC, -EPIPE, ...), or
 * -ENOMEM. Thread-safe as long as each writes to a FILE of its own.
 */
#ifndef VMATLAS_EXPORT_H
#define VMATLAS_EXPORT_H

#include <stdio.h>

#include <vmatlas/column.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmat_text_options {
	size_t size;
	bool is_utf8;  /* the reader understands UTF-8; else every byte above 0x7e is escaped */
	bool is_exact; /* sizes as bytes, not as 1.2M */
	bool has_colour;
	bool no_headings;
	bool no_children;    /* do not show the rows that belong to a row */
	size_t width;        /* of the terminal; 0: no limit */
	size_t children_max; /* of one row; 0: all */
};

/*
 * An aligned table, with the rows that belong to a row below it. It holds no row in memory. Long texts
 * are cut to fit options->width, first those that matter least; numbers never are. 0: nothing is cut.
 */
int vmat_write_table(FILE *file, const struct vmat_rows *rows,
		     const struct vmat_selection *selection,
		     const struct vmat_text_options *options);

/* One line a row, cells without blanks, one blank between them; "-" for what is unknown or empty. */
int vmat_write_raw(FILE *file, const struct vmat_rows *rows, const struct vmat_selection *selection,
		   const struct vmat_text_options *options);

/* NAME="value" ...: one line a row, safe for a shell's eval. */
int vmat_write_pairs(FILE *file, const struct vmat_rows *rows,
		     const struct vmat_selection *selection,
		     const struct vmat_text_options *options);

/*
 * RFC 4180 with LF, the keys as heading, exact numbers, nothing for what is unknown. A text that a
 * spreadsheet would take for a formula (it begins with = + - @) gets a ' in front.
 */
int vmat_write_csv(FILE *file, const struct vmat_rows *rows, const struct vmat_selection *selection,
		   const struct vmat_text_options *options);

/*
 * JSON, written as it comes. Bytes of a text that are no valid UTF-8 are written as the character of
 * the same number (byte 0xff as \u00ff), so the document is always valid.
 * Calls must nest as the document does; `key` is NULL inside arrays and for the document itself.
 */
struct vmat_json;

int vmat_json_new(struct vmat_json **ret, FILE *file);
/* The whole document on one line, for streams of documents. */
void vmat_json_one_line(struct vmat_json *json);
/* Writes out what is left. Returns the first error; frees in any case. */
int vmat_json_finish(struct vmat_json *json);
void vmat_json_begin(struct vmat_json *json, const char *key); /* an object */
void vmat_json_end(struct vmat_json *json);
void vmat_json_string(struct vmat_json *json, const char *key, const char *text); /* NULL: null */
void vmat_json_number(struct vmat_json *json, const char *key, uint64_t number); /* unknown: null */
/* With three decimals; NAN and what is above 9e12: null. */
void vmat_json_real(struct vmat_json *json, const char *key, double number);
void vmat_json_bool(struct vmat_json *json, const char *key, bool is_true);
/* The rows as an array of objects, one a line, under the list's key. */
void vmat_json_rows(struct vmat_json *json, const struct vmat_rows *rows,
		    const struct vmat_selection *selection);
/* One row as an object. */
void vmat_json_row(struct vmat_json *json, const char *key, const struct vmat_rows *rows,
		   size_t row, const struct vmat_selection *selection);

/*
 * Texts for people, as the tables have them. Each writes at most `size` bytes with the NUL and
 * returns the length of the whole text.
 */
size_t vmat_text_bytes(char *ret, size_t size, uint64_t bytes); /* "1.2M"; "-" when unknown */
/* Escapes a hostile text: every byte that could harm as \xNN. Line feeds stay when `keeps_lines`. */
size_t vmat_text_escape(char *ret, size_t size, const char *text, bool is_utf8, bool keeps_lines);

/* The escape sequence that begins a tint. Lifetime: static. */
const char *vmat_tint_sequence(enum vmat_tint tint);

#ifdef __cplusplus
}
#endif
#endif
