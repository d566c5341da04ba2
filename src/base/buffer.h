/* SPDX-License-Identifier: MIT */
/*
 * buffer.h: a growing byte buffer, owned by its caller and initialised to zeroes.
 */
#ifndef VMAT_BUFFER_H
#define VMAT_BUFFER_H

#include <vmatlas/base.h>

/* A byte buffer. `data` always ends in a NUL that `size` does not count, once something was added. */
struct vmat_buffer {
	char *data;
	size_t size;
	size_t capacity;
};

void vmat_buffer_deinit(struct vmat_buffer *buffer);
/* Makes room for `more` further bytes and the NUL. -ENOMEM, contents kept. */
int vmat_buffer_reserve(struct vmat_buffer *buffer, size_t more);
int vmat_buffer_add(struct vmat_buffer *buffer, const void *data, size_t size);
int vmat_buffer_printf(struct vmat_buffer *buffer, const char *format, ...) VMAT_PRINTF(2, 3);

#endif
