/* SPDX-License-Identifier: MIT */
/*
 * arena.h: memory that is freed all at once, and interned strings in such memory.
 *
 * Models keep their strings in an arena, so what they hand out lives as long as they do. Both are
 * owned by their caller and initialised to zeroes.
 */
#ifndef VMAT_ARENA_H
#define VMAT_ARENA_H

#include <vmatlas/base.h>

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
