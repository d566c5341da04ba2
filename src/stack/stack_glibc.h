/* SPDX-License-Identifier: MIT */
/*
 * stack_glibc.h: finds the glibc of a process, and what its symbols say about its lists of stacks.
 *
 * glibc describes itself to debuggers: `_thread_db_*` objects hold sizes and offsets of its private
 * structures. Since 2.34 they are dynamic symbols of libc.so.6; before, they stood in the symbol
 * table of libpthread, which distributions keep for this purpose. The lists themselves are fields of
 * `_rtld_global` in the dynamic loader since 2.33, and were variables of libpthread before. A static
 * program has all of it in its own symbol table, as long as it was not stripped.
 */
#ifndef VMAT_STACK_GLIBC_H
#define VMAT_STACK_GLIBC_H

#include "stack/stack_lists.h"

/*
 * Finds the layout. *ret_rtld_addr: _rtld_global in the process, 0 where the lists stand alone.
 * *ret_why says on -ENOENT how the stacks are found instead and why, for people (static).
 * Errors: -ENOENT no glibc with lists was found; -ENOMEM.
 */
int vmat_stack_glibc_find(struct vmat_stack_layout *ret, uint64_t *ret_rtld_addr,
			  struct vmat_target *target, const struct vmat_map *map,
			  const char **ret_why);

#endif
