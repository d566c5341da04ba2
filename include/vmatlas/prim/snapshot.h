/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h: a consistent image of ranges of own memory, written to a file, a pipe or both, while the program goes on.
 *
 * vmat_snapshot_begin() pauses the program for as long as it takes to fix the moment; the image is of that moment:
 * what any thread wrote before is in it, what is written after is not, and no write is in it without those that came
 * before it. The image is the bytes of the ranges, one behind the other. It is written behind the program's back:
 *
 *   FORK     a child has the memory as it was; pages that are written meanwhile exist twice. To a pipe, the child
 *            gives its pages without copying them (vmsplice), and lives until the reader has taken them. For private memory.
 *   PROTECT  the memory is write-protected (userfaultfd), a thread writes it out, and saves a page
 *            first that the program is about to write. For shared memory, too. No second process, no page twice, but each
 *            first write costs more.
 */
#ifndef VMATLAS_PRIM_SNAPSHOT_H
#define VMATLAS_PRIM_SNAPSHOT_H

#include <vmatlas/prim/range.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmat_snapshot;

enum vmat_snapshot_backend {
	VMAT_SNAPSHOT_AUTO,
	VMAT_SNAPSHOT_FORK,
	VMAT_SNAPSHOT_PROTECT,
};

enum { VMAT_SNAPSHOT_SINKS_MAX = 2 };

/* The caller sets size to sizeof; what is 0 is the default. */
struct vmat_snapshot_options {
	size_t size;
	enum vmat_snapshot_backend backend;
	size_t stash_bytes; /* PROTECT, to a pipe: how much may be saved out of its turn; 0: 16 MiB */
};

/* The caller sets size to sizeof. */
struct vmat_snapshot_result {
	size_t size;
	enum vmat_snapshot_backend backend; /* never AUTO */
	int failed_sink;                    /* the number of the sink that failed; -1: none did */
	uint64_t pause_ns; /* how long the moment took; the caller, and who wrote, waited so long */
	uint64_t written[VMAT_SNAPSHOT_SINKS_MAX]; /* bytes that each sink took */
};

/*
 * Fixes the image of `count` ranges, in their order, and begins to write it to 1 or 2 sinks: descriptors that are
 * open for writing, each of which gets the whole image, as tee(1) does. They may be closed as soon as this returns. A pipe must
 * have no other writer meanwhile. options may be NULL: FORK, and PROTECT where memory is shared.
 * Lifetime: until vmat_snapshot_end() or vmat_snapshot_cancel(). No SIGCHLD is sent, and no child is seen by wait(2).
 * Errors: -EINVAL no range or an empty one, no sink or too many, an unknown option, PROTECT: not whole pages in ascending order;
 * -EPERM PROTECT: no right to see faults of system calls; -ENOMEM a page of a
 * range is not mapped, or no memory; -EACCES a range may not be read; -EBADF a sink is not open for writing; -EOPNOTSUPP the
 * way asked for cannot do it (FORK: shared memory); -EAGAIN no more processes; -EBUSY (PROTECT) tracked by userfaultfd already.
 * Cost: FORK copies the page tables, 10 to 20 ms for a GiB of small pages; PROTECT marks them, 20 ms. MT-Safe, AS-Unsafe.
 */
VMAT_API int vmat_snapshot_begin(const struct vmat_range *ranges, size_t count, const int *sinks,
				 size_t sinks_count, const struct vmat_snapshot_options *options,
				 struct vmat_snapshot **ret);

/*
 * A descriptor that poll(2) finds readable when the image is written or has failed, or -EOPNOTSUPP (before Linux 5.2).
 * Lifetime: that of the snapshot. It is not to be read or closed.
 */
VMAT_API int vmat_snapshot_fd(const struct vmat_snapshot *snapshot);

/*
 * Waits for the image, and frees the snapshot in any case. *ret, which may be NULL, is filled in any case but -EINVAL and -ECHILD.
 * Errors: what a sink said (-ENOSPC, -EPIPE without a SIGPIPE, -EIO, ...); -EFAULT memory was unmapped or is not given to
 * children; -EINTR the child was killed; -EINVAL ret->size; -ECHILD this is the child of a fork. One thread. AS-Unsafe.
 */
VMAT_API int vmat_snapshot_end(struct vmat_snapshot *snapshot, struct vmat_snapshot_result *ret);

/* Gives the image up, wherever it is, and frees the snapshot. NULL is fine. Returns NULL. */
VMAT_API struct vmat_snapshot *vmat_snapshot_cancel(struct vmat_snapshot *snapshot);

#ifdef __cplusplus
}
#endif
#endif
