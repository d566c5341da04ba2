/* SPDX-License-Identifier: MIT */
/*
 * escape.h: what a hostile text may not bring to a terminal, a spreadsheet or a JSON reader.
 *
 * Harmful are: bytes that are no valid UTF-8, the control characters C0, DEL and C1 (a terminal obeys
 * U+009B as it does ESC [), and the invisible ones that reorder or break a line: U+200E, U+200F,
 * U+2028 to U+202E, U+2066 to U+2069, U+FEFF (CVE-2021-42574 shows what the directional ones do).
 */
#ifndef VMAT_ESCAPE_H
#define VMAT_ESCAPE_H

#include <vmatlas/base.h>

/*
 * Decodes one character of valid UTF-8 (no overlong form, no surrogate, at most U+10FFFF) of at most
 * `size` bytes. Returns its length, or 0 when the bytes are not valid.
 */
unsigned vmat_utf8_decode(const char *text, size_t size, uint32_t *ret);

/* Must this character not reach a reader as it is? */
bool vmat_character_is_harmful(uint32_t character);

/* How many of the first `size` bytes are printable ASCII other than `\` and `"`. */
size_t vmat_plain_length(const char *text, size_t size);

enum vmat_escape_flag {
	VMAT_ESCAPE_UTF8 = 1,   /* valid UTF-8 stays */
	VMAT_ESCAPE_BLANKS = 2, /* blanks become \x20 */
	VMAT_ESCAPE_SHELL = 4,  /* " $ ` and \ become \xNN, as in lsblk -P */
	VMAT_ESCAPE_LINES = 8,  /* line feeds stay */
};

/*
 * Writes the text with each harmful byte as \xNN; a `\` that stands before an x becomes \x5c, so that
 * the result can be told from a name that holds these very characters. `to` has room for 4 * size
 * bytes; no NUL is added. Returns the length; *width (may be NULL) is what it takes on a terminal.
 */
size_t vmat_escape(char *to, const char *text, size_t size, uint32_t flags, size_t *width);

/*
 * How many bytes of an escaped text take at most `width` places on a terminal; *ret_width is what they
 * take.
 */
size_t vmat_escaped_prefix(const char *text, size_t size, size_t width, size_t *ret_width);

#endif
