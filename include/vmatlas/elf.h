/* SPDX-License-Identifier: MIT */
/*
 * elf.h: the little that must be known of a mapped ELF file: its segments and its dynamic symbols.
 *
 * The reader is bounded in every loop and size and opens nothing: bytes come through a function, out
 * of the file or out of the target's memory. Hostile files make it fail, never crash or hang; it has
 * a fuzz target. Only little-endian files are read. DWARF is not its business.
 */
#ifndef VMATLAS_ELF_H
#define VMATLAS_ELF_H

#include <vmatlas/base.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmat_segment_type {
	VMAT_SEGMENT_LOAD,
	VMAT_SEGMENT_RELRO,
	VMAT_SEGMENT_TLS,
};

/* Addresses are those of the file (p_vaddr): add the load bias for those of the process. */
struct vmat_segment {
	enum vmat_segment_type type;
	uint8_t prot; /* PF_X 1, PF_W 2, PF_R 4 as in ELF */
	uint64_t offset, file_size;
	uint64_t addr, mem_size;
	uint64_t align;
};

#define VMAT_ELF_SEGMENTS_MAX 64

struct vmat_elf {
	unsigned word_size; /* 4 or 8 */
	uint16_t machine;   /* EM_X86_64, ... */
	uint16_t type;      /* ET_EXEC, ET_DYN */
	bool has_interp;    /* PT_INTERP: a dynamic program */
	bool has_dynamic;
	struct vmat_segment segments[VMAT_ELF_SEGMENTS_MAX];
	size_t segments_count;
	uint64_t dynamic_addr, dynamic_size;   /* PT_DYNAMIC */
	uint64_t load_addr_min, load_addr_max; /* of all LOAD segments, unaligned */
	/*
	 * To be set by who reads out of a process's memory: its load bias. The dynamic loader adds
	 * it to the pointers of PT_DYNAMIC in place, so they are not those of the file.
	 */
	uint64_t dynamic_bias;
	uint8_t build_id[32];
	size_t build_id_size; /* 0 when there is none */
	char soname[96];      /* DT_SONAME; "" when none or not readable */
};

/*
 * Gives `size` bytes at `offset` of the file, all or nothing: 0, or a negative errno.
 * -ENODATA: that part is not there (a page of the target that is not present).
 */
typedef int vmat_elf_read_fn(void *context, uint64_t offset, void *buffer, size_t size);

/*
 * Reads headers and segments.
 * Errors: -ENOEXEC no ELF file, or one that is malformed (the text says how); those of `read`.
 */
int vmat_elf_read(struct vmat_elf *ret, vmat_elf_read_fn *read, void *context,
		  struct vmat_error *err);

/* A vmat_elf_read_fn over a file descriptor: context is an int *. -ENOEXEC: the file ends before. */
int vmat_elf_read_fd(void *context, uint64_t offset, void *buffer, size_t size);

/*
 * Where in the file the `size` bytes at `addr` lie. Pure.
 * Errors: -ENOENT: no LOAD segment holds all of them in the file (so bss has no offset).
 */
int vmat_elf_offset(const struct vmat_elf *elf, uint64_t addr, uint64_t size, uint64_t *ret);

struct vmat_symbol {
	uint64_t addr; /* st_value: add the load bias */
	uint64_t size;
	uint16_t section;
	uint8_t type;
};

/*
 * Looks up names in the dynamic symbol table, by its hash table (DT_GNU_HASH or DT_HASH): it touches
 * only the pages that hold the names asked for, which matters where the target's memory is read.
 * `ret[i].addr` is VMAT_UNKNOWN(VMAT_NOT_FOUND) for a name that is not defined there.
 * Errors: -ENOEXEC malformed; -ENOENT no dynamic symbols; -ENOMEM; those of `read`.
 * Cost: about five small reads per name.
 */
int vmat_elf_symbols(const struct vmat_elf *elf, vmat_elf_read_fn *read, void *context,
		     const char *const *names, size_t count, struct vmat_symbol *ret,
		     struct vmat_error *err);

/*
 * The same in the full symbol table (SHT_SYMTAB), which is no part of what is mapped: only a file
 * has it, and only one that was not stripped. Of several symbols of a name the first counts.
 * Errors: -ENOEXEC malformed; -ENOENT no symbol table; -ENOMEM; those of `read`.
 * Cost: its strings are read once, 32 KiB at a time; if they hold one of the names (of at most 255 bytes), also a pass over the
 * table, and a copy of its strings, at most 64 MiB.
 */
int vmat_elf_symbols_full(const struct vmat_elf *elf, vmat_elf_read_fn *read, void *context,
			  const char *const *names, size_t count, struct vmat_symbol *ret,
			  struct vmat_error *err);

#ifdef __cplusplus
}
#endif
#endif
