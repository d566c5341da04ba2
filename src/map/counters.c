/* SPDX-License-Identifier: MIT */
/*
 * counters.c: the process's own counters, out of status, stat and the limit of regions.
 */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "map/map_priv.h"
#include "target/process.h"

static const struct {
	const char *name;
	size_t to;
	unsigned shift; /* 10: the text is in kB */
} rows[] = {
	{ "VmPeak", offsetof(struct vmat_counters, peak), 10 },
	{ "VmSize", offsetof(struct vmat_counters, size), 10 },
	{ "VmLck", offsetof(struct vmat_counters, locked), 10 },
	{ "VmPin", offsetof(struct vmat_counters, pinned), 10 },
	{ "VmHWM", offsetof(struct vmat_counters, rss_peak), 10 },
	{ "VmRSS", offsetof(struct vmat_counters, rss), 10 },
	{ "RssAnon", offsetof(struct vmat_counters, rss_anon), 10 },
	{ "RssFile", offsetof(struct vmat_counters, rss_file), 10 },
	{ "RssShmem", offsetof(struct vmat_counters, rss_shmem), 10 },
	{ "VmData", offsetof(struct vmat_counters, data), 10 },
	{ "VmPTE", offsetof(struct vmat_counters, page_tables), 10 },
	{ "VmSwap", offsetof(struct vmat_counters, swap), 10 },
	{ "HugetlbPages", offsetof(struct vmat_counters, hugetlb), 10 },
	{ "Threads", offsetof(struct vmat_counters, threads), 0 },
};

static void parse_status(struct vmat_counters *ret, const char *text, const char *end)
{
	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		const char *line_end = newline ? newline : end;
		const char *colon = memchr(text, ':', (size_t)(line_end - text));

		for (size_t i = 0; colon && i < sizeof(rows) / sizeof(rows[0]); i++) {
			size_t size = strlen(rows[i].name);
			uint64_t number;

			if ((size_t)(colon - text) != size || memcmp(text, rows[i].name, size) != 0)
				continue;
			for (colon++; colon < line_end && (*colon == ' ' || *colon == '\t');)
				colon++;
			if (vmat_text_decimal(colon, line_end, &number) == colon)
				break;
			*(uint64_t *)(void *)((char *)ret + rows[i].to) = number << rows[i].shift;
			break;
		}
		text = line_end + 1;
	}
}

int vmat_counters_read(struct vmat_counters *ret, struct vmat_target *target,
		       struct vmat_error *err)
{
	struct vmat_counters counters;
	struct vmat_stat stat;
	struct vmat_buffer text = { 0 };
	uint64_t *facts = (uint64_t *)&counters;
	int code;

	for (size_t i = 0; i < sizeof(counters) / sizeof(*facts); i++)
		facts[i] = VMAT_UNKNOWN(VMAT_NOT_FOUND);
	code = vmat_source_text(target, "status", &text);
	if (!code)
		parse_status(&counters, text.data, text.data + text.size);
	if (!code && !vmat_source_text(target, "stat", &text) &&
	    !vmat_stat_parse(&stat, text.data, text.size)) {
		counters.faults_minor = stat.faults_minor;
		counters.faults_major = stat.faults_major;
	}
	counters.regions_max = vmat_source_sysctl(target, "vm/max_map_count");
	vmat_buffer_deinit(&text);
	if (code)
		return vmat_error_set(err, code, "the counters of process %d cannot be read",
				      (int)vmat_target_process(target)->pid);
	*ret = counters;
	return 0;
}
