/* SPDX-License-Identifier: MIT */
#include "sys/sys_uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/pagemap.h"

/* UFFD_USER_MODE_ONLY of Linux 5.11, which not all headers have */
#define USER_MODE_ONLY 1

enum { OPEN_FLAGS = O_CLOEXEC | O_NONBLOCK };

/* The result of a call, with the errno that was there before it. */
static int result(int got, int saved)
{
	int code = got < 0 ? -errno : got;

	errno = saved;
	return code;
}

/* ioctl(2) that repeats what the kernel asks to repeat: UFFDIO_WRITEPROTECT while a mapping changes. */
static int call(int fd, unsigned long request, void *argument)
{
	int saved = errno, got;

	do
		got = ioctl(fd, request, argument);
	while (got < 0 && (errno == EAGAIN || errno == EINTR));
	return result(got, saved);
}

static int open_device(void)
{
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), fd;

	if (device < 0)
		return -1;
	fd = ioctl(device, USERFAULTFD_IOC_NEW, OPEN_FLAGS);
	close(device);
	return fd;
}

/* A descriptor before its handshake. */
static int open_any(bool *ret_sees_kernel)
{
	int saved = errno, fd = (int)syscall(SYS_userfaultfd, OPEN_FLAGS);
	bool sees_kernel = true;

	if (fd < 0 && errno == EPERM)
		fd = open_device();
	if (fd < 0 && (errno == EACCES || errno == EPERM || errno == ENOENT)) {
		sees_kernel = false;
		fd = (int)syscall(SYS_userfaultfd, OPEN_FLAGS | USER_MODE_ONLY);
	}
	if (fd >= 0)
		*ret_sees_kernel = sees_kernel;
	return result(fd, saved);
}

int vmat_sys_uffd_open(uint64_t features, bool *ret_sees_kernel)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	bool sees_kernel = false;
	int fd = open_any(&sees_kernel), err;

	if (fd < 0)
		return fd;
	err = call(fd, UFFDIO_API, &api);
	if (err) {
		int saved = errno;

		close(fd);
		errno = saved;
		return err == -EINVAL ? -EOPNOTSUPP : err;
	}
	*ret_sees_kernel = sees_kernel;
	return fd;
}

int vmat_sys_uffd_register(int fd, void *start, size_t size, uint64_t mode)
{
	struct uffdio_register argument = { .range = { (uintptr_t)start, size }, .mode = mode };

	return call(fd, UFFDIO_REGISTER, &argument);
}

int vmat_sys_uffd_unregister(int fd, void *start, size_t size)
{
	struct uffdio_range argument = { (uintptr_t)start, size };
	int err = call(fd, UFFDIO_UNREGISTER, &argument);

	/* Linux fs/userfaultfd.c, userfaultfd_unregister: it wakes in ranges registered for missing pages only. */
	if (!err)
		err = call(fd, UFFDIO_WAKE, &argument);
	return err;
}

int vmat_sys_uffd_protect(int fd, void *start, size_t size, bool is_protected)
{
	struct uffdio_writeprotect argument = {
		.range = { (uintptr_t)start, size },
		.mode = is_protected ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return call(fd, UFFDIO_WRITEPROTECT, &argument);
}

int vmat_sys_uffd_wake(int fd, void *start, size_t size)
{
	struct uffdio_range argument = { (uintptr_t)start, size };

	return call(fd, UFFDIO_WAKE, &argument);
}

ssize_t vmat_sys_uffd_read(int fd, struct uffd_msg *messages, size_t count)
{
	int saved = errno;
	ssize_t got = read(fd, messages, count * sizeof(*messages));

	if (got < 0)
		return result(-1, saved);
	return got / (ssize_t)sizeof(*messages);
}

static bool is_protected(int pagemap, const char *page, size_t page_size)
{
	uint64_t entry = 0;

	return vmat_sys_pagemap_read(pagemap, (uintptr_t)page / page_size, &entry, 1) == 1 &&
	       (entry & VMAT_PM_UFFD_WP);
}

int vmat_sys_uffd_probe(int pagemap, char *page, size_t page_size, uint64_t features)
{
	bool sees_kernel, works;
	int fd = vmat_sys_uffd_open(features, &sees_kernel);

	if (fd < 0)
		return fd;
	works = vmat_sys_uffd_register(fd, page, page_size, UFFDIO_REGISTER_MODE_WP) == 0 &&
		vmat_sys_uffd_protect(fd, page, page_size, true) == 0 &&
		is_protected(pagemap, page, page_size);
	if (works && (features & VMAT_UAPI_UFFD_WP_ASYNC)) {
		*(volatile char *)page = 3;
		works = !is_protected(pagemap, page, page_size);
	}
	close(fd);
	return works;
}
