/* SPDX-License-Identifier: MIT */
/*
 * fault_events.h: the events that sample the page faults of all threads of a process, and what of their records is told on.
 *
 * The kernel takes new threads in by itself (inherit), and lends a ring only to events that are bound to a processor: so each
 * thread that is there has two events (minor, major) on each processor, and all events of a processor share one ring. Threads
 * that begin while events are opened are looked for again; one that was then both inherited and opened would tell its faults
 * twice, so samples by inheritance count only where a thread has no event of its own.
 */
#ifndef VMAT_FAULT_EVENTS_H
#define VMAT_FAULT_EVENTS_H

#include <vmatlas/target.h>

#include "sys/perf_ring.h"

struct vmat_fault_watched {
	uint64_t id; /* ascends: the kernel numbers events in the order in which they are opened */
	pid_t tid;
	bool is_major;
	uint32_t turn; /* the last one in which it told a fault; 0: none */
};

struct vmat_fault_events {
	pid_t pid;
	struct vmat_perf_ring *rings;
	int *ring_fds; /* -1: the processor is off */
	size_t rings_count;
	int *fds; /* all events, those with the rings among them */
	size_t fds_count, fds_max;
	struct vmat_fault_watched *watched;
	size_t watched_count, watched_max;
	pid_t *tids; /* ascending: threads with events of their own */
	size_t tids_count, tids_max;
	bool has_kernel;    /* faults of system calls are told, too */
	bool with_children; /* this kernel cannot leave child processes out */
	size_t refused;     /* threads that could not be watched: no more descriptors */
	int refused_why;
	uint32_t turn;     /* from 1 on: another period in each */
	size_t told, busy; /* minor faults in this turn, and the events that told some */
	uint64_t vary_ns;  /* not changed again before */
};

/*
 * Opens events for all threads. 0, -EACCES or -EPERM, -ENOSYS and its like, -EMFILE when not even one thread could be watched,
 * -ESRCH, -ENOMEM.
 */
int vmat_fault_events_open(struct vmat_fault_events *ret, struct vmat_target *target,
			   uint64_t every);
void vmat_fault_events_close(struct vmat_fault_events *events);

/*
 * Changes the period to another prime when enough was told with the last one: a loop that takes 17 faults a round, or 34, or 187,
 * would be met at the same pages as long as one of 17 is sampled. On average it stays VMAT_FAULT_EVERY. For events
 * that were opened with that. Call it right after a drain.
 */
void vmat_fault_events_vary(struct vmat_fault_events *events);

/* The next records of all rings; `fn` gets each fault once, and is_major of it. 0, or -EBADMSG: a ring held no records. */
struct vmat_fault_record {
	struct vmat_perf_record perf;
	bool is_major;
};

typedef void vmat_fault_record_fn(const struct vmat_fault_record *record, void *context);
int vmat_fault_events_drain(struct vmat_fault_events *events, vmat_fault_record_fn *fn,
			    void *context);

#endif
