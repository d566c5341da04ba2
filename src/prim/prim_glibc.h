/* SPDX-License-Identifier: MIT */
/*
 * prim_glibc.h: glibc's malloc in this process, found without symbols, read without its locks.
 *
 * main_arena and mp_ lie in the writable data of the library that holds malloc. An arena is a place whose ring of arenas
 * comes back and whose 127 bins are closed; mp_ is the place whose thresholds and counters fit each other and whose
 * sbrk_base lies below the arena's top. Exactly one of each, else nothing is known.
 *
 * What lies in the library or is an arena is mapped for good and read directly; all else through
 * process_vm_readv(2), which fails where a load would trap.
 */
#ifndef VMAT_PRIM_GLIBC_H
#define VMAT_PRIM_GLIBC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct vmat_glibc {
	uintptr_t main_arena;
	uintptr_t mp;
	unsigned minor;                                        /* of glibc 2.N */
	unsigned bins;                                         /* offset in an arena */
	unsigned n_mmaps, mmapped_mem, sbrk_base, hp_pagesize; /* in mp_; hp_pagesize 0: none */
};

/*
 * Finds it around the address of malloc. -EAGAIN: it is not there, or not as it should be: before the first malloc, or while
 * other threads change it; -ENOTSUP: nor will it be.
 */
int vmat_glibc_find(struct vmat_glibc *ret, const void *malloc_address);

/* The usable size that malloc(size) would give to this thread. */
ssize_t vmat_glibc_good_size(const struct vmat_glibc *glibc, size_t size);

/* The usable size of the block at an address that may be anything; -EFAULT when it is none. */
ssize_t vmat_glibc_usable_size(const struct vmat_glibc *glibc, uintptr_t address);

#endif
