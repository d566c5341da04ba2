/* SPDX-License-Identifier: MIT */
#include "heap/malloc_layout.h"

enum { PAGE_SIZE = 4096 };

/* Behind the 254 words of the bins: binmap (16 bytes), next, next_free, attached_threads, system_mem, max. */
#define LAYOUT(name, word, bins_at, fastbins_at, fastbins_count)                        \
	{                                                                               \
		name, word, bins_at, fastbins_at, fastbins_count, (bins_at)-2 * (word), \
			(bins_at) + 254 * (word) + 16, (bins_at) + 257 * (word) + 16,   \
			(bins_at) + 259 * (word) + 16                                   \
	}

const struct vmat_malloc_layout vmat_malloc_layouts[] = {
	LAYOUT("2.27 to 2.42", 8, 112, 16, 10),
	LAYOUT("2.26", 8, 104, 8, 10),
	LAYOUT("2.43", 8, 24, 0, 0),
	LAYOUT("2.27 to 2.42", 4, 64, 12, 11),
	LAYOUT("2.26", 4, 60, 8, 11),
	LAYOUT("2.43", 4, 16, 0, 0),
};

const size_t vmat_malloc_layouts_count =
	sizeof(vmat_malloc_layouts) / sizeof(vmat_malloc_layouts[0]);

static const struct vmat_tcache_layout tcache_layouts[] = {
	{ 8, 0x290, 64, 2, false, 128 }, /* 2.30 to 2.41 */
	{ 8, 0x250, 64, 1, false, 64 },  /* 2.26 to 2.29 */
	{ 8, 0x300, 76, 2, true, 152 },  /* 2.42 and 2.43 */
	{ 4, 0x190, 64, 2, false, 128 }, /* the same three */
	{ 4, 0x150, 64, 1, false, 64 },  { 4, 0x1d0, 76, 2, true, 152 },
};

const struct vmat_tcache_layout *vmat_tcache_layout_of(uint64_t chunk_size, unsigned word_size)
{
	for (size_t i = 0; i < sizeof(tcache_layouts) / sizeof(tcache_layouts[0]); i++) {
		if (tcache_layouts[i].word_size == word_size &&
		    tcache_layouts[i].chunk_size == chunk_size)
			return &tcache_layouts[i];
	}
	return NULL;
}

bool vmat_malloc_is_heap(const uint64_t words[4], unsigned word_size, uint64_t heap_max,
			 uint64_t base, uint64_t end, uint64_t *arena, uint64_t *size)
{
	uint64_t mask = heap_max - 1, offset = words[0] & mask;

	/* The arena lies right behind the heap_info of its first heap. */
	if (offset < 4 * word_size || offset > 8 * word_size || offset % (2 * word_size))
		return false;
	if ((words[0] & ~mask) == base ? words[1] != 0 : words[1] == 0)
		return false;
	if (words[1] & mask || words[2] > words[3] || words[3] > heap_max)
		return false;
	if (words[2] == 0 || words[2] % PAGE_SIZE || words[3] % PAGE_SIZE || words[3] > end - base)
		return false;
	*arena = words[0];
	*size = words[3];
	return true;
}

uint64_t vmat_malloc_mapped_size(const uint64_t *words, unsigned word_size, uint64_t room)
{
	uint64_t padding = 0, size;

	/* A header of 32 bit is half as large as malloc's alignment and stands behind as much padding. */
	if (word_size == 4 && !words[0] && !words[1] && words[2] == 2 * word_size) {
		padding = words[2];
		words += 2;
	}
	size = (words[1] & ~(uint64_t)VMAT_CHUNK_FLAGS) + padding;
	if ((words[1] & VMAT_CHUNK_FLAGS) != VMAT_CHUNK_IS_MMAPPED)
		return 0;
	if (size % PAGE_SIZE) /* glibc 2.43 leaves the header out of the size */
		size += 2 * (uint64_t)word_size;
	if (!size || size % PAGE_SIZE || size > room)
		return 0;
	/* prev_size: 0, or the offset of an aligned block; the kernel gave this memory zeroed. */
	return words[0] < size ? size : 0;
}

bool vmat_malloc_mapped_header(const uint64_t words[2], unsigned word_size, uint64_t addr,
			       uint64_t *start, uint64_t *end)
{
	uint64_t offset = words[0] & ~1ULL; /* glibc 2.43: bit 0 tells huge pages */
	uint64_t size = words[1] & ~(uint64_t)VMAT_CHUNK_FLAGS;

	if ((words[1] & VMAT_CHUNK_FLAGS) != VMAT_CHUNK_IS_MMAPPED || offset > addr)
		return false;
	if ((addr + size) % PAGE_SIZE) /* glibc 2.43 leaves the header out of the size */
		size += vmat_chunk_header(word_size);
	if (!size || (addr - offset) % PAGE_SIZE || (addr + size) % PAGE_SIZE || addr + size < addr)
		return false;
	*start = addr - offset;
	*end = addr + size;
	return true;
}
