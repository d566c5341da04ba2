/* SPDX-License-Identifier: MIT */
/*
 * target_ops.h: what a kind of target must be able to do, for the files of this folder.
 *
 * Most kinds have a folder that looks like /proc/PID, so texts, links and thread lists are read in one
 * place (target.c); a core makes its own. What differs is how pages, memory and files are reached.
 */
#ifndef VMAT_TARGET_OPS_H
#define VMAT_TARGET_OPS_H

#include "target/target_source.h"

/* The contracts are those of the functions of the same name in target_source.h and target.h. */
struct vmat_target_ops {
	bool is_live;
	/* NULL: a folder has the texts, see target.c */
	int (*open_text)(struct vmat_target *target, const char *name);
	int (*link)(struct vmat_target *target, const char *name, struct vmat_buffer *buffer);
	int (*threads)(struct vmat_target *target, pid_t **ret, size_t *ret_count);
	int (*scan)(struct vmat_target *target, uint64_t *addr, uint64_t end, uint32_t want,
		    struct vmat_page_run *runs, size_t count, uint32_t *known);
	int (*pagemap)(struct vmat_target *target, uint64_t addr, uint64_t *entries, size_t count);
	ssize_t (*read)(struct vmat_target *target, uint64_t addr, void *buffer, size_t size);
	int (*read_pieces)(struct vmat_target *target, struct vmat_piece *pieces, size_t count);
	int (*open_file)(struct vmat_target *target, const char *path, uint32_t dev_major,
			 uint32_t dev_minor, uint64_t inode);
	/* NULL: -EOPNOTSUPP */
	int (*extents)(struct vmat_target *target, const char *name, struct vmat_extent **ret,
		       size_t *ret_count);
	int (*check)(struct vmat_target *target, struct vmat_error *err);
	/* NULL: by its exe and maps, see target.c */
	int (*open_program)(struct vmat_target *target);
	/* NULL: nothing is to be done */
	int (*hold)(struct vmat_target *target, struct vmat_error *err);
	int (*release)(struct vmat_target *target, struct vmat_error *err);
	void (*deinit)(struct vmat_target *target);
};

struct vmat_target {
	const struct vmat_target_ops *ops;
	struct vmat_process process;
	int dir;        /* /proc/PID, or the recorded folder of the process */
	int memory_dir; /* the same, or task/TID of a living thread when the leader has exited */

	/* live.c; -1 when not open, or the -errno of the failed open */
	int pidfd;
	int pagemap;
	int memory;
	int root;
	int maps;
	int kpageflags;
	int kpagecount;
	uint64_t zero_pfn; /* frame of the kernel's zero page; VMAT_UNKNOWN until looked up */

	/* device.c */
	struct vmat_buffer mountinfo;
	bool has_hanging_mounts;     /* some of them are of a type that may hang */
	struct vmat_device *devices; /* those met so far */
	size_t devices_count;

	/* snapshot.c */
	struct vmat_target *original; /* what runs on */
	struct vmat_copied *copied;   /* ascending */
	size_t copied_count;

	/* recorded.c */
	struct vmat_page_run *runs;
	size_t runs_count;
	bool are_runs_read;

	struct vmat_core *core;         /* core.c */
	struct vmat_firmware *firmware; /* firmware.c */
};

/* A file system, see vmat_source_device. */
struct vmat_device {
	uint32_t major;
	uint32_t minor;
	enum vmat_device_kind kind;
	uint64_t page_size;
};

#define VMAT_FD_NOT_OPENED (-4096) /* no errno */

extern const struct vmat_target_ops vmat_live_ops;
extern const struct vmat_target_ops vmat_recorded_ops;

/* An empty one, for vmat_target_close. NULL: no memory. */
struct vmat_target *vmat_target_new(const struct vmat_target_ops *ops);

#endif
