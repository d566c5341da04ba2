/* SPDX-License-Identifier: MIT */
/*
 * Findings of one moment: what is near its limit, what is reserved and not used, what malloc keeps.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "analyze/view.h"

enum { WORDS = 32 };

#define MIB (1024.0 * 1024)
/* glibc's heaps of thread arenas; fewer are what four threads make that allocate at once. */
#define ARENAS_MANY  8
#define WASTE_MIN    (16 * MIB)
#define RESERVED_MIN (512 * MIB)

struct place {
	struct vmat_judgement *judgement;
	const struct vmat_moment *moment;
};

static const char *allocator_of(const struct vmat_moment *moment)
{
	if (moment->settings)
		return moment->settings->allocator;
	return moment->heap ? moment->heap->allocator : "";
}

/* The series was judged without knowing which allocator it is about. */
static void fit_advice(struct vmat_judgement *judgement, const char *allocator)
{
	for (size_t i = 0; i < judgement->findings_count; i++) {
		struct vmat_finding *finding = &judgement->findings[i];
		const char *text = vmat_advice(finding->id, allocator);

		if (*text)
			snprintf(finding->advice, sizeof(finding->advice), "%s", text);
	}
}

static void add(const struct place *place, struct vmat_finding *finding, const char *id,
		enum vmat_severity severity, double weight)
{
	finding->id = id;
	finding->severity = severity;
	finding->weight = weight;
	snprintf(finding->advice, sizeof(finding->advice), "%s",
		 vmat_advice(id, allocator_of(place->moment)));
	vmat_finding_add(place->judgement, finding);
}

static void judge_regions(const struct place *place)
{
	const struct vmat_atlas *atlas = place->moment->atlas;
	uint64_t max = place->moment->counters.regions_max;
	struct vmat_finding finding = { 0 };
	double share;

	if (!atlas || !vmat_is_known(max) || !max)
		return;
	share = (double)atlas->map->count / (double)max;
	if (share < 0.5)
		return;
	snprintf(finding.title, sizeof(finding.title), "%.0f %% of vm.max_map_count is used",
		 100 * share);
	snprintf(finding.evidence, sizeof(finding.evidence), "%zu regions of at most %llu",
		 atlas->map->count, (unsigned long long)max);
	add(place, &finding, "mappings.near_max",
	    share >= 0.9 ? VMAT_SEVERITY_BAD : VMAT_SEVERITY_WARNING, share >= 0.9 ? 9 + share : 4);
}

/* A stack that was once used nearly to its end: the next deeper call ends the process. */
static void judge_stack_ends(const struct place *place, const struct vmat_stacks *stacks)
{
	for (size_t i = 0; i < stacks->count; i++) {
		const struct vmat_stack *stack = &stacks->stacks[i];
		struct vmat_finding finding = { 0 };
		double room, share;
		char words[2][WORDS];

		/* The main stack grows with its use: what it may become is a limit, not its size. */
		if (!vmat_is_known(stack->high_water) || !vmat_is_known(stack->size) ||
		    !vmat_is_known(stack->tid) || stack->kind == VMAT_STACK_MAIN ||
		    stack->kind == VMAT_STACK_GUESSED)
			continue;
		room = (double)stack->size -
		       (vmat_is_known(stack->guard) ? (double)stack->guard : 0);
		share = (double)stack->high_water / room;
		if (!(room > 0) || share < 0.9)
			continue;
		snprintf(finding.title, sizeof(finding.title),
			 "the stack of thread %llu was used to %.0f %%",
			 (unsigned long long)stack->tid, 100 * fmin(share, 1));
		snprintf(finding.evidence, sizeof(finding.evidence),
			 "%s of %s have been touched at some time; behind them is %s",
			 vmat_words_bytes(words[0], WORDS, (double)stack->high_water),
			 vmat_words_bytes(words[1], WORDS, room),
			 stack->guard_kind == VMAT_GUARD_NONE ? "no guard" : "its guard");
		add(place, &finding, "stacks.near_end", VMAT_SEVERITY_WARNING, 5 + share);
	}
}

static void judge_stack_reserve(const struct place *place, const struct vmat_stacks *stacks)
{
	double reserved = 0, used = 0;
	struct vmat_finding finding = { 0 };
	char words[2][WORDS];
	size_t count = 0;

	for (size_t i = 0; i < stacks->count; i++) {
		const struct vmat_stack *stack = &stacks->stacks[i];

		if (!vmat_is_known(stack->size) || !vmat_is_known(stack->resident) ||
		    stack->kind == VMAT_STACK_MAIN || stack->kind == VMAT_STACK_GUESSED)
			continue;
		reserved += (double)stack->size;
		used += (double)stack->resident;
		count++;
	}
	if (reserved < RESERVED_MIN || used > reserved / 16)
		return;
	snprintf(finding.title, sizeof(finding.title), "%zu stacks reserve %s and use %s", count,
		 vmat_words_bytes(words[0], WORDS, reserved),
		 vmat_words_bytes(words[1], WORDS, used));
	snprintf(finding.evidence, sizeof(finding.evidence),
		 "address space alone: it is in vsize and in size, not in resident memory");
	add(place, &finding, "stacks.reserved", VMAT_SEVERITY_INFO, 0.8);
}

/* The arenas of malloc by the heap's own walk, else by the kinds of the map. */
static void judge_arenas(const struct place *place)
{
	const struct vmat_heap *heap = place->moment->heap;
	const struct vmat_atlas *atlas = place->moment->atlas;
	struct vmat_finding finding = { 0 };
	double resident = 0;
	char words[WORDS];
	size_t count = 0;

	if (heap && heap->is_walked && vmat_is_known(heap->arena_max)) {
		count = heap->arenas_count;
		for (size_t i = 0; i < count; i++)
			resident += (double)heap->arenas[i].bytes;
	} else if (atlas && atlas->owners) {
		struct vmat_total totals[VMAT_KIND_COUNT];
		size_t kinds = vmat_atlas_totals(atlas, totals);

		for (size_t i = 0; i < kinds; i++) {
			if (totals[i].kind != VMAT_KIND_ARENA)
				continue;
			count = totals[i].count;
			resident = vmat_is_known(totals[i].rss) ? (double)totals[i].rss : NAN;
		}
	}
	if (count < ARENAS_MANY)
		return;
	snprintf(finding.title, sizeof(finding.title), "malloc has %zu arenas", count);
	snprintf(finding.evidence, sizeof(finding.evidence),
		 "they hold %s; what one has free, threads of the others cannot take",
		 vmat_words_bytes(words, WORDS, resident));
	add(place, &finding, "arenas.many", VMAT_SEVERITY_WARNING, 3);
}

static void judge_heap(const struct place *place)
{
	const struct vmat_heap *heap = place->moment->heap;
	double free = 0, in_use, trimmable = 0;
	struct vmat_finding finding = { 0 };
	char words[3][WORDS];

	if (!heap || !heap->is_walked)
		return;
	for (size_t i = 0; i < heap->arenas_count; i++)
		if (vmat_is_known(heap->arenas[i].trimmable))
			trimmable += (double)heap->arenas[i].trimmable;
	free = (double)heap->totals.bytes[VMAT_CHUNK_FREE] +
	       (double)heap->totals.bytes[VMAT_CHUNK_FASTBIN];
	in_use = (double)heap->totals.bytes[VMAT_CHUNK_IN_USE] +
		 (double)heap->totals.bytes[VMAT_CHUNK_MMAPPED];
	if (free < WASTE_MIN || free < in_use)
		return;
	snprintf(finding.title, sizeof(finding.title), "more of the heap is free than in use");
	snprintf(finding.evidence, sizeof(finding.evidence),
		 "%s free between the blocks, %s in use; malloc_trim(0) would give %s back%s",
		 vmat_words_bytes(words[0], WORDS, free), vmat_words_bytes(words[1], WORDS, in_use),
		 vmat_words_bytes(words[2], WORDS, trimmable),
		 heap->is_approximate ? " (read while it ran)" : "");
	add(place, &finding, "fragmentation.now", VMAT_SEVERITY_WARNING, 3.5);
}

/* Huge pages in the heap make resident what was never touched. What was is not known: it is said as a possibility. */
static void judge_huge(const struct place *place)
{
	const struct vmat_atlas *atlas = place->moment->atlas;
	struct vmat_finding finding = { 0 };
	double huge = 0, rss = 0;
	char words[2][WORDS];

	if (!atlas)
		return;
	for (size_t i = 0; i < atlas->map->count; i++) {
		const struct vmat_region *region = &atlas->map->regions[i];

		if (region->backing != VMAT_BACKING_ANON || !vmat_is_known(region->huge) ||
		    !vmat_is_known(region->rss))
			continue;
		huge += (double)region->huge;
		rss += (double)region->rss;
	}
	if (huge < 4 * WASTE_MIN || huge < rss / 2)
		return;
	snprintf(finding.title, sizeof(finding.title), "huge pages hold most of the memory");
	snprintf(
		finding.evidence, sizeof(finding.evidence),
		"%s of %s anonymous resident memory are huge pages: one byte that is touched makes 2 MiB resident",
		vmat_words_bytes(words[0], WORDS, huge), vmat_words_bytes(words[1], WORDS, rss));
	add(place, &finding, "thp.bloat", VMAT_SEVERITY_INFO, 0.9);
}

void vmat_judge_moment(struct vmat_judgement *judgement, const struct vmat_moment *moment)
{
	struct place place = { .judgement = judgement, .moment = moment };

	fit_advice(judgement, allocator_of(moment));
	judge_regions(&place);
	if (moment->atlas && moment->atlas->stacks) {
		judge_stack_ends(&place, moment->atlas->stacks);
		judge_stack_reserve(&place, moment->atlas->stacks);
	}
	judge_arenas(&place);
	judge_heap(&place);
	judge_huge(&place);
}
