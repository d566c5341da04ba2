/* SPDX-License-Identifier: MIT */
/*
 * firmware.h: a program without a kernel under it, as a target: its ELF file, and memory out of files or of a gdb server.
 */
#ifndef VMAT_FIRMWARE_H
#define VMAT_FIRMWARE_H

#include "target/target_ops.h"

/* target->ops are vmat_firmware_ops. Fills target->firmware, also when it fails: for vmat_target_close. */
int vmat_firmware_open(struct vmat_target *target, const char *path,
		       const struct vmat_target_options *options, struct vmat_error *err);

extern const struct vmat_target_ops vmat_firmware_ops;

#endif
