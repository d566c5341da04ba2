/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void vmat_buffer_deinit(struct vmat_buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct vmat_buffer){ 0 };
}

int vmat_buffer_reserve(struct vmat_buffer *buffer, size_t more)
{
	size_t capacity = buffer->capacity ? buffer->capacity : 256;
	char *data;

	if (more > SIZE_MAX / 4 || buffer->size > SIZE_MAX / 4)
		return -ENOMEM;
	while (capacity <= buffer->size + more)
		capacity *= 2;
	if (capacity == buffer->capacity)
		return 0;
	data = realloc(buffer->data, capacity);
	if (!data)
		return -ENOMEM;
	data[buffer->size] = '\0';
	buffer->data = data;
	buffer->capacity = capacity;
	return 0;
}

int vmat_buffer_add(struct vmat_buffer *buffer, const void *data, size_t size)
{
	int err = vmat_buffer_reserve(buffer, size);

	if (err)
		return err;
	if (size)
		memcpy(buffer->data + buffer->size, data, size);
	buffer->size += size;
	buffer->data[buffer->size] = '\0';
	return 0;
}

int vmat_buffer_printf(struct vmat_buffer *buffer, const char *format, ...)
{
	va_list args, again;
	int err = 0, size;

	va_start(args, format);
	va_copy(again, args);
	size = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (size < 0)
		err = -EINVAL;
	if (!err)
		err = vmat_buffer_reserve(buffer, (size_t)size);
	if (!err) {
		vsnprintf(buffer->data + buffer->size, (size_t)size + 1, format, again);
		buffer->size += (size_t)size;
	}
	va_end(again);
	return err;
}
