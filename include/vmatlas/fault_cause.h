/* SPDX-License-Identifier: MIT */
/*
 * fault_cause.h: why a process has page faults, and what would take them away. Pure: a profile (fault.h) in, findings out.
 */
#ifndef VMATLAS_FAULT_CAUSE_H
#define VMATLAS_FAULT_CAUSE_H

#include <vmatlas/analyze.h>
#include <vmatlas/fault.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmat_fault_cause {
	VMAT_FAULT_FIRST_TOUCH, /* new memory is used for the first time */
	VMAT_FAULT_MMAP_CHURN, /* mappings come and go: blocks above malloc's threshold, or the program's own */
	VMAT_FAULT_TRIM_CHURN,   /* malloc gives the end of a heap back and takes it again */
	VMAT_FAULT_FORK_COPY,    /* pages are copied that a fork has shared */
	VMAT_FAULT_FILE_READ,    /* pages of mapped files are mapped in or read */
	VMAT_FAULT_STACK_GROWTH, /* stacks of new threads, or stacks that grow */
	VMAT_FAULT_HUGE_SPLIT,   /* huge pages are broken up and come back as small ones */
	VMAT_FAULT_DONTNEED,     /* pages are given back (MADV_DONTNEED) and used again */
	VMAT_FAULT_SWAP_IN,      /* pages come back from swap */
	VMAT_FAULT_UNKNOWN,      /* nothing seen tells */
	VMAT_FAULT_CAUSE_COUNT,
};

/* "first_touch", ... "unknown": as in JSON. Lifetime: static. */
const char *vmat_fault_cause_name(enum vmat_fault_cause cause);
/* What it is, in a clause. Lifetime: static. */
const char *vmat_fault_cause_meaning(enum vmat_fault_cause cause);

/* All faults of one cause. */
struct vmat_fault_finding {
	enum vmat_fault_cause cause;
	uint64_t minor;       /* an estimate; unknown without samples */
	uint64_t minor_error; /* what it may be off by; likewise */
	uint64_t major;       /* samples of all of them */
	double confidence;    /* 0 to 1, in the cause */
	size_t place;         /* the one with most of them; places_count of the profile: none */
	size_t places_count;
	char evidence[640];
	char advice
		[640]; /* what to change, what it changes, what it costs; "" when there is none */
	char setting[160]; /* the advice as a variable of the environment; "" when it is none */
};

struct vmat_fault_findings {
	struct vmat_fault_finding findings[VMAT_FAULT_CAUSE_COUNT]; /* the most faults first */
	size_t count;
};

/* Never fails; without samples the cause is unknown. */
void vmat_fault_judge(struct vmat_fault_findings *ret, const struct vmat_fault_profile *profile);

/* Adds each cause as a finding "faults.trim_churn" and so on: bad are many faults that can be cured, or major ones. */
void vmat_fault_findings_add(struct vmat_judgement *judgement,
			     const struct vmat_fault_profile *profile);

/* The cause of the faults of one place. */
enum vmat_fault_cause vmat_fault_place_cause(const struct vmat_fault_profile *profile,
					     const struct vmat_fault_place *place,
					     double *ret_confidence);

#ifdef __cplusplus
}
#endif
#endif
