/* SPDX-License-Identifier: MIT */
/*
 * heap_sums.c: what the chunks add up to. It reads no memory of the target but the presence of pages, so
 * it runs when the target is on its way again.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap/heap_priv.h"

enum { PAGE_SIZE = 4096 };

static void add(struct vmat_heap_sums *sums, enum vmat_chunk_state state, uint64_t size)
{
	sums->count[state]++;
	sums->bytes[state] += size;
}

static void add_to_bucket(struct vmat_heap *heap, enum vmat_chunk_state state, uint64_t size)
{
	unsigned log = size > 7 ? 63 - (unsigned)__builtin_clzll(size) : 3;

	if (state != VMAT_CHUNK_TOP && log - 3 < VMAT_HEAP_BUCKETS_MAX)
		add(&heap->buckets[log - 3].sums, state, size);
}

/* Buckets double in size; those without chunks are left out. */
static void finish_buckets(struct vmat_heap *heap)
{
	size_t count = 0;

	for (size_t i = 0; i < VMAT_HEAP_BUCKETS_MAX; i++) {
		struct vmat_heap_bucket bucket = heap->buckets[i];
		uint64_t chunks = 0;

		for (size_t k = 0; k < VMAT_CHUNK_STATES; k++)
			chunks += bucket.sums.count[k];
		bucket.size_from = 8ULL << i;
		bucket.size_to = 16ULL << i;
		if (chunks)
			heap->buckets[count++] = bucket;
	}
	heap->buckets_count = count;
}

/* Keeps the largest ranges, in order. */
static void add_pinned(struct vmat_heap *heap, const struct vmat_heap_pinned *pinned)
{
	size_t at = heap->pinned_count;

	while (at > 0 && heap->pinned[at - 1].free < pinned->free)
		at--;
	if (at == VMAT_HEAP_PINNED_MAX)
		return;
	if (heap->pinned_count < VMAT_HEAP_PINNED_MAX)
		heap->pinned_count++;
	memmove(&heap->pinned[at + 1], &heap->pinned[at],
		(heap->pinned_count - at - 1) * sizeof(heap->pinned[0]));
	heap->pinned[at] = *pinned;
}

/* Bytes of [start, end) whose pages are there. */
static uint64_t present_bytes(struct vmat_heap *heap, uint64_t start, uint64_t end)
{
	struct vmat_page_run runs[64];
	uint64_t bytes = 0;
	uint32_t known;

	while (start < end) {
		int count = vmat_source_scan(heap->priv->memory.target, &start, end,
					     VMAT_PAGE_PRESENT, runs, 64, &known);

		if (count < 0) {
			heap->priv->unscanned += end - start;
			return bytes;
		}
		heap->priv->is_presence_unknown |= !(known & VMAT_PAGE_PRESENT);
		for (int i = 0; i < count; i++)
			bytes += runs[i].end - runs[i].start;
	}
	return bytes;
}

/* malloc_trim gives back the whole pages within a free chunk, behind its header (glibc's mtrim). */
static uint64_t trimmable_chunk(struct vmat_heap *heap, uint64_t addr, uint64_t size)
{
	unsigned chunk_struct = 6 * heap->priv->memory.word_size; /* sizeof(struct malloc_chunk) */
	uint64_t start = (addr + chunk_struct + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1);
	uint64_t end = (addr + size) & ~(uint64_t)(PAGE_SIZE - 1);

	return start < end ? present_bytes(heap, start, end) : 0;
}

/* And the pages of the main arena's top but the last piece, where that is the end of the brk heap (systrim). */
static uint64_t trimmable_top(struct vmat_heap *heap, const struct vmat_heap_segment *segment)
{
	const struct vmat_region *region = vmat_map_at(heap->priv->map, segment->top);
	unsigned kept = vmat_chunk_min(heap->priv->memory.word_size) + 1;
	uint64_t extra = segment->top_size > kept
				 ? (segment->top_size - kept) & ~(uint64_t)(PAGE_SIZE - 1)
				 : 0;
	uint64_t end = segment->top + segment->top_size;

	if (!region || strncmp(region->name, "[heap", 5) != 0 || !extra)
		return 0;
	return present_bytes(heap, end - extra, end);
}

static void sum_chunk(struct vmat_heap *heap, struct vmat_heap_arena *arena,
		      const struct vmat_heap_segment *segment, uint64_t addr, uint64_t size)
{
	enum vmat_chunk_state state = vmat_heap_state(segment, addr);

	add(&arena->sums, state, size);
	add_to_bucket(heap, state, size);
	if (state == VMAT_CHUNK_FREE) {
		if (size > arena->largest_free)
			arena->largest_free = size;
		if (heap->priv->ops->has_trim)
			arena->trimmable += trimmable_chunk(heap, addr, size);
	} else if (state == VMAT_CHUNK_TOP && arena->is_main) {
		arena->trimmable += trimmable_top(heap, segment);
	}
}

static void sum_segment(struct vmat_heap *heap, const struct vmat_heap_segment *segment)
{
	struct vmat_heap_arena *arena = &heap->arenas[segment->arena];
	struct vmat_heap_pinned pinned = { 0 };
	uint64_t next;

	for (uint64_t addr = segment->start; addr < segment->end; addr = next) {
		enum vmat_chunk_state state = vmat_heap_state(segment, addr);

		next = vmat_heap_next(segment, addr);
		sum_chunk(heap, arena, segment, addr, next - addr);
		if (state == VMAT_CHUNK_IN_USE) {
			pinned.held_by = addr;
			pinned.held_by_size = next - addr;
			if (pinned.free && heap->priv->ops->has_trim)
				add_pinned(heap, &pinned);
			pinned.free = 0;
		} else if (state != VMAT_CHUNK_TOP) {
			if (!pinned.free)
				pinned.start = addr;
			pinned.end = next;
			pinned.free += next - addr;
		}
	}
}

static void say_partial(struct vmat_heap *heap, const char *format, ...) VMAT_PRINTF(2, 3);

static void say_partial(struct vmat_heap *heap, const char *format, ...)
{
	size_t used = strlen(heap->partial_why);
	va_list args;

	if (used && used + 2 < sizeof(heap->partial_why)) {
		memcpy(heap->partial_why + used, "; ", 3);
		used += 2;
	}
	va_start(args, format);
	vsnprintf(heap->partial_why + used, sizeof(heap->partial_why) - used, format, args);
	va_end(args);
	heap->is_partial = true;
}

/* What was not seen of the heap, so that nobody takes the sums for all there is. */
static void judge(struct vmat_heap *heap)
{
	uint64_t found = heap->totals.count[VMAT_CHUNK_MMAPPED];
	size_t incomplete = 0;

	heap->is_partial = false;
	heap->partial_why[0] = '\0';
	if (heap->priv->allocator.is_behind)
		say_partial(heap, "%s", heap->priv->allocator.why);
	for (size_t i = 0; i < heap->arenas_count; i++)
		incomplete += !heap->arenas[i].is_complete;
	if (incomplete)
		say_partial(heap, "%zu of %zu arenas were not walked to their end (see findings)",
			    incomplete, heap->arenas_count);
	if (vmat_is_known(heap->mmapped_expected) && found < heap->mmapped_expected)
		say_partial(heap, "%llu of %llu blocks with mappings of their own were not found",
			    (unsigned long long)(heap->mmapped_expected - found),
			    (unsigned long long)heap->mmapped_expected);
	if (heap->priv->copies_count && !vmat_is_known(heap->mmapped_expected))
		say_partial(heap, "malloc's counters (mp_) were not found: blocks with mappings of "
				  "their own may be missing");
	if (heap->priv->has_uncopied)
		say_partial(heap, "parts of the heap are kept from forks (MADV_DONTFORK, "
				  "MADV_WIPEONFORK), and were read while the process ran");
	if (heap->priv->unread)
		say_partial(heap, "%llu pages that are there could not be read",
			    (unsigned long long)heap->priv->unread);
	if (heap->priv->unscanned)
		say_partial(heap, "what a trim gives back is not known of %llu KiB",
			    (unsigned long long)(heap->priv->unscanned / 1024));
}

void vmat_heap_sum(struct vmat_heap *heap)
{
	for (size_t i = 0; i < heap->priv->segments_count; i++) {
		const struct vmat_heap_segment *segment = &heap->priv->segments[i];

		if (segment->begins) {
			sum_segment(heap, segment);
			continue;
		}
		add(&heap->totals, VMAT_CHUNK_MMAPPED, segment->end - segment->start);
		add_to_bucket(heap, VMAT_CHUNK_MMAPPED, segment->end - segment->start);
	}
	for (size_t i = 0; i < heap->arenas_count; i++) {
		for (size_t k = 0; k < VMAT_CHUNK_STATES; k++) {
			heap->totals.count[k] += heap->arenas[i].sums.count[k];
			heap->totals.bytes[k] += heap->arenas[i].sums.bytes[k];
		}
	}
	/* A core without holes holds pages that were never touched, too. */
	for (size_t i = 0; heap->priv->is_presence_unknown && i < heap->arenas_count; i++) {
		if (vmat_is_known(heap->arenas[i].trimmable))
			heap->arenas[i].trimmable = VMAT_UNKNOWN(VMAT_NOT_RECORDED);
	}
	finish_buckets(heap);
	judge(heap);
}
