/* SPDX-License-Identifier: MIT */
/*
 * mark.c: from references to what is reachable, and from what is not to leaks.
 *
 * Chunks have numbers, in the order of their addresses. Everything is arrays over these numbers; nothing
 * here reads the target.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "reach/chunk_number.h"
#include "reach/reach_priv.h"
#include "reach/search.h"

/* What is known of a chunk. */
enum {
	IN_USE = VMAT_CHUNK_USED,
	REACHED = VMAT_REACHED,
	REACHED_START = VMAT_REACHED_START,
	HELD = 8,  /* a leak that another leak refers to */
	SEEN = 16, /* in a search among the leaks */
};

struct marker {
	struct vmat_leaks *leaks;
	struct vmat_leaks_priv *priv;
	_Atomic unsigned char *flags; /* two threads search; the rest of this file is one */
	const uint32_t *edges;
	uint32_t *stack;
	size_t stack_count;
};

#define INTO        VMAT_EDGE_INTO
#define CHUNK(edge) VMAT_EDGE_CHUNK(edge)

static const uint32_t *edges_of(const struct marker *marker, uint32_t chunk, uint32_t *count)
{
	*count = vmat_edge_count(&marker->priv->index, chunk);
	return marker->edges + vmat_edge_first(&marker->priv->index, chunk);
}

static void seed_roots(struct marker *marker, struct vmat_search *search, bool only_starts,
		       unsigned i, unsigned parts)
{
	const struct vmat_words *roots = &marker->priv->roots;

	for (size_t k = roots->count * i / parts; k < roots->count * (i + 1) / parts; k++) {
		uint32_t edge = vmat_chunk_edge(marker->priv, roots->words[k]);

		if (edge != VMAT_NO_CHUNK && !(only_starts && edge & INTO))
			vmat_search_consider(search, CHUNK(edge));
	}
}

/* First what addresses of beginnings lead to; those are most, and count as reached in both senses. */
static void seed_starts(struct vmat_search *search, void *context, unsigned i, unsigned parts)
{
	seed_roots(context, search, true, i, parts);
}

/* Then what addresses into blocks add to that. */
static void seed_any(struct vmat_search *search, void *context, unsigned i, unsigned parts)
{
	struct marker *marker = context;
	size_t count = marker->priv->chunks_count;
	const uint32_t *edges;
	uint32_t edges_count;

	seed_roots(marker, search, false, i, parts);
	for (size_t chunk = count * i / parts; chunk < count * (i + 1) / parts; chunk++) {
		if (!(marker->flags[chunk] & REACHED_START))
			continue;
		edges = edges_of(marker, (uint32_t)chunk, &edges_count);
		for (uint32_t k = 0; k < edges_count; k++) {
			uint32_t edge = edges[k];

			if (edge != VMAT_NO_CHUNK && edge & INTO)
				vmat_search_consider(search, CHUNK(edge));
		}
	}
}

static void prepare(void *context, unsigned i, unsigned parts)
{
	struct marker *marker = context;

	vmat_chunks_flag_used(marker->priv, marker->flags, IN_USE, i, parts);
	vmat_chunks_resolve(marker->priv, i, parts);
}

static int mark_reached(struct marker *marker)
{
	const struct vmat_search_graph graph = {
		.flags = marker->flags,
		.index = &marker->priv->index,
		.edges = marker->edges,
		.chunks_count = marker->priv->chunks_count,
		.in_use = IN_USE,
	};
	int err = vmat_chunks_number(marker->priv);

	if (err)
		return err;
	vmat_in_parts(prepare, marker, vmat_search_parts(graph.chunks_count));
	err = vmat_search_run(&graph, REACHED | REACHED_START, true, seed_starts, marker);
	return err ? err : vmat_search_run(&graph, REACHED, false, seed_any, marker);
}

static bool is_leak(const struct marker *marker, uint32_t chunk)
{
	return (marker->flags[chunk] & (IN_USE | REACHED)) == IN_USE;
}

_Static_assert(REACHED == IN_USE << 1, "a shift brings one over the other");

/* Is any of these eight flags that of a leak? */
static bool has_leak(const _Atomic unsigned char *flags)
{
	const uint64_t lowest = UINT64_C(0x0101010101010101);
	uint64_t eight;

	memcpy(&eight, (const void *)(uintptr_t)flags,
	       sizeof(eight)); /* nobody else writes any more */
	return eight & ~(eight >> 1) & lowest * IN_USE;
}

/* The first leak from a chunk on, or chunks_count. Most chunks are none. */
static uint32_t next_leak(const struct marker *marker, uint32_t chunk)
{
	const uint32_t count = (uint32_t)marker->priv->chunks_count;

	for (; chunk < count; chunk++) {
		while (count - chunk >= 8 && !has_leak(&marker->flags[chunk]))
			chunk += 8;
		if (chunk < count && is_leak(marker, chunk))
			break;
	}
	return chunk;
}

static uint64_t usable(const struct marker *marker, uint32_t chunk)
{
	struct vmat_chunk found;

	return vmat_heap_find(marker->leaks->heap, vmat_chunk_addr(marker->priv, chunk), &found)
		       ? found.block_size
		       : 0;
}

static int add_leak(struct marker *marker, uint32_t chunk, size_t *capacity)
{
	struct vmat_leaks *leaks = marker->leaks;
	struct vmat_leak *leak;
	struct vmat_chunk found;

	if (leaks->count == *capacity) {
		size_t more_capacity = *capacity ? 2 * *capacity : 64;
		struct vmat_leak *more = realloc(leaks->leaks, more_capacity * sizeof(*more));

		if (!more)
			return -ENOMEM;
		leaks->leaks = more;
		*capacity = more_capacity;
	}
	leak = &leaks->leaks[leaks->count++];
	*leak = (struct vmat_leak){
		.addr = vmat_chunk_addr(marker->priv, chunk),
		.size = usable(marker, chunk),
	};
	if (vmat_heap_find(leaks->heap, leak->addr, &found))
		leak->addr = found.block_addr;
	leaks->direct_count++;
	leaks->direct_bytes += leak->size;
	return 0;
}

/* Counts what hangs on a head, and takes it away from the others. */
static void take_indirect(struct marker *marker, uint32_t head)
{
	struct vmat_leak *leak = &marker->leaks->leaks[marker->leaks->count - 1];

	marker->flags[head] |= SEEN;
	marker->stack[marker->stack_count++] = head;
	while (marker->stack_count) {
		uint32_t count;
		const uint32_t *edges =
			edges_of(marker, marker->stack[--marker->stack_count], &count);

		for (uint32_t i = 0; i < count; i++) {
			uint32_t target = CHUNK(edges[i]);

			if (edges[i] == VMAT_NO_CHUNK || !is_leak(marker, target) ||
			    marker->flags[target] & SEEN)
				continue;
			marker->flags[target] |= SEEN;
			leak->indirect_count++;
			leak->indirect_bytes += usable(marker, target);
			marker->stack[marker->stack_count++] = target;
		}
	}
	marker->leaks->indirect_count += leak->indirect_count;
	marker->leaks->indirect_bytes += leak->indirect_bytes;
}

/*
 * The order in which a depth-first search leaves the leaks that are not SEEN: rings of blocks have no head, but the
 * one left last in its part of the graph leads to all the others of that part.
 */
static size_t leave_order(struct marker *marker, uint32_t *order, uint32_t *positions)
{
	size_t count = 0;

	for (uint32_t first = next_leak(marker, 0); first < marker->priv->chunks_count;
	     first = next_leak(marker, first + 1)) {
		if (marker->flags[first] & (SEEN | HELD))
			continue;
		marker->flags[first] |= HELD; /* entered */
		positions[first] = 0;
		marker->stack[marker->stack_count++] = first;
		while (marker->stack_count) {
			uint32_t chunk = marker->stack[marker->stack_count - 1];
			uint32_t edges_count, edge, target;
			const uint32_t *edges = edges_of(marker, chunk, &edges_count);

			if (positions[chunk] == edges_count) {
				order[count++] = chunk;
				marker->stack_count--;
				continue;
			}
			edge = edges[positions[chunk]++];
			target = CHUNK(edge);
			if (edge == VMAT_NO_CHUNK || !is_leak(marker, target) ||
			    marker->flags[target] & (SEEN | HELD))
				continue;
			marker->flags[target] |= HELD;
			positions[target] = 0;
			marker->stack[marker->stack_count++] = target;
		}
	}
	return count;
}

static int find_heads(struct marker *marker)
{
	size_t count = marker->priv->chunks_count, capacity = 0, left;
	vmat_autofree uint32_t *order = NULL, *positions = NULL;
	int err = 0;

	for (uint32_t chunk = next_leak(marker, 0); chunk < count;
	     chunk = next_leak(marker, chunk + 1)) {
		uint32_t edges_count;
		const uint32_t *edges = edges_of(marker, chunk, &edges_count);

		for (uint32_t i = 0; i < edges_count; i++) {
			uint32_t target = CHUNK(edges[i]);

			if (edges[i] != VMAT_NO_CHUNK && target != chunk && is_leak(marker, target))
				marker->flags[target] |= HELD;
		}
	}
	for (uint32_t chunk = next_leak(marker, 0); chunk < count && !err;
	     chunk = next_leak(marker, chunk + 1)) {
		if (marker->flags[chunk] & HELD)
			continue;
		err = add_leak(marker, chunk, &capacity);
		if (!err)
			take_indirect(marker, chunk);
	}
	if (err)
		return err;
	for (uint32_t chunk = next_leak(marker, 0); chunk < count;
	     chunk = next_leak(marker, chunk + 1))
		marker->flags[chunk] &= (unsigned char)~HELD;
	order = malloc((count + 1) * sizeof(*order));
	positions = malloc((count + 1) * sizeof(*positions));
	if (!order || !positions)
		return -ENOMEM;
	left = leave_order(marker, order, positions);
	while (left-- > 0 && !err) {
		if (marker->flags[order[left]] & SEEN)
			continue;
		err = add_leak(marker, order[left], &capacity);
		if (!err)
			take_indirect(marker, order[left]);
	}
	return err;
}

static int compare_leaks(const void *a, const void *b)
{
	const struct vmat_leak *x = a, *y = b;
	uint64_t size_x = x->size + x->indirect_bytes, size_y = y->size + y->indirect_bytes;

	if (size_x != size_y)
		return size_x < size_y ? 1 : -1;
	return (x->addr > y->addr) - (x->addr < y->addr);
}

static int mark_all(struct marker *marker)
{
	struct vmat_leaks *leaks = marker->leaks;
	int err = mark_reached(marker);

	if (err)
		return err;
	for (uint32_t chunk = 0; chunk < marker->priv->chunks_count; chunk++) {
		if (marker->flags[chunk] & IN_USE)
			leaks->blocks++;
		if ((marker->flags[chunk] & (REACHED | REACHED_START)) == REACHED) {
			leaks->interior_count++;
			leaks->interior_bytes += usable(marker, chunk);
		}
	}
	err = find_heads(marker);
	if (!err && leaks->count)
		qsort(leaks->leaks, leaks->count, sizeof(*leaks->leaks), compare_leaks);
	return err;
}

int vmat_reach_mark(struct vmat_leaks *leaks)
{
	struct vmat_leaks_priv *priv = leaks->priv;
	struct marker marker = { .leaks = leaks, .priv = priv };
	int err = -ENOMEM;

	priv->chunks_count = priv->index.count;
	marker.flags = calloc(priv->chunks_count + 1, 1);
	marker.stack = malloc((priv->chunks_count + 1) * sizeof(*marker.stack));
	marker.edges = priv->edges.words; /* in place: a noted granule becomes an edge */
	if (marker.flags && marker.stack)
		err = mark_all(&marker);
	if (!err && priv->has_places) { /* chain.c goes on from here */
		for (size_t i = 0; i < priv->roots.count; i++)
			priv->roots.words[i] = vmat_chunk_edge(priv, priv->roots.words[i]);
		priv->flags = vmat_take_ptr(&marker.flags);
	}
	free(marker.flags);
	free(marker.stack);
	return err;
}
