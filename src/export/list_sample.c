/* SPDX-License-Identifier: MIT */
/*
 * The lists watch and watch.kinds: what a process was at one moment, and its memory by kind then.
 *
 * VSIZE, SIZE and RSS are called as ps calls them, so that both can be laid side by side.
 */
#include <stdio.h>

#include "export/list_field.h"

#define EVERYWHERE (VMAT_SHOW_TABLE | VMAT_SHOW_WIDE | VMAT_SHOW_JSON)
#define PROGRAMS   VMAT_SHOW_JSON
#define PEOPLE     (VMAT_SHOW_TABLE | VMAT_SHOW_WIDE)

enum column {
	COL_TIME,
	COL_VSIZE,
	COL_SIZE,
	COL_RSS,
	COL_RSS_ANON,
	COL_RSS_FILE,
	COL_RSS_SHMEM,
	COL_SWAP,
	COL_PAGE_TABLES,
	COL_REGIONS,
	COL_THREADS,
	COL_FAULTS_MINOR,
	COL_FAULTS_MAJOR,
	COL_FAULTS_S,
	COL_CPU_NS,
	COL_HEAP_SYSTEM,
	COL_HEAP_IN_USE,
	COL_HEAP_FREE,
	COL_HEAP_LARGEST_FREE,
	COL_GROWN,
	COL_PID,
	COL_NAME,
	COL_TREND,
	COL_COUNT,
};

static const struct vmat_column columns[COL_COUNT] = {
	[COL_TIME] = { "TIME", "time_ms", VMAT_TYPE_COUNT, PROGRAMS, 0,
		       "when it was measured: milliseconds since 1970", "CLOCK_REALTIME" },
	[COL_VSIZE] = { "VSIZE", "vsize", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			"address space that is mapped, as ps -o vsize", "status: VmSize" },
	[COL_SIZE] = { "SIZE", "size", VMAT_TYPE_BYTES, EVERYWHERE, 0,
		       "private writable memory, touched or not, as ps -o size",
		       "status: VmData + VmStk" },
	[COL_RSS] = { "RSS", "rss", VMAT_TYPE_BYTES, EVERYWHERE, 0, "resident memory, as ps -o rss",
		      "status: VmRSS" },
	[COL_RSS_ANON] = { "RSS_ANON", "rss_anon", VMAT_TYPE_BYTES, PROGRAMS, 0,
			   "resident anonymous memory", "status: RssAnon" },
	[COL_RSS_FILE] = { "RSS_FILE", "rss_file", VMAT_TYPE_BYTES, PROGRAMS, 0,
			   "resident pages of files", "status: RssFile" },
	[COL_RSS_SHMEM] = { "RSS_SHMEM", "rss_shmem", VMAT_TYPE_BYTES, PROGRAMS, 0,
			    "resident shared memory", "status: RssShmem" },
	[COL_SWAP] = { "SWAP", "swap", VMAT_TYPE_BYTES, PROGRAMS | VMAT_SHOW_WIDE, 0,
		       "memory in swap", "status: VmSwap" },
	[COL_PAGE_TABLES] = { "PAGE_TABLES", "page_tables", VMAT_TYPE_BYTES, PROGRAMS, 0,
			      "memory of page tables", "status: VmPTE" },
	[COL_REGIONS] = { "REGIONS", "regions", VMAT_TYPE_COUNT, PROGRAMS, 0,
			  "regions, when they were read at this tick", "maps" },
	[COL_THREADS] = { "THREADS", "threads", VMAT_TYPE_COUNT, EVERYWHERE, 0, "threads",
			  "stat: num_threads" },
	[COL_FAULTS_MINOR] = { "FAULTS_MINOR", "faults_minor", VMAT_TYPE_COUNT, PROGRAMS, 0,
			       "page faults without reading from a disk, since it began",
			       "stat: minflt" },
	[COL_FAULTS_MAJOR] = { "FAULTS_MAJOR", "faults_major", VMAT_TYPE_COUNT, PROGRAMS, 0,
			       "page faults with reading from a disk, since it began",
			       "stat: majflt" },
	[COL_FAULTS_S] = { "FAULTS_S", "faults_per_s", VMAT_TYPE_COUNT, EVERYWHERE, 0,
			   "page faults each second since the tick before",
			   "stat: minflt + majflt" },
	[COL_CPU_NS] = { "CPU_NS", "cpu_ns", VMAT_TYPE_COUNT, PROGRAMS, 0,
			 "CPU time in nanoseconds, since it began", "stat: utime + stime" },
	[COL_HEAP_SYSTEM] = { "HEAP_SYSTEM", "heap_system", VMAT_TYPE_BYTES, PROGRAMS, 0,
			      "what malloc holds from the kernel, with --heap", "heap walk" },
	[COL_HEAP_IN_USE] = { "HEAP_IN_USE", "heap_in_use", VMAT_TYPE_BYTES, PROGRAMS, 0,
			      "of it in blocks in use", "heap walk" },
	[COL_HEAP_FREE] = { "HEAP_FREE", "heap_free", VMAT_TYPE_BYTES, PROGRAMS, 0,
			    "of it in free blocks", "heap walk" },
	[COL_HEAP_LARGEST_FREE] = { "HEAP_LARGEST_FREE", "heap_largest_free", VMAT_TYPE_BYTES,
				    PROGRAMS, 0, "the largest free block", "heap walk" },
	[COL_GROWN] = { "GROWN", "grown", VMAT_TYPE_STRING, PEOPLE, 0,
			"what SIZE grew since the watch began", "SIZE now less SIZE at first" },
	[COL_PID] = { "PID", "pid", VMAT_TYPE_COUNT, EVERYWHERE, 0, "process id", "its /proc" },
	[COL_NAME] = { "NAME", "name", VMAT_TYPE_STRING, EVERYWHERE, 0, "its name", "stat: comm",
		       .ample = 1 },
	[COL_TREND] = { "TREND", "trend", VMAT_TYPE_STRING, PEOPLE, 0,
			"SIZE since the watch began, drawn from its least to its most", "SIZE" },
};

/* The metric of a column that is simply one; VMAT_METRIC_COUNT: it is none. */
static const enum vmat_metric metrics[COL_COUNT] = {
	[COL_TIME] = VMAT_METRIC_COUNT,
	[COL_VSIZE] = VMAT_METRIC_SIZE,
	[COL_SIZE] = VMAT_METRIC_DATA,
	[COL_RSS] = VMAT_METRIC_RSS,
	[COL_RSS_ANON] = VMAT_METRIC_RSS_ANON,
	[COL_RSS_FILE] = VMAT_METRIC_RSS_FILE,
	[COL_RSS_SHMEM] = VMAT_METRIC_RSS_SHMEM,
	[COL_SWAP] = VMAT_METRIC_SWAP,
	[COL_PAGE_TABLES] = VMAT_METRIC_PAGE_TABLES,
	[COL_REGIONS] = VMAT_METRIC_REGIONS,
	[COL_THREADS] = VMAT_METRIC_THREADS,
	[COL_FAULTS_MINOR] = VMAT_METRIC_FAULTS_MINOR,
	[COL_FAULTS_MAJOR] = VMAT_METRIC_FAULTS_MAJOR,
	[COL_FAULTS_S] = VMAT_METRIC_COUNT,
	[COL_CPU_NS] = VMAT_METRIC_CPU_NS,
	[COL_HEAP_SYSTEM] = VMAT_METRIC_HEAP_SYSTEM,
	[COL_HEAP_IN_USE] = VMAT_METRIC_HEAP_IN_USE,
	[COL_HEAP_FREE] = VMAT_METRIC_HEAP_FREE,
	[COL_HEAP_LARGEST_FREE] = VMAT_METRIC_HEAP_LARGEST_FREE,
	[COL_GROWN] = VMAT_METRIC_COUNT,
	[COL_PID] = VMAT_METRIC_COUNT,
	[COL_NAME] = VMAT_METRIC_COUNT,
	[COL_TREND] = VMAT_METRIC_COUNT,
};

static void cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_watch_row *watched = (const struct vmat_watch_row *)model + row;
	const struct vmat_sample *sample = &watched->sample;

	switch ((enum column)column) {
	case COL_TIME:
		ret->number = sample->wall_ns / 1000000;
		return;
	case COL_FAULTS_S:
		ret->number = watched->faults_per_s;
		return;
	case COL_GROWN:
		ret->text = watched->grown;
		return;
	case COL_PID:
		ret->number = watched->pid;
		return;
	case COL_NAME:
		ret->text = watched->name;
		return;
	case COL_TREND:
		ret->text = watched->trend;
		return;
	default:
		ret->number = sample->values[metrics[column]];
	}
}

const struct vmat_list vmat_list_watch = {
	.name = "watch",
	.key = "sample",
	.columns = columns,
	.columns_count = COL_COUNT,
	.cell = cell,
	.meaning = "a process at one moment",
};

static const struct vmat_column kind_columns[] = {
	{ "KIND", "kind", VMAT_TYPE_STRING, EVERYWHERE, 0, "what the memory is",
	  "see vmatlas-map(1)" },
	{ "REGIONS", "regions", VMAT_TYPE_COUNT, EVERYWHERE, 0, "regions of this kind", "maps" },
	{ "SIZE", "size", VMAT_TYPE_BYTES, EVERYWHERE, 0, "address space of them", "maps" },
	{ "RSS", "rss", VMAT_TYPE_BYTES, EVERYWHERE, 0, "resident memory of them", "page scan" },
};

/* Its rows are all kinds; the caller chooses those that there are (struct vmat_rows, `order`). */
static void kind_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_sample *sample = model;
	const struct vmat_kind_sample *kind = &sample->kinds[row];

	switch (column) {
	case 0:
		ret->text = vmat_kind_name((enum vmat_kind)row);
		return;
	case 1:
		ret->number = kind->count;
		return;
	case 2:
		ret->number = kind->size;
		return;
	default:
		ret->number = kind->rss;
	}
}

const struct vmat_list vmat_list_watch_kinds = {
	.name = "watch.kinds",
	.key = "kinds",
	.columns = kind_columns,
	.columns_count = VMAT_COLUMNS_COUNT(kind_columns),
	.cell = kind_cell,
	.meaning = "the memory of one kind",
};

static const struct vmat_column event_columns[] = {
	{ "TIME", "time_ms", VMAT_TYPE_COUNT, EVERYWHERE, 0,
	  "when it was noticed: milliseconds since 1970", "CLOCK_REALTIME" },
	{ "EVENT", "event", VMAT_TYPE_STRING, EVERYWHERE, 0, "what happened", "two samples" },
	{ "NUMBER", "number", VMAT_TYPE_STRING, EVERYWHERE, 0,
	  "how many, or how long in nanoseconds; of exited the wait status", "two samples" },
	{ "TEXT", "text", VMAT_TYPE_STRING, EVERYWHERE, 0, "of what", "two samples" },
};

static void event_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_event *event = (const struct vmat_event *)model + row;

	switch (column) {
	case 0:
		ret->number = event->wall_ns / 1000000;
		return;
	case 1:
		ret->text = vmat_event_name(event->type);
		return;
	case 2:
		/* a text, for a clock may be set back */
		ret->number = event->number;
		if (!vmat_is_known(event->number) && event->type != VMAT_EVENT_CLOCK_SET)
			return;
		snprintf(ret->room, sizeof(ret->room), "%lld", (long long)event->number);
		ret->text = ret->room;
		return;
	default:
		ret->text = event->text;
	}
}

const struct vmat_list vmat_list_watch_events = {
	.name = "watch.events",
	.key = "events",
	.columns = event_columns,
	.columns_count = VMAT_COLUMNS_COUNT(event_columns),
	.cell = event_cell,
	.meaning = "what happened between two samples",
};
