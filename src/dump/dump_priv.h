/* SPDX-License-Identifier: MIT */
/*
 * dump_priv.h: what is being dumped, for the files of this folder.
 */
#ifndef VMAT_DUMP_PRIV_H
#define VMAT_DUMP_PRIV_H

#include <vmatlas/dump.h>
#include <vmatlas/map.h>

#include "base/buffer.h"
#include "target/stop.h"
#include "target/target_source.h"

enum { VMAT_DUMP_PAGE = 4096 };

/* A part of a region that becomes one PT_LOAD. */
struct vmat_dump_piece {
	uint64_t start, end;
	uint8_t prot; /* enum vmat_prot */
	bool is_held; /* the file holds it, pages that were never touched as holes */
};

struct vmat_dump_run {
	uint64_t start, end;
	uint32_t flags; /* enum vmat_page_flag */
	uint32_t known;
};

struct vmat_dump_plan {
	const struct vmat_map *map;
	struct vmat_dump_piece *pieces;
	size_t pieces_count, pieces_capacity;
	struct vmat_dump_run *runs; /* of all pages, for the note */
	size_t runs_count, runs_capacity;
	struct vmat_dump_run *copies; /* of pages whose contents are written */
	size_t copies_count, copies_capacity;
	uint64_t bytes;     /* of the copies */
	uint64_t vdso_addr; /* where our own vdso is written; 0: nowhere */
};

/* dump_plan.c: what is written and what is left out, from one scan of all pages. 0 or a negative errno. */
int vmat_dump_plan_make(struct vmat_dump_plan *plan, struct vmat_dump *dump,
			struct vmat_target *target, const struct vmat_map *map);
void vmat_dump_plan_deinit(struct vmat_dump_plan *plan);

/*
 * dump_notes.c: notes of the texts of /proc that speak of states and counts. Read before the process stands: then
 * all of its threads would be stopped. 0 or a negative errno.
 */
int vmat_dump_texts_make(struct vmat_buffer *texts, struct vmat_target *target);

/* All other notes, with `texts` among them. 0 or a negative errno. */
int vmat_dump_notes_make(struct vmat_buffer *notes, const struct vmat_dump_plan *plan,
			 struct vmat_target *target, const struct vmat_stopped_thread *threads,
			 size_t threads_count, const struct vmat_buffer *texts);

#endif
