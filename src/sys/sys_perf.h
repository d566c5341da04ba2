/* SPDX-License-Identifier: MIT */
/*
 * sys_perf.h: page faults of a thread: getrusage(2), and perf_event_open(2) with the software event of page faults.
 */
#ifndef VMAT_SYS_PERF_H
#define VMAT_SYS_PERF_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Faults so far of this thread, or of the process. */
int vmat_sys_faults(bool of_thread, uint64_t *minor, uint64_t *major);

/*
 * A disabled event that samples one of `every` page faults of a thread: IP, TID, TIME, ADDR. A descriptor or -errno. With
 * `with_kernel` also those of the kernel on its behalf.
 */
int vmat_sys_perf_faults(pid_t tid, uint64_t every, bool with_kernel);

/* Lets an event count, or pauses it. */
int vmat_sys_perf_enable(int fd, bool is_on);

/* What an event has counted. */
int vmat_sys_perf_count(int fd, uint64_t *ret);

/* kernel.perf_event_paranoid; INT_MIN when it cannot be read. */
int vmat_sys_perf_paranoid(void);

#endif
