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

#define DEFAULT_STOP_NS 2000000000ULL

enum { TRIES = 4, SEGMENTS_MAX = 1 << 20, TCACHES_MAX = 1 << 20, ARENAS_MAX = 65536 };

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
	if (!priv->segments || !priv->tcaches || !priv->bits || !heap->arenas)
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

static void refuse(struct vmat_heap *heap, const char *why)
{
	const char *help = heap->priv->allocator.help ? heap->priv->allocator.help : "";

	snprintf(heap->why_not, sizeof(heap->why_not), "%s%s%s", why, help[0] ? ": " : "", help);
}

static const struct vmat_heap_ops *const walked[] = {
	&vmat_ptmalloc_ops,
	&vmat_ptmalloc32_ops,
	&vmat_musl_ops,
	&vmat_mimalloc_ops,
};

enum { WALKED = sizeof(walked) / sizeof(walked[0]) };

/* Is this the malloc of the target, or, where nobody has a name for that, may it be? */
static bool may_be(const struct vmat_heap *heap, const struct vmat_heap_ops *ops)
{
	return (!heap->allocator[0] || strcmp(heap->allocator, ops->name) == 0) &&
	       heap->priv->memory.word_size == (ops->word_size ? ops->word_size : 8);
}

/* Only for what is walked is the target stopped. */
static bool is_walkable(struct vmat_heap *heap)
{
	bool is_known = false;

	for (size_t i = 0; i < WALKED; i++) {
		is_known |= strcmp(heap->allocator, walked[i]->name) == 0;
		if (may_be(heap, walked[i]))
			return true;
	}
	refuse(heap, is_known ? "its heap is walked in programs of 64 bit only"
			      : "this allocator is known by name only");
	return false;
}

/* The first whose structures are there. */
static int find_any(struct vmat_heap *heap)
{
	int err = -ENOENT;

	for (size_t i = 0; i < WALKED && err == -ENOENT; i++) {
		if (!may_be(heap, walked[i]))
			continue;
		heap->priv->ops = walked[i];
		err = walked[i]->find(heap);
	}
	return err;
}

/* The walk over the map that is there. */
static int walk_map(struct vmat_heap *heap)
{
	int err;

	vmat_heap_memory_drop(&heap->priv->memory);
	err = find_any(heap);
	if (err == -ENOENT) {
		refuse(heap, heap->allocator[0]
				     ? heap->priv->ops->not_found
				     : "no malloc that is walked was found in the "
				       "program's data: none was ever used, or its layout "
				       "is not known");
		return 0;
	}
	if (!err)
		err = heap->priv->ops->walk(heap);
	heap->is_walked = !err;
	return err;
}

/*
 * Everything that is done while the target stands. The map is read again: what was read before may
 * have grown. Our own memory may be allocated meanwhile, since nothing of ours waits for the target.
 */
static int walk(struct vmat_heap *heap)
{
	static const struct vmat_map_options options = { .size = sizeof(options) };
	struct vmat_heap_priv *priv = heap->priv;
	int err;

	vmat_map_free(priv->map);
	priv->map = NULL;
	err = vmat_map_read(&priv->map, priv->memory.target, &options, NULL);
	return err ? err : walk_map(heap);
}

static int explain(struct vmat_target *target, int code, struct vmat_error *err)
{
	switch (code) {
	case -EACCES:
	case -EPERM:
		return vmat_target_explain(target, "read mem", code, err);
	case -ESRCH:
		return vmat_error_set(err, code, "process %d has ended",
				      (int)vmat_target_process(target)->pid);
	case -ENOMEM:
		return vmat_error_set(err, code, "out of memory");
	case -EOPNOTSUPP:
		return vmat_error_set(
			err, code,
			"the heap cannot be walked: memory is read only where pages are known to "
			"be there, and pagemap cannot be read");
	default:
		return vmat_error_set(err, code, "the heap cannot be walked: %s",
				      strerrordesc_np(-code));
	}
}

/* One stop, one walk, and what is to be done with it while the target stands. */
static int walk_once(struct vmat_heap *heap, const struct vmat_stop_options *stop_options,
		     bool is_running_allowed, bool is_last, vmat_heap_standing_fn *while_standing,
		     void *context, struct vmat_error *err)
{
	struct vmat_target *target = heap->priv->memory.target;
	struct vmat_stop *stop = NULL;
	uint64_t stopped_ns = 0;
	int code = 0, ended;

	if (!is_running_allowed)
		code = vmat_stop_begin(&stop, target, stop_options, err);
	if (code)
		return code;
	code = walk(heap);
	if (!code && heap->is_walked && while_standing && (is_last || !heap->findings_total))
		code = while_standing(heap, stop, context);
	ended = stop ? vmat_stop_end(stop, &stopped_ns) : 0;
	heap->stopped_ns += stopped_ns;
	heap->is_approximate = !stop;
	if (ended)
		return vmat_error_set(
			err, ended,
			"the heap could not be read within %llu ms, and the process was let "
			"go.\n  Give more time with --max-stop MS",
			(unsigned long long)(stop_options->max_stop_ns / 1000000));
	return code ? explain(target, code, err) : 0;
}

/*
 * A thread that is stopped in the middle of malloc leaves lists that do not fit for that moment. What is really
 * broken is still so a moment later: only that is told.
 */
static int walk_standing(struct vmat_heap *heap, const struct vmat_heap_options *options,
			 vmat_heap_standing_fn *while_standing, void *context,
			 struct vmat_error *err)
{
	const struct vmat_stop_options stop_options = {
		.size = sizeof(stop_options),
		.max_stop_ns = options->max_stop_ns ? options->max_stop_ns : DEFAULT_STOP_NS,
	};

	for (int try = 1; try <= TRIES; try++) {
		int code = walk_once(heap, &stop_options, options->is_running_allowed, try == TRIES,
				     while_standing, context, err);

		if (code || !heap->is_walked || !heap->findings_total)
			return code;
	}
	return 0;
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
	heap->arena_max = heap->tcache_count = VMAT_UNKNOWN(VMAT_NOT_FOUND);
	heap->allocator = heap->allocator_why = "";
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
	if (!walk_map(heap) && heap->is_walked)
		vmat_heap_sum(heap);
	heap->priv->map = NULL;
	return heap;
}

/* "glibc" and "glibc malloc" both call for that. */
static bool is_called(const struct vmat_heap_ops *ops, const char *name)
{
	size_t length = strlen(name);

	return strncmp(ops->name, name, length) == 0 &&
	       (ops->name[length] == '\0' || ops->name[length] == ' ');
}

/* Whose heap is walked: that of malloc's owner, or the one that was asked for. */
static int choose(struct vmat_heap *heap, const struct vmat_map *map,
		  const struct vmat_heap_options *options, struct vmat_error *err)
{
	struct vmat_allocator *allocator = &heap->priv->allocator;
	const char *asked = NULL;
	int code = vmat_allocator_read(allocator, heap->priv->memory.target, map, err);

	if (code)
		return code;
	heap->allocator = allocator->name;
	heap->allocator_why = allocator->why;
	if (!options->allocator)
		return 0;
	for (size_t i = 0; i < WALKED; i++) {
		if (is_called(walked[i], options->allocator))
			asked = walked[i]->name;
	}
	if (!asked)
		return vmat_error_set(err, -EINVAL,
				      "no allocator '%.64s' is walked.\n  Those are glibc, musl "
				      "and mimalloc",
				      options->allocator);
	allocator->help = "";
	heap->allocator = asked;
	if (strcmp(asked, allocator->name) != 0)
		heap->allocator_why = "asked for";
	return 0;
}

int vmat_heap_read_standing(struct vmat_heap **ret, struct vmat_target *target,
			    const struct vmat_map *map, const struct vmat_heap_options *options,
			    vmat_heap_standing_fn *while_standing, void *context,
			    struct vmat_error *err)
{
	vmat_cleanup(cleanup_heap) struct vmat_heap *heap = new_heap(target, map);
	int code;

	if (!heap)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	code = choose(heap, map, options, err);
	if (code)
		return code;
	if (is_walkable(heap)) {
		code = walk_standing(heap, options, while_standing, context, err);
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
	return vmat_heap_read_standing(ret, target, map, options, NULL, NULL, err);
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
