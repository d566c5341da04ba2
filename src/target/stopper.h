/* SPDX-License-Identifier: MIT */
/*
 * stopper.h: the process that stops a target: seizes its threads, holds them, repairs and lets go.
 *
 * stop.c prepares everything in memory that is shared with it and forks it; vmat_stopper_work is all
 * that it ever does. From the first thread that it tells to stop to the last that it lets go it makes
 * system calls only: nothing is allocated, locked or printed (LSan hung in 1 % of its runs because it
 * printed there).
 *
 * It may be killed at any point. It survives its parent, and then lets go in the orderly way.
 */
#ifndef VMAT_STOPPER_H
#define VMAT_STOPPER_H

#include <stdatomic.h>

#include "target/stop_repair.h"

/* Where a thread is, as its tracer sees it. */
enum vmat_slot_state {
	VMAT_SLOT_RUNS,  /* seized, told to stop or to go up to a system call: an event will come */
	VMAT_SLOT_TRAP,  /* stands because we asked */
	VMAT_SLOT_GROUP, /* stands because of a stop signal to the whole process */
	VMAT_SLOT_SIGNAL,  /* stands before a signal is delivered to it */
	VMAT_SLOT_SYSCALL, /* stands at the entry of the system call that it makes again */
	VMAT_SLOT_GONE,    /* has ended, or was let go */
};

struct vmat_slot {
	pid_t tid;
	enum vmat_slot_state state;
	int signal;       /* of VMAT_SLOT_SIGNAL */
	unsigned seen;    /* the last listing of the threads that held it */
	bool is_followed; /* we watch it until its system call is made again */
	bool is_rewound;  /* ... which we brought about: the kernel would have returned EINTR */
	bool has_entered; /* it has been made again: the thread runs, though we still trace it */
};

struct vmat_stopper {
	/* Set by stop.c. Descriptors are of the target's folder in /proc; text is scratch space. */
	int task_dir;
	int stat;
	int status;
	int channel; /* one byte to the parent when all threads stand, one from it to let them go */
	int parent_channel; /* the parent's end, for the stopper to close: else it would never see it closed */
	uint64_t max_stop_ns;
	uint64_t start_ticks;
	uint64_t stack_addr;
	size_t capacity;   /* threads that fit */
	size_t table_size; /* a power of two, more than capacity */
	char *text;
	size_t text_size;
	pid_t *listed;
	uint32_t *table; /* tid -> 1 + place in slots; 0 is free */
	struct vmat_slot *slots;
	struct vmat_stopped_thread *threads;

	/* Set by the stopper. */
	size_t slots_count;
	unsigned listings;
	uint64_t caught; /* SigCgt and SigIgn of the target */
	uint64_t ignored;
	struct vmat_registers scratch;
	int code;      /* of the begin: 0 or -errno */
	pid_t trouble; /* the thread that code is about; 0: none */
	size_t threads_count;
	atomic_bool is_over;       /* the limit was reached: set before the first thread goes on */
	_Atomic uint64_t begun_ns; /* CLOCK_MONOTONIC; 0: no thread was told to stop */
	_Atomic uint64_t ended_ns; /* 0: it was killed before */
};

/* `context` is a struct vmat_stopper in shared memory. */
void vmat_stopper_work(void *context);

#endif
