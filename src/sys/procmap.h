/* SPDX-License-Identifier: MIT */
/*
 * procmap.h: PROCMAP_QUERY on /proc/PID/maps: the region at one address (Linux 6.11).
 */
#ifndef VMAT_PROCMAP_H
#define VMAT_PROCMAP_H

#include "sys/uapi_new.h"

/* Fills *query for the region that holds addr. 0, -ENOENT where nothing is mapped, or -errno. */
int vmat_sys_procmap_query(int maps_fd, uint64_t addr, struct vmat_uapi_procmap_query *query);

#endif
