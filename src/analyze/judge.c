/* SPDX-License-Identifier: MIT */
/*
 * The verdict: a table of what must grow and what must not, read from above; the first row that fits is the verdict.
 *
 * Its core is what people know of ps's three columns (vsize, size, rss); it is sharpened by the kind of region that grows and by the
 * heap itself. docs/verdicts.md is this table in words.
 */
#include <math.h>
#include <string.h>

#include "analyze/view.h"

/* When half of a growth is not in use, it is waste. */
#define WASTE_SHARE 0.5
/* The heap explains what is held when it grows by so much of it. */
#define HEAP_SHARE 0.5
/* An arena that leaks fills its heaps (64 MiB each); below that, more of them is more arenas. */
#define ARENA_FULL (32.0 * 1024 * 1024)
/* Per second: fewer are 0.05 to 0.2 % of a processor, which nobody feels. */
#define FAULTS_MIN   1000.0
#define FAULTS_SHARE 0.1 /* of its CPU time, at least */
#define FAULTS_ALONE 5e3 /* per second, where the CPU time is not known */
#define PAGE_BYTES   4096.0
#define DAY_S        86400.0
#define MINUTE_S     60.0

enum condition { ANY, UP, NOT };

/* The answers to these questions are the columns of the table. */
enum question {
	Q_THREADS, /* more and more threads */
	Q_STACKS,  /* more and more stacks: also of threads that ended and were not joined */
	Q_HELD,    /* resident anonymous memory and swap */
	Q_SHARED,
	Q_DATA,
	Q_SIZE,
	Q_REGIONS,
	Q_ARENAS, /* the number of malloc's arenas */
	Q_IN_USE, /* the heap grows, and most of that is in use */
	Q_WASTE,  /* it does, and most of that is not */
	Q_MALLOC, /* the kind of region that grows most is malloc's */
	Q_BENDS,  /* what is held grows ever slower */
	Q_FAULTS, /* faults take a share of its time, and memory does not grow by them */
	Q_COUNT,
};

struct rule {
	enum condition when[Q_COUNT];
	struct ruling then;
};

static const struct rule rules[] = {
	{ { [Q_THREADS] = UP },
	  { VMAT_VERDICT_STACKS, "stacks.threads", WATCHED_THREADS, .certainty = 1 } },
	{ { [Q_STACKS] = UP },
	  { VMAT_VERDICT_STACKS, "stacks.unjoined", WATCHED_STACKS, .certainty = 1 } },
	{ { [Q_HELD] = UP, [Q_WASTE] = UP, [Q_ARENAS] = UP },
	  { VMAT_VERDICT_FRAGMENTATION, "fragmentation.arenas", WATCHED_HELD, .certainty = 1 } },
	{ { [Q_HELD] = UP, [Q_WASTE] = UP },
	  { VMAT_VERDICT_FRAGMENTATION, "fragmentation.heap", WATCHED_HELD, .certainty = 1 } },
	{ { [Q_HELD] = UP, [Q_IN_USE] = UP },
	  { VMAT_VERDICT_LEAK, "leak.heap", WATCHED_HELD, .certainty = 1 } },
	{ { [Q_HELD] = UP, [Q_ARENAS] = UP },
	  { VMAT_VERDICT_FRAGMENTATION, "fragmentation.arenas", WATCHED_HELD, .certainty = 0.8 } },
	{ { [Q_HELD] = UP, [Q_REGIONS] = UP, [Q_MALLOC] = NOT },
	  { VMAT_VERDICT_MAPPINGS, "mappings.touched", WATCHED_HELD, .certainty = 0.9 } },
	/* The seed's third row, all up: without a look into the heap it may be fragmentation, too. */
	{ { [Q_HELD] = UP }, { VMAT_VERDICT_LEAK, "leak.memory", WATCHED_HELD, .certainty = 0.9 } },
	{ { [Q_SHARED] = UP },
	  { VMAT_VERDICT_LEAK, "leak.shared", WATCHED_SHARED, .certainty = 0.8 } },
	{ { [Q_REGIONS] = UP },
	  { VMAT_VERDICT_MAPPINGS, "mappings.regions", WATCHED_REGIONS, .certainty = 1 } },
	/* Its second: size and data up, resident flat. malloc's own is a leak of memory that nobody touches. */
	{ { [Q_DATA] = UP, [Q_MALLOC] = UP },
	  { VMAT_VERDICT_LEAK, "leak.untouched", WATCHED_DATA, .certainty = 0.8 } },
	{ { [Q_DATA] = UP },
	  { VMAT_VERDICT_MAPPINGS, "mappings.untouched", WATCHED_DATA, .certainty = 0.8 } },
	/* Its first: size alone. Kernels of today count what malloc takes in data, too: so these are no blocks of malloc. */
	{ { [Q_SIZE] = UP, [Q_ARENAS] = UP },
	  { VMAT_VERDICT_FRAGMENTATION, "fragmentation.arenas", WATCHED_SIZE, .certainty = 0.6 } },
	{ { [Q_SIZE] = UP },
	  { VMAT_VERDICT_MAPPINGS, "mappings.size", WATCHED_SIZE, .certainty = 0.7 } },
	{ { [Q_BENDS] = UP },
	  { VMAT_VERDICT_CACHE_FILLING, "cache.filling", WATCHED_HELD, .certainty = 0.9 } },
	{ { [Q_FAULTS] = UP },
	  { VMAT_VERDICT_FAULT_CHURN, "faults.churn", WATCHED_FAULTS, .certainty = 1 } },
};

static bool is_malloc(enum vmat_kind kind)
{
	return kind == VMAT_KIND_HEAP || kind == VMAT_KIND_ARENA || kind == VMAT_KIND_MALLOC_MMAP;
}

/* The kind that grows most: by what is resident of it where that is what grows, else by its size. */
static enum vmat_kind growing_kind(const struct view *view, bool is_by_rss)
{
	enum vmat_kind best = VMAT_KIND_COUNT;
	double most = 0;

	for (unsigned kind = 0; kind < VMAT_KIND_COUNT; kind++) {
		const struct kind_growth *growth = &view->kinds[kind];
		double slope = is_by_rss && !isnan(growth->rss_per_s) ? growth->rss_per_s
								      : growth->size_per_s;

		if (slope > most) {
			most = slope;
			best = kind;
		}
	}
	return best;
}

static bool does_churn(const struct view *view)
{
	double growing = fmax(view->trends[WATCHED_HELD].slope_per_s, 0) / PAGE_BYTES;

	if (!(view->faults_per_s - growing >= FAULTS_MIN))
		return false;
	return isnan(view->cpu_share) ? view->faults_per_s >= FAULTS_ALONE
				      : view->cpu_share >= FAULTS_SHARE;
}

/* Was the heap looked into, and is it what grows? */
static bool is_heap(const struct view *view)
{
	double held_growth = view->trends[WATCHED_HELD].slope_per_s * view->pieces.duration_s;

	return view->has_heap && (view->system_growth >= HEAP_SHARE * held_growth ||
				  is_malloc(growing_kind(view, true)));
}

static bool answer(const struct view *view, enum question question)
{
	const struct kind_growth *arenas = &view->kinds[VMAT_KIND_ARENA];
	double held_growth = view->trends[WATCHED_HELD].slope_per_s * view->pieces.duration_s;
	/* A heap that was looked at for a part of the time explains the growth of that part. */
	double looked_growth = view->in_use_growth + view->waste_growth;
	bool is_waste = view->waste_growth > 0 &&
			view->waste_growth >= WASTE_SHARE * fmin(held_growth, looked_growth);

	switch (question) {
	case Q_THREADS:
		return vmat_view_grows(view, WATCHED_THREADS);
	case Q_STACKS:
		return vmat_view_grows(view, WATCHED_STACKS);
	case Q_HELD:
		return vmat_view_grows(view, WATCHED_HELD);
	case Q_SHARED:
		return vmat_view_grows(view, WATCHED_SHARED);
	case Q_DATA:
		return vmat_view_grows(view, WATCHED_DATA);
	case Q_SIZE:
		return vmat_view_grows(view, WATCHED_SIZE);
	case Q_REGIONS:
		return vmat_view_grows(view, WATCHED_REGIONS);
	case Q_ARENAS:
		return vmat_view_grows(view, WATCHED_ARENAS) &&
		       !(arenas->rss / arenas->count >= ARENA_FULL);
	case Q_IN_USE:
		return is_heap(view) && !is_waste;
	case Q_WASTE:
		return is_heap(view) && is_waste;
	case Q_MALLOC:
		return is_malloc(growing_kind(view, vmat_view_grows(view, WATCHED_HELD)));
	case Q_BENDS:
		return view->trends[WATCHED_HELD].shape == SHAPE_BENDING;
	case Q_FAULTS:
		return does_churn(view);
	case Q_COUNT:
		break;
	}
	return false;
}

/* Can a growth be excluded that would double the process within a minute? Else "stable" would say nothing. */
static bool is_floor_useful(const struct trend *trend)
{
	return trend->floor_per_s * MINUTE_S <= fmax(trend->last, PAGE_BYTES * 256);
}

/* Did what stands still in a quiet program grow, and it cannot be told whether it goes on? Sizes follow what is held. */
static bool is_unclear(const struct view *view)
{
	return view->trends[WATCHED_HELD].shape == SHAPE_UNCLEAR ||
	       view->trends[WATCHED_REGIONS].shape == SHAPE_UNCLEAR ||
	       view->trends[WATCHED_THREADS].shape == SHAPE_UNCLEAR;
}

static void rule(struct ruling *ret, const struct view *view)
{
	const struct trend *held = &view->trends[WATCHED_HELD];
	bool answers[Q_COUNT];

	*ret = (struct ruling){ .verdict = VMAT_VERDICT_INSUFFICIENT_DATA,
				.id = "data.few",
				.about = WATCHED_HELD,
				.kind = VMAT_KIND_COUNT,
				.certainty = 1 };
	if (held->shape == SHAPE_UNKNOWN)
		return;
	for (unsigned q = 0; q < Q_COUNT; q++)
		answers[q] = answer(view, q);
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
		bool fits = true;

		for (unsigned q = 0; q < Q_COUNT; q++)
			fits &= rules[i].when[q] == ANY || answers[q] == (rules[i].when[q] == UP);
		if (!fits)
			continue;
		*ret = rules[i].then;
		ret->kind = growing_kind(view, ret->about == WATCHED_HELD);
		return;
	}
	if (is_unclear(view)) {
		ret->id = "data.unclear";
	} else if (!is_floor_useful(held)) {
		ret->id = "data.noise";
	} else {
		ret->verdict = VMAT_VERDICT_STABLE;
		ret->id = "stable";
	}
}

/* How slow a growth matters: what adds the process's own size in a day, and at least a megabyte. */
static double worth_per_s(const struct trend *held)
{
	return fmax(held->last, 1 << 20) / DAY_S;
}

/*
 * How long to watch in all. A floor falls with the span to the power of 3/2: the error of a slope does, of noise
 * that has no memory; of what wanders it falls slower.
 */
static double sure_after_s(const struct trend *trend, const struct ruling *ruling, double worth)
{
	double span = trend->span_s, ratio;

	switch (ruling->verdict) {
	case VMAT_VERDICT_STABLE:
		ratio = trend->floor_per_s / worth;
		return ratio > 1 ? span * pow(ratio, 2.0 / 3) : span;
	case VMAT_VERDICT_CACHE_FILLING:
		return fmax(span, 4 * trend->bend_s);
	case VMAT_VERDICT_FAULT_CHURN:
		return span;
	case VMAT_VERDICT_INSUFFICIENT_DATA:
		return trend->shape == SHAPE_UNKNOWN ? NAN : 2 * trend->whole_span_s;
	default:
		ratio = 2 * trend->floor_per_s / trend->slope_per_s;
		return ratio > 1 ? span * pow(ratio, 2.0 / 3) : span;
	}
}

static double confidence_of(const struct trend *trend, const struct ruling *ruling, double worth)
{
	double ratio;

	switch (ruling->verdict) {
	case VMAT_VERDICT_INSUFFICIENT_DATA:
		return 0;
	case VMAT_VERDICT_STABLE:
		/* 0.95 when what matters would have been seen, 0.5 when only a hundred times as much would. */
		ratio = log10(fmax(trend->floor_per_s / worth, 1)) / 2;
		return 0.95 - 0.45 * fmin(ratio, 1);
	case VMAT_VERDICT_CACHE_FILLING:
		return 0.8 * ruling->certainty;
	case VMAT_VERDICT_FAULT_CHURN:
		return 0.9 * ruling->certainty;
	default:
		/* 0.5 at the floor, 0.88 at twice it, 0.98 at five times. */
		ratio = trend->floor_per_s / trend->slope_per_s;
		return (1 - 0.5 * fmin(ratio * ratio, 1)) * ruling->certainty;
	}
}

void vmat_judge(struct vmat_judgement *ret, const struct vmat_series *series)
{
	struct ruling ruling;
	struct view view;
	const struct trend *trend;
	double worth, sure_s;

	memset(ret, 0, sizeof(*ret));
	vmat_view_init(&view, series);
	rule(&ruling, &view);
	trend = &view.trends[ruling.about == WATCHED_FAULTS ? WATCHED_HELD : ruling.about];
	worth = ruling.about == WATCHED_HELD ? worth_per_s(&view.trends[WATCHED_HELD]) : INFINITY;
	ret->verdict = ruling.verdict;
	ret->confidence = confidence_of(trend, &ruling, worth);
	ret->growth_bytes_per_s = trend->slope_per_s;
	ret->floor_bytes_per_s = trend->floor_per_s;
	/* What counts things is told in bytes where these can be known: by what the process grows meanwhile. */
	if (ruling.about == WATCHED_THREADS || ruling.about == WATCHED_STACKS ||
	    ruling.about == WATCHED_REGIONS) {
		ret->growth_bytes_per_s = view.trends[WATCHED_SIZE].slope_per_s;
		ret->floor_bytes_per_s = view.trends[WATCHED_SIZE].floor_per_s;
	}
	ret->span_ns = (uint64_t)(fmin(view.pieces.duration_s, 1e9) * 1e9);
	sure_s = sure_after_s(trend, &ruling, worth);
	ret->sure_after_ns = sure_s >= 0 && sure_s < 1e9 ? (uint64_t)(sure_s * 1e9)
							 : VMAT_UNKNOWN(VMAT_NOT_FOUND);
	vmat_judgement_tell(ret, &view, &ruling);
}
