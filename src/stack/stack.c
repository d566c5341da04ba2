/* SPDX-License-Identifier: MIT */
/*
 * stack.c: puts together what glibc's lists, the kernel's list of threads, the map and the pages say.
 *
 * The threads are read first, then the lists. glibc puts a thread on its lists before it starts it,
 * so a thread that was seen and is on no list was not made by glibc; and a thread id on the lists that
 * was not seen is newer than the list of threads, so both are read again, a few times.
 *
 * Rules: a stack has a place or every fact about its place says why not; stacks of glibc never
 * overlap; what is guessed says so.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/stack.h>

#include "base/arena.h"
#include "stack/stack_gaps.h"
#include "stack/stack_glibc.h"
#include "stack/stack_guess.h"
#include "stack/stack_lists.h"
#include "stack/stack_overflow.h"
#include "stack/stack_pages.h"
#include "stack/stack_tasks.h"
#include "target/target_source.h"

enum {
	ROUNDS = 3,             /* of reading threads and lists, while they do not agree */
	LIST_SPARE_MAX = 16384, /* nodes that belong to no living thread: cached or not joined */
};

struct vmat_stacks_priv {
	struct vmat_strings strings;
};

/* What a read works with. */
struct reading {
	struct vmat_target *target;
	const struct vmat_map *map;
	struct vmat_stacks *stacks;
	struct vmat_stack_layout layout;
	bool has_lists;
	struct vmat_stack_tasks tasks;
	struct vmat_stack_lists lists;
	bool *is_placed; /* for each task: a stack is there for it */
	uint64_t
		main_addr; /* the main thread's struct pthread; 0: the lists do not know it as such */
};

static void blame(struct vmat_stacks *stacks, const char *why)
{
	size_t size = strlen(why);

	stacks->is_partial = true;
	if (stacks->partial_why[0])
		return;
	if (size >= sizeof(stacks->partial_why))
		size = sizeof(stacks->partial_why) - 1;
	memcpy(stacks->partial_why, why, size);
	stacks->partial_why[size] = '\0';
}

static ssize_t read_target(void *context, uint64_t addr, void *buffer, size_t size)
{
	return vmat_source_read(context, addr, buffer, size);
}

/*
 * Do threads and lists disagree? A thread id on the lists that the list of threads lacks is newer than
 * it; a thread that no list knows has just left glibc, or was never made by it.
 */
static bool is_disagreeing(const struct reading *reading)
{
	pid_t pid = vmat_target_process(reading->target)->pid;
	size_t listed = 0, others = 0;

	if (!reading->has_lists)
		return false;
	for (size_t i = 0; i < reading->lists.count; i++) {
		pid_t tid = reading->lists.entries[i].tid;
		const struct vmat_stack_task *task =
			tid > 0 ? vmat_stack_tasks_find(&reading->tasks, tid) : NULL;

		if (tid > 0 && !task)
			return true;
		if (task && task->tid != pid)
			listed++;
	}
	for (size_t i = 0; i < reading->tasks.count; i++)
		others += reading->tasks.tasks[i].tid != pid;
	return listed != others;
}

/* Reads the lists; where that fails, the stacks are guessed and `method` says why. */
static int read_lists(struct reading *reading)
{
	size_t limit = 2 * reading->tasks.count + LIST_SPARE_MAX;
	int err;

	if (!reading->has_lists)
		return 0;
	err = vmat_stack_lists_read(&reading->lists, &reading->layout, reading->map, read_target,
				    reading->target, limit);
	if (err == -ENOMEM)
		return err;
	if (err) {
		reading->has_lists = false;
		reading->stacks->method =
			err == -ENOENT
				? "guessed from stack pointers: glibc's lists are not in memory"
				: "guessed from stack pointers: glibc's lists cannot be read";
		blame(reading->stacks, "glibc's lists of stacks cannot be read");
	}
	return 0;
}

static bool is_same_threads(const struct vmat_stack_tasks *a, const struct vmat_stack_tasks *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (a->tasks[i].tid != b->tasks[i].tid)
			return false;
	return true;
}

/*
 * Reads threads and lists until they agree. Where they disagree and yet no thread has come or gone
 * since the last time, the process has threads that glibc does not know: they will be guessed.
 */
static int read_threads(struct reading *reading)
{
	struct vmat_stack_tasks before = { 0 };
	bool is_disagreed = false;
	int err = 0;

	for (unsigned round = 0; round < ROUNDS; round++) {
		vmat_stack_tasks_deinit(&before);
		before = reading->tasks;
		reading->tasks = (struct vmat_stack_tasks){ 0 };
		vmat_stack_lists_deinit(&reading->lists);
		err = vmat_stack_tasks_read(&reading->tasks, reading->target);
		if (!err)
			err = read_lists(reading);
		is_disagreed = !err && is_disagreeing(reading);
		if (!is_disagreed || (round && is_same_threads(&before, &reading->tasks)))
			break;
		if (round == ROUNDS - 1)
			blame(reading->stacks, "threads came and went while they were read");
	}
	vmat_stack_tasks_deinit(&before);
	if (err)
		return err;
	if (reading->tasks.is_partial)
		blame(reading->stacks, reading->tasks.partial_why);
	if (reading->lists.is_partial)
		blame(reading->stacks, reading->lists.partial_why);
	return 0;
}

static int find_lists(struct reading *reading)
{
	const char *why = NULL;
	int err = vmat_stack_glibc_find(&reading->layout, &reading->stacks->rtld_data_addr,
					reading->target, reading->map, &why);

	if (err == -ENOMEM)
		return err;
	reading->has_lists = err == 0;
	reading->stacks->method = err ? why : "glibc's own lists of stacks";
	return 0;
}

static struct vmat_stack *add_stack(struct reading *reading, const struct vmat_stack_task *task,
				    enum vmat_stack_kind kind, const char *why)
{
	struct vmat_stack *stack = &reading->stacks->stacks[reading->stacks->count++];

	*stack = (struct vmat_stack){
		.tid = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE),
		.sp = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE),
		.kind = kind,
		.gap_what = "",
		.why = why,
	};
	if (!task)
		return stack;
	stack->tid = (uint64_t)task->tid;
	memcpy(stack->name, task->name, sizeof(stack->name));
	stack->state = task->state;
	stack->sp = task->sp;
	reading->is_placed[task - reading->tasks.tasks] = true;
	reading->stacks->threads++;
	return stack;
}

/* The kind of a stack that glibc knows. False: its thread is neither there nor known to be gone. */
static bool judge_entry(const struct vmat_stack_entry *entry, const struct vmat_stack_task *task,
			enum vmat_stack_kind *ret_kind, const char **ret_why)
{
	if (entry->list == VMAT_STACK_LIST_CACHE) {
		*ret_kind = task ? VMAT_STACK_THREAD : VMAT_STACK_CACHED;
		*ret_why = task ? "in glibc's cache of free stacks, but its thread is still leaving"
				: "in glibc's cache of free stacks: its thread has exited";
		return true;
	}
	if (!task) {
		*ret_kind = VMAT_STACK_EXITED;
		*ret_why =
			"its thread has exited and nobody has joined it, so glibc keeps the stack";
		return entry->tid <= 0;
	}
	if (entry->list == VMAT_STACK_LIST_USER) {
		*ret_kind = VMAT_STACK_USER;
		*ret_why = "on glibc's list of threads on stacks that the program supplied";
		return true;
	}
	*ret_kind = VMAT_STACK_THREAD;
	*ret_why = "on glibc's list of threads on stacks that it mapped";
	return true;
}

static void add_listed(struct reading *reading)
{
	for (size_t i = 0; i < reading->lists.count; i++) {
		const struct vmat_stack_entry *entry = &reading->lists.entries[i];
		const struct vmat_stack_task *task = NULL;
		enum vmat_stack_kind kind;
		struct vmat_stack *stack;
		const char *why;

		if (entry->tid > 0)
			task = vmat_stack_tasks_find(&reading->tasks, entry->tid);
		if (!entry->has_block) {
			if (task && task->tid == vmat_target_process(reading->target)->pid)
				reading->main_addr = entry->thread_addr;
			continue;
		}
		/* Two nodes with one thread id: what is hostile or outdated has no second stack. */
		if (task && reading->is_placed[task - reading->tasks.tasks])
			continue;
		if (!judge_entry(entry, task, &kind, &why)) {
			blame(reading->stacks, "threads came and went while they were read");
			continue;
		}
		stack = add_stack(reading, task, kind, why);
		stack->begin = entry->block;
		stack->size = entry->size;
		stack->end = entry->block + entry->size;
		/* A stack that the program supplied has no guard, whatever its attributes said. */
		stack->guard = entry->list == VMAT_STACK_LIST_USER ? 0 : entry->guard;
		stack->thread_addr = entry->thread_addr;
	}
}

/* The stack without a thread that holds `sp`: glibc gives it up a moment before its thread is gone. */
static struct vmat_stack *find_left(struct vmat_stacks *stacks, uint64_t sp)
{
	for (size_t i = 0; vmat_is_known(sp) && i < stacks->count; i++) {
		struct vmat_stack *stack = &stacks->stacks[i];

		if (!vmat_is_known(stack->tid) && sp >= stack->begin && sp < stack->end)
			return stack;
	}
	return NULL;
}

/* A thread that no list knows: the main thread, one that is leaving, or one whose stack is guessed. */
static void add_unlisted(struct reading *reading, const struct vmat_stack_task *task)
{
	const struct vmat_process *process = vmat_target_process(reading->target);
	struct vmat_stack *left = find_left(reading->stacks, task->sp);
	struct vmat_stack *stack;

	stack = add_stack(reading, task, VMAT_STACK_GUESSED, "");
	if (task->tid == process->pid &&
	    vmat_stack_guess_main(stack, reading->map, process,
				  reading->main_addr || !reading->has_lists)) {
		stack->thread_addr = reading->main_addr;
		return;
	}
	if (!left) {
		vmat_stack_guess(stack, reading->map);
		/* It may be leaving one of the stacks without a thread: which one, only sp could tell. */
		if (reading->stacks->threads < reading->stacks->count &&
		    !vmat_is_known(stack->begin))
			blame(reading->stacks,
			      "a thread is on no list of glibc: it may be leaving");
		return;
	}
	stack->kind = VMAT_STACK_THREAD;
	stack->why = "its thread is leaving: glibc has already given up this stack";
	stack->begin = left->begin;
	stack->end = left->end;
	stack->size = left->size;
	stack->guard = left->guard;
	stack->thread_addr = left->thread_addr;
	*left = *stack;
	reading->stacks->count--;
}

static int compare_stacks(const void *a, const void *b)
{
	const struct vmat_stack *x = a, *y = b;

	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	return (x->tid > y->tid) - (x->tid < y->tid);
}

static bool is_mapped_by_glibc(const struct vmat_stack *stack)
{
	return stack->kind == VMAT_STACK_THREAD || stack->kind == VMAT_STACK_CACHED ||
	       stack->kind == VMAT_STACK_EXITED;
}

/* Two blocks that overlap were never there at the same time: the one without a thread goes. */
static void drop_overlaps(struct vmat_stacks *stacks)
{
	size_t kept = 0;

	for (size_t i = 0; i < stacks->count; i++) {
		struct vmat_stack *stack = &stacks->stacks[i];
		struct vmat_stack *before = kept ? &stacks->stacks[kept - 1] : NULL;

		if (before && is_mapped_by_glibc(stack) && is_mapped_by_glibc(before) &&
		    stack->begin < before->end) {
			blame(stacks, "threads came and went while they were read");
			if (vmat_is_known(stack->tid) && !vmat_is_known(before->tid)) {
				*before = *stack;
				continue;
			}
			if (!vmat_is_known(stack->tid))
				continue;
		}
		stacks->stacks[kept++] = *stack;
	}
	stacks->count = kept;
}

/* The facts that follow from a stack's place and its stack pointer. */
static int fill_place(struct vmat_stack *stack, const struct vmat_map *map,
		      struct vmat_strings *strings)
{
	size_t i = vmat_map_find(map, stack->end - 1);
	bool is_inside = i < map->count && map->regions[i].start < stack->end;

	stack->region = is_inside ? i : map->count;
	if (!vmat_is_known(stack->sp)) {
		stack->used = stack->sp;
	} else if (stack->sp >= stack->begin && stack->sp <= stack->end) {
		stack->used = stack->end - stack->sp;
	} else {
		stack->used = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
		stack->why = vmat_strings_printf(
			strings,
			"%s; its stack pointer lies elsewhere: a signal stack or a coroutine",
			stack->why);
		if (!stack->why)
			return -ENOMEM;
	}
	return 0;
}

/*
 * A region that several stack pointers lie in is no stack: stacks without guards that have merged, or a
 * heap that a runtime keeps stacks in (Go). What depends on its being one is not known.
 */
static void mark_shared(struct vmat_stack *stacks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct vmat_stack *stack = &stacks[i];
		bool is_shared = (i && stacks[i - 1].begin == stack->begin) ||
				 (i + 1 < count && stacks[i + 1].begin == stack->begin);

		if (stack->kind != VMAT_STACK_GUESSED || !is_shared)
			continue;
		stack->used = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
		stack->high_water = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
		stack->why =
			"guessed: no list tells of it; stacks of several threads lie in this region";
	}
}

/* For a thread without a known place, whose reason stands in begin. */
static void fill_no_place(struct vmat_stack *stack, const struct vmat_map *map)
{
	stack->end = stack->size = stack->guard = stack->begin;
	stack->gap = stack->gap_holes = stack->begin;
	stack->used = stack->resident = stack->high_water = stack->begin;
	stack->guard_kind = VMAT_GUARD_UNKNOWN;
	stack->region = map->count;
}

static int complete(struct reading *reading)
{
	struct vmat_stacks *stacks = reading->stacks;
	struct vmat_strings *strings = &stacks->priv->strings;
	struct vmat_stack_pages pages;
	size_t placed = 0;
	int err = 0;

	qsort(stacks->stacks, stacks->count, sizeof(*stacks->stacks), compare_stacks);
	drop_overlaps(stacks);
	for (size_t i = 0; i < stacks->count && !err; i++) {
		if (!vmat_is_known(stacks->stacks[i].begin)) {
			fill_no_place(&stacks->stacks[i], reading->map);
			continue;
		}
		err = fill_place(&stacks->stacks[i], reading->map, strings);
		placed++;
	}
	if (!err)
		err = vmat_stack_pages_read(&pages, stacks->stacks, placed, reading->target,
					    reading->map);
	if (!err)
		err = vmat_stack_gaps_fill(stacks->stacks, placed, reading->map, strings);
	if (err)
		return err;
	mark_shared(stacks->stacks, placed);
	err = vmat_stack_overflow_judge(stacks, placed, vmat_target_process(reading->target),
					reading->map, strings);
	if (err)
		return err;
	if (pages.is_partial)
		blame(stacks, pages.partial_why);
	if (pages.has_zero_pages) {
		stacks->method = vmat_strings_printf(
			strings,
			"%s; resident may count zero pages, which this kernel does not show",
			stacks->method);
		if (!stacks->method)
			return -ENOMEM;
	}
	return 0;
}

static int read_stacks(struct reading *reading)
{
	struct vmat_stacks *stacks = reading->stacks;
	int err = find_lists(reading);

	if (!err)
		err = read_threads(reading);
	if (err)
		return err;
	stacks->stacks =
		calloc(reading->tasks.count + reading->lists.count + 1, sizeof(*stacks->stacks));
	reading->is_placed = calloc(reading->tasks.count + 1, sizeof(*reading->is_placed));
	if (!stacks->stacks || !reading->is_placed)
		return -ENOMEM;
	add_listed(reading);
	for (size_t i = 0; i < reading->tasks.count; i++)
		if (!reading->is_placed[i])
			add_unlisted(reading, &reading->tasks.tasks[i]);
	return complete(reading);
}

int vmat_stacks_read(struct vmat_stacks **ret, struct vmat_target *target,
		     const struct vmat_map *map, struct vmat_error *err)
{
	struct reading reading = { .target = target, .map = map };
	int code = -ENOMEM;

	reading.stacks = calloc(1, sizeof(*reading.stacks));
	if (reading.stacks) {
		reading.stacks->priv = calloc(1, sizeof(*reading.stacks->priv));
		if (reading.stacks->priv)
			code = read_stacks(&reading);
	}
	vmat_stack_tasks_deinit(&reading.tasks);
	vmat_stack_lists_deinit(&reading.lists);
	free(reading.is_placed);
	if (code == 0) {
		*ret = reading.stacks;
		return 0;
	}
	vmat_stacks_free(reading.stacks);
	if (code == -ENOMEM)
		return vmat_error_set(err, code, "Out of memory.");
	if (code == -ESRCH)
		return vmat_error_set(err, code, "Process %d has ended.",
				      (int)vmat_target_process(target)->pid);
	if (code == -EACCES || code == -EPERM)
		return vmat_target_explain(target, "list the threads", code, err);
	return vmat_error_set(err, code, "Cannot list the threads of process %d: %s.",
			      (int)vmat_target_process(target)->pid, strerrordesc_np(-code));
}

struct vmat_stacks *vmat_stacks_free(struct vmat_stacks *stacks)
{
	if (!stacks)
		return NULL;
	if (stacks->priv)
		vmat_strings_deinit(&stacks->priv->strings);
	free(stacks->priv);
	free(stacks->stacks);
	free(stacks);
	return NULL;
}

const char *vmat_stack_kind_name(enum vmat_stack_kind kind)
{
	switch (kind) {
	case VMAT_STACK_MAIN:
		return "main";
	case VMAT_STACK_THREAD:
		return "thread";
	case VMAT_STACK_USER:
		return "user";
	case VMAT_STACK_CACHED:
		return "cached";
	case VMAT_STACK_EXITED:
		return "exited";
	case VMAT_STACK_GUESSED:
		return "guessed";
	}
	return "?";
}

const char *vmat_guard_kind_name(enum vmat_guard_kind kind)
{
	switch (kind) {
	case VMAT_GUARD_NONE:
		return "none";
	case VMAT_GUARD_VMA:
		return "vma";
	case VMAT_GUARD_MARKER:
		return "marker";
	case VMAT_GUARD_KERNEL:
		return "kernel";
	case VMAT_GUARD_UNKNOWN:
		break;
	}
	return "unknown";
}
