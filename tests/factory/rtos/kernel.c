/* SPDX-License-Identifier: MIT */
/*
 * kernel.c: control blocks and lists with the names of FreeRTOS's tasks.c. Nothing is scheduled: the scenario says what
 * state a task is in, and this file puts it into the lists where FreeRTOS would have it.
 *
 * What it reports of tasks is what was asked for, kept in a table beside them: depth, words used, state.
 */
#include "shape.h"

#define KEEP __attribute__((used))

#if SHAPE == 7
static List_t pxReadyTasksLists[PRIORITIES];
static List_t xDelayedTaskList1, xDelayedTaskList2;
static List_t *volatile pxDelayedTaskList;
static List_t *volatile pxOverflowDelayedTaskList KEEP;
static List_t xPendingReadyList;
static List_t xTasksWaitingTermination;
static List_t xSuspendedTaskList;
static volatile unsigned long uxTasksDeleted KEEP;
static volatile unsigned long uxCurrentNumberOfTasks KEEP;
#else
static List_t pxReadyTasksLists[PRIORITIES];
static List_t xDelayedTaskList1;
static List_t xDelayedTaskList2;
static List_t *volatile pxDelayedTaskList;
static List_t *volatile pxOverflowDelayedTaskList KEEP;
static List_t xPendingReadyList;
static List_t xTasksWaitingTermination;
static List_t xSuspendedTaskList;
#if SHAPE == 8
static volatile UBaseType_t uxTasksDeleted KEEP;
#else
static volatile UBaseType_t uxDeletedTasksWaitingCleanUp KEEP;
#endif
static volatile UBaseType_t uxCurrentNumberOfTasks KEEP;
#endif
#if CORES > 1
TCB_t *volatile pxCurrentTCBs[CORES];
#else
TCB_t *volatile pxCurrentTCB;
#endif
#if SHAPE >= 11
static TCB_t *xIdleTaskHandles[CORES] KEEP;
#endif
static volatile TickType_t xTickCount;
static volatile UBaseType_t uxTopReadyPriority KEEP;
static volatile BaseType_t xSchedulerRunning;
static volatile UBaseType_t uxSchedulerSuspended KEEP;
static UBaseType_t uxTaskNumber;
/* The linker script of OpenOCD's users keeps it; where it is, a debugger finds the number of lists without DWARF. */
extern const int uxTopUsedPriority;
const int uxTopUsedPriority KEEP = PRIORITIES - 1;

/* A list that tasks wait in, as those of a queue. */
static List_t waiters;

enum { TASKS = 20 };

/* What we know of each task beside its control block. */
static struct task {
	TCB_t *tcb;
	unsigned depth;
	unsigned used;
	enum state state;
	int is_static;
} tasks[TASKS];

static unsigned tasks_count;

static struct task *task_of(const TCB_t *tcb)
{
	for (unsigned i = 0; i < tasks_count; i++)
		if (tasks[i].tcb == tcb)
			return &tasks[i];
	return NULL;
}

static void list_init(List_t *list)
{
	list->pxIndex = (ListItem_t *)(void *)&list->xListEnd;
	list->xListEnd.xItemValue = (TickType_t)-1;
	list->xListEnd.pxNext = (ListItem_t *)(void *)&list->xListEnd;
	list->xListEnd.pxPrevious = (ListItem_t *)(void *)&list->xListEnd;
	list->uxNumberOfItems = 0;
}

static void list_add(List_t *list, ListItem_t *item)
{
	ListItem_t *last = list->xListEnd.pxPrevious;

	item->pxPrevious = last;
	item->pxNext = last->pxNext;
	last->pxNext = item;
	list->xListEnd.pxPrevious = item;
	item->CONTAINER = list;
	list->uxNumberOfItems++;
}

static void list_remove(ListItem_t *item)
{
	List_t *list = item->CONTAINER;

	if (!list)
		return;
	item->pxPrevious->pxNext = item->pxNext;
	item->pxNext->pxPrevious = item->pxPrevious;
	item->CONTAINER = NULL;
	list->uxNumberOfItems--;
}

void kernel_start(void)
{
	for (unsigned i = 0; i < PRIORITIES; i++)
		list_init(&pxReadyTasksLists[i]);
	list_init(&xDelayedTaskList1);
	list_init(&xDelayedTaskList2);
	list_init(&xPendingReadyList);
	list_init(&xTasksWaitingTermination);
	list_init(&xSuspendedTaskList);
	list_init(&waiters);
	pxDelayedTaskList = &xDelayedTaskList1;
	pxOverflowDelayedTaskList = &xDelayedTaskList2;
	xSchedulerRunning = 1;
}

void kernel_tick(void)
{
	xTickCount++;
}

/* In V7, and where stacks grow up, the control block comes first, so that the stack cannot grow into it. */
static int allocate(TCB_t **tcb, StackType_t **stack, unsigned depth)
{
	size_t bytes = depth * sizeof(StackType_t);

	if (SHAPE > 7 && GROWTH < 0)
		*stack = heap_malloc(bytes);
	*tcb = heap_malloc(sizeof(TCB_t));
	if (SHAPE == 7 || GROWTH > 0)
		*stack = heap_malloc(bytes);
	return *tcb && *stack;
}

TCB_t *task_create(const char *name, unsigned depth, unsigned priority, TCB_t *tcb,
		   StackType_t *stack)
{
	int is_static = tcb != NULL;
	struct task *task = &tasks[tasks_count];
	unsigned char *bytes;

	if (!is_static && !allocate(&tcb, &stack, depth)) {
		say_begin("failed");
		say_text("name", name);
		say_end();
		return NULL;
	}
	bytes = (unsigned char *)tcb;
	for (size_t i = 0; i < sizeof(*tcb); i++)
		bytes[i] = 0;
	bytes = (unsigned char *)stack;
	for (size_t i = 0; i < depth * sizeof(StackType_t); i++)
		bytes[i] = FILL;
	tcb->pxStack = stack;
	for (unsigned i = 0; i < NAME_LENGTH - 1 && name[i]; i++)
		tcb->pcTaskName[i] = (NAME_CHAR)name[i];
	tcb->uxPriority = tcb->uxBasePriority = priority;
	tcb->uxTCBNumber = ++uxTaskNumber;
	tcb->STATE_ITEM.pvOwner = tcb;
	tcb->xEventListItem.pvOwner = tcb;
#if GROWTH > 0
	tcb->pxTopOfStack = stack;
	tcb->pxEndOfStack = stack + depth - 1;
#else
	tcb->pxTopOfStack = (StackType_t *)((uintptr_t)(stack + depth - 1) & ~(uintptr_t)7);
#if RECORD
	tcb->pxEndOfStack = (StackType_t *)(uintptr_t)tcb->pxTopOfStack;
#endif
#endif
#if CORES > 1
	tcb->xTaskRunState = -1;
#endif
#if STATICS
	/* Allocated 0; a stack and a control block of its own 2. */
	tcb->ucStaticallyAllocated = is_static ? 2 : 0;
#endif
	*task = (struct task){ tcb, depth, 0, READY, is_static };
	tasks_count++;
	uxCurrentNumberOfTasks++;
	list_add(&pxReadyTasksLists[priority], &tcb->STATE_ITEM);
	task_use(tcb, depth < 16 ? depth : 16);
	port_begin_task(tcb, depth);
	return tcb;
}

/* The outermost words have been used, and hold no byte of the fill pattern. */
void task_use(TCB_t *tcb, unsigned words)
{
	struct task *task = task_of(tcb);
	volatile StackType_t *stack = tcb->pxStack;

	/* The first words hold what the port keeps of the thread. */
	for (unsigned i = THREADS ? task->used : 0; i < words; i++) {
		unsigned at = GROWTH > 0 ? i : task->depth - 1 - i;

		stack[at] = (StackType_t)(i % 100 + 1);
	}
	if (words > task->used)
		task->used = words;
#if !THREADS
	if (GROWTH > 0)
		tcb->pxTopOfStack = stack + words - 1;
	else
		tcb->pxTopOfStack = stack + task->depth - words;
#endif
}

/* On which of the cores a task runs; cores are taken in order. */
static void run(TCB_t *tcb)
{
#if CORES > 1
	for (unsigned core = 0; core < CORES; core++) {
		if (!pxCurrentTCBs[core]) {
			pxCurrentTCBs[core] = tcb;
			tcb->xTaskRunState = (BaseType_t)core;
			return;
		}
	}
#else
	pxCurrentTCB = tcb;
#endif
}

void task_place(TCB_t *tcb, enum state state)
{
	task_of(tcb)->state = state;
	if (state == RUNNING) {
		run(tcb);
		return;
	}
	list_remove(&tcb->STATE_ITEM);
	if (state == READY)
		list_add(&pxReadyTasksLists[tcb->uxPriority], &tcb->STATE_ITEM);
	else if (state == BLOCKED || state == PENDING)
		/* Every second one wakes after the tick counter has wrapped. */
		list_add(tcb->uxTCBNumber % 2 ? pxDelayedTaskList : pxOverflowDelayedTaskList,
			 &tcb->STATE_ITEM);
	else if (state == DELETED)
		list_add(&xTasksWaitingTermination, &tcb->STATE_ITEM);
	else
		list_add(&xSuspendedTaskList, &tcb->STATE_ITEM);
	if (state == PENDING)
		list_add(&xPendingReadyList, &tcb->xEventListItem);
	if (state == BLOCKED_FOR_EVER)
		list_add(&waiters, &tcb->xEventListItem);
#if SHAPE == 8
	if (state == NOTIFIED_FOR_EVER)
		tcb->eNotifyState = eWaitingNotification;
#elif SHAPE == 9
	if (state == NOTIFIED_FOR_EVER)
		tcb->ucNotifyState = 1;
#elif SHAPE >= 10
	if (state == NOTIFIED_FOR_EVER)
		tcb->ucNotifyState[0] = 1;
#endif
	if (state == DELETED) {
#if SHAPE <= 8
		uxTasksDeleted++;
#else
		uxDeletedTasksWaitingCleanUp++;
#endif
	}
}

/* A task that was deleted and whose memory the idle task has freed. */
void task_clean(TCB_t *tcb)
{
	struct task *task = task_of(tcb);

	list_remove(&tcb->STATE_ITEM);
	list_remove(&tcb->xEventListItem);
	uxCurrentNumberOfTasks--;
	heap_free(tcb->pxStack);
	heap_free(tcb);
	*task = tasks[--tasks_count];
}

static const char *const state_names[] = { "running", "ready", "blocked",   "blocked",
					   "blocked", "ready", "suspended", "deleted" };

static void report_bytes(const TCB_t *tcb)
{
	say_bytes(tcb->pcTaskName, sizeof(tcb->pcTaskName));
#if SHAPE == 9
	say_bytes(&tcb->ucNotifyState, sizeof(tcb->ucNotifyState));
#elif SHAPE >= 10
	say_bytes(tcb->ucNotifyState, sizeof(tcb->ucNotifyState));
#endif
#if STATICS
	say_bytes(&tcb->ucStaticallyAllocated, 1);
#endif
}

/* Threads run on their stacks, or above them is what the port keeps: then what is left is counted. */
static unsigned count_free(const struct task *task)
{
	const unsigned char *stack = (const unsigned char *)task->tcb->pxStack;
	unsigned bytes = 0;

	while (bytes < task->depth * sizeof(StackType_t) && stack[bytes] == FILL)
		bytes++;
	return bytes / sizeof(StackType_t);
}

static void report_task(const struct task *task)
{
	const TCB_t *tcb = task->tcb;
	char name[NAME_LENGTH] = "";

	for (unsigned i = 0; i < NAME_LENGTH - 1; i++)
		name[i] = (char)tcb->pcTaskName[i];
	say_begin("task");
	say_text("name", name);
	say_address("tcb", tcb);
	say_number("tcb_size", sizeof(*tcb));
	say_address("stack", tcb->pxStack);
	say_address("top", tcb->pxTopOfStack);
	say_number("words", task->depth);
	say_number("bytes", task->depth * sizeof(StackType_t));
	say_number("free_words", THREADS ? count_free(task) : task->depth - task->used);
	say_number("priority", tcb->uxPriority);
	say_number("number", tcb->uxTCBNumber);
	say_text("state", state_names[task->state]);
	say_number("for_ever", task->state == BLOCKED_FOR_EVER || task->state == NOTIFIED_FOR_EVER);
	say_number("static", task->is_static ? 1 : 0);
#if THREADS
	{
		/* The port finds it above the top of the stack. */
		const Thread_t *thread = (const Thread_t *)(uintptr_t)(tcb->pxTopOfStack + 1);

		say_number("pthread", (uint64_t)thread->pthread);
	}
#endif
	say_end();
}

void kernel_report(void)
{
	say_begin("kernel");
	say_number("shape", SHAPE);
	say_number("heap", HEAP);
	say_number("word", sizeof(StackType_t));
	say_number("grows_up", GROWTH > 0);
	say_number("cores", CORES);
	say_number("threads", THREADS);
	say_text("port", port_name);
	say_number("running", (uint64_t)xSchedulerRunning);
	say_number("tasks", uxCurrentNumberOfTasks);
	say_address("tick_addr", &xTickCount);
	say_number("tcb_size", sizeof(TCB_t));
	say_end();
	for (unsigned i = 0; i < tasks_count; i++)
		report_task(&tasks[i]);
	heap_report();
	for (unsigned i = 0; i < tasks_count; i++)
		report_bytes(tasks[i].tcb);
	say_begin("ready");
	say_end();
}
