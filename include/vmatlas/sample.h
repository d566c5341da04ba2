/* SPDX-License-Identifier: MIT */
/*
 * sample.h: one process over time: what is measured at each tick, and what happened between two ticks.
 *
 * The nouns:
 *   metric  a number of a process that changes over time: its size, its resident memory, its faults
 *   sample  all metrics at one tick, and the sizes per kind of region where they were read at that tick
 *   event   what explains a jump: a thread began, a library was loaded, exec, the clock was set, the machine slept
 *   series  the samples and events of one process in the order of time: what is judged (analyze.h), recorded (store.h)
 *           and shown
 *
 *   tick    one sample, the owners of the regions where they were read, and the events since the sample before
 *
 * A series is plain data and may be made by hand. A sampler measures a living process, a keeper makes a series of it
 * whose memory is bounded.
 */
#ifndef VMATLAS_SAMPLE_H
#define VMATLAS_SAMPLE_H

#include <vmatlas/atlas.h>
#include <vmatlas/base.h>
#include <vmatlas/target.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmat_metric {
	VMAT_METRIC_SIZE, /* VmSize: ps's vsz */
	VMAT_METRIC_DATA, /* what ps calls size: what would need swap if all writable pages were written */
	VMAT_METRIC_RSS, /* resident */
	VMAT_METRIC_RSS_ANON,
	VMAT_METRIC_RSS_FILE,
	VMAT_METRIC_RSS_SHMEM,
	VMAT_METRIC_SWAP,
	VMAT_METRIC_PAGE_TABLES,
	VMAT_METRIC_REGIONS,      /* a count */
	VMAT_METRIC_THREADS,      /* a count */
	VMAT_METRIC_FAULTS_MINOR, /* a count since the process began */
	VMAT_METRIC_FAULTS_MAJOR, /* a count since the process began */
	VMAT_METRIC_CPU_NS,       /* user and system time since the process began */
	VMAT_METRIC_HEAP_SYSTEM, /* what the allocator holds from the kernel: by a heap walk, as the next three */
	VMAT_METRIC_HEAP_IN_USE,
	VMAT_METRIC_HEAP_FREE,
	VMAT_METRIC_HEAP_LARGEST_FREE,
	VMAT_METRIC_COUNT,
};

/* "size", "rss_anon", ...: as in JSON, CSV and recordings. Lifetime: static. */
const char *vmat_metric_name(enum vmat_metric metric);

/* All unknown (VMAT_NOT_ASKED) where regions were not read at this tick. */
struct vmat_kind_sample {
	uint64_t count, size, rss;
};

enum vmat_sample_mark {
	VMAT_SAMPLE_KINDS_PARTIAL = 1,    /* the map changed while it was read */
	VMAT_SAMPLE_HEAP_APPROXIMATE = 2, /* the heap was walked while the process ran */
	VMAT_SAMPLE_OWNERS = 4,           /* regions were read by owner, too, at this tick */
};

struct vmat_sample {
	uint64_t
		mono_ns; /* CLOCK_MONOTONIC: slopes are taken over it; it stands still while the machine sleeps */
	uint64_t boot_ns; /* CLOCK_BOOTTIME: runs on while the machine sleeps */
	uint64_t wall_ns; /* CLOCK_REALTIME, since 1970: for people; it may be set */
	uint64_t values[VMAT_METRIC_COUNT];
	struct vmat_kind_sample kinds[VMAT_KIND_COUNT];
	uint32_t marks; /* enum vmat_sample_mark */
};

/* Makes every fact of it unknown (VMAT_NOT_ASKED), and its times 0. */
void vmat_sample_init(struct vmat_sample *ret);

enum vmat_event_type {
	VMAT_EVENT_BEGUN, /* the sampler began to look at this process; `text`: what it may not read */
	VMAT_EVENT_EXITED,         /* `number`: its wait status, or unknown */
	VMAT_EVENT_EXEC,           /* another program runs under the same pid; `text`: its name */
	VMAT_EVENT_THREADS,        /* `number`: how many there are now */
	VMAT_EVENT_LIBRARY_LOADED, /* `text`: its path */
	VMAT_EVENT_LIBRARY_GONE,
	VMAT_EVENT_MAP_CHANGED, /* `number`: how many regions there are now */
	VMAT_EVENT_CLOCK_SET, /* `number`: by how many ns the wall clock jumped (two's complement) */
	VMAT_EVENT_SLEPT,     /* `number`: for how many ns the machine slept */
	VMAT_EVENT_TICKS_MISSED, /* `number`: how many; the sampler was late, or kept its budget */
	VMAT_EVENT_POSTPONED, /* `number`: every so many ns the regions are read now, to keep the budget */
	VMAT_EVENT_LOST, /* the process could not be read any more: `text` says why */
	VMAT_EVENT_TYPE_COUNT,
};

const char *vmat_event_name(enum vmat_event_type type);

struct vmat_event {
	uint64_t mono_ns, wall_ns;
	enum vmat_event_type type;
	uint64_t number;
	char text[256]; /* cut where it is longer */
};

/* The caller owns all of it. */
struct vmat_series {
	uint64_t pid;
	uint64_t start_ns; /* when the process began, CLOCK_BOOTTIME */
	char name[64];     /* comm */
	char command[256]; /* its command line, cut */
	uint64_t interval_ns;
	struct vmat_sample *samples; /* mono_ns ascends */
	size_t samples_count;
	struct vmat_event *events;
	size_t events_count;
};

/* How many owners of a tick have their own names; the smaller ones are one for each kind. */
#define VMAT_OWNERS_NAMED 64
#define VMAT_OWNERS_MAX   (VMAT_OWNERS_NAMED + VMAT_KIND_COUNT)
#define VMAT_OWNERS_REST  "(others)"

/*
 * The regions of one kind and one owner. Where no owner is known, and where a thread or malloc is what the kind says already,
 * there is none: it is what the kind has beyond its owners.
 */
struct vmat_owner_sample {
	enum vmat_kind kind;
	char name[272]; /* struct vmat_owner's owner, cut; VMAT_OWNERS_REST */
	uint64_t count, size, rss;
};

#define VMAT_TICK_EVENTS_MAX 32

struct vmat_tick {
	struct vmat_sample sample;
	struct vmat_owner_sample
		owners[VMAT_OWNERS_MAX]; /* if the sample is marked with VMAT_SAMPLE_OWNERS */
	size_t owners_count;
	struct vmat_event
		events[VMAT_TICK_EVENTS_MAX]; /* in the order of time, before the sample */
	size_t events_count;
	size_t events_dropped; /* there were more of them */
};

enum vmat_sampler_want {
	VMAT_SAMPLER_KINDS =
		1, /* regions by kind, when the cheap facts say that the map has changed */
	VMAT_SAMPLER_HEAP =
		2, /* walk the heap, without stopping the process; needs VMAT_SAMPLER_KINDS */
	VMAT_SAMPLER_OWNERS = 4, /* regions by owner whenever they are read by kind */
};

struct vmat_sampler_options {
	size_t size;          /* sizeof(struct vmat_sampler_options) */
	uint64_t interval_ns; /* between two ticks */
	double budget;        /* of one processor: 0.001; 0: no limit */
	uint32_t want;        /* enum vmat_sampler_want */
	uint64_t
		kinds_interval_ns; /* regions are not read more often; 0: at each tick that needs it */
	uint64_t heap_interval_ns; /* nor is the heap */
};

struct vmat_sampler;

/*
 * Opens the process that `spec` names (target.h) for measuring; its core or record has no time and is -EINVAL.
 * A process whose regions may not be read is measured by what everybody may see of it.
 * Errors: those of vmat_target_open. Needs: nothing; kinds and heap: the right to ptrace-read it.
 * Cost: 50 us, five descriptors until it is closed.
 */
int vmat_sampler_open(struct vmat_sampler **ret, const char *spec,
		      const struct vmat_sampler_options *options, struct vmat_error *err);
struct vmat_sampler *vmat_sampler_close(struct vmat_sampler *sampler);

/*
 * Measures now. 1: *ret holds a sample. 0: the process has ended; *ret holds the event that says so and no sample.
 * Errors: -ENOMEM, and what the kernel says when it refuses what it gave before; *ret holds the event VMAT_EVENT_LOST.
 * Cost: 6 us (the texts status and stat, from descriptors kept open); with regions, when they are read: vmat_atlas_read.
 * The process is never stopped.
 */
int vmat_sampler_tick(struct vmat_sampler *sampler, struct vmat_tick *ret);

/* When the next tick is due, CLOCK_MONOTONIC: an interval after the last one was, or later to keep the budget. */
uint64_t vmat_sampler_due_ns(const struct vmat_sampler *sampler);

/* A pidfd that poll(2) finds readable once the process has ended; -1 where the kernel has none. */
int vmat_sampler_fd(const struct vmat_sampler *sampler);

/* Adds CPU time that the caller spent because of this sampler, to be kept within its budget, too. */
void vmat_sampler_charge(struct vmat_sampler *sampler, uint64_t cpu_ns);

/* From now on another share of a processor (vmat_sampler_options.budget). */
void vmat_sampler_allow(struct vmat_sampler *sampler, double budget);

/* CPU time of all ticks so far, with what was charged. */
uint64_t vmat_sampler_cpu_ns(const struct vmat_sampler *sampler);

/* Fills pid, start, name, command and interval of a series; leaves its samples and events alone. */
void vmat_sampler_describe(const struct vmat_sampler *sampler, struct vmat_series *ret);

/* Why the regions cannot be read; "" when they can. Lifetime: until the next tick. */
const char *vmat_sampler_refusal(const struct vmat_sampler *sampler);

/* The clocks of a sample, read within a millisecond of each other. */
void vmat_sample_clocks(struct vmat_sample *ret);

/* This thread's CPU time and that of children that have ended: what a budget is kept with. */
uint64_t vmat_sample_own_cpu_ns(void);

/* Sleeps until a time of CLOCK_MONOTONIC, or until one of the descriptors is readable (1), or a signal came (-EINTR). */
int vmat_sample_wait(uint64_t until_ns, const int *fds, size_t count);

/*
 * One of very many processes, measured without keeping anything open between two ticks.
 */
struct vmat_glance {
	pid_t pid, ppid;
	uint64_t start_ns; /* CLOCK_BOOTTIME: with the pid, who it is */
	char state;
	char name[64]; /* comm */
};

/*
 * Measures the process of that number: size, data, rss, rss_anon, threads, faults and CPU time out of statm and stat; with
 * `has_status`, what status tells besides. The clocks are the caller's.
 * Errors: -ESRCH it is not there, is a zombie or a kernel thread; -EACCES, ...: /proc is hidden from us.
 * Cost: 6 us, 11 with status; no descriptor is kept.
 */
int vmat_sample_glance(struct vmat_sample *ret, struct vmat_glance *ret_who, pid_t pid,
		       bool has_status);

/* The pids of all processes, ascending. Frees with free(). */
int vmat_sample_pids(pid_t **ret, size_t *ret_count);

/*
 * A series that is being made, in bounded memory: when it is full, every second sample goes, and from then on every second
 * one is kept. One that knows its kinds is kept rather than its neighbour. So a series of any length has
 * between half of samples_max and samples_max samples, evenly over the whole time. The oldest events go, but the first.
 */
struct vmat_keeper {
	struct vmat_series series; /* the keeper owns its arrays */
	size_t samples_max, samples_capacity;
	size_t events_max, events_capacity;
	uint64_t stride; /* of so many samples one is kept */
	uint64_t seen;   /* samples since one was kept */
	uint64_t events_dropped;
};

void vmat_keeper_init(struct vmat_keeper *ret, size_t samples_max, size_t events_max);
void vmat_keeper_deinit(struct vmat_keeper *keeper);
/* Copies the events, and the sample unless `has_sample` is false. 0 or -ENOMEM. */
int vmat_keeper_add(struct vmat_keeper *keeper, const struct vmat_tick *tick, bool has_sample);

#ifdef __cplusplus
}
#endif
#endif
