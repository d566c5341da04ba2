/* SPDX-License-Identifier: MIT */
/*
 * live_driver.h: buffers of the driver in kmod/ that a living process maps.
 *
 * The kernel shows no pages of such a mapping (VM_PFNMAP), but the driver tells its extents to whoever has a descriptor. Opening
 * the mapping anew (/proc/PID/map_files) gives none: an anonymous inode cannot be opened. So one that the target still has is
 * copied, and found by the buffer's number, which maps and the links of /proc/PID/fd both show.
 */
#ifndef VMAT_LIVE_DRIVER_H
#define VMAT_LIVE_DRIVER_H

#include "target/target_ops.h"

/* The contract is that of vmat_source_extents. */
int vmat_live_extents(struct vmat_target *target, const char *name, struct vmat_extent **ret,
		      size_t *ret_count);

#endif
