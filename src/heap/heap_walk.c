/* SPDX-License-Identifier: MIT */
/*
 * heap_walk.c: which allocators are walked, and the walk by the one that the target has.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "heap/heap_priv.h"

static void refuse(struct vmat_heap *heap, const char *why)
{
	const char *help = heap->priv->allocator.help ? heap->priv->allocator.help : "";

	snprintf(heap->why_not, sizeof(heap->why_not), "%s%s%s", why, help[0] ? ": " : "", help);
}

static const struct vmat_heap_ops *const walked[] = {
	&vmat_ptmalloc_ops,
	&vmat_ptmalloc32_ops,
	&vmat_musl_ops,
	&vmat_mimalloc_ops,
};

enum { WALKED = sizeof(walked) / sizeof(walked[0]) };

/* Is this the malloc of the target, or, where nobody has a name for that, may it be? */
static bool may_be(const struct vmat_heap *heap, const struct vmat_heap_ops *ops)
{
	return (!heap->allocator[0] || strcmp(heap->allocator, ops->name) == 0) &&
	       heap->priv->memory.word_size == (ops->word_size ? ops->word_size : 8);
}

/* "glibc" and "glibc malloc" both call for that. */
static bool is_called(const struct vmat_heap_ops *ops, const char *name)
{
	size_t length = strlen(name);

	return strncmp(ops->name, name, length) == 0 &&
	       (ops->name[length] == '\0' || ops->name[length] == ' ');
}

int vmat_heap_choose_allocator(struct vmat_heap *heap, const struct vmat_map *map,
			       const struct vmat_heap_options *options, struct vmat_error *err)
{
	struct vmat_allocator *allocator = &heap->priv->allocator;
	const char *asked = NULL;
	int code = vmat_allocator_read(allocator, heap->priv->memory.target, map, err);

	if (code)
		return code;
	heap->allocator = allocator->name;
	heap->allocator_why = allocator->why;
	if (!options->allocator)
		return 0;
	for (size_t i = 0; i < WALKED; i++) {
		if (is_called(walked[i], options->allocator))
			asked = walked[i]->name;
	}
	if (!asked)
		return vmat_error_set(err, -EINVAL,
				      "no allocator '%.64s' is walked.\n  Those are glibc, musl "
				      "and mimalloc",
				      options->allocator);
	allocator->help = "";
	heap->allocator = asked;
	if (strcmp(asked, allocator->name) != 0)
		heap->allocator_why = "asked for";
	return 0;
}

bool vmat_heap_is_walkable(struct vmat_heap *heap)
{
	bool is_known = false;

	for (size_t i = 0; i < WALKED; i++) {
		is_known |= strcmp(heap->allocator, walked[i]->name) == 0;
		if (may_be(heap, walked[i]))
			return true;
	}
	refuse(heap, is_known ? "its heap is walked in programs of 64 bit only"
			      : "this allocator is known by name only");
	return false;
}

/* The first whose structures are there. */
static int find_any(struct vmat_heap *heap)
{
	int err = -ENOENT;

	for (size_t i = 0; i < WALKED && err == -ENOENT; i++) {
		if (!may_be(heap, walked[i]))
			continue;
		heap->priv->ops = walked[i];
		err = walked[i]->find(heap);
	}
	return err;
}

int vmat_heap_find_in(struct vmat_heap *heap, const struct vmat_map *map)
{
	struct vmat_map *const owned = heap->priv->map;
	int err;

	/* It is only looked at, and given back before the heap, which owns its map, is freed. */
	memcpy(&heap->priv->map, &map, sizeof(void *));
	vmat_heap_memory_drop(&heap->priv->memory);
	err = find_any(heap);
	heap->priv->map = owned;
	return err;
}

/* The walk over the map that is there. */
int vmat_heap_walk_map(struct vmat_heap *heap)
{
	int err;

	vmat_heap_memory_drop(&heap->priv->memory);
	err = find_any(heap);
	if (err == -ENOENT) {
		refuse(heap, heap->allocator[0]
				     ? heap->priv->ops->not_found
				     : "no malloc that is walked was found in the "
				       "program's data: none was ever used, or its layout "
				       "is not known");
		return 0;
	}
	if (!err)
		err = heap->priv->ops->walk(heap);
	heap->is_walked = !err;
	return err;
}
