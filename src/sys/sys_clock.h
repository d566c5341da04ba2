/* SPDX-License-Identifier: MIT */
/*
 * sys_clock.h: clocks in nanoseconds, and how long a tick of /proc is.
 */
#ifndef VMAT_SYS_CLOCK_H
#define VMAT_SYS_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* clock_gettime(2), which does not fail for the clocks that every kernel has. */
uint64_t vmat_sys_clock_ns(clockid_t clock);

/* CPU time of the children of this process that have ended and were waited for. */
uint64_t vmat_sys_children_cpu_ns(void);

/* The unit of times in /proc/PID/stat. */
uint64_t vmat_sys_tick_ns(void);

/*
 * Waits until that time of CLOCK_MONOTONIC (0), until one of the descriptors is readable (1), or until a signal was
 * handled (-EINTR). At most 64 descriptors are looked at; negative ones are passed over.
 */
int vmat_sys_wait_until(uint64_t mono_ns, const int *fds, size_t count);

#endif
