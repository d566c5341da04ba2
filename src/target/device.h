/* SPDX-License-Identifier: MIT */
/*
 * device.h: file systems by their device number, and the root that the target sees.
 */
#ifndef VMAT_DEVICE_H
#define VMAT_DEVICE_H

#include "target/target_ops.h"

/*
 * May the file of a mapping never answer (FUSE, network)? Both where it lies and what its path leads
 * through count: a mount over a folder hides the file, and looking for it asks who has mounted. True
 * when that cannot be told.
 */
bool vmat_device_may_hang(struct vmat_target *target, const char *path, uint32_t dev_major,
			  uint32_t dev_minor);

/* The root folder of the target (O_PATH), owned by the target, or a negative errno. */
int vmat_device_root(struct vmat_target *target);

/*
 * The type and the super options of the mounted file system with this device, from a mountinfo text.
 * False when it is not mounted. `options` ends at the end of the line. Pure.
 */
bool vmat_mountinfo_find(const char *mountinfo, uint32_t dev_major, uint32_t dev_minor, char *type,
			 size_t type_size, const char **options);

/* Does this path lead through a file system that may hang, by a mountinfo text? Pure. */
bool vmat_mountinfo_may_hang(const char *mountinfo, const char *path);

#endif
