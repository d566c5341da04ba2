/* SPDX-License-Identifier: MIT */
/*
 * cow.c: which pages of private mappings are copies, and which are still shared after a fork.
 *
 * A page of a private file mapping that is there and is no file page any more was copied when it was
 * written (pagemap bit 61): no frame number, no root. An anonymous page that is not exclusive (bit 56) is
 * mapped by another process too, which after fork(2) is the parent or a child. The zero page is
 * neither.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "map/map_priv.h"
#include "map/page_flags.h"

enum { RUNS = 256, PAGE_SIZE = 4096 };

struct vmat_cow *vmat_cow_free(struct vmat_cow *cow)
{
	if (!cow)
		return NULL;
	for (size_t i = 0; i < cow->count; i++)
		free(cow->regions[i].ranges);
	free(cow->regions);
	free(cow);
	return NULL;
}

static void cleanup_cow(struct vmat_cow **cow)
{
	vmat_cow_free(*cow);
}

/* Adds a range; neighbours become one, whatever else differs between them. */
static int add_range(struct vmat_cow_region *region, size_t *capacity,
		     const struct vmat_page_run *run)
{
	struct vmat_page_run *last =
		region->ranges_count ? &region->ranges[region->ranges_count - 1] : NULL;

	if (last && last->end == run->start) {
		last->end = run->end;
		last->flags &= run->flags;
		return 0;
	}
	if (region->ranges_count == *capacity) {
		size_t more_capacity = *capacity ? 2 * *capacity : 8;
		struct vmat_page_run *more = realloc(region->ranges, more_capacity * sizeof(*more));

		if (!more)
			return -ENOMEM;
		region->ranges = more;
		*capacity = more_capacity;
	}
	region->ranges[region->ranges_count++] = *run;
	return 0;
}

static int add_run(struct vmat_cow_region *region, bool is_file, size_t *capacity,
		   const struct vmat_page_run *run)
{
	uint64_t pages = (run->end - run->start) / PAGE_SIZE;
	bool is_exclusive = run->flags & VMAT_PAGE_EXCLUSIVE;

	if (run->flags & (VMAT_PAGE_FILE | VMAT_PAGE_ZERO | VMAT_PAGE_GUARD))
		return 0;
	if (is_file)
		region->copied_pages += pages;
	if (run->flags & VMAT_PAGE_PRESENT) {
		if (is_exclusive)
			region->exclusive_pages += pages;
		else
			region->shared_pages += pages;
	}
	if (is_file || (run->flags & VMAT_PAGE_PRESENT && !is_exclusive))
		return add_range(region, capacity, run);
	return 0;
}

static int read_region(struct vmat_cow_region *ret, struct vmat_target *target,
		       const struct vmat_region *region)
{
	const uint32_t want = VMAT_PAGE_PRESENT | VMAT_PAGE_SWAPPED | VMAT_PAGE_FILE |
			      VMAT_PAGE_ZERO | VMAT_PAGE_GUARD | VMAT_PAGE_EXCLUSIVE;
	bool is_file = vmat_region_has_copies(region);
	struct vmat_page_run runs[RUNS];
	uint64_t at = region->start;
	uint32_t known = want;
	size_t capacity = 0;

	ret->pages = vmat_region_size(region) / PAGE_SIZE;
	ret->copied_pages = is_file ? 0 : VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	while (at < region->end) {
		int count = vmat_source_scan(target, &at, region->end, want, runs, RUNS, &known);

		if (count < 0)
			return count;
		if (!(known & VMAT_PAGE_FILE) && vmat_target_process(target)->core)
			return -EOPNOTSUPP;
		for (int i = 0; i < count; i++) {
			int err = add_run(ret, is_file, &capacity, &runs[i]);

			if (err)
				return err;
		}
	}
	/* An unknown zero page looks like a shared one. */
	if (!is_file && !(known & VMAT_PAGE_ZERO) && ret->shared_pages)
		ret->shared_pages = VMAT_UNKNOWN(VMAT_KERNEL_LACKS);
	return 0;
}

/* Then what is called shared may be memory that was only read, and that nobody else has. */
static void mark_unsure(struct vmat_cow *cow)
{
	cow->is_partial = true;
	snprintf(
		cow->partial_why, sizeof(cow->partial_why),
		"without PAGEMAP_SCAN (Linux 6.7) or frame numbers (CAP_SYS_ADMIN) pages that were only "
		"read look like shared ones: how many are shared is not known, and the ranges of "
		"anonymous memory may hold such pages");
}

static bool is_asked(const struct vmat_region *region)
{
	return !(region->prot & VMAT_PROT_SHARED) && region->backing != VMAT_BACKING_KERNEL &&
	       region->backing != VMAT_BACKING_HUGETLB && region->backing != VMAT_BACKING_DEVICE;
}

static bool is_worth_telling(const struct vmat_cow_region *region)
{
	return region->shared_pages ||
	       (vmat_is_known(region->copied_pages) && region->copied_pages);
}

static int append(struct vmat_cow *cow, size_t *capacity, const struct vmat_cow_region *region)
{
	if (cow->count == *capacity) {
		size_t more_capacity = *capacity ? 2 * *capacity : 32;
		struct vmat_cow_region *more = realloc(cow->regions, more_capacity * sizeof(*more));

		if (!more)
			return -ENOMEM;
		cow->regions = more;
		*capacity = more_capacity;
	}
	cow->regions[cow->count++] = *region;
	return 0;
}

static int read_all(struct vmat_cow *cow, struct vmat_target *target, const struct vmat_map *map)
{
	size_t capacity = 0;
	int err = 0;

	for (size_t i = 0; i < map->count && !err; i++) {
		struct vmat_cow_region region = { .region = i };

		if (!is_asked(&map->regions[i]))
			continue;
		err = read_region(&region, target, &map->regions[i]);
		if (!err && is_worth_telling(&region)) {
			if (!vmat_is_known(region.shared_pages))
				mark_unsure(cow);
			err = append(cow, &capacity, &region);
			if (!err)
				continue;
		}
		free(region.ranges);
	}
	return err;
}

int vmat_cow_read(struct vmat_cow **ret, struct vmat_target *target, const struct vmat_map *map,
		  struct vmat_error *err)
{
	vmat_cleanup(cleanup_cow) struct vmat_cow *cow = calloc(1, sizeof(*cow));
	int code = cow ? read_all(cow, target, map) : -ENOMEM;

	switch (code) {
	case 0:
		break;
	case -ESRCH:
		cow->is_partial = true;
		snprintf(cow->partial_why, sizeof(cow->partial_why),
			 "the process ended while its pages were read");
		break;
	case -EACCES:
	case -EPERM:
		return vmat_target_explain(target, "read pagemap", code, err);
	case -ENOENT:
		return vmat_error_set(err, code, "the record holds no pages");
	case -ENOMEM:
		return vmat_error_set(err, code, "out of memory");
	case -EOPNOTSUPP:
		if (vmat_target_process(target)->core)
			return vmat_error_set(
				err, code,
				"a core does not tell which pages are copies: only one "
				"that `vmatlas dump` has written does");
		__attribute__((fallthrough)); /* a living process */
	default:
		return vmat_error_set(err, code, "pagemap cannot be read: %s",
				      strerrordesc_np(-code));
	}
	if (map->is_partial && !cow->is_partial) {
		cow->is_partial = true;
		snprintf(cow->partial_why, sizeof(cow->partial_why), "%s", map->partial_why);
	}
	*ret = vmat_take_ptr(&cow);
	return 0;
}
