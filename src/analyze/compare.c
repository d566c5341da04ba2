/* SPDX-License-Identifier: MIT */
/*
 * What differs between two samples: by metric, by kind of region, and by owner.
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

/* Puts it in its place among those from `first` on: the most grown first. */
static void insert(struct vmat_difference *difference, size_t first,
		   const struct vmat_change *change)
{
	size_t at = difference->count++;

	for (; at > first && growth(&difference->changes[at - 1]) < growth(change); at--)
		difference->changes[at] = difference->changes[at - 1];
	difference->changes[at] = *change;
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

	if ((!vmat_is_known(before->size) && !vmat_is_known(after->size)) ||
	    (!before->size && !after->size))
		return;
	insert(difference, difference->metrics_count, &change);
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
	ret->kinds_count = ret->count - ret->metrics_count;
	ret->grown_bytes = held_growth(before, after);
}

static const struct vmat_owner_sample *find_owner(const struct vmat_owner_sample *owners,
						  size_t count, enum vmat_kind kind,
						  const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (owners[i].kind == kind && strcmp(owners[i].name, name) == 0)
			return &owners[i];
	return NULL;
}

/* What the owner had at a time: of one that is not in the list, nothing, or some part of what the small ones had. */
static struct vmat_kind_sample amount_of(const struct vmat_owner_sample *owners, size_t count,
					 const struct vmat_owner_sample *wanted)
{
	const uint64_t unknown = VMAT_UNKNOWN(VMAT_NOT_RECORDED);
	const struct vmat_owner_sample *owner =
		find_owner(owners, count, wanted->kind, wanted->name);

	if (owner)
		return (struct vmat_kind_sample){ owner->count, owner->size, owner->rss };
	if (find_owner(owners, count, wanted->kind, VMAT_OWNERS_REST))
		return (struct vmat_kind_sample){ unknown, unknown, unknown };
	return (struct vmat_kind_sample){ 0 };
}

static void add_owner(struct vmat_difference *difference, const struct vmat_owner_sample *owner,
		      const struct vmat_kind_sample *before, const struct vmat_kind_sample *after)
{
	const struct vmat_change change = {
		.is_kind = true,
		.kind = owner->kind,
		.owner = owner->name,
		.before = before->size,
		.after = after->size,
		.before_rss = before->rss,
		.after_rss = after->rss,
		.before_count = before->count,
		.after_count = after->count,
	};

	if (before->size != after->size || before->rss != after->rss ||
	    before->count != after->count)
		insert(difference, difference->metrics_count + difference->kinds_count, &change);
}

void vmat_difference_add_owners(struct vmat_difference *difference,
				const struct vmat_owner_sample *before, size_t before_count,
				const struct vmat_owner_sample *after, size_t after_count)
{
	if (before_count > VMAT_OWNERS_MAX || after_count > VMAT_OWNERS_MAX)
		return;
	for (size_t i = 0; i < after_count; i++) {
		struct vmat_kind_sample old = amount_of(before, before_count, &after[i]);
		struct vmat_kind_sample new = amount_of(after, after_count, &after[i]);

		add_owner(difference, &after[i], &old, &new);
	}
	for (size_t i = 0; i < before_count; i++) {
		struct vmat_kind_sample old = amount_of(before, before_count, &before[i]);
		struct vmat_kind_sample new = amount_of(after, after_count, &before[i]);

		if (!find_owner(after, after_count, before[i].kind, before[i].name))
			add_owner(difference, &before[i], &old, &new);
	}
}
