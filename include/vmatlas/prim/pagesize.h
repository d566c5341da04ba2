/* SPDX-License-Identifier: MIT */
/*
 * pagesize.h: the page size at an address of this process, and whether a range may be read or written.
 *
 * Two sizes belong to an address. That of the *mapping* is fixed when it is made: the base page, or
 * that of a hugetlb mapping; no page of it is ever smaller. That *in use* is the size of the page which
 * is really there: the kernel may put a huge page or a large folio into a mapping of base pages, and
 * split it again, at any time.
 *
 * vmat_pagesize_at() of libvmatlas asks the kernel each time. In a process that preloads
 * libvmatlas-preload.so (or links it before libc) the same function reads a table, in nanoseconds,
 * which the library keeps right by standing before mmap(2) and its family: see libvmatlas-preload(7)
 * for what it cannot see. vmat_pagesize_exact() asks the kernel always. A program that wants to run
 * without the library can export a weak vmat_pagesize_at() of its own that returns -ENOTSUP.
 */
#ifndef VMATLAS_PRIM_PAGESIZE_H
#define VMATLAS_PRIM_PAGESIZE_H

#include <vmatlas/prim/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The page size of the mapping that holds addr, in bytes. Nothing is touched: any value may be asked for.
 *
 * Errors:  -EFAULT where nothing is mapped; -ENOTSUP where it cannot be known (no /proc).
 * MT-Safe, AS-Safe; in the child of fork(2) it tells of the child.
 * Cost:    without the preloaded library that of vmat_pagesize_exact(); with it 2 ns in the region
 *          asked for before and up to 120 ns elsewhere, and never a lock.
 */
VMAT_API ssize_t vmat_pagesize_at(const void *addr);

/*
 * The same, asked from the kernel now.
 *
 * Needs:   PROCMAP_QUERY (Linux 6.11), else smaps, which is read up to the address.
 * Cost:    0.4 to 0.7 us; with smaps 1 to 4 us for each region below the address.
 */
VMAT_API ssize_t vmat_pagesize_exact(const void *addr);

struct vmat_page_info {
	size_t size;          /* set by the caller: sizeof(struct vmat_page_info) */
	ssize_t mapping_size; /* page size of the mapping */
	/*
	 * Bytes of the page that is there: PAGEMAP_SCAN's PAGE_IS_HUGE; with frame numbers also
	 * large folios, from kpageflags. -ENODATA: no page is there. -ENOTSUP: it cannot be told.
	 */
	ssize_t in_use;
	int is_present;     /* 1 or 0; -ENOTSUP where pagemap cannot be read */
	int is_lower_bound; /* 1: in_use may be part of a large folio, which only root sees */
};

/*
 * What lies at addr now: the mapping's page size and the page itself, which is not touched. A page that
 * is swapped out or not yet made is not present.
 *
 * Errors:  -EFAULT where nothing is mapped; -EINVAL for a wrong info->size; -ENOTSUP.
 * MT-Safe, AS-Safe.
 * Needs:   /proc/self/pagemap; PAGEMAP_SCAN (Linux 6.7) for huge pages; CAP_SYS_ADMIN for large folios.
 * Cost:    about 5 us.
 */
VMAT_API int vmat_page_at(const void *addr, struct vmat_page_info *info);

/*
 * Whether all of [addr, addr + size) is mapped and may be used as prot says (PROT_READ, PROT_WRITE,
 * PROT_EXEC, or PROT_NONE: mapped at all), without touching it and without a signal. It is true for the
 * moment of the call, and says what the mappings allow: a file that was cut short may still raise SIGBUS.
 * The part of a stack that has not grown yet counts as not mapped.
 *
 * Returns: 0 if so. An empty range may be used.
 * Errors:  -EFAULT: a part is not mapped, or is a guard (where the kernel can tell, Linux 6.15);
 *          -EACCES: a part does not allow it; -EINVAL: another bit in prot, or the range wraps round;
 *          -ENOTSUP: no /proc.
 * MT-Safe, AS-Safe.
 * Cost:    0.4 to 0.7 us for each region of the range, and one PAGEMAP_SCAN of it.
 */
VMAT_API int vmat_access(const void *addr, size_t size, int prot);

#ifdef __cplusplus
}
#endif
#endif
