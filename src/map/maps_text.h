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
	uint8_t prot_unknown; /* bits of prot that are not known: of a core alone */
	const char *name;
	size_t name_size;
};

/* Parses [c, end), which holds no newline. 0, or -EINVAL for anything that the kernel never writes. */
int vmat_maps_line_parse(struct vmat_maps_line *ret, const char *c, const char *end);

/*
 * What a parser of smaps remembers from one block of lines to the next: the kernel writes every block in
 * the same layout, lines of one width, so after the first one a number is found by its place. All
 * zeroes at first.
 */
struct vmat_smaps_layout {
	size_t hint;          /* the field that is expected next */
	size_t size;          /* of all lines before "VmFlags"; 0 while no block was learned */
	size_t learned;       /* of the block that is being learned */
	uint32_t offsets[32]; /* of the number's line in the block, by field; UINT32_MAX: none */
	uint8_t flag_bits[26 * 26]; /* the bit of each code of VmFlags, plus one */
};

/* Adds a line of smaps that is no line of maps ("Rss:   4 kB") to a region. Unknown ones are passed over. */
void vmat_smaps_line_parse(struct vmat_region *region, struct vmat_smaps_layout *layout,
			   const char *c, const char *end);

/*
 * Takes the lines behind a line of maps all at once, by the layout learned. Returns how many bytes they
 * are, with the line of flags the only one left, or 0 when the text does not look as it did before: then
 * the lines are to be parsed one by one.
 */
size_t vmat_smaps_block_parse(struct vmat_region *region, struct vmat_smaps_layout *layout,
			      const char *c, const char *end);

/* Makes the facts that smaps brings unknown, until the lines of a region whose block follows tell them. */
void vmat_smaps_region_begin(struct vmat_region *region, struct vmat_smaps_layout *layout);

#endif
