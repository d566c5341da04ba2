/* SPDX-License-Identifier: MIT */
/*
 * heap_stop.c: stopping the target for as short as can be while its heap is read, and saying so beforehand.
 *
 * There are two ways. The target stands while the heap is read; or it is forked, which takes a fraction of
 * that, and its copy is read while it runs on (target/stop.h). The first is taken when it is expected to take less than
 * PLAIN_MAX_NS, or when the target cannot be forked.
 *
 * The estimate comes from the resident bytes that will be read, the speed of a short trial, and what threads
 * and regions cost (bench/). It is an upper bound by intent: what could be heap is taken for heap.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "heap/heap_priv.h"

#define DEFAULT_STOP_NS UINT64_C(2000000000)
#define PLAIN_MAX_NS    UINT64_C(100000000)
#define NS_PER_MS       UINT64_C(1000000)

enum {
	TRIES = 4,
	TRIAL_BYTES = 4 << 20,
	TRIAL_MIN = 256 << 10,
	TRIAL_DEFAULT_PS = 400, /* picoseconds per byte when there is too little to try */
	WALK_FACTOR = 2,        /* walking takes so often the time of reading alone */
	REACH_FACTOR = 4,       /* so does collecting references */
	FIXED_NS = 1000000,
	THREAD_NS = 30000,
	REGION_NS = 1000,
	FORK_PAGE_NS = 150, /* fork(2): 40 ms for 1 GiB in pages of 4 KiB */
};

/* What the two ways are expected to cost. */
struct estimate {
	uint64_t plain_ns;
	uint64_t fork_ns;
};

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* Will the walk read all of this region? Of blocks that are mapped one by one, it reads the beginning. */
static bool is_read(const struct vmat_heap *heap, const struct vmat_region *region, bool reads_all)
{
	if (reads_all)
		return region->prot & VMAT_PROT_READ;
	if (region->backing != VMAT_BACKING_ANON || !(region->prot & VMAT_PROT_WRITE))
		return false;
	/* glibc's heaps: the kernel's [heap], and those of threads, which are aligned to their size. */
	return strcmp(heap->allocator, "glibc malloc") != 0 ||
	       strcmp(region->name, "[heap]") == 0 ||
	       (region->start & (heap->priv->heap_max - 1)) == 0;
}

/* Reads some of a region that is there, and how long that took. */
static uint64_t try_region(struct vmat_heap *heap, const struct vmat_region *region,
			   uint64_t *elapsed_ns)
{
	struct vmat_heap_memory *memory = &heap->priv->memory;
	uint64_t done = 0, begun_ns = now_ns();

	while (done < TRIAL_BYTES && region->start + done < region->end) {
		uint64_t left = region->end - region->start - done;
		ssize_t got =
			vmat_source_read(memory->target, region->start + done, memory->window,
					 left < VMAT_HEAP_WINDOW ? (size_t)left : VMAT_HEAP_WINDOW);

		if (got <= 0)
			break;
		done += (uint64_t)got;
	}
	*elapsed_ns = now_ns() - begun_ns;
	vmat_heap_memory_drop(memory);
	return done;
}

static struct estimate estimate(struct vmat_heap *heap, const struct vmat_map *map, bool reads_all)
{
	const struct vmat_process *process = vmat_target_process(heap->priv->memory.target);
	uint64_t bytes = 0, pages = 0, elapsed_ns = 0, tried = 0, largest_rss = 0, plain_ps;
	const struct vmat_region *largest = NULL;
	struct estimate ret;

	for (size_t i = 0; i < map->count; i++) {
		const struct vmat_region *region = &map->regions[i];
		uint64_t rss = vmat_is_known(region->rss) ? region->rss : vmat_region_size(region);

		if (region->backing == VMAT_BACKING_ANON)
			pages += rss / VMAT_HEAP_PAGE;
		if (!is_read(heap, region, reads_all))
			continue;
		bytes += rss;
		if (region->backing == VMAT_BACKING_ANON && rss > largest_rss) {
			largest = region;
			largest_rss = rss;
		}
	}
	if (largest)
		tried = try_region(heap, largest, &elapsed_ns);
	plain_ps = tried >= TRIAL_MIN ? elapsed_ns * 1000 / tried : TRIAL_DEFAULT_PS;
	ret.fork_ns = FIXED_NS + map->count * REGION_NS;
	if (vmat_is_known(process->threads))
		ret.fork_ns += process->threads * THREAD_NS;
	ret.plain_ns =
		ret.fork_ns + bytes * plain_ps / 1000 * (reads_all ? REACH_FACTOR : WALK_FACTOR);
	ret.fork_ns += pages * FORK_PAGE_NS;
	return ret;
}

static int explain(struct vmat_target *target, int code, struct vmat_error *err)
{
	switch (code) {
	case -EACCES:
	case -EPERM:
		return vmat_target_explain(target, "read mem", code, err);
	case -ESRCH:
		return vmat_error_set(err, code, "process %d has ended",
				      (int)vmat_target_process(target)->pid);
	case -ENOMEM:
		return vmat_error_set(err, code, "out of memory");
	case -E2BIG:
		return vmat_error_set(
			err, -EOPNOTSUPP,
			"references cannot be searched: the heap is larger than 32 GiB, or has "
			"grown a lot while it was read (then try again)");
	case -EOPNOTSUPP:
		return vmat_error_set(
			err, code,
			"the heap cannot be walked: memory is read only where pages are known to "
			"be there, and pagemap cannot be read");
	case -EIO:
		if (vmat_target_process(target)->core)
			return vmat_error_set(
				err, -EBADMSG,
				"the heap cannot be walked: the core file lacks pages "
				"that the process had (it was cut off)");
		__attribute__((fallthrough));
	default:
		return vmat_error_set(err, code, "the heap cannot be walked: %s",
				      strerrordesc_np(-code));
	}
}

/* The map is read again while all stand: what was read before may have grown. */
static int read_map(struct vmat_heap *heap)
{
	static const struct vmat_map_options options = { .size = sizeof(options) };
	struct vmat_heap_priv *priv = heap->priv;

	vmat_map_free(priv->map);
	priv->map = NULL;
	return vmat_map_read(&priv->map, priv->memory.target, &options, NULL);
}

/* What is asked for, and what has been found out by now. */
struct reading {
	struct vmat_heap *heap;
	const struct vmat_heap_options *options;
	const struct vmat_heap_visitor *visitor;
	struct estimate estimate;
	uint64_t limit_ns; /* of all stops together */
	bool is_fork;      /* the way that is to be tried */
	struct vmat_error *err;
};

/* The target runs on and its copy stands; or, when it cannot be forked, it stands on. */
static int fork_standing(struct reading *reading, struct vmat_stop *stop)
{
	struct vmat_heap *heap = reading->heap;
	struct vmat_target *copy;
	struct vmat_error why = { 0 };
	int code = vmat_stop_fork(stop, &copy, &why);

	if (!code) {
		heap->priv->memory.target = copy;
		heap->is_snapshot = true;
		return 0;
	}
	heap->is_snapshot = false;
	reading->is_fork = false;
	snprintf(heap->no_snapshot_why, sizeof(heap->no_snapshot_why), "%.251s", why.text);
	if (vmat_stop_is_over(stop))
		return vmat_error_set(reading->err, code, "%s", why.text);
	if (heap->stopped_ns + reading->estimate.plain_ns <= reading->limit_ns)
		return 0;
	return vmat_error_set(
		reading->err, -ETIMEDOUT,
		"%s.\n  Reading its heap while it stands may take %llu ms: allow that with --max-stop "
		"%llu",
		why.text, (unsigned long long)(reading->estimate.plain_ns / NS_PER_MS),
		(unsigned long long)(reading->estimate.plain_ns / NS_PER_MS * 2 + 1));
}

/* A copy lacks what the program has kept from being copied: that was read while it ran. */
static void note_uncopied(struct vmat_heap *heap, const struct vmat_stop *stop)
{
	struct vmat_heap_priv *priv = heap->priv;

	priv->has_uncopied = false;
	for (size_t i = 0; heap->is_snapshot && i < priv->segments_count; i++) {
		if (!vmat_stop_is_copied(stop, priv->segments[i].start, priv->segments[i].end))
			priv->has_uncopied = true;
	}
}

/* What is done between the begin and the end of a stop. *is_told: the error has its text. */
static int walk(struct reading *reading, struct vmat_stop *stop, bool is_last, bool *is_told)
{
	const struct vmat_heap_visitor *visitor = reading->visitor;
	struct vmat_heap *heap = reading->heap;
	int code = read_map(heap);

	heap->priv->stop = stop;
	if (!code && visitor && visitor->before)
		code = visitor->before(heap, stop, visitor->context);
	if (!code && reading->is_fork && stop) {
		code = fork_standing(reading, stop);
		*is_told = code != 0;
	}
	if (!code)
		code = vmat_heap_walk_map(heap);
	if (!code && heap->is_walked && visitor && visitor->after &&
	    (is_last || !heap->findings_total))
		code = visitor->after(heap, stop, visitor->context);
	if (!code && heap->is_walked)
		note_uncopied(heap, stop);
	return code;
}

static int over(const struct reading *reading, int code)
{
	if (reading->heap->is_snapshot)
		return vmat_error_set(
			reading->err, code,
			"the copy of the process was lost while it was read: something "
			"killed it, or its time was over");
	return vmat_error_set(reading->err, code,
			      "the heap could not be read within %llu ms, and the process was let "
			      "go.\n  Give more time with --max-stop MS",
			      (unsigned long long)(reading->limit_ns / NS_PER_MS));
}

/* One stop, one walk, and what is to be done with it. */
static int walk_once(struct reading *reading, bool is_last)
{
	struct vmat_heap *heap = reading->heap;
	struct vmat_target *target = heap->priv->memory.target;
	const struct vmat_stop_options stop_options = {
		.size = sizeof(stop_options),
		.max_stop_ns = reading->limit_ns - heap->stopped_ns,
		.is_fork_wanted = reading->is_fork,
	};
	struct vmat_stop *stop = NULL;
	uint64_t stopped_ns = 0;
	bool is_told = false;
	int code = 0, ended;

	/* A core stands, whatever was asked for: what it says is exact. */
	if (!reading->options->is_running_allowed || vmat_target_process(target)->core)
		code = vmat_stop_begin(&stop, target, &stop_options, reading->err);
	if (code)
		return code;
	heap->is_snapshot = false;
	code = walk(reading, stop, is_last, &is_told);
	heap->priv->memory.target = target;
	heap->priv->stop = NULL;
	ended = stop ? vmat_stop_end(stop, &stopped_ns) : 0;
	heap->stopped_ns += stopped_ns;
	heap->is_approximate = !stop;
	if (is_told)
		return code;
	if (ended)
		return over(reading, ended);
	return code ? explain(target, code, reading->err) : 0;
}

/* Which way, and whether it fits into the limit. */
static int choose(struct reading *reading)
{
	const struct vmat_heap_options *options = reading->options;
	struct vmat_heap *heap = reading->heap;
	const struct estimate *estimate = &reading->estimate;
	uint64_t plain_max_ns = reading->limit_ns < PLAIN_MAX_NS ? reading->limit_ns : PLAIN_MAX_NS;

	reading->is_fork = options->is_snapshot_wanted || estimate->plain_ns > plain_max_ns;
	heap->stop_estimate_ns = reading->is_fork ? estimate->fork_ns : estimate->plain_ns;
	if (heap->stop_estimate_ns > reading->limit_ns)
		return vmat_error_set(
			reading->err, -ETIMEDOUT,
			"process %d would be stopped for about %llu ms, and --max-stop allows %llu ms: "
			"it was not stopped",
			(int)vmat_target_process(heap->priv->memory.target)->pid,
			(unsigned long long)(heap->stop_estimate_ns / NS_PER_MS + 1),
			(unsigned long long)(reading->limit_ns / NS_PER_MS));
	if (options->expect)
		options->expect(heap->stop_estimate_ns, reading->is_fork, options->expect_context);
	return 0;
}

/* Time for threads to leave malloc: on a loaded machine one that was let go waits for a processor first. */
static void let_run(int try)
{
	const struct timespec pause = { .tv_nsec = (long)NS_PER_MS << 3 * (try - 1) };

	nanosleep(&pause, NULL);
}

/*
 * A thread that is stopped in the middle of malloc leaves lists that do not fit for that moment. What is really
 * broken is still so a moment later: only that is told. The limit is for all of these stops.
 */
int vmat_heap_walk_standing(struct vmat_heap *heap, const struct vmat_map *map,
			    const struct vmat_heap_options *options,
			    const struct vmat_heap_visitor *visitor, struct vmat_error *err)
{
	struct reading reading = {
		.heap = heap,
		.options = options,
		.visitor = visitor,
		.limit_ns = options->max_stop_ns ? options->max_stop_ns : DEFAULT_STOP_NS,
		.err = err,
	};
	struct vmat_target *target = heap->priv->memory.target;
	uint64_t longest_ns = 0;

	if (!options->is_running_allowed && vmat_source_is_live(target)) {
		int code;

		reading.estimate = estimate(heap, map, visitor && visitor->reads_all);
		code = choose(&reading);
		if (code)
			return code;
	}
	for (int try = 1;; try++) {
		uint64_t before_ns = heap->stopped_ns;
		uint64_t next_ns =
			reading.is_fork ? reading.estimate.fork_ns : reading.estimate.plain_ns;
		bool is_last;
		int code;

		next_ns = next_ns > longest_ns ? next_ns : longest_ns;
		is_last = try == TRIES || before_ns + 2 * next_ns > reading.limit_ns;
		code = walk_once(&reading, is_last);
		if (code || is_last || !heap->is_walked || !heap->findings_total)
			return code;
		if (heap->stopped_ns - before_ns > longest_ns)
			longest_ns = heap->stopped_ns - before_ns;
		if (vmat_source_is_live(target))
			let_run(try);
	}
}
