/* SPDX-License-Identifier: MIT */
#include "sys/procmap.h"

#include <errno.h>

int vmat_sys_procmap_query(int maps_fd, uint64_t addr, struct vmat_uapi_procmap_query *query)
{
	*query = (struct vmat_uapi_procmap_query){ .size = sizeof(*query), .query_addr = addr };
	return ioctl(maps_fd, VMAT_UAPI_PROCMAP_QUERY, query) < 0 ? -errno : 0;
}
