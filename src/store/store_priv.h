/* SPDX-License-Identifier: MIT */
/*
 * store_priv.h: a store from within: what waits to be written, and what the last rows said.
 */
#ifndef VMAT_STORE_PRIV_H
#define VMAT_STORE_PRIV_H

#include <vmatlas/store.h>

#include "store/store_schema.h"

struct store_fact {
	char *name, *value;
};

struct store_sample {
	uint32_t process;
	struct vmat_sample sample;
	struct vmat_owner_sample *owners; /* NULL: not read at this tick */
	size_t owners_count;
};

struct store_event {
	uint32_t process;
	struct vmat_event event;
};

/* The owners of a process: as the last committed rows say, and as this transaction has written them, if it has. */
struct store_owners {
	struct vmat_owner_sample *committed, *written;
	size_t committed_count, written_count;
	uint64_t first_ns, spent; /* bytes of rows since then */
};

struct store_process {
	struct vmat_series who;
	bool is_stored;   /* its row is committed */
	bool is_fresh;    /* nothing is known of what its last rows say: all of them are written */
	bool has_samples; /* last_ns means something */
	uint64_t last_ns;
	int64_t last_tick; /* of its last sample; -1: none */
	uint8_t reasons[STORE_SLOTS];
	struct vmat_kind_sample kinds[VMAT_KIND_COUNT];
	struct store_owners owners;
	struct vmat_judgement *judgement; /* that waits; NULL: none */
};

enum store_statement {
	STORE_FACT,
	STORE_PROCESS,
	STORE_TICK,
	STORE_SAMPLE,
	STORE_KIND,
	STORE_OWNER,
	STORE_UNKNOWN,
	STORE_EVENT,
	STORE_JUDGEMENT,
	STORE_NO_FINDINGS,
	STORE_FINDING,
	STORE_STATEMENTS,
};

struct vmat_store {
	sqlite3 *db;
	int claim;
	bool is_durable;
	sqlite3_stmt *statements[STORE_STATEMENTS];
	uint64_t synced_ns; /* mono_ns of the newest sample of the last commit that was synced */

	int64_t tick;                                /* the number of the last tick */
	uint64_t tick_mono, tick_boot, tick_wall_ns; /* its clocks */

	struct store_process *processes;
	size_t processes_count;
	struct store_fact *facts;
	size_t facts_count;
	struct store_sample *samples;
	size_t samples_count;
	struct store_event *events;
	size_t events_count;
};

void store_free(struct vmat_store *store);

/* store_write.c: makes the statements; writes all that waits. 0 or a negative errno. */
int store_prepare(struct vmat_store *store);
int store_write_all(struct vmat_store *store);

/*
 * store_owners.c: the rows that turn the owners that were written last into those of this sample. 1; 0 when the process has come to
 * the end of its allowance; or -ENOMEM. *ret is freed with free().
 */
int store_owners_rows(struct store_process *process, const struct store_sample *waiting,
		      struct vmat_owner_sample **ret, size_t *ret_count);
/* They are written: from now on they are those of the sample, which gives its own away. */
void store_owners_take(struct store_owners *owners, struct store_sample *waiting);
/* At the end of a transaction. */
void store_owners_settle(struct store_owners *owners, bool is_committed);

#endif
