/* SPDX-License-Identifier: MIT */
/*
 * fork_place.h: what a target has that an injected call needs (inject.h), looked for while it still runs:
 * a `syscall; ret` and an rt_sigreturn in its libc, and stacks with room below.
 *
 * Code is read only where its pages are present, so that running it brings none in.
 */
#ifndef VMAT_FORK_PLACE_H
#define VMAT_FORK_PLACE_H

#include "target/stopper.h"
#include "target/target_source.h"

/* Fills code_addrs, stacks (at most capacity), can_fork and fork_why. */
void vmat_fork_place_find(struct vmat_stopper *s, size_t capacity, struct vmat_target *target);

#endif
