/* SPDX-License-Identifier: MIT */
/*
 * faults.h: the page faults of a piece of code: how many, and on request at which addresses.
 *
 *   minor  the kernel had the page, or made one: the first write to fresh memory, the first read after a fork or mmap
 *   major  the page had to come from a disk
 *
 * Counting asks getrusage(2) before and after, and needs no right. A log has the address, the code and the time of each
 * fault of one thread, from perf's software event; it is bounded, and says how many faults it had no room for.
 */
#ifndef VMATLAS_PRIM_FAULTS_H
#define VMATLAS_PRIM_FAULTS_H

#include <vmatlas/prim/api.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmat_faults {
	uint64_t minor;
	uint64_t major;
};

/*
 * Faults of the calling thread, or of the whole process, since it began: faults of the kernel on its behalf (a read(2) into
 * fresh memory) included. Errors: those of getrusage(2), which has none for these. MT-Safe, AS-Safe. After
 * fork the child begins at 0. Cost: 0.3 us.
 */
VMAT_API int vmat_faults_of_thread(struct vmat_faults *ret);
VMAT_API int vmat_faults_of_process(struct vmat_faults *ret);

/* What came since `before`, in the calling thread: the faults of the scope between. */
VMAT_API int vmat_faults_since(const struct vmat_faults *before, struct vmat_faults *ret);

struct vmat_fault {
	uint64_t address; /* that was touched */
	uint64_t code;    /* of the instruction */
	uint64_t time_ns; /* of CLOCK_MONOTONIC */
	int32_t tid;
	uint32_t spare;
};

struct vmat_fault_log;

struct vmat_fault_log_info {
	size_t size;           /* set by the caller: sizeof(struct vmat_fault_log_info) */
	uint64_t faults_count; /* of the thread while the log was running */
	uint64_t read_count;   /* that vmat_fault_log_read() gave */
	uint64_t kept_count;   /* that wait to be read */
	uint64_t
		lost_count; /* for which there was no room, or which were not to be kept (`every`) */
	uint64_t room_count; /* how many can be kept at once */
	bool has_kernel; /* with the faults of system calls, which need CAP_PERFMON or perf_event_paranoid <= 1 */
};

/*
 * Makes a log for the thread `tid` of this process (0: the calling one) that keeps at least `room_count` faults (0: 8000),
 * one of `every` (0 and 1: each). It does not run yet. Close it with vmat_fault_log_close().
 *
 * Errors: -EACCES, -EPERM not allowed: vmat_fault_log_why(); -ENOTSUP the kernel has no such event; -ESRCH no such
 * thread; -EINVAL more than 1,000,000; -ENOMEM; -EMFILE.
 * Needs: perf_event_open(2), perf_event_paranoid <= 2 or CAP_PERFMON; locked memory, perf_event_mlock_kb.
 */
VMAT_API int vmat_fault_log_open(struct vmat_fault_log **ret, pid_t tid, size_t room_count,
				 uint64_t every);

/* NULL is nothing. Returns NULL. */
VMAT_API struct vmat_fault_log *vmat_fault_log_close(struct vmat_fault_log *log);

/* Begins to log, and pauses. Cost: a fault takes about a third longer while it runs. Errors: -ECHILD after fork. */
VMAT_API int vmat_fault_log_start(struct vmat_fault_log *log);
VMAT_API int vmat_fault_log_stop(struct vmat_fault_log *log);

/* Takes at most `count` faults out of the log, the oldest first. How many; 0: none is left; -ECHILD after fork. */
VMAT_API ssize_t vmat_fault_log_read(struct vmat_fault_log *log, struct vmat_fault *faults,
				     size_t count);

/* Errors: -EINVAL a wrong info->size; -ECHILD after fork. */
VMAT_API int vmat_fault_log_info(const struct vmat_fault_log *log,
				 struct vmat_fault_log_info *info);

/* One sentence on why vmat_fault_log_open() failed with `code` here, with what helps. Lifetime: static. */
VMAT_API const char *vmat_fault_log_why(int code);

#ifdef __cplusplus
}
#endif
#endif
