/* SPDX-License-Identifier: MIT */
/*
 * fault.h: the page faults of a process over some time: how many, where, by which code, and what was seen of the places.
 *
 * The nouns, and how they contain each other:
 *   profile  what was seen in one span of time; plain data, may be made by hand; fault_cause.h judges it
 *   tick     the exact counts of the kernel in one interval of it
 *   place    a range of addresses that had faults: a region, or what lay there for a moment
 *   site     an instruction that faulted
 *   look     one reading of the map while the profile is taken: places are compared with it
 *
 * Counts come from /proc/PID/stat and are exact. Places and sites come from samples (one of `every` minor faults, every
 * major one), so their shares are estimates.
 */
#ifndef VMATLAS_FAULT_H
#define VMATLAS_FAULT_H

#include <vmatlas/atlas.h>
#include <vmatlas/heap.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of a place that are in some state, over all looks. All 0 before the first one. */
struct vmat_fault_range {
	uint64_t first, last, min, max;
};

struct vmat_fault_place {
	uint64_t start, end; /* the widest that it was seen */
	enum vmat_kind kind;
	enum vmat_backing backing;
	bool is_private;       /* MAP_PRIVATE */
	bool was_seen;         /* false: no look found anything there, so its kind is not known */
	bool was_read;         /* false: no look could read whose it is: ANON says nothing then */
	char owner[128];       /* as in the atlas; "" when there is none */
	uint64_t minor, major; /* samples */
	uint64_t pages;        /* different pages among the samples */
	uint64_t looks;        /* since its first sample */
	uint64_t changes;      /* looks that found other bounds than the look before */
	struct vmat_fault_range mapped, present, huge, shared, swapped;
	/* Of pages with recent samples, at each look: */
	uint64_t probes;
	uint64_t probes_unmapped; /* nothing lay at the address */
	uint64_t probes_absent;   /* mapped, and the page was not there */
	uint64_t probes_copied;   /* a private copy of a file's page */
};

struct vmat_fault_site {
	uint64_t addr;
	bool is_kernel;        /* a system call touched the page */
	uint64_t minor, major; /* samples */
	uint64_t last_addr;    /* of the fault that came last */
	char name[320];        /* symbol and file, as in explain; "" when not looked up */
};

struct vmat_fault_tick {
	uint64_t end_ns; /* since the beginning */
	uint64_t minor, major;
};

struct vmat_fault_profile {
	uint64_t pid;
	uint64_t span_ns;
	uint64_t minor, major; /* exact; of threads that ended, too */
	uint64_t every;        /* one of so many minor faults was sampled, on average; 0: none */
	uint64_t samples_minor, samples_major;
	uint64_t lost;            /* samples that found no room */
	uint64_t throttled;       /* times that the kernel stopped sampling for a moment */
	bool has_kernel;          /* faults of system calls were sampled, too */
	char why_no_samples[400]; /* what, why and the smallest fix; "" when there are samples */
	uint64_t threads_begun, threads_ended, forks; /* unknown without samples */
	uint64_t threads;                             /* at the end */
	bool has_ended, has_executed;                 /* the target, before its time was over */
	bool is_forked; /* it was forked and has not executed a program: its parent runs the same file */
	uint64_t page_size; /* of the base pages */
	uint64_t looks;
	struct vmat_heap_settings heap;

	struct vmat_fault_place *places; /* those with most samples first */
	size_t places_count;
	struct vmat_fault_site *sites; /* likewise */
	size_t sites_count;
	struct vmat_fault_tick *ticks;
	size_t ticks_count;

	bool is_partial;
	char partial_why[508];
};

enum { VMAT_FAULT_EVERY = 17, VMAT_FAULT_SITES_NAMED = 32, VMAT_FAULT_TICKS_MAX = 100000 };

struct vmat_fault_options {
	size_t size;
	uint64_t for_ns;      /* 0: 10 s */
	uint64_t interval_ns; /* of the ticks; 0: 1 s */
	uint64_t
		every; /* 0: VMAT_FAULT_EVERY on average, by primes in turn, as a loop with 17 faults would always show the same one */
	bool without_samples; /* the counts alone */
	/* Called at each tick; may be NULL. */
	void (*progress)(const struct vmat_fault_profile *profile, void *context);
	void *progress_context;
	/* Asked about 40 times a second: true ends the profile, which is then of the time so far. May be NULL. */
	bool (*is_enough)(void);
};

/*
 * Watches the faults of the target for some time. A target that ends or executes another program meanwhile is no error: the
 * profile ends there and says so. Samples that are not permitted are none: why_no_samples.
 *
 * Errors: -ESRCH it had ended before; -EOPNOTSUPP a record or a core; -ENOMEM.
 * Needs: nothing for the counts; for the rest ptrace access, and for samples kernel.perf_event_paranoid <= 2 or CAP_PERFMON.
 * Cost: nothing is stopped. A sampled fault costs the target about a third more, the other ones nothing that could be
 * measured; ours: an atlas at each look, which are kept below 5 % of the time, and 1/2 MiB of locked memory a processor.
 */
int vmat_fault_profile_read(struct vmat_fault_profile **ret, struct vmat_target *target,
			    const struct vmat_fault_options *options, struct vmat_error *err);

/* Accepts NULL; returns NULL. */
struct vmat_fault_profile *vmat_fault_profile_free(struct vmat_fault_profile *profile);

/* The place that holds addr; NULL: none. */
const struct vmat_fault_place *vmat_fault_place_at(const struct vmat_fault_profile *profile,
						   uint64_t addr);

/*
 * Minor faults that were counted and that no sample stands for: the kernel's own (MAP_POPULATE), those of system calls where
 * they are not sampled, those of threads that ended before their first sample was due. 0 where samples were lost: then it is
 * not known which; and without samples.
 */
uint64_t vmat_fault_unseen(const struct vmat_fault_profile *profile);

/*
 * Faults that `samples` minor ones stand for: their share of the exact count, less what was not seen. Unknown without
 * samples. `*ret_error`: what it may be off by, at a confidence of 95 % (a share of n samples of independent faults); NULL:
 * not asked.
 */
uint64_t vmat_fault_estimate(const struct vmat_fault_profile *profile, uint64_t samples,
			     uint64_t *ret_error);

#ifdef __cplusplus
}
#endif
#endif
