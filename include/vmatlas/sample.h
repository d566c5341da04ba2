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
 * A series is plain data and may be made by hand. A sampler fills one from a living process.
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

struct vmat_sample {
	uint64_t
		mono_ns; /* CLOCK_MONOTONIC: slopes are taken over it; it stands still while the machine sleeps */
	uint64_t boot_ns; /* CLOCK_BOOTTIME: runs on while the machine sleeps */
	uint64_t wall_ns; /* CLOCK_REALTIME, since 1970: for people; it may be set */
	uint64_t values[VMAT_METRIC_COUNT];
	struct vmat_kind_sample kinds[VMAT_KIND_COUNT];
};

enum vmat_event_type {
	VMAT_EVENT_BEGUN,          /* the sampler began to look at this process */
	VMAT_EVENT_EXITED,         /* `number`: its wait status, or unknown */
	VMAT_EVENT_EXEC,           /* another program runs under the same pid */
	VMAT_EVENT_THREADS,        /* `number`: how many there are now */
	VMAT_EVENT_LIBRARY_LOADED, /* `text`: its path */
	VMAT_EVENT_LIBRARY_GONE,
	VMAT_EVENT_MAP_CHANGED, /* `number`: how many regions there are now */
	VMAT_EVENT_CLOCK_SET, /* `number`: by how many ns the wall clock jumped (two's complement) */
	VMAT_EVENT_SLEPT,     /* `number`: for how many ns the machine slept */
	VMAT_EVENT_TICKS_MISSED, /* `number`: how many; the sampler was late, or kept its budget */
	VMAT_EVENT_LOST,         /* the process could not be read any more: `text` says why */
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

#ifdef __cplusplus
}
#endif
#endif
