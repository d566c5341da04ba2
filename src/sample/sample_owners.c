/* SPDX-License-Identifier: MIT */
/*
 * sample_owners.c: the regions of an atlas, summed by kind and owner.
 *
 * A process may have as many owners as regions, and names of its own choice. So distinct ones are met in a table of bounded size;
 * the largest keep their names, and the rest of each kind is one sum: what a kind has in all is told by its owners and the rest.
 * Numbers of threads and arenas are no owners here: they would differ in each process and at each start.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "sample/sampler_priv.h"

enum {
	ENTRIES_MAX = 4096,
	SLOTS = 8192,
	NAME_LENGTH = sizeof((struct vmat_owner_sample *)0)->name - 1
};

struct entry {
	enum vmat_kind kind;
	const char *name; /* equal as far as NAME_LENGTH */
	uint64_t count, size, rss;
};

struct owners {
	struct entry *entries;
	size_t count;
	uint16_t *slots; /* number of an entry + 1; 0: free */
	struct entry rest[VMAT_KIND_COUNT];
};

static bool begins_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

/* "" for none. */
static const char *name_of(const struct vmat_owner *owner)
{
	switch (owner->kind) {
	case VMAT_KIND_HEAP:
	case VMAT_KIND_ARENA:
	case VMAT_KIND_MALLOC_MMAP:
	case VMAT_KIND_TLS:
		return "";
	case VMAT_KIND_STACK:
	case VMAT_KIND_GUARD:
		return begins_with(owner->owner, "no thread") ? owner->owner : "";
	case VMAT_KIND_RESERVED:
		return begins_with(owner->owner, "malloc arena ") ? "malloc arenas" : owner->owner;
	default:
		return owner->owner;
	}
}

/* FNV-1a. */
static size_t slot_of(enum vmat_kind kind, const char *name)
{
	uint32_t hash = (2166136261U ^ (uint32_t)kind) * 16777619U;

	for (size_t i = 0; i < NAME_LENGTH && name[i]; i++)
		hash = (hash ^ (unsigned char)name[i]) * 16777619U;
	return hash % SLOTS;
}

static struct entry *find(struct owners *owners, enum vmat_kind kind, const char *name)
{
	size_t slot = slot_of(kind, name);

	if (strcmp(name, VMAT_OWNERS_REST) == 0)
		return &owners->rest[kind];
	for (; owners->slots[slot]; slot = (slot + 1) % SLOTS) {
		struct entry *entry = &owners->entries[owners->slots[slot] - 1];

		if (entry->kind == kind && strncmp(entry->name, name, NAME_LENGTH) == 0)
			return entry;
	}
	if (owners->count == ENTRIES_MAX)
		return &owners->rest[kind];
	owners->entries[owners->count] = (struct entry){ .kind = kind, .name = name };
	owners->slots[slot] = (uint16_t)(owners->count + 1);
	return &owners->entries[owners->count++];
}

/* A sum with an unknown part is unknown, as in vmat_atlas_totals. */
static void add_rss(uint64_t *sum, uint64_t rss)
{
	if (!vmat_is_known(*sum))
		return;
	if (vmat_is_known(rss))
		*sum += rss;
	else if (vmat_reason(rss) != VMAT_NOT_APPLICABLE)
		*sum = rss;
}

static void add(struct entry *entry, uint64_t count, uint64_t size, uint64_t rss)
{
	entry->count += count;
	entry->size += size;
	add_rss(&entry->rss, rss);
}

static void sum_up(struct owners *owners, const struct vmat_atlas *atlas)
{
	struct entry *last = NULL;
	const char *last_name = NULL;

	for (size_t i = 0; i < atlas->map->count; i++) {
		const struct vmat_region *region = &atlas->map->regions[i];
		enum vmat_kind kind = atlas->owners[i].kind;
		const char *name = name_of(&atlas->owners[i]);

		if (!name[0])
			continue;
		/* The regions of a file are mostly neighbours and share their name. */
		if (!last || name != last_name || last->kind != kind)
			last = find(owners, kind, name);
		last_name = name;
		last->kind = kind;
		add(last, 1, vmat_region_size(region), region->rss);
	}
}

static int compare_sizes(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = (x->size < y->size) - (x->size > y->size);

	if (order)
		return order;
	order = strcmp(x->name, y->name);
	return order ? order : (int)x->kind - (int)y->kind;
}

static void append(struct vmat_tick *tick, const struct entry *entry, const char *name)
{
	struct vmat_owner_sample *owner = &tick->owners[tick->owners_count++];

	owner->kind = entry->kind;
	snprintf(owner->name, sizeof(owner->name), "%s", name);
	owner->count = entry->count;
	owner->size = entry->size;
	owner->rss = entry->rss;
}

int vmat_sample_owners(struct vmat_tick *tick, const struct vmat_atlas *atlas)
{
	vmat_autofree struct entry *entries = calloc(ENTRIES_MAX, sizeof(*entries));
	vmat_autofree uint16_t *slots = calloc(SLOTS, sizeof(*slots));
	struct owners owners = { .entries = entries, .slots = slots };

	if (!entries || !slots)
		return -ENOMEM;
	sum_up(&owners, atlas);
	qsort(entries, owners.count, sizeof(*entries), compare_sizes);
	tick->owners_count = 0;
	for (size_t i = 0; i < owners.count; i++) {
		if (i < VMAT_OWNERS_NAMED)
			append(tick, &entries[i], entries[i].name);
		else
			add(&owners.rest[entries[i].kind], entries[i].count, entries[i].size,
			    entries[i].rss);
	}
	for (size_t kind = 0; kind < VMAT_KIND_COUNT; kind++) {
		owners.rest[kind].kind = (enum vmat_kind)kind;
		if (owners.rest[kind].count)
			append(tick, &owners.rest[kind], VMAT_OWNERS_REST);
	}
	tick->sample.marks |= VMAT_SAMPLE_OWNERS;
	return 0;
}
