/* SPDX-License-Identifier: MIT */
/*
 * rtos_plan.c: what tasks take of each heap of FreeRTOS, by arithmetic.
 *
 * A task is two blocks, its stack and its TCB. heap_1 rounds each up to the alignment. heap_2, heap_4 and heap_5 put a header before
 * it (two pointers' room, rounded up) and round up the sum. heap_3 is the C library's: as glibc does it for words of 8
 * bytes, as newlib does for smaller ones. Of the heap itself heap_1 and heap_2 lose one alignment, heap_4 and heap_5 the
 * header of the block that ends them, and of a heap of words of one byte nothing is lost by alignment.
 * From: portable/MemMang/heap_1.c to heap_5.c, V10.4.6 and V11.1.
 */
#include <errno.h>
#include <string.h>

#include "base/malloc_sizes.h"
#include "rtos/rtos_priv.h"

static const uint64_t NUMBER_MAX = 1ULL << 40;

uint64_t vmat_plan_usual_tcb(uint64_t word)
{
	/* Measured: Cortex-M3 92, POSIX on x86-64 168; the others by the widths of their pointers. */
	return word == 8 ? 168 : word == 4 ? 92 : word == 2 ? 50 : 46;
}

int vmat_plan_program(int fd, uint64_t *ret_tcb_size, uint64_t *ret_word, struct vmat_error *err)
{
	struct vmat_datum data[RTOS_NAMES];
	struct vmat_program program;
	int code = vmat_rtos_names_find(fd, &program, data, err);

	if (code)
		return code;
	*ret_tcb_size = data[RTOS_TCB_STACK].holder_size;
	*ret_word = data[RTOS_TCB_STACK].target_size;
	return 0;
}

/* A block of newlib's malloc: a word before it, of 16 bytes at least, in steps of 8. */
static uint64_t newlib_chunk(uint64_t size)
{
	uint64_t chunk = vmat_rtos_align(size + 4, 8);

	return chunk < 16 ? 16 : chunk;
}

static uint64_t block(const struct vmat_plan *plan, unsigned scheme, uint64_t size)
{
	if (scheme == 1)
		return vmat_rtos_align(size, plan->alignment);
	if (scheme == 3)
		return plan->word == 8 ? vmat_glibc_chunk(size) : newlib_chunk(size);
	return vmat_rtos_align(size + plan->header, plan->alignment);
}

/* What of a heap of this size can be given out. */
static uint64_t usable(const struct vmat_plan *plan, unsigned scheme)
{
	uint64_t lost = scheme <= 2 ? plan->alignment : plan->header;

	if (scheme == 3)
		return plan->heap_size;
	if (plan->alignment == 1 && scheme <= 2)
		lost = 1;
	return plan->heap_size > lost ? plan->heap_size - lost : 0;
}

static void add_up(struct vmat_plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		struct vmat_plan_task *task = &plan->tasks[i];

		task->stack = task->depth * plan->word;
		plan->sum.depth += task->depth;
		plan->sum.stack += task->stack;
		for (unsigned scheme = 1; scheme <= VMAT_RTOS_SCHEMES; scheme++) {
			task->cost[scheme - 1] = block(plan, scheme, task->stack) +
						 block(plan, scheme, plan->tcb_size);
			plan->sum.cost[scheme - 1] += task->cost[scheme - 1];
		}
	}
}

int vmat_plan_compute(struct vmat_plan *plan, struct vmat_error *err)
{
	const uint64_t word = plan->word;
	bool has_heap = vmat_is_known(plan->heap_size);

	if (word != 1 && word != 2 && word != 4 && word != 8)
		return vmat_error_set(err, -EINVAL, "a word of a stack has 1, 2, 4 or 8 bytes");
	if (plan->tcb_size > NUMBER_MAX || (has_heap && plan->heap_size > NUMBER_MAX))
		return vmat_error_set(err, -EINVAL, "a size is too large");
	for (size_t i = 0; i < plan->count; i++) {
		if (plan->tasks[i].depth > NUMBER_MAX)
			return vmat_error_set(err, -EINVAL, "a depth is too large");
	}
	/* Pointers are as wide as words, but of two bytes where words have one. */
	plan->alignment = word >= 4 ? 8 : word;
	plan->header = vmat_rtos_align(2 * (word > 1 ? word : 2), plan->alignment);
	memset(&plan->sum, 0, sizeof(plan->sum));
	add_up(plan);
	for (unsigned i = 0; i < VMAT_RTOS_SCHEMES; i++) {
		uint64_t whole = has_heap ? usable(plan, i + 1) : 0;

		/* heap_1 never gives out its last byte: its comparison is "less than". */
		plan->fits[i] = !has_heap || plan->sum.cost[i] + (i == 0) <= whole;
		plan->left[i] = has_heap && plan->fits[i] ? whole - plan->sum.cost[i]
							  : VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	}
	return 0;
}
