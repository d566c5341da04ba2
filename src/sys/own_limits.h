/* SPDX-License-Identifier: MIT */
/*
 * own_limits.h: how many regions this process has, and how many it may have. Nothing is allocated.
 */
#ifndef VMAT_OWN_LIMITS_H
#define VMAT_OWN_LIMITS_H

/* The lines of /proc/self/maps, or -errno. Cost: 0.4 us for each region. */
long vmat_sys_own_regions(void);

/* vm.max_map_count; the kernel's default where it cannot be read. */
long vmat_sys_own_regions_max(void);

#endif
