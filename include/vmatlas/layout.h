/* SPDX-License-Identifier: MIT */
/*
 * layout.h: what a program calls its variables, and how their types lie in memory.
 *
 * The nouns:
 *   path   a variable, and names of fields behind it: "pxCurrentTCB", "pxCurrentTCB.pxStack". A step goes through arrays (their
 *          first element) and pointers by itself. A path may also begin with a type: "Thread_t.pthread"
 *   datum  what a path names: where it lies, how large it is, what it is
 *
 * Addresses and sizes of variables come from the symbol table, types from DWARF. Any ELF file is read: of 32 and 64 bits, of
 * both byte orders, of any machine; by libelf and libdw in a child without rights, as symbols.h says.
 */
#ifndef VMATLAS_LAYOUT_H
#define VMATLAS_LAYOUT_H

#include <vmatlas/symbols.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmat_datum_kind {
	VMAT_DATUM_UNTYPED, /* no DWARF says what it is */
	VMAT_DATUM_INTEGER, /* also characters, enumerations, booleans */
	VMAT_DATUM_POINTER,
	VMAT_DATUM_STRUCT, /* or a union */
	VMAT_DATUM_OTHER,  /* floating point, bit fields, functions */
};

#define VMAT_DATUM_PATH 96

/* Unknown numbers are VMAT_UNKNOWN(VMAT_NOT_FOUND). */
struct vmat_datum {
	char path[VMAT_DATUM_PATH]; /* asked for */
	enum vmat_datum_kind kind;  /* of one element of an array */
	bool is_signed, is_array;
	uint64_t addr;        /* of the variable alone: a path with steps has none */
	uint64_t symbol_size; /* st_size of the variable */
	uint64_t
		offset; /* from the beginning of the variable, or of what the last pointer on the way points at */
	uint64_t size;  /* of one element */
	uint64_t count; /* of elements; 1: no array */
	uint64_t
		holder_size; /* of what `offset` begins in: one element of the variable, or of what the pointer points at */
	uint64_t target_size; /* POINTER: of what it points at */
};

struct vmat_program {
	uint16_t machine;   /* EM_ARM, EM_X86_64, ... */
	unsigned word_size; /* of an address: 4 or 8 by the class of the file */
	bool is_big_endian;
	bool has_symbols; /* a full symbol table */
	bool has_types;   /* DWARF */
};

/* Fills data[i] for the paths in it. What is not found is unknown, which is no error. Errors, cost: as vmat_symbols_find. */
int vmat_layout_find(const struct vmat_symbol_file *file, struct vmat_program *ret,
		     struct vmat_datum *data, size_t count, struct vmat_error *err);

/* Is it known where the datum lies: has the variable an address, or the field an offset? */
static inline bool vmat_datum_is_found(const struct vmat_datum *datum)
{
	return vmat_is_known(datum->addr) || vmat_is_known(datum->offset);
}

#ifdef __cplusplus
}
#endif
#endif
