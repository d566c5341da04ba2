/* SPDX-License-Identifier: MIT */
/*
 * live_memory.h: reading the memory of a living process without changing it and without hanging.
 */
#ifndef VMAT_LIVE_MEMORY_H
#define VMAT_LIVE_MEMORY_H

#include "target/target_ops.h"

ssize_t vmat_live_read(struct vmat_target *target, uint64_t addr, void *buffer, size_t size);
int vmat_live_read_pieces(struct vmat_target *target, struct vmat_piece *pieces, size_t count);

#endif
