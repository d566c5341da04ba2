/* SPDX-License-Identifier: MIT */
/*
 * recycle: how many page faults memory costs when it is used again, for each way to make it fresh in between; and
 * from which share of touched pages on which way is the cheaper one, by what was measured on this machine.
 *
 * It is the program of an answer of 2014 to "Is it possible to punch holes through mmap'ed anonymous memory?", with
 * more ways. Another answer there gives the shares: clear all above 70 % touched, ask mincore below 50 %.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <vmatlas/prim/pool.h>

enum { PAGES = 15 };

static size_t page, size;

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* Writes a byte to each page, and says how many faults that took. */
static long touch(char *memory, size_t offset)
{
	long before = faults();

	for (size_t i = 0; i < PAGES; i++)
		*(volatile char *)(memory + i * page + offset) = (char)(i + 10);
	return faults() - before;
}

/* Looks at what the first use left, where the second one wrote nothing: looking earlier would fault. */
static void say(const char *way, const char *memory, long count)
{
	size_t zero = 0;

	for (size_t i = 0; i < PAGES; i++)
		zero += memory[i * page + 1] == 0;
	printf("%-28s %2ld faults, %2zu of %d pages were zero\n", way, count, zero, PAGES);
}

static char *map(void *where, int flags)
{
	char *memory = mmap(where, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	if (memory == MAP_FAILED)
		_exit(1);
	madvise(memory, size, MADV_NOHUGEPAGE);
	return memory;
}

static void clear(char *memory)
{
	memset(memory, 0, size);
}

static void advise_nothing(char *memory)
{
	madvise(memory, size, MADV_NORMAL);
}

static void give_back(char *memory)
{
	madvise(memory, size, MADV_DONTNEED);
}

static void offer(char *memory)
{
	madvise(memory, size, MADV_FREE);
}

static void map_over(char *memory)
{
	map(memory, MAP_FIXED);
}

static void one_way(const char *name, void (*way)(char *))
{
	char *memory = map(NULL, 0);

	touch(memory, 1);
	way(memory);
	say(name, memory, touch(memory, 0));
	munmap(memory, size);
}

static void by_pool(const char *name, uint64_t budget_bytes)
{
	struct vmat_pool_options options = { .size = sizeof(options),
					     .region_size = size,
					     .regions_max = 1,
					     .budget_bytes = budget_bytes };
	struct vmat_pool *pool;
	void *region;

	if (vmat_pool_new(&options, &pool))
		_exit(1);
	if (vmat_pool_acquire(pool, &region))
		_exit(1);
	touch(region, 1);
	vmat_pool_release(pool, region);
	if (vmat_pool_acquire(pool, &region)) /* there is but one, so it is the same */
		_exit(1);
	say(name, region, touch(region, 0));
	vmat_pool_free(pool);
}

static double percent(double above, double below)
{
	double share = above / below * 100;

	return share < 0 ? 0 : share > 100 ? 100 : share;
}

/* From which share of touched pages on clearing all pages is cheaper than the other way. */
static void shares(const struct vmat_pool_costs *costs, size_t kib)
{
	double pages = (double)kib * 1024 / (double)page, all = pages * costs->clear_page_ns;
	double refault = pages * (costs->give_back_page_ns + costs->fault_page_ns);
	double looked = pages * (costs->scan_page_ns + costs->clear_page_ns);

	printf("%6zu KiB: above %5.1f %% instead of MADV_DONTNEED", kib,
	       percent(all - costs->give_back_call_ns, refault));
	if (costs->scan_call_ns > 0)
		printf(", above %5.1f %% instead of looking first, above %5.1f %% in batches of 32",
		       percent(all - costs->scan_call_ns, looked),
		       percent(all - costs->scan_call_ns / 32, looked));
	puts("");
}

int main(void)
{
	struct vmat_pool_costs costs = { .size = sizeof(costs) };
	char *memory;

	page = (size_t)sysconf(_SC_PAGESIZE);
	size = PAGES * page;
	if (vmat_pool_costs(&costs))
		return 1;
	printf("faults of the second use of %d pages, after\n", PAGES);
	memory = map(NULL, 0);
	printf("%-28s %2ld faults\n", "nothing: the first use", touch(memory, 0));
	munmap(memory, size);
	one_way("MADV_NORMAL", advise_nothing);
	one_way("memset", clear);
	one_way("MADV_FREE", offer);
	one_way("MADV_DONTNEED", give_back);
	one_way("mmap over it", map_over);
	by_pool("a pool", 0);
	by_pool("a pool that keeps nothing", 1);

	printf("\ncosts (ns): looking %.0f + %.1f a page, clearing %.1f a page, a fault %.0f, giving back %.0f + %.1f a page\n",
	       costs.scan_call_ns, costs.scan_page_ns, costs.clear_page_ns, costs.fault_page_ns,
	       costs.give_back_call_ns, costs.give_back_page_ns);
	puts("so all of a region is cleared when so many of its pages were touched (the rule of 2014: 70 %, 50 %)");
	shares(&costs, 64);
	shares(&costs, 4096);
	shares(&costs, 65536);
	return 0;
}
