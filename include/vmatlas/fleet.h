/* SPDX-License-Identifier: MIT */
/*
 * fleet.h: all processes of this machine over time, in a bounded number of groups.
 *
 * The nouns:
 *   group   processes that belong together: of one program, of one unit of systemd, or by a rule of the user
 *   rest    the group of all that had no room in another: "_other"
 *   scan    one look at all processes: two texts of /proc each, nothing of them is kept open
 *
 * A group that has no process any more is gone with the next scan, and the largest of the rest takes its place. Counters of a
 * group never go back: they add up what its processes did between two scans, and at the first what they did before.
 */
#ifndef VMATLAS_FLEET_H
#define VMATLAS_FLEET_H

#include <vmatlas/sample.h>

#ifdef __cplusplus
extern "C" {
#endif

/* By what processes are grouped that no rule names. */
enum vmat_group_by {
	VMAT_GROUP_BY_NAME, /* comm: what ps calls a command; needs no rights */
	VMAT_GROUP_BY_EXE, /* the last part of the path of the program; the name where that may not be read */
	VMAT_GROUP_BY_UNIT, /* the service or scope of systemd, from the control group; the name without one */
};

struct vmat_group_rule {
	const char *name; /* of the group */
	const char
		*pattern; /* POSIX extended; of the command line, its arguments apart by blanks */
};

struct vmat_fleet_options {
	size_t size; /* sizeof(struct vmat_fleet_options) */
	enum vmat_group_by by;
	const struct vmat_group_rule
		*rules; /* the first that fits counts; the caller's until the fleet is freed */
	size_t rules_count;
	size_t groups_max;         /* the rest not counted; 0: 30 */
	const char *const *detail; /* names of groups whose regions and heaps are read, too */
	size_t detail_count;
	uint64_t interval_ns; /* between two scans: what the series of groups are told */
};

enum { VMAT_FLEET_DETAILED_MAX = 64 /* processes in all whose regions and heaps are read */ };

/* Why a process was not counted in a scan. */
enum vmat_scan_error {
	VMAT_SCAN_NOT_PERMITTED,
	VMAT_SCAN_VANISHED,
	VMAT_SCAN_UNREADABLE,
	VMAT_SCAN_ERRORS
};

struct vmat_group {
	char name[64];
	bool is_rest;
	uint64_t processes;
	uint64_t oldest_start_wall_ns;       /* since 1970; of its oldest process */
	uint64_t faults_minor, faults_major; /* counters of the group: see above */
	/* Sums over its processes. Faults and CPU here are the processes' own, and go back when one ends. */
	uint64_t values[VMAT_METRIC_COUNT];
	/* Of its processes whose regions were read; unknown without detail. */
	uint64_t detailed;
	struct vmat_kind_sample kinds[VMAT_KIND_COUNT];
	struct vmat_keeper keeper; /* the sums over time */
};

struct vmat_fleet {
	struct vmat_group *groups; /* those with processes only; the rest, if any, is last */
	size_t groups_count;
	uint64_t processes;
	uint64_t scan_ns;                  /* how long the last scan took */
	uint64_t scan_wall_ns;             /* when it ended, since 1970 */
	uint64_t errors[VMAT_SCAN_ERRORS]; /* counters */
	struct vmat_fleet_priv *priv;
};

/* Errors: -ENOMEM; -EINVAL a pattern is none. Cost: nothing until the first scan. */
int vmat_fleet_new(struct vmat_fleet **ret, const struct vmat_fleet_options *options,
		   struct vmat_error *err);
struct vmat_fleet *vmat_fleet_free(struct vmat_fleet *fleet);

/*
 * Looks at all processes. 0, -ENOMEM, or what opening /proc says; then what was there is as it was.
 * Cost: 11 us a process, and what vmat_sampler_tick says for those in detail. No process is stopped, no lock of it is held.
 */
int vmat_fleet_scan(struct vmat_fleet *fleet);

#ifdef __cplusplus
}
#endif
#endif
