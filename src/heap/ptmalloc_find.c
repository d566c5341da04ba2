/* SPDX-License-Identifier: MIT */
/*
 * ptmalloc_find.c: main_arena and mp_ of glibc's malloc, without symbols.
 *
 * Both lie in the writable data of libc (or of a static program). An arena is a place whose list of arenas
 * comes back to it and whose 127 bins are all closed rings; nothing else looks like that. mp_ is the place
 * whose counters fit each other and whose sbrk_base is where the heap begins.
 */
#include <errno.h>
#include <string.h>

#include "heap/heap_priv.h"

enum { DATA_MAX = 4 << 20, ARENAS_MAX = 65536, MP_WORDS = 19 };

/* Offsets in struct malloc_par; from glibc's sources, see malloc_layout.h. */
struct mp_layout {
	unsigned word_size;
	unsigned n_mmaps; /* int, followed by n_mmaps_max and max_n_mmaps */
	unsigned mmapped_mem;
	unsigned sbrk_base;
	unsigned tcache_bins;
	unsigned tcache_count;
};

static const struct mp_layout mp_layouts[] = {
	{ 8, 60, 80, 96, 104, 120 },  /* 2.35 to 2.42 */
	{ 8, 40, 56, 72, 80, 96 },    /* 2.26 to 2.34 */
	{ 8, 68, 88, 104, 112, 128 }, /* 2.43 */
	{ 4, 32, 48, 56, 60, 68 },    /* the same three */
	{ 4, 20, 36, 44, 48, 56 },    { 4, 36, 52, 60, 64, 72 },
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

static bool is_arena(struct vmat_heap_memory *memory, uint64_t addr,
		     const struct vmat_malloc_layout *layout)
{
	uint64_t next;
	int n = 0;

	if (layout->word_size != memory->word_size ||
	    !vmat_heap_word(memory, addr + layout->next, &next))
		return false;
	if (next != addr && !may_be_thread_arena(next, memory->word_size))
		return false;
	for (; next != addr && n < ARENAS_MAX; n++) {
		if (!next || !vmat_heap_word(memory, next + layout->next, &next))
			return false;
	}
	if (n == ARENAS_MAX)
		return false;
	for (unsigned i = 0; i < VMAT_MALLOC_BINS; i++) {
		if (!bin_is_closed(memory, vmat_malloc_bin(layout, addr, i)))
			return false;
	}
	return true;
}

/* libc's data is some ten KiB; what is mapped with megabytes is not searched to its end. */
static uint64_t data_end(const struct vmat_region *region)
{
	return vmat_region_size(region) > DATA_MAX ? region->start + DATA_MAX : region->end;
}

static bool find_main_arena(struct vmat_heap *heap, const struct vmat_region *region)
{
	struct vmat_heap_priv *priv = heap->priv;
	uint64_t end = data_end(region);

	for (uint64_t addr = region->start; addr < end; addr += priv->memory.word_size) {
		for (size_t i = 0; i < vmat_malloc_layouts_count; i++) {
			const struct vmat_malloc_layout *layout = &vmat_malloc_layouts[i];

			if (!is_arena(&priv->memory, addr, layout))
				continue;
			priv->layout = layout;
			priv->main_arena = addr;
			return true;
		}
	}
	return false;
}

static uint32_t number(const uint64_t *words, const struct mp_layout *layout, unsigned offset)
{
	return (uint32_t)(words[offset / layout->word_size] >> offset % layout->word_size * 8);
}

static uint64_t word(const uint64_t *words, const struct mp_layout *layout, unsigned offset)
{
	return words[offset / layout->word_size];
}

static bool is_mp(const uint64_t *words, const struct mp_layout *layout, uint64_t heap_start,
		  uint64_t heap_end)
{
	uint32_t now = number(words, layout, layout->n_mmaps);
	uint32_t most = number(words, layout, layout->n_mmaps + 8);
	uint64_t sbrk_base = word(words, layout, layout->sbrk_base);
	uint64_t bytes = word(words, layout, layout->mmapped_mem);
	uint64_t bins = word(words, layout, layout->tcache_bins);
	uint64_t count = word(words, layout, layout->tcache_count);

	if (now > most || bytes & 15 ||
	    bytes > word(words, layout, layout->mmapped_mem + layout->word_size))
		return false;
	if (sbrk_base ? sbrk_base < heap_start || sbrk_base >= heap_end : heap_end != 0)
		return false;
	return bins <= 76 && count <= 65535 && words[0] >= 4096 && words[2] >= 16;
}

static void find_mp(struct vmat_heap *heap, const struct vmat_region *region)
{
	struct vmat_heap_priv *priv = heap->priv;
	uint64_t words[MP_WORDS], start = 0, end = 0;

	for (size_t i = 0; i < priv->map->count; i++) {
		if (strncmp(priv->map->regions[i].name, "[heap", 5) != 0)
			continue;
		start = start ? start : priv->map->regions[i].start;
		end = priv->map->regions[i].end;
	}
	for (uint64_t addr = region->start; addr < data_end(region);
	     addr += priv->memory.word_size) {
		if (!vmat_heap_words(&priv->memory, addr, words, MP_WORDS))
			continue;
		for (size_t i = 0; i < sizeof(mp_layouts) / sizeof(mp_layouts[0]); i++) {
			const struct mp_layout *layout = &mp_layouts[i];

			if (layout->word_size != priv->memory.word_size ||
			    !is_mp(words, layout, start, end))
				continue;
			priv->mp_addr = addr;
			priv->sbrk_base = word(words, layout, layout->sbrk_base);
			heap->mmapped_expected = number(words, layout, layout->n_mmaps);
			heap->mmapped_bytes_expected = word(words, layout, layout->mmapped_mem);
			heap->trim_threshold = words[0];
			heap->mmap_threshold = words[2];
			heap->arena_max = words[4];
			heap->tcache_count = word(words, layout, layout->tcache_count);
			return;
		}
	}
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

int vmat_ptmalloc_find(struct vmat_heap *heap)
{
	const struct vmat_map *map = heap->priv->map;

	/* libc first, then all else that is written: static programs, copies under other names. */
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < map->count; i++) {
			if (!may_hold_data(map, i) || is_libc(&map->regions[i]) != (pass == 0))
				continue;
			if (find_main_arena(heap, &map->regions[i])) {
				find_mp(heap, &map->regions[i]);
				return 0;
			}
		}
	}
	/* Not found is one thing, not readable another. */
	return heap->priv->memory.error ? heap->priv->memory.error : -ENOENT;
}
