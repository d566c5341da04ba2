/* SPDX-License-Identifier: MIT */
/*
 * chain.h: ways from roots to blocks, and who refers to a block, over the references that leaks.c has read.
 *
 * Pure: nothing here reads the target.
 */
#ifndef VMAT_CHAIN_H
#define VMAT_CHAIN_H

#include "reach/reach_priv.h"

/* A reference by numbers. */
struct vmat_link {
	bool is_root;
	uint32_t from; /* the chunk that holds it; VMAT_NO_CHUNK for a root */
	uint32_t to;
	bool is_into;
	uint64_t place; /* address of the word, or VMAT_PLACE_REGISTER */
};

struct vmat_chains {
	const struct vmat_leaks_priv *priv;
	uint32_t *via; /* by which reference each chunk was reached first */
};

/*
 * Searches ways to all blocks: shortest ones, from static memory before stacks before registers. `tls_size` is how
 * much of a stack's end, below its thread's descriptor, is thread-local storage. 0 or -ENOMEM.
 */
int vmat_chains_init(struct vmat_chains *chains, const struct vmat_leaks_priv *priv,
		     uint64_t tls_size);
void vmat_chains_deinit(struct vmat_chains *chains);

/* The number of the chunk at this address; VMAT_NO_CHUNK. */
uint32_t vmat_chains_chunk(const struct vmat_chains *chains, uint64_t chunk_addr);

/*
 * The way to a chunk, from the root on: at most `count` links, of a longer way the first and the last. *total
 * is its length; 0 when it was not reached.
 */
size_t vmat_chains_way(const struct vmat_chains *chains, uint32_t chunk, struct vmat_link *links,
		       size_t count, uint64_t *total);

/* Who refers to a chunk, roots first, itself left out: at most `count`; *total is how many there are. */
size_t vmat_chains_referrers(const struct vmat_chains *chains, uint32_t chunk,
			     struct vmat_link *links, size_t count, uint64_t *total);

#endif
