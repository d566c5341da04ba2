/* SPDX-License-Identifier: MIT */
/*
 * stack_tasks.c: see stack_tasks.h. Two small texts of /proc a thread: stat tells name and state at
 * once, syscall the stack pointer. In a pid namespace struct pthread holds ids that /proc does not
 * show, so there a third one, status, translates them.
 */
#include "stack/stack_tasks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmatlas/feature.h>

#include "base/text.h"
#include "target/process.h"
#include "target/target_source.h"

uint64_t vmat_stack_syscall_parse(const char *text, size_t size)
{
	const char *c = text, *end = text + size;
	uint64_t last = 0, before = 0;
	size_t count = 0;

	if (size >= 7 && memcmp(text, "running", 7) == 0)
		return VMAT_UNKNOWN(VMAT_RUNNING);
	/* "7 0x1 ... 0x7ffd5fe0 0x7f0a10": a call, its arguments, sp, pc; or "-1 0x7ffd5fe0 0x7f0a10". */
	while (c < end) {
		uint64_t number;

		if (end - c < 3 || c[0] != '0' || c[1] != 'x') {
			c++;
			continue;
		}
		c = vmat_text_hex(c + 2, end, &number);
		before = last;
		last = number;
		count++;
	}
	return count >= 2 && before && vmat_is_known(before) ? before
							     : VMAT_UNKNOWN(VMAT_NOT_APPLICABLE);
}

pid_t vmat_stack_nspid_parse(const char *status, size_t size, size_t *ret_depth)
{
	static const char key[] = "\nNSpid:";
	const char *line = memmem(status, size, key, sizeof(key) - 1);
	const char *end = status + size;
	uint64_t number = 0;

	*ret_depth = 0;
	if (!line)
		return 0;
	line += sizeof(key) - 1;
	while (line < end && (*line == '\t' || *line == ' ')) {
		line = vmat_text_decimal(line + 1, end, &number);
		(*ret_depth)++;
	}
	return (pid_t)number;
}

/* What is shared by the reading of all threads. */
struct reading {
	struct vmat_target *target;
	char text[4096]; /* of the text that was read last */
	size_t size;
	struct vmat_buffer status; /* that may be longer: a process may be in 65536 groups */
	bool is_nested;   /* the process lives in a pid namespace below that of its /proc */
	uint64_t refused; /* `syscall` cannot be read for any thread: 0, or an unknown sp */
};

static void blame(struct vmat_stack_tasks *tasks, const char *why)
{
	tasks->is_partial = true;
	if (!tasks->partial_why)
		tasks->partial_why = why;
}

/* These texts come whole in one read (fs/proc/base.c: single_open), which saves the second. */
static int read_text(struct reading *reading, pid_t tid, const char *file)
{
	char name[48];
	ssize_t got;
	int fd;

	snprintf(name, sizeof(name), "task/%d/%s", (int)tid, file);
	fd = vmat_source_open_text(reading->target, name);
	if (fd < 0)
		return fd;
	got = vmat_source_read_text(fd, reading->text, sizeof(reading->text));
	close(fd);
	reading->size = got < 0 ? 0 : (size_t)got;
	return got < 0 ? (int)got : 0;
}

/*
 * The id that a thread has for itself, and in how many pid namespaces it has one; both 0 where the kernel
 * does not tell. 0 or a negative errno.
 */
static int read_inner_tid(struct reading *reading, pid_t tid, pid_t *ret, size_t *ret_depth)
{
	char name[48];
	int err;

	snprintf(name, sizeof(name), "task/%d/status", (int)tid);
	err = vmat_source_text(reading->target, name, &reading->status);
	if (!err)
		*ret = vmat_stack_nspid_parse(reading->status.data, reading->status.size,
					      ret_depth);
	return err;
}

/* Is the process in a pid namespace of its own? Then struct pthread holds other ids than /proc. */
static int find_nesting(struct reading *reading)
{
	pid_t pid = vmat_target_process(reading->target)->pid;
	size_t depth = 0;
	int err = read_inner_tid(reading, pid, &pid, &depth);

	reading->is_nested = !err && depth > 1;
	return err == -ENOMEM ? err : 0;
}

static uint64_t read_sp(struct reading *reading, struct vmat_stack_tasks *tasks, pid_t tid)
{
	int err;

	if (reading->refused)
		return reading->refused;
	err = read_text(reading, tid, "syscall");
	switch (err) {
	case 0:
		return vmat_stack_syscall_parse(reading->text, reading->size);
	case -EACCES:
	case -EPERM:
		blame(tasks,
		      "stack pointers are not permitted to be seen: /proc/PID/task/TID/syscall");
		reading->refused = VMAT_UNKNOWN(VMAT_NOT_PERMITTED);
		return reading->refused;
	case -ENOENT:
		/* The kernel was built without it, or the record lacks it; or the thread has just gone. */
		return VMAT_UNKNOWN(vmat_source_is_live(reading->target) ? VMAT_KERNEL_LACKS
									 : VMAT_NOT_RECORDED);
	default:
		return VMAT_UNKNOWN(VMAT_CHANGED);
	}
}

/* 0; -ENOENT or -ESRCH when the thread has gone. */
static int read_task(struct reading *reading, struct vmat_stack_tasks *tasks, pid_t tid,
		     struct vmat_stack_task *ret)
{
	struct vmat_stat stat;
	int err = read_text(reading, tid, "stat");

	if (!err)
		err = vmat_stat_parse(&stat, reading->text, reading->size);
	if (err)
		return err;
	*ret = (struct vmat_stack_task){ .tid = tid,
					 .inner_tid = tid,
					 .state = stat.state == '?' ? 0 : stat.state };
	memcpy(ret->name, stat.comm, sizeof(ret->name));
	if (reading->is_nested) {
		size_t depth;

		err = read_inner_tid(reading, tid, &ret->inner_tid, &depth);
		if (err)
			return err;
	}
	ret->sp = read_sp(reading, tasks, tid);
	return 0;
}

static int compare_tasks(const void *a, const void *b)
{
	const struct vmat_stack_task *x = a, *y = b;

	return (x->inner_tid > y->inner_tid) - (x->inner_tid < y->inner_tid);
}

static int read_tasks(struct reading *reading, struct vmat_stack_tasks *tasks, const pid_t *tids,
		      size_t count)
{
	tasks->tasks = calloc(count ? count : 1, sizeof(*tasks->tasks));
	if (!tasks->tasks)
		return -ENOMEM;
	if (vmat_source_is_live(reading->target) &&
	    vmat_feature_state(VMAT_FEATURE_TASK_SYSCALL) == VMAT_FEATURE_FORCED_OFF)
		reading->refused = VMAT_UNKNOWN(VMAT_KERNEL_LACKS);
	for (size_t i = 0; i < count; i++) {
		int err = read_task(reading, tasks, tids[i], &tasks->tasks[tasks->count]);

		if (err == -ENOMEM)
			return err;
		if (err)
			blame(tasks, "threads ended while they were read");
		else
			tasks->count++;
	}
	if (reading->is_nested)
		qsort(tasks->tasks, tasks->count, sizeof(*tasks->tasks), compare_tasks);
	return 0;
}

int vmat_stack_tasks_read(struct vmat_stack_tasks *ret, struct vmat_target *target)
{
	struct reading reading = { .target = target };
	struct vmat_stack_tasks tasks = { 0 };
	pid_t *tids = NULL;
	size_t count = 0;
	int err = vmat_source_threads(target, &tids, &count);

	if (!err)
		err = find_nesting(&reading);
	if (!err)
		err = read_tasks(&reading, &tasks, tids, count);
	free(tids);
	vmat_buffer_deinit(&reading.status);
	if (err)
		vmat_stack_tasks_deinit(&tasks);
	else
		*ret = tasks;
	return err;
}

void vmat_stack_tasks_deinit(struct vmat_stack_tasks *tasks)
{
	free(tasks->tasks);
	*tasks = (struct vmat_stack_tasks){ 0 };
}

struct vmat_stack_task *vmat_stack_tasks_find(const struct vmat_stack_tasks *tasks, pid_t inner_tid)
{
	size_t low = 0, high = tasks->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (tasks->tasks[middle].inner_tid < inner_tid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < tasks->count && tasks->tasks[low].inner_tid == inner_tid ? &tasks->tasks[low]
									      : NULL;
}
