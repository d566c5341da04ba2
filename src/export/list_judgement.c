/* SPDX-License-Identifier: MIT */
/*
 * The lists check.findings and diff.changes: what was judged, and what differs between two moments.
 */
#include <stdio.h>

#include <vmatlas/analyze.h>

#include "export/list_field.h"

#define EVERYWHERE (VMAT_SHOW_TABLE | VMAT_SHOW_WIDE | VMAT_SHOW_JSON)

enum { FINDING_SEVERITY, FINDING_ID, FINDING_TITLE, FINDING_EVIDENCE, FINDING_ADVICE };

static const struct vmat_column finding_columns[] = {
	[FINDING_SEVERITY] = { "SEVERITY", "severity", VMAT_TYPE_STRING, EVERYWHERE, 0,
			       "bad (the exit status is 1), warning or info", "the judgement",
			       .is_tinted = true },
	[FINDING_ID] = { "ID", "id", VMAT_TYPE_STRING, EVERYWHERE, 0,
			 "its name for programs, like leak.heap: it stays the same",
			 "the judgement" },
	[FINDING_TITLE] = { "TITLE", "title", VMAT_TYPE_STRING, EVERYWHERE, 0, "what was found",
			    "the judgement", .ample = 2 },
	[FINDING_EVIDENCE] = { "EVIDENCE", "evidence", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0,
			       "the numbers that it rests on", "the samples, the map and the heap",
			       .ample = 3 },
	[FINDING_ADVICE] = { "ADVICE", "advice", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0,
			     "what helps: the setting, its value, what it changes and what it costs",
			     "the judgement", .ample = 3 },
};

static void finding_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_judgement *judgement = model;
	const struct vmat_finding *finding = &judgement->findings[row];

	switch (column) {
	case FINDING_SEVERITY:
		ret->text = vmat_severity_name(finding->severity);
		break;
	case FINDING_ID:
		ret->text = finding->id;
		break;
	case FINDING_TITLE:
		ret->text = finding->title;
		break;
	case FINDING_EVIDENCE:
		ret->text = finding->evidence;
		break;
	case FINDING_ADVICE:
		ret->text = finding->advice;
		break;
	}
}

static enum vmat_tint finding_tint(const void *model, size_t row)
{
	const struct vmat_judgement *judgement = model;

	return judgement->findings[row].severity == VMAT_SEVERITY_BAD ? VMAT_TINT_BAD
								      : VMAT_TINT_NONE;
}

const struct vmat_list vmat_list_judged = {
	.name = "check.findings",
	.key = "findings",
	.columns = finding_columns,
	.columns_count = VMAT_COLUMNS_COUNT(finding_columns),
	.cell = finding_cell,
	.tint = finding_tint,
	.meaning = "one thing that was found, the weightiest first",
};

enum {
	CHANGE_WHAT,
	CHANGE_BEFORE,
	CHANGE_AFTER,
	CHANGE_GROWN,
	CHANGE_SHRUNK,
	CHANGE_RSS_BEFORE,
	CHANGE_RSS_AFTER,
	CHANGE_COUNT_BEFORE,
	CHANGE_COUNT_AFTER,
	CHANGE_OWNER,
};

static const struct vmat_column change_columns[] = {
	[CHANGE_WHAT] = { "WHAT", "what", VMAT_TYPE_STRING, EVERYWHERE, 0,
			  "a number of the process (rss_anon), a kind of region (kind heap), or the "
			  "regions of a kind that one owner has (owner file)",
			  "the samples" },
	[CHANGE_BEFORE] = { "BEFORE", "before", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			    "its size at first; of what is counted, the count",
			    "the first sample" },
	[CHANGE_AFTER] = { "AFTER", "after", VMAT_TYPE_BYTES, EVERYWHERE, 0, "its size at last",
			   "the last sample" },
	[CHANGE_GROWN] = { "GROWN", "grown", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			   "by how much it grew; 0 when it did not", "AFTER less BEFORE" },
	[CHANGE_SHRUNK] = { "SHRUNK", "shrunk", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			    "by how much it shrank; 0 when it did not", "BEFORE less AFTER" },
	[CHANGE_RSS_BEFORE] = { "RSS_BEFORE", "rss_before", VMAT_TYPE_BYTES,
				VMAT_SHOW_WIDE | VMAT_SHOW_JSON, 0,
				"of a kind of region, or of an owner, what was resident at first",
				"the first sample" },
	[CHANGE_RSS_AFTER] = { "RSS_AFTER", "rss_after", VMAT_TYPE_BYTES,
			       VMAT_SHOW_WIDE | VMAT_SHOW_JSON, 0, "likewise at last",
			       "the last sample" },
	[CHANGE_COUNT_BEFORE] = { "COUNT_BEFORE", "count_before", VMAT_TYPE_COUNT,
				  VMAT_SHOW_WIDE | VMAT_SHOW_JSON, 0,
				  "of a kind, how many regions there were at first",
				  "the first sample" },
	[CHANGE_COUNT_AFTER] = { "COUNT_AFTER", "count_after", VMAT_TYPE_COUNT,
				 VMAT_SHOW_WIDE | VMAT_SHOW_JSON, 0, "likewise at last",
				 "the last sample" },
	[CHANGE_OWNER] = { "OWNER", "owner", VMAT_TYPE_STRING, EVERYWHERE, 0,
			   "who has them: as in map, without the numbers of threads and arenas; "
			   "(others): the small ones in one",
			   "map.regions: OWNER", .ample = 1 },
};

static uint64_t more(uint64_t before, uint64_t after)
{
	if (!vmat_is_known(before))
		return before;
	if (!vmat_is_known(after))
		return after;
	return after > before ? after - before : 0;
}

static void change_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_difference *difference = model;
	const struct vmat_change *change = &difference->changes[row];

	ret->is_count = !change->is_kind && !vmat_metric_is_bytes(change->metric);
	switch (column) {
	case CHANGE_WHAT:
		snprintf(ret->room, sizeof(ret->room), "%s%s",
			 change->owner     ? "owner "
			 : change->is_kind ? "kind "
					   : "",
			 change->is_kind ? vmat_kind_name(change->kind)
					 : vmat_metric_name(change->metric));
		ret->text = ret->room;
		break;
	case CHANGE_BEFORE:
		ret->number = change->before;
		break;
	case CHANGE_AFTER:
		ret->number = change->after;
		break;
	case CHANGE_GROWN:
		ret->number = more(change->before, change->after);
		break;
	case CHANGE_SHRUNK:
		ret->number = more(change->after, change->before);
		break;
	case CHANGE_RSS_BEFORE:
		ret->number = change->before_rss;
		break;
	case CHANGE_RSS_AFTER:
		ret->number = change->after_rss;
		break;
	case CHANGE_COUNT_BEFORE:
		ret->number = change->before_count;
		break;
	case CHANGE_COUNT_AFTER:
		ret->number = change->after_count;
		break;
	case CHANGE_OWNER:
		ret->text = change->owner ? change->owner : "";
		break;
	}
}

const struct vmat_list vmat_list_changes = {
	.name = "diff.changes",
	.key = "changes",
	.columns = change_columns,
	.columns_count = VMAT_COLUMNS_COUNT(change_columns),
	.cell = change_cell,
	.meaning =
		"one number at two times; kinds of region, then their owners, the most grown first",
};
