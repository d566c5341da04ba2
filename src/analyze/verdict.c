/* SPDX-License-Identifier: MIT */
/*
 * The names of verdicts and severities, as in JSON.
 */
#include <vmatlas/analyze.h>

const char *vmat_verdict_name(enum vmat_verdict verdict)
{
	static const char *const names[VMAT_VERDICT_COUNT] = {
		[VMAT_VERDICT_STABLE] = "stable",
		[VMAT_VERDICT_LEAK] = "leak",
		[VMAT_VERDICT_FRAGMENTATION] = "fragmentation",
		[VMAT_VERDICT_CACHE_FILLING] = "cache_filling",
		[VMAT_VERDICT_STACKS] = "stacks",
		[VMAT_VERDICT_MAPPINGS] = "mappings",
		[VMAT_VERDICT_FAULT_CHURN] = "fault_churn",
		[VMAT_VERDICT_INSUFFICIENT_DATA] = "insufficient_data",
	};

	return (unsigned)verdict < VMAT_VERDICT_COUNT ? names[verdict] : "?";
}

const char *vmat_severity_name(enum vmat_severity severity)
{
	switch (severity) {
	case VMAT_SEVERITY_INFO:
		return "info";
	case VMAT_SEVERITY_WARNING:
		return "warning";
	case VMAT_SEVERITY_BAD:
		return "bad";
	}
	return "?";
}
