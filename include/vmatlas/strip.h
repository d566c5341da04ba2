/* SPDX-License-Identifier: MIT */
/*
 * strip.h: the heap as strips of cells, to be drawn: where it is in use, and where it is free.
 *
 * The nouns:
 *   strip  a segment of an arena (heap.h), from its first chunk to its last
 *   cell   an equal number of bytes of it, beginning at a multiple of that number
 */
#ifndef VMATLAS_STRIP_H
#define VMATLAS_STRIP_H

#include <vmatlas/heap.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of a cell by what they are. The four sum up to the part of the cell that belongs to the strip. */
struct vmat_heap_cell {
	uint64_t start;  /* a multiple of cell_bytes, or the beginning of the strip */
	uint64_t in_use; /* chunks in use, with their headers */
	uint64_t cached; /* free chunks in fastbins and the caches of threads */
	uint64_t free;   /* free chunks on bins */
	uint64_t top;    /* the free end of the arena */
	uint64_t absent; /* in pages that are neither in memory nor in swap; may be unknown */
};

struct vmat_heap_strip {
	uint64_t start;
	uint64_t end;
	size_t arena; /* index in heap->arenas */
	size_t cells; /* index of its first cell */
	size_t cells_count;
};

struct vmat_heap_strips {
	uint64_t cell_bytes;
	struct vmat_heap_strip *strips;
	size_t count;
	struct vmat_heap_cell *cells; /* of all strips, one behind the other */
	size_t cells_count;
	uint64_t mapped_count,
		mapped_bytes; /* blocks with a mapping of their own: they are no strips */
};

enum { VMAT_HEAP_CELLS_MAX = 1 << 20 };

/*
 * Draws a heap that was walked. `cell_bytes` is at least 64; 0: so many that the largest strip has at most
 * `cells_most` cells, a power of two.
 * Errors: -ENOMEM; -E2BIG more than VMAT_HEAP_CELLS_MAX cells.
 * Cost: one pass over the chunks, and one page scan; the target is not stopped.
 */
int vmat_heap_strips_read(struct vmat_heap_strips **ret, const struct vmat_heap *heap,
			  uint64_t cell_bytes, uint64_t cells_most, struct vmat_error *err);
struct vmat_heap_strips *vmat_heap_strips_free(struct vmat_heap_strips *strips);

#ifdef __cplusplus
}
#endif
#endif
