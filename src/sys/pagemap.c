/* SPDX-License-Identifier: MIT */
#include "sys/pagemap.h"

#include <errno.h>

#include "sys/sys_file.h"

ssize_t vmat_sys_pagemap_read(int fd, uint64_t page, uint64_t *entries, size_t count)
{
	ssize_t got = vmat_sys_pread(fd, entries, count * sizeof(*entries), page * 8);

	return got < 0 ? got : got / (ssize_t)sizeof(*entries);
}

int vmat_sys_pagemap_scan(int fd, uint64_t start, uint64_t end, uint64_t any_of,
			  uint64_t return_mask, uint64_t max_pages,
			  struct vmat_uapi_page_region *regions, size_t count)
{
	struct vmat_uapi_pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = start,
		.end = end,
		.vec = (uintptr_t)regions,
		.vec_len = count,
		.max_pages = max_pages,
		.category_anyof_mask = any_of,
		.return_mask = return_mask,
	};
	int found;

	do
		found = ioctl(fd, VMAT_UAPI_PAGEMAP_SCAN, &arg);
	while (found < 0 && errno == EINTR);
	return found < 0 ? -errno : found;
}

ssize_t vmat_sys_kpage_read(int fd, uint64_t pfn, uint64_t *values, size_t count)
{
	ssize_t got = vmat_sys_pread(fd, values, count * sizeof(*values), pfn * 8);

	return got < 0 ? got : got / (ssize_t)sizeof(*values);
}
