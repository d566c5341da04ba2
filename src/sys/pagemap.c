/* SPDX-License-Identifier: MIT */
#include "sys/pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "sys/sys_file.h"

ssize_t vmat_sys_pagemap_read(int fd, uint64_t page, uint64_t *entries, size_t count)
{
	ssize_t got = vmat_sys_pread(fd, entries, count * sizeof(*entries), page * 8);

	return got < 0 ? got : got / (ssize_t)sizeof(*entries);
}

/* The regions that a scan finds, or -errno; errno stays as it was. */
static int scan(int fd, struct vmat_uapi_pm_scan_arg *arg)
{
	int saved = errno, found;

	do
		found = ioctl(fd, VMAT_UAPI_PAGEMAP_SCAN, arg);
	while (found < 0 && errno == EINTR);
	if (found < 0)
		found = -errno;
	errno = saved;
	return found;
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

	return scan(fd, &arg);
}

int vmat_sys_pagemap_take_written(int fd, uint64_t start, uint64_t end,
				  struct vmat_uapi_page_region *regions, size_t count)
{
	struct vmat_uapi_pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = VMAT_UAPI_PM_SCAN_WP_MATCHING | VMAT_UAPI_PM_SCAN_CHECK_WPASYNC,
		.start = start,
		.end = end,
		.vec = (uintptr_t)regions,
		.vec_len = count,
		/* With exactly these masks the kernel takes its short way (fs/proc/task_mmu.c). */
		.category_mask = VMAT_UAPI_PAGE_IS_WRITTEN,
		.return_mask = VMAT_UAPI_PAGE_IS_WRITTEN,
	};

	return scan(fd, &arg);
}

ssize_t vmat_sys_kpage_read(int fd, uint64_t pfn, uint64_t *values, size_t count)
{
	ssize_t got = vmat_sys_pread(fd, values, count * sizeof(*values), pfn * 8);

	return got < 0 ? got : got / (ssize_t)sizeof(*values);
}

int vmat_sys_soft_dirty_clear(void)
{
	int saved = errno, code = 0;
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "4", 1) != 1)
		code = -errno;
	if (fd >= 0)
		close(fd);
	errno = saved;
	return code;
}
