/* SPDX-License-Identifier: MIT */
/*
 * chunk_number.h: chunks by number. They are numbered in the order of their addresses over all segments, so a number
 * and an address lead to each other by the bitmap of beginnings and by ranks, and no table of addresses is kept.
 */
#ifndef VMAT_CHUNK_NUMBER_H
#define VMAT_CHUNK_NUMBER_H

#include "reach/reach_priv.h"

/* Gives every segment its first number and its ranks. 0 or -ENOMEM. */
int vmat_chunks_number(struct vmat_leaks_priv *priv);

/* The address of a chunk. */
uint64_t vmat_chunk_addr(const struct vmat_leaks_priv *priv, uint32_t chunk);

/* The number of the chunk at an address; VMAT_NO_CHUNK where none begins. */
uint32_t vmat_chunk_at(const struct vmat_leaks_priv *priv, uint64_t chunk_addr);

/*
 * A noted granule as an edge: the last chunk that begins at it or before, or VMAT_NO_CHUNK. Free chunks and the like
 * come out too; they are not in use and end there.
 */
uint32_t vmat_chunk_edge(const struct vmat_leaks_priv *priv, uint32_t noted);

/* All noted granules of the chunks as edges, in place: the i-th part of them. */
void vmat_chunks_resolve(struct vmat_leaks_priv *priv, unsigned i, unsigned parts);

/* Sets flags[number] to in_use for each chunk that is: of the i-th part of each segment. */
void vmat_chunks_flag_used(const struct vmat_leaks_priv *priv, _Atomic unsigned char *flags,
			   unsigned char in_use, unsigned i, unsigned parts);

#endif
