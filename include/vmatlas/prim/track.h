/* SPDX-License-Identifier: MIT */
/*
 * track.h: which pages of a range of own memory were written since the last question.
 *
 * A tracker belongs to one range. vmat_track_collect() asks and arms again in one step for each page: a
 * write falls either before that step, then its page is in this answer, or behind it, then the page is in
 * the next one. No write is lost between two answers, whatever the other threads do.
 *
 * Four ways do the work; AUTO takes the first that works here. They differ in what they miss, and
 * vmat_track_info() says which one runs and what that is:
 *
 *   UFFD_ASYNC  the kernel keeps the account (Linux 6.7). Exact; writes by system calls are seen.
 *   UFFD_SYNC   a thread of the tracker is told of each first write (Linux 5.7). Exact; without the right
 *               to see faults of system calls, a system call that writes to a page for the first time fails
 *               with EFAULT.
 *   MPROTECT    the range is read-only, a SIGSEGV handler lets writes through. System calls that write to
 *               an armed page fail with EFAULT; a thread that has SIGSEGV blocked is killed.
 *               Above a number of separate dirty places, whole granules are reported.
 *   SOFT_DIRTY  the kernel's soft-dirty bits, process-wide. A write while vmat_track_collect() runs may
 *               be lost, so that AUTO takes it only with VMAT_TRACK_STILL. A transparent huge page is reported
 *               whole when a byte of it was written, and when the kernel has just made it of small pages.
 *
 * Dropping pages (MADV_DONTNEED, a hole punched) is no write, and may or may not be reported; what is
 * written after it is reported. A mapping put into the range after the tracker was opened is not tracked:
 * UFFD_ASYNC says so with -ESTALE.
 */
#ifndef VMATLAS_PRIM_TRACK_H
#define VMATLAS_PRIM_TRACK_H

#include <vmatlas/prim/range.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmat_track;

enum vmat_track_backend {
	VMAT_TRACK_AUTO,
	VMAT_TRACK_UFFD_ASYNC,
	VMAT_TRACK_SOFT_DIRTY,
	VMAT_TRACK_UFFD_SYNC,
	VMAT_TRACK_MPROTECT,
};

enum vmat_track_flag {
	VMAT_TRACK_STILL = 1 << 0, /* nothing writes to the range while vmat_track_collect() runs */
};

/* The caller sets size to sizeof; what is 0 is the default. */
struct vmat_track_options {
	size_t size;
	enum vmat_track_backend backend;
	unsigned flags;
	size_t granule_pages; /* MPROTECT: pages let through at once, a power of two; 0: 1 */
};

/* The caller sets size to sizeof. */
struct vmat_track_info {
	size_t size;
	enum vmat_track_backend backend;
	const char *name; /* "uffd_async", ... Lifetime: static */
	const char
		*misses; /* what it does not see or breaks, as sentences, or "". Lifetime: static */
	size_t page_size; /* what one bit stands for: hugetlb pages count as one */
	size_t granule_size; /* what one write reports at present; above page_size only with MPROTECT */
	uint64_t overflows; /* times the whole range was reported as written, for want of regions */
	bool sees_system_calls; /* a write by a system call is seen; if not, the call fails with EFAULT */
};

/*
 * Begins to track [start, start + size): nothing is written yet. options may be NULL.
 * Lifetime: until vmat_track_close(); the range must stay mapped until then.
 * Errors: -EINVAL start or size is not a multiple of the page size (of the huge page size in hugetlb), is 0 or
 * overflows, or an option is unknown; -ENOMEM a page of it is not mapped, or no memory; -EBUSY a part of it is
 * tracked already, or has another userfaultfd; -EACCES MPROTECT: not readable and writable as a whole;
 * -EDEADLK the caller's stack lies in it (not with UFFD_ASYNC); -EOPNOTSUPP no way works here.
 * Needs: /proc. Cost: about 90 ns for each page. MT-Safe, AS-Unsafe.
 */
VMAT_API int vmat_track_open(void *start, size_t size, const struct vmat_track_options *options,
			     struct vmat_track **ret);

/*
 * Ends the tracking; memory and contents stay. NULL is fine. Returns NULL.
 * In the child of a fork it frees what the child inherited. MT-Safe for different trackers, AS-Unsafe.
 */
VMAT_API struct vmat_track *vmat_track_close(struct vmat_track *track);

/*
 * Takes up to `count` runs of written pages, in ascending order, and arms these pages again. How many;
 * fewer than `count` end a pass. While a call fills all of them, call again: it goes on behind the
 * last run. A write done before a pass began is in that pass or in an earlier answer.
 * Errors: -EINVAL count is 0; -ECHILD this is the child of a fork: open a tracker of its own; -ESTALE a mapping of
 * the range was replaced: pages of this pass may be missing, close and open again; -EDEADLK as for open.
 * Cost: of the range, about 2 ns a page, and 0.1 to 1 us for each run. One thread at a time per tracker. AS-Unsafe.
 */
VMAT_API ssize_t vmat_track_collect(struct vmat_track *track, struct vmat_range *runs,
				    size_t count);

/* Fills *ret. Errors: -EINVAL when ret->size is none. MT-Safe. */
VMAT_API int vmat_track_info(const struct vmat_track *track, struct vmat_track_info *ret);

/*
 * For a program that installs a SIGSEGV handler while a MPROTECT tracker is open: call this first in that handler,
 * with its siginfo_t and context; where it returns true the fault was the tracker's, and the handler returns.
 * Handlers that were there before are called by the tracker for all other faults; one that comes later
 * replaces the tracker's until the next open or collect puts it back in front. AS-Safe, MT-Safe.
 */
VMAT_API bool vmat_track_fault(const void *info, const void *context);

#ifdef __cplusplus
}
#endif
#endif
