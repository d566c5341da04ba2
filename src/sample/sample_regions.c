/* SPDX-License-Identifier: MIT */
/*
 * sample_regions.c: the dear part of a tick: regions by kind, libraries, and the heap.
 *
 * There is no cheap way to ask whether a map is the same: the kernel writes all of maps or nothing, 0.4 us for each region. So the
 * sums that a tick has anyway say whether it has changed (sizes, resident sizes, page tables, threads), and the regions are read
 * when one of them has, no more often than was asked for and than the budget allows. What no sum shows (rights that changed) is
 * met by a reading after a long rest.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/heap.h>

#include "base/cleanup.h"
#include "sample/sampler_priv.h"

/* After so long the regions are read although no sum has changed. */
#define REST_NS (600 * 1000000000ULL)

enum { LIBRARIES_MAX = 4096 };

static void free_libraries(struct vmat_libraries *libraries)
{
	for (size_t i = 0; i < libraries->count; i++)
		free(libraries->paths[i]);
	free(libraries->paths);
	*libraries = (struct vmat_libraries){ 0 };
}

static void cleanup_libraries(struct vmat_libraries *libraries)
{
	free_libraries(libraries);
}

static void cleanup_atlas(struct vmat_atlas **atlas)
{
	vmat_atlas_free(*atlas);
}

static void cleanup_heap(struct vmat_heap **heap)
{
	vmat_heap_free(*heap);
}

void vmat_sample_regions_reset(struct vmat_sampler *sampler)
{
	free_libraries(&sampler->regions.libraries);
	sampler->regions = (struct vmat_regions_state){ 0 };
	sampler->refusal[0] = '\0';
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_libraries(struct vmat_libraries *ret, const struct vmat_atlas *atlas)
{
	const char *last = NULL;
	size_t kept = 0;

	ret->paths = calloc(LIBRARIES_MAX, sizeof(*ret->paths));
	if (!ret->paths)
		return -ENOMEM;
	for (size_t i = 0; i < atlas->map->count && ret->count < LIBRARIES_MAX; i++) {
		const struct vmat_region *region = &atlas->map->regions[i];

		/* Equal names are one string, and mostly neighbours. */
		if (atlas->owners[i].kind != VMAT_KIND_TEXT || region->name[0] != '/' ||
		    region->name == last)
			continue;
		last = region->name;
		ret->paths[ret->count] = strdup(region->name);
		if (!ret->paths[ret->count])
			return -ENOMEM;
		ret->count++;
	}
	if (ret->count)
		qsort(ret->paths, ret->count, sizeof(*ret->paths), compare_paths);
	for (size_t i = 0; i < ret->count; i++) {
		if (kept && !strcmp(ret->paths[kept - 1], ret->paths[i]))
			free(ret->paths[i]);
		else
			ret->paths[kept++] = ret->paths[i];
	}
	ret->count = kept;
	return 0;
}

/* Both lists are sorted: what only one of them has was loaded, or has gone. */
static void tell_libraries(struct vmat_tick *tick, const struct vmat_libraries *old,
			   const struct vmat_libraries *new)
{
	size_t i = 0, j = 0;

	while (i < old->count || j < new->count) {
		int order = i == old->count   ? 1
			    : j == new->count ? -1
					      : strcmp(old->paths[i], new->paths[j]);

		if (order > 0)
			vmat_tick_add(tick, VMAT_EVENT_LIBRARY_LOADED, 0, new->paths[j]);
		else if (order < 0)
			vmat_tick_add(tick, VMAT_EVENT_LIBRARY_GONE, 0, old->paths[i]);
		i += order <= 0;
		j += order >= 0;
	}
}

static int take_libraries(struct vmat_sampler *sampler, struct vmat_tick *tick,
			  const struct vmat_atlas *atlas)
{
	vmat_cleanup(cleanup_libraries) struct vmat_libraries libraries = { 0 };
	int err = list_libraries(&libraries, atlas);

	if (err)
		return err;
	if (sampler->regions.is_read)
		tell_libraries(tick, &sampler->regions.libraries, &libraries);
	free_libraries(&sampler->regions.libraries);
	sampler->regions.libraries = libraries;
	libraries = (struct vmat_libraries){ 0 };
	return 0;
}

static void take_kinds(struct vmat_sample *sample, const struct vmat_atlas *atlas)
{
	struct vmat_total totals[VMAT_KIND_COUNT];
	size_t count = vmat_atlas_totals(atlas, totals);

	for (size_t i = 0; i < VMAT_KIND_COUNT; i++)
		sample->kinds[i] = (struct vmat_kind_sample){ 0 };
	for (size_t i = 0; i < count; i++)
		sample->kinds[totals[i].kind] = (struct vmat_kind_sample){ .count = totals[i].count,
									   .size = totals[i].size,
									   .rss = totals[i].rss };
	if (atlas->is_partial)
		sample->marks |= VMAT_SAMPLE_KINDS_PARTIAL;
}

/* Sums of a heap that runs on: blocks may be met twice or not at all. */
static void take_heap(struct vmat_sample *sample, const struct vmat_heap *heap)
{
	const uint64_t *bytes = heap->totals.bytes;
	uint64_t system = bytes[VMAT_CHUNK_MMAPPED], largest = 0;

	if (!heap->is_walked) {
		for (size_t i = VMAT_METRIC_HEAP_SYSTEM; i <= VMAT_METRIC_HEAP_LARGEST_FREE; i++)
			sample->values[i] = VMAT_UNKNOWN(VMAT_NOT_FOUND);
		return;
	}
	for (size_t i = 0; i < heap->arenas_count; i++) {
		const struct vmat_heap_arena *arena = &heap->arenas[i];

		system += arena->bytes;
		if (arena->largest_free > largest)
			largest = arena->largest_free;
	}
	sample->values[VMAT_METRIC_HEAP_SYSTEM] = system;
	sample->values[VMAT_METRIC_HEAP_IN_USE] =
		bytes[VMAT_CHUNK_IN_USE] + bytes[VMAT_CHUNK_MMAPPED];
	sample->values[VMAT_METRIC_HEAP_FREE] = bytes[VMAT_CHUNK_FREE] + bytes[VMAT_CHUNK_FASTBIN] +
						bytes[VMAT_CHUNK_TCACHE] + bytes[VMAT_CHUNK_TOP];
	sample->values[VMAT_METRIC_HEAP_LARGEST_FREE] = largest;
	if (heap->is_approximate)
		sample->marks |= VMAT_SAMPLE_HEAP_APPROXIMATE;
}

static int read_heap(struct vmat_sampler *sampler, struct vmat_sample *sample,
		     const struct vmat_atlas *atlas)
{
	struct vmat_heap_options options = { .size = sizeof(options), .is_running_allowed = true };
	vmat_cleanup(cleanup_heap) struct vmat_heap *heap = NULL;
	int err = vmat_heap_read(&heap, sampler->target, atlas->map, &options, NULL);

	if (err == -ENOMEM)
		return err;
	sampler->regions.heap_ns = sample->mono_ns;
	if (heap)
		take_heap(sample, heap);
	return 0;
}

/* Refused for good, or only for now: the process changes or ends, and the next tick tells. */
static int cannot_read(struct vmat_sampler *sampler, struct vmat_sample *sample, int code,
		       const struct vmat_error *why)
{
	bool is_refused = code == -EACCES || code == -EPERM;

	if (code == -ENOMEM)
		return code;
	sample->values[VMAT_METRIC_REGIONS] =
		VMAT_UNKNOWN(is_refused ? VMAT_NOT_PERMITTED : VMAT_CHANGED);
	sampler->regions.is_refused = is_refused;
	snprintf(sampler->refusal, sizeof(sampler->refusal), "%s", is_refused ? why->text : "");
	return 0;
}

static int read_all(struct vmat_sampler *sampler, struct vmat_tick *tick, bool has_heap)
{
	struct vmat_atlas_options options = { .size = sizeof(options),
					      .want = VMAT_ATLAS_OWNERS,
					      .map_want = VMAT_WANT_PAGES };
	vmat_cleanup(cleanup_atlas) struct vmat_atlas *atlas = NULL;
	struct vmat_regions_state *regions = &sampler->regions;
	struct vmat_sample *sample = &tick->sample;
	struct vmat_error why = { 0 };
	int err = vmat_atlas_read(&atlas, sampler->target, &options, &why);

	if (err)
		return cannot_read(sampler, sample, err, &why);
	take_kinds(sample, atlas);
	sample->values[VMAT_METRIC_REGIONS] = atlas->map->count;
	if (regions->is_read && regions->count != atlas->map->count)
		vmat_tick_add(tick, VMAT_EVENT_MAP_CHANGED, atlas->map->count, "");
	err = take_libraries(sampler, tick, atlas);
	if (!err && sampler->options.want & VMAT_SAMPLER_OWNERS)
		err = vmat_sample_owners(tick, atlas);
	if (!err && has_heap)
		err = read_heap(sampler, sample, atlas);
	regions->is_read = true;
	regions->count = atlas->map->count;
	return err;
}

/* Of these, whatever maps, unmaps, touches or gives back memory changes one. */
static bool has_changed(const struct vmat_regions_state *regions, const struct vmat_sample *sample)
{
	for (size_t i = VMAT_METRIC_SIZE; i <= VMAT_METRIC_PAGE_TABLES; i++) {
		if (regions->values[i] != sample->values[i])
			return true;
	}
	return regions->values[VMAT_METRIC_THREADS] != sample->values[VMAT_METRIC_THREADS];
}

static bool is_heap_due(const struct vmat_sampler *sampler, const struct vmat_sample *sample)
{
	const struct vmat_regions_state *regions = &sampler->regions;

	if (!(sampler->options.want & VMAT_SAMPLER_HEAP))
		return false;
	return !regions->heap_ns ||
	       sample->mono_ns - regions->heap_ns >= sampler->options.heap_interval_ns;
}

static bool is_due(const struct vmat_sampler *sampler, const struct vmat_sample *sample,
		   bool is_heap)
{
	const struct vmat_regions_state *regions = &sampler->regions;
	uint64_t since = sample->mono_ns - regions->read_ns;

	if (!(sampler->options.want & VMAT_SAMPLER_KINDS) || regions->is_refused)
		return false;
	if (!regions->is_read)
		return true;
	if (since < sampler->options.kinds_interval_ns)
		return false;
	return is_heap || since >= REST_NS || has_changed(regions, sample);
}

/* The first reading is made in any case: what it costs is not known before, and is paid back by waiting. */
static bool has_budget(const struct vmat_sampler *sampler, const struct vmat_sample *sample,
		       uint64_t cost_ns)
{
	double allowed = sampler->options.budget * (double)(sample->mono_ns - sampler->begun_ns);

	return sampler->options.budget <= 0 || !sampler->regions.read_ns ||
	       (double)(sampler->spent_ns + cost_ns) <= allowed;
}

/* Says it when the budget makes the readings twice as rare as they were asked for, or as was said last. */
static void tell_postponed(struct vmat_sampler *sampler, struct vmat_tick *tick)
{
	const struct vmat_sampler_options *options = &sampler->options;
	struct vmat_regions_state *regions = &sampler->regions;
	uint64_t usual = options->kinds_interval_ns > options->interval_ns
				 ? options->kinds_interval_ns
				 : options->interval_ns;
	uint64_t every;

	if (options->budget <= 0)
		return;
	every = (uint64_t)((double)regions->cost_ns / options->budget);
	if (every < 2 * usual || every < 2 * regions->told_ns)
		return;
	regions->told_ns = every;
	vmat_tick_add(tick, VMAT_EVENT_POSTPONED, every, "");
}

int vmat_sample_regions(struct vmat_sampler *sampler, struct vmat_tick *tick)
{
	struct vmat_regions_state *regions = &sampler->regions;
	struct vmat_sample *sample = &tick->sample;
	bool has_heap = is_heap_due(sampler, sample);
	uint64_t cost_ns = has_heap ? regions->heap_cost_ns : regions->cost_ns;
	int err;

	if (regions->is_refused)
		sample->values[VMAT_METRIC_REGIONS] = VMAT_UNKNOWN(VMAT_NOT_PERMITTED);
	if (!is_due(sampler, sample, has_heap) || !has_budget(sampler, sample, cost_ns))
		return 0;
	cost_ns = vmat_sample_own_cpu_ns();
	err = read_all(sampler, tick, has_heap);
	cost_ns = vmat_sample_own_cpu_ns() - cost_ns;
	sampler->spent_ns += cost_ns;
	if (has_heap)
		regions->heap_cost_ns = cost_ns;
	else
		regions->cost_ns = cost_ns;
	regions->read_ns = sample->mono_ns;
	memcpy(regions->values, sample->values, sizeof(regions->values));
	tell_postponed(sampler, tick);
	return err;
}
