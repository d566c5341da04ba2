/* SPDX-License-Identifier: MIT */
/*
 * pool_depot.c: the idle regions that no thread has in its cache, and the budget of what they all keep.
 *
 * The lists are last in, first out, linked through the records. A system call is never made with the lock
 * held, but when the pool grows.
 */
#include <errno.h>

#include "prim/pool_parts.h"

static void note_peak(struct vmat_pool *pool, uint64_t leased)
{
	uint64_t peak = atomic_load_explicit(&pool->leased_peak, memory_order_relaxed);

	while (leased > peak &&
	       !atomic_compare_exchange_weak_explicit(&pool->leased_peak, &peak, leased,
						      memory_order_relaxed, memory_order_relaxed))
		;
}

bool vmat_pool_lease(struct vmat_pool *pool, uint64_t pages)
{
	uint64_t leased = atomic_load_explicit(&pool->leased_pages, memory_order_relaxed);

	/* Relaxed: the sum alone is the message. */
	do {
		if (pages > pool->budget_pages || leased > pool->budget_pages - pages)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&pool->leased_pages, &leased,
							leased + pages, memory_order_relaxed,
							memory_order_relaxed));
	note_peak(pool, leased + pages);
	return true;
}

void vmat_pool_lease_force(struct vmat_pool *pool, uint64_t pages)
{
	note_peak(pool, pages + atomic_fetch_add_explicit(&pool->leased_pages, pages,
							  memory_order_relaxed));
}

void vmat_pool_lease_end(struct vmat_pool *pool, uint64_t pages)
{
	atomic_fetch_sub_explicit(&pool->leased_pages, pages, memory_order_relaxed);
}

void vmat_pool_depot_put(struct vmat_pool *pool, int32_t index, bool is_dirty)
{
	struct vmat_pool_record *record = &pool->records[index];
	struct vmat_pool_list *list = &pool->cold;

	if (is_dirty)
		list = &pool->dirty;
	else if (record->kept_pages)
		list = &pool->warm;
	pool->depot_pages += vmat_pool_bound(pool, index, is_dirty);
	record->next = list->head;
	list->head = index;
	list->count++;
}

uint32_t vmat_pool_depot_take(struct vmat_pool *pool, struct vmat_pool_list *list, int32_t *indexes,
			      uint32_t count, uint64_t *ret_pages)
{
	uint64_t pages = 0;
	uint32_t taken = 0;
	uint32_t hot;

	for (; taken < count && list->count; taken++, list->count--) {
		int32_t index = list->head;

		list->head = pool->records[index].next;
		indexes[taken] = index;
		pages += vmat_pool_bound(pool, index, list == &pool->dirty);
	}
	pool->depot_pages -= pages;
	hot = pool->warm.count + pool->dirty.count;
	if (hot < pool->needed_least)
		pool->needed_least = hot;
	*ret_pages = pages;
	return taken;
}

int vmat_pool_depot_fresh(struct vmat_pool *pool, int32_t *indexes, uint32_t count)
{
	if (pool->made == pool->committed) {
		uint32_t left = pool->regions_max - pool->committed, more = pool->committed / 4;
		int err = -EAGAIN;

		/* A piece that is too large for the limits of the process may be small enough when halved. */
		if (more < pool->batch)
			more = pool->batch;
		if (more > left)
			more = left;
		for (; more; more /= 2) {
			err = vmat_pool_commit(pool, pool->committed, more);
			if (!err)
				break;
		}
		if (err)
			return err;
		pool->committed += more;
	}
	if (count > pool->committed - pool->made)
		count = pool->committed - pool->made;
	/* The lowest last: it is handed out first. */
	for (uint32_t i = count; i-- > 0;)
		indexes[i] = (int32_t)pool->made++;
	return (int)count;
}

/* Regions that were taken out go back: cold, or warm where the kernel did not take the pages. How many pages fewer
 * they keep.
 */
static uint64_t put_back(struct vmat_pool *pool, const int32_t *indexes, uint32_t count,
			 uint64_t pages)
{
	uint64_t before = pool->depot_pages, after;

	for (uint32_t i = 0; i < count; i++)
		vmat_pool_depot_put(pool, indexes[i], false);
	after = pool->depot_pages - before;
	if (after > pages) {
		vmat_pool_lease_force(pool, after - pages);
		return 0;
	}
	vmat_pool_lease_end(pool, pages - after);
	return pages - after;
}

uint64_t vmat_pool_depot_cool(struct vmat_pool *pool, struct vmat_pool_tally *tally, uint32_t count)
{
	int32_t indexes[VMAT_POOL_BATCH_MAX];
	uint64_t pages = 0, more = 0, least;
	uint32_t taken;

	if (count > VMAT_POOL_BATCH_MAX)
		count = VMAT_POOL_BATCH_MAX;
	vmat_pool_lock(&pool->lock);
	least = pool->needed_least;
	/* Dirty ones first: what is given back need not be cleared. */
	taken = vmat_pool_depot_take(pool, &pool->dirty, indexes, count, &pages);
	if (taken < count)
		taken += vmat_pool_depot_take(pool, &pool->warm, indexes + taken, count - taken,
					      &more);
	pages += more;
	pool->needed_least = least;
	vmat_pool_unlock(&pool->lock);
	if (!taken)
		return 0;
	vmat_pool_give_back(pool, tally, indexes, taken);
	vmat_pool_lock(&pool->lock);
	pages = put_back(pool, indexes, taken, pages);
	vmat_pool_unlock(&pool->lock);
	return pages;
}

void vmat_pool_depot_rebuild(struct vmat_pool *pool)
{
	struct vmat_pool_tally ignored = { 0 };
	int32_t indexes[VMAT_POOL_BATCH_MAX];
	uint32_t count = 0;

	atomic_store(&pool->lock.held, 0);
	pool->warm = pool->dirty = pool->cold = (struct vmat_pool_list){ VMAT_POOL_NONE, 0 };
	pool->depot_pages = pool->needed_least = 0;
	pool->acquired_before = 0;
	atomic_store(&pool->leased_pages, 0);
	atomic_store(&pool->leased_peak, 0);
	for (uint32_t i = 0; i < pool->made; i++) {
		struct vmat_pool_record *record = &pool->records[i];

		if (atomic_load_explicit(&record->state, memory_order_relaxed) == VMAT_POOL_IDLE)
			indexes[count++] = (int32_t)i;
		else
			pool->acquired_before++;
		if (!count || (count < VMAT_POOL_BATCH_MAX && i + 1 < pool->made))
			continue;
		/* Another thread of the parent may have been about to clear it: nothing that is idle is trusted. */
		vmat_pool_give_back(pool, &ignored, indexes, count);
		put_back(pool, indexes, count, 0);
		count = 0;
	}
}
