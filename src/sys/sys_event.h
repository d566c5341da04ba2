/* SPDX-License-Identifier: MIT */
/*
 * sys_event.h: an eventfd that ends a waiting thread, and waiting for descriptors, as calls that return -errno and leave
 * errno as it was.
 */
#ifndef VMAT_SYS_EVENT_H
#define VMAT_SYS_EVENT_H

#include <poll.h>

/* eventfd(2), O_CLOEXEC. */
int vmat_sys_event_open(void);

/* Makes the descriptor readable for good. */
void vmat_sys_event_signal(int fd);

/* poll(2) that goes on after EINTR. */
int vmat_sys_poll(struct pollfd *descriptors, unsigned count, int timeout_ms);

/* A duplicate with O_CLOEXEC. */
int vmat_sys_duplicate(int fd);

/* close(2); a negative number is fine. */
void vmat_sys_close(int fd);

#endif
