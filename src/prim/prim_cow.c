/* SPDX-License-Identifier: MIT */
/*
 * prim_cow.c: what pagemap says of own pages after copy on write (vmatlas/prim/cow.h).
 *
 * A page of a private file mapping that is there and is no page of the file (bit 61 clear, category FILE) is a copy:
 * this needs neither frame numbers nor kpageflags, which are for root. An anonymous page that is not mapped
 * exclusively (bit 56) is mapped by a relative. PAGEMAP_SCAN finds the pages that are there, and tells the zero page; without it
 * each entry is read. Guards and userfaultfd's marks look swapped and are not.
 *
 * The descriptor is opened for each call: a child of fork must not ask its parent's.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <vmatlas/feature.h>
#include <vmatlas/prim/cow.h>

#include "sys/pagemap.h"
#include "sys/self_map.h"
#include "sys/sys_event.h"
#include "sys/sys_file.h"

enum { ENTRIES = 256, REGIONS = 64, FULL = 1 };

struct search {
	int pagemap;
	size_t page_size;
	char *start, *end;
	/* Of a page that an entry stands for, and of a run with these categories: 1, 0, or -1: look at the entries. */
	bool (*is_entry)(uint64_t entry);
	int (*is_run)(uint64_t categories);
	bool is_for_files;
	struct vmat_range *runs;
	size_t count, have;
};

static bool is_swapped(uint64_t entry)
{
	return (entry & VMAT_PM_SWAP) && !(entry & VMAT_PM_GUARD) &&
	       VMAT_PM_SWAP_TYPE(entry) != VMAT_PM_MARKER_SWAP_TYPE;
}

static bool is_copied_entry(uint64_t entry)
{
	return ((entry & VMAT_PM_PRESENT) || is_swapped(entry)) && !(entry & VMAT_PM_FILE);
}

static int is_copied_run(uint64_t categories)
{
	if (categories & (VMAT_UAPI_PAGE_IS_FILE | VMAT_UAPI_PAGE_IS_PFNZERO))
		return 0;
	return categories & VMAT_UAPI_PAGE_IS_PRESENT ? 1 : -1;
}

static bool is_shared_entry(uint64_t entry)
{
	return (entry & VMAT_PM_PRESENT) && !(entry & (VMAT_PM_FILE | VMAT_PM_EXCLUSIVE));
}

static int is_shared_run(uint64_t categories)
{
	if (categories & (VMAT_UAPI_PAGE_IS_FILE | VMAT_UAPI_PAGE_IS_PFNZERO))
		return 0;
	return categories & VMAT_UAPI_PAGE_IS_PRESENT ? -1 : 0;
}

/* FULL when there is no room for another run. */
static int add(struct search *search, char *start, char *end)
{
	if (search->have && search->runs[search->have - 1].end == start) {
		search->runs[search->have - 1].end = end;
		return 0;
	}
	if (search->have == search->count)
		return FULL;
	search->runs[search->have++] = (struct vmat_range){ start, end };
	return 0;
}

static int search_entries(struct search *search, char *start, char *end)
{
	uint64_t entries[ENTRIES];
	int err = 0;

	while (!err && start < end) {
		size_t wanted = (size_t)(end - start) / search->page_size;
		ssize_t got =
			vmat_sys_pagemap_read(search->pagemap, (uintptr_t)start / search->page_size,
					      entries, wanted < ENTRIES ? wanted : ENTRIES);

		if (got <= 0)
			return got < 0 ? (int)got : -EIO;
		for (ssize_t i = 0; !err && i < got; i++, start += search->page_size)
			if (search->is_entry(entries[i]))
				err = add(search, start, start + search->page_size);
	}
	return err;
}

static int search_runs(struct search *search, char *start, char *end)
{
	const uint64_t there = VMAT_UAPI_PAGE_IS_PRESENT | VMAT_UAPI_PAGE_IS_SWAPPED;
	struct vmat_uapi_page_region found[REGIONS];
	int count = REGIONS, err = 0;

	while (!err && start < end && count == REGIONS) {
		count = vmat_sys_pagemap_scan(
			search->pagemap, (uintptr_t)start, (uintptr_t)end, there,
			there | VMAT_UAPI_PAGE_IS_FILE | VMAT_UAPI_PAGE_IS_PFNZERO, 0, found,
			REGIONS);
		if (count < 0)
			return count;
		for (int i = 0; !err && i < count; i++) {
			int is_wanted = search->is_run(found[i].categories);

			start = (char *)found[i].end;
			if (is_wanted < 0)
				err = search_entries(search, (char *)found[i].start, start);
			else if (is_wanted)
				err = add(search, (char *)found[i].start, start);
		}
	}
	return err;
}

static int search_region(const struct vmat_self_region *region, void *context)
{
	struct search *search = context;
	char *start = (char *)region->start, *end = (char *)region->end;

	if (region->is_shared || (search->is_for_files && region->kind != VMAT_SELF_FILE))
		return 0;
	if (start < search->start)
		start = search->start;
	if (end > search->end)
		end = search->end;
	if (vmat_feature_has(VMAT_FEATURE_PAGEMAP_SCAN))
		return search_runs(search, start, end);
	return search_entries(search, start, end);
}

static ssize_t search_range(struct search *search, const void *start, size_t size,
			    struct vmat_range *runs, size_t count)
{
	uintptr_t end;
	int err;

	search->page_size = (size_t)sysconf(_SC_PAGESIZE);
	if (!runs || !count || !size || size % search->page_size ||
	    (uintptr_t)start % search->page_size ||
	    __builtin_add_overflow((uintptr_t)start, size, &end))
		return -EINVAL;
	search->start = (char *)(uintptr_t)start;
	search->end = (char *)end;
	search->runs = runs;
	search->count = count;
	if (!vmat_feature_has(VMAT_FEATURE_PAGEMAP))
		return vmat_feature_state(VMAT_FEATURE_PAGEMAP) == VMAT_FEATURE_NOT_PERMITTED
			       ? -EACCES
			       : -ENOTSUP;
	search->pagemap = vmat_sys_open_at(AT_FDCWD, "/proc/self/pagemap", 0);
	if (search->pagemap < 0)
		return search->pagemap;
	err = vmat_sys_self_walk((uintptr_t)start, end, false, search_region, search);
	vmat_sys_close(search->pagemap);
	if (err == -ENOENT)
		return -ENOMEM;
	return err < 0 ? err : (ssize_t)search->have;
}

ssize_t vmat_cow_copied(const void *start, size_t size, struct vmat_range *runs, size_t count)
{
	struct search search = { .is_entry = is_copied_entry,
				 .is_run = is_copied_run,
				 .is_for_files = true };

	return search_range(&search, start, size, runs, count);
}

ssize_t vmat_cow_shared(const void *start, size_t size, struct vmat_range *runs, size_t count)
{
	struct search search = { .is_entry = is_shared_entry, .is_run = is_shared_run };

	return search_range(&search, start, size, runs, count);
}
