/* SPDX-License-Identifier: MIT */
/*
 * map_priv.h: what the files of this folder share about a map that is being read.
 */
#ifndef VMAT_MAP_PRIV_H
#define VMAT_MAP_PRIV_H

#include <vmatlas/map.h>

#include "base/arena.h"
#include "target/target_source.h"

struct vmat_map_priv {
	struct vmat_strings names;
	size_t capacity; /* of regions */
};

/* Marks the map as partial. The first reason is kept: the others mostly follow from it. */
void vmat_map_mark_partial(struct vmat_map *map, const char *format, ...) VMAT_PRINTF(2, 3);

/* Reads the regions from maps, or with their facts from smaps. 0 or -errno. */
int vmat_map_read_regions(struct vmat_map *map, struct vmat_target *target, bool from_smaps);

/* Fills what the pages of the regions tell. Failures make facts unknown; only -ENOMEM and -ESRCH fail. */
int vmat_map_read_pages(struct vmat_map *map, struct vmat_target *target,
			const struct vmat_map_options *options);

/* Why a failed read of pages leaves its facts unknown. */
enum vmat_reason vmat_reason_of_errno(int err);

#endif
