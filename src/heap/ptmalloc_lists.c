/* SPDX-License-Identifier: MIT */
/*
 * ptmalloc_lists.c: what the lists of free chunks say, and whether they agree with the walk.
 *
 * Chunks in fastbins and tcaches look as if they were in use: only their lists tell. Since glibc 2.32 their
 * links are mangled with the address where they stand (safe linking). The ordinary bins repeat what the walk
 * has seen, and are counted against it.
 */
#include <string.h>

#include "heap/heap_priv.h"

enum {
	TCACHE_WORDS = 0x1d0 / 4,
	TCACHE_LISTS = 76,
	SAFE_LINK_SHIFT = 12,
	LEARNED_FROM = 4096, /* tcaches and arenas that tell whether links are mangled */
	LINKS_TRIED = 8,
};

/* The segment of the chunk that begins at addr, NULL when none does. */
static struct vmat_heap_segment *chunk_at(const struct vmat_heap *heap, uint64_t addr)
{
	struct vmat_heap_segment *segment = vmat_heap_segment_at(heap, addr);

	return segment && segment->begins && vmat_heap_is_chunk(segment, addr) ? segment : NULL;
}

/*
 * The chunk that the link at `place` leads to, 0 at the end. False when it leads to no chunk. Links point `header`
 * bytes behind a chunk.
 */
static bool follow(struct vmat_heap *heap, uint64_t place, uint64_t header, uint64_t *ret)
{
	uint64_t link;

	if (!heap->priv->steps || !heap->priv->steps--)
		return false;
	if (!vmat_heap_word(&heap->priv->memory, place, &link))
		return false;
	if (heap->priv->is_link_mangled)
		link ^= place >> SAFE_LINK_SHIFT;
	if (link && !chunk_at(heap, link - header))
		return false;
	*ret = link ? link - header : 0;
	return true;
}

static void walk_fastbin(struct vmat_heap *heap, const struct vmat_heap_arena *arena,
			 uint64_t chunk)
{
	unsigned header = vmat_chunk_header(heap->priv->memory.word_size);

	for (uint64_t n = 0; chunk; n++) {
		struct vmat_heap_segment *segment = chunk_at(heap, chunk);

		if (!segment || vmat_heap_state(segment, chunk) != VMAT_CHUNK_IN_USE) {
			vmat_heap_find_fault(
				heap, chunk,
				segment ? "a fastbin of arena 0x%llx comes back to a chunk"
					: "a fastbin of arena 0x%llx leads to no chunk",
				(unsigned long long)arena->addr);
			return;
		}
		vmat_heap_set_state(segment, chunk, VMAT_CHUNK_FASTBIN);
		if (!follow(heap, chunk + header, 0, &chunk)) {
			vmat_heap_find_fault(heap, chunk, "a link of a fastbin leads to no chunk");
			return;
		}
	}
}

static void walk_fastbins(struct vmat_heap *heap, const struct vmat_heap_arena *arena)
{
	const struct vmat_malloc_layout *layout = heap->priv->layout;

	for (unsigned i = 0; i < layout->fastbins_count; i++) {
		uint64_t head;

		if (vmat_heap_word(&heap->priv->memory,
				   arena->addr + layout->fastbins + (uint64_t)layout->word_size * i,
				   &head))
			walk_fastbin(heap, arena, head);
	}
}

/* Does a thread hold the arena's lock, the first member of malloc_state? Then links may be about to change. */
static bool is_locked(struct vmat_heap *heap, const struct vmat_heap_arena *arena)
{
	uint64_t lock;

	return vmat_heap_word(&heap->priv->memory, arena->addr, &lock) && (uint32_t)lock != 0;
}

/* Chunks on a bin are linked both ways: whoever takes one out writes to where both links lead. */
static void check_back(struct vmat_heap *heap, const struct vmat_heap_arena *arena, uint64_t chunk,
		       uint64_t back, uint64_t before)
{
	if (back != before && !is_locked(heap, arena))
		vmat_heap_find_fault(
			heap, chunk,
			"the link back (bk) of a free chunk is 0x%llx, 0x%llx is before it",
			(unsigned long long)back, (unsigned long long)before);
}

/* One ring of free chunks. The walk knows them all: a ring that is longer has gone wrong. */
static void walk_bin(struct vmat_heap *heap, struct vmat_heap_arena *arena, uint64_t bin,
		     uint64_t most)
{
	unsigned header = vmat_chunk_header(heap->priv->memory.word_size);
	uint64_t links[2], chunk, last, before = bin;

	if (!vmat_heap_words(&heap->priv->memory, bin + header, links, 2))
		return;
	chunk = links[0];
	last = links[1];
	for (uint64_t n = 0; chunk != bin && heap->priv->steps; n++) {
		struct vmat_heap_segment *segment = chunk_at(heap, chunk);

		heap->priv->steps--;
		if (!segment || vmat_heap_state(segment, chunk) != VMAT_CHUNK_FREE || n > most) {
			vmat_heap_find_fault(heap, chunk,
					     "a bin of arena 0x%llx leads to what is no free chunk",
					     (unsigned long long)arena->addr);
			return;
		}
		arena->bin_chunks++;
		if (!vmat_heap_words(&heap->priv->memory, chunk + header, links, 2))
			return;
		check_back(heap, arena, chunk, links[1], before);
		before = chunk;
		chunk = links[0];
	}
	if (chunk == bin)
		check_back(heap, arena, bin, last, before);
}

/* The number of chunks that a counter of a tcache stands for. */
static uint64_t tcache_count(const struct vmat_heap *heap, const struct vmat_tcache_layout *layout,
			     const uint64_t *words, unsigned bin)
{
	unsigned offset = bin * layout->count_size;
	uint64_t value = words[offset / layout->word_size] >> offset % layout->word_size * 8;

	value &= layout->count_size == 1 ? 0xff : 0xffff;
	if (!layout->counts_free_slots)
		return value;
	return vmat_is_known(heap->tcache_count) && heap->tcache_count >= value
		       ? heap->tcache_count - value
		       : UINT64_MAX;
}

/*
 * Follows one list of a tcache. True when it has `count` chunks, all of `size` (0: of any), or one more or less: its
 * thread may have been stopped between the list and the counter.
 */
static bool check_tcache_list(struct vmat_heap *heap, uint64_t user, uint64_t count, uint64_t size)
{
	unsigned header = vmat_chunk_header(heap->priv->memory.word_size);
	uint64_t chunk = user ? user - header : 0;
	uint64_t n;

	for (n = 0; chunk && n <= count + 1; n++) {
		struct vmat_heap_segment *segment = chunk_at(heap, chunk);

		if (!segment || vmat_heap_state(segment, chunk) != VMAT_CHUNK_IN_USE)
			return false;
		if (size && vmat_heap_next(segment, chunk) - chunk != size)
			return false;
		if (!follow(heap, chunk + header, header, &chunk))
			return false;
	}
	return !chunk && n <= count + 1 && n + 1 >= count;
}

static void mark_tcache_list(struct vmat_heap *heap, uint64_t user)
{
	unsigned header = vmat_chunk_header(heap->priv->memory.word_size);
	uint64_t chunk = user ? user - header : 0;

	while (chunk) {
		struct vmat_heap_segment *segment = chunk_at(heap, chunk);

		if (!segment || vmat_heap_state(segment, chunk) != VMAT_CHUNK_IN_USE)
			return;
		vmat_heap_set_state(segment, chunk, VMAT_CHUNK_TCACHE);
		if (!follow(heap, chunk + header, header, &chunk))
			return;
	}
}

/*
 * A block is a tcache when each of its lists has as many chunks, of its size, as its counter says. Returns how many
 * lists hold some, or -1; `lists` are their heads.
 */
static int read_tcache(struct vmat_heap *heap, uint64_t addr, uint64_t lists[TCACHE_LISTS])
{
	const struct vmat_heap_segment *segment = chunk_at(heap, addr);
	unsigned word_size = heap->priv->memory.word_size, header = vmat_chunk_header(word_size);
	const struct vmat_tcache_layout *layout;
	uint64_t words[TCACHE_WORDS], size;
	int used = 0;

	if (!segment)
		return -1;
	size = vmat_heap_next(segment, addr) - addr;
	layout = vmat_tcache_layout_of(size, word_size);
	if (!layout ||
	    !vmat_heap_words(&heap->priv->memory, addr + header, words, size / word_size - 2))
		return -1;
	for (unsigned i = 0; i < TCACHE_LISTS; i++) {
		uint64_t exactly = vmat_chunk_min(word_size) + (uint64_t)VMAT_CHUNK_ALIGN * i;

		lists[i] = i < layout->bins ? words[layout->entries / word_size + i] : 0;
		if (i < layout->bins &&
		    !check_tcache_list(heap, lists[i], tcache_count(heap, layout, words, i),
				       i < 64 ? exactly : 0))
			return -1;
		used += lists[i] != 0;
	}
	return used;
}

/* Does a fastbin make sense? Its beginning tells. */
static bool is_good_fastbin(struct vmat_heap *heap, const struct vmat_heap_arena *arena, unsigned i)
{
	const struct vmat_malloc_layout *layout = heap->priv->layout;
	uint64_t chunk = 0;

	if (!vmat_heap_word(&heap->priv->memory,
			    arena->addr + layout->fastbins + (uint64_t)layout->word_size * i,
			    &chunk) ||
	    !chunk)
		return false;
	for (int n = 0; chunk && n < LINKS_TRIED; n++) {
		if (!follow(heap, chunk + vmat_chunk_header(layout->word_size), 0, &chunk))
			return false;
	}
	return true;
}

/* How many lists make sense with links as `is_link_mangled` says: those of tcaches, and fastbins. */
static uint64_t count_good_lists(struct vmat_heap *heap)
{
	uint64_t count = 0, lists[TCACHE_LISTS];

	for (size_t i = 0; i < heap->priv->tcaches_count && i < LEARNED_FROM; i++) {
		int used = read_tcache(heap, heap->priv->tcaches[i], lists);

		count += used > 0 ? (uint64_t)used : 0;
	}
	for (size_t i = 0; i < heap->arenas_count && i < LEARNED_FROM; i++) {
		for (unsigned k = 0; k < heap->priv->layout->fastbins_count; k++)
			count += is_good_fastbin(heap, &heap->arenas[i], k);
	}
	return count;
}

/* Whether links are mangled is the same for all lists of a process: that way it is of which more lists make sense. */
static void learn_links(struct vmat_heap *heap)
{
	uint64_t plain, mangled;

	heap->priv->is_link_mangled = false;
	plain = count_good_lists(heap);
	heap->priv->is_link_mangled = true;
	mangled = count_good_lists(heap);
	heap->priv->is_link_mangled = mangled >= plain;
}

static void try_tcache(struct vmat_heap *heap, uint64_t addr)
{
	uint64_t lists[TCACHE_LISTS];

	if (read_tcache(heap, addr, lists) < 0)
		return;
	for (unsigned i = 0; i < TCACHE_LISTS; i++)
		mark_tcache_list(heap, lists[i]);
}

/* One look at the segments for all arenas: a forged ring of arenas must not cost segments times arenas. */
static void count_free(struct vmat_heap *heap)
{
	struct vmat_heap_priv *priv = heap->priv;

	memset(priv->walked_free, 0, heap->arenas_count * sizeof(*priv->walked_free));
	for (size_t i = 0; i < priv->segments_count; i++) {
		const struct vmat_heap_segment *segment = &priv->segments[i];
		size_t words =
			(size_t)((segment->end - segment->start) / VMAT_CHUNK_ALIGN / 64 + 1);

		if (!segment->begins || segment->arena >= heap->arenas_count)
			continue;
		/* Before the caches are looked at, FREE is the only state but in use. */
		for (size_t k = 0; k < words; k++)
			priv->walked_free[segment->arena] +=
				(uint64_t)__builtin_popcountll(segment->state_low[k]);
	}
}

/*
 * May a chunk be on its way: free by its header, on no bin yet, or the other way round? That is so while a thread
 * holds the arena's lock.
 */
static bool is_in_flight(struct vmat_heap *heap, const struct vmat_heap_arena *arena,
			 uint64_t walked)
{
	uint64_t difference = walked > arena->bin_chunks ? walked - arena->bin_chunks
							 : arena->bin_chunks - walked;

	return difference <= 2 && is_locked(heap, arena);
}

void vmat_ptmalloc_lists(struct vmat_heap *heap)
{
	const struct vmat_malloc_layout *layout = heap->priv->layout;

	count_free(heap);
	for (size_t i = 0; i < heap->arenas_count; i++) {
		struct vmat_heap_arena *arena = &heap->arenas[i];
		uint64_t most = heap->priv->walked_free[i];

		for (unsigned bin = 0; bin < VMAT_MALLOC_BINS; bin++)
			walk_bin(heap, arena, vmat_malloc_bin(layout, arena->addr, bin), most);
		if (arena->is_complete && arena->bin_chunks != most &&
		    !is_in_flight(heap, arena, most))
			vmat_heap_find_fault(heap, arena->addr,
					     "%llu free chunks were walked, %llu are on the bins",
					     (unsigned long long)most,
					     (unsigned long long)arena->bin_chunks);
	}
	learn_links(heap);
	for (size_t i = 0; i < heap->priv->tcaches_count && heap->priv->steps; i++)
		try_tcache(heap, heap->priv->tcaches[i]);
	for (size_t i = 0; i < heap->arenas_count; i++)
		walk_fastbins(heap, &heap->arenas[i]);
	if (!heap->priv->steps)
		vmat_heap_find_fault(
			heap, heap->priv->copies[0].main_arena,
			"the lists lead on and on: they were not followed to their ends");
}
