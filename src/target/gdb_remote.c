/* SPDX-License-Identifier: MIT */
/*
 * gdb_remote.c: a client of the GDB remote serial protocol that reads memory and nothing else: see gdb_remote.h.
 *
 * The server is not trusted: each answer has a time, a size and a number of tries, and the whole has a time as well. Facts: the
 * gdb manual, appendix E; what QEMU 7.2 does, measured by tests/live/rtos_gdb.py.
 */
#include "target/gdb_remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "sys/sys_child.h"
#include "sys/sys_event.h"
#include "sys/sys_file.h"
#include "sys/sys_ptrace.h"
#include "sys/sys_signal.h"
#include "sys/sys_socket.h"
#include "target/gdb_packet.h"

enum {
	CONNECT_MS = 5000,
	ANSWER_MS = 3000,
	GOODBYE_MS = 1000, /* after a failure: it may not answer at all */
	HOLD_MS = 30000,
	TRIES = 3,            /* of a packet whose checksum was wrong */
	NOISE_MAX = 64 << 10, /* what may come beside an answer */
	PIECE_LEAST = 16,
	PIECE_USUAL = 128, /* where the server does not say what it bears: gdb's own size is 400 */
	PIECE_MOST = (VMAT_GDB_PACKET_MAX - 8) / 2,
};

/* What the keeper is told, a byte each. The end of the channel: we are gone. */
enum keeper_word {
	LEAVE_HALTED = 'h', /* it stood before us */
	IS_OPENOCD = 'o',   /* it must be told to resume */
	RELEASE = 'r',      /* let it go, say how that went, and end */
	HURRY = 'q',        /* the same; the server may not answer at all */
};

/* How it went; both know it. */
enum outcome {
	RUNS = 'o',
	REFUSED = 'e',
	SILENT = 's',
};

struct vmat_gdb {
	char place[300];
	int socket;
	int channel; /* to the keeper */
	int keeper_channel;
	int keeper_pidfd;
	pid_t keeper;
	bool is_quiet;    /* without acknowledgements */
	bool has_stopped; /* the server said of itself that the machine stopped, when we came */
	bool was_halted;
	bool is_openocd;
	bool is_broken; /* the connection is of no use any more */
	size_t piece;
	uint64_t begun_ns;
	struct vmat_gdb_parser parser;
	size_t received_size, received_used;
	char received[4096];
};

static bool split_place(const char *place, char *host, size_t host_room, char *port,
			size_t port_room)
{
	const char *colon = strrchr(place, ':');
	size_t length;
	uint64_t number;

	if (!colon)
		return false;
	length = (size_t)(colon - place);
	if (length >= 2 && place[0] == '[' && place[length - 1] == ']') {
		place++;
		length -= 2;
	}
	if (length >= host_room || strlen(colon + 1) >= port_room)
		return false;
	memcpy(host, place, length);
	host[length] = '\0';
	if (!length)
		snprintf(host, host_room, "localhost");
	memcpy(port, colon + 1, strlen(colon + 1) + 1);
	return *port && !*vmat_text_decimal(port, port + strlen(port), &number) && number &&
	       number <= 65535;
}

int vmat_gdb_check_place(const char *place, struct vmat_error *err)
{
	char host[256], port[8];

	if (split_place(place, host, sizeof(host), port, sizeof(port)))
		return 0;
	return vmat_error_set(err, -EINVAL,
			      "'%.100s' is no place of a gdb server: give HOST:PORT, as in "
			      "localhost:3333",
			      place);
}

static int closed(struct vmat_gdb *gdb, struct vmat_error *err)
{
	gdb->is_broken = true;
	return vmat_error_set(err, -ESRCH, "the gdb server at %s closed the connection",
			      gdb->place);
}

static int lied(struct vmat_gdb *gdb, struct vmat_error *err, const char *how)
{
	gdb->is_broken = true;
	return vmat_error_set(err, -EPROTO, "the gdb server at %s breaks the protocol: %s",
			      gdb->place, how);
}

/* What a call to the network said. */
static int network(struct vmat_gdb *gdb, int code, struct vmat_error *err)
{
	gdb->is_broken = true;
	if (code == -ETIMEDOUT)
		return vmat_error_set(err, code,
				      "the gdb server at %s does not answer: nothing came for %d s",
				      gdb->place, ANSWER_MS / 1000);
	if (code == -EPIPE || code == -ECONNRESET || code == 0)
		return closed(gdb, err);
	return vmat_error_set(err, code, "the connection to the gdb server at %s failed: %s",
			      gdb->place, strerrordesc_np(-code));
}

static int send_text(struct vmat_gdb *gdb, const char *text, size_t size, struct vmat_error *err)
{
	int code = vmat_sys_socket_send(gdb->socket, text, size, ANSWER_MS);

	return code ? network(gdb, code, err) : 0;
}

/* The next event, within the time: what vmat_gdb_parse says, or an error. */
static int next_event(struct vmat_gdb *gdb, uint64_t end_ns, size_t *noise, struct vmat_error *err)
{
	for (;;) {
		enum vmat_gdb_event event;
		uint64_t now_ns;
		size_t used;
		ssize_t got;

		event = vmat_gdb_parse(&gdb->parser, gdb->received + gdb->received_used,
				       gdb->received_size - gdb->received_used, &used);
		gdb->received_used += used;
		if (event != VMAT_GDB_MORE)
			return (int)event;
		if (*noise > NOISE_MAX)
			return lied(gdb, err, "it sends without end, and no answer");
		now_ns = vmat_sys_now_ns();
		if (now_ns >= end_ns)
			return network(gdb, -ETIMEDOUT, err);
		got = vmat_sys_socket_receive(gdb->socket, gdb->received, sizeof(gdb->received),
					      (int)((end_ns - now_ns) / 1000000) + 1);
		if (got <= 0)
			return network(gdb, (int)got, err);
		*noise += (size_t)got;
		gdb->received_size = (size_t)got;
		gdb->received_used = 0;
	}
}

static void take_output(struct vmat_gdb *gdb)
{
	static const char name[] = "Open On-Chip Debugger";
	char text[256];
	ssize_t size =
		vmat_gdb_bytes(gdb->parser.text + 1, gdb->parser.size - 1, text, sizeof(text));

	if (size > 0 && memmem(text, (size_t)size, name, sizeof(name) - 1))
		gdb->is_openocd = true;
}

/* What comes by itself and answers nothing: that the machine has stopped, or what it prints. */
static bool is_answer(struct vmat_gdb *gdb, const char *request)
{
	const char *text = gdb->parser.text;

	if ((text[0] == 'T' || text[0] == 'S') && request[0] != '?') {
		gdb->has_stopped = true;
		return false;
	}
	if (text[0] != 'O' || strcmp(text, "OK") == 0)
		return true;
	take_output(gdb);
	return false;
}

/* Sends a request; its answer is then in gdb->parser. 0 or an error. */
static int ask(struct vmat_gdb *gdb, const char *request, int answer_ms, struct vmat_error *err)
{
	uint64_t end_ns = vmat_sys_now_ns() + (uint64_t)answer_ms * 1000000;
	unsigned sent = 1, refused = 0;
	size_t noise = 0;
	char frame[128];
	size_t size = vmat_gdb_frame(frame, sizeof(frame), request);
	int code = send_text(gdb, frame, size, err);

	while (!code) {
		int event = next_event(gdb, end_ns, &noise, err);

		if (event < 0)
			return event;
		if (event == VMAT_GDB_PACKET) {
			if (!gdb->is_quiet)
				code = send_text(gdb, "+", 1, err);
			if (code || is_answer(gdb, request))
				return code;
		} else if (event == VMAT_GDB_BAD_SUM) {
			if (refused++ == TRIES)
				return lied(gdb, err, "its checksums are wrong");
			code = send_text(gdb, "-", 1, err);
		} else if (event == VMAT_GDB_NAK) {
			if (sent++ == TRIES)
				return lied(gdb, err, "it refuses our checksums, which are right");
			code = send_text(gdb, frame, size, err);
		} else if (event == VMAT_GDB_TOO_LONG) {
			return lied(gdb, err, "an answer is longer than what was asked for");
		}
	}
	return code;
}

/*
 * OpenOCD halts a machine when somebody comes (gdb-attach) and leaves it halted when he goes, unless its configuration says what
 * gdb-detach is to do (OpenOCD 0.12, startup.tcl). So it must be told. It is told to detach even if that fails.
 */
static bool resume(struct vmat_gdb *gdb, int answer_ms)
{
	/* if {[[target current] curstate] eq {halted}} resume */
	static const char command[] = "qRcmd,"
				      "6966207b5b5b7461726765742063757272656e745d2063757273"
				      "746174655d206571207b68616c7465647d7d20726573756d65";

	return !gdb->is_openocd ||
	       (!ask(gdb, command, answer_ms, NULL) && gdb->parser.text[0] != 'E');
}

/*
 * Says the word that lets the machine go: once. QEMU 7.2 takes any further byte, a second detach too, for a wish to halt it
 * again (gdbstub.c: gdb_read_byte). That is why only the keeper says it, if there is one.
 */
static enum outcome let_go(struct vmat_gdb *gdb, int answer_ms)
{
	static const char detach[] = "+$D#44"; /* + is for what may be unanswered */
	const char *text = gdb->parser.text;
	unsigned sent = 0;
	bool is_resumed = resume(gdb, answer_ms);
	uint64_t end_ns = vmat_sys_now_ns() + (uint64_t)answer_ms * 1000000;
	size_t noise = 0;
	int event = VMAT_GDB_NAK;

	for (;;) {
		if (event == VMAT_GDB_NAK && sent++ == TRIES)
			return SILENT;
		if (event == VMAT_GDB_NAK &&
		    vmat_sys_socket_send(gdb->socket, detach, sizeof(detach) - 1, answer_ms))
			return RUNS;
		event = next_event(gdb, end_ns, &noise, NULL);
		/* Some close the connection instead. */
		if (event == -ESRCH)
			return RUNS;
		if (event < 0)
			return SILENT;
		/* Before it may come what was asked for by one who was killed. */
		if (event == VMAT_GDB_PACKET && strcmp(text, "OK") == 0)
			return is_resumed ? RUNS : REFUSED;
		if (event == VMAT_GDB_PACKET && text[0] == 'E' && gdb->parser.size == 3)
			return REFUSED;
	}
}

/* The child: waits for the word, or until we are gone, and then lets the machine go, unless it stood before. */
_Noreturn static void keep(struct vmat_gdb *gdb)
{
	const int descriptors[] = { gdb->socket, gdb->keeper_channel };
	bool is_left = false;
	char word = 0, outcome;

	vmat_sys_child_keep(descriptors, 2);
	while (vmat_sys_read(gdb->keeper_channel, &word, 1) == 1 &&
	       (word == LEAVE_HALTED || word == IS_OPENOCD)) {
		is_left |= word == LEAVE_HALTED;
		gdb->is_openocd |= word == IS_OPENOCD;
	}
	outcome = is_left ? RUNS : (char)let_go(gdb, word == HURRY ? GOODBYE_MS : ANSWER_MS);
	vmat_sys_socket_send(gdb->keeper_channel, &outcome, 1, ANSWER_MS);
	vmat_sys_child_exit(0);
}

static void tell_keeper(struct vmat_gdb *gdb, enum keeper_word word)
{
	char byte = (char)word;

	/* It cannot have ended but by SIGKILL; then there is nobody to tell. */
	if (gdb->keeper > 0)
		vmat_sys_socket_send(gdb->channel, &byte, 1, ANSWER_MS);
}

static enum outcome end_keeper(struct vmat_gdb *gdb)
{
	char outcome = RUNS;

	if (gdb->keeper > 0) {
		tell_keeper(gdb, gdb->is_broken ? HURRY : RELEASE);
		if (vmat_sys_socket_receive(gdb->channel, &outcome, 1, 2 * ANSWER_MS) != 1)
			outcome = (char)(gdb->was_halted ? RUNS : let_go(gdb, ANSWER_MS));
		vmat_sys_child_end(gdb->keeper);
	}
	vmat_sys_close(gdb->keeper_pidfd);
	vmat_sys_close(gdb->channel);
	gdb->keeper = 0;
	gdb->keeper_pidfd = gdb->channel = -1;
	return (enum outcome)outcome;
}

/*
 * Before the socket is connected: the machine halts when the kernel has made the connection, and we can be killed before we
 * know of it.
 */
static int begin_keeper(void *context, int fd)
{
	struct vmat_gdb *gdb = context;
	sigset_t mask;
	int ends[2], code = vmat_sys_socket_pair(ends);
	pid_t keeper;

	if (code)
		return code;
	end_keeper(gdb);
	gdb->socket = fd;
	gdb->channel = ends[0];
	gdb->keeper_channel = ends[1];
	/* It keeps the mask: Ctrl-C is for us alone. */
	vmat_sys_signals_block(&mask);
	keeper = vmat_sys_child_begin(&gdb->keeper_pidfd);
	if (keeper == 0)
		keep(gdb);
	vmat_sys_signals_set(&mask);
	vmat_sys_close(gdb->keeper_channel);
	gdb->keeper_channel = -1;
	gdb->socket = -1;
	if (keeper > 0)
		gdb->keeper = keeper;
	return keeper > 0 ? 0 : keeper;
}

/* Is it QEMU, and did the machine stand already? Is it OpenOCD, which answers "monitor version" by its name? */
static int ask_who(struct vmat_gdb *gdb, struct vmat_error *err)
{
	int code = ask(gdb, "qqemu.sstepbits", ANSWER_MS, err);

	if (code)
		return code;
	/* QEMU says of itself that the machine has stopped for us; if it does not, the machine stood. */
	if (strncmp(gdb->parser.text, "ENABLE=", 7) == 0) {
		if (!gdb->has_stopped) {
			gdb->was_halted = true;
			tell_keeper(gdb, LEAVE_HALTED);
		}
		return 0;
	}
	code = ask(gdb, "qRcmd,76657273696f6e", ANSWER_MS, err);
	if (!code && gdb->is_openocd)
		tell_keeper(gdb, IS_OPENOCD);
	return code;
}

/* What the server can, and whether the machine stood already. */
static int greet(struct vmat_gdb *gdb, struct vmat_error *err)
{
	uint64_t packet;
	bool can_be_quiet;
	int code = ask(gdb, "qSupported", ANSWER_MS, err);

	if (code)
		return code;
	packet = vmat_gdb_feature_number(gdb->parser.text, "PacketSize");
	can_be_quiet = vmat_gdb_feature_has(gdb->parser.text, "QStartNoAckMode");
	gdb->piece = PIECE_USUAL;
	if (packet)
		gdb->piece = packet / 2 > PIECE_LEAST + 4 ? (size_t)packet / 2 - 4 : PIECE_LEAST;
	if (gdb->piece > PIECE_MOST)
		gdb->piece = PIECE_MOST;
	if (can_be_quiet) {
		code = ask(gdb, "QStartNoAckMode", ANSWER_MS, err);
		if (code)
			return code;
		gdb->is_quiet = strcmp(gdb->parser.text, "OK") == 0;
	}
	code = ask_who(gdb, err);
	if (!code)
		code = ask(gdb, "?", ANSWER_MS, err);
	if (!code && (gdb->parser.text[0] == 'W' || gdb->parser.text[0] == 'X'))
		return vmat_error_set(err, -ESRCH, "the gdb server at %s has no program any more",
				      gdb->place);
	return code;
}

static int connect_to(struct vmat_gdb *gdb, struct vmat_error *err)
{
	char host[256], port[8];
	int code = vmat_gdb_check_place(gdb->place, err);

	if (code)
		return code;
	split_place(gdb->place, host, sizeof(host), port, sizeof(port));
	code = vmat_sys_socket_connect(host, port, CONNECT_MS, begin_keeper, gdb);
	gdb->begun_ns = vmat_sys_now_ns();
	if (code >= 0) {
		gdb->socket = code;
		return 0;
	}
	if (code == -ENXIO)
		return vmat_error_set(err, -ESRCH, "there is no host %.200s", host);
	if (code == -ETIMEDOUT)
		return vmat_error_set(err, code, "%s cannot be reached within %d s", gdb->place,
				      CONNECT_MS / 1000);
	if (code == -ECONNREFUSED)
		return vmat_error_set(
			err, -ESRCH,
			"no gdb server listens at %s: the connection was refused. Start it "
			"first, as with qemu-system-arm -gdb tcp:HOST:PORT",
			gdb->place);
	return vmat_error_set(err, -ESRCH, "%s cannot be reached: %s", gdb->place,
			      strerrordesc_np(-code));
}

int vmat_gdb_open(struct vmat_gdb **ret, const char *place, struct vmat_error *err)
{
	struct vmat_gdb *gdb = calloc(1, sizeof(*gdb));
	uint64_t halted_ns;
	int code;

	if (!gdb)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	gdb->socket = gdb->channel = gdb->keeper_channel = gdb->keeper_pidfd = -1;
	snprintf(gdb->place, sizeof(gdb->place), "%s", place);
	code = connect_to(gdb, err);
	if (!code)
		code = greet(gdb, err);
	if (!code)
		*ret = gdb;
	else
		vmat_gdb_close(gdb, &halted_ns, NULL);
	return code;
}

bool vmat_gdb_was_halted(const struct vmat_gdb *gdb)
{
	return gdb->was_halted;
}

/* One piece: bytes, 0 where the server refuses, or an error. */
static ssize_t read_piece(struct vmat_gdb *gdb, uint64_t addr, void *buffer, size_t size,
			  struct vmat_error *err)
{
	char request[48];
	ssize_t got;
	int code;

	if (vmat_sys_now_ns() - gdb->begun_ns >= (uint64_t)HOLD_MS * 1000000) {
		return vmat_error_set(err, -ETIMEDOUT,
				      "the gdb server at %s is too slow: the machine has stood for "
				      "%d s",
				      gdb->place, HOLD_MS / 1000);
	}
	snprintf(request, sizeof(request), "m%llx,%zx", (unsigned long long)addr, size);
	code = ask(gdb, request, ANSWER_MS, err);
	if (code)
		return code;
	if (gdb->parser.text[0] == 'E' && gdb->parser.size == 3)
		return 0;
	got = vmat_gdb_bytes(gdb->parser.text, gdb->parser.size, buffer, size);
	if (got <= 0)
		return lied(gdb, err,
			    "an answer with memory is not hexadecimal, empty, or too long");
	return got;
}

ssize_t vmat_gdb_read(struct vmat_gdb *gdb, uint64_t addr, void *buffer, size_t size,
		      struct vmat_error *err)
{
	size_t done = 0, piece = gdb->piece;

	while (done < size) {
		ssize_t got;

		piece = piece < size - done ? piece : size - done;
		got = read_piece(gdb, addr + done, (char *)buffer + done, piece, err);
		if (got < 0)
			return got;
		done += (size_t)got;
		/* Refused is a piece whose end cannot be read, too. */
		if (!got && piece == 1)
			break;
		if (!got)
			piece /= 2;
	}
	return (ssize_t)done;
}

int vmat_gdb_close(struct vmat_gdb *gdb, uint64_t *halted_ns, struct vmat_error *err)
{
	enum outcome outcome = end_keeper(gdb);
	int code = 0;

	*halted_ns = vmat_sys_now_ns() - gdb->begun_ns;
	if (outcome == REFUSED)
		code = vmat_error_set(
			err, -EPROTO,
			"the gdb server at %s does not let the machine go: it may stand",
			gdb->place);
	else if (outcome == SILENT)
		code = vmat_error_set(
			err, -ETIMEDOUT,
			"the gdb server at %s does not answer when the machine is to go "
			"on: it may stand",
			gdb->place);
	vmat_sys_close(gdb->socket);
	free(gdb);
	return code;
}
