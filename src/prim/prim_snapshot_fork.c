/* SPDX-License-Identifier: MIT */
/*
 * prim_snapshot_fork.c: snapshots by a child, which has the memory as it was when it was made.
 *
 * The moment. While the kernel copies the page tables it holds the address space's lock, and threads that fault wait until it
 * has done. A thread can write meanwhile only through a translation that it has from before, to the very page that the
 * child gets, until all of them are flushed at the end. So whoever waits has written nothing that somebody else's later write
 * could stand for: a write that is in the image has all that came before it in the image.
 *
 * The child makes system calls and nothing else, with all signals blocked, so that EPIPE comes without SIGPIPE. It closes
 * what it does not need: it must not keep a stranger's socket or pipe open. It touches no memory of the ranges, the kernel
 * reads them: what cannot be read is EFAULT and not a signal.
 *
 * A pipe gets the child's pages themselves, which nobody writes: the program has its own as soon as it writes. They are the
 * child's until the reader has taken them, because before Linux 5.8 a page whose second owner has gone was written in place, pipe
 * or not (commit 17839856fd58). tee(2) would need one more pipe, and gives no more than a second vmsplice.
 */
#include <errno.h>
#include <signal.h>

#include <vmatlas/feature.h>

#include "prim/prim_snapshot_priv.h"
#include "sys/sys_child.h"
#include "sys/sys_event.h"
#include "sys/sys_signal.h"

/* So much goes to one sink before the other one gets its part. */
static const size_t piece_bytes = (size_t)1 << 20;

static int put(struct vmat_snapshot *snapshot, size_t sink_index, const char *bytes, size_t size)
{
	const struct vmat_snapshot_sink *sink = &snapshot->sinks[sink_index];

	while (size) {
		ssize_t got = sink->is_pipe ? vmat_sys_child_vmsplice(sink->fd, bytes, size)
					    : vmat_sys_child_write(sink->fd, bytes, size);

		if (got == -EAGAIN)
			got = vmat_sys_child_wait_writable(sink->fd);
		else if (got == 0)
			return -EIO;
		if (got < 0)
			return (int)got;
		bytes += got;
		size -= (size_t)got;
		atomic_fetch_add(&snapshot->progress->written[sink_index], (uint64_t)got);
	}
	return 0;
}

static int put_range(struct vmat_snapshot *snapshot, const struct vmat_range *range)
{
	for (const char *at = range->start; at < range->end;) {
		size_t left = (size_t)(range->end - at),
		       size = left < piece_bytes ? left : piece_bytes;

		for (size_t i = 0; i < snapshot->sinks_count; i++) {
			int err = put(snapshot, i, at, size);

			if (err) {
				snapshot->progress->failed_sink = (int)i;
				return err;
			}
		}
		at += size;
	}
	return 0;
}

static int wait_for_readers(struct vmat_snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->sinks_count; i++) {
		int err = snapshot->sinks[i].is_pipe
				  ? vmat_sys_child_wait_empty(snapshot->sinks[i].fd)
				  : 0;

		if (err) {
			snapshot->progress->failed_sink = (int)i;
			return err;
		}
	}
	return 0;
}

static _Noreturn void work(struct vmat_snapshot *snapshot)
{
	int keep[VMAT_SNAPSHOT_SINKS_MAX], err = 0;

	for (size_t i = 0; i < snapshot->sinks_count; i++)
		keep[i] = snapshot->sinks[i].fd;
	vmat_sys_child_keep(keep, (unsigned)snapshot->sinks_count);
	for (size_t i = 0; !err && i < snapshot->ranges_count; i++)
		err = put_range(snapshot, &snapshot->ranges[i]);
	if (!err)
		err = wait_for_readers(snapshot);
	snapshot->progress->error = err;
	snapshot->progress->is_whole = !err;
	vmat_sys_child_exit(err ? 1 : 0);
}

static int fork_begin(struct vmat_snapshot *snapshot)
{
	uint64_t start_ns;
	sigset_t mask;
	int pidfd = -1;
	pid_t child;

	vmat_sys_signals_block(&mask);
	start_ns = vmat_snapshot_now_ns();
	child = vmat_sys_child_begin(&pidfd);
	if (child == 0)
		work(snapshot);
	snapshot->pause_ns = vmat_snapshot_now_ns() - start_ns;
	vmat_sys_signals_set(&mask);
	if (child < 0)
		return child;
	snapshot->child = child;
	/* The child has its own: a reader sees the end when it exits. */
	for (size_t i = 0; i < snapshot->sinks_count; i++) {
		vmat_sys_close(snapshot->sinks[i].fd);
		snapshot->sinks[i].fd = -1;
	}
	if (!vmat_feature_has(VMAT_FEATURE_PIDFD)) {
		vmat_sys_close(pidfd);
		pidfd = -1;
	}
	snapshot->done_fd = pidfd;
	return 0;
}

static int fork_end(struct vmat_snapshot *snapshot, bool is_cancelled)
{
	int code;

	if (is_cancelled)
		vmat_sys_child_kill(snapshot->child, snapshot->done_fd);
	code = vmat_sys_child_end(snapshot->child);
	vmat_sys_close(snapshot->done_fd);
	return code == 0 ? 0 : -EINTR;
}

static void fork_drop(struct vmat_snapshot *snapshot)
{
	vmat_sys_close(snapshot->done_fd);
}

const struct vmat_snapshot_ops vmat_snapshot_fork_ops = {
	.backend = VMAT_SNAPSHOT_FORK,
	.begin = fork_begin,
	.end = fork_end,
	.drop = fork_drop,
};
