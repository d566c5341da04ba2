/* SPDX-License-Identifier: MIT */
/*
 * bench_read.c: what reading a process costs, in CPU time, beside the floor: the same kernel files read
 * and thrown away.
 *
 * Every method runs once per round, in turn, so that a busy machine slows all of them alike; the medians
 * of the rounds are printed as one line of JSON. The lock column is the longest single call that walks
 * the target's page tables: for so long can a page fault of the target have to wait.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <vmatlas/atlas.h>

#include "sys/uapi_new.h"
#include "target/target_source.h"

enum { ROUNDS_MAX = 99, METHODS_MAX = 16 };

struct context {
	struct vmat_target *target;
	struct vmat_map *map; /* for the methods that scan */
	pid_t pid;
	double longest_ms;
};

static double now_ms(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void fail(const char *what)
{
	fprintf(stderr, "bench_read: %s: %s\n", what, strerrordesc_np(errno));
	exit(1);
}

static void read_away(struct context *context, const char *name)
{
	static char window[1 << 16];
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)context->pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail(path);
	while (read(fd, window, sizeof(window)) > 0)
		;
	close(fd);
}

static void floor_maps(struct context *context)
{
	read_away(context, "maps");
}

static void floor_smaps(struct context *context)
{
	read_away(context, "smaps");
}

static void rollup(struct context *context)
{
	double start = now_ms(CLOCK_MONOTONIC), took;

	read_away(context, "smaps_rollup");
	took = now_ms(CLOCK_MONOTONIC) - start;
	if (took > context->longest_ms)
		context->longest_ms = took;
}

static void read_map(struct context *context, uint32_t want)
{
	struct vmat_map_options options = { .size = sizeof(options), .want = want };
	struct vmat_map *map = NULL;
	struct vmat_error err;

	if (vmat_map_read(&map, context->target, &options, &err)) {
		fprintf(stderr, "bench_read: %s\n", err.text);
		exit(1);
	}
	vmat_map_free(map);
}

static void map_regions(struct context *context)
{
	read_map(context, VMAT_WANT_REGIONS);
}

static void map_pages(struct context *context)
{
	read_map(context, VMAT_WANT_PAGES);
}

static void map_smaps(struct context *context)
{
	read_map(context, VMAT_WANT_SMAPS);
}

static void atlas(struct context *context)
{
	struct vmat_atlas_options options = { .size = sizeof(options),
					      .want = VMAT_ATLAS_OWNERS,
					      .map_want = VMAT_WANT_PAGES };
	struct vmat_atlas *all = NULL;

	if (vmat_atlas_read(&all, context->target, &options, NULL))
		fail("atlas");
	vmat_atlas_free(all);
}

static void stacks(struct context *context)
{
	struct vmat_stacks *all = NULL;

	if (vmat_stacks_read(&all, context->target, context->map, NULL))
		fail("stacks");
	vmat_stacks_free(all);
}

/* The longest range of regions without a wide hole: what one PAGEMAP_SCAN can be asked for. */
static void span_of(const struct vmat_map *map, uint64_t *start, uint64_t *end)
{
	uint64_t from = 0, last = 0;

	*start = *end = 0;
	for (size_t i = 0; i < map->count; i++) {
		const struct vmat_region *region = &map->regions[i];

		if (region->backing == VMAT_BACKING_KERNEL)
			continue;
		if (!from || region->start - last > 64 << 20)
			from = region->start;
		last = region->end;
		if (last - from > *end - *start) {
			*start = from;
			*end = last;
		}
	}
}

/* The floor of a page scan: the kernel's own loop, asked for PRESENT only, in one call after the other. */
static void scan_floor(struct context *context)
{
	static struct vmat_uapi_page_region regions[1 << 16];
	uint64_t start, end;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)context->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail(path);
	span_of(context->map, &start, &end);
	while (start < end) {
		struct vmat_uapi_pm_scan_arg arg = {
			.size = sizeof(arg),
			.start = start,
			.end = end,
			.vec = (uintptr_t)regions,
			.vec_len = sizeof(regions) / sizeof(regions[0]),
			.category_mask = VMAT_UAPI_PAGE_IS_PRESENT,
			.return_mask = VMAT_UAPI_PAGE_IS_PRESENT,
		};
		int found = ioctl(fd, VMAT_UAPI_PAGEMAP_SCAN, &arg);

		if (found < 0)
			fail("PAGEMAP_SCAN");
		if ((size_t)found < sizeof(regions) / sizeof(regions[0]))
			break;
		start = regions[found - 1].end;
	}
	close(fd);
}

static void scan_ours(struct context *context)
{
	const uint32_t want = VMAT_PAGE_PRESENT | VMAT_PAGE_SWAPPED | VMAT_PAGE_ZERO |
			      VMAT_PAGE_HUGE | VMAT_PAGE_GUARD;
	struct vmat_page_run runs[512];
	uint64_t start, end;
	uint32_t known;

	span_of(context->map, &start, &end);
	while (start < end) {
		double before = now_ms(CLOCK_THREAD_CPUTIME_ID), took;

		if (vmat_source_scan(context->target, &start, end, want, runs, 512, &known) < 0)
			fail("scan");
		took = now_ms(CLOCK_THREAD_CPUTIME_ID) - before;
		if (took > context->longest_ms)
			context->longest_ms = took;
	}
}

static const struct method {
	const char *name;
	void (*run)(struct context *context);
	bool is_dear; /* walks smaps */
} methods[] = {
	{ "floor_maps", floor_maps, false },  { "map_regions", map_regions, false },
	{ "map_pages", map_pages, false },    { "atlas", atlas, false },
	{ "scan_floor", scan_floor, false },  { "scan_ours", scan_ours, false },
	{ "stacks", stacks, false },          { "rollup", rollup, true },
	{ "floor_smaps", floor_smaps, true }, { "map_smaps", map_smaps, true },
};

enum { METHODS = sizeof(methods) / sizeof(methods[0]) };

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static double cpu[METHODS][ROUNDS_MAX], longest[METHODS][ROUNDS_MAX];
	struct vmat_map_options options = { .size = sizeof(options) };
	struct context context = { 0 };
	struct vmat_error err;
	int rounds;

	if (argc < 3 || (rounds = (int)strtol(argv[2], NULL, 10)) < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: bench_read PID ROUNDS [cheap]\n");
		return 2;
	}
	context.pid = (pid_t)strtol(argv[1], NULL, 10);
	if (vmat_target_open(&context.target, argv[1], NULL, &err) ||
	    vmat_map_read(&context.map, context.target, &options, &err)) {
		fprintf(stderr, "bench_read: %s\n", err.text);
		return 1;
	}
	for (int round = 0; round < rounds; round++) {
		for (int i = 0; i < METHODS; i++) {
			double start;

			if (methods[i].is_dear && argc > 3)
				continue;
			context.longest_ms = 0;
			start = now_ms(CLOCK_PROCESS_CPUTIME_ID);
			methods[i].run(&context);
			cpu[i][round] = now_ms(CLOCK_PROCESS_CPUTIME_ID) - start;
			longest[i][round] = context.longest_ms;
		}
	}
	printf("{\"regions\": %zu", context.map->count);
	for (int i = 0; i < METHODS; i++) {
		qsort(cpu[i], (size_t)rounds, sizeof(double), compare);
		qsort(longest[i], (size_t)rounds, sizeof(double), compare);
		printf(", \"%s\": %.4f, \"%s_lock\": %.4f", methods[i].name, cpu[i][rounds / 2],
		       methods[i].name, longest[i][rounds / 2]);
	}
	printf("}\n");
	vmat_map_free(context.map);
	vmat_target_close(context.target);
	return 0;
}
