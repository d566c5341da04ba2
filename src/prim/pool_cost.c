/* SPDX-License-Identifier: MIT */
/*
 * pool_cost.c: what the pool's choices cost on this machine, and which choice follows.
 *
 * A rule of thumb does not travel: "clear all above 70 % touched, ask mincore below 50 %" (2014) is wrong by
 * an order of magnitude where a page fault takes 1.7 us and clearing 64 KiB as long. So the five costs are
 * measured once, on 32 pages, the least of some rounds since a busy machine only adds. It takes some 300 us.
 */
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "prim/pool_parts.h"
#include "sys/sys_memory.h"

enum { PAGES = 32, ROUNDS = 6 };

/* Where nothing could be measured: a virtual machine with dear traps. */
static const struct vmat_pool_costs assumed = {
	.size = sizeof(struct vmat_pool_costs),
	.scan_call_ns = 700,
	.scan_page_ns = 15,
	.clear_page_ns = 100,
	.fault_page_ns = 1700,
	.give_back_call_ns = 600,
	.give_back_page_ns = 150,
};

/* Written under the process's lock, once. */
static struct vmat_pool_costs measured;
static _Atomic bool is_measured;

static double now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* What was timed: the least of all rounds each, so that their differences mean something. */
struct times {
	double fault, look_one, look_all, clear, give_one, give_all;
};

static void keep_least(double *least, double since_ns)
{
	double value = now_ns() - since_ns;

	if (value < *least)
		*least = value;
}

static void look(struct vmat_pool *probe, struct vmat_pool_scratch *scratch, size_t pages,
		 double *least)
{
	uintptr_t start = (uintptr_t)probe->base, next;
	double begin = now_ns();

	if (vmat_pool_find(probe, scratch, start, start + pages * probe->page_size, &next) >= 0)
		keep_least(least, begin);
}

static void give_back(struct vmat_pool *probe, size_t pages, double *least)
{
	double begin = now_ns();

	vmat_sys_madvise(probe->base, pages * probe->page_size, MADV_DONTNEED);
	keep_least(least, begin);
}

static void measure_round(struct vmat_pool *probe, struct vmat_pool_scratch *scratch,
			  struct times *least)
{
	size_t page = probe->page_size, size = PAGES * page;
	double begin = now_ns(), ignored = 1e18;

	for (size_t at = 0; at < size; at += page)
		*(volatile char *)(probe->base + at) = 1;
	keep_least(&least->fault, begin);

	/* The first look after so many faults is slow. */
	look(probe, scratch, PAGES, &ignored);
	look(probe, scratch, 1, &least->look_one);
	look(probe, scratch, PAGES, &least->look_all);

	memset(probe->base, 0, size);
	begin = now_ns();
	memset(probe->base, 0, size);
	__asm__ volatile("" ::"r"(probe->base) : "memory");
	keep_least(&least->clear, begin);

	give_back(probe, PAGES, &least->give_all);
	give_back(probe, 1, &least->give_one);
}

/* The share of a page; differences of noise are not below a nanosecond. */
static double per_page(double all, double one)
{
	double share = (all - one) / PAGES;

	return share > 1 ? share : 1;
}

static void conclude(const struct times *least, struct vmat_pool_costs *ret)
{
	*ret = (struct vmat_pool_costs){
		.size = sizeof(*ret),
		.scan_call_ns = least->look_one,
		.scan_page_ns = per_page(least->look_all, least->look_one),
		.clear_page_ns = per_page(least->clear, 0),
		.fault_page_ns = per_page(least->fault, 0),
		.give_back_call_ns = least->give_one,
		.give_back_page_ns = per_page(least->give_all, least->give_one),
	};
}

/* A pool of one region as far as finding pages needs one. */
static int measure(struct vmat_pool_costs *ret)
{
	struct times least = { 1e18, 1e18, 1e18, 1e18, 1e18, 1e18 };
	struct vmat_pool *probe;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
	void *memory, *pages;
	int err = vmat_sys_mmap(NULL, sizeof(*probe), prot, flags, -1, 0, &memory);

	if (err)
		return err;
	err = vmat_sys_mmap(NULL, PAGES * page, prot, flags, -1, 0, &pages);
	if (!err) {
		probe = memory;
		probe->base = pages;
		probe->page_size = page;
		vmat_sys_madvise(pages, PAGES * page, MADV_NOHUGEPAGE);
		vmat_pool_finder_open(probe);
		for (int round = 0; round < ROUNDS; round++)
			measure_round(probe, &probe->shared.scratch, &least);
		conclude(&least, ret);
		if (vmat_pool_finder(probe) == VMAT_POOL_FINDER_NONE)
			ret->scan_call_ns = ret->scan_page_ns = 0;
		vmat_pool_finder_close(probe);
		vmat_sys_munmap(pages, PAGES * page);
	}
	vmat_sys_munmap(memory, sizeof(*probe));
	return err;
}

int vmat_pool_costs_find(const struct vmat_pool_costs **ret)
{
	int err = 0;

	/* Acquire: pairs with the release of the one that measured. */
	if (!atomic_load_explicit(&is_measured, memory_order_acquire)) {
		struct vmat_pool_lock *lock = &atomic_load(&vmat_pool_process)->lock;

		/* Who comes second waits for a third of a millisecond; a fork meanwhile leaves no lock behind. */
		vmat_pool_lock(lock);
		if (!atomic_load_explicit(&is_measured, memory_order_relaxed)) {
			err = measure(&measured);
			atomic_store_explicit(&is_measured, !err, memory_order_release);
		}
		vmat_pool_unlock(lock);
	}
	*ret = err ? &assumed : &measured;
	return err;
}

uint32_t vmat_pool_full_pages(const struct vmat_pool_costs *costs, uint32_t pages, uint32_t batch)
{
	double look = costs->scan_call_ns / batch + pages * costs->scan_page_ns, less;

	if (costs->scan_call_ns <= 0 || costs->clear_page_ns <= 0)
		return pages;
	less = look / costs->clear_page_ns;
	/* Never below three quarters: what is cleared without need stays resident. */
	if (less > pages * 0.25)
		less = pages * 0.25;
	return pages - (uint32_t)less;
}

uint32_t vmat_pool_gap_regions(const struct vmat_pool_costs *costs, uint32_t pages)
{
	double gap =
		costs->scan_page_ns > 0 ? costs->scan_call_ns / (costs->scan_page_ns * pages) : 0;

	return gap < 64 ? (uint32_t)gap : 64;
}

bool vmat_pool_clears_blindly(const struct vmat_pool_costs *costs, uint32_t pages)
{
	/* What is given back is touched again at one page at least. */
	return pages * costs->clear_page_ns <=
	       costs->give_back_call_ns + costs->give_back_page_ns + costs->fault_page_ns;
}
