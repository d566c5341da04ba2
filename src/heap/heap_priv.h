/* SPDX-License-Identifier: MIT */
/*
 * heap_priv.h: a heap that is being walked, for the files of this folder.
 *
 * Each allocator that is walked is a table of functions (struct vmat_heap_ops) in a file of its own. It writes
 * down what it finds as segments; all else, from sums to leaks, works on these and knows no allocator.
 *
 * A segment keeps three bits for each granule of heap: where chunks begin, and the state of the chunk that
 * begins there. All arrays lie in address space that was reserved before the target was stopped, so
 * nothing is allocated while it stands; what is not used costs nothing.
 */
#ifndef VMAT_HEAP_PRIV_H
#define VMAT_HEAP_PRIV_H

#include <pthread.h>
#include <string.h>

#include <vmatlas/heap.h>

#include "heap/malloc_layout.h"
#include "target/stop.h"
#include "target/target_source.h"

struct vmat_heap_segment {
	uint64_t start;
	uint64_t end; /* where the walk ended: behind the last chunk */
	uint64_t top; /* the top chunk, 0 when it is not in here */
	uint64_t top_size;
	uint64_t owned_from; /* the allocator's own headers before start, which hold no roots */
	size_t arena;        /* arenas_count: a mapped block, one chunk without bits */
	uint64_t block;      /* of a mapped block: what malloc returned */
	uint64_t block_end;  /* where it ends: with the mapping, or a word before (glibc 2.43) */
	bool is_fenced;   /* a header stands behind the end, and the last block reaches into it */
	unsigned shift;   /* log2 of a granule: chunks begin and end at multiples of it */
	uint64_t *begins; /* one bit per granule from start on */
	uint64_t *state_low;
	uint64_t *state_high;
	uint64_t *blocks; /* where the block of a chunk begins, less the header: mostly as begins */
};

/*
 * The bits of a segment. Whoever goes over millions of chunks asks them for each, so they are in line.
 */

static inline size_t vmat_heap_bit(const struct vmat_heap_segment *segment, uint64_t addr)
{
	return (size_t)((addr - segment->start) >> segment->shift);
}

static inline bool vmat_bit_get(const uint64_t *bits, size_t bit)
{
	return bits[bit / 64] >> bit % 64 & 1;
}

static inline void vmat_bit_put(uint64_t *bits, size_t bit, bool value)
{
	uint64_t mask = 1ULL << bit % 64;

	bits[bit / 64] = value ? bits[bit / 64] | mask : bits[bit / 64] & ~mask;
}

/* Notes that a chunk begins at addr. */
static inline void vmat_heap_begin_chunk(struct vmat_heap_segment *segment, uint64_t addr)
{
	vmat_bit_put(segment->begins, vmat_heap_bit(segment, addr), true);
}

static inline enum vmat_chunk_state vmat_heap_state(const struct vmat_heap_segment *segment,
						    uint64_t addr)
{
	size_t bit;

	if (!segment->begins)
		return VMAT_CHUNK_MMAPPED;
	if (addr == segment->top)
		return VMAT_CHUNK_TOP;
	bit = vmat_heap_bit(segment, addr);
	return (enum vmat_chunk_state)((vmat_bit_get(segment->state_low, bit) ? 1 : 0) |
				       (vmat_bit_get(segment->state_high, bit) ? 2 : 0));
}

/* The beginning of the next chunk behind addr, or the segment's end. */
static inline uint64_t vmat_heap_next(const struct vmat_heap_segment *segment, uint64_t addr)
{
	size_t bit, last;

	if (!segment->begins)
		return segment->end;
	last = vmat_heap_bit(segment, segment->end);
	for (bit = vmat_heap_bit(segment, addr) + 1; bit < last;) {
		uint64_t rest = segment->begins[bit / 64] >> bit % 64;

		if (rest) {
			bit += (size_t)__builtin_ctzll(rest);
			break;
		}
		bit = (bit / 64 + 1) * 64;
	}
	return bit < last ? segment->start + (bit << segment->shift) : segment->end;
}

/*
 * An allocator that is walked. A chunk of it is [addr, addr + size); the block that the program got from malloc
 * begins `header` bytes behind addr and reaches `overlap` bytes into the next chunk's header, or, where
 * that is negative, ends before its own chunk does.
 */
struct vmat_heap_ops {
	const char *name;      /* vmat_heap: allocator */
	const char *not_found; /* why_not, when find says -ENOENT */
	unsigned word_size;    /* of the processes that it walks; 0: 8 */
	unsigned header;
	int overlap;
	unsigned shift;  /* granules of its segments */
	unsigned states; /* bits: the chunk states that it has; the others are not known of it */
	bool has_blocks; /* a block may begin anywhere in its chunk: segments have `blocks` */
	bool has_trim;   /* can it give back what lies above a free range, as malloc_trim does? */
	/* Its structures, known by invariants. 0, -ENOENT, or an error of the source. */
	int (*find)(struct vmat_heap *heap);
	/* Arenas, segments (sorted, not overlapping) and the states of chunks; what does not fit is a finding. */
	int (*walk)(struct vmat_heap *heap);
	/*
	 * The first range of its own structures outside of segments that ends behind `at` and begins before `end`:
	 * it holds no roots. False when there is none.
	 */
	bool (*next_own)(const struct vmat_heap *heap, uint64_t at, uint64_t end,
			 uint64_t *own_start, uint64_t *own_end);
	/* Where the block of a chunk lies, where header and overlap do not tell. NULL: they do. */
	void (*block)(const struct vmat_heap *heap, const struct vmat_heap_segment *segment,
		      struct vmat_chunk *chunk);
};

/* Those that are walked, in the order in which they are tried on a program whose malloc nobody names. */
extern const struct vmat_heap_ops vmat_ptmalloc_ops, vmat_ptmalloc32_ops, vmat_musl_ops,
	vmat_mimalloc_ops;

#define VMAT_HEAP_STEPS (256ULL << 20)

enum { VMAT_HEAP_WINDOW = 1 << 20, VMAT_HEAP_CACHE = 64, VMAT_HEAP_PAGE = 4096 };

/* Reads words of the target: in sequence through a window, at random through a few cached pages. */
struct vmat_heap_memory {
	struct vmat_target *target;
	unsigned word_size; /* of the target: 8 or 4 */
	unsigned char *window;
	uint64_t window_start;
	size_t window_size;
	uint64_t cached[VMAT_HEAP_CACHE]; /* page addresses; 1: empty */
	unsigned char *cache;
	uint64_t absent;       /* the page that could not be read last; 1: none */
	int error;             /* the last refusal of the source; 0 when there was none */
	pthread_mutex_t *lock; /* held while the target is asked; NULL: nobody else asks it */
};

/* glibc's malloc in one copy of libc; dlmopen brings more of them. All copies are of one generation. */
struct vmat_malloc_copy {
	uint64_t main_arena;
	bool has_broken_ring; /* its list of arenas does not come back to it */
	uint64_t sbrk_base;   /* mp_: where its main arena begins; 0 when mp_ was not found */
};

enum { VMAT_MALLOC_COPIES_MAX = 16 /* dlmopen(3): namespaces */ };

struct vmat_heap_priv {
	struct vmat_heap_memory memory;
	struct vmat_map *map;            /* as it was while the target stood */
	const struct vmat_stop *stop;    /* while the target stands; NULL: it runs, or is a core */
	const struct vmat_heap_ops *ops; /* NULL: none that is walked */
	struct vmat_allocator allocator;
	void *own; /* what the allocator's file keeps; freed with free() */
	const struct vmat_malloc_layout *layout;
	struct vmat_malloc_copy copies[VMAT_MALLOC_COPIES_MAX];
	size_t copies_count;
	uint64_t heap_max;        /* size and alignment of the heaps of thread arenas */
	bool has_uncopied;        /* parts are not in the copy (vmat_stop_is_copied) */
	uint64_t unread;          /* pages that are there and could not be read */
	uint64_t unscanned;       /* bytes of which it is not known what is present */
	bool is_presence_unknown; /* which pages are there could not be told */
	bool is_link_mangled; /* glibc 2.32: links of the caches are mangled with their own address */

	struct vmat_heap_segment *segments; /* ascending once sorted */
	size_t segments_count, segments_max;
	uint64_t *bits; /* what segments take their bits from */
	size_t bits_used, bits_dirty, bits_max;
	uint64_t *tcaches; /* chunks that may hold a tcache */
	size_t tcaches_count, tcaches_max;
	size_t arenas_max;
	uint64_t *walked_free; /* free chunks that the walk met, for each arena of glibc */
	uint64_t steps; /* links that may still be followed: a broken heap must not keep us */
};

/* What else is to be done with a heap that is being read. Either may be NULL; a negative result ends the reading. */
struct vmat_heap_visitor {
	/* All threads stand and the map has been read, but nothing of the heap. `stop` is NULL when they run. */
	int (*before)(struct vmat_heap *heap, const struct vmat_stop *stop, void *context);
	/* After the walk, while the target, or its copy (vmat_stop_fork), still stands. Only for a heap that is walked. */
	int (*after)(struct vmat_heap *heap, const struct vmat_stop *stop, void *context);
	void *context;
	bool reads_all; /* all memory is read, not only the heap: for the estimate */
};

/* vmat_heap_read with a visitor (NULL: none). */
int vmat_heap_read_standing(struct vmat_heap **ret, struct vmat_target *target,
			    const struct vmat_map *map, const struct vmat_heap_options *options,
			    const struct vmat_heap_visitor *visitor, struct vmat_error *err);

/* heap_stop.c: stops the target, or forks it, walks, visits, lets it go; once more when that found faults. */
int vmat_heap_walk_standing(struct vmat_heap *heap, const struct vmat_map *map,
			    const struct vmat_heap_options *options,
			    const struct vmat_heap_visitor *visitor, struct vmat_error *err);

/* heap_walk.c: whose heap is walked: that of malloc's owner, or the one that was asked for. */
int vmat_heap_choose_allocator(struct vmat_heap *heap, const struct vmat_map *map,
			       const struct vmat_heap_options *options, struct vmat_error *err);
/* Only for what is walked is the target stopped. Else why_not says why. */
bool vmat_heap_is_walkable(struct vmat_heap *heap);
/* The allocator's structures and settings, in a map of the caller's. -ENOENT when there are none. */
int vmat_heap_find_in(struct vmat_heap *heap, const struct vmat_map *map);
/* The walk over the map that is there. */
int vmat_heap_walk_map(struct vmat_heap *heap);

/* A walk over any target with this map, which stays the caller's: for tests. NULL when there is no memory. */
struct vmat_heap *vmat_heap_walk_memory(const struct vmat_heap_ops *ops, struct vmat_target *target,
					struct vmat_map *map);

/* heap_memory.c */
int vmat_heap_memory_init(struct vmat_heap_memory *memory, struct vmat_target *target);
void vmat_heap_memory_deinit(struct vmat_heap_memory *memory);
/* Forgets what was read: the target has run since. */
void vmat_heap_memory_drop(struct vmat_heap_memory *memory);
/* Reads the window anew from addr's page on. False: not `size` bytes from addr on are there. */
bool vmat_heap_next_window(struct vmat_heap_memory *memory, uint64_t addr, size_t size);

static inline void vmat_heap_unpack(uint64_t *words, const unsigned char *bytes, size_t count,
				    unsigned word_size)
{
	uint32_t half;

	if (word_size == 8) {
		memcpy(words, bytes, count * sizeof(*words));
		return;
	}
	for (size_t i = 0; i < count; i++, bytes += sizeof(half)) {
		memcpy(&half, bytes, sizeof(half));
		words[i] = half;
	}
}

/* `count` words of the target's size at addr in sequence; false where a page is absent. */
static inline bool vmat_heap_stream(struct vmat_heap_memory *memory, uint64_t addr, uint64_t *words,
				    size_t count)
{
	uint64_t size = count * memory->word_size, before = addr - memory->window_start;

	if ((before > memory->window_size || memory->window_size - before < size) &&
	    !vmat_heap_next_window(memory, addr, size))
		return false;
	vmat_heap_unpack(words, memory->window + (addr - memory->window_start), count,
			 memory->word_size);
	return true;
}

/* The same at random addresses. */
bool vmat_heap_words(struct vmat_heap_memory *memory, uint64_t addr, uint64_t *words, size_t count);
bool vmat_heap_word(struct vmat_heap_memory *memory, uint64_t addr, uint64_t *word);
/* How many threads the target has; 1 when it is not known. */
size_t vmat_heap_threads(struct vmat_heap_memory *memory);

/* heap_segment.c: what a walk writes down. */
/* Address space that costs memory only where it is written. NULL when there is none. */
void *vmat_heap_reserve(size_t size);
void vmat_heap_unreserve(void *memory, size_t size);
/* Gives back the memory of the whole pages in it; what they held is lost. */
void vmat_heap_drop(void *memory, size_t size);
/* Room for `words` words of each bitmap, before the first segment. False when there is none. */
bool vmat_heap_reserve_bits(struct vmat_heap *heap, uint64_t words);
/* Notes where the block of a chunk begins, and finds it again in the chunk [addr, end). */
void vmat_heap_begin_block(struct vmat_heap_segment *segment, uint64_t addr);
uint64_t vmat_heap_block_of(const struct vmat_heap_segment *segment, uint64_t addr, uint64_t end);
/*
 * Is the stop over, so that what is read counts for nothing? Then no segment begins any more, and no link is
 * followed. Costs a system call.
 */
bool vmat_heap_is_over(struct vmat_heap *heap);
/* Forgets an earlier walk. */
void vmat_heap_begin_walk(struct vmat_heap *heap);
/* A segment without chunks so far; SIZE_MAX: a mapped block, one chunk. NULL when there is no room. */
struct vmat_heap_segment *vmat_heap_new_segment(struct vmat_heap *heap, uint64_t start,
						uint64_t end, size_t arena);
/* Gives back the bits that the newest segment does not need, since it ends earlier than was thought. */
void vmat_heap_cut_segment(struct vmat_heap *heap, struct vmat_heap_segment *segment);
/* Sorts the segments, so that they can be searched, and gives mapped blocks their place behind the arenas. */
void vmat_heap_end_walk(struct vmat_heap *heap);
/* The chunk that begins at addr. */
void vmat_heap_chunk(const struct vmat_heap *heap, const struct vmat_heap_segment *segment,
		     uint64_t addr, struct vmat_chunk *ret);
/* The first of the first `count` segments, which are sorted, that ends behind addr; count if there is none. */
size_t vmat_heap_first_segment(const struct vmat_heap *heap, size_t count, uint64_t addr);
/* Which segment holds addr; NULL. Segments must be sorted. */
struct vmat_heap_segment *vmat_heap_segment_at(const struct vmat_heap *heap, uint64_t addr);
/* Does a chunk begin at addr? */
bool vmat_heap_is_chunk(const struct vmat_heap_segment *segment, uint64_t addr);
void vmat_heap_set_state(struct vmat_heap_segment *segment, uint64_t addr,
			 enum vmat_chunk_state state);
/* Notes something wrong with the heap itself. */
void vmat_heap_find_fault(struct vmat_heap *heap, uint64_t addr, const char *format, ...)
	VMAT_PRINTF(3, 4);

/* ptmalloc_find.c: main_arena and mp_ out of libc's data. 0, -ENOENT, or an error of the source. */
int vmat_ptmalloc_find(struct vmat_heap *heap);

/* ptmalloc_segment.c: how the walk of a segment ended. */
enum vmat_segment_end {
	VMAT_SEGMENT_BROKEN, /* with a finding */
	VMAT_SEGMENT_TOP,
	VMAT_SEGMENT_FENCE, /* at a fencepost, which ends what an arena has outgrown */
	VMAT_SEGMENT_LIMIT, /* with a chunk that ends where the segment does */
};

/* Walks the chunks of a new segment up to its top or end. */
enum vmat_segment_end vmat_ptmalloc_walk_segment(struct vmat_heap *heap,
						 struct vmat_heap_segment *segment, uint64_t top);
/* Can malloc have got this memory from mmap? */
bool vmat_ptmalloc_is_mapped(const struct vmat_region *region);
/* Where the memory of the region's kind that holds addr ends: advice and locks split it into regions. */
uint64_t vmat_ptmalloc_extent(const struct vmat_map *map, uint64_t addr);

/* ptmalloc_main.c: the main arena, in one piece or in several. */
void vmat_ptmalloc_walk_main(struct vmat_heap *heap, const struct vmat_malloc_copy *copy,
			     size_t index, uint64_t top);

/* ptmalloc_walk.c: arenas, their segments, mapped blocks. */
int vmat_ptmalloc_walk(struct vmat_heap *heap);

/* ptmalloc_lists.c: what fastbins, bins and tcaches say about the chunks. */
void vmat_ptmalloc_lists(struct vmat_heap *heap);

/* heap_sums.c: sums, histogram, pinned ranges, what a trim would give back. */
void vmat_heap_sum(struct vmat_heap *heap);

#endif
