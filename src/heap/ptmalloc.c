/* SPDX-License-Identifier: MIT */
/*
 * ptmalloc.c: glibc's malloc as one of the allocators that are walked (heap_priv.h).
 */
#include "heap/heap_priv.h"

static int walk(struct vmat_heap *heap)
{
	int err = vmat_ptmalloc_walk(heap);

	if (!err)
		vmat_ptmalloc_lists(heap);
	return err;
}

/* The main arenas' own structures, in libc's data: their bins and tops point at chunks. */
static bool next_own(const struct vmat_heap *heap, uint64_t at, uint64_t end, uint64_t *own_start,
		     uint64_t *own_end)
{
	const struct vmat_heap_priv *priv = heap->priv;
	bool is_found = false;

	for (size_t i = 0; i < priv->copies_count; i++) {
		uint64_t start = priv->copies[i].main_arena;

		if (start + priv->layout->size <= at || start >= end ||
		    (is_found && start > *own_start))
			continue;
		*own_start = start;
		*own_end = start + priv->layout->size;
		is_found = true;
	}
	return is_found;
}

#define OPS(word)                                                                               \
	{                                                                                       \
		.name = "glibc malloc",                                                         \
		.not_found =                                                                    \
			"glibc's malloc was not found in the data of libc: it was never used, " \
			"or its layout is not known",                                           \
		.word_size = (word), .header = 2 * (word), .overlap = (word), .shift = 4,       \
		.states = (1U << VMAT_CHUNK_STATES) - 1, .has_trim = true,                      \
		.find = vmat_ptmalloc_find, .walk = walk, .next_own = next_own,                 \
	}

const struct vmat_heap_ops vmat_ptmalloc_ops = OPS(8);
const struct vmat_heap_ops vmat_ptmalloc32_ops = OPS(4);
