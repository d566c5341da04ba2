/* SPDX-License-Identifier: MIT */
/*
 * text.h: the few pieces that hand-written parsers of /proc share. Each stops at `end`, never beyond.
 */
#ifndef VMAT_TEXT_H
#define VMAT_TEXT_H

#include <stdint.h>

/*
 * Reads digits from c on. Returns the first character that is none; *ret is 0 when there was no digit.
 * A number too large for the type wraps: callers compare ranges, the text is the kernel's.
 */
static inline const char *vmat_text_decimal(const char *c, const char *end, uint64_t *ret)
{
	uint64_t number = 0;

	for (; c < end && *c >= '0' && *c <= '9'; c++)
		number = number * 10 + (uint64_t)(*c - '0');
	*ret = number;
	return c;
}

/* The value of each hexadecimal digit; 0xff for all other bytes. */
extern const unsigned char vmat_text_hex_values[256];

static inline const char *vmat_text_hex(const char *c, const char *end, uint64_t *ret)
{
	uint64_t number = 0;

	/* By table: digits and letters come at random, and a branch between them is foretold wrongly. */
	for (; c < end; c++) {
		unsigned value = vmat_text_hex_values[(unsigned char)*c];

		if (value > 15)
			break;
		number = number << 4 | value;
	}
	*ret = number;
	return c;
}

#endif
