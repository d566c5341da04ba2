/* SPDX-License-Identifier: MIT */
#include "base/malloc_sizes.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)

static uint64_t round_up(uint64_t size, uint64_t unit)
{
	return (size + unit - 1) / unit * unit;
}

uint64_t vmat_glibc_chunk(uint64_t size)
{
	uint64_t chunk = round_up(size + 8, 16);

	return chunk < 32 ? 32 : chunk;
}

uint64_t vmat_glibc_mapped(uint64_t chunk, uint64_t page_size)
{
	/* sysmalloc_mmap(): there is no next chunk whose prev_size could be used. */
	return round_up(chunk + 8, page_size) - 16;
}

/* Steps of a quarter of the power of two below the size. */
static uint64_t quarter_steps(uint64_t size)
{
	unsigned log2 = 63U - (unsigned)__builtin_clzll(size - 1);

	return round_up(size, (uint64_t)1 << (log2 - 2));
}

uint64_t vmat_jemalloc_usable(uint64_t size)
{
	if (size <= 8)
		return 8;
	return size <= 64 ? round_up(size, 16) : quarter_steps(size);
}

uint64_t vmat_mimalloc_usable(uint64_t size)
{
	if (size <= 128 * KIB)
		return vmat_jemalloc_usable(size);
	/* Whole slices of a segment; above, what _mi_os_good_alloc_size() makes of it, in medium pages. */
	if (size <= 512 * KIB)
		return round_up(size, 64 * KIB);
	if (size < 8 * MIB)
		return round_up(size, 512 * KIB);
	return round_up(size, size < 32 * MIB ? MIB : 4 * MIB);
}
