/* SPDX-License-Identifier: MIT */
/*
 * recording_priv.h: a recording that is read, from within.
 */
#ifndef VMAT_RECORDING_PRIV_H
#define VMAT_RECORDING_PRIV_H

#include <vmatlas/store.h>

#include "base/arena.h"
#include "store/store_schema.h"

struct vmat_recording {
	sqlite3 *db;
	char path[4096];
	uint64_t samples_max, work_max;
	uint64_t work; /* steps of SQLite's machine since the call began */
	bool is_growing, is_whole;
	uint32_t version; /* of its schema */
	struct vmat_strings strings;
	struct vmat_fact *facts;
	size_t facts_count;
	struct vmat_recorded *processes;
	struct recording_span *spans; /* of each process */
	size_t processes_count;
};

/* Where the samples of a process lie. */
struct recording_span {
	uint64_t number; /* in the file */
	int64_t first_tick, last_tick;
};

/* Prepares a query; its first parameters are the numbers. NULL after *err was filled. */
sqlite3_stmt *recording_query(struct vmat_recording *recording, const char *sql,
			      struct vmat_error *err);

/* The next row: 1, 0 at the end, or a negative errno with *err. */
int recording_step(struct vmat_recording *recording, sqlite3_stmt *statement,
		   struct vmat_error *err);

/* A row that lies: fills *err, returns -EBADMSG. */
int recording_lies(const struct vmat_recording *recording, const char *what,
		   struct vmat_error *err);

/* Called at the beginning of each call of the user: the work is counted anew. */
void recording_begin(struct vmat_recording *recording);

/* The kind of that name; VMAT_KIND_COUNT for one that a newer vmatlas may know. */
size_t recording_find_kind(const char *name);

/* A copy that lives as long as the recording; equal texts are one. NULL: no memory. */
const char *recording_string(struct vmat_recording *recording, const char *text);

static inline void recording_finalize(sqlite3_stmt **statement)
{
	sqlite3_finalize(*statement);
}

#define recording_autofinalize __attribute__((cleanup(recording_finalize)))

#endif
