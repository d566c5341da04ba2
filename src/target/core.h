/* SPDX-License-Identifier: MIT */
/*
 * core.h: a core file as a target: what core.c (memory, pages, files) and core_text.c (texts) share.
 */
#ifndef VMAT_CORE_H
#define VMAT_CORE_H

#include "target/core_file.h"
#include "target/target_ops.h"

/* The beginning of a mapped ELF file: its identity, and the rights of its segments. */
struct vmat_core_image {
	uint8_t build_id[32];
	size_t build_id_size; /* 0: not known */

	struct {
		uint64_t start, end; /* offsets in the file, whole pages */
		uint8_t flags;       /* PF_R, PF_W, PF_X */
	} segments[16];

	size_t segments_count;
};

/* A file that the core names. */
struct vmat_core_image_file {
	struct vmat_core_image image; /* as the process had it */
	bool is_image_read;
	int fd; /* VMAT_FD_NOT_OPENED, or -errno */
};

struct vmat_core {
	struct vmat_core_file file;
	struct vmat_core_info info; /* vmat_process.core points at it */
	char *path;
	struct vmat_core_image_file *files; /* by mapping.file - 1 */
	size_t files_count;
	struct vmat_page_run *runs; /* of vmatlas dump */
	uint32_t runs_known;
	size_t runs_count;
	uint64_t data_start, data_end; /* a piece of the file that is no hole */
};

/* Makes a new target, of vmat_core_ops, the core `fd`, which is closed with it, after a failure too. */
int vmat_core_open(struct vmat_target *target, int fd, const char *path, struct vmat_error *err);

/* core_image.c: the image that is mapped by a file with this number, as far as the core holds its beginning. */
const struct vmat_core_image *vmat_core_image_of(struct vmat_target *target, uint32_t number);

/* Opens the path if it leads to what the process had mapped: a build id is the only proof. */
int vmat_core_open_same(struct vmat_target *target, const char *path,
			const struct vmat_core_image *wanted);

/* The descriptor, the target's, of the file of a mapping, if it is the same still; or a negative errno. */
int vmat_core_mapped_fd(struct vmat_target *target, const struct vmat_core_mapping *mapping);

/* core_text.c: the texts of /proc, made of notes. A descriptor or -ENOENT, -ENOMEM. */
int vmat_core_open_text(struct vmat_target *target, const char *name);
int vmat_core_link(struct vmat_target *target, const char *name, struct vmat_buffer *buffer);
int vmat_core_list_threads(struct vmat_target *target, pid_t **ret, size_t *ret_count);

/* A text that vmatlas dump has kept. -ENOENT; -ENOMEM. */
int vmat_core_kept_text(struct vmat_core *core, const char *name, struct vmat_buffer *text);

/* The mapping that holds an address of the auxiliary vector's entry `type`, or NULL. */
const struct vmat_core_mapping *vmat_core_auxv_mapping(const struct vmat_core *core, uint64_t type);

extern const struct vmat_target_ops vmat_core_ops;

#endif
