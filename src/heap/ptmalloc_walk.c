/* SPDX-License-Identifier: MIT */
/*
 * ptmalloc_walk.c: the arenas of glibc's malloc, their segments, and every chunk in them.
 *
 * Chunks lie one behind the other; whether one is in use stands in the next one's size (PREV_INUSE), and a free
 * one's size is repeated there. Nothing of it is believed further than it fits: a size that leaves the
 * segment ends the walk of it, with a finding.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "heap/heap_priv.h"

enum { ARENAS_MAX = 65536, HEAPS_MAX = 1 << 20 };

/* A block of the right size, in use: it may hold the tcache of a thread. */
static void note_tcache(struct vmat_heap *heap, uint64_t addr, uint64_t size)
{
	struct vmat_heap_priv *priv = heap->priv;

	if (vmat_tcache_layout_of(size, priv->memory.word_size) &&
	    priv->tcaches_count < priv->tcaches_max)
		priv->tcaches[priv->tcaches_count++] = addr;
}

/*
 * Walks the chunks of [start, limit). `top` may lie in it. Returns false when the walk did not reach its end;
 * *metadata is what belongs to no chunk.
 */
static bool walk_segment(struct vmat_heap *heap, struct vmat_heap_segment *segment, uint64_t top,
			 uint64_t *metadata)
{
	struct vmat_heap_memory *memory = &heap->priv->memory;
	unsigned fencepost = vmat_chunk_header(memory->word_size);
	uint64_t addr = segment->start, limit = segment->end, words[2], head;

	segment->end = addr;
	if (!vmat_heap_stream(memory, addr, words, 2)) {
		vmat_heap_find_fault(heap, addr, "the first chunk of a segment cannot be read");
		return false;
	}
	head = words[1];
	while (addr < limit) {
		uint64_t size = head & ~(uint64_t)VMAT_CHUNK_FLAGS, next = addr + size;
		bool is_fencepost = size == fencepost || size == 0;

		if (addr == top) {
			segment->top = top;
			segment->top_size = size;
			vmat_heap_begin_chunk(segment, addr);
			segment->end = next <= limit ? next : limit;
			return next <= limit;
		}
		if (is_fencepost) { /* the end of a heap that an arena has outgrown */
			*metadata += limit - addr;
			return true;
		}
		if (size < vmat_chunk_min(memory->word_size) || size % VMAT_CHUNK_ALIGN ||
		    next > limit || next < addr || head & VMAT_CHUNK_IS_MMAPPED) {
			vmat_heap_find_fault(heap, addr,
					     "a chunk cannot have the size field 0x%llx",
					     (unsigned long long)head);
			return false;
		}
		if (next == limit) { /* no chunk behind it tells its state */
			vmat_heap_begin_chunk(segment, addr);
			segment->end = next;
			return true;
		}
		if (!vmat_heap_stream(memory, next, words, 2)) {
			vmat_heap_find_fault(heap, next,
					     "the page of a chunk's header is not there");
			return false;
		}
		vmat_heap_begin_chunk(segment, addr);
		segment->end = next;
		if (words[1] & VMAT_CHUNK_PREV_INUSE) {
			note_tcache(heap, addr, size);
		} else {
			vmat_heap_set_state(segment, addr, VMAT_CHUNK_FREE);
			if (words[0] != size)
				vmat_heap_find_fault(
					heap, next,
					"prev_size is 0x%llx, the free chunk before has 0x%llx",
					(unsigned long long)words[0], (unsigned long long)size);
		}
		addr = next;
		head = words[1];
	}
	return true;
}

/* The main arena's segment: from where brk began to the end of top. */
static void walk_main(struct vmat_heap *heap, struct vmat_heap_arena *arena, size_t index,
		      uint64_t top)
{
	struct vmat_heap_priv *priv = heap->priv;
	const struct vmat_region *region = vmat_map_at(priv->map, top);
	struct vmat_heap_segment *segment;
	uint64_t start = priv->sbrk_base, words[2];

	if (top == vmat_malloc_bin(priv->layout, arena->addr, 0)) { /* nothing was ever allocated */
		arena->is_complete = true;
		return;
	}
	if (!region || !vmat_heap_words(&priv->memory, top, words, 2)) {
		vmat_heap_find_fault(heap, top, "the top chunk of the main arena is not mapped");
		return;
	}
	if (!start)
		start = region->start;
	/* M_MORECORE that is not contiguous leaves pieces elsewhere, in no list. */
	if (start > top || vmat_map_at(priv->map, start) != region) {
		start = region->start;
		vmat_heap_find_fault(heap, start,
				     "the main heap is not contiguous: only the piece with "
				     "its top is walked");
	}
	start = vmat_chunk_align(start, priv->memory.word_size);
	segment = vmat_heap_new_segment(heap, start, region->end, index);
	if (!segment) {
		vmat_heap_find_fault(heap, start, "the heap grew beyond the room reserved for it");
		return;
	}
	arena->is_complete = walk_segment(heap, segment, top, &arena->metadata);
}

/* One heap of a thread arena. Sets *previous to the one before it, 0 at the first. */
static bool walk_heap(struct vmat_heap *heap, struct vmat_heap_arena *arena, size_t index,
		      uint64_t base, uint64_t top, uint64_t *previous)
{
	struct vmat_heap_priv *priv = heap->priv;
	const struct vmat_region *region = vmat_map_at(priv->map, base);
	uint64_t words[4], found, size, start, info = arena->addr & (priv->heap_max - 1);
	struct vmat_heap_segment *segment;

	if (!region || !vmat_heap_words(&priv->memory, base, words, 4) ||
	    !vmat_malloc_is_heap(words, priv->memory.word_size, priv->heap_max, base, region->end,
				 &found, &size) ||
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
	return walk_segment(heap, segment, top, &arena->metadata);
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

/*
 * Heaps are aligned to their largest size: 64 MiB, or less where glibc.malloc.hugetlb is set (2.35 to 2.41).
 * The arena lies at the beginning of one.
 */
static void find_heap_max(struct vmat_heap *heap, uint64_t arena)
{
	for (heap->priv->heap_max = vmat_malloc_heap_max(heap->priv->memory.word_size);
	     heap->priv->heap_max > 1 << 20; heap->priv->heap_max /= 2) {
		if ((arena & (heap->priv->heap_max - 1)) <= 64)
			return;
	}
}

static int walk_arenas(struct vmat_heap *heap)
{
	struct vmat_heap_priv *priv = heap->priv;
	uint64_t addr = priv->main_arena;

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
			walk_main(heap, arena, heap->arenas_count, top);
		} else {
			if (n == 1)
				find_heap_max(heap, addr);
			walk_thread_arena(heap, arena, heap->arenas_count, top);
		}
		heap->arenas_count++;
		if (next == priv->main_arena)
			return 0;
		addr = next;
	}
	return -ELOOP;
}

/* A block with a mapping of its own, within [low, high). */
struct mapped {
	uint64_t low, high;
	uint64_t start, end, block;
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
	return true;
}

/*
 * A block whose header lies in the page at addr. memalign leaves the header that malloc had written at the beginning
 * of the mapping, and writes another one: the last one in the page is taken, and of one that begins the mapping it is
 * tried whether the block was moved to a multiple of more than a page.
 */
static bool find_mapped(struct vmat_heap *heap, uint64_t addr, struct mapped *mapped)
{
	unsigned word_size = heap->priv->memory.word_size, header = vmat_chunk_header(word_size);
	bool is_found = false;

	for (uint64_t at = vmat_chunk_align(addr, word_size); at < addr + VMAT_HEAP_PAGE;
	     at += VMAT_CHUNK_ALIGN)
		is_found |= try_mapped(heap, at, mapped);
	if (!is_found)
		return false;
	for (uint64_t align = 2 * VMAT_HEAP_PAGE;
	     mapped->block < addr + 2 * VMAT_CHUNK_ALIGN && align < mapped->end - mapped->start;
	     align *= 2) {
		struct mapped aligned = *mapped;
		uint64_t block = (mapped->block + align - 1) & ~(align - 1);

		if (try_mapped(heap, block - header, &aligned) && aligned.start == mapped->start) {
			*mapped = aligned;
			return true;
		}
	}
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
		uint64_t next = skip_arena(heap, arena_segments, *at);

		if (next == *at && find_mapped(heap, *at, mapped)) {
			struct vmat_heap_segment *segment =
				vmat_heap_new_segment(heap, mapped->start, mapped->end, SIZE_MAX);

			if (!segment)
				return;
			segment->block = mapped->block;
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
	struct vmat_page_run runs[256];
	uint32_t known;

	for (size_t i = 0; i < priv->map->count && !all_mapped_found(heap, arena_segments); i++) {
		const struct vmat_region *region = &priv->map->regions[i];
		uint64_t addr = region->start, at = region->start;
		struct mapped mapped = { .low = region->start, .high = region->end };

		if (region->backing != VMAT_BACKING_ANON || region->name[0] ||
		    !(region->prot & VMAT_PROT_WRITE))
			continue;
		while (addr < region->end && !all_mapped_found(heap, arena_segments)) {
			int count = vmat_source_scan(priv->memory.target, &addr, region->end,
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
	err = walk_arenas(heap);
	if (err)
		return err;
	arena_segments = priv->segments_count;
	vmat_heap_end_walk(heap);
	walk_mapped(heap, arena_segments);
	vmat_heap_end_walk(heap);
	return 0;
}
