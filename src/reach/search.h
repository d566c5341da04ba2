/* SPDX-License-Identifier: MIT */
/*
 * search.h: which chunks can be reached from some, along references, by one thread or by two.
 *
 * Blocks lie at random, so every step of a search waits for memory. While there is much to follow, chunks that were
 * found wait, by a bit of their flags, for a sweep over all chunks in the order of their numbers: it reads
 * references one behind the other, and only flags at random. When little is left (a list, whose next chunk
 * is known only then), it goes by a stack. Both ways targets go through a short queue: by the time that one comes
 * out, its flags, asked for when it went in, are in the cache.
 *
 * Two threads wait for memory side by side. They share the flags: both may come upon a chunk at once and follow it
 * twice, which costs a little and changes nothing. In one search every write of a chunk's flags adds the same bits,
 * but for VMAT_SEARCH_WAITS, which only the sweep that follows the chunk at once takes away.
 */
#ifndef VMAT_SEARCH_H
#define VMAT_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reach/edge_index.h"

/* An edge, once granules have become chunks: bit 31 says that it leads into the chunk, not to its beginning. */
#define VMAT_NO_CHUNK         UINT32_MAX
#define VMAT_EDGE_INTO        0x80000000u
#define VMAT_EDGE_CHUNK(edge) ((edge) & ~VMAT_EDGE_INTO)

/* In the flags of a chunk, during a search: it is reached, and what it refers to is not followed yet. */
#define VMAT_SEARCH_WAITS 32

struct vmat_search_graph {
	_Atomic unsigned char *flags; /* of each chunk */
	const struct vmat_edge_index *index;
	const uint32_t *edges;
	size_t chunks_count;
	unsigned char in_use; /* the flag without which a chunk is passed by */
};

struct vmat_search;

/* A chunk that can be reached; called by a seed. */
void vmat_search_consider(struct vmat_search *search, uint32_t chunk);

/* Runs part(context, i, parts) for each i below `parts`, at the same time. Where no thread can be had, one after the other. */
void vmat_in_parts(void (*part)(void *context, unsigned i, unsigned parts), void *context,
		   unsigned parts);

/* How many threads are worth while for `count` chunks on this machine: 1 or 2. */
unsigned vmat_search_parts(size_t count);

/*
 * Sets `flag` on every chunk that can be reached from those that `seed` considers, each part of it its share;
 * along edges to beginnings only, if only_starts. 0 or -ENOMEM.
 */
int vmat_search_run(const struct vmat_search_graph *graph, unsigned char flag, bool only_starts,
		    void (*seed)(struct vmat_search *search, void *context, unsigned i,
				 unsigned parts),
		    void *context);

#endif
