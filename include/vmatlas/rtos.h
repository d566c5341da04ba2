/* SPDX-License-Identifier: MIT */
/*
 * rtos.h: the tasks, stacks and heap of a program that runs FreeRTOS, read from outside.
 *
 * The nouns:
 *   task       what FreeRTOS schedules; TCB is its control block
 *   word       an element of a stack (StackType_t, portSTACK_TYPE): stacks are asked for in words, and words have 1, 2, 4 or 8 bytes
 *   fill       0xa5, which FreeRTOS may write into all of a stack before its task begins
 *   left       words at the end of a stack that still hold the fill: uxTaskGetStackHighWaterMark()
 *   scheme     which of heap_1.c to heap_5.c the program has
 *
 * Everything is found by name, in the symbol table and in DWARF, so V7 to V11, one core or several, any byte order
 * and any width of words are one and the same here. No firmware is changed and none of its code runs.
 */
#ifndef VMATLAS_RTOS_H
#define VMATLAS_RTOS_H

#include <vmatlas/target.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vmat_task_state {
	VMAT_TASK_UNKNOWN,
	VMAT_TASK_RUNNING,
	VMAT_TASK_READY,
	VMAT_TASK_BLOCKED,
	VMAT_TASK_BLOCKED_FOREVER, /* portMAX_DELAY: it lies in the list of the suspended */
	VMAT_TASK_SUSPENDED,
	VMAT_TASK_DELETED, /* the idle task has not freed it yet */
	VMAT_TASK_STATES,
};

/* How the size of a stack is known, the most exact first. */
enum vmat_task_source {
	VMAT_TASK_SOURCE_NONE,
	VMAT_TASK_SOURCE_ARRAY,   /* the variable that begins where the stack does */
	VMAT_TASK_SOURCE_BLOCK,   /* the header of its block in heap_2, heap_4 or heap_5 */
	VMAT_TASK_SOURCE_END,     /* pxEndOfStack */
	VMAT_TASK_SOURCE_CHUNK,   /* heap_3: the header of the C library's malloc */
	VMAT_TASK_SOURCE_NEXT,    /* what is known to lie next: an upper bound */
	VMAT_TASK_SOURCE_SYMBOLS, /* the main stack: what the linker script calls its ends */
	VMAT_TASK_SOURCES,
};

const char *vmat_task_state_name(enum vmat_task_state state);
const char *vmat_task_source_name(enum vmat_task_source source);

/* Unknown numbers are VMAT_UNKNOWN(reason). */
struct vmat_task {
	uint64_t tcb_addr; /* unknown: the main stack, which belongs to no task */
	char name[64];     /* pcTaskName: hostile */
	enum vmat_task_state state;
	uint64_t core;          /* that runs it; unknown when it does not run */
	uint64_t priority;      /* uxPriority: now, maybe inherited */
	uint64_t base_priority; /* uxBasePriority */
	uint64_t number;        /* uxTCBNumber: in the order of creation */
	uint64_t stack_addr;    /* pxStack: the lowest address */
	uint64_t size;          /* of the stack in bytes */
	uint64_t size_words;
	uint64_t word; /* bytes in a word */
	uint64_t used; /* bytes now; unknown while it runs, since its registers were not saved */
	uint64_t left; /* bytes that were never used */
	uint64_t left_words; /* uxTaskGetStackHighWaterMark() */
	uint64_t left_percent;
	uint64_t thread_addr; /* POSIX port: the pthread_t that runs it */
	bool is_main;         /* the main stack: that of main() and of interrupts */
	enum vmat_task_source source;
	char why[200]; /* the size, and what is not known of the rest */
};

enum vmat_rtos_severity {
	VMAT_RTOS_WARNING,  /* little is left */
	VMAT_RTOS_OVERFLOW, /* a stack was used to its last word, or beyond */
	VMAT_RTOS_DAMAGE,   /* memory contradicts itself: a list, a header, a counter */
};

const char *vmat_rtos_severity_name(enum vmat_rtos_severity severity);

struct vmat_rtos_finding {
	enum vmat_rtos_severity severity;
	uint64_t addr;
	char text[168];
};

enum { VMAT_RTOS_FINDINGS_MAX = 32 };

struct vmat_rtos_heap {
	unsigned scheme;       /* 1 to 5; 0: no heap of FreeRTOS is linked */
	const char *why;       /* the names that tell the scheme */
	uint64_t addr;         /* ucHeap; unknown for heap_3 and heap_5 */
	uint64_t size;         /* configTOTAL_HEAP_SIZE: sizeof(ucHeap) */
	uint64_t total;        /* of it, what blocks can have: without alignment and end mark */
	uint64_t free;         /* xFreeBytesRemaining; heap_1: what lies behind xNextFreeByte */
	uint64_t minimum_free; /* xMinimumEverFreeBytesRemaining */
	uint64_t free_blocks;  /* on the list */
	uint64_t free_listed;  /* the sum of their sizes, headers included: must be `free` */
	uint64_t largest_free;
	uint64_t used_blocks;        /* by walking all blocks of heap_2 and heap_4 */
	uint64_t used;               /* their sizes, headers included */
	uint64_t header;             /* bytes before each block */
	uint64_t allocations, frees; /* xNumberOfSuccessfulAllocations and ...Frees, from V10.2 */
	bool is_protected;           /* pointers are XORed with xHeapCanary */
	char why_not[120];           /* what of the above is not known */
};

struct vmat_rtos {
	char version[96]; /* what the names tell: "V9.0 to V10.3: xStateListItem, ..." */
	bool is_scheduler_running;
	unsigned cores;
	uint64_t word;           /* bytes in a word of a stack */
	uint64_t tcb_size;       /* of a task's control block */
	uint64_t tick_count;     /* xTickCount */
	uint64_t tasks_expected; /* uxCurrentNumberOfTasks */
	bool is_filled;          /* stacks were filled with 0xa5, so what is left is known */
	bool grows_up;           /* stacks grow to higher addresses */
	struct vmat_task *tasks; /* in the order of the lists; the main stack last */
	size_t count;
	struct vmat_rtos_heap heap;
	struct vmat_rtos_finding findings[VMAT_RTOS_FINDINGS_MAX];
	size_t findings_count; /* those kept; findings_total counts all */
	size_t findings_total;
	bool is_damaged; /* there is a finding that is no warning */
	bool is_partial;
	char partial_why[252];
};

/*
 * Does the program of this process have tasks of FreeRTOS: does its symbol table have their names? Cost: a pass over the
 * symbol table. False for other targets, and when it cannot be told.
 */
bool vmat_rtos_is_there(struct vmat_target *target);

/*
 * Reads tasks and heap. The machine behind a gdb server stands while its memory is read, and no longer.
 * Errors: -ENOEXEC no symbols, no debug information, or no FreeRTOS in the program's file (the text says which);
 * -ENODATA no task has been created yet; -EBADMSG the memory is not that of this program; those of vmat_target_hold, and of
 * vmat_layout_find.
 * Damaged lists are no error: what could be read is there, findings say what is wrong, and is_partial is set.
 */
int vmat_rtos_read(struct vmat_rtos **ret, struct vmat_target *target, struct vmat_error *err);
struct vmat_rtos *vmat_rtos_free(struct vmat_rtos *rtos);

/*
 * What tasks will cost before there is a program.
 */
enum { VMAT_RTOS_SCHEMES = 5, VMAT_PLAN_TASKS_MAX = 256 };

struct vmat_plan_task {
	char name[64];
	uint64_t depth;                   /* of its stack, in words: as given to xTaskCreate() */
	uint64_t stack;                   /* depth in bytes */
	uint64_t cost[VMAT_RTOS_SCHEMES]; /* stack and TCB with headers, from heap_1, heap_2, ... */
};

struct vmat_plan {
	struct vmat_plan_task tasks[VMAT_PLAN_TASKS_MAX];
	size_t count;
	uint64_t word;      /* 1, 2, 4 or 8 */
	uint64_t tcb_size;  /* sizeof(TCB_t) */
	uint64_t heap_size; /* configTOTAL_HEAP_SIZE; unknown: not given */
	uint64_t alignment; /* portBYTE_ALIGNMENT */
	uint64_t header;    /* of heap_2, heap_4 and heap_5 */
	struct vmat_plan_task sum;
	uint64_t left
		[VMAT_RTOS_SCHEMES]; /* of the heap; unknown where there is no size or it does not fit */
	bool fits[VMAT_RTOS_SCHEMES]; /* true where no size of a heap is given */
};

/* A usual size of a TCB for a width of words: what FreeRTOS V10 has with the settings of its demos. */
uint64_t vmat_plan_usual_tcb(uint64_t word);

/* sizeof(TCB_t) and the width of words of a program's file. Errors: -ENOEXEC and those of vmat_layout_find. */
int vmat_plan_program(int fd, uint64_t *ret_tcb_size, uint64_t *ret_word, struct vmat_error *err);

/*
 * Fills costs, sums and what is left from names, depths, word, tcb_size and heap_size. Pure.
 * Errors: -EINVAL a word that is not 1, 2, 4 or 8 bytes; a number too large to be an address.
 */
int vmat_plan_compute(struct vmat_plan *plan, struct vmat_error *err);

#ifdef __cplusplus
}
#endif
#endif
