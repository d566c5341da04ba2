/* SPDX-License-Identifier: MIT */
/*
 * heap.h: sheet 4 of the atlas, the blocks of a process's malloc, walked from outside.
 *
 * The nouns, and how they contain each other:
 *   heap      all that malloc manages in one process
 *   arena     one of its independent parts, with its own lists of free chunks
 *   segment   a contiguous range of an arena: the brk heap, a heap of a thread arena, a mapped block
 *   chunk     a block with its header, in use or free
 *
 * glibc's malloc (2.26 to 2.43, 64 and 32 bit) is walked without symbols: its structures are found by their own invariants
 * and believed only when all of these hold. Of other allocators the name is said.
 */
#ifndef VMATLAS_HEAP_H
#define VMATLAS_HEAP_H

#include <vmatlas/map.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmat_chunk_state {
	VMAT_CHUNK_IN_USE,
	VMAT_CHUNK_FREE,    /* on a bin */
	VMAT_CHUNK_FASTBIN, /* free, kept for the next request of its size */
	VMAT_CHUNK_TCACHE,  /* free, kept by one thread; mallinfo counts it as in use */
	VMAT_CHUNK_TOP,     /* the free end of an arena */
	VMAT_CHUNK_MMAPPED, /* in use, a mapping of its own */
	VMAT_CHUNK_STATES,
};

const char *vmat_chunk_state_name(enum vmat_chunk_state state);

/* Counts and bytes by state. Bytes are of whole chunks, their headers included. */
struct vmat_heap_sums {
	uint64_t count[VMAT_CHUNK_STATES];
	uint64_t bytes[VMAT_CHUNK_STATES];
};

struct vmat_heap_arena {
	uint64_t addr;    /* malloc_state: what a debugger calls the arena */
	const char *kind; /* main, thread, ...: in the allocator's own words */
	bool is_main;
	bool is_complete; /* every segment was walked to its end */
	uint64_t bytes;   /* malloc_state: system_mem */
	struct vmat_heap_sums sums;
	uint64_t metadata;     /* arena and heap headers, fenceposts */
	uint64_t largest_free; /* bytes of the largest chunk on a bin */
	uint64_t trimmable;  /* what malloc_trim(0) would give back: whole pages that are present */
	uint64_t bin_chunks; /* chunks met on the bins: equals the free ones of the walk */
};

/* One row of the histogram: chunks of [size_from, size_to). */
struct vmat_heap_bucket {
	uint64_t size_from;
	uint64_t size_to;
	struct vmat_heap_sums sums;
};

/* A range of free memory between blocks in use, and the block above it that keeps it from the top. */
struct vmat_heap_pinned {
	uint64_t start;
	uint64_t end;
	uint64_t free;    /* bytes of free chunks in it */
	uint64_t held_by; /* the block in use right above */
	uint64_t held_by_size;
};

/* Something wrong with the heap itself, with its address. */
struct vmat_heap_finding {
	uint64_t addr;
	char text[120];
};

enum { VMAT_HEAP_FINDINGS_MAX = 16, VMAT_HEAP_PINNED_MAX = 16, VMAT_HEAP_BUCKETS_MAX = 48 };

struct vmat_heap {
	const char *allocator; /* "glibc malloc", "jemalloc", ...; "" when none was found */
	const char *allocator_why;
	bool is_walked; /* false: nothing below is known, and why_not says why */
	char why_not[252];
	bool is_approximate; /* read while the process ran: sums may be off, findings false */
	uint64_t stopped_ns; /* how long the process stood; 0 when it did not */
	uint64_t
		stop_estimate_ns; /* what was expected before the first stop; unknown when there was none */
	bool is_snapshot; /* read from a copy of the process, made by fork: it stood only for that */
	char no_snapshot_why[252]; /* why there is no copy although one was wanted; "" */

	struct vmat_heap_arena *arenas; /* the main arena first */
	size_t arenas_count;
	unsigned states;                 /* bits: the chunk states that this allocator has */
	struct vmat_heap_sums totals;    /* arenas and mapped blocks */
	uint64_t mmapped_expected;       /* mp_: n_mmaps; unknown when mp_ was not found */
	uint64_t mmapped_bytes_expected; /* mp_: mmapped_mem */

	struct vmat_heap_bucket buckets[VMAT_HEAP_BUCKETS_MAX]; /* ascending, without empty ones */
	size_t buckets_count;
	struct vmat_heap_pinned pinned[VMAT_HEAP_PINNED_MAX]; /* the largest first */
	size_t pinned_count;
	struct vmat_heap_finding findings[VMAT_HEAP_FINDINGS_MAX];
	size_t findings_count; /* those kept; findings_total counts all */
	size_t findings_total;

	/* glibc's own settings, from mp_; unknown when mp_ was not found */
	uint64_t mmap_threshold; /* a larger block gets a mapping of its own */
	uint64_t mmap_max;       /* how many blocks may have mappings of their own */
	uint64_t trim_threshold; /* a larger free end of the brk heap goes back; INT64_MAX: never */
	uint64_t arena_max;      /* 0: not set, 8 for each processor (2 of 32-bit processes) */
	uint64_t tcache_count;   /* free blocks of each size that a thread may keep */
	bool has_fixed_thresholds; /* else both rise with the blocks that are freed */

	bool is_partial;
	char partial_why[508];
	struct vmat_heap_priv *priv;
};

struct vmat_heap_options {
	size_t size;
	bool is_running_allowed; /* do not stop the process: the result is approximate */
	uint64_t
		max_stop_ns; /* 0: 2 s; of all stops together. Above it the process is let go and nothing is told */
	bool is_snapshot_wanted; /* fork it, however small the heap is */
	/* Called before the first stop, with how long that is expected to take. May be NULL. */
	void (*expect)(uint64_t estimate_ns, bool is_snapshot, void *context);
	void *expect_context;
	const char *allocator; /* walk that of this name, whoever owns malloc; NULL: the owner's */
};

/* Whose malloc a process uses. */
struct vmat_allocator {
	const char *name; /* "glibc malloc", "jemalloc", ...; "" when it is not known by name */
	char why[252];    /* the evidence */
	bool is_behind; /* malloc is an unknown library's, which may or may not hand on to this one */
	const char *help; /* what tells of its heap where we do not; "" when nothing is known */
};

/*
 * Says whose malloc the target uses, whose map is `map`. A static program's is often not known by name:
 * vmat_heap_read then finds it by its structures.
 * Errors: -ENOMEM. What cannot be read is no error: the evidence is then weaker, and says so.
 * Needs: ptrace access, for the loader's list. Cost: some reads per library up to the one that has malloc, and the
 * read-only data of the program (64 MiB at most); nothing is stopped.
 */
int vmat_allocator_read(struct vmat_allocator *ret, struct vmat_target *target,
			const struct vmat_map *map, struct vmat_error *err);

/*
 * Walks the heap of the target, whose map (with VMAT_WANT_PAGES) is `map`.
 *
 * The target stands while its heap is read, or, where that would take longer than 100 ms, while it is forked: then
 * the copy is read, and the target runs on.
 *
 * Errors: -EACCES/-EPERM; -ESRCH; -EBUSY another program traces it; -ETIMEDOUT the estimate is above the
 * limit and it was not stopped, or the limit was reached and it was let go; -ENOMEM. An allocator that is not walked is no error (is_walked).
 * Needs: ptrace access. Cost: stops all threads for about 0.3 s per GiB of heap, or for the fork 0.04 s per
 * GiB of all its memory, unless is_running_allowed; our own memory: 1/32 of the heap.
 */
int vmat_heap_read(struct vmat_heap **ret, struct vmat_target *target, const struct vmat_map *map,
		   const struct vmat_heap_options *options, struct vmat_error *err);
struct vmat_heap *vmat_heap_free(struct vmat_heap *heap);

/* What decides where malloc takes memory from and when it gives it back; as in struct vmat_heap. */
struct vmat_heap_settings {
	char allocator[32]; /* "glibc malloc", "jemalloc", ...; "" when it is not known */
	uint64_t
		mmap_threshold; /* unknown where it is not glibc's, or was not found: as all below */
	uint64_t mmap_max;
	uint64_t trim_threshold;
	bool has_fixed_thresholds;
};

/*
 * Reads the settings without a walk: the target is not stopped.
 * Errors: -ENOMEM, and those of the target. Settings that are not found are unknown.
 * Cost: as vmat_allocator_read(), and some thousand words of libc's data.
 */
int vmat_heap_settings_read(struct vmat_heap_settings *ret, struct vmat_target *target,
			    const struct vmat_map *map, struct vmat_error *err);

struct vmat_chunk {
	uint64_t addr; /* of the header, where it has one; of a mapped block, of its mapping */
	uint64_t size; /* of the whole chunk */
	uint64_t block_addr; /* what malloc returned */
	uint64_t block_size; /* what malloc_usable_size says; without meaning for free chunks */
	enum vmat_chunk_state state;
	size_t arena; /* index; arenas_count for a mapped block */
};

/* Calls fn for every chunk, by ascending address within a segment, until it returns false. */
void vmat_heap_each(const struct vmat_heap *heap,
		    bool (*fn)(const struct vmat_chunk *chunk, void *context), void *context);

/* The chunk that holds addr. False when it lies in none. */
bool vmat_heap_find(const struct vmat_heap *heap, uint64_t addr, struct vmat_chunk *ret);

#ifdef __cplusplus
}
#endif
#endif
