/* SPDX-License-Identifier: MIT */
/*
 * The models that trend.c compares, by least squares over evenly spaced points. Each knows its corner or constant from a search over all
 * of them, at most BINS_MAX for each of BINS_MAX points: nothing is iterated until it converges.
 */
#include <math.h>

#include "analyze/trend.h"

enum { CONSTANTS = 24 };

/* Least squares of x by a + b f. Returns the rest. */
static double regress(const double *x, const double *f, size_t n, double *ret_a, double *ret_b)
{
	double mean_x = 0, mean_f = 0, ff = 0, fx = 0, rest = 0, a, b;

	for (size_t i = 0; i < n; i++) {
		mean_x += x[i];
		mean_f += f[i];
	}
	mean_x /= (double)n;
	mean_f /= (double)n;
	for (size_t i = 0; i < n; i++) {
		ff += (f[i] - mean_f) * (f[i] - mean_f);
		fx += (f[i] - mean_f) * (x[i] - mean_x);
	}
	b = ff > 0 ? fx / ff : 0;
	a = mean_x - b * mean_f;
	for (size_t i = 0; i < n; i++) {
		double e = x[i] - a - b * f[i];

		rest += e * e;
	}
	if (ret_a)
		*ret_a = a;
	if (ret_b)
		*ret_b = b;
	return rest;
}

void vmat_fit_line(struct fit *ret, const double *x, size_t n)
{
	double f[BINS_MAX];

	for (size_t i = 0; i < n; i++)
		f[i] = (double)i;
	*ret = (struct fit){ 0 };
	ret->rest = regress(x, f, n, NULL, &ret->slope);
}

/* A ramp with a corner: flat behind it, or before it. */
static void fit_ramp(struct fit *ret, const double *x, size_t n, bool is_flat_first)
{
	*ret = (struct fit){ .rest = INFINITY };
	for (size_t corner = 1; corner + 1 < n; corner++) {
		double f[BINS_MAX], b, rest;

		for (size_t i = 0; i < n; i++)
			f[i] = is_flat_first ? (i > corner ? (double)(i - corner) : 0)
					     : (double)(i < corner ? i : corner);
		rest = regress(x, f, n, NULL, &b);
		if (rest < ret->rest)
			*ret = (struct fit){ .rest = rest, .corner = corner, .slope = b };
	}
}

void vmat_fit_stop(struct fit *ret, const double *x, size_t n)
{
	fit_ramp(ret, x, n, false);
}

void vmat_fit_onset(struct fit *ret, const double *x, size_t n)
{
	fit_ramp(ret, x, n, true);
}

void vmat_fit_step(struct fit *ret, const double *x, size_t n)
{
	*ret = (struct fit){ .rest = INFINITY };
	for (size_t corner = 1; corner < n; corner++) {
		double f[BINS_MAX], b, rest;

		for (size_t i = 0; i < n; i++)
			f[i] = i >= corner;
		rest = regress(x, f, n, NULL, &b);
		if (rest < ret->rest)
			*ret = (struct fit){ .rest = rest, .corner = corner, .slope = b };
	}
}

void vmat_fit_bend(struct fit *ret, const double *x, size_t n)
{
	*ret = (struct fit){ .rest = INFINITY };
	for (int k = 0; k < CONSTANTS; k++) {
		/* From a thirtieth of the span to its whole, in equal ratios. */
		double constant = (double)n * exp(-log(30.0) * k / (CONSTANTS - 1));
		double f[BINS_MAX], a, b, rest;

		for (size_t i = 0; i < n; i++)
			f[i] = 1 - exp(-(double)i / constant);
		rest = regress(x, f, n, &a, &b);
		if (b > 0 && rest < ret->rest)
			*ret = (struct fit){
				.rest = rest, .constant = constant, .bound = a + b, .slope = b
			};
	}
}

/* What a line leaves of f. */
static void take_line(double *f, size_t n)
{
	double t[BINS_MAX] = { 0 }, a, b;

	for (size_t i = 0; i < n; i++)
		t[i] = (double)i;
	regress(f, t, n, &a, &b);
	for (size_t i = 0; i < n; i++)
		f[i] -= a + b * t[i];
}

void vmat_fit_start(struct fit *ret, const double *x, size_t n)
{
	double rests[BINS_MAX];

	*ret = (struct fit){ .rest = INFINITY };
	for (size_t i = 0; i < n; i++)
		rests[i] = x[i];
	take_line(rests, n);
	/* A start that takes longer than a sixth of the span is not told from the line. */
	for (int k = 0; k < CONSTANTS; k++) {
		double constant = (double)n / 6 * exp(-log(10.0) * k / (CONSTANTS - 1));
		double f[BINS_MAX], b, rest;

		for (size_t i = 0; i < n; i++)
			f[i] = 1 - exp(-(double)i / constant);
		take_line(f, n);
		rest = regress(rests, f, n, NULL, &b);
		if (b > 0 && rest < ret->rest)
			*ret = (struct fit){ .rest = rest, .constant = constant, .slope = b };
	}
}
