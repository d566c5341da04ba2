/* SPDX-License-Identifier: MIT */
/*
 * prim_pagesize.c: what the kernel says now about one address or range of this process (vmatlas/prim/pagesize.h).
 *
 * The mapping is told by sys/self_map.h, the page by /proc/self/pagemap: PAGEMAP_SCAN tells present and
 * PMD-mapped without rights, frame numbers and kpageflags tell the folio to root. Files are opened for
 * each call: this is no fast path, and a descriptor that is kept would show the parent after a fork.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmatlas/feature.h>
#include <vmatlas/prim/pagesize.h>

#include "base/cleanup.h"
#include "sys/pagemap.h"
#include "sys/self_map.h"
#include "sys/sys_file.h"

enum {
	FOLIO_PAGES_MAX = 512, /* a folio of one page table: what bounds the search for its ends */
	/* Documentation/admin-guide/mm/pagemap.rst: bits of kpageflags. */
	KPF_COMPOUND_HEAD = 15,
	KPF_COMPOUND_TAIL = 16,
};

ssize_t vmat_pagesize_exact(const void *addr)
{
	struct vmat_self_region region;
	int code = vmat_sys_self_region((uintptr_t)addr, &region);

	if (code)
		return code == -ENOENT ? -EFAULT : code;
	return region.page_size ? (ssize_t)region.page_size : -ENOTSUP;
}

static int flags_of(int fd, uint64_t pfn, uint64_t *flags)
{
	return vmat_sys_kpage_read(fd, pfn, flags, 1) == 1 ? 0 : -ENOTSUP;
}

/* Bytes of the folio that holds a frame: its head, and the tails that follow. 0 where it cannot be told. */
static size_t folio_size(uint64_t pfn, size_t page_size)
{
	vmat_autoclose int fd = vmat_sys_open_at(AT_FDCWD, "/proc/kpageflags", 0);
	uint64_t head = pfn, end = pfn + 1, flags;

	if (fd < 0 || flags_of(fd, pfn, &flags))
		return 0;
	if (!(flags >> KPF_COMPOUND_HEAD & 1) && !(flags >> KPF_COMPOUND_TAIL & 1))
		return page_size;
	while (!(flags >> KPF_COMPOUND_HEAD & 1)) {
		if (pfn - head == FOLIO_PAGES_MAX || head == 0 || flags_of(fd, --head, &flags))
			return 0;
	}
	while (end - head <= FOLIO_PAGES_MAX && flags_of(fd, end, &flags) == 0 &&
	       flags >> KPF_COMPOUND_TAIL & 1)
		end++;
	return (size_t)(end - head) * page_size;
}

/* One page of the mapping's size by PAGEMAP_SCAN: its categories, 0 when none holds. */
static int scan_page(int fd, uint64_t page, size_t page_size, uint64_t *categories)
{
	const uint64_t wanted = VMAT_UAPI_PAGE_IS_PRESENT | VMAT_UAPI_PAGE_IS_HUGE;
	struct vmat_uapi_page_region found;
	int count = vmat_sys_pagemap_scan(fd, page, page + page_size, wanted, wanted, 0, &found, 1);

	if (count < 0)
		return count;
	*categories = count ? found.categories : 0;
	return 0;
}

/* The size of a page that is there, and whether it is one. Of a hugetlb mapping it is known beforehand. */
static void size_in_use(struct vmat_page_info *info, uint64_t pfn, bool is_huge, bool knows_huge,
			size_t base)
{
	size_t folio = VMAT_PM_PFN(pfn) ? folio_size(VMAT_PM_PFN(pfn), base) : 0;

	if ((size_t)info->mapping_size > base)
		info->in_use = info->mapping_size;
	else if (folio)
		info->in_use = (ssize_t)folio;
	else if (is_huge)
		info->in_use =
			(ssize_t)(base *
				  (base / sizeof(uint64_t))); /* one entry of the next table */
	else if (knows_huge) {
		info->in_use = (ssize_t)base;
		info->is_lower_bound = 1;
	}
}

static void look_at_page(const void *addr, struct vmat_page_info *info)
{
	vmat_autoclose int fd = vmat_sys_open_at(AT_FDCWD, "/proc/self/pagemap", 0);
	size_t base = (size_t)sysconf(_SC_PAGESIZE);
	uint64_t page = (uintptr_t)addr & ~(uint64_t)(base - 1);
	uint64_t entry, categories = 0;
	bool knows_huge = false;

	if (fd < 0 || vmat_sys_pagemap_read(fd, page / base, &entry, 1) != 1)
		return;
	if (vmat_feature_has(VMAT_FEATURE_PAGEMAP_SCAN))
		knows_huge = scan_page(fd, page, base, &categories) == 0;
	info->is_present = (entry & VMAT_PM_PRESENT) != 0;
	if (!info->is_present)
		info->in_use = -ENODATA;
	else
		size_in_use(info, entry, categories & VMAT_UAPI_PAGE_IS_HUGE, knows_huge, base);
}

int vmat_page_at(const void *addr, struct vmat_page_info *info)
{
	vmat_keep_errno;
	ssize_t mapping_size;

	if (info->size != sizeof(*info))
		return -EINVAL;
	mapping_size = vmat_pagesize_exact(addr);
	if (mapping_size < 0)
		return (int)mapping_size;
	*info = (struct vmat_page_info){ .size = sizeof(*info),
					 .mapping_size = mapping_size,
					 .in_use = -ENOTSUP,
					 .is_present = -ENOTSUP };
	look_at_page(addr, info);
	return 0;
}

static int check_prot(const struct vmat_self_region *region, void *context)
{
	const int *prot = context;

	return (region->prot & *prot) == *prot ? 0 : -EACCES;
}

/* Whether a guard page lies in the range, where the kernel can tell. */
static bool has_guard(uintptr_t start, uintptr_t end)
{
	vmat_autoclose int fd = vmat_sys_open_at(AT_FDCWD, "/proc/self/pagemap", 0);
	const uint64_t guard = VMAT_UAPI_PAGE_IS_GUARD;
	size_t base = (size_t)sysconf(_SC_PAGESIZE);
	struct vmat_uapi_page_region found;

	return fd >= 0 &&
	       vmat_sys_pagemap_scan(fd, start & ~(base - 1), (end + base - 1) & ~(base - 1), guard,
				     guard, 1, &found, 1) == 1;
}

int vmat_access(const void *addr, size_t size, int prot)
{
	vmat_keep_errno;
	uintptr_t start = (uintptr_t)addr;
	int code;

	if (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC) || size > UINTPTR_MAX - start)
		return -EINVAL;
	code = vmat_sys_self_walk(start, start + size, false, check_prot, &prot);
	if (!code && size && prot && vmat_feature_has(VMAT_FEATURE_PAGE_GUARD) &&
	    has_guard(start, start + size))
		code = -EFAULT;
	return code == -ENOENT ? -EFAULT : code;
}
