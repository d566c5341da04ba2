/* SPDX-License-Identifier: MIT */
#include "sys/sys_event.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

int vmat_sys_event_open(void)
{
	int saved = errno, fd = eventfd(0, EFD_CLOEXEC), code = fd < 0 ? -errno : fd;

	errno = saved;
	return code;
}

void vmat_sys_event_signal(int fd)
{
	int saved = errno;

	eventfd_write(fd, 1);
	errno = saved;
}

int vmat_sys_poll(struct pollfd *descriptors, unsigned count, int timeout_ms)
{
	int saved = errno, ready;

	do
		ready = poll(descriptors, count, timeout_ms);
	while (ready < 0 && errno == EINTR);
	if (ready < 0)
		ready = -errno;
	errno = saved;
	return ready;
}

int vmat_sys_duplicate(int fd)
{
	int saved = errno, copy = fcntl(fd, F_DUPFD_CLOEXEC, 0), code = copy < 0 ? -errno : copy;

	errno = saved;
	return code;
}

void vmat_sys_close(int fd)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
}
