/* SPDX-License-Identifier: MIT */
/*
 * pool.c: the pool as its users see it (vmatlas/prim/pool.h). The parts are explained in pool_parts.h.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "prim/pool_parts.h"
#include "sys/sys_memory.h"

enum {
	DEFAULT_BUDGET_BYTES = 64 << 20,
	DEFAULT_DECAY_MS = 10 * 1000,
	BATCH_BYTES = 4 << 20, /* regions of 4 MiB and more are dealt with one by one */
	USES_PER_LOOK = 256,   /* at the clock */
	TRIES_MAX = 8,
};

static _Atomic uint64_t last_id;

static uint64_t now_ms(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
	return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

/* Copies a struct of the caller's size; a longer one may hold but zeroes where we know nothing. */
static int read_options(const struct vmat_pool_options *from, struct vmat_pool_options *ret)
{
	const size_t least = offsetof(struct vmat_pool_options, budget_bytes);
	size_t size;

	if (!from || from->size < least)
		return -EINVAL;
	size = from->size;
	for (size_t i = sizeof(*ret); i < size; i++)
		if (((const char *)from)[i])
			return -E2BIG;
	memset(ret, 0, sizeof(*ret));
	memcpy(ret, from, size < sizeof(*ret) ? size : sizeof(*ret));
	return 0;
}

static int check_options(const struct vmat_pool_options *options, size_t page, size_t *ret_reserved)
{
	size_t stride;

	if (!options->region_size || options->region_size % page || options->guard_size % page ||
	    !options->regions_max || (options->flags & ~(uint32_t)VMAT_POOL_LAZY))
		return -EINVAL;
	/* Indexes are int32_t. */
	if (options->regions_max > INT32_MAX || options->region_size / page > INT32_MAX)
		return -EOVERFLOW;
	if (__builtin_add_overflow(options->region_size, options->guard_size, &stride) ||
	    __builtin_mul_overflow(stride, options->regions_max, ret_reserved) ||
	    *ret_reserved > PTRDIFF_MAX)
		return -EOVERFLOW;
	return 0;
}

static void choose(struct vmat_pool *pool, const struct vmat_pool_options *options)
{
	const struct vmat_pool_costs *costs;
	uint64_t budget = options->budget_bytes ? options->budget_bytes : DEFAULT_BUDGET_BYTES;
	size_t batch = BATCH_BYTES / pool->region_size;

	(void)vmat_pool_costs_find(&costs); /* what is assumed will do */
	pool->budget_pages = budget == VMAT_POOL_NO_LIMIT ? INT64_MAX : budget >> pool->page_shift;
	pool->batch = batch > VMAT_POOL_BATCH_MAX ? VMAT_POOL_BATCH_MAX
		      : batch < 1                 ? 1
						  : (uint32_t)batch;
	pool->lease_chunk = (uint64_t)pool->batch * pool->region_pages;
	if (pool->lease_chunk > pool->budget_pages / 64)
		pool->lease_chunk = pool->budget_pages / 64;
	pool->decay_ms = options->decay_ms == VMAT_POOL_NEVER ? UINT64_MAX
			 : options->decay_ms                  ? options->decay_ms
							      : DEFAULT_DECAY_MS;
	pool->full_pages = vmat_pool_full_pages(costs, pool->region_pages, pool->batch);
	pool->gap_regions = vmat_pool_gap_regions(costs, pool->region_pages);
	pool->clears_blindly = vmat_pool_clears_blindly(costs, pool->region_pages);
	pool->flags = options->flags;
	strncpy(pool->name, options->name ? options->name : "vmatlas-pool", sizeof(pool->name) - 1);
}

static void init(struct vmat_pool *pool, const struct vmat_pool_options *options, size_t page)
{
	pool->id = atomic_fetch_add(&last_id, 1) + 1;
	pool->page_size = page;
	pool->page_shift = (unsigned)__builtin_ctzl(page);
	pool->region_size = options->region_size;
	pool->guard_size = options->guard_size;
	pool->stride = options->region_size + options->guard_size;
	pool->region_pages = (uint32_t)(options->region_size >> pool->page_shift);
	while ((pool->region_pages - 1) >> pool->chunk_shift > 63)
		pool->chunk_shift++;
	pool->regions_max = (uint32_t)options->regions_max;
	pool->warm = pool->dirty = pool->cold = (struct vmat_pool_list){ VMAT_POOL_NONE, 0 };
	pool->decayed_ms = now_ms();
	choose(pool, options);
}

/* Address space for the regions, and memory for what is known of them. */
static int reserve(struct vmat_pool *pool)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	void *base, *records;
	int err;

	pool->records_size = pool->regions_max * sizeof(struct vmat_pool_record);
	err = vmat_sys_mmap(NULL, pool->reserved_size, PROT_NONE, flags, -1, 0, &base);
	if (err)
		return err;
	err = vmat_sys_mmap(NULL, pool->records_size, PROT_READ | PROT_WRITE, flags, -1, 0,
			    &records);
	if (err) {
		vmat_sys_munmap(base, pool->reserved_size);
		return err;
	}
	pool->base = base;
	pool->records = records;
	/* A huge page would make a region resident that was touched at one byte. Without them it is -EINVAL. */
	if (pool->region_size % (2 << 20) || pool->guard_size)
		vmat_sys_madvise(base, pool->reserved_size, MADV_NOHUGEPAGE);
	return 0;
}

int vmat_pool_new(const struct vmat_pool_options *options, struct vmat_pool **ret)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), reserved = 0;
	struct vmat_pool_options own;
	struct vmat_pool *pool;
	void *memory;
	int err = read_options(options, &own);

	if (!err)
		err = check_options(&own, page, &reserved);
	if (!err)
		err = vmat_pool_process_begin();
	if (!err)
		err = vmat_sys_mmap(NULL, sizeof(*pool), PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &memory);
	if (err)
		return err;
	pool = memory;
	init(pool, &own, page);
	pool->reserved_size = reserved;
	err = reserve(pool);
	if (err) {
		vmat_sys_munmap(pool, sizeof(*pool));
		return err;
	}
	vmat_pool_finder_open(pool);
	atomic_store(&pool->epoch, vmat_pool_epoch());
	vmat_pool_register(pool);
	*ret = pool;
	return 0;
}

struct vmat_pool *vmat_pool_free(struct vmat_pool *pool)
{
	if (!pool)
		return NULL;
	vmat_pool_unregister(pool);
	vmat_pool_finder_close(pool);
	vmat_pool_caches_free(pool);
	vmat_sys_munmap(pool->base, pool->reserved_size);
	vmat_sys_munmap(pool->records, pool->records_size);
	vmat_sys_munmap(pool, sizeof(*pool));
	return NULL;
}

static int acquire(struct vmat_pool *pool, bool is_undefined, void **ret)
{
	const uint8_t state = is_undefined ? VMAT_POOL_ACQUIRED_UNDEFINED : VMAT_POOL_ACQUIRED;
	bool is_time = false;
	int32_t index = VMAT_POOL_NONE;
	int err = -EAGAIN;

	for (int tries = 0; err == -EAGAIN && tries < TRIES_MAX; tries++) {
		struct vmat_pool_cache *cache;

		if (tries)
			vmat_pool_cache_flush_all(pool, false); /* other threads may have some */
		cache = vmat_pool_cache_enter(pool);
		err = vmat_pool_cache_take(pool, cache, is_undefined, &index);
		if (!err) {
			atomic_store_explicit(&pool->records[index].state, state,
					      memory_order_relaxed);
			cache->tally.acquires++;
			is_time = cache->tally.acquires % USES_PER_LOOK == 0;
		}
		vmat_pool_cache_leave(cache);
	}
	if (err)
		return err;
	*ret = vmat_pool_region(pool, index);
	if (is_time)
		vmat_pool_decay(pool);
	return 0;
}

int vmat_pool_acquire(struct vmat_pool *pool, void **ret)
{
	return acquire(pool, false, ret);
}

int vmat_pool_acquire_undefined(struct vmat_pool *pool, void **ret)
{
	return acquire(pool, true, ret);
}

static int index_of(const struct vmat_pool *pool, const void *region, int32_t *ret)
{
	uintptr_t offset = (uintptr_t)region - (uintptr_t)pool->base;
	size_t index = offset / pool->stride;

	if (offset >= pool->reserved_size || offset - index * pool->stride < pool->guard_size)
		return -EFAULT;
	if (offset - index * pool->stride != pool->guard_size)
		return -EINVAL;
	*ret = (int32_t)index;
	return 0;
}

/* The one of two releases that finds it acquired goes on. 0 or -EALREADY; *ret_state: what it was. */
static int let_go(struct vmat_pool_record *record, uint8_t *ret_state)
{
	uint8_t state = atomic_load_explicit(&record->state, memory_order_relaxed);

	do {
		if (state == VMAT_POOL_IDLE)
			return -EALREADY;
	} while (!atomic_compare_exchange_weak_explicit(&record->state, &state, VMAT_POOL_IDLE,
							memory_order_acq_rel,
							memory_order_relaxed));
	*ret_state = state;
	return 0;
}

int vmat_pool_release_written(struct vmat_pool *pool, void *region, const uint64_t *written)
{
	struct vmat_pool_cache *cache = vmat_pool_cache_enter(pool);
	uint8_t state = VMAT_POOL_IDLE;
	int32_t index = VMAT_POOL_NONE;
	int err = index_of(pool, region, &index);

	if (!err)
		err = let_go(&pool->records[index], &state);
	if (err) {
		cache->tally.refused++;
	} else {
		cache->tally.releases++;
		/* What was dirty when it was acquired holds more than its user wrote. */
		vmat_pool_cache_put(pool, cache, index,
				    state == VMAT_POOL_ACQUIRED ? written : NULL);
	}
	vmat_pool_cache_leave(cache);
	return err;
}

int vmat_pool_release(struct vmat_pool *pool, void *region)
{
	return vmat_pool_release_written(pool, region, NULL);
}

/* Cools the depot until `done` says so, in batches. */
static void cool(struct vmat_pool *pool, uint64_t regions, uint64_t keep_pages)
{
	struct vmat_pool_tally tally = { 0 };
	struct vmat_pool_cache *cache;

	while (regions && atomic_load(&pool->leased_pages) > keep_pages) {
		uint32_t count =
			regions < VMAT_POOL_BATCH_MAX ? (uint32_t)regions : VMAT_POOL_BATCH_MAX;
		uint64_t failures = tally.not_given_back;

		if (!vmat_pool_depot_cool(pool, &tally, count) || tally.not_given_back > failures)
			break;
		regions -= count;
	}
	cache = vmat_pool_cache_enter(pool);
	cache->tally.given_back += tally.given_back;
	cache->tally.not_given_back += tally.not_given_back;
	cache->tally.cleared_whole += tally.cleared_whole;
	vmat_pool_cache_leave(cache);
}

int vmat_pool_trim(struct vmat_pool *pool, uint64_t keep_bytes, uint64_t *ret_bytes)
{
	struct vmat_pool_stats before = { .size = sizeof(before) };
	struct vmat_pool_stats after = { .size = sizeof(after) };

	/* Not by the leases, which caches have more of than they keep. A child of a fork begins here. */
	vmat_pool_stats(pool, &before);
	vmat_pool_cache_flush_all(pool, false);
	cool(pool, UINT64_MAX, keep_bytes >> pool->page_shift);
	vmat_pool_stats(pool, &after);
	if (ret_bytes)
		*ret_bytes = before.kept_bytes > after.kept_bytes
				     ? before.kept_bytes - after.kept_bytes
				     : 0;
	return 0;
}

int vmat_pool_decay(struct vmat_pool *pool)
{
	uint64_t now = now_ms(), surplus = 0;
	bool is_due;

	vmat_pool_cache_leave(vmat_pool_cache_enter(pool));
	vmat_pool_lock(&pool->lock);
	is_due = pool->decay_ms != UINT64_MAX && now - pool->decayed_ms >= pool->decay_ms;
	if (is_due) {
		surplus = pool->needed_least;
		pool->decayed_ms = now;
	}
	vmat_pool_unlock(&pool->lock);
	if (!is_due)
		return 0;
	vmat_pool_cache_flush_all(pool, true);
	if (surplus)
		cool(pool, surplus, 0);
	vmat_pool_lock(&pool->lock);
	pool->needed_least = pool->warm.count + pool->dirty.count;
	vmat_pool_unlock(&pool->lock);
	return 0;
}

/* The first byte of pages [at, end) that is not zero. They are present, so that reading brings none. */
static const char *first_set(const char *at, const char *end)
{
	while (at < end && !*(const uint64_t *)(const void *)at)
		at += sizeof(uint64_t);
	while (at < end && !*at)
		at++;
	return at;
}

int vmat_pool_high_water(struct vmat_pool *pool, const void *region, size_t *ret_bytes)
{
	uintptr_t at = (uintptr_t)region, end = at + pool->region_size, next = at;
	struct vmat_pool_cache *cache = vmat_pool_cache_enter(pool);
	size_t bytes = 0;
	int32_t index = VMAT_POOL_NONE;
	int err = index_of(pool, region, &index), runs = 0;

	if (!err && atomic_load(&pool->records[index].state) == VMAT_POOL_IDLE)
		err = -EALREADY;
	for (; !err && !bytes && at < end; at = next) {
		runs = vmat_pool_find(pool, &cache->scratch, at, end, &next);
		if (runs < 0)
			err = -EOPNOTSUPP;
		for (int i = 0; i < runs && !bytes; i++) {
			const struct vmat_uapi_page_region *run = &cache->scratch.runs[i];
			const char *run_end = (const char *)(uintptr_t)run->end, *found;

			if (run->categories & VMAT_UAPI_PAGE_IS_PFNZERO)
				continue;
			found = first_set((const char *)(uintptr_t)run->start, run_end);
			if (found < run_end)
				bytes = end - (uintptr_t)found;
		}
	}
	vmat_pool_cache_leave(cache);
	if (!err)
		*ret_bytes = bytes;
	return err;
}

static void add(struct vmat_pool_stats *sum, uint64_t *kept_pages, struct vmat_pool_cache *cache)
{
	vmat_pool_lock(&cache->lock);
	sum->acquires += cache->tally.acquires;
	sum->releases += cache->tally.releases;
	sum->refused += cache->tally.refused;
	sum->scans += cache->tally.scans;
	sum->cleared_pages += cache->tally.cleared_pages;
	sum->cleared_whole += cache->tally.cleared_whole;
	sum->given_back += cache->tally.given_back;
	sum->not_given_back += cache->tally.not_given_back;
	*kept_pages += cache->kept_pages;
	vmat_pool_unlock(&cache->lock);
}

int vmat_pool_stats(struct vmat_pool *pool, struct vmat_pool_stats *ret)
{
	struct vmat_pool_stats sum = { .size = ret->size };
	uint64_t kept_pages = 0;

	if (!ret->size)
		return -EINVAL;
	vmat_pool_cache_leave(vmat_pool_cache_enter(pool));
	for (struct vmat_pool_cache *cache = atomic_load(&pool->caches); cache;
	     cache = cache->next) {
		add(&sum, &kept_pages, cache);
		sum.caches += atomic_load(&cache->owner) != 0;
	}
	add(&sum, &kept_pages, &pool->shared);
	vmat_pool_lock(&pool->lock);
	sum.regions_max = pool->regions_max;
	sum.regions_made = pool->made;
	sum.regions_acquired = pool->acquired_before + sum.acquires - sum.releases;
	kept_pages += pool->depot_pages;
	sum.guards_madvise = pool->guards_madvise;
	sum.guards_mprotect = pool->guards_mprotect;
	vmat_pool_unlock(&pool->lock);
	sum.kept_bytes = kept_pages << pool->page_shift;
	sum.kept_peak_bytes = atomic_load(&pool->leased_peak) << pool->page_shift;
	sum.budget_bytes = pool->budget_pages == INT64_MAX ? VMAT_POOL_NO_LIMIT
							   : pool->budget_pages << pool->page_shift;
	sum.finder = vmat_pool_finder(pool);
	memcpy(ret, &sum, ret->size < sizeof(sum) ? ret->size : sizeof(sum));
	return 0;
}

int vmat_pool_costs(struct vmat_pool_costs *ret)
{
	const struct vmat_pool_costs *found;
	struct vmat_pool_costs costs;
	size_t size = ret->size;
	int err = size ? vmat_pool_process_begin() : -EINVAL;

	if (!err)
		err = vmat_pool_costs_find(&found);
	if (err)
		return err;
	costs = *found;
	costs.size = size;
	memcpy(ret, &costs, size < sizeof(costs) ? size : sizeof(costs));
	return 0;
}
