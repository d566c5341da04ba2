/* SPDX-License-Identifier: MIT */
/*
 * pool_process.c: notices that this process is the child of a fork (pool_parts.h).
 *
 * One page of the process is wiped by the kernel in the child (MADV_WIPEONFORK, Linux 4.14). It needs no
 * handler of fork, so it holds for _Fork and clone too, and a lock in it that another thread of the parent
 * held is free in the child. vfork shares memory with its parent, and the page says so.
 */
#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "prim/pool_parts.h"
#include "sys/sys_memory.h"

_Atomic(struct vmat_pool_process *) vmat_pool_process;

/* Counts on in the child, since a fork copies it. The process's lock guards it. */
static uint64_t last_epoch;

/* Not by a function of libc, which is a cancellation point: the caller may hold another lock. */
static void nap_for(long ns)
{
	const struct timespec nap = { .tv_nsec = ns };
	vmat_keep_errno;

	syscall(SYS_nanosleep, &nap, NULL);
}

void vmat_pool_lock_wait(struct vmat_pool_lock *lock)
{
	for (int tries = 0; atomic_exchange_explicit(&lock->held, 1, memory_order_acquire);
	     tries++) {
		/* A holder of lower priority gets no turn from a yield. */
		if (tries < 16)
			sched_yield();
		else
			nap_for(50 * 1000);
	}
}

static int make_page(struct vmat_pool_process **ret)
{
	const size_t size = sizeof(struct vmat_pool_process);
	struct vmat_pool_process *none = NULL;
	void *page;
	int err = vmat_sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
				0, &page);

	if (err)
		return err;
	err = vmat_sys_madvise(page, size, MADV_WIPEONFORK);
	if (err) {
		vmat_sys_munmap(page, size);
		return err == -EINVAL ? -EOPNOTSUPP : err;
	}
	if (!atomic_compare_exchange_strong(&vmat_pool_process, &none, page))
		vmat_sys_munmap(page, size);
	*ret = atomic_load(&vmat_pool_process);
	return 0;
}

int vmat_pool_process_begin(void)
{
	struct vmat_pool_process *process = atomic_load(&vmat_pool_process);

	if (!process) {
		int err = make_page(&process);

		if (err)
			return err;
	}
	vmat_pool_lock(&process->lock);
	if (!atomic_load_explicit(&process->epoch, memory_order_relaxed))
		atomic_store_explicit(&process->epoch, ++last_epoch, memory_order_release);
	vmat_pool_unlock(&process->lock);
	return 0;
}
