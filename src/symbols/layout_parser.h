/* SPDX-License-Identifier: MIT */
/*
 * layout_parser.h: looking up paths in an ELF file, in the child without rights: see vmatlas/layout.h.
 */
#ifndef VMAT_LAYOUT_PARSER_H
#define VMAT_LAYOUT_PARSER_H

#include <vmatlas/layout.h>

#include "symbols/symbol_parser.h"

/* Written by the child, read by the parent once the child has ended, and not trusted. */
struct vmat_layout_parse {
	struct vmat_symbol_file file;
	uint8_t build_id[64];
	int verdict; /* enum vmat_parser_verdict */
	struct vmat_program program;
	size_t count;
	struct vmat_datum data[];
};

/* May crash, hang or take all memory when the file wants it so. */
void vmat_layout_parse(struct vmat_layout_parse *parse);

#endif
