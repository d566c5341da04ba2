/* SPDX-License-Identifier: MIT */
/*
 * mapped_elf.h: an ELF file as a process has it mapped. It is asked through an open file where the target allows it,
 * else through its pages in the target's memory: a library that an upgrade has replaced is still there.
 */
#ifndef VMAT_MAPPED_ELF_H
#define VMAT_MAPPED_ELF_H

#include <vmatlas/elf.h>
#include <vmatlas/map.h>

struct vmat_mapped_elf {
	struct vmat_target *target;
	const struct vmat_map *map;
	size_t region; /* the one of offset 0 */
	int fd;        /* -1: read out of memory */
	struct vmat_elf elf;
	uint64_t bias; /* add it to an address of the file */
};

/* Opens the file that region `region` maps from its beginning. 0, or a negative errno; -ENOEXEC: it is not loaded there. */
int vmat_mapped_elf_open(struct vmat_mapped_elf *ret, struct vmat_target *target,
			 const struct vmat_map *map, size_t region);
void vmat_mapped_elf_close(struct vmat_mapped_elf *file);

/* What vmat_elf_symbols and its like read it by. */
vmat_elf_read_fn *vmat_mapped_elf_reader(const struct vmat_mapped_elf *file);
void *vmat_mapped_elf_context(struct vmat_mapped_elf *file);

#endif
