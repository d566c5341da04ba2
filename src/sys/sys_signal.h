/* SPDX-License-Identifier: MIT */
/*
 * sys_signal.h: signal handlers and masks, as calls that return -errno and leave errno as it was. All of them may be
 * made in a signal handler.
 */
#ifndef VMAT_SYS_SIGNAL_H
#define VMAT_SYS_SIGNAL_H

#include <signal.h>
#include <stdbool.h>

/* sigaction(2); `wanted` or `ret` may be NULL. */
int vmat_sys_sigaction(int sig, const struct sigaction *wanted, struct sigaction *ret);

/* Blocks every signal of this thread; *ret is the mask that was there. */
void vmat_sys_signals_block(sigset_t *ret);
void vmat_sys_signals_set(const sigset_t *mask);

/* Sends a signal to this thread. */
int vmat_sys_raise(int sig);

/* Gives the processor to another thread. */
void vmat_sys_yield(void);

#endif
