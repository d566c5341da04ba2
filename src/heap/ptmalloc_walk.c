/* SPDX-License-Identifier: MIT */
/*
 * ptmalloc_walk.c: the arenas of glibc's malloc and the blocks with mappings of their own.
 *
 * Arenas are a ring; the heaps of a thread's arena are a chain that begins at its top. Of mapped blocks there is no
 * list: they are found by their headers, and counted against mp_.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "heap/heap_priv.h"

enum { ARENAS_MAX = 65536, HEAPS_MAX = 1 << 20 };

#define HEAP_MAX_LARGEST  (4ULL << 30)
#define HEAP_MAX_SMALLEST (1ULL << 20)

/* One heap of a thread arena. Sets *previous to the one before it, 0 at the first. */
static bool walk_heap(struct vmat_heap *heap, struct vmat_heap_arena *arena, size_t index,
		      uint64_t base, uint64_t top, uint64_t *previous)
{
	struct vmat_heap_priv *priv = heap->priv;
	uint64_t limit = vmat_ptmalloc_extent(priv->map, base);
	uint64_t words[4], found, size, start, info = arena->addr & (priv->heap_max - 1);
	struct vmat_heap_segment *segment;

	if (!vmat_heap_words(&priv->memory, base, words, 4) ||
	    !vmat_malloc_is_heap(words, priv->memory.word_size, priv->heap_max, base, limit, &found,
				 &size) ||
	    found != arena->addr) {
		vmat_heap_find_fault(heap, base, "no heap_info of arena 0x%llx is here",
				     (unsigned long long)arena->addr);
		return false;
	}
	*previous = words[1];
	start = base + info;
	if ((arena->addr & ~(priv->heap_max - 1)) == base)
		start = arena->addr + priv->layout->size;
	start = vmat_chunk_align(start, priv->memory.word_size);
	arena->metadata += start - base;
	segment = vmat_heap_new_segment(heap, start, base + words[2], index);
	if (!segment) {
		vmat_heap_find_fault(heap, base, "the heap grew beyond the room reserved for it");
		return false;
	}
	segment->owned_from = base;
	switch (vmat_ptmalloc_walk_segment(heap, segment, top)) {
	case VMAT_SEGMENT_BROKEN:
		return false;
	case VMAT_SEGMENT_FENCE:
		arena->metadata += base + words[2] - segment->end;
		return true;
	default:
		return true;
	}
}

/* Every heap costs bits; a ring of forged heaps ends when they are used up. */
static bool has_room(const struct vmat_heap *heap)
{
	return heap->priv->segments_count < heap->priv->segments_max;
}

static void walk_thread_arena(struct vmat_heap *heap, struct vmat_heap_arena *arena, size_t index,
			      uint64_t top)
{
	uint64_t base = top & ~(heap->priv->heap_max - 1);
	bool is_complete = true;

	for (int n = 0; base && n < HEAPS_MAX && has_room(heap); n++) {
		uint64_t previous = 0;

		if (!walk_heap(heap, arena, index, base, top, &previous))
			is_complete = false;
		if (previous >= base && previous - base < heap->priv->heap_max)
			break;
		base = previous;
	}
	arena->is_complete = is_complete;
}

/* Are heaps of the arena aligned to `size`? The one with its top tells. */
static bool is_heap_max(struct vmat_heap *heap, uint64_t arena, uint64_t top, uint64_t size)
{
	struct vmat_heap_memory *memory = &heap->priv->memory;
	uint64_t base = top & ~(size - 1), words[4], found, rights;

	return vmat_heap_words(memory, base, words, 4) &&
	       vmat_malloc_is_heap(words, memory->word_size, size, base,
				   vmat_ptmalloc_extent(heap->priv->map, base), &found, &rights) &&
	       found == arena && top - base < words[2];
}

/*
 * Heaps are aligned to their largest size: 64 MiB (1 MiB of 32-bit processes), or four huge pages where
 * glibc.malloc.hugetlb is 2 (2.35 to 2.41).
 */
static uint64_t find_heap_max(struct vmat_heap *heap, uint64_t arena, uint64_t top)
{
	uint64_t usual = vmat_malloc_heap_max(heap->priv->memory.word_size);

	if (is_heap_max(heap, arena, top, usual))
		return usual;
	for (uint64_t size = HEAP_MAX_LARGEST; size >= HEAP_MAX_SMALLEST; size /= 2) {
		if (is_heap_max(heap, arena, top, size))
			return size;
	}
	return usual;
}

static int walk_arenas(struct vmat_heap *heap, const struct vmat_malloc_copy *copy)
{
	struct vmat_heap_priv *priv = heap->priv;
	uint64_t addr = copy->main_arena;

	for (int n = 0; n < ARENAS_MAX; n++) {
		struct vmat_heap_arena *arena;
		uint64_t top, next;

		if (heap->arenas_count == priv->arenas_max)
			return -ENOSPC;
		arena = &heap->arenas[heap->arenas_count];
		*arena = (struct vmat_heap_arena){ .addr = addr, .is_main = n == 0 };
		arena->kind = n == 0 ? "main" : "thread";
		if (!vmat_heap_word(&priv->memory, addr + priv->layout->top, &top) ||
		    !vmat_heap_word(&priv->memory, addr + priv->layout->next, &next) ||
		    !vmat_heap_word(&priv->memory, addr + priv->layout->system_mem, &arena->bytes))
			return -ENODATA;
		if (n == 0) {
			vmat_ptmalloc_walk_main(heap, copy, heap->arenas_count, top);
		} else {
			priv->heap_max = find_heap_max(heap, addr, top);
			walk_thread_arena(heap, arena, heap->arenas_count, top);
		}
		heap->arenas_count++;
		if (next == copy->main_arena)
			return 0;
		if (copy->has_broken_ring) { /* where it leads to is not known */
			arena->is_complete = false;
			vmat_heap_find_fault(heap, addr + priv->layout->next,
					     "the list of arenas leads astray: those of threads "
					     "are not walked");
			return 0;
		}
		addr = next;
	}
	return -ELOOP;
}

/* A block with a mapping of its own, within [low, high). */
struct mapped {
	uint64_t low, high;
	uint64_t start, end, block, block_end;
};

/* Takes the header at addr for that of a block, if it is one. */
static bool try_mapped(struct vmat_heap *heap, uint64_t addr, struct mapped *mapped)
{
	struct vmat_heap_memory *memory = &heap->priv->memory;
	uint64_t words[2], start, end;

	if (!vmat_heap_words(memory, addr, words, 2) ||
	    !vmat_malloc_mapped_header(words, memory->word_size, addr, &start, &end) ||
	    start < mapped->low || end > mapped->high)
		return false;
	mapped->start = start;
	mapped->end = end;
	mapped->block = addr + vmat_chunk_header(memory->word_size);
	mapped->block_end = addr + (words[1] & ~(uint64_t)VMAT_CHUNK_FLAGS) == end
				    ? end
				    : end - memory->word_size;
	return true;
}

/* Tries each place for a header in a page; the last that fits is taken. */
static bool try_page(struct vmat_heap *heap, uint64_t page, struct mapped *mapped)
{
	bool is_found = false;

	for (uint64_t at = vmat_chunk_align(page, heap->priv->memory.word_size);
	     at < page + VMAT_HEAP_PAGE; at += VMAT_CHUNK_ALIGN)
		is_found |= try_mapped(heap, at, mapped);
	return is_found;
}

/* The first page in [start, end) that is there; end when none is. */
static uint64_t first_present(struct vmat_heap *heap, uint64_t start, uint64_t end)
{
	struct vmat_page_run run;
	uint32_t known;

	while (start < end) {
		int count = vmat_source_scan(heap->priv->memory.target, &start, end,
					     VMAT_PAGE_PRESENT, &run, 1, &known);

		if (count)
			return count > 0 ? run.start : end;
	}
	return end;
}

/*
 * A block whose header lies in the page at addr. memalign leaves the header that malloc had written at the beginning
 * of the mapping, which is wrong once the block is resized, and writes another one: in the same page, or before a
 * multiple of the alignment, or (when the mapping was moved since) in the first page that is there behind that of
 * the beginning, since nobody writes in between.
 */
static bool find_mapped(struct vmat_heap *heap, uint64_t addr, struct mapped *mapped)
{
	unsigned header = vmat_chunk_header(heap->priv->memory.word_size);
	uint64_t next;
	struct mapped aligned = *mapped;

	if (!try_page(heap, addr, mapped))
		return false;
	if (mapped->block >= addr + 2 * VMAT_CHUNK_ALIGN)
		return true;
	for (uint64_t align = 2 * VMAT_HEAP_PAGE; align < mapped->end - mapped->start; align *= 2) {
		uint64_t block = (mapped->block + align - 1) & ~(align - 1);

		if (try_mapped(heap, block - header, &aligned) && aligned.start == mapped->start) {
			*mapped = aligned;
			return true;
		}
	}
	next = first_present(heap, addr + VMAT_HEAP_PAGE, mapped->end);
	if (next < mapped->end && try_page(heap, next, &aligned) && aligned.start == mapped->start)
		*mapped = aligned;
	return true;
}

/* Where the heap of an arena ends that holds addr; addr when none does. Segments of arenas are sorted. */
static uint64_t skip_arena(const struct vmat_heap *heap, size_t arena_segments, uint64_t addr)
{
	const struct vmat_heap_priv *priv = heap->priv;
	size_t found = vmat_heap_first_segment(heap, arena_segments, addr);

	if (found < arena_segments && (priv->segments[found].start & ~4095ULL) <= addr)
		return (priv->segments[found].end + 4095) & ~4095ULL;
	return addr;
}

static bool all_mapped_found(const struct vmat_heap *heap, size_t arena_segments)
{
	return vmat_is_known(heap->mmapped_expected) &&
	       heap->priv->segments_count - arena_segments >= heap->mmapped_expected;
}

/* Looks at the pages of a run that is present, from *at on. */
static void find_mapped_in_run(struct vmat_heap *heap, size_t arena_segments,
			       const struct vmat_page_run *run, struct mapped *mapped, uint64_t *at)
{
	if (*at < run->start)
		*at = run->start;
	while (*at < run->end && !all_mapped_found(heap, arena_segments)) {
		uint64_t next = skip_arena(heap, arena_segments, *at), word;

		if (next == *at && !vmat_heap_word(&heap->priv->memory, *at, &word))
			heap->priv->unread++;
		else if (next == *at && find_mapped(heap, *at, mapped)) {
			struct vmat_heap_segment *segment =
				vmat_heap_new_segment(heap, mapped->start, mapped->end, SIZE_MAX);

			if (!segment)
				return;
			segment->block = mapped->block;
			segment->block_end = mapped->block_end;
			next = mapped->end;
		}
		if (next > *at)
			mapped->low = next;
		*at = next > *at ? next : *at + VMAT_HEAP_PAGE;
	}
}

/*
 * glibc keeps no list of the blocks that it maps: each page that is there and that no arena owns may begin
 * one. The beginnings of regions are looked at first; all pages only while mp_ says that some are missing.
 */
static void walk_mapped(struct vmat_heap *heap, size_t arena_segments)
{
	struct vmat_heap_priv *priv = heap->priv;
	const struct vmat_map *map = priv->map;
	struct vmat_page_run runs[256];
	uint64_t done = 0;
	uint32_t known;

	for (size_t i = 0; i < map->count && !all_mapped_found(heap, arena_segments); i++) {
		uint64_t addr = map->regions[i].start, at = addr;
		struct mapped mapped = { .low = addr, .high = vmat_ptmalloc_extent(map, addr) };

		if (!vmat_ptmalloc_is_mapped(&map->regions[i]) || addr < done)
			continue;
		done = mapped.high;
		while (addr < mapped.high && !all_mapped_found(heap, arena_segments)) {
			int count = vmat_source_scan(priv->memory.target, &addr, mapped.high,
						     VMAT_PAGE_PRESENT, runs, 256, &known);

			if (count < 0)
				return;
			for (int k = 0; k < count; k++)
				find_mapped_in_run(heap, arena_segments, &runs[k], &mapped, &at);
		}
	}
}

int vmat_ptmalloc_walk(struct vmat_heap *heap)
{
	struct vmat_heap_priv *priv = heap->priv;
	size_t arena_segments;
	int err;

	vmat_heap_begin_walk(heap);
	priv->tcaches_count = 0;
	for (size_t i = 0; i < priv->copies_count; i++) {
		err = walk_arenas(heap, &priv->copies[i]);
		if (err)
			return err;
	}
	arena_segments = priv->segments_count;
	vmat_heap_end_walk(heap);
	walk_mapped(heap, arena_segments);
	vmat_heap_end_walk(heap);
	return 0;
}
