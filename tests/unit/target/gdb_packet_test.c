/* SPDX-License-Identifier: MIT */
/* Packets as the gdb manual defines them: its own examples, and the limits. */
#include "target/gdb_packet.h"

#include <errno.h>
#include <string.h>

#include "cmocka_all.h"

static struct vmat_gdb_parser parser;

/* The first event of some bytes, which it takes all. */
static enum vmat_gdb_event first(const char *bytes)
{
	enum vmat_gdb_event event;
	size_t used;

	memset(&parser, 0, sizeof(parser));
	event = vmat_gdb_parse(&parser, bytes, strlen(bytes), &used);
	assert_int_equal(used, strlen(bytes));
	return event;
}

static void packets(void **state)
{
	(void)state;
	assert_int_equal(first("$OK#9a"), VMAT_GDB_PACKET);
	assert_string_equal(parser.text, "OK");
	assert_int_equal(first("$#00"), VMAT_GDB_PACKET);
	assert_int_equal(parser.size, 0);
	assert_int_equal(first("$OK#9A"), VMAT_GDB_PACKET);
	assert_int_equal(first("$OK#9b"), VMAT_GDB_BAD_SUM);
	assert_int_equal(first("$OK#9"), VMAT_GDB_MORE);
	/* The start of a packet within one: the rest of the first was lost. */
	assert_int_equal(first("$lost$OK#9a"), VMAT_GDB_PACKET);
	assert_string_equal(parser.text, "OK");
	assert_int_equal(first("%Stop:T05#00"), VMAT_GDB_NOTICE);
	assert_int_equal(first("+"), VMAT_GDB_ACK);
	assert_int_equal(first("-"), VMAT_GDB_NAK);
	assert_int_equal(first("x"), VMAT_GDB_NOISE);
}

static void coded(void **state)
{
	(void)state;
	/* The manual's: "0* " are four zeroes; 0x7d 0x5d is 0x7d. */
	assert_int_equal(first("$0* #7a"), VMAT_GDB_PACKET);
	assert_string_equal(parser.text, "0000");
	assert_int_equal(first("$}]#da"), VMAT_GDB_PACKET);
	assert_string_equal(parser.text, "}");
	assert_int_equal(first("$* #4a"), VMAT_GDB_PACKET);
	assert_int_equal(parser.size, 0);
}

static void too_long(void **state)
{
	size_t used, at = 0;
	char bytes[VMAT_GDB_PACKET_MAX + 16];

	(void)state;
	memset(&parser, 0, sizeof(parser));
	memset(bytes, 'a', sizeof(bytes));
	bytes[0] = '$';
	memcpy(bytes + sizeof(bytes) - 9, "#00$OK#9a", 9);
	assert_int_equal(vmat_gdb_parse(&parser, bytes, sizeof(bytes), &used), VMAT_GDB_TOO_LONG);
	assert_int_equal(used, VMAT_GDB_PACKET_MAX + 2);
	at += used;
	assert_int_equal(vmat_gdb_parse(&parser, bytes + at, sizeof(bytes) - at, &used),
			 VMAT_GDB_PACKET);
	assert_string_equal(parser.text, "OK");
}

static void framed(void **state)
{
	char frame[8];

	(void)state;
	assert_int_equal(vmat_gdb_frame(frame, sizeof(frame), "m0"), 6);
	assert_memory_equal(frame, "$m0#9d", 6);
	assert_int_equal(vmat_gdb_frame(frame, sizeof(frame), "m0,4"), 0);
}

static void bytes(void **state)
{
	unsigned char memory[4];

	(void)state;
	assert_int_equal(vmat_gdb_bytes("00fFa5", 6, memory, 4), 3);
	assert_memory_equal(memory, "\x00\xff\xa5", 3);
	assert_int_equal(vmat_gdb_bytes("00f", 3, memory, 4), -EPROTO);
	assert_int_equal(vmat_gdb_bytes("00xf", 4, memory, 4), -EPROTO);
	assert_int_equal(vmat_gdb_bytes("0011223344", 10, memory, 4), -EPROTO);
}

static void features(void **state)
{
	static const char list[] = "PacketSize=3fff;QStartNoAckMode+;multiprocess-";

	(void)state;
	assert_int_equal(vmat_gdb_feature_number(list, "PacketSize"), 0x3fff);
	assert_int_equal(vmat_gdb_feature_number(list, "Packet"), 0);
	assert_int_equal(vmat_gdb_feature_number(list, "none"), 0);
	assert_true(vmat_gdb_feature_has(list, "QStartNoAckMode"));
	assert_false(vmat_gdb_feature_has(list, "multiprocess"));
	assert_false(vmat_gdb_feature_has("", "multiprocess"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets), cmocka_unit_test(coded), cmocka_unit_test(too_long),
		cmocka_unit_test(framed),  cmocka_unit_test(bytes), cmocka_unit_test(features),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
