/* SPDX-License-Identifier: MIT */
/*
 * sample_keeper.c: days of samples in a bounded array.
 *
 * Thinning is uniform: a trend over samples that are denser at one end would weigh that end more. Counters (faults, CPU time)
 * lose nothing by it, for they count from the beginning of the process.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/sample.h>

enum { FIRST_CAPACITY = 64, LEAST = 4 };

void vmat_keeper_init(struct vmat_keeper *ret, size_t samples_max, size_t events_max)
{
	*ret = (struct vmat_keeper){ .samples_max = samples_max < LEAST ? LEAST : samples_max,
				     .events_max = events_max < LEAST ? LEAST : events_max,
				     .stride = 1 };
	ret->samples_max &= ~(size_t)1; /* they go in pairs */
}

void vmat_keeper_deinit(struct vmat_keeper *keeper)
{
	free(keeper->series.samples);
	free(keeper->series.events);
	keeper->series.samples = NULL;
	keeper->series.events = NULL;
	keeper->series.samples_count = keeper->series.events_count = 0;
	keeper->samples_capacity = keeper->events_capacity = 0;
}

/* Room for one more element of an array that has not reached its bound. */
static void *grown(void *array, size_t count, size_t *capacity, size_t max, size_t size)
{
	size_t more = *capacity ? 2 * *capacity : FIRST_CAPACITY;
	void *room;

	if (count < *capacity)
		return array;
	if (more > max)
		more = max;
	room = realloc(array, more * size);
	if (room)
		*capacity = more;
	return room;
}

/* What a sample knows that its neighbour may not. */
static int worth(const struct vmat_sample *sample)
{
	return vmat_is_known(sample->values[VMAT_METRIC_REGIONS]) +
	       2 * vmat_is_known(sample->values[VMAT_METRIC_HEAP_IN_USE]);
}

/* Of each pair one goes. The very first sample stays: growth is told from it. */
static void thin(struct vmat_series *series)
{
	size_t kept = 0;

	for (size_t i = 0; i + 1 < series->samples_count; i += 2) {
		size_t better =
			i + (i && worth(&series->samples[i + 1]) > worth(&series->samples[i]));

		series->samples[kept++] = series->samples[better];
	}
	series->samples_count = kept;
}

static int add_sample(struct vmat_keeper *keeper, const struct vmat_sample *sample)
{
	struct vmat_series *series = &keeper->series;
	struct vmat_sample *samples, *last;

	/* Of a stride the best one stands at the end of the array until the stride is over. */
	if (keeper->seen && keeper->seen < keeper->stride) {
		last = &series->samples[series->samples_count - 1];
		if (worth(sample) > worth(last))
			*last = *sample;
		keeper->seen++;
		return 0;
	}
	if (series->samples_count == keeper->samples_max) {
		thin(series);
		keeper->stride *= 2;
	}
	samples = grown(series->samples, series->samples_count, &keeper->samples_capacity,
			keeper->samples_max, sizeof(*samples));
	if (!samples)
		return -ENOMEM;
	series->samples = samples;
	series->samples[series->samples_count++] = *sample;
	keeper->seen = 1;
	return 0;
}

static int add_event(struct vmat_keeper *keeper, const struct vmat_event *event)
{
	struct vmat_series *series = &keeper->series;
	struct vmat_event *events;

	if (series->events_count == keeper->events_max) {
		size_t gone = (keeper->events_max - 1) / 2 + 1;

		series->events_count -= gone;
		memmove(&series->events[1], &series->events[1 + gone],
			(series->events_count - 1) * sizeof(*events));
		keeper->events_dropped += gone;
	}
	events = grown(series->events, series->events_count, &keeper->events_capacity,
		       keeper->events_max, sizeof(*events));
	if (!events)
		return -ENOMEM;
	series->events = events;
	series->events[series->events_count++] = *event;
	return 0;
}

int vmat_keeper_add(struct vmat_keeper *keeper, const struct vmat_tick *tick, bool has_sample)
{
	int r = 0;

	for (size_t i = 0; i < tick->events_count && !r; i++)
		r = add_event(keeper, &tick->events[i]);
	keeper->events_dropped += tick->events_dropped;
	if (!r && has_sample)
		r = add_sample(keeper, &tick->sample);
	return r;
}
