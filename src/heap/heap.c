/* SPDX-License-Identifier: MIT */
/*
 * heap.c: reading a heap as a whole, and looking chunks up in it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "heap/heap_priv.h"

enum { SEGMENTS_MAX = 1 << 20, TCACHES_MAX = 1 << 20, ARENAS_MAX = 65536 };

const char *vmat_chunk_state_name(enum vmat_chunk_state state)
{
	static const char *const names[VMAT_CHUNK_STATES] = {
		[VMAT_CHUNK_IN_USE] = "in_use",   [VMAT_CHUNK_FREE] = "free",
		[VMAT_CHUNK_FASTBIN] = "fastbin", [VMAT_CHUNK_TCACHE] = "tcache",
		[VMAT_CHUNK_TOP] = "top",         [VMAT_CHUNK_MMAPPED] = "mmapped",
	};

	return (unsigned)state < VMAT_CHUNK_STATES ? names[state] : "";
}

/* Room for all that the walk may find, judged by the memory that could be heap, and a quarter more. */
static int reserve_all(struct vmat_heap *heap, const struct vmat_map *map)
{
	struct vmat_heap_priv *priv = heap->priv;
	uint64_t bytes = 64 << 20;

	for (size_t i = 0; i < map->count; i++) {
		if (map->regions[i].backing == VMAT_BACKING_ANON &&
		    map->regions[i].prot & VMAT_PROT_WRITE)
			bytes += vmat_region_size(&map->regions[i]);
	}
	priv->segments_max = SEGMENTS_MAX;
	priv->tcaches_max = TCACHES_MAX;
	priv->arenas_max = ARENAS_MAX;
	priv->bits_max = (size_t)(bytes / VMAT_CHUNK_ALIGN / 64 * 3 * 5 / 4) + 4096;
	priv->segments = vmat_heap_reserve(priv->segments_max * sizeof(*priv->segments));
	priv->tcaches = vmat_heap_reserve(priv->tcaches_max * sizeof(*priv->tcaches));
	priv->bits = vmat_heap_reserve(priv->bits_max * sizeof(*priv->bits));
	heap->arenas = vmat_heap_reserve(priv->arenas_max * sizeof(*heap->arenas));
	priv->walked_free = vmat_heap_reserve(priv->arenas_max * sizeof(*priv->walked_free));
	if (!priv->segments || !priv->tcaches || !priv->bits || !heap->arenas || !priv->walked_free)
		return -ENOMEM;
	return 0;
}

struct vmat_heap *vmat_heap_free(struct vmat_heap *heap)
{
	struct vmat_heap_priv *priv = heap ? heap->priv : NULL;

	if (priv) {
		vmat_heap_unreserve(priv->segments, priv->segments_max * sizeof(*priv->segments));
		vmat_heap_unreserve(priv->tcaches, priv->tcaches_max * sizeof(*priv->tcaches));
		vmat_heap_unreserve(priv->bits, priv->bits_max * sizeof(*priv->bits));
		vmat_heap_unreserve(heap->arenas, priv->arenas_max * sizeof(*heap->arenas));
		vmat_heap_unreserve(priv->walked_free,
				    priv->arenas_max * sizeof(*priv->walked_free));
		vmat_heap_memory_deinit(&priv->memory);
		vmat_map_free(priv->map);
		free(priv->own);
	}
	free(priv);
	free(heap);
	return NULL;
}

static void cleanup_heap(struct vmat_heap **heap)
{
	vmat_heap_free(*heap);
}

static struct vmat_heap *new_heap(struct vmat_target *target, const struct vmat_map *map)
{
	vmat_cleanup(cleanup_heap) struct vmat_heap *heap = calloc(1, sizeof(*heap));

	if (heap)
		heap->priv = calloc(1, sizeof(*heap->priv));
	if (!heap || !heap->priv || vmat_heap_memory_init(&heap->priv->memory, target) ||
	    reserve_all(heap, map))
		return NULL;
	heap->priv->heap_max = vmat_malloc_heap_max(heap->priv->memory.word_size);
	heap->mmapped_expected = heap->mmapped_bytes_expected = VMAT_UNKNOWN(VMAT_NOT_FOUND);
	heap->trim_threshold = heap->mmap_threshold = VMAT_UNKNOWN(VMAT_NOT_FOUND);
	heap->arena_max = heap->tcache_count = heap->mmap_max = VMAT_UNKNOWN(VMAT_NOT_FOUND);
	heap->allocator = heap->allocator_why = "";
	heap->stop_estimate_ns = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	return vmat_take_ptr(&heap);
}

struct vmat_heap *vmat_heap_walk_memory(const struct vmat_heap_ops *ops, struct vmat_target *target,
					struct vmat_map *map)
{
	struct vmat_heap *heap = new_heap(target, map);

	if (!heap)
		return NULL;
	heap->priv->map = map;
	heap->allocator = ops->name;
	if (!vmat_heap_walk_map(heap) && heap->is_walked)
		vmat_heap_sum(heap);
	heap->priv->map = NULL;
	return heap;
}

int vmat_heap_settings_read(struct vmat_heap_settings *ret, struct vmat_target *target,
			    const struct vmat_map *map, struct vmat_error *err)
{
	const struct vmat_heap_options options = { .size = sizeof(options) };
	vmat_cleanup(cleanup_heap) struct vmat_heap *heap = new_heap(target, map);
	int code;

	if (!heap)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	code = vmat_heap_choose_allocator(heap, map, &options, err);
	if (code)
		return code;
	if (vmat_heap_is_walkable(heap))
		code = vmat_heap_find_in(heap, map);
	if (code && code != -ENOENT)
		return vmat_error_set(err, code, "the settings of malloc cannot be read");
	*ret = (struct vmat_heap_settings){ .mmap_threshold = heap->mmap_threshold,
					    .mmap_max = heap->mmap_max,
					    .trim_threshold = heap->trim_threshold,
					    .has_fixed_thresholds = heap->has_fixed_thresholds };
	snprintf(ret->allocator, sizeof(ret->allocator), "%s",
		 heap->allocator[0] || code || !heap->priv->ops ? heap->allocator
								: heap->priv->ops->name);
	return 0;
}

int vmat_heap_read_standing(struct vmat_heap **ret, struct vmat_target *target,
			    const struct vmat_map *map, const struct vmat_heap_options *options,
			    const struct vmat_heap_visitor *visitor, struct vmat_error *err)
{
	vmat_cleanup(cleanup_heap) struct vmat_heap *heap = new_heap(target, map);
	int code;

	if (!heap)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	code = vmat_heap_choose_allocator(heap, map, options, err);
	if (code)
		return code;
	if (vmat_heap_is_walkable(heap)) {
		code = vmat_heap_walk_standing(heap, map, options, visitor, err);
		if (code)
			return code;
	}
	if (vmat_target_process(target)->core)
		heap->stopped_ns = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	if (heap->is_walked) {
		if (!heap->allocator[0]) {
			heap->allocator = heap->priv->ops->name;
			heap->allocator_why = "its structures were found in the program's own data";
		}
		heap->states = heap->priv->ops->states;
		vmat_heap_sum(heap);
	}
	*ret = vmat_take_ptr(&heap);
	return 0;
}

int vmat_heap_read(struct vmat_heap **ret, struct vmat_target *target, const struct vmat_map *map,
		   const struct vmat_heap_options *options, struct vmat_error *err)
{
	return vmat_heap_read_standing(ret, target, map, options, NULL, err);
}

void vmat_heap_each(const struct vmat_heap *heap,
		    bool (*fn)(const struct vmat_chunk *chunk, void *context), void *context)
{
	for (size_t i = 0; i < heap->priv->segments_count; i++) {
		const struct vmat_heap_segment *segment = &heap->priv->segments[i];
		uint64_t next;

		for (uint64_t addr = segment->start; addr < segment->end; addr = next) {
			struct vmat_chunk chunk;

			vmat_heap_chunk(heap, segment, addr, &chunk);
			next = addr + chunk.size;
			if (!fn(&chunk, context))
				return;
		}
	}
}

bool vmat_heap_find(const struct vmat_heap *heap, uint64_t addr, struct vmat_chunk *ret)
{
	const struct vmat_heap_segment *segment = vmat_heap_segment_at(heap, addr);
	uint64_t begin;

	if (!segment)
		return false;
	begin = segment->start;
	if (segment->begins)
		begin += (addr - begin) >> segment->shift << segment->shift;
	while (begin > segment->start && !vmat_heap_is_chunk(segment, begin))
		begin -= 1ULL << segment->shift;
	vmat_heap_chunk(heap, segment, begin, ret);
	return true;
}
