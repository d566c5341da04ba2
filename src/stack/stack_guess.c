/* SPDX-License-Identifier: MIT */
/*
 * stack_guess.c: what a region and a stack pointer tell where no list does.
 *
 * The main thread's stack grows on demand: its reservation is what the limit allows, down to the next
 * mapping. glibc answers pthread_getattr_np(3) by the same rule (nptl/pthread_getattr_np.c). For other
 * threads a region is a good guess with musl, which keeps a guard below each stack; it is too large
 * where stacks without guards have merged, or where a runtime keeps stacks in its own heap (Go).
 */
#include "stack/stack_guess.h"

#include <string.h>

/* Below a guessed stack, a range without rights that is larger is a reservation and no guard. */
#define GUARD_MAX (UINT64_C(4) << 20)

/* The region that holds the kernel's stack, or map->count. */
static size_t find_main(const struct vmat_map *map, const struct vmat_process *process)
{
	size_t i = vmat_map_find(map, process->stack_addr);

	if (process->stack_addr && i < map->count && map->regions[i].start <= process->stack_addr)
		return i;
	for (i = map->count; i-- > 0;)
		if (strcmp(map->regions[i].name, "[stack]") == 0)
			return i;
	return map->count;
}

bool vmat_stack_guess_main(struct vmat_stack *stack, const struct vmat_map *map,
			   const struct vmat_process *process, bool is_sure)
{
	size_t i = find_main(map, process);
	const struct vmat_region *region = &map->regions[i];
	uint64_t lowest, limit;

	if (i == map->count)
		return false;
	if (!is_sure && vmat_is_known(stack->sp) &&
	    (stack->sp < region->start || stack->sp >= region->end))
		return false;
	lowest = i ? map->regions[i - 1].end : 0;
	limit = process->stack_limit & ~(map->base_page_size - 1);
	stack->kind = VMAT_STACK_MAIN;
	stack->end = region->end;
	stack->guard = 0;
	if (!limit) {
		stack->begin = region->start;
		stack->why = "the kernel's stack, as far as it has grown: its limit is not known";
	} else {
		stack->begin = region->end - lowest > limit ? region->end - limit : lowest;
		stack->why =
			"the kernel's stack: it grows down to the stack limit or the next mapping";
	}
	stack->size = stack->end - stack->begin;
	return true;
}

static bool is_guard(const struct vmat_region *region)
{
	return region->backing == VMAT_BACKING_ANON &&
	       !(region->prot & (VMAT_PROT_READ | VMAT_PROT_WRITE | VMAT_PROT_EXEC)) &&
	       vmat_region_size(region) <= GUARD_MAX;
}

/* The size of the guard below region i: a neighbour without any rights and without a file. */
static uint64_t guard_below(const struct vmat_map *map, size_t i)
{
	const struct vmat_region *region = &map->regions[i];
	const struct vmat_region *below = i ? &map->regions[i - 1] : region;

	if (below->end != region->start || !is_guard(below))
		return 0;
	return vmat_region_size(below);
}

void vmat_stack_guess(struct vmat_stack *stack, const struct vmat_map *map)
{
	size_t i;

	stack->kind = VMAT_STACK_GUESSED;
	stack->begin = stack->sp;
	if (!vmat_is_known(stack->sp)) {
		stack->why =
			vmat_reason(stack->sp) == VMAT_RUNNING
				? "no list tells of it, and a running thread shows no stack pointer"
				: "no list tells of it, and its stack pointer is not known";
		return;
	}
	i = vmat_map_find(map, stack->sp);
	if (i == map->count || map->regions[i].start > stack->sp) {
		stack->begin = VMAT_UNKNOWN(VMAT_CHANGED);
		stack->why =
			"no list tells of it, and its stack pointer lies in no region of the map";
		return;
	}
	/* A stack pointer that has run into the guard: the stack lies above it. */
	if (is_guard(&map->regions[i]) && i + 1 < map->count &&
	    map->regions[i + 1].start == map->regions[i].end && !is_guard(&map->regions[i + 1]))
		i++;
	stack->guard = guard_below(map, i);
	stack->begin = map->regions[i].start - stack->guard;
	stack->end = map->regions[i].end;
	stack->size = stack->end - stack->begin;
	stack->why = "guessed: no list tells of it; this is the region around its stack pointer";
}
