/* SPDX-License-Identifier: MIT */
/*
 * The list stacks.threads.
 */
#include "export/list_field.h"

#define EVERYWHERE    (VMAT_SHOW_TABLE | VMAT_SHOW_WIDE | VMAT_SHOW_JSON)
#define WIDE_AND_JSON (VMAT_SHOW_WIDE | VMAT_SHOW_JSON)

enum thread_column {
	TID,
	NAME,
	STATE,
	KIND,
	BEGIN,
	END,
	SIZE,
	GUARD,
	GUARD_KIND,
	GAP,
	GAP_HOLES,
	GAP_HOLDS,
	SP,
	USED,
	RESIDENT,
	HIGH_WATER,
	FILL,
	CACHED,
	OVERFLOWED,
	THREAD,
	WHY,
};

static const struct vmat_column columns[] = {
	[TID] = { "TID", "tid", VMAT_TYPE_COUNT, EVERYWHERE, 0,
		  "thread id; none for a cached stack",
		  "/proc/PID/task; glibc struct pthread: tid" },
	[NAME] = { "NAME", "name", VMAT_TYPE_STRING, EVERYWHERE, 0, "name of the thread",
		   "task/TID/comm", .ample = 1 },
	[STATE] = { "STATE", "state", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0, "as in ps(1)",
		    "task/TID/stat" },
	[KIND] = { "KIND", "kind", VMAT_TYPE_STRING, WIDE_AND_JSON, 0,
		   "main, thread (mapped by glibc), user (supplied by the program), cached (kept "
		   "for the next thread), exited (not joined yet) or guessed",
		   "glibc's lists of stacks", .is_tinted = true },
	[BEGIN] = { "BEGIN", "begin", VMAT_TYPE_ADDR, EVERYWHERE, 0,
		    "lowest address of the stack, guard included",
		    "glibc struct pthread: stackblock" },
	[END] = { "END", "end", VMAT_TYPE_ADDR, WIDE_AND_JSON, 0, "first address behind the stack",
		  "glibc struct pthread: stackblock + stackblock_size" },
	[SIZE] = { "SIZE", "size", VMAT_TYPE_BYTES, EVERYWHERE, 0, "END minus BEGIN",
		   "glibc struct pthread: stackblock_size" },
	[GUARD] = { "GUARD", "guard", VMAT_TYPE_BYTES, EVERYWHERE, 0,
		    "bytes at BEGIN that may not be touched", "glibc struct pthread: guardsize" },
	[GUARD_KIND] = { "GUARD_KIND", "guard_kind", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0,
			 "how the guard is made: none, vma (no rights), marker (in no maps), "
			 "kernel",
			 "maps; PAGEMAP_SCAN" },
	[GAP] = { "GAP", "gap", VMAT_TYPE_BYTES, EVERYWHERE, 0,
		  "BEGIN of the next stack above minus this END", "vmatlas" },
	[GAP_HOLES] = { "GAP_HOLES", "gap_holes", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0,
			"bytes of the gap that are not mapped", "maps" },
	[GAP_HOLDS] = { "GAP_HOLDS", "gap_holds", VMAT_TYPE_STRING, EVERYWHERE, 0,
			"what lies in the gap: the largest, how many more, and their size", "maps",
			.ample = 2 },
	[SP] = { "SP", "sp", VMAT_TYPE_ADDR, VMAT_SHOW_JSON, 0,
		 "stack pointer; known while the thread is blocked", "task/TID/syscall" },
	[USED] = { "USED", "used", VMAT_TYPE_BYTES, EVERYWHERE, 0, "END minus SP",
		   "task/TID/syscall" },
	[RESIDENT] = { "RESIDENT", "resident", VMAT_TYPE_BYTES, VMAT_SHOW_JSON, 0,
		       "pages of the stack in memory", "PAGEMAP_SCAN: PRESENT" },
	[HIGH_WATER] = { "HIGH", "high_water", VMAT_TYPE_BYTES, EVERYWHERE, 0,
			 "the deepest the stack has ever been, in whole pages: END minus the "
			 "lowest "
			 "resident page",
			 "PAGEMAP_SCAN: PRESENT" },
	[FILL] = { "FILL", "fill", VMAT_TYPE_STRING, VMAT_SHOW_WIDE, 0,
		   "a drawing of the stack from END down: # used, = once used, . never, ! guard",
		   "USED, HIGH, GUARD" },
	[CACHED] = { "CACHED", "cached", VMAT_TYPE_BOOL, VMAT_SHOW_JSON, 0,
		     "of a thread that has exited, kept by glibc for the next one",
		     "glibc: _dl_stack_cache" },
	[OVERFLOWED] = { "OVERFLOWED", "overflowed", VMAT_TYPE_BOOL, VMAT_SHOW_JSON, 0,
			 "of a core: the thread ran over the end of its stack",
			 "NT_SIGINFO: si_addr; NT_PRSTATUS: stack pointer" },
	[THREAD] = { "THREAD", "thread", VMAT_TYPE_ADDR, 0, 0,
		     "address of the thread's descriptor (pthread_t)", "glibc struct pthread" },
	[WHY] = { "WHY", "why", VMAT_TYPE_STRING, VMAT_SHOW_JSON, 0, "how the stack was found",
		  "vmatlas", .ample = 3 },
};

static const uint16_t fields[] = {
	[TID] = offsetof(struct vmat_stack, tid),
	[BEGIN] = offsetof(struct vmat_stack, begin),
	[END] = offsetof(struct vmat_stack, end),
	[SIZE] = offsetof(struct vmat_stack, size),
	[GUARD] = offsetof(struct vmat_stack, guard),
	[GAP] = offsetof(struct vmat_stack, gap),
	[GAP_HOLES] = offsetof(struct vmat_stack, gap_holes),
	[SP] = offsetof(struct vmat_stack, sp),
	[USED] = offsetof(struct vmat_stack, used),
	[RESIDENT] = offsetof(struct vmat_stack, resident),
	[HIGH_WATER] = offsetof(struct vmat_stack, high_water),
	[OVERFLOWED] = offsetof(struct vmat_stack, overflowed),
	[THREAD] = offsetof(struct vmat_stack, thread_addr),
};

#define FILL_WIDTH 20

/* How many of the FILL_WIDTH places `part` of `size` takes: at least one as soon as there is any. */
static size_t places(uint64_t part, uint64_t size)
{
	size_t n;

	if (!vmat_is_known(part) || !part)
		return 0;
	if (part >= size)
		return FILL_WIDTH;
	n = (size_t)((double)part / (double)size * FILL_WIDTH);
	return n ? n : 1;
}

static void draw_fill(const struct vmat_stack *stack, struct vmat_value *ret)
{
	size_t used, high, guard;

	if (!vmat_is_known(stack->size) || !stack->size || !vmat_is_known(stack->high_water)) {
		ret->number = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
		return;
	}
	used = places(stack->used, stack->size);
	high = places(stack->high_water, stack->size);
	guard = places(stack->guard, stack->size);
	memset(ret->room, '.', FILL_WIDTH);
	memset(ret->room, '=', high);
	memset(ret->room, '#', used);
	if (guard && stack->kind != VMAT_STACK_MAIN)
		memset(ret->room + FILL_WIDTH - guard, '!', guard);
	ret->room[FILL_WIDTH] = '\0';
	ret->text = ret->room;
}

static void state_cell(const struct vmat_stack *stack, struct vmat_value *ret)
{
	if (!stack->state) {
		ret->number = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
		return;
	}
	ret->room[0] = stack->state;
	ret->room[1] = '\0';
	ret->text = ret->room;
}

static void thread_cell(const void *model, size_t row, size_t column, struct vmat_value *ret)
{
	const struct vmat_stack *stack = &((const struct vmat_stacks *)model)->stacks[row];

	switch ((enum thread_column)column) {
	case NAME:
		ret->text = stack->name;
		break;
	case STATE:
		state_cell(stack, ret);
		break;
	case KIND:
		ret->text = vmat_stack_kind_name(stack->kind);
		break;
	case GUARD_KIND:
		ret->text = vmat_guard_kind_name(stack->guard_kind);
		break;
	case GAP_HOLDS:
		ret->text = stack->gap_what ? stack->gap_what : "";
		break;
	case FILL:
		draw_fill(stack, ret);
		break;
	case CACHED:
		ret->number = stack->kind == VMAT_STACK_CACHED;
		break;
	case WHY:
		ret->text = stack->why ? stack->why : "";
		break;
	default:
		ret->number = vmat_field(stack, fields[column]);
	}
}

static enum vmat_tint thread_tint(const void *model, size_t row)
{
	switch (((const struct vmat_stacks *)model)->stacks[row].kind) {
	case VMAT_STACK_CACHED:
		return VMAT_TINT_IDLE;
	case VMAT_STACK_GUESSED:
		return VMAT_TINT_BAD;
	case VMAT_STACK_USER:
		return VMAT_TINT_SHARED;
	default:
		return VMAT_TINT_STACK;
	}
}

const struct vmat_list vmat_list_threads = {
	.name = "stacks.threads",
	.key = "threads",
	.columns = columns,
	.columns_count = VMAT_COLUMNS_COUNT(columns),
	.cell = thread_cell,
	.tint = thread_tint,
	.meaning = "a stack: that of a thread, or one that is kept for the next thread",
};
