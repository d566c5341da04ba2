/* SPDX-License-Identifier: MIT */
/*
 * symbols.h: which object or function of an ELF file lies at an address.
 *
 * The nouns:
 *   place   an address of the file (st_value's kind, without load bias) about which is asked
 *   symbol  what .symtab or .dynsym of the file, or of its separate debug file, names
 *   source  the source file that defines it, by DWARF or the symbol table
 *
 * Files of strangers are parsed by libelf, libdw and a demangler, in a child without rights and with limits
 * (src/sys/sys_jail.h). When it dies, or the kernel cannot lock it up, symbols are unknown: no error.
 */
#ifndef VMATLAS_SYMBOLS_H
#define VMATLAS_SYMBOLS_H

#include <vmatlas/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmat_place {
	uint64_t addr;     /* asked for */
	bool wants_source; /* look into DWARF too: can take a second in large programs */
	uint64_t begin;    /* of the symbol; VMAT_UNKNOWN(VMAT_NOT_FOUND) without one */
	uint64_t size;     /* st_size */
	bool is_near;     /* addr lies behind its end: only the closest symbol that begins before */
	bool is_function; /* else an object */
	char name[256];   /* demangled; what is longer is cut and ends in "..." */
	char source[128]; /* its base name, "server.c"; "" when not known */
	char section[32]; /* ".data"; "" when not known */
};

struct vmat_symbol_file {
	int fd;                  /* the file, read only */
	int debug_fd;            /* its separate debug file; -1: none */
	const uint8_t *build_id; /* that both must have; NULL: not known, not checked */
	size_t build_id_size;
};

/*
 * Finds the symbols at the places.
 * Errors: -ENOEXEC the file cannot be parsed, or parsing it took too much memory; -ETIMEDOUT; -ESTALE it
 * has another build id; -ENOSYS the kernel cannot lock up a child; -ENOMEM. The text says which. With any of
 * them the places are untouched.
 * Cost: a fork, and a pass over the symbol tables; no more than 3 s and 512 MiB.
 */
int vmat_symbols_find(const struct vmat_symbol_file *file, struct vmat_place *places, size_t count,
		      struct vmat_error *err);

/*
 * Demangles C++ names and types ("_ZTV3Foo", "N3foo3BarE") in place; those that are none stay as they are.
 * Errors: as above; then all stay as they are.
 */
#define VMAT_SYMBOL_NAME 256
int vmat_symbols_demangle(char (*names)[VMAT_SYMBOL_NAME], size_t count, struct vmat_error *err);

#ifdef __cplusplus
}
#endif
#endif
