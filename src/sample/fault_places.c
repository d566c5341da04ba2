/* SPDX-License-Identifier: MIT */
/* fault_places.c: see fault_places.h. */
#include "sample/fault_places.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target/target_source.h"

/*
 * NEAR: faults where nothing is mapped any more make one place when they are so close: a mapping of some MiB that came and went.
 * SCAN_*: so much of a place, and of all places, is scanned at a look: at 13 to 60 ns a page that is below 20 ms.
 */
static const uint64_t NEAR = 1 << 20, SCAN_PLACE = 64 << 20, SCAN_LOOK = 256 << 20;

enum { RUNS = 256 };

/* What lies at an address: a region, or the part of one that is one thing. */
struct piece {
	uint64_t start, end;
	enum vmat_kind kind;
	const char *owner;
	const struct vmat_region *region;
	bool was_read;
};

int vmat_fault_places_init(struct vmat_fault_places *ret, uint64_t page_size)
{
	*ret = (struct vmat_fault_places){
		.spots = calloc(VMAT_FAULT_PLACES_MAX, sizeof(*ret->spots)),
		.page_size = page_size,
	};
	return ret->spots ? 0 : -ENOMEM;
}

void vmat_fault_places_deinit(struct vmat_fault_places *places)
{
	free(places->spots);
	*places = (struct vmat_fault_places){ .spots = NULL };
}

/* The index of the place that holds addr, or of the first one above it. */
static size_t index_of(const struct vmat_fault_places *places, uint64_t addr)
{
	size_t low = 0, high = places->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (places->spots[middle].place.end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct vmat_fault_spot *vmat_fault_places_find(const struct vmat_fault_places *places,
					       uint64_t addr)
{
	size_t i = index_of(places, addr);

	return i < places->count && places->spots[i].place.start <= addr ? &places->spots[i] : NULL;
}

/* Regions without any right hold nothing: what is trimmed off an arena becomes one. */
static bool is_usable(const struct vmat_region *region)
{
	return region->prot & (VMAT_PROT_READ | VMAT_PROT_WRITE | VMAT_PROT_EXEC);
}

static bool piece_in(const struct vmat_atlas *atlas, size_t i, uint64_t addr, struct piece *ret)
{
	const struct vmat_region *region = &atlas->map->regions[i];
	const struct vmat_owner *owner = &atlas->owners[i];

	if (!is_usable(region))
		return false;
	*ret = (struct piece){ region->start, region->end, owner->kind,
			       owner->owner,  region,      vmat_atlas_was_read(atlas, i) };
	for (size_t k = 0; k < owner->parts_count; k++) {
		const struct vmat_part *part = &owner->parts[k];

		if (addr < part->start || addr >= part->end)
			continue;
		ret->start = part->start;
		ret->end = part->end;
		ret->kind = part->kind;
		ret->owner = part->owner;
	}
	return true;
}

static bool piece_at(const struct vmat_atlas *atlas, uint64_t addr, struct piece *ret)
{
	size_t i = vmat_map_find(atlas->map, addr);

	return i < atlas->map->count && atlas->map->regions[i].start <= addr &&
	       piece_in(atlas, i, addr, ret);
}

/*
 * Where nothing lies any more: the heap whose end was there. brk memory grows into the range above it, where the kernel puts
 * nothing else, and an arena into the reservation that begins at its end.
 */
static bool heap_below(const struct vmat_atlas *atlas, uint64_t addr, struct piece *ret)
{
	const struct vmat_map *map = atlas->map;
	size_t i = vmat_map_find(map, addr);
	bool is_reserved = i < map->count && map->regions[i].start <= addr;

	if (!i || !piece_in(atlas, i - 1, map->regions[i - 1].end - 1, ret))
		return false;
	if (is_reserved)
		return ret->kind == VMAT_KIND_ARENA && ret->end == map->regions[i].start;
	/* The kernel's own choices lie close below the next region, terabytes away. */
	return ret->kind == VMAT_KIND_HEAP &&
	       (i == map->count || addr - ret->end < map->regions[i].start - addr);
}

static void name_spot(struct vmat_fault_spot *spot, const struct piece *piece)
{
	struct vmat_fault_place *place = &spot->place;

	place->was_seen = true;
	place->was_read |= piece->was_read;
	place->kind = piece->kind;
	place->backing = piece->region->backing;
	place->is_private = !(piece->region->prot & VMAT_PROT_SHARED);
	snprintf(place->owner, sizeof(place->owner), "%s", piece->owner ? piece->owner : "");
	snprintf(spot->path, sizeof(spot->path), "%s", piece->region->name);
}

/* Anonymous memory that is nobody else's: what lies beside it, even in the same region, is another thing. */
static bool is_special(enum vmat_kind kind)
{
	return kind == VMAT_KIND_HEAP || kind == VMAT_KIND_STACK || kind == VMAT_KIND_ARENA ||
	       kind == VMAT_KIND_TLS || kind == VMAT_KIND_BSS;
}

/* Is what lies there now the same thing as what lay there? */
static bool is_same(const struct vmat_fault_spot *spot, const struct piece *piece)
{
	const struct vmat_fault_place *place = &spot->place;

	if (!place->was_seen)
		return true;
	if (place->backing != piece->region->backing)
		return false;
	if (place->backing != VMAT_BACKING_ANON)
		return strncmp(spot->path, piece->region->name, sizeof(spot->path) - 1) == 0;
	return is_special(place->kind) || is_special(piece->kind) ? place->kind == piece->kind
								  : true;
}

static void insert(struct vmat_fault_places *places, size_t at, const struct vmat_fault_spot *spot)
{
	memmove(places->spots + at + 1, places->spots + at,
		(places->count - at) * sizeof(*places->spots));
	places->spots[at] = *spot;
	places->count++;
}

static void clip(const struct vmat_fault_places *places, size_t at, uint64_t *start, uint64_t *end)
{
	if (at && *start < places->spots[at - 1].place.end)
		*start = places->spots[at - 1].place.end;
	if (at<places->count && * end> places->spots[at].place.start)
		*end = places->spots[at].place.start;
}

/* A new place for addr, which lies in none. */
static struct vmat_fault_spot *add(struct vmat_fault_places *places, const struct vmat_atlas *atlas,
				   uint64_t addr)
{
	const uint64_t page = addr & ~(places->page_size - 1);
	size_t at = index_of(places, addr);
	struct vmat_fault_spot spot = {
		.place = { .start = page, .end = page + places->page_size, .kind = VMAT_KIND_ANON }
	};
	struct vmat_fault_spot *below = at ? &places->spots[at - 1] : NULL,
			       *above = at < places->count ? &places->spots[at] : NULL;
	struct piece piece;

	if (atlas && piece_at(atlas, addr, &piece)) {
		name_spot(&spot, &piece);
		spot.place.start = piece.start;
		spot.place.end = piece.end;
	} else if (atlas && heap_below(atlas, addr, &piece)) {
		if (below && below->place.kind == piece.kind && below->place.end > piece.start) {
			below->place.end = page + places->page_size;
			return below;
		}
		name_spot(&spot, &piece);
		spot.place.start = piece.start;
	} else if (below && !below->place.was_seen && page - below->place.end < NEAR) {
		below->place.end = page + places->page_size;
		return below;
	} else if (above && !above->place.was_seen && above->place.start - page < NEAR) {
		above->place.start = page;
		return above;
	}
	if (places->count == VMAT_FAULT_PLACES_MAX) {
		places->is_full = true;
		return NULL;
	}
	clip(places, at, &spot.place.start, &spot.place.end);
	insert(places, at, &spot);
	return &places->spots[at];
}

void vmat_fault_places_note(struct vmat_fault_places *places, const struct vmat_atlas *atlas,
			    uint64_t addr)
{
	struct vmat_fault_spot *spot = vmat_fault_places_find(places, addr);

	if (!spot)
		spot = add(places, atlas, addr);
	if (!spot)
		return;
	spot->recent[spot->recent_count++ % VMAT_FAULT_RECENT] = addr;
}

static void widen(struct vmat_fault_range *to, const struct vmat_fault_range *from, bool has_to)
{
	if (!has_to) {
		*to = *from;
		return;
	}
	to->min = to->min < from->min ? to->min : from->min;
	to->max = to->max > from->max ? to->max : from->max;
}

/* What was seen of `from`, a part of the same thing, goes over to `to`. */
static void absorb(struct vmat_fault_spot *to, const struct vmat_fault_spot *from)
{
	struct vmat_fault_place *place = &to->place;
	const struct vmat_fault_place *other = &from->place;

	if (other->changes > place->changes)
		place->changes = other->changes;
	place->was_read |= other->was_read;
	place->probes += other->probes;
	place->probes_unmapped += other->probes_unmapped;
	place->probes_absent += other->probes_absent;
	place->probes_copied += other->probes_copied;
	if (other->looks) {
		widen(&place->mapped, &other->mapped, place->looks);
		place->looks = place->looks > other->looks ? place->looks : other->looks;
	}
	if (from->looked) {
		widen(&place->present, &other->present, to->looked);
		widen(&place->huge, &other->huge, to->looked);
		widen(&place->shared, &other->shared, to->looked);
		widen(&place->swapped, &other->swapped, to->looked);
		to->looked += from->looked;
	}
	for (size_t i = 0; i < from->recent_count && i < VMAT_FAULT_RECENT; i++)
		to->recent[to->recent_count++ % VMAT_FAULT_RECENT] = from->recent[i];
}

/* Makes place `i` as wide as [start, end), over those neighbours that it swallows; others limit it. */
static void grow(struct vmat_fault_places *places, size_t i, uint64_t start, uint64_t end,
		 const struct piece *piece)
{
	size_t first = i, last = i;

	while (first && places->spots[first - 1].place.end > start &&
	       is_same(&places->spots[first - 1], piece))
		first--;
	while (last + 1 < places->count && places->spots[last + 1].place.start < end &&
	       is_same(&places->spots[last + 1], piece))
		last++;
	for (size_t k = first; k <= last; k++) {
		if (k != i)
			absorb(&places->spots[i], &places->spots[k]);
		if (places->spots[k].place.start < start)
			start = places->spots[k].place.start;
		if (places->spots[k].place.end > end)
			end = places->spots[k].place.end;
	}
	places->spots[first] = places->spots[i];
	memmove(places->spots + first + 1, places->spots + last + 1,
		(places->count - last - 1) * sizeof(*places->spots));
	places->count -= last - first;
	if (first && start < places->spots[first - 1].place.end)
		start = places->spots[first - 1].place.end;
	if (first + 1 < places->count && end > places->spots[first + 1].place.start)
		end = places->spots[first + 1].place.start;
	places->spots[first].place.start = start;
	places->spots[first].place.end = end;
}

/* Names a place by what lies where the faults were, if anything does. */
static void name_by_faults(struct vmat_fault_spot *spot, const struct vmat_atlas *atlas)
{
	size_t count =
		spot->recent_count < VMAT_FAULT_RECENT ? spot->recent_count : VMAT_FAULT_RECENT;
	struct piece piece;

	for (size_t i = 0; i < count; i++) {
		if (piece_at(atlas, spot->recent[i], &piece)) {
			name_spot(spot, &piece);
			return;
		}
	}
}

/* A place takes the width and the name of what the look finds over it. */
static void fit(struct vmat_fault_places *places, const struct vmat_atlas *atlas)
{
	for (size_t i = 0; i < places->count; i++) {
		uint64_t addr = places->spots[i].place.start;

		/* A look may have missed whose it is: a thread's stack, for one, between two threads that use it. */
		if (places->spots[i].place.kind == VMAT_KIND_ANON)
			name_by_faults(&places->spots[i], atlas);
		if (!places->spots[i].place.was_seen)
			continue;
		for (size_t r = vmat_map_find(atlas->map, addr); r < atlas->map->count; r++) {
			struct vmat_fault_spot *spot = &places->spots[i];
			const struct vmat_region *region = &atlas->map->regions[r];
			uint64_t at = region->start > addr ? region->start : addr;
			struct piece piece;

			if (region->start >= spot->place.end)
				break;
			if (!piece_in(atlas, r, at, &piece) || !is_same(spot, &piece))
				continue;
			if (spot->place.kind == VMAT_KIND_ANON)
				name_spot(spot, &piece);
			if (piece.start < spot->place.start || piece.end > spot->place.end) {
				grow(places, i, piece.start, piece.end, &piece);
				break;
			}
		}
	}
}

static void take(struct vmat_fault_range *range, uint64_t value, bool is_first)
{
	if (is_first)
		*range = (struct vmat_fault_range){ value, value, value, value };
	range->last = value;
	if (value < range->min)
		range->min = value;
	if (value > range->max)
		range->max = value;
}

static void measure_map(struct vmat_fault_spot *spot, const struct vmat_atlas *atlas)
{
	struct vmat_fault_place *place = &spot->place;
	uint64_t mapped = 0, before = place->mapped.last;

	for (size_t r = vmat_map_find(atlas->map, place->start); r < atlas->map->count; r++) {
		const struct vmat_region *region = &atlas->map->regions[r];
		uint64_t start = region->start > place->start ? region->start : place->start;
		uint64_t end = region->end < place->end ? region->end : place->end;

		if (region->start >= place->end)
			break;
		if (is_usable(region))
			mapped += end - start;
	}
	if (place->looks && mapped != before)
		place->changes++;
	take(&place->mapped, mapped, place->looks == 0);
	place->looks++;
}

/* The pages of a place, as far as the budget reaches. */
static void measure_pages(struct vmat_fault_spot *spot, struct vmat_target *target,
			  uint64_t *budget)
{
	const uint32_t want = VMAT_PAGE_PRESENT | VMAT_PAGE_SWAPPED | VMAT_PAGE_HUGE |
			      VMAT_PAGE_FILE | VMAT_PAGE_ZERO | VMAT_PAGE_EXCLUSIVE;
	struct vmat_fault_place *place = &spot->place;
	uint64_t addr = place->start, end = place->end, present = 0, huge = 0, shared = 0,
		 swapped = 0;
	struct vmat_page_run runs[RUNS];
	uint32_t known = 0;

	if (end - addr > SCAN_PLACE)
		end = addr + SCAN_PLACE;
	if (end - addr > *budget)
		return;
	*budget -= end - addr;
	while (addr < end) {
		int count = vmat_source_scan(target, &addr, end, want, runs, RUNS, &known);

		if (count < 0)
			return;
		for (int i = 0; i < count; i++) {
			uint64_t bytes = runs[i].end - runs[i].start;
			uint32_t flags = runs[i].flags;

			present += flags & VMAT_PAGE_PRESENT ? bytes : 0;
			huge += flags & VMAT_PAGE_HUGE ? bytes : 0;
			swapped += flags & VMAT_PAGE_SWAPPED ? bytes : 0;
			if (known & VMAT_PAGE_EXCLUSIVE && flags & VMAT_PAGE_PRESENT &&
			    !(flags & (VMAT_PAGE_FILE | VMAT_PAGE_ZERO | VMAT_PAGE_EXCLUSIVE)))
				shared += bytes;
		}
	}
	take(&place->present, present, spot->looked == 0);
	take(&place->huge, huge, spot->looked == 0);
	take(&place->shared, shared, spot->looked == 0);
	take(&place->swapped, swapped, spot->looked == 0);
	spot->looked++;
}

/* What has become of pages that had faults a moment ago. */
static void probe(struct vmat_fault_spot *spot, const struct vmat_atlas *atlas,
		  struct vmat_target *target, uint64_t page_size)
{
	struct vmat_fault_place *place = &spot->place;
	size_t count =
		spot->recent_count < VMAT_FAULT_RECENT ? spot->recent_count : VMAT_FAULT_RECENT;

	for (size_t i = 0; i < count; i++) {
		const uint64_t page = spot->recent[i] & ~(page_size - 1);
		const struct vmat_region *region = vmat_map_at(atlas->map, page);
		struct vmat_page_run run;
		uint64_t addr = page;
		uint32_t known = 0;
		int runs;

		place->probes++;
		if (!region || !is_usable(region)) {
			place->probes_unmapped++;
			continue;
		}
		runs = vmat_source_scan(target, &addr, page + page_size,
					VMAT_PAGE_PRESENT | VMAT_PAGE_FILE, &run, 1, &known);
		if (runs < 0 || !(known & VMAT_PAGE_PRESENT))
			place->probes--;
		else if (runs == 0 || !(run.flags & VMAT_PAGE_PRESENT))
			place->probes_absent++;
		else if (known & VMAT_PAGE_FILE && !(run.flags & VMAT_PAGE_FILE) &&
			 place->backing == VMAT_BACKING_FILE)
			place->probes_copied++;
	}
	spot->recent_count = 0;
}

void vmat_fault_places_look(struct vmat_fault_places *places, const struct vmat_atlas *atlas,
			    struct vmat_target *target)
{
	uint64_t budget = SCAN_LOOK;

	fit(places, atlas);
	for (size_t i = 0; i < places->count; i++) {
		struct vmat_fault_spot *spot = &places->spots[i];

		measure_map(spot, atlas);
		if (!spot->recent_count)
			continue;
		measure_pages(spot, target, &budget);
		probe(spot, atlas, target, places->page_size);
	}
}
