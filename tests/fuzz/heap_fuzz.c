/* SPDX-License-Identifier: MIT */
/*
 * glibc's malloc structures in a hostile memory: the walk ends, and what it reports makes sense.
 *
 * A small heap as glibc 2.36 leaves it is built first: libc's data with main_arena and mp_ at 0x10000, the brk
 * heap at 0x20000 with chunks of some sizes, free ones on a bin, a tcache and a fastbin. The input is a list of
 * changes to it, 11 bytes each: an offset (three bytes) and eight bytes to put there.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "heap/heap_priv.h"
#include "target/target_ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	DATA = 0x10000,
	HEAP = 0x20000,
	END = 0x30000,
	ARENA = DATA + 0x100,
	MP = DATA + 0xb00,
	BINS = 112,
};

static uint8_t memory[END - DATA];

static void put(uint64_t addr, uint64_t word)
{
	memcpy(memory + (addr - DATA), &word, sizeof(word));
}

static ssize_t read_memory(struct vmat_target *target, uint64_t addr, void *buffer, size_t size)
{
	(void)target;
	if (addr < DATA || addr >= END)
		return 0;
	if (size > END - addr)
		size = (size_t)(END - addr);
	memcpy(buffer, memory + (addr - DATA), size);
	return (ssize_t)size;
}

static int scan_memory(struct vmat_target *target, uint64_t *addr, uint64_t end, uint32_t want,
		       struct vmat_page_run *runs, size_t count, uint32_t *known)
{
	(void)target;
	(void)count;
	runs[0] = (struct vmat_page_run){ *addr, end, VMAT_PAGE_PRESENT };
	*known = want;
	*addr = end;
	return 1;
}

/* One chunk in use for every size; each third is free and on the unsorted bin. */
static void build(void)
{
	uint64_t chunk = HEAP, last_free = ARENA + BINS - 16, size = 0x290;

	memset(memory, 0, sizeof(memory));
	for (unsigned i = 0; i < VMAT_MALLOC_BINS; i++) {
		put(ARENA + BINS + 16ULL * i, ARENA + BINS + 16ULL * i - 16);
		put(ARENA + BINS + 16ULL * i + 8, ARENA + BINS + 16ULL * i - 16);
	}
	put(ARENA + BINS + 2048, ARENA);      /* next */
	put(ARENA + BINS + 2072, END - HEAP); /* system_mem */
	for (int i = 0; i < 60; i++, size = 0x20 + 16ULL * (unsigned)(i * 7 % 40)) {
		bool is_free = i % 3 == 2, was_free = i % 3 == 0 && i;

		put(chunk + 8, size | (was_free ? 0 : VMAT_CHUNK_PREV_INUSE));
		if (is_free) {
			put(chunk + size, size);
			put(chunk + 16, ARENA + BINS - 16);
			put(chunk + 24, last_free);
			put(last_free + 16, chunk);
			put(ARENA + BINS + 8, chunk);
			last_free = chunk;
		}
		chunk += size;
	}
	put(chunk + 8, (END - chunk) | VMAT_CHUNK_PREV_INUSE);
	put(ARENA + BINS - 16, chunk); /* top */
	put(MP, 131072);
	put(MP + 16, 131072);
	put(MP + 96, HEAP);
	put(MP + 104, 64);
	put(MP + 120, 7);
}

static void check(const struct vmat_heap *heap)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < heap->priv->segments_count; i++) {
		const struct vmat_heap_segment *segment = &heap->priv->segments[i];
		uint64_t next;

		if (segment->start < DATA || segment->end > END || segment->end < segment->start)
			abort();
		for (uint64_t addr = segment->start; addr < segment->end; addr = next) {
			next = vmat_heap_next(segment, addr);
			if (next <= addr || next > segment->end)
				abort();
			sum += next - addr;
		}
	}
	for (size_t i = 0; i < VMAT_CHUNK_STATES; i++)
		sum -= heap->totals.bytes[i];
	if (sum)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmat_region regions[] = {
		{ .start = DATA,
		  .end = HEAP,
		  .prot = VMAT_PROT_READ | VMAT_PROT_WRITE,
		  .backing = VMAT_BACKING_FILE,
		  .name = "/lib/libc.so.6" },
		{ .start = HEAP,
		  .end = END,
		  .prot = VMAT_PROT_READ | VMAT_PROT_WRITE,
		  .backing = VMAT_BACKING_ANON,
		  .name = "[heap]" },
	};
	struct vmat_map map = { .regions = regions, .count = 2, .base_page_size = 4096 };
	const struct vmat_target_ops ops = { .scan = scan_memory, .read = read_memory };
	struct vmat_target target = { .ops = &ops };
	struct vmat_heap *heap;

	build();
	for (; size >= 11; data += 11, size -= 11) {
		size_t at = (data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16) %
			    (sizeof(memory) - 8);

		memcpy(memory + at, data + 3, 8);
	}
	heap = vmat_heap_walk_memory(&vmat_ptmalloc_ops, &target, &map);
	if (heap && heap->is_walked)
		check(heap);
	vmat_heap_free(heap);
	return 0;
}
