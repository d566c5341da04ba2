/* SPDX-License-Identifier: MIT */
/*
 * interpose_map.c: the calls that make and end mappings, and what they mean for the table of page sizes.
 *
 * Each calls the function of the same name that comes next, and gives on its result and its errno.
 * What is unmapped is forgotten before the call, what is mapped is put in after it: span_change.h.
 *
 * Not stood before, because they never change the page size of a mapping: mprotect, madvise (a huge
 * page in a mapping of base pages is vmat_page_at()'s to tell), mlock. Nor brk and sbrk: the end of the
 * heap is libc's own variable, and looked at by each reader. Nor dlopen: it acts by its caller's
 * address (RUNPATH, namespace), which would be ours; objects that come are found in maps.
 */
/* With 64-bit offsets sys/mman.h renames mmap to mmap64; both names are meant here. */
#undef _FILE_OFFSET_BITS
#include <stdarg.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "preload/interpose.h"
#include "preload/span_change.h"

static void mapped(void *got, size_t size, int flags, int fd)
{
	/* Of a file it depends on the file system, of hugetlb on a default: the kernel says it. */
	if (flags & MAP_HUGETLB || (fd >= 0 && !(flags & MAP_ANONYMOUS)))
		vmat_span_mapped_ask(got, size);
	else
		vmat_span_mapped(got, size, (size_t)sysconf(_SC_PAGESIZE));
}

VMAT_INTERPOSED void *mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset)
{
	bool replaces = flags & MAP_FIXED;
	void *got;

	if (replaces)
		vmat_span_change_begin(addr, size);
	got = vmat_original(mmap)(addr, size, prot, flags, fd, offset);
	if (replaces)
		vmat_span_change_end();
	if (got != MAP_FAILED)
		mapped(got, size, flags, fd);
	return got;
}

VMAT_INTERPOSED void *mmap64(void *addr, size_t size, int prot, int flags, int fd, off64_t offset)
{
	return mmap(addr, size, prot, flags, fd, (off_t)offset);
}

VMAT_INTERPOSED int munmap(void *addr, size_t size)
{
	int code;

	vmat_span_change_begin(addr, size);
	code = vmat_original(munmap)(addr, size);
	vmat_span_change_end();
	return code;
}

VMAT_INTERPOSED void *mremap(void *addr, size_t size, size_t new_size, int flags, ...)
{
	void *wanted = NULL, *got;

	if (flags & MREMAP_FIXED) {
		va_list args;

		va_start(args, flags);
		wanted = va_arg(args, void *);
		va_end(args);
		vmat_span_change_begin(wanted, new_size);
	}
	vmat_span_change_begin(addr, size);
	got = vmat_original(mremap)(addr, size, new_size, flags, wanted);
	vmat_span_change_end();
	if (flags & MREMAP_FIXED)
		vmat_span_change_end();
	if (got != MAP_FAILED)
		vmat_span_mapped_ask(got, new_size);
	return got;
}

/* Where segments of shared memory are attached, and how long: shmdt(2) is told the address only. */
static struct attached {
	_Atomic uintptr_t addr;
	size_t size;
} attached[64];

static size_t segment_size(int id)
{
	vmat_keep_errno;
	struct shmid_ds info;

	return shmctl(id, IPC_STAT, &info) == 0 ? info.shm_segsz : 0;
}

/* Where there is no room the segment is not put into the table, and the kernel asked each time. */
static void remember_attached(const void *addr, size_t size)
{
	for (size_t i = 0; size && i < sizeof(attached) / sizeof(attached[0]); i++) {
		uintptr_t none = 0;

		if (atomic_compare_exchange_strong(&attached[i].addr, &none, UINTPTR_MAX)) {
			attached[i].size = size;
			atomic_store(&attached[i].addr, (uintptr_t)addr);
			vmat_span_mapped_ask(addr, size);
			return;
		}
	}
}

static size_t take_attached(const void *addr)
{
	for (size_t i = 0; i < sizeof(attached) / sizeof(attached[0]); i++) {
		uintptr_t value = (uintptr_t)addr;
		size_t size = attached[i].size;

		if (value && atomic_compare_exchange_strong(&attached[i].addr, &value, 0))
			return size;
	}
	return 0;
}

VMAT_INTERPOSED void *shmat(int id, const void *addr, int flags)
{
	size_t size = segment_size(id);
	bool replaces = flags & SHM_REMAP;
	void *got;

	if (replaces)
		vmat_span_change_begin(addr, size);
	got = vmat_original(shmat)(id, addr, flags);
	if (replaces)
		vmat_span_change_end();
	if (got != (void *)-1)
		remember_attached(got, size);
	return got;
}

VMAT_INTERPOSED int shmdt(const void *addr)
{
	int code;

	vmat_span_change_begin(addr, take_attached(addr));
	code = vmat_original(shmdt)(addr);
	vmat_span_change_end();
	return code;
}

VMAT_INTERPOSED int dlclose(void *handle)
{
	int code = vmat_original(dlclose)(handle);

	vmat_span_unloaded();
	return code;
}

__attribute__((constructor)) static void start(void)
{
	vmat_span_start();
	(void)vmat_original(mmap);
	(void)vmat_original(munmap);
	(void)vmat_original(mremap);
}
