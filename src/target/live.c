/* SPDX-License-Identifier: MIT */
/*
 * live.c: a process that runs on this machine.
 *
 * Files that it maps are opened below its own root, so that containers are seen as they see themselves.
 * A file system that may never answer (FUSE, network) is not touched: asking it could hang us, and
 * with us the outage that we were called for.
 */
#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sys/sys_file.h"
#include "sys/sys_process.h"
#include "target/device.h"
#include "target/live_driver.h"
#include "target/live_memory.h"
#include "target/live_scan.h"
#include "target/process.h"

static void close_if_open(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void live_deinit(struct vmat_target *target)
{
	close_if_open(target->pidfd);
	close_if_open(target->pagemap);
	close_if_open(target->memory);
	close_if_open(target->root);
	close_if_open(target->maps);
	close_if_open(target->kpageflags);
	close_if_open(target->kpagecount);
}

enum { STAT_LIMIT = 4096 };

static int live_check(struct vmat_target *target, struct vmat_error *err)
{
	struct vmat_buffer text = { 0 };
	struct vmat_stat stat = { 0 };
	int code = vmat_sys_read_file_at(target->memory_dir, "stat", &text, STAT_LIMIT);

	if (!code)
		code = vmat_stat_parse(&stat, text.data, text.size);
	vmat_buffer_deinit(&text);
	if (code == -ENOMEM)
		return vmat_error_set(err, code, "out of memory");
	if (code || stat.state == 'Z' || stat.state == 'X' ||
	    (target->pidfd >= 0 && vmat_sys_pidfd_wait(target->pidfd, 0) != 0))
		return vmat_error_set(err, -ESRCH, "process %d has ended",
				      (int)target->process.pid);
	if (stat.start_ticks != target->process.start_ticks)
		return vmat_error_set(err, -ESRCH,
				      "process %d has ended, and another has its number",
				      (int)target->process.pid);
	/* Not permitted: both are 0. A new program has a new stack, by address randomisation. */
	if (stat.stack_addr != target->process.stack_addr)
		return vmat_error_set(err, -ESTALE,
				      "process %d has executed another program while it was read",
				      (int)target->process.pid);
	return 0;
}

static int live_open_file(struct vmat_target *target, const char *path, uint32_t dev_major,
			  uint32_t dev_minor, uint64_t inode)
{
	vmat_autoclose int fd = -1;
	struct stat stat;
	int err;

	if (path[0] != '/')
		return -ENOENT;
	if (vmat_device_may_hang(target, path, dev_major, dev_minor))
		return -EOPNOTSUPP;
	fd = vmat_sys_open_in_root(vmat_device_root(target), path, 0);
	if (fd < 0)
		return fd;
	err = vmat_sys_fstat(fd, &stat);
	if (err)
		return err;
	/* The device is not compared: overlay and btrfs show another one in maps than in stat. */
	if (!S_ISREG(stat.st_mode) || stat.st_ino != inode)
		return -ESTALE;
	return vmat_take_fd(&fd);
}

const struct vmat_target_ops vmat_live_ops = {
	.is_live = true,
	.scan = vmat_live_scan,
	.pagemap = vmat_live_pagemap,
	.read = vmat_live_read,
	.read_pieces = vmat_live_read_pieces,
	.open_file = live_open_file,
	.extents = vmat_live_extents,
	.check = live_check,
	.deinit = live_deinit,
};
