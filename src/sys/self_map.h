/* SPDX-License-Identifier: MIT */
/*
 * self_map.h: the regions of this process, one address at a time, for code that runs inside of anybody.
 *
 * Nothing here allocates, locks or changes errno, so it may be called in a signal handler and by an
 * interposed mmap(2). One descriptor of /proc/self/maps is kept for PROCMAP_QUERY; it shows the
 * process that opened it, so a child of fork(2) opens its own (the word that names it is wiped on
 * fork). Where the kernel lacks PROCMAP_QUERY (before 6.11), maps or smaps is read as text up to the address.
 */
#ifndef VMAT_SELF_MAP_H
#define VMAT_SELF_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vmat_self_kind {
	VMAT_SELF_OTHER, /* anonymous, or of a name that says nothing here */
	VMAT_SELF_FILE,
	VMAT_SELF_HEAP,  /* [heap]: grows and shrinks by brk(2) */
	VMAT_SELF_STACK, /* [stack]: that of the first thread */
};

struct vmat_self_region {
	uintptr_t start;
	uintptr_t end;
	int prot;         /* PROT_READ | PROT_WRITE | PROT_EXEC */
	size_t page_size; /* of the mapping; 0 where it was not asked for and is not told */
	enum vmat_self_kind kind;
	bool is_shared; /* MAP_SHARED */
};

/*
 * Calls fn for each region that holds a byte of [start, end), in order and without a gap, until it
 * returns something else than 0, and returns that; 0 at the end.
 *
 * Errors:  -ENOENT at the first byte that is not mapped; -ENOTSUP where /proc does not tell.
 * Cost:    0.4 to 0.7 us for each region with PROCMAP_QUERY; else a read of maps up to `end`, or of
 *          smaps (1 to 4 us for each region below) when page_size is wanted.
 */
int vmat_sys_self_walk(uintptr_t start, uintptr_t end, bool want_page_size,
		       int (*fn)(const struct vmat_self_region *region, void *context),
		       void *context);

/* The region that holds an address, with its page size. 0, -ENOENT or -ENOTSUP. */
int vmat_sys_self_region(uintptr_t addr, struct vmat_self_region *ret);

#endif
