/* SPDX-License-Identifier: MIT */
/*
 * ptmalloc_segment.c: the chunks of a segment of glibc's malloc, and the memory that segments lie in.
 *
 * Chunks lie one behind the other; whether one is in use stands in the next one's size (PREV_INUSE), and a free
 * one's size is repeated there. Nothing of it is believed further than it fits: a size that leaves the
 * segment ends the walk of it, with a finding.
 */
#include <string.h>

#include "heap/heap_priv.h"

enum { CHUNKS_A_LOOK = 1 << 16 /* after so many it is asked whether the stop is over */ };

/* A block of the right size, in use: it may hold the tcache of a thread. */
static void note_tcache(struct vmat_heap *heap, uint64_t addr, uint64_t size)
{
	struct vmat_heap_priv *priv = heap->priv;

	if (vmat_tcache_layout_of(size, priv->memory.word_size) &&
	    priv->tcaches_count < priv->tcaches_max)
		priv->tcaches[priv->tcaches_count++] = addr;
}

enum vmat_segment_end vmat_ptmalloc_walk_segment(struct vmat_heap *heap,
						 struct vmat_heap_segment *segment, uint64_t top)
{
	struct vmat_heap_memory *memory = &heap->priv->memory;
	unsigned fencepost = vmat_chunk_header(memory->word_size);
	uint64_t addr = segment->start, limit = segment->end, words[2], head;

	segment->end = addr;
	if (!vmat_heap_stream(memory, addr, words, 2)) {
		vmat_heap_find_fault(heap, addr, "the first chunk of a segment cannot be read");
		return VMAT_SEGMENT_BROKEN;
	}
	head = words[1];
	for (uint64_t n = 1; addr < limit; n++) {
		uint64_t size = head & ~(uint64_t)VMAT_CHUNK_FLAGS, next = addr + size;

		if (n % CHUNKS_A_LOOK == 0 && vmat_heap_is_over(heap))
			return VMAT_SEGMENT_BROKEN;
		if (addr == top && next > addr && next <= limit) {
			segment->top = top;
			segment->top_size = size;
			vmat_heap_begin_chunk(segment, addr);
			segment->end = next;
			return VMAT_SEGMENT_TOP;
		}
		if (size == fencepost || size == 0) {
			segment->is_fenced = true;
			return VMAT_SEGMENT_FENCE;
		}
		if (size < vmat_chunk_min(memory->word_size) || size % VMAT_CHUNK_ALIGN ||
		    next > limit || next < addr || head & VMAT_CHUNK_IS_MMAPPED) {
			vmat_heap_find_fault(heap, addr,
					     "a chunk cannot have the size field 0x%llx",
					     (unsigned long long)head);
			return VMAT_SEGMENT_BROKEN;
		}
		if (next == limit) { /* no chunk behind it tells its state */
			vmat_heap_begin_chunk(segment, addr);
			segment->end = next;
			return VMAT_SEGMENT_LIMIT;
		}
		if (!vmat_heap_stream(memory, next, words, 2)) {
			vmat_heap_find_fault(heap, next,
					     "the page of a chunk's header is not there");
			return VMAT_SEGMENT_BROKEN;
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
	return VMAT_SEGMENT_BROKEN; /* not reached: a chunk that ends at the limit is the last */
}

bool vmat_ptmalloc_is_mapped(const struct vmat_region *region)
{
	if (!(region->prot & VMAT_PROT_WRITE))
		return false;
	/* glibc.mem.decorate_maps and prctl(PR_SET_VMA) name memory; the brk heap and stacks are [heap], [stack]. */
	return region->backing == VMAT_BACKING_HUGETLB ||
	       (region->backing == VMAT_BACKING_ANON &&
		(!region->name[0] || !strncmp(region->name, "[anon:", 6)));
}

uint64_t vmat_ptmalloc_extent(const struct vmat_map *map, uint64_t addr)
{
	const struct vmat_region *region = vmat_map_at(map, addr), *end = map->regions + map->count;
	bool is_brk = region && !strncmp(region->name, "[heap", 5);
	uint64_t until = addr;

	for (; region && region < end && (until == addr || region->start == until); region++) {
		if (is_brk ? strncmp(region->name, "[heap", 5) != 0
			   : !vmat_ptmalloc_is_mapped(region) && until != addr)
			break;
		until = region->end;
	}
	return until;
}
