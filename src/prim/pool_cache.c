/* SPDX-License-Identifier: MIT */
/*
 * pool_cache.c: the idle regions of each thread: clean ones to hand out, dirty ones that wait to be cleared
 * together, since one look at many regions costs hardly more than at one.
 *
 * A cache belongs to its pool and outlives its thread, whose end empties it for the next thread. A thread
 * finds its caches through four remembered ones, told apart by pool numbers that are never used again.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "prim/pool_parts.h"
#include "sys/sys_memory.h"

enum { REMEMBERED = 4, LOOK_PAGES = 64 };

struct remembered {
	uint64_t pool_id;
	struct vmat_pool_cache *cache;
};

/* Initial exec: one instruction instead of a call; it takes 72 bytes of what dlopen has left for that. */
static _Thread_local struct remembered remembered[REMEMBERED]
	__attribute__((tls_model("initial-exec")));
static _Thread_local uint64_t thread_number __attribute__((tls_model("initial-exec")));

/* The process's lock guards both. A child has them as they were, in a consistent state: one store links. */
static struct vmat_pool *_Atomic pools;
static pthread_key_t key;
static bool has_key;

static _Atomic uint64_t threads;

/* The lease is given with what moves. */
static void to_depot(struct vmat_pool *pool, struct vmat_pool_cache *cache, const int32_t *indexes,
		     uint32_t count, bool is_dirty)
{
	uint64_t pages = 0;

	vmat_pool_lock(&pool->lock);
	for (uint32_t i = 0; i < count; i++) {
		pages += vmat_pool_bound(pool, indexes[i], is_dirty);
		vmat_pool_depot_put(pool, indexes[i], is_dirty);
	}
	vmat_pool_unlock(&pool->lock);
	cache->kept_pages -= pages;
	cache->leased_pages -= pages;
}

void vmat_pool_cache_flush(struct vmat_pool *pool, struct vmat_pool_cache *cache)
{
	to_depot(pool, cache, cache->clean, cache->clean_count, false);
	to_depot(pool, cache, cache->dirty, cache->dirty_count, true);
	cache->clean_count = cache->dirty_count = 0;
	cache->dirty_pages = 0;
	vmat_pool_lease_end(pool, cache->leased_pages);
	cache->leased_pages = 0;
}

static void flush_one(struct vmat_pool *pool, struct vmat_pool_cache *cache, bool only_unused)
{
	vmat_pool_lock(&cache->lock);
	if (!only_unused || cache->uses == cache->uses_seen)
		vmat_pool_cache_flush(pool, cache);
	cache->uses_seen = cache->uses;
	vmat_pool_unlock(&cache->lock);
}

void vmat_pool_cache_flush_all(struct vmat_pool *pool, bool only_unused)
{
	struct vmat_pool_cache *cache = atomic_load_explicit(&pool->caches, memory_order_acquire);

	for (; cache; cache = cache->next)
		flush_one(pool, cache, only_unused);
	flush_one(pool, &pool->shared, only_unused);
}

/* The end of a thread: its regions go to the depots of their pools, its caches to other threads. */
static void end_of_thread(void *number)
{
	vmat_pool_process_begin();
	vmat_pool_lock(&atomic_load(&vmat_pool_process)->lock);
	for (struct vmat_pool *pool = atomic_load(&pools); pool; pool = pool->next) {
		struct vmat_pool_cache *cache = atomic_load(&pool->caches);

		/* Not yet used by this child of a fork: its caches are emptied when it is. */
		if (atomic_load(&pool->epoch) != vmat_pool_epoch())
			continue;
		for (; cache; cache = cache->next) {
			if (atomic_load(&cache->owner) != *(const uint64_t *)number)
				continue;
			flush_one(pool, cache, false);
			atomic_store(&cache->owner, 0);
		}
	}
	vmat_pool_unlock(&atomic_load(&vmat_pool_process)->lock);
}

/* dlclose: threads that end later must not call what is gone. */
__attribute__((destructor)) static void forget_key(void)
{
	if (has_key)
		pthread_key_delete(key);
	has_key = false;
}

void vmat_pool_register(struct vmat_pool *pool)
{
	vmat_pool_lock(&atomic_load(&vmat_pool_process)->lock);
	if (!has_key)
		has_key = pthread_key_create(&key, end_of_thread) == 0;
	pool->next = atomic_load(&pools);
	atomic_store(&pools, pool);
	vmat_pool_unlock(&atomic_load(&vmat_pool_process)->lock);
}

void vmat_pool_unregister(struct vmat_pool *pool)
{
	vmat_pool_process_begin();
	vmat_pool_lock(&atomic_load(&vmat_pool_process)->lock);
	if (atomic_load(&pools) == pool) {
		atomic_store(&pools, pool->next);
	} else {
		struct vmat_pool *before = atomic_load(&pools);

		while (before && before->next != pool)
			before = before->next;
		if (before)
			before->next = pool->next;
	}
	vmat_pool_unlock(&atomic_load(&vmat_pool_process)->lock);
}

void vmat_pool_caches_free(struct vmat_pool *pool)
{
	struct vmat_pool_cache *cache = atomic_load(&pool->caches), *next;

	for (; cache; cache = next) {
		next = cache->next;
		vmat_sys_munmap(cache, sizeof(*cache));
	}
}

/* This process is a child of a fork that has not used the pool yet. */
static void renew(struct vmat_pool *pool)
{
	struct vmat_pool_process *process = atomic_load(&vmat_pool_process);

	vmat_pool_process_begin();
	vmat_pool_lock(&process->lock);
	if (atomic_load(&pool->epoch) != vmat_pool_epoch()) {
		struct vmat_pool_cache *cache = atomic_load(&pool->caches);

		for (;; cache = cache->next) {
			struct vmat_pool_cache *one = cache ? cache : &pool->shared;

			atomic_store(&one->lock.held, 0);
			one->clean_count = one->dirty_count = 0;
			one->dirty_pages = one->kept_pages = one->leased_pages = 0;
			memset(&one->tally, 0, sizeof(one->tally));
			if (atomic_load(&one->owner) != thread_number)
				atomic_store(&one->owner, 0);
			if (!cache)
				break;
		}
		vmat_pool_finder_close(pool);
		vmat_pool_finder_open(pool);
		vmat_pool_depot_rebuild(pool);
		/* Release: whoever sees the number sees the pool made anew. */
		atomic_store_explicit(&pool->epoch, vmat_pool_epoch(), memory_order_release);
	}
	vmat_pool_unlock(&process->lock);
}

static struct vmat_pool_cache *make_cache(struct vmat_pool *pool)
{
	struct vmat_pool_cache *cache, *head = atomic_load(&pool->caches);
	void *memory;

	if (vmat_sys_mmap(NULL, sizeof(*cache), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0, &memory))
		return NULL;
	cache = memory;
	atomic_store(&cache->owner, thread_number);
	do
		cache->next = head;
	while (!atomic_compare_exchange_weak(&pool->caches, &head, cache));
	return cache;
}

/* The cache of this thread: one of its own, one of a thread that has ended, a new one, else the shared one. */
static struct vmat_pool_cache *find_cache(struct vmat_pool *pool)
{
	struct remembered *slot = &remembered[pool->id % REMEMBERED];
	struct vmat_pool_cache *first = atomic_load_explicit(&pool->caches, memory_order_acquire);
	struct vmat_pool_cache *cache = first;

	if (!thread_number)
		thread_number = atomic_fetch_add(&threads, 1) + 1;
	/* Without a note of its end a thread would take its regions along. */
	if (!has_key || pthread_setspecific(key, &thread_number))
		return &pool->shared;
	while (cache && atomic_load(&cache->owner) != thread_number)
		cache = cache->next;
	for (struct vmat_pool_cache *free = first; !cache && free; free = free->next) {
		uint64_t nobody = 0;

		if (atomic_compare_exchange_strong(&free->owner, &nobody, thread_number))
			cache = free;
	}
	if (!cache)
		cache = make_cache(pool);
	if (!cache)
		return &pool->shared;
	*slot = (struct remembered){ pool->id, cache };
	return cache;
}

struct vmat_pool_cache *vmat_pool_cache_enter(struct vmat_pool *pool)
{
	const struct remembered *slot = &remembered[pool->id % REMEMBERED];
	struct vmat_pool_cache *cache = slot->cache;

	if (atomic_load_explicit(&pool->epoch, memory_order_acquire) != vmat_pool_epoch())
		renew(pool);
	if (slot->pool_id != pool->id)
		cache = find_cache(pool);
	vmat_pool_lock(&cache->lock);
	return cache;
}

void vmat_pool_cache_leave(struct vmat_pool_cache *cache)
{
	vmat_pool_unlock(&cache->lock);
}

/* Makes room in the clean list for `more`. */
static void spill(struct vmat_pool *pool, struct vmat_pool_cache *cache, uint32_t more)
{
	uint32_t count = cache->clean_count + more;

	if (count <= 2 * pool->batch)
		return;
	count = cache->clean_count < pool->batch ? cache->clean_count : pool->batch;
	to_depot(pool, cache, cache->clean, count, false);
	cache->clean_count -= count;
	memmove(cache->clean, cache->clean + count, cache->clean_count * sizeof(*cache->clean));
}

static void clean_dirty(struct vmat_pool *pool, struct vmat_pool_cache *cache)
{
	uint32_t count = cache->dirty_count;

	spill(pool, cache, count);
	vmat_pool_clear(pool, &cache->scratch, &cache->tally, cache->dirty, count);
	/* The highest last, so that a walk of the next user goes up. */
	for (uint32_t i = count; i-- > 0;) {
		cache->kept_pages -= pool->region_pages - pool->records[cache->dirty[i]].kept_pages;
		cache->clean[cache->clean_count++] = cache->dirty[i];
	}
	cache->dirty_count = 0;
	cache->dirty_pages = 0;
}

/* Grants the cache `pages` more to keep, if the budget has them. */
static bool may_keep(struct vmat_pool *pool, struct vmat_pool_cache *cache, uint64_t pages)
{
	uint64_t missing;

	if (cache->kept_pages + pages <= cache->leased_pages)
		return true;
	missing = cache->kept_pages + pages - cache->leased_pages;
	if (vmat_pool_lease(pool, missing + pool->lease_chunk))
		missing += pool->lease_chunk;
	else if (!vmat_pool_lease(pool, missing))
		return false;
	cache->leased_pages += missing;
	return true;
}

/* Gives back the older half of the clean regions and all dirty ones. They go to the depot, cold. */
static void cool_cache(struct vmat_pool *pool, struct vmat_pool_cache *cache)
{
	uint32_t count = (cache->clean_count + 1) / 2;
	uint64_t pages = 0;

	if (count > VMAT_POOL_BATCH_MAX)
		count = VMAT_POOL_BATCH_MAX;
	for (uint32_t i = 0; i < count; i++)
		pages += pool->records[cache->clean[i]].kept_pages;
	if (pages) {
		vmat_pool_give_back(pool, &cache->tally, cache->clean, count);
		cache->kept_pages -= pages;
		for (uint32_t i = 0; i < count; i++)
			cache->kept_pages += pool->records[cache->clean[i]].kept_pages;
	}
	/* The sum is what the lease must cover; more of it only where the kernel took nothing back. */
	if (cache->kept_pages > cache->leased_pages) {
		vmat_pool_lease_force(pool, cache->kept_pages - cache->leased_pages);
		cache->leased_pages = cache->kept_pages;
	}
	to_depot(pool, cache, cache->clean, count, false);
	cache->clean_count -= count;
	memmove(cache->clean, cache->clean + count, cache->clean_count * sizeof(*cache->clean));
}

/* Tries in turn what is cheap: to know better what is kept, what the depot keeps, what this cache keeps. */
static bool make_room(struct vmat_pool *pool, struct vmat_pool_cache *cache, uint64_t pages)
{
	if (pages > pool->budget_pages)
		return false;
	if (cache->dirty_count) {
		clean_dirty(pool, cache);
		if (may_keep(pool, cache, pages))
			return true;
	}
	while (vmat_pool_depot_cool(pool, &cache->tally, VMAT_POOL_BATCH_MAX))
		if (may_keep(pool, cache, pages))
			return true;
	if (!cache->clean_count)
		return false;
	cool_cache(pool, cache);
	return may_keep(pool, cache, pages);
}

static void put_clean(struct vmat_pool *pool, struct vmat_pool_cache *cache, int32_t index)
{
	spill(pool, cache, 1);
	cache->kept_pages += pool->records[index].kept_pages;
	if (cache->kept_pages > cache->leased_pages) {
		vmat_pool_lease_force(pool, cache->kept_pages - cache->leased_pages);
		cache->leased_pages = cache->kept_pages;
	}
	cache->clean[cache->clean_count++] = index;
}

void vmat_pool_cache_put(struct vmat_pool *pool, struct vmat_pool_cache *cache, int32_t index,
			 const uint64_t *written)
{
	const struct vmat_pool_record *record = &pool->records[index];
	bool is_full = record->kept_pages >= pool->full_pages ||
		       (pool->clears_blindly && vmat_pool_finder(pool) == VMAT_POOL_FINDER_NONE);

	cache->uses++;
	if (!may_keep(pool, cache, pool->region_pages) &&
	    !make_room(pool, cache, pool->region_pages)) {
		vmat_pool_give_back(pool, &cache->tally, &index, 1);
		if (!pool->records[index].is_offered) {
			put_clean(pool, cache, index);
			return;
		}
		vmat_pool_lock(&pool->lock);
		vmat_pool_depot_put(pool, index, false);
		vmat_pool_unlock(&pool->lock);
		return;
	}
	if (written || is_full) {
		if (written)
			vmat_pool_clear_written(pool, &cache->tally, index, written);
		else
			vmat_pool_clear_whole(pool, &cache->tally, index);
		put_clean(pool, cache, index);
		return;
	}
	cache->kept_pages += pool->region_pages;
	cache->dirty_pages += record->kept_pages;
	cache->dirty[cache->dirty_count++] = index;
	/* Not more than stays near the processor until it is cleared. */
	if (cache->dirty_count == pool->batch || cache->dirty_pages >= LOOK_PAGES)
		clean_dirty(pool, cache);
}

/* So many at once that there is little to do for the lock, but not the last ones that others may need. */
static uint32_t share_of(const struct vmat_pool *pool, uint32_t count)
{
	if (pool->made < pool->regions_max || count > 4 * pool->batch)
		return pool->batch;
	return count / 4 + 1;
}

/*
 * No clean region is here, and few dirty ones; takes from the depot what is best: with pages, dirty, cold, never
 * used. With dirty ones it would also do without, but a batch of few is dear.
 */
static int refill(struct vmat_pool *pool, struct vmat_pool_cache *cache)
{
	uint64_t pages = 0;
	int count;

	vmat_pool_lock(&pool->lock);
	count = (int)vmat_pool_depot_take(pool, &pool->warm, cache->clean,
					  share_of(pool, pool->warm.count), &pages);
	cache->clean_count = (uint32_t)count;
	if (!count && pool->dirty.count) {
		uint32_t wanted = share_of(pool, pool->dirty.count),
			 room = pool->batch - cache->dirty_count;

		count = (int)vmat_pool_depot_take(pool, &pool->dirty,
						  cache->dirty + cache->dirty_count,
						  wanted < room ? wanted : room, &pages);
		cache->dirty_count += (uint32_t)count;
	}
	if (!count && pool->cold.count) {
		/* What was offered to the kernel is dirty: one only, for whoever asked. */
		bool is_offered = pool->records[pool->cold.head].is_offered;

		count = (int)vmat_pool_depot_take(pool, &pool->cold, cache->clean,
						  is_offered ? 1 : share_of(pool, pool->cold.count),
						  &pages);
		cache->clean_count = (uint32_t)count;
	}
	if (!count) {
		count = vmat_pool_depot_fresh(pool, cache->clean, share_of(pool, UINT32_MAX));
		cache->clean_count = count > 0 ? (uint32_t)count : 0;
	}
	vmat_pool_unlock(&pool->lock);
	cache->leased_pages += pages;
	cache->kept_pages += pages;
	return count < 0 && !cache->dirty_count ? count : 0;
}

static void lease_less(struct vmat_pool *pool, struct vmat_pool_cache *cache)
{
	uint64_t idle = cache->leased_pages - cache->kept_pages;

	if (idle <= 4 * pool->lease_chunk + pool->region_pages)
		return;
	vmat_pool_lease_end(pool, idle - pool->lease_chunk);
	cache->leased_pages -= idle - pool->lease_chunk;
}

int vmat_pool_cache_take(struct vmat_pool *pool, struct vmat_pool_cache *cache, bool is_undefined,
			 int32_t *ret)
{
	struct vmat_pool_record *record;
	int32_t index;

	if (!cache->clean_count && cache->dirty_count <= pool->batch / 2) {
		int err = refill(pool, cache);

		if (err)
			return err;
	}
	if (is_undefined && cache->dirty_count) {
		index = cache->dirty[--cache->dirty_count];
		cache->kept_pages -= pool->region_pages;
	} else {
		if (!cache->clean_count)
			clean_dirty(pool, cache);
		index = cache->clean[--cache->clean_count];
		cache->kept_pages -= pool->records[index].kept_pages;
	}
	record = &pool->records[index];
	if (record->is_offered) {
		record->is_offered = false;
		if (!is_undefined)
			vmat_pool_clear(pool, &cache->scratch, &cache->tally, &index, 1);
	}
	lease_less(pool, cache);
	cache->uses++;
	*ret = index;
	return 0;
}
