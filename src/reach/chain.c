/* SPDX-License-Identifier: MIT */
/* Ways from roots to blocks: see chain.h. */
#include "reach/chain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "reach/chunk_number.h"

#define NOT_REACHED UINT32_MAX
#define OF_ROOT     0x80000000u

/* In which order roots are followed: what a program's author calls by name comes first. */
enum { STATIC, STACK, REGISTER, RANKS };

static uint64_t root_place(const struct vmat_leaks_priv *priv, size_t i)
{
	return priv->root_places.words[2 * i] | (uint64_t)priv->root_places.words[2 * i + 1] << 32;
}

static unsigned rank_of(const struct vmat_leaks_priv *priv, uint64_t tls_size, uint64_t place)
{
	if (place >> 63)
		return REGISTER;
	for (size_t i = 0; priv->stacks && i < priv->stacks->count; i++) {
		const struct vmat_stack *stack = &priv->stacks->stacks[i];

		uint64_t descriptor = stack->thread_addr;

		if (!vmat_is_known(stack->begin) || place < stack->begin || place >= stack->end)
			continue;
		/* Above what the thread uses of its stack lie its storage and its descriptor. */
		if (vmat_is_known(descriptor) && descriptor >= stack->begin &&
		    descriptor < stack->end && place >= descriptor - tls_size)
			return STATIC;
		/* Below the stack pointer are only the scratch registers of a leaf function. */
		return priv->stack_pointers && place < priv->stack_pointers[i] ? REGISTER : STACK;
	}
	return STATIC;
}

/* Takes an edge that leads to a block that was not reached yet; its number, else VMAT_NO_CHUNK. */
static uint32_t take(const struct vmat_chains *chains, uint32_t edge, uint32_t by)
{
	uint32_t chunk = VMAT_EDGE_CHUNK(edge);

	if (edge == VMAT_NO_CHUNK || !(chains->priv->flags[chunk] & VMAT_CHUNK_USED) ||
	    chains->via[chunk] != NOT_REACHED)
		return VMAT_NO_CHUNK;
	chains->via[chunk] = by;
	return chunk;
}

static void search(const struct vmat_chains *chains, const unsigned char *ranks, uint32_t *queue)
{
	const struct vmat_leaks_priv *priv = chains->priv;
	size_t first = 0, count = 0;

	for (unsigned rank = 0; rank < RANKS; rank++) {
		for (size_t i = 0; i < priv->roots.count; i++) {
			uint32_t chunk = ranks[i] != rank ? VMAT_NO_CHUNK
							  : take(chains, priv->roots.words[i],
								 OF_ROOT | (uint32_t)i);

			if (chunk != VMAT_NO_CHUNK)
				queue[count++] = chunk;
		}
		for (; first < count; first++) {
			uint32_t begin = vmat_edge_first(&priv->index, queue[first]);
			uint32_t end = begin + vmat_edge_count(&priv->index, queue[first]);

			for (uint32_t i = begin; i < end; i++) {
				uint32_t chunk = take(chains, priv->edges.words[i], i);

				if (chunk != VMAT_NO_CHUNK)
					queue[count++] = chunk;
			}
		}
	}
}

int vmat_chains_init(struct vmat_chains *chains, const struct vmat_leaks_priv *priv,
		     uint64_t tls_size)
{
	vmat_autofree unsigned char *ranks = calloc(priv->roots.count + 1, 1);
	vmat_autofree uint32_t *queue = malloc((priv->chunks_count + 1) * sizeof(*queue));

	*chains = (struct vmat_chains){ .priv = priv };
	/* Numbers of references have 31 bits here. */
	if (priv->edges.count >= OF_ROOT || priv->roots.count >= OF_ROOT - 1)
		return -ENOMEM;
	chains->via = malloc((priv->chunks_count + 1) * sizeof(*chains->via));
	if (!ranks || !queue || !chains->via)
		return -ENOMEM;
	memset(chains->via, 0xff, (priv->chunks_count + 1) * sizeof(*chains->via));
	for (size_t i = 0; i < priv->roots.count; i++)
		ranks[i] = (unsigned char)rank_of(priv, tls_size, root_place(priv, i));
	search(chains, ranks, queue);
	return 0;
}

void vmat_chains_deinit(struct vmat_chains *chains)
{
	free(chains->via);
	chains->via = NULL;
}

uint32_t vmat_chains_chunk(const struct vmat_chains *chains, uint64_t chunk_addr)
{
	return vmat_chunk_at(chains->priv, chunk_addr);
}

static struct vmat_link link_of_edge(const struct vmat_leaks_priv *priv, uint32_t edge)
{
	const uint32_t from = vmat_edge_owner(&priv->index, edge),
		       offset = priv->edge_places.words[edge];

	return (struct vmat_link){
		.from = from,
		.to = VMAT_EDGE_CHUNK(priv->edges.words[edge]),
		.is_into = priv->edges.words[edge] & VMAT_EDGE_INTO,
		.place = offset == UINT32_MAX ? VMAT_UNKNOWN(VMAT_NOT_FOUND)
					      : vmat_chunk_addr(priv, from) + (uint64_t)offset * 4,
	};
}

static struct vmat_link link_of_root(const struct vmat_leaks_priv *priv, uint32_t root)
{
	return (struct vmat_link){
		.is_root = true,
		.from = VMAT_NO_CHUNK,
		.to = VMAT_EDGE_CHUNK(priv->roots.words[root]),
		.is_into = priv->roots.words[root] & VMAT_EDGE_INTO,
		.place = root_place(priv, root),
	};
}

static struct vmat_link link_to(const struct vmat_chains *chains, uint32_t chunk)
{
	uint32_t via = chains->via[chunk];

	return via & OF_ROOT ? link_of_root(chains->priv, via & ~OF_ROOT)
			     : link_of_edge(chains->priv, via);
}

size_t vmat_chains_way(const struct vmat_chains *chains, uint32_t chunk, struct vmat_link *links,
		       size_t count, uint64_t *total)
{
	struct vmat_link link;
	uint64_t length = 0, behind = 0;

	*total = 0;
	if (chains->via[chunk] == NOT_REACHED)
		return 0;
	/* Each step leads to a chunk that was reached before: it ends. */
	for (uint32_t at = chunk; at != VMAT_NO_CHUNK; length++)
		at = link_to(chains, at).from;
	*total = length;
	for (uint32_t at = chunk; at != VMAT_NO_CHUNK; at = link.from, behind++) {
		uint64_t before = length - 1 - behind; /* links nearer to the root */

		link = link_to(chains, at);
		if (length <= count || before < count / 2)
			links[before] = link;
		else if (behind < count - count / 2)
			links[count - 1 - behind] = link;
	}
	return length < count ? (size_t)length : count;
}

size_t vmat_chains_referrers(const struct vmat_chains *chains, uint32_t chunk,
			     struct vmat_link *links, size_t count, uint64_t *total)
{
	const struct vmat_leaks_priv *priv = chains->priv;
	const uint32_t begin = vmat_edge_first(&priv->index, chunk);
	const uint32_t end = begin + vmat_edge_count(&priv->index, chunk);

	*total = 0;
	for (size_t i = 0; i < priv->roots.count; i++) {
		if (priv->roots.words[i] == VMAT_NO_CHUNK ||
		    VMAT_EDGE_CHUNK(priv->roots.words[i]) != chunk)
			continue;
		if (*total < count)
			links[*total] = link_of_root(priv, (uint32_t)i);
		(*total)++;
	}
	for (size_t i = 0; i < priv->edges.count; i++) {
		if (priv->edges.words[i] == VMAT_NO_CHUNK ||
		    VMAT_EDGE_CHUNK(priv->edges.words[i]) != chunk || (i >= begin && i < end))
			continue;
		if (*total < count)
			links[*total] = link_of_edge(priv, (uint32_t)i);
		(*total)++;
	}
	return *total < count ? (size_t)*total : count;
}
