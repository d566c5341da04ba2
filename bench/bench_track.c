/* SPDX-License-Identifier: MIT */
/*
 * bench_track.c: what it costs to know which pages were written: CPU nanoseconds for each dirty page, over
 * arming, writing and asking, for each way of track.h and for what programs write themselves: mprotect and
 * SIGSEGV page by page.
 *
 * Every method has its turn in each round, on the same populated memory; medians. One JSON object a line for bench/run.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include <vmatlas/prim/track.h>

enum { PAGE = 4096, ROUNDS = 3, RUNS = 4096 };

enum method { NONE, BEST, SYNC, MPROTECT, PLAIN, METHODS };

static const char *const names[METHODS] = { "nothing", "the best way here", "uffd_sync",
					    "mprotect with growing granule",
					    "SIGSEGV page by page" };

static char *memory;
static size_t pages, dirty;
static unsigned char *plain_table;
static bool plain_lost;

static double now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void write_pages(void)
{
	for (size_t i = 0; i < dirty; i++)
		memory[i * pages / dirty * PAGE]++;
}

/* What people write: a table, and one page let through at a time. At the limit of regions it gives up. */
static void plain_handler(int sig, siginfo_t *info, void *context)
{
	size_t page = (size_t)((char *)info->si_addr - memory) / PAGE;

	(void)sig;
	(void)context;
	plain_table[page] = 1;
	if (mprotect(memory + page * PAGE, PAGE, PROT_READ | PROT_WRITE)) {
		plain_lost = true;
		mprotect(memory, pages * PAGE, PROT_READ | PROT_WRITE);
	}
}

static size_t run_plain(void)
{
	struct sigaction action = { .sa_sigaction = plain_handler, .sa_flags = SA_SIGINFO }, before;
	size_t found = 0;

	memset(plain_table, 0, pages);
	plain_lost = false;
	sigaction(SIGSEGV, &action, &before);
	mprotect(memory, pages * PAGE, PROT_READ);
	write_pages();
	for (size_t i = 0; i < pages; i++)
		found += plain_table[i];
	mprotect(memory, pages * PAGE, PROT_READ | PROT_WRITE);
	sigaction(SIGSEGV, &before, NULL);
	return found;
}

static size_t run_tracker(enum vmat_track_backend backend)
{
	static struct vmat_range runs[RUNS];
	struct vmat_track_options options = { .size = sizeof(options), .backend = backend };
	struct vmat_track *track;
	size_t found = 0;
	ssize_t got;

	if (vmat_track_open(memory, pages * PAGE, &options, &track))
		return 0;
	write_pages();
	do {
		got = vmat_track_collect(track, runs, RUNS);
		for (ssize_t i = 0; i < got; i++)
			found += (size_t)(runs[i].end - runs[i].start) / PAGE;
	} while (got == RUNS);
	vmat_track_close(track);
	return found;
}

/* How many pages were found. */
static size_t run(enum method method)
{
	switch (method) {
	case BEST:
		return run_tracker(VMAT_TRACK_AUTO);
	case SYNC:
		return run_tracker(VMAT_TRACK_UFFD_SYNC);
	case MPROTECT:
		return run_tracker(VMAT_TRACK_MPROTECT);
	case PLAIN:
		return run_plain();
	default:
		write_pages();
		return dirty;
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void measure(size_t page_count, unsigned percent, double goal)
{
	double times[METHODS][ROUNDS], median[METHODS];
	size_t found[METHODS];
	struct rusage usage;

	pages = page_count;
	dirty = pages * percent / 100;
	for (int round = 0; round < ROUNDS; round++) {
		for (int method = 0; method < METHODS; method++) {
			double start = now_ns();

			found[method] = run((enum method)method);
			times[method][round] = (now_ns() - start) / (double)dirty;
		}
	}
	getrusage(RUSAGE_SELF, &usage);
	for (int method = 0; method < METHODS; method++) {
		qsort(times[method], ROUNDS, sizeof(double), compare);
		median[method] = times[method][ROUNDS / 2];
	}
	printf("{\"head\": \"write tracking, %zu pages, %u %% written (ns for each written page)\"}\n",
	       pages, percent);
	for (int method = SYNC; method < METHODS; method++)
		printf("{\"what\": \"found %zu of %zu pages\", \"ours\": %.0f, \"theirs\": %.0f, \"against\": \"%s\", "
		       "\"memory\": \"it found %zu%s; peak %ld MiB\"}\n",
		       found[BEST], dirty, median[BEST], median[method], names[method],
		       found[method], method == PLAIN && plain_lost ? ", for want of regions" : "",
		       usage.ru_maxrss / 1024);
	if (goal > 0)
		printf("{\"what\": \"the same\", \"ours\": %.0f, \"theirs\": %.0f, \"goal\": 1.0, \"against\": \"%.0f ns, "
		       "the goal\"}\n",
		       median[BEST], goal, goal);
	fflush(stdout);
}

int main(void)
{
	static const size_t sizes[] = { 1024, 16384, 262144, 1048576 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		memory = mmap(NULL, sizes[i] * PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		plain_table = malloc(sizes[i]);
		if (memory == MAP_FAILED || !plain_table)
			return 1;
		madvise(memory, sizes[i] * PAGE, MADV_NOHUGEPAGE);
		memset(memory, 1, sizes[i] * PAGE);
		measure(sizes[i], 1, 0);
		measure(sizes[i], 10, sizes[i] == 262144 ? 2100 : 0);
		/* A handler for each of a million pages takes too long to wait for. */
		if (sizes[i] < 262144)
			measure(sizes[i], 100, 0);
		munmap(memory, sizes[i] * PAGE);
		free(plain_table);
	}
	return 0;
}
