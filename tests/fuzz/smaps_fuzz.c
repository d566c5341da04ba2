/* SPDX-License-Identifier: MIT */
/* Regions and their facts out of any smaps: each line counts for one region, whatever its layout. */
#include <vmatlas/map.h>

#include "fuzz_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmat_map_options options = { .size = sizeof(options), .want = VMAT_WANT_SMAPS };
	struct vmat_target *target = fuzz_record("smaps", data, size);
	struct vmat_map *map = NULL;

	if (!target)
		abort();
	if (!vmat_map_read(&map, target, &options, NULL)) {
		for (size_t i = 0; i < map->count; i++) {
			const struct vmat_region *region = &map->regions[i];

			if (!region->page_size || region->start >= region->end ||
			    vmat_reason(region->pss) == VMAT_NOT_ASKED ||
			    vmat_reason(region->rss) == VMAT_NOT_ASKED)
				abort();
			if (vmat_is_known(region->vm_flags) && region->vm_flags >> 40)
				abort();
		}
		vmat_map_free(map);
	}
	vmat_target_close(target);
	return 0;
}
