/* SPDX-License-Identifier: MIT */
/*
 * stack_overflow.c: see stack_overflow.h. Facts: Linux mm/mmap.c (stack_guard_gap, 256 pages); System V ABI
 * x86-64, 3.2.2: 128 bytes below the stack pointer belong to the running function.
 */
#include "stack/stack_overflow.h"

#include <errno.h>
#include <signal.h>

/* As much as the kernel keeps free below its own stack: what lies further off is another's. */
#define PAST_MAX (UINT64_C(1) << 20)

enum { RED_ZONE = 128 };

/* Where the usable part ends: above the guard, or where the kernel's stack has grown to. */
static uint64_t bottom_of(const struct vmat_stack *stack, const struct vmat_map *map)
{
	if (stack->kind == VMAT_STACK_MAIN && stack->region < map->count &&
	    map->regions[stack->region].start > stack->begin)
		return map->regions[stack->region].start;
	return stack->begin + (vmat_is_known(stack->guard) ? stack->guard : 0);
}

/* In the guard, or just past it. */
static bool is_below(uint64_t addr, const struct vmat_stack *stack, uint64_t bottom)
{
	uint64_t lowest = stack->kind == VMAT_STACK_MAIN ? bottom : stack->begin;

	return addr < bottom && addr + PAST_MAX >= lowest;
}

static bool has_fault(const struct vmat_stack *stack, const struct vmat_core_info *core)
{
	return core->signal_tid > 0 && stack->tid == (uint64_t)core->signal_tid &&
	       (core->signal == SIGSEGV || core->signal == SIGBUS) &&
	       vmat_is_known(core->fault_addr);
}

static bool is_overflown(const struct vmat_stack *stack, const struct vmat_core_info *core,
			 uint64_t bottom)
{
	if (!has_fault(stack, core))
		return is_below(stack->sp, stack, bottom);
	/* A call stores just below the stack pointer; a function with a large frame far above it. */
	return is_below(core->fault_addr, stack, bottom) &&
	       core->fault_addr + RED_ZONE >= stack->sp;
}

static int tell_overflow(struct vmat_stacks *stacks, struct vmat_stack *stack, uint64_t bottom,
			 const struct vmat_core_info *core, struct vmat_strings *strings)
{
	bool by_fault = has_fault(stack, core);
	uint64_t addr = by_fault ? core->fault_addr : stack->sp;

	stack->overflowed = 1;
	stack->used = stack->end - stack->sp;
	stack->why = vmat_strings_printf(
		strings, "it overflowed: its %s, 0x%llx, is %llu bytes below its last usable byte",
		by_fault ? "fault" : "stack pointer", (unsigned long long)addr,
		(unsigned long long)(bottom - addr));
	if (!stack->why)
		return -ENOMEM;
	if (stacks->verdict[0] && !by_fault)
		return 0;
	stacks->verdict = vmat_strings_printf(
		strings,
		"thread %llu overflowed its stack of %llu KiB: its %s, 0x%llx, is %llu bytes below "
		"its end",
		(unsigned long long)stack->tid, (unsigned long long)(stack->end - bottom) / 1024,
		by_fault ? "fault" : "stack pointer", (unsigned long long)addr,
		(unsigned long long)(bottom - addr));
	return stacks->verdict ? 0 : -ENOMEM;
}

/* A fault that is no overflow says so: that is what people look for first. */
static int tell_fault(struct vmat_stacks *stacks, const struct vmat_stack *stack, uint64_t bottom,
		      const struct vmat_core_info *core, struct vmat_strings *strings)
{
	bool is_guard = is_below(core->fault_addr, stack, bottom);

	if (stacks->verdict[0])
		return 0;
	stacks->verdict = vmat_strings_printf(
		strings,
		"thread %llu did not overflow its stack: its fault, 0x%llx, is %s, and its stack "
		"pointer is %llu bytes above its end",
		(unsigned long long)stack->tid, (unsigned long long)core->fault_addr,
		is_guard ? "in its guard, but far below its stack pointer" : "not near its guard",
		(unsigned long long)(stack->sp > bottom ? stack->sp - bottom : 0));
	return stacks->verdict ? 0 : -ENOMEM;
}

int vmat_stack_overflow_judge(struct vmat_stacks *stacks, size_t count,
			      const struct vmat_process *process, const struct vmat_map *map,
			      struct vmat_strings *strings)
{
	const struct vmat_core_info *core = process->core;
	int err = 0;

	stacks->verdict = "";
	for (size_t i = 0; i < stacks->count; i++)
		stacks->stacks[i].overflowed = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	for (size_t i = 0; core && i < count && !err; i++) {
		struct vmat_stack *stack = &stacks->stacks[i];
		uint64_t bottom = bottom_of(stack, map);

		if (!vmat_is_known(stack->tid))
			continue;
		if (!vmat_is_known(stack->sp)) {
			stack->overflowed = stack->sp;
			continue;
		}
		stack->overflowed = 0;
		if (is_overflown(stack, core, bottom))
			err = tell_overflow(stacks, stack, bottom, core, strings);
		else if (has_fault(stack, core))
			err = tell_fault(stacks, stack, bottom, core, strings);
	}
	return err;
}
