/* SPDX-License-Identifier: MIT */
#include "export/sink.h"

/* Bytes gathered on their way to a FILE: see sink.h. */
#include <errno.h>

void vmat_sink_init(struct vmat_sink *sink, FILE *file)
{
	sink->file = file;
	sink->error = 0;
	sink->used = 0;
}

void vmat_sink_flush(struct vmat_sink *sink)
{
	size_t used = sink->used;

	sink->used = 0;
	if (sink->error || !used)
		return;
	errno = 0;
	if (fwrite(sink->data, 1, used, sink->file) != used)
		sink->error = errno ? -errno : -EIO;
}

int vmat_file_finish(FILE *file)
{
	bool had_error = ferror(file);

	errno = 0;
	if (fflush(file))
		return errno ? -errno : -EIO;
	return had_error ? -EIO : 0;
}

int vmat_sink_finish(struct vmat_sink *sink)
{
	vmat_sink_flush(sink);
	if (!sink->error)
		sink->error = vmat_file_finish(sink->file);
	return sink->error;
}

void vmat_sink_add(struct vmat_sink *sink, const char *data, size_t size)
{
	while (size) {
		size_t piece = size < VMAT_SINK_SIZE ? size : VMAT_SINK_SIZE;

		memcpy(vmat_sink_room(sink, piece), data, piece);
		sink->used += piece;
		data += piece;
		size -= piece;
	}
}

void vmat_sink_repeat(struct vmat_sink *sink, char byte, size_t count)
{
	while (count) {
		size_t piece = count < 4096 ? count : 4096;

		memset(vmat_sink_room(sink, piece), byte, piece);
		sink->used += piece;
		count -= piece;
	}
}
