/* SPDX-License-Identifier: MIT */
/*
 * sys_claim.h: a file that one process writes for a long time while others may read it: created, never replaced, and marked as
 * being written by a lock (flock(2)) that the kernel takes away when the writer ends, however it ends.
 */
#ifndef VMAT_SYS_CLAIM_H
#define VMAT_SYS_CLAIM_H

#include <stdbool.h>

/* Creates the file, mode 0600, and locks it. A descriptor, to be kept until the file is whole, or -errno: -EEXIST. */
int vmat_sys_claim(const char *path);

/* Does anybody hold a claim on this open file? */
bool vmat_sys_is_claimed(int fd);

/* What is there: 1 a regular file, 0 nothing, -EINVAL something else, or another -errno. Links are not followed. */
int vmat_sys_is_file(const char *path);

/* unlink(2). 0 or -errno. */
int vmat_sys_remove(const char *path);

#endif
