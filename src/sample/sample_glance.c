/* SPDX-License-Identifier: MIT */
/*
 * sample_glance.c: one of very many processes, with nothing kept open.
 *
 * stat is opened first and read last: it is bound to the process that had the number then, and its reading fails once that one
 * has been waited for. So what was opened and read in between was of the same process.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sample/sample_text.h"
#include "sample/sampler_priv.h"
#include "sys/sys_clock.h"
#include "sys/sys_file.h"
#include "sys/sys_perf.h"

enum { AT_FOLDER = -100 /* AT_FDCWD: the path is absolute */ };

static int open_text(pid_t pid, const char *name)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return vmat_sys_open_at(AT_FOLDER, path, 0);
}

static int read_sizes(struct vmat_sample *sample, pid_t pid, bool has_status)
{
	vmat_autoclose int fd = open_text(pid, has_status ? "status" : "statm");
	vmat_cleanup(vmat_buffer_deinit) struct vmat_buffer text = { 0 };
	uint64_t peak;
	bool has_memory;
	int r;

	if (fd < 0)
		return fd;
	r = vmat_sample_read_text(fd, &text);
	if (r)
		return r;
	if (has_status)
		has_memory = vmat_sample_parse_status(sample->values, &peak, text.data, text.size);
	else
		has_memory = vmat_sample_parse_statm(sample->values, vmat_sys_page_bytes(),
						     text.data, text.size);
	return has_memory ? 0 : -ESRCH;
}

int vmat_sample_glance(struct vmat_sample *ret, struct vmat_glance *ret_who, pid_t pid,
		       bool has_status)
{
	vmat_autoclose int fd = open_text(pid, "stat");
	vmat_cleanup(vmat_buffer_deinit) struct vmat_buffer text = { 0 };
	struct vmat_sample sample = *ret;
	struct vmat_stat stat;
	int r;

	if (fd < 0)
		return fd == -ENOENT ? -ESRCH : fd;
	r = read_sizes(&sample, pid, has_status);
	if (r)
		return r == -ENOENT ? -ESRCH : r;
	r = vmat_sample_read_text(fd, &text);
	if (!r)
		r = vmat_stat_parse(&stat, text.data, text.size);
	if (r)
		return r;
	vmat_sample_take_stat(sample.values, &stat, vmat_sys_tick_ns());
	*ret = sample;
	*ret_who = (struct vmat_glance){ .pid = stat.pid,
					 .ppid = stat.ppid,
					 .start_ns = stat.start_ticks * vmat_sys_tick_ns(),
					 .state = stat.state };
	memcpy(ret_who->name, stat.comm, sizeof(ret_who->name));
	return 0;
}

int vmat_sample_pids(pid_t **ret, size_t *ret_count)
{
	return vmat_sys_list_numbers(AT_FOLDER, "/proc", ret, ret_count);
}
