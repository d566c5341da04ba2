/* SPDX-License-Identifier: MIT */
/*
 * sys_process.h: other processes: a handle that outlives the number, and their memory.
 */
#ifndef VMAT_SYS_PROCESS_H
#define VMAT_SYS_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

/* pidfd_open(2). A descriptor (O_CLOEXEC) or -errno; -ENOSYS before Linux 5.3. */
int vmat_sys_pidfd_open(pid_t pid);

/*
 * A copy of the process's descriptor `fd` (pidfd_getfd(2), Linux 5.6), or -errno: -EBADF it is closed; -EPERM: it may not be
 * traced by us.
 */
int vmat_sys_pidfd_getfd(int pidfd, int fd);

/* Waits until the process has ended: 1; 0 when the time is over; -errno. timeout_ms 0 only looks. */
int vmat_sys_pidfd_wait(int pidfd, int timeout_ms);

/*
 * The wait status of a process that has ended: of a child of ours that nobody has waited for yet, and of any other once its
 * parent has waited, if the kernel keeps it with the pidfd (Linux 6.15). It stays to be waited for. 0, or -errno:
 * -EAGAIN not known yet or not at all.
 */
int vmat_sys_exit_status(int pidfd, int *ret);

/*
 * process_vm_readv(2): bytes read, which may be fewer, or -errno. Not for a target's memory: it pins pages, and the kernel copies
 * those that fork has left shared before it pins them.
 */
ssize_t vmat_sys_process_read(pid_t pid, const struct iovec *local, const struct iovec *remote,
			      size_t count);

/*
 * Runs work(context) in a child process for at most timeout_ms, then kills the child. The child dies
 * with its parent and must not allocate, lock or print: what it finds out, it puts into shared memory.
 * 0 when the work came to its end, -ETIMEDOUT when it was killed, or -errno.
 */
int vmat_sys_run_child(void (*work)(void *context), void *context, int timeout_ms);

/*
 * The vdso of this process, which is that of all processes of its word size, in whole pages. NULL when there is
 * none. It ends with its section headers (arch/x86/entry/vdso).
 */
const void *vmat_sys_own_vdso(size_t *ret_size);

/* Anonymous memory that is shared with children. NULL when there is none. */
void *vmat_sys_shared_alloc(size_t size);
void vmat_sys_shared_free(void *memory, size_t size);

#endif
