/* SPDX-License-Identifier: MIT */
/*
 * gdb_packet.h: the packets of the GDB remote serial protocol: framing, checksums, escapes, repeats, hexadecimal.
 *
 * Pure: bytes in, events out; it knows no connection and no time. Whatever the bytes are, it neither fails nor
 * allocates. Facts: "Appendix E: GDB Remote Serial Protocol" of the gdb manual.
 */
#ifndef VMAT_GDB_PACKET_H
#define VMAT_GDB_PACKET_H

#include <sys/types.h>

#include <vmatlas/base.h>

enum vmat_gdb_event {
	VMAT_GDB_MORE,     /* all bytes are used up */
	VMAT_GDB_ACK,      /* '+' */
	VMAT_GDB_NAK,      /* '-' */
	VMAT_GDB_PACKET,   /* a whole one, its checksum is right: text and size */
	VMAT_GDB_NOTICE,   /* a notification: its text is of no interest here */
	VMAT_GDB_BAD_SUM,  /* a whole packet with a wrong checksum */
	VMAT_GDB_TOO_LONG, /* a packet that does not fit: the rest of it follows, without an event */
	VMAT_GDB_NOISE,    /* bytes between packets that mean nothing */
};

enum vmat_gdb_state {
	VMAT_GDB_BETWEEN,
	VMAT_GDB_IN_PACKET,
	VMAT_GDB_IN_ESCAPE,
	VMAT_GDB_IN_REPEAT,
	VMAT_GDB_IN_SUM_1,
	VMAT_GDB_IN_SUM_2,
};

/* The longest packet that is taken: replies are at most twice the size of the largest read, and two. */
#define VMAT_GDB_PACKET_MAX 4096

/* Begins as zeroes. */
struct vmat_gdb_parser {
	enum vmat_gdb_state state;
	bool is_notice;
	bool is_too_long;
	unsigned char sum;
	unsigned char wanted; /* the checksum that came, as far as it came */
	size_t size;
	char text[VMAT_GDB_PACKET_MAX + 1]; /* ends in a NUL when a packet is whole */
};

/* Goes on until the next event; *used says how many bytes were taken. Packet: valid until the next call. */
enum vmat_gdb_event vmat_gdb_parse(struct vmat_gdb_parser *parser, const char *bytes, size_t size,
				   size_t *used);

/* Writes "$text#sum" without a NUL: its size, or 0 when there is no room. The text needs no escapes. */
size_t vmat_gdb_frame(char *ret, size_t room, const char *text);

/* Pairs of hexadecimal digits, all of the text: how many bytes, or -EPROTO when it is anything else or too long. */
ssize_t vmat_gdb_bytes(const char *text, size_t size, void *ret, size_t room);

/* The hexadecimal number of "name=..." in a list with semicolons, as qSupported answers; 0: none. Is name + ('+') in it? */
uint64_t vmat_gdb_feature_number(const char *list, const char *name);
bool vmat_gdb_feature_has(const char *list, const char *name);

#endif
