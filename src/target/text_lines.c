/* SPDX-License-Identifier: MIT */
#include "target/text_lines.h"

#include <string.h>

#include "base/cleanup.h"

enum { ROOM = 16384, CUT = 4096 };

int vmat_text_lines(struct vmat_target *target, const char *name, vmat_text_line_fn *fn,
		    void *context)
{
	vmat_autoclose int fd = vmat_source_open_text(target, name);
	char text[ROOM];
	size_t used = 0;
	bool is_cut = false;

	if (fd < 0)
		return fd;
	for (;;) {
		ssize_t got = vmat_source_read_text(fd, text + used, sizeof(text) - used);
		char *at = text, *end;

		if (got < 0)
			return (int)got;
		used += (size_t)got;
		while ((end = memchr(at, '\n', used - (size_t)(at - text)))) {
			/* The rest of a line that was cut is passed over. */
			if (!is_cut && !fn(at, (size_t)(end - at), context))
				return 0;
			is_cut = false;
			at = end + 1;
		}
		used -= (size_t)(at - text);
		memmove(text, at, used);
		if (got == 0)
			return 0;
		if (used < CUT)
			continue;
		if (!is_cut && !fn(text, used, context))
			return 0;
		is_cut = true;
		used = 0;
	}
}
