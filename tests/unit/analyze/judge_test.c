/* SPDX-License-Identifier: MIT */
/* Verdicts over made series, with the thresholds that `make bench-verdict` promises; cuts; findings; differences. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/analyze.h>

#include "../../factory/behaviour_series.h"
#include "../cmocka_all.h"
#include "analyze/pieces.h"

/* A share of the bench: seeds that neither its tuning nor its hold-out uses. */
enum { FIRST = 5000, SEEDS = 4 };

static bool is_growth(enum vmat_verdict verdict)
{
	return verdict == VMAT_VERDICT_LEAK || verdict == VMAT_VERDICT_FRAGMENTATION ||
	       verdict == VMAT_VERDICT_STACKS || verdict == VMAT_VERDICT_MAPPINGS;
}

static void test_behaviours(void **state)
{
	unsigned leaks = 0, leaks_found = 0, quiet = 0, alarms = 0, all = 0, right = 0;

	(void)state;
	assert_true(behaviours_count >= 14);
	for (size_t i = 0; i < behaviours_count; i++) {
		for (uint64_t seed = FIRST; seed < FIRST + SEEDS; seed++) {
			double rate = behaviour_rate(&behaviours[i], seed, 1);
			struct vmat_judgement judgement;
			struct vmat_series series;

			behaviour_make(&series, &behaviours[i], seed, rate);
			vmat_judge(&judgement, &series);
			behaviour_free(&series);
			all++;
			right += judgement.verdict == behaviours[i].truth;
			leaks += behaviours[i].truth == VMAT_VERDICT_LEAK;
			leaks_found += behaviours[i].truth == VMAT_VERDICT_LEAK &&
				       judgement.verdict == VMAT_VERDICT_LEAK;
			quiet += !is_growth(behaviours[i].truth);
			alarms += !is_growth(behaviours[i].truth) && is_growth(judgement.verdict);
			if (judgement.verdict != behaviours[i].truth)
				print_message("%s, seed %u: %s\n", behaviours[i].name,
					      (unsigned)seed, judgement.sentence);
		}
	}
	print_message("%u of %u right, leaks %u of %u, %u false alarms of %u\n", right, all,
		      leaks_found, leaks, alarms, quiet);
	assert_true(leaks_found >= 0.9 * leaks);
	assert_true(alarms <= 0.02 * quiet);
	assert_true(right >= 0.93 * all);
}

static struct vmat_series *series_new(size_t count)
{
	struct vmat_series *series = calloc(1, sizeof(*series));

	assert_non_null(series);
	series->samples = calloc(count, sizeof(*series->samples));
	series->events = calloc(8, sizeof(*series->events));
	assert_non_null(series->samples);
	assert_non_null(series->events);
	series->samples_count = count;
	series->interval_ns = 1000000000;
	for (size_t i = 0; i < count; i++) {
		struct vmat_sample *sample = &series->samples[i];

		sample->mono_ns = (i + 1) * UINT64_C(1000000000);
		for (unsigned m = 0; m < VMAT_METRIC_COUNT; m++)
			sample->values[m] = VMAT_UNKNOWN(VMAT_NOT_ASKED);
		for (unsigned k = 0; k < VMAT_KIND_COUNT; k++)
			sample->kinds[k].count = sample->kinds[k].size = sample->kinds[k].rss =
				VMAT_UNKNOWN(VMAT_NOT_ASKED);
	}
	return series;
}

static void series_free(struct vmat_series *series)
{
	free(series->samples);
	free(series->events);
	free(series);
}

static void test_unknown(void **state)
{
	struct vmat_series *series = series_new(100);
	struct vmat_judgement judgement;

	(void)state;
	vmat_judge(&judgement, series);
	assert_int_equal(judgement.verdict, VMAT_VERDICT_INSUFFICIENT_DATA);
	assert_false(vmat_judgement_is_bad(&judgement));
	assert_true(isnan(judgement.floor_bytes_per_s));
	assert_false(vmat_is_known(judgement.sure_after_ns));
	/* What is unknown at some times is not 0 at these. */
	for (size_t i = 0; i < 100; i++)
		if (i % 3)
			series->samples[i].values[VMAT_METRIC_RSS_ANON] = 100 << 20;
	vmat_judge(&judgement, series);
	assert_int_equal(judgement.verdict, VMAT_VERDICT_STABLE);
	series->samples_count = 0;
	vmat_judge(&judgement, series);
	assert_int_equal(judgement.verdict, VMAT_VERDICT_INSUFFICIENT_DATA);
	series->samples_count = 100;
	series_free(series);
}

/* Each event, and a gap in the times, hides the jump at it. */
static void test_cuts(void **state)
{
	static const enum vmat_event_type cuts[] = { VMAT_EVENT_SLEPT, VMAT_EVENT_CLOCK_SET,
						     VMAT_EVENT_BEGUN, VMAT_EVENT_LOST,
						     VMAT_EVENT_EXEC };
	struct pieces pieces;
	struct bins bins;
	struct signal signal = { .metrics = 1u << VMAT_METRIC_RSS, .quantum = 4096 };

	(void)state;
	for (size_t c = 0; c < sizeof(cuts) / sizeof(*cuts); c++) {
		struct vmat_series *series = series_new(100);

		for (size_t i = 0; i < 100; i++)
			series->samples[i].values[VMAT_METRIC_RSS] = i < 50 ? 1 << 20 : 9 << 20;
		series->events[0].type = cuts[c];
		series->events[0].mono_ns = series->samples[50].mono_ns - 5;
		series->events_count = 1;
		vmat_pieces_find(&pieces, series);
		assert_int_equal(pieces.count, cuts[c] == VMAT_EVENT_EXEC ? 1 : 2);
		vmat_bins_fill(&bins, series, &pieces, &signal);
		for (size_t i = 1; i < bins.count; i++) {
			assert_true(fabs(bins.x[i] - bins.x[0]) < 1);
			assert_true(bins.t_s[i] > bins.t_s[i - 1]);
		}
		series_free(series);
	}
}

static void test_gap(void **state)
{
	struct vmat_series *series = series_new(100);
	struct pieces pieces;

	(void)state;
	for (size_t i = 60; i < 100; i++)
		series->samples[i].mono_ns += UINT64_C(100000000000);
	vmat_pieces_find(&pieces, series);
	assert_int_equal(pieces.count, 2);
	assert_int_equal(pieces.end[0], 60);
	assert_int_equal(pieces.first[1], 60);
	assert_true(fabs(pieces.duration_s - 98) < 1e-6);
	series_free(series);
}

static void test_findings(void **state)
{
	struct vmat_judgement judgement = { 0 };
	struct vmat_finding finding = { .id = "x" };

	(void)state;
	for (int i = 0; i < 3 * VMAT_FINDINGS_MAX; i++) {
		finding.weight = (i * 37) % 101;
		vmat_finding_add(&judgement, &finding);
	}
	assert_int_equal(judgement.findings_count, VMAT_FINDINGS_MAX);
	for (size_t i = 1; i < VMAT_FINDINGS_MAX; i++)
		assert_true(judgement.findings[i - 1].weight >= judgement.findings[i].weight);
	assert_false(vmat_judgement_is_bad(&judgement));
	finding.weight = 1000;
	finding.severity = VMAT_SEVERITY_BAD;
	vmat_finding_add(&judgement, &finding);
	assert_true(vmat_judgement_is_bad(&judgement));
	assert_int_equal(judgement.findings[0].severity, VMAT_SEVERITY_BAD);
}

static void test_difference(void **state)
{
	struct vmat_series *series = series_new(2);
	struct vmat_sample *a = &series->samples[0], *b = &series->samples[1];
	static struct vmat_difference difference;

	(void)state;
	vmat_difference_find(&difference, a, b);
	assert_int_equal(difference.count, 0);
	assert_false(vmat_is_known(difference.grown_bytes));
	a->values[VMAT_METRIC_RSS_ANON] = 5000;
	b->values[VMAT_METRIC_RSS_ANON] = 9000;
	b->values[VMAT_METRIC_SWAP] = 100;
	a->kinds[VMAT_KIND_HEAP] = (struct vmat_kind_sample){ 1, 100, 100 };
	b->kinds[VMAT_KIND_HEAP] = (struct vmat_kind_sample){ 1, 150, 100 };
	a->kinds[VMAT_KIND_ANON] = (struct vmat_kind_sample){ 1, 100, 100 };
	b->kinds[VMAT_KIND_ANON] = (struct vmat_kind_sample){ 2, 900, 100 };
	vmat_difference_find(&difference, a, b);
	assert_int_equal(difference.grown_bytes, 4100);
	assert_int_equal(difference.metrics_count, 2);
	assert_int_equal(difference.count, 4);
	assert_int_equal(difference.changes[2].kind, VMAT_KIND_ANON); /* it grew most */
	assert_int_equal(difference.changes[3].kind, VMAT_KIND_HEAP);
	vmat_difference_find(&difference, b, a);
	assert_int_equal(difference.grown_bytes, 0);
	series_free(series);
}

/* Owners come behind the kinds; who may have been among the others at one time, of him it is unknown what he had. */
static void test_owners(void **state)
{
	static const struct vmat_owner_sample before[] = {
		{ VMAT_KIND_FILE, "same", 1, 4096, 0 },
		{ VMAT_KIND_FILE, "grown", 1, 4096, 0 },
		{ VMAT_KIND_TEXT, "grown", 1, 8192, 4096 },
		{ VMAT_KIND_SHM, "gone", 2, 8192, 0 },
		{ VMAT_KIND_FILE, VMAT_OWNERS_REST, 9, 1 << 20, 0 },
	};
	static const struct vmat_owner_sample after[] = {
		{ VMAT_KIND_FILE, "same", 1, 4096, 0 },
		{ VMAT_KIND_FILE, "grown", 2, 12288, 0 },
		{ VMAT_KIND_TEXT, "grown", 1, 8192, 8192 },
		{ VMAT_KIND_FILE, "new", 1, 4096, 0 },
		{ VMAT_KIND_SHM, "new", 1, 20480, 0 },
		{ VMAT_KIND_FILE, VMAT_OWNERS_REST, 8, 1 << 19, 0 },
	};

	static const struct {
		enum vmat_kind kind;
		const char *owner;
		uint64_t before, after;
	} wanted[] = {
		{ VMAT_KIND_SHM, "new", 0, 20480 },
		{ VMAT_KIND_FILE, "grown", 4096, 12288 },
		{ VMAT_KIND_TEXT, "grown", 8192, 8192 },
		{ VMAT_KIND_FILE, "new", VMAT_UNKNOWN(VMAT_NOT_RECORDED), 4096 },
		{ VMAT_KIND_SHM, "gone", 8192, 0 },
		{ VMAT_KIND_FILE, VMAT_OWNERS_REST, 1 << 20, 1 << 19 },
	};
	struct vmat_series *series = series_new(2);
	static struct vmat_difference difference;

	(void)state;
	series->samples[1].kinds[VMAT_KIND_FILE] = (struct vmat_kind_sample){ 1, 100, 100 };
	vmat_difference_find(&difference, &series->samples[0], &series->samples[1]);
	assert_int_equal(difference.count, 1);
	vmat_difference_add_owners(&difference, before, 5, after, 6);
	assert_int_equal(difference.kinds_count, 1);
	assert_int_equal(difference.count, 7);
	for (size_t i = 0; i < 6; i++) {
		const struct vmat_change *change = &difference.changes[1 + i];

		assert_int_equal(change->kind, wanted[i].kind);
		assert_string_equal(change->owner, wanted[i].owner);
		assert_int_equal(change->before, wanted[i].before);
		assert_int_equal(change->after, wanted[i].after);
	}
	series_free(series);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_behaviours), cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_cuts),       cmocka_unit_test(test_gap),
		cmocka_unit_test(test_findings),   cmocka_unit_test(test_difference),
		cmocka_unit_test(test_owners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
