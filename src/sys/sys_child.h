/* SPDX-License-Identifier: MIT */
/*
 * sys_child.h: a child that nobody notices: its end sends no SIGCHLD, and wait(2) for any child does not find it.
 *
 * It is made without the handlers of pthread_atfork(3), in a process that may have other threads, so that it may make system
 * calls and nothing else. The calls below are for it: none of them is a point where a thread can be
 * cancelled, which the thread that made the child may be due for.
 */
#ifndef VMAT_SYS_CHILD_H
#define VMAT_SYS_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Begins a child: 0 in it, its number in the caller, or -errno. *ret_pidfd: a descriptor of it, -1 before Linux 5.2. */
pid_t vmat_sys_child_begin(int *ret_pidfd);

/* Closes all descriptors but these, of which there may be up to 8 and some may be equal. */
void vmat_sys_child_keep(const int *descriptors, unsigned count);

_Noreturn void vmat_sys_child_exit(int code);

/* write(2) and vmsplice(2), once, -EINTR never. Bytes, or -errno. */
ssize_t vmat_sys_child_write(int fd, const void *bytes, size_t size);
ssize_t vmat_sys_child_vmsplice(int fd, const void *bytes, size_t size);

/* Waits until a write may go on: 0, or -EPIPE when nobody reads any more. */
int vmat_sys_child_wait_writable(int fd);

/* Waits until a pipe is empty: 0, or -EPIPE when nobody reads any more. */
int vmat_sys_child_wait_empty(int pipe);

/*
 * Waits for the child's end and lets the kernel forget it. Its exit code, 128 and more when it was killed, or -ECHILD
 * when somebody else has waited for it (waitpid with __WALL).
 */
int vmat_sys_child_end(pid_t child);
/* By its descriptor where there is one, so that it cannot be somebody else. */
void vmat_sys_child_kill(pid_t child, int pidfd);

/* Is the descriptor a pipe? */
bool vmat_sys_is_pipe(int fd);

/* 0 when the descriptor is open for writing, else -EBADF. */
int vmat_sys_is_writable(int fd);

/* Where a regular file that is not for appending is written next; -1 for anything else. */
off_t vmat_sys_file_offset(int fd);

/* lseek(2) from the beginning. 0 or -errno. */
int vmat_sys_seek(int fd, off_t offset);

#endif
