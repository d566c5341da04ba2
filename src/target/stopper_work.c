/* SPDX-License-Identifier: MIT */
/*
 * stopper_work.c: what the stopper does, in order: it stops all threads (stopper.c), follows the orders of its
 * parent, has the target fork if that is one (stopper_fork.c), lets all go, and keeps the child.
 */
#include <errno.h>
#include <unistd.h>

#include "sys/sys_ptrace.h"
#include "target/stopper.h"

/* Until the parent lets go, is gone, has had its time, or the target has forked. */
static void follow_orders(struct vmat_stopper *s)
{
	uint64_t end_ns = s->begun_ns + s->max_stop_ns;

	for (;;) {
		uint64_t now_ns = vmat_sys_now_ns();
		int word =
			vmat_sys_channel_receive(s->channel, now_ns < end_ns ? end_ns - now_ns : 0);

		if (word == -ETIMEDOUT)
			s->is_over = true;
		if (word != VMAT_WORD_FORK)
			return;
		s->fork_code = vmat_stopper_fork(s);
		if (s->fork_code == -ETIMEDOUT || s->fork_code == -ESRCH)
			s->is_over = true;
		if (!s->fork_code || s->is_over)
			return;
		vmat_sys_channel_send(s->channel, VMAT_WORD_REFUSED);
	}
}

/* When the thread that does this ends, the kernel lets go what is still traced. */
static void stop_all(void *context)
{
	struct vmat_stopper *s = context;

	vmat_sys_run_first();
	if (vmat_stopper_stop_all(s))
		return;
	if (!vmat_sys_channel_send(s->channel, VMAT_WORD_STANDS))
		follow_orders(s);
	vmat_stopper_release(s);
}

void vmat_stopper_work(void *context)
{
	struct vmat_stopper *s = context;

	close(s->parent_channel);
	/* Not even begun for a parent that died meanwhile. */
	if (vmat_sys_channel_is_closed(s->channel))
		return;
	if (!vmat_sys_tracer_thread(stop_all, s)) {
		s->can_fork = false;
		s->fork_why = "there is no memory for one more thread";
		stop_all(s);
	}
	if (s->fork_phase == VMAT_FORK_BEGUN)
		vmat_stopper_keep(s);
}

void vmat_stopper_clean(void *context)
{
	struct vmat_stopper *s = context;

	s->channel = -1;
	s->hold_ns = 0;
	s->fault_step = 0;
	vmat_stopper_keep(s);
}
