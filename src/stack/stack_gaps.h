/* SPDX-License-Identifier: MIT */
/*
 * stack_gaps.h: what lies between a stack and the next one.
 */
#ifndef VMAT_STACK_GAPS_H
#define VMAT_STACK_GAPS_H

#include <vmatlas/stack.h>

#include "base/arena.h"

/*
 * Fills gap, gap_holes and gap_what of `count` stacks that have a place, ascending by begin. Texts
 * are kept in `strings`. Pure. Errors: -ENOMEM.
 */
int vmat_stack_gaps_fill(struct vmat_stack *stacks, size_t count, const struct vmat_map *map,
			 struct vmat_strings *strings);

#endif
