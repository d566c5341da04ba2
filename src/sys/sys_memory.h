/* SPDX-License-Identifier: MIT */
/*
 * sys_memory.h: the memory of this process: mmap(2) and its family, as calls that return -errno and
 * leave errno as it was, so that the primitives may run inside of anybody's code.
 */
#ifndef VMAT_SYS_MEMORY_H
#define VMAT_SYS_MEMORY_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

/* mmap(2). addr may be NULL. 0 or -errno. */
int vmat_sys_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset, void **ret);

/* mremap(2); `wanted` is looked at with MREMAP_FIXED only. 0 or -errno. */
int vmat_sys_mremap(void *addr, size_t size, size_t new_size, int flags, void *wanted, void **ret);

int vmat_sys_munmap(void *addr, size_t size);
int vmat_sys_mprotect(void *addr, size_t size, int prot);
int vmat_sys_madvise(void *addr, size_t size, int advice);

/* Gives whole pages back to the kernel, locked ones too where it takes them (Linux 5.18): anonymous ones read as zeroes. */
int vmat_sys_drop_pages(void *addr, size_t size);

/* A range of addresses without memory (PROT_NONE) that begins at a multiple of `align`, a power of two. 0 or -errno. */
int vmat_sys_reserve(size_t size, size_t align, void **ret);

/* RLIMIT_AS in bytes; SIZE_MAX when there is none. */
size_t vmat_sys_address_limit(void);

/* 0 when each page of the range is mapped, else -ENOMEM. `addr` is page-aligned. Touches nothing. */
int vmat_sys_is_mapped(const void *addr, size_t size);

/* process_madvise(2) on own memory, by a pidfd of this process. Bytes advised, which may be fewer, or -errno. */
ssize_t vmat_sys_process_madvise(int pidfd, const struct iovec *ranges, size_t count, int advice);

/* prctl(PR_SET_VMA_ANON_NAME): the name of anonymous memory in maps. 0 or -errno. */
int vmat_sys_name_memory(void *addr, size_t size, const char *name);

int vmat_sys_mlock(void *addr, size_t size);

/* Huge pages of this size in the pool that nobody has or was promised; 0 when that cannot be read. */
size_t vmat_sys_huge_pages_free(size_t page_size);

#endif
