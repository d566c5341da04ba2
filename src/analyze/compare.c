/* SPDX-License-Identifier: MIT */
/*
 * What differs between two samples: by metric, and by kind of region.
 */
#include <string.h>

#include <vmatlas/analyze.h>

bool vmat_metric_is_bytes(enum vmat_metric metric)
{
	switch (metric) {
	case VMAT_METRIC_REGIONS:
	case VMAT_METRIC_THREADS:
	case VMAT_METRIC_FAULTS_MINOR:
	case VMAT_METRIC_FAULTS_MAJOR:
	case VMAT_METRIC_CPU_NS:
	case VMAT_METRIC_COUNT:
		return false;
	default:
		return true;
	}
}

static double growth(const struct vmat_change *change)
{
	uint64_t before = change->before, after = change->after;

	/* A kind that is there at one time only was not there at the other: its size is told as 0 there. */
	if (!vmat_is_known(before) || !vmat_is_known(after))
		return 0;
	return (double)after - (double)before;
}

static void add_kind(struct vmat_difference *difference, enum vmat_kind kind,
		     const struct vmat_kind_sample *before, const struct vmat_kind_sample *after)
{
	struct vmat_change change = {
		.is_kind = true,
		.kind = kind,
		.before = before->size,
		.after = after->size,
		.before_rss = before->rss,
		.after_rss = after->rss,
		.before_count = before->count,
		.after_count = after->count,
	};
	size_t at = difference->count;

	if ((!vmat_is_known(before->size) && !vmat_is_known(after->size)) ||
	    (!before->size && !after->size))
		return;
	for (; at > difference->metrics_count &&
	       growth(&difference->changes[at - 1]) < growth(&change);
	     at--)
		difference->changes[at] = difference->changes[at - 1];
	difference->changes[at] = change;
	difference->count++;
}

static uint64_t held_growth(const struct vmat_sample *before, const struct vmat_sample *after)
{
	uint64_t sums[2] = { 0, 0 };
	const struct vmat_sample *samples[2] = { before, after };

	for (size_t i = 0; i < 2; i++) {
		uint64_t rss = samples[i]->values[VMAT_METRIC_RSS_ANON];
		uint64_t swap = samples[i]->values[VMAT_METRIC_SWAP];

		if (!vmat_is_known(rss))
			rss = samples[i]->values[VMAT_METRIC_RSS];
		if (!vmat_is_known(rss))
			return rss;
		sums[i] = rss + (vmat_is_known(swap) ? swap : 0);
	}
	return sums[1] > sums[0] ? sums[1] - sums[0] : 0;
}

void vmat_difference_find(struct vmat_difference *ret, const struct vmat_sample *before,
			  const struct vmat_sample *after)
{
	uint64_t none = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);

	memset(ret, 0, sizeof(*ret));
	for (unsigned metric = 0; metric < VMAT_METRIC_COUNT; metric++) {
		if (!vmat_is_known(before->values[metric]) && !vmat_is_known(after->values[metric]))
			continue;
		ret->changes[ret->count++] = (struct vmat_change){
			.metric = metric,
			.before = before->values[metric],
			.after = after->values[metric],
			.before_rss = none,
			.after_rss = none,
			.before_count = none,
			.after_count = none,
		};
	}
	ret->metrics_count = ret->count;
	for (unsigned kind = 0; kind < VMAT_KIND_COUNT; kind++)
		add_kind(ret, kind, &before->kinds[kind], &after->kinds[kind]);
	ret->grown_bytes = held_growth(before, after);
}
