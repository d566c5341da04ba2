/* SPDX-License-Identifier: MIT */
/*
 * sample_clock.c: the three clocks of a sample, and what the differences between them tell.
 *
 * CLOCK_MONOTONIC and CLOCK_REALTIME are slewed alike, so their difference only changes when somebody sets the clock, or
 * while the machine sleeps: then CLOCK_BOOTTIME says for how long (clock_gettime(2)).
 */
#include <stdlib.h>

#include "sample/sampler_priv.h"
#include "sys/sys_clock.h"

/* Clocks read so far apart were interrupted between, and are read again. */
#define APART_NS 1000000ULL
/* Smaller jumps are within what the reading itself may be off, and matter to nobody. */
#define JUMP_NS 100000000LL

enum { TRIES = 8 };

void vmat_sample_clocks(struct vmat_sample *ret)
{
	for (int try = 0; try < TRIES; try++) {
		ret->mono_ns = vmat_sys_clock_ns(CLOCK_MONOTONIC);
		ret->boot_ns = vmat_sys_clock_ns(CLOCK_BOOTTIME);
		ret->wall_ns = vmat_sys_clock_ns(CLOCK_REALTIME);
		if (vmat_sys_clock_ns(CLOCK_MONOTONIC) - ret->mono_ns < APART_NS)
			return;
	}
}

uint64_t vmat_sample_own_cpu_ns(void)
{
	return vmat_sys_clock_ns(CLOCK_THREAD_CPUTIME_ID) + vmat_sys_children_cpu_ns();
}

int vmat_sample_wait(uint64_t until_ns, const int *fds, size_t count)
{
	return vmat_sys_wait_until(until_ns, fds, count);
}

/* By how much `clock` has advanced more than CLOCK_MONOTONIC. */
static int64_t ahead(uint64_t clock, uint64_t clock_before, uint64_t mono, uint64_t mono_before)
{
	return (int64_t)((clock - clock_before) - (mono - mono_before));
}

void vmat_sample_clock_events(struct vmat_tick *tick, const struct vmat_sample *before)
{
	const struct vmat_sample *now = &tick->sample;
	int64_t slept = ahead(now->boot_ns, before->boot_ns, now->mono_ns, before->mono_ns);
	int64_t set = ahead(now->wall_ns, before->wall_ns, now->boot_ns, before->boot_ns);

	if (slept >= JUMP_NS)
		vmat_tick_add(tick, VMAT_EVENT_SLEPT, (uint64_t)slept, "");
	if (llabs(set) >= JUMP_NS)
		vmat_tick_add(tick, VMAT_EVENT_CLOCK_SET, (uint64_t)set, "");
}
