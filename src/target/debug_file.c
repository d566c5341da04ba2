/* SPDX-License-Identifier: MIT */
/*
 * debug_file.c: separate debug files, where distributions install them: by build id, so that the right one is
 * found whatever the program's name is. Facts: gdb, "Debugging Information in Separate Files".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "sys/sys_file.h"
#include "target/device.h"

/* The debug file at a path of one root; only a regular file, for others may hang who reads them. */
static int open_regular(int root, const char *path)
{
	vmat_autoclose int fd = root >= 0 ? vmat_sys_open_in_root(root, path, 0)
					  : vmat_sys_open_at(AT_FDCWD, path, 0);
	struct stat stat;
	int err = fd < 0 ? fd : vmat_sys_fstat(fd, &stat);

	if (err)
		return err;
	return S_ISREG(stat.st_mode) ? vmat_take_fd(&fd) : -ENOENT;
}

int vmat_source_open_debug(struct vmat_target *target, const uint8_t *build_id, size_t size)
{
	char path[160] = "/usr/lib/debug/.build-id/";
	size_t at = strlen(path);
	int fd = -ENOENT;

	if (size < 2 || size > 64)
		return -ENOENT;
	for (size_t i = 0; i < size; i++) {
		snprintf(path + at, 3, "%02x", build_id[i]);
		at += 2;
		if (i == 0)
			path[at++] = '/';
	}
	snprintf(path + at, sizeof(path) - at, ".debug");
	if (target->ops->is_live && !vmat_device_may_hang(target, path, 0, 0))
		fd = open_regular(vmat_device_root(target), path);
	return fd >= 0 ? fd : open_regular(-1, path);
}
