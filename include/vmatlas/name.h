/* SPDX-License-Identifier: MIT */
/*
 * name.h: what lies at an address of a target's programs and libraries, by their symbols.
 *
 * A name is one of these, and says which: the symbol that covers the address; the closest symbol before it
 * (`is_near`); the section of the file, when there is no symbol; the file alone. Never a guess.
 */
#ifndef VMATLAS_NAME_H
#define VMATLAS_NAME_H

#include <vmatlas/map.h>
#include <vmatlas/symbols.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmat_name {
	uint64_t addr;     /* asked for */
	bool wants_source; /* struct vmat_place: also look into DWARF */
	const char *path;  /* of the file that is mapped there; NULL: none. Lifetime: the map's */
	uint64_t bias;     /* what is added to the file's addresses */
	struct vmat_place place; /* addresses of the file */
	char why_not[128];       /* why there is no symbol; "" when there is one */
};

/*
 * Finds the names of the addresses: each file is opened once, as the target sees it, if it is still the file
 * that is mapped; its build id must be that in memory. Debug files come from /usr/lib/debug/.build-id.
 * Errors: -ENOMEM. What is not known is said in each name.
 * Cost: as vmat_symbols_find, for each file.
 */
int vmat_names_read(struct vmat_target *target, const struct vmat_map *map, struct vmat_name *names,
		    size_t count, struct vmat_error *err);

/* "`cache`+16 in server.c", "near `x`+0x2040 of libfoo.so", ".data of libfoo.so at 0x4010". Returns the length. */
size_t vmat_name_text(char *ret, size_t size, const struct vmat_name *name);

#ifdef __cplusplus
}
#endif
#endif
