/* SPDX-License-Identifier: MIT */
/*
 * bench_pagesize COUNT: what it costs to ask for the page size at an address in a process of COUNT regions,
 * and what the library takes from those that map. It starts itself again with libvmatlas-preload.so, whose
 * path is in VMATLAS_PRELOAD. One JSON object a line, for bench/run.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "sys/uapi_new.h"

enum { PAGE = 4096, CALLS = 2000000 };

extern ssize_t vmat_pagesize_at(const void *addr) __attribute__((weak));

static volatile ssize_t sink;

static double cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* The median of five runs of fn, in ns for each of `calls`. */
static double median(double (*fn)(char **regions, size_t count), char **regions, size_t count,
		     size_t calls)
{
	double ns[5];

	for (int i = 0; i < 5; i++)
		ns[i] = fn(regions, count) / (double)calls;
	qsort(ns, 5, sizeof(ns[0]), compare);
	return ns[2];
}

/* What the loop and the choice of addresses cost by themselves. */
static double loop_same(char **regions, size_t count)
{
	double start = cpu_ns();

	(void)count;
	for (size_t i = 0; i < CALLS; i++)
		sink = (ssize_t)(uintptr_t)(regions[0] + (i & 63));
	return cpu_ns() - start;
}

static double ask_same(char **regions, size_t count)
{
	double start = cpu_ns();

	(void)count;
	for (size_t i = 0; i < CALLS; i++)
		sink = vmat_pagesize_at(regions[0] + (i & 63));
	return cpu_ns() - start;
}

static size_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (size_t)(*state >> 33);
}

static double ask_random(char **regions, size_t count)
{
	uint64_t state = 1;
	double start = cpu_ns();

	for (size_t i = 0; i < CALLS; i++)
		sink = vmat_pagesize_at(regions[next_random(&state) % count]);
	return cpu_ns() - start;
}

static double query_random(char **regions, size_t count)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	uint64_t state = 1;
	double start = cpu_ns();

	for (size_t i = 0; i < CALLS / 20; i++) {
		struct vmat_uapi_procmap_query query = {
			.size = sizeof(query),
			.query_addr = (uintptr_t)regions[next_random(&state) % count],
		};

		sink = ioctl(fd, VMAT_UAPI_PROCMAP_QUERY, &query);
	}
	start = cpu_ns() - start;
	close(fd);
	return start;
}

/* Reading smaps to its end, as those do who know no better: once. */
static double read_smaps(char **regions, size_t count)
{
	static char buffer[1 << 16];
	int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
	double start = cpu_ns();

	(void)regions;
	(void)count;
	while ((sink = read(fd, buffer, sizeof(buffer))) > 0)
		;
	start = cpu_ns() - start;
	close(fd);
	return start;
}

static double map_unmap(char **regions, size_t count)
{
	double start;

	(void)regions;
	(void)count;
	start = cpu_ns();
	for (size_t i = 0; i < CALLS / 40; i++) {
		void *got = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		*(volatile char *)got = 1;
		munmap(got, 16 * PAGE);
	}
	return cpu_ns() - start;
}

static long peak_kib(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

static void print_row(const char *what, size_t count, double ours, double theirs,
		      const char *against, double goal, const char *memory)
{
	printf("{\"what\": \"%s, %zu regions\", \"ours\": %.2f, \"theirs\": %.2f, \"against\": \"%s\", \"memory\": \"%s\"",
	       what, count, ours, theirs, against, memory);
	if (goal > 0)
		printf(", \"goal\": %.4f", goal);
	printf("}\n");
}

int main(int argc, char **argv)
{
	size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
	const char *library = getenv("VMATLAS_PRELOAD"), *bare_ns;
	double query, smaps, loop, bare;
	char **regions, memory[64];
	long before;

	if (!vmat_pagesize_at) {
		char text[32];

		if (!library || getenv("LD_PRELOAD"))
			errx(1, "VMATLAS_PRELOAD names no library that has vmat_pagesize_at");
		snprintf(text, sizeof(text), "%.1f", median(map_unmap, NULL, 0, CALLS / 40));
		setenv("BENCH_BARE_NS", text, 1);
		setenv("LD_PRELOAD", library, 1);
		execv("/proc/self/exe", argv);
		err(1, "exec");
	}
	bare_ns = getenv("BENCH_BARE_NS");
	bare = bare_ns ? strtod(bare_ns, NULL) : 0;
	regions = calloc(count, sizeof(*regions));
	before = peak_kib();
	for (size_t i = 0; i < count; i++) {
		regions[i] = mmap(NULL, PAGE, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (regions[i] == MAP_FAILED)
			err(1, "mmap");
	}
	snprintf(memory, sizeof(memory), "table %ld KiB", peak_kib() - before);
	printf("{\"head\": \"page size at an address, %zu regions (ns for each)\"}\n", count);
	query = median(query_random, regions, count, CALLS / 20);
	smaps = read_smaps(regions, count);
	loop = median(loop_same, regions, count, CALLS);
	print_row("same region", count, median(ask_same, regions, count, CALLS) - loop, 2, "2 ns",
		  1, "");
	print_row("random", count, median(ask_random, regions, count, CALLS), 120, "120 ns",
		  count >= 60000 ? 1 : 0, memory);
	print_row("random", count, median(ask_random, regions, count, CALLS), query,
		  "PROCMAP_QUERY", 0, "");
	print_row("random", count, median(ask_random, regions, count, CALLS), smaps,
		  "reading smaps once", 0, "");
	print_row("mmap, touch, munmap", count, median(map_unmap, NULL, 0, CALLS / 40), bare,
		  "without the library", 0, "");
	return 0;
}
