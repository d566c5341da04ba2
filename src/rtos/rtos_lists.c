/* SPDX-License-Identifier: MIT */
/*
 * rtos_lists.c: tasks out of the lists that they wait in.
 *
 * A list of FreeRTOS is a ring through its own end marker, and each item names the list that it is in. So a walk ends after as many
 * items as the list counts, and an item is believed only if it points back: to the one before it, and to the list. Where that
 * does not hold the walk of that list ends with a finding; the others are still read.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "rtos/rtos_priv.h"

struct list {
	uint64_t addr;
	const char *name;
	unsigned index; /* of an array of lists */
	bool is_array;
	bool is_pending;            /* xPendingReadyList */
	enum vmat_task_state state; /* of the tasks in it */
};

struct walk {
	struct vmat_rtos_reading *reading;
	struct list list;
	size_t lists, unset, broken;
};

static const char *list_text(const struct list *list, char *room, size_t size)
{
	if (list->is_array)
		snprintf(room, size, "%s[%u]", list->name, list->index);
	else
		snprintf(room, size, "%s", list->name);
	return room;
}

static void damaged(struct walk *walk, uint64_t addr, const char *what)
{
	char name[48];

	walk->broken++;
	vmat_rtos_find(walk->reading->rtos, VMAT_RTOS_DAMAGE, addr, "%s: %s",
		       list_text(&walk->list, name, sizeof(name)), what);
}

static bool is_record(uint64_t size)
{
	return size && size <= VMAT_RTOS_RECORD_MAX;
}

static struct vmat_task *task_at(struct vmat_rtos *rtos, uint64_t tcb_addr)
{
	for (size_t i = 0; i < rtos->count; i++) {
		if (rtos->tasks[i].tcb_addr == tcb_addr)
			return &rtos->tasks[i];
	}
	return NULL;
}

/* Waits for ever, or is suspended? Both lie in the list of the suspended. */
static bool waits(const struct vmat_rtos_reading *reading, const unsigned char *tcb, size_t size)
{
	const struct vmat_datum *notify = vmat_rtos_datum(reading, RTOS_TCB_NOTIFY_UC);
	uint64_t list = vmat_rtos_field(reading, tcb, size, RTOS_TCB_EVENT_PX);

	if (!vmat_is_known(list))
		list = vmat_rtos_field(reading, tcb, size, RTOS_TCB_EVENT_PV);
	if (vmat_is_known(list) && list)
		return true;
	if (vmat_rtos_field(reading, tcb, size, RTOS_TCB_NOTIFY_E) == 1)
		return true;
	for (uint64_t i = 0; vmat_is_known(notify->offset) && notify->size == 1 &&
			     i < notify->count && notify->offset + i < size;
	     i++) {
		if (tcb[notify->offset + i] == 1) /* taskWAITING_NOTIFICATION */
			return true;
	}
	return false;
}

static void take_name(struct vmat_task *task, const struct vmat_datum *datum,
		      const unsigned char *tcb, size_t size)
{
	size_t length = datum->count < sizeof(task->name) ? datum->count : sizeof(task->name);

	if (datum->offset > size || length > size - datum->offset)
		return;
	memcpy(task->name, tcb + datum->offset, length);
	task->name[length < sizeof(task->name) ? length : length - 1] = '\0';
}

/* One task by its TCB. NULL: it cannot be one, or there is no room. */
static struct vmat_task *add_task(struct vmat_rtos_reading *reading, uint64_t tcb_addr,
				  enum vmat_task_state state)
{
	const uint64_t size = reading->rtos->tcb_size;
	unsigned char tcb[VMAT_RTOS_RECORD_MAX];
	struct vmat_task_notes *notes;
	struct vmat_task *task;
	uint64_t stack;

	if (!vmat_rtos_bytes(reading, tcb_addr, tcb, size))
		return NULL;
	stack = vmat_rtos_field(reading, tcb, size, RTOS_TCB_STACK);
	if (!vmat_is_known(stack) || !stack)
		return NULL;
	task = vmat_rtos_add_task(reading);
	if (!task)
		return NULL;
	task->tcb_addr = tcb_addr;
	task->state = state;
	if (state == VMAT_TASK_SUSPENDED && waits(reading, tcb, size))
		task->state = VMAT_TASK_BLOCKED_FOREVER;
	take_name(task, vmat_rtos_datum(reading, RTOS_TCB_NAME), tcb, size);
	task->priority = vmat_rtos_field(reading, tcb, size, RTOS_TCB_PRIORITY);
	task->base_priority = vmat_rtos_field(reading, tcb, size, RTOS_TCB_BASE_PRIORITY);
	task->number = vmat_rtos_field(reading, tcb, size, RTOS_TCB_NUMBER);
	task->stack_addr = stack;
	notes = &reading->notes[reading->rtos->count - 1];
	notes->top = vmat_rtos_field(reading, tcb, size, RTOS_TCB_TOP);
	notes->end = vmat_rtos_field(reading, tcb, size, RTOS_TCB_END);
	return task;
}

/* One item, already read: false ends the walk. */
static bool take_item(struct walk *walk, const unsigned char *item, size_t size, uint64_t item_addr,
		      uint64_t previous)
{
	struct vmat_rtos_reading *reading = walk->reading;
	uint64_t owner = vmat_rtos_field(reading, item, size, RTOS_ITEM_OWNER);
	uint64_t list = vmat_rtos_field(reading, item, size, RTOS_ITEM_PX_CONTAINER);

	if (!vmat_is_known(list))
		list = vmat_rtos_field(reading, item, size, RTOS_ITEM_PV_CONTAINER);
	if (vmat_is_known(list) && list != walk->list.addr) {
		damaged(walk, item_addr, "it holds an item that says it is in another list");
		return false;
	}
	if (vmat_rtos_field(reading, item, size, RTOS_ITEM_PREVIOUS) != previous) {
		damaged(walk, item_addr, "it holds an item that does not point back");
		return false;
	}
	/* Items are fields of what owns them. */
	if (item_addr < owner || item_addr - owner >= reading->rtos->tcb_size) {
		damaged(walk, item_addr, "it holds an item that is no part of its task");
		return false;
	}
	if (task_at(reading->rtos, owner)) {
		/* Its event was there while the scheduler was suspended: it keeps its place in the list that it waited in. */
		if (walk->list.is_pending) {
			task_at(reading->rtos, owner)->state = VMAT_TASK_READY;
			return true;
		}
		damaged(walk, item_addr, "it holds a task that another list has, too");
		return true;
	}
	if (!add_task(reading, owner, walk->list.state)) {
		if (reading->rtos->count == VMAT_RTOS_TASKS_MAX)
			return false;
		damaged(walk, item_addr, "it holds an item whose task cannot be one");
	}
	return true;
}

static void walk_items(struct walk *walk, uint64_t count, uint64_t first)
{
	struct vmat_rtos_reading *reading = walk->reading;
	const uint64_t size = vmat_rtos_datum(reading, RTOS_ITEM_OWNER)->holder_size;
	const uint64_t end = walk->list.addr + vmat_rtos_datum(reading, RTOS_LIST_END)->offset;
	unsigned char item[VMAT_RTOS_RECORD_MAX];
	uint64_t at = first, previous = end;

	for (uint64_t i = 0; i < count; i++) {
		if (at == end) {
			damaged(walk, end, "it ends before as many items as it counts");
			return;
		}
		if (!vmat_rtos_bytes(reading, at, item, size)) {
			damaged(walk, at, "it leads to where no memory can be read");
			return;
		}
		if (!take_item(walk, item, size, at, previous))
			return;
		previous = at;
		at = vmat_rtos_field(reading, item, size, RTOS_ITEM_NEXT);
	}
	if (at != end)
		damaged(walk, at, "it goes on behind as many items as it counts");
}

static void walk_list(struct walk *walk)
{
	struct vmat_rtos_reading *reading = walk->reading;
	const uint64_t size = vmat_rtos_datum(reading, RTOS_LIST_COUNT)->holder_size;
	unsigned char list[VMAT_RTOS_RECORD_MAX];
	uint64_t count, first;

	walk->lists++;
	if (!vmat_rtos_bytes(reading, walk->list.addr, list, size)) {
		damaged(walk, walk->list.addr, "it cannot be read");
		return;
	}
	count = vmat_rtos_field(reading, list, size, RTOS_LIST_COUNT);
	first = vmat_rtos_field(reading, list, size, RTOS_LIST_NEXT);
	if (!first && !count) {
		walk->unset++;
		return;
	}
	if (count > VMAT_RTOS_TASKS_MAX) {
		damaged(walk, walk->list.addr, "it counts more items than there can be tasks");
		return;
	}
	walk_items(walk, count, first);
}

static void walk_variable(struct walk *walk, enum vmat_rtos_name name, enum vmat_task_state state)
{
	const struct vmat_datum *datum = vmat_rtos_datum(walk->reading, name);

	/* Those of INCLUDE_vTaskSuspend and INCLUDE_vTaskDelete may not be there. */
	if (!vmat_is_known(datum->addr))
		return;
	walk->list = (struct list){
		.addr = vmat_rtos_addr(walk->reading, name),
		.name = datum->path,
		.state = state,
		.is_array = datum->is_array,
		.is_pending = name == RTOS_PENDING,
	};
	for (uint64_t i = 0; i < (vmat_is_known(datum->count) ? datum->count : 1) &&
			     i < VMAT_RTOS_TASKS_MAX && !walk->reading->has_failed;
	     i++) {
		walk->list.index = (unsigned)i;
		walk_list(walk);
		walk->list.addr += datum->size;
	}
}

/* Which tasks run: one for each core. They lie in the ready lists, but for a moment in others. */
static void mark_running(struct vmat_rtos_reading *reading)
{
	const struct vmat_datum *current = vmat_rtos_datum(reading, RTOS_TCB);
	const uint64_t addr = vmat_rtos_addr(reading, RTOS_TCB);
	struct vmat_rtos *rtos = reading->rtos;

	rtos->cores = current->count && current->count <= 64 ? (unsigned)current->count : 1;
	for (unsigned core = 0; core < rtos->cores; core++) {
		uint64_t tcb =
			vmat_rtos_number(reading, addr + core * current->size, current->size);
		struct vmat_task *task;

		if (!vmat_is_known(tcb) || !tcb)
			continue;
		task = task_at(rtos, tcb);
		if (!task && rtos->is_scheduler_running) {
			task = add_task(reading, tcb, VMAT_TASK_RUNNING);
			vmat_rtos_find(rtos, VMAT_RTOS_DAMAGE, tcb,
				       "%s: the task that runs is in none of the lists%s",
				       current->path, task ? "" : ", and cannot be one");
		}
		if (task && rtos->is_scheduler_running) {
			task->state = VMAT_TASK_RUNNING;
			task->core = core;
		}
	}
}

static int check_sizes(struct vmat_rtos_reading *reading, struct vmat_error *err)
{
	const struct vmat_datum *stack = vmat_rtos_datum(reading, RTOS_TCB_STACK);

	reading->rtos->tcb_size = stack->holder_size;
	reading->rtos->word = stack->target_size;
	if (!is_record(stack->holder_size) || stack->size > 8 ||
	    !is_record(vmat_rtos_datum(reading, RTOS_LIST_COUNT)->holder_size) ||
	    !is_record(vmat_rtos_datum(reading, RTOS_ITEM_OWNER)->holder_size) ||
	    (stack->target_size != 1 && stack->target_size != 2 && stack->target_size != 4 &&
	     stack->target_size != 8))
		return vmat_error_set(
			err, -ENOEXEC,
			"the debug information gives FreeRTOS's types sizes that they cannot have");
	return 0;
}

/* What no FreeRTOS has, so the memory is another program's, or of another build. */
static int check_match(const struct walk *walk, struct vmat_error *err)
{
	const struct vmat_rtos_reading *reading = walk->reading;
	const struct vmat_rtos *rtos = reading->rtos;
	uint64_t addr = vmat_rtos_addr(reading, RTOS_TASKS);

	if (reading->has_failed) {
		if (err)
			*err = reading->error;
		return reading->error.code;
	}
	if (!vmat_is_known(rtos->tasks_expected))
		return vmat_error_set(err, -EBADMSG,
				      "the memory has nothing at 0x%" PRIx64
				      ", where the program keeps %s",
				      addr, vmat_rtos_datum(reading, RTOS_TASKS)->path);
	if (!rtos->count &&
	    (rtos->tasks_expected > VMAT_RTOS_TASKS_MAX || walk->broken > walk->lists / 2))
		return vmat_error_set(
			err, -EBADMSG,
			"the memory is not that of this program: of the %zu lists of tasks %zu make no sense\n"
			"Use the ELF file that the machine runs, of the same build.",
			walk->lists, walk->broken);
	if (!rtos->count && !rtos->tasks_expected)
		return vmat_error_set(err, -ENODATA,
				      "no task has been created yet: uxCurrentNumberOfTasks is 0%s",
				      walk->unset ? " and the lists are not set up" : "");
	return 0;
}

int vmat_rtos_lists_read(struct vmat_rtos_reading *reading, struct vmat_error *err)
{
	struct walk walk = { .reading = reading };
	struct vmat_rtos *rtos = reading->rtos;
	uint64_t running;
	int code = check_sizes(reading, err);

	if (code)
		return code;
	rtos->tasks_expected = vmat_rtos_value(reading, RTOS_TASKS);
	rtos->tick_count = vmat_rtos_value(reading, RTOS_TICKS);
	running = vmat_rtos_value(reading, RTOS_RUNNING);
	rtos->is_scheduler_running = !vmat_is_known(running) || running;
	walk_variable(&walk, RTOS_READY, VMAT_TASK_READY);
	walk_variable(&walk, RTOS_DELAYED_1, VMAT_TASK_BLOCKED);
	walk_variable(&walk, RTOS_DELAYED_2, VMAT_TASK_BLOCKED);
	walk_variable(&walk, RTOS_SUSPENDED, VMAT_TASK_SUSPENDED);
	walk_variable(&walk, RTOS_TERMINATION, VMAT_TASK_DELETED);
	walk_variable(&walk, RTOS_PENDING, VMAT_TASK_READY);
	mark_running(reading);
	code = check_match(&walk, err);
	if (code)
		return code;
	if (rtos->count != rtos->tasks_expected)
		vmat_rtos_find(rtos, VMAT_RTOS_DAMAGE, vmat_rtos_addr(reading, RTOS_TASKS),
			       "the lists hold %zu tasks, uxCurrentNumberOfTasks says %" PRIu64,
			       rtos->count, rtos->tasks_expected);
	if (!rtos->is_scheduler_running)
		vmat_rtos_find(
			rtos, VMAT_RTOS_WARNING, vmat_rtos_addr(reading, RTOS_RUNNING),
			"the scheduler has not been started: tasks were created and none has run");
	return 0;
}
