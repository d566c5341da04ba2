/* SPDX-License-Identifier: MIT */
/*
 * atlas_claim.c: claims on ranges of an atlas that is being composed, and the words of the target that
 * they rest on.
 *
 * The sources of evidence (atlas_files.c and the like) call this file; atlas.c calls them. So no call goes
 * back up.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "atlas/atlas_priv.h"

/*
 * How far evidence of one address reaches. What the loader maps for its lists and for the main thread's descriptor is smaller:
 * 12 to 40 KiB here; the kernel merges the program's own mappings, of any size, with it.
 */
static const uint64_t NEAR = 64 << 10;

int vmat_atlas_set(struct vmat_atlas *atlas, size_t region, enum vmat_kind kind, const char *owner,
		   const char *why)
{
	if (!owner || !why)
		return -ENOMEM;
	atlas->owners[region].kind = kind;
	atlas->owners[region].owner = owner;
	atlas->owners[region].why = why;
	return 0;
}

static struct vmat_claim *new_claim(struct vmat_atlas_priv *priv)
{
	if (priv->claims_count == priv->claims_capacity) {
		size_t capacity = priv->claims_capacity ? 2 * priv->claims_capacity : 64;
		struct vmat_claim *more = realloc(priv->claims, capacity * sizeof(*more));

		if (!more)
			return NULL;
		priv->claims = more;
		priv->claims_capacity = capacity;
	}
	priv->claims[priv->claims_count].order = priv->claims_count;
	return &priv->claims[priv->claims_count++];
}

int vmat_atlas_claim(struct vmat_atlas *atlas, const struct vmat_part *part)
{
	const struct vmat_map *map = atlas->map;

	if (!part->owner || !part->why)
		return -ENOMEM;
	if (part->start >= part->end) /* sizes of the target may say so */
		return 0;
	for (size_t i = vmat_map_find(map, part->start);
	     i < map->count && map->regions[i].start < part->end; i++) {
		const struct vmat_region *region = &map->regions[i];
		struct vmat_claim *claim;

		if (vmat_atlas_is_set(atlas, i))
			continue;
		claim = new_claim(atlas->priv);
		if (!claim)
			return -ENOMEM;
		claim->part = *part;
		claim->region = i;
		if (claim->part.start < region->start)
			claim->part.start = region->start;
		if (claim->part.end > region->end)
			claim->part.end = region->end;
	}
	return 0;
}

int vmat_atlas_claim_rest(struct vmat_atlas *atlas, uint64_t addr, struct vmat_part part)
{
	const struct vmat_map *map = atlas->map;
	const uint64_t near = addr & ~(NEAR - 1);
	size_t i = vmat_map_find(map, addr);

	if (i == map->count || map->regions[i].start > addr || vmat_atlas_is_set(atlas, i) ||
	    map->regions[i].backing != VMAT_BACKING_ANON)
		return 0;
	part.start = map->regions[i].start;
	part.end = map->regions[i].end;
	if (part.start < near && near - part.start > NEAR)
		part.start = near - NEAR;
	if (part.end - near > 2 * NEAR)
		part.end = near + 2 * NEAR;
	for (size_t k = 0; k < atlas->priv->claims_count; k++) {
		const struct vmat_claim *claim = &atlas->priv->claims[k];

		if (claim->region != i)
			continue;
		if (claim->part.start <= addr && addr < claim->part.end)
			return 0;
		if (claim->part.end <= addr && claim->part.end > part.start)
			part.start = claim->part.end;
		if (claim->part.start > addr && claim->part.start < part.end)
			part.end = claim->part.start;
	}
	return vmat_atlas_claim(atlas, &part);
}

bool vmat_atlas_read_words(struct vmat_atlas *atlas, uint64_t addr, uint64_t *words, size_t count)
{
	unsigned char bytes[16 * 8];
	size_t word_size = atlas->priv->word_size, size = count * word_size;

	if (count > 16 || vmat_source_read(atlas->priv->target, addr, bytes, size) != (ssize_t)size)
		return false;
	for (size_t i = 0; i < count; i++) {
		words[i] = 0;
		memcpy(&words[i], bytes + i * word_size, word_size); /* little endian */
	}
	return true;
}
