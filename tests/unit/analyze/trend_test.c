/* SPDX-License-Identifier: MIT */
/* The statistics against arithmetic: exact lines, all permutations of seven, published examples; shapes that were made. */
#include "analyze/trend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../cmocka_all.h"

#define assert_near(got, want, tolerance) assert_true(fabs((got) - (want)) <= (tolerance))

static uint64_t state = 88172645463325252u;

static double uniform(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (double)(state >> 11) * 0x1p-53;
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void test_median(void **unused)
{
	(void)unused;
	assert_true(isnan(vmat_median(NULL, 0)));
	for (size_t n = 1; n < 300; n++) {
		double x[300], sorted[300];

		/* Many equal ones, sorted ones, reversed ones. */
		for (size_t i = 0; i < n; i++)
			x[i] = n % 4 == 0   ? (double)i
			       : n % 4 == 1 ? -(double)i
			       : n % 4 == 2 ? floor(uniform() * 4)
					    : uniform();
		memcpy(sorted, x, n * sizeof(*x));
		qsort(sorted, n, sizeof(*x), by_value);
		assert_near(vmat_median(x, n), sorted[n / 2], 0);
	}
}

static void test_sen(void **unused)
{
	double t[BINS_MAX], x[BINS_MAX], slope;

	(void)unused;
	for (size_t i = 0; i < BINS_MAX; i++) {
		t[i] = 3.0 * (double)i;
		x[i] = 7 + 0.25 * t[i];
	}
	assert_near(vmat_sen_slope(t, x, BINS_MAX), 0.25, 1e-12);
	/* A quarter of the points may be anything: the breakdown point is 29 %. */
	for (size_t i = 0; i < BINS_MAX; i += 4)
		x[i] = 1e9 * uniform();
	assert_near(vmat_sen_slope(t, x, BINS_MAX), 0.25, 0.01);
	slope = vmat_sen_slope(t, x, BINS_MAX);
	for (size_t i = 0; i < BINS_MAX; i++)
		x[i] = 2 * x[i] + 4096;
	assert_near(vmat_sen_slope(t, x, BINS_MAX), 2 * slope, 1e-6);
	/* Equal times have no slope. */
	memset(t, 0, sizeof(t));
	assert_true(isnan(vmat_sen_slope(t, x, BINS_MAX)));
}

/* Gilbert, Statistical Methods for Environmental Pollution Monitoring (1987), 16.4.1: 10, 15, 14, 20 has S = 4. */
static void test_mann_kendall(void **unused)
{
	static const double gilbert[] = { 10, 15, 14, 20 }, tied[] = { 1, 1, 2 };
	double x[10], z;

	(void)unused;
	assert_near(vmat_mann_kendall(gilbert, 4, NULL), 4, 0);
	for (size_t i = 0; i < 10; i++)
		x[i] = (double)i;
	assert_near(vmat_mann_kendall(x, 10, &z), 45, 0);
	assert_near(z, 44 / sqrt(125.0), 1e-12); /* 10 * 9 * 25 / 18 = 125 */
	for (size_t i = 0; i < 10; i++)
		x[i] = -(double)i;
	assert_near(vmat_mann_kendall(x, 10, &z), -45, 0);
	assert_near(z, -44 / sqrt(125.0), 1e-12);
	/* (3 * 2 * 11 - 2 * 1 * 9) / 18 = 8 / 3 */
	assert_near(vmat_mann_kendall(tied, 3, &z), 2, 0);
	assert_near(z, 1 / sqrt(8.0 / 3), 1e-12);
}

/* S over all orders of seven has the mean 0 and the variance n (n - 1) (2 n + 5) / 18, by which z divides. */
static void test_permutations(void **unused)
{
	double x[7] = { 1, 2, 3, 4, 5, 6, 7 }, sum = 0, squares = 0;
	size_t c[7] = { 0 }, count = 1;

	(void)unused;
	squares = pow(vmat_mann_kendall(x, 7, NULL), 2);
	sum = vmat_mann_kendall(x, 7, NULL);
	for (size_t i = 0; i < 7;) {
		if (c[i] < i) {
			size_t j = i % 2 ? c[i] : 0;
			double swap = x[j], s;

			x[j] = x[i];
			x[i] = swap;
			s = vmat_mann_kendall(x, 7, NULL);
			sum += s;
			squares += s * s;
			count++;
			c[i]++;
			i = 0;
		} else {
			c[i++] = 0;
		}
	}
	assert_int_equal(count, 5040);
	assert_near(sum, 0, 0);
	assert_near(squares / 5040, 7.0 * 6 * 19 / 18, 1e-9);
}

static void test_cycle(void **unused)
{
	double x[120];

	(void)unused;
	for (size_t i = 0; i < 120; i++)
		x[i] = sin((double)i * 6.283185307 / 23.5) + 0.2 * uniform();
	assert_near(vmat_cycle_find(x, 120), 23.5, 0.5);
	for (size_t i = 0; i < 120; i++)
		x[i] = uniform();
	assert_near(vmat_cycle_find(x, 120), 0, 0);
	/* Twice is not three times. */
	for (size_t i = 0; i < 120; i++)
		x[i] = sin((double)i * 6.283185307 / 55);
	assert_near(vmat_cycle_find(x, 120), 0, 0);
}

enum { N = 120 };

static void judge(struct trend *trend, const double *x)
{
	vmat_trend_of_points(trend, x, N, 2, 1);
}

static void test_shapes(void **unused)
{
	struct trend trend;
	double x[N];

	(void)unused;
	for (size_t i = 0; i < N; i++)
		x[i] = 1000;
	judge(&trend, x);
	assert_int_equal(trend.shape, SHAPE_FLAT);
	assert_near(trend.floor_per_s, 5.0 / (2 * N), 1e-12); /* five of the smallest steps */

	for (size_t i = 0; i < N; i++)
		x[i] = 1000 + 3.0 * (double)i;
	judge(&trend, x);
	assert_int_equal(trend.shape, SHAPE_GROWING);
	assert_near(trend.slope_per_s, 1.5, 1e-9);

	for (size_t i = 0; i < N; i++)
		x[i] = 1000 - 3.0 * (double)i;
	judge(&trend, x);
	assert_int_equal(trend.shape, SHAPE_SHRINKING);

	for (size_t i = 0; i < N; i++)
		x[i] = i < 50 ? 1000 : 5000;
	judge(&trend, x);
	assert_int_equal(trend.shape, SHAPE_STEP);
	assert_near(trend.slope_per_s, 0, 1e-9);

	for (size_t i = 0; i < N; i++)
		x[i] = 1000 + 100.0 * (double)(i < 40 ? i : 40);
	judge(&trend, x);
	assert_int_equal(trend.shape, SHAPE_PLATEAU);

	for (size_t i = 0; i < N; i++)
		x[i] = 1000 + 5000 * (1 - exp(-(double)i / 45));
	judge(&trend, x);
	assert_int_equal(trend.shape, SHAPE_BENDING);
	assert_near(trend.bound, 6000, 300);
	assert_near(trend.bend_s, 90, 15);

	vmat_trend_of_points(&trend, x, 15, 2, 1);
	assert_int_equal(trend.shape, SHAPE_UNKNOWN);
	vmat_trend_of_points(&trend, x, 0, 2, 1);
	assert_int_equal(trend.shape, SHAPE_UNKNOWN);
}

/* A leak that a start, a step or a cycle would hide, and a few steps that look like one. */
static void test_mixtures(void **unused)
{
	struct trend trend;
	double x[N];

	(void)unused;
	for (size_t i = 0; i < N; i++)
		x[i] = 5000 * (1 - exp(-(double)i / 8)) + 10.0 * (double)i + 20 * uniform();
	judge(&trend, x);
	assert_int_equal(trend.shape, SHAPE_GROWING);
	assert_near(trend.slope_per_s, 5, 0.5);

	for (size_t i = 0; i < N; i++)
		x[i] = (i < 70 ? 0 : 9000) + 10.0 * (double)i + 20 * uniform();
	judge(&trend, x);
	assert_int_equal(trend.shape, SHAPE_GROWING);
	assert_near(trend.slope_per_s, 5, 0.5);

	for (size_t i = 0; i < N; i++)
		x[i] = 3000 * sin((double)i * 6.283185307 / 24) + 10.0 * (double)i;
	judge(&trend, x);
	assert_int_equal(trend.shape, SHAPE_GROWING);
	assert_near(trend.slope_per_s, 5, 0.5);
	assert_near(trend.period_s, 48, 1);

	for (size_t i = 0; i < N; i++)
		x[i] = i < 20 ? 0 : i < 55 ? 4000 : i < 90 ? 8000 : 12000;
	judge(&trend, x);
	assert_int_not_equal(trend.shape, SHAPE_GROWING);

	/* A collector's garbage after its last collection is no leak. */
	for (size_t i = 0; i < N; i++)
		x[i] = 100.0 * (double)(i < 80 ? i : i - 80);
	judge(&trend, x);
	assert_int_not_equal(trend.shape, SHAPE_GROWING);
}

static void test_shift_and_scale(void **unused)
{
	(void)unused;
	for (int round = 0; round < 50; round++) {
		struct trend trend, shifted, scaled;
		double x[N], y[N];

		for (size_t i = 0; i < N; i++)
			x[i] = (double)(round % 10) * (double)i + 200 * uniform();
		vmat_trend_of_points(&trend, x, N, 2, 1);
		for (size_t i = 0; i < N; i++)
			y[i] = x[i] + 1048576;
		vmat_trend_of_points(&shifted, y, N, 2, 1);
		for (size_t i = 0; i < N; i++)
			y[i] = 4096 * x[i];
		vmat_trend_of_points(&scaled, y, N, 2, 4096);
		assert_int_equal(shifted.shape, trend.shape);
		assert_int_equal(scaled.shape, trend.shape);
		assert_near(shifted.slope_per_s, trend.slope_per_s, 1e-6);
		assert_near(shifted.floor_per_s, trend.floor_per_s, 1e-6);
		assert_near(scaled.slope_per_s, 4096 * trend.slope_per_s, 1e-6);
		assert_near(scaled.floor_per_s, 4096 * trend.floor_per_s, 1e-6);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_median),       cmocka_unit_test(test_sen),
		cmocka_unit_test(test_mann_kendall), cmocka_unit_test(test_permutations),
		cmocka_unit_test(test_cycle),        cmocka_unit_test(test_shapes),
		cmocka_unit_test(test_mixtures),     cmocka_unit_test(test_shift_and_scale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
