/* SPDX-License-Identifier: MIT */
/*
 * edge_index.h: which of all edges are those of a chunk, for chunks that are numbered in order.
 *
 * Most chunks have few edges: a byte each, and the first edge of each sixteenth chunk. Four bytes for each would be a
 * sixth of all that finding leaks needs.
 */
#ifndef VMAT_EDGE_INDEX_H
#define VMAT_EDGE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { VMAT_EDGES_GROUP = 16, VMAT_EDGES_MANY = 255 };

struct vmat_edge_index {
	unsigned char *counts; /* VMAT_EDGES_MANY: that many or more, see `many`; whole groups */
	uint32_t *firsts;      /* of each group */
	size_t count;          /* chunks */
	size_t capacity;
	uint32_t end; /* behind the last edge */

	struct vmat_many_edges {
		uint32_t chunk;
		uint32_t more; /* than VMAT_EDGES_MANY */
	} * many;              /* ascending */

	size_t many_count, many_capacity;
};

/* 0 or -ENOMEM. Address space for `capacity` chunks, which costs memory only as it is used. */
int vmat_edge_index_init(struct vmat_edge_index *index, size_t capacity);
void vmat_edge_index_deinit(struct vmat_edge_index *index);

/* The next chunk has the edges from index->end up to `end`. 0, -E2BIG or -ENOMEM. */
int vmat_edge_index_add(struct vmat_edge_index *index, uint32_t end);

/* Appends the chunks of `from`, whose edges have been put behind those of `index`; `from` is left empty. As above. */
int vmat_edge_index_move(struct vmat_edge_index *index, struct vmat_edge_index *from);

/* What `many` says of chunks [chunk, end). */
uint32_t vmat_edge_index_more(const struct vmat_edge_index *index, uint32_t chunk, uint32_t end);

/* How many edges the chunk has. */
static inline uint32_t vmat_edge_count(const struct vmat_edge_index *index, uint32_t chunk)
{
	uint32_t count = index->counts[chunk];

	return count < VMAT_EDGES_MANY ? count
				       : count + vmat_edge_index_more(index, chunk, chunk + 1);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "the bytes of a word are counts in order");

/* The sum of the bytes of a word. */
static inline uint32_t vmat_sum_of_bytes(uint64_t word)
{
	const uint64_t low = UINT64_C(0x00ff00ff00ff00ff);

	return (uint32_t)((((word & low) + (word >> 8 & low)) * UINT64_C(0x0001000100010001)) >>
			  48);
}

/* The first edge of the chunk. */
static inline uint32_t vmat_edge_first(const struct vmat_edge_index *index, uint32_t chunk)
{
	uint32_t group = chunk & ~(uint32_t)(VMAT_EDGES_GROUP - 1), within = chunk - group;
	uint32_t first = index->firsts[group / VMAT_EDGES_GROUP];
	uint64_t halves[2];

	memcpy(halves, index->counts + group, sizeof(halves));
	if (within >= 8)
		first += vmat_sum_of_bytes(halves[0]);
	if (within % 8)
		first += vmat_sum_of_bytes(halves[within / 8] << (64 - within % 8 * 8));
	if (index->many_count && within)
		first += vmat_edge_index_more(index, group, chunk);
	return first;
}

/* The chunk that an edge is of: the only one with first <= edge < first + count. */
uint32_t vmat_edge_owner(const struct vmat_edge_index *index, uint32_t edge);

#endif
