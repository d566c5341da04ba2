/* SPDX-License-Identifier: MIT */
/*
 * sink.h: bytes on their way to a FILE, gathered in pieces of 64 KiB.
 *
 * Writers reserve room, write into it by hand and commit; stdio is called once per piece. The first
 * error is kept and everything after it is dropped, so that callers look at it once, at the end.
 */
#ifndef VMAT_SINK_H
#define VMAT_SINK_H

#include <stdio.h>
#include <string.h>

#include <vmatlas/base.h>

#define VMAT_SINK_SIZE 65536

struct vmat_sink {
	FILE *file;
	int error; /* 0 or a negative errno */
	size_t used;
	char data[VMAT_SINK_SIZE];
};

void vmat_sink_init(struct vmat_sink *sink, FILE *file);
/* Hands what is gathered to the FILE. */
void vmat_sink_flush(struct vmat_sink *sink);
/* vmat_sink_flush and fflush; the first error. */
int vmat_sink_finish(struct vmat_sink *sink);
/* The same for a FILE that somebody else wrote to. */
int vmat_file_finish(FILE *file);
void vmat_sink_add(struct vmat_sink *sink, const char *data, size_t size);
void vmat_sink_repeat(struct vmat_sink *sink, char byte, size_t count);

/* Room for `size` bytes, at most VMAT_SINK_SIZE; vmat_sink_commit says how many became used. */
static inline char *vmat_sink_room(struct vmat_sink *sink, size_t size)
{
	if (VMAT_SINK_SIZE - sink->used < size)
		vmat_sink_flush(sink);
	return sink->data + sink->used;
}

static inline void vmat_sink_commit(struct vmat_sink *sink, size_t size)
{
	sink->used += size;
}

static inline void vmat_sink_byte(struct vmat_sink *sink, char byte)
{
	*vmat_sink_room(sink, 1) = byte;
	sink->used++;
}

static inline void vmat_sink_text(struct vmat_sink *sink, const char *text)
{
	vmat_sink_add(sink, text, strlen(text));
}

#endif
