/* SPDX-License-Identifier: MIT */
/*
 * trend.h: what one number does over time: flat, stepped, grew and stopped, bends towards a bound, grows; and the smallest
 * growth that could have been seen.
 *
 * Memory over time is no textbook series: it is autocorrelated (what was taken stays taken), comes in steps, and
 * wanders. The plain Mann-Kendall test calls two of three random walks a trend. So:
 *   slope   Theil-Sen: the median of the slopes of all pairs of points
 *   error   from the medians of 16 blocks of the span, their autocorrelation counted in and corrected for the bias of short series
 *   floor   the error times a factor that a random walk passes once in some hundred times, and at least five of the smallest steps
 *   cycle   a repetition seen three times is averaged away by a window of its own length
 *   shape   the models step, ramp that stopped, ramp that began late and bounded exponential against the line, by least squares
 * A number grows when its slope reaches the floor, its blocks are in order (Mann-Kendall), and no model of an end fits better.
 */
#ifndef VMAT_TREND_H
#define VMAT_TREND_H

#include "analyze/pieces.h"

enum shape {
	SHAPE_UNKNOWN, /* too few points */
	SHAPE_FLAT,    /* no growth above the floor */
	SHAPE_STEP,    /* one jump, flat before and behind */
	SHAPE_PLATEAU, /* grew, and has stopped */
	SHAPE_BENDING, /* grows ever slower, towards a bound */
	SHAPE_GROWING,
	SHAPE_SHRINKING,
	SHAPE_UNCLEAR, /* grew, and may or may not have stopped just now */
};

struct trend {
	enum shape shape;
	double slope_per_s;  /* now: behind a step or a warm-up; NAN when unknown */
	double floor_per_s;  /* a steady growth below it cannot be seen; NAN likewise */
	double span_s;       /* of what slope and floor are taken over */
	double whole_span_s; /* of all points */
	double first, last;  /* the level at both ends of all points */
	double growth;       /* over all points; without the cycle */
	double since_s;      /* before that it did something else; 0: from the beginning */
	double period_s;     /* of a cycle; 0: none was seen */
	double bound;        /* BENDING: where it leads; else NAN */
	double bend_s;       /* BENDING: the time constant */
	size_t samples;
};

void vmat_trend_find(struct trend *ret, const struct vmat_series *series,
		     const struct pieces *pieces, const struct signal *signal);

/* The same of n <= BINS_MAX numbers, interval_s apart. */
void vmat_trend_of_points(struct trend *ret, const double *x, size_t n, double interval_s,
			  double quantum);

/* The median of the slopes of all pairs of points; n <= BINS_MAX. NAN when no two differ in time. */
double vmat_sen_slope(const double *t, const double *x, size_t n);

/* Mann and Kendall's S: pairs that ascend less pairs that descend. *ret_z: S in standard deviations, corrected for ties. */
double vmat_mann_kendall(const double *x, size_t n, double *ret_z);

/* The period of a cycle in points, seen at least three times; 0 when there is none. x has no trend. */
double vmat_cycle_find(const double *x, size_t n);

/* How well a model fits: the sum of squares that it leaves, and where its corner lies. */
struct fit {
	double rest;
	size_t corner;   /* the first point behind a step, the corner of a ramp */
	double constant; /* of an exponential, in points */
	double bound;
	double slope; /* per point; of a ramp */
};

void vmat_fit_line(struct fit *ret, const double *x, size_t n);
void vmat_fit_step(struct fit *ret, const double *x, size_t n);
/* A ramp up to the corner, then flat. */
void vmat_fit_stop(struct fit *ret, const double *x, size_t n);
/* Flat up to the corner, then a ramp. */
void vmat_fit_onset(struct fit *ret, const double *x, size_t n);
/* Towards a bound: a + b (1 - exp(-i / constant)), b > 0. */
void vmat_fit_bend(struct fit *ret, const double *x, size_t n);
/* A start that settles, on a line: a + b (1 - exp(-i / constant)) + c i, b > 0. */
void vmat_fit_start(struct fit *ret, const double *x, size_t n);

#endif
