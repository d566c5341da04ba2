/* SPDX-License-Identifier: MIT */
/*
 * reach_priv.h: a heap whose references are being collected, for the files of this folder.
 *
 * While the target stands, every word that may be an address of the heap is noted as the number of a granule
 * of the heap, counted over all segments: 4 bytes each, in the order of the chunks that hold them. When
 * it runs again, granules become chunks, and chunks are marked.
 */
#ifndef VMAT_REACH_PRIV_H
#define VMAT_REACH_PRIV_H

#include <vmatlas/reach.h>

#include "base/arena.h"
#include "heap/heap_priv.h"
#include "reach/edge_index.h"
#include "reach/search.h"

enum { VMAT_REACH_HINT = 1024 };

/* What is known of a chunk. */
enum vmat_reach_flag {
	VMAT_CHUNK_USED = 1,
	VMAT_REACHED = 2,       /* from a root, by any address */
	VMAT_REACHED_START = 4, /* from a root, by addresses of beginnings only */
};

/* A root that is a register: byte `offset` of the general ones, as stop_repair.h orders them, or of the extended. */
#define VMAT_PLACE_REGISTER(tid, offset) \
	(UINT64_C(1) << 63 | (uint64_t)(unsigned)(tid) << 16 | (uint64_t)(offset))
#define VMAT_PLACE_EXTENDED 0x1000

/* A growing array in reserved address space. */
struct vmat_words {
	uint32_t *words;
	size_t count;
	size_t capacity;
};

struct vmat_reach_segment {
	const struct vmat_heap_segment *segment;
	uint32_t first_granule; /* counted over all segments */
	uint32_t first_chunk;
	uint32_t *ranks; /* chunks before each 64 granules */
};

struct vmat_leaks_priv {
	struct vmat_arena arena;
	struct vmat_stacks *stacks;
	struct vmat_reach_segment *segments;
	size_t segments_count;
	uint64_t *ends;       /* of the segments: what a search by address looks at */
	uint32_t *by_granule; /* the segment of each VMAT_REACH_HINT-th granule, and one more */
	unsigned word_size;   /* of the target's addresses: 8 or 4 */
	uint64_t low, high;   /* all segments lie in here */
	unsigned header;      /* what a block's address is behind its chunk's */

	struct vmat_words roots; /* granules */
	struct vmat_words
		edges; /* granules, chunk by chunk; 31 bits and whether it is the beginning */
	struct vmat_edge_index index; /* which of them are a chunk's */
	size_t chunks_count;

	/* For who wants to know the way to a block (chain.c); else empty. */
	bool has_places;
	struct vmat_words
		root_places; /* two words for each root: its address or VMAT_PLACE_REGISTER */
	struct vmat_words edge_places; /* for each edge how many 4 bytes behind its chunk it lies */
	_Atomic unsigned char *flags;  /* of each chunk: enum vmat_reach_flag */
	uint64_t *stack_pointers;      /* of each of `stacks`; 0: not known */

	uint64_t unread; /* bytes that may hold addresses and could not be read */
	const struct vmat_excluded *excluded; /* the caller's, while the target stands */
	size_t excluded_count;
	struct vmat_strings types;
};

/* root.c: what the roots and the chunks refer to. While the target stands. */
int vmat_reach_collect(struct vmat_leaks *leaks, const struct vmat_stop *stop);

/* mark.c: what can be reached, and the leaks among the rest. */
int vmat_reach_mark(struct vmat_leaks *leaks);

/* leaks.c: all of a reading but what the leaks hold. */
int vmat_reach_read(struct vmat_leaks **ret, struct vmat_target *target, const struct vmat_map *map,
		    const struct vmat_leaks_options *options, bool has_places,
		    struct vmat_error *err);

int vmat_words_init(struct vmat_words *words, size_t capacity);
void vmat_words_deinit(struct vmat_words *words);
/* Appends all of `from`, which is empty then; little memory is needed beyond what they have. There must be room. */
void vmat_words_move(struct vmat_words *to, struct vmat_words *from);

#endif
