/* SPDX-License-Identifier: MIT */
/*
 * pool.h: a pool of equal regions of memory for short-lived use, and of stacks with a guard below.
 *
 * A region is a whole number of pages. It is acquired, used, released, by any thread, and is zero when
 * it is acquired. A released region keeps its pages for the next user while a budget allows it, since a
 * page fault costs more than clearing a page; above the budget, and when it has been idle for long, the
 * pages go back to the kernel. How a region is made zero is chosen by costs that are measured once per
 * process, when the first pool is made.
 *
 * Words: a region is *acquired* or *idle*; idle regions are *kept* (they have pages) or *cold*.
 *
 * After fork the child may use each pool: what was acquired stays acquired, as a copy of its own; what
 * was idle begins cold. A region must be released with the protection and mapping that it came with.
 */
#ifndef VMATLAS_PRIM_POOL_H
#define VMATLAS_PRIM_POOL_H

#include <vmatlas/prim/api.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmat_pool;

enum vmat_pool_flag {
	/*
	 * What goes back is offered by MADV_FREE: cheaper, but the kernel takes it (and resident falls)
	 * only when it is short of memory.
	 */
	VMAT_POOL_LAZY = 1 << 0,
};

#define VMAT_POOL_NO_LIMIT UINT64_MAX
#define VMAT_POOL_NEVER    UINT32_MAX

/* What a pool shall be. Set `size` to sizeof; what is left 0 takes the default that it names. */
struct vmat_pool_options {
	size_t size;
	size_t region_size; /* bytes, a multiple of the page size; no default */
	size_t regions_max; /* how many may be acquired at once, below 2^31; no default */
	size_t guard_size; /* bytes below each region that fault, a multiple of the page size; 0: none */
	uint64_t budget_bytes; /* what idle regions may keep resident; less than a page: nothing;
				* 0: 64 MiB; VMAT_POOL_NO_LIMIT */
	uint32_t
		decay_ms; /* idle regions that nobody needed for so long go cold; 0: 10 s; VMAT_POOL_NEVER */
	uint32_t flags; /* enum vmat_pool_flag */
	const char
		*name; /* shown in maps where the kernel has names; copied; NULL: "vmatlas-pool" */
};

/*
 * Makes a pool. Address space for all regions (regions_max * (region_size + guard_size)) is reserved at
 * once and made usable piece by piece; memory is taken when it is touched.
 * Lifetime: until vmat_pool_free.
 * Errors: -EINVAL a size that is zero or no multiple of the page size, an unknown flag; -E2BIG a newer
 *   struct with fields that this library does not know; -EOVERFLOW sizes whose product does not fit, or
 *   2^31 regions; -ENOMEM no memory, RLIMIT_AS, or the kernel's limit of committed memory; -EAGAIN
 *   RLIMIT_MEMLOCK with mlockall; -EOPNOTSUPP before Linux 4.14 (MADV_WIPEONFORK).
 * Cost: some system calls; the first one measures for less than a millisecond.
 * MT-Safe, AS-Unsafe.
 */
VMAT_API int vmat_pool_new(const struct vmat_pool_options *options, struct vmat_pool **ret);

/*
 * Unmaps all regions, acquired ones too, whose addresses then fault or are somebody else's. Nobody may
 * be within another call on the pool. NULL is allowed. Returns NULL. MT-Safe (different pools), AS-Unsafe.
 */
VMAT_API struct vmat_pool *vmat_pool_free(struct vmat_pool *pool);

/*
 * A region whose bytes are all zero: *ret is its lowest address. For a stack the stack pointer begins at
 * *ret + region_size.
 * Errors: -EAGAIN all regions_max regions are acquired; -ENOMEM as above; -ENOSPC one more guard by
 *   mprotect would come near vm.max_map_count.
 * Cost: tens of nanoseconds from the thread's cache, else a share of a batch. MT-Safe, AS-Unsafe.
 */
VMAT_API int vmat_pool_acquire(struct vmat_pool *pool, void **ret);

/* As vmat_pool_acquire, but the bytes are whatever a former user or nobody left there. */
VMAT_API int vmat_pool_acquire_undefined(struct vmat_pool *pool, void **ret);

/*
 * Gives a region back. What was written to it is found and cleared, now or before its next use.
 * Errors: -EFAULT an address outside of the pool's regions; -EINVAL inside of a region, but not its begin;
 *   -EALREADY it is not acquired. Nothing has happened then. MT-Safe, AS-Unsafe.
 */
VMAT_API int vmat_pool_release(struct vmat_pool *pool, void *region);

/*
 * As vmat_pool_release, by a user who kept book: bit i % 64 of written[i / 64] says that page i may have
 * been written since it was acquired. Only these pages are cleared: the cheapest way, and the pool trusts
 * it. Not for a region that came from vmat_pool_acquire_undefined.
 */
VMAT_API int vmat_pool_release_written(struct vmat_pool *pool, void *region,
				       const uint64_t *written);

/*
 * Gives pages of idle regions back until at most keep_bytes are kept, those in the caches of all threads
 * too. *ret_bytes (may be NULL): how much less is kept. MT-Safe, AS-Unsafe.
 */
VMAT_API int vmat_pool_trim(struct vmat_pool *pool, uint64_t keep_bytes, uint64_t *ret_bytes);

/*
 * Gives back what was idle for decay_ms, if it is time. Acquire and release do so by the way; a program
 * that may be idle for long calls it from its idle loop. MT-Safe, AS-Unsafe.
 */
VMAT_API int vmat_pool_decay(struct vmat_pool *pool);

/*
 * How many bytes of an acquired region were in use at most, counted from its high end, as of a stack that
 * grows down: to the lowest byte that is not zero. Former users do not count, unless the region came from
 * vmat_pool_acquire_undefined. Errors: those of vmat_pool_release, and -EOPNOTSUPP where neither
 * PAGEMAP_SCAN nor /proc/self/pagemap can be used.
 * Cost: a scan, and reading the zero bytes of one page. MT-Safe, AS-Unsafe.
 */
VMAT_API int vmat_pool_high_water(struct vmat_pool *pool, const void *region, size_t *ret_bytes);

/* How written pages are found. */
enum vmat_pool_finder {
	VMAT_POOL_FINDER_NONE,    /* neither of both: regions are cleared whole, or given back */
	VMAT_POOL_FINDER_PAGEMAP, /* /proc/self/pagemap, page by page */
	VMAT_POOL_FINDER_SCAN,    /* PAGEMAP_SCAN, Linux 6.7 */
};

/* Counts since the pool was made; in a child of fork, since it first used the pool. */
struct vmat_pool_stats {
	size_t size; /* in: sizeof */
	uint64_t regions_max;
	uint64_t regions_made;     /* ever handed out */
	uint64_t regions_acquired; /* now */
	uint64_t kept_bytes;       /* at most so much is resident in idle regions */
	uint64_t kept_peak_bytes;  /* the most of it, with what caches were granted */
	uint64_t budget_bytes;
	uint64_t acquires;
	uint64_t releases;
	uint64_t refused;       /* releases that failed */
	uint64_t scans;         /* calls that looked for written pages */
	uint64_t cleared_pages; /* cleared because found or said to be written */
	uint64_t cleared_whole; /* regions cleared as a whole */
	uint64_t given_back;    /* regions whose pages went back to the kernel */
	uint64_t
		not_given_back; /* regions whose pages the kernel did not take (locked memory): cleared */
	uint64_t guards_madvise;  /* guards that cost no VMA */
	uint64_t guards_mprotect; /* guards that cost two */
	uint32_t caches;          /* threads that have one now */
	uint32_t finder;          /* enum vmat_pool_finder */
};

/* Fills *ret as far as ret->size goes. Errors: -EINVAL a size of 0. MT-Safe, AS-Unsafe. */
VMAT_API int vmat_pool_stats(struct vmat_pool *pool, struct vmat_pool_stats *ret);

/* What was measured when the first pool was made, in nanoseconds: what the choices follow from. */
struct vmat_pool_costs {
	size_t size;          /* in: sizeof */
	double scan_call_ns;  /* looking for written pages: each call; 0: it cannot be done */
	double scan_page_ns;  /* and for each page that is there */
	double clear_page_ns; /* memset of a page in the cache */
	double fault_page_ns; /* first touch of a page */
	double give_back_call_ns;
	double give_back_page_ns;
};

/*
 * Measures if nobody has yet. Errors: -EINVAL a size of 0; -ENOMEM; -EOPNOTSUPP before Linux 4.14; nothing is
 * told then. MT-Safe, AS-Unsafe.
 */
VMAT_API int vmat_pool_costs(struct vmat_pool_costs *ret);

#ifdef __cplusplus
}
#endif
#endif
