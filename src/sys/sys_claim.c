/* SPDX-License-Identifier: MIT */
#include "sys/sys_claim.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int vmat_sys_claim(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	/* Nobody else can hold it yet. Where the file system has no locks the file is merely not marked. */
	flock(fd, LOCK_EX | LOCK_NB);
	return fd;
}

bool vmat_sys_is_claimed(int fd)
{
	if (flock(fd, LOCK_SH | LOCK_NB) < 0)
		return errno == EWOULDBLOCK;
	flock(fd, LOCK_UN);
	return false;
}

int vmat_sys_is_file(const char *path)
{
	struct stat status;

	if (lstat(path, &status) < 0)
		return errno == ENOENT ? 0 : -errno;
	return S_ISREG(status.st_mode) ? 1 : -EINVAL;
}

int vmat_sys_remove(const char *path)
{
	return unlink(path) < 0 ? -errno : 0;
}
