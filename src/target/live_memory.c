/* SPDX-License-Identifier: MIT */
/*
 * live_memory.c: reading the memory of a living process.
 *
 * Reading a page that is absent would change the target (its page tables fill with the zero page), and may
 * wait for whoever must bring it (FUSE): so presence is asked first. Reads go through /proc/PID/mem.
 * process_vm_readv(2) pins pages, and the kernel copies a page that is to be pinned and that fork has left
 * shared (FOLL_PIN, gup_must_unshare): each page that was read of a forked target would be new memory of it. It also hangs
 * on a page that a userfaultfd must bring, where the other fails.
 */
#include "target/live_memory.h"

#include <errno.h>

#include "sys/sys_file.h"
#include "target/live_scan.h"

enum { PAGE_SIZE = 4096 };

static int memory_fd(struct vmat_target *target)
{
	if (target->memory == VMAT_FD_NOT_OPENED)
		target->memory = vmat_sys_open_at(target->memory_dir, "mem", 0);
	return target->memory;
}

/* The end of the present pages from addr on, at most `end`. */
static int present_until(struct vmat_target *target, uint64_t addr, uint64_t end, uint64_t *ret)
{
	uint64_t page = addr & ~(uint64_t)(PAGE_SIZE - 1), at = page, until = page;
	uint64_t last = (end + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1);

	while (at < last && at == until) {
		struct vmat_page_run runs[8];
		uint32_t known;
		int count = vmat_live_scan(target, &at, last, VMAT_PAGE_PRESENT, runs, 8, &known);

		if (count < 0)
			return count;
		for (int i = 0; i < count; i++) {
			if (runs[i].start != until)
				break;
			until = runs[i].end;
		}
	}
	*ret = until < addr ? addr : until < end ? until : end;
	return 0;
}

static ssize_t read_memory(struct vmat_target *target, uint64_t addr, void *buffer, size_t size)
{
	int fd = memory_fd(target);

	return fd < 0 ? fd : vmat_sys_pread(fd, buffer, size, addr);
}

ssize_t vmat_live_read(struct vmat_target *target, uint64_t addr, void *buffer, size_t size)
{
	uint64_t end, until;
	ssize_t got;
	int err;

	if (size == 0 || addr + size < addr)
		return -EINVAL;
	end = addr + size;
	err = present_until(target, addr, end, &until);
	if (err == -EFAULT) /* a pointer beyond the user address space: nothing is there */
		return 0;
	if (err)
		return err;
	if (until == addr)
		return 0;
	got = read_memory(target, addr, buffer, (size_t)(until - addr));
	return got == -EIO || got == -EFAULT ? 0 : got; /* gone since the scan, or a guard */
}

int vmat_live_read_pieces(struct vmat_target *target, struct vmat_piece *pieces, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		ssize_t got = read_memory(target, pieces[i].addr, pieces[i].buffer, pieces[i].size);

		if (got == -ESRCH || got == -EACCES || got == -EPERM)
			return (int)got;
		pieces[i].got = got == (ssize_t)pieces[i].size ? pieces[i].size : 0;
	}
	return 0;
}
