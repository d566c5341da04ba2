/* SPDX-License-Identifier: MIT */
/*
 * sys_jail.h: a child process without rights, for parsers that may be fooled by what they read.
 */
#ifndef VMAT_SYS_JAIL_H
#define VMAT_SYS_JAIL_H

#include <stddef.h>
#include <stdint.h>

struct vmat_sys_jail {
	const int *fds; /* the descriptors that the child keeps, all others are closed; ascending */
	size_t fds_count;
	uint64_t memory_bytes; /* that the child may take beyond what it has */
	int timeout_ms;        /* of the clock; of the processor, rounded up to seconds */
};

/*
 * Runs work(context) in a child that can compute, allocate, and read the descriptors it keeps, and
 * nothing else: a seccomp filter refuses (EPERM) all calls that open, write, connect, signal or start
 * anything. What it finds out, it puts into memory of vmat_sys_shared_alloc, which stays untrusted. The
 * child has ended when this returns. The caller should have one thread only, or the child must not
 * allocate (glibc makes malloc usable after fork; other libraries' locks are not).
 *
 * 0 when the work came to its end; -ETIMEDOUT; -ECHILD it died, or could not be locked up: then no work is
 * done (ask for VMAT_FEATURE_SECCOMP before); or another -errno.
 */
int vmat_sys_run_jailed(void (*work)(void *context), void *context,
			const struct vmat_sys_jail *jail);

/* Can a filter be installed? 0 or -ENOSYS. Installs one in a child of its own. */
int vmat_sys_jail_probe(void);

#endif
