/* SPDX-License-Identifier: MIT */
/*
 * map.c: reading a map as a whole, and looking things up in it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "map/map_priv.h"

enum { BASE_PAGE_SIZE = 4096 }; /* x86-64; the scan and the texts assume it in one place each */

struct vmat_map *vmat_map_free(struct vmat_map *map)
{
	if (!map)
		return NULL;
	if (map->priv)
		vmat_strings_deinit(&map->priv->names);
	free(map->priv);
	free(map->regions);
	free(map);
	return NULL;
}

static void cleanup_map(struct vmat_map **map)
{
	vmat_map_free(*map);
}

static int explain_regions(struct vmat_target *target, int code, struct vmat_error *err)
{
	const struct vmat_process *process = vmat_target_process(target);

	switch (code) {
	case -EACCES:
	case -EPERM:
		return vmat_target_explain(target, "read maps", code, err);
	case -ESRCH:
		return vmat_error_set(err, code, "process %d has ended", (int)process->pid);
	case -ENOENT:
		return vmat_error_set(err, code, "the record of process %d holds no maps",
				      (int)process->pid);
	case -EINVAL:
		return vmat_error_set(err, -EBADMSG,
				      "the map of process %d is not in the form of proc(5)",
				      (int)process->pid);
	default:
		return vmat_error_set(err, code, "the map of process %d cannot be read: %s",
				      (int)process->pid, strerrordesc_np(-code));
	}
}

/*
 * What happened meanwhile: a target that ended or became another program gives no whole answer. One that
 * ended before its first region was read gives none at all: a zombie's maps is empty, not refused.
 */
static int check_end(struct vmat_map *map, struct vmat_target *target)
{
	struct vmat_error why = { 0 };
	int code = vmat_target_check(target, &why);

	if (code == -ENOMEM || (code == -ESRCH && !map->count))
		return code;
	if (code)
		vmat_map_mark_partial(map, "%s", why.text);
	return 0;
}

/* No core has them: all else of its map is told. */
static bool has_no_smaps(const struct vmat_target *target)
{
	return vmat_target_process(target)->core;
}

static void forget_smaps(struct vmat_map *map)
{
	const uint64_t unknown = VMAT_UNKNOWN(VMAT_NOT_RECORDED);

	for (size_t i = 0; i < map->count; i++) {
		struct vmat_region *region = &map->regions[i];

		region->pss = region->uss = region->dirty = region->referenced = unknown;
		region->anonymous = region->locked = region->thp = region->hugetlb = unknown;
		region->vm_flags = unknown;
	}
	vmat_map_mark_partial(map, "a core holds nothing of smaps: proportional and private "
				   "sizes are not known");
}

int vmat_map_read(struct vmat_map **ret, struct vmat_target *target,
		  const struct vmat_map_options *options, struct vmat_error *err)
{
	static const struct vmat_map_options defaults = { .size = sizeof(defaults),
							  .want = VMAT_WANT_PAGES };
	vmat_cleanup(cleanup_map) struct vmat_map *map = calloc(1, sizeof(*map));
	int code;

	if (!options)
		options = &defaults;
	if (map)
		map->priv = calloc(1, sizeof(*map->priv));
	if (!map || !map->priv)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	map->want = options->want;
	map->base_page_size = BASE_PAGE_SIZE;
	code = vmat_map_read_regions(map, target,
				     options->want & VMAT_WANT_SMAPS && !has_no_smaps(target));
	if (code)
		return explain_regions(target, code, err);
	if (options->want & VMAT_WANT_SMAPS && has_no_smaps(target))
		forget_smaps(map);
	if (options->want & (VMAT_WANT_PAGES | VMAT_WANT_COPIED)) {
		code = vmat_map_read_pages(map, target, options);
		if (code == -ESRCH)
			vmat_map_mark_partial(map, "the process ended while it was read");
		else if (code)
			return vmat_error_set(err, code, "out of memory");
	}
	if (options->want & VMAT_WANT_COUNTERS) {
		code = vmat_counters_read(&map->counters, target, err);
		if (code == -ENOMEM)
			return code;
		if (code)
			vmat_map_mark_partial(map, "the process ended while it was read");
	}
	code = check_end(map, target);
	if (code)
		return explain_regions(target, code, err);
	*ret = vmat_take_ptr(&map);
	return 0;
}

size_t vmat_map_find(const struct vmat_map *map, uint64_t addr)
{
	size_t low = 0, high = map->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (map->regions[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct vmat_region *vmat_map_at(const struct vmat_map *map, uint64_t addr)
{
	size_t i = vmat_map_find(map, addr);

	return i < map->count && map->regions[i].start <= addr ? &map->regions[i] : NULL;
}
