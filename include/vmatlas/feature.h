/* SPDX-License-Identifier: MIT */
/*
 * feature.h: the one table of kernel features and rights that vmatlas makes use of.
 *
 * A feature is probed by its behaviour, once per process and only when it is first asked for: some
 * kernels accept a call and do nothing. VMAT_WITHOUT=name,name,... in the environment turns
 * features off by name ("all" turns all of them off); that is how each fallback is tested.
 */
#ifndef VMATLAS_FEATURE_H
#define VMATLAS_FEATURE_H

#include <vmatlas/base.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmat_feature {
	VMAT_FEATURE_PAGEMAP_SCAN,     /* ioctl PAGEMAP_SCAN, Linux 6.7 */
	VMAT_FEATURE_PAGE_GUARD,       /* guard pages told apart: PAGE_IS_GUARD, Linux 6.15 */
	VMAT_FEATURE_PROCMAP_QUERY,    /* ioctl PROCMAP_QUERY, Linux 6.11 */
	VMAT_FEATURE_PAGEMAP,          /* /proc/PID/pagemap can be read */
	VMAT_FEATURE_PAGE_FRAMES,      /* frame numbers in pagemap: CAP_SYS_ADMIN */
	VMAT_FEATURE_KPAGEFLAGS,       /* /proc/kpageflags and kpagecount */
	VMAT_FEATURE_PROCESS_VM_READV, /* process_vm_readv */
	VMAT_FEATURE_PIDFD,            /* pidfd_open, Linux 5.3 */
	VMAT_FEATURE_TASK_SYSCALL,     /* /proc/PID/task/TID/syscall: stack pointers */
	VMAT_FEATURE_SMAPS_ROLLUP,     /* /proc/PID/smaps_rollup, Linux 4.14 */
	VMAT_FEATURE_SOFT_DIRTY,       /* soft-dirty bits that work */
	VMAT_FEATURE_MADV_GUARD,       /* madvise MADV_GUARD_INSTALL, Linux 6.13 */
	VMAT_FEATURE_MADV_POPULATE,    /* madvise MADV_POPULATE_WRITE, Linux 5.14 */
	VMAT_FEATURE_PERF_FAULTS,      /* perf_event_open of page faults, with addresses */
	VMAT_FEATURE_ANON_NAMES,       /* prctl PR_SET_VMA_ANON_NAME, Linux 5.17 */
	VMAT_FEATURE_SECCOMP,          /* system call filters for a process of ours */
	VMAT_FEATURE_UFFD_WP,          /* userfaultfd write-protection, Linux 5.7 */
	VMAT_FEATURE_UFFD_WP_EMPTY,    /* the same for pages that are not there yet, Linux 6.4 */
	VMAT_FEATURE_UFFD_WP_ASYNC,    /* the same without a handler, and PAGEMAP_SCAN, Linux 6.7 */
	VMAT_FEATURE_PROCESS_MADVISE,  /* process_madvise MADV_DONTNEED on own memory, Linux 6.13 */
	VMAT_FEATURE_COUNT,
};

enum vmat_feature_state {
	VMAT_FEATURE_YES,
	VMAT_FEATURE_NO,            /* the kernel does not have it, or it does nothing */
	VMAT_FEATURE_NOT_PERMITTED, /* there, but not for this caller */
	VMAT_FEATURE_FORCED_OFF,    /* named in VMAT_WITHOUT */
};

struct vmat_feature_info {
	const char *name;     /* as in VMAT_WITHOUT */
	const char *sentence; /* what it is */
	const char *lost;     /* what is lost without it, and what is done instead */
	const char *since;    /* the kernel version that has it, for people to read */
	const char *needs;    /* the right or setting that it needs, or "" */
};

/* Lifetime: static. NULL for a number that is no feature. */
const struct vmat_feature_info *vmat_feature_info(enum vmat_feature feature);

/*
 * Probes on the first call and remembers.
 * Cost: microseconds on the first call per feature, then a load. Thread-safe.
 */
enum vmat_feature_state vmat_feature_state(enum vmat_feature feature);

static inline bool vmat_feature_has(enum vmat_feature feature)
{
	return vmat_feature_state(feature) == VMAT_FEATURE_YES;
}

/* One sentence on how the state was found out, for `vmatlas doctor`. Lifetime: static. */
const char *vmat_feature_evidence(enum vmat_feature feature);

/* The first name in VMAT_WITHOUT that is no feature, copied into `name`; false if there is none. */
bool vmat_feature_unknown_name(char *name, size_t name_size);

#ifdef __cplusplus
}
#endif
#endif
