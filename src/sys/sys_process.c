/* SPDX-License-Identifier: MIT */
#include "sys/sys_process.h"

#include <errno.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sys/uapi_new.h"

int vmat_sys_pidfd_open(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

int vmat_sys_pidfd_getfd(int pidfd, int fd)
{
	int copy = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	return copy < 0 ? -errno : copy;
}

int vmat_sys_pidfd_wait(int pidfd, int timeout_ms)
{
	struct pollfd poll_fd = { .fd = pidfd, .events = POLLIN };
	int ready;

	do
		ready = poll(&poll_fd, 1, timeout_ms);
	while (ready < 0 && errno == EINTR);
	return ready < 0 ? -errno : ready > 0;
}

/* waitid tells how it ended in two numbers, wait in one. */
static int wait_status(const siginfo_t *info)
{
	if (info->si_code == CLD_EXITED)
		return (info->si_status & 0xff) << 8;
	return (info->si_status & 0x7f) | (info->si_code == CLD_DUMPED ? 0x80 : 0);
}

int vmat_sys_exit_status(int pidfd, int *ret)
{
	struct vmat_uapi_pidfd_info more = { .mask = VMAT_UAPI_PIDFD_INFO_EXIT };
	siginfo_t info = { 0 };

	if (pidfd < 0)
		return -EAGAIN;
	if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid) {
		*ret = wait_status(&info);
		return 0;
	}
	if (ioctl(pidfd, VMAT_UAPI_PIDFD_GET_INFO, &more) < 0 ||
	    !(more.mask & VMAT_UAPI_PIDFD_INFO_EXIT))
		return -EAGAIN;
	*ret = more.exit_code;
	return 0;
}

ssize_t vmat_sys_process_read(pid_t pid, const struct iovec *local, const struct iovec *remote,
			      size_t count)
{
	ssize_t got = process_vm_readv(pid, local, count, remote, count, 0);

	return got < 0 ? -errno : got;
}

/* Waits for the end of the child without a pidfd, which kernels before 5.3 lack. */
static int wait_by_polling(pid_t child, int timeout_ms)
{
	const struct timespec tick = { .tv_nsec = 1000 * 1000 };

	for (int waited = 0; waited < timeout_ms; waited++) {
		siginfo_t info = { 0 };

		if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
			return errno == ECHILD ? 1 : -errno;
		if (info.si_pid == child)
			return 1;
		nanosleep(&tick, NULL);
	}
	return 0;
}

static int reap(pid_t child, int timeout_ms)
{
	vmat_autoclose int pidfd = vmat_sys_pidfd_open(child);
	int ended = pidfd >= 0 ? vmat_sys_pidfd_wait(pidfd, timeout_ms)
			       : wait_by_polling(child, timeout_ms);
	int status = 0;

	if (ended <= 0)
		kill(child, SIGKILL);
	while (waitpid(child, &status, 0) < 0) {
		/* Where SIGCHLD is ignored, no child leaves a status: its work says how far it came. */
		if (errno == ECHILD)
			break;
		if (errno != EINTR)
			return -errno;
	}
	if (ended <= 0)
		return ended < 0 ? ended : -ETIMEDOUT;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ECHILD;
}

int vmat_sys_run_child(void (*work)(void *context), void *context, int timeout_ms)
{
	pid_t child = fork();

	if (child < 0)
		return -errno;
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		work(context);
		_exit(0);
	}
	return reap(child, timeout_ms);
}

void *vmat_sys_shared_alloc(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

void vmat_sys_shared_free(void *memory, size_t size)
{
	if (memory)
		munmap(memory, size);
}

const void *vmat_sys_own_vdso(size_t *ret_size)
{
	/* An address that the kernel has put into the auxiliary vector. */
	const ElfW(Ehdr) *header = (const void *)(uintptr_t)getauxval(AT_SYSINFO_EHDR);
	size_t size;

	if (!header)
		return NULL;
	size = (size_t)header->e_shoff + (size_t)header->e_shnum * header->e_shentsize;
	*ret_size = (size + 4095) & ~(size_t)4095;
	return header;
}
