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

/*
 * What the pages of a run in this region really are. pagemap calls the huge zero page, which stands
 * for 2 MiB that were only read, one of a file, for it is not anonymous (Linux 6.18,
 * pagemap_pmd_range): in anonymous memory that gives it away.
 */
static inline uint32_t vmat_region_page_flags(const struct vmat_region *region, uint32_t flags)
{
	if (region->backing != VMAT_BACKING_ANON || !(flags & VMAT_PAGE_FILE))
		return flags;
	return (flags & ~(uint32_t)VMAT_PAGE_FILE) | VMAT_PAGE_ZERO;
}

/* Can pages of it be private copies of pages of a file? */
static inline bool vmat_region_has_copies(const struct vmat_region *region)
{
	return !(region->prot & VMAT_PROT_SHARED) &&
	       (region->backing == VMAT_BACKING_FILE || region->backing == VMAT_BACKING_SHMEM ||
		region->backing == VMAT_BACKING_MEMFD);
}

#endif
