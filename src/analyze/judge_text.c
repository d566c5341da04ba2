/* SPDX-License-Identifier: MIT */
/*
 * A ruling in words: its sentence, its finding with the numbers that it rests on, and findings for what else was seen.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "analyze/view.h"

enum { WORDS = 32 };

const char *vmat_words_bytes(char *ret, size_t size, double bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	const char *sign = bytes < 0 ? "-" : "";
	size_t unit = 0;

	bytes = fabs(bytes);
	if (isnan(bytes)) {
		snprintf(ret, size, "unknown");
		return ret;
	}
	for (; bytes >= 999.5 && unit + 1 < sizeof(units) / sizeof(*units); unit++)
		bytes /= 1024;
	if (bytes > 99999)
		snprintf(ret, size, "%s%.3g %s", sign, bytes, units[unit]);
	else
		snprintf(ret, size, "%s%.*f %s", sign, bytes < 9.95 && unit ? 1 : 0, bytes,
			 units[unit]);
	return ret;
}

const char *vmat_words_rate(char *ret, size_t size, double bytes_per_s)
{
	/* By the second when that is much, else by the hour: rates of leaks are small. */
	bool is_fast = fabs(bytes_per_s) >= 1 << 20;

	vmat_words_bytes(ret, size, is_fast ? bytes_per_s : bytes_per_s * 3600);
	if (!isnan(bytes_per_s)) {
		size_t length = strlen(ret);

		snprintf(ret + length, size - length, is_fast ? "/s" : "/h");
	}
	return ret;
}

const char *vmat_words_time(char *ret, size_t size, double seconds)
{
	static const struct {
		double from, unit;
		const char *name;
	} units[] = {
		{ 172800, 86400, "days" }, { 5400, 3600, "h" }, { 90, 60, "min" }, { 0, 1, "s" }
	};

	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		double value = seconds / units[i].unit;

		if (!(seconds >= units[i].from))
			continue;
		snprintf(ret, size, "%.*f %s", value < 9.95 ? 1 : 0, fmin(value, 99999),
			 units[i].name);
		return ret;
	}
	snprintf(ret, size, "unknown");
	return ret;
}

/* Adds to a text what fits; what does not is cut at its end. */
static void __attribute__((format(printf, 3, 4)))
add(char *text, size_t size, const char *format, ...)
{
	size_t length = strlen(text);
	va_list args;

	va_start(args, format);
	vsnprintf(text + length, size - length, format, args);
	va_end(args);
}

static const struct {
	const char *name;
	bool is_bytes;
} watched[WATCHED_COUNT] = {
	[WATCHED_HELD] = { "resident anonymous memory and swap", true },
	[WATCHED_SHARED] = { "shared memory", true },
	[WATCHED_DATA] = { "size (ps's, writable)", true },
	[WATCHED_SIZE] = { "vsize", true },
	[WATCHED_REGIONS] = { "regions", false },
	[WATCHED_THREADS] = { "threads", false },
	[WATCHED_STACKS] = { "stacks", false },
	[WATCHED_ARENAS] = { "arenas", false },
	[WATCHED_FAULTS] = { "faults", false },
};

static const char *name_of(const struct view *view, enum watched which)
{
	return which == WATCHED_HELD && view->is_rss ? "resident memory" : watched[which].name;
}

static const char *rate_of(char *ret, enum watched which, double per_s)
{
	if (watched[which].is_bytes)
		return vmat_words_rate(ret, WORDS, per_s);
	snprintf(ret, WORDS, "%.*f/h", fabs(per_s * 3600) < 9.95 ? 1 : 0,
		 fmin(fmax(per_s * 3600, -1e12), 1e12));
	return ret;
}

static void add_trend(char *text, size_t size, const struct view *view, enum watched which)
{
	const struct trend *trend = &view->trends[which];
	char words[3][WORDS];

	switch (trend->shape) {
	case SHAPE_UNKNOWN:
		return;
	case SHAPE_GROWING:
		add(text, size, "%s%s %s%s", *text ? "; " : "", name_of(view, which),
		    trend->slope_per_s >= 0 ? "+" : "",
		    rate_of(words[0], which, trend->slope_per_s));
		return;
	case SHAPE_BENDING:
		if (watched[which].is_bytes)
			add(text, size, "%s%s bends towards %s", *text ? "; " : "",
			    name_of(view, which), vmat_words_bytes(words[0], WORDS, trend->bound));
		return;
	case SHAPE_SHRINKING:
		add(text, size, "%s%s shrinks", *text ? "; " : "", name_of(view, which));
		return;
	case SHAPE_UNCLEAR:
		add(text, size, "%s%s unclear", *text ? "; " : "", name_of(view, which));
		return;
	case SHAPE_FLAT:
	case SHAPE_STEP:
	case SHAPE_PLATEAU:
		add(text, size, "%s%s %s", *text ? "; " : "", name_of(view, which),
		    trend->period_s > 0 ? "cyclic, not growing" : "flat");
		return;
	}
}

static void add_kind(char *text, size_t size, const struct view *view, const struct ruling *ruling)
{
	const struct kind_growth *growth;
	char words[2][WORDS];

	if (ruling->kind == VMAT_KIND_COUNT)
		return;
	growth = &view->kinds[ruling->kind];
	add(text, size, "; most of it is of kind %s: size +%s", vmat_kind_name(ruling->kind),
	    vmat_words_rate(words[0], WORDS, growth->size_per_s));
	if (!isnan(growth->rss_per_s))
		add(text, size, ", resident +%s",
		    vmat_words_rate(words[1], WORDS, growth->rss_per_s));
}

static void add_heap(char *text, size_t size, const struct view *view)
{
	char words[2][WORDS];

	if (view->has_heap)
		add(text, size,
		    "; the heap took %s from the kernel meanwhile, what is in use of it grew by %s",
		    vmat_words_bytes(words[0], WORDS, view->system_growth),
		    vmat_words_bytes(words[1], WORDS, view->in_use_growth));
}

static void add_evidence(char *text, size_t size, const struct view *view,
			 const struct ruling *ruling)
{
	const struct trend *about = &view->trends[ruling->about];
	char words[3][WORDS];

	if (ruling->verdict == VMAT_VERDICT_FAULT_CHURN) {
		add(text, size, "%.0f minor faults per second", fmin(view->faults_per_s, 1e12));
		if (!isnan(view->cpu_share))
			add(text, size, ", at least %.0f %% of its CPU time",
			    100 * view->cpu_share);
	} else if (about->shape != SHAPE_UNKNOWN) {
		add_trend(text, size, view, ruling->about);
		add(text, size, " over %s (floor %s)",
		    vmat_words_time(words[0], WORDS, about->span_s),
		    rate_of(words[1], ruling->about, about->floor_per_s));
	}
	for (unsigned which = 0; which <= WATCHED_THREADS; which++)
		if (which != ruling->about)
			add_trend(text, size, view, which);
	if (ruling->verdict == VMAT_VERDICT_STABLE ||
	    ruling->verdict == VMAT_VERDICT_INSUFFICIENT_DATA)
		return;
	add_kind(text, size, view, ruling);
	add_heap(text, size, view);
}

/* What the finding is called, in a few words. */
static const struct {
	const char *id, *title;
	enum vmat_severity severity;
} titles[] = {
	{ "stable", "nothing grows", VMAT_SEVERITY_INFO },
	{ "leak.heap", "blocks in use of the heap grow without an end in sight",
	  VMAT_SEVERITY_BAD },
	{ "leak.memory", "memory grows without an end in sight", VMAT_SEVERITY_BAD },
	{ "leak.shared", "shared memory grows without an end in sight", VMAT_SEVERITY_BAD },
	{ "leak.untouched", "malloc takes more and more that is never touched", VMAT_SEVERITY_BAD },
	{ "fragmentation.heap", "the heap grows, what is in use of it does not",
	  VMAT_SEVERITY_BAD },
	{ "fragmentation.arenas", "more and more arenas of malloc", VMAT_SEVERITY_BAD },
	{ "stacks.threads", "more and more threads", VMAT_SEVERITY_BAD },
	{ "stacks.unjoined", "stacks of threads that ended are never given back",
	  VMAT_SEVERITY_BAD },
	{ "mappings.regions", "more and more regions", VMAT_SEVERITY_BAD },
	{ "mappings.touched", "more and more regions, and memory in them", VMAT_SEVERITY_BAD },
	{ "mappings.untouched", "more and more writable address space that is not touched",
	  VMAT_SEVERITY_BAD },
	{ "mappings.size", "more and more address space", VMAT_SEVERITY_BAD },
	{ "cache.filling", "memory grows ever slower, towards a bound", VMAT_SEVERITY_INFO },
	{ "faults.churn", "memory is taken and given back again and again", VMAT_SEVERITY_BAD },
	{ "data.few", "too few samples without a gap", VMAT_SEVERITY_INFO },
	{ "data.unclear", "it grew, and may or may not have stopped", VMAT_SEVERITY_INFO },
	{ "data.noise", "it moves so much that a leak would not be seen", VMAT_SEVERITY_INFO },
};

static void tell_ruling(struct vmat_judgement *judgement, const struct view *view,
			const struct ruling *ruling)
{
	struct vmat_finding finding = { .id = ruling->id };

	for (size_t i = 0; i < sizeof(titles) / sizeof(*titles); i++) {
		if (strcmp(titles[i].id, ruling->id) != 0)
			continue;
		finding.severity = titles[i].severity;
		snprintf(finding.title, sizeof(finding.title), "%s", titles[i].title);
	}
	finding.weight = finding.severity == VMAT_SEVERITY_BAD ? 10 + judgement->confidence : 1;
	add_evidence(finding.evidence, sizeof(finding.evidence), view, ruling);
	snprintf(finding.advice, sizeof(finding.advice), "%s", vmat_advice(ruling->id, NULL));
	vmat_finding_add(judgement, &finding);
}

static void tell_sentence(struct vmat_judgement *judgement, const struct view *view,
			  const struct ruling *ruling)
{
	const struct trend *held = &view->trends[WATCHED_HELD];
	const struct vmat_finding *finding = &judgement->findings[0];
	char *text = judgement->sentence, words[4][WORDS];
	size_t size = sizeof(judgement->sentence);
	double floor = judgement->floor_bytes_per_s;

	vmat_words_time(words[0], WORDS, view->pieces.duration_s);
	vmat_words_rate(words[1], WORDS, floor);
	vmat_words_rate(words[2], WORDS, judgement->growth_bytes_per_s);
	switch (ruling->verdict) {
	case VMAT_VERDICT_STABLE:
		add(text, size,
		    "stable%s: no growth in %s; a leak below %s cannot be seen in this span",
		    held->shape == SHAPE_PLATEAU     ? " after a warm-up"
		    : held->shape == SHAPE_STEP      ? " but for a step"
		    : held->shape == SHAPE_SHRINKING ? ", shrinking"
		    : held->period_s > 0             ? " over its cycle"
						     : "",
		    words[0], words[1]);
		break;
	case VMAT_VERDICT_INSUFFICIENT_DATA:
		add(text, size, "not enough to tell after %s: %s", words[0], finding->title);
		if (!isnan(floor))
			add(text, size, "; a leak below %s could not be seen", words[1]);
		break;
	case VMAT_VERDICT_CACHE_FILLING:
		add(text, size, "filling towards %s: grew by %s in %s, ever slower",
		    vmat_words_bytes(words[2], WORDS, held->bound),
		    vmat_words_bytes(words[3], WORDS, held->growth), words[0]);
		break;
	case VMAT_VERDICT_FAULT_CHURN:
		add(text, size, "fault churn: %s, %.0f minor faults per second", finding->title,
		    fmin(view->faults_per_s, 1e12));
		break;
	default:
		add(text, size, "%s: %s, +%s over %s (floor %s)",
		    vmat_verdict_name(ruling->verdict), finding->title, words[2], words[0],
		    words[1]);
		break;
	}
	/* Not for a rounding. */
	if (vmat_is_known(judgement->sure_after_ns) &&
	    judgement->sure_after_ns > judgement->span_ns + judgement->span_ns / 20)
		add(text, size, "; to be sure, watch %s in all",
		    vmat_words_time(words[0], WORDS, (double)judgement->sure_after_ns / 1e9));
}

static void tell_else(struct vmat_judgement *judgement, const struct view *view,
		      const struct ruling *ruling)
{
	const struct trend *held = &view->trends[WATCHED_HELD];
	struct vmat_finding finding = { .severity = VMAT_SEVERITY_INFO, .weight = 0.5 };
	char words[2][WORDS];

	if (held->shape == SHAPE_PLATEAU || held->shape == SHAPE_STEP) {
		bool is_step = held->shape == SHAPE_STEP;

		finding.id = is_step ? "shape.step" : "shape.warm_up";
		snprintf(finding.title, sizeof(finding.title), "%s",
			 is_step ? "one jump, flat before and behind"
				 : "grew at first, and has stopped");
		snprintf(finding.evidence, sizeof(finding.evidence), "%s from %s to %s",
			 name_of(view, WATCHED_HELD),
			 vmat_words_bytes(words[0], WORDS, held->first),
			 vmat_words_bytes(words[1], WORDS, held->last));
		vmat_finding_add(judgement, &finding);
	}
	if (held->period_s > 0) {
		finding.id = "shape.cycle";
		snprintf(finding.title, sizeof(finding.title), "goes up and down in a cycle of %s",
			 vmat_words_time(words[0], WORDS, held->period_s));
		snprintf(finding.evidence, sizeof(finding.evidence),
			 "seen at least three times; the growth is judged without it");
		vmat_finding_add(judgement, &finding);
	}
	if (view->pieces.total) {
		finding.id = "data.gaps";
		snprintf(finding.title, sizeof(finding.title), "%zu gaps", view->pieces.total);
		snprintf(
			finding.evidence, sizeof(finding.evidence),
			"time without samples, sleep of the machine, a clock that was set, another program: "
			"no slope is taken over them");
		vmat_finding_add(judgement, &finding);
	}
	if (view->faults_per_s >= 1000 && view->cpu_share >= 0.1 &&
	    ruling->verdict != VMAT_VERDICT_FAULT_CHURN) {
		finding.id = "faults.many";
		finding.severity = VMAT_SEVERITY_WARNING;
		finding.weight = 2;
		snprintf(finding.title, sizeof(finding.title), "many page faults");
		snprintf(finding.evidence, sizeof(finding.evidence),
			 "%.0f minor faults per second, at least %.0f %% of its CPU time",
			 fmin(view->faults_per_s, 1e12), 100 * view->cpu_share);
		vmat_finding_add(judgement, &finding);
	}
}

void vmat_judgement_tell(struct vmat_judgement *judgement, const struct view *view,
			 const struct ruling *ruling)
{
	tell_ruling(judgement, view, ruling);
	tell_sentence(judgement, view, ruling);
	tell_else(judgement, view, ruling);
}
