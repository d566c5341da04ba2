/* SPDX-License-Identifier: MIT */
/* A map out of any text: ascending regions, gaps between them, and a name that ends. */
#include <vmatlas/map.h>

#include "fuzz_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmat_map_options options = { .size = sizeof(options), .want = VMAT_WANT_REGIONS };
	struct vmat_target *target = fuzz_record("maps", data, size);
	struct vmat_gap *gaps = NULL;
	struct vmat_map *map = NULL;
	uint64_t last = 0;
	size_t count;

	if (!target)
		abort();
	if (!vmat_map_read(&map, target, &options, NULL)) {
		for (size_t i = 0; i < map->count; i++) {
			const struct vmat_region *region = &map->regions[i];

			if (region->start < last || region->start >= region->end ||
			    strlen(region->name) > size ||
			    vmat_map_at(map, region->start) != region)
				abort();
			last = region->end;
		}
		if (vmat_map_gaps(map, &gaps, &count) || count > map->count + 1)
			abort();
		for (size_t i = 0; i < count; i++) {
			if (gaps[i].start >= gaps[i].end || vmat_map_at(map, gaps[i].start) ||
			    vmat_map_at(map, gaps[i].end - 1))
				abort();
		}
		free(gaps);
		vmat_map_free(map);
	}
	vmat_target_close(target);
	return 0;
}
