/* SPDX-License-Identifier: MIT */
/*
 * prim_track.c: trackers of writes (vmatlas/prim/track.h): checks the range, chooses the way, and leaves the
 * work to it. It knows no kernel interface; prim_track_priv.h says where they are.
 *
 * A tracker is refused to the child of a fork: its descriptors are those of the parent's memory, so that a question of
 * the child would take the parent's answers.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "prim/prim_track_priv.h"
#include "sys/sys_memory.h"

/* In the order in which AUTO tries them. */
static const struct vmat_track_ops *const ways[] = {
	&vmat_track_async_ops,
	&vmat_track_soft_ops,
	&vmat_track_sync_ops,
	&vmat_track_mprotect_ops,
};

/* The options a caller knew of, the others 0. -EINVAL for what this version does not know. */
static int read_options(const struct vmat_track_options *options, struct vmat_track_options *ret)
{
	*ret = (struct vmat_track_options){ .size = sizeof(*ret) };
	if (!options)
		return 0;
	if (options->size < offsetof(struct vmat_track_options, flags) ||
	    options->size > sizeof(*options))
		return -EINVAL;
	memcpy(ret, options, options->size);
	if ((unsigned)ret->backend > VMAT_TRACK_MPROTECT ||
	    ret->flags & ~(unsigned)VMAT_TRACK_STILL ||
	    (ret->granule_pages & (ret->granule_pages - 1)))
		return -EINVAL;
	return 0;
}

static int check_range(const char *start, size_t size, size_t page_size)
{
	uintptr_t end;

	if (!size || size % page_size || (uintptr_t)start % page_size ||
	    __builtin_add_overflow((uintptr_t)start, size, &end))
		return -EINVAL;
	return vmat_sys_is_mapped(start, size);
}

static bool is_own_stack(const struct vmat_track *track)
{
	const char *here = __builtin_frame_address(0);

	return here >= track->start && here < track->end;
}

/* A tracker that nothing is open of, in memory of its own. */
static int make(char *start, size_t size, const struct vmat_track_options *options,
		struct vmat_track **ret)
{
	size_t page_size = (size_t)sysconf(_SC_PAGESIZE), words = size / page_size / 64 + 1;
	size_t mapped_size = sizeof(struct vmat_track) + words * sizeof(uint64_t);
	struct vmat_track *track;
	void *memory;
	int err;

	err = vmat_sys_mmap(NULL, mapped_size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &memory);
	if (err)
		return err;
	track = memory;
	track->start = track->cursor = start;
	track->end = start + size;
	track->page_size = page_size;
	track->pages = size / page_size;
	track->pid = getpid();
	track->mapped_size = mapped_size;
	track->uffd = track->pagemap = track->stop = -1;
	track->granule_pages = track->first_granule_pages =
		options->granule_pages ? options->granule_pages : 1;
	*ret = track;
	return 0;
}

/* Errors of one way that say nothing about the next. */
static bool is_unfit(int err)
{
	return err == -EOPNOTSUPP || err == -EPERM || err == -EACCES || err == -ENOSYS;
}

static int open_one(struct vmat_track *track, const struct vmat_track_ops *ops)
{
	int err;

	if (ops->has_table && is_own_stack(track))
		return -EDEADLK;
	track->ops = ops;
	err = ops->open(track);
	return err == -ENOSYS ? -EOPNOTSUPP : err;
}

static int open_any(struct vmat_track *track, const struct vmat_track_options *options)
{
	int err = -EOPNOTSUPP;

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (options->backend != VMAT_TRACK_AUTO && options->backend != ways[i]->backend)
			continue;
		if (options->backend == VMAT_TRACK_AUTO && ways[i] == &vmat_track_soft_ops &&
		    !(options->flags & VMAT_TRACK_STILL))
			continue;
		err = open_one(track, ways[i]);
		if (!err || !is_unfit(err))
			break;
	}
	return err;
}

int vmat_track_open(void *start, size_t size, const struct vmat_track_options *options,
		    struct vmat_track **ret)
{
	struct vmat_track_options known;
	struct vmat_track *track;
	int err = read_options(options, &known);

	if (!err)
		err = check_range(start, size, (size_t)sysconf(_SC_PAGESIZE));
	if (!err)
		err = make(start, size, &known, &track);
	if (err)
		return err;
	err = open_any(track, &known);
	if (err) {
		vmat_sys_munmap(track, track->mapped_size);
		return err;
	}
	*ret = track;
	return 0;
}

struct vmat_track *vmat_track_close(struct vmat_track *track)
{
	if (!track)
		return NULL;
	track->ops->close(track, track->pid != getpid());
	vmat_sys_munmap(track, track->mapped_size);
	return NULL;
}

ssize_t vmat_track_collect(struct vmat_track *track, struct vmat_range *runs, size_t count)
{
	if (!count || !runs)
		return -EINVAL;
	if (track->pid != getpid())
		return -ECHILD;
	if (track->ops->has_table && is_own_stack(track))
		return -EDEADLK;
	return track->ops->collect(track, runs, count);
}

int vmat_track_info(const struct vmat_track *track, struct vmat_track_info *ret)
{
	struct vmat_track_info info = {
		.size = sizeof(info),
		.backend = track->ops->backend,
		.name = track->ops->name,
		.misses = track->ops->misses,
		.page_size = track->page_size,
		.granule_size = track->granule_pages * track->page_size,
		.overflows = atomic_load_explicit(&track->overflows, memory_order_relaxed),
		.sees_system_calls = track->sees_system_calls,
	};

	if (ret->size < offsetof(struct vmat_track_info, name) || ret->size > sizeof(info))
		return -EINVAL;
	info.size = ret->size;
	memcpy(ret, &info, ret->size);
	return 0;
}
