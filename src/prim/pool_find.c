/* SPDX-License-Identifier: MIT */
/*
 * pool_find.c: which pages of own memory have contents: PAGEMAP_SCAN, else /proc/self/pagemap.
 *
 * What is not zero is present or swapped, or on its way between both, which both interfaces call swapped.
 * mincore(2) is no third way: it calls a swapped page absent, so the next user would read the last one's
 * bytes. "Written" of PAGEMAP_SCAN says nothing without userfaultfd, and is not asked for.
 *
 * The descriptor shows the memory of the process that opened it, also in a child. A program may close all
 * descriptors, and the number may be somebody else's then: the file is known by its inode, each time.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <vmatlas/feature.h>

#include "base/cleanup.h"
#include "prim/pool_parts.h"
#include "sys/pagemap.h"
#include "sys/sys_file.h"
#include "sys/sys_process.h"

enum { PRESENT_OR_SWAPPED = VMAT_UAPI_PAGE_IS_PRESENT | VMAT_UAPI_PAGE_IS_SWAPPED };

static void remember(struct vmat_pool_file *file, int fd)
{
	struct stat found;
	int err = fd < 0 ? fd : vmat_sys_fstat(fd, &found);

	*file = (struct vmat_pool_file){ .fd = err < 0 ? err : fd };
	if (err < 0) {
		if (fd >= 0)
			close(fd);
		return;
	}
	file->device = found.st_dev;
	file->inode = found.st_ino;
}

static bool is_ours(const struct vmat_pool_file *file)
{
	struct stat found;

	return vmat_sys_fstat(file->fd, &found) == 0 && found.st_dev == file->device &&
	       found.st_ino == file->inode;
}

static void forget(struct vmat_pool_file *file)
{
	if (file->fd >= 0 && is_ours(file))
		close(file->fd);
	file->fd = -EBADF;
}

void vmat_pool_finder_open(struct vmat_pool *pool)
{
	vmat_keep_errno;
	bool has_madvise = vmat_feature_has(VMAT_FEATURE_PROCESS_MADVISE);
	bool has_pagemap = vmat_feature_has(VMAT_FEATURE_PAGEMAP_SCAN) ||
			   vmat_feature_has(VMAT_FEATURE_PAGEMAP);

	remember(&pool->pidfd, has_madvise ? vmat_sys_pidfd_open(getpid()) : -EOPNOTSUPP);
	remember(&pool->pagemap,
		 has_pagemap ? vmat_sys_open_at(AT_FDCWD, "/proc/self/pagemap", 0) : -EOPNOTSUPP);
}

void vmat_pool_finder_close(struct vmat_pool *pool)
{
	vmat_keep_errno;

	forget(&pool->pagemap);
	forget(&pool->pidfd);
}

enum vmat_pool_finder vmat_pool_finder(const struct vmat_pool *pool)
{
	if (pool->pagemap.fd < 0)
		return VMAT_POOL_FINDER_NONE;
	return vmat_feature_has(VMAT_FEATURE_PAGEMAP_SCAN) ? VMAT_POOL_FINDER_SCAN
							   : VMAT_POOL_FINDER_PAGEMAP;
}

static int find_by_scan(struct vmat_pool *pool, struct vmat_pool_scratch *scratch, uintptr_t start,
			uintptr_t end, uintptr_t *ret_next)
{
	int count = vmat_sys_pagemap_scan(pool->pagemap.fd, start, end, PRESENT_OR_SWAPPED,
					  PRESENT_OR_SWAPPED | VMAT_UAPI_PAGE_IS_PFNZERO, 0,
					  scratch->runs, VMAT_POOL_RUNS_MAX);

	if (count < 0)
		return count;
	*ret_next = count < VMAT_POOL_RUNS_MAX ? end : scratch->runs[count - 1].end;
	return count;
}

static uint64_t categories_of(uint64_t entry)
{
	return (entry & VMAT_PM_PRESENT ? VMAT_UAPI_PAGE_IS_PRESENT : 0) |
	       (entry & VMAT_PM_SWAP ? VMAT_UAPI_PAGE_IS_SWAPPED : 0);
}

/* One run for each entry at most. */
static int find_by_entries(struct vmat_pool *pool, struct vmat_pool_scratch *scratch,
			   uintptr_t start, uintptr_t end, uintptr_t *ret_next)
{
	size_t page = pool->page_size, wanted = (end - start) / page;
	ssize_t got;
	int count = 0;

	if (wanted > VMAT_POOL_RUNS_MAX)
		wanted = VMAT_POOL_RUNS_MAX;
	got = vmat_sys_pagemap_read(pool->pagemap.fd, start / page, scratch->entries, wanted);
	if (got <= 0)
		return got < 0 ? (int)got : -EIO;
	for (size_t i = 0; i < (size_t)got; i++) {
		uint64_t categories = categories_of(scratch->entries[i]), at = start + i * page;
		struct vmat_uapi_page_region *last = count ? &scratch->runs[count - 1] : NULL;

		if (!categories)
			continue;
		if (last && last->end == at && last->categories == categories)
			last->end += page;
		else
			scratch->runs[count++] =
				(struct vmat_uapi_page_region){ at, at + page, categories };
	}
	*ret_next = start + (size_t)got * page;
	return count;
}

int vmat_pool_find(struct vmat_pool *pool, struct vmat_pool_scratch *scratch, uintptr_t start,
		   uintptr_t end, uintptr_t *ret_next)
{
	vmat_keep_errno;

	switch (vmat_pool_finder(pool)) {
	case VMAT_POOL_FINDER_SCAN:
		return is_ours(&pool->pagemap) ? find_by_scan(pool, scratch, start, end, ret_next)
					       : -EBADF;
	case VMAT_POOL_FINDER_PAGEMAP:
		return is_ours(&pool->pagemap)
			       ? find_by_entries(pool, scratch, start, end, ret_next)
			       : -EBADF;
	case VMAT_POOL_FINDER_NONE:
		break;
	}
	return -EOPNOTSUPP;
}
