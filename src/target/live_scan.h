/* SPDX-License-Identifier: MIT */
/*
 * live_scan.h: the pages of a living process: PAGEMAP_SCAN in bounded pieces, else pagemap.
 */
#ifndef VMAT_LIVE_SCAN_H
#define VMAT_LIVE_SCAN_H

#include "target/target_ops.h"

int vmat_live_scan(struct vmat_target *target, uint64_t *addr, uint64_t end, uint32_t want,
		   struct vmat_page_run *runs, size_t count, uint32_t *known);
int vmat_live_pagemap(struct vmat_target *target, uint64_t addr, uint64_t *entries, size_t count);

/* The open pagemap of the target, or a negative errno. */
int vmat_live_pagemap_fd(struct vmat_target *target);

#endif
