/* SPDX-License-Identifier: MIT */
/*
 * heap_segment.c: what a walk writes down: where chunks begin and their states, and what does not fit
 * (heap_priv.h). It knows no allocator and reads nothing.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "heap/heap_priv.h"

enum { SEGMENTS_A_LOOK = 256 /* after so many it is asked whether the stop is over */ };

void *vmat_heap_reserve(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

void vmat_heap_unreserve(void *memory, size_t size)
{
	if (memory)
		munmap(memory, size);
}

void vmat_heap_drop(void *memory, size_t size)
{
	uintptr_t start =
		((uintptr_t)memory + VMAT_HEAP_PAGE - 1) & ~(uintptr_t)(VMAT_HEAP_PAGE - 1);
	uintptr_t end = ((uintptr_t)memory + size) & ~(uintptr_t)(VMAT_HEAP_PAGE - 1);

	if (start < end)
		madvise((char *)memory + (start - (uintptr_t)memory), end - start, MADV_DONTNEED);
}

void vmat_heap_begin_block(struct vmat_heap_segment *segment, uint64_t addr)
{
	vmat_bit_put(segment->blocks, vmat_heap_bit(segment, addr), true);
}

uint64_t vmat_heap_block_of(const struct vmat_heap_segment *segment, uint64_t addr, uint64_t end)
{
	if (!segment->begins)
		return segment->block;
	for (uint64_t at = addr; at < end; at += 1ULL << segment->shift) {
		if (vmat_bit_get(segment->blocks, vmat_heap_bit(segment, at)))
			return at;
	}
	return addr;
}

bool vmat_heap_is_chunk(const struct vmat_heap_segment *segment, uint64_t addr)
{
	if (addr < segment->start || addr >= segment->end ||
	    (addr - segment->start) & ((1ULL << segment->shift) - 1))
		return false;
	return segment->begins ? vmat_bit_get(segment->begins, vmat_heap_bit(segment, addr))
			       : addr == segment->start;
}

void vmat_heap_set_state(struct vmat_heap_segment *segment, uint64_t addr,
			 enum vmat_chunk_state state)
{
	size_t bit = vmat_heap_bit(segment, addr);

	vmat_bit_put(segment->state_low, bit, state & 1);
	vmat_bit_put(segment->state_high, bit, state & 2);
}

bool vmat_heap_is_over(struct vmat_heap *heap)
{
	if (!heap->priv->stop || !vmat_stop_is_over(heap->priv->stop))
		return false;
	heap->priv->steps = 0;
	return true;
}

void vmat_heap_begin_walk(struct vmat_heap *heap)
{
	heap->priv->segments_count = heap->priv->bits_used = 0;
	heap->priv->steps = VMAT_HEAP_STEPS;
	heap->arenas_count = 0;
	heap->findings_count = heap->findings_total = 0;
	heap->priv->unread = heap->priv->unscanned = 0;
}

/* How many each segment has. */
static size_t bitmaps(const struct vmat_heap *heap)
{
	return heap->priv->ops->has_blocks ? 4 : 3;
}

bool vmat_heap_reserve_bits(struct vmat_heap *heap, uint64_t words)
{
	struct vmat_heap_priv *priv = heap->priv;

	size_t all = (size_t)words * bitmaps(heap);
	void *bits;

	if (all <= priv->bits_max)
		return true;
	bits = vmat_heap_reserve(all * sizeof(*priv->bits));
	if (!bits)
		return false;
	vmat_heap_unreserve(priv->bits, priv->bits_max * sizeof(*priv->bits));
	priv->bits = bits;
	priv->bits_max = all;
	priv->bits_dirty = 0;
	return true;
}

struct vmat_heap_segment *vmat_heap_new_segment(struct vmat_heap *heap, uint64_t start,
						uint64_t end, size_t arena)
{
	struct vmat_heap_priv *priv = heap->priv;
	struct vmat_heap_segment *segment;

	if (priv->segments_count == priv->segments_max ||
	    (priv->segments_count % SEGMENTS_A_LOOK == 0 && vmat_heap_is_over(heap)))
		return NULL;
	segment = &priv->segments[priv->segments_count];
	*segment = (struct vmat_heap_segment){
		.start = start,
		.end = end,
		.owned_from = start,
		.arena = arena,
		.block = start + priv->ops->header,
		.block_end = end,
		.shift = priv->ops->shift,
	};
	if (arena != SIZE_MAX) { /* mapped blocks need no bits */
		size_t words = (size_t)(((end - start) >> segment->shift) / 64 + 2);
		size_t all = words * bitmaps(heap);

		if (priv->bits_max - priv->bits_used < all)
			return NULL;
		if (priv->bits_used < priv->bits_dirty) /* a walk before this one wrote here */
			memset(priv->bits + priv->bits_used, 0, all * sizeof(*priv->bits));
		segment->begins = segment->blocks = priv->bits + priv->bits_used;
		segment->state_low = segment->begins + words;
		segment->state_high = segment->state_low + words;
		if (priv->ops->has_blocks)
			segment->blocks = segment->state_high + words;
		priv->bits_used += all;
		if (priv->bits_dirty < priv->bits_used)
			priv->bits_dirty = priv->bits_used;
	}
	priv->segments_count++;
	return segment;
}

void vmat_heap_cut_segment(struct vmat_heap *heap, struct vmat_heap_segment *segment)
{
	size_t words = (size_t)(((segment->end - segment->start) >> segment->shift) / 64 + 2);

	memmove(segment->begins + words, segment->state_low, words * sizeof(*segment->begins));
	memmove(segment->begins + 2 * words, segment->state_high, words * sizeof(*segment->begins));
	segment->state_low = segment->begins + words;
	segment->state_high = segment->state_low + words;
	heap->priv->bits_used = (size_t)(segment->begins - heap->priv->bits) + 3 * words;
}

static int compare_segments(const void *a, const void *b)
{
	const struct vmat_heap_segment *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

void vmat_heap_end_walk(struct vmat_heap *heap)
{
	struct vmat_heap_priv *priv = heap->priv;

	qsort(priv->segments, priv->segments_count, sizeof(*priv->segments), compare_segments);
	for (size_t i = 0; i < priv->segments_count; i++) {
		if (!priv->segments[i].begins)
			priv->segments[i].arena = heap->arenas_count;
	}
}

void vmat_heap_chunk(const struct vmat_heap *heap, const struct vmat_heap_segment *segment,
		     uint64_t addr, struct vmat_chunk *ret)
{
	const struct vmat_heap_ops *ops = heap->priv->ops;
	uint64_t next = vmat_heap_next(segment, addr);
	bool has_overlap = segment->begins && (next < segment->end || segment->is_fenced);

	ret->addr = addr;
	ret->size = next - addr;
	ret->state = vmat_heap_state(segment, addr);
	ret->arena = segment->arena;
	ret->block_addr = segment->begins ? addr + ops->header : segment->block;
	ret->block_size = (segment->begins ? next : segment->block_end) - ret->block_addr;
	if (has_overlap || ops->overlap < 0)
		ret->block_size += (uint64_t)(int64_t)ops->overlap;
	if (ops->block)
		ops->block(heap, segment, ret);
}

size_t vmat_heap_first_segment(const struct vmat_heap *heap, size_t count, uint64_t addr)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (heap->priv->segments[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct vmat_heap_segment *vmat_heap_segment_at(const struct vmat_heap *heap, uint64_t addr)
{
	const struct vmat_heap_priv *priv = heap->priv;
	size_t found = vmat_heap_first_segment(heap, priv->segments_count, addr);

	if (found == priv->segments_count || priv->segments[found].start > addr)
		return NULL;
	return &priv->segments[found];
}

void vmat_heap_find_fault(struct vmat_heap *heap, uint64_t addr, const char *format, ...)
{
	struct vmat_heap_finding *finding;
	va_list args;

	heap->findings_total++;
	if (heap->findings_count == VMAT_HEAP_FINDINGS_MAX)
		return;
	finding = &heap->findings[heap->findings_count++];
	finding->addr = addr;
	va_start(args, format);
	vsnprintf(finding->text, sizeof(finding->text), format, args);
	va_end(args);
}
