/* SPDX-License-Identifier: MIT */
/*
 * search_order.h: the ELF files of a process in the order in which the dynamic loader looks for a name.
 */
#ifndef VMAT_SEARCH_ORDER_H
#define VMAT_SEARCH_ORDER_H

#include <vmatlas/map.h>

#include "heap/heap_priv.h"
#include "map/mapped_elf.h"

/* The first of `names`, an array that ends with NULL, that the file exports; NULL when it exports none. */
const char *vmat_loaded_exports(struct vmat_mapped_elf *loaded, const char *const *names);

/* A text to look for, without its first character, so that our own file does not hold it. */
struct vmat_text {
	char first;
	const char *rest;
};

/*
 * Which of up to 32 texts are in the file's read-only data, as bits. Cost: reads that data, at most 64 MiB of it.
 */
uint32_t vmat_loaded_find_texts(struct vmat_mapped_elf *loaded, const struct vmat_text *texts,
				size_t count);

/*
 * The regions (of offset 0) of the program and its libraries in search order, at most `count`. Returns how many; 0
 * for a static program, or where the loader's list cannot be read.
 */
size_t vmat_search_order(struct vmat_heap_memory *memory, const struct vmat_map *map,
			 size_t *regions, size_t count);

/* The region of offset 0 of the program itself; SIZE_MAX when it is not known. */
size_t vmat_program_region(struct vmat_target *target, const struct vmat_map *map);

#endif
