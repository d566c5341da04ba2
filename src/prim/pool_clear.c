/* SPDX-License-Identifier: MIT */
/*
 * pool_clear.c: regions become zero, or lose their pages.
 *
 * The rule that keeps one user's bytes from the next: whatever fails, a region that is called clean has been
 * cleared whole, or given back, or had all of its present and swapped pages cleared. Counts of kept pages
 * serve the budget and the choice of the way, never the question whether a byte is zero.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "prim/pool_parts.h"
#include "sys/sys_memory.h"

static uint64_t bits(uint32_t from, uint32_t count)
{
	return (count < 64 ? (1ULL << count) - 1 : UINT64_MAX) << from;
}

static void keeps_none(struct vmat_pool_record *record)
{
	record->kept_pages = 0;
	record->kept_mask = 0;
}

static void keeps_all(const struct vmat_pool *pool, struct vmat_pool_record *record)
{
	record->kept_pages = pool->region_pages;
	record->kept_mask = UINT64_MAX;
}

/* Pages [from, from + count) of a region, which kept none of them, are resident now. */
static void keeps(const struct vmat_pool *pool, struct vmat_pool_record *record, size_t from,
		  size_t count)
{
	uint32_t first = (uint32_t)(from >> pool->chunk_shift);
	uint32_t last = (uint32_t)((from + count - 1) >> pool->chunk_shift);

	record->kept_mask |= bits(first, last - first + 1);
	record->kept_pages += (uint32_t)count;
}

/* The pages that are resident now may have been before: counts do not add up, but the chunks tell. */
static void bound_by_mask(const struct vmat_pool *pool, struct vmat_pool_record *record)
{
	uint64_t pages = (uint64_t)__builtin_popcountll(record->kept_mask) << pool->chunk_shift;

	record->kept_pages = pages < pool->region_pages ? (uint32_t)pages : pool->region_pages;
}

static void clear_pages(const struct vmat_pool *pool, struct vmat_pool_tally *tally,
			struct vmat_pool_record *record, size_t offset, size_t size, char *start)
{
	memset(start, 0, size);
	keeps(pool, record, offset >> pool->page_shift, size >> pool->page_shift);
	tally->cleared_pages += size >> pool->page_shift;
}

void vmat_pool_clear_whole(struct vmat_pool *pool, struct vmat_pool_tally *tally, int32_t index)
{
	memset(vmat_pool_region(pool, index), 0, pool->region_size);
	keeps_all(pool, &pool->records[index]);
	tally->cleared_whole++;
}

void vmat_pool_clear_written(struct vmat_pool *pool, struct vmat_pool_tally *tally, int32_t index,
			     const uint64_t *written)
{
	struct vmat_pool_record *record = &pool->records[index];
	char *region = vmat_pool_region(pool, index);
	size_t page = 0, pages = pool->region_pages;

	while (page < pages) {
		uint64_t word = written[page / 64] >> (page % 64);
		size_t from, size;

		if (!word) {
			page = (page / 64 + 1) * 64;
			continue;
		}
		page += (size_t)__builtin_ctzll(word);
		for (from = page; page < pages && (written[page / 64] >> (page % 64) & 1); page++)
			;
		if (from >= pages)
			break;
		size = (page - from) << pool->page_shift;
		clear_pages(pool, tally, record, from << pool->page_shift, size,
			    region + (from << pool->page_shift));
	}
	bound_by_mask(pool, record);
}

/* Where nothing is known of the pages of a region. */
static void clear_blindly(struct vmat_pool *pool, struct vmat_pool_tally *tally, int32_t index)
{
	if (!pool->clears_blindly &&
	    vmat_sys_drop_pages(vmat_pool_region(pool, index), pool->region_size) == 0) {
		keeps_none(&pool->records[index]);
		tally->given_back++;
		return;
	}
	vmat_pool_clear_whole(pool, tally, index);
}

/* The part of a run that lies in one region. */
static void clear_part(struct vmat_pool *pool, struct vmat_pool_tally *tally, int32_t index,
		       uintptr_t start, uintptr_t end, uint64_t categories)
{
	uintptr_t region = (uintptr_t)vmat_pool_region(pool, index);

	if (start >= end || (categories & VMAT_UAPI_PAGE_IS_PFNZERO))
		return; /* the zero page is nobody's memory */
	/* Clearing what is swapped would read it first. */
	if (!(categories & VMAT_UAPI_PAGE_IS_PRESENT) &&
	    vmat_sys_drop_pages((void *)start, end - start) == 0)
		return;
	clear_pages(pool, tally, &pool->records[index], start - region, end - start, (void *)start);
}

/* Regions that lie so near that one walk over all of them is cheapest. 0, or -errno: some are not clean. */
static int clear_span(struct vmat_pool *pool, struct vmat_pool_scratch *scratch,
		      struct vmat_pool_tally *tally, const int32_t *indexes, uint32_t count)
{
	uintptr_t at = (uintptr_t)vmat_pool_region(pool, indexes[0]), size = pool->region_size;
	uintptr_t end = (uintptr_t)vmat_pool_region(pool, indexes[count - 1]) + size;
	uint32_t region = 0;

	while (at < end) {
		int runs = vmat_pool_find(pool, scratch, at, end, &at);

		if (runs < 0)
			return runs;
		tally->scans++;
		for (int i = 0; i < runs; i++) {
			const struct vmat_uapi_page_region *run = &scratch->runs[i];

			for (; region < count; region++) {
				uintptr_t low = (uintptr_t)vmat_pool_region(pool, indexes[region]);

				if (low >= run->end)
					break;
				clear_part(pool, tally, indexes[region],
					   run->start > low ? run->start : low,
					   run->end < low + size ? run->end : low + size,
					   run->categories);
				if (low + size > run->end)
					break; /* the next run may lie in this region, too */
			}
		}
	}
	return 0;
}

/* Few, and often in order already or in the reverse. */
static void sort(int32_t *indexes, uint32_t count)
{
	for (uint32_t i = 0, j = count; count && indexes[0] > indexes[count - 1] && i + 1 < j;
	     i++) {
		int32_t high = indexes[--j];

		indexes[j] = indexes[i];
		indexes[i] = high;
	}
	for (uint32_t i = 1; i < count; i++) {
		int32_t index = indexes[i];
		uint32_t j = i;

		for (; j > 0 && indexes[j - 1] > index; j--)
			indexes[j] = indexes[j - 1];
		indexes[j] = index;
	}
}

void vmat_pool_clear(struct vmat_pool *pool, struct vmat_pool_scratch *scratch,
		     struct vmat_pool_tally *tally, int32_t *indexes, uint32_t count)
{
	sort(indexes, count);
	for (uint32_t i = 0, j; i < count; i = j) {
		for (j = i + 1; j < count; j++)
			if ((uint32_t)(indexes[j] - indexes[j - 1] - 1) > pool->gap_regions)
				break;
		for (uint32_t k = i; k < j; k++)
			keeps_none(&pool->records[indexes[k]]);
		if (clear_span(pool, scratch, tally, indexes + i, j - i) == 0)
			continue;
		for (uint32_t k = i; k < j; k++)
			clear_blindly(pool, tally, indexes[k]);
	}
}

/* Neighbours are one range; the guards between them keep what they are. */
static uint32_t make_ranges(struct vmat_pool *pool, const int32_t *indexes, uint32_t count,
			    struct iovec *ranges, uint32_t *firsts)
{
	uint32_t made = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (i && indexes[i] == indexes[i - 1] + 1) {
			ranges[made - 1].iov_len += pool->stride;
			continue;
		}
		firsts[made] = i;
		ranges[made++] =
			(struct iovec){ vmat_pool_region(pool, indexes[i]), pool->region_size };
	}
	return made;
}

/* One range went back, or not; the regions in it. */
static void settle(struct vmat_pool *pool, struct vmat_pool_tally *tally, const int32_t *indexes,
		   uint32_t count, bool is_back)
{
	for (uint32_t i = 0; i < count; i++) {
		if (pool->flags & VMAT_POOL_LAZY) {
			pool->records[indexes[i]].is_offered = true;
			keeps_none(&pool->records[indexes[i]]);
		} else if (is_back) {
			keeps_none(&pool->records[indexes[i]]);
		} else {
			vmat_pool_clear_whole(pool, tally, indexes[i]);
		}
		if (is_back)
			tally->given_back++;
		else
			tally->not_given_back++;
	}
}

void vmat_pool_give_back(struct vmat_pool *pool, struct vmat_pool_tally *tally, int32_t *indexes,
			 uint32_t count)
{
	const bool is_lazy = pool->flags & VMAT_POOL_LAZY;
	struct iovec ranges[VMAT_POOL_BATCH_MAX];
	uint32_t firsts[VMAT_POOL_BATCH_MAX], made;
	size_t done = 0;

	sort(indexes, count);
	made = make_ranges(pool, indexes, count, ranges, firsts);
	if (made > 1 && pool->pidfd.fd >= 0) {
		ssize_t advised = vmat_sys_process_madvise(pool->pidfd.fd, ranges, made,
							   is_lazy ? MADV_FREE : MADV_DONTNEED);

		done = advised > 0 ? (size_t)advised : 0;
	}
	for (uint32_t i = 0; i < made; i++) {
		size_t size = ranges[i].iov_len;
		uint32_t next = i + 1 < made ? firsts[i + 1] : count;
		bool is_back = done >= size;

		done -= is_back ? size : done;
		if (!is_back)
			is_back = (is_lazy ? vmat_sys_madvise(ranges[i].iov_base, size, MADV_FREE)
					   : vmat_sys_drop_pages(ranges[i].iov_base, size)) == 0;
		settle(pool, tally, indexes + firsts[i], next - firsts[i], is_back);
	}
}
