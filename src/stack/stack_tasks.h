/* SPDX-License-Identifier: MIT */
/*
 * stack_tasks.h: the threads of a process as the kernel lists them: id, name, state, stack pointer.
 */
#ifndef VMAT_STACK_TASKS_H
#define VMAT_STACK_TASKS_H

#include <sys/types.h>

#include <vmatlas/target.h>

struct vmat_stack_task {
	pid_t tid;
	pid_t inner_tid; /* the same thread's id as it sees it itself, in its own pid namespace */
	char name[64];   /* stat: comm */
	char state;      /* stat: state */
	uint64_t sp;     /* syscall: the stack pointer of a blocked thread */
};

struct vmat_stack_tasks {
	struct vmat_stack_task *tasks; /* ascending by inner_tid */
	size_t count;
	bool is_partial;
	const char *partial_why; /* static; NULL when it is whole */
};

/*
 * Reads the threads. One that ends meanwhile is left out.
 * Errors: -ENOMEM; -ESRCH; those of the target.
 */
int vmat_stack_tasks_read(struct vmat_stack_tasks *ret, struct vmat_target *target);
void vmat_stack_tasks_deinit(struct vmat_stack_tasks *tasks);

/* The task whose own id is `inner_tid`, or NULL. */
struct vmat_stack_task *vmat_stack_tasks_find(const struct vmat_stack_tasks *tasks,
					      pid_t inner_tid);

/*
 * The stack pointer in a text of task/TID/syscall: the last number but one.
 * VMAT_UNKNOWN(VMAT_RUNNING) for "running"; VMAT_UNKNOWN(VMAT_NOT_APPLICABLE) when there is none. Pure.
 */
uint64_t vmat_stack_syscall_parse(const char *text, size_t size);

/* The last number of NSpid in a text of status, and how many there are; 0: no such line. Pure. */
pid_t vmat_stack_nspid_parse(const char *status, size_t size, size_t *ret_depth);

#endif
