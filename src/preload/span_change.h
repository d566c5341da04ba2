/* SPDX-License-Identifier: MIT */
/*
 * span_change.h: how the table of page sizes is changed, by those who map and by those who look.
 *
 * The rule that keeps it right: what a call is about to unmap is forgotten *before* the call, and
 * what a call has mapped is put in *after* it; in between other threads may get the same addresses, and
 * put in theirs. Who only looks (vmat_span_learn) may put in what the kernel said only when no such
 * call was under way and none has ended since it asked.
 *
 * All of these keep errno, allocate nothing, and may be called in a signal handler, also in one that
 * interrupts one of them. In the child of a fork the lock is free again (vmat_span_start).
 */
#ifndef VMAT_SPAN_CHANGE_H
#define VMAT_SPAN_CHANGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Registers what fork(2) needs. Once, when the library is loaded. */
void vmat_span_start(void);

/* A call that may unmap or replace [addr, addr + size) begins; each begin has its end, with the same range or another. */
void vmat_span_change_begin(const void *addr, size_t size);

/* The call has ended. */
void vmat_span_change_end(void);

/* [addr, addr + size) has been mapped with pages of this size. */
void vmat_span_mapped(const void *addr, size_t size, size_t page_size);

/* The same with the size of pages, and of the whole mapping where those are bigger, as the kernel tells them. */
void vmat_span_mapped_ask(const void *addr, size_t size);

/* Objects may have been unloaded: what was found in maps is forgotten. */
void vmat_span_unloaded(void);

/* The page size at an address that the table does not know, from the kernel; put in where that is safe. Or -errno. */
ssize_t vmat_span_learn(uintptr_t addr);

#endif
