/* SPDX-License-Identifier: MIT */
/*
 * stack_pages.c: see stack_pages.h. Stacks of threads lie side by side, so that those which touch make
 * one range for the kernel: a scan costs about 1 us, and then 13 ns a page that is present.
 */
#include "stack/stack_pages.h"

#include <errno.h>
#include <stdlib.h>

#include "target/target_source.h"

enum {
	RUNS = 512,
	OVERLAPS_MAX =
		64, /* stacks within stacks that are scanned again: hostile lists have many */
};

static const uint32_t wanted =
	VMAT_PAGE_PRESENT | VMAT_PAGE_SWAPPED | VMAT_PAGE_ZERO | VMAT_PAGE_GUARD;

/* What the scan finds of one stack. */
struct span {
	uint64_t start, end; /* what is scanned: whole pages, and no more than is mapped */
	uint64_t bottom;     /* of the usable part: begin + guard */
	uint64_t top;
	uint64_t resident;
	uint64_t lowest;         /* page in use, present or swapped; top when there is none */
	uint64_t guard_pages;    /* bytes of guard markers below the bottom */
	uint32_t known;          /* enum vmat_page_flag: what the source can tell; 0: not scanned */
	enum vmat_reason reason; /* why not */
};

static struct span span_of(const struct vmat_stack *stack, const struct vmat_map *map)
{
	uint64_t page_mask = map->base_page_size - 1;
	uint64_t start = stack->begin;
	struct span span = {
		.bottom = stack->begin + stack->guard,
		.top = stack->end,
		.lowest = stack->end,
		.end = (stack->end + page_mask) & ~page_mask,
	};

	if (!vmat_is_known(stack->guard) || stack->guard > stack->size)
		span.bottom = stack->begin;
	/* Below the kernel's [stack] there may be nothing for terabytes. */
	if (stack->kind == VMAT_STACK_MAIN && stack->region < map->count &&
	    map->regions[stack->region].start > start)
		start = map->regions[stack->region].start;
	span.start = start & ~page_mask;
	return span;
}

/* The part of a run in [low, high): its length, 0 when they do not meet. */
static uint64_t overlap(const struct vmat_page_run *run, uint64_t low, uint64_t high)
{
	uint64_t start = run->start > low ? run->start : low;
	uint64_t end = run->end < high ? run->end : high;

	return end > start ? end - start : 0;
}

static void take_run(struct span *span, const struct vmat_page_run *run)
{
	bool is_resident = (run->flags & VMAT_PAGE_PRESENT) && !(run->flags & VMAT_PAGE_ZERO);
	uint64_t usable = overlap(run, span->bottom, span->top);

	if (run->flags & VMAT_PAGE_GUARD)
		span->guard_pages += overlap(run, span->start, span->bottom);
	if (is_resident)
		span->resident += usable;
	if (usable && (is_resident || (run->flags & VMAT_PAGE_SWAPPED))) {
		uint64_t start = run->start > span->bottom ? run->start : span->bottom;

		if (start < span->lowest)
			span->lowest = start;
	}
}

static enum vmat_reason reason_of(int err)
{
	switch (err) {
	case -EACCES:
	case -EPERM:
		return VMAT_NOT_PERMITTED;
	case -ENOENT:
		return VMAT_NOT_RECORDED;
	case -ESRCH:
		return VMAT_CHANGED;
	default:
		return VMAT_KERNEL_LACKS;
	}
}

/* Scans spans that touch each other, as one range. 0 or a negative errno. */
static int scan_spans(struct span *spans, size_t count, struct vmat_target *target,
		      struct vmat_page_run *runs)
{
	uint64_t addr = spans[0].start, end = spans[count - 1].end;
	size_t first = 0;

	while (addr < end) {
		uint64_t before = addr;
		uint32_t known = 0;
		int got = vmat_source_scan(target, &addr, end, wanted, runs, RUNS, &known);

		if (got < 0)
			return got;
		for (int i = 0; i < got; i++) {
			while (first < count && spans[first].end <= runs[i].start)
				first++;
			for (size_t k = first; k < count && spans[k].start < runs[i].end; k++)
				take_run(&spans[k], &runs[i]);
		}
		for (size_t k = 0; k < count && before == spans[0].start; k++)
			spans[k].known = known;
		if (addr == before) /* no source does this; it would be for ever */
			return -EIO;
	}
	return 0;
}

static void scan_all(struct span *spans, size_t count, struct vmat_target *target,
		     struct vmat_page_run *runs)
{
	uint64_t scanned_end = 0;
	unsigned overlaps = 0;

	for (size_t i = 0, next; i < count; i = next) {
		int err = 0;

		for (next = i + 1; next < count && spans[next].start == spans[next - 1].end; next++)
			;
		if (i && spans[i].start == spans[i - 1].start && spans[i].end == spans[i - 1].end &&
		    spans[i].bottom == spans[i - 1].bottom) {
			/* Threads whose stack is guessed may share a region. */
			spans[i] = spans[i - 1];
			next = i + 1;
			continue;
		}
		if (spans[i].start < scanned_end && ++overlaps > OVERLAPS_MAX)
			err = -E2BIG;
		if (!err)
			err = scan_spans(&spans[i], next - i, target, runs);
		for (size_t k = i; err && k < next; k++) {
			spans[k].known = 0;
			spans[k].reason = reason_of(err);
		}
		if (spans[next - 1].end > scanned_end)
			scanned_end = spans[next - 1].end;
	}
}

static enum vmat_guard_kind guard_kind_of(const struct vmat_stack *stack, const struct span *span,
					  const struct vmat_map *map)
{
	const struct vmat_region *region;

	if (stack->kind == VMAT_STACK_MAIN)
		return VMAT_GUARD_KERNEL;
	if (!vmat_is_known(stack->guard))
		return VMAT_GUARD_UNKNOWN;
	if (!stack->guard)
		return VMAT_GUARD_NONE;
	region = vmat_map_at(map, stack->begin);
	if (region && !(region->prot & (VMAT_PROT_READ | VMAT_PROT_WRITE | VMAT_PROT_EXEC)) &&
	    region->end >= stack->begin + stack->guard)
		return VMAT_GUARD_VMA;
	return span->guard_pages >= stack->guard ? VMAT_GUARD_MARKER : VMAT_GUARD_UNKNOWN;
}

static void fill_stack(struct vmat_stack *stack, const struct span *span,
		       const struct vmat_map *map, struct vmat_stack_pages *pages)
{
	stack->guard_kind = guard_kind_of(stack, span, map);
	if (!(span->known & VMAT_PAGE_PRESENT)) {
		if (!span->reason && pages->is_core) {
			stack->resident = stack->high_water = VMAT_UNKNOWN(VMAT_NOT_RECORDED);
			return;
		}
		stack->resident = VMAT_UNKNOWN(span->reason ? span->reason : VMAT_KERNEL_LACKS);
		stack->high_water = stack->resident;
		pages->is_partial = true;
		pages->partial_why = "the pages of stacks cannot be seen";
		return;
	}
	if (!(span->known & VMAT_PAGE_ZERO) && !pages->is_core)
		pages->has_zero_pages = true;
	stack->resident = span->resident;
	stack->high_water = span->top - span->lowest;
}

int vmat_stack_pages_read(struct vmat_stack_pages *ret, struct vmat_stack *stacks, size_t count,
			  struct vmat_target *target, const struct vmat_map *map)
{
	struct vmat_page_run *runs = malloc(RUNS * sizeof(*runs));
	struct span *spans = calloc(count ? count : 1, sizeof(*spans));
	int err = runs && spans ? 0 : -ENOMEM;

	*ret = (struct vmat_stack_pages){ .is_core = vmat_target_process(target)->core };
	if (!err) {
		for (size_t i = 0; i < count; i++)
			spans[i] = span_of(&stacks[i], map);
		scan_all(spans, count, target, runs);
		for (size_t i = 0; i < count; i++)
			fill_stack(&stacks[i], &spans[i], map, ret);
	}
	free(spans);
	free(runs);
	return err;
}
