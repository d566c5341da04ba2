/* SPDX-License-Identifier: MIT */
/*
 * stack_overflow.h: which thread of a core ran over the end of its stack.
 *
 * A stack is overrun when an access at or above the stack pointer hits the guard, or what lies just past it: the
 * fault address of the signal says so, or, where none is known, the stack pointer. The same fault far below the
 * stack pointer is a wild pointer that met a guard.
 */
#ifndef VMAT_STACK_OVERFLOW_H
#define VMAT_STACK_OVERFLOW_H

#include <vmatlas/stack.h>

#include "base/arena.h"

/*
 * Fills `overflowed` of all stacks, `used` and `why` of those that overflowed, and the verdict. `count` have a
 * place. Of a living process nothing is judged. Errors: -ENOMEM.
 */
int vmat_stack_overflow_judge(struct vmat_stacks *stacks, size_t count,
			      const struct vmat_process *process, const struct vmat_map *map,
			      struct vmat_strings *strings);

#endif
