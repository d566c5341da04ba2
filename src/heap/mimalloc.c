/* SPDX-License-Identifier: MIT */
/*
 * mimalloc.c: mimalloc 2.0 as one of the allocators that are walked (heap_priv.h).
 *
 * A segment of 32 or 64 MiB, aligned to its size, begins with a table of its slices of 64 KiB. A run of slices is a
 * page: blocks of one size, some of them on three lists: free, local_free (given back by the owner) and
 * xthread_free (by other threads). A block larger than a segment holds has a segment of its own. Each thread has
 * a heap, to which its pages point; blocks that others gave back while a page was full wait on a list of the heap.
 *
 * From mimalloc's sources (include/mimalloc-types.h, segment.c, page.c of 2.0), for words of 8 bytes and release
 * builds, whose lists are not encoded. No symbol and no version is looked at: a segment is what has such a table,
 * with as many pages as its header counts, each with as many blocks as fit into it; and the cookie of all
 * segments, XORed with their address, is one number. What fits no such layout is not walked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "heap/heap_priv.h"

#define SLICE   (64ULL << 10)
#define ALIGNED (32ULL << 20) /* the least alignment of segments */
#define HUGE    (2ULL << 30)  /* a block size that stands for this and more */
#define SPARSE  (4ULL << 30)  /* a region this large is asked which of its pages are there */

enum {
	SLICES_MAX = 1024,
	HEADER_MIN = 6, /* words before the counters, which no version has less of */
	HEADER_WORDS = 64,
	PAGE_WORDS = 10,
	HEAP_WORDS = 512,
	HEAPS_MAX = 65536,
	LIST_FLAGS = 3,
};

/* Words of a segment's header from the count of its pages on. The last two are in either order. */
enum { USED, COOKIE, SEGMENT_SLICES, INFO_SLICES, KIND, ENTRIES, THREAD, COUNTERS };

enum { NORMAL, OWN_SEGMENT };

/* How far behind the beginning of a page its first block lies: it differs between versions. */
enum { GAPS = 4 };

struct layout {
	unsigned used;   /* word of the header */
	bool is_swapped; /* thread_id stands before slice_entries */
	unsigned gaps;   /* bits: the ways to place the first block that fit all pages so far */
};

struct segment {
	uint64_t addr;
	uint64_t thread; /* 0: its thread has ended */
	uint64_t slices, info, entries, used;
	bool is_own; /* of one block */
};

struct mimalloc {
	struct layout layout;
	uint64_t cookie;
	uint64_t misfit; /* what has the cookie and is no segment; 0: none */
	size_t count;
	struct segment segments[]; /* ascending */
};

/* struct mi_page_s, as far as it is looked at. */
struct page {
	uint64_t slices;
	uint64_t capacity, reserved; /* blocks that have been made, and that will be */
	uint64_t block_size;
	uint64_t used;
	bool has_aligned; /* addresses of the program may lie within blocks */
	uint64_t free, local_free, thread_free;
	uint64_t heap; /* 0: abandoned */
};

struct walk {
	struct vmat_heap *heap;
	struct mimalloc *state;
	unsigned thread_word; /* of struct mi_heap_s: thread_id; 0: not known yet */
	size_t last_arena;
	uint64_t in_flight;
};

static uint64_t slices_at(const struct mimalloc *state, const struct segment *segment)
{
	return segment->addr + 8ULL * (state->layout.used + COUNTERS);
}

static uint64_t gap_of(unsigned way, uint64_t block_size)
{
	switch (way) {
	case 0: /* 2.0.7 to 2.0.9 */
		return block_size <= 1024 ? 384 : 0;
	case 1: /* before */
		return block_size <= 1024 ? 128 : 0;
	case 2: /* after */
		return block_size <= 64 ? 3 * block_size : block_size <= 512 ? block_size : 0;
	default:
		return 0;
	}
}

static unsigned gap_way(const struct layout *layout)
{
	return (unsigned)__builtin_ctz(layout->gaps);
}

/* Reads the header of the slice with this number. False where it is not there. */
static bool read_page(struct vmat_heap *heap, uint64_t addr, struct page *ret)
{
	uint64_t words[PAGE_WORDS];

	if (!vmat_heap_words(&heap->priv->memory, addr, words, PAGE_WORDS))
		return false;
	*ret = (struct page){
		.slices = (uint32_t)words[0],
		.capacity = words[1] >> 16 & 0xffff,
		.reserved = words[1] >> 32 & 0xffff,
		.has_aligned = words[1] >> 48 & 2,
		.free = words[2],
		.used = (uint32_t)words[3],
		.block_size = words[3] >> 32,
		.local_free = words[4],
		.thread_free = words[5] & ~(uint64_t)LIST_FLAGS,
		.heap = words[6],
	};
	if (ret->block_size == HUGE)
		ret->block_size = ret->slices * SLICE;
	return true;
}

/* Which ways to place the first block give just as many blocks as the page says? */
static unsigned gaps_that_fit(const struct page *page, uint64_t start)
{
	unsigned ways = 0;

	for (unsigned way = 0; way < GAPS; way++) {
		uint64_t gap = gap_of(way, page->block_size), size = page->slices * SLICE;

		if (gap >= size || (size - gap) / page->block_size != page->reserved)
			continue;
		if (page->free && (page->free - start - gap) % page->block_size)
			continue;
		if (page->local_free && (page->local_free - start - gap) % page->block_size)
			continue;
		ways |= 1U << way;
	}
	return ways;
}

/* Do the slices of a segment make as many pages as it says, and all of them sense? */
static bool slices_fit(struct vmat_heap *heap, struct mimalloc *state,
		       const struct segment *segment)
{
	uint64_t at = slices_at(state, segment), pages = 0;
	unsigned gaps = state->layout.gaps;
	struct page page;

	if (!read_page(heap, at, &page) || page.slices != segment->info)
		return false;
	for (uint64_t i = segment->info; i < segment->entries; i += page.slices) {
		if (!read_page(heap, at + i * 8 * PAGE_WORDS, &page) || !page.slices ||
		    page.slices > segment->slices - i)
			return false;
		if (!page.block_size)
			continue;
		pages++;
		if (page.capacity > page.reserved || page.used > page.capacity)
			return false;
		if (page.reserved) /* else it is being made */
			gaps &= gaps_that_fit(&page, segment->addr + i * SLICE);
	}
	/* A thread may be stopped between making a page and counting it. */
	if (pages + 1 < segment->used || pages > segment->used + 1 || !gaps)
		return false;
	state->layout.gaps = gaps;
	return true;
}

/* The header's counters, by a layout. */
static bool read_counters(const uint64_t *words, uint64_t addr, const struct layout *layout,
			  struct segment *ret)
{
	const uint64_t *counters = words + layout->used;
	bool is_own = (uint32_t)counters[KIND] == OWN_SEGMENT;

	*ret = (struct segment){
		.addr = addr,
		.used = counters[USED],
		.slices = counters[SEGMENT_SLICES],
		.info = counters[INFO_SLICES],
		.entries = counters[layout->is_swapped ? THREAD : ENTRIES],
		.thread = counters[layout->is_swapped ? ENTRIES : THREAD],
		.is_own = is_own,
	};
	if ((uint32_t)counters[KIND] > OWN_SEGMENT || !ret->entries || ret->entries > SLICES_MAX ||
	    !ret->info || ret->info > 16 || ret->info >= ret->entries || ret->used > ret->entries ||
	    ret->thread % 8 || ret->slices < ret->entries)
		return false;
	if (is_own)
		return ret->slices < 1ULL << 31;
	return ret->slices == ret->entries && (ret->slices & (ret->slices - 1)) == 0 &&
	       ret->slices * SLICE >= ALIGNED && addr % (ret->slices * SLICE) == 0;
}

/* Is a segment at addr? The first that is one decides on the layout and the cookie of all. */
static bool try_segment(struct vmat_heap *heap, struct mimalloc *state, uint64_t addr,
			struct segment *ret)
{
	unsigned from = state->count ? state->layout.used : HEADER_MIN;
	unsigned to = state->count ? from + 1 : HEADER_WORDS - COUNTERS;
	uint64_t words[HEADER_WORDS];

	if (!vmat_heap_words(&heap->priv->memory, addr, words, HEADER_WORDS))
		return false;
	for (unsigned i = from; i < to; i++) {
		uint64_t cookie = words[i + COOKIE] ^ addr;

		if (state->count && cookie != state->cookie)
			return false;
		for (unsigned swapped = 0; swapped < 2; swapped++) {
			if (state->count && swapped != state->layout.is_swapped)
				continue;
			if (!state->count)
				state->layout = (struct layout){ i, swapped, (1U << GAPS) - 1 };
			/* Without a page nothing but the cookie speaks for a segment. */
			if (!read_counters(words, addr, &state->layout, ret) ||
			    (!state->count && (!ret->used || !ret->thread)) ||
			    (ret->used && !slices_fit(heap, state, ret)))
				continue;
			state->cookie = cookie;
			return true;
		}
		if (state->count)
			state->misfit = addr;
	}
	return false;
}

static int add_segment(struct mimalloc **state, size_t *capacity, const struct segment *segment)
{
	if ((*state)->count == *capacity) {
		size_t more_capacity = 2 * *capacity;
		struct mimalloc *more =
			realloc(*state, sizeof(*more) + more_capacity * sizeof(more->segments[0]));

		if (!more)
			return -ENOMEM;
		*state = more;
		*capacity = more_capacity;
	}
	(*state)->segments[(*state)->count++] = *segment;
	return 0;
}

/* Looks at the addresses of [at, end) where a segment may begin. Sets *next to where the next one may. */
static int find_in_range(struct vmat_heap *heap, struct mimalloc **state, size_t *capacity,
			 uint64_t end, uint64_t *next)
{
	while (*next < end) {
		struct segment segment;
		int err;

		if (!try_segment(heap, *state, *next, &segment)) {
			*next += ALIGNED;
			continue;
		}
		err = add_segment(state, capacity, &segment);
		if (err)
			return err;
		*next += (segment.slices * SLICE + ALIGNED - 1) & ~(ALIGNED - 1);
	}
	return 0;
}

/* The same in a region so large that it is asked for its pages that are there first. */
static int find_in_sparse(struct vmat_heap *heap, struct mimalloc **state, size_t *capacity,
			  const struct vmat_region *region, uint64_t *next)
{
	uint64_t at = region->start;
	struct vmat_page_run runs[64];
	uint32_t known;
	int err = 0;

	while (at < region->end && !err) {
		int count = vmat_source_scan(heap->priv->memory.target, &at, region->end,
					     VMAT_PAGE_PRESENT, runs, 64, &known);

		if (count < 0)
			return 0;
		for (int i = 0; i < count && !err; i++) {
			uint64_t first = (runs[i].start + ALIGNED - 1) & ~(ALIGNED - 1);

			*next = *next > first ? *next : first;
			err = find_in_range(heap, state, capacity, runs[i].end, next);
		}
	}
	return err;
}

static int find_segments(struct vmat_heap *heap, struct mimalloc **state)
{
	const struct vmat_map *map = heap->priv->map;
	size_t capacity = 16;
	uint64_t next = 0;
	int err = 0;

	*state = calloc(1, sizeof(**state) + capacity * sizeof((*state)->segments[0]));
	if (!*state)
		return -ENOMEM;
	for (size_t i = 0; i < map->count && !err; i++) {
		const struct vmat_region *region = &map->regions[i];
		uint64_t first = (region->start + ALIGNED - 1) & ~(ALIGNED - 1);

		if (region->backing != VMAT_BACKING_ANON || !(region->prot & VMAT_PROT_WRITE))
			continue;
		next = next > first ? next : first;
		err = vmat_region_size(region) > SPARSE
			      ? find_in_sparse(heap, state, &capacity, region, &next)
			      : find_in_range(heap, state, &capacity, region->end, &next);
	}
	if (err)
		return err;
	return (*state)->count ? 0 : -ENOENT;
}

static int find(struct vmat_heap *heap)
{
	struct mimalloc *state = NULL;
	int err = find_segments(heap, &state);

	free(heap->priv->own);
	heap->priv->own = NULL;
	if (err) {
		free(state);
		return err == -ENOENT && heap->priv->memory.error ? heap->priv->memory.error : err;
	}
	heap->priv->own = state;
	return 0;
}

/* Where struct mi_heap_s keeps the id of its thread, by the id that its segment has: 0 if nowhere. */
static unsigned find_thread_word(struct walk *walk, uint64_t heap_addr, uint64_t thread)
{
	uint64_t word;

	for (unsigned i = 1; i < HEAP_WORDS; i++) {
		if (!vmat_heap_word(&walk->heap->priv->memory, heap_addr + 8ULL * i, &word))
			return 0;
		if (word == thread)
			return i;
	}
	return 0;
}

/* The main heap is the one whose cookie, close behind its thread's id, is that of the segments. */
static bool is_main_heap(struct walk *walk, uint64_t heap_addr)
{
	uint64_t words[4];

	if (!walk->thread_word || !vmat_heap_words(&walk->heap->priv->memory,
						   heap_addr + 8ULL * walk->thread_word, words, 4))
		return false;
	return words[1] == walk->state->cookie || words[2] == walk->state->cookie;
}

/* The arena for the heap of a page: its number, SIZE_MAX when there is no room. */
static size_t arena_of(struct walk *walk, uint64_t heap_addr, uint64_t thread)
{
	struct vmat_heap *heap = walk->heap;
	struct vmat_heap_arena *arena;

	if (walk->last_arena < heap->arenas_count &&
	    heap->arenas[walk->last_arena].addr == heap_addr)
		return walk->last_arena;
	for (size_t i = 0; i < heap->arenas_count; i++) {
		if (heap->arenas[i].addr == heap_addr)
			return walk->last_arena = i;
	}
	if (heap->arenas_count == heap->priv->arenas_max || heap->arenas_count == HEAPS_MAX)
		return SIZE_MAX;
	if (heap_addr && thread && !walk->thread_word)
		walk->thread_word = find_thread_word(walk, heap_addr, thread);
	arena = &heap->arenas[heap->arenas_count];
	*arena = (struct vmat_heap_arena){
		.addr = heap_addr,
		.is_complete = true,
		.trimmable = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE),
	};
	arena->is_main = heap_addr && is_main_heap(walk, heap_addr);
	arena->kind = arena->is_main ? "main" : heap_addr ? "thread" : "abandoned";
	return heap->arenas_count++;
}

/* Marks the blocks of a list as free. Returns how many; what does not fit ends the list with a finding. */
static uint64_t walk_list(struct walk *walk, struct vmat_heap_segment *segment, uint64_t page_addr,
			  const struct page *page, uint64_t block)
{
	struct vmat_heap *heap = walk->heap;
	uint64_t made_end = segment->start + page->capacity * page->block_size, count = 0;

	for (; block; count++) {
		if (block < segment->start || block >= made_end ||
		    !vmat_heap_is_chunk(segment, block)) {
			vmat_heap_find_fault(
				heap, page_addr,
				"a list of this page leads to 0x%llx, which is no block of it",
				(unsigned long long)block);
			return count;
		}
		if (vmat_heap_state(segment, block) != VMAT_CHUNK_IN_USE) {
			vmat_heap_find_fault(heap, block, "a block is on a list twice");
			return count;
		}
		vmat_heap_set_state(segment, block, VMAT_CHUNK_FREE);
		if (!vmat_heap_word(&heap->priv->memory, block, &block)) {
			vmat_heap_find_fault(heap, page_addr,
					     "a free block of this page is not there");
			return count + 1;
		}
	}
	return count;
}

/* Blocks of a page, and what lies behind them: blocks that have not been made yet. */
static void add_blocks(struct vmat_heap_segment *segment, const struct page *page)
{
	uint64_t addr = segment->start;

	if (!page->has_aligned)
		segment->blocks = segment->begins;
	for (uint64_t i = 0; i < page->capacity; i++, addr += page->block_size)
		vmat_heap_begin_chunk(segment, addr);
	if (addr < segment->end) {
		vmat_heap_begin_chunk(segment, addr);
		segment->top = addr;
		segment->top_size = segment->end - addr;
	}
	/* Where the program's own address lies in a block that was aligned is not told: anywhere. */
	for (addr = segment->start; page->has_aligned && addr < segment->end; addr += 8)
		vmat_heap_begin_block(segment, addr);
}

static void walk_page(struct walk *walk, const struct segment *owner, uint64_t page_addr,
		      const struct page *page, uint64_t start)
{
	struct vmat_heap *heap = walk->heap;
	size_t number = arena_of(walk, page->heap, owner->thread);
	uint64_t gap = gap_of(gap_way(&walk->state->layout), page->block_size), listed;
	uint64_t end = start + gap + page->reserved * page->block_size;
	struct vmat_heap_segment *segment = NULL;
	struct vmat_heap_arena *arena;

	if (number != SIZE_MAX)
		segment = vmat_heap_new_segment(heap, start + gap, end,
						owner->is_own ? SIZE_MAX : number);
	if (!segment) {
		vmat_heap_find_fault(heap, page_addr, "there are more pages than are walked");
		return;
	}
	arena = &heap->arenas[number];
	arena->bytes += page->slices * SLICE;
	arena->metadata += page->slices * SLICE - (end - start - gap);
	if (owner->is_own) {
		arena->bytes -= end - start - gap;
		return;
	}
	add_blocks(segment, page);
	listed = walk_list(walk, segment, page_addr, page, page->free);
	listed += walk_list(walk, segment, page_addr, page, page->local_free);
	/* What other threads gave back counts as used until the owner has seen it. */
	walk_list(walk, segment, page_addr, page, page->thread_free);
	if (listed + page->used == page->capacity)
		return;
	if (listed + page->used + 1 == page->capacity || listed + page->used == page->capacity + 1)
		walk->in_flight++;
	else
		vmat_heap_find_fault(heap, page_addr,
				     "a page has %llu blocks, %llu in use and %llu on its lists",
				     (unsigned long long)page->capacity,
				     (unsigned long long)page->used, (unsigned long long)listed);
}

/* Calls for each page of a segment: first to know how many bits they need, then to walk them. */
static void each_page(struct walk *walk, const struct segment *segment, uint64_t *words)
{
	uint64_t at = slices_at(walk->state, segment);
	struct page page;

	for (uint64_t i = segment->info; i < segment->entries && segment->used; i += page.slices) {
		uint64_t page_addr = at + i * 8 * PAGE_WORDS;

		if (!read_page(walk->heap, page_addr, &page) || !page.slices ||
		    page.slices > segment->slices - i ||
		    page.reserved * page.block_size > page.slices * SLICE) {
			vmat_heap_find_fault(walk->heap, page_addr, "a page has no sense");
			return;
		}
		if (!page.block_size || !page.reserved)
			continue;
		if (words)
			*words += page.slices * SLICE / 8 / 64 + 2;
		else
			walk_page(walk, segment, page_addr, &page, segment->addr + i * SLICE);
	}
}

/* Blocks that other threads gave back while their page was full wait on a list of its heap. */
static void walk_delayed(struct walk *walk, const struct vmat_heap_arena *arena)
{
	struct vmat_heap_priv *priv = walk->heap->priv;
	uint64_t block;

	if (!arena->addr || !walk->thread_word ||
	    !vmat_heap_word(&priv->memory, arena->addr + 8ULL * walk->thread_word - 8, &block))
		return;
	while (block && priv->steps) {
		struct vmat_heap_segment *segment = vmat_heap_segment_at(walk->heap, block);

		priv->steps--;
		if (!segment || !segment->begins || !vmat_heap_is_chunk(segment, block) ||
		    vmat_heap_state(segment, block) != VMAT_CHUNK_IN_USE) {
			vmat_heap_find_fault(
				walk->heap, arena->addr,
				"the list of this heap leads to 0x%llx, which is no block in use",
				(unsigned long long)block);
			return;
		}
		vmat_heap_set_state(segment, block, VMAT_CHUNK_FREE);
		if (!vmat_heap_word(&priv->memory, block, &block))
			return;
	}
}

static int walk_all(struct vmat_heap *heap)
{
	struct walk walk = { .heap = heap, .state = heap->priv->own };
	uint64_t words = 0;

	vmat_heap_begin_walk(heap);
	if (walk.state->misfit)
		vmat_heap_find_fault(heap, walk.state->misfit,
				     "a segment's table of pages does not fit its header");
	for (size_t i = 0; i < walk.state->count; i++)
		each_page(&walk, &walk.state->segments[i], &words);
	if (!vmat_heap_reserve_bits(heap, words))
		return -ENOMEM;
	for (size_t i = 0; i < walk.state->count; i++)
		each_page(&walk, &walk.state->segments[i], NULL);
	vmat_heap_end_walk(heap);
	for (size_t i = 0; i < heap->arenas_count; i++)
		walk_delayed(&walk, &heap->arenas[i]);
	if (walk.in_flight > 1 && walk.in_flight > vmat_heap_threads(&heap->priv->memory))
		vmat_heap_find_fault(heap, walk.state->segments[0].addr,
				     "%llu pages count one block more or less than they have",
				     (unsigned long long)walk.in_flight);
	for (size_t i = 0; i < heap->arenas_count && heap->findings_total; i++)
		heap->arenas[i].is_complete = false;
	return 0;
}

/* A whole segment: its table points at free blocks, and between its pages lies what was once in use. */
static bool next_own(const struct vmat_heap *heap, uint64_t at, uint64_t end, uint64_t *own_start,
		     uint64_t *own_end)
{
	const struct mimalloc *state = heap->priv->own;
	size_t low = 0, high = state->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct segment *segment = &state->segments[middle];

		if (segment->addr + segment->slices * SLICE <= at)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == state->count)
		return false;
	*own_start = state->segments[low].addr;
	*own_end = *own_start + state->segments[low].slices * SLICE;
	return *own_start < end;
}

const struct vmat_heap_ops vmat_mimalloc_ops = {
	.name = "mimalloc",
	.not_found =
		"no segment of mimalloc 2.0 was found: it was never used, or this is a version or a "
		"build (secure, debug) with another layout",
	.header = 0,
	.overlap = 0,
	.shift = 3,
	.states = 1U << VMAT_CHUNK_IN_USE | 1U << VMAT_CHUNK_FREE | 1U << VMAT_CHUNK_TOP |
		  1U << VMAT_CHUNK_MMAPPED,
	.has_blocks = true,
	.find = find,
	.walk = walk_all,
	.next_own = next_own,
};
