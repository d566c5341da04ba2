/* SPDX-License-Identifier: MIT */
/*
 * sampler_priv.h: a sampler, for the files of this folder.
 */
#ifndef VMAT_SAMPLER_PRIV_H
#define VMAT_SAMPLER_PRIV_H

#include <vmatlas/sample.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "target/process.h"

/* The files whose code is mapped, ascending by path. */
struct vmat_libraries {
	char **paths;
	size_t count;
};

/* What the regions looked like when they were last read. */
struct vmat_regions_state {
	bool is_read;
	bool is_refused; /* not permitted: not tried again for this program */
	uint64_t read_ns, heap_ns;
	uint64_t cost_ns;      /* CPU time of the last reading */
	uint64_t heap_cost_ns; /* the same with the heap walked */
	uint64_t told_ns;      /* the last VMAT_EVENT_POSTPONED */
	uint64_t count;
	uint64_t values[VMAT_METRIC_COUNT]; /* of the sample at that time */
	struct vmat_libraries libraries;
};

struct vmat_sampler {
	struct vmat_sampler_options options;
	struct vmat_target *target;
	int pidfd, status, stat; /* descriptors */
	struct vmat_buffer text;
	char spec[16]; /* the pid, for opening it again */
	uint64_t pid, start_ticks, start_ns, tick_ns;
	char name[64], command[256];
	char refusal[508];

	struct vmat_sample before; /* of the last tick */
	bool has_before;
	uint64_t begun_ns, peak, stat_flags, stack_addr, start_code;
	bool has_ended;

	uint64_t due_ns, interval_ns; /* the interval now */
	uint64_t told_interval_ns;    /* as the last event said it */
	uint64_t spent_ns;            /* CPU time in all */
	uint64_t cheap_ns;            /* of a tick without regions, on average */

	struct vmat_regions_state regions;
};

/* Appends an event with the tick's times. */
void vmat_tick_add(struct vmat_tick *tick, enum vmat_event_type type, uint64_t number,
		   const char *text);

/* A text from its beginning, in one call of pread(2) as a rule; -EFBIG above 1 MiB. */
int vmat_sample_read_text(int fd, struct vmat_buffer *text);

/* The events that the clocks tell: the machine slept, the wall clock was set. Pure. */
void vmat_sample_clock_events(struct vmat_tick *tick, const struct vmat_sample *before);

/* Reads regions and heap if they are worth it now and the budget has it. 0 or -ENOMEM. */
int vmat_sample_regions(struct vmat_sampler *sampler, struct vmat_tick *tick);

/* Sums the regions by kind and owner, and marks the sample. 0 or -ENOMEM. */
int vmat_sample_owners(struct vmat_tick *tick, const struct vmat_atlas *atlas);

/* Forgets what was known of the regions: of another program. */
void vmat_sample_regions_reset(struct vmat_sampler *sampler);

#endif
