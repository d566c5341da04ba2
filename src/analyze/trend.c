/* SPDX-License-Identifier: MIT */
#include "analyze/trend.h"

#include <math.h>
#include <string.h>

enum {
	BLOCKS = 16,
	POINTS_MIN = 16,
	STEPS_MIN = 5,   /* a growth of fewer of the smallest steps may be chance */
	PARTS_MAX = 4,   /* a beginning is set aside, or a step cut out, so many times */
	JUMP_POINTS = 5, /* on each side of a step */
	JUMP_FACTOR = 8, /* a jump is so many usual changes */
};

/* How many errors a slope must have: of 20,000 random walks 1 % have more. */
#define ERRORS_MIN 7.5
/* Mann-Kendall's z: 1 of 100 in one direction. It only keeps out what a few far points make. */
#define ORDER_MIN       2.33
#define CORRELATION_MAX 0.9
/* A model of an end is believed when it leaves less than this share of what the line leaves. */
#define STOP_SHARE 0.5
#define BEND_SHARE 0.6
#define CYCLE_MIN  0.5
/* Of a growth, when a few jumps make most of it. */
#define JUMPS_SHARE 0.7
/* A bounded growth has settled when less of it is to come. */
#define SETTLED_SHARE 0.05

double vmat_sen_slope(const double *t, const double *x, size_t n)
{
	double slopes[BINS_MAX * (BINS_MAX - 1) / 2];
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t j = i + 1; j < n; j++)
			if (t[j] > t[i])
				slopes[count++] = (x[j] - x[i]) / (t[j] - t[i]);
	if (!count)
		return NAN;
	return vmat_median(slopes, count);
}

double vmat_mann_kendall(const double *x, size_t n, double *ret_z)
{
	double m = (double)n, s = 0, variance = m * (m - 1) * (2 * m + 5);

	for (size_t i = 0; i < n; i++) {
		size_t equal = 1;
		bool is_first = true;

		for (size_t j = 0; j < n; j++) {
			bool is_equal = !(x[j] < x[i]) && !(x[j] > x[i]);

			if (j > i)
				s += (x[j] > x[i]) - (x[j] < x[i]);
			if (j < i && is_equal)
				is_first = false;
			equal += j > i && is_equal;
		}
		if (is_first) {
			double ties = (double)equal;

			variance -= ties * (ties - 1) * (2 * ties + 5);
		}
	}
	variance /= 18;
	if (ret_z)
		*ret_z = variance > 0 && s > 0   ? (s - 1) / sqrt(variance)
			 : variance > 0 && s < 0 ? (s + 1) / sqrt(variance)
						 : 0;
	return s;
}

/* How much x, less its mean, is like itself `lag` points later: 1 is equal. */
static double likeness(const double *x, size_t n, size_t lag, double mean, double sum)
{
	double product = 0;

	for (size_t i = 0; i + lag < n; i++)
		product += (x[i] - mean) * (x[i + lag] - mean);
	return product * (double)n / (double)(n - lag) / sum;
}

double vmat_cycle_find(const double *x, size_t n)
{
	double mean = 0, sum = 0, best = CYCLE_MIN, before, at, after;
	bool has_turned = false;
	size_t period = 0;

	for (size_t i = 0; i < n; i++)
		mean += x[i] / (double)n;
	for (size_t i = 0; i < n; i++)
		sum += (x[i] - mean) * (x[i] - mean);
	if (!(sum > 0))
		return 0;
	for (size_t lag = 2; lag <= n / 3; lag++) {
		double like = likeness(x, n, lag, mean, sum);

		/* What is only slow is like itself at short lags, too: a cycle has been its opposite before. */
		has_turned |= like < -0.1;
		if (has_turned && like > best) {
			best = like +
			       0.05; /* a multiple of the period is no better than the period */
			period = lag;
		}
	}
	if (!period)
		return 0;
	/* The top of the parabola through the three points around the best. */
	before = likeness(x, n, period - 1, mean, sum);
	at = likeness(x, n, period, mean, sum);
	after = likeness(x, n, period + 1, mean, sum);
	if (!(2 * at > before + after))
		return (double)period;
	return (double)period +
	       fmin(fmax((after - before) / 2 / (2 * at - before - after), -0.5), 0.5);
}

/* The slope of y and its error, by blocks. */
static void measure(struct trend *trend, const double *y, size_t n, double interval_s,
		    double quantum, double *ret_order)
{
	double t[BINS_MAX] = { 0 }, medians[BLOCKS], rests[BLOCKS], block[BINS_MAX];
	size_t blocks = n / 2 < BLOCKS ? n / 2 : BLOCKS;
	double mean = 0, squares = 0, products = 0, times = 0, correlation, variance, error;
	double block_s = interval_s * (double)n / (double)blocks, count = (double)blocks;

	for (size_t i = 0; i < n; i++)
		t[i] = (double)i * interval_s;
	trend->slope_per_s = vmat_sen_slope(t, y, n);
	for (size_t k = 0; k < blocks; k++) {
		size_t first = k * n / blocks, end = (k + 1) * n / blocks;

		memcpy(block, y + first, (end - first) * sizeof(*block));
		medians[k] = vmat_median(block, end - first);
		rests[k] = medians[k] - trend->slope_per_s * block_s * (double)k;
		mean += rests[k] / count;
	}
	for (size_t k = 0; k < blocks; k++) {
		double at_s = block_s * ((double)k - (count - 1) / 2);

		squares += (rests[k] - mean) * (rests[k] - mean);
		if (k)
			products += (rests[k] - mean) * (rests[k - 1] - mean);
		times += at_s * at_s;
	}
	correlation = squares > 0 ? products / squares : 0;
	/* Of a short series without its line it comes out too small: Kendall's bias, and the line's. */
	correlation += (2 + 4 * correlation) / count;
	correlation = fmin(fmax(correlation, 0), CORRELATION_MAX);
	variance = squares / (count - 2) * (1 + correlation) / (1 - correlation);
	error = sqrt(variance / times);
	trend->span_s = interval_s * (double)n;
	trend->floor_per_s = fmax(ERRORS_MIN * error, STEPS_MIN * quantum / trend->span_s);
	vmat_mann_kendall(medians, blocks, ret_order);
}

/* Is the last quarter's growth what the bend foretells, rather than what the quarter before had? */
static bool does_bend_on(const double *x, size_t n, const struct fit *bend)
{
	double t[BINS_MAX] = { 0 }, third, fourth, foretold = exp(-(double)n / 4 / bend->constant);
	size_t quarter = n / 4;

	for (size_t i = 0; i < n; i++)
		t[i] = (double)i;
	third = vmat_sen_slope(t, x + n - 2 * quarter, quarter);
	fourth = vmat_sen_slope(t, x + n - quarter, quarter);
	if (!(third > 0))
		return true;
	return fourth / third < (1 + foretold) / 2;
}

/* How y jumps at a corner, by the medians of the points next to it. */
static double jump_at(const double *y, size_t n, size_t corner)
{
	double before[JUMP_POINTS], after[JUMP_POINTS];
	size_t a = corner < JUMP_POINTS ? corner : JUMP_POINTS;
	size_t b = n - corner < JUMP_POINTS ? n - corner : JUMP_POINTS;

	memcpy(before, y + corner - a, a * sizeof(*before));
	memcpy(after, y + corner, b * sizeof(*after));
	return vmat_median(after, b) - vmat_median(before, a);
}

/* Is most of a growth a few jumps that stand out of the other changes? Then it may as well have been those alone. */
static bool is_few_jumps(const double *y, size_t n)
{
	double changes[BINS_MAX], growth = y[n - 1] - y[0], sum = 0, usual;
	size_t jumps = 0;

	for (size_t i = 1; i < n; i++)
		changes[i - 1] = fabs(y[i] - y[i - 1]);
	usual = vmat_median(changes, n - 1);
	for (size_t i = 1; i < n; i++) {
		double change = y[i] - y[i - 1];

		if (change > JUMP_FACTOR * usual && change > growth / 20) {
			sum += change;
			/* A jump within a point shows as two changes. */
			jumps += i < 2 || y[i - 1] - y[i - 2] <= JUMP_FACTOR * usual;
		}
	}
	return jumps < STEPS_MIN && sum > JUMPS_SHARE * growth;
}

/*
 * The beginning or the step that explains y better than a line does, if there is one: *ret_corner is where what
 * it explains is over.
 */
static enum shape explain_beginning(const double *y, size_t n, double least, size_t *ret_corner,
				    struct fit *ret_bend)
{
	struct fit line, step, stop, onset, start;
	double enough, best;

	vmat_fit_line(&line, y, n);
	vmat_fit_step(&step, y, n);
	vmat_fit_stop(&stop, y, n);
	vmat_fit_onset(&onset, y, n);
	vmat_fit_bend(ret_bend, y, n);
	vmat_fit_start(&start, y, n);
	best = fmin(fmin(step.rest, stop.rest), fmin(onset.rest, ret_bend->rest));
	if (ret_bend->rest + least >= BEND_SHARE * (line.rest + least))
		ret_bend->rest = INFINITY;
	enough = STOP_SHARE * (line.rest + least) - least;
	*ret_corner = 0;
	/* It has one number more than the others, so it must be much better. */
	if (start.rest < enough && start.rest + least < STOP_SHARE * (best + least)) {
		*ret_corner = (size_t)(4 * start.constant);
		*ret_bend = start;
		return SHAPE_PLATEAU;
	}
	if (step.rest < enough && step.rest <= stop.rest && step.rest <= ret_bend->rest) {
		*ret_corner = step.corner;
		return SHAPE_STEP;
	}
	if (ret_bend->rest < enough && ret_bend->rest < stop.rest &&
	    exp(-(double)n / ret_bend->constant) < SETTLED_SHARE) {
		*ret_corner = (size_t)(4 * ret_bend->constant);
		return SHAPE_PLATEAU;
	}
	if (stop.rest < enough && stop.rest <= ret_bend->rest) {
		*ret_corner = stop.corner + 1;
		return SHAPE_PLATEAU;
	}
	if (onset.rest < enough && onset.slope > 0 && onset.rest < ret_bend->rest) {
		*ret_corner = onset.corner;
		return SHAPE_GROWING;
	}
	return SHAPE_FLAT;
}

static void judge_part(struct trend *trend, double *y, size_t n, double interval_s, double quantum,
		       unsigned depth);

/* A step upwards is cut out as a gap is. What a step downwards gave back must be outgrown before it counts as growth. */
static void judge_step(struct trend *trend, double *y, size_t n, size_t corner, double interval_s,
		       double quantum, unsigned depth)
{
	double jump = jump_at(y, n, corner);
	bool is_late = n - corner < corner;

	if (jump >= 0) {
		for (size_t i = corner; i < n; i++)
			y[i] -= jump;
		judge_part(trend, y, n, interval_s, quantum, depth + 1);
	} else if (is_late) {
		judge_part(trend, y, corner, interval_s, quantum, depth + 1);
	} else {
		judge_part(trend, y + corner, n - corner, interval_s, quantum, depth + 1);
		trend->since_s += (double)corner * interval_s;
	}
	if (jump < 0 && (is_late || trend->slope_per_s * trend->span_s < -jump) &&
	    (trend->shape == SHAPE_GROWING || trend->shape == SHAPE_BENDING))
		trend->shape = SHAPE_UNCLEAR;
	if (trend->shape == SHAPE_FLAT)
		trend->shape = SHAPE_STEP;
}

/*
 * A growth that bends: measured by what the curve leaves, for the line leaves the bend itself as noise. False when
 * the growth does not stand out.
 */
static bool judge_bend(struct trend *trend, const double *y, size_t n, double interval_s,
		       double quantum, const struct fit *bend)
{
	double rests[BINS_MAX], order, end = exp(-(double)n / bend->constant);
	struct trend rest = { 0 };

	for (size_t i = 0; i < n; i++)
		rests[i] = y[i] + bend->slope * exp(-(double)i / bend->constant);
	measure(&rest, rests, n, interval_s, quantum, &order);
	if (bend->slope * (1 - end) < 2 * rest.floor_per_s * rest.span_s)
		return false;
	trend->shape = SHAPE_BENDING;
	trend->bound = bend->bound;
	trend->bend_s = bend->constant * interval_s;
	trend->floor_per_s = rest.floor_per_s;
	trend->slope_per_s = bend->slope / trend->bend_s * end;
	return true;
}

/* A beginning is set aside, and what is behind it judged by itself: a start is no leak, and does not hide one. */
static void judge_behind(struct trend *trend, double *y, size_t n, size_t corner, double interval_s,
			 double quantum, unsigned depth, const struct fit *bend)
{
	enum shape before = trend->shape;
	double settling, set_aside = y[corner < n ? corner : n - 1] - y[0], rest;

	if (corner >= n || n - corner < POINTS_MIN || n - corner < n / 4) {
		if (!(bend->rest < INFINITY) || !judge_bend(trend, y, n, interval_s, quantum, bend))
			trend->shape = SHAPE_UNCLEAR;
		return;
	}
	judge_part(trend, y + corner, n - corner, interval_s, quantum, depth + 1);
	trend->since_s += (double)corner * interval_s;
	if (before != SHAPE_PLATEAU)
		return;
	rest = y[n - 1] - y[corner];
	if (trend->shape == SHAPE_FLAT)
		trend->shape = SHAPE_PLATEAU;
	if ((trend->shape == SHAPE_UNCLEAR || trend->shape == SHAPE_BENDING) &&
	    fabs(rest) < SETTLED_SHARE * set_aside) {
		trend->shape = SHAPE_PLATEAU;
		trend->floor_per_s = fmax(trend->floor_per_s, trend->slope_per_s);
	}
	/* What still settles hides a growth as slow as itself. */
	settling = bend->slope / bend->constant * exp(-(double)(n + corner) / 2 / bend->constant);
	if (trend->shape == SHAPE_PLATEAU && bend->rest < INFINITY)
		trend->floor_per_s = fmax(trend->floor_per_s, settling / interval_s);
}

static void judge_part(struct trend *trend, double *y, size_t n, double interval_s, double quantum,
		       unsigned depth)
{
	/* What rounding to the smallest step leaves: without it, perfect fits would be compared by rounding errors. */
	double least = (double)n * quantum * quantum / 12, order;
	struct fit bend;
	size_t corner;

	measure(trend, y, n, interval_s, quantum, &order);
	trend->shape = explain_beginning(y, n, least, &corner, &bend);
	if (depth < PARTS_MAX && trend->shape == SHAPE_STEP) {
		judge_step(trend, y, n, corner, interval_s, quantum, depth);
	} else if (depth < PARTS_MAX && corner) {
		judge_behind(trend, y, n, corner, interval_s, quantum, depth, &bend);
	} else if (bend.rest < INFINITY && does_bend_on(y, n, &bend) &&
		   judge_bend(trend, y, n, interval_s, quantum, &bend)) {
		return;
	} else if (trend->slope_per_s <= -trend->floor_per_s && order <= -ORDER_MIN) {
		trend->shape = SHAPE_SHRINKING;
	} else if (trend->slope_per_s < trend->floor_per_s || order < ORDER_MIN) {
		trend->shape = SHAPE_FLAT;
	} else if (is_few_jumps(y, n)) {
		trend->shape = SHAPE_UNCLEAR;
	} else {
		trend->shape = SHAPE_GROWING;
	}
}

/* The mean over a whole period holds nothing of a cycle, and all of a growth. Returns how many points are left. */
static size_t smooth(double *y, const double *x, size_t n, double period)
{
	size_t whole = (size_t)period, window = whole + 2;
	double part = period - (double)whole;

	if (!(period > 0)) {
		memcpy(y, x, n * sizeof(*y));
		return n;
	}
	/* Trapezes under the straight lines between the points; the last one is cut where the period ends. */
	for (size_t i = 0; i + window <= n; i++) {
		double end = x[i + whole] + part * (x[i + whole + 1] - x[i + whole]);

		y[i] = part * (x[i + whole] + end) / 2;
		for (size_t j = 0; j < whole; j++)
			y[i] += (x[i + j] + x[i + j + 1]) / 2;
		y[i] /= period;
	}
	return n - window + 1;
}

void vmat_trend_of_points(struct trend *ret, const double *x, size_t n, double interval_s,
			  double quantum)
{
	double t[BINS_MAX], y[BINS_MAX], slope, ends[3], period, range = 0;
	size_t left;

	memset(ret, 0, sizeof(*ret));
	ret->slope_per_s = ret->floor_per_s = ret->bound = NAN;
	ret->shape = SHAPE_UNKNOWN;
	if (!n)
		return;
	for (size_t i = 0; i < 3; i++)
		ends[i] = x[i < n ? i : n - 1];
	ret->first = vmat_median(ends, 3);
	for (size_t i = 0; i < 3; i++)
		ends[i] = x[n - 1 - (i < n ? i : n - 1)];
	ret->last = vmat_median(ends, 3);
	ret->growth = ret->last - ret->first;
	ret->whole_span_s = interval_s * (double)n;
	if (n < POINTS_MIN || !(interval_s > 0))
		return;
	for (size_t i = 0; i < n; i++)
		t[i] = (double)i;
	slope = vmat_sen_slope(t, x, n);
	for (size_t i = 0; i < n; i++) {
		y[i] = x[i] - slope * (double)i;
		range = fmax(range, fabs(y[i] - y[0]));
	}
	/* A few equal steps, less their line, would be a cycle. */
	period = is_few_jumps(x, n) ? 0 : vmat_cycle_find(y, n);
	left = smooth(y, x, n, period);
	ret->period_s = period * interval_s;
	if (period > 0)
		ret->growth = y[left - 1] - y[0];
	judge_part(ret, y, left, interval_s, quantum, 0);
	/* The period is not known exactly: what remains of the cycle looks like growth. */
	if (period > 0 && ret->floor_per_s < 2 * range / period / ret->span_s) {
		ret->floor_per_s = 2 * range / period / ret->span_s;
		if (fabs(ret->slope_per_s) < ret->floor_per_s && ret->shape != SHAPE_UNCLEAR)
			ret->shape = SHAPE_FLAT;
	}
}

/* Puts the points at even distances, by straight lines between them. */
static double make_even(double *ret, const struct bins *bins)
{
	double interval_s = (bins->t_s[bins->count - 1] - bins->t_s[0]) / (double)(bins->count - 1);
	size_t j = 0;

	for (size_t i = 0; i < bins->count; i++) {
		double at_s = bins->t_s[0] + interval_s * (double)i, share;

		while (j + 2 < bins->count && bins->t_s[j + 1] < at_s)
			j++;
		share = (at_s - bins->t_s[j]) / (bins->t_s[j + 1] - bins->t_s[j]);
		share = fmin(fmax(share, 0), 1);
		ret[i] = bins->x[j] + share * (bins->x[j + 1] - bins->x[j]);
	}
	return interval_s;
}

void vmat_trend_find(struct trend *ret, const struct vmat_series *series,
		     const struct pieces *pieces, const struct signal *signal)
{
	struct bins bins;
	double x[BINS_MAX], interval_s;

	vmat_bins_fill(&bins, series, pieces, signal);
	if (bins.count < 2) {
		vmat_trend_of_points(ret, bins.x, bins.count, 0, signal->quantum);
	} else {
		interval_s = make_even(x, &bins);
		vmat_trend_of_points(ret, x, bins.count, interval_s, signal->quantum);
	}
	ret->samples = bins.samples;
}
