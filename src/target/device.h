/* SPDX-License-Identifier: MIT */
/*
 * device.h: file systems by their device number, and the root that the target sees.
 */
#ifndef VMAT_DEVICE_H
#define VMAT_DEVICE_H

#include "target/target_ops.h"

/* May a file system never answer (FUSE, network)? True when that cannot be told. */
bool vmat_device_may_hang(struct vmat_target *target, uint32_t dev_major, uint32_t dev_minor);

/* The root folder of the target (O_PATH), owned by the target, or a negative errno. */
int vmat_device_root(struct vmat_target *target);

/*
 * The type and the super options of the mounted file system with this device, from a mountinfo text.
 * False when it is not mounted. `options` ends at the end of the line. Pure.
 */
bool vmat_mountinfo_find(const char *mountinfo, uint32_t dev_major, uint32_t dev_minor, char *type,
			 size_t type_size, const char **options);

#endif
