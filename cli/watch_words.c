/* SPDX-License-Identifier: MIT */
/*
 * watch_words.c: what vsize, size and rss did, and what that means: see watch.h.
 *
 * The lowest values of three thirds of the time are compared: what goes up and down again has the same lowest value in each, what
 * leaks has not. That is no statistics: vmat_judge does that, with more to go by, and its verdict stands below.
 */
#include <inttypes.h>

#include <vmatlas/analyze.h>

#include "watch.h"

enum shape { SHAPE_UNKNOWN, SHAPE_FLAT, SHAPE_CYCLES, SHAPE_STEPPED, SHAPE_GROWS, SHAPE_FALLS };

enum { THIRDS = 3, SAMPLES_LEAST = 6, NOISE_BYTES = 64 * 1024 };

struct motion {
	enum shape shape;
	uint64_t first, last, least, most, noise;
};

static const char *const shape_words[] = {
	[SHAPE_UNKNOWN] = "not seen often enough",
	[SHAPE_FLAT] = "stood still",
	[SHAPE_CYCLES] = "went up and came down again",
	[SHAPE_STEPPED] = "grew, and stands since",
	[SHAPE_GROWS] = "grows",
	[SHAPE_FALLS] = "fell",
};

/* The first sample of the program that runs now. */
static size_t first_sample(const struct vmat_series *series)
{
	uint64_t since = 0;
	size_t i = 0;

	for (size_t e = 0; e < series->events_count; e++) {
		if (series->events[e].type == VMAT_EVENT_EXEC)
			since = series->events[e].mono_ns;
	}
	while (i < series->samples_count && series->samples[i].mono_ns < since)
		i++;
	return i;
}

static enum shape shape_of(const uint64_t lows[THIRDS], const struct motion *motion)
{
	if (motion->most - motion->least <= motion->noise)
		return SHAPE_FLAT;
	if (lows[2] > lows[0] + motion->noise) {
		uint64_t early = lows[1] > lows[0] ? lows[1] - lows[0] : 0;
		uint64_t late = lows[2] > lows[1] ? lows[2] - lows[1] : 0;

		return 4 * late >= early ? SHAPE_GROWS : SHAPE_STEPPED;
	}
	return lows[0] > lows[2] + motion->noise ? SHAPE_FALLS : SHAPE_CYCLES;
}

static struct motion motion_of(const struct vmat_series *series, enum vmat_metric metric)
{
	struct motion motion = { .shape = SHAPE_UNKNOWN, .least = UINT64_MAX };
	uint64_t lows[THIRDS] = { UINT64_MAX, UINT64_MAX, UINT64_MAX };
	size_t begin = first_sample(series), count = series->samples_count - begin, seen = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t value = series->samples[begin + i].values[metric];
		size_t third = i * THIRDS / count;

		if (!vmat_is_known(value))
			continue;
		if (!seen++)
			motion.first = value;
		motion.last = value;
		if (value < lows[third])
			lows[third] = value;
		if (value < motion.least)
			motion.least = value;
		if (value > motion.most)
			motion.most = value;
	}
	motion.noise = motion.first / 64 > NOISE_BYTES ? motion.first / 64 : NOISE_BYTES;
	if (seen >= SAMPLES_LEAST && lows[0] != UINT64_MAX && lows[1] != UINT64_MAX &&
	    lows[2] != UINT64_MAX)
		motion.shape = shape_of(lows, &motion);
	return motion;
}

/* The rules of thumb: what grows of the three, and what that can be. */
static const char *meaning(enum shape vsize, enum shape size, enum shape rss)
{
	if (vsize == SHAPE_UNKNOWN || size == SHAPE_UNKNOWN || rss == SHAPE_UNKNOWN)
		return "too few samples to tell anything.";
	if (size == SHAPE_GROWS && rss == SHAPE_GROWS)
		return "memory in use grows: a leak, or a cache that still fills.";
	if (size == SHAPE_GROWS)
		return "memory is asked for and not touched, or goes to swap: a leak, or a heap that fragments.";
	if (rss == SHAPE_GROWS)
		return "what was asked for before is touched now, or files are read: that ends by itself.";
	if (vsize == SHAPE_GROWS)
		return "address space alone grows: mappings and reservations, not memory in use.";
	if (size == SHAPE_STEPPED || rss == SHAPE_STEPPED || vsize == SHAPE_STEPPED)
		return "it grew and stands since: a warm-up, or a cache that is full. No leak is seen.";
	if (size == SHAPE_CYCLES || rss == SHAPE_CYCLES || vsize == SHAPE_CYCLES)
		return "what was taken was given back: no leak is seen.";
	return "nothing grew: no leak is seen.";
}

static void write_motion(FILE *file, const char *name, const struct motion *motion)
{
	char first[32], last[32], least[32], most[32];

	vmat_text_bytes(first, sizeof(first), motion->first);
	vmat_text_bytes(last, sizeof(last), motion->last);
	vmat_text_bytes(least, sizeof(least), motion->least);
	vmat_text_bytes(most, sizeof(most), motion->most);
	if (motion->shape == SHAPE_UNKNOWN)
		fprintf(file, "  %-5s %s\n", name, shape_words[motion->shape]);
	else
		fprintf(file, "  %-5s %s: %s at first, %s at last, between %s and %s\n", name,
			shape_words[motion->shape], first, last, least, most);
}

/* What a leak must take in an hour to be more than what passes for standing still here. */
static void write_floor(FILE *file, const struct vmat_series *series, const struct motion *size)
{
	size_t begin = first_sample(series);
	uint64_t span_ns =
		series->samples[series->samples_count - 1].mono_ns - series->samples[begin].mono_ns;
	char floor[32];

	if (!span_ns)
		return;
	vmat_text_bytes(floor, sizeof(floor),
			(uint64_t)((double)size->noise * 3600e9 / (double)span_ns));
	fprintf(file, "A leak below %s an hour cannot be seen in so short a time.\n", floor);
}

/* What the judge says, who also looks at kinds, threads, faults and the heap. */
static void write_verdict(FILE *file, const struct vmat_series *series)
{
	static struct vmat_judgement judgement;

	vmat_judge(&judgement, series);
	fprintf(file, "verdict: %s\n", judgement.sentence);
}

void cli_watch_words(FILE *file, const struct watch_target *target, bool is_short)
{
	const struct vmat_series *series = &target->keeper.series;
	struct motion vsize = motion_of(series, VMAT_METRIC_SIZE);
	struct motion size = motion_of(series, VMAT_METRIC_DATA);
	struct motion rss = motion_of(series, VMAT_METRIC_RSS);

	if (is_short) {
		fprintf(file, "so far: %s", meaning(vsize.shape, size.shape, rss.shape));
		return;
	}
	write_motion(file, "vsize", &vsize);
	write_motion(file, "size", &size);
	write_motion(file, "rss", &rss);
	fprintf(file, "So %s\n", meaning(vsize.shape, size.shape, rss.shape));
	write_verdict(file, series);
	if (size.shape != SHAPE_UNKNOWN && size.shape != SHAPE_GROWS)
		write_floor(file, series, &size);
}

void cli_watch_advice(FILE *file)
{
	fputs("Of the three, size tells a leak: it counts private writable memory from the moment it is asked\n"
	      "for, in RAM or not. vsize also counts what is only reserved, rss falls when memory is swapped\n"
	      "out and grows when files are read. `vmatlas leaks` finds the blocks.\n",
	      file);
}
