/* SPDX-License-Identifier: MIT */
/*
 * musl.c: mallocng, the malloc of musl since 1.2.1, as one of the allocators that are walked (heap_priv.h).
 *
 * A group holds up to 32 slots of one size. What is known of it, masks of its free slots above all, stands apart
 * from it in a meta, and metas lie in meta areas of a page each, which begin with a secret. A small group lies
 * itself in a slot of a larger one. From musl's sources (src/malloc/mallocng, 1.2.1 to 1.2.5), for words of 8
 * bytes. The context (struct malloc_context) is found without symbols: it is the place in libc's data whose
 * chain of meta areas repeats its secret. A slot is a chunk here: it begins behind its header of 4 bytes,
 * which are the last ones of the slot before.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "heap/heap_priv.h"

enum {
	DATA_MAX = 4 << 20,
	AREAS_MAX = 1 << 20,
	AREA_HEADER_WORDS = 3, /* check, next, nslots */
	AREA_SLOTS_MAX = 101,
	META_WORDS = 5, /* prev, next, mem, masks, {last_idx:5, freeable:1, sizeclass:6, maplen} */
	UNIT = 16,
	CLASSES = 48,
	CLASS_MAPPED = 63,
	HEADER = 4,
	NESTING_MAX = 32,
	CONTEXT_SIZE = 1024,     /* without what may be behind the counters of each class */
	OFFSET_FOLLOWS = 7 << 5, /* a slot's header: the block begins further behind */
	FREED = 255,
};

/* Words of the context, behind secret and, where a page has no constant size, pagesize. */
enum { INIT_DONE, FREE_META, AVAIL_META, AVAIL_COUNT, AVAIL_AREAS, ALLOC_SHIFT, HEAD, TAIL, WORDS };

static const uint16_t size_classes[CLASSES] = {
	1,   2,   3,   4,    5,    6,    7,    8,    9,    10,   12,   15,   18,   20,   25,   31,
	36,  42,  50,  63,   72,   84,   102,  127,  146,  170,  204,  255,  292,  340,  409,  511,
	584, 682, 818, 1023, 1169, 1364, 1637, 2047, 2340, 2730, 3276, 4095, 4680, 5460, 6552, 8191,
};

struct group {
	uint64_t start;
	uint64_t stride;
	uint32_t slots;
	uint32_t in_use; /* a bit each */
	bool is_mapped;  /* one block with a mapping of its own */
};

struct musl {
	uint64_t context;
	size_t areas_count;
	uint64_t areas[]; /* ascending */
};

struct walk {
	struct vmat_heap *heap;
	struct vmat_heap_arena *arena;
	struct group *groups;
	size_t count, capacity;
	uint64_t in_flight;
};

static int compare_addrs(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Follows the meta areas from `area` to `tail`. 0, -ENOENT when one is none, -ENOMEM. */
static int read_areas(struct vmat_heap *heap, uint64_t context, uint64_t secret, uint64_t area,
		      uint64_t tail)
{
	struct vmat_heap_priv *priv = heap->priv;
	struct musl *musl = NULL;
	size_t count = 0, capacity = 0;

	for (uint64_t words[2]; area; area = words[1]) {
		if (area % VMAT_HEAP_PAGE || count == AREAS_MAX ||
		    !vmat_heap_words(&priv->memory, area, words, 2) || words[0] != secret ||
		    (words[1] == 0) != (area == tail)) {
			free(musl);
			return -ENOENT;
		}
		if (count == capacity) {
			size_t more_capacity = capacity ? 2 * capacity : 64;
			struct musl *more = realloc(
				musl, sizeof(*more) + more_capacity * sizeof(more->areas[0]));

			if (!more) {
				free(musl);
				return -ENOMEM;
			}
			musl = more;
			capacity = more_capacity;
		}
		musl->areas[count++] = area;
	}
	if (!musl)
		return -ENOENT;
	musl->context = context;
	musl->areas_count = count;
	qsort(musl->areas, count, sizeof(musl->areas[0]), compare_addrs);
	free(priv->own);
	priv->own = musl;
	return 0;
}

/* Is the context at addr, its words behind secret from `at` on? */
static int try_context(struct vmat_heap *heap, uint64_t addr, uint64_t at)
{
	uint64_t secret, words[WORDS];

	if (!vmat_heap_word(&heap->priv->memory, at, &words[INIT_DONE]) ||
	    (uint32_t)words[INIT_DONE] != 1)
		return -ENOENT;
	if (!vmat_heap_word(&heap->priv->memory, addr, &secret) || !secret ||
	    !vmat_heap_words(&heap->priv->memory, at, words, WORDS))
		return -ENOENT;
	if (!words[HEAD] || words[HEAD] % VMAT_HEAP_PAGE || words[TAIL] % VMAT_HEAP_PAGE ||
	    words[AVAIL_COUNT] > AREA_SLOTS_MAX || words[ALLOC_SHIFT] > 64)
		return -ENOENT;
	return read_areas(heap, addr, secret, words[HEAD], words[TAIL]);
}

/* Written data of a file, and the anonymous memory right behind it (.bss). */
static bool may_hold_context(const struct vmat_map *map, size_t i)
{
	const struct vmat_region *region = &map->regions[i];

	if (region->prot != (VMAT_PROT_READ | VMAT_PROT_WRITE))
		return false;
	if (region->backing == VMAT_BACKING_FILE)
		return true;
	return i > 0 && region->backing == VMAT_BACKING_ANON &&
	       region[-1].backing == VMAT_BACKING_FILE && region[-1].end == region->start &&
	       region[-1].prot & VMAT_PROT_WRITE;
}

static int find(struct vmat_heap *heap)
{
	const struct vmat_map *map = heap->priv->map;

	for (size_t i = 0; i < map->count; i++) {
		uint64_t end = map->regions[i].end;

		if (!may_hold_context(map, i))
			continue;
		if (vmat_region_size(&map->regions[i]) > DATA_MAX)
			end = map->regions[i].start + DATA_MAX;
		for (uint64_t addr = map->regions[i].start; addr < end; addr += 8) {
			uint64_t word;
			int err;

			if (!vmat_heap_word(&heap->priv->memory, addr, &word)) {
				addr |= VMAT_HEAP_PAGE - 8; /* the whole page is absent */
				continue;
			}
			err = try_context(heap, addr, addr + 8);
			if (err == -ENOENT) /* a page size, where it is no constant */
				err = try_context(heap, addr, addr + 16);
			if (err != -ENOENT)
				return err;
		}
	}
	return heap->priv->memory.error ? heap->priv->memory.error : -ENOENT;
}

static int add_group(struct walk *walk, const struct group *group)
{
	if (walk->count == walk->capacity) {
		size_t capacity = walk->capacity ? 2 * walk->capacity : 1024;
		struct group *more = realloc(walk->groups, capacity * sizeof(*more));

		if (!more)
			return -ENOMEM;
		walk->groups = more;
		walk->capacity = capacity;
	}
	walk->groups[walk->count++] = *group;
	return 0;
}

static uint64_t end_of(const struct group *group)
{
	return group->start + UNIT + group->slots * group->stride;
}

/* The words of a meta as a group. False when they do not fit each other. */
static bool is_group(const struct vmat_heap *heap, const uint64_t *meta, struct group *ret)
{
	uint32_t avail = (uint32_t)meta[3], freed = (uint32_t)(meta[3] >> 32);
	unsigned last = meta[4] & 31, size_class = meta[4] >> 6 & 63;
	uint64_t maplen = meta[4] >> 12, start = meta[2];
	const struct vmat_region *region = vmat_map_at(heap->priv->map, start);
	uint32_t all = (uint32_t)((2ULL << last) - 1);

	if (avail & freed || (avail | freed) & ~all || start % UNIT || !region)
		return false;
	if (size_class >= CLASSES && (size_class != CLASS_MAPPED || last || !maplen))
		return false;
	*ret = (struct group){
		.start = start,
		.slots = last + 1,
		.in_use = all & ~(avail | freed),
		.is_mapped = size_class == CLASS_MAPPED,
	};
	if (maplen > (region->end - start) / VMAT_HEAP_PAGE)
		return false;
	ret->stride = !last && maplen ? maplen * VMAT_HEAP_PAGE - UNIT
				      : (uint64_t)UNIT * size_classes[size_class];
	return end_of(ret) <= region->end && region->prot & VMAT_PROT_WRITE;
}

/* Notes the groups of a meta area. */
static int read_area(struct walk *walk, uint64_t area)
{
	struct vmat_heap_memory *memory = &walk->heap->priv->memory;
	uint64_t words[AREA_HEADER_WORDS], meta[META_WORDS], back;
	int err = 0;

	if (!vmat_heap_words(memory, area, words, AREA_HEADER_WORDS) ||
	    (uint32_t)words[2] > AREA_SLOTS_MAX) {
		vmat_heap_find_fault(walk->heap, area,
				     "a meta area has an impossible number of metas");
		return 0;
	}
	walk->arena->bytes += VMAT_HEAP_PAGE;
	walk->arena->metadata += VMAT_HEAP_PAGE;
	for (uint32_t i = 0; i < (uint32_t)words[2] && !err; i++) {
		uint64_t addr = area + 8 * (AREA_HEADER_WORDS + META_WORDS * (uint64_t)i);
		struct group group;

		if (!vmat_heap_words(memory, addr, meta, META_WORDS) || !meta[2])
			continue;
		if (!is_group(walk->heap, meta, &group) ||
		    !vmat_heap_word(memory, meta[2], &back) || back != addr)
			vmat_heap_find_fault(walk->heap, addr,
					     "a meta and its group at 0x%llx do not fit each other",
					     (unsigned long long)meta[2]);
		else
			err = add_group(walk, &group);
	}
	return err;
}

/*
 * Where the block of a slot in use begins. A header that says that it is free belongs to a thread that was stopped
 * between taking the slot and saying so, or between the two when it gave it back.
 */
static uint64_t block_of(struct walk *walk, const struct group *group, uint64_t slot,
			 unsigned index)
{
	uint64_t word, offset;
	unsigned head;

	if (!vmat_heap_stream(&walk->heap->priv->memory, slot - 8, &word, 1)) {
		vmat_heap_find_fault(walk->heap, slot, "the page of a slot's header is not there");
		return slot;
	}
	head = word >> 40 & 255;
	offset = word >> 48;
	if (head == FREED || (word >> 32) == 0) {
		walk->in_flight += index || head == FREED;
		return slot;
	}
	if (head == OFFSET_FOLLOWS && offset * UNIT < group->stride)
		return slot + offset * UNIT;
	if ((head & 31) != index || offset != (slot - group->start) / UNIT - 1)
		vmat_heap_find_fault(walk->heap, slot,
				     "the header 0x%llx of slot %u does not fit its group",
				     (unsigned long long)(word >> 32), index);
	return slot;
}

/* Writes down slots [from, to) of a group. */
static void add_slots(struct walk *walk, const struct group *group, unsigned from, unsigned to,
		      uint64_t *owned_from)
{
	uint64_t start = group->start + UNIT + from * group->stride;
	uint64_t end = group->start + UNIT + to * group->stride;
	struct vmat_heap_segment *segment;

	if (from == to)
		return;
	segment = vmat_heap_new_segment(walk->heap, start, end, group->is_mapped ? SIZE_MAX : 0);
	if (!segment) {
		vmat_heap_find_fault(walk->heap, start, "there are more groups than are walked");
		walk->arena->is_complete = false;
		return;
	}
	segment->owned_from = *owned_from;
	*owned_from = end;
	walk->arena->metadata -= group->is_mapped ? 0 : end - start;
	for (unsigned i = from; i < to; i++, start += group->stride) {
		bool is_in_use = group->in_use >> i & 1;
		uint64_t block = is_in_use ? block_of(walk, group, start, i) : start;

		if (group->is_mapped) {
			segment->block = block;
			continue;
		}
		vmat_heap_begin_chunk(segment, start);
		vmat_heap_begin_block(segment, block);
		if (!is_in_use)
			vmat_heap_set_state(segment, start, VMAT_CHUNK_FREE);
	}
}

/* Slots, and the groups that lie in slots. Returns the number of the first group behind it. */
static size_t walk_group(struct walk *walk, size_t number, uint64_t *owned_from, unsigned depth)
{
	const struct group *group = &walk->groups[number];
	size_t next = number + 1;
	unsigned from = 0;

	for (unsigned i = 0; i < group->slots; i++) {
		uint64_t slot = group->start + UNIT + i * group->stride;
		uint64_t end = slot + group->stride;
		bool is_first = true;

		while (next < walk->count && walk->groups[next].start < end) {
			const struct group *inner = &walk->groups[next];

			if (is_first && inner->start == slot && end_of(inner) <= end &&
			    !inner->is_mapped && group->in_use >> i & 1 && depth < NESTING_MAX) {
				add_slots(walk, group, from, i, owned_from);
				from = i + 1;
				next = walk_group(walk, next, owned_from, depth + 1);
			} else {
				vmat_heap_find_fault(walk->heap, inner->start,
						     "a group begins within that at 0x%llx",
						     (unsigned long long)group->start);
				next++;
			}
			is_first = false;
		}
	}
	add_slots(walk, group, from, group->slots, owned_from);
	return next;
}

static int compare_groups(const void *a, const void *b)
{
	const struct group *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static int walk_groups(struct walk *walk)
{
	uint64_t words = 0;
	size_t next;

	if (walk->count)
		qsort(walk->groups, walk->count, sizeof(*walk->groups), compare_groups);
	/* A group is cut by those in its slots. */
	for (size_t i = 0; i < walk->count; i++)
		words += (end_of(&walk->groups[i]) - walk->groups[i].start) / UNIT / 64 + 2 * 2;
	if (!vmat_heap_reserve_bits(walk->heap, words))
		return -ENOMEM;
	for (size_t i = 0; i < walk->count; i = next) {
		const struct group *group = &walk->groups[i];
		uint64_t owned_from = group->start;

		walk->arena->bytes += group->is_mapped ? UNIT : end_of(group) - group->start;
		walk->arena->metadata += group->is_mapped ? UNIT : end_of(group) - group->start;
		next = walk_group(walk, i, &owned_from, 0);
	}
	return 0;
}

/* One thread can be within one call only. */
static void judge_in_flight(struct walk *walk)
{
	if (walk->in_flight > 1 && walk->in_flight > vmat_heap_threads(&walk->heap->priv->memory))
		vmat_heap_find_fault(
			walk->heap, ((struct musl *)walk->heap->priv->own)->context,
			"%llu slots are in use by their masks and free by their headers",
			(unsigned long long)walk->in_flight);
}

static int walk_all(struct vmat_heap *heap)
{
	const struct musl *musl = heap->priv->own;
	struct walk walk = { .heap = heap, .arena = &heap->arenas[0] };
	int err = 0;

	vmat_heap_begin_walk(heap);
	heap->arenas_count = 1;
	*walk.arena = (struct vmat_heap_arena){
		.addr = musl->context,
		.kind = "main",
		.is_main = true,
		.is_complete = true,
		.trimmable = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE),
	};
	for (size_t i = 0; i < musl->areas_count && !err; i++)
		err = read_area(&walk, musl->areas[i]);
	if (!err)
		err = walk_groups(&walk);
	free(walk.groups);
	if (err)
		return err;
	judge_in_flight(&walk);
	if (heap->findings_total)
		walk.arena->is_complete = false;
	vmat_heap_end_walk(heap);
	return 0;
}

/* The context and the meta areas: they point at groups. */
static bool next_own(const struct vmat_heap *heap, uint64_t at, uint64_t end, uint64_t *own_start,
		     uint64_t *own_end)
{
	const struct musl *musl = heap->priv->own;
	size_t low = 0, high = musl->areas_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (musl->areas[middle] + VMAT_HEAP_PAGE <= at)
			low = middle + 1;
		else
			high = middle;
	}
	*own_start = UINT64_MAX;
	if (low < musl->areas_count) {
		*own_start = musl->areas[low];
		*own_end = *own_start + VMAT_HEAP_PAGE;
	}
	if (musl->context + CONTEXT_SIZE > at && musl->context < *own_start) {
		*own_start = musl->context;
		*own_end = musl->context + CONTEXT_SIZE;
	}
	return *own_start < end;
}

/*
 * malloc_usable_size is the size that was asked for: what is left of the slot stands in three bits of the header, or
 * if these say 5, in the slot's last bytes.
 */
static void block(const struct vmat_heap *heap, const struct vmat_heap_segment *segment,
		  struct vmat_chunk *chunk)
{
	uint64_t end = chunk->addr + chunk->size - HEADER, word, reserved;

	if (chunk->state != VMAT_CHUNK_IN_USE && chunk->state != VMAT_CHUNK_MMAPPED)
		return;
	chunk->block_addr = vmat_heap_block_of(segment, chunk->addr, chunk->addr + chunk->size);
	chunk->block_size = end - chunk->block_addr;
	if (!vmat_heap_stream(&heap->priv->memory, chunk->block_addr - 8, &word, 1))
		return;
	reserved = word >> 45 & 7;
	if (reserved == 5) {
		if (!vmat_heap_stream(&heap->priv->memory, end - 4, &word, 1))
			return;
		reserved = (uint32_t)word;
	}
	if (reserved <= chunk->block_size)
		chunk->block_size -= reserved;
}

const struct vmat_heap_ops vmat_musl_ops = {
	.name = "musl mallocng",
	.not_found =
		"musl's mallocng was not found in the data of libc: it was never used, or this is musl "
		"before 1.2.1, whose older malloc is not walked",
	.header = 0,
	.overlap = -HEADER,
	.shift = 4,
	.states = 1U << VMAT_CHUNK_IN_USE | 1U << VMAT_CHUNK_FREE | 1U << VMAT_CHUNK_MMAPPED,
	.has_blocks = true,
	.find = find,
	.walk = walk_all,
	.next_own = next_own,
	.block = block,
};
