/* SPDX-License-Identifier: MIT */
#include "sys/sys_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sys/sys_file.h"
#include "sys/uapi_new.h"

enum { DONTNEED_LOCKED = 24 /* MADV_DONTNEED_LOCKED, Linux 5.18 */ };

/* The -errno of a failed call; errno gets its former value back. */
static int failed(int saved)
{
	int code = -errno;

	errno = saved;
	return code;
}

int vmat_sys_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset, void **ret)
{
	int saved = errno;
	void *got = mmap(addr, size, prot, flags, fd, offset);

	if (got == MAP_FAILED)
		return failed(saved);
	*ret = got;
	return 0;
}

int vmat_sys_mremap(void *addr, size_t size, size_t new_size, int flags, void *wanted, void **ret)
{
	int saved = errno;
	void *got = mremap(addr, size, new_size, flags, wanted);

	if (got == MAP_FAILED)
		return failed(saved);
	*ret = got;
	return 0;
}

int vmat_sys_munmap(void *addr, size_t size)
{
	int saved = errno;

	return munmap(addr, size) ? failed(saved) : 0;
}

int vmat_sys_mprotect(void *addr, size_t size, int prot)
{
	int saved = errno;

	return mprotect(addr, size, prot) ? failed(saved) : 0;
}

int vmat_sys_madvise(void *addr, size_t size, int advice)
{
	int saved = errno;

	return madvise(addr, size, advice) ? failed(saved) : 0;
}

int vmat_sys_drop_pages(void *addr, size_t size)
{
	int err = vmat_sys_madvise(addr, size, MADV_DONTNEED);

	return err == -EINVAL ? vmat_sys_madvise(addr, size, DONTNEED_LOCKED) : err;
}

int vmat_sys_reserve(size_t size, size_t align, void **ret)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), extra = align > page ? align : 0, head;
	char *start;
	void *got = NULL;
	int err;

	if (size > SIZE_MAX - extra)
		return -EOVERFLOW;
	err = vmat_sys_mmap(NULL, size + extra, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0,
			    &got);
	if (err)
		return err;
	start = got;
	head = extra ? (align - (uintptr_t)start % align) % align : 0;
	/* What cannot be cut off, for want of regions, stays with the rest until all of it is given up. */
	err = head ? vmat_sys_munmap(start, head) : 0;
	if (!err) {
		start += head;
		extra -= head;
		err = extra ? vmat_sys_munmap(start + size, extra) : 0;
	}
	if (err) {
		vmat_sys_munmap(start, size + extra);
		return err;
	}
	*ret = start;
	return 0;
}

size_t vmat_sys_address_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return SIZE_MAX;
	return (size_t)limit.rlim_cur;
}

int vmat_sys_is_mapped(const void *addr, size_t size)
{
	int saved = errno;

	/* MS_ASYNC looks for holes and does nothing else (mm/msync.c, since 2.6.19). */
	return msync((void *)(uintptr_t)addr, size, MS_ASYNC) ? failed(saved) : 0;
}

ssize_t vmat_sys_process_madvise(int pidfd, const struct iovec *ranges, size_t count, int advice)
{
	int saved = errno;
	ssize_t done = syscall(SYS_process_madvise, pidfd, ranges, count, advice, 0);

	return done < 0 ? failed(saved) : done;
}

int vmat_sys_name_memory(void *addr, size_t size, const char *name)
{
	int saved = errno;

	return prctl(VMAT_UAPI_PR_SET_VMA, VMAT_UAPI_PR_SET_VMA_NAME, addr, size, name)
		       ? failed(saved)
		       : 0;
}

int vmat_sys_mlock(void *addr, size_t size)
{
	int saved = errno;

	return mlock(addr, size) ? failed(saved) : 0;
}

static size_t read_huge_count(size_t page_size, const char *name)
{
	char path[96], text[24] = "";
	vmat_autoclose int fd = -1;

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%zukB/%s",
		 page_size / 1024, name);
	fd = vmat_sys_open_at(AT_FDCWD, path, 0);
	if (fd < 0 || vmat_sys_read(fd, text, sizeof(text) - 1) <= 0)
		return 0;
	return strtoul(text, NULL, 10);
}

size_t vmat_sys_huge_pages_free(size_t page_size)
{
	size_t all = read_huge_count(page_size, "free_hugepages");
	size_t promised = read_huge_count(page_size, "resv_hugepages");

	return all > promised ? all - promised : 0;
}
