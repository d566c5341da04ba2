/* SPDX-License-Identifier: MIT */
/*
 * mimalloc's segments in a hostile memory: the walk ends, and what it reports makes sense.
 *
 * One segment of 32 MiB as mimalloc 2.0.9 leaves it, of which the first 256 KiB are there: a page of blocks of 48 bytes with
 * blocks on all of its lists, one of 16 KiB with an aligned block, and free slices behind. Its heap is in the same memory.
 */
#define SEGMENT    0x40000000ULL
#define FUZZ_START SEGMENT
#define FUZZ_SIZE  (256 * 1024)

#include "fuzz_heap.h"

enum {
	SLICE = 64 * 1024,
	ENTRIES = 512,
	COUNTERS = 208, /* offset of `used` */
	SLICES = 264,
	PAGE = 80,
	COOKIE = 0x600d,
	THREAD = 0x7000,
	BLOCK = 48,
};

#define HEAP (SEGMENT + FUZZ_SIZE - 4096)

static void put_slice(unsigned number, uint64_t count, uint64_t block_size, uint64_t capacity,
		      uint64_t reserved, uint64_t used, bool has_aligned)
{
	uint64_t at = SEGMENT + SLICES + PAGE * (uint64_t)number;

	fuzz_put(at, count);
	fuzz_put(at + 8, 2 | capacity << 16 | reserved << 32 | (has_aligned ? 2ULL << 48 : 0));
	fuzz_put(at + 24, used | block_size << 32);
	fuzz_put(at + 48, block_size ? HEAP : 0);
}

/* A list of blocks of the small page, with these numbers, from the field at `offset` of its header. */
static void put_list(unsigned offset, const unsigned *numbers, size_t count, unsigned flags)
{
	uint64_t start = SEGMENT + SLICE + 384, place = SEGMENT + SLICES + PAGE + offset;

	for (size_t i = 0; i < count; i++) {
		fuzz_put(place, (start + BLOCK * (uint64_t)numbers[i]) | flags);
		place = start + BLOCK * (uint64_t)numbers[i];
		flags = 0;
	}
}

static void build(void)
{
	memset(fuzz_memory, 0, sizeof(fuzz_memory));
	fuzz_put(SEGMENT + COUNTERS, 2); /* used */
	fuzz_put(SEGMENT + COUNTERS + 8, SEGMENT ^ COOKIE);
	fuzz_put(SEGMENT + COUNTERS + 16, ENTRIES);
	fuzz_put(SEGMENT + COUNTERS + 24, 1); /* segment_info_slices */
	fuzz_put(SEGMENT + COUNTERS + 40, ENTRIES);
	fuzz_put(SEGMENT + COUNTERS + 48, THREAD);
	put_slice(0, 1, 0, 0, 0, 0, false);
	put_slice(1, 1, BLOCK, 20, (SLICE - 384) / BLOCK, 15, false);
	put_slice(2, 1, 16384, 2, 4, 2, true);
	put_slice(3, ENTRIES - 3, 0, 0, 0, 0, false);
	put_list(16, (const unsigned[]){ 3, 1, 7 }, 3, 0);
	put_list(32, (const unsigned[]){ 12, 0 }, 2, 0);
	put_list(40, (const unsigned[]){ 5, 9 }, 2, 1);
	fuzz_put(HEAP + 8, SEGMENT + SLICE + 384 + BLOCK * 19); /* thread_delayed_free */
	fuzz_put(HEAP + 16, THREAD);
	fuzz_put(HEAP + 32, COOKIE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmat_region region = {
		.start = SEGMENT,
		.end = SEGMENT + (5ULL << 30), /* so large that it is searched by its pages */
		.prot = VMAT_PROT_READ | VMAT_PROT_WRITE,
		.backing = VMAT_BACKING_ANON,
		.name = "",
	};

	build();
	fuzz_walk(&vmat_mimalloc_ops, &region, 1, data, size);
	return 0;
}
