/* SPDX-License-Identifier: MIT */
/*
 * recording_series.c: the samples, events and judgement of one process.
 *
 * Samples are read tick by tick. Beside them run two further queries in the same order, the kinds of regions that changed and
 * the reasons why facts are unknown: what they said last holds until they say something else.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/recording_priv.h"

enum { EVENTS_MAX = 100000 };

/* A query that is read up to a tick. */
struct beside {
	sqlite3_stmt *statement;
	bool has_row;
	int64_t tick; /* of the row that it stands at */
};

struct reader {
	struct vmat_recording *recording;
	const struct recording_span *span;
	struct beside kinds, reasons;
	uint64_t slots[STORE_SLOTS]; /* why each is unknown, as a fact */
	struct vmat_kind_sample last[VMAT_KIND_COUNT];
	struct vmat_error *err;
};

static int64_t number_or_all(struct store_row *row, int column)
{
	return (int64_t)store_number(row, column);
}

static int step_beside(struct reader *reader, struct beside *beside)
{
	struct store_row row = { .statement = beside->statement };
	int r = recording_step(reader->recording, beside->statement, reader->err);

	beside->has_row = r > 0;
	if (r <= 0)
		return r;
	beside->tick = number_or_all(&row, 0);
	return row.is_bad ? recording_lies(reader->recording, "a tick has no number", reader->err)
			  : 0;
}

static int begin_beside(struct reader *reader, struct beside *beside, const char *sql)
{
	beside->statement = recording_query(reader->recording, sql, reader->err);
	if (!beside->statement)
		return reader->err->code;
	sqlite3_bind_int64(beside->statement, 1, (int64_t)reader->span->number);
	return step_beside(reader, beside);
}

/* What a newer vmatlas may name and this one does not know is passed over. */
size_t recording_find_kind(const char *name)
{
	size_t i = 0;

	while (i < VMAT_KIND_COUNT && strcmp(vmat_kind_name((enum vmat_kind)i), name) != 0)
		i++;
	return i;
}

static int take_kind(struct reader *reader)
{
	struct store_row row = { .statement = reader->kinds.statement };
	size_t kind = recording_find_kind(store_text(&row, 1));
	struct vmat_kind_sample sample = {
		.count = store_number_or_null(&row, 2),
		.size = store_number_or_null(&row, 3),
		.rss = store_number_or_null(&row, 4),
	};

	if (row.is_bad)
		return recording_lies(reader->recording, "a kind of region has no size",
				      reader->err);
	if (kind < VMAT_KIND_COUNT)
		reader->last[kind] = sample;
	return step_beside(reader, &reader->kinds);
}

static int take_reason(struct reader *reader)
{
	struct store_row row = { .statement = reader->reasons.statement };
	const char *what = store_text(&row, 1), *why = store_text(&row, 2);
	char name[STORE_SLOT_NAME_SIZE];

	if (row.is_bad)
		return recording_lies(reader->recording, "a reason is no text", reader->err);
	for (size_t slot = 0; slot < STORE_SLOTS; slot++) {
		store_slot_name(slot, name);
		if (strcmp(name, what) != 0)
			continue;
		for (unsigned reason = 1; reason < VMAT_REASON_END; reason++) {
			const char *known = store_reason_name((enum vmat_reason)reason);

			if (known && !strcmp(known, why))
				reader->slots[slot] = VMAT_UNKNOWN(reason);
		}
		break;
	}
	return step_beside(reader, &reader->reasons);
}

static int catch_up(struct reader *reader, int64_t tick)
{
	int r = 0;

	while (!r && reader->kinds.has_row && reader->kinds.tick <= tick)
		r = take_kind(reader);
	while (!r && reader->reasons.has_row && reader->reasons.tick <= tick)
		r = take_reason(reader);
	return r;
}

static uint64_t known_or_why(uint64_t fact, uint64_t why)
{
	return vmat_is_known(fact) ? fact : why;
}

static void fill_kinds(const struct reader *reader, struct vmat_sample *sample, bool has_kinds)
{
	for (size_t i = 0; i < VMAT_KIND_COUNT; i++) {
		struct vmat_kind_sample *kind = &sample->kinds[i];
		const uint64_t *why = &reader->slots[store_kind_slot(i)];

		kind->count = kind->size = kind->rss = VMAT_UNKNOWN(VMAT_NOT_ASKED);
		if (!has_kinds)
			continue;
		kind->count = known_or_why(reader->last[i].count, why[0]);
		kind->size = known_or_why(reader->last[i].size, why[1]);
		kind->rss = known_or_why(reader->last[i].rss, why[2]);
	}
}

enum { COL_TICK, COL_MONO, COL_BOOT, COL_WALL, COL_AFTER, COL_HAS_KINDS, COL_METRICS };

static int take_sample(struct reader *reader, sqlite3_stmt *statement, struct vmat_sample *sample)
{
	struct store_row row = { .statement = statement };
	int64_t tick = number_or_all(&row, COL_TICK);
	uint64_t after = store_number(&row, COL_AFTER);
	uint64_t has_kinds = store_number(&row, COL_HAS_KINDS);
	int r;

	sample->mono_ns = store_number(&row, COL_MONO) + after;
	sample->boot_ns = store_number(&row, COL_BOOT) + after;
	sample->wall_ns = store_number(&row, COL_WALL) + after;
	for (int i = 0; i < VMAT_METRIC_COUNT; i++)
		sample->values[i] = store_number_or_null(&row, COL_METRICS + i);
	if (row.is_bad || sample->mono_ns > INT64_MAX || sample->boot_ns > INT64_MAX ||
	    sample->wall_ns > INT64_MAX)
		return recording_lies(reader->recording, "a sample holds what is no number",
				      reader->err);
	r = catch_up(reader, tick);
	for (int i = 0; i < VMAT_METRIC_COUNT; i++)
		sample->values[i] = known_or_why(sample->values[i], reader->slots[i]);
	fill_kinds(reader, sample, has_kinds != 0);
	if (has_kinds == STORE_HAS_OWNERS && reader->recording->version >= STORE_VERSION_OWNERS)
		sample->marks |= VMAT_SAMPLE_OWNERS;
	return r;
}

static int read_samples(struct reader *reader, struct vmat_series *series, uint64_t stride,
			uint64_t capacity)
{
	char sql[512];
	recording_autofinalize sqlite3_stmt *statement = NULL;
	uint64_t seen = 0;
	int r;

	snprintf(sql, sizeof(sql),
		 "SELECT tick, mono_ns, boot_ns, wall_ns, after_ns, has_kinds, %s FROM tick "
		 "CROSS JOIN sample ON sample.tick = tick.id AND sample.process = ?1 "
		 "WHERE tick.id BETWEEN ?2 AND ?3 ORDER BY tick.id",
		 store_metric_columns);
	statement = recording_query(reader->recording, sql, reader->err);
	if (!statement)
		return reader->err->code;
	sqlite3_bind_int64(statement, 1, (int64_t)reader->span->number);
	sqlite3_bind_int64(statement, 2, reader->span->first_tick);
	sqlite3_bind_int64(statement, 3, reader->span->last_tick);
	while ((r = recording_step(reader->recording, statement, reader->err)) > 0) {
		struct vmat_sample *sample = &series->samples[series->samples_count];

		if (seen++ % stride)
			continue;
		if (series->samples_count == capacity)
			return recording_lies(reader->recording, "it counts its samples wrongly",
					      reader->err);
		r = take_sample(reader, statement, sample);
		if (r < 0)
			return r;
		if (series->samples_count && sample->mono_ns <= sample[-1].mono_ns)
			return recording_lies(reader->recording, "its time does not ascend",
					      reader->err);
		series->samples_count++;
	}
	return r;
}

static int find_event_type(const char *name, enum vmat_event_type *ret)
{
	for (unsigned i = 0; i < VMAT_EVENT_TYPE_COUNT; i++) {
		if (strcmp(vmat_event_name((enum vmat_event_type)i), name) != 0)
			continue;
		*ret = (enum vmat_event_type)i;
		return 0;
	}
	return -ENOENT;
}

/* The newest come first. */
static int read_events(struct reader *reader, struct vmat_series *series)
{
	recording_autofinalize sqlite3_stmt *statement = recording_query(
		reader->recording,
		"SELECT mono_ns, wall_ns, type, number, text FROM event WHERE process = ?1 "
		"ORDER BY id DESC",
		reader->err);
	size_t capacity = 0;
	int r;

	if (!statement)
		return reader->err->code;
	sqlite3_bind_int64(statement, 1, (int64_t)reader->span->number);
	while ((r = recording_step(reader->recording, statement, reader->err)) > 0) {
		struct store_row row = { .statement = statement };
		struct vmat_event *event;

		if (series->events_count == EVENTS_MAX)
			break;
		if (series->events_count == capacity) {
			capacity = capacity ? 2 * capacity : 16;
			event = realloc(series->events, capacity * sizeof(*event));
			if (!event)
				return vmat_error_set(reader->err, -ENOMEM, "out of memory");
			series->events = event;
		}
		event = &series->events[series->events_count];
		event->mono_ns = store_number(&row, 0);
		event->wall_ns = store_number(&row, 1);
		event->number = sqlite3_column_type(statement, 3) == SQLITE_NULL
					? VMAT_UNKNOWN(VMAT_NOT_RECORDED)
					: (uint64_t)store_integer(&row, 3);
		store_text_copy(&row, 4, event->text, sizeof(event->text));
		if (find_event_type(store_text(&row, 2), &event->type) == 0)
			series->events_count++;
		if (row.is_bad)
			return recording_lies(reader->recording, "an event is not described as one",
					      reader->err);
	}
	for (size_t i = 0, j = series->events_count; r >= 0 && i + 1 < j; i++) {
		struct vmat_event swapped = series->events[i];

		series->events[i] = series->events[--j];
		series->events[j] = swapped;
	}
	return r < 0 ? r : 0;
}

static int read_all(struct reader *reader, struct vmat_series *series, uint64_t stride,
		    uint64_t capacity)
{
	int r = begin_beside(reader, &reader->kinds,
			     "SELECT tick, kind, count, size, rss FROM region_kind "
			     "WHERE process = ?1 ORDER BY tick");

	if (!r)
		r = begin_beside(reader, &reader->reasons,
				 "SELECT tick, what, reason FROM unknown WHERE process = ?1 "
				 "ORDER BY tick");
	if (!r)
		r = read_samples(reader, series, stride, capacity);
	if (!r)
		r = read_events(reader, series);
	sqlite3_finalize(reader->kinds.statement);
	sqlite3_finalize(reader->reasons.statement);
	return r;
}

int vmat_recording_series(struct vmat_recording *recording, size_t index, struct vmat_series *ret,
			  uint64_t *ret_stride, struct vmat_error *err)
{
	struct vmat_error own = { .code = 0 };
	struct reader reader = { .recording = recording, .err = err ? err : &own };
	struct vmat_series series;
	uint64_t count, stride, capacity;
	int r;

	if (index >= recording->processes_count)
		return vmat_error_set(reader.err, -EINVAL, "the recording has no process %zu",
				      index);
	recording_begin(recording);
	reader.span = &recording->spans[index];
	for (size_t i = 0; i < STORE_SLOTS; i++)
		reader.slots[i] = VMAT_UNKNOWN(VMAT_NOT_RECORDED);
	series = recording->processes[index].who;
	count = recording->processes[index].samples_count;
	stride = count > recording->samples_max ? 1 + (count - 1) / recording->samples_max : 1;
	capacity = 1 + count / stride;
	series.samples = calloc(capacity, sizeof(*series.samples));
	if (!series.samples)
		return vmat_error_set(reader.err, -ENOMEM, "out of memory");
	r = read_all(&reader, &series, stride, capacity);
	if (r < 0) {
		vmat_recording_series_free(&series);
		return r;
	}
	*ret = series;
	if (ret_stride)
		*ret_stride = stride;
	return 0;
}

void vmat_recording_series_free(struct vmat_series *series)
{
	free(series->samples);
	free(series->events);
	series->samples = NULL;
	series->events = NULL;
	series->samples_count = series->events_count = 0;
}
