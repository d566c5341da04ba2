/* SPDX-License-Identifier: MIT */
/*
 * live_scan.c: the pages of a living process, as runs.
 *
 * The target's lock is held while the kernel walks, so each call is bounded twice: by the pages that it
 * may find (dense memory costs 13 ns per page, 43 with FILE) and by the range that it may walk (sparse
 * page tables cost up to 2 ns per page): see facts in docs/DESIGN.md and `make bench`.
 *
 * PAGEMAP_SCAN's walk_end is never used: it is stale when the kernel's buffer of 512 regions was
 * flushed and the walk then ended by itself (Linux 6.7 to 6.18). While the vector comes back full, or
 * the limit of pages is reached, everything up to the end of the last region has been examined.
 */
#include "target/live_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmatlas/feature.h>

#include "base/cleanup.h"
#include "sys/pagemap.h"
#include "sys/sys_file.h"

enum {
	PAGE_SIZE = 4096,
	SCAN_REGIONS = 512,     /* the kernel's own buffer: more buys nothing */
	SCAN_PAGES = 16384,     /* 0.2 ms of dense memory, and twice that on a busy machine */
	SCAN_PAGES_DEAR = 4096, /* the same with FILE */
	ENTRIES = 4096,         /* pagemap entries per read: 0.2 ms */
};

#define SCAN_RANGE      (4ULL << 30) /* a sparse terabyte costs a fifth more than in one call */
#define SCAN_RANGE_DEAR (1ULL << 28)

/* Runs are collected here until the caller's array is full. */
struct sink {
	struct vmat_page_run *runs;
	size_t count;
	size_t capacity;
};

/* False when there is no room for a run that does not continue the last one. */
static bool sink_add(struct sink *sink, uint64_t start, uint64_t end, uint32_t flags)
{
	struct vmat_page_run *last = sink->count ? &sink->runs[sink->count - 1] : NULL;

	if (!flags)
		return true;
	if (last && last->end == start && last->flags == flags) {
		last->end = end;
		return true;
	}
	if (sink->count == sink->capacity)
		return false;
	sink->runs[sink->count++] = (struct vmat_page_run){ start, end, flags };
	return true;
}

int vmat_live_pagemap_fd(struct vmat_target *target)
{
	if (target->pagemap == VMAT_FD_NOT_OPENED)
		target->pagemap =
			vmat_feature_state(VMAT_FEATURE_PAGEMAP) == VMAT_FEATURE_FORCED_OFF
				? -EOPNOTSUPP
				: vmat_sys_open_at(target->memory_dir, "pagemap", 0);
	return target->pagemap;
}

/*
 * Reads entries. Nothing is read beyond the user address space (-EFAULT, as a scan says), and nothing at
 * all once the process has ended: that is -ESRCH, and not a range without pages.
 */
static int read_entries(struct vmat_target *target, uint64_t addr, uint64_t *entries, size_t count)
{
	ssize_t got = vmat_sys_pagemap_read(target->pagemap, addr / PAGE_SIZE, entries, count);
	uint64_t lowest;

	if (got == 0)
		got = vmat_sys_pagemap_read(target->pagemap, 0, &lowest, 1) == 1 ? -EFAULT : -ESRCH;
	return (int)got;
}

int vmat_live_pagemap(struct vmat_target *target, uint64_t addr, uint64_t *entries, size_t count)
{
	int fd = vmat_live_pagemap_fd(target);

	if (fd < 0)
		return fd;
	return read_entries(target, addr, entries, count < ENTRIES ? count : ENTRIES);
}

/* The frame of the kernel's zero page, learned from an own page that was only read; 0 when hidden. */
static uint64_t find_zero_pfn(void)
{
	vmat_autoclose int fd = vmat_sys_open_at(AT_FDCWD, "/proc/self/pagemap", 0);
	uint64_t entry = 0;
	char *page = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return 0;
	(void)*(volatile char *)page;
	if (fd < 0 || vmat_sys_pagemap_read(fd, (uintptr_t)page / PAGE_SIZE, &entry, 1) != 1)
		entry = 0;
	munmap(page, PAGE_SIZE);
	return VMAT_PM_PFN(entry);
}

static uint64_t zero_pfn_of(struct vmat_target *target)
{
	if (!vmat_is_known(target->zero_pfn))
		target->zero_pfn = vmat_feature_has(VMAT_FEATURE_PAGE_FRAMES) ? find_zero_pfn() : 0;
	return target->zero_pfn;
}

static uint32_t flags_of_entry(uint64_t entry, uint64_t zero_pfn)
{
	uint32_t flags = 0;

	if (entry & VMAT_PM_PRESENT) {
		flags = VMAT_PAGE_PRESENT;
		if (zero_pfn && VMAT_PM_PFN(entry) == zero_pfn)
			flags |= VMAT_PAGE_ZERO;
	} else if (entry & VMAT_PM_SWAP) {
		/* Guards, uffd and poison markers are swap entries of a type that is no swap. */
		if (entry & VMAT_PM_GUARD)
			return VMAT_PAGE_GUARD;
		if (VMAT_PM_SWAP_TYPE(entry) == VMAT_PM_MARKER_SWAP_TYPE)
			return 0;
		flags = VMAT_PAGE_SWAPPED;
	} else {
		return 0;
	}
	if (entry & VMAT_PM_FILE)
		flags |= VMAT_PAGE_FILE;
	if (entry & VMAT_PM_EXCLUSIVE)
		flags |= VMAT_PAGE_EXCLUSIVE;
	if (entry & VMAT_PM_SOFT_DIRTY)
		flags |= VMAT_PAGE_SOFT_DIRTY;
	return flags;
}

/*
 * Splits [*addr, end) by pagemap entries, or, when `base` is not 0, by the wanted bits of pagemap alone
 * and with the flags `base` of a scan for the rest. Stops where the sink is full.
 */
static int scan_entries(struct vmat_target *target, uint64_t *addr, uint64_t end, uint32_t want,
			uint32_t base, struct sink *sink)
{
	uint64_t entries[ENTRIES];
	uint64_t zero_pfn = zero_pfn_of(target);

	while (*addr < end) {
		size_t pages = (size_t)((end - *addr) / PAGE_SIZE);
		int got = read_entries(target, *addr, entries, pages < ENTRIES ? pages : ENTRIES);

		if (got < 0)
			return got;
		for (int i = 0; i < got; i++, *addr += PAGE_SIZE) {
			uint32_t flags = flags_of_entry(entries[i], zero_pfn) & want;

			if (base)
				flags = base |
					(flags & (VMAT_PAGE_EXCLUSIVE | VMAT_PAGE_SOFT_DIRTY));
			if (!sink_add(sink, *addr, *addr + PAGE_SIZE, flags))
				return 0;
		}
	}
	return 0;
}

/* What PAGEMAP_SCAN has for a wanted flag, both ways. */
static const struct {
	uint32_t flag;
	uint32_t category;
} categories[] = {
	{ VMAT_PAGE_PRESENT, VMAT_UAPI_PAGE_IS_PRESENT },
	{ VMAT_PAGE_SWAPPED, VMAT_UAPI_PAGE_IS_SWAPPED },
	{ VMAT_PAGE_FILE, VMAT_UAPI_PAGE_IS_FILE },
	{ VMAT_PAGE_ZERO, VMAT_UAPI_PAGE_IS_PFNZERO },
	{ VMAT_PAGE_HUGE, VMAT_UAPI_PAGE_IS_HUGE },
	{ VMAT_PAGE_GUARD, VMAT_UAPI_PAGE_IS_GUARD },
};

#define CATEGORIES_COUNT (sizeof(categories) / sizeof(categories[0]))

static uint32_t flags_of_categories(uint64_t found)
{
	uint32_t flags = 0;

	for (size_t i = 0; i < CATEGORIES_COUNT; i++) {
		if (found & categories[i].category)
			flags |= categories[i].flag;
	}
	return flags;
}

/*
 * One run of a scan into the sink. What the kernel calls swapped, and bits that only pagemap has, are
 * looked at page by page. False when the sink is full; then *addr is where to go on.
 */
static int add_scanned(struct vmat_target *target, uint64_t *addr, uint64_t end, uint32_t want,
		       uint32_t flags, struct sink *sink)
{
	uint32_t by_page = want & (VMAT_PAGE_EXCLUSIVE | VMAT_PAGE_SOFT_DIRTY);

	if (flags & VMAT_PAGE_GUARD)
		flags = VMAT_PAGE_GUARD & want;
	else if (flags & VMAT_PAGE_SWAPPED)
		return scan_entries(target, addr, end, want, 0, sink);
	else if (by_page && flags)
		return scan_entries(target, addr, end, want, flags, sink);
	if (sink_add(sink, *addr, end, flags))
		*addr = end;
	return 0;
}

static int scan_piece(struct vmat_target *target, uint64_t *addr, uint64_t end, uint32_t want,
		      struct sink *sink)
{
	struct vmat_uapi_page_region found[SCAN_REGIONS];
	bool is_dear = want & VMAT_PAGE_FILE;
	uint64_t most = is_dear ? SCAN_PAGES_DEAR : SCAN_PAGES, pages = 0;
	uint64_t range = is_dear ? SCAN_RANGE_DEAR : SCAN_RANGE, mask = 0, any_of;
	size_t vector = sink->capacity < SCAN_REGIONS ? sink->capacity : SCAN_REGIONS;
	int count, err;

	for (size_t i = 0; i < CATEGORIES_COUNT; i++) {
		if (want & categories[i].flag)
			mask |= categories[i].category;
	}
	if (!vmat_feature_has(VMAT_FEATURE_PAGE_GUARD))
		mask &= ~(uint64_t)VMAT_UAPI_PAGE_IS_GUARD;
	if (want & VMAT_PAGE_GUARD) /* guards without a category of their own look swapped */
		mask |= VMAT_UAPI_PAGE_IS_SWAPPED;
	if (end - *addr > range)
		end = *addr + range;
	any_of = mask & (VMAT_UAPI_PAGE_IS_PRESENT | VMAT_UAPI_PAGE_IS_SWAPPED);
	if (!any_of) /* without a condition all pages fit it, the absent ones too */
		any_of = VMAT_UAPI_PAGE_IS_PRESENT | VMAT_UAPI_PAGE_IS_SWAPPED;
	count = vmat_sys_pagemap_scan(target->pagemap, *addr, end, any_of, mask, most, found,
				      vector);
	if (count < 0)
		return count;
	for (int i = 0; i < count; i++) {
		uint64_t at = found[i].start;

		err = add_scanned(target, &at, found[i].end, want,
				  flags_of_categories(found[i].categories), sink);
		if (err)
			return err;
		if (at < found[i].end) { /* the sink is full */
			*addr = at;
			return 0;
		}
		pages += (found[i].end - found[i].start) / PAGE_SIZE;
	}
	*addr = count > 0 && ((size_t)count == vector || pages >= most) ? found[count - 1].end
									: end;
	return 0;
}

int vmat_live_scan(struct vmat_target *target, uint64_t *addr, uint64_t end, uint32_t want,
		   struct vmat_page_run *runs, size_t count, uint32_t *known)
{
	struct sink sink = { runs, 0, count };
	uint64_t from = *addr, at = from;
	int err, fd = vmat_live_pagemap_fd(target);

	if (fd < 0)
		return fd;
	if (count == 0 || at >= end)
		return -EINVAL;
	if (vmat_feature_has(VMAT_FEATURE_PAGEMAP_SCAN)) {
		*known = want & ~(uint32_t)(VMAT_PAGE_LEFT_OUT | VMAT_PAGE_DUMPED);
		err = scan_piece(target, &at, end, want, &sink);
	} else {
		*known = want & ~(uint32_t)(VMAT_PAGE_HUGE | VMAT_PAGE_ZERO | VMAT_PAGE_LEFT_OUT |
					    VMAT_PAGE_DUMPED);
		if (zero_pfn_of(target))
			*known |= want & VMAT_PAGE_ZERO;
		if (end - at > (uint64_t)ENTRIES * PAGE_SIZE)
			end = at + (uint64_t)ENTRIES * PAGE_SIZE;
		err = scan_entries(target, &at, end, want, 0, &sink);
	}
	if (err)
		return err;
	*addr = at;
	return (int)sink.count;
}
