/* SPDX-License-Identifier: MIT */
/*
 * analyze.h: judgement over models: what a series of samples means, with its evidence. Pure: models in, findings out.
 */
#ifndef VMATLAS_ANALYZE_H
#define VMATLAS_ANALYZE_H

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

/* Never fails: too little data is a verdict. */
void vmat_judge(struct vmat_judgement *ret, const struct vmat_series *series);

#ifdef __cplusplus
}
#endif
#endif
