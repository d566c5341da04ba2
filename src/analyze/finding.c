/* SPDX-License-Identifier: MIT */
/*
 * The list of findings of a judgement, sorted by weight.
 */
#include <math.h>
#include <string.h>

#include <vmatlas/analyze.h>

void vmat_finding_add(struct vmat_judgement *judgement, const struct vmat_finding *finding)
{
	struct vmat_finding *findings = judgement->findings;
	size_t at = judgement->findings_count;
	double weight = isnan(finding->weight) ? 0 : finding->weight;

	if (at == VMAT_FINDINGS_MAX) {
		at--;
		if (findings[at].weight >= weight)
			return;
	} else {
		judgement->findings_count++;
	}
	for (; at && findings[at - 1].weight < weight; at--)
		findings[at] = findings[at - 1];
	findings[at] = *finding;
	findings[at].weight = weight;
}

bool vmat_judgement_is_bad(const struct vmat_judgement *judgement)
{
	for (size_t i = 0; i < judgement->findings_count; i++)
		if (judgement->findings[i].severity == VMAT_SEVERITY_BAD)
			return true;
	return false;
}
