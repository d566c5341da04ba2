/* SPDX-License-Identifier: MIT */
/*
 * prim_track_uffd.c: trackers by userfaultfd write-protection.
 *
 * ASYNC: the kernel takes the mark off a page that is written, and PAGEMAP_SCAN finds the pages without mark and
 * marks them again while it holds the page table's lock (Linux 6.7, commit 52526ca7fdb9), so that it needs no table.
 *
 * SYNC: a thread reads a message for each first write, lets it through and sets the page's bit. A page that was
 * dropped has lost its mark, and before WP_UNPOPULATED (Linux 6.4) an empty page never had one: each pass begins with
 * a look at pagemap for pages that are there without a mark, which then count as written.
 *
 * The descriptor may live on in a child of fork, so the range is unregistered by name when the tracker is closed.
 */
#include <errno.h>
#include <fcntl.h>

#include <vmatlas/feature.h>

#include "prim/prim_track_priv.h"
#include "sys/pagemap.h"
#include "sys/sys_event.h"
#include "sys/sys_file.h"
#include "sys/sys_signal.h"
#include "sys/sys_uffd.h"

enum { MESSAGES = 64, ENTRIES = 512 };

static void close_all(struct vmat_track *track)
{
	vmat_sys_close(track->uffd);
	vmat_sys_close(track->pagemap);
	vmat_sys_close(track->stop);
}

/* The size of the first page, huge or not: protects with ever greater steps until the kernel takes one. */
static int find_page_size(struct vmat_track *track)
{
	size_t size = (size_t)(track->end - track->start), page_size = track->page_size;
	int err = -EINVAL;

	for (; (size | (uintptr_t)track->start) % page_size == 0; page_size *= 2) {
		err = vmat_sys_uffd_protect(track->uffd, track->start, page_size, true);
		if (err != -EINVAL)
			break;
	}
	if (err)
		return err;
	track->is_huge = page_size != track->page_size;
	track->page_size = page_size;
	track->pages = size / page_size;
	return vmat_sys_uffd_protect(track->uffd, track->start, size, true);
}

static void forget(struct vmat_track *track)
{
	vmat_sys_uffd_unregister(track->uffd, track->start, (size_t)(track->end - track->start));
}

/* Opens the descriptors, registers the range and protects it. On failure the descriptors are still to be closed. */
static int begin(struct vmat_track *track, uint64_t features)
{
	size_t size = (size_t)(track->end - track->start);
	int err;

	track->pagemap = vmat_sys_open_at(AT_FDCWD, "/proc/self/pagemap", 0);
	if (track->pagemap < 0)
		return track->pagemap;
	track->uffd = vmat_sys_uffd_open(features, &track->sees_system_calls);
	if (track->uffd < 0)
		return track->uffd;
	err = vmat_sys_uffd_register(track->uffd, track->start, size, UFFDIO_REGISTER_MODE_WP);
	/* A mapping that it does not take is for another way. */
	if (err)
		return err == -EINVAL ? -EOPNOTSUPP : err;
	err = find_page_size(track);
	if (err)
		forget(track);
	return err;
}

static int async_open(struct vmat_track *track)
{
	int err;

	if (!vmat_feature_has(VMAT_FEATURE_UFFD_WP_ASYNC))
		return -EOPNOTSUPP;
	err = begin(track, VMAT_UAPI_UFFD_WP_ASYNC | VMAT_UAPI_UFFD_WP_UNPOPULATED |
				   UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
				   UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	if (err) {
		close_all(track);
		return err;
	}
	/* Nobody waits for a fault, so that the kernel's own are as good as the program's. */
	track->sees_system_calls = true;
	return 0;
}

static void async_close(struct vmat_track *track, bool is_child)
{
	if (!is_child)
		forget(track);
	close_all(track);
}

static ssize_t async_collect(struct vmat_track *track, struct vmat_range *runs, size_t count)
{
	size_t have = 0;

	while (have < count && track->cursor < track->end) {
		size_t room =
			count - have < VMAT_TRACK_SCAN_RUNS ? count - have : VMAT_TRACK_SCAN_RUNS;
		int found =
			vmat_sys_pagemap_take_written(track->pagemap, (uintptr_t)track->cursor,
						      (uintptr_t)track->end, track->scanned, room);

		if (found < 0) {
			track->cursor = track->start;
			return found == -EPERM ? -ESTALE : found;
		}
		for (int i = 0; i < found; i++)
			have = vmat_track_add_run(runs, have, (char *)track->scanned[i].start,
						  (char *)track->scanned[i].end);
		track->cursor =
			(size_t)found < room ? track->end : (char *)track->scanned[found - 1].end;
	}
	if (have < count)
		track->cursor = track->start;
	return (ssize_t)have;
}

/* Lets all writes to the range through, and counts all pages as written. */
static int let_all_through(struct vmat_track *track)
{
	int err = vmat_sys_uffd_protect(track->uffd, track->start,
					(size_t)(track->end - track->start), false);

	if (err)
		return err;
	vmat_track_bits_set(track, 0, track->pages);
	atomic_fetch_add_explicit(&track->overflows, 1, memory_order_relaxed);
	return 0;
}

static void handle(struct vmat_track *track, const struct uffd_msg *message)
{
	size_t offset = (size_t)(message->arg.pagefault.address - (uintptr_t)track->start);
	size_t page = offset / track->page_size;
	char *start = track->start + page * track->page_size;
	int err;

	if (message->event != UFFD_EVENT_PAGEFAULT || page >= track->pages)
		return;
	vmat_track_lock(track);
	err = vmat_sys_uffd_protect(track->uffd, start, track->page_size, false);
	if (!err)
		vmat_track_bits_set(track, page, 1);
	else
		err = let_all_through(track);
	vmat_track_unlock(track);
	/* What cannot be let through, for the page went away meanwhile, tries again and gets the kernel's answer. */
	if (err)
		vmat_sys_uffd_wake(track->uffd, start, track->page_size);
}

static void *work(void *context)
{
	struct vmat_track *track = context;
	struct pollfd waiting[] = { { .fd = track->uffd, .events = POLLIN },
				    { .fd = track->stop, .events = POLLIN } };
	struct uffd_msg messages[MESSAGES];

	for (;;) {
		ssize_t got = vmat_sys_uffd_read(track->uffd, messages, MESSAGES);

		for (ssize_t i = 0; i < got; i++)
			handle(track, &messages[i]);
		if (got > 0)
			continue;
		/* While there is a range to serve, the thread does not end: its writers would wait for ever. */
		if (vmat_sys_poll(waiting, 2, -1) < 0)
			vmat_sys_yield();
		else if (waiting[1].revents)
			return NULL;
	}
}

/* A thread that no signal of the program runs on. */
static int start_thread(struct vmat_track *track)
{
	sigset_t mask;
	int err;

	vmat_sys_signals_block(&mask);
	err = pthread_create(&track->thread, NULL, work, track);
	vmat_sys_signals_set(&mask);
	return -err;
}

static int sync_open(struct vmat_track *track)
{
	uint64_t features = UFFD_FEATURE_PAGEFAULT_FLAG_WP;
	int err;

	if (!vmat_feature_has(VMAT_FEATURE_UFFD_WP))
		return -EOPNOTSUPP;
	if (vmat_feature_has(VMAT_FEATURE_UFFD_WP_EMPTY))
		features |= VMAT_UAPI_UFFD_WP_UNPOPULATED | UFFD_FEATURE_WP_HUGETLBFS_SHMEM;
	track->stop = vmat_sys_event_open();
	if (track->stop < 0)
		return track->stop;
	/* Who writes before the thread is up waits for it, or is woken when it does not come. */
	err = begin(track, features);
	if (!err) {
		err = start_thread(track);
		if (err)
			forget(track);
	}
	if (err)
		close_all(track);
	return err;
}

static void sync_close(struct vmat_track *track, bool is_child)
{
	if (!is_child) {
		/* Wakes those who wait, and nobody comes after them. */
		forget(track);
		vmat_sys_event_signal(track->stop);
		pthread_join(track->thread, NULL);
	}
	close_all(track);
}

static int sync_arm(struct vmat_track *track, size_t page, size_t count)
{
	return vmat_sys_uffd_protect(track->uffd, track->start + page * track->page_size,
				     count * track->page_size, true);
}

/* Sets the bits of pages that came without a message. Only for small pages: huge ones keep their marks. */
static int find_unmarked(struct vmat_track *track)
{
	uint64_t entries[ENTRIES], first = (uintptr_t)track->start / track->page_size;
	sigset_t mask;

	for (size_t page = 0; page < track->pages;) {
		size_t wanted = track->pages - page < ENTRIES ? track->pages - page : ENTRIES;
		ssize_t got = vmat_sys_pagemap_read(track->pagemap, first + page, entries, wanted);

		if (got <= 0)
			return got < 0 ? (int)got : -EIO;
		vmat_sys_signals_block(&mask);
		vmat_track_lock(track);
		for (ssize_t i = 0; i < got; i++, page++)
			if ((entries[i] & (VMAT_PM_PRESENT | VMAT_PM_SWAP)) &&
			    !(entries[i] & (VMAT_PM_UFFD_WP | VMAT_PM_GUARD)))
				vmat_track_bits_set(track, page, 1);
		vmat_track_unlock(track);
		vmat_sys_signals_set(&mask);
	}
	return 0;
}

static ssize_t sync_collect(struct vmat_track *track, struct vmat_range *runs, size_t count)
{
	int err = 0;

	if (track->cursor == track->start && !track->is_huge)
		err = find_unmarked(track);
	if (err)
		return err;
	return vmat_track_table_collect(track, runs, count);
}

const struct vmat_track_ops vmat_track_async_ops = {
	.name = "uffd_async",
	.misses = "A mapping put into the range later is not tracked; the next answer says so.",
	.backend = VMAT_TRACK_UFFD_ASYNC,
	.open = async_open,
	.close = async_close,
	.collect = async_collect,
};

const struct vmat_track_ops vmat_track_sync_ops = {
	.name = "uffd_sync",
	.misses =
		"A mapping put into the range later is not tracked. Without the right to see faults of system calls, "
		"a system call that writes first to a page fails with EFAULT.",
	.backend = VMAT_TRACK_UFFD_SYNC,
	.has_table = true,
	.open = sync_open,
	.close = sync_close,
	.arm = sync_arm,
	.collect = sync_collect,
};
