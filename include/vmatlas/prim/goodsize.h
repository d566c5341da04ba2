/* SPDX-License-Identifier: MIT */
/*
 * goodsize.h: what malloc gives: how large a block really is, before it is asked for and after.
 *
 * Who asks for 644 bytes and gets 656 can use all of them: by asking for 656. The size grid belongs to the
 * allocator that runs in this process, which is found out when it is first asked for, by the functions that its
 * library exports: glibc's malloc, jemalloc, mimalloc, gperftools' tcmalloc; musl where this library is built for it.
 * Nothing is allocated, and no allocator is linked. What cannot be known is -ENOTSUP, never a guess.
 *
 * For glibc the answer follows M_MMAP_THRESHOLD, its movement by free(3), M_MMAP_MAX and the tunables, for they are
 * read where malloc keeps them.
 */
#ifndef VMATLAS_PRIM_GOODSIZE_H
#define VMATLAS_PRIM_GOODSIZE_H

#include <vmatlas/prim/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "glibc", "jemalloc", "mimalloc", "tcmalloc" or "musl"; NULL when it is none of them. Lifetime: static. */
VMAT_API const char *vmat_allocator(void);

/*
 * malloc_usable_size() of the block that malloc(size) gives now, without allocating it. glibc may give 16 bytes more:
 * a free block whose rest would be too small is given whole.
 *
 * Errors:  -ENOTSUP the allocator is none of the above, or its rule for this size is not known (mimalloc above
 *          128 KiB but for 2.0.9; glibc before its first malloc, with huge pages of its own, on other than x86-64);
 *          -ENOMEM no block has this size.
 * MT-Safe; another thread may change what malloc would do before it is asked. AS-Unsafe the first time (dlsym(3)).
 * Cost:    a few ns; at glibc's threshold and above up to 2 us.
 */
VMAT_API ssize_t vmat_good_size(size_t size);

/*
 * The usable size of the block at `pointer`, which may be any value: nothing of it is trusted or touched.
 *
 * A pointer that malloc never gave is -EFAULT where the allocator's records show it: those of glibc must fit each
 * other on both sides of the block; for jemalloc, mimalloc and tcmalloc a pointer into the inside of a block
 * counts as that block. A block that was freed is -EFAULT or still has its size: caches of free blocks look like use.
 *
 * Errors:  -EFAULT; -EINVAL for NULL; -ENOTSUP as above; for jemalloc and musl also -EAGAIN, -ENOMEM: no child process,
 *          or none that answered within two seconds.
 * MT-Safe. AS-Unsafe the first time.
 * Cost:    1 to 3 us; jemalloc and musl cannot be asked about a stranger's pointer without a crash, so a forked
 *          child asks: 0.1 to several ms.
 */
VMAT_API ssize_t vmat_usable_size(const void *pointer);

#ifdef __cplusplus
}
#endif
#endif
