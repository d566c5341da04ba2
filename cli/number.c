/* SPDX-License-Identifier: MIT */
/* Addresses, ranges and sizes as people type them: see number.h. */
#include "number.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static unsigned digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'f')
		return (unsigned)(c - 'a') + 10;
	if (c >= 'A' && c <= 'F')
		return (unsigned)(c - 'A') + 10;
	return 99;
}

/* Reads digits up to `end`. NULL when there is none or they do not fit. */
static const char *read_digits(const char *text, const char *end, unsigned base, uint64_t *ret)
{
	const char *begin = text;
	uint64_t number = 0;

	for (; text < end && digit_of(*text) < base; text++)
		if (__builtin_mul_overflow(number, base, &number) ||
		    __builtin_add_overflow(number, digit_of(*text), &number))
			return NULL;
	*ret = number;
	return text > begin ? text : NULL;
}

static bool has_hex_prefix(const char *text, const char *end)
{
	return end - text > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
}

static bool parse_addr(const char *text, const char *end, uint64_t *ret)
{
	if (has_hex_prefix(text, end))
		text += 2;
	return read_digits(text, end, 16, ret) == end;
}

bool cli_parse_addr(const char *text, uint64_t *ret)
{
	return parse_addr(text, text + strlen(text), ret);
}

/* The bytes of a unit: "", "K", "kB", "MiB". 0 when it is none. */
static uint64_t unit_of(const char *text)
{
	static const char letters[] = "KMGTPE";
	const char *found;
	unsigned power;

	if (!*text || !strcmp(text, "B"))
		return 1;
	found = strchr(letters, toupper((unsigned char)*text));
	if (!found)
		return 0;
	power = (unsigned)(found - letters) + 1;
	text++;
	if (*text && strcmp(text, "B") && strcmp(text, "iB"))
		return 0;
	return UINT64_C(1) << 10 * power;
}

bool cli_parse_size(const char *text, uint64_t *ret)
{
	const char *end = text + strlen(text), *c;
	uint64_t whole, part = 0, scale = 1, unit;

	if (has_hex_prefix(text, end))
		return read_digits(text + 2, end, 16, ret) == end;
	c = read_digits(text, end, 10, &whole);
	if (!c)
		return false;
	if (*c == '.') {
		/* three digits behind the point are enough, and keep the product small */
		for (c++; digit_of(*c) < 10 && scale < 1000; c++, scale *= 10)
			part = part * 10 + digit_of(*c);
		if (scale == 1)
			return false;
	}
	unit = unit_of(c);
	if (!unit || __builtin_mul_overflow(whole, unit, &whole))
		return false;
	return !__builtin_add_overflow(whole, (unit / scale) * part + unit % scale * part / scale,
				       ret);
}

bool cli_parse_range(const char *text, uint64_t *ret_start, uint64_t *ret_end)
{
	size_t length = strcspn(text, "-+");
	uint64_t start, end;

	if (!text[length] || !parse_addr(text, text + length, &start))
		return false;
	if (text[length] == '-') {
		if (!cli_parse_addr(text + length + 1, &end))
			return false;
	} else if (!cli_parse_size(text + length + 1, &end) ||
		   __builtin_add_overflow(start, end, &end)) {
		return false;
	}
	if (end <= start)
		return false;
	*ret_start = start;
	*ret_end = end;
	return true;
}

bool cli_parse_count(const char *text, uint64_t *ret)
{
	uint64_t number;

	if (read_digits(text, text + strlen(text), 10, &number) != text + strlen(text) || !number)
		return false;
	*ret = number;
	return true;
}

/* The nanoseconds of a unit; 0 when it is none. Without one it is seconds. */
static uint64_t duration_of(const char *unit)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		{ "", 1000000000 },
		{ "s", 1000000000 },
		{ "ms", 1000000 },
		{ "m", UINT64_C(60000000000) },
		{ "min", UINT64_C(60000000000) },
		{ "h", UINT64_C(3600000000000) },
		{ "d", UINT64_C(86400000000000) },
	};

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (!strcmp(unit, units[i].name))
			return units[i].ns;
	}
	return 0;
}

bool cli_parse_duration(const char *text, uint64_t *ret_ns)
{
	const char *end = text + strlen(text), *c;
	uint64_t whole, part = 0, scale = 1, unit, ns;

	c = read_digits(text, end, 10, &whole);
	if (!c)
		return false;
	if (*c == '.') {
		const char *digits = ++c;

		for (; digit_of(*c) < 10; c++) {
			if (c - digits < 3) {
				part = part * 10 + digit_of(*c);
				scale *= 10;
			}
		}
		if (c == digits)
			return false;
	}
	unit = duration_of(c);
	if (!unit || __builtin_mul_overflow(whole, unit, &ns) ||
	    __builtin_add_overflow(ns, unit / scale * part, &ns) || !ns || ns > INT64_MAX)
		return false;
	*ret_ns = ns;
	return true;
}

bool cli_parse_percent(const char *text, double *ret)
{
	char number[32];
	size_t length = strspn(text, "0123456789.");
	uint64_t part;

	if (length > sizeof(number) - 2 || strcmp(text + length + (text[length] == '%'), "") != 0)
		return false;
	/* a size in K has 1024 steps: the same digits, perhaps with a point, mean 1024ths of a percent */
	snprintf(number, sizeof(number), "%.*sK", (int)length, text);
	if (!cli_parse_size(number, &part))
		return false;
	*ret = (double)part / 1024 / 100;
	return *ret <= 1;
}
