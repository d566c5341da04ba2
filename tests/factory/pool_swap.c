/* SPDX-License-Identifier: MIT */
/*
 * pool_swap: regions of a pool whose dirty pages the kernel has put into swap when they are released. Prints how many
 * pages were there, how many of the next users' pages were not zero, and how many pages the regions keep: JSON.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmatlas/prim/pool.h>

enum { PAGE = 4096, PAGES = 16, REGION = PAGES * PAGE, REGIONS = 200 };

#define PM_SWAP (1ULL << 62)

static unsigned long swapped(const char *region)
{
	uint64_t entries[PAGES] = { 0 };
	unsigned long count = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (pread(fd, entries, sizeof(entries), (off_t)((uintptr_t)region / PAGE * 8)) !=
	    sizeof(entries))
		return 0;
	close(fd);
	for (size_t i = 0; i < PAGES; i++)
		count += (entries[i] & PM_SWAP) != 0;
	return count;
}

int main(void)
{
	struct vmat_pool_options options = { .size = sizeof(options),
					     .region_size = REGION,
					     .regions_max = REGIONS };
	struct vmat_pool_stats stats = { .size = sizeof(stats) };
	static const char zeroes[PAGE];
	unsigned long out = 0, foreign = 0;
	struct vmat_pool *pool;
	void *regions[REGIONS];

	if (vmat_pool_new(&options, &pool))
		return 2;
	for (size_t i = 0; i < REGIONS; i++) {
		if (vmat_pool_acquire(pool, &regions[i]))
			return 2;
		memset(regions[i], 0xa5, REGION / 2);
	}
	for (size_t i = 0; i < REGIONS; i++) {
		madvise(regions[i], REGION / 4, MADV_PAGEOUT);
		out += swapped(regions[i]);
	}
	for (size_t i = 0; i < REGIONS; i++)
		if (vmat_pool_release(pool, regions[i]))
			return 2;
	for (size_t i = 0; i < REGIONS; i++) {
		if (vmat_pool_acquire(pool, &regions[i]))
			return 2;
		for (size_t page = 0; page < PAGES; page++)
			foreign += memcmp((char *)regions[i] + page * PAGE, zeroes, PAGE) != 0;
	}
	vmat_pool_stats(pool, &stats);
	printf("{\"swapped\": %lu, \"foreign\": %lu, \"finder\": %u}\n", out, foreign,
	       stats.finder);
	vmat_pool_free(pool);
	return 0;
}
