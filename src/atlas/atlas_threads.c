/* SPDX-License-Identifier: MIT */
/*
 * atlas_threads.c: stacks, guards and thread-local storage, claimed from the list of stacks.
 */
#include <errno.h>
#include <string.h>

#include "atlas/atlas_priv.h"

static const char *owner_of(struct vmat_atlas *atlas, const struct vmat_stack *stack)
{
	struct vmat_strings *strings = &atlas->priv->strings;

	if (stack->kind == VMAT_STACK_CACHED)
		return "no thread: cached by glibc";
	if (stack->kind == VMAT_STACK_MAIN)
		return vmat_strings_printf(strings, "thread %llu (main)",
					   (unsigned long long)stack->tid);
	return vmat_strings_printf(strings, "thread %llu %s", (unsigned long long)stack->tid,
				   stack->name);
}

static int claim_stack(struct vmat_atlas *atlas, const struct vmat_stack *stack)
{
	bool has_guard = vmat_is_known(stack->guard) && stack->guard &&
			 stack->guard_kind != VMAT_GUARD_KERNEL;
	struct vmat_part part = {
		.start = has_guard ? stack->begin + stack->guard : stack->begin,
		.end = stack->end,
		.kind = VMAT_KIND_STACK,
		.owner = owner_of(atlas, stack),
		.why = stack->why,
		.tid = stack->tid,
	};
	int err = vmat_atlas_claim(atlas, &part);

	if (err || !has_guard)
		return err;
	part.end = part.start;
	part.start = stack->begin;
	part.kind = VMAT_KIND_GUARD;
	return vmat_atlas_claim(atlas, &part);
}

/* The kernel's [stack], which the list of stacks may lack when threads cannot be read. */
static int claim_main_stack(struct vmat_atlas *atlas)
{
	const struct vmat_map *map = atlas->map;

	for (size_t i = map->count; i-- > 0;) {
		struct vmat_part part = {
			.start = map->regions[i].start,
			.end = map->regions[i].end,
			.kind = VMAT_KIND_STACK,
			.owner = "main thread",
			.why = "maps: [stack]",
			.tid = VMAT_UNKNOWN(VMAT_NOT_FOUND),
		};

		if (strcmp(map->regions[i].name, "[stack]") == 0)
			return vmat_atlas_claim(atlas, &part);
	}
	return 0;
}

int vmat_atlas_add_stacks(struct vmat_atlas *atlas)
{
	const struct vmat_stacks *stacks = atlas->stacks;
	bool has_main = false;
	int err = 0;

	for (size_t i = 0; stacks && i < stacks->count && !err; i++) {
		const struct vmat_stack *stack = &stacks->stacks[i];

		if (!vmat_is_known(stack->begin) || !vmat_is_known(stack->end))
			continue;
		err = claim_stack(atlas, stack);
		if (stack->kind == VMAT_STACK_MAIN)
			has_main = true;
	}
	return err || has_main ? err : claim_main_stack(atlas);
}

/* The main thread's descriptor lies in a mapping of the loader's, which the kernel may have merged. */
int vmat_atlas_add_tls(struct vmat_atlas *atlas)
{
	const struct vmat_stacks *stacks = atlas->stacks;

	for (size_t i = 0; stacks && i < stacks->count; i++) {
		const struct vmat_stack *stack = &stacks->stacks[i];

		if (stack->kind != VMAT_STACK_MAIN || !vmat_is_known(stack->thread_addr) ||
		    !stack->thread_addr)
			continue;
		return vmat_atlas_claim_rest(atlas, stack->thread_addr,
					     (struct vmat_part){
						     .kind = VMAT_KIND_TLS,
						     .owner = owner_of(atlas, stack),
						     .why = "its struct pthread lies here",
						     .tid = stack->tid,
					     });
	}
	return 0;
}
