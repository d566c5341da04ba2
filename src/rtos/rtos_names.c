/* SPDX-License-Identifier: MIT */
/*
 * rtos_names.c: what FreeRTOS calls things, from V7 to V11, and where this program has them.
 *
 * Nothing is known here but names; offsets and sizes come from the program's own debug information. Names that changed:
 * xGenericListItem became xStateListItem (V9), pvContainer pxContainer (V10.4), eNotifyState ucNotifyState (V9) and then
 * an array (V10.4), heapSTRUCT_SIZE xHeapStructSize, pxCurrentTCB pxCurrentTCBs where there are several cores (V11).
 * From: FreeRTOS-Kernel, tasks.c, list.h, portable/MemMang and portable/ThirdParty/GCC/Posix of these versions.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/elf.h>

#include "base/cleanup.h"
#include "rtos/rtos_priv.h"
#include "target/target_source.h"

/* Behind pxCurrentTCB or pxCurrentTCBs. */
static const char *const tcb_names[RTOS_TCB_NAMES] = {
	[RTOS_TCB] = "",
	[RTOS_TCB_TOP] = ".pxTopOfStack",
	[RTOS_TCB_STACK] = ".pxStack",
	[RTOS_TCB_NAME] = ".pcTaskName",
	[RTOS_TCB_PRIORITY] = ".uxPriority",
	[RTOS_TCB_BASE_PRIORITY] = ".uxBasePriority",
	[RTOS_TCB_END] = ".pxEndOfStack",
	[RTOS_TCB_NUMBER] = ".uxTCBNumber",
	[RTOS_TCB_STATE_ITEM] = ".xStateListItem",
	[RTOS_TCB_GENERIC_ITEM] = ".xGenericListItem",
	[RTOS_TCB_EVENT_PV] = ".xEventListItem.pvContainer",
	[RTOS_TCB_EVENT_PX] = ".xEventListItem.pxContainer",
	[RTOS_TCB_NOTIFY_UC] = ".ucNotifyState",
	[RTOS_TCB_NOTIFY_E] = ".eNotifyState",
};

#define ITEM(member) ("pxReadyTasksLists.xListEnd.pxNext" member)

static const char *const names[RTOS_NAMES] = {
	[RTOS_READY] = "pxReadyTasksLists",
	[RTOS_LIST_COUNT] = "pxReadyTasksLists.uxNumberOfItems",
	[RTOS_LIST_END] = "pxReadyTasksLists.xListEnd",
	[RTOS_LIST_NEXT] = ITEM(""),
	[RTOS_ITEM_NEXT] = ITEM(".pxNext"),
	[RTOS_ITEM_PREVIOUS] = ITEM(".pxPrevious"),
	[RTOS_ITEM_OWNER] = ITEM(".pvOwner"),
	[RTOS_ITEM_PV_CONTAINER] = ITEM(".pvContainer"),
	[RTOS_ITEM_PX_CONTAINER] = ITEM(".pxContainer"),
	[RTOS_DELAYED_1] = "xDelayedTaskList1",
	[RTOS_DELAYED_2] = "xDelayedTaskList2",
	[RTOS_PENDING] = "xPendingReadyList",
	[RTOS_SUSPENDED] = "xSuspendedTaskList",
	[RTOS_TERMINATION] = "xTasksWaitingTermination",
	[RTOS_TASKS] = "uxCurrentNumberOfTasks",
	[RTOS_RUNNING] = "xSchedulerRunning",
	[RTOS_TICKS] = "xTickCount",
	[RTOS_HEAP] = "ucHeap",
	[RTOS_NEXT_FREE] = "xNextFreeByte",
	[RTOS_FREE] = "xFreeBytesRemaining",
	[RTOS_FREE_MINIMUM] = "xMinimumEverFreeBytesRemaining",
	[RTOS_START] = "xStart",
	[RTOS_BLOCK_NEXT] = "xStart.pxNextFreeBlock",
	[RTOS_BLOCK_SIZE] = "xStart.xBlockSize",
	[RTOS_END_POINTER] = "pxEnd",
	[RTOS_END_BLOCK] = "xEnd",
	[RTOS_CANARY] = "xHeapCanary",
	[RTOS_STRUCT_SIZE] = "xHeapStructSize",
	[RTOS_STRUCT_SIZE_OLD] = "heapSTRUCT_SIZE",
	[RTOS_ALLOCATIONS] = "xNumberOfSuccessfulAllocations",
	[RTOS_FREES] = "xNumberOfSuccessfulFrees",
	[RTOS_LIST_TYPE] = "List_t.uxNumberOfItems",
	[RTOS_IDLE_HANDLES] = "xIdleTaskHandles",
	[RTOS_THREAD] = "Thread_t.pthread",
	[RTOS_NANO_FREE_LIST] = "__malloc_free_list",
	[RTOS_NEWLIB_BINS] = "__malloc_av_",
	[RTOS_ESTACK] = "_estack",
	[RTOS_STACK_TOP] = "__StackTop",
	[RTOS_STACK_LIMIT] = "__StackLimit",
	[RTOS_STACK_MIN_SIZE] = "_Min_Stack_Size",
};

/* What must be there, or nothing can be told. */
static const enum vmat_rtos_name needed[] = {
	RTOS_TCB_TOP,    RTOS_TCB_STACK, RTOS_TCB_NAME,  RTOS_TCB_PRIORITY,  RTOS_READY,
	RTOS_LIST_COUNT, RTOS_LIST_NEXT, RTOS_ITEM_NEXT, RTOS_ITEM_PREVIOUS, RTOS_ITEM_OWNER,
	RTOS_LIST_END,   RTOS_DELAYED_1, RTOS_DELAYED_2, RTOS_PENDING,       RTOS_TASKS,
};

static int check_names(const struct vmat_program *program, const struct vmat_datum *data,
		       struct vmat_error *err)
{
	if (!program->has_symbols && !program->has_types)
		return vmat_error_set(
			err, -ENOEXEC,
			"the program's file is stripped: it has no symbol table and no debug information, so nothing tells "
			"where FreeRTOS keeps its tasks\nUse the ELF file as the linker wrote it, built with -g.");
	if (!vmat_is_known(data[RTOS_READY].addr) || !vmat_is_known(data[RTOS_TASKS].addr))
		return vmat_error_set(
			err, -ENOEXEC,
			"there is no FreeRTOS in the program's file: it has no pxReadyTasksLists and uxCurrentNumberOfTasks");
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		const struct vmat_datum *datum = &data[needed[i]];

		if (datum->kind != VMAT_DATUM_UNTYPED && vmat_is_known(datum->offset) &&
		    vmat_is_known(datum->size))
			continue;
		if (!program->has_types || data[RTOS_READY].kind == VMAT_DATUM_UNTYPED)
			return vmat_error_set(
				err, -ENOEXEC,
				"the program's file has symbols but no debug information of FreeRTOS's tasks.c: the layout of "
				"its tasks is not known\nBuild FreeRTOS with -g, and do not strip the file.");
		return vmat_error_set(err, -ENOEXEC,
				      "the debug information does not say where %s lies",
				      datum->path);
	}
	return 0;
}

int vmat_rtos_names_find(int fd, struct vmat_program *program, struct vmat_datum *data,
			 struct vmat_error *err)
{
	enum { ASKED = RTOS_NAMES + RTOS_TCB_NAMES };
	vmat_autofree struct vmat_datum *asked = calloc(ASKED, sizeof(*asked));
	const struct vmat_symbol_file file = { .fd = fd, .debug_fd = -1 };
	int code;

	if (!asked)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < RTOS_NAMES; i++) {
		if (i < RTOS_TCB_NAMES) {
			snprintf(asked[i].path, VMAT_DATUM_PATH, "pxCurrentTCB%s", tcb_names[i]);
			snprintf(asked[RTOS_NAMES + i].path, VMAT_DATUM_PATH, "pxCurrentTCBs%s",
				 tcb_names[i]);
		} else {
			snprintf(asked[i].path, VMAT_DATUM_PATH, "%s", names[i]);
		}
	}
	code = vmat_layout_find(&file, program, asked, ASKED, err);
	if (code)
		return code;
	if (!vmat_datum_is_found(&asked[RTOS_TCB]))
		memcpy(asked, asked + RTOS_NAMES, RTOS_TCB_NAMES * sizeof(*asked));
	memcpy(data, asked, RTOS_NAMES * sizeof(*data));
	return check_names(program, data, err);
}

/*
 * The file's program headers lie where AT_PHDR says: the difference is what the loader added. Firmware has no loader.
 */
static int find_bias(struct vmat_rtos_reading *reading, struct vmat_error *err)
{
	const struct vmat_process *process = vmat_target_process(reading->target);
	unsigned char phoff[8] = { 0 };
	struct vmat_elf elf;
	uint64_t headers = 0;
	int code;

	reading->bias = 0;
	if (process->firmware)
		return 0;
	code = vmat_elf_read(&elf, vmat_elf_read_fd, &reading->fd, err);
	if (!code)
		code = vmat_elf_read_fd(&reading->fd, elf.word_size == 8 ? 32 : 28, phoff,
					elf.word_size);
	if (code)
		return code;
	for (unsigned i = 0; i < elf.word_size; i++)
		headers |= (uint64_t)phoff[i] << 8 * i;
	if (!process->auxv_phdr)
		return vmat_error_set(err, -EACCES,
				      "where the program was loaded is not known: its auxv "
				      "may not be read");
	for (size_t i = 0; i < elf.segments_count; i++) {
		const struct vmat_segment *segment = &elf.segments[i];

		if (segment->type != VMAT_SEGMENT_LOAD || headers < segment->offset ||
		    headers - segment->offset >= segment->file_size)
			continue;
		reading->bias = process->auxv_phdr - (segment->addr + headers - segment->offset);
		return 0;
	}
	return vmat_error_set(err, -ENOEXEC, "the program's file does not load its own headers");
}

int vmat_rtos_names_read(struct vmat_rtos_reading *reading, struct vmat_error *err)
{
	int code;

	reading->fd = vmat_source_open_program(reading->target);
	if (reading->fd < 0)
		return vmat_error_set(err, reading->fd == -ENOENT ? -ENOEXEC : reading->fd,
				      "the program's file cannot be opened");
	code = vmat_rtos_names_find(reading->fd, &reading->program, reading->data, err);
	return code ? code : find_bias(reading, err);
}

void vmat_rtos_version(struct vmat_rtos_reading *reading)
{
	char *text = reading->rtos->version;
	const size_t size = sizeof(reading->rtos->version);

	if (vmat_rtos_has(reading, RTOS_IDLE_HANDLES))
		snprintf(text, size, "V11 or later: it has xIdleTaskHandles");
	else if (vmat_rtos_has(reading, RTOS_TCB_NOTIFY_UC))
		snprintf(text, size, "%s: ucNotifyState is %s array",
			 reading->data[RTOS_TCB_NOTIFY_UC].is_array ? "V10.4 to V10.6"
								    : "V9 to V10.3",
			 reading->data[RTOS_TCB_NOTIFY_UC].is_array ? "an" : "no");
	else if (vmat_rtos_has(reading, RTOS_TCB_STATE_ITEM))
		snprintf(text, size, "V9 or later: it has xStateListItem");
	else if (vmat_rtos_has(reading, RTOS_LIST_TYPE))
		snprintf(text, size, "V8: it has List_t and xGenericListItem");
	else
		snprintf(text, size, "V7 or before: it has xGenericListItem and no List_t");
}

bool vmat_rtos_is_there(struct vmat_target *target)
{
	static const char *const marks[] = { "pxReadyTasksLists", "uxCurrentNumberOfTasks" };
	struct vmat_symbol symbols[2];
	struct vmat_elf elf;
	vmat_autoclose int fd = -1;

	if (vmat_target_process(target)->firmware)
		return false;
	fd = vmat_source_open_program(target);
	if (fd < 0 || vmat_elf_read(&elf, vmat_elf_read_fd, &fd, NULL) ||
	    vmat_elf_symbols_full(&elf, vmat_elf_read_fd, &fd, marks, 2, symbols, NULL))
		return false;
	return vmat_is_known(symbols[0].addr) && vmat_is_known(symbols[1].addr);
}
