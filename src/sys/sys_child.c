/* SPDX-License-Identifier: MIT */
#include "sys/sys_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000 /* Linux 5.2 */
#endif
#ifndef SYS_close_range
#define SYS_close_range 436 /* Linux 5.9 */
#endif

/* The result of a raw call; errno gets its former value back. */
static long raw(long got, int saved)
{
	if (got < 0)
		got = -errno;
	errno = saved;
	return got;
}

pid_t vmat_sys_child_begin(int *ret_pidfd)
{
	int saved = errno, pidfd = -1;
	/* No signal in the lowest byte: the parent is told nothing. An older kernel ignores the flag. */
	long pid = raw(syscall(SYS_clone, CLONE_PIDFD, NULL, &pidfd, NULL, NULL), saved);

	if (pid > 0)
		*ret_pidfd = pidfd;
	return (pid_t)pid;
}

static void close_range_of(unsigned first, unsigned last)
{
	struct rlimit limit;

	if (first > last || syscall(SYS_close_range, first, last, 0) == 0)
		return;
	/* Before Linux 5.9, one by one. */
	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > 1 << 20)
		limit.rlim_cur = 1 << 20;
	for (; first <= last && first < limit.rlim_cur; first++)
		syscall(SYS_close, first);
}

void vmat_sys_child_keep(const int *descriptors, unsigned count)
{
	unsigned next = 0;

	/* From gap to gap between the numbers to keep, in ascending order. */
	for (;;) {
		unsigned keep = ~0U;

		for (unsigned i = 0; i < count; i++)
			if ((unsigned)descriptors[i] >= next && (unsigned)descriptors[i] < keep)
				keep = (unsigned)descriptors[i];
		if (keep == ~0U)
			break;
		if (keep > next)
			close_range_of(next, keep - 1);
		next = keep + 1;
	}
	close_range_of(next, ~0U);
}

void vmat_sys_child_exit(int code)
{
	for (;;)
		syscall(SYS_exit_group, code);
}

ssize_t vmat_sys_child_write(int fd, const void *bytes, size_t size)
{
	long got;

	do
		got = raw(syscall(SYS_write, fd, bytes, size), errno);
	while (got == -EINTR);
	return got;
}

ssize_t vmat_sys_child_vmsplice(int fd, const void *bytes, size_t size)
{
	struct iovec part = { (void *)(uintptr_t)bytes, size };
	long got;

	do
		got = raw(syscall(SYS_vmsplice, fd, &part, 1L, 0), errno);
	while (got == -EINTR);
	return got;
}

int vmat_sys_child_wait_writable(int fd)
{
	struct pollfd waiting = { .fd = fd, .events = POLLOUT };

	while (syscall(SYS_ppoll, &waiting, 1, NULL, NULL, 0) < 1 && errno == EINTR)
		;
	return waiting.revents & POLLERR ? -EPIPE : 0;
}

int vmat_sys_child_wait_empty(int pipe)
{
	struct timespec nap = { .tv_nsec = 50 * 1000 };
	struct pollfd waiting = { .fd = pipe };
	int bytes = 0;

	while (ioctl(pipe, FIONREAD, &bytes) == 0 && bytes > 0) {
		/* A pipe tells its reader's end at once, but not that it has become empty. */
		if (syscall(SYS_ppoll, &waiting, 1, &nap, NULL, 0) == 1 &&
		    (waiting.revents & POLLERR))
			return -EPIPE;
		if (nap.tv_nsec < 5 * 1000 * 1000)
			nap.tv_nsec *= 2;
	}
	return 0;
}

int vmat_sys_child_end(pid_t child)
{
	int saved = errno, status;
	long got;

	/* __WALL: a child without SIGCHLD is not waited for otherwise. */
	do
		got = raw(syscall(SYS_wait4, child, &status, __WALL, NULL), saved);
	while (got == -EINTR);
	if (got < 0)
		return (int)got;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void vmat_sys_child_kill(pid_t child, int pidfd)
{
	int saved = errno;

	if (pidfd < 0 || syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0)
		kill(child, SIGKILL);
	errno = saved;
}

bool vmat_sys_is_pipe(int fd)
{
	struct stat status;
	int saved = errno;
	bool is_pipe = fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode);

	errno = saved;
	return is_pipe;
}

int vmat_sys_is_writable(int fd)
{
	int saved = errno, flags = fcntl(fd, F_GETFL);

	errno = saved;
	return flags < 0 || (flags & O_ACCMODE) == O_RDONLY || (flags & O_PATH) ? -EBADF : 0;
}

off_t vmat_sys_file_offset(int fd)
{
	struct stat status;
	int saved = errno, flags = fcntl(fd, F_GETFL);
	off_t at = -1;

	if (flags >= 0 && !(flags & O_APPEND) && fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
		at = lseek(fd, 0, SEEK_CUR);
	errno = saved;
	return at;
}

int vmat_sys_seek(int fd, off_t offset)
{
	int saved = errno;

	return lseek(fd, offset, SEEK_SET) < 0 ? (int)raw(-1, saved) : 0;
}
