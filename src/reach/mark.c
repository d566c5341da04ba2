/* SPDX-License-Identifier: MIT */
/*
 * mark.c: from references to what is reachable, and from what is not to leaks.
 *
 * Chunks have numbers, in the order of their addresses. Everything is arrays over these numbers; nothing
 * here reads the target.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "reach/reach_priv.h"

/* What is known of a chunk. */
enum {
	IN_USE = VMAT_CHUNK_USED,
	REACHED = VMAT_REACHED,
	REACHED_START = VMAT_REACHED_START,
	HELD = 8,  /* a leak that another leak refers to */
	SEEN = 16, /* in a search among the leaks */
};

enum { QUEUE = 32, AHEAD = 16 };

/* One more version of a loop, for processors that count bits; the loader chooses (ifunc, which sanitizers do not bear). */
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__SANITIZE_ADDRESS__) && \
	!defined(__clang__)
#define RESOLVE_CLONES __attribute__((target_clones("popcnt", "default")))
#else
#define RESOLVE_CLONES
#endif

struct marker {
	struct vmat_leaks *leaks;
	struct vmat_leaks_priv *priv;
	unsigned char *flags;
	uint64_t *addrs;
	uint32_t *stack;
	uint32_t *edges; /* as chunks; bit 31: into the chunk, not to its beginning */
	size_t stack_count;
};

#define INTO        VMAT_EDGE_INTO
#define CHUNK(edge) VMAT_EDGE_CHUNK(edge)

/* The segment that a granule belongs to. */
static inline const struct vmat_reach_segment *segment_of(const struct vmat_leaks_priv *priv,
							  uint32_t granule)
{
	size_t low = 0, high = priv->segments_count;

	while (low + 1 < high) {
		size_t middle = low + (high - low) / 2;

		if (priv->segments[middle].first_granule <= granule)
			low = middle;
		else
			high = middle;
	}
	return &priv->segments[low];
}

/*
 * A noted granule as an edge: the last chunk that begins at it or before. Free chunks and the like come out
 * too; they are not IN_USE and end there.
 */
static inline uint32_t edge_of(const struct marker *marker, uint32_t noted)
{
	uint32_t granule = noted >> 1, bit, count;
	const struct vmat_reach_segment *segment = segment_of(marker->priv, granule);
	const uint64_t *begins = segment->segment->begins;

	bit = granule - segment->first_granule;
	if (!begins || !segment->ranks)
		return segment->first_chunk | (noted & 1 ? 0 : INTO);
	count = segment->ranks[bit / 64] +
		(uint32_t)__builtin_popcountll(begins[bit / 64] & (~0ULL >> (63 - bit % 64)));
	if (!count)
		return VMAT_NO_CHUNK;
	return (segment->first_chunk + count - 1) |
	       (noted & 1 && segment->segment->blocks[bit / 64] >> bit % 64 & 1 ? 0 : INTO);
}

/*
 * All noted granules as edges, in place. Each needs a word of a bitmap and a rank, which lie at random: they are
 * asked for a few edges before. Counting bits is an instruction of its own on nearly every processor.
 */
RESOLVE_CLONES static void resolve_edges(struct marker *marker)
{
	const struct vmat_leaks_priv *priv = marker->priv;
	const uint32_t *noted = priv->edges.words;
	size_t count = priv->edges.count;

	for (size_t i = 0; i < count; i++) {
		if (i + AHEAD < count) {
			uint32_t granule = noted[i + AHEAD] >> 1;
			const struct vmat_reach_segment *segment = segment_of(priv, granule);
			size_t word = (granule - segment->first_granule) / 64;

			if (segment->ranks) {
				__builtin_prefetch(&segment->segment->begins[word]);
				__builtin_prefetch(&segment->ranks[word]);
			}
		}
		marker->edges[i] = edge_of(marker, noted[i]);
	}
}

static int number_chunks(struct marker *marker)
{
	struct vmat_leaks_priv *priv = marker->priv;
	uint32_t number = 0;

	for (size_t i = 0; i < priv->segments_count; i++) {
		struct vmat_reach_segment *rank = &priv->segments[i];
		const struct vmat_heap_segment *segment = rank->segment;
		size_t words =
			segment->begins
				? (size_t)(((segment->end - segment->start) >> segment->shift) /
						   64 +
					   1)
				: 0;
		uint32_t count = 0;
		uint64_t next;

		rank->first_chunk = number;
		rank->ranks =
			words ? vmat_arena_alloc(&priv->arena, words * sizeof(*rank->ranks)) : NULL;
		if (words && !rank->ranks)
			return -ENOMEM;
		for (size_t k = 0; k < words; k++) {
			rank->ranks[k] = count;
			count += (uint32_t)__builtin_popcountll(segment->begins[k]);
		}
		for (uint64_t addr = segment->start; addr < segment->end; addr = next) {
			enum vmat_chunk_state state = vmat_heap_state(segment, addr);

			next = vmat_heap_next(segment, addr);
			marker->addrs[number] = addr;
			if (state == VMAT_CHUNK_IN_USE || state == VMAT_CHUNK_MMAPPED)
				marker->flags[number] = IN_USE;
			number++;
		}
	}
	return 0;
}

/*
 * Blocks lie at random, so every step of a search waits for memory. Targets go through a short queue: by the time
 * that one comes out, its flags, asked for when it went in, are in the cache.
 */
struct search {
	struct marker *marker;
	unsigned char flag;
	uint32_t queue[QUEUE];
	size_t first, count;
};

/* Takes the oldest of the queue: one that is new goes on the stack. */
static void take_oldest(struct search *search)
{
	struct marker *marker = search->marker;
	uint32_t target = search->queue[search->first];

	search->first = (search->first + 1) % QUEUE;
	search->count--;
	if ((marker->flags[target] & (IN_USE | search->flag)) != IN_USE)
		return;
	marker->flags[target] |= search->flag;
	__builtin_prefetch(&marker->priv->offsets.words[target]);
	marker->stack[marker->stack_count++] = target;
}

static void consider(struct search *search, uint32_t target)
{
	if (search->count == QUEUE)
		take_oldest(search);
	__builtin_prefetch(&search->marker->flags[target], 1);
	search->queue[(search->first + search->count++) % QUEUE] = target;
}

/* Follows references until nothing new comes up. */
static void follow(struct search *search, bool only_starts)
{
	struct marker *marker = search->marker;
	const uint32_t *offsets = marker->priv->offsets.words;

	while (marker->stack_count || search->count) {
		uint32_t chunk;

		if (!marker->stack_count) {
			take_oldest(search);
			continue;
		}
		chunk = marker->stack[--marker->stack_count];
		for (uint32_t i = offsets[chunk]; i < offsets[chunk + 1]; i++) {
			uint32_t edge = marker->edges[i];

			if (edge != VMAT_NO_CHUNK && !(only_starts && edge & INTO))
				consider(search, CHUNK(edge));
		}
	}
}

/* First what addresses of beginnings lead to; those are most, and count as reached in both senses. */
static void mark_by_starts(struct marker *marker)
{
	const struct vmat_words *roots = &marker->priv->roots;
	struct search search = { .marker = marker, .flag = REACHED | REACHED_START };

	for (size_t i = 0; i < roots->count; i++) {
		uint32_t edge = edge_of(marker, roots->words[i]);

		if (edge != VMAT_NO_CHUNK && !(edge & INTO))
			consider(&search, CHUNK(edge));
	}
	follow(&search, true);
}

/* Then what addresses into blocks add to that. */
static void mark_by_any(struct marker *marker)
{
	const struct vmat_words *roots = &marker->priv->roots;
	const uint32_t *offsets = marker->priv->offsets.words;
	struct search search = { .marker = marker, .flag = REACHED };

	for (size_t i = 0; i < roots->count; i++) {
		uint32_t edge = edge_of(marker, roots->words[i]);

		if (edge != VMAT_NO_CHUNK)
			consider(&search, CHUNK(edge));
	}
	for (uint32_t chunk = 0; chunk < marker->priv->chunks_count; chunk++) {
		for (uint32_t i = offsets[chunk];
		     marker->flags[chunk] & REACHED_START && i < offsets[chunk + 1]; i++) {
			uint32_t edge = marker->edges[i];

			if (edge != VMAT_NO_CHUNK && edge & INTO)
				consider(&search, CHUNK(edge));
		}
	}
	follow(&search, false);
}

static bool is_leak(const struct marker *marker, uint32_t chunk)
{
	return (marker->flags[chunk] & (IN_USE | REACHED)) == IN_USE;
}

static uint64_t usable(const struct marker *marker, uint32_t chunk)
{
	struct vmat_chunk found;

	return vmat_heap_find(marker->leaks->heap, marker->addrs[chunk], &found) ? found.block_size
										 : 0;
}

static int add_leak(struct marker *marker, uint32_t chunk, size_t *capacity)
{
	struct vmat_leaks *leaks = marker->leaks;
	struct vmat_leak *leak;
	struct vmat_chunk found;

	if (leaks->count == *capacity) {
		size_t more_capacity = *capacity ? 2 * *capacity : 64;
		struct vmat_leak *more = realloc(leaks->leaks, more_capacity * sizeof(*more));

		if (!more)
			return -ENOMEM;
		leaks->leaks = more;
		*capacity = more_capacity;
	}
	leak = &leaks->leaks[leaks->count++];
	*leak = (struct vmat_leak){
		.addr = marker->addrs[chunk],
		.size = usable(marker, chunk),
	};
	if (vmat_heap_find(leaks->heap, leak->addr, &found))
		leak->addr = found.block_addr;
	leaks->direct_count++;
	leaks->direct_bytes += leak->size;
	return 0;
}

/* Counts what hangs on a head, and takes it away from the others. */
static void take_indirect(struct marker *marker, uint32_t head)
{
	struct vmat_leak *leak = &marker->leaks->leaks[marker->leaks->count - 1];
	const uint32_t *offsets = marker->priv->offsets.words;

	marker->flags[head] |= SEEN;
	marker->stack[marker->stack_count++] = head;
	while (marker->stack_count) {
		uint32_t chunk = marker->stack[--marker->stack_count];

		for (uint32_t i = offsets[chunk]; i < offsets[chunk + 1]; i++) {
			uint32_t target = CHUNK(marker->edges[i]);

			if (marker->edges[i] == VMAT_NO_CHUNK || !is_leak(marker, target) ||
			    marker->flags[target] & SEEN)
				continue;
			marker->flags[target] |= SEEN;
			leak->indirect_count++;
			leak->indirect_bytes += usable(marker, target);
			marker->stack[marker->stack_count++] = target;
		}
	}
	marker->leaks->indirect_count += leak->indirect_count;
	marker->leaks->indirect_bytes += leak->indirect_bytes;
}

/*
 * The order in which a depth-first search leaves the leaks that are not SEEN: rings of blocks have no head, but the
 * one left last in its part of the graph leads to all the others of that part.
 */
static size_t leave_order(struct marker *marker, uint32_t *order, uint32_t *positions)
{
	const uint32_t *offsets = marker->priv->offsets.words;
	size_t count = 0;

	for (uint32_t first = 0; first < marker->priv->chunks_count; first++) {
		if (!is_leak(marker, first) || marker->flags[first] & (SEEN | HELD))
			continue;
		marker->flags[first] |= HELD; /* entered */
		positions[first] = offsets[first];
		marker->stack[marker->stack_count++] = first;
		while (marker->stack_count) {
			uint32_t chunk = marker->stack[marker->stack_count - 1], edge, target;

			if (positions[chunk] == offsets[chunk + 1]) {
				order[count++] = chunk;
				marker->stack_count--;
				continue;
			}
			edge = marker->edges[positions[chunk]++];
			target = CHUNK(edge);
			if (edge == VMAT_NO_CHUNK || !is_leak(marker, target) ||
			    marker->flags[target] & (SEEN | HELD))
				continue;
			marker->flags[target] |= HELD;
			positions[target] = offsets[target];
			marker->stack[marker->stack_count++] = target;
		}
	}
	return count;
}

static int find_heads(struct marker *marker)
{
	const uint32_t *offsets = marker->priv->offsets.words;
	size_t count = marker->priv->chunks_count, capacity = 0, left;
	vmat_autofree uint32_t *order = NULL, *positions = NULL;
	int err = 0;

	for (uint32_t chunk = 0; chunk < count; chunk++) {
		for (uint32_t i = offsets[chunk]; is_leak(marker, chunk) && i < offsets[chunk + 1];
		     i++) {
			uint32_t target = CHUNK(marker->edges[i]);

			if (marker->edges[i] != VMAT_NO_CHUNK && target != chunk &&
			    is_leak(marker, target))
				marker->flags[target] |= HELD;
		}
	}
	for (uint32_t chunk = 0; chunk < count && !err; chunk++) {
		if (!is_leak(marker, chunk) || marker->flags[chunk] & HELD)
			continue;
		err = add_leak(marker, chunk, &capacity);
		if (!err)
			take_indirect(marker, chunk);
	}
	if (err)
		return err;
	for (uint32_t chunk = 0; chunk < count; chunk++)
		marker->flags[chunk] &= (unsigned char)~HELD;
	order = malloc((count + 1) * sizeof(*order));
	positions = malloc((count + 1) * sizeof(*positions));
	if (!order || !positions)
		return -ENOMEM;
	left = leave_order(marker, order, positions);
	while (left-- > 0 && !err) {
		if (marker->flags[order[left]] & SEEN)
			continue;
		err = add_leak(marker, order[left], &capacity);
		if (!err)
			take_indirect(marker, order[left]);
	}
	return err;
}

static int compare_leaks(const void *a, const void *b)
{
	const struct vmat_leak *x = a, *y = b;
	uint64_t size_x = x->size + x->indirect_bytes, size_y = y->size + y->indirect_bytes;

	if (size_x != size_y)
		return size_x < size_y ? 1 : -1;
	return (x->addr > y->addr) - (x->addr < y->addr);
}

static int mark_all(struct marker *marker)
{
	struct vmat_leaks *leaks = marker->leaks;
	int err = number_chunks(marker);

	if (err)
		return err;
	resolve_edges(marker);
	mark_by_starts(marker);
	mark_by_any(marker);
	for (uint32_t chunk = 0; chunk < marker->priv->chunks_count; chunk++) {
		if (marker->flags[chunk] & IN_USE)
			leaks->blocks++;
		if ((marker->flags[chunk] & (REACHED | REACHED_START)) == REACHED) {
			leaks->interior_count++;
			leaks->interior_bytes += usable(marker, chunk);
		}
	}
	err = find_heads(marker);
	if (!err && leaks->count)
		qsort(leaks->leaks, leaks->count, sizeof(*leaks->leaks), compare_leaks);
	return err;
}

int vmat_reach_mark(struct vmat_leaks *leaks)
{
	struct vmat_leaks_priv *priv = leaks->priv;
	struct marker marker = { .leaks = leaks, .priv = priv };
	int err = -ENOMEM;

	priv->chunks_count = priv->offsets.count - 1;
	marker.flags = calloc(priv->chunks_count + 1, 1);
	marker.addrs = malloc((priv->chunks_count + 1) * sizeof(*marker.addrs));
	marker.stack = malloc((priv->chunks_count + 1) * sizeof(*marker.stack));
	marker.edges = priv->edges.words; /* in place: a noted granule becomes an edge */
	if (marker.flags && marker.addrs && marker.stack)
		err = mark_all(&marker);
	for (size_t i = 0; !err && priv->has_places && i < priv->roots.count; i++)
		priv->roots.words[i] = edge_of(&marker, priv->roots.words[i]);
	if (priv->has_places) {
		priv->flags = vmat_take_ptr(&marker.flags);
		priv->addrs = vmat_take_ptr(&marker.addrs);
	}
	free(marker.flags);
	free(marker.addrs);
	free(marker.stack);
	return err;
}
