/* SPDX-License-Identifier: MIT */
/* What a gdb server sends: however it is cut into pieces, the same packets come out of it, and none is too long. */
#include <stdlib.h>
#include <string.h>

#include "target/gdb_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What came out, as a sum; the same for equal events with equal texts in equal places. */
static uint64_t run(const char *bytes, size_t size, size_t piece)
{
	struct vmat_gdb_parser *parser = calloc(1, sizeof(*parser));
	uint64_t sum = 1469598103934665603U;

	if (!parser)
		abort();
	for (size_t at = 0; at < size;) {
		size_t room = size - at < piece ? size - at : piece, used = 0;
		enum vmat_gdb_event event = vmat_gdb_parse(parser, bytes + at, room, &used);

		if (!used || used > room || parser->size > VMAT_GDB_PACKET_MAX)
			abort();
		at += used;
		if (event == VMAT_GDB_MORE)
			continue;
		sum = (sum ^ (at << 4 | event)) * 1099511628211U;
		if (event == VMAT_GDB_PACKET) {
			unsigned char memory[VMAT_GDB_PACKET_MAX / 2];
			ssize_t got =
				vmat_gdb_bytes(parser->text, parser->size, memory, sizeof(memory));

			if (parser->text[parser->size] ||
			    (got >= 0 && 2 * (size_t)got != parser->size))
				abort();
			vmat_gdb_feature_number(parser->text, "PacketSize");
			vmat_gdb_feature_has(parser->text, "QStartNoAckMode");
			for (size_t i = 0; i < parser->size; i++)
				sum = (sum ^ (unsigned char)parser->text[i]) * 1099511628211U;
		}
	}
	free(parser);
	return sum;
}

/* What we frame ourselves comes out as it was. */
static void frame(const char *bytes, size_t size)
{
	static const char special[] = "$#}*%";
	struct vmat_gdb_parser *parser = calloc(1, sizeof(*parser));
	char text[120] = "", framed[128];
	size_t used, length = 0;

	if (!parser)
		abort();
	for (size_t i = 0; i < size && length < sizeof(text) - 1; i++)
		if (bytes[i] && !strchr(special, bytes[i]))
			text[length++] = bytes[i];
	length = vmat_gdb_frame(framed, sizeof(framed), text);
	if (!length || vmat_gdb_frame(framed, length, text) ||
	    !vmat_gdb_frame(framed, length + 1, text) ||
	    vmat_gdb_parse(parser, framed, length, &used) != VMAT_GDB_PACKET || used != length ||
	    strcmp(parser->text, text) != 0)
		abort();
	free(parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *bytes = (const char *)data;
	uint64_t whole = run(bytes, size, size);

	if (run(bytes, size, 1) != whole || run(bytes, size, 7) != whole)
		abort();
	frame(bytes, size);
	return 0;
}
