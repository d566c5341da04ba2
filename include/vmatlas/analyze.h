/* SPDX-License-Identifier: MIT */
/*
 * analyze.h: judgement over models: what a series of samples means, with its evidence. Pure: models in, findings out.
 *
 * The nouns:
 *   verdict   what a process's memory does, in one word; too little data is one, too
 *   finding   one thing that was seen, with its evidence and, where there is one, the setting that helps
 *   floor     the slowest steady growth that would have been seen in this span; what is slower can be there
 *   moment    what can be said of one moment, without a series: limits that are near, reserves, waste
 *
 * How verdicts are reached: docs/verdicts.md.
 */
#ifndef VMATLAS_ANALYZE_H
#define VMATLAS_ANALYZE_H

#include <vmatlas/heap.h>
#include <vmatlas/sample.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmat_verdict {
	VMAT_VERDICT_STABLE,
	VMAT_VERDICT_LEAK,          /* memory in use grows without an end in sight */
	VMAT_VERDICT_FRAGMENTATION, /* in use is flat, what is held for it grows */
	VMAT_VERDICT_CACHE_FILLING, /* grows, and the growth bends towards a bound */
	VMAT_VERDICT_STACKS,        /* threads and their stacks grow */
	VMAT_VERDICT_MAPPINGS,      /* regions grow, resident memory does not have to */
	VMAT_VERDICT_FAULT_CHURN, /* memory is taken and given back again and again: faults, no growth */
	VMAT_VERDICT_INSUFFICIENT_DATA,
	VMAT_VERDICT_COUNT,
};

/* "stable", "leak", ... "insufficient_data": as in JSON. Lifetime: static. */
const char *vmat_verdict_name(enum vmat_verdict verdict);

enum vmat_severity { VMAT_SEVERITY_INFO, VMAT_SEVERITY_WARNING, VMAT_SEVERITY_BAD };

struct vmat_finding {
	const char *id; /* "leak.heap", "faults.trim_churn": stable; static */
	enum vmat_severity severity;
	double weight; /* findings are sorted by it, the heaviest first */
	char title[160];
	char evidence[640];
	char advice
		[640]; /* the tunable, its value, what it should change, what it costs; "" when there is none */
};

#define VMAT_FINDINGS_MAX 32

struct vmat_judgement {
	enum vmat_verdict verdict;
	double confidence;         /* 0 to 1 */
	double growth_bytes_per_s; /* of what the verdict is about; NAN when it cannot be told */
	double floor_bytes_per_s; /* a steady growth below it cannot be seen in this span; NAN likewise */
	uint64_t span_ns;         /* what was looked at */
	uint64_t
		sure_after_ns; /* how long to watch in all to be sure; unknown (base.h) when that cannot be told */
	char sentence[320]; /* the verdict in words */
	struct vmat_finding findings[VMAT_FINDINGS_MAX];
	size_t findings_count;
};

/*
 * Judges a series. Never fails: too little data is a verdict.
 * Cost: a pass over the samples for each of some 20 numbers and some ms besides: 0.2 s for 100,000 samples.
 */
void vmat_judge(struct vmat_judgement *ret, const struct vmat_series *series);

/* What is there at one moment; NULL and unknown where it was not read. */
struct vmat_moment {
	const struct vmat_atlas *atlas; /* with owners, or NULL */
	const struct vmat_heap *heap;   /* or NULL */
	struct vmat_counters counters;
	const struct vmat_heap_settings *settings; /* or NULL: its allocator is not known */
};

/*
 * Adds the findings of one moment to a judgement. The verdict stays; findings are sorted again. Advice that only fits another
 * allocator than the process has is replaced.
 */
void vmat_judge_moment(struct vmat_judgement *judgement, const struct vmat_moment *moment);

/* Adds a finding in the order of weights; of more than VMAT_FINDINGS_MAX the lightest is dropped. */
void vmat_finding_add(struct vmat_judgement *judgement, const struct vmat_finding *finding);

/* "info", "warning", "bad": as in JSON. Lifetime: static. */
const char *vmat_severity_name(enum vmat_severity severity);

/* Is any finding bad? Then `vmatlas check` ends with 1. */
bool vmat_judgement_is_bad(const struct vmat_judgement *judgement);

/* One number of two moments. */
struct vmat_change {
	bool is_kind;
	enum vmat_metric metric; /* unless is_kind */
	enum vmat_kind kind;
	const char *owner; /* of regions of that kind; NULL: of all of them, or a metric */
	uint64_t before,
		after; /* bytes, or counts of a metric that is one; unknown where either moment lacks it */
	uint64_t before_rss, after_rss; /* of a kind, or an owner; else unknown */
	uint64_t before_count, after_count;
};

#define VMAT_CHANGES_MAX (VMAT_METRIC_COUNT + VMAT_KIND_COUNT + 2 * VMAT_OWNERS_MAX)

/* What differs between two samples, of one process or of two. */
struct vmat_difference {
	struct vmat_change changes
		[VMAT_CHANGES_MAX]; /* metrics in their order, then kinds, then owners, the most grown first */
	size_t count;
	size_t metrics_count, kinds_count; /* of them */
	uint64_t
		grown_bytes; /* of memory that is held: resident anonymous and swapped; 0 when it shrank; unknown when it is */
};

void vmat_difference_find(struct vmat_difference *ret, const struct vmat_sample *before,
			  const struct vmat_sample *after);

/*
 * Adds, behind the kinds, those owners whose regions differ. The names live in the two lists. One that is told at one time only had
 * nothing at the other; but if the small ones of its kind were one sum there, it is unknown what it had.
 */
void vmat_difference_add_owners(struct vmat_difference *difference,
				const struct vmat_owner_sample *before, size_t before_count,
				const struct vmat_owner_sample *after, size_t after_count);

/* Is the metric a number of bytes, rather than a count or a time? */
bool vmat_metric_is_bytes(enum vmat_metric metric);

#ifdef __cplusplus
}
#endif
#endif
