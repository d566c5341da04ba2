/* SPDX-License-Identifier: MIT */
/*
 * pool_guard.c: reserved address space becomes regions, with a guard below each if the pool has guards.
 *
 * MADV_GUARD_INSTALL (Linux 6.13) puts a guard into the page tables: no VMA, 0.7 us. Without it a guard is
 * what stays PROT_NONE between two regions: two VMAs each, and the whole process may have vm.max_map_count
 * (65530) of them. A process that runs into that limit fails wherever it maps next, in malloc, in dlopen, in
 * pthread_create; so the pool counts before, and refuses while a reserve is left for the others.
 */
#include <errno.h>
#include <limits.h>
#include <sys/mman.h>

#include <vmatlas/feature.h>

#include "base/cleanup.h"
#include "prim/pool_parts.h"
#include "sys/own_limits.h"
#include "sys/sys_memory.h"

enum { VMA_RESERVE = 1024, GUARDS_AT_ONCE = 64 };

static char *stride_of(const struct vmat_pool *pool, uint32_t index)
{
	return pool->base + (size_t)index * pool->stride;
}

static int install_guards(struct vmat_pool *pool, uint32_t from, uint32_t count)
{
	struct iovec guards[GUARDS_AT_ONCE];

	for (uint32_t i = 0, n; i < count; i += n) {
		ssize_t done = 0;

		n = count - i < GUARDS_AT_ONCE ? count - i : GUARDS_AT_ONCE;
		for (uint32_t k = 0; k < n; k++)
			guards[k] =
				(struct iovec){ stride_of(pool, from + i + k), pool->guard_size };
		if (pool->pidfd.fd >= 0)
			done = vmat_sys_process_madvise(pool->pidfd.fd, guards, n,
							VMAT_UAPI_MADV_GUARD_INSTALL);
		for (uint32_t k = done > 0 ? (uint32_t)((size_t)done / pool->guard_size) : 0; k < n;
		     k++) {
			int err = vmat_sys_madvise(guards[k].iov_base, pool->guard_size,
						   VMAT_UAPI_MADV_GUARD_INSTALL);

			if (err)
				return err;
		}
	}
	return 0;
}

static int commit_all(struct vmat_pool *pool, uint32_t from, uint32_t count)
{
	char *start = stride_of(pool, from);
	size_t size = (size_t)count * pool->stride;
	int err = vmat_sys_mprotect(start, size, PROT_READ | PROT_WRITE);

	if (!err && pool->guard_size)
		err = install_guards(pool, from, count);
	/* Guards that are there already do no harm: the range is of no use until all are, and they may be put twice. */
	if (err)
		vmat_sys_mprotect(start, size, PROT_NONE);
	return err;
}

/* How many more VMAs the pool may make; where that cannot be known, as many as it likes. */
static long vmas_left(void)
{
	long used = vmat_sys_own_regions();

	return used < 0 ? LONG_MAX : vmat_sys_own_regions_max() - used - VMA_RESERVE;
}

static int commit_each(struct vmat_pool *pool, uint32_t from, uint32_t count)
{
	char *start = stride_of(pool, from);

	if (vmas_left() < 2 * (long)count)
		return -ENOSPC;
	for (uint32_t i = 0; i < count; i++) {
		int err = vmat_sys_mprotect(start + i * pool->stride + pool->guard_size,
					    pool->region_size, PROT_READ | PROT_WRITE);

		if (!err)
			continue;
		vmat_sys_mprotect(start, (size_t)count * pool->stride, PROT_NONE);
		return err;
	}
	return 0;
}

int vmat_pool_commit(struct vmat_pool *pool, uint32_t from, uint32_t count)
{
	vmat_keep_errno;
	bool is_cheap = !pool->guard_size || vmat_feature_has(VMAT_FEATURE_MADV_GUARD);
	int err = is_cheap ? commit_all(pool, from, count) : -EINVAL;

	if (err == -EINVAL && pool->guard_size) {
		/* No such guards, or the memory is locked: the kernel puts none there. */
		is_cheap = false;
		err = commit_each(pool, from, count);
	}
	if (err)
		return err;
	if (pool->guard_size)
		*(is_cheap ? &pool->guards_madvise : &pool->guards_mprotect) += count;
	if (vmat_feature_has(VMAT_FEATURE_ANON_NAMES))
		vmat_sys_name_memory(stride_of(pool, from), (size_t)count * pool->stride,
				     pool->name);
	return 0;
}
