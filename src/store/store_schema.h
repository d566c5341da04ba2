/* SPDX-License-Identifier: MIT */
/*
 * store_schema.h: the tables of a recording, and the words in them, in one place for the writer and the reader.
 *
 * What they mean is documented in vmatlas-recording(5). A change of any text here is a new version of the schema: readers
 * compare what a file holds with these texts, letter for letter.
 */
#ifndef VMAT_STORE_SCHEMA_H
#define VMAT_STORE_SCHEMA_H

#include <vmatlas/analyze.h>

#include "store/store_sqlite.h"

#define STORE_APPLICATION_ID 0x564d4174 /* "VMAt", at offset 68 of the file */
#define STORE_VERSION        2          /* user_version, at offset 60 */
#define STORE_VERSION_OWNERS 2          /* the first with owners */

struct store_object {
	const char *type, *name, *sql;
	unsigned since; /* the first version that has it */
};

extern const struct store_object store_objects[];
extern const size_t store_objects_count;

/* What sample.has_kinds says: were regions read at this tick, and were they written by owner, too? */
enum store_has_kinds { STORE_HAS_KINDS = 1, STORE_HAS_OWNERS = 2 };

/* Columns of the table sample, in the order of enum vmat_metric, with commas between them. */
extern const char store_metric_columns[];

/*
 * Facts that may be unknown, each with a name: the metrics, and count, size and rss of each kind. A name is
 * "rss", "heap.size". Its number is its place in a sample.
 */
#define STORE_SLOTS (VMAT_METRIC_COUNT + 3 * VMAT_KIND_COUNT)

static inline size_t store_kind_slot(size_t kind)
{
	return VMAT_METRIC_COUNT + 3 * kind;
}

#define STORE_SLOT_NAME_SIZE 48
void store_slot_name(size_t slot, char ret[STORE_SLOT_NAME_SIZE]);

/* "not_asked", ...; NULL for none. Lifetime: static. */
const char *store_reason_name(enum vmat_reason reason);

#endif
