/* SPDX-License-Identifier: MIT */
#include "reach/edge_index.h"

#include <errno.h>
#include <stdlib.h>

#include "heap/heap_priv.h"

static size_t groups_of(size_t chunks)
{
	return chunks / VMAT_EDGES_GROUP + 1;
}

int vmat_edge_index_init(struct vmat_edge_index *index, size_t capacity)
{
	*index = (struct vmat_edge_index){ .capacity = capacity };
	index->counts = vmat_heap_reserve(groups_of(capacity) * VMAT_EDGES_GROUP);
	index->firsts = vmat_heap_reserve(groups_of(capacity) * sizeof(*index->firsts));
	return index->counts && index->firsts ? 0 : -ENOMEM;
}

void vmat_edge_index_deinit(struct vmat_edge_index *index)
{
	vmat_heap_unreserve(index->counts, groups_of(index->capacity) * VMAT_EDGES_GROUP);
	vmat_heap_unreserve(index->firsts, groups_of(index->capacity) * sizeof(*index->firsts));
	free(index->many);
	*index = (struct vmat_edge_index){ 0 };
}

static int add_many(struct vmat_edge_index *index, uint32_t chunk, uint32_t more)
{
	if (index->many_count == index->many_capacity) {
		size_t capacity = index->many_capacity ? 2 * index->many_capacity : 64;
		struct vmat_many_edges *grown =
			realloc(index->many, capacity * sizeof(*index->many));

		if (!grown)
			return -ENOMEM;
		index->many = grown;
		index->many_capacity = capacity;
	}
	index->many[index->many_count++] = (struct vmat_many_edges){ chunk, more };
	return 0;
}

int vmat_edge_index_add(struct vmat_edge_index *index, uint32_t end)
{
	uint32_t chunk = (uint32_t)index->count, count = end - index->end;

	if (index->count == index->capacity)
		return -E2BIG;
	if (chunk % VMAT_EDGES_GROUP == 0)
		index->firsts[chunk / VMAT_EDGES_GROUP] = index->end;
	if (count < VMAT_EDGES_MANY) {
		index->counts[chunk] = (unsigned char)count;
	} else {
		int err = add_many(index, chunk, count - VMAT_EDGES_MANY);

		if (err)
			return err;
		index->counts[chunk] = VMAT_EDGES_MANY;
	}
	index->count++;
	index->end = end;
	return 0;
}

int vmat_edge_index_move(struct vmat_edge_index *index, struct vmat_edge_index *from)
{
	int err = 0;

	for (size_t i = 0; i < from->count && !err; i++)
		err = vmat_edge_index_add(index, index->end + vmat_edge_count(from, (uint32_t)i));
	from->count = 0;
	return err;
}

uint32_t vmat_edge_index_more(const struct vmat_edge_index *index, uint32_t chunk, uint32_t end)
{
	size_t low = 0, high = index->many_count;
	uint32_t more = 0;

	while (low < high) { /* the first that is not below chunk */
		size_t middle = low + (high - low) / 2;

		if (index->many[middle].chunk < chunk)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < index->many_count && index->many[low].chunk < end; low++)
		more += index->many[low].more;
	return more;
}

uint32_t vmat_edge_owner(const struct vmat_edge_index *index, uint32_t edge)
{
	size_t low = 0, high = groups_of(index->count - 1);
	uint32_t chunk, end;

	while (low + 1 < high) { /* the last group that begins at this edge or before */
		size_t middle = low + (high - low) / 2;

		if (index->firsts[middle] <= edge)
			low = middle;
		else
			high = middle;
	}
	chunk = (uint32_t)low * VMAT_EDGES_GROUP;
	end = index->firsts[low];
	while (chunk + 1 < index->count && (end += vmat_edge_count(index, chunk)) <= edge)
		chunk++;
	return chunk;
}
