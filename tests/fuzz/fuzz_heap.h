/* SPDX-License-Identifier: MIT */
/*
 * fuzz_heap.h: a small hostile memory with a heap in it, for the fuzz targets of walks.
 *
 * The target defines FUZZ_START and FUZZ_SIZE, builds a sound heap with fuzz_put, and calls fuzz_walk: the input is a
 * list of changes, 11 bytes each: an offset (three bytes) and eight bytes to put there. Without changes the heap must be
 * walked without a finding; with any, the walk must end, and what it reports make sense.
 */
#ifndef VMAT_FUZZ_HEAP_H
#define VMAT_FUZZ_HEAP_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "heap/heap_priv.h"
#include "target/target_ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t fuzz_memory[FUZZ_SIZE];

static void fuzz_put(uint64_t addr, uint64_t word)
{
	memcpy(fuzz_memory + (addr - FUZZ_START), &word, sizeof(word));
}

static ssize_t fuzz_read(struct vmat_target *target, uint64_t addr, void *buffer, size_t size)
{
	(void)target;
	if (addr < FUZZ_START || addr >= FUZZ_START + FUZZ_SIZE)
		return 0;
	if (size > FUZZ_START + FUZZ_SIZE - addr)
		size = (size_t)(FUZZ_START + FUZZ_SIZE - addr);
	memcpy(buffer, fuzz_memory + (addr - FUZZ_START), size);
	return (ssize_t)size;
}

static int fuzz_scan(struct vmat_target *target, uint64_t *addr, uint64_t end, uint32_t want,
		     struct vmat_page_run *runs, size_t count, uint32_t *known)
{
	(void)target;
	(void)count;
	runs[0] = (struct vmat_page_run){ *addr, end, VMAT_PAGE_PRESENT };
	*known = want;
	*addr = end;
	return 1;
}

/* Segments lie in regions, one behind the other; chunks fill them; sums are those of the chunks. */
static void fuzz_check(const struct vmat_heap *heap, const struct vmat_map *map)
{
	uint64_t sum = 0, previous = 0;

	for (size_t i = 0; i < heap->priv->segments_count; i++) {
		const struct vmat_heap_segment *segment = &heap->priv->segments[i];
		uint64_t next;

		if (!vmat_map_at(map, segment->start) || !vmat_map_at(map, segment->end - 1) ||
		    segment->end < segment->start || segment->start < previous)
			abort();
		previous = segment->end;
		for (uint64_t addr = segment->start; addr < segment->end; addr = next) {
			struct vmat_chunk chunk;

			next = vmat_heap_next(segment, addr);
			if (next <= addr || next > segment->end)
				abort();
			sum += next - addr;
			vmat_heap_chunk(heap, segment, addr, &chunk);
			if (vmat_heap_find(heap, addr, &chunk) && chunk.addr != addr)
				abort();
		}
	}
	for (size_t i = 0; i < VMAT_CHUNK_STATES; i++)
		sum -= heap->totals.bytes[i];
	if (sum)
		abort();
}

static void fuzz_walk(const struct vmat_heap_ops *ops, struct vmat_region *regions, size_t count,
		      const uint8_t *data, size_t size)
{
	struct vmat_map map = { .regions = regions, .count = count, .base_page_size = 4096 };
	const struct vmat_target_ops target_ops = { .scan = fuzz_scan, .read = fuzz_read };
	struct vmat_target target = { .ops = &target_ops };
	bool is_sound = size < 11;
	struct vmat_heap *heap;

	for (; size >= 11; data += 11, size -= 11) {
		size_t at =
			(data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16) % (FUZZ_SIZE - 8);

		memcpy(fuzz_memory + at, data + 3, 8);
	}
	heap = vmat_heap_walk_memory(ops, &target, &map);
	if (heap && is_sound && (!heap->is_walked || heap->findings_total))
		abort();
	if (heap && heap->is_walked)
		fuzz_check(heap, &map);
	vmat_heap_free(heap);
}

#endif
