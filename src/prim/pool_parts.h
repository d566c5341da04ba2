/* SPDX-License-Identifier: MIT */
/*
 * pool_parts.h: what the files of the pool share.
 *
 *   pool             owns one range of address space: regions of `stride` bytes, guard below, and one
 *                    record for each. It grows from the low end: [0, made) was handed out at least once.
 *   record           its `state` is the truth about a region: acquired or not. All lists are hints that
 *                    can be made again from it, which is what happens in the child of a fork.
 *   depot            the pool's own idle regions, in three lists: warm (zero, with pages), dirty, cold.
 *   cache            one thread's idle regions: clean and dirty. Its lock is nearly always free: others
 *                    take it to trim, to count, and when there is nothing else left.
 *   lease            part of the budget that a cache holds; the sum of the leases and of what the depot
 *                    keeps is at most the budget. A dirty region counts with all of its pages.
 *
 * Locks are taken in this order: process, cache, depot. Files, lower to higher: pool_process, pool_find,
 * pool_cost, pool_clear, pool_guard, pool_depot, pool_cache, pool.
 */
#ifndef VMAT_POOL_PARTS_H
#define VMAT_POOL_PARTS_H

#include <stdatomic.h>

#include <vmatlas/prim/pool.h>

#include "sys/uapi_new.h"

enum {
	VMAT_POOL_BATCH_MAX = 32,
	VMAT_POOL_CACHE_MAX = 2 * VMAT_POOL_BATCH_MAX,
	VMAT_POOL_RUNS_MAX = 64,
	VMAT_POOL_NONE = -1,
};

/* Held for microseconds; a page that forks wiped is a free lock. */
struct vmat_pool_lock {
	_Atomic int held;
};

void vmat_pool_lock_wait(struct vmat_pool_lock *lock);

static inline void vmat_pool_lock(struct vmat_pool_lock *lock)
{
	/* Acquire: pairs with the release in vmat_pool_unlock. */
	if (atomic_exchange_explicit(&lock->held, 1, memory_order_acquire))
		vmat_pool_lock_wait(lock);
}

static inline void vmat_pool_unlock(struct vmat_pool_lock *lock)
{
	atomic_store_explicit(&lock->held, 0, memory_order_release);
}

enum vmat_pool_state {
	VMAT_POOL_IDLE, /* or never handed out */
	VMAT_POOL_ACQUIRED,
	VMAT_POOL_ACQUIRED_UNDEFINED,
};

struct vmat_pool_record {
	uint64_t kept_mask;    /* the chunks of pages that may be resident */
	uint32_t kept_pages;   /* of a clean region, how many are resident at most */
	int32_t next;          /* in the depot, or VMAT_POOL_NONE */
	_Atomic uint8_t state; /* enum vmat_pool_state */
	bool is_offered;       /* to the kernel, by MADV_FREE: kept in the cold list, but dirty */
};

struct vmat_pool_list {
	int32_t head;
	uint32_t count;
};

/* What a thread has done: summed up by vmat_pool_stats. */
struct vmat_pool_tally {
	uint64_t acquires, releases, refused, scans, cleared_pages, cleared_whole, given_back,
		not_given_back;
};

/* Room for finding pages: not on the stack, which may be a coroutine's. */
struct vmat_pool_scratch {
	struct vmat_uapi_page_region runs[VMAT_POOL_RUNS_MAX];
	uint64_t entries[VMAT_POOL_RUNS_MAX];
};

struct vmat_pool_cache {
	struct vmat_pool_lock lock;
	_Atomic uint64_t owner; /* number of a thread; 0: nobody's */
	struct vmat_pool_cache *next;
	uint32_t clean_count, dirty_count;
	uint64_t dirty_pages; /* a guess of how much there is to clear */
	uint64_t kept_pages, leased_pages;
	uint64_t uses, uses_seen; /* by decay: takes and puts */
	struct vmat_pool_tally tally;
	int32_t clean[VMAT_POOL_CACHE_MAX]; /* the oldest first */
	int32_t dirty[VMAT_POOL_BATCH_MAX];
	struct vmat_pool_scratch scratch;
};

/* A descriptor that the program may close behind our back. */
struct vmat_pool_file {
	int fd; /* or -errno */
	uint64_t device, inode;
};

struct vmat_pool {
	/* What never changes. */
	uint64_t id; /* of no other pool that ever was */
	char *base;
	size_t reserved_size, page_size, region_size, guard_size, stride;
	unsigned page_shift;
	unsigned chunk_shift; /* a bit of a kept_mask stands for 1 << chunk_shift pages */
	uint32_t region_pages, regions_max, batch;
	uint32_t full_pages; /* a region that keeps so many pages is cleared whole */
	bool clears_blindly; /* where written pages cannot be found */
	uint32_t
		gap_regions; /* so many idle neighbours are cheaper to look at than to call twice */
	uint64_t budget_pages, lease_chunk;
	uint64_t decay_ms; /* UINT64_MAX: never */
	uint32_t flags;
	char name[80];
	struct vmat_pool_record *records;
	size_t records_size;
	struct vmat_pool *next; /* all pools of the process */

	/* This process: made anew in the child of a fork. */
	_Atomic uint64_t epoch;
	struct vmat_pool_file pagemap, pidfd;

	/* The depot. */
	_Alignas(64) struct vmat_pool_lock lock;
	struct vmat_pool_list warm, dirty, cold;
	uint64_t depot_pages; /* kept in warm and dirty; part of leased_pages */
	uint32_t made, committed;
	uint32_t needed_least; /* the fewest warm and dirty regions since the last decay */
	uint64_t decayed_ms;
	uint64_t acquired_before; /* in a child: regions that came with the fork */
	uint64_t guards_madvise, guards_mprotect;

	_Alignas(64) _Atomic uint64_t leased_pages;
	_Atomic uint64_t leased_peak;
	_Atomic(struct vmat_pool_cache *) caches;
	struct vmat_pool_cache shared; /* of threads that could get none of their own */
};

static inline char *vmat_pool_region(const struct vmat_pool *pool, int32_t index)
{
	return pool->base + (size_t)index * pool->stride + pool->guard_size;
}

/* pool_process: this process and its children. */

/* A page that a fork wipes in the child, whose locks are free then and whose epoch is 0. */
struct vmat_pool_process {
	_Atomic uint64_t epoch;
	struct vmat_pool_lock lock; /* of the list of pools, and of making a pool anew in a child */
};

extern _Atomic(struct vmat_pool_process *) vmat_pool_process;

/* Begins in a process, and again in the child of a fork. 0 or -errno; in a child it cannot fail. */
int vmat_pool_process_begin(void);

/* A number that is another one in the child of a fork. */
static inline uint64_t vmat_pool_epoch(void)
{
	/* Acquire: pairs with the publication of the page, which a pool is made after. */
	struct vmat_pool_process *process =
		atomic_load_explicit(&vmat_pool_process, memory_order_acquire);

	return atomic_load_explicit(&process->epoch, memory_order_acquire);
}

/* pool_find: which pages of a range have contents. */

void vmat_pool_finder_open(struct vmat_pool *pool);
/* Closes what is still ours. */
void vmat_pool_finder_close(struct vmat_pool *pool);
enum vmat_pool_finder vmat_pool_finder(const struct vmat_pool *pool);
/*
 * The first runs of [start, end) that are present or swapped, ascending, in scratch->runs; *ret_next: where
 * it goes on, `end` when all is seen. How many, or -errno.
 */
int vmat_pool_find(struct vmat_pool *pool, struct vmat_pool_scratch *scratch, uintptr_t start,
		   uintptr_t end, uintptr_t *ret_next);
/* pool_cost: what things cost, and what follows. */

/*
 * What was measured, by now at the latest; or -errno, and *ret is what is assumed instead. Takes the process's lock,
 * which must have begun.
 */
int vmat_pool_costs_find(const struct vmat_pool_costs **ret);
/* Of a region that keeps at least so many pages it is cheaper to clear all than to look which were written. */
uint32_t vmat_pool_full_pages(const struct vmat_pool_costs *costs, uint32_t pages, uint32_t batch);
/* So many regions in between are looked at with less effort than a second call takes. */
uint32_t vmat_pool_gap_regions(const struct vmat_pool_costs *costs, uint32_t pages);
/* Without knowing which pages were written: is it cheaper to clear all than to give all back? */
bool vmat_pool_clears_blindly(const struct vmat_pool_costs *costs, uint32_t pages);

/* pool_clear: regions become zero, or lose their pages. */

/* Makes regions zero; sorts `indexes`; the records say what they keep. Cannot fail. */
void vmat_pool_clear(struct vmat_pool *pool, struct vmat_pool_scratch *scratch,
		     struct vmat_pool_tally *tally, int32_t *indexes, uint32_t count);
void vmat_pool_clear_whole(struct vmat_pool *pool, struct vmat_pool_tally *tally, int32_t index);
void vmat_pool_clear_written(struct vmat_pool *pool, struct vmat_pool_tally *tally, int32_t index,
			     const uint64_t *written);
/*
 * Gives the pages of regions back, at most VMAT_POOL_BATCH_MAX of them; sorts `indexes`. They are zero then
 * and keep nothing, but where the kernel refuses. With VMAT_POOL_LAZY they keep nothing and are dirty.
 */
void vmat_pool_give_back(struct vmat_pool *pool, struct vmat_pool_tally *tally, int32_t *indexes,
			 uint32_t count);

/* pool_guard: address space becomes regions. */

/* Makes [from, from + count) usable, guards first. 0, or -errno with nothing changed. Depot's lock held. */
int vmat_pool_commit(struct vmat_pool *pool, uint32_t from, uint32_t count);

/* pool_depot: the lists, and the budget. */

/* Takes `pages` of the budget; false if there is not so much left. */
bool vmat_pool_lease(struct vmat_pool *pool, uint64_t pages);
/* Takes them though there are not so many: pages that the kernel did not take back. */
void vmat_pool_lease_force(struct vmat_pool *pool, uint64_t pages);
void vmat_pool_lease_end(struct vmat_pool *pool, uint64_t pages);

/* At most so many pages of an idle region are resident. */
static inline uint64_t vmat_pool_bound(const struct vmat_pool *pool, int32_t index, bool is_dirty)
{
	return is_dirty ? pool->region_pages : pool->records[index].kept_pages;
}

/* All of these with the depot's lock held. The caller moves the lease. */
void vmat_pool_depot_put(struct vmat_pool *pool, int32_t index, bool is_dirty);
/* Up to `count` of a list; how many. *ret_pages: what they keep. */
uint32_t vmat_pool_depot_take(struct vmat_pool *pool, struct vmat_pool_list *list, int32_t *indexes,
			      uint32_t count, uint64_t *ret_pages);
/* Regions that were never handed out, made usable if need be. How many, or -errno. */
int vmat_pool_depot_fresh(struct vmat_pool *pool, int32_t *indexes, uint32_t count);
/* Without the lock: gives back regions of the depot, up to a batch. How many pages fewer are kept. */
uint64_t vmat_pool_depot_cool(struct vmat_pool *pool, struct vmat_pool_tally *tally,
			      uint32_t count);
/* In the child of a fork: makes the lists again from the records. */
void vmat_pool_depot_rebuild(struct vmat_pool *pool);

/* pool_cache: what threads do. All but the first two want the cache's lock. */

struct vmat_pool_cache *vmat_pool_cache_enter(struct vmat_pool *pool);
void vmat_pool_cache_leave(struct vmat_pool_cache *cache);
/* An idle region, or -EAGAIN when neither the cache nor the depot has one. */
int vmat_pool_cache_take(struct vmat_pool *pool, struct vmat_pool_cache *cache, bool is_undefined,
			 int32_t *ret);
/* `written` may be NULL. */
void vmat_pool_cache_put(struct vmat_pool *pool, struct vmat_pool_cache *cache, int32_t index,
			 const uint64_t *written);
/* Everything of it goes to the depot. */
void vmat_pool_cache_flush(struct vmat_pool *pool, struct vmat_pool_cache *cache);
/* Without any lock held: flushes all caches, or those that were not used since the last time. */
void vmat_pool_cache_flush_all(struct vmat_pool *pool, bool only_unused);
void vmat_pool_caches_free(struct vmat_pool *pool);
void vmat_pool_register(struct vmat_pool *pool);
void vmat_pool_unregister(struct vmat_pool *pool);

#endif
