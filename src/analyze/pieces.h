/* SPDX-License-Identifier: MIT */
/*
 * pieces.h: a series cut where no slope may be taken, and one of its numbers as at most BINS_MAX points.
 *
 * A cut is where another program began (exec: what lies before is another program's and is left out), the clock was set, the
 * machine slept, the process could not be read, or ticks are missing. The pieces of one number are then put end to end: time and
 * change within a gap are cut out of both axes, so that what follows need not know of gaps.
 *
 * A point is the median of the samples of its time: spikes shorter than half of it are gone, and what follows costs the
 * same for a minute as for a month. Unknown values are no samples.
 */
#ifndef VMAT_PIECES_H
#define VMAT_PIECES_H

#include <vmatlas/sample.h>

enum { BINS_MAX = 128, PIECES_MAX = 64 };

/* Sample numbers [first, end) without a cut between them. Of more than PIECES_MAX the latest. */
struct pieces {
	size_t first[PIECES_MAX];
	size_t end[PIECES_MAX];
	size_t count;
	size_t total;      /* all cuts that were found, those before an exec included */
	double interval_s; /* the usual time between two samples */
	double duration_s; /* of all pieces */
};

void vmat_pieces_find(struct pieces *ret, const struct vmat_series *series);

/* Which number of a sample: the sum of some metrics, or a size, count or rss of a kind of region. */
enum signal_field { SIGNAL_METRICS, SIGNAL_KIND_SIZE, SIGNAL_KIND_RSS, SIGNAL_KIND_COUNT };

struct signal {
	enum signal_field field;
	uint32_t metrics;    /* bits, 1 << enum vmat_metric */
	uint32_t less;       /* likewise: taken off */
	enum vmat_kind kind; /* of the other fields */
	double quantum; /* the smallest step in which it grows: a page, one region, malloc's piece of the heap */
};

/* NAN when any part of it is unknown. */
double vmat_signal_value(const struct vmat_sample *sample, const struct signal *signal);

struct bins {
	size_t count;
	double t_s[BINS_MAX]; /* strictly ascending; gaps are cut out */
	double x[BINS_MAX];
	size_t samples; /* the known values that they are made of */
};

void vmat_bins_fill(struct bins *ret, const struct vmat_series *series, const struct pieces *pieces,
		    const struct signal *signal);

/* The median of x[0..count), which are put in another order. NAN of none. */
double vmat_median(double *x, size_t count);

#endif
