/* SPDX-License-Identifier: MIT */
#include "analyze/pieces.h"

#include <math.h>
#include <string.h>

enum {
	GAP_FACTOR = 5, /* so many usual intervals without a sample are a gap, */
	GAP_LEAST_S =
		60, /* if it is as long as this: on a busy machine ticks come late, and nothing is hidden by that */
	PIECE_SAMPLES = 4,   /* a shorter piece tells nothing */
	INTERVALS_MAX = 255, /* so many are looked at for the usual one */
	BIN_SAMPLES_MAX = 255,
};

static void swap(double *a, double *b)
{
	double c = *a;

	*a = *b;
	*b = c;
}

/* Quickselect with the median of three as pivot: the order that it is given is mostly sorted already. */
double vmat_median(double *x, size_t count)
{
	size_t low = 0, high = count - 1, middle = count / 2;

	if (!count)
		return NAN;
	while (low < high) {
		size_t i = low, j = high, centre = low + (high - low) / 2;
		double pivot;

		if (x[centre] < x[low])
			swap(&x[centre], &x[low]);
		if (x[high] < x[low])
			swap(&x[high], &x[low]);
		if (x[high] < x[centre])
			swap(&x[high], &x[centre]);
		pivot = x[centre];
		while (i <= j) {
			while (i < high && x[i] < pivot)
				i++;
			while (j > low && x[j] > pivot)
				j--;
			if (i <= j) {
				swap(&x[i++], &x[j]);
				if (!j--)
					break;
			}
		}
		if (middle <= j && j != SIZE_MAX)
			high = j;
		else if (middle >= i)
			low = i;
		else
			break;
	}
	return x[middle];
}

static double seconds_between(const struct vmat_sample *a, const struct vmat_sample *b)
{
	return b->mono_ns > a->mono_ns ? (double)(b->mono_ns - a->mono_ns) / 1e9 : 0;
}

static double usual_interval(const struct vmat_series *series)
{
	size_t steps = series->samples_count - 1,
	       count = steps < INTERVALS_MAX ? steps : INTERVALS_MAX;
	double intervals[INTERVALS_MAX];

	for (size_t i = 0; i < count; i++) {
		size_t at = (size_t)((double)i * (double)steps / (double)count);

		intervals[i] = seconds_between(&series->samples[at], &series->samples[at + 1]);
	}
	return vmat_median(intervals, count);
}

static bool is_cut(enum vmat_event_type type)
{
	return type == VMAT_EVENT_BEGUN || type == VMAT_EVENT_EXEC ||
	       type == VMAT_EVENT_CLOCK_SET || type == VMAT_EVENT_SLEPT || type == VMAT_EVENT_LOST;
}

/* When the present program began: the time of the last exec. */
static uint64_t last_exec(const struct vmat_series *series)
{
	uint64_t ns = 0;

	for (size_t i = 0; i < series->events_count; i++)
		if (series->events[i].type == VMAT_EVENT_EXEC && series->events[i].mono_ns > ns)
			ns = series->events[i].mono_ns;
	return ns;
}

static void end_piece(struct pieces *pieces, const struct vmat_series *series, size_t first,
		      size_t end)
{
	double duration_s;

	if (end - first < PIECE_SAMPLES)
		return;
	if (pieces->count == PIECES_MAX) {
		pieces->count--;
		memmove(pieces->first, pieces->first + 1, pieces->count * sizeof(*pieces->first));
		memmove(pieces->end, pieces->end + 1, pieces->count * sizeof(*pieces->end));
	}
	duration_s = seconds_between(&series->samples[first], &series->samples[end - 1]);
	if (duration_s <= 0)
		return;
	pieces->first[pieces->count] = first;
	pieces->end[pieces->count++] = end;
}

void vmat_pieces_find(struct pieces *ret, const struct vmat_series *series)
{
	uint64_t exec_ns = last_exec(series);
	size_t first = 0, event = 0;
	double gap_s;

	memset(ret, 0, sizeof(*ret));
	if (series->samples_count < PIECE_SAMPLES)
		return;
	ret->interval_s = usual_interval(series);
	gap_s = fmax(GAP_FACTOR * ret->interval_s, GAP_LEAST_S);
	while (first < series->samples_count && series->samples[first].mono_ns < exec_ns)
		first++;
	for (size_t i = first + 1; i < series->samples_count; i++) {
		const struct vmat_sample *before = &series->samples[i - 1],
					 *now = &series->samples[i];
		bool cut = now->mono_ns < before->mono_ns || seconds_between(before, now) > gap_s;

		/* Events ascend as samples do; one that does not is passed over. */
		for (;
		     event < series->events_count && series->events[event].mono_ns <= now->mono_ns;
		     event++)
			cut |= is_cut(series->events[event].type) &&
			       series->events[event].mono_ns > before->mono_ns;
		if (!cut)
			continue;
		ret->total++;
		end_piece(ret, series, first, i);
		first = i;
	}
	if (first < series->samples_count)
		end_piece(ret, series, first, series->samples_count);
	for (size_t i = 0; i < ret->count; i++)
		ret->duration_s += seconds_between(&series->samples[ret->first[i]],
						   &series->samples[ret->end[i] - 1]);
}

double vmat_signal_value(const struct vmat_sample *sample, const struct signal *signal)
{
	uint64_t value;
	double sum = 0;

	if (signal->field != SIGNAL_METRICS) {
		const struct vmat_kind_sample *kind = &sample->kinds[signal->kind];

		value = signal->field == SIGNAL_KIND_SIZE  ? kind->size
			: signal->field == SIGNAL_KIND_RSS ? kind->rss
							   : kind->count;
		return vmat_is_known(value) ? (double)value : NAN;
	}
	for (unsigned metric = 0; metric < VMAT_METRIC_COUNT; metric++) {
		if (!((signal->metrics | signal->less) & 1u << metric))
			continue;
		value = sample->values[metric];
		if (!vmat_is_known(value))
			return NAN;
		sum += signal->less & 1u << metric ? -(double)value : (double)value;
	}
	return sum;
}

/* One point of the known samples of [first, end); false when there is none. */
static bool make_bin(const struct vmat_series *series, const struct signal *signal, size_t first,
		     size_t end, double *ret_t_s, double *ret_x, size_t *ret_known)
{
	size_t step = (end - first + BIN_SAMPLES_MAX - 1) / BIN_SAMPLES_MAX, known = 0;
	double values[BIN_SAMPLES_MAX], t_s = 0;

	for (size_t i = first; i < end && known < BIN_SAMPLES_MAX; i += step) {
		double value = vmat_signal_value(&series->samples[i], signal);

		if (isnan(value))
			continue;
		values[known++] = value;
		t_s += seconds_between(&series->samples[first], &series->samples[i]);
	}
	*ret_known = known;
	if (!known)
		return false;
	*ret_t_s = t_s / (double)known;
	*ret_x = vmat_median(values, known);
	return true;
}

/* The change between two pieces is unknown: the later one begins where the earlier one ended, by medians of three. */
static void join(struct bins *bins, size_t begin, double interval_s)
{
	double before[3], after[3], shift, time_s;
	size_t a = begin < 3 ? begin : 3, b = bins->count - begin < 3 ? bins->count - begin : 3;

	for (size_t i = 0; i < a; i++)
		before[i] = bins->x[begin - 1 - i];
	for (size_t i = 0; i < b; i++)
		after[i] = bins->x[begin + i];
	shift = vmat_median(before, a) - vmat_median(after, b);
	time_s = bins->t_s[begin - 1] + interval_s - bins->t_s[begin];
	for (size_t i = begin; i < bins->count; i++) {
		bins->x[i] += shift;
		bins->t_s[i] += time_s;
	}
}

void vmat_bins_fill(struct bins *ret, const struct vmat_series *series, const struct pieces *pieces,
		    const struct signal *signal)
{
	size_t total = 0, share;

	ret->count = 0;
	ret->samples = 0;
	for (size_t p = 0; p < pieces->count; p++)
		total += pieces->end[p] - pieces->first[p];
	/* The last bin of each piece may be shorter than the others. */
	share = total / (BINS_MAX - pieces->count) + 1;
	for (size_t p = 0; p < pieces->count; p++) {
		size_t first = pieces->first[p], begin = ret->count;

		for (size_t i = first; i < pieces->end[p] && ret->count < BINS_MAX; i += share) {
			size_t end = i + share < pieces->end[p] ? i + share : pieces->end[p];
			size_t known, n = ret->count;
			double t_s, x;

			if (!make_bin(series, signal, i, end, &t_s, &x, &known))
				continue;
			t_s += seconds_between(&series->samples[first], &series->samples[i]);
			if (n > begin && t_s <= ret->t_s[n - 1])
				continue;
			ret->t_s[n] = t_s;
			ret->x[n] = x;
			ret->samples += known;
			ret->count++;
		}
		if (begin && ret->count > begin)
			join(ret, begin, pieces->interval_s * (double)share);
	}
}
