/* SPDX-License-Identifier: MIT */
/*
 * sys_file.h: files, and the descriptors of /proc, as calls that return -errno.
 */
#ifndef VMAT_SYS_FILE_H
#define VMAT_SYS_FILE_H

#include <sys/stat.h>
#include <sys/types.h>

#include "base/buffer.h"

/* openat(2) with O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK and `flags`. A descriptor or -errno. */
int vmat_sys_open_at(int dirfd, const char *path, int flags);

/*
 * Opens a path as a process sees it whose root is `rootdir`, with O_RDONLY | O_CLOEXEC | O_NOCTTY |
 * O_NONBLOCK and `flags`. Symbolic links are refused, before Linux 5.6 (openat2) only as the last part:
 * paths in maps hold none, and one put there since may lead anywhere.
 */
int vmat_sys_open_in_root(int rootdir, const char *path, int flags);

/* read(2), pread(2) and pwrite(2) that go on after EINTR. Bytes, 0 at the end, or -errno. */
ssize_t vmat_sys_read(int fd, void *buffer, size_t size);
ssize_t vmat_sys_pread(int fd, void *buffer, size_t size, uint64_t offset);
ssize_t vmat_sys_pwrite(int fd, const void *buffer, size_t size, uint64_t offset);

/* Reads from the current position to the end into `buffer`, which is emptied first; -EFBIG above limit. */
int vmat_sys_read_all(int fd, struct vmat_buffer *buffer, size_t limit);

/* Opens, reads all, closes. */
int vmat_sys_read_file_at(int dirfd, const char *path, struct vmat_buffer *buffer, size_t limit);

/* readlinkat(2) of any length below 64 KiB. */
int vmat_sys_readlink_at(int dirfd, const char *path, struct vmat_buffer *buffer);

int vmat_sys_fstat(int fd, struct stat *ret);

/* The device number of the file system where a memfd with these flags lies. 0 or -errno. */
int vmat_sys_memfd_device(unsigned flags, dev_t *ret);

/*
 * The first byte from `offset` on that lies in a hole of a sparse file, or in none (lseek(2): SEEK_HOLE,
 * SEEK_DATA). -ENXIO at the end of the file; other errors: the file system does not tell.
 */
int64_t vmat_sys_seek_hole(int fd, uint64_t offset);
int64_t vmat_sys_seek_data(int fd, uint64_t offset);

/* A file in memory that holds `size` bytes, to be read from its beginning. A descriptor or -errno. */
int vmat_sys_text_fd(const void *data, size_t size);

/* The names of a folder that are decimal numbers, ascending: pids, thread ids. Frees with free(). */
int vmat_sys_list_numbers(int dirfd, const char *path, pid_t **ret, size_t *ret_count);

#endif
