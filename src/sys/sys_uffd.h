/* SPDX-License-Identifier: MIT */
/*
 * sys_uffd.h: userfaultfd(2) of this process, for write-protection. Each call returns -errno, and leaves
 * errno as it was.
 *
 * Who may: with CAP_SYS_PTRACE, vm.unprivileged_userfaultfd = 1 or access to /dev/userfaultfd, faults that
 * happen inside of system calls are told, too. Everybody else gets a descriptor that tells faults of user
 * code only (UFFD_USER_MODE_ONLY, Linux 5.11): a system call that touches a protected page then fails
 * with EFAULT. With WP_ASYNC nothing is told, so that the difference does not matter.
 */
#ifndef VMAT_SYS_UFFD_H
#define VMAT_SYS_UFFD_H

#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* include/uapi/linux/userfaultfd.h: Linux 6.4, commit 2bad466cc9d9; Linux 6.7, commit d61ea1cb0095 */
#define VMAT_UAPI_UFFD_WP_UNPOPULATED (1ULL << 13)
#define VMAT_UAPI_UFFD_WP_ASYNC       (1ULL << 15)

/*
 * A descriptor (O_CLOEXEC | O_NONBLOCK) with these features, or -errno; -EOPNOTSUPP when the kernel has not
 * all of them. *ret_sees_kernel: whether faults inside of system calls are told.
 */
int vmat_sys_uffd_open(uint64_t features, bool *ret_sees_kernel);

/* UFFDIO_REGISTER with modes of linux/userfaultfd.h; UFFDIO_UNREGISTER, and whoever waits there is woken. */
int vmat_sys_uffd_register(int fd, void *start, size_t size, uint64_t mode);
int vmat_sys_uffd_unregister(int fd, void *start, size_t size);

/* UFFDIO_WRITEPROTECT: protects, or lets writes through again and wakes who waits for that. */
int vmat_sys_uffd_protect(int fd, void *start, size_t size, bool is_protected);

/* Lets those go on who wait for a page of the range. */
int vmat_sys_uffd_wake(int fd, void *start, size_t size);

/* How many messages were read, or -errno; -EAGAIN when there are none. */
ssize_t vmat_sys_uffd_read(int fd, struct uffd_msg *messages, size_t count);

/*
 * Tries write-protection on a page of own memory that `pagemap` describes: with these features, is a protected
 * page shown as protected, and, with WP_ASYNC, as not protected after a write? 1, 0, or -errno when
 * the kernel refuses.
 */
int vmat_sys_uffd_probe(int pagemap, char *page, size_t page_size, uint64_t features);

#endif
