/* SPDX-License-Identifier: MIT */
/*
 * core_all.h: everything that can be asked of a core file, in one call, for the fuzz target and for core_flips. A file that is
 * refused must be refused with a reason; an answer must be in order.
 */
#ifndef VMAT_CORE_ALL_H
#define VMAT_CORE_ALL_H

#include <stdlib.h>
#include <string.h>

#include <vmatlas/atlas.h>
#include <vmatlas/page.h>
#include <vmatlas/reach.h>

static void core_check_map(const struct vmat_map *map)
{
	for (size_t i = 0; i < map->count; i++) {
		const struct vmat_region *region = &map->regions[i];

		if (region->start >= region->end ||
		    (i && region->start < map->regions[i - 1].end) ||
		    (vmat_is_known(region->rss) && region->rss > vmat_region_size(region)))
			abort();
	}
}

static void core_check_stacks(const struct vmat_stacks *stacks)
{
	for (size_t i = 0; i < stacks->count; i++) {
		if (!stacks->stacks[i].why || !stacks->verdict)
			abort();
	}
}

/* How far the answers went. */
enum core_answer {
	CORE_REFUSED,
	CORE_OPENED,
	CORE_MAPPED,
	CORE_WALKED, /* the heap was walked, and searched for leaks */
};

/* The heap and its leaks: sums cannot be more than there is. Was it walked? */
static bool core_ask_heap(struct vmat_target *target, const struct vmat_map *map)
{
	const struct vmat_leaks_options options = {
		.size = sizeof(options),
		.heap = { .size = sizeof(options.heap) },
	};
	struct vmat_heap *heap = NULL;
	struct vmat_leaks *leaks = NULL;
	struct vmat_error err = { 0 };
	bool is_walked;

	if (vmat_heap_read(&heap, target, map, &options.heap, &err) < 0 && !err.text[0])
		abort();
	vmat_heap_free(heap);
	err.text[0] = '\0';
	if (vmat_leaks_read(&leaks, target, map, &options, &err) < 0 && !err.text[0])
		abort();
	if (leaks && leaks->direct_count + leaks->indirect_count > leaks->blocks)
		abort();
	is_walked = leaks;
	vmat_leaks_free(leaks);
	return is_walked;
}

static enum core_answer core_ask_all(const char *path)
{
	const struct vmat_atlas_options options = {
		.size = sizeof(options),
		.want = VMAT_ATLAS_OWNERS,
		.map_want = VMAT_WANT_PAGES | VMAT_WANT_COPIED | VMAT_WANT_COUNTERS,
	};
	struct vmat_target *target = NULL;
	struct vmat_atlas *atlas = NULL;
	struct vmat_stacks *stacks = NULL;
	struct vmat_pages *pages = NULL;
	struct vmat_cow *cow = NULL;
	struct vmat_error err = { 0 };
	bool is_walked;

	if (vmat_target_open(&target, path, NULL, &err) < 0) {
		if (!err.text[0])
			abort();
		return CORE_REFUSED;
	}
	if (vmat_atlas_read(&atlas, target, &options, &err) < 0) {
		if (!err.text[0])
			abort();
		vmat_target_close(target);
		return CORE_OPENED;
	}
	core_check_map(atlas->map);
	if (!vmat_stacks_read(&stacks, target, atlas->map, &err))
		core_check_stacks(stacks);
	if (atlas->map->count)
		(void)vmat_pages_read(&pages, target, atlas->map, atlas->map->regions[0].start,
				      atlas->map->regions[atlas->map->count - 1].end, 0, &err);
	(void)vmat_cow_read(&cow, target, atlas->map, &err);
	is_walked = core_ask_heap(target, atlas->map);
	vmat_cow_free(cow);
	vmat_pages_free(pages);
	vmat_stacks_free(stacks);
	vmat_atlas_free(atlas);
	vmat_target_close(target);
	return is_walked ? CORE_WALKED : CORE_MAPPED;
}

#endif
