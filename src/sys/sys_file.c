/* SPDX-License-Identifier: MIT */
#include "sys/sys_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

int vmat_sys_open_at(int dirfd, const char *path, int flags)
{
	int fd;

	/* O_NONBLOCK: a record may hold a pipe, whose open would wait for a writer. */
	do
		fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | flags);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

int vmat_sys_open_in_root(int rootdir, const char *path, int flags)
{
	/* O_PATH opens nothing, and openat2 refuses the flags that speak of opening beside it. */
	int open_flags = flags & O_PATH ? 0 : O_RDONLY | O_NOCTTY | O_NONBLOCK;
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(open_flags | O_CLOEXEC | flags),
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS,
	};
	long fd;

	if (rootdir < 0)
		return rootdir;
	fd = syscall(SYS_openat2, rootdir, path, &how, sizeof(how));

	if (fd >= 0)
		return (int)fd;
	if (errno != ENOSYS && errno != EPERM) /* EPERM: an old seccomp filter */
		return -errno;
	return vmat_sys_open_at(rootdir, path + (*path == '/'), open_flags | flags | O_NOFOLLOW);
}

ssize_t vmat_sys_read(int fd, void *buffer, size_t size)
{
	ssize_t got;

	do
		got = read(fd, buffer, size);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

ssize_t vmat_sys_pread(int fd, void *buffer, size_t size, uint64_t offset)
{
	ssize_t got;

	/* /proc/PID/mem takes offsets above INT64_MAX; the kernel compares them as unsigned. */
	do
		got = pread(fd, buffer, size, (off_t)offset);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

ssize_t vmat_sys_pwrite(int fd, const void *buffer, size_t size, uint64_t offset)
{
	ssize_t put;

	do
		put = pwrite(fd, buffer, size, (off_t)offset);
	while (put < 0 && errno == EINTR);
	return put < 0 ? -errno : put;
}

int vmat_sys_read_all(int fd, struct vmat_buffer *buffer, size_t limit)
{
	ssize_t got;
	int err;

	buffer->size = 0;
	do {
		err = vmat_buffer_reserve(buffer, 4096);
		if (err)
			return err;
		got = vmat_sys_read(fd, buffer->data + buffer->size,
				    buffer->capacity - buffer->size - 1);
		if (got < 0)
			return (int)got;
		buffer->size += (size_t)got;
		if (buffer->size > limit)
			return -EFBIG;
	} while (got > 0);
	buffer->data[buffer->size] = '\0';
	return 0;
}

int vmat_sys_read_file_at(int dirfd, const char *path, struct vmat_buffer *buffer, size_t limit)
{
	vmat_autoclose int fd = vmat_sys_open_at(dirfd, path, 0);

	if (fd < 0)
		return fd;
	return vmat_sys_read_all(fd, buffer, limit);
}

int vmat_sys_readlink_at(int dirfd, const char *path, struct vmat_buffer *buffer)
{
	buffer->size = 0;
	for (size_t want = 255; want < 65536; want *= 2) {
		ssize_t got;
		int err = vmat_buffer_reserve(buffer, want);

		if (err)
			return err;
		got = readlinkat(dirfd, path, buffer->data, want);
		if (got < 0)
			return -errno;
		if ((size_t)got < want) {
			buffer->size = (size_t)got;
			buffer->data[got] = '\0';
			return 0;
		}
	}
	return -ENAMETOOLONG;
}

int vmat_sys_fstat(int fd, struct stat *ret)
{
	return fstat(fd, ret) < 0 ? -errno : 0;
}

int vmat_sys_memfd_device(unsigned flags, dev_t *ret)
{
	vmat_autoclose int fd = memfd_create("vmatlas", MFD_CLOEXEC | flags);
	struct stat stat;
	int err;

	if (fd < 0)
		return -errno;
	err = vmat_sys_fstat(fd, &stat);
	if (!err)
		*ret = stat.st_dev;
	return err;
}

static int64_t seek(int fd, uint64_t offset, int whence)
{
	off_t found = lseek(fd, (off_t)offset, whence);

	return found < 0 ? -errno : found;
}

int64_t vmat_sys_seek_hole(int fd, uint64_t offset)
{
	return seek(fd, offset, SEEK_HOLE);
}

int64_t vmat_sys_seek_data(int fd, uint64_t offset)
{
	return seek(fd, offset, SEEK_DATA);
}

int vmat_sys_text_fd(const void *data, size_t size)
{
	vmat_autoclose int fd = memfd_create("vmatlas", MFD_CLOEXEC);
	const char *bytes = data;

	if (fd < 0)
		return -errno;
	while (size) {
		ssize_t put = write(fd, bytes, size);

		if (put < 0 && errno != EINTR)
			return -errno;
		if (put > 0) {
			bytes += put;
			size -= (size_t)put;
		}
	}
	return lseek(fd, 0, SEEK_SET) < 0 ? -errno : vmat_take_fd(&fd);
}

static int compare_numbers(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

/* A decimal number that fits a pid, or -1. */
static pid_t number_of(const char *name)
{
	long number = 0;

	for (const char *c = name; *c; c++) {
		if (*c < '0' || *c > '9' || number > 214748363)
			return -1;
		number = number * 10 + (*c - '0');
	}
	return *name ? (pid_t)number : -1;
}

/* Appends the numbers of a folder. The caller owns *numbers also after a failure. */
static int collect_numbers(DIR *folder, pid_t **numbers, size_t *count)
{
	size_t capacity = 0;

	for (;;) {
		struct dirent *entry;
		pid_t number;

		errno = 0;
		entry = readdir(folder); /* NOLINT(concurrency-mt-unsafe): one stream, one thread */
		if (!entry)
			return -errno;
		number = number_of(entry->d_name);
		if (number < 0)
			continue;
		if (*count == capacity) {
			pid_t *more;

			capacity = capacity ? 2 * capacity : 64;
			more = realloc(*numbers, capacity * sizeof(**numbers));
			if (!more)
				return -ENOMEM;
			*numbers = more;
		}
		(*numbers)[(*count)++] = number;
	}
}

int vmat_sys_list_numbers(int dirfd, const char *path, pid_t **ret, size_t *ret_count)
{
	int err, fd = vmat_sys_open_at(dirfd, path, O_DIRECTORY);
	vmat_autofree pid_t *numbers = NULL;
	size_t count = 0;
	DIR *folder;

	if (fd < 0)
		return fd;
	folder = fdopendir(fd);
	if (!folder) {
		err = -errno;
		close(fd);
		return err;
	}
	err = collect_numbers(folder, &numbers, &count);
	closedir(folder);
	if (err)
		return err;
	if (count)
		qsort(numbers, count, sizeof(*numbers), compare_numbers);
	*ret = vmat_take_ptr(&numbers);
	*ret_count = count;
	return 0;
}
