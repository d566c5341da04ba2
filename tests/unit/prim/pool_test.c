/* SPDX-License-Identifier: MIT */
/* timeout: 120 */
/* variant: VMAT_WITHOUT=pagemap_scan */
/* variant: VMAT_WITHOUT=madv_guard,process_madvise */
/* variant: VMAT_WITHOUT=all */
/*
 * The pool against the kernel's own words: resident pages from mincore and statm, guards by reads that fail,
 * contents byte by byte.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmatlas/feature.h>
#include <vmatlas/prim/pool.h>

#include "cmocka_all.h"

enum { PAGE = 4096, SIZE = 16 * PAGE };

#ifdef __SANITIZE_ADDRESS__
enum { IS_SANITIZED = true };
#else
enum { IS_SANITIZED = false };
#endif

static struct vmat_pool *make(size_t regions, uint64_t budget, size_t guard, uint32_t flags)
{
	struct vmat_pool_options options = {
		.size = sizeof(options),
		.region_size = SIZE,
		.regions_max = regions,
		.guard_size = guard,
		.budget_bytes = budget,
		.flags = flags,
	};
	struct vmat_pool *pool = NULL;

	assert_int_equal(vmat_pool_new(&options, &pool), 0);
	return pool;
}

static __attribute__((noinline)) char *take(struct vmat_pool *pool)
{
	void *region = NULL;

	assert_int_equal(vmat_pool_acquire(pool, &region), 0);
	assert_non_null(region);
	return region;
}

static struct vmat_pool_stats stats_of(struct vmat_pool *pool)
{
	struct vmat_pool_stats stats = { .size = sizeof(stats) };

	assert_int_equal(vmat_pool_stats(pool, &stats), 0);
	return stats;
}

/* Releases a region that is written all over. Where written pages cannot be found, the costs that were measured, on a machine that may
 * be busy, decide whether it is cleared or given back: of one that is told the pages, the pages stay. */
static void give(struct vmat_pool *pool, char *region)
{
	static const uint64_t all = (1U << SIZE / PAGE) - 1;
	bool is_told = stats_of(pool).finder == VMAT_POOL_FINDER_NONE;

	assert_int_equal(vmat_pool_release_written(pool, region, is_told ? &all : NULL), 0);
}

static bool is_zero(const char *start, size_t size)
{
	static const char zeroes[PAGE];

	for (size_t at = 0; at < size; at += PAGE)
		if (memcmp(start + at, zeroes, PAGE) != 0)
			return false;
	return true;
}

/* Resident pages of a range, as the kernel counts them. There is no swap in these tests. */
static size_t resident(const void *start, size_t size)
{
	unsigned char *seen = malloc(size / PAGE);
	size_t count = 0;

	assert_int_equal(mincore((void *)(uintptr_t)start, size, seen), 0);
	for (size_t i = 0; i < size / PAGE; i++)
		count += seen[i] & 1;
	free(seen);
	return count;
}

static bool can_read(const char *at)
{
	char byte;
	struct iovec local = { &byte, 1 }, remote = { (void *)(uintptr_t)at, 1 };

	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1;
}

static int lines_of_maps(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	int lines = 0, c;

	assert_non_null(file);
	while ((c = fgetc(file)) != EOF)
		lines += c == '\n';
	fclose(file);
	return lines;
}

static void test_refuses_bad_options(void **state)
{
	const struct {
		struct vmat_pool_options options;
		int err;
	} cases[] = {
		{ { 0, SIZE, 1 }, -EINVAL },
		{ { sizeof(struct vmat_pool_options), 0, 1 }, -EINVAL },
		{ { sizeof(struct vmat_pool_options), SIZE + 1, 1 }, -EINVAL },
		{ { sizeof(struct vmat_pool_options), SIZE, 0 }, -EINVAL },
		{ { sizeof(struct vmat_pool_options), SIZE, 1, 100 }, -EINVAL },
		{ { sizeof(struct vmat_pool_options), SIZE, 1, .flags = 1U << 31 }, -EINVAL },
		{ { sizeof(struct vmat_pool_options), SIZE, 1UL << 32 }, -EOVERFLOW },
		{ { sizeof(struct vmat_pool_options), 1UL << 40, 1UL << 30 }, -EOVERFLOW },
		{ { sizeof(struct vmat_pool_options), SIZE, 1, SIZE_MAX - PAGE + 1 }, -EOVERFLOW },
		{ { sizeof(struct vmat_pool_options), 1UL << 40, 1UL << 20 }, -ENOMEM },
	};

	struct {
		struct vmat_pool_options options;
		uint64_t more;
	} newer = { { sizeof(newer), SIZE, 1 }, 7 };
	struct vmat_pool *pool = (void *)&newer;

	(void)state;
	errno = 123;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(vmat_pool_new(&cases[i].options, &pool), cases[i].err);
		assert_ptr_equal(pool, &newer);
	}
	assert_int_equal(vmat_pool_new(NULL, &pool), -EINVAL);
	assert_int_equal(vmat_pool_new(&newer.options, &pool), -E2BIG);
	assert_int_equal(errno, 123);
	newer.more = 0;
	assert_int_equal(vmat_pool_new(&newer.options, &pool), 0);
	assert_null(vmat_pool_free(pool));
	assert_null(vmat_pool_free(NULL));
}

static void test_refuses_bad_releases(void **state)
{
	struct vmat_pool *pool = make(4, 0, PAGE, 0);
	char *region = take(pool), local;
	size_t used = 77;

	(void)state;
	errno = 123;
	assert_int_equal(vmat_pool_release(pool, region + 1), -EINVAL);
	assert_int_equal(vmat_pool_release(pool, region + PAGE), -EINVAL);
	assert_int_equal(vmat_pool_release(pool, region - PAGE), -EFAULT); /* the guard */
	assert_int_equal(vmat_pool_release(pool, &local), -EFAULT);
	assert_int_equal(vmat_pool_release(pool, NULL), -EFAULT);
	assert_int_equal(vmat_pool_release(pool, region + SIZE + PAGE),
			 -EALREADY); /* its neighbour */
	region[5] = 1;
	assert_int_equal(vmat_pool_release(pool, region), 0);
	assert_int_equal(vmat_pool_release(pool, region), -EALREADY);
	assert_int_equal(vmat_pool_high_water(pool, region, &used), -EALREADY);
	assert_int_equal(used, 77);
	assert_int_equal(errno, 123);
	assert_int_equal(stats_of(pool).refused, 7);
	assert_int_equal(stats_of(pool).regions_acquired, 0);
	vmat_pool_free(pool);
}

static void test_ends_at_its_limit(void **state)
{
	struct vmat_pool *pool = make(100, 0, 0, 0);
	char *regions[100];
	void *one_more = pool;

	(void)state;
	for (int i = 0; i < 100; i++) {
		regions[i] = take(pool);
		assert_true(is_zero(regions[i], SIZE));
		memset(regions[i], i + 1, SIZE);
	}
	assert_int_equal(vmat_pool_acquire(pool, &one_more), -EAGAIN);
	assert_ptr_equal(one_more, pool);
	for (int i = 0; i < 100; i++)
		for (int at = 0; at < SIZE; at += PAGE / 2)
			assert_int_equal(regions[i][at], i + 1);
	assert_int_equal(vmat_pool_release(pool, regions[50]), 0);
	assert_ptr_equal(take(pool), regions[50]);
	assert_true(is_zero(regions[50], SIZE));
	vmat_pool_free(pool);
}

/* What a user leaves in a region, the next one must not see: each pattern of pages, each way to release. */
static void reuse(uint64_t budget, uint32_t flags, bool keeps_book)
{
	struct vmat_pool *pool = make(40, budget, 0, flags);
	char *regions[40];
	uint64_t seed = 1;

	for (int round = 0; round < 300; round++) {
		int live = 1 + round % 40;

		for (int i = 0; i < live; i++) {
			regions[i] = take(pool);
			assert_true(is_zero(regions[i], SIZE));
		}
		for (int i = 0; i < live; i++) {
			uint64_t pages;

			seed = seed * 6364136223846793005U + 1442695040888963407U;
			pages = (round % 3 ? seed >> 48 : seed >> 50 & seed >> 40) & 0xffff;
			for (int p = 0; p < 16; p++)
				if (pages >> p & 1)
					memset(regions[i] + p * PAGE + (seed >> 33) % 4000, 0xa5,
					       90);
			if (keeps_book)
				assert_int_equal(
					vmat_pool_release_written(pool, regions[i], &pages), 0);
			else
				assert_int_equal(vmat_pool_release(pool, regions[i]), 0);
		}
		if (budget != VMAT_POOL_NO_LIMIT && budget)
			assert_true(stats_of(pool).kept_peak_bytes <= budget);
	}
	assert_int_equal(stats_of(pool).not_given_back, 0);
	vmat_pool_free(pool);
}

static void test_no_foreign_byte(void **state)
{
	const uint64_t budgets[] = { 1, SIZE, 10 * SIZE, 0, VMAT_POOL_NO_LIMIT };

	(void)state;
	for (size_t i = 0; i < sizeof(budgets) / sizeof(*budgets); i++) {
		reuse(budgets[i], 0, false);
		reuse(budgets[i], 0, true);
		reuse(budgets[i], VMAT_POOL_LAZY, false);
	}
}

static void test_undefined_then_zero(void **state)
{
	struct vmat_pool *pool = make(1, 0, 0, 0);
	const uint64_t nothing = 0;
	void *region = take(pool), *again;

	(void)state;
	memset(region, 1, SIZE);
	vmat_pool_release(pool, region);
	assert_int_equal(vmat_pool_acquire_undefined(pool, &again), 0);
	assert_ptr_equal(again, region);
	/* Its user wrote nothing, but it may not have been zero. */
	assert_int_equal(vmat_pool_release_written(pool, again, &nothing), 0);
	assert_true(is_zero(take(pool), SIZE));
	vmat_pool_free(pool);
}

static void test_large_region_book(void **state)
{
	struct vmat_pool_options options = { .size = sizeof(options),
					     .region_size = 200 * PAGE,
					     .regions_max = 2 };
	uint64_t written[4] = { 1, 1ULL << 63, 3, 0x80 };
	const size_t pages[] = { 0, 127, 128, 129, 199 };
	struct vmat_pool *pool;
	char *region;

	(void)state;
	assert_int_equal(vmat_pool_new(&options, &pool), 0);
	region = take(pool);
	for (int round = 1; round <= 50; round++) {
		for (size_t i = 0; i < 5; i++)
			memset(region + pages[i] * PAGE, 1, PAGE);
		assert_int_equal(vmat_pool_release_written(pool, region, written), 0);
		assert_int_equal(stats_of(pool).cleared_pages, 5 * round);
		/* The same pages again: the pool does not take them for more. */
		assert_in_range(stats_of(pool).kept_bytes, 5 * PAGE, 16 * PAGE);
		assert_ptr_equal(take(pool), region);
		assert_true(is_zero(region, 200 * PAGE));
	}
	vmat_pool_free(pool);
}

/* What is above the budget has gone back, by the kernel's own count. */
static void test_budget(void **state)
{
	enum { COUNT = 256, BUDGET = 64 * SIZE };
	struct vmat_pool *pool = make(COUNT, BUDGET, 0, 0);
	struct vmat_pool_stats stats;
	char *regions[COUNT];
	size_t left = 0;
	uint64_t back = 0;

	(void)state;
	for (int i = 0; i < COUNT; i++)
		memset(regions[i] = take(pool), 1, SIZE);
	for (int i = 0; i < COUNT; i++)
		give(pool, regions[i]);
	for (int i = 0; i < COUNT; i++)
		left += resident(regions[i], SIZE);
	stats = stats_of(pool);
	assert_true(left * PAGE <= BUDGET);
	assert_true(left * PAGE >= BUDGET / 4);
	assert_true(stats.kept_bytes <= BUDGET && stats.kept_bytes >= left * PAGE);
	assert_true(stats.given_back >= COUNT - 64);
	assert_true(stats.kept_peak_bytes >= stats.kept_bytes);
	assert_int_equal(vmat_pool_trim(pool, 10 * SIZE, &back), 0);
	assert_int_equal(back, stats.kept_bytes - stats_of(pool).kept_bytes);
	stats = stats_of(pool);
	assert_true(stats.kept_bytes <= 10 * SIZE);
	assert_int_equal(vmat_pool_trim(pool, 0, &back), 0);
	assert_int_equal(back, stats.kept_bytes);
	assert_int_equal(stats_of(pool).kept_bytes, 0);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(resident(regions[i], SIZE), 0);
	vmat_pool_free(pool);
}

static void test_decay(void **state)
{
	struct vmat_pool_options options = {
		.size = sizeof(options), .region_size = SIZE, .regions_max = 64, .decay_ms = 20
	};
	struct vmat_pool *pool;
	char *regions[64];
	int tries;

	(void)state;
	assert_int_equal(vmat_pool_new(&options, &pool), 0);
	for (int i = 0; i < 64; i++)
		regions[i] = memset(take(pool), 1, SIZE);
	for (int i = 0; i < 64; i++)
		give(pool, regions[i]);
	assert_true(stats_of(pool).kept_bytes > 0);
	for (tries = 0; tries < 100 && stats_of(pool).kept_bytes; tries++) {
		const struct timespec nap = { .tv_nsec = 10 * 1000 * 1000 };

		nanosleep(&nap, NULL);
		assert_int_equal(vmat_pool_decay(pool), 0);
	}
	assert_in_range(tries, 2, 99);
	for (int i = 0; i < 64; i++)
		assert_int_equal(resident(regions[i], SIZE), 0);
	vmat_pool_free(pool);
}

static void test_guards(void **state)
{
	struct vmat_pool *pool = make(1000, 0, PAGE, 0);
	int before = lines_of_maps();
	struct vmat_pool_stats stats;
	char *stacks[1000];

	(void)state;
	for (int i = 0; i < 1000; i++)
		stacks[i] = take(pool);
	for (int i = 0; i < 1000; i++) {
		assert_false(can_read(stacks[i] - 1));
		assert_false(can_read(stacks[i] - PAGE));
		assert_true(can_read(stacks[i]) && can_read(stacks[i] + SIZE - 1));
		memset(stacks[i], 1, SIZE);
	}
	stats = stats_of(pool);
	if (vmat_feature_has(VMAT_FEATURE_MADV_GUARD)) {
		assert_true(stats.guards_madvise >= 1000 && !stats.guards_mprotect);
		assert_in_range(lines_of_maps(), before, before + 2);
	} else {
		assert_true(stats.guards_mprotect >= 1000 && !stats.guards_madvise);
		assert_true(lines_of_maps() >= before + 1999);
	}
	for (int i = 0; i < 1000; i++)
		assert_int_equal(vmat_pool_release(pool, stacks[i]), 0);
	vmat_pool_trim(pool, 0, NULL);
	for (int i = 0; i < 1000; i++) {
		assert_false(can_read(stacks[i] - 1)); /* giving back takes no guard away */
		assert_true(is_zero(take(pool), SIZE));
	}
	vmat_pool_free(pool);
}

/* Far more than a process may have regions: 65530 by default. */
static void test_million_stacks(void **state)
{
	enum { COUNT = 1000000, STACK = 4 * PAGE };
	struct vmat_pool_options options = { .size = sizeof(options),
					     .region_size = STACK,
					     .regions_max = COUNT,
					     .guard_size = PAGE };
	int before = lines_of_maps();
	struct vmat_pool *pool = NULL;
	char *stack;

	(void)state;
	if (!vmat_feature_has(VMAT_FEATURE_MADV_GUARD))
		return; /* test_map_count_ends tells how far it goes without */
	assert_int_equal(vmat_pool_new(&options, &pool), 0);
	for (int i = 0; i < COUNT; i++) {
		void *region = NULL;

		if (vmat_pool_acquire(pool, &region))
			fail_msg("stack %d", i);
		stack = region;
		if (i % 1000 && i < COUNT - 10)
			continue;
		assert_false(can_read(stack - 1));
		stack[STACK - 1] = 1;
	}
	assert_int_equal(stats_of(pool).guards_madvise, COUNT);
	assert_int_equal(stats_of(pool).regions_acquired, COUNT);
	assert_in_range(lines_of_maps(), before, before + 3);
	vmat_pool_free(pool);
}

static void test_high_water(void **state)
{
	struct vmat_pool *pool = make(4, 0, PAGE, 0);
	char *stack = take(pool);
	size_t used = 1;
	int err = vmat_pool_high_water(pool, stack, &used);

	(void)state;
	if (!vmat_feature_has(VMAT_FEATURE_PAGEMAP)) {
		assert_int_equal(err, -EOPNOTSUPP);
		assert_int_equal(used, 1);
		vmat_pool_free(pool);
		return;
	}
	assert_int_equal(err, 0);
	assert_int_equal(used, 0);
	stack[SIZE - 100] = 1;
	assert_int_equal(vmat_pool_high_water(pool, stack, &used), 0);
	assert_int_equal(used, 100);
	stack[SIZE - 3 * PAGE - 5] = 1;
	assert_int_equal(vmat_pool_high_water(pool, stack, &used), 0);
	assert_int_equal(used, 3 * PAGE + 5);
	for (int i = 0; i < 100; i++) {
		vmat_pool_release(pool, stack);
		stack = take(pool);
		assert_int_equal(vmat_pool_high_water(pool, stack, &used), 0);
		assert_int_equal(used, 0); /* former users do not count */
		stack[SIZE - 4 * PAGE + i] = 1;
		assert_int_equal(vmat_pool_high_water(pool, stack, &used), 0);
		assert_int_equal(used, 4 * PAGE - i);
	}
	vmat_pool_free(pool);
}

static int in_child(void (*work)(struct vmat_pool *, char **), struct vmat_pool *pool,
		    char **regions)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		work(pool, regions);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void child_uses(struct vmat_pool *pool, char **regions)
{
	struct vmat_pool_stats stats = stats_of(pool);
	void *more[8], *none;

	assert_int_equal(stats.regions_acquired, 8);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(regions[i][0], i + 1); /* still its own */
		assert_int_equal(vmat_pool_acquire(pool, &more[i]), 0);
		assert_true(is_zero(more[i], SIZE));
		memset(more[i], 9, SIZE);
	}
	assert_int_equal(vmat_pool_acquire(pool, &none), -EAGAIN);
	for (int i = 0; i < 8; i++) {
		memset(regions[i], 77, SIZE);
		assert_int_equal(vmat_pool_release(pool, regions[i]), 0);
	}
	for (int i = 0; i < 8; i++)
		assert_true(is_zero(take(pool), SIZE));
}

static void child_forks(struct vmat_pool *pool, char **regions)
{
	assert_int_equal(in_child(child_uses, pool, regions), 0);
	assert_int_equal(in_child(child_uses, pool, regions), 0);
	child_uses(pool, regions);
}

static void test_fork(void **state)
{
	struct vmat_pool *pool = make(16, 0, 0, 0);
	char *regions[16];

	(void)state;
	for (int i = 0; i < 16; i++)
		regions[i] = memset(take(pool), i + 1, SIZE);
	for (int i = 8; i < 16; i++)
		vmat_pool_release(pool, regions[i]);
	assert_int_equal(in_child(child_uses, pool, regions), 0);
	assert_int_equal(in_child(child_forks, pool, regions), 0);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(regions[i][100], i + 1);
		assert_true(is_zero(take(pool), SIZE));
	}
	vmat_pool_free(pool);
}

static void *fork_load(void *context)
{
	struct vmat_pool *pool = context;

	for (int i = 0; i < 4000; i++) {
		char *region = take(pool);

		assert_int_equal(region[(i % 16) * PAGE], 0);
		region[(i % 16) * PAGE] = 1;
		vmat_pool_release(pool, region);
	}
	return NULL;
}

static void child_loads(struct vmat_pool *pool, char **regions)
{
	pthread_t thread;

	(void)regions;
	alarm(60); /* a lock that another thread of the parent held would hang */
	assert_int_equal(pthread_create(&thread, NULL, fork_load, pool), 0);
	fork_load(pool);
	pthread_join(thread, NULL);
}

/* Forks while other threads are within the pool. */
static void test_fork_under_load(void **state)
{
	struct vmat_pool *pool;
	pthread_t threads[3];

	(void)state;
	/* A sanitizer's malloc (gcc 12) has locks that fork(2) leaves held in the child. */
	if (IS_SANITIZED)
		skip();
	pool = make(200, 20 * SIZE, PAGE, 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, fork_load, pool), 0);
	for (int i = 0; i < 12; i++)
		assert_int_equal(in_child(child_loads, pool, NULL), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(stats_of(pool).regions_acquired, 0);
	vmat_pool_free(pool);
}

static void *take_and_leave(void *context)
{
	struct vmat_pool *pool = context;
	char *regions[10];

	for (int i = 0; i < 10; i++)
		regions[i] = memset(take(pool), 1, SIZE);
	for (int i = 0; i < 10; i++)
		vmat_pool_release(pool, regions[i]);
	return NULL;
}

static void test_threads_end_without_loss(void **state)
{
	struct vmat_pool *pool = make(40, 0, 0, 0);
	pthread_t thread;
	void *none;

	(void)state;
	for (int i = 0; i < 200; i++) {
		assert_int_equal(pthread_create(&thread, NULL, take_and_leave, pool), 0);
		pthread_join(thread, NULL);
	}
	assert_int_equal(stats_of(pool).caches, 1); /* that of this thread, which asks */
	for (int i = 0; i < 40; i++)
		assert_true(is_zero(take(pool), SIZE));
	assert_int_equal(vmat_pool_acquire(pool, &none), -EAGAIN);
	vmat_pool_free(pool);
}

static pthread_barrier_t barrier;

static void *take_and_wait(void *context)
{
	take_and_leave(context);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return NULL;
}

/* What sits in the cache of a thread that sleeps is there for others, and for trim. */
static void test_caches_are_no_prison(void **state)
{
	struct vmat_pool *pool = make(40, 0, 0, 0);
	pthread_t threads[4];
	char *regions[40];

	(void)state;
	pthread_barrier_init(&barrier, NULL, 5);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_and_wait, pool), 0);
	pthread_barrier_wait(&barrier);
	assert_int_equal(vmat_pool_trim(pool, 0, NULL), 0);
	assert_int_equal(stats_of(pool).kept_bytes, 0);
	for (int i = 0; i < 40; i++)
		assert_true(is_zero(regions[i] = take(pool), SIZE));
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	vmat_pool_free(pool);
}

/* A program may close all descriptors, and others get their numbers. */
static void test_descriptors_may_be_closed(void **state)
{
	struct vmat_pool *pool = make(64, 0, 0, 0);
	char *regions[64];
	int first = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 64; i++)
			assert_true(is_zero(regions[i] = take(pool), SIZE));
		for (int i = 0; i < 64; i++)
			regions[i][(i % 16) * PAGE] = 1;
		for (int fd = 3; fd < first; fd++)
			dup2(first, fd);
		for (int i = 0; i < 64; i++)
			vmat_pool_release(pool, regions[i]);
	}
	vmat_pool_free(pool);
	for (int fd = 3; fd <= first; fd++)
		assert_true(fcntl(fd, F_GETFD) >= 0); /* it has closed what was not its own: no */
	close(first);
}

/* Locked memory does not go back, and guards cannot be put there: cleared, and guarded by mprotect. */
static void test_locked_memory(void **state)
{
	struct vmat_pool *pool = make(64, 1, PAGE, 0);
	char *regions[64];

	(void)state;
	for (int i = 0; i < 64; i++)
		regions[i] = memset(take(pool), 1, SIZE);
	if (mlock(regions[0], SIZE)) {
		print_message("mlock is not permitted\n");
	}
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 64; i++)
			assert_int_equal(vmat_pool_release(pool, regions[i]), 0);
		for (int i = 0; i < 64; i++)
			assert_true(is_zero(regions[i] = take(pool), SIZE));
		memset(regions[7], 1, SIZE);
	}
	munlockall();
	vmat_pool_free(pool);
}

/* All that is mapped from now on is locked: the kernel may refuse its own guards there, and takes nothing back. */
static void child_locks_all(struct vmat_pool *pool, char **regions)
{
	struct vmat_pool *locked;
	struct vmat_pool_stats stats;
	char *stacks[50];

	(void)pool;
	(void)regions;
	if (mlockall(MCL_FUTURE))
		return; /* not permitted */
	locked = make(50, 1, PAGE, 0);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 50; i++) {
			stacks[i] = take(locked);
			assert_true(is_zero(stacks[i], SIZE));
			assert_false(can_read(stacks[i] - 1));
			memset(stacks[i], 1, SIZE);
		}
		for (int i = 0; i < 50; i++)
			assert_int_equal(vmat_pool_release(locked, stacks[i]), 0);
	}
	stats = stats_of(locked);
	assert_int_equal(stats.guards_madvise + stats.guards_mprotect, 50);
	assert_int_equal(stats.given_back + stats.not_given_back, 150);
	vmat_pool_free(locked);
}

static void test_all_is_locked(void **state)
{
	struct vmat_pool *pool = make(1, 0, 0, 0);

	(void)state;
	assert_int_equal(in_child(child_locks_all, pool, NULL), 0);
	vmat_pool_free(pool);
}

static void child_is_short_of_address_space(struct vmat_pool *pool, char **regions)
{
	struct rlimit limit = { 300 << 20, 300 << 20 };
	struct vmat_pool_options options = { .size = sizeof(options),
					     .region_size = SIZE,
					     .regions_max = 100000 };
	struct vmat_pool *more = NULL;

	(void)regions;
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
	assert_int_equal(vmat_pool_new(&options, &more), -ENOMEM);
	options.regions_max = 100;
	assert_int_equal(vmat_pool_new(&options, &more), 0);
	for (int i = 0; i < 100; i++)
		assert_true(is_zero(take(more), SIZE));
	assert_true(is_zero(take(pool), SIZE));
}

static void test_address_space_ends(void **state)
{
	struct vmat_pool *pool = make(16, 0, 0, 0);

	(void)state;
	/* A sanitizer takes more addresses for itself than are left. */
	if (!IS_SANITIZED)
		assert_int_equal(in_child(child_is_short_of_address_space, pool, NULL), 0);
	vmat_pool_free(pool);
}

/* Without guards in page tables the number of regions of the process ends it: before the limit is hit. */
static void test_map_count_ends(void **state)
{
	struct vmat_pool_options options = { .size = sizeof(options),
					     .region_size = PAGE,
					     .regions_max = 100000,
					     .guard_size = PAGE };
	struct vmat_pool *pool;
	void *stack, *own;
	int err = 0, count = 0;

	(void)state;
	assert_int_equal(vmat_pool_new(&options, &pool), 0);
	for (; count < 100000 && !err; count += !err)
		err = vmat_pool_acquire(pool, &stack);
	if (vmat_feature_has(VMAT_FEATURE_MADV_GUARD)) {
		assert_int_equal(err, 0);
		assert_int_equal(count, 100000);
	} else {
		assert_int_equal(err, -ENOSPC);
		assert_true(count > 10000);
		/* Others can still map. */
		for (int i = 0; i < 200; i++) {
			own = mmap(NULL, PAGE, i % 2 ? PROT_READ : PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			assert_true(own != MAP_FAILED);
		}
	}
	vmat_pool_free(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refuses_bad_options),
		cmocka_unit_test(test_refuses_bad_releases),
		cmocka_unit_test(test_ends_at_its_limit),
		cmocka_unit_test(test_no_foreign_byte),
		cmocka_unit_test(test_undefined_then_zero),
		cmocka_unit_test(test_large_region_book),
		cmocka_unit_test(test_budget),
		cmocka_unit_test(test_decay),
		cmocka_unit_test(test_guards),
		cmocka_unit_test(test_million_stacks),
		cmocka_unit_test(test_high_water),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_fork_under_load),
		cmocka_unit_test(test_threads_end_without_loss),
		cmocka_unit_test(test_caches_are_no_prison),
		cmocka_unit_test(test_descriptors_may_be_closed),
		cmocka_unit_test(test_locked_memory),
		cmocka_unit_test(test_all_is_locked),
		cmocka_unit_test(test_address_space_ends),
		cmocka_unit_test(test_map_count_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
