/* SPDX-License-Identifier: MIT */
/*
 * buffer.h: a growing byte buffer, an arena for strings, and a pool of interned strings.
 *
 * Each is owned by its caller, initialised to zeroes and deinitialised by its own function. The
 * arena hands out memory that lives as long as the arena does: models keep their strings there.
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

/* Memory that is freed all at once. */
struct vmat_arena {
	struct vmat_arena_chunk *last;
};

void vmat_arena_deinit(struct vmat_arena *arena);
/* Aligned to 8 bytes, zeroed. NULL when there is no memory. */
void *vmat_arena_alloc(struct vmat_arena *arena, size_t size);
/* A copy of `size` bytes with a NUL behind them. */
char *vmat_arena_string(struct vmat_arena *arena, const char *text, size_t size);
char *vmat_arena_printf(struct vmat_arena *arena, const char *format, ...) VMAT_PRINTF(2, 3);

/* Equal strings share one copy, so that a million owners cost as much as their distinct names. */
struct vmat_strings {
	struct vmat_arena arena;
	const char **slots;
	size_t slots_count; /* a power of two, or 0 */
	size_t count;
};

void vmat_strings_deinit(struct vmat_strings *strings);
/* Lifetime: that of `strings`. NULL when there is no memory. */
const char *vmat_strings_intern(struct vmat_strings *strings, const char *text, size_t size);
const char *vmat_strings_printf(struct vmat_strings *strings, const char *format, ...)
	VMAT_PRINTF(2, 3);

#endif
