/* SPDX-License-Identifier: MIT */
/*
 * symbol_parser.h: what the child without rights does, and the memory that it shares with its parent.
 */
#ifndef VMAT_SYMBOL_PARSER_H
#define VMAT_SYMBOL_PARSER_H

#include <libelf.h>

#include <vmatlas/symbols.h>

enum vmat_parser_verdict {
	VMAT_PARSER_NOTHING, /* it did not come so far */
	VMAT_PARSER_MALFORMED,
	VMAT_PARSER_OTHER_FILE, /* another build id */
	VMAT_PARSER_SYMBOLS,    /* symbols are found, sources not looked for to the end */
	VMAT_PARSER_DONE,
};

/* Written by the child, read by the parent once the child has ended, and not trusted. */
struct vmat_parse {
	struct vmat_symbol_file file;
	uint8_t build_id[64];
	int verdict; /* enum vmat_parser_verdict */
	size_t count;
	struct vmat_place places[]; /* ascending by address */
};

/*
 * Opens the file and, when it is of the same build, its debug file (else NULL). Its build id must be file->build_id, if
 * that is not NULL. VMAT_PARSER_NOTHING, or a verdict; the caller ends both with elf_end in any case.
 */
int vmat_symbols_open(const struct vmat_symbol_file *file, Elf **ret_elf, Elf **ret_debug);

/* Fills parse->places. May crash, hang or take all memory when the file wants it so. */
void vmat_symbols_parse(struct vmat_parse *parse);

struct vmat_demangling {
	size_t count;
	char names[][VMAT_SYMBOL_NAME];
};

void vmat_symbols_demangle_all(struct vmat_demangling *demangling);

#endif
