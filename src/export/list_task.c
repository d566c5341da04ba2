/* SPDX-License-Identifier: MIT */
/*
 * The lists of FreeRTOS: stacks.tasks, stacks.rtos, stacks.findings, heap.rtos, stacks.plan.
 */
#include <stdio.h>

#include "export/list_field.h"

#define EVERYWHERE    (VMAT_SHOW_TABLE | VMAT_SHOW_WIDE | VMAT_SHOW_JSON)
#define WIDE_AND_JSON (VMAT_SHOW_WIDE | VMAT_SHOW_JSON)

enum task_column {
	NAME,
	STATE,
	PRIORITY,
	WORDS,
	WORD,
	SIZE,
	USED,
	LEFT,
	PERCENT,
	BEGIN,
	SOURCE,
	TID,
	THREAD_SIZE,
	THREAD_HIGH,
	THREAD_BEGIN,
	END,
	LEFT_BYTES,
	CORE,
	BASE_PRIORITY,
	NUMBER,
	TCB,
	MAIN,
	WHY,
};

static const struct vmat_column task_columns[] = {
	[NAME] = { "NAME", "name", VMAT_TYPE_STRING, EVERYWHERE, 0, "name of the task",
		   "pcTaskName", .ample = 1 },
	[STATE] = { "STATE", "state", VMAT_TYPE_STRING, EVERYWHERE, 0,
		    "running, ready, blocked, forever (blocked without a time-out), suspended, deleted (not "
		    "freed yet)",
		    "the list that the task is in", .is_tinted = true },
	[PRIORITY] = { "PRIO", "priority", VMAT_TYPE_COUNT, EVERYWHERE, 0,
		       "its priority now; 0 is the lowest", "uxPriority" },
	[WORDS] = { "WORDS", "size_words", VMAT_TYPE_COUNT, EVERYWHERE, 0,
		    "size of the stack in words, as xTaskCreate() was asked for", "SIZE / WORD" },
	[WORD] = { "WORD", "word", VMAT_TYPE_COUNT, EVERYWHERE, 0, "bytes in a word of the stack",
		   "DWARF: what pxStack points at" },
	[SIZE] = { "BYTES", "size", VMAT_TYPE_BYTES, EVERYWHERE, 0, "size of the stack", "SOURCE" },
	[USED] = { "USED", "used", VMAT_TYPE_BYTES, WIDE_AND_JSON, 0,
		   "in use now; not known while the task runs", "pxTopOfStack" },
	[LEFT] = { "LEFT", "left_words", VMAT_TYPE_COUNT, EVERYWHERE, 0,
		   "words that were never used: the high-water mark, as uxTaskGetStackHighWaterMark() has it",
		   "the fill 0xa5" },
	[PERCENT] = { "PERCENT", "left_percent", VMAT_TYPE_COUNT, EVERYWHERE, 0, "LEFT of WORDS",
		      "the fill 0xa5" },
	[BEGIN] = { "BEGIN", "begin", VMAT_TYPE_ADDR, EVERYWHERE, 0, "lowest address of the stack",
		    "pxStack" },
	[SOURCE] = { "SOURCE", "source", VMAT_TYPE_STRING, EVERYWHERE, 0,
		     "how the size is known: array, block, end, malloc, next, linker, none",
		     "vmatlas" },
	[TID] = { "TID", "tid", VMAT_TYPE_COUNT, WIDE_AND_JSON, 0,
		  "POSIX port: the thread that runs the task", "Thread_t: pthread; glibc's lists" },
	[THREAD_SIZE] = { "THREAD", "thread_size", VMAT_TYPE_BYTES, WIDE_AND_JSON, 0,
			  "POSIX port: size of the thread's own stack, where that is another one",
			  "stacks.threads: SIZE" },
	[THREAD_HIGH] = { "THREAD_HIGH", "thread_high_water", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0,
			  "POSIX port: the deepest the thread's own stack has ever been",
			  "stacks.threads: HIGH" },
	[THREAD_BEGIN] = { "THREAD_BEGIN", "thread_begin", VMAT_TYPE_ADDR, VMAT_SHOW_JSON, 0,
			   "POSIX port: where the thread's own stack begins",
			   "stacks.threads: BEGIN" },
	[END] = { "END", "end", VMAT_TYPE_ADDR, VMAT_SHOW_JSON, 0, "first address behind the stack",
		  "BEGIN + BYTES" },
	[LEFT_BYTES] = { "LEFT_BYTES", "left", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0, "LEFT in bytes",
			 "the fill 0xa5" },
	[CORE] = { "CORE", "core", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0, "the core that runs it",
		   "pxCurrentTCB, pxCurrentTCBs" },
	[BASE_PRIORITY] = { "BASE_PRIO", "base_priority", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0,
			    "its priority without what it inherits from a mutex",
			    "uxBasePriority" },
	[NUMBER] = { "NUMBER", "number", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0,
		     "in the order of creation", "uxTCBNumber" },
	[TCB] = { "TCB", "tcb", VMAT_TYPE_ADDR, VMAT_SHOW_JSON, 0,
		  "address of its control block: its handle", "pvOwner of its list item" },
	[MAIN] = { "MAIN", "main", VMAT_TYPE_BOOL, VMAT_SHOW_JSON, 0,
		   "no task: the stack of main() and of interrupts",
		   "symbols of the linker script" },
	[WHY] = { "WHY", "why", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0,
		  "SOURCE in words, and what is not known", "vmatlas", .ample = 3 },
};

static const uint16_t task_fields[] = {
	[PRIORITY] = offsetof(struct vmat_task, priority),
	[WORDS] = offsetof(struct vmat_task, size_words),
	[WORD] = offsetof(struct vmat_task, word),
	[SIZE] = offsetof(struct vmat_task, size),
	[USED] = offsetof(struct vmat_task, used),
	[LEFT] = offsetof(struct vmat_task, left_words),
	[PERCENT] = offsetof(struct vmat_task, left_percent),
	[BEGIN] = offsetof(struct vmat_task, stack_addr),
	[LEFT_BYTES] = offsetof(struct vmat_task, left),
	[CORE] = offsetof(struct vmat_task, core),
	[BASE_PRIORITY] = offsetof(struct vmat_task, base_priority),
	[NUMBER] = offsetof(struct vmat_task, number),
	[TCB] = offsetof(struct vmat_task, tcb_addr),
};

/* The thread that runs a task of the POSIX port. */
static const struct vmat_stack *thread_of(const struct vmat_tasks_view *view,
					  const struct vmat_task *task)
{
	if (!view->stacks || !vmat_is_known(task->thread_addr))
		return NULL;
	for (size_t i = 0; i < view->stacks->count; i++) {
		if (view->stacks->stacks[i].thread_addr == task->thread_addr)
			return &view->stacks->stacks[i];
	}
	return NULL;
}

static void thread_cell(const struct vmat_tasks_view *view, const struct vmat_task *task,
			enum task_column column, struct vmat_value *ret)
{
	const struct vmat_stack *thread = thread_of(view, task);

	ret->number = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
	if (!thread)
		return;
	if (column == TID) {
		ret->number = thread->tid;
		return;
	}
	/* It runs on the task's stack. */
	if (vmat_is_known(thread->begin) && vmat_is_known(task->size) &&
	    thread->begin < task->stack_addr + task->size && thread->end > task->stack_addr)
		return;
	ret->number = column == THREAD_SIZE   ? thread->size
		      : column == THREAD_HIGH ? thread->high_water
					      : thread->begin;
}

static void task_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_tasks_view *view = model;
	const struct vmat_task *task = &view->rtos->tasks[row];

	switch ((enum task_column)column) {
	case NAME:
		ret->text = task->name;
		break;
	case STATE:
		ret->text = vmat_task_state_name(task->state);
		break;
	case SOURCE:
		ret->text = vmat_task_source_name(task->source);
		break;
	case TID:
	case THREAD_SIZE:
	case THREAD_HIGH:
	case THREAD_BEGIN:
		thread_cell(view, task, (enum task_column)column, ret);
		break;
	case END:
		ret->number = vmat_is_known(task->size) && vmat_is_known(task->stack_addr)
				      ? task->stack_addr + task->size
				      : task->size;
		break;
	case MAIN:
		ret->number = task->is_main;
		break;
	case WHY:
		ret->text = task->why;
		break;
	default:
		ret->number = vmat_field(task, task_fields[column]);
	}
}

static enum vmat_tint task_tint(const void *model, size_t row)
{
	const struct vmat_tasks_view *view = model;

	switch (view->rtos->tasks[row].state) {
	case VMAT_TASK_RUNNING:
		return VMAT_TINT_GOOD;
	case VMAT_TASK_DELETED:
		return VMAT_TINT_BAD;
	case VMAT_TASK_SUSPENDED:
		return VMAT_TINT_IDLE;
	default:
		return VMAT_TINT_STACK;
	}
}

const struct vmat_list vmat_list_tasks = {
	.name = "stacks.tasks",
	.key = "tasks",
	.columns = task_columns,
	.columns_count = VMAT_COLUMNS_COUNT(task_columns),
	.cell = task_cell,
	.tint = task_tint,
	.meaning = "a task of FreeRTOS, or the main stack",
};

enum rtos_column {
	VERSION,
	STARTED,
	CORES,
	RTOS_WORD,
	TCB_SIZE,
	TICKS,
	TASKS,
	FILLED,
	GROWS_UP,
};

static const struct vmat_column rtos_columns[] = {
	[VERSION] = { "VERSION", "version", VMAT_TYPE_STRING, EVERYWHERE, 0,
		      "what the names in the program tell of its version", "DWARF" },
	[STARTED] = { "STARTED", "started", VMAT_TYPE_BOOL, EVERYWHERE, 0,
		      "the scheduler has been started", "xSchedulerRunning" },
	[CORES] = { "CORES", "cores", VMAT_TYPE_COUNT, EVERYWHERE, 0, "cores that run tasks",
		    "pxCurrentTCBs" },
	[RTOS_WORD] = { "WORD", "word", VMAT_TYPE_COUNT, EVERYWHERE, 0,
			"bytes in a word of a stack", "DWARF: what pxStack points at" },
	[TCB_SIZE] = { "TCB_SIZE", "tcb_size", VMAT_TYPE_BYTES, EVERYWHERE, 0,
		       "bytes of a task's control block", "DWARF" },
	[TICKS] = { "TICKS", "tick_count", VMAT_TYPE_COUNT, EVERYWHERE, 0,
		    "ticks since the scheduler was started", "xTickCount" },
	[TASKS] = { "TASKS", "tasks_count", VMAT_TYPE_COUNT, EVERYWHERE, 0,
		    "how many tasks there are by FreeRTOS's own count", "uxCurrentNumberOfTasks" },
	[FILLED] = { "FILLED", "filled", VMAT_TYPE_BOOL, EVERYWHERE, 0,
		     "stacks were filled with 0xa5 before use, so what is left is known",
		     "the stacks" },
	[GROWS_UP] = { "GROWS_UP", "grows_up", VMAT_TYPE_BOOL, EVERYWHERE, 0,
		       "stacks grow to higher addresses", "the stacks" },
};

static void rtos_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_rtos *rtos = model;

	(void)row;
	switch ((enum rtos_column)column) {
	case VERSION:
		ret->text = rtos->version;
		break;
	case STARTED:
		ret->number = rtos->is_scheduler_running;
		break;
	case CORES:
		ret->number = rtos->cores;
		break;
	case RTOS_WORD:
		ret->number = rtos->word;
		break;
	case TCB_SIZE:
		ret->number = rtos->tcb_size;
		break;
	case TICKS:
		ret->number = rtos->tick_count;
		break;
	case TASKS:
		ret->number = rtos->tasks_expected;
		break;
	case FILLED:
		ret->number = rtos->is_filled;
		break;
	case GROWS_UP:
		ret->number = rtos->grows_up;
		break;
	}
}

const struct vmat_list vmat_list_rtos = {
	.name = "stacks.rtos",
	.key = "rtos",
	.columns = rtos_columns,
	.columns_count = VMAT_COLUMNS_COUNT(rtos_columns),
	.cell = rtos_cell,
	.meaning = "FreeRTOS as a whole: one row",
};

enum finding_column {
	SEVERITY,
	ADDR,
	TEXT,
};

static const struct vmat_column finding_columns[] = {
	[SEVERITY] = { "SEVERITY", "severity", VMAT_TYPE_STRING, EVERYWHERE, 0,
		       "warning (little is left), overflow (of a stack) or damage (records contradict each other)",
		       "vmatlas", .is_tinted = true },
	[ADDR] = { "ADDR", "addr", VMAT_TYPE_ADDR, EVERYWHERE, 0, "where it is", "vmatlas" },
	[TEXT] = { "WHAT", "text", VMAT_TYPE_STRING, EVERYWHERE, 0, "what was found", "vmatlas",
		   .ample = 1 },
};

static void finding_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_rtos_finding *finding = &((const struct vmat_rtos *)model)->findings[row];

	switch ((enum finding_column)column) {
	case SEVERITY:
		ret->text = vmat_rtos_severity_name(finding->severity);
		break;
	case ADDR:
		ret->number = finding->addr;
		break;
	case TEXT:
		ret->text = finding->text;
		break;
	}
}

static enum vmat_tint finding_tint(const void *model, size_t row)
{
	const struct vmat_rtos_finding *finding = &((const struct vmat_rtos *)model)->findings[row];

	return finding->severity == VMAT_RTOS_WARNING ? VMAT_TINT_HEAP : VMAT_TINT_BAD;
}

const struct vmat_list vmat_list_rtos_findings = {
	.name = "stacks.findings",
	.key = "findings",
	.columns = finding_columns,
	.columns_count = VMAT_COLUMNS_COUNT(finding_columns),
	.cell = finding_cell,
	.tint = finding_tint,
	.meaning = "something wrong with a stack, a list or the heap of FreeRTOS",
};

enum heap_column {
	SCHEME,
	HEAP_SIZE,
	TOTAL,
	HEAP_USED,
	FREE,
	MINIMUM,
	LARGEST,
	FREE_BLOCKS,
	LISTED,
	USED_BLOCKS,
	HEADER,
	ALLOCATIONS,
	FREES,
	PROTECTED,
	HEAP_ADDR,
	HEAP_WHY,
	WHY_NOT,
};

static const struct vmat_column heap_columns[] = {
	[SCHEME] = { "SCHEME", "scheme", VMAT_TYPE_COUNT, EVERYWHERE, 0,
		     "which of heap_1.c to heap_5.c", "names in the program" },
	[HEAP_SIZE] = { "SIZE", "size", VMAT_TYPE_BYTES, EVERYWHERE, 0, "configTOTAL_HEAP_SIZE",
			"sizeof(ucHeap)" },
	[TOTAL] = { "TOTAL", "total", VMAT_TYPE_BYTES, EVERYWHERE, 0,
		    "of it, what blocks can have: without alignment and the mark of the end",
		    "ucHeap; pxEnd" },
	[HEAP_USED] = { "IN_USE", "used", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			"blocks in use, their headers included",
			"walking all blocks; heap_1: xNextFreeByte" },
	[FREE] = { "FREE", "free", VMAT_TYPE_BYTES, EVERYWHERE, 0, "free by FreeRTOS's own count",
		   "xFreeBytesRemaining; heap_1: behind xNextFreeByte" },
	[MINIMUM] = { "MINIMUM", "minimum_free", VMAT_TYPE_BYTES, EVERYWHERE, 0,
		      "the least that was ever free", "xMinimumEverFreeBytesRemaining" },
	[LARGEST] = { "LARGEST", "largest_free", VMAT_TYPE_BYTES, EVERYWHERE, 0,
		      "the largest free block, its header included: more cannot be had at once",
		      "the list of free blocks" },
	[FREE_BLOCKS] = { "BLOCKS", "free_blocks", VMAT_TYPE_COUNT, EVERYWHERE, 0, "free blocks",
			  "the list of free blocks" },
	[LISTED] = { "LISTED", "free_listed", VMAT_TYPE_BYTES, WIDE_AND_JSON, 0,
		     "sum of the free blocks; must be FREE", "the list of free blocks" },
	[USED_BLOCKS] = { "USED_BLOCKS", "used_blocks", VMAT_TYPE_COUNT, WIDE_AND_JSON, 0,
			  "blocks in use", "walking all blocks" },
	[HEADER] = { "HEADER", "header", VMAT_TYPE_BYTES, WIDE_AND_JSON, 0,
		     "bytes before each block", "xHeapStructSize" },
	[ALLOCATIONS] = { "ALLOCATIONS", "allocations", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0,
			  "blocks that were ever given out",
			  "xNumberOfSuccessfulAllocations (V10.2 and later)" },
	[FREES] = { "FREES", "frees", VMAT_TYPE_COUNT, VMAT_SHOW_JSON, 0,
		    "blocks that were ever given back",
		    "xNumberOfSuccessfulFrees (V10.2 and later)" },
	[PROTECTED] = { "PROTECTED", "protected", VMAT_TYPE_BOOL, VMAT_SHOW_JSON, 0,
			"pointers are hidden: configENABLE_HEAP_PROTECTOR", "xHeapCanary" },
	[HEAP_ADDR] = { "BEGIN", "begin", VMAT_TYPE_ADDR, VMAT_SHOW_JSON, 0, "where it lies",
			"ucHeap" },
	[HEAP_WHY] = { "WHY", "why", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0, "what tells SCHEME",
		       "vmatlas", .ample = 3 },
	[WHY_NOT] = { "WHY_NOT", "why_not", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0,
		      "what is not known, and why", "vmatlas", .ample = 3 },
};

static const uint16_t heap_fields[] = {
	[HEAP_SIZE] = offsetof(struct vmat_rtos_heap, size),
	[TOTAL] = offsetof(struct vmat_rtos_heap, total),
	[HEAP_USED] = offsetof(struct vmat_rtos_heap, used),
	[FREE] = offsetof(struct vmat_rtos_heap, free),
	[MINIMUM] = offsetof(struct vmat_rtos_heap, minimum_free),
	[LARGEST] = offsetof(struct vmat_rtos_heap, largest_free),
	[FREE_BLOCKS] = offsetof(struct vmat_rtos_heap, free_blocks),
	[LISTED] = offsetof(struct vmat_rtos_heap, free_listed),
	[USED_BLOCKS] = offsetof(struct vmat_rtos_heap, used_blocks),
	[HEADER] = offsetof(struct vmat_rtos_heap, header),
	[ALLOCATIONS] = offsetof(struct vmat_rtos_heap, allocations),
	[FREES] = offsetof(struct vmat_rtos_heap, frees),
	[HEAP_ADDR] = offsetof(struct vmat_rtos_heap, addr),
};

static void heap_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_rtos_heap *heap = &((const struct vmat_rtos *)model)->heap;

	(void)row;
	switch ((enum heap_column)column) {
	case SCHEME:
		ret->number = heap->scheme;
		break;
	case PROTECTED:
		ret->number = heap->is_protected;
		break;
	case HEAP_WHY:
		ret->text = heap->why;
		break;
	case WHY_NOT:
		ret->text = heap->why_not;
		break;
	default:
		ret->number = vmat_field(heap, heap_fields[column]);
	}
}

const struct vmat_list vmat_list_rtos_heap = {
	.name = "heap.rtos",
	.key = "rtos_heap",
	.columns = heap_columns,
	.columns_count = VMAT_COLUMNS_COUNT(heap_columns),
	.cell = heap_cell,
	.meaning = "the heap of FreeRTOS: one row",
};

enum plan_column {
	PLAN_NAME,
	DEPTH,
	STACK,
	COST_1,
	COST_2,
	COST_3,
	COST_4,
	COST_5,
};

#define COST(number, what)                                                      \
	{                                                                       \
		"HEAP_" number, "heap_" number, VMAT_TYPE_BYTES, EVERYWHERE, 0, \
			"what stack and TCB take of heap_" number ": " what,    \
			"arithmetic of heap_" number ".c"                       \
	}

static const struct vmat_column plan_columns[] = {
	[PLAN_NAME] = { "NAME", "name", VMAT_TYPE_STRING, EVERYWHERE, 0, "name of the task",
			"--plan" },
	[DEPTH] = { "WORDS", "words", VMAT_TYPE_COUNT, EVERYWHERE, 0,
		    "its stack in words, as for xTaskCreate()", "--plan" },
	[STACK] = { "BYTES", "bytes", VMAT_TYPE_BYTES, EVERYWHERE, 0, "its stack in bytes",
		    "WORDS times the width of a word" },
	[COST_1] = COST("1", "both rounded up"),
	[COST_2] = COST("2", "both with headers, rounded up"),
	[COST_3] =
		COST("3", "two blocks of the C library (glibc for words of 8 bytes, else newlib)"),
	[COST_4] = COST("4", "both with headers, rounded up"),
	[COST_5] = COST("5", "both with headers, rounded up"),
};

/* Behind the tasks their sum, and, where a heap is given, what is left of it. */
static void plan_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_plan *plan = model;
	const struct vmat_plan_task *task = row < plan->count ? &plan->tasks[row] : &plan->sum;
	const bool is_left = row > plan->count;

	switch ((enum plan_column)column) {
	case PLAN_NAME:
		ret->text = row < plan->count ? task->name : is_left ? "(left)" : "(sum)";
		break;
	case DEPTH:
		ret->number = is_left ? VMAT_UNKNOWN(VMAT_NOT_APPLICABLE) : task->depth;
		break;
	case STACK:
		ret->number = is_left ? VMAT_UNKNOWN(VMAT_NOT_APPLICABLE) : task->stack;
		break;
	default:
		ret->number = is_left ? plan->left[column - COST_1] : task->cost[column - COST_1];
	}
}

const struct vmat_list vmat_list_plan = {
	.name = "stacks.plan",
	.key = "plan",
	.columns = plan_columns,
	.columns_count = VMAT_COLUMNS_COUNT(plan_columns),
	.cell = plan_cell,
	.meaning = "a task that is planned; then their sum, and what is left of the heap",
};
