/* SPDX-License-Identifier: MIT */
/*
 * root.c: collecting references while the target stands: out of registers, stacks, writable memory, and out of
 * the chunks in use.
 *
 * Not searched: free chunks, the unused part of stacks, stacks of exited threads, and malloc's own structures
 * (an arena's bins and top point at the ends of chunks that precede them).
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "reach/reach_priv.h"

enum {
	RED_ZONE = 128,          /* x86-64 ABI: used below the stack pointer */
	GRANULES_OF_A_CHUNK = 8, /* about: how much is worth a thread */
	CHUNKS_A_LOOK = 1 << 16, /* after so many it is asked whether the stop is over */
};

/* Who collects. Two do at a time, each its share of the chunks; what they share they only read, but for the target. */
struct collector {
	struct vmat_leaks *leaks;
	const struct vmat_leaks_priv *priv;
	const struct vmat_stop *stop;
	struct vmat_heap_memory *memory;
	struct vmat_words *roots, *edges, *root_places, *edge_places;
	struct vmat_edge_index *index;
	const struct vmat_reach_segment *near; /* what the last address lay in; NULL at first */
	uint64_t near_start, near_size;
	uint64_t chunk_addr; /* of the chunk that is being read */
	uint64_t root_bytes;
	uint64_t unread; /* bytes that may hold addresses and could not be read */
	bool is_full;    /* an array had no room */
	int err;
	bool is_over; /* the stop: what was read since counts for nothing */
};

static void add_word(struct collector *collector, struct vmat_words *words, uint32_t word)
{
	if (words->count == words->capacity)
		collector->is_full = true;
	else
		words->words[words->count++] = word;
}

/* The segment that holds an address; it is near then. */
static const struct vmat_reach_segment *segment_of(struct collector *collector, uint64_t addr)
{
	const struct vmat_leaks_priv *priv = collector->priv;
	size_t low = 0, high = priv->segments_count;

	if (addr - collector->near_start < collector->near_size)
		return collector->near;
	while (low < high) { /* the first that ends behind addr */
		size_t middle = low + (high - low) / 2;

		if (priv->ends[middle] <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == priv->segments_count || priv->segments[low].segment->start > addr)
		return NULL;
	collector->near = &priv->segments[low];
	collector->near_start = collector->near->segment->start;
	collector->near_size = collector->near->segment->end - collector->near_start;
	return collector->near;
}

/* Where the word that was noted last lies: for who wants to know the way to a block. */
static void note_place(struct collector *collector, const struct vmat_words *words, uint64_t place)
{
	if (words == collector->edges) {
		uint64_t offset = (place - collector->chunk_addr) / 4;

		add_word(collector, collector->edge_places,
			 offset < UINT32_MAX ? (uint32_t)offset : UINT32_MAX);
	} else {
		add_word(collector, collector->root_places, (uint32_t)place);
		add_word(collector, collector->root_places, (uint32_t)(place >> 32));
	}
}

/* A place in a segment with bits: which granule of all, and whether its beginning. */
static inline uint32_t granule_at(const struct vmat_reach_segment *segment, uint64_t offset)
{
	unsigned shift = segment->segment->shift;

	return (segment->first_granule + (uint32_t)(offset >> shift)) << 1 |
	       ((offset & ((1ULL << shift) - 1)) == 0);
}

/* An address of a block is a header behind its chunk's, and may be just behind its end. */
static void note_word(struct collector *collector, struct vmat_words *words, uint64_t word,
		      uint64_t place)
{
	const struct vmat_leaks_priv *priv = collector->priv;
	uint64_t addr = word - priv->header, offset;
	const struct vmat_reach_segment *segment;

	if (addr - priv->low >= priv->high - priv->low)
		return;
	segment = segment_of(collector, addr);
	if (!segment)
		return;
	offset = addr - segment->segment->start;
	if (segment->segment->begins) {
		add_word(collector, words, granule_at(segment, offset));
	} else if (word < segment->segment->end) {
		/* Just behind its end often begins what another mapping's owner refers to, a stack for one. */
		add_word(collector, words,
			 segment->first_granule << 1 | (word == segment->segment->block));
	} else {
		return;
	}
	if (priv->has_places)
		note_place(collector, words, place);
}

/* Most words are no addresses of the heap, and most that are lie near the last: those are done with here, without a call. */
static inline void note_bytes(struct collector *collector, struct vmat_words *words,
			      const unsigned char *bytes, size_t size, uint64_t place)
{
	const uint64_t first = collector->priv->low + collector->priv->header;
	const uint64_t span = collector->priv->high - collector->priv->low;
	const bool has_places = collector->priv->has_places;
	uint64_t word, offset;
	uint32_t half;

	if (collector->priv->word_size == 4) {
		for (size_t at = 0; at + 4 <= size; at += 4) {
			memcpy(&half, bytes + at, sizeof(half));
			note_word(collector, words, half, place + at);
		}
		return;
	}
	for (size_t at = 0; at + 8 <= size; at += 8) {
		memcpy(&word, bytes + at, sizeof(word));
		if (__builtin_expect(word - first >= span, 1))
			continue;
		offset = word - collector->priv->header - collector->near_start;
		if (offset < collector->near_size && collector->near->segment->begins &&
		    !has_places)
			add_word(collector, words, granule_at(collector->near, offset));
		else
			note_word(collector, words, word, place + at);
	}
}

static int scan(struct vmat_heap_memory *memory, uint64_t *addr, uint64_t end, uint32_t want,
		struct vmat_page_run *runs, size_t count)
{
	uint32_t known;
	int got;

	if (memory->lock)
		pthread_mutex_lock(memory->lock);
	got = vmat_source_scan(memory->target, addr, end, want, runs, count, &known);
	if (memory->lock)
		pthread_mutex_unlock(memory->lock);
	return got;
}

/*
 * Where to go on behind a page that could not be read. Pages that were never touched hold no addresses; those in swap, or
 * gone since the scan, may.
 */
static uint64_t behind_absent(struct collector *collector, uint64_t page, uint64_t end)
{
	uint64_t at = page, until = page + VMAT_HEAP_PAGE;
	struct vmat_page_run run;
	int count = 0;

	end = (end + VMAT_HEAP_PAGE - 1) & ~(uint64_t)(VMAT_HEAP_PAGE - 1);
	while (at < end && count == 0)
		count = scan(collector->memory, &at, end, VMAT_PAGE_PRESENT | VMAT_PAGE_SWAPPED,
			     &run, 1);
	if (count == 0)
		return end;
	if (count > 0 && run.start > page)
		return run.start;
	if (count > 0 && !(run.flags & VMAT_PAGE_PRESENT))
		until = run.end;
	collector->unread += until - page;
	return until;
}

/* All words of [start, end) that are there. */
static void note_range(struct collector *collector, struct vmat_words *words, uint64_t start,
		       uint64_t end)
{
	struct vmat_heap_memory *memory = collector->memory;
	const unsigned word_size = collector->priv->word_size;
	uint64_t word;

	start = (start + word_size - 1) & ~(uint64_t)(word_size - 1);
	while (start + word_size <= end) {
		const unsigned char *bytes;
		size_t size;

		if (!vmat_heap_stream(memory, start, &word, 1)) {
			start = behind_absent(collector, start & ~(uint64_t)(VMAT_HEAP_PAGE - 1),
					      end);
			continue;
		}
		bytes = memory->window + (start - memory->window_start);
		size = memory->window_size - (size_t)(start - memory->window_start);
		if (size > end - start)
			size = (size_t)(end - start);
		size &= ~(size_t)(word_size - 1);
		note_bytes(collector, words, bytes, size, start);
		start += size;
	}
}

/* The same, but only for runs of pages that a scan says are there: for large and sparse memory. */
static void note_present(struct collector *collector, uint64_t start, uint64_t end,
			 bool only_copied)
{
	uint32_t want = VMAT_PAGE_PRESENT | VMAT_PAGE_SWAPPED | (only_copied ? VMAT_PAGE_FILE : 0);
	struct vmat_page_run runs[64];

	while (start < end) {
		int count = scan(collector->memory, &start, end, want, runs, 64);

		if (count < 0) {
			collector->unread += end - start;
			return;
		}
		for (int i = 0; i < count; i++) {
			if (only_copied && runs[i].flags & VMAT_PAGE_FILE)
				continue;
			if (runs[i].flags & VMAT_PAGE_SWAPPED) {
				collector->unread += runs[i].end - runs[i].start;
				continue;
			}
			collector->root_bytes += runs[i].end - runs[i].start;
			note_range(collector, collector->roots, runs[i].start, runs[i].end);
		}
	}
}

static void note_registers(struct collector *collector, const struct vmat_stop *stop)
{
	const struct vmat_stopped_thread *threads;
	size_t count;

	threads = vmat_stop_threads(stop, &count);
	for (size_t i = 0; i < count; i++) {
		const struct vmat_registers *registers = &threads[i].registers;

		for (size_t k = 0; k < registers->general_count; k++)
			note_word(collector, collector->roots, registers->general[k],
				  VMAT_PLACE_REGISTER(threads[i].tid, k * 8));
		note_bytes(collector, collector->roots, registers->extended,
			   registers->extended_size,
			   VMAT_PLACE_REGISTER(threads[i].tid, VMAT_PLACE_EXTENDED));
	}
}

/* What of a stack holds no roots: below its pointer (0: not known), or all of it when its thread has exited. */
static uint64_t unused_until(const struct vmat_stack *stack, uint64_t sp)
{
	if (stack->kind == VMAT_STACK_CACHED)
		return stack->end;
	if (sp < stack->begin || sp >= stack->end)
		return stack->begin; /* on a stack of its own making: all of it counts */
	return sp - RED_ZONE > stack->begin ? sp - RED_ZONE : stack->begin;
}

/* What the caller wants to be left out: the next range from `at` on, below `end`. */
static const struct vmat_excluded *next_excluded(const struct vmat_leaks_priv *priv, uint64_t at,
						 uint64_t end)
{
	size_t low = 0, high = priv->excluded_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (priv->excluded[middle].end <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low < priv->excluded_count && priv->excluded[low].start < end ? &priv->excluded[low]
									     : NULL;
}

/* The next range from *at on, below `end`, that is to be left out; false when there is none. */
static bool next_hole(const struct vmat_leaks *leaks, uint64_t at, uint64_t end,
		      uint64_t *hole_start, uint64_t *hole_end)
{
	const struct vmat_heap *heap = leaks->heap;
	const struct vmat_stacks *stacks = leaks->priv->stacks;
	const struct vmat_excluded *excluded;
	uint64_t own_start, own_end;
	size_t low;

	*hole_start = UINT64_MAX;
	excluded = next_excluded(leaks->priv, at, end);
	if (excluded) {
		*hole_start = excluded->start;
		*hole_end = excluded->end;
	}
	low = vmat_heap_first_segment(leaks->heap, leaks->priv->segments_count, at);
	if (low < leaks->priv->segments_count) {
		const struct vmat_heap_segment *segment = leaks->priv->segments[low].segment;

		if (segment->owned_from < end && segment->owned_from < *hole_start) {
			*hole_start = segment->owned_from;
			*hole_end = segment->end;
		}
	}
	for (size_t i = 0; stacks && i < stacks->count; i++) {
		const struct vmat_stack *stack = &stacks->stacks[i];
		uint64_t until;

		if (!vmat_is_known(stack->begin) || !vmat_is_known(stack->end) ||
		    stack->end <= at || stack->begin >= end || stack->begin >= *hole_start)
			continue;
		until = unused_until(stack, leaks->priv->stack_pointers[i]);
		if (until > at && until > stack->begin) {
			*hole_start = stack->begin;
			*hole_end = until;
		}
	}
	if (heap->priv->ops->next_own(heap, at, end, &own_start, &own_end) &&
	    own_start < *hole_start) {
		*hole_start = own_start;
		*hole_end = own_end;
	}
	return *hole_start < end;
}

static void note_region(struct collector *collector, const struct vmat_region *region)
{
	bool only_copied =
		region->backing == VMAT_BACKING_FILE && !(region->prot & VMAT_PROT_SHARED);
	uint64_t at = region->start, hole_start, hole_end;

	while (at < region->end) {
		if (!next_hole(collector->leaks, at, region->end, &hole_start, &hole_end)) {
			note_present(collector, at, region->end, only_copied);
			return;
		}
		if (hole_start > at) {
			/* Runs are of pages; the words of a page that lie in a hole are few, and stay out. */
			uint64_t pages_end = hole_start & ~(uint64_t)(VMAT_HEAP_PAGE - 1);

			if (pages_end > at)
				note_present(collector, at & ~(uint64_t)(VMAT_HEAP_PAGE - 1),
					     pages_end, only_copied);
			note_range(collector, collector->roots, pages_end > at ? pages_end : at,
				   hole_start);
		}
		at = hole_end;
		if (at & (VMAT_HEAP_PAGE - 1) && at < region->end) {
			uint64_t page_end = (at | (VMAT_HEAP_PAGE - 1)) + 1;

			if (!next_hole(collector->leaks, at, page_end, &hole_start, &hole_end)) {
				note_range(collector, collector->roots, at, page_end);
				at = page_end;
			}
		}
	}
}

/* Memory that the program can keep addresses in. Relocated data that is read-only now counts too. */
static bool may_hold_roots(const struct vmat_region *region)
{
	if (!(region->prot & VMAT_PROT_READ))
		return false;
	switch ((enum vmat_backing)region->backing) {
	case VMAT_BACKING_ANON:
		return true;
	case VMAT_BACKING_FILE:
		return !(region->prot & VMAT_PROT_SHARED);
	case VMAT_BACKING_SHMEM:
	case VMAT_BACKING_MEMFD:
	case VMAT_BACKING_HUGETLB:
		return region->prot & VMAT_PROT_WRITE;
	default:
		return false;
	}
}

/* The words of a block: of most, all lie in the window already. */
static void note_block(struct collector *collector, uint64_t start, uint64_t end)
{
	const struct vmat_heap_memory *memory = collector->memory;

	if (start >= memory->window_start && end - memory->window_start <= memory->window_size)
		note_bytes(collector, collector->edges,
			   memory->window + (start - memory->window_start), (size_t)(end - start),
			   start);
	else
		note_range(collector, collector->edges, start, end);
}

/* The chunks of a segment that begin in [addr, until). */
static void note_chunks(struct collector *collector, const struct vmat_heap_segment *segment,
			uint64_t addr, uint64_t until)
{
	const struct vmat_heap_ops *ops = collector->leaks->heap->priv->ops;
	const uint64_t word_mask = ~(uint64_t)(collector->priv->word_size - 1);
	uint64_t next;

	for (size_t count = 1; addr < until && !collector->is_over && !collector->err;
	     addr = next, count++) {
		enum vmat_chunk_state state = vmat_heap_state(segment, addr);

		next = vmat_heap_next(segment, addr);
		collector->chunk_addr = addr;
		/* A chunk's block reaches into the next one's header. */
		if (state == VMAT_CHUNK_IN_USE)
			note_block(collector, addr + ops->header,
				   next < segment->end || segment->is_fenced || ops->overlap < 0
					   ? next + ((uint64_t)(int64_t)ops->overlap & word_mask)
					   : next);
		else if (state == VMAT_CHUNK_MMAPPED)
			note_block(collector, segment->block, next);
		collector->err =
			vmat_edge_index_add(collector->index, (uint32_t)collector->edges->count);
		if (count % CHUNKS_A_LOOK == 0)
			collector->is_over = vmat_stop_is_over(collector->stop);
	}
}

/* The first address of a segment's chunks that belongs to a later part, when `granule` is the first of that part. */
static uint64_t part_end(const struct vmat_reach_segment *reach, uint64_t granule)
{
	const struct vmat_heap_segment *segment = reach->segment;
	uint64_t granules = (segment->end - segment->start) >> segment->shift;

	if (granule <= reach->first_granule)
		return segment->start;
	if (!segment->begins || granule - reach->first_granule >= granules)
		return segment->end;
	return vmat_heap_next(
		segment, segment->start + ((granule - reach->first_granule - 1) << segment->shift));
}

struct collectors {
	struct collector *parts;
	uint64_t granules; /* of all segments */
};

static void collect_part(void *context, unsigned i, unsigned parts)
{
	const struct collectors *collectors = context;
	struct collector *collector = &collectors->parts[i];
	const struct vmat_leaks_priv *priv = collector->priv;

	for (size_t k = 0; k < priv->segments_count && !collector->is_over; k++) {
		const struct vmat_reach_segment *reach = &priv->segments[k];

		note_chunks(collector, reach->segment,
			    part_end(reach, collectors->granules * i / parts),
			    i + 1 == parts
				    ? reach->segment->end
				    : part_end(reach, collectors->granules * (i + 1) / parts));
		collector->is_over = collector->is_over || vmat_stop_is_over(collector->stop);
	}
}

/* Adds up what the second part has collected behind the first. Its memory is given back as it is copied. */
static int append(struct vmat_leaks_priv *priv, struct collector *all, const struct collector *part)
{
	if (part->edges->count > all->edges->capacity - all->edges->count)
		return -E2BIG;
	vmat_words_move(all->edges, part->edges);
	priv->unread += part->unread;
	return vmat_edge_index_move(all->index, part->index);
}

/* The second of two who collect reads by a window of its own. -ENOMEM: nothing was collected. */
static int collect_in_two(struct vmat_leaks *leaks, struct collector *first, uint64_t granules)
{
	struct vmat_leaks_priv *priv = leaks->priv;
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct vmat_words edges = { 0 };
	struct vmat_edge_index index = { 0 };
	struct vmat_heap_memory memory = { 0 };
	struct collector parts[2];
	struct collectors collectors = { .parts = parts, .granules = granules };
	int err = vmat_words_init(&edges, priv->edges.capacity);

	if (!err)
		err = vmat_edge_index_init(&index, priv->index.capacity);
	if (!err)
		err = vmat_heap_memory_init(&memory, first->memory->target);
	if (!err) {
		memory.lock = first->memory->lock = &lock;
		parts[0] = parts[1] = *first;
		parts[1].unread = 0;
		parts[1].memory = &memory;
		parts[1].edges = &edges;
		parts[1].index = &index;
		vmat_in_parts(collect_part, &collectors, 2);
		first->memory->lock = NULL;
		*first = parts[0];
		first->is_full |= parts[1].is_full;
		first->is_over |= parts[1].is_over;
		first->err = first->err ? first->err : parts[1].err;
		if (!first->is_over && !first->is_full && !first->err)
			first->err = append(priv, first, &parts[1]);
	}
	vmat_words_deinit(&edges);
	vmat_edge_index_deinit(&index);
	vmat_heap_memory_deinit(&memory);
	return err;
}

static void collect_chunks(struct vmat_leaks *leaks, struct collector *collector)
{
	const struct vmat_leaks_priv *priv = leaks->priv;
	const struct vmat_reach_segment *last = &priv->segments[priv->segments_count - 1];
	struct collectors collectors = { .parts = collector };
	int err = -ENOMEM;

	collectors.granules =
		last->first_granule +
		(last->segment->begins
			 ? (last->segment->end - last->segment->start) >> last->segment->shift
			 : 0) +
		1;
	if (!priv->has_places && vmat_search_parts(collectors.granules / GRANULES_OF_A_CHUNK) == 2)
		err = collect_in_two(leaks, collector, collectors.granules);
	if (err) /* there is no room for a second: one does it all */
		collect_part(&collectors, 0, 1);
}

int vmat_reach_collect(struct vmat_leaks *leaks, const struct vmat_stop *stop)
{
	struct vmat_leaks_priv *priv = leaks->priv;
	const struct vmat_map *map = leaks->heap->priv->map;
	struct collector collector = {
		.leaks = leaks,
		.priv = priv,
		.stop = stop,
		.memory = &leaks->heap->priv->memory,
		.roots = &priv->roots,
		.edges = &priv->edges,
		.index = &priv->index,
		.root_places = &priv->root_places,
		.edge_places = &priv->edge_places,
	};

	note_registers(&collector, stop);
	for (size_t i = 0; i < map->count; i++) {
		if (may_hold_roots(&map->regions[i]))
			note_region(&collector, &map->regions[i]);
		if (vmat_stop_is_over(stop))
			return -ETIMEDOUT;
	}
	collect_chunks(leaks, &collector);
	if (collector.err || collector.is_over)
		return collector.err ? collector.err : -ETIMEDOUT;
	leaks->root_bytes += collector.root_bytes;
	priv->unread += collector.unread;
	return collector.is_full ? -E2BIG : 0;
}
