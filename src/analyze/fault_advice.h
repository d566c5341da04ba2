/* SPDX-License-Identifier: MIT */
/*
 * fault_advice.h: what takes the faults of a cause away, what that changes, and what it costs.
 */
#ifndef VMAT_FAULT_ADVICE_H
#define VMAT_FAULT_ADVICE_H

#include <vmatlas/fault_cause.h>

/* Fills advice and setting of a finding, whose place is one of the profile's. */
void vmat_fault_advise(struct vmat_fault_finding *finding,
		       const struct vmat_fault_profile *profile);

#endif
