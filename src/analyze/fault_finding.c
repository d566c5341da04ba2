/* SPDX-License-Identifier: MIT */
/*
 * fault_finding.c: the causes of page faults as findings of a judgement, for who judges more than faults.
 *
 * How bad a cause is depends on how often it happens. A minor fault costs 0.5 to 2 us: 10,000 a second are about a hundredth of a
 * processor, and no harm to most; a major one waits for a disk. First touches end by themselves.
 */
#include <stdio.h>
#include <string.h>

#include "analyze/fault_advice.h"

static const double MINOR_WORTH = 1000, MINOR_BAD = 10000, MAJOR_WORTH = 1, MAJOR_BAD = 100;

static const char *id_of(enum vmat_fault_cause cause)
{
	static const char *const ids[VMAT_FAULT_CAUSE_COUNT] = {
		[VMAT_FAULT_FIRST_TOUCH] = "faults.first_touch",
		[VMAT_FAULT_MMAP_CHURN] = "faults.mmap_churn",
		[VMAT_FAULT_TRIM_CHURN] = "faults.trim_churn",
		[VMAT_FAULT_FORK_COPY] = "faults.fork_copy",
		[VMAT_FAULT_FILE_READ] = "faults.file_read",
		[VMAT_FAULT_STACK_GROWTH] = "faults.stack_growth",
		[VMAT_FAULT_HUGE_SPLIT] = "faults.huge_split",
		[VMAT_FAULT_DONTNEED] = "faults.dontneed",
		[VMAT_FAULT_SWAP_IN] = "faults.swap_in",
		[VMAT_FAULT_UNKNOWN] = "faults.unknown",
	};

	return ids[cause];
}

/* Memory that is taken away and comes back: what can be cured. */
static bool is_churn(enum vmat_fault_cause cause)
{
	return cause != VMAT_FAULT_FIRST_TOUCH && cause != VMAT_FAULT_FILE_READ &&
	       cause != VMAT_FAULT_UNKNOWN;
}

static enum vmat_severity severity_of(const struct vmat_fault_finding *finding, double minor_s,
				      double major_s)
{
	if (major_s >= MAJOR_BAD || (is_churn(finding->cause) && minor_s >= MINOR_BAD))
		return finding->confidence >= 0.6 ? VMAT_SEVERITY_BAD : VMAT_SEVERITY_WARNING;
	if (major_s >= MAJOR_WORTH || (is_churn(finding->cause) && minor_s >= MINOR_WORTH))
		return VMAT_SEVERITY_WARNING;
	return VMAT_SEVERITY_INFO;
}

/* On the scale of judge_text.c: what is bad from 10 on, what is worth a look from 2 on. */
static double weight_of(enum vmat_severity severity, double minor_s, double major_s)
{
	static const double least[] = {
		[VMAT_SEVERITY_INFO] = 0.25, [VMAT_SEVERITY_WARNING] = 2, [VMAT_SEVERITY_BAD] = 10
	};
	double share = minor_s / MINOR_BAD + major_s / MAJOR_BAD;

	return least[severity] + (share < 1 ? share : 1);
}

/* What was advised while the cause was not known. */
static void point_to_causes(struct vmat_judgement *judgement)
{
	for (size_t i = 0; i < judgement->findings_count; i++) {
		struct vmat_finding *finding = &judgement->findings[i];

		if (!strcmp(finding->id, "faults.churn"))
			snprintf(finding->advice, sizeof(finding->advice),
				 "what helps against each cause stands with it, in the findings of "
				 "faults.*; `vmatlas faults` tells the places and the code");
	}
}

/* Was there enough to see that memory does not grow? Else nothing is said of it. */
static bool is_growth_judged(const struct vmat_judgement *judgement)
{
	if (judgement->verdict == VMAT_VERDICT_STABLE)
		return true;
	if (judgement->verdict != VMAT_VERDICT_INSUFFICIENT_DATA)
		return false;
	for (size_t i = 0; i < judgement->findings_count; i++) {
		if (!strcmp(judgement->findings[i].id, "data.few"))
			return false;
	}
	return true;
}

/*
 * The table of judge.c knows the least that a fault costs. Those that copy a page or break up a huge one cost several times that, so their
 * churn stays below its share of time; sampled, it is known for what it is, and a verdict of stable beside it would contradict it.
 */
static void rule_churn(struct vmat_judgement *judgement, const struct vmat_fault_finding *fault,
		       const struct vmat_finding *finding)
{
	if (finding->severity != VMAT_SEVERITY_BAD || !is_churn(fault->cause) ||
	    !is_growth_judged(judgement))
		return;
	judgement->verdict = VMAT_VERDICT_FAULT_CHURN;
	judgement->confidence = 0.9 * fault->confidence;
	judgement->sure_after_ns = judgement->span_ns;
	snprintf(judgement->sentence, sizeof(judgement->sentence), "fault churn: %.200s",
		 finding->title);
}

void vmat_fault_findings_add(struct vmat_judgement *judgement,
			     const struct vmat_fault_profile *profile)
{
	const double seconds = (double)profile->span_ns / 1e9;
	struct vmat_fault_findings faults;
	bool has_advice = false;

	vmat_fault_judge(&faults, profile);
	for (size_t i = 0; i < faults.count && seconds > 0; i++) {
		const struct vmat_fault_finding *fault = &faults.findings[i];
		double minor_s = vmat_is_known(fault->minor) ? (double)fault->minor / seconds : 0;
		double major_s = (double)fault->major / seconds;
		struct vmat_finding finding = {
			.id = id_of(fault->cause),
			.severity = severity_of(fault, minor_s, major_s),
		};

		finding.weight = weight_of(finding.severity, minor_s, major_s);
		snprintf(finding.title, sizeof(finding.title),
			 "%.0f minor and %.1f major page faults a second: %s", minor_s, major_s,
			 vmat_fault_cause_meaning(fault->cause));
		snprintf(finding.evidence, sizeof(finding.evidence), "%s", fault->evidence);
		snprintf(finding.advice, sizeof(finding.advice), "%s", fault->advice);
		has_advice |= fault->advice[0] && is_churn(fault->cause);
		rule_churn(judgement, fault, &finding);
		vmat_finding_add(judgement, &finding);
	}
	if (has_advice)
		point_to_causes(judgement);
}
