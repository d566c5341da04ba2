/* SPDX-License-Identifier: MIT */
/*
 * span_table.h: the page size of each page of this process, as far as it is known; read without a lock.
 *
 * A tree of three tables over the page number, like the hardware's: 8192 entries of 32 GiB, each of 8192
 * entries of 4 MiB, each a leaf of 1024 codes of one byte. An entry may hold one code for all below
 * it. A leaf, once made, stays where it is for the life of the process and is only ever filled anew: so
 * a thread may remember the last leaf that it looked into, and one load tells whether it is the right one.
 *
 * There is one table, for there is one address space. One writer at a time (span_lock.h); the bytes are
 * atomic, so a reader finds the old code or the new one.
 */
#ifndef VMAT_SPAN_TABLE_H
#define VMAT_SPAN_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	SPAN_PAGE_SHIFT = 12,
	SPAN_LEAF_SHIFT = 22,
	SPAN_MIDDLE_SHIFT = 35,
	SPAN_ADDRESS_BITS = 48,
	SPAN_LEAF_CODES = 1 << (SPAN_LEAF_SHIFT - SPAN_PAGE_SHIFT),
};

/* Why a size is believed, in the upper two bits of a code; log2 of the size stands in the others. */
enum vmat_span_kind {
	VMAT_SPAN_UNKNOWN, /* the whole code is 0: the kernel must be asked */
	VMAT_SPAN_SET,     /* mapped by a call that we stand before */
	VMAT_SPAN_FILE, /* found in maps: a file of the loader's, or the first stack; gone with a dlclose at the latest */
	VMAT_SPAN_HEAP, /* found in maps: up to the program break, which is a variable of libc */
};

struct vmat_span_leaf {
	uintptr_t key; /* address >> SPAN_LEAF_SHIFT */
	_Atomic uint8_t codes[SPAN_LEAF_CODES];
};

/* Initial-exec: this is read in signal handlers and before dlopen(3) has ended, where nothing may be allocated. */
extern __thread const struct vmat_span_leaf *vmat_span_last
	__attribute__((tls_model("initial-exec")));

static inline uint8_t vmat_span_code(enum vmat_span_kind kind, unsigned log2_size)
{
	return (uint8_t)((unsigned)kind << 6 | log2_size);
}

/* It holds without a look at anything else: SET or FILE, and not 0. One comparison, for the fast path. */
static inline bool vmat_span_is_sure(uint8_t code)
{
	return (uint8_t)(code - 1) < (VMAT_SPAN_HEAP << 6) - 1;
}

/* The code at an address by the tree, which becomes the last leaf of this thread. 0 where nothing is known. */
uint8_t vmat_span_find(uintptr_t addr);

/* Whether the last leaf of this thread holds the address. */
static inline bool vmat_span_is_in(const struct vmat_span_leaf *leaf, uintptr_t addr)
{
	return leaf->key == addr >> SPAN_LEAF_SHIFT;
}

static inline uint8_t vmat_span_of_leaf(const struct vmat_span_leaf *leaf, uintptr_t addr)
{
	return atomic_load_explicit(&leaf->codes[addr >> SPAN_PAGE_SHIFT & (SPAN_LEAF_CODES - 1)],
				    memory_order_relaxed);
}

/* Puts a code on [start, end), rounded to whole pages; where memory for a table lacks, 0. The caller holds the lock. */
void vmat_span_set(uintptr_t start, uintptr_t end, uint8_t code);

/* Puts 0 wherever the code is of this kind. The caller holds the lock. */
void vmat_span_forget(enum vmat_span_kind kind);

#endif
