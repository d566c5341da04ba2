/* SPDX-License-Identifier: MIT */
/*
 * prim_track_priv.h: what the ways to track writes share. prim_track.c checks ranges and chooses; each way is a
 * table of functions in a file of its own; prim_track_table.c keeps a bit for each page for those ways that
 * hear of each first write themselves.
 *
 * Nothing of a tracker lies in memory from malloc: a tracked range may hold malloc's heap, and a handler that
 * wrote there would wait for itself.
 */
#ifndef VMAT_PRIM_TRACK_PRIV_H
#define VMAT_PRIM_TRACK_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include <vmatlas/prim/track.h>

#include "sys/uapi_new.h"

/* More regions than 512 at once make PAGEMAP_SCAN's answers hard to resume (see sys/pagemap.h). */
enum { VMAT_TRACK_SCAN_RUNS = 512 };

struct vmat_track_node; /* of MPROTECT */

struct vmat_track {
	const struct vmat_track_ops *ops;
	char *start;
	char *end;
	size_t page_size;
	pid_t pid;    /* who opened it */
	char *cursor; /* where the next answer begins */
	size_t mapped_size;
	bool sees_system_calls;
	bool is_huge; /* hugetlb */

	/* UFFD_*, SOFT_DIRTY */
	int uffd;    /* or -1 */
	int pagemap; /* or -1 */
	int stop;    /* an eventfd that ends the thread, or -1 */
	pthread_t thread;
	struct vmat_uapi_page_region scanned[VMAT_TRACK_SCAN_RUNS];

	struct vmat_track *next_soft; /* SOFT_DIRTY */

	/* MPROTECT */
	struct vmat_track_node *node;
	int prot;
	size_t granule_pages;
	size_t first_granule_pages;
	long islands; /* separate dirty places, as counted; under the table's lock */
	_Atomic uint64_t overflows;

	/* The table: one bit for each page that was written. */
	_Atomic pid_t locked_by; /* 0: nobody; the process, so that a fork leaves no lock behind */
	size_t pages;
	uint64_t bits[];
};

struct vmat_track_ops {
	const char *name;
	const char *misses;
	enum vmat_track_backend backend;
	bool has_table;
	bool arms_spans; /* armed pages cost nothing to arm again, so that many runs are armed at once */
	/* Begins; on failure it holds nothing. -EOPNOTSUPP, -EPERM and -EACCES: another way may do. */
	int (*open)(struct vmat_track *track);
	void (*close)(struct vmat_track *track, bool is_child);
	int (*arm)(struct vmat_track *track, size_t page, size_t count); /* with a table only */
	ssize_t (*collect)(struct vmat_track *track, struct vmat_range *runs, size_t count);
};

extern const struct vmat_track_ops vmat_track_async_ops, vmat_track_sync_ops,
	vmat_track_mprotect_ops, vmat_track_soft_ops;

/* Adds a run; one that begins where the last one ends prolongs it. How many there are then. */
size_t vmat_track_add_run(struct vmat_range *runs, size_t have, char *start, char *end);

/*
 * The table's lock is held by handlers that run inside of any code: whoever takes it must have all signals blocked, and
 * must not touch the tracked range.
 */
void vmat_track_lock(struct vmat_track *track);
void vmat_track_unlock(struct vmat_track *track);

bool vmat_track_bit(const struct vmat_track *track, size_t page);
void vmat_track_bits_set(struct vmat_track *track, size_t page, size_t count);

/* How many separate runs of set bits there are. Under the lock. Cost: a few ns for 64 pages. */
size_t vmat_track_bits_runs(const struct vmat_track *track);

/*
 * collect() over the table: clears the bits of a run and arms it, under the lock. Where that fails, the bits
 * stay, so that the pages are reported again rather than lost.
 */
ssize_t vmat_track_table_collect(struct vmat_track *track, struct vmat_range *runs, size_t count);

#endif
