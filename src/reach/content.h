/* SPDX-License-Identifier: MIT */
/*
 * content.h: what blocks hold, by their first bytes: text, pointers, zeroes, or an object of a C++ class.
 *
 * The class is that of the table which the first word points into (Itanium C++ ABI, 2.5.2 and 2.9): in
 * front of the entries lies a pointer to the type_info, and that names the class, in stripped programs too.
 * Without run-time type information it is the symbol of the table. All of it must fit, or nothing is said.
 */
#ifndef VMAT_CONTENT_H
#define VMAT_CONTENT_H

#include <vmatlas/map.h>

#include "base/arena.h"
#include "target/target_source.h"

enum { VMAT_CONTENT_PREVIEW = 40, VMAT_CONTENT_BYTES = 64 };

struct vmat_content {
	const char *type; /* Lifetime: that of the contents; "" when its page is absent */
	char preview[VMAT_CONTENT_PREVIEW]; /* a text as it is, else its first words */
};

struct vmat_contents;

/* For a process with this map, whose heap lies in [low, high). `strings` keeps the types. NULL: no memory. */
struct vmat_contents *vmat_contents_new(struct vmat_target *target, const struct vmat_map *map,
					uint64_t low, uint64_t high, struct vmat_strings *strings);
struct vmat_contents *vmat_contents_free(struct vmat_contents *contents);

/* Looks at the block; quickest by ascending address. Classes are named by vmat_contents_name. */
void vmat_contents_look(struct vmat_contents *contents, uint64_t addr, uint64_t size,
			struct vmat_content *ret, uint32_t *ret_class);

/* Finds out the names of all classes met, at once. 0 or -ENOMEM. */
int vmat_contents_name(struct vmat_contents *contents);

/* The type of a block for whose content `class` was given; NULL when there is none. */
const char *vmat_contents_class(const struct vmat_contents *contents, uint32_t class_number);

/* Is this the name of a type as a type_info has it ("N4shop4ItemE")? Pure. */
bool vmat_content_is_type_name(const char *name, size_t size);

#endif
