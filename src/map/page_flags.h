/* SPDX-License-Identifier: MIT */
/*
 * page_flags.h: what a region's backing means for its pages.
 */
#ifndef VMAT_PAGE_FLAGS_H
#define VMAT_PAGE_FLAGS_H

#include <string.h>

#include <vmatlas/page.h>

enum { VMAT_KPF_COMPOUND_HEAD = 15, VMAT_KPF_COMPOUND_TAIL = 16 };

#define VMAT_PMD_SIZE (2ULL << 20)

/* Has the region pages that the kernel shows? [vvar] is device memory, [vsyscall] is no region. */
static inline bool vmat_region_has_pages(const struct vmat_region *region)
{
	return region->backing != VMAT_BACKING_KERNEL || strcmp(region->name, "[vdso]") == 0;
}

/* Can pages of it be private copies of pages of a file? */
static inline bool vmat_region_has_copies(const struct vmat_region *region)
{
	return !(region->prot & VMAT_PROT_SHARED) &&
	       (region->backing == VMAT_BACKING_FILE || region->backing == VMAT_BACKING_SHMEM ||
		region->backing == VMAT_BACKING_MEMFD);
}

#endif
