/* SPDX-License-Identifier: MIT */
/*
 * rtos_heap.c: the heap of FreeRTOS: which of heap_1.c to heap_5.c it is, what is free, and whether its own records agree.
 *
 * heap_1 only moves a mark. heap_2, heap_4 and heap_5 have a header before each block, the next free block and the size, and a list
 * of free blocks from xStart to xEnd or *pxEnd: by size in heap_2, by address in the others. The highest bit of a size says that
 * the block is allocated (heap_4 and heap_5; heap_2 from V10.6 on). heap_3 is the C library's. With
 * configENABLE_HEAP_PROTECTOR the pointers are XORed with xHeapCanary (V11).
 */
#include <inttypes.h>
#include <stdio.h>

#include "rtos/rtos_priv.h"

enum { BLOCKS_MAX = 1 << 20 };

void vmat_rtos_heap_scheme(struct vmat_rtos_reading *reading)
{
	struct vmat_rtos_heap *heap = &reading->rtos->heap;
	const uint64_t unknown = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);

	*heap = (struct vmat_rtos_heap){
		.addr = unknown,
		.size = unknown,
		.total = unknown,
		.free = unknown,
		.minimum_free = unknown,
		.free_blocks = unknown,
		.free_listed = unknown,
		.largest_free = unknown,
		.used_blocks = unknown,
		.used = unknown,
		.header = unknown,
		.allocations = unknown,
		.frees = unknown,
	};
	if (vmat_rtos_has(reading, RTOS_NEXT_FREE)) {
		heap->scheme = 1;
		heap->why = "xNextFreeByte";
	} else if (!vmat_rtos_has(reading, RTOS_FREE)) {
		heap->scheme = 3;
		heap->why =
			"no xFreeBytesRemaining: tasks lie in the C library's heap, or are all static";
	} else if (!vmat_rtos_has(reading, RTOS_END_POINTER)) {
		heap->scheme = 2;
		heap->why = "xFreeBytesRemaining without pxEnd";
	} else if (vmat_rtos_has(reading, RTOS_HEAP)) {
		heap->scheme = 4;
		heap->why = "pxEnd and ucHeap";
	} else {
		heap->scheme = 5;
		heap->why = "pxEnd without ucHeap";
	}
}

static uint64_t alignment_of(const struct vmat_rtos_reading *reading)
{
	uint64_t pointer = vmat_rtos_pointer_size(reading);

	/* portBYTE_ALIGNMENT is a macro: 8 in all ports of 32 bits and more but a few, the width of a word below. */
	return pointer >= 4 ? 8 : reading->rtos->word;
}

uint64_t vmat_rtos_header_size(struct vmat_rtos_reading *reading)
{
	const struct vmat_datum *block = vmat_rtos_datum(reading, RTOS_BLOCK_SIZE);
	uint64_t size = vmat_rtos_value(reading, RTOS_STRUCT_SIZE);

	if (!vmat_is_known(size))
		size = vmat_rtos_value(reading, RTOS_STRUCT_SIZE_OLD);
	if (!vmat_is_known(block->offset))
		return VMAT_UNKNOWN(VMAT_NOT_FOUND);
	/* The constant may lie in memory that nobody has. */
	if (vmat_is_known(size) && size >= block->holder_size && size <= 64)
		return size;
	return vmat_rtos_align(block->holder_size, alignment_of(reading));
}

static uint64_t size_mask(const struct vmat_rtos_reading *reading)
{
	uint64_t size = vmat_rtos_datum(reading, RTOS_BLOCK_SIZE)->size;

	return size && size < 8 ? (1ULL << (8 * size - 1)) - 1 : INT64_MAX;
}

uint64_t vmat_rtos_block_size(struct vmat_rtos_reading *reading, uint64_t addr)
{
	const struct vmat_datum *block = vmat_rtos_datum(reading, RTOS_BLOCK_SIZE);
	uint64_t size = vmat_rtos_number(reading, addr + block->offset, block->size);

	return vmat_is_known(size) ? size & size_mask(reading) : size;
}

static void broken(const struct vmat_rtos_reading *reading, uint64_t addr, const char *what)
{
	struct vmat_rtos_heap *heap = &reading->rtos->heap;

	vmat_rtos_find(reading->rtos, VMAT_RTOS_DAMAGE, addr, "the heap's list of free blocks %s",
		       what);
	heap->free_blocks = VMAT_UNKNOWN(VMAT_CHANGED);
	heap->free_listed = VMAT_UNKNOWN(VMAT_CHANGED);
	heap->largest_free = VMAT_UNKNOWN(VMAT_CHANGED);
	snprintf(heap->why_not, sizeof(heap->why_not), "the list of free blocks is damaged");
}

/* The end of a region but the last is a link of heap_5's list, without a size, until a free block before it takes it in. */
static bool is_region_end(const struct vmat_rtos_heap *heap, uint64_t size)
{
	return heap->scheme == 5 && !size;
}

/* Can a free block lie there, behind the one before it? Only ucHeap has ends that are known. */
static bool is_place(const struct vmat_rtos_heap *heap, uint64_t addr, uint64_t size)
{
	if (!vmat_is_known(size) || (size < heap->header && !is_region_end(heap, size)))
		return false;
	return !vmat_is_known(heap->addr) ||
	       (addr >= heap->addr && addr - heap->addr < heap->size &&
		size <= heap->size - (addr - heap->addr));
}

static void walk_free(struct vmat_rtos_reading *reading)
{
	const struct vmat_datum *next = vmat_rtos_datum(reading, RTOS_BLOCK_NEXT);
	struct vmat_rtos_heap *heap = &reading->rtos->heap;
	uint64_t canary = vmat_rtos_value(reading, RTOS_CANARY), end, at, before = 0;
	bool is_sorted = heap->scheme != 2;
	unsigned links = 0;

	heap->is_protected = vmat_rtos_has(reading, RTOS_CANARY);
	if (!heap->is_protected)
		canary = 0;
	heap->free_blocks = heap->free_listed = heap->largest_free = 0;
	end = heap->scheme == 2 ? vmat_rtos_addr(reading, RTOS_END_BLOCK)
				: vmat_rtos_value(reading, RTOS_END_POINTER);
	at = vmat_rtos_number(reading, vmat_rtos_addr(reading, RTOS_START) + next->offset,
			      next->size);
	if (!vmat_is_known(at) || !vmat_is_known(end) || !vmat_is_known(canary)) {
		broken(reading, vmat_rtos_addr(reading, RTOS_START), "cannot be read");
		return;
	}
	for (at ^= canary; at != end; at ^= canary) {
		uint64_t size = vmat_rtos_block_size(reading, at);

		if (links++ == BLOCKS_MAX ||
		    (vmat_is_known(heap->size) && heap->free_listed > heap->size)) {
			broken(reading, at, "runs in a circle");
			return;
		}
		if (!is_place(heap, at, size)) {
			broken(reading, at, "leads to where no free block can be");
			return;
		}
		if (is_sorted && at <= before) {
			broken(reading, at, "leads back");
			return;
		}
		heap->free_blocks += !is_region_end(heap, size);
		heap->free_listed += size;
		if (size > heap->largest_free)
			heap->largest_free = size;
		before = at;
		at = vmat_rtos_number(reading, at + next->offset, next->size);
		if (!vmat_is_known(at)) {
			broken(reading, before, "leads to where no memory can be read");
			return;
		}
	}
}

/* From a first block over all of them: true when they end where the heap does. */
static bool walk_blocks(struct vmat_rtos_reading *reading, uint64_t start, uint64_t end,
			uint64_t *blocks, uint64_t *bad)
{
	const struct vmat_rtos_heap *heap = &reading->rtos->heap;
	uint64_t at = start;

	for (*blocks = 0; at < end; (*blocks)++) {
		uint64_t size = vmat_rtos_block_size(reading, at);

		*bad = at;
		if (!vmat_is_known(size) || size < heap->header || size > end - at)
			return false;
		at += size;
	}
	*bad = at;
	return at == end;
}

/* All blocks lie one behind the other, so a damaged header breaks the chain. */
static void walk_all(struct vmat_rtos_reading *reading)
{
	struct vmat_rtos_heap *heap = &reading->rtos->heap;
	uint64_t alignment = alignment_of(reading), end, blocks, bad = heap->addr;
	uint64_t start = vmat_rtos_align(heap->addr, alignment);

	if (heap->scheme == 2) {
		/* configADJUSTED_HEAP_SIZE, from the first aligned address within the first bytes. */
		end = start + heap->size - alignment;
		if (walk_blocks(reading, start, end, &blocks, &bad))
			goto found;
		start += alignment;
		end += alignment;
	} else {
		end = vmat_rtos_value(reading, RTOS_END_POINTER);
		if (!vmat_is_known(end) || end < heap->addr || end - heap->addr > heap->size) {
			vmat_rtos_find(reading->rtos, VMAT_RTOS_DAMAGE,
				       vmat_rtos_addr(reading, RTOS_END_POINTER),
				       "pxEnd does not point into ucHeap");
			return;
		}
	}
	if (!walk_blocks(reading, start, end, &blocks, &bad)) {
		vmat_rtos_find(
			reading->rtos, VMAT_RTOS_DAMAGE, bad,
			"the header of this block of the heap is damaged: blocks must end where the heap does");
		return;
	}
found:
	heap->total = end - start;
	heap->used = heap->total - heap->free_listed;
	heap->used_blocks = blocks - heap->free_blocks;
}

static void check_free(struct vmat_rtos_reading *reading)
{
	struct vmat_rtos_heap *heap = &reading->rtos->heap;
	struct vmat_rtos *rtos = reading->rtos;
	uint64_t addr = vmat_rtos_addr(reading, RTOS_FREE);

	if (vmat_is_known(heap->free_listed) && vmat_is_known(heap->free) &&
	    heap->free != heap->free_listed)
		vmat_rtos_find(rtos, VMAT_RTOS_DAMAGE, addr,
			       "xFreeBytesRemaining says %" PRIu64
			       " bytes, the list of free blocks holds %" PRIu64,
			       heap->free, heap->free_listed);
	if (vmat_is_known(heap->size) && vmat_is_known(heap->minimum_free) &&
	    heap->minimum_free < heap->size / 10)
		vmat_rtos_find(rtos, VMAT_RTOS_WARNING, addr,
			       "the heap had only %" PRIu64 " of %" PRIu64
			       " bytes free once: less than 10 %%",
			       heap->minimum_free, heap->size);
}

static void read_mark(struct vmat_rtos_reading *reading)
{
	struct vmat_rtos_heap *heap = &reading->rtos->heap;
	uint64_t next = vmat_rtos_value(reading, RTOS_NEXT_FREE), alignment = alignment_of(reading);

	if (!vmat_is_known(next) || !vmat_is_known(heap->size) || heap->size < alignment)
		return;
	if (next > heap->size) {
		vmat_rtos_find(reading->rtos, VMAT_RTOS_DAMAGE,
			       vmat_rtos_addr(reading, RTOS_NEXT_FREE),
			       "xNextFreeByte lies behind the end of the heap");
		return;
	}
	heap->used = next;
	heap->total = heap->size - alignment;
	heap->free = next < heap->total ? heap->total - next : 0;
	heap->minimum_free = heap->largest_free = heap->free; /* nothing is ever freed */
	snprintf(heap->why_not, sizeof(heap->why_not),
		 "free space as for a portBYTE_ALIGNMENT of %" PRIu64, alignment);
}

void vmat_rtos_heap_read(struct vmat_rtos_reading *reading)
{
	struct vmat_rtos_heap *heap = &reading->rtos->heap;
	const struct vmat_datum *array = vmat_rtos_datum(reading, RTOS_HEAP);

	if (heap->scheme == 3) {
		snprintf(heap->why_not, sizeof(heap->why_not),
			 "what is free is the C library's matter");
		return;
	}
	if (vmat_is_known(array->addr) && vmat_is_known(array->size) &&
	    vmat_is_known(array->count) && array->is_array) {
		heap->addr = vmat_rtos_addr(reading, RTOS_HEAP);
		heap->size = array->size * array->count;
	} else {
		snprintf(
			heap->why_not, sizeof(heap->why_not),
			"the size of the heap's regions is known to the caller of vPortDefineHeapRegions() alone");
	}
	if (heap->scheme == 1) {
		read_mark(reading);
		check_free(reading);
		return;
	}
	heap->free = vmat_rtos_value(reading, RTOS_FREE);
	heap->minimum_free = vmat_rtos_value(reading, RTOS_FREE_MINIMUM);
	heap->allocations = vmat_rtos_value(reading, RTOS_ALLOCATIONS);
	heap->frees = vmat_rtos_value(reading, RTOS_FREES);
	heap->header = vmat_rtos_header_size(reading);
	if (!vmat_is_known(heap->header) || !vmat_rtos_has(reading, RTOS_BLOCK_NEXT)) {
		snprintf(heap->why_not, sizeof(heap->why_not),
			 "the debug information does not say what its blocks look like");
		return;
	}
	if (!heap->free && vmat_rtos_number(reading, vmat_rtos_addr(reading, RTOS_START),
					    vmat_rtos_pointer_size(reading)) == 0) {
		snprintf(heap->why_not, sizeof(heap->why_not), "nothing was ever allocated");
		return;
	}
	walk_free(reading);
	if (vmat_is_known(heap->size) && vmat_is_known(heap->free_listed))
		walk_all(reading);
	check_free(reading);
}
