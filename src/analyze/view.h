/* SPDX-License-Identifier: MIT */
/*
 * view.h: what judge.c has measured of a series, and judge_text.c puts into words.
 */
#ifndef VMAT_VIEW_H
#define VMAT_VIEW_H

#include <vmatlas/analyze.h>

#include "analyze/trend.h"

enum watched {
	WATCHED_HELD, /* resident anonymous memory and swap; without them all that is resident */
	WATCHED_SHARED,
	WATCHED_DATA,
	WATCHED_SIZE,
	WATCHED_REGIONS,
	WATCHED_THREADS,
	WATCHED_STACKS, /* regions that are stacks */
	WATCHED_ARENAS,
	WATCHED_FAULTS,
	WATCHED_COUNT,
};

/* Growth of a kind of region; NAN where it was not read. */
struct kind_growth {
	double size_per_s, rss_per_s, count_per_s;
	double rss, count; /* at the end */
};

struct view {
	const struct vmat_series *series;
	struct pieces pieces;
	struct trend trends[WATCHED_COUNT];
	struct kind_growth kinds[VMAT_KIND_COUNT];
	bool is_rss; /* WATCHED_HELD is all that is resident */
	/* Over the span, by the looks into the heap that there were; two at least. */
	bool has_heap;
	double system_growth, in_use_growth; /* bytes */
	double waste_growth;                 /* what is held, less what is in use */
	double system, in_use;               /* at the last look */
	double faults_per_s,
		cpu_share; /* NAN when unknown; the share of CPU time that faults take */
};

void vmat_view_init(struct view *ret, const struct vmat_series *series);

static inline bool vmat_view_grows(const struct view *view, enum watched which)
{
	return view->trends[which].shape == SHAPE_GROWING;
}

/* What a verdict rests on. */
struct ruling {
	enum vmat_verdict verdict;
	const char *id;      /* of the finding */
	enum watched about;  /* whose slope and floor are told */
	enum vmat_kind kind; /* the one that grows most; VMAT_KIND_COUNT: not known */
	double certainty;    /* 0 to 1: how well the rule tells its verdict from the others */
};

/* The sentence and the finding of a ruling, and what else the view holds. judge.c has filled in the numbers. */
void vmat_judgement_tell(struct vmat_judgement *judgement, const struct view *view,
			 const struct ruling *ruling);

/*
 * Of a finding: what helps. "" when there is nothing. `allocator` is named as in heap.h; "" or NULL when it is not known: then
 * advice that fits one alone says so. Lifetime: static.
 */
const char *vmat_advice(const char *id, const char *allocator);

/* "1.5 MiB", "0.4 MiB/h", "12 min": at least 24 bytes. Return ret. */
const char *vmat_words_bytes(char *ret, size_t size, double bytes);
const char *vmat_words_rate(char *ret, size_t size, double bytes_per_s);
const char *vmat_words_time(char *ret, size_t size, double seconds);

#endif
