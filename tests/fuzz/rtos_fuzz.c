/* SPDX-License-Identifier: MIT */
/*
 * FreeRTOS in a hostile memory: the walks end, and what they report makes sense.
 *
 * 4 KiB of RAM of a machine of 32 bits as V10.4 with heap_4 leaves it: a task that is ready, one that waits for a time, one that is
 * suspended, and a heap with a free block behind theirs. What the debug information would say stands in lay_out(). The
 * first byte of the input chooses: 1 heap_2, 2 heap_5, 4 pxEndOfStack, 8 big-endian, 16 protected pointers. Then changes of
 * six bytes each: an offset (two bytes) and a word to put there. An empty input must be read without damage.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "rtos/rtos_priv.h"
#include "target/target_ops.h"

#define RAM 0x20000000U

enum {
	RAM_SIZE = 4096,
	LIST_SIZE = 20,
	TCB_SIZE = 92,
	STACK_BYTES = 256,
	HEADER = 8,
	/* Offsets in RAM. */
	COUNT = 0,
	TICKS = 4,
	RUNNING = 8,
	CURRENT = 12,
	FREE = 16,
	MINIMUM = 20,
	START = 24,
	END_POINTER = 32,
	CANARY = 36,
	READY = 64,
	DELAYED = READY +
		  3 * LIST_SIZE, /* two, then those of the pending, the suspended and the deleted */
	HEAP = 512,
	HEAP_SIZE = 3072,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t memory[RAM_SIZE];
static bool is_big_endian;

static void put(unsigned offset, uint32_t word)
{
	for (unsigned i = 0; i < 4; i++)
		memory[offset + i] = (uint8_t)(word >> 8 * (is_big_endian ? 3 - i : i));
}

static ssize_t read_ram(struct vmat_target *target, uint64_t addr, void *buffer, size_t size)
{
	(void)target;
	if (addr < RAM || addr >= RAM + RAM_SIZE)
		return 0;
	if (size > RAM + RAM_SIZE - addr)
		size = (size_t)(RAM + RAM_SIZE - addr);
	memcpy(buffer, memory + (addr - RAM), size);
	return (ssize_t)size;
}

static const struct vmat_target_ops ops = { .read = read_ram };

/* A list with one item, that of a TCB, or none. */
static void put_list(unsigned list, unsigned item)
{
	const unsigned end = list + 8;

	put(list, item ? 1 : 0);
	put(list + 12, RAM + (item ? item : end));
	put(list + 16, RAM + (item ? item : end));
	if (!item)
		return;
	put(item + 4, RAM + end);
	put(item + 8, RAM + end);
	put(item + 12, RAM + item - 4);
	put(item + 16, RAM + list);
}

/* A stack and its TCB, each in a block of the heap. Where the next block begins. */
static unsigned put_task(unsigned block, unsigned list, const char *name)
{
	const unsigned stack = block + HEADER, tcb = stack + STACK_BYTES + HEADER;

	put(block + 4, 0x80000000U | (STACK_BYTES + HEADER));
	put(tcb - 4, 0x80000000U | (TCB_SIZE + 4 + HEADER));
	memset(memory + stack, 0xa5, STACK_BYTES / 2);
	put(tcb, RAM + stack + STACK_BYTES - 64);
	put_list(list, tcb + 4);
	put(tcb + 44, 1);
	put(tcb + 48, RAM + stack);
	memcpy(memory + tcb + 52, name, strlen(name));
	put(tcb + 68, RAM + stack + STACK_BYTES - 8);
	return tcb + TCB_SIZE + 4;
}

static void build(void)
{
	unsigned block = HEAP, end = HEAP + HEAP_SIZE - HEADER;

	memset(memory, 0, sizeof(memory));
	put(COUNT, 3);
	put(RUNNING, 1);
	for (unsigned i = 0; i < 8; i++)
		put_list(READY + LIST_SIZE * i, 0);
	block = put_task(block, READY + LIST_SIZE, "ready");
	put(CURRENT, RAM + HEAP + HEADER + STACK_BYTES + HEADER);
	block = put_task(block, DELAYED, "waits");
	block = put_task(block, DELAYED + 3 * LIST_SIZE, "suspended");
	put(START, RAM + block);
	put(block, RAM + end);
	put(block + 4, end - block);
	put(END_POINTER, RAM + end);
	put(FREE, end - block);
	put(MINIMUM, end - block);
}

static void variable(struct vmat_rtos_reading *reading, enum vmat_rtos_name name, unsigned offset,
		     uint64_t size, uint64_t count)
{
	reading->data[name] = (struct vmat_datum){
		.path = "variable",
		.kind = VMAT_DATUM_INTEGER,
		.is_array = count > 1,
		.addr = RAM + offset,
		.symbol_size = size * count,
		.size = size,
		.count = count,
		.holder_size = size,
	};
}

static void field(struct vmat_rtos_reading *reading, enum vmat_rtos_name name, uint64_t offset,
		  uint64_t size, uint64_t count, uint64_t holder_size)
{
	reading->data[name] = (struct vmat_datum){
		.path = "field",
		.kind = VMAT_DATUM_INTEGER,
		.is_array = count > 1,
		.addr = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE),
		.offset = offset,
		.size = size,
		.count = count,
		.holder_size = holder_size,
		.target_size = 4,
	};
}

static void lay_out(struct vmat_rtos_reading *reading, unsigned choice)
{
	for (size_t i = 0; i < RTOS_NAMES; i++) {
		reading->data[i].addr = VMAT_UNKNOWN(VMAT_NOT_FOUND);
		reading->data[i].offset = VMAT_UNKNOWN(VMAT_NOT_FOUND);
	}
	variable(reading, RTOS_TCB, CURRENT, 4, 1);
	field(reading, RTOS_TCB_TOP, 0, 4, 1, TCB_SIZE);
	field(reading, RTOS_TCB_STATE_ITEM, 4, 20, 1, TCB_SIZE);
	field(reading, RTOS_TCB_EVENT_PX, 40, 4, 1, TCB_SIZE);
	field(reading, RTOS_TCB_PRIORITY, 44, 4, 1, TCB_SIZE);
	field(reading, RTOS_TCB_STACK, 48, 4, 1, TCB_SIZE);
	field(reading, RTOS_TCB_NAME, 52, 1, 16, TCB_SIZE);
	if (choice & 4)
		field(reading, RTOS_TCB_END, 68, 4, 1, TCB_SIZE);
	field(reading, RTOS_TCB_NOTIFY_UC, 72, 1, 3, TCB_SIZE);
	variable(reading, RTOS_READY, READY, LIST_SIZE, 3);
	field(reading, RTOS_LIST_COUNT, 0, 4, 1, LIST_SIZE);
	field(reading, RTOS_LIST_END, 8, 12, 1, LIST_SIZE);
	field(reading, RTOS_LIST_NEXT, 12, 4, 1, LIST_SIZE);
	field(reading, RTOS_ITEM_NEXT, 4, 4, 1, LIST_SIZE);
	field(reading, RTOS_ITEM_PREVIOUS, 8, 4, 1, LIST_SIZE);
	field(reading, RTOS_ITEM_OWNER, 12, 4, 1, LIST_SIZE);
	field(reading, RTOS_ITEM_PX_CONTAINER, 16, 4, 1, LIST_SIZE);
	for (unsigned i = 0; i < 5; i++) {
		static const enum vmat_rtos_name lists[] = { RTOS_DELAYED_1, RTOS_DELAYED_2,
							     RTOS_PENDING, RTOS_SUSPENDED,
							     RTOS_TERMINATION };

		variable(reading, lists[i], DELAYED + LIST_SIZE * i, LIST_SIZE, 1);
	}
	variable(reading, RTOS_TASKS, COUNT, 4, 1);
	variable(reading, RTOS_TICKS, TICKS, 4, 1);
	variable(reading, RTOS_RUNNING, RUNNING, 4, 1);
	variable(reading, RTOS_FREE, FREE, 4, 1);
	variable(reading, RTOS_FREE_MINIMUM, MINIMUM, 4, 1);
	variable(reading, RTOS_START, START, HEADER, 1);
	field(reading, RTOS_BLOCK_NEXT, 0, 4, 1, HEADER);
	field(reading, RTOS_BLOCK_SIZE, 4, 4, 1, HEADER);
	if (!(choice & 2))
		variable(reading, RTOS_HEAP, HEAP, 1, HEAP_SIZE);
	if (choice & 1)
		variable(reading, RTOS_END_BLOCK, HEAP + HEAP_SIZE - HEADER, HEADER, 1);
	else
		variable(reading, RTOS_END_POINTER, END_POINTER, 4, 1);
	if (choice & 16)
		variable(reading, RTOS_CANARY, CANARY, 4, 1);
}

static void check(const struct vmat_rtos *rtos)
{
	if (rtos->count > VMAT_RTOS_TASKS_MAX || rtos->findings_count > VMAT_RTOS_FINDINGS_MAX ||
	    rtos->findings_count > rtos->findings_total)
		abort();
	for (size_t i = 0; i < rtos->count; i++) {
		const struct vmat_task *task = &rtos->tasks[i];

		if (memchr(task->name, '\0', sizeof(task->name)) == NULL ||
		    (vmat_is_known(task->left) && vmat_is_known(task->size) &&
		     task->left > task->size) ||
		    (vmat_is_known(task->used) && task->used > task->size))
			abort();
	}
	if (vmat_is_known(rtos->heap.total) && rtos->heap.total > rtos->heap.size)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const unsigned choice = size ? data[0] : 0;
	struct vmat_firmware_info firmware = { .path = "fuzz" };
	struct vmat_target *target = calloc(1, sizeof(*target));
	struct vmat_rtos_reading *reading = calloc(1, sizeof(*reading));

	if (!target || !reading)
		abort();
	reading->rtos = calloc(1, sizeof(*reading->rtos));
	if (!reading->rtos)
		abort();
	is_big_endian = choice & 8;
	build();
	for (size_t i = 1; i + 6 <= size; i += 6) {
		unsigned offset = data[i] | (unsigned)data[i + 1] << 8;

		memcpy(memory + offset % (RAM_SIZE - 4), data + i + 2, 4);
	}
	target->ops = &ops;
	target->process.firmware = &firmware;
	reading->target = target;
	reading->fd = -1;
	reading->program.is_big_endian = is_big_endian;
	lay_out(reading, choice);
	if (!vmat_rtos_memory_read(reading, NULL)) {
		if (vmat_rtos_stacks_settle(reading))
			abort();
		check(reading->rtos);
		if (!size && (reading->rtos->is_damaged || reading->rtos->count != 3 ||
			      !vmat_is_known(reading->rtos->heap.total)))
			abort();
	} else if (!size) {
		abort();
	}
	free(reading->notes);
	vmat_rtos_free(reading->rtos);
	free(reading);
	free(target);
	return 0;
}
