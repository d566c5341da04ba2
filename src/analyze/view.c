/* SPDX-License-Identifier: MIT */
/*
 * Measures a series: the trends of what is watched, the kinds of region that grow, the heap between two looks, the faults.
 */
#include "analyze/view.h"

#include <math.h>
#include <string.h>

#define PAGE 4096.0
/* glibc takes 132 KiB from the kernel at a time: M_TOP_PAD and what is asked for, in whole pages. */
#define MALLOC_PIECE 135168.0
/* CPU time of one fault that must clear a page, least of what was measured: 0.5 us on Linux 6.18, x86-64. */
#define FAULT_S 0.5e-6

#define METRIC(name) (1u << VMAT_METRIC_##name)

static const struct signal watched[WATCHED_COUNT] = {
	[WATCHED_HELD] = { .metrics = METRIC(RSS_ANON) | METRIC(SWAP), .quantum = PAGE },
	[WATCHED_SHARED] = { .metrics = METRIC(RSS_SHMEM), .quantum = PAGE },
	[WATCHED_DATA] = { .metrics = METRIC(DATA), .quantum = MALLOC_PIECE },
	[WATCHED_SIZE] = { .metrics = METRIC(SIZE), .quantum = MALLOC_PIECE },
	[WATCHED_REGIONS] = { .metrics = METRIC(REGIONS), .quantum = 1 },
	[WATCHED_THREADS] = { .metrics = METRIC(THREADS), .quantum = 1 },
	[WATCHED_STACKS] = { .field = SIGNAL_KIND_COUNT, .kind = VMAT_KIND_STACK, .quantum = 1 },
	[WATCHED_ARENAS] = { .field = SIGNAL_KIND_COUNT, .kind = VMAT_KIND_ARENA, .quantum = 1 },
	[WATCHED_FAULTS] = { .metrics = METRIC(FAULTS_MINOR), .quantum = 1 },
};

/* What is held, by the best metrics that there are. */
static void find_held(struct view *view)
{
	static const uint32_t instead[] = { METRIC(RSS_ANON), METRIC(RSS) };
	struct trend *trend = &view->trends[WATCHED_HELD];

	for (size_t i = 0; i < 2 && !trend->samples; i++) {
		struct signal signal = { .metrics = instead[i], .quantum = PAGE };

		vmat_trend_find(trend, view->series, &view->pieces, &signal);
		view->is_rss = instead[i] == METRIC(RSS);
	}
}

static double slope_of(const struct view *view, enum vmat_kind kind, enum signal_field field,
		       double *ret_last)
{
	struct signal signal = { .field = field, .kind = kind };
	struct bins bins;

	vmat_bins_fill(&bins, view->series, &view->pieces, &signal);
	if (ret_last)
		*ret_last = bins.count ? bins.x[bins.count - 1] : NAN;
	return vmat_sen_slope(bins.t_s, bins.x, bins.count);
}

static void find_kinds(struct view *view)
{
	for (unsigned kind = 0; kind < VMAT_KIND_COUNT; kind++) {
		struct kind_growth *growth = &view->kinds[kind];

		growth->size_per_s = slope_of(view, kind, SIGNAL_KIND_SIZE, NULL);
		growth->rss_per_s = slope_of(view, kind, SIGNAL_KIND_RSS, &growth->rss);
		growth->count_per_s = slope_of(view, kind, SIGNAL_KIND_COUNT, &growth->count);
	}
}

/* What the heap took and what is in use of it: by the slopes, for single looks see requests that come and go. */
static void find_heap(struct view *view)
{
	struct signal signal = { .metrics = METRIC(HEAP_SYSTEM) };
	struct bins bins;

	vmat_bins_fill(&bins, view->series, &view->pieces, &signal);
	if (!bins.count)
		return;
	view->system = bins.x[bins.count - 1];
	view->system_growth =
		vmat_sen_slope(bins.t_s, bins.x, bins.count) * view->pieces.duration_s;
	signal.metrics = METRIC(HEAP_IN_USE);
	vmat_bins_fill(&bins, view->series, &view->pieces, &signal);
	if (bins.count < 2)
		return;
	view->in_use = bins.x[bins.count - 1];
	view->in_use_growth =
		vmat_sen_slope(bins.t_s, bins.x, bins.count) * view->pieces.duration_s;
	/* Requests come and go in both, so their difference is steadier than either. */
	signal.metrics = view->is_rss ? METRIC(RSS) : METRIC(RSS_ANON) | METRIC(SWAP);
	signal.less = METRIC(HEAP_IN_USE);
	vmat_bins_fill(&bins, view->series, &view->pieces, &signal);
	view->waste_growth = vmat_sen_slope(bins.t_s, bins.x, bins.count) * view->pieces.duration_s;
	view->has_heap = !isnan(view->waste_growth);
}

static void find_faults(struct view *view)
{
	struct signal cpu = { .metrics = METRIC(CPU_NS), .quantum = 1 };
	struct bins bins;
	double cpu_ns_per_s;

	vmat_bins_fill(&bins, view->series, &view->pieces, &watched[WATCHED_FAULTS]);
	view->faults_per_s = vmat_sen_slope(bins.t_s, bins.x, bins.count);
	vmat_bins_fill(&bins, view->series, &view->pieces, &cpu);
	cpu_ns_per_s = vmat_sen_slope(bins.t_s, bins.x, bins.count);
	view->cpu_share = NAN;
	if (cpu_ns_per_s > 0)
		view->cpu_share = fmin(view->faults_per_s * FAULT_S * 1e9 / cpu_ns_per_s, 1);
}

void vmat_view_init(struct view *ret, const struct vmat_series *series)
{
	memset(ret, 0, sizeof(*ret));
	ret->series = series;
	vmat_pieces_find(&ret->pieces, series);
	for (unsigned i = 0; i < WATCHED_FAULTS; i++)
		vmat_trend_find(&ret->trends[i], series, &ret->pieces, &watched[i]);
	find_held(ret);
	find_kinds(ret);
	find_heap(ret);
	find_faults(ret);
}
