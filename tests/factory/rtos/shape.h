/* SPDX-License-Identifier: MIT */
/*
 * shape.h: what a debugger sees of FreeRTOS: names of types, fields and variables, as they were in V7 to V11.
 *
 * The test kernel of this folder is no FreeRTOS: it schedules nothing, and only keeps lists, control blocks and heaps of
 * the same shape, so that what reads FreeRTOS by its debug information can be tested without it. Facts: the
 * names in the debug information of FreeRTOS V7.6.0, V8.2.3, V9.0.0, V10.4.6 and V11.3.0.
 *
 * SHAPE    7, 8, 9, 10 (as V10.4 and later), 11
 * HEAP     1, 2, 3 (malloc of the C library), 4, 5;   PROTECT  heap 4 and 5 of V11 hide their pointers
 * WORD     the size of StackType_t: 1, 2, 4, 8;       GROWTH   -1: stacks grow down, 1: up
 * RECORD   the end of each stack is recorded;         STATICS  tasks may have memory of their own (V9 and later)
 * CORES    2: as the SMP kernel of V11;               THREADS  1: a pthread for each task, 2: some on the task's stack
 */
#ifndef RTOS_SHAPE_H
#define RTOS_SHAPE_H

#include <stddef.h>
#include <stdint.h>

#ifndef SHAPE
#define SHAPE 10
#endif
#ifndef HEAP
#define HEAP 4
#endif
#ifndef PROTECT
#define PROTECT 0
#endif
#ifndef WORD
#define WORD 4
#endif
#ifndef GROWTH
#define GROWTH (-1)
#endif
#ifndef RECORD
#define RECORD 0
#endif
#ifndef STATICS
#define STATICS 0
#endif
#ifndef CORES
#define CORES 1
#endif
#ifndef THREADS
#define THREADS 0
#endif
/* The depth of the task "main"; 0: the kernel is never started. */
#ifndef DEPTH
#define DEPTH 1000
#endif
#ifndef HEAP_SIZE
#if THREADS
#define HEAP_SIZE (120 * 1024)
#else
/* 25 KiB for words of 4 bytes, as in the question that this is about; pointers of 8 bytes need more. */
#define HEAP_SIZE (WORD * 6400 + (sizeof(void *) == 8 ? 16384 : 0))
#endif
#endif

#if WORD == 1
typedef uint8_t stack_word;
#elif WORD == 2
typedef uint16_t stack_word;
#elif WORD == 4
typedef uint32_t stack_word;
#else
typedef uint64_t stack_word;
#endif

enum { PRIORITIES = 5, NAME_LENGTH = 16, ALIGNMENT = 8, FILL = 0xa5 };

typedef long BaseType_t;
typedef unsigned long UBaseType_t;

#if SHAPE == 7
typedef stack_word portSTACK_TYPE;
typedef uint32_t portTickType;
#define StackType_t portSTACK_TYPE
#define TickType_t  portTickType
#define ListItem_t  xListItem
#define MiniItem_t  xMiniListItem
#define List_t      xList
#define BlockLink_t xBlockLink
#define NAME_CHAR   signed char
#else
typedef stack_word StackType_t;
typedef uint32_t TickType_t;
#define MiniItem_t MiniListItem_t
#define NAME_CHAR  char
#endif

#if SHAPE <= 8
#define STATE_ITEM xGenericListItem
#else
#define STATE_ITEM xStateListItem
#endif
#if SHAPE <= 9
#define CONTAINER pvContainer
#else
#define CONTAINER pxContainer
#endif

struct xLIST;

struct xLIST_ITEM {
	TickType_t xItemValue;
	struct xLIST_ITEM *pxNext;
	struct xLIST_ITEM *pxPrevious;
	void *pvOwner;
#if SHAPE <= 9
	void *pvContainer;
#else
	struct xLIST *pxContainer;
#endif
};

typedef struct xLIST_ITEM ListItem_t;

struct xMINI_LIST_ITEM {
	TickType_t xItemValue;
	struct xLIST_ITEM *pxNext;
	struct xLIST_ITEM *pxPrevious;
};

typedef struct xMINI_LIST_ITEM MiniItem_t;

typedef struct xLIST {
	volatile UBaseType_t uxNumberOfItems;
	ListItem_t *pxIndex;
	MiniItem_t xListEnd;
} List_t;

#if SHAPE == 8
enum notify_state { eNotWaitingNotification, eWaitingNotification, eNotified };
#endif

typedef struct tskTaskControlBlock {
	volatile StackType_t *pxTopOfStack;
#if CORES > 1
	UBaseType_t uxCoreAffinityMask;
#endif
	ListItem_t STATE_ITEM;
	ListItem_t xEventListItem;
	UBaseType_t uxPriority;
	StackType_t *pxStack;
#if CORES > 1
	volatile BaseType_t xTaskRunState;
	UBaseType_t uxTaskAttributes;
#endif
	NAME_CHAR pcTaskName[NAME_LENGTH];
#if GROWTH > 0 || RECORD
	StackType_t *pxEndOfStack;
#endif
	UBaseType_t uxTCBNumber;
	UBaseType_t uxTaskNumber;
	UBaseType_t uxBasePriority;
#if SHAPE >= 8
	UBaseType_t uxMutexesHeld;
#endif
#if SHAPE == 8
	uint32_t ulNotifiedValue;
	enum notify_state eNotifyState;
#elif SHAPE == 9
	volatile uint32_t ulNotifiedValue;
	volatile uint8_t ucNotifyState;
#elif SHAPE >= 10
	volatile uint32_t ulNotifiedValue[1];
	volatile uint8_t ucNotifyState[1];
#endif
#if STATICS
	uint8_t ucStaticallyAllocated;
#endif
} tskTCB;
#if SHAPE > 7
typedef tskTCB TCB_t;
#else
#define TCB_t tskTCB
#endif

#if THREADS
#include <pthread.h>

/* What FreeRTOS's port for POSIX keeps at the top of each task's stack. */
typedef struct THREAD {
	pthread_t pthread;
	void *pxCode;
	void *pvParams;
	BaseType_t xDying;
	void *ev;
} Thread_t;
#endif

/* heap.c */
void *heap_malloc(size_t size);
void heap_free(void *block);
void heap_report(void);

/* kernel.c */
enum state {
	RUNNING,
	READY,
	BLOCKED,
	BLOCKED_FOR_EVER,
	NOTIFIED_FOR_EVER,
	PENDING,
	SUSPENDED,
	DELETED
};

TCB_t *task_create(const char *name, unsigned depth, unsigned priority, TCB_t *tcb,
		   StackType_t *stack);
void task_use(TCB_t *tcb, unsigned words);
void task_place(TCB_t *tcb, enum state state);
void task_clean(TCB_t *tcb);
void kernel_start(void);
void kernel_report(void);
void kernel_tick(void);
void scenario_run(void);

/* port_*.c */
extern const char port_name[];
void port_put(char c);
void port_begin_task(TCB_t *tcb, unsigned depth);

/* report.c: JSON lines. */
void say(const char *text);
void say_text(const char *key, const char *text);
void say_number(const char *key, uint64_t number);
void say_address(const char *key, const volatile void *address);
void say_null(const char *key);
void say_begin(const char *type);
void say_end(void);
/* A range that is bytes and not words: who turns a memory image into one of the other byte order must know. */
void say_bytes(const volatile void *address, size_t size);

#endif
