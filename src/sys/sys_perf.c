/* SPDX-License-Identifier: MIT */
#include "sys/sys_perf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sys/sys_file.h"

/* The -errno of a failed call; errno gets its former value back. */
static int failed(int saved)
{
	int code = -errno;

	errno = saved;
	return code;
}

int vmat_sys_faults(bool of_thread, uint64_t *minor, uint64_t *major)
{
	struct rusage usage;
	int saved = errno;

	if (getrusage(of_thread ? RUSAGE_THREAD : RUSAGE_SELF, &usage))
		return failed(saved);
	*minor = (uint64_t)usage.ru_minflt;
	*major = (uint64_t)usage.ru_majflt;
	return 0;
}

int vmat_sys_perf_faults(pid_t tid, uint64_t every, bool with_kernel)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_PAGE_FAULTS,
		.sample_period = every,
		.sample_type =
			PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR,
		.disabled = 1,
		.exclude_kernel = !with_kernel,
		.exclude_hv = 1,
		.use_clockid = 1,
		.clockid = CLOCK_MONOTONIC,
	};
	int saved = errno, fd;

	fd = (int)syscall(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? failed(saved) : fd;
}

int vmat_sys_perf_watch(const struct vmat_perf_watch *watch)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = watch->is_major ? PERF_COUNT_SW_PAGE_FAULTS_MAJ
					  : PERF_COUNT_SW_PAGE_FAULTS_MIN,
		.sample_period = watch->every,
		.sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME |
			       PERF_SAMPLE_ADDR | PERF_SAMPLE_ID,
		.inherit = 1,
		.inherit_thread = !watch->with_children,
		.task = watch->with_tasks,
		.comm = watch->with_tasks,
		.comm_exec = watch->with_tasks,
		.exclude_kernel = !watch->with_kernel,
		.exclude_hv = 1,
		.use_clockid = 1,
		.clockid = CLOCK_MONOTONIC,
	};
	int saved = errno, fd;

	fd = (int)syscall(SYS_perf_event_open, &attr, watch->tid, watch->cpu, -1,
			  PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? failed(saved) : fd;
}

int vmat_sys_perf_redirect(int fd, int to_fd)
{
	int saved = errno;

	return ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, to_fd) ? failed(saved) : 0;
}

int vmat_sys_perf_id(int fd, uint64_t *ret)
{
	int saved = errno;

	return ioctl(fd, PERF_EVENT_IOC_ID, ret) ? failed(saved) : 0;
}

int vmat_sys_cpus(void)
{
	long count = sysconf(_SC_NPROCESSORS_CONF);

	return count < 1 ? 1 : count > INT_MAX ? INT_MAX : (int)count;
}

uint64_t vmat_sys_files_limit_raise(void)
{
	struct rlimit limit;
	int saved = errno;

	if (getrlimit(RLIMIT_NOFILE, &limit)) {
		errno = saved;
		return 256;
	}
	if (limit.rlim_cur < limit.rlim_max) {
		const rlim_t before = limit.rlim_cur;

		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit))
			limit.rlim_cur = before;
	}
	errno = saved;
	return limit.rlim_cur;
}

uint64_t vmat_sys_page_bytes(void)
{
	long bytes = sysconf(_SC_PAGESIZE);

	return bytes > 0 ? (uint64_t)bytes : 4096;
}

uint64_t vmat_sys_mono_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

int vmat_sys_perf_period(int fd, uint64_t every)
{
	int saved = errno;

	return ioctl(fd, PERF_EVENT_IOC_PERIOD, &every) ? failed(saved) : 0;
}

int vmat_sys_perf_enable(int fd, bool is_on)
{
	int saved = errno;

	return ioctl(fd, is_on ? PERF_EVENT_IOC_ENABLE : PERF_EVENT_IOC_DISABLE, 0) ? failed(saved)
										    : 0;
}

int vmat_sys_perf_count(int fd, uint64_t *ret)
{
	uint64_t count;
	ssize_t got = vmat_sys_read(fd, &count, sizeof(count));

	if (got != sizeof(count))
		return got < 0 ? (int)got : -EIO;
	*ret = count;
	return 0;
}

int vmat_sys_perf_paranoid(void)
{
	vmat_autoclose int fd =
		vmat_sys_open_at(AT_FDCWD, "/proc/sys/kernel/perf_event_paranoid", 0);
	char text[16] = "";

	if (fd < 0 || vmat_sys_read(fd, text, sizeof(text) - 1) <= 0)
		return INT_MIN;
	return (int)strtol(text, NULL, 10);
}
