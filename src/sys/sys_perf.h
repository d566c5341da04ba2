/* SPDX-License-Identifier: MIT */
/*
 * sys_perf.h: page faults of a thread: getrusage(2), and perf_event_open(2) with the software events of page faults.
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

/* Another period from here on, for this event and not for those inherited from it already; where it runs, the next fault is a sample. */
int vmat_sys_perf_period(int fd, uint64_t every);

/* Lets an event count, or pauses it. */
int vmat_sys_perf_enable(int fd, bool is_on);

/* What an event has counted. */
int vmat_sys_perf_count(int fd, uint64_t *ret);

/* The faults of a thread on one processor, and of all threads that it will ever begin. */
struct vmat_perf_watch {
	pid_t tid;
	int cpu;
	bool is_major;      /* PAGE_FAULTS_MAJ, else PAGE_FAULTS_MIN */
	uint64_t every;     /* one of so many is sampled */
	bool with_kernel;   /* also those of the kernel on its behalf: needs more rights */
	bool with_tasks;    /* also records of threads and processes that begin, and of exec */
	bool with_children; /* kernels before 5.13 cannot follow threads without child processes */
};

/*
 * Opens an event that samples at once: IP, TID, TIME (CLOCK_MONOTONIC), ADDR and ID, as perf_ring.h reads them. Its records
 * go nowhere before it has a ring, or is redirected. A descriptor or -errno: -ENODEV the processor is off, -EACCES or
 * -EPERM, -ESRCH, -EMFILE, -EINVAL (a kernel before 5.13, without with_children).
 */
int vmat_sys_perf_watch(const struct vmat_perf_watch *watch);

/* The records of an event go into the ring of another one of the same processor. */
int vmat_sys_perf_redirect(int fd, int to_fd);

/* The id that the samples of an event and of those inherited from it carry. */
int vmat_sys_perf_id(int fd, uint64_t *ret);

/* How many processors this machine may have: their numbers are below. At least 1. */
int vmat_sys_cpus(void);

/* Raises the soft limit of open files to the hard one; what it is then. */
uint64_t vmat_sys_files_limit_raise(void);

/* Of the base pages of this machine. */
uint64_t vmat_sys_page_bytes(void);

/* CLOCK_MONOTONIC in nanoseconds: the clock of the samples. */
uint64_t vmat_sys_mono_ns(void);

/* kernel.perf_event_paranoid; INT_MIN when it cannot be read. */
int vmat_sys_perf_paranoid(void);

#endif
