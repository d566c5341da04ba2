/* SPDX-License-Identifier: MIT */
/*
 * ptmalloc_find.c: main_arena and mp_ of glibc's malloc, without symbols.
 *
 * Both lie in the writable data of libc (or of a static program). An arena is a place whose list of arenas
 * comes back to it and whose 127 bins are all closed rings; nothing else looks like that. mp_ is the place
 * whose counters fit each other. A process can have several copies of libc (dlmopen), each with its own.
 */
#include <errno.h>
#include <string.h>

#include "heap/heap_priv.h"

enum {
	DATA_MAX = 4 << 20,
	ARENAS_MAX = 65536,
	MP_WORDS = 19,
	MP_ALIGN = 32,
	TCACHE_BINS = 64,
	BINS_OPEN_MAX = 64
};

/* Offsets in struct malloc_par; from glibc's sources, see malloc_layout.h. */
struct mp_layout {
	unsigned word_size;
	bool is_newest;   /* of glibc 2.43 */
	unsigned n_mmaps; /* int, followed by n_mmaps_max, max_n_mmaps and no_dyn_threshold */
	unsigned mmapped_mem;
	unsigned sbrk_base;
	unsigned tcache_bins; /* followed by tcache_max_bytes */
	unsigned tcache_count;
};

static const struct mp_layout mp_layouts[] = {
	{ 8, false, 60, 80, 96, 104, 120 }, /* 2.35 to 2.42 */
	{ 8, false, 40, 56, 72, 80, 96 },   /* 2.26 to 2.34 */
	{ 8, true, 68, 88, 104, 112, 128 }, /* 2.43 */
	{ 4, false, 32, 48, 56, 60, 68 },   /* the same three */
	{ 4, false, 20, 36, 44, 48, 56 },   { 4, true, 36, 52, 60, 64, 72 },
};

static bool bin_is_closed(struct vmat_heap_memory *memory, uint64_t bin)
{
	unsigned header = vmat_chunk_header(memory->word_size);
	uint64_t links[2], back;

	if (!vmat_heap_words(memory, bin + header, links, 2))
		return false;
	if (links[0] == bin && links[1] == bin)
		return true;
	return vmat_heap_word(memory, links[0] + header + memory->word_size, &back) &&
	       back == bin && vmat_heap_word(memory, links[1] + header, &back) && back == bin;
}

/* A thread arena stands right behind the heap_info of its first heap, whose size depends on the generation. */
static bool may_be_thread_arena(uint64_t addr, unsigned word_size)
{
	uint64_t offset = addr & 0xfffff;

	return word_size == 8 ? offset == 0x20 || offset == 0x30 : offset == 0x18;
}

/* Does the list of arenas come back to this one? */
static bool is_ring(struct vmat_heap_memory *memory, uint64_t addr,
		    const struct vmat_malloc_layout *layout)
{
	uint64_t next;
	int n = 0;

	if (!vmat_heap_word(memory, addr + layout->next, &next))
		return false;
	if (next != addr && !may_be_thread_arena(next, memory->word_size))
		return false;
	for (; next != addr && n < ARENAS_MAX; n++) {
		if (!next || !vmat_heap_word(memory, next + layout->next, &next))
			return false;
	}
	return n < ARENAS_MAX;
}

/*
 * If is_broken, an arena that was written over: its ring does not come back, or some of its bins are open. All else
 * that points at itself in so many places is no accident, and a neighbour of the right place has one of these faults more.
 */
static bool is_arena(struct vmat_heap_memory *memory, uint64_t addr,
		     const struct vmat_malloc_layout *layout, bool is_broken)
{
	unsigned open = 0, open_max;
	bool has_ring;

	if (layout->word_size != memory->word_size)
		return false;
	has_ring = is_ring(memory, addr, layout);
	if (!has_ring && !is_broken)
		return false;
	open_max = is_broken && has_ring ? BINS_OPEN_MAX : 0;
	for (unsigned i = 0; i < VMAT_MALLOC_BINS && open <= open_max; i++)
		open += !bin_is_closed(memory, vmat_malloc_bin(layout, addr, i));
	return open <= open_max;
}

/* libc's data is some ten KiB; what is mapped with megabytes is not searched to its end. */
static uint64_t data_end(const struct vmat_region *region)
{
	return vmat_region_size(region) > DATA_MAX ? region->start + DATA_MAX : region->end;
}

/* The main arena in a region, 0 when there is none. All copies of libc are of the generation of the first. */
static uint64_t find_main_arena(struct vmat_heap *heap, const struct vmat_region *region,
				bool is_broken)
{
	struct vmat_heap_priv *priv = heap->priv;
	uint64_t end = data_end(region);

	for (uint64_t addr = region->start; addr < end; addr += priv->memory.word_size) {
		for (size_t i = 0; i < vmat_malloc_layouts_count; i++) {
			const struct vmat_malloc_layout *layout = &vmat_malloc_layouts[i];

			if ((priv->copies_count && layout != priv->layout) ||
			    !is_arena(&priv->memory, addr, layout, is_broken))
				continue;
			priv->layout = layout;
			return addr;
		}
	}
	return 0;
}

static uint32_t number(const uint64_t *words, const struct mp_layout *layout, unsigned offset)
{
	return (uint32_t)(words[offset / layout->word_size] >> offset % layout->word_size * 8);
}

static uint64_t word(const uint64_t *words, const struct mp_layout *layout, unsigned offset)
{
	return words[offset / layout->word_size];
}

/*
 * What holds whatever the user has tuned: counters below their highest values, a number of mapped blocks that fits their
 * bytes, tcache_max_bytes the largest request of the last of tcache_bins (2.42: or more; 2.43: anything), and an
 * sbrk_base exactly when the main arena was used, in memory that can be written.
 */
static bool is_mp(const struct vmat_heap *heap, const uint64_t *words,
		  const struct mp_layout *layout, bool is_used)
{
	uint32_t now = number(words, layout, layout->n_mmaps);
	uint32_t most = number(words, layout, layout->n_mmaps + 8);
	uint64_t sbrk_base = word(words, layout, layout->sbrk_base);
	uint64_t bytes = word(words, layout, layout->mmapped_mem);
	uint64_t bins = word(words, layout, layout->tcache_bins);
	uint64_t largest = word(words, layout, layout->tcache_bins + layout->word_size);
	uint64_t last = (bins - 1) * VMAT_CHUNK_ALIGN + vmat_chunk_min(layout->word_size) -
			layout->word_size;
	const struct vmat_region *region;

	if (now > most || bytes % vmat_chunk_header(layout->word_size) ||
	    (now == 0) != (bytes == 0) ||
	    bytes > word(words, layout, layout->mmapped_mem + layout->word_size))
		return false;
	if (bins > TCACHE_BINS || word(words, layout, layout->tcache_count) > UINT16_MAX)
		return false;
	if (!layout->is_newest &&
	    (!bins || (largest > last ? bins < TCACHE_BINS
				      : bins > 1 && largest + VMAT_CHUNK_ALIGN <= last)))
		return false;
	if (!sbrk_base || !is_used)
		return !sbrk_base && !is_used;
	region = vmat_map_at(heap->priv->map, sbrk_base);
	return region && region->prot & VMAT_PROT_WRITE && region->backing != VMAT_BACKING_FILE;
}

/* Of several copies of libc, the settings of the first are told, and their mapped blocks are counted together. */
static void take_mp(struct vmat_heap *heap, struct vmat_malloc_copy *copy, const uint64_t *words,
		    const struct mp_layout *layout)
{
	uint64_t count = number(words, layout, layout->n_mmaps);
	uint64_t bytes = word(words, layout, layout->mmapped_mem);
	uint64_t highest = layout->word_size == 4 ? UINT32_MAX : UINT64_MAX;

	copy->sbrk_base = word(words, layout, layout->sbrk_base);
	if (copy != heap->priv->copies) {
		if (vmat_is_known(heap->mmapped_expected)) {
			heap->mmapped_expected += count;
			heap->mmapped_bytes_expected += bytes;
		}
		return;
	}
	heap->mmapped_expected = count;
	heap->mmapped_bytes_expected = bytes;
	/* -1 turns it off. */
	heap->trim_threshold = words[0] < highest / 2 ? words[0] : INT64_MAX;
	heap->mmap_threshold = words[2] < INT64_MAX ? words[2] : INT64_MAX;
	heap->mmap_max = number(words, layout, layout->n_mmaps + 4);
	heap->has_fixed_thresholds = number(words, layout, layout->n_mmaps + 12) != 0;
	heap->arena_max = words[4];
	heap->tcache_count = word(words, layout, layout->tcache_count);
}

/*
 * One generation's structure looks like another's a few words further, since only members before n_mmaps were added.
 * Compilers align structures of this size to 32 bytes, so places with that alignment are tried first; and glibc 2.43
 * is known by its arenas.
 */
static bool find_mp_at(struct vmat_heap *heap, const struct vmat_region *region, unsigned step,
		       bool is_used, struct vmat_malloc_copy *copy)
{
	struct vmat_heap_priv *priv = heap->priv;
	bool is_newest = priv->layout->fastbins_count == 0;
	uint64_t words[MP_WORDS];

	for (uint64_t addr = region->start; addr < data_end(region); addr += step) {
		if (!vmat_heap_words(&priv->memory, addr, words, MP_WORDS))
			continue;
		for (size_t i = 0; i < sizeof(mp_layouts) / sizeof(mp_layouts[0]); i++) {
			if (mp_layouts[i].word_size != priv->memory.word_size ||
			    mp_layouts[i].is_newest != is_newest ||
			    !is_mp(heap, words, &mp_layouts[i], is_used))
				continue;
			take_mp(heap, copy, words, &mp_layouts[i]);
			return true;
		}
	}
	return false;
}

static void find_mp(struct vmat_heap *heap, const struct vmat_region *region,
		    struct vmat_malloc_copy *copy)
{
	struct vmat_heap_priv *priv = heap->priv;
	uint64_t top;
	bool is_used = vmat_heap_word(&priv->memory, copy->main_arena + priv->layout->top, &top) &&
		       top != vmat_malloc_bin(priv->layout, copy->main_arena, 0);

	if (!find_mp_at(heap, region, MP_ALIGN, is_used, copy))
		find_mp_at(heap, region, priv->memory.word_size, is_used, copy);
}

/* Data of a file, or the zeroed data behind it: what a library writes to. */
static bool may_hold_data(const struct vmat_map *map, size_t i)
{
	const struct vmat_region *region = &map->regions[i];

	return region->prot == (VMAT_PROT_READ | VMAT_PROT_WRITE) &&
	       region->backing == VMAT_BACKING_FILE;
}

static bool is_libc(const struct vmat_region *region)
{
	return strstr(region->name, "/libc.so.6") || strstr(region->name, "/libc-2.");
}

static void find_copy(struct vmat_heap *heap, const struct vmat_region *region, bool is_broken)
{
	struct vmat_heap_priv *priv = heap->priv;
	uint64_t addr = find_main_arena(heap, region, is_broken);

	if (!addr)
		return;
	priv->copies[priv->copies_count] = (struct vmat_malloc_copy){
		.main_arena = addr,
		.has_broken_ring = is_broken && !is_ring(&priv->memory, addr, priv->layout),
	};
	find_mp(heap, region, &priv->copies[priv->copies_count++]);
}

static void forget(struct vmat_heap *heap)
{
	heap->priv->copies_count = 0;
	heap->mmapped_expected = heap->mmapped_bytes_expected = VMAT_UNKNOWN(VMAT_NOT_FOUND);
	heap->trim_threshold = heap->mmap_threshold = VMAT_UNKNOWN(VMAT_NOT_FOUND);
	heap->arena_max = heap->tcache_count = heap->mmap_max = VMAT_UNKNOWN(VMAT_NOT_FOUND);
	heap->has_fixed_thresholds = false;
}

/* libc first, then all else that is written: static programs, copies under other names. */
static void search(struct vmat_heap *heap, bool is_broken)
{
	struct vmat_heap_priv *priv = heap->priv;
	const struct vmat_map *map = priv->map;

	for (int pass = 0; pass < 2 && !priv->copies_count; pass++) {
		for (size_t i = 0; i < map->count && priv->copies_count < VMAT_MALLOC_COPIES_MAX;
		     i++) {
			if (may_hold_data(map, i) && is_libc(&map->regions[i]) == (pass == 0))
				find_copy(heap, &map->regions[i], is_broken);
		}
	}
}

/* Can all of libc's data be read that is there? */
static bool is_readable(struct vmat_heap *heap, const struct vmat_region *region)
{
	struct vmat_page_run run;
	uint64_t at = region->start, word;
	uint32_t known;

	while (at < data_end(region)) {
		int count = vmat_source_scan(heap->priv->memory.target, &at, data_end(region),
					     VMAT_PAGE_PRESENT, &run, 1, &known);

		if (count < 0)
			return false;
		for (uint64_t page = run.start;
		     count && known & VMAT_PAGE_PRESENT && page < run.end; page += VMAT_HEAP_PAGE) {
			if (!vmat_heap_word(&heap->priv->memory, page, &word))
				return false;
		}
	}
	return true;
}

int vmat_ptmalloc_find(struct vmat_heap *heap)
{
	struct vmat_heap_priv *priv = heap->priv;
	const struct vmat_map *map = priv->map;

	forget(heap);
	search(heap, false);
	if (!priv->copies_count) { /* a read that has failed once may succeed */
		vmat_heap_memory_drop(&priv->memory);
		search(heap, false);
	}
	if (!priv->copies_count)
		search(heap, true);
	if (priv->copies_count)
		return 0;
	/* Not found is one thing, not readable another. */
	for (size_t i = 0; i < map->count && !priv->memory.error; i++) {
		if (may_hold_data(map, i) && is_libc(&map->regions[i]) &&
		    !is_readable(heap, &map->regions[i]))
			return -EIO;
	}
	return priv->memory.error ? priv->memory.error : -ENOENT;
}
