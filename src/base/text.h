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

static inline const char *vmat_text_hex(const char *c, const char *end, uint64_t *ret)
{
	uint64_t number = 0;

	for (; c < end; c++) {
		unsigned digit = (unsigned char)*c;

		if (digit - '0' < 10)
			digit -= '0';
		else if ((digit | 32) - 'a' < 6)
			digit = (digit | 32) - 'a' + 10;
		else
			break;
		number = number << 4 | digit;
	}
	*ret = number;
	return c;
}

#endif
