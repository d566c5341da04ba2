/* SPDX-License-Identifier: MIT */
/*
 * leaks.c: finding leaks as a whole: walk and collect while the target stands, then mark, then look at what the
 * leaks hold.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "reach/reach_priv.h"

enum {
	TYPED = 4096, /* leaks that are looked at, the largest */
	LOOKED_AT = 64,
	GRANULES_MAX_SHIFT = 31,
};

/* Where a core does not tell what is there, sizes may be those of reservations. */
#define RESERVED_MAX (UINT64_C(1) << 40)

static int words_init(struct vmat_words *words, size_t capacity)
{
	/* Address space that costs memory only where it is written. */
	void *memory = mmap(NULL, capacity * sizeof(*words->words), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return -ENOMEM;
	words->words = memory;
	words->capacity = capacity;
	return 0;
}

static void words_deinit(struct vmat_words *words)
{
	if (words->words)
		munmap(words->words, words->capacity * sizeof(*words->words));
	*words = (struct vmat_words){ 0 };
}

struct vmat_leaks *vmat_leaks_free(struct vmat_leaks *leaks)
{
	if (!leaks)
		return NULL;
	if (leaks->priv) {
		words_deinit(&leaks->priv->roots);
		words_deinit(&leaks->priv->edges);
		words_deinit(&leaks->priv->offsets);
		vmat_stacks_free(leaks->priv->stacks);
		vmat_arena_deinit(&leaks->priv->arena);
		free(leaks->priv->segments);
	}
	free(leaks->priv);
	vmat_heap_free(leaks->heap);
	free(leaks->leaks);
	free(leaks);
	return NULL;
}

static void cleanup_leaks(struct vmat_leaks **leaks)
{
	vmat_leaks_free(*leaks);
}

/* Room for a reference in each word of the memory that could hold one. */
static int reserve_words(struct vmat_leaks_priv *priv, const struct vmat_map *map)
{
	uint64_t bytes = 64 << 20;
	size_t words;
	int err;

	for (size_t i = 0; i < map->count; i++) {
		if (map->regions[i].prot & VMAT_PROT_READ)
			bytes += vmat_is_known(map->regions[i].rss)
					 ? map->regions[i].rss
					 : vmat_region_size(&map->regions[i]);
	}
	if (bytes > RESERVED_MAX)
		bytes = RESERVED_MAX;
	words = (size_t)(bytes / priv->word_size * 5 / 4);
	err = words_init(&priv->roots, words);
	if (!err)
		err = words_init(&priv->edges, words);
	if (!err)
		err = words_init(&priv->offsets,
				 words / 4 + 2); /* the smallest chunk has 4 words */
	return err;
}

/* Numbers the granules of all segments. */
static int number_segments(struct vmat_leaks *leaks)
{
	const struct vmat_heap_priv *heap = leaks->heap->priv;
	struct vmat_leaks_priv *priv = leaks->priv;
	uint64_t granule = 0;

	priv->segments = calloc(heap->segments_count + 1, sizeof(*priv->segments));
	if (!priv->segments)
		return -ENOMEM;
	priv->segments_count = heap->segments_count;
	priv->header = heap->ops->header;
	for (size_t i = 0; i < heap->segments_count; i++) {
		const struct vmat_heap_segment *segment = &heap->segments[i];

		if (granule >> GRANULES_MAX_SHIFT)
			return -E2BIG;
		priv->segments[i].segment = segment;
		priv->segments[i].first_granule = (uint32_t)granule;
		/* Of a mapped block it is only said that something refers to it, and whether to its beginning. */
		granule += segment->begins ? ((segment->end - segment->start) >> segment->shift) + 1
					   : 1;
	}
	if (granule >> GRANULES_MAX_SHIFT)
		return -E2BIG;
	if (priv->segments_count) {
		priv->low = heap->segments[0].start;
		priv->high = heap->segments[heap->segments_count - 1].end;
	}
	return 0;
}

static int while_standing(struct vmat_heap *heap, const struct vmat_stop *stop, void *context)
{
	struct vmat_leaks *leaks = context;
	int err;

	leaks->heap = heap;
	err = vmat_stacks_read(&leaks->priv->stacks, heap->priv->memory.target, heap->priv->map,
			       NULL);
	if (err == -ENOMEM)
		return err;
	err = number_segments(leaks);
	if (!err && leaks->priv->segments_count)
		err = vmat_reach_collect(leaks, stop);
	leaks->heap = NULL; /* the reader's until it has succeeded */
	return err;
}

static bool is_text(const unsigned char *bytes, size_t size)
{
	size_t length = 0;

	while (length < size && bytes[length] >= ' ' && bytes[length] < 0x7f)
		length++;
	return length >= 4 && (length == size || bytes[length] == '\0' || bytes[length] == '\n');
}

/* What the first words look like. The first of a C++ object points to the table of its class. */
static const char *type_of(struct vmat_leaks *leaks, const unsigned char *bytes, size_t size)
{
	const struct vmat_region *region;
	const unsigned word_size = leaks->priv->word_size;
	uint64_t words[LOOKED_AT / 4] = { 0 };
	size_t count = size / word_size, pointers = 0, zeroes = 0;

	for (size_t i = 0; i < count; i++)
		memcpy(&words[i], bytes + i * word_size, word_size); /* little endian */
	region = count ? vmat_map_at(leaks->heap->priv->map, words[0]) : NULL;
	if (region && region->backing == VMAT_BACKING_FILE && region->offset &&
	    !(region->prot & (VMAT_PROT_WRITE | VMAT_PROT_EXEC))) {
		const char *slash = strrchr(region->name, '/');

		return vmat_arena_printf(&leaks->priv->arena, "object of %s",
					 slash ? slash + 1 : region->name);
	}
	if (is_text(bytes, size))
		return "text";
	for (size_t i = 0; i < count; i++) {
		zeroes += words[i] == 0;
		pointers += words[i] >= leaks->priv->low && words[i] < leaks->priv->high;
	}
	if (zeroes == count)
		return "zeroes";
	return pointers * 2 >= count - zeroes ? "pointers" : "data";
}

static int look_at_leaks(struct vmat_leaks *leaks)
{
	struct vmat_target *target = leaks->heap->priv->memory.target;

	for (size_t i = 0; i < leaks->count; i++) {
		struct vmat_leak *leak = &leaks->leaks[i];
		unsigned char bytes[LOOKED_AT];
		size_t size = leak->size < sizeof(bytes) ? (size_t)leak->size : sizeof(bytes);
		ssize_t got = i < TYPED ? vmat_source_read(target, leak->addr, bytes, size) : 0;

		leak->type = "";
		if (got <= 0)
			continue;
		leak->type = type_of(leaks, bytes, (size_t)got);
		if (!leak->type)
			return -ENOMEM;
		for (size_t k = 0; k < (size_t)got && k < sizeof(leak->preview) - 1; k++)
			leak->preview[k] =
				bytes[k] >= ' ' && bytes[k] < 0x7f ? (char)bytes[k] : '.';
	}
	return 0;
}

int vmat_leaks_read(struct vmat_leaks **ret, struct vmat_target *target, const struct vmat_map *map,
		    const struct vmat_heap_options *options, struct vmat_error *err)
{
	vmat_cleanup(cleanup_leaks) struct vmat_leaks *leaks = calloc(1, sizeof(*leaks));
	struct vmat_heap_options stopping = *options;
	int code;

	if (leaks)
		leaks->priv = calloc(1, sizeof(*leaks->priv));
	if (leaks && leaks->priv)
		leaks->priv->word_size = vmat_target_process(target)->word_size == 4 ? 4 : 8;
	if (!leaks || !leaks->priv || reserve_words(leaks->priv, map))
		return vmat_error_set(err, -ENOMEM, "out of memory");
	stopping.is_running_allowed = false;
	code = vmat_heap_read_standing(&leaks->heap, target, map, &stopping, while_standing, leaks,
				       err);
	if (code)
		return code;
	if (!leaks->heap->is_walked)
		return vmat_error_set(err, -EOPNOTSUPP, "the heap is not walked: %s",
				      leaks->heap->why_not);
	code = leaks->priv->segments_count ? vmat_reach_mark(leaks) : 0;
	if (!code)
		code = look_at_leaks(leaks);
	if (code)
		return vmat_error_set(err, code, "out of memory");
	if (leaks->heap->findings_total) {
		leaks->is_partial = true;
		snprintf(
			leaks->partial_why, sizeof(leaks->partial_why),
			"the heap has %zu findings (`vmatlas heap`): blocks behind them were not judged",
			leaks->heap->findings_total);
	}
	if (!leaks->priv->stacks) {
		leaks->is_partial = true;
		snprintf(leaks->partial_why, sizeof(leaks->partial_why),
			 "the stacks could not be told: unused parts of them count as roots");
	}
	*ret = vmat_take_ptr(&leaks);
	return 0;
}
