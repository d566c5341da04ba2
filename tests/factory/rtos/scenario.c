/* SPDX-License-Identifier: MIT */
/*
 * scenario.c: tasks of known depth in every state, one that used all of its stack, one that is gone, and a heap with holes.
 */
#include "shape.h"

static TCB_t *make(const char *name, unsigned depth, unsigned priority, unsigned used)
{
	TCB_t *tcb = task_create(name, depth, priority, NULL, NULL);

	if (tcb && used)
		task_use(tcb, used);
	return tcb;
}

static void place(TCB_t *tcb, enum state state)
{
	if (tcb)
		task_place(tcb, state);
}

#if STATICS
static TCB_t own_tcb;
static StackType_t own_stack[220];

/* As FreeRTOS's demos do it: variables of a function, which a look-up of globals does not find. */
static void make_idle(void)
{
	static TCB_t xIdleTaskTCB;
	static StackType_t uxIdleTaskStack[128];

	task_use(task_create("IDLE", 128, 0, &xIdleTaskTCB, uxIdleTaskStack), 30);
}
#endif

static void make_tasks(void)
{
	TCB_t *gone;

#if STATICS
	make_idle();
	task_use(task_create("own", 220, 3, &own_tcb, own_stack), 100);
#else
	make("IDLE", 128, 0, 30);
#endif
	place(make("main", DEPTH, 2, 321), RUNNING);
#if CORES > 1
	place(make("second", 140, 2, 33), RUNNING);
#endif
	gone = make("gone", 180, 1, 0);
	place(make("delayed", 300, 1, 50), BLOCKED);
	place(make("wrapped", 250, 1, 51), BLOCKED);
	place(make("waits", 256, 4, 200), BLOCKED_FOR_EVER);
#if SHAPE >= 8
	place(make("notified", 200, 3, 60), NOTIFIED_FOR_EVER);
#endif
	place(make("pending", 170, 3, 40), PENDING);
	place(make("suspended", 160, 1, 70), SUSPENDED);
	place(make("dead", 150, 1, 149), DELETED);
	make("full", 64, 2, 64);
	make("a_very_long_nam", 90, 1, 20);
#if THREADS == 2
	make("deep", 3000, 1, 0);
#endif
	if (gone && HEAP != 1)
		task_clean(gone);
}

void scenario_run(void)
{
#if DEPTH
	void *kept;

	kernel_start();
	kept = heap_malloc(100);
	make_tasks();
	/* The least that was ever free is less than what is free now. */
	heap_free(heap_malloc(600));
	heap_free(kept);
#else
	(void)make_tasks, (void)place;
#endif
	kernel_report();
}
