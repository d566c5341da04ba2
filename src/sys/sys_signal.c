/* SPDX-License-Identifier: MIT */
#include "sys/sys_signal.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

int vmat_sys_sigaction(int sig, const struct sigaction *wanted, struct sigaction *ret)
{
	int saved = errno, code = sigaction(sig, wanted, ret) ? -errno : 0;

	errno = saved;
	return code;
}

void vmat_sys_signals_block(sigset_t *ret)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, ret);
}

void vmat_sys_signals_set(const sigset_t *mask)
{
	pthread_sigmask(SIG_SETMASK, mask, NULL);
}

int vmat_sys_raise(int sig)
{
	int saved = errno, code;

	code = syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), sig) ? -errno : 0;
	errno = saved;
	return code;
}

void vmat_sys_yield(void)
{
	int saved = errno;

	sched_yield();
	errno = saved;
}
