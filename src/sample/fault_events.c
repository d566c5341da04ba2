/* SPDX-License-Identifier: MIT */
/* fault_events.c: see fault_events.h. */
#include "sample/fault_events.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/fault.h>

#include "sys/sys_event.h"
#include "sys/sys_perf.h"
#include "target/target_source.h"

/*
 * RING_PAGES: kernel.perf_event_mlock_kb is 516 by default: so much a processor for every user, the control page included.
 * PASSES over the list of threads: the second one finds those that began during the first.
 */
enum { RING_PAGES = 128, PASSES = 3, KEPT_FILES = 64 /* descriptors left for ourselves */ };

/* Varying the period: each change costs each event that is busy a sample, and takes at most one VARY_SHARE-th of the time. */
enum { ENOUGH = 32, VARY_SHARE = 20, FIRST_TURN = 1 };

static const uint64_t VARY_NS = 100000000;

static int grow(void *array, size_t *max, size_t count, size_t item)
{
	void **place = array;
	size_t wanted = *max ? 2 * *max : 64;
	void *more;

	if (count < *max)
		return 0;
	more = reallocarray(*place, wanted, item);
	if (!more)
		return -ENOMEM;
	*place = more;
	*max = wanted;
	return 0;
}

/* Where `tid` stands among the threads with own events, or is to be put. */
static size_t place_of(const struct vmat_fault_events *events, pid_t tid)
{
	size_t low = 0, high = events->tids_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (events->tids[middle] < tid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool has_own(const struct vmat_fault_events *events, pid_t tid)
{
	size_t at = place_of(events, tid);

	return at < events->tids_count && events->tids[at] == tid;
}

static int add_tid(struct vmat_fault_events *events, pid_t tid)
{
	size_t at = place_of(events, tid);
	int err = grow(&events->tids, &events->tids_max, events->tids_count, sizeof(pid_t));

	if (err)
		return err;
	memmove(events->tids + at + 1, events->tids + at,
		(events->tids_count - at) * sizeof(pid_t));
	events->tids[at] = tid;
	events->tids_count++;
	return 0;
}

static void forget_tid(struct vmat_fault_events *events, pid_t tid)
{
	size_t at = place_of(events, tid);

	if (at == events->tids_count || events->tids[at] != tid)
		return;
	events->tids_count--;
	memmove(events->tids + at, events->tids + at + 1,
		(events->tids_count - at) * sizeof(pid_t));
}

/* The first event of a processor gets its ring, the others write into that. */
static int give_ring(struct vmat_fault_events *events, size_t cpu, int fd)
{
	if (events->ring_fds[cpu] >= 0)
		return vmat_sys_perf_redirect(fd, events->ring_fds[cpu]);
	if (vmat_perf_ring_map(&events->rings[cpu], fd, RING_PAGES))
		return -ENOBUFS;
	events->ring_fds[cpu] = fd;
	return 0;
}

static int open_event(struct vmat_fault_events *events, pid_t tid, size_t cpu, bool is_major,
		      uint64_t every)
{
	const struct vmat_perf_watch watch = { .tid = tid,
					       .cpu = (int)cpu,
					       .is_major = is_major,
					       .every = is_major ? 1 : every,
					       .with_kernel = events->has_kernel,
					       .with_tasks = !is_major,
					       .with_children = events->with_children };
	struct vmat_fault_watched *watched;
	int fd, err = grow(&events->fds, &events->fds_max, events->fds_count, sizeof(int));

	if (!err)
		err = grow(&events->watched, &events->watched_max, events->watched_count,
			   sizeof(*events->watched));
	if (err)
		return err;
	fd = vmat_sys_perf_watch(&watch);
	if (fd < 0)
		return fd;
	watched = &events->watched[events->watched_count];
	*watched = (struct vmat_fault_watched){ .tid = tid, .is_major = is_major };
	err = vmat_sys_perf_id(fd, &watched->id);
	if (!err)
		err = give_ring(events, cpu, fd);
	if (err) {
		vmat_sys_close(fd);
		return err;
	}
	events->fds[events->fds_count++] = fd;
	events->watched_count++;
	return 0;
}

/* All events of a thread. -ENODEV is no failure: a processor that is off. */
static int open_thread(struct vmat_fault_events *events, pid_t tid, uint64_t every)
{
	bool is_watched = false;

	for (size_t cpu = 0; cpu < events->rings_count; cpu++) {
		int err = open_event(events, tid, cpu, false, every);

		if (!err)
			err = open_event(events, tid, cpu, true, every);
		if (err && err != -ENODEV)
			return err;
		is_watched |= !err;
	}
	return is_watched ? add_tid(events, tid) : -ENODEV;
}

/* What this kernel lets us do: with the kernel's own faults, without child processes, or less. */
static int open_first(struct vmat_fault_events *events, pid_t tid, uint64_t every)
{
	int err;

	events->has_kernel = true;
	err = open_thread(events, tid, every);
	if (err == -EINVAL) {
		events->with_children = true;
		err = open_thread(events, tid, every);
	}
	if (err != -EACCES && err != -EPERM)
		return err;
	events->has_kernel = false;
	events->with_children = false;
	err = open_thread(events, tid, every);
	if (err == -EINVAL) {
		events->with_children = true;
		err = open_thread(events, tid, every);
	}
	return err;
}

static bool is_full(int err)
{
	return err == -EMFILE || err == -ENFILE || err == -ENOBUFS;
}

/* Watches the threads that are not watched yet. Returns how many were new, or a negative errno. */
static int watch_new(struct vmat_fault_events *events, struct vmat_target *target, uint64_t every,
		     uint64_t files_max)
{
	pid_t *tids;
	size_t count;
	int found = 0, err = vmat_source_threads(target, &tids, &count);

	if (err)
		return err;
	events->refused = 0;
	for (size_t i = 0; i < count; i++) {
		if (has_own(events, tids[i]))
			continue;
		if (events->fds_count + 2 * events->rings_count + KEPT_FILES > files_max)
			err = -EMFILE;
		else if (!events->tids_count)
			err = open_first(events, tids[i], every);
		else
			err = open_thread(events, tids[i], every);
		if (is_full(err) && events->tids_count) {
			events->refused++;
			events->refused_why = err;
			continue;
		}
		/* Whoever has ended faults no more. */
		if (err && err != -ESRCH)
			break;
		found += !err;
		err = 0;
	}
	free(tids);
	return err ? err : found;
}

int vmat_fault_events_open(struct vmat_fault_events *ret, struct vmat_target *target,
			   uint64_t every)
{
	struct vmat_fault_events events = { .pid = vmat_target_process(target)->pid,
					    .turn = FIRST_TURN };
	const uint64_t files_max = vmat_sys_files_limit_raise();
	int r = 0;

	events.rings_count = (size_t)vmat_sys_cpus();
	events.rings = calloc(events.rings_count, sizeof(*events.rings));
	events.ring_fds = calloc(events.rings_count, sizeof(*events.ring_fds));
	if (!events.rings || !events.ring_fds) {
		free(events.rings);
		free(events.ring_fds);
		return -ENOMEM;
	}
	for (size_t i = 0; i < events.rings_count; i++)
		events.ring_fds[i] = -1;
	for (int pass = 0; pass < PASSES && (pass == 0 || r > 0); pass++)
		r = watch_new(&events, target, every, files_max);
	if (r >= 0 && !events.tids_count)
		r = -ESRCH;
	if (r < 0) {
		vmat_fault_events_close(&events);
		return r;
	}
	*ret = events;
	return 0;
}

void vmat_fault_events_close(struct vmat_fault_events *events)
{
	for (size_t i = 0; i < events->rings_count; i++)
		vmat_perf_ring_unmap(&events->rings[i]);
	for (size_t i = 0; i < events->fds_count; i++)
		vmat_sys_close(events->fds[i]);
	free(events->rings);
	free(events->ring_fds);
	free(events->fds);
	free(events->watched);
	free(events->tids);
	*events = (struct vmat_fault_events){ .pid = 0 };
}

static struct vmat_fault_watched *find_id(const struct vmat_fault_events *events, uint64_t id)
{
	size_t low = 0, high = events->watched_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (events->watched[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < events->watched_count && events->watched[low].id == id ? &events->watched[low]
									    : NULL;
}

/* The first fault of a turn stands for itself alone where its event was running at the change: that one is left out. */
static bool is_first_of_turn(struct vmat_fault_events *events, struct vmat_fault_watched *watched)
{
	const bool is_first = watched->turn != events->turn;

	events->told++;
	events->busy += is_first;
	watched->turn = events->turn;
	return is_first && events->turn > FIRST_TURN;
}

struct draining {
	struct vmat_fault_events *events;
	vmat_fault_record_fn *fn;
	void *context;
};

static void tell(const struct vmat_perf_record *perf, void *context)
{
	struct draining *draining = context;
	struct vmat_fault_events *events = draining->events;
	struct vmat_fault_record record = { .perf = *perf };

	if (perf->type == VMAT_PERF_SAMPLE) {
		struct vmat_fault_watched *watched = find_id(events, perf->id);

		if (!watched || perf->pid != (uint32_t)events->pid)
			return;
		if (watched->tid != (pid_t)perf->tid && has_own(events, (pid_t)perf->tid))
			return;
		if (!watched->is_major && is_first_of_turn(events, watched))
			return;
		record.is_major = watched->is_major;
	}
	draining->fn(&record, draining->context);
	/* Its number may soon be that of a new thread, which has no events of its own. */
	if (perf->type == VMAT_PERF_EXIT)
		forget_tid(events, (pid_t)perf->tid);
}

int vmat_fault_events_drain(struct vmat_fault_events *events, vmat_fault_record_fn *fn,
			    void *context)
{
	struct draining draining = { events, fn, context };
	int result = 0;

	for (size_t i = 0; i < events->rings_count; i++) {
		if (events->rings[i].memory &&
		    vmat_perf_ring_drain(&events->rings[i], tell, &draining) < 0)
			result = -EBADMSG;
	}
	return result;
}

void vmat_fault_events_vary(struct vmat_fault_events *events)
{
	static const unsigned char periods[] = { VMAT_FAULT_EVERY, 13, 23, 19 };
	const uint64_t begin = vmat_sys_mono_ns();
	uint64_t cost;

	if (events->told < ENOUGH * events->busy || !events->told || begin < events->vary_ns)
		return;
	events->turn++;
	events->told = events->busy = 0;
	for (size_t i = 0; i < events->fds_count; i++) {
		/* One that is not changed goes on as it was. */
		if (!events->watched[i].is_major)
			vmat_sys_perf_period(
				events->fds[i],
				periods[(events->turn - FIRST_TURN) % sizeof(periods)]);
	}
	cost = vmat_sys_mono_ns() - begin;
	events->vary_ns = begin + (cost * VARY_SHARE > VARY_NS ? cost * VARY_SHARE : VARY_NS);
}
