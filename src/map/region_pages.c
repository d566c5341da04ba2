/* SPDX-License-Identifier: MIT */
/*
 * region_pages.c: what the pages of each region add up to, from one scan of the address space.
 *
 * A run of the scan may reach over several regions, and regions lie close together: so spans of
 * neighbouring regions are scanned at once, and runs are cut at the borders of regions. Private file
 * mappings are scanned with the FILE category, which costs three times as much, and only where copies
 * are asked for.
 */
#include <errno.h>

#include "map/map_priv.h"
#include "map/page_flags.h"

enum { RUNS = 512 };

/*
 * One call walks all regions of its range under the target's lock, 0.1 us each even when they are empty:
 * 60,000 of 4 KiB side by side held it for 5.9 ms.
 */
enum { SPAN_REGIONS = 2048 };

#define SPAN_GAP (64ULL << 20) /* a wider hole begins a new span: walking page tables is not free */

#define WANT_PLAIN                                                                 \
	(VMAT_PAGE_PRESENT | VMAT_PAGE_SWAPPED | VMAT_PAGE_ZERO | VMAT_PAGE_HUGE | \
	 VMAT_PAGE_GUARD | VMAT_PAGE_LEFT_OUT)

struct pass {
	struct vmat_map *map;
	struct vmat_target *target;
	const struct vmat_map_options *options;
	size_t region;    /* the first one that the next run can reach */
	uint32_t known;   /* what the source could tell in all calls */
	uint32_t further; /* what is wanted besides, of a source that tells no zero or huge pages */
	uint64_t total;   /* bytes of address space to scan, for the progress */
	uint64_t done;
	bool has_begun; /* a scan has told something: the facts of pages are its own */
};

/* Of a region that a core has left out, even in part, nothing is known of its pages. */
static void forget_pages(struct vmat_region *region)
{
	const uint64_t unknown = VMAT_UNKNOWN(VMAT_NOT_RECORDED);

	region->rss = region->swap = region->huge = region->zero = region->guard = unknown;
	if (vmat_is_known(region->copied))
		region->copied = unknown;
}

static void add_run(struct vmat_region *region, uint64_t start, uint64_t end, uint32_t flags,
		    uint32_t known)
{
	uint64_t size = end - start;

	flags = vmat_region_page_flags(region, flags);
	if (flags & VMAT_PAGE_LEFT_OUT || !vmat_is_known(region->rss)) {
		forget_pages(region);
		return;
	}
	if (flags & VMAT_PAGE_GUARD)
		region->guard += size;
	if (flags & VMAT_PAGE_SWAPPED)
		region->swap += size;
	if (flags & (VMAT_PAGE_PRESENT | VMAT_PAGE_SWAPPED) && known & VMAT_PAGE_FILE &&
	    !(flags & (VMAT_PAGE_FILE | VMAT_PAGE_ZERO)) && vmat_is_known(region->copied))
		region->copied += size;
	if (!(flags & VMAT_PAGE_PRESENT))
		return;
	if (flags & VMAT_PAGE_ZERO) {
		region->zero += size;
		return;
	}
	if (!vmat_is_known(region->first_present_addr))
		region->first_present_addr = start;
	if (region->backing == VMAT_BACKING_HUGETLB) {
		region->huge += size; /* the kernel does not count it as resident */
		return;
	}
	region->rss += size;
	if (flags & VMAT_PAGE_HUGE)
		region->huge += size;
	/* Without the zero page's flag: anonymous and not only ours is what it looks like. */
	if (!(known & VMAT_PAGE_ZERO) && !(flags & (VMAT_PAGE_FILE | VMAT_PAGE_EXCLUSIVE)))
		region->rss_is_upper_bound = true;
}

/* Cuts a run at the borders of regions. */
static void distribute(struct pass *pass, const struct vmat_page_run *run, uint32_t known)
{
	struct vmat_map *map = pass->map;

	while (pass->region < map->count && map->regions[pass->region].end <= run->start)
		pass->region++;
	for (size_t i = pass->region; i < map->count && map->regions[i].start < run->end; i++) {
		struct vmat_region *region = &map->regions[i];
		uint64_t start = run->start > region->start ? run->start : region->start;
		uint64_t end = run->end < region->end ? run->end : region->end;

		if (vmat_region_has_pages(region))
			add_run(region, start, end, run->flags, known);
	}
}

/*
 * What is known of no page at all, and what becomes unknown with a reason. Unknown here is no reason to
 * forget what smaps has told.
 */
static void set_facts(struct vmat_map *map, uint64_t value, uint32_t want)
{
	for (size_t i = 0; i < map->count; i++) {
		struct vmat_region *region = &map->regions[i];

		if (vmat_is_known(value) || !(want & VMAT_WANT_SMAPS))
			region->rss = region->swap = value;
		region->huge = region->zero = region->guard = value;
		if (want & VMAT_WANT_COPIED)
			region->copied = vmat_region_has_copies(region)
						 ? value
						 : VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
		region->first_present_addr = value ? value : VMAT_UNKNOWN(VMAT_NOT_FOUND);
	}
}

static int scan_span(struct pass *pass, uint64_t start, uint64_t end, uint32_t want)
{
	struct vmat_page_run runs[RUNS];
	uint64_t at = start;

	while (at < end) {
		uint32_t known = 0;
		uint64_t from = at;
		int count = vmat_source_scan(pass->target, &at, end, want | pass->further, runs,
					     RUNS, &known);

		if (count < 0)
			return count;
		if (!pass->has_begun)
			set_facts(pass->map, 0, pass->options->want);
		pass->has_begun = true;
		if (!(known & VMAT_PAGE_HUGE) && !pass->further) {
			/* Page by page, these cost nothing more, and tell where a zero page may be. */
			pass->further = VMAT_PAGE_FILE | VMAT_PAGE_EXCLUSIVE;
			at = from;
			continue;
		}
		for (int i = 0; i < count; i++)
			distribute(pass, &runs[i], known);
		pass->known &= known | ~want;
		pass->done += at - from;
		if (pass->options->progress)
			pass->options->progress(pass->options->progress_context, pass->done,
						pass->total);
	}
	return 0;
}

/* Facts that the source could not tell, and device memory that it does not show. */
static void mark_unknown(struct pass *pass)
{
	const uint64_t unknown = VMAT_UNKNOWN(
		vmat_source_is_live(pass->target) ? VMAT_KERNEL_LACKS : VMAT_NOT_RECORDED);

	for (size_t i = 0; i < pass->map->count; i++) {
		struct vmat_region *region = &pass->map->regions[i];

		if (!(pass->known & VMAT_PAGE_PRESENT))
			region->rss = unknown;
		if (!(pass->known & VMAT_PAGE_SWAPPED))
			region->swap = unknown;
		if (!(pass->known & VMAT_PAGE_GUARD))
			region->guard = unknown;
		if (!(pass->known & VMAT_PAGE_FILE) && vmat_is_known(region->copied))
			region->copied = unknown;
		/* A page of hugetlb that is there is huge: that needs nobody to say so. */
		if (!(pass->known & (region->backing == VMAT_BACKING_HUGETLB ? VMAT_PAGE_PRESENT
									     : VMAT_PAGE_HUGE)))
			region->huge = unknown;
		if (!(pass->known & VMAT_PAGE_ZERO))
			region->zero = unknown;
		if (region->backing == VMAT_BACKING_DEVICE && region->rss == 0)
			region->rss = region->huge = region->swap = VMAT_UNKNOWN(VMAT_INVISIBLE);
	}
}

static int scan_all(struct pass *pass)
{
	const struct vmat_map *map = pass->map;
	bool wants_copied = pass->options->want & VMAT_WANT_COPIED;
	size_t last;
	int err = 0;

	for (size_t first = 0; first < map->count && !err; first = last) {
		const struct vmat_region *region = &map->regions[first];
		bool is_dear = wants_copied && vmat_region_has_copies(region);

		last = first + 1;
		if (!vmat_region_has_pages(region))
			continue;
		while (last < map->count && last - first < SPAN_REGIONS &&
		       vmat_region_has_pages(&map->regions[last]) &&
		       (wants_copied && vmat_region_has_copies(&map->regions[last])) == is_dear &&
		       map->regions[last].start - map->regions[last - 1].end < SPAN_GAP)
			last++;
		err = scan_span(pass, region->start, map->regions[last - 1].end,
				WANT_PLAIN | (is_dear ? VMAT_PAGE_FILE : 0));
	}
	return err;
}

int vmat_map_read_pages(struct vmat_map *map, struct vmat_target *target,
			const struct vmat_map_options *options)
{
	struct pass pass = {
		.map = map, .target = target, .options = options, .known = UINT32_MAX
	};
	const char *what;
	bool has_smaps;
	struct vmat_error refused = { 0 };
	int err;

	for (size_t i = 0; i < map->count; i++)
		pass.total += vmat_region_has_pages(&map->regions[i])
				      ? vmat_region_size(&map->regions[i])
				      : 0;
	err = scan_all(&pass);
	if (!err) {
		if (!pass.has_begun)
			set_facts(map, 0, options->want);
		mark_unknown(&pass);
		return 0;
	}
	if (err == -EACCES || err == -EPERM) /* or -ESRCH, which it finds out */
		err = vmat_target_explain(target, "read pagemap", err, &refused);
	has_smaps = options->want & VMAT_WANT_SMAPS && !pass.has_begun;
	set_facts(map, VMAT_UNKNOWN(vmat_reason_of_errno(err)),
		  has_smaps ? options->want : options->want & ~(uint32_t)VMAT_WANT_SMAPS);
	if (err == -ENOMEM || err == -ESRCH)
		return err;
	what = has_smaps ? "zero pages, guards and copies are not known"
			 : "what is resident is not known";
	if (refused.code) {
		vmat_map_mark_partial(map, "%s: %.440s", what, refused.text);
	} else {
		vmat_map_mark_partial(map, "%s: %s", what,
				      err == -ENOENT   ? "the record holds no pages"
				      : err == -EINVAL ? "the record's pages are no runs"
						       : "pagemap cannot be read here");
	}
	return 0;
}
