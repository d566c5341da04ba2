/* SPDX-License-Identifier: MIT */
/*
 * atlas_malloc.c: memory of glibc's malloc outside of the main heap, recognised by its own headers.
 *
 * A thread arena lies in heaps aligned to 64 MiB (1 MiB on 32 bit) that begin with
 * struct heap_info {ar_ptr, prev, size, mprotect_size}; a large block begins with a chunk header whose
 * size has only the IS_MMAPPED bit (malloc/arena.c and malloc.c, glibc 2.26 to 2.43). All of a header's
 * words must fit each other and the region before it is believed. This is not the heap walk: what the
 * chunks are is the business of src/heap.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "atlas/atlas_priv.h"
#include "base/cleanup.h"
#include "heap/malloc_layout.h"

enum {
	WORDS = 4,
	STEPS_PER_REGION = 65536, /* blocks that were merged into one region */
	HEAPS_PER_REGION = 4096,  /* aligned addresses that are looked at within one region */
};

struct search {
	struct vmat_atlas *atlas;
	uint64_t heap_size; /* HEAP_MAX_SIZE */
};

static bool is_candidate(const struct vmat_atlas *atlas, size_t i)
{
	const struct vmat_region *region = &atlas->map->regions[i];

	return !vmat_atlas_is_set(atlas, i) && region->backing == VMAT_BACKING_ANON &&
	       (region->prot & ~VMAT_PROT_EXEC) == (VMAT_PROT_READ | VMAT_PROT_WRITE) &&
	       vmat_is_known(region->first_present_addr);
}

/* Is there memory at addr that can hold an arena or a heap? */
static bool is_heap_memory(const struct search *search, uint64_t addr)
{
	const struct vmat_region *region = vmat_map_at(search->atlas->map, addr);

	return region && region->backing == VMAT_BACKING_ANON && region->prot & VMAT_PROT_WRITE;
}

/* Do the words make a heap_info at `base`, and lead to memory that can hold what they say? */
static bool is_heap(const struct search *search, const struct vmat_region *region, uint64_t base,
		    const uint64_t *words, uint64_t *arena, uint64_t *size)
{
	if (!vmat_malloc_is_heap(words, search->atlas->priv->word_size, search->heap_size, base,
				 region->end, arena, size))
		return false;
	return words[1] != base && (!words[1] || is_heap_memory(search, words[1])) &&
	       is_heap_memory(search, words[0]);
}

/* The part of a heap that has no rights yet is a region of its own, right behind. */
static int claim_heap(struct search *search, uint64_t base, uint64_t arena, uint64_t size)
{
	struct vmat_part part = {
		.start = base,
		.end = base + size,
		.kind = VMAT_KIND_ARENA,
		.owner = vmat_strings_printf(&search->atlas->priv->strings, "malloc arena 0x%llx",
					     (unsigned long long)arena),
		.why = "heap_info at its aligned beginning",
		.tid = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE),
	};
	const struct vmat_region *next = vmat_map_at(search->atlas->map, base + size);
	int err = vmat_atlas_claim(search->atlas, &part);

	if (err || size == search->heap_size || !next || next->start != base + size ||
	    next->prot & (VMAT_PROT_READ | VMAT_PROT_WRITE | VMAT_PROT_EXEC))
		return err;
	part.start = base + size;
	part.end = base + search->heap_size < next->end ? base + search->heap_size : next->end;
	part.kind = VMAT_KIND_RESERVED;
	part.why = "rest of the heap of an arena";
	return vmat_atlas_claim(search->atlas, &part);
}

static int find_heaps(struct search *search, size_t i)
{
	const struct vmat_region *region = &search->atlas->map->regions[i];
	uint64_t step = search->heap_size, base = (region->start + step - 1) & ~(step - 1);

	for (int n = 0; n < HEAPS_PER_REGION && base < region->end; n++) {
		uint64_t words[WORDS], arena, size;
		int err;

		if (vmat_atlas_read_words(search->atlas, base, words, WORDS) &&
		    is_heap(search, region, base, words, &arena, &size)) {
			err = claim_heap(search, base, arena, size);
			if (err)
				return err;
		}
		base += step;
	}
	return 0;
}

static int claim_block(struct vmat_atlas *atlas, uint64_t start, uint64_t size)
{
	return vmat_atlas_claim(atlas, &(struct vmat_part){
					       .start = start,
					       .end = start + size,
					       .kind = VMAT_KIND_MALLOC_MMAP,
					       .owner = "malloc",
					       .why = "header of a mapped chunk",
					       .tid = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE),
				       });
}

/* Blocks one behind the other from `addr` on: the kernel merges neighbours into one region. */
static int find_blocks(struct vmat_atlas *atlas, uint64_t addr, uint64_t end)
{
	for (int n = 0; n < STEPS_PER_REGION && addr < end; n++) {
		uint64_t words[WORDS], size;
		int err;

		if (!vmat_atlas_read_words(atlas, addr, words, WORDS))
			return 0;
		size = vmat_malloc_mapped_size(words, atlas->priv->word_size, end - addr);
		if (!size)
			return 0;
		err = claim_block(atlas, addr, size);
		if (err)
			return err;
		addr += size;
	}
	return 0;
}

/*
 * The beginnings of all regions in one read: most regions hold no heap, and one call each would cost
 * more than the rest of the map.
 */
struct heads {
	struct vmat_piece *pieces;
	uint64_t (*words)[WORDS];
	size_t *regions;
	size_t count;
};

static int read_heads(struct vmat_atlas *atlas, struct heads *heads)
{
	const struct vmat_map *map = atlas->map;
	unsigned word_size = atlas->priv->word_size;

	heads->pieces = calloc(map->count + 1, sizeof(*heads->pieces));
	heads->words = calloc(map->count + 1, sizeof(*heads->words));
	heads->regions = calloc(map->count + 1, sizeof(*heads->regions));
	if (!heads->pieces || !heads->words || !heads->regions)
		return -ENOMEM;
	for (size_t i = 0; i < map->count; i++) {
		if (!is_candidate(atlas, i) ||
		    map->regions[i].first_present_addr != map->regions[i].start)
			continue;
		heads->pieces[heads->count] = (struct vmat_piece){
			.addr = map->regions[i].start,
			.buffer = heads->words[heads->count],
			.size = WORDS * word_size,
		};
		heads->regions[heads->count++] = i;
	}
	vmat_source_read_pieces(atlas->priv->target, heads->pieces, heads->count);
	/* Words of four bytes are spread to the places of words of eight. */
	for (size_t i = 0; word_size == 4 && i < heads->count; i++) {
		uint32_t narrow[WORDS];

		memcpy(narrow, heads->words[i], sizeof(narrow));
		for (size_t k = 0; k < WORDS; k++)
			heads->words[i][k] = narrow[k];
	}
	return 0;
}

static int search_head(struct search *search, size_t i, const uint64_t *words)
{
	const struct vmat_region *region = &search->atlas->map->regions[i];
	uint64_t size = vmat_malloc_mapped_size(words, search->atlas->priv->word_size,
						vmat_region_size(region));
	int err;

	if (!size)
		return 0;
	err = claim_block(search->atlas, region->start, size);
	if (err || region->start + size == region->end)
		return err;
	return find_blocks(search->atlas, region->start + size, region->end);
}

/* Blocks that begin where a stack or a heap that is claimed in the same region ends. */
static int search_behind_claims(struct search *search)
{
	struct vmat_atlas *atlas = search->atlas;
	size_t count = atlas->priv->claims_count;
	int err = 0;

	for (size_t k = 0; k < count && !err; k++) {
		const struct vmat_claim claim = atlas->priv->claims[k];
		uint64_t end = atlas->map->regions[claim.region].end;

		if (claim.part.end < end && is_candidate(atlas, claim.region) &&
		    claim.part.kind != VMAT_KIND_MALLOC_MMAP)
			err = find_blocks(atlas, claim.part.end, end);
	}
	return err;
}

bool vmat_atlas_was_read(const struct vmat_atlas *atlas, size_t region)
{
	return atlas->priv->heads && atlas->priv->heads[region] == VMAT_HEAD_READ;
}

static void heads_deinit(struct heads *heads)
{
	free(heads->pieces);
	free(heads->words);
	free(heads->regions);
}

int vmat_atlas_add_malloc(struct vmat_atlas *atlas)
{
	struct search search = {
		.atlas = atlas,
		.heap_size = vmat_malloc_heap_max(atlas->priv->word_size),
	};
	vmat_cleanup(heads_deinit) struct heads heads = { 0 };
	int err = read_heads(atlas, &heads);

	atlas->priv->heads = calloc(atlas->map->count + 1, sizeof(*atlas->priv->heads));
	if (!atlas->priv->heads)
		return -ENOMEM;
	for (size_t i = 0; i < atlas->map->count && !err; i++) {
		const struct vmat_region *region = &atlas->map->regions[i];
		uint64_t next = (region->start + search.heap_size - 1) & ~(search.heap_size - 1);

		if (next < region->end && is_candidate(atlas, i))
			err = find_heaps(&search, i);
	}
	for (size_t k = 0; k < heads.count && !err; k++) {
		const bool is_read = heads.pieces[k].got;

		atlas->priv->heads[heads.regions[k]] = is_read ? VMAT_HEAD_READ : VMAT_HEAD_UNREAD;
		if (is_read)
			err = search_head(&search, heads.regions[k], heads.words[k]);
	}
	return err ? err : search_behind_claims(&search);
}
