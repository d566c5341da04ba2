/* SPDX-License-Identifier: MIT */
/*
 * The lists of faults: places, kinds, sites, causes and ticks of a profile of page faults.
 */
#include <stdio.h>

#include "export/list_field.h"

#define EVERYWHERE    (VMAT_SHOW_TABLE | VMAT_SHOW_WIDE | VMAT_SHOW_JSON)
#define WIDE_AND_JSON (VMAT_SHOW_WIDE | VMAT_SHOW_JSON)

static uint64_t per_second(const struct vmat_faults_view *view, uint64_t count)
{
	if (!vmat_is_known(count))
		return count;
	if (!view->profile->span_ns)
		return VMAT_UNKNOWN(VMAT_NOT_FOUND);
	return (uint64_t)((double)count * 1e9 / (double)view->profile->span_ns + 0.5);
}

/* Of all faults that were sampled, minor and major, in percent. */
static uint64_t percent(const struct vmat_faults_view *view, uint64_t minor, uint64_t major)
{
	const struct vmat_fault_profile *profile = view->profile;
	double all = (double)profile->minor + (double)profile->major;

	if (!vmat_is_known(minor) || all < 1)
		return VMAT_UNKNOWN(VMAT_NOT_FOUND);
	return (uint64_t)(100 * ((double)minor + (double)major) / all + 0.5);
}

/* The columns that places, kinds, sites and causes have in common. */
enum amount { MINOR, ERROR, MINOR_S, MAJOR, MAJOR_S, SHARE, AMOUNTS };

#define AMOUNT_COLUMNS(base)                                                                         \
	[(base) +                                                                                    \
		MINOR] = { "MINOR",                                                                  \
			   "minor",                                                                  \
			   VMAT_TYPE_COUNT,                                                          \
			   EVERYWHERE,                                                               \
			   0,                                                                        \
			   "minor faults in the time that was watched: an estimate",                 \
			   "its share of the samples, times the count of stat" },                    \
		[(base) + ERROR] = { "ERROR",                                                        \
				     "minor_error",                                                  \
				     VMAT_TYPE_COUNT,                                                \
				     WIDE_AND_JSON,                                                  \
				     0,                                                              \
				     "what MINOR may be off by, at a confidence of 95 %",            \
				     "the number of samples" },                                      \
		[(base) + MINOR_S] = { "MINOR_S",                                                    \
				       "minor_per_s",                                                \
				       VMAT_TYPE_COUNT,                                              \
				       EVERYWHERE,                                                   \
				       0,                                                            \
				       "MINOR a second, rounded",                                    \
				       "MINOR" },                                                    \
		[(base) +                                                                            \
			MAJOR] = { "MAJOR",                                                          \
				   "major",                                                          \
				   VMAT_TYPE_COUNT,                                                  \
				   EVERYWHERE,                                                       \
				   0,                                                                \
				   "major faults, which waited for a disk; all of them are sampled", \
				   "samples" },                                                      \
		[(base) + MAJOR_S] = { "MAJOR_S",                                                    \
				       "major_per_s",                                                \
				       VMAT_TYPE_COUNT,                                              \
				       WIDE_AND_JSON,                                                \
				       0,                                                            \
				       "MAJOR a second, rounded",                                    \
				       "MAJOR" },                                                    \
		[(base) + SHARE] = { "SHARE",                                                        \
				     "share_percent",                                                \
				     VMAT_TYPE_COUNT,                                                \
				     EVERYWHERE,                                                     \
				     0,                                                              \
				     "of all faults of the process, in percent, rounded",            \
				     "MINOR, MAJOR, stat" }

static void amount_cell(const struct vmat_faults_view *view, uint64_t minor, uint64_t error,
			uint64_t major, size_t column, struct vmat_value *ret)
{
	switch ((enum amount)column) {
	case MINOR:
		ret->number = minor;
		break;
	case ERROR:
		ret->number = error;
		break;
	case MINOR_S:
		ret->number = per_second(view, minor);
		break;
	case MAJOR:
		ret->number = major;
		break;
	case MAJOR_S:
		ret->number = per_second(view, major);
		break;
	case SHARE:
		ret->number = percent(view, minor, major);
		break;
	case AMOUNTS:
		break;
	}
}

/* The same of samples. */
static void sampled_cell(const struct vmat_faults_view *view, uint64_t minor_samples,
			 uint64_t major, size_t column, struct vmat_value *ret)
{
	uint64_t error = 0;
	uint64_t minor = view->profile->samples_minor
				 ? vmat_fault_estimate(view->profile, minor_samples, &error)
				 : 0;

	amount_cell(view, minor, error, major, column, ret);
}

enum place_column {
	START,
	END,
	KIND,
	CAUSE,
	SURE,
	PLACE_AMOUNTS,
	OWNER = PLACE_AMOUNTS + AMOUNTS,
	SAMPLES,
	PAGES,
	LOOKS,
	CHANGES,
	LOWEST,
	HIGHEST,
};

static const struct vmat_column place_columns[] = {
	AMOUNT_COLUMNS(PLACE_AMOUNTS),
	[START] = { "START", "start", VMAT_TYPE_ADDR, EVERYWHERE, 0,
		    "first address, the lowest that was seen", "maps, samples" },
	[END] = { "END", "end", VMAT_TYPE_ADDR, WIDE_AND_JSON, 0,
		  "first address behind it, the highest that was seen", "maps, samples" },
	[KIND] = { "KIND", "kind", VMAT_TYPE_STRING, EVERYWHERE, 0,
		   "what lies there, one of the KINDS; unknown where nothing was mapped any more",
		   "map.regions", .is_tinted = true },
	[CAUSE] = { "CAUSE", "cause", VMAT_TYPE_STRING, EVERYWHERE, 0,
		    "why they happen, one of the CAUSES", "the judgement" },
	[SURE] = { "SURE", "confidence_percent", VMAT_TYPE_COUNT, WIDE_AND_JSON, 0,
		   "confidence in the cause, in percent", "the judgement" },
	[OWNER] = { "OWNER", "owner", VMAT_TYPE_STRING, EVERYWHERE, 0, "whose memory it is",
		    "map.regions", .ample = 2 },
	[SAMPLES] = { "SAMPLES", "samples", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0,
		      "how many faults were sampled here", "perf" },
	[PAGES] = { "PAGES", "pages", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0,
		    "how many different pages the samples are of", "perf: addr" },
	[LOOKS] = { "LOOKS", "looks", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0,
		    "how often the map was looked at since the first fault here", "maps" },
	[CHANGES] = { "CHANGES", "changes", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0,
		      "how many looks found another size than the look before", "maps" },
	[LOWEST] = { "SIZE_MIN", "size_min", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0,
		     "the smallest size that a look found", "maps" },
	[HIGHEST] = { "SIZE_MAX", "size_max", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0,
		      "the largest size that a look found", "maps" },
};

static void place_fact(const struct vmat_faults_view *view, const struct vmat_fault_place *place,
		       size_t column, struct vmat_value *ret)
{
	double confidence;

	switch ((enum place_column)column) {
	case START:
		ret->number = place->start;
		break;
	case END:
		ret->number = place->end;
		break;
	case KIND:
		if (place->was_seen)
			ret->text = vmat_kind_name(place->kind);
		else
			ret->number = VMAT_UNKNOWN(VMAT_CHANGED);
		break;
	case PLACE_AMOUNTS:
		break;
	case CAUSE:
		ret->text = vmat_fault_cause_name(
			vmat_fault_place_cause(view->profile, place, &confidence));
		break;
	case SURE:
		vmat_fault_place_cause(view->profile, place, &confidence);
		ret->number = (uint64_t)(100 * confidence + 0.5);
		break;
	case OWNER:
		ret->text = place->owner;
		break;
	case SAMPLES:
		ret->number = place->minor + place->major;
		break;
	case PAGES:
		ret->number = place->pages;
		break;
	case LOOKS:
		ret->number = place->looks;
		break;
	case CHANGES:
		ret->number = place->changes;
		break;
	case LOWEST:
		ret->number = place->looks ? place->mapped.min : VMAT_UNKNOWN(VMAT_NOT_FOUND);
		break;
	case HIGHEST:
		ret->number = place->looks ? place->mapped.max : VMAT_UNKNOWN(VMAT_NOT_FOUND);
		break;
	}
}

static void place_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_faults_view *view = model;
	const struct vmat_fault_place *place = &view->profile->places[row];

	if (column >= PLACE_AMOUNTS && column < OWNER)
		sampled_cell(view, place->minor, place->major, column - PLACE_AMOUNTS, ret);
	else
		place_fact(view, place, column, ret);
}

const struct vmat_list vmat_list_fault_places = {
	.name = "faults.places",
	.key = "places",
	.columns = place_columns,
	.columns_count = VMAT_COLUMNS_COUNT(place_columns),
	.cell = place_cell,
	.meaning = "a range of addresses that had faults; those with most of them first",
};

enum kind_column { OF_KIND, PLACES, KIND_AMOUNTS };

static const struct vmat_column kind_columns[] = {
	AMOUNT_COLUMNS(KIND_AMOUNTS),
	[OF_KIND] = { "KIND", "kind", VMAT_TYPE_STRING, EVERYWHERE, 0,
		      "one of the KINDS; unknown for what was not mapped any more", "map.regions",
		      .is_tinted = true },
	[PLACES] = { "PLACES", "places", VMAT_TYPE_COUNT, EVERYWHERE, 0,
		     "how many ranges of addresses", "faults.places" },
};

static void kind_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_faults_view *view = model;
	const struct vmat_fault_kind *kind = &view->kinds[row];

	if (column >= KIND_AMOUNTS) {
		sampled_cell(view, kind->minor, kind->major, column - KIND_AMOUNTS, ret);
	} else if (column == OF_KIND) {
		if (kind->was_seen)
			ret->text = vmat_kind_name(kind->kind);
		else
			ret->number = VMAT_UNKNOWN(VMAT_CHANGED);
	} else {
		ret->number = kind->places;
	}
}

const struct vmat_list vmat_list_fault_kinds = {
	.name = "faults.kinds",
	.key = "kinds",
	.columns = kind_columns,
	.columns_count = VMAT_COLUMNS_COUNT(kind_columns),
	.cell = kind_cell,
	.meaning = "all places of one kind",
};

enum site_column { AT, IN_KERNEL, LAST, SITE_AMOUNTS, NAME = SITE_AMOUNTS + AMOUNTS };

static const struct vmat_column site_columns[] = {
	AMOUNT_COLUMNS(SITE_AMOUNTS),
	[AT] = { "CODE", "code", VMAT_TYPE_ADDR, EVERYWHERE, 0,
		 "address of the instruction that touched the page", "perf: ip" },
	[IN_KERNEL] = { "IN_KERNEL", "in_kernel", VMAT_TYPE_BOOL, VMAT_SHOW_JSON, 0,
			"a system call touched it", "perf: ip" },
	[LAST] = { "LAST", "last", VMAT_TYPE_ADDR, WIDE_AND_JSON, 0,
		   "the address that it touched in its latest sample", "perf: addr" },
	[NAME] = { "NAME", "name", VMAT_TYPE_STRING, EVERYWHERE, 0,
		   "the function there, as in explain; of those with most faults only", "symbols",
		   .ample = 3 },
};

static void site_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_faults_view *view = model;
	const struct vmat_fault_site *site = &view->profile->sites[row];

	if (column >= SITE_AMOUNTS && column < NAME) {
		sampled_cell(view, site->minor, site->major, column - SITE_AMOUNTS, ret);
		return;
	}
	switch ((enum site_column)column) {
	case AT:
		ret->number = site->addr;
		break;
	case IN_KERNEL:
		ret->number = site->is_kernel;
		break;
	case LAST:
		ret->number = site->last_addr;
		break;
	case SITE_AMOUNTS:
		break;
	case NAME:
		if (site->name[0])
			ret->text = site->name;
		else
			ret->number = VMAT_UNKNOWN(VMAT_NOT_FOUND);
		break;
	}
}

const struct vmat_list vmat_list_fault_sites = {
	.name = "faults.sites",
	.key = "sites",
	.columns = site_columns,
	.columns_count = VMAT_COLUMNS_COUNT(site_columns),
	.cell = site_cell,
	.meaning = "an instruction that faulted; those with most faults first",
};

enum cause_column {
	WHY,
	CONFIDENCE,
	CAUSE_AMOUNTS,
	MEANING = CAUSE_AMOUNTS + AMOUNTS,
	EVIDENCE,
	ADVICE,
	SETTING,
};

static const struct vmat_column cause_columns[] = {
	AMOUNT_COLUMNS(CAUSE_AMOUNTS),
	[WHY] = { "CAUSE", "cause", VMAT_TYPE_STRING, EVERYWHERE, 0, "one of the CAUSES",
		  "the judgement" },
	[CONFIDENCE] = { "SURE", "confidence_percent", VMAT_TYPE_COUNT, EVERYWHERE, 0,
			 "confidence in it, in percent", "the judgement" },
	[MEANING] = { "MEANING", "meaning", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0,
		      "what happens, in words", "vmatlas", .ample = 3 },
	[EVIDENCE] = { "EVIDENCE", "evidence", VMAT_TYPE_STRING, EVERYWHERE, 0,
		       "what was seen that tells", "samples, maps, pagemap", .ample = 3 },
	[ADVICE] = { "ADVICE", "advice", VMAT_TYPE_STRING, EVERYWHERE, 0,
		     "what to change, what it changes, what it costs; empty when there is none",
		     "vmatlas", .ample = 2 },
	[SETTING] = { "SETTING", "setting", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0,
		      "the advice as a variable of the environment; empty when it is none",
		      "vmatlas", .ample = 1 },
};

static void cause_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_faults_view *view = model;
	const struct vmat_fault_finding *finding = &view->findings->findings[row];

	if (column >= CAUSE_AMOUNTS && column < MEANING) {
		amount_cell(view, finding->minor, finding->minor_error, finding->major,
			    column - CAUSE_AMOUNTS, ret);
		return;
	}
	switch ((enum cause_column)column) {
	case WHY:
		ret->text = vmat_fault_cause_name(finding->cause);
		break;
	case CONFIDENCE:
		ret->number = (uint64_t)(100 * finding->confidence + 0.5);
		break;
	case CAUSE_AMOUNTS:
		break;
	case MEANING:
		ret->text = vmat_fault_cause_meaning(finding->cause);
		break;
	case EVIDENCE:
		ret->text = finding->evidence;
		break;
	case ADVICE:
		ret->text = finding->advice;
		break;
	case SETTING:
		ret->text = finding->setting;
		break;
	}
}

const struct vmat_list vmat_list_fault_causes = {
	.name = "faults.causes",
	.key = "causes",
	.columns = cause_columns,
	.columns_count = VMAT_COLUMNS_COUNT(cause_columns),
	.cell = cause_cell,
	.meaning = "all faults of one cause; the one with most of them first",
};

enum tick_column { TICK_END, TICK_MINOR, TICK_MAJOR };

static const struct vmat_column tick_columns[] = {
	[TICK_END] = { "END_MS", "end_ms", VMAT_TYPE_COUNT, EVERYWHERE, 0,
		       "when the interval ended, in milliseconds since the beginning",
		       "the clock" },
	[TICK_MINOR] = { "MINOR", "minor", VMAT_TYPE_COUNT, EVERYWHERE, 0,
			 "minor faults in it, exactly", "stat: minflt" },
	[TICK_MAJOR] = { "MAJOR", "major", VMAT_TYPE_COUNT, EVERYWHERE, 0,
			 "major faults in it, exactly", "stat: majflt" },
};

static void tick_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_fault_tick *tick =
		&((const struct vmat_faults_view *)model)->profile->ticks[row];

	switch ((enum tick_column)column) {
	case TICK_END:
		ret->number = tick->end_ns / 1000000;
		break;
	case TICK_MINOR:
		ret->number = tick->minor;
		break;
	case TICK_MAJOR:
		ret->number = tick->major;
		break;
	}
}

const struct vmat_list vmat_list_fault_ticks = {
	.name = "faults.ticks",
	.key = "ticks",
	.columns = tick_columns,
	.columns_count = VMAT_COLUMNS_COUNT(tick_columns),
	.cell = tick_cell,
	.meaning = "an interval of the time that was watched",
};

void vmat_faults_view_init(struct vmat_faults_view *ret, const struct vmat_fault_profile *profile,
			   const struct vmat_fault_findings *findings)
{
	*ret = (struct vmat_faults_view){ .profile = profile, .findings = findings };
	for (size_t i = 0; i < profile->places_count; i++) {
		const struct vmat_fault_place *place = &profile->places[i];
		struct vmat_fault_kind *kind = NULL;

		for (size_t k = 0; k < ret->kinds_count && !kind; k++) {
			if (ret->kinds[k].was_seen == place->was_seen &&
			    (ret->kinds[k].kind == place->kind || !place->was_seen))
				kind = &ret->kinds[k];
		}
		if (!kind) {
			kind = &ret->kinds[ret->kinds_count++];
			kind->kind = place->kind;
			kind->was_seen = place->was_seen;
		}
		kind->places++;
		kind->minor += place->minor;
		kind->major += place->major;
	}
}
