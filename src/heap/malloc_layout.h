/* SPDX-License-Identifier: MIT */
/*
 * malloc_layout.h: where things stand in the structures of glibc's malloc, by generation.
 *
 * From the sources of glibc 2.26 to 2.43 (malloc/malloc.c, malloc/arena.c), for words of 8 bytes, and of 4 as
 * in i386. Which generation a process has is found out by trying: the invariants of one fit, those of the
 * others do not. No version string is looked at.
 *
 * With words of 4 bytes malloc aligns blocks to 16 all the same, twice the size of a chunk's header: chunks begin
 * 8 bytes behind a multiple of 16, and the smallest has 16 bytes, not twice its header.
 */
#ifndef VMAT_MALLOC_LAYOUT_H
#define VMAT_MALLOC_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	VMAT_MALLOC_BINS = 127,
	VMAT_CHUNK_PREV_INUSE = 1,
	VMAT_CHUNK_IS_MMAPPED = 2,
	VMAT_CHUNK_NON_MAIN = 4,
	VMAT_CHUNK_FLAGS = 7,
	VMAT_CHUNK_ALIGN = 16,
};

/* Bytes of prev_size and size, before each block. */
static inline unsigned vmat_chunk_header(unsigned word_size)
{
	return 2 * word_size;
}

/* The smallest chunk: a header and two links, aligned. */
static inline unsigned vmat_chunk_min(unsigned word_size)
{
	return 4 * word_size;
}

/* The first address from addr on where a chunk may begin. */
static inline uint64_t vmat_chunk_align(uint64_t addr, unsigned word_size)
{
	unsigned header = vmat_chunk_header(word_size);

	return ((addr + header + VMAT_CHUNK_ALIGN - 1) & ~(uint64_t)(VMAT_CHUNK_ALIGN - 1)) -
	       header;
}

/* struct malloc_state. All offsets follow from that of the bins, but for the fastbins. */
struct vmat_malloc_layout {
	const char *generation;
	unsigned word_size;
	unsigned bins;     /* offset of bins[0].fd: that of bin 1 */
	unsigned fastbins; /* offset of fastbinsY[0]; 0: this generation has none */
	unsigned fastbins_count;
	unsigned top;
	unsigned next;
	unsigned system_mem;
	unsigned size; /* sizeof */
};

extern const struct vmat_malloc_layout vmat_malloc_layouts[];
extern const size_t vmat_malloc_layouts_count;

/* Bin `i`, from 0, of the arena at addr, seen as the chunk that its links stand in. */
static inline uint64_t vmat_malloc_bin(const struct vmat_malloc_layout *layout, uint64_t addr,
				       unsigned i)
{
	return addr + layout->bins + 2ULL * layout->word_size * i -
	       vmat_chunk_header(layout->word_size);
}

/* struct tcache_perthread_struct, by the size of the chunk that holds it. */
struct vmat_tcache_layout {
	unsigned word_size;
	unsigned chunk_size;
	unsigned bins;
	unsigned count_size;    /* bytes of one counter */
	bool counts_free_slots; /* 2.42: the counter is what is left of tcache_count */
	unsigned entries;       /* offset of the first list */
};

/* NULL when no generation has a tcache of this chunk size. */
const struct vmat_tcache_layout *vmat_tcache_layout_of(uint64_t chunk_size, unsigned word_size);

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

/*
 * Is the header at `addr` with the words {prev_size, size} that of a block with a mapping of its own? Sets where the
 * mapping begins and ends. An aligned block begins late in its mapping, and prev_size says how late. Pure.
 */
bool vmat_malloc_mapped_header(const uint64_t words[2], unsigned word_size, uint64_t addr,
			       uint64_t *start, uint64_t *end);

/* HEAP_MAX_SIZE without huge page tuning. */
static inline uint64_t vmat_malloc_heap_max(unsigned word_size)
{
	return word_size == 4 ? 1ULL << 20 : 64ULL << 20;
}

#endif
