/* SPDX-License-Identifier: MIT */
/* See store_schema.h and vmatlas-recording(5). */
#include "store/store_schema.h"

#include <stdio.h>

#define METRICS                                                                              \
	"size, data, rss, rss_anon, rss_file, rss_shmem, swap, page_tables, regions, "       \
	"threads, faults_minor, faults_major, cpu_ns, heap_system, heap_in_use, heap_free, " \
	"heap_largest_free"

const char store_metric_columns[] = METRICS;

/*
 * sample is clustered by tick, so that a tick of many processes changes one page of the file and not one for each process.
 * What a sample does not hold costs one byte.
 */
const struct store_object store_objects[] = {
	{ "table", "fact",
	  "CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID", 1 },
	{ "table", "process",
	  "CREATE TABLE process (id INTEGER PRIMARY KEY, pid INTEGER NOT NULL, start_ns INTEGER, "
	  "name TEXT NOT NULL, command TEXT NOT NULL, interval_ns INTEGER NOT NULL)",
	  1 },
	{ "table", "tick",
	  "CREATE TABLE tick (id INTEGER PRIMARY KEY, mono_ns INTEGER NOT NULL, "
	  "boot_ns INTEGER NOT NULL, wall_ns INTEGER NOT NULL)",
	  1 },
	{ "table", "sample",
	  "CREATE TABLE sample (tick INTEGER, process INTEGER, after_ns INTEGER NOT NULL, "
	  "has_kinds INTEGER NOT NULL, " METRICS ", PRIMARY KEY (tick, process)) WITHOUT ROWID",
	  1 },
	{ "table", "region_kind",
	  "CREATE TABLE region_kind (tick INTEGER, process INTEGER, kind TEXT, count INTEGER, "
	  "size INTEGER, rss INTEGER, PRIMARY KEY (tick, process, kind)) WITHOUT ROWID",
	  1 },
	{ "table", "region_owner",
	  "CREATE TABLE region_owner (tick INTEGER, process INTEGER, kind TEXT, owner TEXT, "
	  "count INTEGER, size INTEGER, rss INTEGER, "
	  "PRIMARY KEY (tick, process, kind, owner)) WITHOUT ROWID",
	  STORE_VERSION_OWNERS },
	{ "table", "unknown",
	  "CREATE TABLE unknown (tick INTEGER, process INTEGER, what TEXT, reason TEXT NOT NULL, "
	  "PRIMARY KEY (tick, process, what)) WITHOUT ROWID",
	  1 },
	{ "table", "event",
	  "CREATE TABLE event (id INTEGER PRIMARY KEY, process INTEGER NOT NULL, "
	  "mono_ns INTEGER NOT NULL, wall_ns INTEGER NOT NULL, type TEXT NOT NULL, number INTEGER, "
	  "text TEXT NOT NULL)",
	  1 },
	{ "table", "judgement",
	  "CREATE TABLE judgement (process INTEGER PRIMARY KEY, verdict TEXT NOT NULL, "
	  "confidence REAL, growth_bytes_per_s REAL, floor_bytes_per_s REAL, span_ns INTEGER, "
	  "sure_after_ns INTEGER, sentence TEXT NOT NULL)",
	  1 },
	{ "table", "finding",
	  "CREATE TABLE finding (process INTEGER, place INTEGER, id TEXT NOT NULL, "
	  "severity TEXT NOT NULL, weight REAL, title TEXT NOT NULL, evidence TEXT NOT NULL, "
	  "advice TEXT NOT NULL, PRIMARY KEY (process, place)) WITHOUT ROWID",
	  1 },
	{ "view", "series",
	  "CREATE VIEW series AS SELECT process.id AS process, pid, name, "
	  "datetime((tick.wall_ns + after_ns) / 1000000000, 'unixepoch') AS time, "
	  "(tick.mono_ns + after_ns) / 1e9 AS seconds, " METRICS
	  " FROM tick JOIN sample ON sample.tick = tick.id "
	  "JOIN process ON process.id = sample.process",
	  1 },
};

const size_t store_objects_count = sizeof(store_objects) / sizeof(store_objects[0]);

void store_slot_name(size_t slot, char ret[STORE_SLOT_NAME_SIZE])
{
	static const char *const parts[] = { "count", "size", "rss" };

	if (slot < VMAT_METRIC_COUNT)
		snprintf(ret, STORE_SLOT_NAME_SIZE, "%s", vmat_metric_name((enum vmat_metric)slot));
	else
		snprintf(ret, STORE_SLOT_NAME_SIZE, "%s.%s",
			 vmat_kind_name((enum vmat_kind)((slot - VMAT_METRIC_COUNT) / 3)),
			 parts[(slot - VMAT_METRIC_COUNT) % 3]);
}

const char *store_reason_name(enum vmat_reason reason)
{
	static const char *const names[VMAT_REASON_END] = {
		[VMAT_NOT_ASKED] = "not_asked",       [VMAT_NOT_PERMITTED] = "not_permitted",
		[VMAT_KERNEL_LACKS] = "kernel_lacks", [VMAT_CHANGED] = "changed",
		[VMAT_INVISIBLE] = "invisible",       [VMAT_RUNNING] = "running",
		[VMAT_NOT_RECORDED] = "not_recorded", [VMAT_NOT_APPLICABLE] = "not_applicable",
		[VMAT_NOT_FOUND] = "not_found",
	};

	return (unsigned)reason < VMAT_REASON_END ? names[reason] : NULL;
}
