/* SPDX-License-Identifier: MIT */
/*
 * stack_guess.h: stacks that no list tells of: the kernel's [stack] of the main thread, and the region
 * around a stack pointer.
 */
#ifndef VMAT_STACK_GUESS_H
#define VMAT_STACK_GUESS_H

#include <vmatlas/stack.h>

/*
 * Places the main thread on the kernel's stack, with the bounds that pthread_getattr_np gives. False
 * when there is no such region, or when the thread is not known to be on it (is_sure is false) and its
 * stack pointer says that it is not: after a fork in another thread. Pure.
 */
bool vmat_stack_guess_main(struct vmat_stack *stack, const struct vmat_map *map,
			   const struct vmat_process *process, bool is_sure);

/* Places a thread in the region around its stack pointer; begin is unknown when that fails. Pure. */
void vmat_stack_guess(struct vmat_stack *stack, const struct vmat_map *map);

#endif
