/* SPDX-License-Identifier: MIT */
#include "target/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "sys/sys_file.h"
#include "sys/sys_process.h"
#include "sys/sys_ptrace.h"
#include "target/core.h"
#include "target/fork_place.h"
#include "target/process.h"
#include "target/snapshot.h"
#include "target/stopper.h"
#include "target/target_ops.h"

#define NS_PER_MS UINT64_C(1000000)

enum {
	SCRATCH_SIZE = 64 << 10,
	DEFAULT_MAX_STOP_MS = 250,
	DEFAULT_MAX_HOLD_MS = 600000,
	ROOM_MIN = 256,
	STACKS_MAX = 1024, /* that a thread which forks may be on */
	CHILD_LOOKS = 50,  /* for a child whose number nobody could tell us, a millisecond apart */
};

struct vmat_stop {
	struct vmat_target *target;
	struct vmat_target *copy; /* NULL: the target was not forked */
	struct vmat_stopper *shared;
	size_t shared_size;
	int channel; /* our end */
	int task_dir;
	int stat;
	int status;
	int memory;
	pid_t stopper; /* 0: not started */

	/* A core stands for ever: no stopper, and the threads that it tells of. */
	struct vmat_stopped_thread *core_threads;
	size_t core_count;
};

static struct vmat_stop *stop_free(struct vmat_stop *stop)
{
	if (!stop)
		return NULL;
	/* Its end tells the stopper to let go, if it has not yet. */
	if (stop->channel >= 0)
		close(stop->channel);
	if (stop->stopper > 0)
		vmat_sys_tracer_reap(stop->stopper);
	if (stop->task_dir >= 0)
		close(stop->task_dir);
	if (stop->stat >= 0)
		close(stop->stat);
	if (stop->status >= 0)
		close(stop->status);
	if (stop->memory >= 0)
		close(stop->memory);
	vmat_target_close(stop->copy);
	if (stop->shared)
		vmat_sys_shared_free(stop->shared, stop->shared_size);
	free(stop->core_threads);
	free(stop);
	return NULL;
}

/* Places of the parts of the shared memory, each aligned as anything may be. */
static size_t reserve(size_t *size, size_t bytes)
{
	size_t place = *size;

	*size = (place + bytes + 63) & ~(size_t)63;
	return place;
}

/* Everything that the stopper needs, before the first thread stands. */
static int prepare_memory(struct vmat_stop *stop, size_t threads)
{
	size_t capacity = threads + threads / 4 + ROOM_MIN, table_size = 1, size = 0;
	size_t text, listed, table, slots, stacks, stopped;
	struct vmat_stopper *shared;
	char *base;

	while (table_size < 2 * capacity)
		table_size *= 2;
	reserve(&size, sizeof(*shared));
	text = reserve(&size, SCRATCH_SIZE);
	listed = reserve(&size, capacity * sizeof(*shared->listed));
	table = reserve(&size, table_size * sizeof(*shared->table));
	slots = reserve(&size, capacity * sizeof(*shared->slots));
	stacks = reserve(&size, STACKS_MAX * sizeof(*shared->stacks));
	stopped = reserve(&size, capacity * sizeof(*shared->threads));
	base = vmat_sys_shared_alloc(size);
	if (!base)
		return -ENOMEM;
	shared = (void *)base;
	*shared = (struct vmat_stopper){
		.capacity = capacity,
		.table_size = table_size,
		.text = base + text,
		.text_size = SCRATCH_SIZE,
		.listed = (void *)(base + listed),
		.table = (void *)(base + table),
		.slots = (void *)(base + slots),
		.stacks = (void *)(base + stacks),
		.threads = (void *)(base + stopped),
	};
	/* Now rather than by faults while the target stands. The rest is room for more threads. */
	memset(base + text, 0, stopped - text);
	for (size_t i = 0; i < threads; i++)
		memset(&shared->threads[i], 0, sizeof(shared->threads[i]));
	stop->shared = shared;
	stop->shared_size = size;
	return 0;
}

/* Opens what the stopper reads below the target's folder. */
static int prepare_files(struct vmat_stop *stop, struct vmat_target *target)
{
	stop->task_dir = vmat_sys_open_at(target->dir, "task", O_DIRECTORY);
	if (stop->task_dir < 0)
		return stop->task_dir;
	/* Not those of the first thread when it has ended: they say that there is no memory. */
	stop->stat = vmat_sys_open_at(target->memory_dir, "stat", 0);
	if (stop->stat < 0)
		return stop->stat;
	stop->status = vmat_sys_open_at(target->memory_dir, "status", 0);
	return stop->status < 0 ? stop->status : 0;
}

/* Who traces this thread; 0: nobody, or it cannot be told. */
static pid_t tracer_of(struct vmat_target *target, pid_t tid)
{
	struct vmat_buffer text = { 0 };
	uint64_t tracer = 0;
	const char *line;
	char name[40];

	snprintf(name, sizeof(name), "task/%d/status", (int)tid);
	if (!vmat_source_text(target, name, &text)) {
		line = strstr(text.data, "\nTracerPid:\t");
		if (line)
			vmat_text_decimal(line + 12, text.data + text.size, &tracer);
	}
	vmat_buffer_deinit(&text);
	return (pid_t)tracer;
}

/* The letter of a thread's state in proc(5), or '?'. */
static char state_of(struct vmat_target *target, pid_t tid)
{
	struct vmat_buffer text = { 0 };
	struct vmat_stat stat = { .state = '?' };
	char name[40];

	snprintf(name, sizeof(name), "task/%d/stat", (int)tid);
	if (!vmat_source_text(target, name, &text))
		vmat_stat_parse(&stat, text.data, text.size);
	vmat_buffer_deinit(&text);
	return stat.state;
}

static int refuse_traced(int pid, pid_t tracer, struct vmat_error *err)
{
	return vmat_error_set(
		err, -EBUSY,
		"cannot stop process %d: process %d traces it (a debugger, strace, or "
		"another vmatlas), and the kernel allows one tracer only.\n  Try again "
		"when that one is done.",
		pid, (int)tracer);
}

/* Says in words why the stopper gave up, or why (shared: NULL) it was not started. */
static int explain(struct vmat_target *target, const struct vmat_stopper *shared, int code,
		   struct vmat_error *err)
{
	int pid = (int)target->process.pid, thread = shared ? (int)shared->trouble : 0;
	unsigned long long limit_ms = shared ? shared->max_stop_ns / NS_PER_MS : 0;
	pid_t tracer;
	char state;

	switch (code) {
	case -EPERM:
	case -EACCES:
		tracer = thread ? tracer_of(target, thread) : 0;
		if (tracer)
			return refuse_traced(pid, tracer, err);
		return vmat_target_explain(target, "stop the threads of the process", code, err);
	case -ESRCH:
	case -ENOENT:
		return vmat_error_set(err, -ESRCH, "process %d has ended", pid);
	case -ESTALE:
		return vmat_error_set(
			err, code, "process %d has executed another program while it was stopped",
			pid);
	case -EAGAIN:
		return vmat_error_set(err, code,
				      "process %d starts threads faster than they can be stopped "
				      "within %llu ms; it runs on",
				      pid, limit_ms);
	case -ETIMEDOUT:
		state = state_of(target, thread);
		return vmat_error_set(err, code,
				      "thread %d of process %d did not stop within %llu ms%s; all "
				      "threads run on",
				      thread, pid, limit_ms,
				      state == 'D' ? ": it waits in the kernel where nothing "
						     "interrupts it (vfork, a disk, a device)"
						   : "");
	case -ECANCELED:
		return vmat_error_set(err, code,
				      "the process that stopped process %d was killed; all threads "
				      "run on",
				      pid);
	default:
		return vmat_error_set(err, code, "cannot stop process %d: %s", pid,
				      strerrordesc_np(-code));
	}
}

static int refuse(struct vmat_target *target, struct vmat_error *err)
{
	int pid = (int)target->process.pid;
	pid_t tracer;

	if (!target->ops->is_live)
		return vmat_error_set(err, -EOPNOTSUPP,
				      "process %d is a record: there is nothing to stop", pid);
	if (pid == getpid())
		return vmat_error_set(err, -EOPNOTSUPP, "a process cannot stop itself");
#ifndef __x86_64__
	return vmat_error_set(err, -EOPNOTSUPP,
			      "the registers of this processor are not known: threads cannot be "
			      "stopped without harm");
#endif
	tracer = tracer_of(target, pid);
	return tracer ? refuse_traced(pid, tracer, err) : 0;
}

static void prepare_fork(struct vmat_stop *stop, struct vmat_target *target,
			 const struct vmat_stop_options *options)
{
	struct vmat_stopper *shared = stop->shared;

	stop->memory = vmat_sys_open_at(target->memory_dir, "mem", O_RDWR);
	shared->memory = stop->memory;
	shared->hold_ns =
		options->max_hold_ns ? options->max_hold_ns : DEFAULT_MAX_HOLD_MS * NS_PER_MS;
	shared->fault_step = options->fault_step;
	vmat_fork_place_find(shared, STACKS_MAX, target);
}

/* Starts the stopper and waits for what it has come to. */
static int run(struct vmat_stop *stop)
{
	vmat_autoclose int theirs = -1;
	int ends[2], answer, err = vmat_sys_channel(ends);
	pid_t pid;

	if (err)
		return err;
	stop->channel = ends[0];
	theirs = ends[1];
	stop->shared->channel = ends[1];
	stop->shared->parent_channel = ends[0];
	pid = vmat_sys_tracer_start(vmat_stopper_work, stop->shared);
	if (pid < 0)
		return pid;
	stop->stopper = pid;
	close(vmat_take_fd(&theirs));
	/* It answers or dies in time. */
	answer = vmat_sys_channel_receive(stop->channel, UINT64_MAX);
	if (answer > 0)
		return 0;
	if (answer < 0)
		return answer;
	return stop->shared->code ? stop->shared->code : -ECANCELED;
}

/* The threads of a core. Those without registers are left out, as if they had ended. */
static int take_core(struct vmat_stop *stop, const struct vmat_core_file *core)
{
	/* The file has their notes, so there are not more of them than it is large. */
	stop->core_threads = calloc(core->threads_count + 1, sizeof(*stop->core_threads));
	if (!stop->core_threads)
		return -ENOMEM;
	for (size_t i = 0; i < core->threads_count; i++) {
		struct vmat_stopped_thread *thread = &stop->core_threads[stop->core_count];

		if (vmat_core_registers(core, &core->threads[i], &thread->registers))
			continue;
		thread->tid = core->threads[i].tid;
		thread->was_in_syscall = vmat_registers_in_syscall(&thread->registers);
		stop->core_count++;
	}
	return 0;
}

int vmat_stop_begin(struct vmat_stop **ret, struct vmat_target *target,
		    const struct vmat_stop_options *options, struct vmat_error *err)
{
	vmat_autofree pid_t *tids = NULL;
	struct vmat_stop *stop;
	size_t count = 0;
	int code = target->core ? 0 : refuse(target, err);

	if (code)
		return code;
	stop = calloc(1, sizeof(*stop));
	if (!stop)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	stop->target = target;
	stop->channel = stop->task_dir = stop->stat = stop->status = stop->memory = -1;
	if (target->core) {
		if (take_core(stop, &target->core->file)) {
			stop_free(stop);
			return vmat_error_set(err, -ENOMEM, "out of memory");
		}
		*ret = stop;
		return 0;
	}
	code = vmat_source_threads(target, &tids, &count);
	if (!code)
		code = prepare_memory(stop, count);
	if (!code)
		code = prepare_files(stop, target);
	if (code) {
		stop_free(stop);
		return explain(target, NULL, code, err);
	}
	stop->shared->task_dir = stop->task_dir;
	stop->shared->stat = stop->stat;
	stop->shared->status = stop->status;
	stop->shared->start_ticks = target->process.start_ticks;
	stop->shared->stack_addr = target->process.stack_addr;
	stop->shared->max_stop_ns = options && options->max_stop_ns
					    ? options->max_stop_ns
					    : DEFAULT_MAX_STOP_MS * NS_PER_MS;
	stop->shared->memory = -1;
	if (options && options->is_fork_wanted)
		prepare_fork(stop, target, options);
	code = run(stop);
	if (code) {
		code = explain(target, stop->shared, code, err);
		stop_free(stop);
		return code;
	}
	*ret = stop;
	return 0;
}

const struct vmat_stopped_thread *vmat_stop_threads(const struct vmat_stop *stop, size_t *count)
{
	if (!stop->shared) {
		*count = stop->core_count;
		return stop->core_threads;
	}
	*count = stop->shared->threads_count;
	return stop->shared->threads;
}

bool vmat_stop_is_over(const struct vmat_stop *stop)
{
	if (!stop->shared)
		return false;
	return stop->shared->is_over || vmat_sys_channel_is_closed(stop->channel) ||
	       (stop->copy && stop->copy->pidfd >= 0 &&
		vmat_sys_pidfd_wait(stop->copy->pidfd, 0) != 0);
}

int vmat_stop_fork(struct vmat_stop *stop, struct vmat_target **ret, struct vmat_error *err)
{
	struct vmat_stopper *shared = stop->shared;
	int pid = (int)stop->target->process.pid, word, code;

	if (!shared)
		return vmat_error_set(err, -EOPNOTSUPP, "a core stands: there is nothing to fork");
	vmat_sys_channel_send(stop->channel, VMAT_WORD_FORK);
	word = vmat_sys_channel_receive(stop->channel, UINT64_MAX);
	if (word == VMAT_WORD_REFUSED)
		return vmat_error_set(err, shared->fork_code, "process %d cannot be forked: %s",
				      pid, shared->fork_why ? shared->fork_why : "");
	if (word == VMAT_WORD_HELD) {
		code = vmat_snapshot_open(&stop->copy, stop->target, shared->child);
		if (!code) {
			*ret = stop->copy;
			return 0;
		}
	} else {
		code = shared->fork_code ? shared->fork_code : -ECANCELED;
	}
	shared->is_over = true;
	return explain(stop->target, shared, code, err);
}

bool vmat_stop_is_copied(const struct vmat_stop *stop, uint64_t start, uint64_t end)
{
	return stop->copy && vmat_snapshot_has(stop->copy, start, end);
}

/* The number that a new child of the forking thread has: one without an exit signal (proc(5): stat, field 38). */
static pid_t find_child(struct vmat_stop *stop)
{
	struct vmat_buffer list = { 0 }, stat = { 0 };
	uint64_t number, signal;
	char name[64];
	pid_t found = 0;

	snprintf(name, sizeof(name), "task/%d/children", (int)stop->shared->forker);
	if (vmat_source_text(stop->target, name, &list))
		list.size = 0;
	for (const char *at = list.data, *end = at + list.size; list.size && at < end && !found;) {
		const char *field, *next = vmat_text_decimal(at, end, &number);

		at = next + 1;
		snprintf(name, sizeof(name), "task/../../%llu/stat", (unsigned long long)number);
		if (vmat_source_text(stop->target, name, &stat))
			continue;
		field = strrchr(stat.data, ')');
		for (int i = 2; field && i < 38; i++)
			field = strchr(field + 1, ' ');
		if (!field)
			continue;
		next = stat.data + stat.size;
		if (vmat_text_decimal(field + 1, next, &signal) != field + 1 && signal == 0)
			found = (pid_t)number;
	}
	vmat_buffer_deinit(&list);
	vmat_buffer_deinit(&stat);
	return found;
}

/* What the target calls it: the last number of NSpid. */
static pid_t inner_number(struct vmat_stop *stop, pid_t child)
{
	struct vmat_buffer status = { 0 };
	uint64_t number = (uint64_t)child;
	const char *line, *end;
	char name[40];

	snprintf(name, sizeof(name), "task/../../%d/status", (int)child);
	line = vmat_source_text(stop->target, name, &status) ? NULL
							     : strstr(status.data, "\nNSpid:");
	end = line ? strchr(line + 1, '\n') : NULL;
	while (end && end[-1] >= '0' && end[-1] <= '9')
		end--;
	if (end)
		vmat_text_decimal(end, status.data + status.size, &number);
	vmat_buffer_deinit(&status);
	return (pid_t)number;
}

/* The stopper was killed in a fork: another one sees the child off. */
static void clean(struct vmat_stop *stop)
{
	struct vmat_stopper *shared = stop->shared;
	pid_t pid;

	/* The thread that was to fork may only now do so. */
	for (int i = 0; !shared->child && i < CHILD_LOOKS; i++) {
		shared->child = find_child(stop);
		if (!shared->child)
			vmat_sys_pause(NS_PER_MS);
	}
	if (!shared->child)
		return;
	if (!shared->inner_child)
		shared->inner_child = inner_number(stop, shared->child);
	pid = vmat_sys_tracer_start(vmat_stopper_clean, shared);
	if (pid > 0)
		vmat_sys_tracer_reap(pid);
}

int vmat_stop_end(struct vmat_stop *stop, uint64_t *stopped_ns)
{
	struct vmat_stopper *shared;
	int code = 0;

	if (!stop)
		return 0;
	shared = stop->shared;
	if (!shared) {
		if (stopped_ns)
			*stopped_ns = 0;
		stop_free(stop);
		return 0;
	}
	/* The stopper ends when it has let all threads go, and no child is left. */
	vmat_sys_channel_send(stop->channel, VMAT_WORD_END);
	vmat_sys_tracer_reap(stop->stopper);
	stop->stopper = 0;
	if (shared->is_over)
		code = -ETIMEDOUT;
	else if (!shared->ended_ns || (stop->copy && !shared->is_kept))
		code = -ECANCELED;
	if (stopped_ns)
		*stopped_ns =
			shared->ended_ns ? shared->stood_ns : vmat_sys_now_ns() - shared->begun_ns;
	if (shared->fork_phase == VMAT_FORK_BEGUN)
		clean(stop);
	stop_free(stop);
	return code;
}
