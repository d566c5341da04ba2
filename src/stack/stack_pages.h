/* SPDX-License-Identifier: MIT */
/*
 * stack_pages.h: what the pages of stacks tell: how much is resident, how deep they have been, and
 * where their guards are.
 */
#ifndef VMAT_STACK_PAGES_H
#define VMAT_STACK_PAGES_H

#include <vmatlas/stack.h>

struct vmat_stack_pages {
	bool is_partial;
	const char *partial_why; /* static; NULL when it is whole */
	bool is_core;        /* it may not know what was there: that is said, and no part missing */
	bool has_zero_pages; /* resident may count zero pages: this source cannot tell them */
};

/*
 * Fills resident, high_water and guard_kind of `count` stacks that have a place, ascending by begin.
 * Stacks that touch are scanned together. Errors: -ENOMEM.
 */
int vmat_stack_pages_read(struct vmat_stack_pages *ret, struct vmat_stack *stacks, size_t count,
			  struct vmat_target *target, const struct vmat_map *map);

#endif
