/* SPDX-License-Identifier: MIT */
#include "export/escape.h"

#include <string.h>
#include <wchar.h>

#include <vmatlas/export.h>

static const char HEX[] = "0123456789abcdef";

unsigned vmat_utf8_decode(const char *text, size_t size, uint32_t *ret)
{
	const unsigned char *byte = (const unsigned char *)text;
	static const uint32_t lowest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t character;
	unsigned length;

	if (!size)
		return 0;
	if (byte[0] < 0x80) {
		*ret = byte[0];
		return 1;
	}
	length = byte[0] >= 0xf0 ? 4 : byte[0] >= 0xe0 ? 3 : 2;
	if (byte[0] < 0xc2 || byte[0] > 0xf4 || size < length)
		return 0;
	character = byte[0] & (0x7fU >> length);
	for (unsigned i = 1; i < length; i++) {
		if ((byte[i] & 0xc0) != 0x80)
			return 0;
		character = character << 6 | (byte[i] & 0x3fU);
	}
	if (character < lowest[length] || character > 0x10ffff ||
	    (character >= 0xd800 && character <= 0xdfff))
		return 0;
	*ret = character;
	return length;
}

bool vmat_character_is_harmful(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

size_t vmat_plain_length(const char *text, size_t size)
{
	size_t i = 0;

	while (i < size && text[i] >= 0x20 && text[i] < 0x7f && text[i] != '\\' && text[i] != '"')
		i++;
	return i;
}

static size_t escape_byte(char *to, unsigned char byte)
{
	to[0] = '\\';
	to[1] = 'x';
	to[2] = HEX[byte >> 4];
	to[3] = HEX[byte & 15];
	return 4;
}

/* Does this ASCII byte, which has `rest` bytes behind it, have to be escaped? */
static bool ascii_is_escaped(const char *text, size_t rest, uint32_t flags)
{
	switch (*text) {
	case '\n':
		return !(flags & VMAT_ESCAPE_LINES);
	case ' ':
		return flags & VMAT_ESCAPE_BLANKS;
	case '"':
	case '$':
	case '`':
		return flags & VMAT_ESCAPE_SHELL;
	case '\\':
		return (flags & VMAT_ESCAPE_SHELL) || (rest && text[1] == 'x');
	default:
		return vmat_character_is_harmful((unsigned char)*text);
	}
}

static size_t character_width(uint32_t character)
{
	int columns = character < 0x7f ? 1 : wcwidth((wchar_t)character);

	return columns < 0 ? 1 : (size_t)columns;
}

/* One character of more than one byte, or one byte that belongs to none. Returns what it took. */
static size_t escape_long(char **to, const char *text, size_t size, uint32_t flags, size_t *width)
{
	uint32_t character = 0;
	unsigned length = vmat_utf8_decode(text, size, &character);

	if (!length || !(flags & VMAT_ESCAPE_UTF8) || vmat_character_is_harmful(character)) {
		length = length ? length : 1;
		for (unsigned i = 0; i < length; i++)
			*to += escape_byte(*to, (unsigned char)text[i]);
		*width += 4 * (size_t)length;
		return length;
	}
	memcpy(*to, text, length);
	*to += length;
	*width += character_width(character);
	return length;
}

size_t vmat_escape(char *to, const char *text, size_t size, uint32_t flags, size_t *width)
{
	char *begin = to;
	size_t columns = 0;

	for (size_t i = 0; i < size;) {
		if (text[i] & '\x80') {
			i += escape_long(&to, text + i, size - i, flags, &columns);
		} else if (ascii_is_escaped(text + i, size - i - 1, flags)) {
			to += escape_byte(to, (unsigned char)text[i++]);
			columns += 4;
		} else {
			*to++ = text[i++];
			columns++;
		}
	}
	if (width)
		*width = columns;
	return (size_t)(to - begin);
}

size_t vmat_escaped_prefix(const char *text, size_t size, size_t width, size_t *ret_width)
{
	size_t used = 0, taken = 0;

	while (taken < size) {
		uint32_t character = 0;
		unsigned length = vmat_utf8_decode(text + taken, size - taken, &character);
		size_t columns = length ? character_width(character) : 1;

		if (used + columns > width)
			break;
		used += columns;
		taken += length ? length : 1;
	}
	*ret_width = used;
	return taken;
}

size_t vmat_text_escape(char *ret, size_t size, const char *text, bool is_utf8, bool keeps_lines)
{
	uint32_t flags = (is_utf8 ? VMAT_ESCAPE_UTF8 : 0) | (keeps_lines ? VMAT_ESCAPE_LINES : 0);
	size_t total = 0, length = strlen(text);
	char piece[16];

	for (size_t i = 0; i < length;) {
		uint32_t character;
		unsigned step = vmat_utf8_decode(text + i, length - i, &character);
		size_t got;

		/* a `\` is looked at together with what follows it */
		got = vmat_escape(piece, text + i, step ? step : 1, flags, NULL);
		if (text[i] == '\\' && text[i + 1] == 'x')
			got = escape_byte(piece, '\\');
		for (size_t k = 0; k < got && size && total + got < size; k++)
			ret[total + k] = piece[k];
		if (size && total + got < size)
			ret[total + got] = '\0';
		total += got;
		i += step ? step : 1;
	}
	if (!length && size)
		ret[0] = '\0';
	return total;
}
