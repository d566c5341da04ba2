/* SPDX-License-Identifier: MIT */
/*
 * prim_snapshot_priv.h: what the two ways to take a snapshot share. prim_snapshot.c checks what it is given and chooses;
 * each way is a table of functions in a file of its own.
 */
#ifndef VMAT_PRIM_SNAPSHOT_PRIV_H
#define VMAT_PRIM_SNAPSHOT_PRIV_H

#include <stdatomic.h>
#include <time.h>

#include <vmatlas/prim/snapshot.h>

/* How far the image is; a child and its parent share it. */
struct vmat_snapshot_progress {
	_Atomic int error;       /* 0 or -errno */
	_Atomic int failed_sink; /* -1: none */
	_Atomic uint64_t written[VMAT_SNAPSHOT_SINKS_MAX];
	_Atomic bool is_whole;
};

struct vmat_snapshot_sink {
	int fd; /* a duplicate */
	bool is_pipe;
};

struct vmat_snapshot {
	const struct vmat_snapshot_ops *ops;
	struct vmat_snapshot_progress *progress;
	pid_t pid; /* who began it */
	size_t mapped_size;
	size_t stash_bytes;
	uint64_t pause_ns;
	int done_fd; /* readable at the end, or -1 */
	struct vmat_snapshot_sink sinks[VMAT_SNAPSHOT_SINKS_MAX];
	size_t sinks_count;
	void *own; /* of the way */
	pid_t child;
	size_t ranges_count;
	struct vmat_range ranges[];
};

struct vmat_snapshot_ops {
	enum vmat_snapshot_backend backend;
	bool takes_shared;
	/* Fixes the moment, fills pause_ns and done_fd. On failure it holds nothing. */
	int (*begin)(struct vmat_snapshot *snapshot);
	/* Waits for the end, or brings it about, and frees what it holds. 0, or -EINTR when it was killed. */
	int (*end)(struct vmat_snapshot *snapshot, bool is_cancelled);
	/* In the child of a fork: frees what it has a copy of. */
	void (*drop)(struct vmat_snapshot *snapshot);
};

static inline uint64_t vmat_snapshot_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

extern const struct vmat_snapshot_ops vmat_snapshot_fork_ops, vmat_snapshot_protect_ops;

#endif
