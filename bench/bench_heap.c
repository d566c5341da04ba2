/* SPDX-License-Identifier: MIT */
/*
 * bench_heap PID ROUNDS: what walking a heap costs beside the floor, which is reading the same bytes of the
 * target by process_vm_readv(2) into a window that stays in the cache. The target is not stopped here: bench/run
 * measures that on the whole command. Prints the medians of the CPU time as one line of JSON.
 */

#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <time.h>

#include <vmatlas/heap.h>
#include <vmatlas/map.h>
#include <vmatlas/target.h>

enum { ROUNDS_MAX = 99 };

static double now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *values, size_t count)
{
	qsort(values, count, sizeof(values[0]), compare);
	return values[count / 2];
}

/* Reads the anonymous memory of the target in windows of 256 KiB. Bytes read. */
static uint64_t read_floor(const struct vmat_map *map, pid_t pid)
{
	static char window[256 << 10];
	uint64_t total = 0;

	for (size_t i = 0; i < map->count; i++) {
		const struct vmat_region *region = &map->regions[i];

		if (!(region->prot & VMAT_PROT_WRITE) || region->end - region->start < 1 << 20)
			continue;
		for (uint64_t at = region->start; at < region->end; at += sizeof(window)) {
			struct iovec local = { window, sizeof(window) };
			struct iovec remote = { (void *)(uintptr_t)at, sizeof(window) };
			ssize_t got;

			if (region->end - at < sizeof(window))
				remote.iov_len = region->end - at;
			got = process_vm_readv(pid, &local, 1, &remote, 1, 0);
			total += got > 0 ? (uint64_t)got : 0;
		}
	}
	return total;
}

int main(int argc, char **argv)
{
	struct vmat_map_options want = { .size = sizeof(want),
					 .want = VMAT_WANT_REGIONS | VMAT_WANT_PAGES };
	struct vmat_heap_options options = { .size = sizeof(options), .is_running_allowed = true };
	size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 5;
	double walks[ROUNDS_MAX], floors[ROUNDS_MAX];
	struct vmat_target *target = NULL;
	struct vmat_error err = { 0 };
	struct vmat_map *map = NULL;
	uint64_t bytes = 0, blocks = 0;

	if (argc < 2 || vmat_target_open(&target, argv[1], NULL, &err) ||
	    vmat_map_read(&map, target, &want, &err)) {
		fprintf(stderr, "bench_heap: %s\n", err.text);
		return 1;
	}
	for (size_t i = 0; i < rounds && i < ROUNDS_MAX; i++) {
		struct vmat_heap *heap = NULL;
		double start = now_ms();

		if (vmat_heap_read(&heap, target, map, &options, &err)) {
			fprintf(stderr, "bench_heap: %s\n", err.text);
			return 1;
		}
		walks[i] = now_ms() - start;
		blocks = heap->totals.count[VMAT_CHUNK_IN_USE];
		vmat_heap_free(heap);
		start = now_ms();
		bytes = read_floor(map, (pid_t)strtol(argv[1], NULL, 10));
		floors[i] = now_ms() - start;
	}
	printf("{\"walk_ms\": %.3f, \"floor_ms\": %.3f, \"chunks\": %llu, \"bytes\": %llu}\n",
	       median(walks, rounds), median(floors, rounds), (unsigned long long)blocks,
	       (unsigned long long)bytes);
	vmat_map_free(map);
	vmat_target_close(target);
	return 0;
}
