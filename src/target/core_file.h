/* SPDX-License-Identifier: MIT */
/*
 * core_file.h: what an ELF core says of itself, read once and bounded in every loop.
 *
 * A load is a range of memory that the process had (PT_LOAD); what of it the file holds ends at `held`. A
 * mapping is a range that NT_FILE names. A thread is an NT_PRSTATUS and the notes behind it. Nothing
 * of the contents is kept: they are read from the file when they are asked for.
 *
 * Counts and sizes of the file are believed as far as the file itself is that large. Facts: elf(5), core(5),
 * Linux fs/binfmt_elf.c (fill_note_info, elf_core_dump), gdb/linux-tdep.c.
 */
#ifndef VMAT_CORE_FILE_H
#define VMAT_CORE_FILE_H

#include <sys/types.h>

#include <vmatlas/base.h>

/*
 * Types of the notes that vmatlas dump adds, with the owner "vmatlas". Debuggers look at the type only, whoever the
 * owner is (bfd's elfcore_grok_note): these are none of theirs.
 */
enum {
	VMAT_CORE_NOTE_TEXT = 0x564d4101,
	VMAT_CORE_NOTE_PAGES = 0x564d4102,
};

#include "base/buffer.h"
#include "target/stop_repair.h"

struct vmat_core_load {
	uint64_t start, end;
	uint64_t held;   /* the file holds [start, held) */
	uint64_t offset; /* at this place */
	uint8_t flags;   /* PF_R, PF_W, PF_X */
};

struct vmat_core_mapping {
	uint64_t start, end;
	uint64_t offset; /* in the mapped file */
	size_t path;     /* in core->paths */
	uint32_t file;   /* a number for each path, from 1 on */
};

struct vmat_core_thread {
	pid_t tid;
	size_t order;                     /* 0: the first in the file */
	uint64_t registers;               /* their place in the file; 0: none */
	uint64_t extended, extended_size; /* NT_X86_XSTATE */
	int signal, signal_code;          /* NT_SIGINFO behind it; 0: none */
	uint64_t fault_addr;              /* of SIGSEGV and its like, else unknown */
};

/* A text of /proc that vmatlas dump has kept ("maps", "task/7/comm"). */
struct vmat_core_text {
	char name[40];
	uint64_t offset, size; /* in the file */
};

enum vmat_core_writer {
	VMAT_CORE_KERNEL,
	VMAT_CORE_GDB,
	VMAT_CORE_VMATLAS,
};

struct vmat_core_file {
	int fd;
	uint64_t size;
	unsigned word_size;
	uint16_t machine;
	enum vmat_core_writer writer;

	struct vmat_core_load *loads; /* ascending, not overlapping */
	size_t loads_count;
	struct vmat_core_mapping *mappings; /* the same */
	size_t mappings_count;
	struct vmat_buffer paths;         /* NUL-terminated */
	struct vmat_core_thread *threads; /* ascending by tid */
	size_t threads_count;
	pid_t first_tid; /* of the first in the file: the one that the kernel dumped for */
	struct vmat_buffer auxv;
	char comm[17];
	pid_t pid, ppid;
	uint32_t uid;
	bool has_psinfo;
	bool has_holes; /* some page within a load is not stored: it was never touched, or zeroes */
	bool is_cut;    /* the file ends before what it says that it holds */
	size_t notes_left; /* while reading: how many more are looked at */
	bool is_odd;       /* parts contradict each other, and were left out */

	/* of vmatlas dump */
	struct vmat_core_text *texts;
	size_t texts_count;
	uint64_t runs, runs_count; /* of pages: their place in the file */
};

/*
 * Reads the core in `fd`, which the result owns from then on, also after a failure.
 * Errors: -ENOEXEC no ELF core (the text says what it is); -EBADMSG it is one, and nothing can be made of
 * it; -ENOMEM; those of pread(2).
 */
int vmat_core_file_read(struct vmat_core_file *ret, int fd, const char *path,
			struct vmat_error *err);
void vmat_core_file_deinit(struct vmat_core_file *core);

/* All of [offset, offset + size) of the file, or a negative errno: -ENODATA when it ends before. */
int vmat_core_file_pread(const struct vmat_core_file *core, void *buffer, size_t size,
			 uint64_t offset);

/* The first load, mapping that ends above addr; the count when there is none. */
size_t vmat_core_load_find(const struct vmat_core_file *core, uint64_t addr);
size_t vmat_core_mapping_find(const struct vmat_core_file *core, uint64_t addr);

/* The registers of a thread. 0; -ENOENT none are kept; -EOPNOTSUPP of a processor that is not known. */
int vmat_core_registers(const struct vmat_core_file *core, const struct vmat_core_thread *thread,
			struct vmat_registers *ret);

#endif
