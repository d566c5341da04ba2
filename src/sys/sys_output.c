/* SPDX-License-Identifier: MIT */
#include "sys/sys_output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int vmat_output_open(struct vmat_output *ret, const char *name, bool may_replace)
{
	static const char part[] = ".part";
	size_t size = strlen(name);
	struct stat stat;

	ret->fd = -1;
	ret->may_replace = may_replace;
	if (size >= sizeof(ret->name))
		return -ENAMETOOLONG;
	memcpy(ret->name, name, size + 1);
	memcpy(ret->part, name, size);
	memcpy(ret->part + size, part, sizeof(part));
	if (lstat(name, &stat) == 0 && (!may_replace || !S_ISREG(stat.st_mode)))
		return -EEXIST;
	ret->fd = open(ret->part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return ret->fd < 0 ? -errno : 0;
}

int vmat_output_resize(struct vmat_output *output, uint64_t size)
{
	return ftruncate(output->fd, (off_t)size) < 0 ? -errno : 0;
}

int vmat_output_pwrite(struct vmat_output *output, const void *data, size_t size, uint64_t offset)
{
	const char *bytes = data;

	while (size) {
		ssize_t put = pwrite(output->fd, bytes, size, (off_t)offset);

		if (put < 0 && errno != EINTR)
			return -errno;
		if (put == 0)
			return -ENOSPC;
		if (put > 0) {
			bytes += put;
			offset += (uint64_t)put;
			size -= (size_t)put;
		}
	}
	return 0;
}

uint64_t vmat_output_stored(const struct vmat_output *output)
{
	struct stat stat;

	return fstat(output->fd, &stat) < 0 ? 0 : (uint64_t)stat.st_blocks * 512;
}

int vmat_output_finish(struct vmat_output *output)
{
	int err = 0;

	/* A full disk may show only now. */
	if (close(output->fd) < 0)
		err = -errno;
	output->fd = -1;
	if (!err && renameat2(AT_FDCWD, output->part, AT_FDCWD, output->name,
			      output->may_replace ? 0 : RENAME_NOREPLACE) < 0)
		err = -errno;
	/* File systems that cannot promise it: link(2) does not replace either. */
	if (err == -EINVAL && !output->may_replace)
		err = link(output->part, output->name) < 0 ? -errno : unlink(output->part);
	if (err)
		unlink(output->part);
	return err;
}

void vmat_output_drop(struct vmat_output *output)
{
	if (output->fd < 0)
		return;
	close(output->fd);
	output->fd = -1;
	unlink(output->part);
}
