/* SPDX-License-Identifier: MIT */
/*
 * prim_snapshot_protect.c: snapshots by userfaultfd write-protection, for memory that a child would share, too.
 *
 * The moment. All ranges are protected before the first fault is handled, so that a thread whose write came too late waits until
 * the last range is protected: a write that is in the image has all that came before it in the image.
 *
 * A thread copies the memory piece by piece, in order, and lets writes to a piece through as soon as it has the copy. A page that
 * is written before its turn is saved first: into the stash while there is room, else, when every sink is a file, to its place in
 * them. Else the write waits for its turn. So memory is bounded, and a slow reader slows writers down.
 *
 * Empty pages must be protected as well, which takes WP_UNPOPULATED (Linux 6.4). The kernel reads the pages for the copy, so that
 * memory that is gone (a file cut short) is an error and no signal.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmatlas/feature.h>

#include "prim/prim_snapshot_priv.h"
#include "sys/sys_child.h"
#include "sys/sys_event.h"
#include "sys/sys_file.h"
#include "sys/sys_memory.h"
#include "sys/sys_signal.h"
#include "sys/sys_uffd.h"

enum {
	PIECE_PAGES = 16,
	MESSAGES = 16,
	SAFE_WRITE = 4096 /* PIPE_BUF: what a pipe that polls writable takes */
};

/* Where a page is that was saved before its turn. */
enum { NOWHERE, IN_SINKS, IN_STASH /* + the slot */ };

struct copier {
	struct vmat_snapshot *snapshot;
	size_t mapped_size, page_size;
	int uffd, stop;
	int memory; /* /proc/self/mem */
	pthread_t thread;
	_Atomic bool is_cancelled;
	bool has_files_only;
	off_t offsets[VMAT_SNAPSHOT_SINKS_MAX]; /* where the image begins in a file; -1: no file */
	size_t registered;                      /* ranges */
	size_t next; /* the first page of the image whose turn has not come */
	size_t slots_used, slots_count;
	uint32_t
		free_slot; /* as `where` tells it; NOWHERE: none. A free slot begins with the next one */
	size_t pages;
	char *piece;     /* PIECE_PAGES pages */
	char *stash;     /* slots_count pages */
	uint32_t *where; /* of each page of the image */
};

static int protect(struct copier *copier, char *start, size_t size, bool is_protected)
{
	return vmat_sys_uffd_protect(copier->uffd, start, size, is_protected);
}

/*
 * An address that is gone is an error, not a signal. process_vm_readv(2) would say so, too, but pins what it reads, and the
 * kernel copies a page that is to be pinned and that a child shares: each page of the image would exist twice.
 */
static int read_memory(const struct copier *copier, char *to, const char *from, size_t size)
{
	ssize_t got;

	/* Without /proc the memory is read as it is. */
	if (copier->memory < 0) {
		memcpy(to, from, size);
		return 0;
	}
	got = vmat_sys_pread(copier->memory, to, size, (uintptr_t)from);
	if (got == (ssize_t)size)
		return 0;
	return got < 0 && got != -EIO ? (int)got : -EFAULT;
}

/* Writes a part of the image that is a file's. */
static int write_at(struct copier *copier, size_t sink, const char *bytes, size_t size, size_t page)
{
	struct vmat_snapshot *snapshot = copier->snapshot;
	uint64_t at = (uint64_t)copier->offsets[sink] + page * copier->page_size;

	while (size) {
		ssize_t got = vmat_sys_pwrite(snapshot->sinks[sink].fd, bytes, size, at);

		if (got <= 0) {
			snapshot->progress->failed_sink = (int)sink;
			return got < 0 ? (int)got : -EIO;
		}
		bytes += got;
		at += (uint64_t)got;
		size -= (size_t)got;
		atomic_fetch_add(&snapshot->progress->written[sink], (uint64_t)got);
	}
	return 0;
}

static char *slot_of(const struct copier *copier, uint32_t where)
{
	return copier->stash + (where - IN_STASH) * copier->page_size;
}

/* A place in the stash, as `where` tells it; NOWHERE when it is full. */
static uint32_t take_slot(struct copier *copier)
{
	uint32_t where = copier->free_slot;

	if (where)
		memcpy(&copier->free_slot, slot_of(copier, where), sizeof(where));
	else if (copier->slots_used < copier->slots_count)
		where = (uint32_t)(IN_STASH + copier->slots_used++);
	return where;
}

static void free_slot(struct copier *copier, uint32_t where)
{
	memcpy(slot_of(copier, where), &copier->free_slot, sizeof(where));
	copier->free_slot = where;
}

/* Saves a page before its turn. -EAGAIN: there is no room. */
static int save(struct copier *copier, char *memory, size_t page)
{
	uint32_t slot = take_slot(copier);
	int err;

	if (slot) {
		err = read_memory(copier, slot_of(copier, slot), memory, copier->page_size);
		copier->where[page] = slot;
		return err;
	}
	if (!copier->has_files_only)
		return -EAGAIN;
	for (size_t i = 0; i < copier->snapshot->sinks_count; i++) {
		err = write_at(copier, i, memory, copier->page_size, page);
		if (err)
			return err;
	}
	copier->where[page] = IN_SINKS;
	return 0;
}

/* The number in the image of the page at addr. */
static size_t page_of(const struct copier *copier, const char *addr)
{
	const struct vmat_snapshot *snapshot = copier->snapshot;
	size_t before = 0;

	for (size_t i = 0; i < snapshot->ranges_count; i++) {
		const struct vmat_range *range = &snapshot->ranges[i];

		if (addr >= range->start && addr < range->end)
			return before + (size_t)(addr - range->start) / copier->page_size;
		before += (size_t)(range->end - range->start) / copier->page_size;
	}
	return copier->pages;
}

/* Handles the faults that are there. */
static int serve(struct copier *copier)
{
	struct uffd_msg messages[MESSAGES];
	ssize_t got;

	while ((got = vmat_sys_uffd_read(copier->uffd, messages, MESSAGES)) > 0) {
		for (ssize_t i = 0; i < got; i++) {
			char *addr = (char *)((uintptr_t)messages[i].arg.pagefault.address &
					      ~(copier->page_size - 1));
			size_t page = page_of(copier, addr);
			int err = 0;

			if (page >= copier->next && page < copier->pages &&
			    copier->where[page] == NOWHERE)
				err = save(copier, addr, page);
			/* Without room it is let through when its turn has come. */
			if (err == -EAGAIN)
				continue;
			if (err)
				return err;
			protect(copier, addr, copier->page_size, false);
		}
	}
	return 0;
}

/* Writes a part of the image to a sink that is no file, and serves faults while it has to wait. */
static int write_on(struct copier *copier, size_t sink, const char *bytes, size_t size)
{
	struct vmat_snapshot *snapshot = copier->snapshot;
	int fd = snapshot->sinks[sink].fd;

	while (size) {
		struct pollfd waiting[] = { { .fd = copier->uffd, .events = POLLIN },
					    { .fd = copier->stop, .events = POLLIN },
					    { .fd = fd, .events = POLLOUT } };
		int err = vmat_sys_poll(waiting, 3, -1);
		ssize_t got = 0;

		err = err < 0 ? err : serve(copier);
		if (err || copier->is_cancelled)
			return err ? err : -ECANCELED;
		if (waiting[2].revents)
			got = vmat_sys_child_write(fd, bytes,
						   size < SAFE_WRITE ? size : SAFE_WRITE);
		if (got < 0 && got != -EAGAIN) {
			snapshot->progress->failed_sink = (int)sink;
			return (int)got;
		}
		if (got > 0) {
			bytes += got;
			size -= (size_t)got;
			atomic_fetch_add(&snapshot->progress->written[sink], (uint64_t)got);
		}
	}
	return 0;
}

/* Writes pages of the piece that were not written before their turn. */
static int write_piece(struct copier *copier, size_t sink, size_t first, size_t count)
{
	size_t page = 0, end;
	int err = 0;

	if (copier->offsets[sink] < 0)
		return write_on(copier, sink, copier->piece, count * copier->page_size);
	for (; !err && page < count; page = end) {
		bool is_there = copier->where[first + page] == IN_SINKS;

		for (end = page + 1; end < count; end++)
			if ((copier->where[first + end] == IN_SINKS) != is_there)
				break;
		if (!is_there)
			err = write_at(copier, sink, copier->piece + page * copier->page_size,
				       (end - page) * copier->page_size, first + page);
	}
	return err;
}

/* Copies `count` pages, lets writes to them through, and writes the copy. */
static int copy_piece(struct copier *copier, char *memory, size_t count)
{
	size_t first = copier->next, size = copier->page_size;
	int err = serve(copier);

	if (!err)
		err = read_memory(copier, copier->piece, memory, count * size);
	if (err)
		return err;
	for (size_t i = 0; i < count; i++) {
		uint32_t where = copier->where[first + i];

		if (where < IN_STASH)
			continue;
		memcpy(copier->piece + i * size, slot_of(copier, where), size);
		free_slot(copier, where);
	}
	copier->next += count;
	protect(copier, memory, count * size, false);
	for (size_t i = 0; !err && i < copier->snapshot->sinks_count; i++)
		err = write_piece(copier, i, first, count);
	return err;
}

static void unregister(struct copier *copier)
{
	const struct vmat_snapshot *snapshot = copier->snapshot;

	for (size_t i = 0; i < copier->registered; i++)
		vmat_sys_uffd_unregister(
			copier->uffd, snapshot->ranges[i].start,
			(size_t)(snapshot->ranges[i].end - snapshot->ranges[i].start));
}

static void *work(void *context)
{
	struct copier *copier = context;
	struct vmat_snapshot *snapshot = copier->snapshot;
	const size_t piece = PIECE_PAGES * copier->page_size;
	int err = 0;

	for (size_t i = 0; !err && i < snapshot->ranges_count; i++) {
		const struct vmat_range *range = &snapshot->ranges[i];

		for (char *at = range->start; !err && at < range->end; at += piece) {
			size_t left = (size_t)(range->end - at);

			err = copier->is_cancelled ? -ECANCELED
						   : copy_piece(copier, at,
								(left < piece ? left : piece) /
									copier->page_size);
		}
	}
	/* Whoever waits is woken, also after a failure. */
	unregister(copier);
	for (size_t i = 0; !err && i < snapshot->sinks_count; i++)
		if (copier->offsets[i] >= 0)
			err = vmat_sys_seek(snapshot->sinks[i].fd,
					    copier->offsets[i] +
						    (off_t)(copier->pages * copier->page_size));
	snapshot->progress->error = err;
	snapshot->progress->is_whole = !err;
	vmat_sys_event_signal(snapshot->done_fd);
	return NULL;
}

/* Whole pages, ascending, none twice. How many, in *ret. */
static int count_pages(const struct vmat_snapshot *snapshot, size_t page_size, size_t *ret)
{
	const char *last = NULL;
	size_t pages = 0;

	for (size_t i = 0; i < snapshot->ranges_count; i++) {
		const struct vmat_range *range = &snapshot->ranges[i];

		if ((uintptr_t)range->start % page_size || (uintptr_t)range->end % page_size ||
		    range->start < last)
			return -EINVAL;
		last = range->end;
		pages += (size_t)(range->end - range->start) / page_size;
	}
	*ret = pages;
	return 0;
}

static int make(struct vmat_snapshot *snapshot, struct copier **ret)
{
	size_t page_size = (size_t)sysconf(_SC_PAGESIZE), pages, slots, size;
	struct copier *copier;
	void *memory;
	int err = count_pages(snapshot, page_size, &pages);

	if (err)
		return err;
	slots = snapshot->stash_bytes / page_size;
	if (slots > pages)
		slots = pages;
	size = page_size * (1 + PIECE_PAGES + slots) + pages * sizeof(uint32_t);
	err = vmat_sys_mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &memory);
	if (err)
		return err;
	copier = memory;
	copier->snapshot = snapshot;
	copier->mapped_size = size;
	copier->page_size = page_size;
	copier->pages = pages;
	copier->slots_count = slots;
	copier->piece = (char *)memory + page_size;
	copier->stash = copier->piece + PIECE_PAGES * page_size;
	copier->where = (uint32_t *)(void *)(copier->stash + slots * page_size);
	copier->uffd = copier->stop = copier->memory = -1;
	copier->has_files_only = true;
	for (size_t i = 0; i < snapshot->sinks_count; i++) {
		copier->offsets[i] = vmat_sys_file_offset(snapshot->sinks[i].fd);
		copier->has_files_only &= copier->offsets[i] >= 0;
	}
	*ret = copier;
	return 0;
}

static void drop(struct vmat_snapshot *snapshot)
{
	struct copier *copier = snapshot->own;

	vmat_sys_close(copier->uffd);
	vmat_sys_close(copier->stop);
	vmat_sys_close(copier->memory);
	vmat_sys_close(snapshot->done_fd);
	snapshot->done_fd = -1;
	vmat_sys_munmap(copier, copier->mapped_size);
}

static int arm(struct copier *copier)
{
	const struct vmat_snapshot *snapshot = copier->snapshot;
	int err = 0;

	for (size_t i = 0; !err && i < snapshot->ranges_count; i++) {
		const struct vmat_range *range = &snapshot->ranges[i];

		err = vmat_sys_uffd_register(copier->uffd, range->start,
					     (size_t)(range->end - range->start),
					     UFFDIO_REGISTER_MODE_WP);
		copier->registered += !err;
	}
	for (size_t i = 0; !err && i < snapshot->ranges_count; i++) {
		const struct vmat_range *range = &snapshot->ranges[i];

		/* One small page: hugetlb refuses it. */
		err = protect(copier, range->start, copier->page_size, true);
		if (!err)
			err = protect(copier, range->start, (size_t)(range->end - range->start),
				      true);
	}
	return err == -EINVAL ? -EOPNOTSUPP : err;
}

static int open_all(struct copier *copier)
{
	bool sees_kernel = false;

	copier->uffd =
		vmat_sys_uffd_open(UFFD_FEATURE_PAGEFAULT_FLAG_WP | VMAT_UAPI_UFFD_WP_UNPOPULATED |
					   UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
				   &sees_kernel);
	if (copier->uffd < 0)
		return copier->uffd;
	/* Else system calls of the program that write to the ranges would fail. */
	if (!sees_kernel)
		return -EPERM;
	copier->memory = vmat_sys_open_at(AT_FDCWD, "/proc/self/mem", 0);
	copier->stop = vmat_sys_event_open();
	if (copier->stop < 0)
		return copier->stop;
	copier->snapshot->done_fd = vmat_sys_event_open();
	return copier->snapshot->done_fd < 0 ? copier->snapshot->done_fd : 0;
}

static int start_thread(struct copier *copier)
{
	sigset_t mask;
	int err;

	vmat_sys_signals_block(&mask);
	err = pthread_create(&copier->thread, NULL, work, copier);
	vmat_sys_signals_set(&mask);
	return -err;
}

static int protect_begin(struct vmat_snapshot *snapshot)
{
	struct copier *copier;
	uint64_t start_ns;
	int err;

	if (!vmat_feature_has(VMAT_FEATURE_UFFD_WP_EMPTY))
		return -EOPNOTSUPP;
	err = make(snapshot, &copier);
	if (err)
		return err;
	snapshot->own = copier;
	err = open_all(copier);
	start_ns = vmat_snapshot_now_ns();
	if (!err)
		err = arm(copier);
	snapshot->pause_ns = vmat_snapshot_now_ns() - start_ns;
	if (!err)
		err = start_thread(copier);
	if (err) {
		unregister(copier);
		drop(snapshot);
	}
	return err;
}

static int protect_end(struct vmat_snapshot *snapshot, bool is_cancelled)
{
	struct copier *copier = snapshot->own;

	if (is_cancelled) {
		copier->is_cancelled = true;
		vmat_sys_event_signal(copier->stop);
	}
	pthread_join(copier->thread, NULL);
	drop(snapshot);
	return 0;
}

const struct vmat_snapshot_ops vmat_snapshot_protect_ops = {
	.backend = VMAT_SNAPSHOT_PROTECT,
	.takes_shared = true,
	.begin = protect_begin,
	.end = protect_end,
	.drop = drop,
};
