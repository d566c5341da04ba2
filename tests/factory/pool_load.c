/* SPDX-License-Identifier: MIT */
/*
 * pool_load THREADS OPERATIONS BUDGET FLAGS [SEED]: threads acquire, fill, hand on and release regions of one
 * pool, and check what the pool promises, by tables of their own: nobody else has the region; every byte of each
 * page that anybody ever wrote there is zero; what its user wrote is still there at the end.
 *
 * FLAGS: 1 MADV_FREE instead of DONTNEED, 2 guards, 4 users keep book of half of the releases, 8 threads end and begin all the
 * time, 16 one in eight wants undefined contents, 32 a thread trims and decays meanwhile.
 * The last line is JSON. Exit status 1 when a promise was broken.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/prim/pool.h>

enum {
	PAGE = 4096,
	PAGES = 4,
	REGION = PAGES * PAGE,
	REGIONS = 600,
	SLOTS = 256,
	THREADS_MAX = 64
};

enum { LAZY = 1, GUARDS = 2, BOOK = 4, MORTAL = 8, UNDEFINED = 16, TRIM = 32 };

static struct vmat_pool *pool;
static unsigned flags;
static uint64_t operations;

/* What a region is for its user: where it is, and what was written where. */
struct holding {
	char *region;
	uint64_t written;
	unsigned char tag;
	bool is_undefined;
};

/* Places where one thread leaves a region and another finds it. */
static struct holding slots[SLOTS];
static _Atomic int slot_locks[SLOTS];

/* By region: who has it, and which pages were ever written. */
static _Atomic int owners[2 * REGIONS];
static _Atomic uint64_t touched[2 * REGIONS];
static uintptr_t base;

static _Atomic uint64_t done, foreign, twice, torn, failed;
static _Atomic bool is_over;

static size_t index_of(const char *region)
{
	return ((uintptr_t)region - base) / (REGION + (flags & GUARDS ? PAGE : 0)) + REGIONS;
}

static uint64_t draw(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005U + 1442695040888963407U;
	return *seed >> 33;
}

static void check_zero(const struct holding *mine, uint64_t pages)
{
	static const char zeroes[PAGE];

	for (size_t i = 0; i < PAGES; i++)
		if ((pages >> i & 1) && memcmp(mine->region + i * PAGE, zeroes, PAGE) != 0)
			atomic_fetch_add(&foreign, 1);
}

static struct holding take(int thread, uint64_t *seed)
{
	struct holding mine = { .tag = (unsigned char)(1 + draw(seed) % 255) };
	void *region = NULL;
	int nobody = 0, err;

	mine.is_undefined = (flags & UNDEFINED) && draw(seed) % 8 == 0;
	err = mine.is_undefined ? vmat_pool_acquire_undefined(pool, &region)
				: vmat_pool_acquire(pool, &region);
	if (err) {
		atomic_fetch_add(&failed, 1);
		return mine;
	}
	mine.region = region;
	if (!atomic_compare_exchange_strong(&owners[index_of(region)], &nobody, thread))
		atomic_fetch_add(&twice, 1);
	/* Now and then all pages, which brings the zero page to those that were never written. */
	if (!mine.is_undefined)
		check_zero(&mine,
			   draw(seed) % 64 ? atomic_load(&touched[index_of(region)]) : UINT64_MAX);
	mine.written = draw(seed) >> 8 & ((1U << PAGES) - 1);
	mine.written &= draw(seed);
	atomic_fetch_or(&touched[index_of(region)], mine.written);
	for (size_t i = 0; i < PAGES; i++)
		if (mine.written >> i & 1)
			memset(mine.region + i * PAGE + draw(seed) % 2048, mine.tag, 2048);
	return mine;
}

static void give(const struct holding *mine, uint64_t *seed)
{
	int err;

	if (!mine->region)
		return;
	for (size_t i = 0; i < PAGES; i++)
		if ((mine->written >> i & 1) && (mine->region[i * PAGE + 2047] != (char)mine->tag))
			atomic_fetch_add(&torn, 1);
	atomic_store(&owners[index_of(mine->region)], 0);
	if ((flags & BOOK) && draw(seed) % 2)
		err = vmat_pool_release_written(pool, mine->region, &mine->written);
	else
		err = vmat_pool_release(pool, mine->region);
	if (err)
		atomic_fetch_add(&failed, 1);
}

/* Puts a region into a slot and returns what was there. */
static struct holding exchange(struct holding mine, size_t slot)
{
	struct holding old;

	while (atomic_exchange(&slot_locks[slot], 1))
		sched_yield();
	old = slots[slot];
	slots[slot] = mine;
	atomic_store(&slot_locks[slot], 0);
	return old;
}

static void *work(void *context)
{
	const int thread = (int)(intptr_t)context;
	uint64_t seed = (uint64_t)thread * 7919 + atomic_load(&done);

	for (uint64_t i = 0; !(flags & MORTAL) || i < 2000; i++) {
		struct holding old;

		if (atomic_fetch_add(&done, 1) >= operations)
			break;
		old = exchange(take(thread, &seed), draw(&seed) % SLOTS);
		give(&old, &seed);
	}
	return NULL;
}

/* Threads one after the other, as long as there is work. */
static void *generations(void *context)
{
	pthread_t thread;

	if (!(flags & MORTAL))
		return work(context);
	while (atomic_load(&done) < operations) {
		if (pthread_create(&thread, NULL, work, context))
			exit(3);
		pthread_join(thread, NULL);
	}
	return NULL;
}

static void *trimming(void *context)
{
	(void)context;
	for (unsigned i = 0; !atomic_load(&is_over); i++) {
		const struct timespec nap = { .tv_nsec = 300 * 1000 };

		if (vmat_pool_trim(pool, i % 3 * 100 * PAGE, NULL) || vmat_pool_decay(pool))
			atomic_fetch_add(&failed, 1);
		nanosleep(&nap, NULL);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct vmat_pool_options options = { .size = sizeof(options),
					     .region_size = REGION,
					     .regions_max = REGIONS };
	struct vmat_pool_stats stats = { .size = sizeof(stats) };
	pthread_t threads[THREADS_MAX], trimmer;
	size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	uint64_t seed = argc > 5 ? strtoull(argv[5], NULL, 10) : 1;
	void *first;
	bool is_right;

	if (argc < 5 || !count || count > THREADS_MAX)
		return 2;
	operations = strtoull(argv[2], NULL, 10);
	options.budget_bytes = strtoull(argv[3], NULL, 10);
	flags = (unsigned)strtoul(argv[4], NULL, 10);
	options.flags = flags & LAZY ? VMAT_POOL_LAZY : 0;
	options.guard_size = flags & GUARDS ? PAGE : 0;
	options.decay_ms = flags & TRIM ? 1 : 0;
	if (vmat_pool_new(&options, &pool) || vmat_pool_acquire(pool, &first))
		return 3;
	base = (uintptr_t)first;
	vmat_pool_release(pool, first);
	for (size_t i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, generations, (void *)(intptr_t)(i + 1)))
			return 3;
	if ((flags & TRIM) && pthread_create(&trimmer, NULL, trimming, NULL))
		return 3;
	for (size_t i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&is_over, true);
	if (flags & TRIM)
		pthread_join(trimmer, NULL);
	for (size_t i = 0; i < SLOTS; i++)
		give(&slots[i], &seed);
	vmat_pool_stats(pool, &stats);
	is_right = !foreign && !twice && !torn && !failed && !stats.regions_acquired &&
		   !stats.refused && stats.acquires == operations + 1 &&
		   stats.kept_peak_bytes <= stats.budget_bytes;
	printf("{\"operations\": %llu, \"foreign\": %llu, \"twice\": %llu, \"torn\": %llu, \"failed\": %llu, "
	       "\"acquired\": %llu, \"kept_peak\": %llu, \"budget\": %llu, \"scans\": %llu, \"given_back\": %llu, "
	       "\"caches\": %u}\n",
	       (unsigned long long)stats.acquires - 1, (unsigned long long)foreign,
	       (unsigned long long)twice, (unsigned long long)torn, (unsigned long long)failed,
	       (unsigned long long)stats.regions_acquired,
	       (unsigned long long)stats.kept_peak_bytes, (unsigned long long)stats.budget_bytes,
	       (unsigned long long)stats.scans, (unsigned long long)stats.given_back, stats.caches);
	vmat_pool_free(pool);
	return is_right ? 0 : 1;
}
