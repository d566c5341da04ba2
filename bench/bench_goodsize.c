/* SPDX-License-Identifier: MIT */
/*
 * bench_goodsize: what it costs to ask for malloc's size grid, in ns per call, beside what is done today: to allocate a block,
 * ask malloc_usable_size() and free it; with jemalloc and tcmalloc also beside their own nallocx(). Each allocator in a
 * process of its own, sizes to 64 KiB in mixed order. One JSON object a line, for bench/run.
 */
#include <dlfcn.h>
#include <err.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <vmatlas/prim/goodsize.h>

enum { CALLS = 2000000, ROUNDS = 5 };

static volatile size_t sink;
static size_t (*nallocx)(size_t size, int flags);

static void ours(size_t size)
{
	sink = (size_t)vmat_good_size(size);
}

static void by_allocating(size_t size)
{
	void *block = malloc(size);

	sink = malloc_usable_size(block);
	free(block);
}

static void by_nallocx(size_t size)
{
	sink = nallocx(size, 0);
}

static double ns_per_call(void (*run)(size_t size))
{
	double best = 1e9;

	for (int round = 0; round < ROUNDS; round++) {
		struct timespec start, end;
		double ns;

		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
		for (unsigned i = 0; i < CALLS; i++)
			run(1 + i * 40503U % 65536);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
		ns = (double)(end.tv_sec - start.tv_sec) * 1e9 +
		     (double)(end.tv_nsec - start.tv_nsec);
		if (ns / CALLS < best)
			best = ns / CALLS;
	}
	return best;
}

static void measure(const char *name)
{
	const char *found;
	void *symbol = dlsym(RTLD_DEFAULT, "nallocx");
	double mine;

	free(malloc(1));
	found = vmat_allocator();
	if (!found || strcmp(found, name) != 0)
		errx(1, "%s is not installed", name);
	memcpy(&nallocx, &symbol, sizeof(symbol));
	mine = ns_per_call(ours);
	printf("{\"what\": \"vmat_good_size, %s (ns)\", \"ours\": %.1f, \"theirs\": %.1f, \"against\": \"malloc, "
	       "malloc_usable_size, free\", \"goal\": 1.0}\n",
	       name, mine, ns_per_call(by_allocating));
	if (nallocx)
		printf("{\"what\": \"vmat_good_size, %s (ns)\", \"ours\": %.1f, \"theirs\": %.1f, \"against\": \"nallocx\"}\n",
		       name, mine, ns_per_call(by_nallocx));
}

int main(int argc, char **argv)
{
	static const char *const peers[][2] = {
		{ "glibc", NULL },
		{ "jemalloc", "libjemalloc.so.2" },
		{ "mimalloc", "libmimalloc.so.2.0" },
		{ "tcmalloc", "libtcmalloc_minimal.so.4" },
	};

	if (argc == 3) {
		measure(argv[2]);
		return 0;
	}
	printf("{\"head\": \"the size that malloc gives, without allocating\"}\n");
	fflush(stdout);
	for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++) {
		int status;
		pid_t child = fork();

		if (child == 0) {
			if (peers[i][1])
				setenv("LD_PRELOAD", peers[i][1], 1);
			execl("/proc/self/exe", "bench_goodsize", "--run", peers[i][0],
			      (char *)NULL);
			_exit(127);
		}
		if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
			errx(1, "%s failed", peers[i][0]);
	}
	return 0;
}
