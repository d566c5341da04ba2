/* SPDX-License-Identifier: MIT */
/*
 * leaks.c: finding leaks as a whole: walk and collect while the target stands, then mark, then look at what the
 * leaks hold.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "reach/content.h"
#include "reach/reach_priv.h"

enum { GRANULES_MAX_SHIFT = 31 };

/* Where a core does not tell what is there, sizes may be those of reservations. */
#define RESERVED_MAX (UINT64_C(1) << 40)

struct vmat_leaks *vmat_leaks_free(struct vmat_leaks *leaks)
{
	if (!leaks)
		return NULL;
	if (leaks->priv) {
		vmat_words_deinit(&leaks->priv->roots);
		vmat_words_deinit(&leaks->priv->edges);
		vmat_edge_index_deinit(&leaks->priv->index);
		vmat_words_deinit(&leaks->priv->root_places);
		vmat_words_deinit(&leaks->priv->edge_places);
		free(leaks->priv->flags);
		free(leaks->priv->stack_pointers);
		vmat_stacks_free(leaks->priv->stacks);
		vmat_arena_deinit(&leaks->priv->arena);
		vmat_strings_deinit(&leaks->priv->types);
		free(leaks->priv->segments);
		free(leaks->priv->ends);
		free(leaks->priv->by_granule);
	}
	free(leaks->priv);
	vmat_heap_free(leaks->heap);
	free(leaks->leaks);
	free(leaks->groups);
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
	size_t words, edges;
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
	edges = words < UINT32_MAX ? words : UINT32_MAX; /* chunks know theirs by 32 bits */
	err = vmat_words_init(&priv->roots, words);
	if (!err)
		err = vmat_words_init(&priv->edges, edges);
	if (!err)
		err = vmat_edge_index_init(&priv->index,
					   words + 1); /* mimalloc's smallest block is a word */
	if (!err && priv->has_places)
		err = vmat_words_init(&priv->root_places, 2 * words);
	if (!err && priv->has_places)
		err = vmat_words_init(&priv->edge_places, edges);
	return err;
}

/* Some allocators have a segment for each few blocks: searches among them must be short. */
static int index_segments(struct vmat_leaks_priv *priv, uint64_t granules)
{
	size_t hints = (size_t)(granules / VMAT_REACH_HINT) + 2, segment = 0;

	priv->ends = malloc((priv->segments_count + 1) * sizeof(*priv->ends));
	priv->by_granule = malloc(hints * sizeof(*priv->by_granule));
	if (!priv->ends || !priv->by_granule)
		return -ENOMEM;
	for (size_t i = 0; i < priv->segments_count; i++)
		priv->ends[i] = priv->segments[i].segment->end;
	for (size_t i = 0; i < hints; i++) {
		while (segment + 1 < priv->segments_count &&
		       priv->segments[segment + 1].first_granule <= i * VMAT_REACH_HINT)
			segment++;
		priv->by_granule[i] = (uint32_t)segment;
	}
	return 0;
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
	return index_segments(priv, granule);
}

struct stack_pointer {
	uint64_t tid;
	uint64_t sp;
};

static int compare_tids(const void *a, const void *b)
{
	const struct stack_pointer *x = a, *y = b;

	return (x->tid > y->tid) - (x->tid < y->tid);
}

/* Only while it stands every thread's is known. Of thousands each is looked for by its number. */
static int keep_stack_pointers(struct vmat_leaks *leaks, const struct vmat_stop *stop)
{
	const struct vmat_stacks *stacks = leaks->priv->stacks;
	size_t count, stacks_count = stacks ? stacks->count : 0;
	const struct vmat_stopped_thread *threads = vmat_stop_threads(stop, &count);
	vmat_autofree struct stack_pointer *known = malloc((count + 1) * sizeof(*known));

	leaks->priv->stack_pointers = calloc(stacks_count + 1, sizeof(uint64_t));
	if (!known || !leaks->priv->stack_pointers)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		known[i] =
			(struct stack_pointer){ (uint64_t)threads[i].tid, threads[i].registers.sp };
	qsort(known, count, sizeof(*known), compare_tids);
	for (size_t i = 0; i < stacks_count; i++) {
		const struct stack_pointer key = { .tid = stacks->stacks[i].tid };
		const struct stack_pointer *found =
			bsearch(&key, known, count, sizeof(*known), compare_tids);

		leaks->priv->stack_pointers[i] = found ? found->sp : 0;
	}
	return 0;
}

/* While the threads themselves stand: a copy of the process has none of them. */
static int read_stacks(struct vmat_heap *heap, const struct vmat_stop *stop, void *context)
{
	struct vmat_leaks *leaks = context;
	int err;

	(void)stop;
	leaks->priv->stacks = vmat_stacks_free(leaks->priv->stacks);
	err = vmat_stacks_read(&leaks->priv->stacks, heap->priv->memory.target, heap->priv->map,
			       NULL);
	return err == -ENOMEM ? err : 0;
}

static int collect(struct vmat_heap *heap, const struct vmat_stop *stop, void *context)
{
	struct vmat_leaks *leaks = context;
	int err;

	leaks->heap = heap;
	err = number_segments(leaks);
	if (!err)
		err = keep_stack_pointers(leaks, stop);
	if (!err && leaks->priv->segments_count)
		err = vmat_reach_collect(leaks, stop);
	leaks->heap = NULL; /* the reader's until it has succeeded */
	return err;
}

static int compare_addrs(const void *a, const void *b)
{
	const struct vmat_leak *const *x = a, *const *y = b;

	return ((*x)->addr > (*y)->addr) - ((*x)->addr < (*y)->addr);
}

static void cleanup_contents(struct vmat_contents **contents)
{
	vmat_contents_free(*contents);
}

/* What the leaks hold. The target runs again, but nothing in it refers to them. */
static int look_at_leaks(struct vmat_leaks *leaks)
{
	struct vmat_leaks_priv *priv = leaks->priv;
	vmat_cleanup(cleanup_contents) struct vmat_contents *contents =
		vmat_contents_new(leaks->heap->priv->memory.target, leaks->heap->priv->map,
				  priv->low, priv->high, &priv->types);
	vmat_autofree struct vmat_leak **order =
		calloc(leaks->count + 1, sizeof(struct vmat_leak *));
	vmat_autofree uint32_t *classes = calloc(leaks->count + 1, sizeof(*classes));
	int err = contents && order && classes ? 0 : -ENOMEM;

	if (err)
		return err;
	for (size_t i = 0; i < leaks->count; i++)
		order[i] = &leaks->leaks[i];
	qsort(order, leaks->count, sizeof(struct vmat_leak *), compare_addrs);
	for (size_t i = 0; i < leaks->count; i++) {
		struct vmat_content content;

		vmat_contents_look(contents, order[i]->addr, order[i]->size, &content, &classes[i]);
		order[i]->type = content.type;
		memcpy(order[i]->preview, content.preview, sizeof(order[i]->preview));
	}
	err = vmat_contents_name(contents);
	for (size_t i = 0; i < leaks->count && !err; i++) {
		const char *type = vmat_contents_class(contents, classes[i]);

		if (type)
			order[i]->type = type;
	}
	return err;
}

static int compare_members(const void *a, const void *b)
{
	const struct vmat_leak *const *x = a, *const *y = b;

	if ((*x)->size != (*y)->size)
		return (*x)->size < (*y)->size ? -1 : 1;
	if ((*x)->type != (*y)->type) {
		int order = strcmp((*x)->type, (*y)->type);

		if (order)
			return order;
	}
	return compare_addrs(a, b);
}

static int compare_groups(const void *a, const void *b)
{
	const struct vmat_leak_group *x = a, *y = b;
	uint64_t bytes_x = x->bytes + x->indirect_bytes, bytes_y = y->bytes + y->indirect_bytes;

	if (bytes_x != bytes_y)
		return bytes_x < bytes_y ? 1 : -1;
	return (x->addr > y->addr) - (x->addr < y->addr);
}

static int group_leaks(struct vmat_leaks *leaks)
{
	vmat_autofree struct vmat_leak **order =
		calloc(leaks->count + 1, sizeof(struct vmat_leak *));
	struct vmat_leak_group *group = NULL;
	size_t count = 0;

	leaks->groups = calloc(leaks->count + 1, sizeof(*leaks->groups));
	if (!order || !leaks->groups)
		return -ENOMEM;
	for (size_t i = 0; i < leaks->count; i++)
		order[i] = &leaks->leaks[i];
	qsort(order, leaks->count, sizeof(struct vmat_leak *), compare_members);
	for (size_t i = 0; i < leaks->count; i++) {
		const struct vmat_leak *leak = order[i];

		if (!group || group->size != leak->size || strcmp(group->type, leak->type) != 0) {
			group = &leaks->groups[count++];
			*group = (struct vmat_leak_group){ .type = leak->type,
							   .size = leak->size,
							   .addr = leak->addr };
		}
		group->count++;
		group->bytes += leak->size;
		group->indirect_count += leak->indirect_count;
		group->indirect_bytes += leak->indirect_bytes;
	}
	leaks->groups_count = count;
	qsort(leaks->groups, count, sizeof(*leaks->groups), compare_groups);
	return 0;
}

static void say_partial(struct vmat_leaks *leaks, const char *format, ...) VMAT_PRINTF(2, 3);

static void say_partial(struct vmat_leaks *leaks, const char *format, ...)
{
	size_t used = strlen(leaks->partial_why);
	va_list args;

	if (used && used + 2 < sizeof(leaks->partial_why)) {
		memcpy(leaks->partial_why + used, "; ", 3);
		used += 2;
	}
	va_start(args, format);
	vsnprintf(leaks->partial_why + used, sizeof(leaks->partial_why) - used, format, args);
	va_end(args);
	leaks->is_partial = true;
}

/* What was not seen, so that nobody takes these for all leaks, or for leaks beyond doubt. */
static void judge(struct vmat_leaks *leaks)
{
	if (leaks->heap->findings_total)
		say_partial(leaks,
			    "the heap has %zu findings (`vmatlas heap`): blocks behind them were "
			    "not judged",
			    leaks->heap->findings_total);
	else if (leaks->heap->is_partial)
		say_partial(leaks, "%s", leaks->heap->partial_why);
	if (!leaks->priv->stacks)
		say_partial(leaks,
			    "the stacks could not be told: unused parts of them count as roots");
	if (leaks->priv->unread)
		say_partial(leaks,
			    "%llu KiB are in swap or could not be read: blocks that only they "
			    "refer to are shown as leaks",
			    (unsigned long long)(leaks->priv->unread / 1024));
}

int vmat_reach_read(struct vmat_leaks **ret, struct vmat_target *target, const struct vmat_map *map,
		    const struct vmat_leaks_options *options, bool has_places,
		    struct vmat_error *err)
{
	vmat_cleanup(cleanup_leaks) struct vmat_leaks *leaks = calloc(1, sizeof(*leaks));
	struct vmat_heap_visitor visitor = { .before = read_stacks,
					     .after = collect,
					     .reads_all = true };
	struct vmat_heap_options stopping = options->heap;
	int code;

	if (leaks)
		leaks->priv = calloc(1, sizeof(*leaks->priv));
	if (leaks && leaks->priv)
		leaks->priv->has_places = has_places;
	if (leaks && leaks->priv)
		leaks->priv->word_size = vmat_target_process(target)->word_size == 4 ? 4 : 8;
	if (!leaks || !leaks->priv || reserve_words(leaks->priv, map))
		return vmat_error_set(err, -ENOMEM, "out of memory");
	leaks->priv->excluded = options->excluded;
	leaks->priv->excluded_count = options->excluded_count;
	stopping.is_running_allowed = false;
	visitor.context = leaks;
	code = vmat_heap_read_standing(&leaks->heap, target, map, &stopping, &visitor, err);
	if (code)
		return code;
	if (!leaks->heap->is_walked)
		return vmat_error_set(err, -EOPNOTSUPP, "the heap is not walked: %s",
				      leaks->heap->why_not);
	code = leaks->priv->segments_count ? vmat_reach_mark(leaks) : 0;
	if (code)
		return vmat_error_set(err, code, "out of memory");
	judge(leaks);
	*ret = vmat_take_ptr(&leaks);
	return 0;
}

int vmat_leaks_read(struct vmat_leaks **ret, struct vmat_target *target, const struct vmat_map *map,
		    const struct vmat_leaks_options *options, struct vmat_error *err)
{
	vmat_cleanup(cleanup_leaks) struct vmat_leaks *leaks = NULL;
	int code = vmat_reach_read(&leaks, target, map, options, false, err);

	if (!leaks) /* only then has it failed */
		return code;
	code = look_at_leaks(leaks);
	if (!code)
		code = group_leaks(leaks);
	if (code)
		return vmat_error_set(err, code, "out of memory");
	*ret = vmat_take_ptr(&leaks);
	return 0;
}
