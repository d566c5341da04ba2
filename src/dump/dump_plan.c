/* SPDX-License-Identifier: MIT */
/*
 * dump_plan.c: which pages go into the core.
 *
 * Written: pages that are in memory and that no file has: anonymous ones, private copies, shared memory; and the first page of
 * each mapped file, for its ELF header with the build id. A hole in the file: anonymous pages that were never
 * touched, which are zeroes. Left out, so that no reader takes them for zeroes: pages of files, pages in
 * swap, pages of shared memory that this process has not touched. Long stretches that were never touched are
 * left out, too: 16 TiB of reservation would make a file larger than file systems allow.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dump/dump_priv.h"
#include "sys/sys_process.h"

enum { RUNS = 512 };

#define HOLE_MAX (UINT64_C(64) << 20)

static const uint32_t wanted = VMAT_PAGE_PRESENT | VMAT_PAGE_SWAPPED | VMAT_PAGE_FILE |
			       VMAT_PAGE_ZERO | VMAT_PAGE_HUGE | VMAT_PAGE_GUARD |
			       VMAT_PAGE_EXCLUSIVE;

/* The array with room for one more, or NULL, and the old one stays. */
static void *grow(void *array, size_t *capacity, size_t count, size_t item_size)
{
	size_t larger = *capacity ? 2 * *capacity : 256;
	void *more;

	if (count < *capacity)
		return array;
	more = realloc(array, larger * item_size);
	if (more)
		*capacity = larger;
	return more;
}

static int add_piece(struct vmat_dump_plan *plan, const struct vmat_region *region, uint64_t start,
		     uint64_t end, bool is_held)
{
	struct vmat_dump_piece *last =
		plan->pieces_count ? &plan->pieces[plan->pieces_count - 1] : NULL;
	struct vmat_dump_piece *pieces;

	if (start >= end)
		return 0;
	/* Never over the border of a region: they differ in more than rights. */
	if (last && last->end == start && start > region->start && last->is_held == is_held) {
		last->end = end;
		return 0;
	}
	pieces = grow(plan->pieces, &plan->pieces_capacity, plan->pieces_count, sizeof(*pieces));
	if (!pieces)
		return -ENOMEM;
	plan->pieces = pieces;
	pieces[plan->pieces_count++] =
		(struct vmat_dump_piece){ start, end, region->prot, is_held };
	return 0;
}

static int add_copy(struct vmat_dump_plan *plan, uint64_t start, uint64_t end)
{
	struct vmat_dump_run *last =
		plan->copies_count ? &plan->copies[plan->copies_count - 1] : NULL;
	struct vmat_dump_run *copies;

	plan->bytes += end - start;
	if (last && last->end == start) {
		last->end = end;
		return 0;
	}
	copies = grow(plan->copies, &plan->copies_capacity, plan->copies_count, sizeof(*copies));
	if (!copies)
		return -ENOMEM;
	plan->copies = copies;
	copies[plan->copies_count++] = (struct vmat_dump_run){ .start = start, .end = end };
	return 0;
}

static bool is_file(const struct vmat_region *region)
{
	return region->backing == VMAT_BACKING_FILE || region->backing == VMAT_BACKING_DEVICE;
}

/* Pages of no run, before or behind one. */
static int add_untouched(struct vmat_dump_plan *plan, const struct vmat_region *region,
			 uint64_t start, uint64_t end)
{
	bool is_zero = region->backing == VMAT_BACKING_ANON && end - start <= HOLE_MAX;

	return start < end ? add_piece(plan, region, start, end, is_zero) : 0;
}

static int add_run(struct vmat_dump_plan *plan, struct vmat_dump *dump,
		   const struct vmat_region *region, const struct vmat_page_run *run)
{
	uint64_t start = run->start, size = run->end - start;
	bool is_of_file =
		is_file(region) && (run->flags & VMAT_PAGE_FILE || region->prot & VMAT_PROT_SHARED);
	int err;

	if (!(run->flags & VMAT_PAGE_PRESENT) || region->backing == VMAT_BACKING_DEVICE) {
		if (run->flags & VMAT_PAGE_SWAPPED)
			dump->left_out_swap += size;
		return add_piece(plan, region, start, run->end, false);
	}
	if (is_of_file) {
		/* The page with the ELF header says who the file is. */
		bool is_first =
			start == region->start && !region->offset && region->prot & VMAT_PROT_READ;

		err = is_first ? add_copy(plan, start, start + VMAT_DUMP_PAGE) : 0;
		if (!err && is_first)
			err = add_piece(plan, region, start, start + VMAT_DUMP_PAGE, true);
		if (is_first)
			start += VMAT_DUMP_PAGE;
		dump->left_out_file += run->end - start;
		return err ? err : add_piece(plan, region, start, run->end, false);
	}
	err = add_piece(plan, region, start, run->end, true);
	if (!err && !(run->flags & VMAT_PAGE_ZERO))
		err = add_copy(plan, start, run->end);
	return err;
}

static int note_run(struct vmat_dump_plan *plan, const struct vmat_page_run *run, uint32_t known)
{
	struct vmat_dump_run *runs;

	runs = grow(plan->runs, &plan->runs_capacity, plan->runs_count, sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	plan->runs = runs;
	runs[plan->runs_count++] =
		(struct vmat_dump_run){ run->start, run->end, run->flags, known };
	return 0;
}

/*
 * The vdso is the kernel's, and the same in all processes: ours is written instead, for the process may have
 * touched some of its pages only. Not when it looks different from ours, or cannot be compared.
 */
static bool is_own_vdso(struct vmat_target *target, const struct vmat_region *region)
{
	size_t size = 0;
	const void *vdso = vmat_sys_own_vdso(&size);
	char page[VMAT_DUMP_PAGE];

	return vdso && size == vmat_region_size(region) &&
	       vmat_source_read(target, region->start, page, sizeof(page)) == sizeof(page) &&
	       memcmp(vdso, page, sizeof(page)) == 0;
}

static int plan_region(struct vmat_dump_plan *plan, struct vmat_dump *dump,
		       struct vmat_target *target, const struct vmat_region *region)
{
	uint64_t at = region->start, done = region->start;
	bool is_visible =
		region->backing != VMAT_BACKING_KERNEL || strcmp(region->name, "[vdso]") == 0;

	if (is_visible && region->backing == VMAT_BACKING_KERNEL && is_own_vdso(target, region))
		plan->vdso_addr = region->start;
	while (is_visible && at < region->end) {
		struct vmat_page_run runs[RUNS];
		uint32_t known;
		int err = 0,
		    count = vmat_source_scan(target, &at, region->end, wanted, runs, RUNS, &known);

		if (count < 0)
			return count;
		for (int i = 0; i < count && !err; i++) {
			err = note_run(plan, &runs[i], known);
			if (plan->vdso_addr == region->start && plan->vdso_addr)
				continue;
			if (!err)
				err = add_untouched(plan, region, done, runs[i].start);
			/* The vdso is made of the kernel's pages, which look like a file's. */
			if (region->backing == VMAT_BACKING_KERNEL)
				runs[i].flags &= ~(uint32_t)VMAT_PAGE_FILE;
			if (!err)
				err = add_run(plan, dump, region, &runs[i]);
			done = runs[i].end;
		}
		if (err)
			return err;
	}
	if (plan->vdso_addr == region->start && plan->vdso_addr)
		return add_piece(plan, region, region->start, region->end, true);
	/* A region that holds nothing at all is left out, as the kernel does. */
	if (done == region->start)
		return add_piece(plan, region, region->start, region->end, false);
	return add_untouched(plan, region, done, region->end);
}

int vmat_dump_plan_make(struct vmat_dump_plan *plan, struct vmat_dump *dump,
			struct vmat_target *target, const struct vmat_map *map)
{
	int err = 0;

	*plan = (struct vmat_dump_plan){ .map = map };
	for (size_t i = 0; i < map->count && !err; i++)
		err = plan_region(plan, dump, target, &map->regions[i]);
	return err;
}

void vmat_dump_plan_deinit(struct vmat_dump_plan *plan)
{
	free(plan->pieces);
	free(plan->runs);
	free(plan->copies);
	*plan = (struct vmat_dump_plan){ 0 };
}
