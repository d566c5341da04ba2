/* SPDX-License-Identifier: MIT */
/*
 * malloc_sizes.h: the size grids of allocators, as far as they are rules: what a request of n bytes becomes.
 *
 * From the sources of each; tests/live/prim_goodsize.py compares every size with the allocator itself. A usable size is what
 * malloc_usable_size() says of the block. 64-bit, pages of 4 KiB.
 */
#ifndef VMAT_MALLOC_SIZES_H
#define VMAT_MALLOC_SIZES_H

#include <stdint.h>

/* glibc: request2size(). The chunk of a request with its header; its usable size is 8 less. */
uint64_t vmat_glibc_chunk(uint64_t size);

/* glibc to 2.42: the usable size of a chunk with a mapping of its own. */
uint64_t vmat_glibc_mapped(uint64_t chunk, uint64_t page_size);

/* jemalloc 5, built with pages of 4 KiB and a quantum of 16: four classes for each doubling. */
uint64_t vmat_jemalloc_usable(uint64_t size);

/* mimalloc 2.0.9. */
uint64_t vmat_mimalloc_usable(uint64_t size);

#endif
