/* SPDX-License-Identifier: MIT */
/*
 * metrics.c: a fleet in the text format of Prometheus, and in that of OpenMetrics (metrics.h).
 *
 * One table names all metrics. The formats differ in the names of counters in their heads, and in their ends. A label is
 * there only where a sum over its values means something.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include <vmatlas/metrics.h>

#include "export/sink.h"

struct writer {
	FILE *file;
	const struct vmat_fleet *fleet;
	const struct vmat_judgement *judgements;
	enum vmat_metrics_format format;
	const struct metric *metric;
	bool has_head;
};

struct metric {
	const char *name; /* without _total */
	bool is_counter;
	const char *help;
	/* The samples of a group, or of all when `group` is NULL. */
	void (*write)(struct writer *writer, const struct vmat_group *group, size_t number);
	bool is_of_all; /* not of each group */
	int value;      /* enum vmat_metric, where that is all */
};

/* A metric without samples has no head. */
static void head(struct writer *writer)
{
	const struct metric *metric = writer->metric;
	const char *end =
		metric->is_counter && writer->format == VMAT_METRICS_CLASSIC ? "_total" : "";

	if (writer->has_head)
		return;
	fprintf(writer->file, "# HELP %s%s %s\n# TYPE %s%s %s\n", metric->name, end, metric->help,
		metric->name, end, metric->is_counter ? "counter" : "gauge");
	writer->has_head = true;
}

static void put_label(FILE *file, const char *name, const char *value)
{
	fprintf(file, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			fputc('\\', file);
		if (*value == '\n')
			fputs("\\n", file);
		else
			fputc(*value, file);
	}
	fputc('"', file);
}

static void begin(struct writer *writer, const struct vmat_group *group, const char *label,
		  const char *value)
{
	FILE *file = writer->file;

	head(writer);
	fprintf(file, "%s%s", writer->metric->name, writer->metric->is_counter ? "_total" : "");
	if (group || label)
		fputc('{', file);
	if (group)
		put_label(file, "group", group->name);
	if (group && label)
		fputc(',', file);
	if (label)
		put_label(file, label, value);
	fputs(group || label ? "} " : " ", file);
}

static void put(struct writer *writer, const struct vmat_group *group, const char *label,
		const char *value, uint64_t number)
{
	if (!vmat_is_known(number))
		return;
	begin(writer, group, label, value);
	fprintf(writer->file, "%llu\n", (unsigned long long)number);
}

static void put_real(struct writer *writer, const struct vmat_group *group, const char *label,
		     const char *value, double number)
{
	if (!isfinite(number))
		return;
	begin(writer, group, label, value);
	fprintf(writer->file, "%.9g\n", number);
}

static void put_value(struct writer *writer, const struct vmat_group *group, size_t number)
{
	(void)number;
	put(writer, group, NULL, NULL, group->values[writer->metric->value]);
}

static void put_processes(struct writer *writer, const struct vmat_group *group, size_t number)
{
	(void)number;
	put(writer, group, NULL, NULL, group->processes);
}

static void put_faults(struct writer *writer, const struct vmat_group *group, size_t number)
{
	(void)number;
	put(writer, group, "type", "minor", group->faults_minor);
	put(writer, group, "type", "major", group->faults_major);
}

static void put_oldest(struct writer *writer, const struct vmat_group *group, size_t number)
{
	(void)number;
	begin(writer, group, NULL, NULL);
	fprintf(writer->file, "%.3f\n", (double)group->oldest_start_wall_ns / 1e9);
}

static void put_growth(struct writer *writer, const struct vmat_group *group, size_t number)
{
	if (writer->judgements)
		put_real(writer, group, NULL, NULL, writer->judgements[number].growth_bytes_per_s);
}

static void put_verdict(struct writer *writer, const struct vmat_group *group, size_t number)
{
	for (int v = 0; writer->judgements && v < VMAT_VERDICT_COUNT; v++)
		put(writer, group, "verdict", vmat_verdict_name((enum vmat_verdict)v),
		    (int)writer->judgements[number].verdict == v);
}

static void put_detailed(struct writer *writer, const struct vmat_group *group, size_t number)
{
	(void)number;
	if (group->detailed)
		put(writer, group, NULL, NULL, group->detailed);
}

static void put_mappings(struct writer *writer, const struct vmat_group *group, size_t number)
{
	uint64_t sum = 0;

	(void)number;
	if (!group->detailed)
		return;
	for (int k = 0; k < VMAT_KIND_COUNT; k++)
		sum += vmat_is_known(group->kinds[k].count) ? group->kinds[k].count : 0;
	put(writer, group, NULL, NULL, sum);
}

static void put_region_size(struct writer *writer, const struct vmat_group *group, size_t number)
{
	(void)number;
	for (int k = 0; k < VMAT_KIND_COUNT; k++)
		put(writer, group, "kind", vmat_kind_name((enum vmat_kind)k), group->kinds[k].size);
}

static void put_region_rss(struct writer *writer, const struct vmat_group *group, size_t number)
{
	(void)number;
	for (int k = 0; k < VMAT_KIND_COUNT; k++)
		put(writer, group, "kind", vmat_kind_name((enum vmat_kind)k), group->kinds[k].rss);
}

static void put_heap(struct writer *writer, const struct vmat_group *group, size_t number)
{
	uint64_t system = group->values[VMAT_METRIC_HEAP_SYSTEM];
	uint64_t in_use = group->values[VMAT_METRIC_HEAP_IN_USE];
	uint64_t is_free = group->values[VMAT_METRIC_HEAP_FREE];

	(void)number;
	put(writer, group, "state", "in_use", in_use);
	put(writer, group, "state", "free", is_free);
	if (vmat_is_known(system) && vmat_is_known(in_use) && vmat_is_known(is_free) &&
	    system >= in_use + is_free)
		put(writer, group, "state", "metadata", system - in_use - is_free);
}

static void put_fragmentation(struct writer *writer, const struct vmat_group *group, size_t number)
{
	uint64_t system = group->values[VMAT_METRIC_HEAP_SYSTEM];
	uint64_t is_free = group->values[VMAT_METRIC_HEAP_FREE];

	(void)number;
	if (vmat_is_known(system) && system && vmat_is_known(is_free))
		put_real(writer, group, NULL, NULL, (double)is_free / (double)system);
}

static void put_groups(struct writer *writer, const struct vmat_group *group, size_t number)
{
	(void)group, (void)number;
	put(writer, NULL, NULL, NULL, writer->fleet->groups_count);
}

static void put_scan_time(struct writer *writer, const struct vmat_group *group, size_t number)
{
	(void)group, (void)number;
	put_real(writer, NULL, NULL, NULL, (double)writer->fleet->scan_ns / 1e9);
}

static void put_scan_end(struct writer *writer, const struct vmat_group *group, size_t number)
{
	(void)group, (void)number;
	begin(writer, NULL, NULL, NULL);
	fprintf(writer->file, "%.3f\n", (double)writer->fleet->scan_wall_ns / 1e9);
}

static void put_errors(struct writer *writer, const struct vmat_group *group, size_t number)
{
	static const char *const reasons[VMAT_SCAN_ERRORS] = { "permission", "vanished", "parse" };

	(void)group, (void)number;
	for (int e = 0; e < VMAT_SCAN_ERRORS; e++)
		put(writer, NULL, "reason", reasons[e], writer->fleet->errors[e]);
}

static void put_build(struct writer *writer, const struct vmat_group *group, size_t number)
{
	(void)group, (void)number;
	put(writer, NULL, "version", vmat_version(), 1);
}

#define GROUP "vmatlas_group_"

/* clang-format off: a table */
static const struct metric metrics[] = {
	{ GROUP "processes", false, "Processes of the group.", put_processes },
	{ GROUP "threads", false, "Threads of its processes.", put_value,
	  .value = VMAT_METRIC_THREADS },
	{ GROUP "virtual_memory_bytes", false, "Address space in use (VmSize).", put_value,
	  .value = VMAT_METRIC_SIZE },
	{ GROUP "resident_memory_bytes", false,
	  "Memory that is there (VmRSS); pages that processes share count in each.", put_value,
	  .value = VMAT_METRIC_RSS },
	{ GROUP "anonymous_memory_bytes", false,
	  "Resident memory of no file (RssAnon): what leaks grow.", put_value,
	  .value = VMAT_METRIC_RSS_ANON },
	{ GROUP "swap_bytes", false, "Memory in swap (VmSwap).", put_value,
	  .value = VMAT_METRIC_SWAP },
	{ GROUP "page_table_bytes", false, "Page tables (VmPTE).", put_value,
	  .value = VMAT_METRIC_PAGE_TABLES },
	{ GROUP "page_faults", true,
	  "Page faults. Those between the last scan and the end of a process are missing.",
	  put_faults },
	{ GROUP "oldest_start_time_seconds", false, "When its oldest process began, since 1970.",
	  put_oldest },
	{ GROUP "growth_bytes_per_second", false,
	  "Growth of what the verdict is about; no series when it cannot be told.", put_growth },
	{ GROUP "verdict", false,
	  "1 for the verdict over what was seen since the exporter began, 0 for all others.",
	  put_verdict },
	{ GROUP "detailed_processes", false,
	  "Processes whose regions were read (--detail): what the next metrics are sums of.",
	  put_detailed },
	{ GROUP "mappings", false, "Regions of memory.", put_mappings },
	{ GROUP "region_virtual_bytes", false, "Address space by kind of region.",
	  put_region_size },
	{ GROUP "region_resident_bytes", false, "Resident memory by kind of region.",
	  put_region_rss },
	{ GROUP "heap_bytes", false, "What malloc holds, read while the processes ran: about.",
	  put_heap },
	{ GROUP "heap_largest_free_bytes", false, "Largest free blocks, one of each process.",
	  put_value, .value = VMAT_METRIC_HEAP_LARGEST_FREE },
	{ GROUP "heap_fragmentation_ratio", false, "Free bytes of all that malloc holds.",
	  put_fragmentation },
	{ "vmatlas_groups", false, "Groups that have processes.", put_groups, .is_of_all = true },
	{ "vmatlas_scan_duration_seconds", false, "How long the last look at all processes took.",
	  put_scan_time, .is_of_all = true },
	{ "vmatlas_scan_end_time_seconds", false,
	  "When it ended, since 1970: a scrape tells what was so then.", put_scan_end,
	  .is_of_all = true },
	{ "vmatlas_scan_errors", true, "Processes that a scan could not read.", put_errors,
	  .is_of_all = true },
	{ "vmatlas_build_info", false, "The version, as a label.", put_build, .is_of_all = true },
};

/* clang-format on */

const char *vmat_metrics_content_type(enum vmat_metrics_format format)
{
	return format == VMAT_METRICS_OPENMETRICS
		       ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
		       : "text/plain; version=0.0.4; charset=utf-8";
}

int vmat_metrics_write(FILE *file, const struct vmat_fleet *fleet,
		       const struct vmat_judgement *judgements, enum vmat_metrics_format format)
{
	struct writer writer = {
		.file = file, .fleet = fleet, .judgements = judgements, .format = format
	};

	for (size_t m = 0; m < sizeof(metrics) / sizeof(metrics[0]); m++) {
		writer.metric = &metrics[m];
		writer.has_head = false;
		if (metrics[m].is_of_all)
			metrics[m].write(&writer, NULL, 0);
		for (size_t i = 0; !metrics[m].is_of_all && i < fleet->groups_count; i++)
			metrics[m].write(&writer, &fleet->groups[i], i);
	}
	if (format == VMAT_METRICS_OPENMETRICS)
		fputs("# EOF\n", file);
	return vmat_file_finish(file);
}
