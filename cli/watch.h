/* SPDX-License-Identifier: MIT */
/*
 * watch.h: what the files of `vmatlas watch` share: the processes that are watched, and what is known of them so far.
 */
#ifndef CLI_WATCH_H
#define CLI_WATCH_H

#include <stdio.h>

#include "output.h"

#define WATCH_TREND_WIDTH 16
#define WATCH_TARGETS_MAX 60 /* that many descriptors can be waited for at once */

struct watch_target {
	const char *spec;
	struct vmat_sampler *sampler; /* NULL once it has ended */
	struct vmat_keeper keeper;
	struct vmat_sample last; /* the newest sample, which the keeper may have thinned out */
	struct vmat_sample last_kinds; /* the newest that knows its kinds */
	bool has_sample, has_kinds;
	uint64_t ticks, cpu_ns, faults_per_s, cpu_permille; /* the rates since the tick before */
	uint64_t wait_status;
	char end[128]; /* how it ended; "" while it runs */
	char refusal[256];
	char grown[32], trend[WATCH_TREND_WIDTH * 4 + 1];
};

struct watch {
	struct cli_args args; /* with the format that fits where the output goes */
	struct cli_output output;
	struct watch_target *targets;
	size_t count, live;
	uint64_t interval_ns, begun_ns;
	double budget;
	struct vmat_tick tick;
};

/* One target as a row. Lifetime of its texts: until the next call for this target. */
void cli_watch_row(struct vmat_watch_row *ret, const struct watch *watch,
		   struct watch_target *target);

/* The rows of all targets, those that grew most first; or in the order that was asked for. Free with free(). */
struct vmat_watch_row *cli_watch_rows(const struct watch *watch);

/* The signed difference of two sizes: "+1.2M", "-4K", "+0". */
void cli_watch_difference(char *ret, size_t size, uint64_t from, uint64_t to);

/*
 * A metric since the watch began as a line of bars, `width` of them at most, from its least to its most. What is not known is a
 * blank. Without UTF-8: digits from 0 to 9. `ret` has room for 4 * width + 1 bytes.
 */
void cli_watch_trend(char *ret, size_t width, const struct vmat_series *series,
		     enum vmat_metric metric, bool is_utf8);

/* "2m14s" */
void cli_watch_duration(char *ret, size_t size, uint64_t ns);

/*
 * watch_words.c: the answer in words to "which of vsize, size and rss tells me that it leaks?", by what they did since the process
 * runs its program. `is_short`: one line.
 */
void cli_watch_words(FILE *file, const struct watch_target *target, bool is_short);
/* Which of the three to believe, and why. */
void cli_watch_advice(FILE *file);

/*
 * watch_screen.c: the terminal. Entered, it shows frames instead of lines, and its keys are read; left, it is as it was.
 */
int cli_screen_enter(void);
void cli_screen_leave(void);
/* What the user wants by now: 'q', 'h' or 0. */
char cli_screen_key(void);
void cli_screen_draw(const struct watch *watch, bool has_help);

#endif
