/* SPDX-License-Identifier: MIT */
/*
 * sample.c: the names of metrics and events, and what all files of this folder do with ticks and texts.
 */
#include <errno.h>
#include <stdio.h>

#include "sample/sampler_priv.h"
#include "sys/sys_file.h"

enum { TEXT_FIRST = 4096, TEXT_LIMIT = 1 << 20 };

static const char *const metric_names[VMAT_METRIC_COUNT] = {
	[VMAT_METRIC_SIZE] = "size",
	[VMAT_METRIC_DATA] = "data",
	[VMAT_METRIC_RSS] = "rss",
	[VMAT_METRIC_RSS_ANON] = "rss_anon",
	[VMAT_METRIC_RSS_FILE] = "rss_file",
	[VMAT_METRIC_RSS_SHMEM] = "rss_shmem",
	[VMAT_METRIC_SWAP] = "swap",
	[VMAT_METRIC_PAGE_TABLES] = "page_tables",
	[VMAT_METRIC_REGIONS] = "regions",
	[VMAT_METRIC_THREADS] = "threads",
	[VMAT_METRIC_FAULTS_MINOR] = "faults_minor",
	[VMAT_METRIC_FAULTS_MAJOR] = "faults_major",
	[VMAT_METRIC_CPU_NS] = "cpu_ns",
	[VMAT_METRIC_HEAP_SYSTEM] = "heap_system",
	[VMAT_METRIC_HEAP_IN_USE] = "heap_in_use",
	[VMAT_METRIC_HEAP_FREE] = "heap_free",
	[VMAT_METRIC_HEAP_LARGEST_FREE] = "heap_largest_free",
};

static const char *const event_names[VMAT_EVENT_TYPE_COUNT] = {
	[VMAT_EVENT_BEGUN] = "begun",
	[VMAT_EVENT_EXITED] = "exited",
	[VMAT_EVENT_EXEC] = "exec",
	[VMAT_EVENT_THREADS] = "threads",
	[VMAT_EVENT_LIBRARY_LOADED] = "library_loaded",
	[VMAT_EVENT_LIBRARY_GONE] = "library_gone",
	[VMAT_EVENT_MAP_CHANGED] = "map_changed",
	[VMAT_EVENT_CLOCK_SET] = "clock_set",
	[VMAT_EVENT_SLEPT] = "slept",
	[VMAT_EVENT_TICKS_MISSED] = "ticks_missed",
	[VMAT_EVENT_POSTPONED] = "postponed",
	[VMAT_EVENT_LOST] = "lost",
};

const char *vmat_metric_name(enum vmat_metric metric)
{
	return (unsigned)metric < VMAT_METRIC_COUNT ? metric_names[metric] : "";
}

const char *vmat_event_name(enum vmat_event_type type)
{
	return (unsigned)type < VMAT_EVENT_TYPE_COUNT ? event_names[type] : "";
}

void vmat_sample_init(struct vmat_sample *ret)
{
	const uint64_t unknown = VMAT_UNKNOWN(VMAT_NOT_ASKED);

	*ret = (struct vmat_sample){ 0 };
	for (size_t i = 0; i < VMAT_METRIC_COUNT; i++)
		ret->values[i] = unknown;
	for (size_t i = 0; i < VMAT_KIND_COUNT; i++)
		ret->kinds[i] = (struct vmat_kind_sample){ unknown, unknown, unknown };
}

void vmat_tick_add(struct vmat_tick *tick, enum vmat_event_type type, uint64_t number,
		   const char *text)
{
	struct vmat_event *event;

	if (tick->events_count == VMAT_TICK_EVENTS_MAX) {
		tick->events_dropped++;
		return;
	}
	event = &tick->events[tick->events_count++];
	event->mono_ns = tick->sample.mono_ns;
	event->wall_ns = tick->sample.wall_ns;
	event->type = type;
	event->number = number;
	snprintf(event->text, sizeof(event->text), "%s", text);
}

int vmat_sample_read_text(int fd, struct vmat_buffer *text)
{
	if (fd < 0)
		return fd;
	text->size = 0;
	for (size_t want = TEXT_FIRST; want <= TEXT_LIMIT; want *= 4) {
		int err = vmat_buffer_reserve(text, want);
		ssize_t got;

		if (err)
			return err;
		got = vmat_sys_pread(fd, text->data, want, 0);
		if (got < 0)
			return (int)got;
		if ((size_t)got < want) {
			text->size = (size_t)got;
			text->data[got] = '\0';
			return 0;
		}
	}
	return -EFBIG;
}
