/* SPDX-License-Identifier: MIT */
/*
 * The lists of a heap: arenas and their total, the histogram, what is pinned, what is wrong, chunks.
 */
#include <stdio.h>

#include <vmatlas/heap.h>

#include "export/list_field.h"

#define EVERYWHERE    (VMAT_SHOW_TABLE | VMAT_SHOW_WIDE | VMAT_SHOW_JSON)
#define WIDE_AND_JSON (VMAT_SHOW_WIDE | VMAT_SHOW_JSON)

enum arena_column {
	ARENA,
	ARENA_KIND,
	BYTES,
	IN_USE,
	FREE,
	FASTBIN,
	TCACHE,
	TOP,
	MMAPPED,
	CHUNKS_IN_USE,
	CHUNKS_FREE,
	LARGEST_FREE,
	TRIMMABLE,
	METADATA,
	COMPLETE,
};

static const struct vmat_column arena_columns[] = {
	[ARENA] = { "ARENA", "id", VMAT_TYPE_ADDR, EVERYWHERE, 0,
		    "address of the arena, as a debugger calls it; none for mapped blocks",
		    "glibc: main_arena and its list" },
	[ARENA_KIND] = { "KIND", "kind", VMAT_TYPE_STRING, EVERYWHERE, 0,
			 "main (brk), thread, or mapped: blocks with a mapping of their own",
			 "glibc malloc", .is_tinted = true },
	[BYTES] = { "BYTES", "bytes", VMAT_TYPE_BYTES, EVERYWHERE, 0,
		    "what it took from the kernel",
		    "glibc malloc_state: system_mem; headers of mapped blocks" },
	[IN_USE] = { "IN_USE", "in_use", VMAT_TYPE_BYTES, EVERYWHERE, 0,
		     "chunks in use, their headers included", "the walk" },
	[FREE] = { "FREE", "free", VMAT_TYPE_BYTES, EVERYWHERE, 0,
		   "free chunks on the bins, without the caches and the top", "the walk" },
	[FASTBIN] = { "FASTBIN", "fastbin", VMAT_TYPE_BYTES, WIDE_AND_JSON, 0,
		      "free chunks kept in fastbins", "malloc_state: fastbinsY" },
	[TCACHE] = { "TCACHE", "tcache", VMAT_TYPE_BYTES, EVERYWHERE, 0,
		     "free chunks that threads keep for themselves; mallinfo counts them as in use",
		     "tcache_perthread_struct" },
	[TOP] = { "TOP", "top", VMAT_TYPE_BYTES, EVERYWHERE, 0, "the free end of the arena",
		  "malloc_state: top" },
	[MMAPPED] = { "MMAPPED", "mmapped", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0,
		      "blocks with a mapping of their own", "their headers" },
	[CHUNKS_IN_USE] = { "CHUNKS", "chunks_in_use", VMAT_TYPE_COUNT, EVERYWHERE, 0,
			    "how many chunks are in use", "the walk" },
	[CHUNKS_FREE] = { "CHUNKS_FREE", "chunks_free", VMAT_TYPE_COUNT, WIDE_AND_JSON, 0,
			  "how many are free on the bins", "the walk" },
	[LARGEST_FREE] = { "LARGEST", "largest_free", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			   "the largest chunk on a bin", "the walk" },
	[TRIMMABLE] = { "TRIM", "trimmable", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			"what malloc_trim(0) would give back: whole pages in free chunks that are "
			"present",
			"the walk; PAGEMAP_SCAN: PRESENT" },
	[METADATA] = { "METADATA", "metadata", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0,
		       "headers of the arena and its heaps", "the walk" },
	[COMPLETE] = { "COMPLETE", "complete", VMAT_TYPE_BOOL, VMAT_SHOW_JSON, 0,
		       "every part of it was walked to its end", "the walk" },
};

/* A state that the allocator does not have is not 0 of it. */
static uint64_t bytes_of(const struct vmat_heap *heap, const struct vmat_heap_sums *sums,
			 enum vmat_chunk_state state)
{
	return heap->states & 1U << state ? sums->bytes[state] : VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
}

static void sums_cell(const struct vmat_heap *heap, const struct vmat_heap_sums *sums,
		      size_t column, struct vmat_value *ret)
{
	switch ((enum arena_column)column) {
	case IN_USE:
		ret->number = sums->bytes[VMAT_CHUNK_IN_USE] + sums->bytes[VMAT_CHUNK_MMAPPED];
		break;
	case FREE:
		ret->number = sums->bytes[VMAT_CHUNK_FREE];
		break;
	case FASTBIN:
		ret->number = bytes_of(heap, sums, VMAT_CHUNK_FASTBIN);
		break;
	case TCACHE:
		ret->number = bytes_of(heap, sums, VMAT_CHUNK_TCACHE);
		break;
	case TOP:
		ret->number = bytes_of(heap, sums, VMAT_CHUNK_TOP);
		break;
	case MMAPPED:
		ret->number = bytes_of(heap, sums, VMAT_CHUNK_MMAPPED);
		break;
	case CHUNKS_IN_USE:
		ret->number = sums->count[VMAT_CHUNK_IN_USE] + sums->count[VMAT_CHUNK_MMAPPED];
		break;
	case CHUNKS_FREE:
		ret->number = sums->count[VMAT_CHUNK_FREE];
		break;
	default:
		ret->number = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	}
}

/* The row behind the arenas: the blocks with mappings of their own. */
static void mapped_cell(const struct vmat_heap *heap, size_t column, struct vmat_value *ret)
{
	struct vmat_heap_sums sums = { 0 };

	sums.bytes[VMAT_CHUNK_MMAPPED] = heap->totals.bytes[VMAT_CHUNK_MMAPPED];
	sums.count[VMAT_CHUNK_MMAPPED] = heap->totals.count[VMAT_CHUNK_MMAPPED];
	switch ((enum arena_column)column) {
	case ARENA_KIND:
		ret->text = "mapped";
		break;
	case BYTES:
		ret->number = sums.bytes[VMAT_CHUNK_MMAPPED];
		break;
	case COMPLETE:
		ret->number = heap->mmapped_expected == sums.count[VMAT_CHUNK_MMAPPED];
		break;
	default:
		sums_cell(heap, &sums, column, ret);
	}
}

static void total_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_heap *heap = model;

	(void)row;
	ret->number = 0;
	switch ((enum arena_column)column) {
	case ARENA:
		ret->number = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
		break;
	case ARENA_KIND:
		ret->text = "all";
		break;
	case BYTES:
		ret->number = heap->totals.bytes[VMAT_CHUNK_MMAPPED];
		for (size_t i = 0; i < heap->arenas_count; i++)
			ret->number += heap->arenas[i].bytes;
		break;
	case LARGEST_FREE:
		for (size_t i = 0; i < heap->arenas_count; i++) {
			if (heap->arenas[i].largest_free > ret->number)
				ret->number = heap->arenas[i].largest_free;
		}
		break;
	case TRIMMABLE:
		for (size_t i = 0; i < heap->arenas_count; i++)
			ret->number = vmat_is_known(heap->arenas[i].trimmable)
					      ? ret->number + heap->arenas[i].trimmable
					      : heap->arenas[i].trimmable;
		break;
	case METADATA:
		for (size_t i = 0; i < heap->arenas_count; i++)
			ret->number += heap->arenas[i].metadata;
		break;
	case COMPLETE:
		ret->number = 1;
		for (size_t i = 0; i < heap->arenas_count; i++)
			ret->number &= heap->arenas[i].is_complete;
		break;
	default:
		sums_cell(heap, &heap->totals, column, ret);
	}
}

static void arena_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_heap *heap = model;
	const struct vmat_heap_arena *arena = &heap->arenas[row];

	if (row >= heap->arenas_count) {
		if (row == heap->arenas_count && heap->totals.count[VMAT_CHUNK_MMAPPED])
			mapped_cell(heap, column, ret);
		else
			total_cell(heap, 0, column, ret);
		return;
	}
	switch ((enum arena_column)column) {
	case ARENA:
		ret->number = arena->addr;
		break;
	case ARENA_KIND:
		ret->text = arena->kind;
		break;
	case BYTES:
		ret->number = arena->bytes;
		break;
	case LARGEST_FREE:
		ret->number = arena->largest_free;
		break;
	case TRIMMABLE:
		ret->number = arena->trimmable;
		break;
	case METADATA:
		ret->number = arena->metadata;
		break;
	case COMPLETE:
		ret->number = arena->is_complete;
		break;
	default:
		sums_cell(heap, &arena->sums, column, ret);
	}
}

static enum vmat_tint arena_tint(const void *model, size_t row)
{
	const struct vmat_heap *heap = model;

	return row < heap->arenas_count && !heap->arenas[row].is_complete ? VMAT_TINT_BAD
									  : VMAT_TINT_HEAP;
}

const struct vmat_list vmat_list_arenas = {
	.name = "heap.arenas",
	.key = "arenas",
	.columns = arena_columns,
	.columns_count = VMAT_COLUMNS_COUNT(arena_columns),
	.cell = arena_cell,
	.tint = arena_tint,
	.meaning = "an independent part of malloc, or all blocks with mappings of their own",
};

const struct vmat_list vmat_list_heap_totals = {
	.name = "heap.totals",
	.key = "totals",
	.columns = arena_columns,
	.columns_count = VMAT_COLUMNS_COUNT(arena_columns),
	.cell = total_cell,
	.meaning = "the sum over all arenas and mapped blocks",
};

enum bucket_column { SIZE_FROM, SIZE_TO, BUCKET_IN_USE, BUCKET_COUNT, BUCKET_FREE, BUCKET_CACHED };

static const struct vmat_column bucket_columns[] = {
	[SIZE_FROM] = { "FROM", "size_from", VMAT_TYPE_BYTES, EVERYWHERE, 0, "smallest chunk",
			"the walk" },
	[SIZE_TO] = { "TO", "size_to", VMAT_TYPE_BYTES, EVERYWHERE, 0,
		      "larger than the largest chunk", "the walk" },
	[BUCKET_IN_USE] = { "IN_USE", "in_use", VMAT_TYPE_BYTES, EVERYWHERE, 0, "bytes in use",
			    "the walk" },
	[BUCKET_COUNT] = { "CHUNKS", "chunks_in_use", VMAT_TYPE_COUNT, EVERYWHERE, 0,
			   "how many chunks are in use", "the walk" },
	[BUCKET_FREE] = { "FREE", "free", VMAT_TYPE_BYTES, EVERYWHERE, 0, "bytes free on the bins",
			  "the walk" },
	[BUCKET_CACHED] = { "CACHED", "cached", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			    "bytes free in fastbins and tcaches", "the walk" },
};

static void bucket_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_heap *heap = model;
	const struct vmat_heap_bucket *bucket = &heap->buckets[row];
	const struct vmat_heap_sums *sums = &bucket->sums;

	switch ((enum bucket_column)column) {
	case SIZE_FROM:
		ret->number = bucket->size_from;
		break;
	case SIZE_TO:
		ret->number = bucket->size_to;
		break;
	case BUCKET_IN_USE:
		ret->number = sums->bytes[VMAT_CHUNK_IN_USE] + sums->bytes[VMAT_CHUNK_MMAPPED];
		break;
	case BUCKET_COUNT:
		ret->number = sums->count[VMAT_CHUNK_IN_USE] + sums->count[VMAT_CHUNK_MMAPPED];
		break;
	case BUCKET_FREE:
		ret->number = sums->bytes[VMAT_CHUNK_FREE];
		break;
	case BUCKET_CACHED:
		ret->number = bytes_of(heap, sums, VMAT_CHUNK_FASTBIN);
		if (vmat_is_known(ret->number))
			ret->number += sums->bytes[VMAT_CHUNK_TCACHE];
		break;
	}
}

const struct vmat_list vmat_list_histogram = {
	.name = "heap.histogram",
	.key = "histogram",
	.columns = bucket_columns,
	.columns_count = VMAT_COLUMNS_COUNT(bucket_columns),
	.cell = bucket_cell,
	.meaning = "the chunks of a range of sizes",
};

enum pinned_column { PINNED_START, PINNED_END, PINNED_FREE, HELD_BY, HELD_BY_SIZE };

static const struct vmat_column pinned_columns[] = {
	[PINNED_START] = { "START", "start", VMAT_TYPE_ADDR, EVERYWHERE, 0, "first address",
			   "the walk" },
	[PINNED_END] = { "END", "end", VMAT_TYPE_ADDR, EVERYWHERE, 0,
			 "first address behind the range", "the walk" },
	[PINNED_FREE] = { "FREE", "free", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			  "bytes of free chunks between two chunks in use", "the walk" },
	[HELD_BY] = { "HELD_BY", "held_by", VMAT_TYPE_ADDR, EVERYWHERE, 0,
		      "the chunk in use right above, which keeps the range from the top of the heap",
		      "the walk" },
	[HELD_BY_SIZE] = { "OF", "held_by_size", VMAT_TYPE_BYTES, EVERYWHERE, 0, "its size",
			   "the walk" },
};

static void pinned_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	static const uint16_t fields[] = {
		[PINNED_START] = offsetof(struct vmat_heap_pinned, start),
		[PINNED_END] = offsetof(struct vmat_heap_pinned, end),
		[PINNED_FREE] = offsetof(struct vmat_heap_pinned, free),
		[HELD_BY] = offsetof(struct vmat_heap_pinned, held_by),
		[HELD_BY_SIZE] = offsetof(struct vmat_heap_pinned, held_by_size),
	};

	ret->number = vmat_field(&((const struct vmat_heap *)model)->pinned[row], fields[column]);
}

const struct vmat_list vmat_list_pinned = {
	.name = "heap.pinned",
	.key = "pinned",
	.columns = pinned_columns,
	.columns_count = VMAT_COLUMNS_COUNT(pinned_columns),
	.cell = pinned_cell,
	.meaning = "a range of free memory inside the heap; the largest ones",
};

enum finding_column { FINDING_ADDR, FINDING_TEXT };

static const struct vmat_column finding_columns[] = {
	[FINDING_ADDR] = { "AT", "addr", VMAT_TYPE_ADDR, EVERYWHERE, 0, "where", "the walk" },
	[FINDING_TEXT] = { "FINDING", "text", VMAT_TYPE_STRING, EVERYWHERE, 0,
			   "what does not fit there", "the walk", .ample = 3 },
};

static void finding_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_heap_finding *finding = &((const struct vmat_heap *)model)->findings[row];

	if (column == FINDING_ADDR)
		ret->number = finding->addr;
	else
		ret->text = finding->text;
}

const struct vmat_list vmat_list_findings = {
	.name = "heap.findings",
	.key = "findings",
	.columns = finding_columns,
	.columns_count = VMAT_COLUMNS_COUNT(finding_columns),
	.cell = finding_cell,
	.meaning = "something wrong with the heap itself",
};

enum chunk_column {
	CHUNK_ADDR,
	CHUNK_SIZE,
	CHUNK_STATE,
	CHUNK_ARENA,
	CHUNK_BLOCK,
	CHUNK_USABLE,
};

static const struct vmat_column chunk_columns[] = {
	[CHUNK_ADDR] = { "CHUNK", "addr", VMAT_TYPE_ADDR, EVERYWHERE, 0,
			 "address of the chunk, and of its header where it has one; of a mapped "
			 "block, of its mapping",
			 "the walk" },
	[CHUNK_SIZE] = { "SIZE", "size", VMAT_TYPE_BYTES, EVERYWHERE, 0, "with the header",
			 "the walk" },
	[CHUNK_STATE] = { "STATE", "state", VMAT_TYPE_STRING, EVERYWHERE, 0,
			  "in_use, free, fastbin, tcache, top or mmapped", "the walk",
			  .is_tinted = true },
	[CHUNK_ARENA] = { "ARENA", "arena", VMAT_TYPE_ADDR, EVERYWHERE, 0,
			  "the arena that it belongs to", "the walk" },
	[CHUNK_BLOCK] = { "BLOCK", "block", VMAT_TYPE_ADDR, WIDE_AND_JSON, 0,
			  "what malloc returned for it, when it is in use", "the walk" },
	[CHUNK_USABLE] = { "USABLE", "usable", VMAT_TYPE_BYTES, WIDE_AND_JSON, 0,
			   "bytes that the program may use, as malloc_usable_size says",
			   "the walk" },
};

static bool is_in_use(const struct vmat_chunk *chunk)
{
	return chunk->state == VMAT_CHUNK_IN_USE || chunk->state == VMAT_CHUNK_MMAPPED;
}

static void chunk_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_chunks_view *view = model;
	const struct vmat_chunk *chunk = &view->chunks[row];

	switch ((enum chunk_column)column) {
	case CHUNK_ADDR:
		ret->number = chunk->addr;
		break;
	case CHUNK_USABLE:
		ret->number =
			is_in_use(chunk) ? chunk->block_size : VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
		break;
	case CHUNK_SIZE:
		ret->number = chunk->size;
		break;
	case CHUNK_STATE:
		ret->text = vmat_chunk_state_name(chunk->state);
		break;
	case CHUNK_ARENA:
		ret->number = chunk->arena < view->heap->arenas_count
				      ? view->heap->arenas[chunk->arena].addr
				      : VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
		break;
	case CHUNK_BLOCK:
		ret->number =
			chunk->state == VMAT_CHUNK_IN_USE || chunk->state == VMAT_CHUNK_MMAPPED
				? chunk->block_addr
				: VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
		break;
	}
}

static enum vmat_tint chunk_tint(const void *model, size_t row)
{
	switch (((const struct vmat_chunks_view *)model)->chunks[row].state) {
	case VMAT_CHUNK_IN_USE:
	case VMAT_CHUNK_MMAPPED:
		return VMAT_TINT_HEAP;
	default:
		return VMAT_TINT_IDLE;
	}
}

const struct vmat_list vmat_list_chunks = {
	.name = "heap.chunks",
	.key = "chunks",
	.columns = chunk_columns,
	.columns_count = VMAT_COLUMNS_COUNT(chunk_columns),
	.cell = chunk_cell,
	.tint = chunk_tint,
	.meaning = "a block of the heap with its header",
};

enum cell_column {
	CELL_START,
	CELL_ARENA,
	CELL_IN_USE,
	CELL_CACHED,
	CELL_FREE,
	CELL_TOP,
	CELL_ABSENT,
};

static const struct vmat_column cell_columns[] = {
	[CELL_START] = { "START", "start", VMAT_TYPE_ADDR, EVERYWHERE, 0,
			 "where the cell begins; it reaches to the next multiple of the cells' size, or "
			 "to the end of the arena's segment",
			 "the walk" },
	[CELL_ARENA] = { "ARENA", "arena", VMAT_TYPE_ADDR, EVERYWHERE, 0,
			 "the arena that it belongs to", "the walk" },
	[CELL_IN_USE] = { "IN_USE", "in_use", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			  "its bytes in chunks in use, headers included", "the walk" },
	[CELL_CACHED] = { "CACHED", "cached", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			  "in free chunks in fastbins and tcaches", "the walk" },
	[CELL_FREE] = { "FREE", "free", VMAT_TYPE_BYTES, EVERYWHERE, 0, "in free chunks on bins",
			"the walk" },
	[CELL_TOP] = { "TOP", "top", VMAT_TYPE_BYTES, EVERYWHERE, 0, "in the free end of the arena",
		       "the walk" },
	[CELL_ABSENT] = { "ABSENT", "absent", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			  "of all these, in pages that are neither in memory nor in swap",
			  "PAGEMAP_SCAN: PRESENT, SWAPPED" },
};

static void cell_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_cells_view *view = model;
	const struct vmat_heap_cell *cell = &view->strips->cells[row];

	switch ((enum cell_column)column) {
	case CELL_START:
		ret->number = cell->start;
		break;
	case CELL_ARENA:
		ret->number = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
		for (size_t i = 0; i < view->strips->count; i++) {
			const struct vmat_heap_strip *strip = &view->strips->strips[i];

			if (row >= strip->cells && row - strip->cells < strip->cells_count &&
			    strip->arena < view->heap->arenas_count)
				ret->number = view->heap->arenas[strip->arena].addr;
		}
		break;
	case CELL_IN_USE:
		ret->number = cell->in_use;
		break;
	case CELL_CACHED:
		ret->number = cell->cached;
		break;
	case CELL_FREE:
		ret->number = cell->free;
		break;
	case CELL_TOP:
		ret->number = cell->top;
		break;
	case CELL_ABSENT:
		ret->number = cell->absent;
		break;
	}
}

const struct vmat_list vmat_list_cells = {
	.name = "heap.cells",
	.key = "cells",
	.columns = cell_columns,
	.columns_count = VMAT_COLUMNS_COUNT(cell_columns),
	.cell = cell_cell,
	.meaning = "an equal number of bytes of an arena",
};
