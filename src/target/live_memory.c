/* SPDX-License-Identifier: MIT */
/*
 * live_memory.c: reading the memory of a living process.
 *
 * Reading a page that is absent would change the target (its page tables fill with the zero page) and
 * may hang for ever in process_vm_readv (a page that userfaultfd or FUSE must bring). So presence is
 * asked first, small reads go through /proc/PID/mem, which fails where the other hangs, and many at
 * once through process_vm_readv in a child that is killed when its time is over.
 */
#include "target/live_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmatlas/feature.h>

#include "base/cleanup.h"
#include "sys/sys_file.h"
#include "sys/sys_process.h"
#include "target/live_scan.h"

enum {
	PAGE_SIZE = 4096,
	IOV_COUNT = 1024,       /* UIO_MAXIOV */
	PIECES_FOR_CHILD = 256, /* below, a fork costs more than it saves */
	CHILD_TIMEOUT_MS = 5000,
};

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

/* One read by whichever of the two ways is permitted. */
static ssize_t read_memory(struct vmat_target *target, uint64_t addr, void *buffer, size_t size)
{
	int fd = memory_fd(target);

	if (fd >= 0)
		return vmat_sys_pread(fd, buffer, size, addr);
	/* CAP_SYS_PTRACE without CAP_DAC_READ_SEARCH: the file is closed, the system call is not. */
	if (fd == -EACCES && vmat_feature_has(VMAT_FEATURE_PROCESS_VM_READV)) {
		struct iovec local = { buffer, size };
		struct iovec remote = { (void *)(uintptr_t)addr,
					size }; /* an address of the target */

		return vmat_sys_process_read(target->memory_pid, &local, &remote, 1);
	}
	return fd;
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

/* What the child works on. It lies in shared memory, with the bytes behind it. */
struct batch {
	pid_t pid;
	size_t count;
	size_t done; /* pieces tried so far: written by the child, read when it has ended */

	struct {
		uint64_t addr;
		uint32_t offset;
		uint32_t size;
		uint32_t got;
	} pieces[];
};

static void batch_work(void *context)
{
	struct batch *batch = context;
	char *bytes = (char *)&batch->pieces[batch->count];

	while (batch->done < batch->count) {
		struct iovec local[IOV_COUNT], remote[IOV_COUNT];
		size_t first = batch->done, n = batch->count - first;
		ssize_t got;

		if (n > IOV_COUNT)
			n = IOV_COUNT;
		for (size_t i = 0; i < n; i++) {
			local[i].iov_base = bytes + batch->pieces[first + i].offset;
			remote[i].iov_base = (void *)(uintptr_t)batch->pieces[first + i].addr;
			local[i].iov_len = remote[i].iov_len = batch->pieces[first + i].size;
		}
		got = vmat_sys_process_read(batch->pid, local, remote, n);
		if (got == -ESRCH || got == -EPERM)
			return;
		/* The call ends at the first piece that cannot be read: that one is passed over. */
		for (size_t i = 0; i < n; i++) {
			uint32_t size = batch->pieces[first + i].size;

			batch->done++;
			if (got < (ssize_t)size)
				break;
			batch->pieces[first + i].got = size;
			got -= (ssize_t)size;
		}
	}
}

static int read_in_child(struct vmat_target *target, struct vmat_piece *pieces, size_t count)
{
	size_t bytes = 0,
	       header = sizeof(struct batch) + count * sizeof(((struct batch *)0)->pieces[0]);
	struct batch *batch;
	int err;

	for (size_t i = 0; i < count; i++)
		bytes += pieces[i].size;
	if (bytes > UINT32_MAX)
		return -E2BIG;
	batch = vmat_sys_shared_alloc(header + bytes);
	if (!batch)
		return -ENOMEM;
	batch->pid = target->memory_pid;
	batch->count = count;
	bytes = 0;
	for (size_t i = 0; i < count; i++) {
		batch->pieces[i].addr = pieces[i].addr;
		batch->pieces[i].size = pieces[i].size;
		batch->pieces[i].offset = (uint32_t)bytes;
		bytes += pieces[i].size;
	}
	err = vmat_sys_run_child(batch_work, batch, CHILD_TIMEOUT_MS);
	/* The number may have passed to another process while the child read: then nothing counts. */
	if (target->pidfd >= 0 && vmat_sys_pidfd_wait(target->pidfd, 0) != 0)
		err = -ESRCH;
	for (size_t i = 0; err != -ESRCH && i < count; i++) {
		pieces[i].got = batch->pieces[i].got;
		memcpy(pieces[i].buffer, (char *)batch + header + batch->pieces[i].offset,
		       batch->pieces[i].got);
	}
	vmat_sys_shared_free(batch, header + bytes);
	return err;
}

int vmat_live_read_pieces(struct vmat_target *target, struct vmat_piece *pieces, size_t count)
{
	if (count >= PIECES_FOR_CHILD && vmat_feature_has(VMAT_FEATURE_PROCESS_VM_READV))
		return read_in_child(target, pieces, count);
	for (size_t i = 0; i < count; i++) {
		ssize_t got = read_memory(target, pieces[i].addr, pieces[i].buffer, pieces[i].size);

		if (got == -ESRCH || got == -EACCES || got == -EPERM)
			return (int)got;
		pieces[i].got = got == (ssize_t)pieces[i].size ? pieces[i].size : 0;
	}
	return 0;
}
