/* SPDX-License-Identifier: MIT */
/*
 * rtos_priv.h: FreeRTOS while it is read, for the files of this folder.
 *
 * rtos_names.c knows what things are called in which version, rtos_memory.c reads them, rtos_lists.c makes tasks of
 * lists, rtos_stack.c their stacks, rtos_heap.c the heap. rtos.c calls them in the order that keeps a halted machine
 * standing for the shortest time.
 */
#ifndef VMAT_RTOS_PRIV_H
#define VMAT_RTOS_PRIV_H

#include <vmatlas/layout.h>
#include <vmatlas/rtos.h>

/* What is asked for by name. The order is that of the table in rtos_names.c. */
enum vmat_rtos_name {
	/* Fields of a TCB, through pxCurrentTCB, or pxCurrentTCBs[] where there are several cores. */
	RTOS_TCB,
	RTOS_TCB_TOP,
	RTOS_TCB_STACK,
	RTOS_TCB_NAME,
	RTOS_TCB_PRIORITY,
	RTOS_TCB_BASE_PRIORITY,
	RTOS_TCB_END,
	RTOS_TCB_NUMBER,
	RTOS_TCB_STATE_ITEM,
	RTOS_TCB_GENERIC_ITEM,
	RTOS_TCB_EVENT_PV,
	RTOS_TCB_EVENT_PX,
	RTOS_TCB_NOTIFY_UC,
	RTOS_TCB_NOTIFY_E,
	RTOS_TCB_NAMES, /* end of the fields */
	/* Lists */
	RTOS_READY = RTOS_TCB_NAMES,
	RTOS_LIST_COUNT,
	RTOS_LIST_END,
	RTOS_LIST_NEXT,
	RTOS_ITEM_NEXT,
	RTOS_ITEM_PREVIOUS,
	RTOS_ITEM_OWNER,
	RTOS_ITEM_PV_CONTAINER,
	RTOS_ITEM_PX_CONTAINER,
	RTOS_DELAYED_1,
	RTOS_DELAYED_2,
	RTOS_PENDING,
	RTOS_SUSPENDED,
	RTOS_TERMINATION,
	/* Counters */
	RTOS_TASKS,
	RTOS_RUNNING,
	RTOS_TICKS,
	/* Heap */
	RTOS_HEAP,
	RTOS_NEXT_FREE,
	RTOS_FREE,
	RTOS_FREE_MINIMUM,
	RTOS_START,
	RTOS_BLOCK_NEXT,
	RTOS_BLOCK_SIZE,
	RTOS_END_POINTER,
	RTOS_END_BLOCK,
	RTOS_CANARY,
	RTOS_STRUCT_SIZE,
	RTOS_STRUCT_SIZE_OLD,
	RTOS_ALLOCATIONS,
	RTOS_FREES,
	/* Evidence of versions, the POSIX port, the C library, the linker script */
	RTOS_LIST_TYPE,
	RTOS_IDLE_HANDLES,
	RTOS_THREAD,
	RTOS_NANO_FREE_LIST,
	RTOS_NEWLIB_BINS,
	RTOS_ESTACK,
	RTOS_STACK_TOP,
	RTOS_STACK_LIMIT,
	RTOS_STACK_MIN_SIZE,
	RTOS_NAMES,
};

/* What is kept of a task while its stack's size is looked for. Same index as in rtos->tasks. */
struct vmat_task_notes {
	uint64_t top;         /* pxTopOfStack */
	uint64_t end;         /* pxEndOfStack, or unknown */
	uint64_t block_size;  /* by the header of its block; unknown: none that makes sense */
	uint64_t header_addr; /* unknown: it should not have a header */
	uint64_t chunk_size;  /* by the C library's header */
	uint64_t low_fill;    /* bytes of 0xa5 from the lowest address up */
	uint64_t high_fill;   /* from the highest address down, where `end` is known */
	bool is_low_cut;      /* what follows the fill cannot be read: there may be more of it */
	bool is_high_cut;
};

struct vmat_rtos_reading {
	struct vmat_target *target;
	struct vmat_rtos *rtos;
	struct vmat_program program;
	struct vmat_datum data[RTOS_NAMES];
	uint64_t bias; /* of the program in memory */
	int fd;        /* its file; -1: none, so no variables are looked up */
	struct vmat_task_notes *notes;
	size_t capacity; /* of rtos->tasks and notes */
	bool has_failed; /* a read failed for good: `error` says why */
	struct vmat_error error;
};

enum {
	VMAT_RTOS_TASKS_MAX = 4096,  /* a count beyond it is no count of tasks */
	VMAT_RTOS_RECORD_MAX = 4096, /* bytes of a TCB, a list or an item */
};

/* rtos_names.c: opens the program's file and asks for all names. Sets *reading's fd, program, data, bias. */
int vmat_rtos_names_read(struct vmat_rtos_reading *reading, struct vmat_error *err);
int vmat_rtos_names_find(int fd, struct vmat_program *program, struct vmat_datum *data,
			 struct vmat_error *err);
void vmat_rtos_version(struct vmat_rtos_reading *reading);

/* rtos.c: all of memory that is needed. 0, or a negative errno. Begins anew each time. */
int vmat_rtos_memory_read(struct vmat_rtos_reading *reading, struct vmat_error *err);

/* rtos_memory.c */
static inline const struct vmat_datum *vmat_rtos_datum(const struct vmat_rtos_reading *reading,
						       enum vmat_rtos_name name)
{
	return &reading->data[name];
}

static inline bool vmat_rtos_has(const struct vmat_rtos_reading *reading, enum vmat_rtos_name name)
{
	return vmat_datum_is_found(&reading->data[name]);
}

/* Where a variable lies in memory. */
uint64_t vmat_rtos_addr(const struct vmat_rtos_reading *reading, enum vmat_rtos_name name);
/* All of `size` bytes, or false. */
bool vmat_rtos_bytes(struct vmat_rtos_reading *reading, uint64_t addr, void *buffer, size_t size);
/* A number of 1 to 8 bytes in the byte order of the program. Unknown when it cannot be read. */
uint64_t vmat_rtos_number(struct vmat_rtos_reading *reading, uint64_t addr, uint64_t size);
/* The value of a variable; unknown when there is none. */
uint64_t vmat_rtos_value(struct vmat_rtos_reading *reading, enum vmat_rtos_name name);
/* A field of a record that has been read. Unknown when the record lacks it. */
uint64_t vmat_rtos_field(const struct vmat_rtos_reading *reading, const void *record, size_t size,
			 enum vmat_rtos_name name);
uint64_t vmat_rtos_pointer_size(const struct vmat_rtos_reading *reading);
void vmat_rtos_find(struct vmat_rtos *rtos, enum vmat_rtos_severity severity, uint64_t addr,
		    const char *format, ...) VMAT_PRINTF(4, 5);

/* rtos_lists.c: all tasks. 0, -ENOMEM, -ENODATA or -EBADMSG. */
int vmat_rtos_lists_read(struct vmat_rtos_reading *reading, struct vmat_error *err);

/* rtos_stack.c: what of memory tells a stack's size and use; then, with the file's symbols, what follows. */
void vmat_rtos_stacks_read(struct vmat_rtos_reading *reading);
int vmat_rtos_stacks_settle(struct vmat_rtos_reading *reading);
/* Adds the main stack as the last task, when the linker script names it. */
int vmat_rtos_main_stack(struct vmat_rtos_reading *reading);

/* rtos_heap.c */
void vmat_rtos_heap_scheme(struct vmat_rtos_reading *reading);
void vmat_rtos_heap_read(struct vmat_rtos_reading *reading);
/* Bytes before each block, and that of which they are a multiple. */
uint64_t vmat_rtos_header_size(struct vmat_rtos_reading *reading);
/* The size of a block in its header, which begins at addr; its mark of being allocated is taken off. */
uint64_t vmat_rtos_block_size(struct vmat_rtos_reading *reading, uint64_t addr);

static inline uint64_t vmat_rtos_align(uint64_t number, uint64_t alignment)
{
	return (number + alignment - 1) / alignment * alignment;
}

/* A task to be filled; NULL when there is no memory or there are too many. */
struct vmat_task *vmat_rtos_add_task(struct vmat_rtos_reading *reading);

#endif
