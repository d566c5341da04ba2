/* SPDX-License-Identifier: MIT */
/*
 * sys_driver.h: the driver in kmod/, which pins memory and makes a descriptor of it (include/uapi/vmatlas.h).
 */
#ifndef VMAT_SYS_DRIVER_H
#define VMAT_SYS_DRIVER_H

#include <stddef.h>
#include <stdint.h>
#include <uapi/vmatlas.h>

/* Pins whole pages of this process. The buffer's descriptor, or -errno; -ENOENT: the driver is not loaded. */
int vmat_sys_driver_pin(const void *addr, size_t bytes);

/* All extents of a buffer, by offset; frees with free(). 0 or -errno; -ENOTTY: no buffer of the driver. */
int vmat_sys_driver_extents(int buf, struct vmatlas_extent **ret, size_t *ret_count);

/* The N of a text "anon_inode:[vmatlas:N]", by which /proc/PID/maps and /proc/PID/fd name a buffer, or 0. Pure. */
uint64_t vmat_sys_driver_number(const char *name);

#endif
