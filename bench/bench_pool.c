/* SPDX-License-Identifier: MIT */
/*
 * bench_pool.c: touching some pages of a 64 KiB region and making it zero for the next user, by the pool and
 * by what people do instead; and guards.
 *
 * N regions are live; each in turn is touched, released, and acquired again. All methods take turns in each
 * round, and the medians of CPU time per turn are compared. jemalloc and mimalloc replace malloc in a process of
 * their own, this program again. The peers without an allocator (memset, bitmap, ...) have a fixed place for each
 * region and no lists at all. Lines of JSON for bench/run.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <vmatlas/prim/pool.h>

#include "sys/pagemap.h"

enum { PAGE = 4096, REGION = 16 * PAGE, THREADS_MAX = 2, ROUNDS_MAX = 3 };

enum method {
	POOL,
	POOL_BOOK,
	MEMSET,
	MINCORE,
	SCAN,
	BITMAP,
	DONTNEED,
	MMAP,
	GLIBC,
	JEMALLOC,
	MIMALLOC,
	METHODS,
};

static const char *const names[METHODS] = {
	"the pool",        "the pool, pages told", "memset",
	"mincore+memset",  "PAGEMAP_SCAN+memset",  "bitmap+memset",
	"MADV_DONTNEED",   "mmap/munmap",          "glibc calloc",
	"jemalloc calloc", "mimalloc calloc",
};

static const char *const preloads[METHODS] = {
	[JEMALLOC] = "libjemalloc.so.2",
	[MIMALLOC] = "libmimalloc.so.2.0",
};

struct load {
	enum method method;
	size_t regions, touched, threads, passes;
	struct vmat_pool *pool;
	char *base;
	int pagemap;
};

struct share {
	const struct load *load;
	size_t from, to;
	char **live;
	pthread_t thread;
};

struct result {
	double ns, peak_mib, idle_mib;
};

static void fail(const char *what)
{
	fprintf(stderr, "bench_pool: %s: %s\n", what, strerrordesc_np(errno));
	exit(1);
}

static double cpu_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* VmRSS, by statm. */
static double resident_mib(void)
{
	char text[128] = "";
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	char *at = text;

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		fail("statm");
	close(fd);
	strtoull(at, &at, 10);
	return (double)strtoull(at, NULL, 10) * PAGE / (1 << 20);
}

static char *map(size_t size)
{
	void *got = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (got == MAP_FAILED)
		fail("mmap");
	madvise(got, size, MADV_NOHUGEPAGE);
	return got;
}

static char *take(const struct load *load, size_t index)
{
	void *region = NULL;

	switch (load->method) {
	case POOL:
	case POOL_BOOK:
		if (vmat_pool_acquire(load->pool, &region))
			fail("vmat_pool_acquire");
		return region;
	case MMAP:
		region = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			      0);
		if (region == MAP_FAILED)
			fail("mmap");
		return region;
	case GLIBC:
	case JEMALLOC:
	case MIMALLOC:
		return calloc(1, REGION);
	default:
		return load->base + index * REGION;
	}
}

static void clear_found(const struct load *load, char *region)
{
	struct vmat_uapi_page_region runs[16];
	int count = vmat_sys_pagemap_scan(load->pagemap, (uintptr_t)region,
					  (uintptr_t)region + REGION, VMAT_UAPI_PAGE_IS_PRESENT,
					  VMAT_UAPI_PAGE_IS_PRESENT, 0, runs, 16);

	for (int i = 0; i < count; i++)
		memset((char *)(uintptr_t)runs[i].start, 0, runs[i].end - runs[i].start);
}

static void clear_incore(char *region)
{
	unsigned char seen[16];

	if (mincore(region, REGION, seen))
		fail("mincore");
	for (size_t i = 0; i < 16; i++)
		if (seen[i] & 1)
			memset(region + i * PAGE, 0, PAGE);
}

static void clear_bitmap(char *region, uint64_t pages)
{
	for (; pages; pages &= pages - 1)
		memset(region + (size_t)__builtin_ctzll(pages) * PAGE, 0, PAGE);
}

static void give(const struct load *load, char *region, uint64_t pages)
{
	switch (load->method) {
	case POOL:
		vmat_pool_release(load->pool, region);
		break;
	case POOL_BOOK:
		vmat_pool_release_written(load->pool, region, &pages);
		break;
	case MEMSET:
		memset(region, 0, REGION);
		break;
	case MINCORE:
		clear_incore(region);
		break;
	case SCAN:
		clear_found(load, region);
		break;
	case BITMAP:
		clear_bitmap(region, pages);
		break;
	case DONTNEED:
		madvise(region, REGION, MADV_DONTNEED);
		break;
	case MMAP:
		munmap(region, REGION);
		break;
	default:
		free(region);
	}
}

static void *work(void *context)
{
	const struct share *share = context;
	const struct load *load = share->load;
	const uint64_t pages = (1ULL << load->touched) - 1;

	for (size_t i = share->from; i < share->to; i++) {
		char *region = share->live[i];

		for (size_t page = 0; page < load->touched; page++)
			region[page * PAGE + 64 * (i & 31)]++;
		give(load, region, pages);
		share->live[i] = take(load, i);
	}
	return NULL;
}

static void pass(const struct load *load, char **live)
{
	struct share shares[THREADS_MAX];

	for (size_t i = 0; i < load->threads; i++) {
		shares[i] = (struct share){ load, load->regions * i / load->threads,
					    load->regions * (i + 1) / load->threads, live };
		if (load->threads == 1)
			work(&shares[i]);
		else if (pthread_create(&shares[i].thread, NULL, work, &shares[i]))
			fail("pthread_create");
	}
	for (size_t i = 0; load->threads > 1 && i < load->threads; i++)
		pthread_join(shares[i].thread, NULL);
}

static void make_pool(struct load *load)
{
	struct vmat_pool_options options = {
		.size = sizeof(options),
		.region_size = REGION,
		.regions_max = load->regions + 1000,
	};

	if (vmat_pool_new(&options, &load->pool))
		fail("vmat_pool_new");
}

static struct result run(struct load load)
{
	char **live = calloc(load.regions, sizeof(*live));
	struct result result;
	double before = resident_mib();

	if (!live)
		fail("calloc");
	load.pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (load.method == POOL || load.method == POOL_BOOK)
		make_pool(&load);
	else if (load.method <= DONTNEED)
		load.base = map(load.regions * REGION);
	for (size_t i = 0; i < load.regions; i++)
		live[i] = take(&load, i);
	pass(&load, live);
	result.ns = cpu_ns();
	for (size_t i = 0; i < load.passes; i++)
		pass(&load, live);
	result.ns = (cpu_ns() - result.ns) / (double)(load.passes * load.regions);
	result.peak_mib = resident_mib() - before;
	for (size_t i = 0; i < load.regions; i++)
		give(&load, live[i], (1ULL << load.touched) - 1);
	/* The pool is asked for what it kept; an allocator decides for itself. */
	if (load.pool)
		vmat_pool_trim(load.pool, 0, NULL);
	result.idle_mib = resident_mib() - before;
	vmat_pool_free(load.pool);
	if (load.base)
		munmap(load.base, load.regions * REGION);
	close(load.pagemap);
	free(live);
	return result;
}

/* This program again, under another malloc. A result of -1: it is not installed. */
static struct result run_preloaded(const struct load *load)
{
	struct result result = { -1, -1, -1 };
	char args[5][24], self[4096], line[128] = "";
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1), got;
	int ends[2];
	pid_t pid;

	if (length < 0 || pipe2(ends, O_CLOEXEC))
		fail("pipe");
	self[length] = '\0';
	snprintf(args[0], 24, "%d", (int)load->method);
	snprintf(args[1], 24, "%zu", load->regions);
	snprintf(args[2], 24, "%zu", load->touched);
	snprintf(args[3], 24, "%zu", load->threads);
	snprintf(args[4], 24, "%zu", load->passes);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], 1);
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC),
		     2); /* the loader tells what is not installed */
		setenv("LD_PRELOAD", preloads[load->method], 1);
		execl(self, self, args[0], args[1], args[2], args[3], args[4], NULL);
		_exit(127);
	}
	close(ends[1]);
	got = read(ends[0], line, sizeof(line) - 1);
	close(ends[0]);
	waitpid(pid, NULL, 0);
	if (got > 0 &&
	    sscanf(line, "%lf %lf %lf", &result.ns, &result.peak_mib, &result.idle_mib) != 3)
		result.ns = -1;
	return result;
}

/* Whether the malloc that runs is the one that was asked for. */
static bool is_preloaded(enum method method)
{
	char *line = NULL;
	size_t size = 0;
	bool is_there = false;
	FILE *file = fopen("/proc/self/maps", "re");

	while (file && getline(&line, &size, file) > 0)
		is_there = is_there ||
			   strstr(line, method == JEMALLOC ? "libjemalloc" : "libmimalloc");
	if (file)
		fclose(file);
	free(line);
	return is_there;
}

static int as_child(char **argv)
{
	struct load load = {
		.method = (enum method)strtoul(argv[1], NULL, 10),
		.regions = strtoul(argv[2], NULL, 10),
		.touched = strtoul(argv[3], NULL, 10),
		.threads = strtoul(argv[4], NULL, 10),
		.passes = strtoul(argv[5], NULL, 10),
	};
	struct result result;

	if (!is_preloaded(load.method))
		return 1;
	result = run(load);
	printf("%f %f %f\n", result.ns, result.peak_mib, result.idle_mib);
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct result *x = a, *y = b;

	return (x->ns > y->ns) - (x->ns < y->ns);
}

static void say(const struct load *load, const struct result *ours, const struct result *theirs,
		const char *against, bool has_goal, const char *how)
{
	printf("{\"what\": \"%zu live, %zu/16 touched, %zu thread%s%s (ns)\", \"ours\": %.1f, \"theirs\": %.1f, "
	       "\"against\": \"%s\", \"memory\": \"peak %.0f and %.0f MiB, idle %.0f and %.0f\"",
	       load->regions, load->touched, load->threads, load->threads > 1 ? "s" : "", how,
	       ours->ns, theirs->ns, against, ours->peak_mib, theirs->peak_mib, ours->idle_mib,
	       theirs->idle_mib);
	if (has_goal)
		printf(", \"goal\": 1.0");
	printf("}\n");
	fflush(stdout);
}

static void compare_all(size_t regions, size_t touched, size_t threads, int rounds, bool says_all)
{
	struct load load = { .regions = regions, .touched = touched, .threads = threads };
	struct result results[METHODS][ROUNDS_MAX], medians[METHODS];
	enum method best = METHODS, told;

	load.passes = regions <= 1000 ? 10 : regions <= 10000 ? 2 : 1;
	for (int round = 0; round < rounds; round++) {
		for (enum method m = 0; m < METHODS; m++) {
			load.method = m;
			results[m][round] = (struct result){ -1, -1, -1 };
			/* Six GiB of cleared pages: memset loses there anyway. */
			if (m == MEMSET && regions > 10000)
				continue;
			results[m][round] = preloads[m] ? run_preloaded(&load) : run(load);
		}
	}
	for (enum method m = 0; m < METHODS; m++) {
		qsort(results[m], (size_t)rounds, sizeof(struct result), compare);
		medians[m] = results[m][rounds / 2];
		/* The bitmap's user keeps book, which is told apart below. */
		if (m >= MEMSET && m != BITMAP && medians[m].ns >= 0 &&
		    (best == METHODS || medians[m].ns < medians[best].ns))
			best = m;
	}
	say(&load, &medians[POOL], &medians[best], names[best], true, "");
	told = medians[BITMAP].ns < medians[best].ns ? BITMAP : best;
	say(&load, &medians[POOL_BOOK], &medians[told], names[told], true, ", pages told");
	for (enum method m = MEMSET; says_all && m < METHODS; m++)
		if (m != best && medians[m].ns >= 0)
			say(&load, &medians[POOL], &medians[m], names[m], false, "");
}

static void guards(void)
{
	enum { COUNT = 100000 };
	struct vmat_pool_options options = { .size = sizeof(options),
					     .region_size = REGION,
					     .regions_max = COUNT,
					     .guard_size = PAGE };
	struct vmat_pool_stats stats = { .size = sizeof(stats) };
	struct vmat_pool *pool = NULL;
	size_t made = 0, peers = 0;
	double began, ours, theirs;
	void *stack;
	char *base;

	began = cpu_ns();
	if (vmat_pool_new(&options, &pool))
		fail("vmat_pool_new");
	while (made < COUNT && vmat_pool_acquire(pool, &stack) == 0)
		made++;
	ours = (cpu_ns() - began) / (double)made;
	vmat_pool_stats(pool, &stats);
	vmat_pool_free(pool);
	base = map((size_t)COUNT * (REGION + PAGE));
	began = cpu_ns();
	while (peers < COUNT && mprotect(base + peers * (REGION + PAGE), PAGE, PROT_NONE) == 0)
		peers++;
	theirs = (cpu_ns() - began) / (double)peers;
	munmap(base, (size_t)COUNT * (REGION + PAGE));
	printf("{\"what\": \"stack with guard, each of %zu (ns)\", \"ours\": %.1f, \"theirs\": 800, \"against\": \"0.8 us\", "
	       "\"goal\": 1.0, \"memory\": \"%llu guards without a VMA\"}\n",
	       made, ours, (unsigned long long)stats.guards_madvise);
	printf("{\"what\": \"stack with guard, each (ns)\", \"ours\": %.1f, \"theirs\": %.1f, "
	       "\"against\": \"mprotect, which ends at %zu\"}\n",
	       ours, theirs, peers);
}

int main(int argc, char **argv)
{
	static const size_t shares[] = { 1, 2, 4, 8, 12, 16 };

	if (argc == 6)
		return as_child(argv);
	printf("{\"head\": \"recycling 64 KiB regions: CPU per touch, release and acquire (memset, bitmap and the like without any list)\"}\n");
	for (size_t i = 0; i < sizeof(shares) / sizeof(*shares); i++)
		compare_all(1000, shares[i], 1, 3, true);
	for (size_t i = 0; i < sizeof(shares) / sizeof(*shares); i++)
		compare_all(1000, shares[i], 2, 3, false);
	compare_all(10000, 1, 1, 3, false);
	compare_all(10000, 4, 1, 3, false);
	compare_all(10000, 16, 1, 3, false);
	compare_all(100000, 1, 1, 1, false);
	compare_all(100000, 4, 1, 1, false);
	printf("{\"head\": \"guards\"}\n");
	guards();
	return 0;
}
