/* SPDX-License-Identifier: MIT */
/*
 * behaviour_series.h: how processes behave over time, as series made by hand: what judgement is measured with.
 *
 * Each is a sum of what real processes show: memory held by requests that comes and goes and wanders within bounds, page cache in resident
 * file pages, spikes, collections that let garbage pile up, heaps that grow in pieces of 132 KiB; and on it the
 * behaviour itself. A seed gives the same series on every machine.
 */
#ifndef BEHAVIOUR_SERIES_H
#define BEHAVIOUR_SERIES_H

#include <vmatlas/analyze.h>

struct process;
struct now;

struct behaviour {
	const char *name;
	enum vmat_verdict truth;
	void (*be)(struct process *process, struct now *now, size_t i);
	double floors; /* it grows by this many times the floor of the same series without growth; 0: by itself */

	enum { WHOLE, WITH_GAPS } gaps;
};

extern const struct behaviour behaviours[];
extern const size_t behaviours_count;

/* Makes the series of a behaviour, which grows by `rate` bytes per second if it is one that does. Free with behaviour_free. */
void behaviour_make(struct vmat_series *ret, const struct behaviour *behaviour, uint64_t seed,
		    double rate);
void behaviour_free(struct vmat_series *series);

/* The rate for a behaviour: `share` times what it shall grow by. 0 for one that grows by itself. */
double behaviour_rate(const struct behaviour *behaviour, uint64_t seed, double share);

#endif
