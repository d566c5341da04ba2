/* SPDX-License-Identifier: MIT */
/*
 * prim_snapshot.c: snapshots of own memory (vmatlas/prim/snapshot.h): checks ranges and sinks, chooses the way, and owns
 * what both ways need. It knows neither fork nor userfaultfd.
 *
 * Sinks are duplicated, so that the caller may close his at once.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "prim/prim_snapshot_priv.h"
#include "sys/self_map.h"
#include "sys/sys_child.h"
#include "sys/sys_event.h"
#include "sys/sys_memory.h"

static int read_options(const struct vmat_snapshot_options *options,
			struct vmat_snapshot_options *ret)
{
	*ret = (struct vmat_snapshot_options){ .size = sizeof(*ret) };
	if (!options)
		return 0;
	if (options->size < offsetof(struct vmat_snapshot_options, stash_bytes) ||
	    options->size > sizeof(*options))
		return -EINVAL;
	memcpy(ret, options, options->size);
	return (unsigned)ret->backend > VMAT_SNAPSHOT_PROTECT ? -EINVAL : 0;
}

static int look_at(const struct vmat_self_region *region, void *context)
{
	*(bool *)context |= region->is_shared;
	return region->prot & PROT_READ ? 0 : -EACCES;
}

static int check_ranges(const struct vmat_range *ranges, size_t count, bool *ret_is_shared)
{
	*ret_is_shared = false;
	if (!ranges || !count || count > SIZE_MAX / 2 / sizeof(*ranges))
		return -EINVAL;
	for (size_t i = 0; i < count; i++) {
		int err;

		if (ranges[i].start >= ranges[i].end)
			return -EINVAL;
		err = vmat_sys_self_walk((uintptr_t)ranges[i].start, (uintptr_t)ranges[i].end,
					 false, look_at, ret_is_shared);
		if (err)
			return err == -ENOENT ? -ENOMEM : err;
	}
	return 0;
}

static void close_sinks(struct vmat_snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->sinks_count; i++)
		vmat_sys_close(snapshot->sinks[i].fd);
}

static int take_sinks(struct vmat_snapshot *snapshot, const int *sinks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int err = vmat_sys_is_writable(sinks[i]);
		int fd = err ? err : vmat_sys_duplicate(sinks[i]);

		if (fd < 0) {
			close_sinks(snapshot);
			return fd;
		}
		snapshot->sinks[i] = (struct vmat_snapshot_sink){ fd, vmat_sys_is_pipe(fd) };
		snapshot->sinks_count++;
	}
	return 0;
}

static void forget(struct vmat_snapshot *snapshot)
{
	vmat_sys_munmap(snapshot->progress, sizeof(*snapshot->progress));
	vmat_sys_munmap(snapshot, snapshot->mapped_size);
}

/* In memory of its own: the heap may be among the ranges. */
static int make(const struct vmat_range *ranges, size_t count, struct vmat_snapshot **ret)
{
	size_t mapped_size = sizeof(struct vmat_snapshot) + count * sizeof(*ranges);
	struct vmat_snapshot *snapshot;
	void *memory, *progress;
	int err = vmat_sys_mmap(NULL, mapped_size, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &memory);

	if (err)
		return err;
	err = vmat_sys_mmap(NULL, sizeof(struct vmat_snapshot_progress), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0, &progress);
	if (err) {
		vmat_sys_munmap(memory, mapped_size);
		return err;
	}
	snapshot = memory;
	snapshot->progress = progress;
	snapshot->progress->failed_sink = -1;
	snapshot->mapped_size = mapped_size;
	snapshot->pid = getpid();
	snapshot->done_fd = -1;
	snapshot->ranges_count = count;
	memcpy(snapshot->ranges, ranges, count * sizeof(*ranges));
	*ret = snapshot;
	return 0;
}

static int begin(struct vmat_snapshot *snapshot, enum vmat_snapshot_backend backend, bool is_shared)
{
	bool is_fork =
		backend == VMAT_SNAPSHOT_FORK || (backend == VMAT_SNAPSHOT_AUTO && !is_shared);

	snapshot->ops = is_fork ? &vmat_snapshot_fork_ops : &vmat_snapshot_protect_ops;
	if (is_shared && !snapshot->ops->takes_shared)
		return -EOPNOTSUPP;
	return snapshot->ops->begin(snapshot);
}

int vmat_snapshot_begin(const struct vmat_range *ranges, size_t count, const int *sinks,
			size_t sinks_count, const struct vmat_snapshot_options *options,
			struct vmat_snapshot **ret)
{
	struct vmat_snapshot_options known;
	struct vmat_snapshot *snapshot;
	bool is_shared;
	int err = read_options(options, &known);

	if (!err && (!sinks || !sinks_count || sinks_count > VMAT_SNAPSHOT_SINKS_MAX))
		err = -EINVAL;
	if (!err)
		err = check_ranges(ranges, count, &is_shared);
	if (!err)
		err = make(ranges, count, &snapshot);
	if (err)
		return err;
	snapshot->stash_bytes = known.stash_bytes ? known.stash_bytes : (size_t)16 << 20;
	err = take_sinks(snapshot, sinks, sinks_count);
	if (!err) {
		err = begin(snapshot, known.backend, is_shared);
		if (err)
			close_sinks(snapshot);
	}
	if (err) {
		forget(snapshot);
		return err;
	}
	*ret = snapshot;
	return 0;
}

int vmat_snapshot_fd(const struct vmat_snapshot *snapshot)
{
	return snapshot->done_fd >= 0 ? snapshot->done_fd : -EOPNOTSUPP;
}

/* Waits or kills, and fills *result. */
static int finish(struct vmat_snapshot *snapshot, bool is_cancelled,
		  struct vmat_snapshot_result *result)
{
	const struct vmat_snapshot_progress *progress = snapshot->progress;
	int err = snapshot->ops->end(snapshot, is_cancelled);

	if (progress->error)
		err = progress->error;
	else if (progress->is_whole)
		err = 0;
	result->backend = snapshot->ops->backend;
	result->failed_sink = progress->failed_sink;
	result->pause_ns = snapshot->pause_ns;
	for (size_t i = 0; i < VMAT_SNAPSHOT_SINKS_MAX; i++)
		result->written[i] = progress->written[i];
	close_sinks(snapshot);
	forget(snapshot);
	return err;
}

int vmat_snapshot_end(struct vmat_snapshot *snapshot, struct vmat_snapshot_result *ret)
{
	struct vmat_snapshot_result result = { .size = ret ? ret->size : 0 };
	int err;

	if (ret && (ret->size < offsetof(struct vmat_snapshot_result, written) ||
		    ret->size > sizeof(*ret)))
		return -EINVAL;
	if (snapshot->pid != getpid())
		return -ECHILD;
	err = finish(snapshot, false, &result);
	if (ret)
		memcpy(ret, &result, result.size);
	return err;
}

struct vmat_snapshot *vmat_snapshot_cancel(struct vmat_snapshot *snapshot)
{
	struct vmat_snapshot_result ignored;

	if (!snapshot)
		return NULL;
	if (snapshot->pid == getpid()) {
		finish(snapshot, true, &ignored);
		return NULL;
	}
	/* In the child of a fork only what it has a copy of. */
	close_sinks(snapshot);
	snapshot->ops->drop(snapshot);
	forget(snapshot);
	return NULL;
}
