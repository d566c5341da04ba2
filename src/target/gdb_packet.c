/* SPDX-License-Identifier: MIT */
/* Packets of the GDB remote serial protocol: see gdb_packet.h. */
#include "target/gdb_packet.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* '*' and a character say how often the one before is repeated: 29 less than its code. */
enum { REPEAT_BIAS = 29, REPEAT_LEAST = 32, REPEAT_MOST = 126, ESCAPE_BIT = 0x20 };

static void begin(struct vmat_gdb_parser *parser, bool is_notice)
{
	parser->state = VMAT_GDB_IN_PACKET;
	parser->is_notice = is_notice;
	parser->is_too_long = false;
	parser->sum = 0;
	parser->size = 0;
}

/* False: the packet has just become too long. */
static bool put(struct vmat_gdb_parser *parser, char c, unsigned count)
{
	if (parser->is_too_long)
		return true;
	if (count > VMAT_GDB_PACKET_MAX - parser->size) {
		parser->is_too_long = true;
		return false;
	}
	memset(parser->text + parser->size, c, count);
	parser->size += count;
	return true;
}

static enum vmat_gdb_event between(struct vmat_gdb_parser *parser, char c)
{
	if (c == '$' || c == '%') {
		begin(parser, c == '%');
		return VMAT_GDB_MORE;
	}
	if (c == '+')
		return VMAT_GDB_ACK;
	return c == '-' ? VMAT_GDB_NAK : VMAT_GDB_NOISE;
}

static enum vmat_gdb_event in_packet(struct vmat_gdb_parser *parser, char c)
{
	bool fits = true;

	if (c == '$') {
		/* None can lie in a packet: the end of the one before was lost. */
		begin(parser, false);
		return VMAT_GDB_MORE;
	}
	if (c == '#') {
		parser->state = VMAT_GDB_IN_SUM_1;
		return VMAT_GDB_MORE;
	}
	parser->sum = (unsigned char)(parser->sum + (unsigned char)c);
	if (parser->state == VMAT_GDB_IN_ESCAPE) {
		fits = put(parser, (char)(c ^ ESCAPE_BIT), 1);
	} else if (parser->state == VMAT_GDB_IN_REPEAT) {
		if (parser->size && c >= REPEAT_LEAST && c <= REPEAT_MOST)
			fits = put(parser, parser->text[parser->size - 1],
				   (unsigned)(c - REPEAT_BIAS));
	} else if (c == '}') {
		parser->state = VMAT_GDB_IN_ESCAPE;
		return VMAT_GDB_MORE;
	} else if (c == '*') {
		parser->state = VMAT_GDB_IN_REPEAT;
		return VMAT_GDB_MORE;
	} else {
		fits = put(parser, c, 1);
	}
	parser->state = VMAT_GDB_IN_PACKET;
	return fits ? VMAT_GDB_MORE : VMAT_GDB_TOO_LONG;
}

static enum vmat_gdb_event in_sum(struct vmat_gdb_parser *parser, char c)
{
	unsigned digit = vmat_text_hex_values[(unsigned char)c];
	bool is_right;

	if (parser->state == VMAT_GDB_IN_SUM_1 && digit < 16) {
		parser->wanted = (unsigned char)(digit << 4);
		parser->state = VMAT_GDB_IN_SUM_2;
		return VMAT_GDB_MORE;
	}
	is_right = digit < 16 && parser->sum == (unsigned char)(parser->wanted | digit);
	parser->state = VMAT_GDB_BETWEEN;
	if (parser->is_too_long)
		return VMAT_GDB_MORE;
	if (parser->is_notice)
		return VMAT_GDB_NOTICE;
	parser->text[parser->size] = '\0';
	return is_right ? VMAT_GDB_PACKET : VMAT_GDB_BAD_SUM;
}

enum vmat_gdb_event vmat_gdb_parse(struct vmat_gdb_parser *parser, const char *bytes, size_t size,
				   size_t *used)
{
	for (size_t i = 0; i < size; i++) {
		enum vmat_gdb_event event;

		if (parser->state == VMAT_GDB_BETWEEN)
			event = between(parser, bytes[i]);
		else if (parser->state < VMAT_GDB_IN_SUM_1)
			event = in_packet(parser, bytes[i]);
		else
			event = in_sum(parser, bytes[i]);
		if (event != VMAT_GDB_MORE) {
			*used = i + 1;
			return event;
		}
	}
	*used = size;
	return VMAT_GDB_MORE;
}

size_t vmat_gdb_frame(char *ret, size_t room, const char *text)
{
	unsigned char sum = 0;
	int size;

	for (const char *c = text; *c; c++)
		sum = (unsigned char)(sum + (unsigned char)*c);
	size = snprintf(ret, room, "$%s#%02x", text, sum);
	return size > 0 && (size_t)size < room ? (size_t)size : 0;
}

ssize_t vmat_gdb_bytes(const char *text, size_t size, void *ret, size_t room)
{
	unsigned char *bytes = ret;

	if (size % 2 || size / 2 > room)
		return -EPROTO;
	for (size_t i = 0; i < size; i += 2) {
		unsigned high = vmat_text_hex_values[(unsigned char)text[i]];
		unsigned low = vmat_text_hex_values[(unsigned char)text[i + 1]];

		if (high > 15 || low > 15)
			return -EPROTO;
		bytes[i / 2] = (unsigned char)(high << 4 | low);
	}
	return (ssize_t)(size / 2);
}

/* What follows `name` where it begins an entry of the list, or NULL. */
static const char *entry(const char *list, const char *name)
{
	size_t length = strlen(name);

	for (const char *c = list; c; c = strchr(c, ';')) {
		c += *c == ';';
		if (strncmp(c, name, length) == 0)
			return c + length;
	}
	return NULL;
}

uint64_t vmat_gdb_feature_number(const char *list, const char *name)
{
	const char *value = entry(list, name);
	uint64_t number = 0;

	if (value && *value == '=')
		vmat_text_hex(value + 1, value + strlen(value), &number);
	return number;
}

bool vmat_gdb_feature_has(const char *list, const char *name)
{
	const char *value = entry(list, name);

	return value && *value == '+';
}
