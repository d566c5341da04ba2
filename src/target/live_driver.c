/* SPDX-License-Identifier: MIT */
#include "target/live_driver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "sys/sys_driver.h"
#include "sys/sys_file.h"
#include "sys/sys_process.h"

bool vmat_source_is_buffer(const char *name)
{
	return vmat_sys_driver_number(name) != 0;
}

/* A copy of the target's descriptor of the buffer, or -errno. */
static int copy_descriptor(struct vmat_target *target, const char *name)
{
	vmat_autofree pid_t *numbers = NULL;
	struct vmat_buffer link = { 0 };
	size_t count = 0;
	int r = vmat_sys_list_numbers(target->memory_dir, "fd", &numbers, &count);

	if (r)
		return r;
	r = -ENOENT;
	for (size_t i = 0; i < count && r == -ENOENT; i++) {
		char path[32];

		snprintf(path, sizeof(path), "fd/%d", (int)numbers[i]);
		if (!vmat_sys_readlink_at(target->memory_dir, path, &link) &&
		    strcmp(link.data, name) == 0)
			r = vmat_sys_pidfd_getfd(target->pidfd, (int)numbers[i]);
		/* Closed meanwhile: there may be another. */
		if (r == -EBADF)
			r = -ENOENT;
	}
	vmat_buffer_deinit(&link);
	return r;
}

int vmat_live_extents(struct vmat_target *target, const char *name, struct vmat_extent **ret,
		      size_t *ret_count)
{
	vmat_autofree struct vmatlas_extent *theirs = NULL;
	struct vmat_extent *extents;
	vmat_autoclose int buf = -1;
	size_t count;
	int r;

	if (target->pidfd < 0)
		return -EOPNOTSUPP;
	buf = copy_descriptor(target, name);
	if (buf < 0)
		return buf;
	r = vmat_sys_driver_extents(buf, &theirs, &count);
	if (r)
		return r;
	extents = calloc(count, sizeof(*extents));
	if (!extents)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		extents[i] = (struct vmat_extent){
			.offset = theirs[i].offset,
			.bytes = theirs[i].bytes,
			.physical = theirs[i].physical == VMATLAS_PHYSICAL_HIDDEN
					    ? VMAT_UNKNOWN(VMAT_NOT_PERMITTED)
					    : theirs[i].physical,
		};
	*ret = extents;
	*ret_count = count;
	return 0;
}
