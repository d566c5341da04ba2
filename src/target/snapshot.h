/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h: the copy of a target that vmat_stop_fork has made, as a target of its own.
 *
 * Its memory is that of the forked child, which stands; its threads and files are those of the original. What
 * a child does not get is read from the original, which runs: memory shared with others, ranges that fork
 * leaves out (MADV_DONTFORK) or empties (MADV_WIPEONFORK), and file pages that nobody has written to.
 */
#ifndef VMAT_SNAPSHOT_H
#define VMAT_SNAPSHOT_H

#include "target/target_source.h"

/* `original` must outlive it. Closed with vmat_target_close. 0, -ENOMEM, or -errno of /proc. */
int vmat_snapshot_open(struct vmat_target **ret, struct vmat_target *original, pid_t child);

/* Does the child have all of [start, end)? */
bool vmat_snapshot_has(const struct vmat_target *copy, uint64_t start, uint64_t end);

#endif
