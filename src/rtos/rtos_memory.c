/* SPDX-License-Identifier: MIT */
/*
 * rtos_memory.c: variables and fields of FreeRTOS out of the target's memory, and what is found wrong there.
 *
 * Sizes and offsets come from the program's file, which may lie: each is checked against what was read.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rtos/rtos_priv.h"
#include "target/target_source.h"

uint64_t vmat_rtos_addr(const struct vmat_rtos_reading *reading, enum vmat_rtos_name name)
{
	uint64_t addr = reading->data[name].addr;

	return vmat_is_known(addr) ? addr + reading->bias : addr;
}

bool vmat_rtos_bytes(struct vmat_rtos_reading *reading, uint64_t addr, void *buffer, size_t size)
{
	ssize_t got;

	if (reading->has_failed || !vmat_is_known(addr) || addr + size < addr)
		return false;
	got = vmat_source_read(reading->target, addr, buffer, size);
	/* A server that is gone answers nothing any more; a place without memory is only a place. */
	if (got == -ESRCH || got == -ETIMEDOUT || got == -EPROTO || got == -EBADMSG ||
	    got == -EACCES || got == -EPERM) {
		reading->has_failed = true;
		vmat_error_set(&reading->error, (int)got, "the memory cannot be read");
		vmat_target_check(reading->target, &reading->error);
		reading->error.code = (int)got;
	}
	return got == (ssize_t)size;
}

static uint64_t number_of(const struct vmat_rtos_reading *reading, const unsigned char *bytes,
			  uint64_t size)
{
	uint64_t number = 0;

	for (uint64_t i = 0; i < size; i++)
		number |= (uint64_t)bytes[i]
			  << 8 * (reading->program.is_big_endian ? size - 1 - i : i);
	return number;
}

uint64_t vmat_rtos_number(struct vmat_rtos_reading *reading, uint64_t addr, uint64_t size)
{
	unsigned char bytes[8];

	if (!size || size > sizeof(bytes) || !vmat_rtos_bytes(reading, addr, bytes, size))
		return VMAT_UNKNOWN(VMAT_NOT_FOUND);
	return number_of(reading, bytes, size);
}

uint64_t vmat_rtos_value(struct vmat_rtos_reading *reading, enum vmat_rtos_name name)
{
	const struct vmat_datum *datum = &reading->data[name];

	if (!vmat_is_known(datum->addr) || !vmat_is_known(datum->size))
		return VMAT_UNKNOWN(VMAT_NOT_FOUND);
	return vmat_rtos_number(reading, vmat_rtos_addr(reading, name), datum->size);
}

uint64_t vmat_rtos_field(const struct vmat_rtos_reading *reading, const void *record, size_t size,
			 enum vmat_rtos_name name)
{
	const struct vmat_datum *datum = &reading->data[name];

	if (!vmat_is_known(datum->offset) || !datum->size || datum->size > 8 ||
	    datum->offset > size || datum->size > size - datum->offset)
		return VMAT_UNKNOWN(VMAT_NOT_FOUND);
	return number_of(reading, (const unsigned char *)record + datum->offset, datum->size);
}

uint64_t vmat_rtos_pointer_size(const struct vmat_rtos_reading *reading)
{
	return reading->data[RTOS_TCB_STACK].size;
}

void vmat_rtos_find(struct vmat_rtos *rtos, enum vmat_rtos_severity severity, uint64_t addr,
		    const char *format, ...)
{
	struct vmat_rtos_finding *finding;
	va_list arguments;

	rtos->findings_total++;
	if (severity != VMAT_RTOS_WARNING)
		rtos->is_damaged = true;
	if (rtos->findings_count == VMAT_RTOS_FINDINGS_MAX)
		return;
	finding = &rtos->findings[rtos->findings_count++];
	finding->severity = severity;
	finding->addr = addr;
	va_start(arguments, format);
	vsnprintf(finding->text, sizeof(finding->text), format, arguments);
	va_end(arguments);
}

struct vmat_task *vmat_rtos_add_task(struct vmat_rtos_reading *reading)
{
	const uint64_t unknown = VMAT_UNKNOWN(VMAT_NOT_FOUND);
	struct vmat_rtos *rtos = reading->rtos;

	if (rtos->count == VMAT_RTOS_TASKS_MAX)
		return NULL;
	if (rtos->count == reading->capacity) {
		size_t capacity = reading->capacity ? 2 * reading->capacity : 64;
		struct vmat_task *tasks = reallocarray(rtos->tasks, capacity, sizeof(*rtos->tasks));
		struct vmat_task_notes *notes =
			tasks ? reallocarray(reading->notes, capacity, sizeof(*notes)) : NULL;

		if (tasks)
			rtos->tasks = tasks;
		if (!notes)
			return NULL;
		reading->notes = notes;
		reading->capacity = capacity;
	}
	reading->notes[rtos->count] = (struct vmat_task_notes){
		.top = unknown,
		.end = unknown,
		.block_size = unknown,
		.header_addr = unknown,
		.chunk_size = unknown,
		.low_fill = unknown,
		.high_fill = unknown,
	};
	rtos->tasks[rtos->count] = (struct vmat_task){
		.tcb_addr = unknown,
		.core = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE),
		.priority = unknown,
		.base_priority = unknown,
		.number = unknown,
		.stack_addr = unknown,
		.size = unknown,
		.size_words = unknown,
		.word = rtos->word,
		.used = unknown,
		.left = unknown,
		.left_words = unknown,
		.left_percent = unknown,
		.thread_addr = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE),
	};
	return &rtos->tasks[rtos->count++];
}
