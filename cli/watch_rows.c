/* SPDX-License-Identifier: MIT */
/* Processes that are watched as rows, differences and lines of bars: see watch.h. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "watch.h"

#define SECOND_NS 1000000000ULL

void cli_watch_duration(char *ret, size_t size, uint64_t ns)
{
	uint64_t seconds = ns / SECOND_NS;

	if (ns < SECOND_NS && ns)
		snprintf(ret, size, "%" PRIu64 "ms", ns / 1000000);
	else if (ns < 10 * SECOND_NS && ns % SECOND_NS)
		snprintf(ret, size, "%.1fs", (double)ns / 1e9);
	else if (seconds < 60)
		snprintf(ret, size, "%" PRIu64 "s", seconds);
	else if (seconds < 3600)
		snprintf(ret, size, "%" PRIu64 "m%02" PRIu64 "s", seconds / 60, seconds % 60);
	else
		snprintf(ret, size, "%" PRIu64 "h%02" PRIu64 "m", seconds / 3600,
			 seconds / 60 % 60);
}

void cli_watch_difference(char *ret, size_t size, uint64_t from, uint64_t to)
{
	char text[32];

	if (!vmat_is_known(from) || !vmat_is_known(to)) {
		snprintf(ret, size, "-");
		return;
	}
	vmat_text_bytes(text, sizeof(text), to >= from ? to - from : from - to);
	snprintf(ret, size, "%c%s", to >= from ? '+' : '-', text);
}

/* The highest known value of the samples [from, to), or the reason why there is none. */
static uint64_t highest(const struct vmat_series *series, enum vmat_metric metric, size_t from,
			size_t to)
{
	uint64_t found = VMAT_UNKNOWN(VMAT_NOT_ASKED);

	for (size_t i = from; i < to; i++) {
		uint64_t value = series->samples[i].values[metric];

		if (vmat_is_known(value) && (!vmat_is_known(found) || value > found))
			found = value;
	}
	return found;
}

static void put_bar(char *ret, size_t *used, unsigned eighth, bool is_utf8)
{
	if (is_utf8) { /* U+2581 to U+2588 */
		memcpy(ret + *used, "\xe2\x96", 2);
		ret[*used + 2] = (char)(0x81 + eighth);
		*used += 3;
	} else {
		ret[(*used)++] = (char)('0' + eighth);
	}
}

void cli_watch_trend(char *ret, size_t width, const struct vmat_series *series,
		     enum vmat_metric metric, bool is_utf8)
{
	size_t count = series->samples_count, bars = count < width ? count : width, used = 0;
	uint64_t least = UINT64_MAX, most = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t value = series->samples[i].values[metric];

		if (!vmat_is_known(value))
			continue;
		least = value < least ? value : least;
		most = value > most ? value : most;
	}
	for (size_t i = 0; i < bars; i++) {
		uint64_t value = highest(series, metric, i * count / bars, (i + 1) * count / bars);

		if (!vmat_is_known(value))
			ret[used++] = ' ';
		else
			put_bar(ret, &used,
				most > least ? (unsigned)((double)(value - least) /
							  (double)(most - least) * 7.0)
					     : 0,
				is_utf8);
	}
	ret[used] = '\0';
}

/* What SIZE grew since the watch began; the least of all when it is not known. */
static double growth(const struct watch_target *target)
{
	const struct vmat_series *series = &target->keeper.series;
	uint64_t first, last = target->last.values[VMAT_METRIC_DATA];

	if (!series->samples_count)
		return -INFINITY;
	first = series->samples[0].values[VMAT_METRIC_DATA];
	return vmat_is_known(first) && vmat_is_known(last) ? (double)last - (double)first
							   : -INFINITY;
}

static int compare_growth(const void *a, const void *b)
{
	double x = growth(*(struct watch_target *const *)a);
	double y = growth(*(struct watch_target *const *)b);

	return (x < y) - (x > y);
}

void cli_watch_row(struct vmat_watch_row *ret, const struct watch *watch,
		   struct watch_target *target)
{
	const struct vmat_series *series = &target->keeper.series;
	const struct vmat_sample *first =
		series->samples_count ? &series->samples[0] : &target->last;

	cli_watch_difference(target->grown, sizeof(target->grown), first->values[VMAT_METRIC_DATA],
			     target->last.values[VMAT_METRIC_DATA]);
	cli_watch_trend(target->trend, WATCH_TREND_WIDTH, series, VMAT_METRIC_DATA,
			watch->output.text.is_utf8);
	*ret = (struct vmat_watch_row){ .pid = series->pid,
					.name = series->name,
					.sample = target->last,
					.faults_per_s = target->faults_per_s,
					.grown = target->grown,
					.trend = target->trend };
}

/* In the order of growth, then in that of -x. */
struct vmat_watch_row *cli_watch_rows(const struct watch *watch)
{
	struct watch_target *order[WATCH_TARGETS_MAX];
	struct vmat_watch_row *rows = calloc(watch->count, sizeof(*rows));
	struct vmat_watch_row *sorted;
	struct vmat_rows all = { .list = &vmat_list_watch, .model = rows, .count = watch->count };
	size_t *places = NULL;

	if (!rows)
		return NULL;
	for (size_t i = 0; i < watch->count; i++)
		order[i] = &watch->targets[i];
	qsort(order, watch->count, sizeof(void *), compare_growth);
	for (size_t i = 0; i < watch->count; i++)
		cli_watch_row(&rows[i], watch, order[i]);
	if (watch->output.sort == vmat_list_watch.columns_count ||
	    vmat_rows_sort(&all, watch->output.sort, &places))
		return rows;
	sorted = calloc(watch->count, sizeof(*sorted));
	for (size_t i = 0; sorted && i < watch->count; i++)
		sorted[i] = rows[places[i]];
	free(places);
	free(rows);
	return sorted;
}
