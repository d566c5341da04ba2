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
 *
 * It can also make one of the standing threads fork (inject.h) and then let all go: the copy stands, traced
 * by another thread of the stopper, for as long as the parent reads it.
 */
#ifndef VMAT_STOPPER_H
#define VMAT_STOPPER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "target/inject.h"
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
	int signals;      /* that did nothing, while it was followed */
	unsigned seen;    /* the last listing of the threads that held it */
	bool is_followed; /* we watch it until its system call is made again */
	bool is_rewound;  /* ... which we brought about: the kernel would have returned EINTR */
	bool has_entered; /* it has been made again: the thread runs, though we still trace it */
};

/* What is said over the channel, a byte each. */
enum vmat_stopper_word {
	VMAT_WORD_STANDS = 1, /* to the parent: all threads stand */
	VMAT_WORD_END,  /* to the stopper: let go; as everything else and the end of the channel */
	VMAT_WORD_FORK, /* to the stopper: fork the target, and let go */
	VMAT_WORD_REFUSED, /* the fork was not possible: the target still stands */
	VMAT_WORD_HELD,    /* the copy is held, and the target runs */
	VMAT_WORD_LOST,    /* the target runs, and there is no copy */
};

/* Is there a child of the target that we have to see off? */
enum vmat_fork_phase {
	VMAT_FORK_NONE, /* none; or it has been seen off, or could not be in all the time there is for that */
	VMAT_FORK_BEGUN, /* there may be one, now or soon */
};

/* A stack with room below: [start, end). */
struct vmat_stack_room {
	uint64_t start;
	uint64_t end;
};

struct vmat_stopper {
	/* Set by stop.c. Descriptors are of the target's folder in /proc; text is scratch space. */
	int task_dir;
	int stat;
	int status;
	int channel; /* to the parent: enum vmat_stopper_word */
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

	/* The same, for a fork. */
	bool can_fork;
	const char *fork_why; /* when it cannot; set by either */
	int memory;           /* the target's memory, to be written as well */
	struct vmat_inject_code code_addrs;
	struct vmat_stack_room *stacks;
	size_t stacks_count;
	uint64_t hold_ns;    /* the longest that the copy is held */
	unsigned fault_step; /* for tests: dies by SIGKILL before this step of the fork; 0: never */

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
	_Atomic uint64_t stood_ns; /* how long the target has stood, all stops together */

	/* Set by the stopper, of a fork. */
	_Atomic int fork_phase; /* enum vmat_fork_phase */
	unsigned steps;
	int fork_code;       /* 0 or -errno, why in fork_why */
	pid_t forker;        /* the thread that forks */
	pid_t child;         /* as we know it; 0: not known */
	pid_t inner_child;   /* as the target knows it */
	atomic_bool is_kept; /* the copy was there until the end was asked for */
	struct vmat_injection injection;
	unsigned char saved[VMAT_INJECT_SIZE]; /* what lay where the injection goes */
};

/* stopper_work.c; `context` is a struct vmat_stopper in shared memory. */
void vmat_stopper_work(void *context);

/* Instead, after a stopper was killed in a fork: sees the child off. Its pids have been looked for. */
void vmat_stopper_clean(void *context);

/*
 * stopper_fork.c.
 */

/*
 * One thread forks while all stand. 0: the child waits for vmat_stopper_keep, the threads are to be let
 * go. -ETIMEDOUT or -ESRCH: the same without a child. All others: the threads stand as before, and fork_why says why.
 */
int vmat_stopper_fork(struct vmat_stopper *s);

/* Holds the child until the parent says its word, then sees it off. In the stopper's first thread. */
void vmat_stopper_keep(struct vmat_stopper *s);

/*
 * stopper.c, for these.
 */
void vmat_stopper_note(struct vmat_slot *slot, int status);
/* A text of a thread ("/status") into s->text: its size, or -errno. */
ssize_t vmat_stopper_read_text(struct vmat_stopper *s, pid_t tid, const char *name);
/* All threads stand, and their registers are read. After a failure (also in s->code) they run. */
int vmat_stopper_stop_all(struct vmat_stopper *s);
/* Only this thread stands, and its registers are read. After a failure it runs. */
int vmat_stopper_stop_one(struct vmat_stopper *s, pid_t tid);
void vmat_stopper_release(struct vmat_stopper *s);

#endif
