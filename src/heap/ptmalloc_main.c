/* SPDX-License-Identifier: MIT */
/*
 * ptmalloc_main.c: the main arena of glibc's malloc, which need not be one piece.
 *
 * It begins where brk stood (mp_: sbrk_base) and mostly ends with its top chunk. When somebody else has moved brk in
 * between, or brk cannot grow and malloc takes mappings instead, what came before ends in two fenceposts and a
 * new piece begins elsewhere. No list leads there. A piece is known by its chunks: they must lead, one to the next,
 * to the top or to a pair of fenceposts at the end of a page; and all pieces must add up to the arena's system_mem.
 */
#include <string.h>

#include "heap/heap_priv.h"

enum { HOPS_MAX = 32 << 20, HOPS_AT_RANDOM = 16, RUNS = 64 };

struct pieces {
	struct vmat_heap *heap;
	struct vmat_heap_arena *arena;
	size_t index;
	uint64_t top;
	uint64_t bytes; /* of the pieces found */
	uint64_t holes; /* of others between those of brk; system_mem may count them */
	uint64_t first_start, first_end;
	uint64_t hops; /* chunks that may still be followed in search of a beginning */
	bool has_top;
	bool is_whole; /* none of them was broken */
};

/* Where the memory ends that fenceposts close, of which the first is at addr: with a page. */
static uint64_t end_of_fence(const struct pieces *pieces, uint64_t addr)
{
	addr += 2ULL * vmat_chunk_header(pieces->heap->priv->memory.word_size);
	return (addr + VMAT_HEAP_PAGE - 1) & ~(uint64_t)(VMAT_HEAP_PAGE - 1);
}

/* Before the two may stand a rest of the old top, of 16 bytes: too small for a chunk. */
static bool is_fence(struct pieces *pieces, uint64_t addr, uint64_t *end)
{
	struct vmat_heap_memory *memory = &pieces->heap->priv->memory;
	uint64_t fencepost = vmat_chunk_header(memory->word_size), words[2];

	*end = end_of_fence(pieces, addr);
	return *end - addr - 2 * fencepost <= VMAT_CHUNK_ALIGN &&
	       vmat_heap_words(memory, addr + fencepost, words, 2) &&
	       words[1] == (fencepost | VMAT_CHUNK_PREV_INUSE);
}

/* Do chunks lead from addr to an end of a piece below limit? Sets *end. */
static bool begins_piece(struct pieces *pieces, uint64_t addr, uint64_t limit, uint64_t *end)
{
	struct vmat_heap_memory *memory = &pieces->heap->priv->memory;
	uint64_t fencepost = vmat_chunk_header(memory->word_size), words[2], first = addr;

	for (uint64_t n = 0; addr < limit && pieces->hops; n++) {
		uint64_t size;
		bool is_read = n < HOPS_AT_RANDOM ? vmat_heap_words(memory, addr, words, 2)
						  : vmat_heap_stream(memory, addr, words, 2);

		if (!is_read || words[1] & (VMAT_CHUNK_IS_MMAPPED | VMAT_CHUNK_NON_MAIN) ||
		    (addr == first && !(words[1] & VMAT_CHUNK_PREV_INUSE)))
			return false;
		size = words[1] & ~(uint64_t)VMAT_CHUNK_FLAGS;
		if (addr == pieces->top) {
			*end = addr + size;
			return size && *end > addr && *end <= limit;
		}
		if (size == fencepost)
			return addr != first && is_fence(pieces, addr, end) && *end <= limit;
		if (size < vmat_chunk_min(memory->word_size) || size % VMAT_CHUNK_ALIGN ||
		    addr + size < addr)
			return false;
		addr += size;
		pieces->hops--;
	}
	return false;
}

/* Walks the piece that begins at base. Returns where it ends. */
static uint64_t walk_piece(struct pieces *pieces, uint64_t base, uint64_t limit)
{
	struct vmat_heap *heap = pieces->heap;
	uint64_t start = vmat_chunk_align(base, heap->priv->memory.word_size), end;
	struct vmat_heap_segment *segment =
		start < limit ? vmat_heap_new_segment(heap, start, limit, pieces->index) : NULL;

	if (!segment) {
		vmat_heap_find_fault(heap, base, "the heap grew beyond the room reserved for it");
		pieces->is_whole = false;
		return limit;
	}
	switch (vmat_ptmalloc_walk_segment(heap, segment, pieces->top)) {
	case VMAT_SEGMENT_TOP:
		pieces->has_top = true;
		end = segment->end;
		break;
	case VMAT_SEGMENT_FENCE:
		end = end_of_fence(pieces, segment->end);
		vmat_heap_cut_segment(heap, segment);
		break;
	default:
		end = segment->end;
		vmat_heap_cut_segment(heap, segment);
		pieces->is_whole = false;
	}
	pieces->arena->metadata += start - base + (end - segment->end);
	pieces->bytes += end - base;
	return end;
}

/* The next piece in a page, at its first place for a chunk or, with a step of less than a page, at any. */
static bool find_in_page(struct pieces *pieces, uint64_t page, uint64_t limit, unsigned step,
			 uint64_t *start, uint64_t *end)
{
	uint64_t addr = vmat_chunk_align(page, pieces->heap->priv->memory.word_size);

	for (; addr < page + VMAT_HEAP_PAGE; addr += step) {
		if (begins_piece(pieces, addr, limit, end)) {
			*start = addr;
			return true;
		}
	}
	return false;
}

/* The same in [at, limit), but for the piece that is known. */
static bool find_piece(struct pieces *pieces, uint64_t at, uint64_t limit, unsigned step,
		       uint64_t *start, uint64_t *end)
{
	struct vmat_page_run runs[RUNS];
	uint32_t known;

	while (at < limit && pieces->hops) {
		int count = vmat_source_scan(pieces->heap->priv->memory.target, &at, limit,
					     VMAT_PAGE_PRESENT, runs, RUNS, &known);

		for (int i = 0; i < count; i++) {
			for (uint64_t page = runs[i].start; page < runs[i].end;
			     page += VMAT_HEAP_PAGE) {
				if (page >= pieces->first_start && page < pieces->first_end)
					continue;
				if (find_in_page(pieces, page, limit, step, start, end))
					return true;
			}
		}
		if (count < 0)
			return false;
	}
	return false;
}

/* The pieces of brk: where a foreign sbrk lies between them, the next begins anywhere behind it. */
static void walk_brk(struct pieces *pieces, uint64_t base)
{
	const struct vmat_map *map = pieces->heap->priv->map;
	const struct vmat_region *region = vmat_map_at(map, base);
	uint64_t limit = vmat_ptmalloc_extent(map, base), start, end;

	if (!region)
		return;
	pieces->first_start = base;
	pieces->first_end = walk_piece(pieces, base, limit);
	if (strncmp(region->name, "[heap", 5) != 0)
		return;
	for (uint64_t at = pieces->first_end; !pieces->has_top && at < limit; at = end) {
		if (!find_piece(pieces, at, limit, VMAT_CHUNK_ALIGN, &start, &end))
			return;
		pieces->holes += start - at;
		end = walk_piece(pieces, start, end);
	}
}

/* The pieces that malloc has got from mmap. */
static void walk_mappings(struct pieces *pieces)
{
	const struct vmat_map *map = pieces->heap->priv->map;

	for (size_t i = 0; i < map->count; i++) {
		uint64_t at = map->regions[i].start, start, end;
		uint64_t limit = vmat_ptmalloc_extent(map, at);

		if (!vmat_ptmalloc_is_mapped(&map->regions[i]))
			continue;
		while (pieces->bytes + pieces->holes < pieces->arena->bytes || !pieces->has_top) {
			if (!find_piece(pieces, at, limit, VMAT_HEAP_PAGE, &start, &end))
				break;
			at = walk_piece(pieces, start & ~(uint64_t)(VMAT_HEAP_PAGE - 1), end);
		}
		while (i + 1 < map->count && map->regions[i + 1].start < limit)
			i++;
	}
}

void vmat_ptmalloc_walk_main(struct vmat_heap *heap, const struct vmat_malloc_copy *copy,
			     size_t index, uint64_t top)
{
	struct vmat_heap_arena *arena = &heap->arenas[index];
	struct pieces pieces = {
		.heap = heap,
		.arena = arena,
		.index = index,
		.top = top,
		.hops = HOPS_MAX,
		.is_whole = true,
	};
	uint64_t base = copy->sbrk_base, word, most;

	if (top == vmat_malloc_bin(heap->priv->layout, arena->addr, 0)) { /* never used */
		arena->is_complete = true;
		return;
	}
	if (!vmat_map_at(heap->priv->map, top) ||
	    !vmat_heap_word(&heap->priv->memory, top, &word)) {
		vmat_heap_find_fault(heap, top, "the top chunk of the main arena is not mapped");
		return;
	}
	for (size_t i = 0; !base && i < heap->priv->map->count; i++) {
		if (!strncmp(heap->priv->map->regions[i].name, "[heap", 5))
			base = heap->priv->map->regions[i].start;
	}
	if (base)
		walk_brk(&pieces, base);
	if (pieces.is_whole && (!pieces.has_top || pieces.bytes + pieces.holes < arena->bytes))
		walk_mappings(&pieces);
	most = pieces.bytes + pieces.holes;
	if (pieces.is_whole && !pieces.has_top)
		vmat_heap_find_fault(heap, top, "no piece of the main heap leads to its top");
	else if (pieces.is_whole && (arena->bytes < pieces.bytes || arena->bytes > most))
		vmat_heap_find_fault(heap, arena->addr,
				     "the main arena has 0x%llx bytes, its pieces 0x%llx",
				     (unsigned long long)arena->bytes, (unsigned long long)most);
	else
		arena->is_complete = pieces.is_whole;
}
