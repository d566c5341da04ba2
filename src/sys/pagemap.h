/* SPDX-License-Identifier: MIT */
/*
 * pagemap.h: /proc/PID/pagemap, by entries and by PAGEMAP_SCAN; /proc/kpageflags and kpagecount.
 *
 * Traps that the callers must know (measured on Linux 6.18):
 *  - PAGEMAP_SCAN's walk_end is stale when more than 512 regions were found and the walk then ended
 *    by itself. It is not offered here: resume at the end of the last region while the vector comes
 *    back full or the limit of pages is reached.
 *  - Guard pages and uffd markers have the swapped bit.
 *  - The frame number is 0 without CAP_SYS_ADMIN.
 */
#ifndef VMAT_PAGEMAP_H
#define VMAT_PAGEMAP_H

#include <sys/types.h>

#include "sys/uapi_new.h"

/* Documentation/admin-guide/mm/pagemap.rst */
#define VMAT_PM_PFN(entry)       ((entry) & ((1ULL << 55) - 1))
#define VMAT_PM_SWAP_TYPE(entry) ((unsigned)((entry)&31))
#define VMAT_PM_SOFT_DIRTY       (1ULL << 55)
#define VMAT_PM_EXCLUSIVE        (1ULL << 56)
#define VMAT_PM_UFFD_WP          (1ULL << 57)
#define VMAT_PM_GUARD            (1ULL << 58)
#define VMAT_PM_FILE             (1ULL << 61)
#define VMAT_PM_SWAP             (1ULL << 62)
#define VMAT_PM_PRESENT          (1ULL << 63)
#define VMAT_PM_MARKER_SWAP_TYPE 31 /* the swap type of a pte marker: no swap at all */

/* Reads entries for `count` pages from page number `page` on. How many were read, or -errno. */
ssize_t vmat_sys_pagemap_read(int fd, uint64_t page, uint64_t *entries, size_t count);

/*
 * One PAGEMAP_SCAN of [start, end): the pages with at least one category of `any_of`, with the
 * categories of `return_mask`, at most max_pages of them (0: no limit). Regions found, or -errno.
 */
int vmat_sys_pagemap_scan(int fd, uint64_t start, uint64_t end, uint64_t any_of,
			  uint64_t return_mask, uint64_t max_pages,
			  struct vmat_uapi_page_region *regions, size_t count);

/*
 * One PAGEMAP_SCAN that finds the pages of [start, end) written since they were last write-protected by a
 * userfaultfd with WP_ASYNC, and protects those that it reports, in one step for each page. Pages without such
 * a mark count as written. Regions found, or -errno; -EPERM where a region of the range is not registered.
 */
int vmat_sys_pagemap_take_written(int fd, uint64_t start, uint64_t end,
				  struct vmat_uapi_page_region *regions, size_t count);

/* Clears the soft-dirty bits of this process (/proc/self/clear_refs). 0 or -errno, also where it does nothing. */
int vmat_sys_soft_dirty_clear(void);

/* Reads 8-byte records of /proc/kpageflags or kpagecount. How many were read, or -errno. */
ssize_t vmat_sys_kpage_read(int fd, uint64_t pfn, uint64_t *values, size_t count);

#endif
