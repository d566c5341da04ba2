/* SPDX-License-Identifier: MIT */
/*
 * rtos_stack.c: how large the stack of a task is, and how much of it was never used.
 *
 * A TCB says where its stack begins; where it ends only with configRECORD_STACK_HIGH_ADDRESS. So five sources are asked, the
 * most exact first (enum vmat_task_source). pxEndOfStack is aligned down, so it may be a word or two short; the header of a
 * block is rounded up, and may be longer. What was never used is counted as FreeRTOS does it, in bytes of 0xa5
 * (tskSTACK_FILL_BYTE), which it writes only with configCHECK_FOR_STACK_OVERFLOW above 1, uxTaskGetStackHighWaterMark() or
 * the trace facility.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "rtos/rtos_priv.h"

enum {
	FILL_BYTE = 0xa5,
	FILL_STEP_LEAST = 64,
	FILL_STEP_MOST = 2048,
	ROUNDING = 16, /* what pxEndOfStack and the header of a block may differ by */
};

static const uint64_t SIZE_MAX_BYTES = 64 << 20; /* of a stack: more is damage */

/* How much is read next: more each time, so that a full stack costs few bytes and an empty one few packets. */
static size_t fill_step(uint64_t count, uint64_t limit)
{
	uint64_t step = count < FILL_STEP_LEAST  ? FILL_STEP_LEAST
			: count > FILL_STEP_MOST ? FILL_STEP_MOST
						 : count;

	return (size_t)(limit - count < step ? limit - count : step);
}

/* Bytes of the fill from addr upward, at most `limit`. *is_cut: what is behind them cannot be read. */
static uint64_t fill_up(struct vmat_rtos_reading *reading, uint64_t addr, uint64_t limit,
			bool *is_cut)
{
	unsigned char bytes[FILL_STEP_MOST];
	uint64_t count = 0;

	while (count < limit) {
		size_t size = fill_step(count, limit);

		/* Smaller where memory ends. */
		while (size && !vmat_rtos_bytes(reading, addr + count, bytes, size))
			size /= 2;
		*is_cut = !size;
		if (!size)
			break;
		for (size_t i = 0; i < size; i++, count++) {
			if (bytes[i] != FILL_BYTE)
				return count;
		}
	}
	return count;
}

/* The same from the byte before addr downward. */
static uint64_t fill_down(struct vmat_rtos_reading *reading, uint64_t addr, uint64_t limit,
			  bool *is_cut)
{
	unsigned char bytes[FILL_STEP_MOST];
	uint64_t count = 0;

	while (count < limit) {
		size_t size = fill_step(count, limit);

		while (size && !vmat_rtos_bytes(reading, addr - count - size, bytes, size))
			size /= 2;
		*is_cut = !size;
		if (!size)
			break;
		for (size_t i = size; i-- > 0; count++) {
			if (bytes[i] != FILL_BYTE)
				return count;
		}
	}
	return count;
}

/* What the C library's malloc wrote before the block at addr: bytes that the block has. */
static uint64_t chunk_size(struct vmat_rtos_reading *reading, uint64_t addr)
{
	const uint64_t unknown = VMAT_UNKNOWN(VMAT_NOT_FOUND);
	uint64_t word = vmat_rtos_pointer_size(reading);
	uint64_t size = vmat_rtos_number(reading, addr - word, word);
	bool is_process = !vmat_target_process(reading->target)->firmware;

	if (!vmat_is_known(size))
		return unknown;
	if (is_process || vmat_rtos_has(reading, RTOS_NEWLIB_BINS)) {
		/* glibc and newlib: size | flags, with the next chunk's first word for our use. */
		size = (size & ~(uint64_t)7) - word;
	} else if (vmat_rtos_has(reading, RTOS_NANO_FREE_LIST)) {
		/* newlib-nano: a negative number leads to the header, which lies before what aligned the block. */
		int32_t offset = (int32_t)size;

		if (offset < 0 && offset > -64) {
			size = vmat_rtos_number(reading, addr - word + (uint64_t)(int64_t)offset,
						word) +
			       (uint64_t)(int64_t)offset;
		}
		size -= word;
	} else {
		return unknown;
	}
	return size >= 16 && size < SIZE_MAX_BYTES ? size : unknown;
}

static void read_header(struct vmat_rtos_reading *reading, const struct vmat_task *task,
			struct vmat_task_notes *notes)
{
	const struct vmat_rtos_heap *heap = &reading->rtos->heap;
	bool is_inside = vmat_is_known(heap->addr) && task->stack_addr > heap->addr &&
			 task->stack_addr - heap->addr < heap->size;
	uint64_t header = heap->header, addr = task->stack_addr - header, size;
	unsigned char bytes[64];

	if (heap->scheme == 3) {
		notes->chunk_size = chunk_size(reading, task->stack_addr);
		return;
	}
	if (heap->scheme == 1 || !vmat_is_known(header) || (heap->scheme != 5 && !is_inside))
		return;
	size = vmat_rtos_block_size(reading, addr);
	/* A header that cannot be read is not one that is damaged. */
	if (is_inside && header <= sizeof(bytes) && vmat_rtos_bytes(reading, addr, bytes, header))
		notes->header_addr = addr;
	if (!vmat_is_known(size) || size <= header || size > SIZE_MAX_BYTES ||
	    (is_inside && size > heap->size - (addr - heap->addr)))
		return;
	/* Where the heap's ends are not known, the header must at least have the mark of being allocated. */
	if (!is_inside) {
		const struct vmat_datum *block = vmat_rtos_datum(reading, RTOS_BLOCK_SIZE);

		if (vmat_rtos_number(reading, addr + block->offset, block->size) == size)
			return;
	}
	notes->block_size = size - header;
}

static void read_thread(struct vmat_rtos_reading *reading, struct vmat_task *task,
			const struct vmat_task_notes *notes)
{
	const struct vmat_datum *thread = vmat_rtos_datum(reading, RTOS_THREAD);

	/* The POSIX port keeps its Thread_t right above pxTopOfStack, which never changes there. */
	if (!vmat_is_known(thread->offset) || thread->size != 8 || !vmat_is_known(notes->top))
		return;
	task->thread_addr =
		vmat_rtos_number(reading, notes->top + task->word + thread->offset, thread->size);
}

void vmat_rtos_stacks_read(struct vmat_rtos_reading *reading)
{
	struct vmat_rtos *rtos = reading->rtos;

	for (size_t i = 0; i < rtos->count && !reading->has_failed; i++) {
		struct vmat_task *task = &rtos->tasks[i];
		struct vmat_task_notes *notes = &reading->notes[i];

		read_header(reading, task, notes);
		read_thread(reading, task, notes);
		notes->low_fill =
			fill_up(reading, task->stack_addr, SIZE_MAX_BYTES, &notes->is_low_cut);
		if (vmat_is_known(notes->end) && notes->end >= task->stack_addr &&
		    notes->end - task->stack_addr < SIZE_MAX_BYTES)
			notes->high_fill = fill_down(reading, notes->end + task->word,
						     notes->end + task->word - task->stack_addr,
						     &notes->is_high_cut);
		if (vmat_is_known(notes->high_fill) && notes->high_fill >= task->word &&
		    notes->low_fill < task->word && !notes->is_low_cut)
			rtos->grows_up = true;
	}
}

/* The nearest thing above `addr` that is known: another stack, a TCB, the end of the heap or of the variable. */
static uint64_t next_above(const struct vmat_rtos_reading *reading, uint64_t addr,
			   const struct vmat_place *place)
{
	const struct vmat_rtos *rtos = reading->rtos;
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < rtos->count; i++) {
		const struct vmat_task *task = &rtos->tasks[i];

		if (task->is_main)
			continue;
		if (task->stack_addr > addr && task->stack_addr < next)
			next = task->stack_addr;
		if (vmat_is_known(task->tcb_addr) && task->tcb_addr > addr && task->tcb_addr < next)
			next = task->tcb_addr;
	}
	if (vmat_is_known(rtos->heap.addr) && addr >= rtos->heap.addr &&
	    addr - rtos->heap.addr < rtos->heap.size) {
		uint64_t end = rtos->heap.addr + rtos->heap.size;

		if (rtos->heap.scheme == 1 && vmat_is_known(rtos->heap.used))
			end = vmat_rtos_align(rtos->heap.addr, 8) + rtos->heap.used;
		if (end > addr && end < next)
			next = end;
	}
	if (place && vmat_is_known(place->begin) && !place->is_near) {
		uint64_t end = place->begin + place->size + reading->bias;

		if (end > addr && end < next)
			next = end;
	}
	return next;
}

static void set_size(struct vmat_task *task, uint64_t size, enum vmat_task_source source)
{
	task->size = size;
	task->size_words = size / task->word;
	task->source = source;
}

/* Is it the variable that begins where the stack does? A heap may do so, too: it is no stack. */
static bool is_array(const struct vmat_rtos_reading *reading, const struct vmat_task *task,
		     const struct vmat_place *place)
{
	return vmat_is_known(place->begin) && place->begin + reading->bias == task->stack_addr &&
	       place->size >= task->word && strncmp(place->name, "ucHeap", 6) != 0;
}

/* By pxEndOfStack, in bytes; unknown when there is none, or none that can be. */
static uint64_t end_size(const struct vmat_task *task, const struct vmat_task_notes *notes)
{
	uint64_t size = notes->end - task->stack_addr + task->word;

	return vmat_is_known(notes->end) && notes->end >= task->stack_addr && size < SIZE_MAX_BYTES
		       ? size
		       : VMAT_UNKNOWN(VMAT_NOT_FOUND);
}

static void settle_size(struct vmat_rtos_reading *reading, struct vmat_task *task,
			const struct vmat_task_notes *notes, const struct vmat_place *place)
{
	uint64_t end = end_size(task, notes), next;
	bool does_block_fit = vmat_is_known(notes->block_size) &&
			      (!vmat_is_known(end) ||
			       (notes->block_size >= end && notes->block_size - end < ROUNDING));

	if (is_array(reading, task, place)) {
		set_size(task, place->size, VMAT_TASK_SOURCE_ARRAY);
		snprintf(task->why, sizeof(task->why), "variable %.80s", place->name);
	} else if (does_block_fit) {
		set_size(task, notes->block_size, VMAT_TASK_SOURCE_BLOCK);
		snprintf(task->why, sizeof(task->why),
			 "header of its block in heap_%u: what was asked for may be a little less",
			 reading->rtos->heap.scheme);
	} else if (vmat_is_known(end)) {
		set_size(task, end, VMAT_TASK_SOURCE_END);
		snprintf(task->why, sizeof(task->why),
			 "pxEndOfStack, aligned down: up to 7 bytes more");
	} else if (vmat_is_known(notes->chunk_size)) {
		set_size(task, notes->chunk_size, VMAT_TASK_SOURCE_CHUNK);
		snprintf(task->why, sizeof(task->why),
			 "header of malloc: what was asked for may be a little less");
	} else {
		next = next_above(reading, task->stack_addr, place);
		if (next - task->stack_addr < SIZE_MAX_BYTES) {
			set_size(task, next - task->stack_addr, VMAT_TASK_SOURCE_NEXT);
			snprintf(task->why, sizeof(task->why),
				 "what is known to lie next, at 0x%" PRIx64 ": the most it can be",
				 next);
		} else {
			snprintf(task->why, sizeof(task->why), "nothing tells where it ends");
		}
	}
}

static void settle_left(const struct vmat_rtos *rtos, struct vmat_task *task,
			const struct vmat_task_notes *notes)
{
	uint64_t fill = rtos->grows_up ? notes->high_fill : notes->low_fill;
	bool is_cut = rtos->grows_up ? notes->is_high_cut : notes->is_low_cut;
	size_t used = strlen(task->why);

	if (!rtos->is_filled) {
		snprintf(task->why + used, sizeof(task->why) - used, "; stacks are not filled");
		return;
	}
	if (!vmat_is_known(fill))
		return;
	if (vmat_is_known(task->size) && fill >= task->size) {
		fill = task->size;
	} else if (is_cut) {
		snprintf(task->why + used, sizeof(task->why) - used,
			 "; not all of its fill can be read");
		return;
	}
	task->left_words = fill / task->word;
	task->left = task->left_words * task->word;
	if (vmat_is_known(task->size) && task->size)
		task->left_percent = 100 * task->left / task->size;
}

/*
 * The POSIX port runs a task on a stack of the thread's own always from V11 on, and before where the task's is smaller than a
 * thread's may be: PTHREAD_STACK_MIN, which is no less than this anywhere.
 */
static void settle_thread(const struct vmat_rtos_reading *reading, struct vmat_task *task)
{
	const uint64_t thread_least = 16384;
	size_t used = strlen(task->why);

	if (vmat_is_known(task->thread_addr) && vmat_is_known(task->size) &&
	    (vmat_rtos_has(reading, RTOS_IDLE_HANDLES) || task->size < thread_least))
		snprintf(
			task->why + used, sizeof(task->why) - used,
			"; its thread runs on a stack of its own: LEFT says little of what the task needs");
}

static void settle_used(const struct vmat_rtos *rtos, struct vmat_task *task,
			const struct vmat_task_notes *notes)
{
	bool is_inside;

	if (task->state == VMAT_TASK_RUNNING) {
		task->used = VMAT_UNKNOWN(VMAT_RUNNING);
		return;
	}
	if (!vmat_is_known(notes->top) || !vmat_is_known(task->size))
		return;
	is_inside = notes->top >= task->stack_addr && notes->top - task->stack_addr <= task->size;
	/* pxTopOfStack may be one word below where the stack begins: nothing was pushed there yet. */
	if (is_inside && rtos->grows_up)
		task->used = notes->top - task->stack_addr;
	else if (is_inside)
		task->used = task->size - (notes->top - task->stack_addr);
}

static void judge(struct vmat_rtos_reading *reading, const struct vmat_task *task,
		  const struct vmat_task_notes *notes)
{
	struct vmat_rtos *rtos = reading->rtos;
	char name[48];

	if (task->is_main)
		snprintf(name, sizeof(name), "the main stack");
	else
		snprintf(name, sizeof(name), "task \"%.32s\"", task->name);
	if (vmat_is_known(notes->header_addr) && !vmat_is_known(notes->block_size))
		vmat_rtos_find(rtos, VMAT_RTOS_OVERFLOW, notes->header_addr,
			       "%s: the header of its block, below its stack, is damaged", name);
	if (task->state != VMAT_TASK_RUNNING && vmat_is_known(notes->top) &&
	    (notes->top < task->stack_addr ||
	     (vmat_is_known(task->size) && task->source != VMAT_TASK_SOURCE_NEXT &&
	      notes->top - task->stack_addr > task->size)))
		vmat_rtos_find(rtos, VMAT_RTOS_OVERFLOW, notes->top,
			       "%s: its stack pointer lies outside of its stack", name);
	else if (vmat_is_known(task->left_words) && !task->left_words)
		vmat_rtos_find(rtos, VMAT_RTOS_OVERFLOW,
			       rtos->grows_up && vmat_is_known(task->size)
				       ? task->stack_addr + task->size - task->word
				       : task->stack_addr,
			       "%s: its stack was used to the last word, or beyond", name);
	else if (vmat_is_known(task->left_percent) && task->left_percent < 10)
		vmat_rtos_find(rtos, VMAT_RTOS_WARNING, task->stack_addr,
			       "%s: only %" PRIu64 " word%s of %" PRIu64 " (%" PRIu64
			       " %%) were never used",
			       name, task->left_words, task->left_words == 1 ? "" : "s",
			       task->size_words, task->left_percent);
}

/* The variable that each stack lies in. */
static struct vmat_place *find_places(struct vmat_rtos_reading *reading)
{
	const struct vmat_symbol_file file = { .fd = reading->fd, .debug_fd = -1 };
	const struct vmat_rtos *rtos = reading->rtos;
	struct vmat_place *places = calloc(rtos->count + 1, sizeof(*places));

	for (size_t i = 0; places && i < rtos->count; i++)
		places[i] = (struct vmat_place){
			.addr = rtos->tasks[i].stack_addr - reading->bias,
			.begin = VMAT_UNKNOWN(VMAT_NOT_FOUND),
		};
	/* Without them the other sources are left. */
	if (places && reading->fd >= 0)
		vmat_symbols_find(&file, places, rtos->count, NULL);
	return places;
}

int vmat_rtos_stacks_settle(struct vmat_rtos_reading *reading)
{
	vmat_autofree struct vmat_place *places = find_places(reading);
	struct vmat_rtos *rtos = reading->rtos;

	if (!places)
		return -ENOMEM;
	for (size_t i = 0; i < rtos->count; i++) {
		const struct vmat_task_notes *notes = &reading->notes[i];
		uint64_t fill = rtos->grows_up ? notes->high_fill : notes->low_fill;

		/* A word may be 0xa5 by chance where words have one byte; eight are not. */
		if (vmat_is_known(fill) && fill >= 8)
			rtos->is_filled = true;
	}
	for (size_t i = 0; i < rtos->count; i++) {
		if (rtos->tasks[i].is_main) {
			judge(reading, &rtos->tasks[i], &reading->notes[i]);
			continue;
		}
		settle_size(reading, &rtos->tasks[i], &reading->notes[i], &places[i]);
		settle_left(rtos, &rtos->tasks[i], &reading->notes[i]);
		settle_used(rtos, &rtos->tasks[i], &reading->notes[i]);
		settle_thread(reading, &rtos->tasks[i]);
		judge(reading, &rtos->tasks[i], &reading->notes[i]);
	}
	return 0;
}

int vmat_rtos_main_stack(struct vmat_rtos_reading *reading)
{
	uint64_t top = vmat_rtos_addr(reading, RTOS_ESTACK), limit;
	uint64_t size = vmat_rtos_datum(reading, RTOS_STACK_MIN_SIZE)->addr, fill;
	struct vmat_task *task;
	bool is_cut = false;

	if (!vmat_target_process(reading->target)->firmware)
		return 0;
	if (!vmat_is_known(top))
		top = vmat_rtos_addr(reading, RTOS_STACK_TOP);
	limit = vmat_rtos_addr(reading, RTOS_STACK_LIMIT);
	if (!vmat_is_known(limit) && vmat_is_known(top) && vmat_is_known(size) && size <= top)
		limit = top - size;
	if (!vmat_is_known(top) || !vmat_is_known(limit) || limit >= top ||
	    top - limit > SIZE_MAX_BYTES)
		return 0;
	task = vmat_rtos_add_task(reading);
	if (!task)
		return -ENOMEM;
	task->is_main = true;
	task->tcb_addr = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	task->priority = task->base_priority = task->number = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	snprintf(task->name, sizeof(task->name), "(main stack)");
	task->stack_addr = limit;
	set_size(task, top - limit, VMAT_TASK_SOURCE_SYMBOLS);
	snprintf(task->why, sizeof(task->why),
		 "symbols of the linker script; main() and interrupts use it");
	/* FreeRTOS does not fill it; start-up code may. */
	fill = fill_up(reading, limit, top - limit, &is_cut);
	if (fill >= 8 && !is_cut) {
		task->left_words = fill / task->word;
		task->left = task->left_words * task->word;
		task->left_percent = 100 * task->left / task->size;
	}
	return 0;
}
