/* SPDX-License-Identifier: MIT */
#include "sys/sys_clock.h"

#include <errno.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#define SECOND_NS 1000000000ULL

enum { DESCRIPTORS_MAX = 64 };

uint64_t vmat_sys_clock_ns(clockid_t clock)
{
	struct timespec time = { 0 };

	clock_gettime(clock, &time);
	return (uint64_t)time.tv_sec * SECOND_NS + (uint64_t)time.tv_nsec;
}

static uint64_t ns_of(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * SECOND_NS + (uint64_t)time->tv_usec * 1000;
}

uint64_t vmat_sys_children_cpu_ns(void)
{
	struct rusage usage = { 0 };

	getrusage(RUSAGE_CHILDREN, &usage);
	return ns_of(&usage.ru_utime) + ns_of(&usage.ru_stime);
}

uint64_t vmat_sys_tick_ns(void)
{
	long ticks = sysconf(_SC_CLK_TCK);

	return SECOND_NS / (ticks > 0 ? (uint64_t)ticks : 100);
}

int vmat_sys_wait_until(uint64_t mono_ns, const int *fds, size_t count)
{
	struct pollfd polled[DESCRIPTORS_MAX];
	uint64_t now = vmat_sys_clock_ns(CLOCK_MONOTONIC);
	uint64_t left = mono_ns > now ? mono_ns - now : 0;
	struct timespec time = { .tv_sec = (time_t)(left / SECOND_NS),
				 .tv_nsec = (long)(left % SECOND_NS) };
	nfds_t used = 0;
	int ready;

	for (size_t i = 0; i < count && used < DESCRIPTORS_MAX; i++) {
		if (fds[i] >= 0)
			polled[used++] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
	}
	ready = ppoll(polled, used, &time, NULL);
	return ready < 0 ? -errno : ready > 0;
}
