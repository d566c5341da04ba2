/* SPDX-License-Identifier: MIT */
/*
 * malloc_layout.h: where things stand in the structures of glibc's malloc, by generation.
 *
 * From the sources of glibc 2.26 to 2.43 (malloc/malloc.c, malloc/arena.c), for words of 8 bytes. Which
 * generation a process has is found out by trying: the invariants of one fit, those of the others do
 * not. No version string is looked at.
 */
#ifndef VMAT_MALLOC_LAYOUT_H
#define VMAT_MALLOC_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	VMAT_MALLOC_BINS = 127,
	VMAT_MALLOC_FASTBINS = 10,
	VMAT_CHUNK_PREV_INUSE = 1,
	VMAT_CHUNK_IS_MMAPPED = 2,
	VMAT_CHUNK_NON_MAIN = 4,
	VMAT_CHUNK_FLAGS = 7,
	VMAT_CHUNK_HEADER = 16, /* prev_size and size */
	VMAT_CHUNK_MIN = 32,
	VMAT_CHUNK_ALIGN = 16,
};

/* struct malloc_state. All offsets follow from that of the bins, but for the fastbins. */
struct vmat_malloc_layout {
	const char *generation;
	unsigned bins;     /* offset of bins[0].fd: that of bin 1 */
	unsigned fastbins; /* offset of fastbinsY[0]; 0: this generation has none */
	unsigned top;
	unsigned next;
	unsigned system_mem;
	unsigned size; /* sizeof */
};

extern const struct vmat_malloc_layout vmat_malloc_layouts[];
extern const size_t vmat_malloc_layouts_count;

/* struct tcache_perthread_struct, by the size of the chunk that holds it. */
struct vmat_tcache_layout {
	unsigned chunk_size;
	unsigned bins;
	unsigned count_size;    /* bytes of one counter */
	bool counts_free_slots; /* 2.42: the counter is what is left of tcache_count */
	unsigned entries;       /* offset of the first list */
};

/* NULL when no generation has a tcache of this chunk size. */
const struct vmat_tcache_layout *vmat_tcache_layout_of(uint64_t chunk_size);

/*
 * Does a heap of a thread arena begin at `base`? Its words are heap_info's {ar_ptr, prev, size,
 * mprotect_size}; `end` is where its region ends. Sets *arena and how much of it has rights. Pure.
 */
bool vmat_malloc_is_heap(const uint64_t words[4], unsigned word_size, uint64_t heap_max,
			 uint64_t base, uint64_t end, uint64_t *arena, uint64_t *size);

/*
 * The bytes of the mapping of a block whose first words these are: {prev_size, size}, of 32 bit four words, since
 * padding may stand before. 0 if they are no such header. Pure.
 */
uint64_t vmat_malloc_mapped_size(const uint64_t *words, unsigned word_size, uint64_t room);

/* HEAP_MAX_SIZE without huge page tuning. */
static inline uint64_t vmat_malloc_heap_max(unsigned word_size)
{
	return word_size == 4 ? 1ULL << 20 : 64ULL << 20;
}

#endif
