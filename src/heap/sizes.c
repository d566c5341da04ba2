/* SPDX-License-Identifier: MIT */
/*
 * sizes.c: the size grid of a target's allocator: see vmatlas/sizes.h. The rules are those of base/malloc_sizes.h, which are compared
 * with the allocators themselves; glibc's depends on two numbers of mp_, which the walk of the heap finds.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/sizes.h>

#include "base/cleanup.h"
#include "base/malloc_sizes.h"
#include "heap/heap_priv.h"
#include "heap/malloc_layout.h"

enum { PAGE = 4096, ROWS_FIRST = 64, MIMALLOC_SMALL = 128 << 10, BINS_OF_2_43 = 24 };

struct rule {
	uint64_t (*usable)(uint64_t size, void *context);
	uint64_t threshold;
	bool maps_blocks; /* glibc: n_mmaps_max is not 0 */
	bool is_mapped_unknown; /* glibc 2.43 keeps other headers in mapped blocks, which nobody has compared */
};

static uint64_t glibc(uint64_t size, void *context)
{
	const struct rule *rule = context;
	uint64_t chunk = vmat_glibc_chunk(size);

	if (chunk < rule->threshold || !rule->maps_blocks)
		return chunk - 8;
	return rule->is_mapped_unknown ? VMAT_UNKNOWN(VMAT_NOT_FOUND)
				       : vmat_glibc_mapped(chunk, PAGE);
}

static uint64_t jemalloc(uint64_t size, void *context)
{
	(void)context;
	return vmat_jemalloc_usable(size);
}

/* Above that it depends on the version, which is not known from outside. */
static uint64_t mimalloc(uint64_t size, void *context)
{
	(void)context;
	return size <= MIMALLOC_SMALL ? vmat_mimalloc_usable(size) : VMAT_UNKNOWN(VMAT_NOT_FOUND);
}

static uint64_t musl(uint64_t size, void *context)
{
	(void)context;
	return size;
}

static const struct known {
	const char *name; /* vmat_heap: allocator */
	uint64_t (*usable)(uint64_t size, void *context);
	const char *why;
} rules[] = {
	{ "glibc malloc", glibc, "glibc's rule, with this process's thresholds (mp_)" },
	{ "jemalloc", jemalloc, "the rule of jemalloc 5, built for pages of 4 KiB" },
	{ "mimalloc", mimalloc, "the rule of mimalloc 2; above 128 KiB it depends on the version" },
	{ "musl mallocng", musl, "musl's malloc_usable_size tells the size that was asked for" },
};

/* Adds a class, or makes it a part of the last row. */
static int add_class(struct vmat_sizes *sizes, const struct vmat_size_row *class, bool has_classes)
{
	struct vmat_size_row *last = sizes->count ? &sizes->rows[sizes->count - 1] : NULL;
	uint64_t step = last ? class->usable_from - last->usable_to : 0;

	if (last && !has_classes && vmat_is_known(class->usable_from) &&
	    class->spare == last->spare && (!last->step || step == last->step)) {
		last->asked_to = class->asked_to;
		last->usable_to = class->usable_to;
		last->step = step;
		if (class->waste > last->waste)
			last->waste = class->waste;
		if (class->waste_percent > last->waste_percent)
			last->waste_percent = class->waste_percent;
		return 0;
	}
	/* Room doubles at each power of two. */
	if (sizes->count >= ROWS_FIRST ? (sizes->count & (sizes->count - 1)) == 0
				       : sizes->count == 0) {
		size_t room = sizes->count ? 2 * sizes->count : ROWS_FIRST;
		struct vmat_size_row *more = realloc(sizes->rows, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		sizes->rows = more;
	}
	sizes->rows[sizes->count++] = *class;
	return 0;
}

/* The last request of the class of `first`, by halving. */
static uint64_t last_of_class(uint64_t (*usable)(uint64_t size, void *context), void *context,
			      uint64_t first)
{
	uint64_t size = usable(first, context), low = first, high = size;

	while (low < high) {
		uint64_t middle = low + (high - low + 1) / 2;

		if (usable(middle, context) == size)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

int vmat_sizes_build(struct vmat_sizes **ret, uint64_t (*usable)(uint64_t size, void *context),
		     void *context, uint64_t max, bool has_classes)
{
	struct vmat_sizes *sizes = calloc(1, sizeof(*sizes));
	int r = sizes ? 0 : -ENOMEM;

	for (uint64_t first = 0, last; !r && first <= max; first = last + 1) {
		struct vmat_size_row class = { .asked_from = first,
					       .usable_from = usable(first, context) };
		uint64_t asked = first ? first : 1;

		class.usable_to = class.usable_from;
		if (vmat_is_known(class.usable_from)) {
			last = last_of_class(usable, context, first);
			class.spare = class.usable_from - last;
			last = last < max ? last : max;
			class.waste = class.usable_from > asked ? class.usable_from - asked : 0;
			class.waste_percent =
				class.usable_from ? (100 * class.waste + class.usable_from - 1) /
							    class.usable_from
						  : 0;
		} else {
			last = max;
			class.step = class.spare = class.waste = class.waste_percent =
				class.usable_from;
		}
		class.asked_to = last;
		r = add_class(sizes, &class, has_classes);
	}
	if (r) {
		vmat_sizes_free(sizes);
		return r;
	}
	sizes->mmap_threshold = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	*ret = sizes;
	return 0;
}

struct vmat_sizes *vmat_sizes_free(struct vmat_sizes *sizes)
{
	if (sizes)
		free(sizes->rows);
	free(sizes);
	return NULL;
}

/* The rule for a heap; NULL, with why_not written, when there is none. */
static const struct known *choose(struct rule *rule, const struct vmat_heap *heap,
				  char why_not[252])
{
	const struct known *known = NULL;

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (!strcmp(rules[i].name, heap->allocator))
			known = &rules[i];
	if (heap->priv->memory.word_size != 8) {
		snprintf(why_not, 252, "the grids of 32-bit processes are not known");
		return NULL;
	}
	if (!known) {
		snprintf(
			why_not, 252,
			"the grid of this allocator is not known from outside; with its library preloaded, vmatlas asks "
			"it: LD_PRELOAD=LIBRARY vmatlas sizes");
		return NULL;
	}
	if (known->usable == glibc && !vmat_is_known(heap->mmap_threshold)) {
		snprintf(why_not, 252, "the thresholds of its malloc (mp_) were not found%s%.180s",
			 heap->is_walked ? "" : ": ", heap->is_walked ? "" : heap->why_not);
		return NULL;
	}
	rule->usable = known->usable;
	rule->threshold = heap->mmap_threshold;
	rule->maps_blocks = heap->mmap_max != 0;
	rule->is_mapped_unknown = heap->priv->layout && heap->priv->layout->bins == BINS_OF_2_43;
	return known;
}

static void cleanup_heap(struct vmat_heap **heap)
{
	vmat_heap_free(*heap);
}

int vmat_sizes_read(struct vmat_sizes **ret, struct vmat_target *target, const struct vmat_map *map,
		    uint64_t max, bool has_classes, struct vmat_error *err)
{
	const struct vmat_heap_options options = { .size = sizeof(options),
						   .is_running_allowed = true };
	vmat_cleanup(cleanup_heap) struct vmat_heap *heap = NULL;
	const struct known *known;
	struct vmat_sizes *sizes;
	struct rule rule = { 0 };
	char why_not[252] = "";
	int r = vmat_heap_read(&heap, target, map, &options, err);

	if (r < 0)
		return r;
	known = choose(&rule, heap, why_not);
	if (known) {
		r = vmat_sizes_build(&sizes, rule.usable, &rule, max, has_classes);
	} else {
		sizes = calloc(1, sizeof(*sizes));
		r = sizes ? 0 : -ENOMEM;
	}
	if (r)
		return vmat_error_set(err, r, "no memory for the size grid");
	snprintf(sizes->allocator, sizeof(sizes->allocator), "%s", heap->allocator);
	snprintf(sizes->why, sizeof(sizes->why), "%s", known ? known->why : heap->allocator_why);
	snprintf(sizes->why_not, sizeof(sizes->why_not), "%s", why_not);
	sizes->mmap_threshold = known && known->usable == glibc ? heap->mmap_threshold
								: VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	*ret = sizes;
	return 0;
}
