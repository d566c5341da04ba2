/* SPDX-License-Identifier: MIT */
/*
 * dump.h: an ELF core of a living process, which lives on.
 *
 * The core is small: pages that are not in memory are holes of a sparse file or left out, and so is the text of files, of which
 * the build id stays. gdb reads it as any core. What a core has no place for (the map, the states and names of
 * threads, what each page is) lies in notes named "vmatlas", which this library reads back and others skip.
 */
#ifndef VMATLAS_DUMP_H
#define VMATLAS_DUMP_H

#include <vmatlas/target.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmat_dump_options {
	size_t size;          /* sizeof(struct vmat_dump_options) */
	uint64_t max_stop_ns; /* how long the process may stand; 0: 2 s */
	bool may_replace;     /* a regular file of that name is replaced */
	/* Called now and then with how many bytes are done; false: give up. May be NULL. */
	bool (*progress)(void *context, uint64_t done, uint64_t total);
	void *progress_context;
};

struct vmat_dump {
	uint64_t file_size; /* as ls(1) says, with its holes */
	uint64_t stored;    /* what it takes on the disk */
	uint64_t regions;
	uint64_t threads;
	uint64_t copied;        /* bytes of pages that were written */
	uint64_t left_out_file; /* resident bytes of files: their text is in the files */
	uint64_t left_out_swap; /* bytes in swap: reading them would bring them in */
	uint64_t stopped_ns;    /* how long the process stood */
	bool is_partial;
	char partial_why[508];
};

/*
 * Writes the core of `target` to `path`, mode 0600. The file has its name only when it is whole; until then, and
 * should we be killed, it is called `path`.part.
 *
 * Errors: -EOPNOTSUPP no living process, or one of 32 bits; -EEXIST the file is there; -ECANCELED progress said
 * so; -ETIMEDOUT it took longer than max_stop_ns; -ENOSPC, -EFBIG, ...: it cannot be written (and is removed); those of
 * stopping the threads, see heap.h.
 * Needs: the right to ptrace the target. Cost: the process stands for its map, a scan of its pages and a fork, some 50 ms per
 * resident GiB; where it cannot be forked, while its pages are read and written. Pages that are not in memory
 * are never brought in.
 */
int vmat_dump_write(struct vmat_dump *ret, struct vmat_target *target, const char *path,
		    const struct vmat_dump_options *options, struct vmat_error *err);

#ifdef __cplusplus
}
#endif
#endif
