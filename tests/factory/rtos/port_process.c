/* SPDX-License-Identifier: MIT */
/*
 * port_process.c: the test kernel as a process of Linux. Its tasks are memory only, or, as in FreeRTOS's port for POSIX,
 * a thread each: with a stack of the C library (V11), or on the task's own stack where that is large enough (V10).
 *
 * It says what it knows on stdout and waits for the end of stdin.
 */
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "shape.h"

#if THREADS
const char port_name[] = "posix";
#else
const char port_name[] = "process";
#endif

void port_put(char c)
{
	putchar(c);
}

#if THREADS
static unsigned begun;

/*
 * What the report counts of a task's own stack must stay so. So a thread has been as deep as it ever goes before it says that it has
 * begun: it waits for ever with the call that has returned once, when the dynamic linker looked it up, and calls nothing else.
 */
static void *run_task(void *thread)
{
	(void)thread;
	for (int timeout_ms = 0;; timeout_ms = -1) {
		poll(NULL, 0, timeout_ms);
		if (!timeout_ms)
			__atomic_add_fetch(&begun, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* The thread's record lies at the top of the task's stack, and the task's top of stack is just below. */
void port_begin_task(TCB_t *tcb, unsigned depth)
{
	uintptr_t end = (uintptr_t)(tcb->pxStack + depth);
	Thread_t *thread = (Thread_t *)((end - sizeof(Thread_t)) & ~(uintptr_t)15);
	size_t room = (size_t)((char *)thread - (char *)tcb->pxStack) & ~(size_t)15;
	unsigned before = __atomic_load_n(&begun, __ATOMIC_RELAXED);
	pthread_attr_t attributes;

	*thread = (Thread_t){ .pxCode = (void *)run_task, .pvParams = tcb };
	tcb->pxTopOfStack = (StackType_t *)(void *)thread - 1;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 128 * 1024);
	/* The C library refuses one that is too small: FreeRTOS's port, too, goes on with an ordinary one. */
	if (THREADS == 2 && room >= (size_t)sysconf(_SC_THREAD_STACK_MIN))
		pthread_attr_setstack(&attributes, tcb->pxStack, room);
	if (pthread_create(&thread->pthread, &attributes, run_task, thread))
		abort();
	pthread_attr_destroy(&attributes);
	while (__atomic_load_n(&begun, __ATOMIC_ACQUIRE) == before)
		sched_yield();
}
#else
void port_begin_task(TCB_t *tcb, unsigned depth)
{
	(void)tcb, (void)depth;
}
#endif

int main(void)
{
	scenario_run();
	fflush(stdout);
	while (getchar() != EOF)
		kernel_tick();
	return 0;
}
