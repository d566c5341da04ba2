/* SPDX-License-Identifier: MIT */
/*
 * prim_track_soft.c: trackers by the kernel's soft-dirty bits (CONFIG_MEM_SOFT_DIRTY).
 *
 * The bits can only be cleared for the whole process, and not in the step that reads them: what is written between the two
 * is lost, so that the caller must have asked for this way or promised that nothing writes meanwhile. Before the bits
 * are cleared, those of every tracker of this way go to its table. Some kernels accept the clearing
 * and never set a bit: the feature is probed by a write.
 *
 * A huge page has one bit, and one that khugepaged makes of small ones is born with it (pmd_mkdirty sets both).
 */
#include <errno.h>
#include <fcntl.h>

#include <vmatlas/feature.h>

#include "prim/prim_track_priv.h"
#include "sys/pagemap.h"
#include "sys/sys_event.h"
#include "sys/sys_file.h"

enum { ENTRIES = 512 };

/* The trackers of this way in this process. */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vmat_track *all;

/* Sets the bits of the table for the pages that have the kernel's bit. */
static int read_bits(struct vmat_track *track)
{
	uint64_t entries[ENTRIES], first = (uintptr_t)track->start / track->page_size;

	for (size_t page = 0; page < track->pages;) {
		size_t wanted = track->pages - page < ENTRIES ? track->pages - page : ENTRIES;
		ssize_t got = vmat_sys_pagemap_read(track->pagemap, first + page, entries, wanted);

		if (got <= 0)
			return got < 0 ? (int)got : -EIO;
		for (ssize_t i = 0; i < got; i++, page++)
			if (entries[i] & VMAT_PM_SOFT_DIRTY)
				vmat_track_bits_set(track, page, 1);
	}
	return 0;
}

/* Every tracker takes its bits, then all are cleared. Under the lock. */
static int take_bits(void)
{
	int err = 0;

	for (struct vmat_track *track = all; track && !err; track = track->next_soft)
		err = read_bits(track);
	return err ? err : vmat_sys_soft_dirty_clear();
}

static int soft_open(struct vmat_track *track)
{
	int err;

	if (!vmat_feature_has(VMAT_FEATURE_SOFT_DIRTY))
		return -EOPNOTSUPP;
	track->pagemap = vmat_sys_open_at(AT_FDCWD, "/proc/self/pagemap", 0);
	if (track->pagemap < 0)
		return track->pagemap;
	pthread_mutex_lock(&all_lock);
	err = take_bits();
	if (!err) {
		track->next_soft = all;
		all = track;
	}
	pthread_mutex_unlock(&all_lock);
	if (err)
		vmat_sys_close(track->pagemap);
	track->sees_system_calls = true;
	return err;
}

static void soft_close(struct vmat_track *track, bool is_child)
{
	/* The child of a fork has its own copy of the list; another thread may have held its lock. */
	if (!is_child)
		pthread_mutex_lock(&all_lock);
	for (struct vmat_track **link = &all; *link; link = &(*link)->next_soft) {
		if (*link == track) {
			*link = track->next_soft;
			break;
		}
	}
	if (!is_child)
		pthread_mutex_unlock(&all_lock);
	vmat_sys_close(track->pagemap);
}

static int nothing(struct vmat_track *track, size_t page, size_t count)
{
	(void)track;
	(void)page;
	(void)count;
	return 0;
}

static ssize_t soft_collect(struct vmat_track *track, struct vmat_range *runs, size_t count)
{
	int err = 0;

	/* The rest of a pass is in the table. */
	if (track->cursor == track->start) {
		pthread_mutex_lock(&all_lock);
		err = take_bits();
		pthread_mutex_unlock(&all_lock);
	}
	return err ? err : vmat_track_table_collect(track, runs, count);
}

const struct vmat_track_ops vmat_track_soft_ops = {
	.name = "soft_dirty",
	.misses =
		"A write while an answer is made may be lost. Transparent huge pages are reported whole. The bits "
		"are cleared for the whole process: who else uses them loses writes.",
	.backend = VMAT_TRACK_SOFT_DIRTY,
	.open = soft_open,
	.close = soft_close,
	.arm = nothing,
	.collect = soft_collect,
};
