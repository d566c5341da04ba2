/* SPDX-License-Identifier: MIT */
/*
 * heap_strip.c: the heap as strips of cells (strip.h). It reads the segments that a walk has left, and no memory of
 * the target; which pages are there is asked from the source.
 */
#include <errno.h>
#include <stdlib.h>

#include <vmatlas/strip.h>

#include "base/cleanup.h"
#include "heap/heap_priv.h"

enum { CELL_LEAST = 64, RUNS = 64 };

struct vmat_heap_strips *vmat_heap_strips_free(struct vmat_heap_strips *strips)
{
	if (strips) {
		free(strips->strips);
		free(strips->cells);
	}
	free(strips);
	return NULL;
}

static void cleanup_strips(struct vmat_heap_strips **strips)
{
	vmat_heap_strips_free(*strips);
}

static uint64_t cells_of(const struct vmat_heap_segment *segment, uint64_t cell_bytes)
{
	return (segment->end - 1) / cell_bytes - segment->start / cell_bytes + 1;
}

static bool is_strip(const struct vmat_heap_segment *segment)
{
	return segment->begins && segment->end > segment->start;
}

/* The smallest power of two with which the largest strip has no more than `most` cells. */
static uint64_t choose_cell(const struct vmat_heap *heap, uint64_t most)
{
	uint64_t cell = CELL_LEAST;

	for (size_t i = 0; i < heap->priv->segments_count; i++) {
		const struct vmat_heap_segment *segment = &heap->priv->segments[i];

		while (is_strip(segment) && cells_of(segment, cell) > (most ? most : 1) &&
		       cell < UINT64_C(1) << 40)
			cell *= 2;
	}
	return cell;
}

static uint64_t *part_of(struct vmat_heap_cell *cell, enum vmat_chunk_state state)
{
	switch (state) {
	case VMAT_CHUNK_FREE:
		return &cell->free;
	case VMAT_CHUNK_FASTBIN:
	case VMAT_CHUNK_TCACHE:
		return &cell->cached;
	case VMAT_CHUNK_TOP:
		return &cell->top;
	default:
		return &cell->in_use;
	}
}

/* The cell of an address; its strip begins in the first of `cells`. */
static struct vmat_heap_cell *cell_at(const struct vmat_heap_strips *strips,
				      const struct vmat_heap_strip *strip, uint64_t addr)
{
	return &strips->cells[strip->cells + (size_t)(addr / strips->cell_bytes -
						      strip->start / strips->cell_bytes)];
}

/* How much of [addr, end) lies in the cell of addr. */
static uint64_t within_cell(const struct vmat_heap_strips *strips, uint64_t addr, uint64_t end)
{
	uint64_t left = strips->cell_bytes - addr % strips->cell_bytes;

	return end - addr < left ? end - addr : left;
}

static void fill_strip(const struct vmat_heap_strips *strips, const struct vmat_heap_strip *strip,
		       const struct vmat_heap_segment *segment)
{
	uint64_t next;

	for (uint64_t addr = segment->start; addr < segment->end; addr = next) {
		enum vmat_chunk_state state = vmat_heap_state(segment, addr);

		next = vmat_heap_next(segment, addr);
		for (uint64_t at = addr, size; at < next; at += size) {
			size = within_cell(strips, at, next);
			*part_of(cell_at(strips, strip, at), state) += size;
		}
	}
}

/* Takes what is there away from what is absent. False when it cannot be told. */
static bool fill_absent(const struct vmat_heap_strips *strips, const struct vmat_heap_strip *strip,
			struct vmat_target *target)
{
	const uint32_t want = VMAT_PAGE_PRESENT | VMAT_PAGE_SWAPPED;
	uint64_t at = strip->start & ~(uint64_t)(VMAT_HEAP_PAGE - 1);
	struct vmat_page_run runs[RUNS];
	uint32_t known;

	for (size_t i = 0; i < strip->cells_count; i++) {
		struct vmat_heap_cell *cell = &strips->cells[strip->cells + i];

		cell->absent = cell->in_use + cell->cached + cell->free + cell->top;
	}
	while (at < strip->end) {
		int count = vmat_source_scan(target, &at, strip->end, want, runs, RUNS, &known);

		if (count < 0)
			return false;
		for (int i = 0; i < count; i++) {
			uint64_t from = runs[i].start > strip->start ? runs[i].start : strip->start;
			uint64_t end = runs[i].end < strip->end ? runs[i].end : strip->end;

			for (uint64_t size; from < end && runs[i].flags & want; from += size) {
				size = within_cell(strips, from, end);
				cell_at(strips, strip, from)->absent -= size;
			}
		}
	}
	return true;
}

static void draw_strip(struct vmat_heap_strips *strips, const struct vmat_heap *heap,
		       const struct vmat_heap_segment *segment)
{
	struct vmat_heap_strip *strip = &strips->strips[strips->count++];

	*strip = (struct vmat_heap_strip){
		.start = segment->start,
		.end = segment->end,
		.arena = segment->arena,
		.cells = strips->cells_count,
		.cells_count = (size_t)cells_of(segment, strips->cell_bytes),
	};
	strips->cells_count += strip->cells_count;
	for (size_t i = 0; i < strip->cells_count; i++)
		strips->cells[strip->cells + i].start =
			i ? (strip->start / strips->cell_bytes + i) * strips->cell_bytes
			  : strip->start;
	fill_strip(strips, strip, segment);
	if (fill_absent(strips, strip, heap->priv->memory.target))
		return;
	for (size_t i = 0; i < strip->cells_count; i++)
		strips->cells[strip->cells + i].absent = VMAT_UNKNOWN(VMAT_NOT_FOUND);
}

int vmat_heap_strips_read(struct vmat_heap_strips **ret, const struct vmat_heap *heap,
			  uint64_t cell_bytes, uint64_t cells_most, struct vmat_error *err)
{
	vmat_cleanup(cleanup_strips) struct vmat_heap_strips *strips = calloc(1, sizeof(*strips));
	uint64_t cells = 0;

	if (!strips)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	strips->cell_bytes = cell_bytes ? cell_bytes : choose_cell(heap, cells_most);
	if (strips->cell_bytes < CELL_LEAST)
		return vmat_error_set(err, -EINVAL, "a cell has at least %d bytes", CELL_LEAST);
	for (size_t i = 0; heap->is_walked && i < heap->priv->segments_count; i++)
		if (is_strip(&heap->priv->segments[i]))
			cells += cells_of(&heap->priv->segments[i], strips->cell_bytes);
	if (cells > VMAT_HEAP_CELLS_MAX)
		return vmat_error_set(
			err, -E2BIG,
			"the heap has more than %d cells of this size; give larger ones",
			VMAT_HEAP_CELLS_MAX);
	strips->strips = calloc(heap->is_walked ? heap->priv->segments_count + 1 : 1,
				sizeof(*strips->strips));
	strips->cells = calloc((size_t)cells + 1, sizeof(*strips->cells));
	if (!strips->strips || !strips->cells)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; heap->is_walked && i < heap->priv->segments_count; i++)
		if (is_strip(&heap->priv->segments[i]))
			draw_strip(strips, heap, &heap->priv->segments[i]);
	strips->mapped_count = heap->totals.count[VMAT_CHUNK_MMAPPED];
	strips->mapped_bytes = heap->totals.bytes[VMAT_CHUNK_MMAPPED];
	*ret = vmat_take_ptr(&strips);
	return 0;
}
