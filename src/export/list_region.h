/* SPDX-License-Identifier: MIT */
/*
 * list_region.h: how regions are spelt, for the other lists that name one.
 */
#ifndef VMAT_LIST_REGION_H
#define VMAT_LIST_REGION_H

#include <vmatlas/column.h>

/* "rw-p": rights as in maps. Lifetime: static. */
const char *vmat_prot_text(uint8_t prot);
/* "anon", "file", ...: enum vmat_backing. Lifetime: static. */
const char *vmat_backing_text(uint8_t backing);
enum vmat_tint vmat_kind_tint(enum vmat_kind kind);

/* The owner of a region, or what else names it; "" behind the last. Lifetime: the atlas's. */
const char *vmat_region_label(const struct vmat_atlas *atlas, size_t region);

#endif
