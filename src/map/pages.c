/* SPDX-License-Identifier: MIT */
/*
 * pages.c: runs of equal pages of a range, with their frames where these may be seen.
 *
 * Without frames a run comes straight from the scan. With frames each present page is looked up in
 * pagemap, and its folio in kpageflags: then runs split where the size of the folio, or, when asked
 * for, the kernel's flags and map counts differ.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "map/map_priv.h"
#include "map/page_flags.h"

enum {
	PAGE_SIZE = 4096,
	RUNS = 256,
	FRAMES_NEAR = 16,
	FRAMES = 512, /* entries at once; also the pages of the largest folio that is no hugetlb */
};

struct pages_reader {
	struct vmat_pages *pages;
	struct vmat_target *target;
	const struct vmat_map *map;
	uint32_t options;
	uint32_t want;
	uint32_t known;
	size_t region;
	size_t capacity;
	uint64_t last_pfn; /* of the last page of the last run */
	uint64_t block;    /* first frame of the block of flags that is held; or unknown */
	size_t block_count;
	uint64_t flags[FRAMES];
};

struct vmat_pages *vmat_pages_free(struct vmat_pages *pages)
{
	if (pages)
		free(pages->runs);
	free(pages);
	return NULL;
}

static void cleanup_pages(struct vmat_pages **pages)
{
	vmat_pages_free(*pages);
}

static void mark_partial(struct vmat_pages *pages, const char *why)
{
	if (!pages->is_partial)
		snprintf(pages->partial_why, sizeof(pages->partial_why), "%s", why);
	pages->is_partial = true;
}

static bool is_same(const struct vmat_pages_run *a, const struct vmat_pages_run *b)
{
	return a->end == b->start && a->region == b->region && a->flags == b->flags &&
	       a->page_size == b->page_size && a->known == b->known &&
	       a->is_invisible == b->is_invisible && a->is_pinned == b->is_pinned &&
	       a->kpageflags == b->kpageflags && a->mapcount == b->mapcount &&
	       vmat_is_known(a->pfn) == vmat_is_known(b->pfn);
}

static int add(struct pages_reader *reader, const struct vmat_pages_run *run)
{
	struct vmat_pages *pages = reader->pages;
	struct vmat_pages_run *last = pages->count ? &pages->runs[pages->count - 1] : NULL;
	uint64_t count = (run->end - run->start) / PAGE_SIZE;

	if (last && is_same(last, run)) {
		if (vmat_is_known(run->pfn) && run->pfn != reader->last_pfn + 1)
			last->pfn_runs++;
		last->end = run->end;
	} else {
		if (pages->count == reader->capacity) {
			size_t capacity = reader->capacity ? 2 * reader->capacity : 64;
			struct vmat_pages_run *more =
				realloc(pages->runs, capacity * sizeof(*more));

			if (!more)
				return -ENOMEM;
			pages->runs = more;
			reader->capacity = capacity;
		}
		assert(pages->runs);
		pages->runs[pages->count++] = *run;
	}
	reader->last_pfn = vmat_is_known(run->pfn) ? run->pfn + count - 1 : 0;
	return 0;
}

/* A run with all that the region alone says. */
static struct vmat_pages_run new_run(const struct pages_reader *reader, uint64_t start,
				     uint64_t end, uint32_t flags)
{
	const struct vmat_region *region = &reader->map->regions[reader->region];
	bool has_frames = reader->options & (VMAT_PAGES_FRAMES | VMAT_PAGES_KPAGEFLAGS);
	uint64_t no_frame = VMAT_UNKNOWN(!has_frames                 ? VMAT_NOT_ASKED
					 : flags & VMAT_PAGE_PRESENT ? VMAT_NOT_PERMITTED
								     : VMAT_NOT_APPLICABLE);
	struct vmat_pages_run run = {
		.start = start,
		.end = end,
		.page_size = region->page_size,
		.flags = flags,
		.known = reader->known,
		.region = reader->region,
		.pfn = no_frame,
		.pfn_runs = no_frame,
		.kpageflags = no_frame,
		.mapcount = no_frame,
	};

	run.flags = vmat_region_page_flags(region, flags);
	if (run.flags != flags)
		run.known |= VMAT_PAGE_ZERO;
	if (flags & VMAT_PAGE_LEFT_OUT) /* all else of it is not known */
		run.known &= VMAT_PAGE_LEFT_OUT | VMAT_PAGE_DUMPED;
	if (flags & VMAT_PAGE_HUGE && region->backing != VMAT_BACKING_HUGETLB)
		run.page_size = VMAT_PMD_SIZE;
	run.is_copied = vmat_region_has_copies(region) && reader->known & VMAT_PAGE_FILE &&
			flags & (VMAT_PAGE_PRESENT | VMAT_PAGE_SWAPPED) &&
			!(flags & (VMAT_PAGE_FILE | VMAT_PAGE_ZERO));
	return run;
}

/*
 * Holds the flags of `count` frames around pfn, aligned to their number. Frames of neighbouring
 * pages are often not neighbours, and each flag costs the kernel 40 ns: so few are read until more
 * are needed.
 */
static bool read_block(struct pages_reader *reader, uint64_t pfn, size_t count)
{
	uint64_t block = pfn & ~(uint64_t)(count - 1);

	if (vmat_is_known(reader->block) && pfn >= reader->block &&
	    pfn - reader->block < reader->block_count && reader->block_count >= count)
		return true;
	reader->block = VMAT_UNKNOWN(VMAT_NOT_PERMITTED);
	if (vmat_source_frames(reader->target, block, reader->flags, NULL, count))
		return false;
	reader->block = block;
	reader->block_count = count;
	return true;
}

/* The size of the folio that the frame belongs to: its head, and how many tails follow. */
static uint64_t folio_size(struct pages_reader *reader, uint64_t pfn)
{
	const uint64_t head = 1ULL << VMAT_KPF_COMPOUND_HEAD, tail = 1ULL << VMAT_KPF_COMPOUND_TAIL;
	size_t first, last;

	if (!read_block(reader, pfn, FRAMES_NEAR))
		return 0;
	if (!(reader->flags[pfn - reader->block] & (head | tail)))
		return PAGE_SIZE;
	if (!read_block(reader, pfn, FRAMES))
		return 0;
	/* Folios are aligned to their size, so a head lies in the same block. */
	first = (size_t)(pfn - reader->block);
	last = first + 1;
	while (first > 0 && !(reader->flags[first] & head))
		first--;
	while (last < FRAMES && reader->flags[last] & tail)
		last++;
	return (last - first) * PAGE_SIZE;
}

/* One present page with its frame. */
static int add_frame(struct pages_reader *reader, uint64_t addr, uint32_t flags, uint64_t entry)
{
	struct vmat_pages_run run = new_run(reader, addr, addr + PAGE_SIZE, flags);
	uint64_t pfn = entry & ((1ULL << 55) - 1), size;

	if (pfn) {
		run.pfn = pfn;
		run.pfn_runs = 1;
		size = folio_size(reader, pfn);
		if (size && !(flags & VMAT_PAGE_HUGE) &&
		    reader->map->regions[reader->region].backing != VMAT_BACKING_HUGETLB)
			run.page_size = size;
		if (reader->options & VMAT_PAGES_KPAGEFLAGS &&
		    vmat_source_frames(reader->target, pfn, &run.kpageflags, &run.mapcount, 1))
			run.kpageflags = run.mapcount = VMAT_UNKNOWN(VMAT_NOT_PERMITTED);
	}
	return add(reader, &run);
}

static int add_with_frames(struct pages_reader *reader, uint64_t start, uint64_t end,
			   uint32_t flags)
{
	uint64_t entries[FRAMES];

	while (start < end) {
		size_t count = (size_t)((end - start) / PAGE_SIZE);
		int got = vmat_source_pagemap(reader->target, start, entries,
					      count < FRAMES ? count : FRAMES);

		if (got < 0)
			return got;
		for (int i = 0; i < got; i++, start += PAGE_SIZE) {
			int err = add_frame(reader, start, flags, entries[i]);

			if (err)
				return err;
		}
	}
	return 0;
}

static int add_run(struct pages_reader *reader, uint64_t start, uint64_t end, uint32_t flags)
{
	struct vmat_pages_run run;

	if (start >= end)
		return 0;
	if (flags & VMAT_PAGE_PRESENT &&
	    reader->options & (VMAT_PAGES_FRAMES | VMAT_PAGES_KPAGEFLAGS)) {
		int err = add_with_frames(reader, start, end, flags);

		if (err != -ENOENT && err != -EOPNOTSUPP)
			return err;
	}
	run = new_run(reader, start, end, flags);
	return add(reader, &run);
}

/* One run of pages that the driver has pinned. Their size is not known: only that they lie behind each other. */
static int add_pinned(struct pages_reader *reader, uint64_t start, uint64_t end, uint64_t physical)
{
	struct vmat_pages_run run = new_run(reader, start, end, VMAT_PAGE_PRESENT);

	run.known = VMAT_PAGE_PRESENT | VMAT_PAGE_SWAPPED | VMAT_PAGE_ZERO | VMAT_PAGE_GUARD;
	run.is_pinned = true;
	run.page_size = VMAT_UNKNOWN(VMAT_INVISIBLE);
	if (reader->options & (VMAT_PAGES_FRAMES | VMAT_PAGES_KPAGEFLAGS)) {
		run.pfn = vmat_is_known(physical) ? physical / PAGE_SIZE : physical;
		run.pfn_runs = vmat_is_known(physical) ? 1 : physical;
	}
	return add(reader, &run);
}

/*
 * A mapping of a buffer of the driver in kmod/, whose pages the kernel does not show. -ENOENT, -EPERM, -EOPNOTSUPP...: the
 * driver cannot be asked.
 */
static int read_buffer(struct pages_reader *reader, uint64_t start, uint64_t end)
{
	const struct vmat_region *region = &reader->map->regions[reader->region];
	vmat_autofree struct vmat_extent *extents = NULL;
	/* What of the buffer is looked at, in its own offsets. */
	uint64_t from = region->offset + (start - region->start), to = from + (end - start);
	size_t count = 0;
	int err = vmat_source_extents(reader->target, region->name, &extents, &count);

	if (err)
		return err;
	for (size_t i = 0; i < count && !err; i++) {
		const struct vmat_extent *extent = &extents[i];
		uint64_t first = extent->offset > from ? extent->offset : from;
		uint64_t last = extent->offset + extent->bytes;

		last = last < to ? last : to;
		if (first < last)
			err = add_pinned(reader, start + (first - from), start + (last - from),
					 vmat_is_known(extent->physical)
						 ? extent->physical + (first - extent->offset)
						 : extent->physical);
	}
	return err;
}

/* What the kernel does not show: of the driver's buffers the driver may tell. */
static int add_invisible(struct pages_reader *reader, uint64_t start, uint64_t end)
{
	const struct vmat_region *region = &reader->map->regions[reader->region];
	struct vmat_pages_run run = new_run(reader, start, end, 0);
	char why[sizeof(reader->pages->partial_why)];
	int err;

	if (vmat_source_is_buffer(region->name)) {
		err = read_buffer(reader, start, end);
		if (!err || err == -ENOMEM)
			return err;
		snprintf(why, sizeof(why), "%s: its driver cannot be asked for its pages: %s",
			 region->name,
			 err == -ENOENT  ? "the process has closed its descriptor of it"
			 : err == -EPERM ? "that needs the right to trace the process"
					 : strerrordesc_np(-err));
		mark_partial(reader->pages, why);
	}
	run.is_invisible = true;
	return add(reader, &run);
}

static int read_region(struct pages_reader *reader, uint64_t start, uint64_t end)
{
	const struct vmat_region *region = &reader->map->regions[reader->region];
	struct vmat_page_run runs[RUNS];
	uint64_t at = start, done = start;
	bool is_empty = true;

	if (!vmat_region_has_pages(region))
		return add_invisible(reader, start, end);
	while (at < end) {
		int err = 0, count = vmat_source_scan(reader->target, &at, end, reader->want, runs,
						      RUNS, &reader->known);

		if (count < 0)
			return count;
		for (int i = 0; i < count && !err; i++) {
			err = add_run(reader, done, runs[i].start, 0);
			if (!err)
				err = add_run(reader, runs[i].start, runs[i].end, runs[i].flags);
			done = runs[i].end;
			is_empty = false;
		}
		if (err)
			return err;
	}
	if (region->backing == VMAT_BACKING_DEVICE && is_empty)
		return add_invisible(reader, start, end);
	return add_run(reader, done, end, 0);
}

static int explain_pages(struct vmat_target *target, int code, struct vmat_error *err)
{
	switch (code) {
	case -EACCES:
	case -EPERM:
		return vmat_target_explain(target, "read pagemap", code, err);
	case -ESRCH:
		return vmat_error_set(err, code, "process %d has ended",
				      (int)vmat_target_process(target)->pid);
	case -ENOENT:
		return vmat_error_set(err, code, "the record holds no pages");
	case -EOPNOTSUPP:
		return vmat_error_set(err, code,
				      "pagemap is not there, or turned off by VMAT_WITHOUT");
	default:
		return vmat_error_set(err, code, "pagemap cannot be read: %s",
				      strerrordesc_np(-code));
	}
}

int vmat_pages_read(struct vmat_pages **ret, struct vmat_target *target, const struct vmat_map *map,
		    uint64_t start, uint64_t end, uint32_t options, struct vmat_error *err)
{
	vmat_cleanup(cleanup_pages) struct vmat_pages *pages = calloc(1, sizeof(*pages));
	vmat_autofree struct pages_reader *reader = calloc(1, sizeof(*reader));
	int code = 0;

	if (!pages || !reader)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	if (start >= end || (start | end) & (PAGE_SIZE - 1))
		return vmat_error_set(err, -EINVAL, "a range of pages begins and ends at a page");
	*reader = (struct pages_reader){ .pages = pages, .target = target, .map = map };
	reader->options = options;
	reader->block = VMAT_UNKNOWN(VMAT_NOT_ASKED);
	reader->want = VMAT_PAGE_PRESENT | VMAT_PAGE_SWAPPED | VMAT_PAGE_FILE | VMAT_PAGE_ZERO |
		       VMAT_PAGE_HUGE | VMAT_PAGE_GUARD | VMAT_PAGE_LEFT_OUT | VMAT_PAGE_DUMPED;
	if (options & VMAT_PAGES_EXCLUSIVE)
		reader->want |= VMAT_PAGE_EXCLUSIVE;
	for (size_t i = vmat_map_find(map, start); i < map->count && !code; i++) {
		const struct vmat_region *region = &map->regions[i];

		if (region->start >= end)
			break;
		reader->region = i;
		code = read_region(reader, region->start > start ? region->start : start,
				   region->end < end ? region->end : end);
	}
	if (code == -ESRCH && pages->count) {
		mark_partial(pages, "the process ended while its pages were read");
		code = 0;
	}
	if (code)
		return explain_pages(target, code, err);
	if (map->is_partial)
		mark_partial(pages, map->partial_why);
	*ret = vmat_take_ptr(&pages);
	return 0;
}
