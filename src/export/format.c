/* SPDX-License-Identifier: MIT */
#include "export/format.h"

#include <string.h>

#include <vmatlas/export.h>

size_t vmat_format_number(char *to, uint64_t number)
{
	char digits[VMAT_FORMAT_MAX];
	size_t length = 0;

	do {
		digits[length++] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	for (size_t i = 0; i < length; i++)
		to[i] = digits[length - 1 - i];
	return length;
}

size_t vmat_format_addr(char *to, uint64_t addr)
{
	static const char hex[] = "0123456789abcdef";
	unsigned digits = addr ? (67U - (unsigned)__builtin_clzll(addr)) / 4 : 1;

	to[0] = '0';
	to[1] = 'x';
	for (unsigned i = 0; i < digits; i++)
		to[2 + i] = hex[addr >> 4 * (digits - 1 - i) & 15];
	return 2 + digits;
}

size_t vmat_format_bytes(char *to, uint64_t bytes)
{
	static const char units[] = "BKMGTPE";
	unsigned unit = 0;
	uint64_t whole = bytes, tenths = 0;
	size_t length;

	while (whole >= 1024 && unit + 1 < sizeof(units) - 1) {
		whole >>= 10;
		unit++;
	}
	if (unit) {
		/* the remainder in tenths of the unit, rounded: it has at most 60 bits, so * 10 fits */
		uint64_t one = UINT64_C(1) << 10 * unit;

		tenths = ((bytes & (one - 1)) * 10 + one / 2) / one;
		whole += tenths / 10;
		tenths %= 10;
		if (whole == 1024 && unit + 1 < sizeof(units) - 1) {
			whole = 1;
			unit++;
		}
	}
	length = vmat_format_number(to, whole);
	if (tenths) {
		to[length++] = '.';
		to[length++] = (char)('0' + tenths);
	}
	if (bytes)
		to[length++] = units[unit];
	return length;
}

size_t vmat_text_bytes(char *ret, size_t size, uint64_t bytes)
{
	char text[VMAT_FORMAT_MAX] = "-";
	size_t length = vmat_is_known(bytes) ? vmat_format_bytes(text, bytes) : 1;

	if (size) {
		size_t fits = length < size ? length : size - 1;

		memcpy(ret, text, fits);
		ret[fits] = '\0';
	}
	return length;
}
