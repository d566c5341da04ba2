/* SPDX-License-Identifier: MIT */
/*
 * maps_text.h: the text forms of proc(5): a line of maps, the block of smaps below it. Pure.
 */
#ifndef VMAT_MAPS_TEXT_H
#define VMAT_MAPS_TEXT_H

#include <vmatlas/map.h>

/* A line of maps. `name` points into the text and is not unescaped. */
struct vmat_maps_line {
	uint64_t start, end, offset, inode;
	uint32_t dev_major, dev_minor;
	uint8_t prot;
	const char *name;
	size_t name_size;
};

/* Parses [c, end), which holds no newline. 0, or -EINVAL for anything that the kernel never writes. */
int vmat_maps_line_parse(struct vmat_maps_line *ret, const char *c, const char *end);

/*
 * Adds a line of smaps that is no line of maps ("Rss:   4 kB") to a region. `hint` is the caller's, 0
 * at first: the number of the field that is expected next, since the kernel always writes the same
 * order. Lines that are not known are passed over.
 */
void vmat_smaps_line_parse(struct vmat_region *region, size_t *hint, const char *c,
			   const char *end);

/* Sets the facts that smaps brings to 0, for a region whose block follows. */
void vmat_smaps_region_begin(struct vmat_region *region);

#endif
