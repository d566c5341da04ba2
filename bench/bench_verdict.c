/* SPDX-License-Identifier: MIT */
/*
 * bench_verdict: precision and recall of each verdict over made series: `make bench-verdict`.
 *
 * bench_verdict [SEEDS [FIRST]]: seeds FIRST to FIRST + SEEDS - 1 of each behaviour. Seeds from 1000 on were never looked at while the
 * rules were made: they are the hold-out. Prints what it got, and each miss. 1 when a promise is not kept.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "behaviour_series.h"

static unsigned long confusion[VMAT_VERDICT_COUNT][VMAT_VERDICT_COUNT]; /* truth, verdict */

static bool is_growth(enum vmat_verdict verdict)
{
	return verdict == VMAT_VERDICT_LEAK || verdict == VMAT_VERDICT_FRAGMENTATION ||
	       verdict == VMAT_VERDICT_STACKS || verdict == VMAT_VERDICT_MAPPINGS;
}

static enum vmat_verdict judge(const struct behaviour *behaviour, uint64_t seed, double share,
			       struct vmat_judgement *judgement)
{
	double rate = behaviour_rate(behaviour, seed, share);
	struct vmat_series series;

	behaviour_make(&series, behaviour, seed, rate);
	vmat_judge(judgement, &series);
	behaviour_free(&series);
	return judgement->verdict;
}

static void run_behaviour(const struct behaviour *behaviour, uint64_t first, uint64_t seeds)
{
	struct vmat_judgement *judgement = malloc(sizeof(*judgement));
	unsigned long right = 0;

	if (!judgement)
		abort();
	for (uint64_t seed = first; seed < first + seeds; seed++) {
		enum vmat_verdict verdict = judge(behaviour, seed, 1, judgement);

		confusion[behaviour->truth][verdict]++;
		right += verdict == behaviour->truth;
		if (verdict != behaviour->truth)
			printf("  miss: %s, seed %llu: %s\n", behaviour->name,
			       (unsigned long long)seed, judgement->sentence);
	}
	printf("%-24s %-18s %3lu of %llu\n", behaviour->name, vmat_verdict_name(behaviour->truth),
	       right, (unsigned long long)seeds);
	free(judgement);
}

/* How sharp the floor is: if a leak of half of it were found, too, it would be stated too high. */
static void run_sharpness(uint64_t first, uint64_t seeds)
{
	static const double shares[] = { 0.25, 0.5, 1, 2 };
	struct vmat_judgement *judgement = malloc(sizeof(*judgement));

	if (!judgement)
		abort();
	for (size_t s = 0; s < sizeof(shares) / sizeof(*shares); s++) {
		unsigned long right = 0, all = 0;

		for (size_t i = 0; i < behaviours_count; i++) {
			if (behaviours[i].truth != VMAT_VERDICT_LEAK || behaviours[i].floors > 2)
				continue;
			for (uint64_t seed = first; seed < first + seeds; seed++, all++)
				right += judge(&behaviours[i], seed, shares[s], judgement) ==
					 VMAT_VERDICT_LEAK;
		}
		printf("leaks at %4.2g times the floor: recall %.3f\n", 2 * shares[s],
		       (double)right / (double)all);
	}
	free(judgement);
}

static bool report(void)
{
	unsigned long good = 0, alarms = 0;
	double leak_recall = 0;

	printf("\n%-18s %10s %10s %8s\n", "VERDICT", "PRECISION", "RECALL", "SERIES");
	for (unsigned v = 0; v < VMAT_VERDICT_COUNT; v++) {
		unsigned long told = 0, true_ones = 0;

		for (unsigned w = 0; w < VMAT_VERDICT_COUNT; w++) {
			told += confusion[w][v];
			true_ones += confusion[v][w];
			if (!is_growth(v) && is_growth(w))
				alarms += confusion[v][w];
		}
		if (!is_growth(v))
			good += true_ones;
		if (!told && !true_ones)
			continue;
		printf("%-18s %10.3f %10.3f %8lu\n", vmat_verdict_name(v),
		       told ? (double)confusion[v][v] / (double)told : NAN,
		       true_ones ? (double)confusion[v][v] / (double)true_ones : NAN, true_ones);
		if (v == VMAT_VERDICT_LEAK)
			leak_recall = (double)confusion[v][v] / (double)true_ones;
	}
	printf("false alarms: %lu of %lu series without growth, %.2f %%\n", alarms, good,
	       100.0 * (double)alarms / (double)good);
	return leak_recall >= 0.95 && (double)alarms <= 0.02 * (double)good;
}

int main(int argc, char **argv)
{
	uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 20;
	uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;

	if (!seeds || seeds > 100000)
		return 2;
	for (size_t i = 0; i < behaviours_count; i++)
		run_behaviour(&behaviours[i], first, seeds);
	run_sharpness(first, seeds);
	return report() ? 0 : 1;
}
