/* SPDX-License-Identifier: MIT */
#include "reach/chunk_number.h"

#include <errno.h>
#include <stdatomic.h>

enum { AHEAD = 16 };

/* One more version of a loop, for processors that count bits; the loader chooses (ifunc, which sanitizers do not bear). */
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__SANITIZE_ADDRESS__) && \
	!defined(__clang__)
#define COUNTS_BITS __attribute__((target_clones("popcnt", "default")))
#else
#define COUNTS_BITS
#endif

/* Words of the bitmaps of a segment; 0: it is one mapped block. */
static size_t words_of(const struct vmat_heap_segment *segment)
{
	return segment->begins
		       ? (size_t)(((segment->end - segment->start) >> segment->shift) / 64 + 1)
		       : 0;
}

int vmat_chunks_number(struct vmat_leaks_priv *priv)
{
	uint32_t number = 0;

	for (size_t i = 0; i < priv->segments_count; i++) {
		struct vmat_reach_segment *segment = &priv->segments[i];
		size_t words = words_of(segment->segment);
		uint32_t count = words ? 0 : 1;

		segment->first_chunk = number;
		segment->ranks =
			words ? vmat_arena_alloc(&priv->arena, words * sizeof(*segment->ranks))
			      : NULL;
		if (words && !segment->ranks)
			return -ENOMEM;
		for (size_t k = 0; k < words; k++) {
			segment->ranks[k] = count;
			count += (uint32_t)__builtin_popcountll(segment->segment->begins[k]);
		}
		number += count;
	}
	return 0;
}

/* The segment that a granule belongs to. */
static inline const struct vmat_reach_segment *segment_of(const struct vmat_leaks_priv *priv,
							  uint32_t granule)
{
	size_t low = priv->by_granule[granule / VMAT_REACH_HINT];
	size_t high = priv->by_granule[granule / VMAT_REACH_HINT + 1] + 1;

	while (low + 1 < high) {
		size_t middle = low + (high - low) / 2;

		if (priv->segments[middle].first_granule <= granule)
			low = middle;
		else
			high = middle;
	}
	return &priv->segments[low];
}

static inline uint32_t edge_of(const struct vmat_leaks_priv *priv, uint32_t noted)
{
	uint32_t granule = noted >> 1, bit, count;
	const struct vmat_reach_segment *segment = segment_of(priv, granule);
	const uint64_t *begins = segment->segment->begins;

	bit = granule - segment->first_granule;
	if (!begins || !segment->ranks)
		return segment->first_chunk | (noted & 1 ? 0 : VMAT_EDGE_INTO);
	count = segment->ranks[bit / 64] +
		(uint32_t)__builtin_popcountll(begins[bit / 64] & (~0ULL >> (63 - bit % 64)));
	if (!count)
		return VMAT_NO_CHUNK;
	return (segment->first_chunk + count - 1) |
	       (noted & 1 && segment->segment->blocks[bit / 64] >> bit % 64 & 1 ? 0
										: VMAT_EDGE_INTO);
}

uint32_t vmat_chunk_edge(const struct vmat_leaks_priv *priv, uint32_t noted)
{
	return edge_of(priv, noted);
}

/* A word of a bitmap and a rank are needed for each, which lie at random: they are asked for a few edges before. */
COUNTS_BITS void vmat_chunks_resolve(struct vmat_leaks_priv *priv, unsigned i, unsigned parts)
{
	uint32_t *noted = priv->edges.words;
	size_t end = priv->edges.count * (i + 1) / parts;

	for (size_t at = priv->edges.count * i / parts; at < end; at++) {
		if (at + AHEAD < end) {
			uint32_t granule = noted[at + AHEAD] >> 1;
			const struct vmat_reach_segment *segment = segment_of(priv, granule);
			size_t word = (granule - segment->first_granule) / 64;

			if (segment->ranks) {
				__builtin_prefetch(&segment->segment->begins[word]);
				__builtin_prefetch(&segment->ranks[word]);
			}
		}
		noted[at] = edge_of(priv, noted[at]);
	}
}

/* The segment of a chunk: the last whose first number is not above it. */
static const struct vmat_reach_segment *segment_of_chunk(const struct vmat_leaks_priv *priv,
							 uint32_t chunk)
{
	size_t low = 0, high = priv->segments_count;

	while (low + 1 < high) {
		size_t middle = low + (high - low) / 2;

		if (priv->segments[middle].first_chunk <= chunk)
			low = middle;
		else
			high = middle;
	}
	return &priv->segments[low];
}

uint64_t vmat_chunk_addr(const struct vmat_leaks_priv *priv, uint32_t chunk)
{
	const struct vmat_reach_segment *segment = segment_of_chunk(priv, chunk);
	uint32_t nth = chunk - segment->first_chunk;
	size_t low = 0, high = words_of(segment->segment);
	uint64_t bits;

	if (!segment->ranks)
		return segment->segment->start;
	while (low + 1 < high) {
		size_t middle = low + (high - low) / 2;

		if (segment->ranks[middle] <= nth)
			low = middle;
		else
			high = middle;
	}
	bits = segment->segment->begins[low];
	for (nth -= segment->ranks[low]; nth && bits; nth--)
		bits &= bits - 1;
	return segment->segment->start +
	       ((low * 64 + (bits ? (size_t)__builtin_ctzll(bits) : 0)) << segment->segment->shift);
}

uint32_t vmat_chunk_at(const struct vmat_leaks_priv *priv, uint64_t chunk_addr)
{
	size_t low = 0, high = priv->segments_count;
	const struct vmat_reach_segment *segment;

	while (low + 1 < high) {
		size_t middle = low + (high - low) / 2;

		if (priv->segments[middle].segment->start <= chunk_addr)
			low = middle;
		else
			high = middle;
	}
	segment = &priv->segments[low];
	if (!high || !vmat_heap_is_chunk(segment->segment, chunk_addr))
		return VMAT_NO_CHUNK;
	return VMAT_EDGE_CHUNK(edge_of(
		priv, (segment->first_granule + (uint32_t)((chunk_addr - segment->segment->start) >>
							   segment->segment->shift))
			      << 1));
}

void vmat_chunks_flag_used(const struct vmat_leaks_priv *priv, _Atomic unsigned char *flags,
			   unsigned char in_use, unsigned i, unsigned parts)
{
	for (size_t s = 0; s < priv->segments_count; s++) {
		const struct vmat_reach_segment *reach = &priv->segments[s];
		const struct vmat_heap_segment *segment = reach->segment;
		size_t words = words_of(segment), end = words * (i + 1) / parts;
		uint64_t top = (segment->top - segment->start) >> segment->shift;

		if (!words && i == 0)
			atomic_init(&flags[reach->first_chunk], in_use);
		for (size_t w = words * i / parts; w < end; w++) {
			uint64_t begins = segment->begins[w];
			uint64_t used = ~(segment->state_low[w] | segment->state_high[w]);
			_Atomic unsigned char *flag = &flags[reach->first_chunk + reach->ranks[w]];

			if (top / 64 == w)
				used &= ~(1ULL << top % 64);
			for (; begins; begins &= begins - 1)
				atomic_init(flag++, used & begins & -begins ? in_use : 0);
		}
	}
}
