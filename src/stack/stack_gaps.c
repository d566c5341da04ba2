/* SPDX-License-Identifier: MIT */
/*
 * stack_gaps.c: see stack_gaps.h. The regions of a gap are added up by the base name of what they map;
 * each region is looked at once, whatever the number of stacks.
 */
#include "stack/stack_gaps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A name that lies in a gap, with all that has this name there. */
struct tenant {
	const char *name;
	uint64_t size;
};

/* The tenants of one gap; the room is used again for the next. */
struct tenants {
	struct tenant *list;
	size_t count;
	size_t capacity;
};

static const char *name_of(const struct vmat_region *region)
{
	const char *slash = strrchr(region->name, '/');

	if (slash && slash[1])
		return slash + 1;
	if (region->name[0])
		return region->name;
	return region->prot & (VMAT_PROT_READ | VMAT_PROT_WRITE | VMAT_PROT_EXEC) ? "anonymous"
										  : "reserved";
}

static int add_tenant(struct tenants *tenants, const char *name, uint64_t size)
{
	/* Regions of one file are neighbours. */
	if (tenants->count && strcmp(tenants->list[tenants->count - 1].name, name) == 0) {
		tenants->list[tenants->count - 1].size += size;
		return 0;
	}
	if (tenants->count == tenants->capacity) {
		size_t capacity = tenants->capacity ? 2 * tenants->capacity : 16;
		struct tenant *list = realloc(tenants->list, capacity * sizeof(*list));

		if (!list)
			return -ENOMEM;
		tenants->list = list;
		tenants->capacity = capacity;
	}
	tenants->list[tenants->count++] = (struct tenant){ name, size };
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	const struct tenant *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int compare_sizes(const void *a, const void *b)
{
	const struct tenant *x = a, *y = b;

	if (x->size != y->size)
		return x->size > y->size ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* One tenant a name, the biggest first. */
static void merge_tenants(struct tenants *tenants)
{
	size_t kept = 0;

	if (tenants->count < 2)
		return;
	qsort(tenants->list, tenants->count, sizeof(*tenants->list), compare_names);
	for (size_t i = 0; i < tenants->count; i++) {
		if (kept && strcmp(tenants->list[kept - 1].name, tenants->list[i].name) == 0)
			tenants->list[kept - 1].size += tenants->list[i].size;
		else
			tenants->list[kept++] = tenants->list[i];
	}
	tenants->count = kept;
	qsort(tenants->list, tenants->count, sizeof(*tenants->list), compare_sizes);
}

/* Collects what lies in [start, end); *ret_mapped: how many bytes of it are mapped. */
static int collect(struct tenants *tenants, const struct vmat_map *map, uint64_t start,
		   uint64_t end, uint64_t *ret_mapped)
{
	size_t i = vmat_map_find(map, start);

	tenants->count = 0;
	*ret_mapped = 0;
	for (; i < map->count && map->regions[i].start < end; i++) {
		const struct vmat_region *region = &map->regions[i];
		uint64_t low = region->start > start ? region->start : start;
		uint64_t high = region->end < end ? region->end : end;
		int err = add_tenant(tenants, name_of(region), high - low);

		if (err)
			return err;
		*ret_mapped += high - low;
	}
	return 0;
}

/* "libc.so.6 +3, 2.1M". NULL when there is no memory. */
static const char *describe(struct tenants *tenants, uint64_t mapped, struct vmat_strings *strings)
{
	static const char units[] = "KMGT";
	unsigned unit = 0;
	uint64_t tenths = (mapped * 10 + 512) / 1024;

	if (!mapped)
		return vmat_strings_intern(strings, "free", 4);
	while (tenths >= 10240 && unit + 1 < sizeof(units) - 1) {
		tenths = (tenths + 512) / 1024;
		unit++;
	}
	merge_tenants(tenants);
	if (tenants->count == 1)
		return vmat_strings_printf(strings, "%s, %u.%u%c", tenants->list[0].name,
					   (unsigned)(tenths / 10), (unsigned)(tenths % 10),
					   units[unit]);
	return vmat_strings_printf(strings, "%s +%zu, %u.%u%c", tenants->list[0].name,
				   tenants->count - 1, (unsigned)(tenths / 10),
				   (unsigned)(tenths % 10), units[unit]);
}

static int fill_gap(struct vmat_stack *stack, uint64_t next_begin, const struct vmat_map *map,
		    struct tenants *tenants, struct vmat_strings *strings)
{
	uint64_t mapped;
	int err;

	stack->gap = next_begin - stack->end;
	stack->gap_holes = 0;
	stack->gap_what = "";
	if (!stack->gap)
		return 0;
	err = collect(tenants, map, stack->end, next_begin, &mapped);
	if (err)
		return err;
	stack->gap_holes = stack->gap - mapped;
	stack->gap_what = describe(tenants, mapped, strings);
	return stack->gap_what ? 0 : -ENOMEM;
}

static void set_no_gap(struct vmat_stack *stack, enum vmat_reason reason)
{
	stack->gap = VMAT_UNKNOWN(reason);
	stack->gap_holes = VMAT_UNKNOWN(reason);
	stack->gap_what = "";
}

int vmat_stack_gaps_fill(struct vmat_stack *stacks, size_t count, const struct vmat_map *map,
			 struct vmat_strings *strings)
{
	struct tenants tenants = { 0 };
	uint64_t covered = 0; /* end of the stacks so far */
	int err = 0;

	for (size_t i = 0; i < count && !err; i++) {
		struct vmat_stack *stack = &stacks[i];

		/* A stack that lies within another, or shares its region, has no gap of its own. */
		if (i + 1 == count || stacks[i + 1].begin < stack->end || covered > stack->end)
			set_no_gap(stack, VMAT_NOT_APPLICABLE);
		else
			err = fill_gap(stack, stacks[i + 1].begin, map, &tenants, strings);
		if (stack->end > covered)
			covered = stack->end;
	}
	free(tenants.list);
	return err;
}
