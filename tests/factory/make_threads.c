/*
 * threads and merged: stacks of every kind, with the truth about each from pthread_getattr_np().
 *
 * A worker does nothing but wait, so that what it has touched of its stack is known: it walks
 * down to a depth that it is told. Its begin is the lowest address of the reservation, guard
 * included; a stack that the user supplied has no guard, whatever the attribute says. Workers
 * that are to leave a cached stack behind are started last and leave last, else the next thread
 * would take their stack.
 */
#include <err.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "factory.h"

enum kind { KIND_MAIN, KIND_DEFAULT, KIND_DETACHED, KIND_USER, KIND_BUSY, KIND_CACHED };

static const char *const kind_names[] = { "main", "default", "detached", "user", "busy", "cached" };

enum {
	STATIC_STACKS = 2,
	STATIC_STACK_SIZE = 256 * 1024,
	SPARE_WORKERS = 64, /* for the command that starts one more */
};

struct worker {
	pthread_t thread;
	pid_t tid;
	enum kind kind;
	size_t index;
	char name[16];
	const char *memory; /* of a user-supplied stack: "static" or "mmap" */
	void *supplied;
	size_t supplied_size;

	uintptr_t stackaddr;
	size_t stacksize;
	size_t guardsize;
	uintptr_t local;
	uintptr_t lowest; /* lowest page that the worker has touched, 0: not told to touch */

	/* Requests; under the lock. */
	uintptr_t touch_down_to;
	bool should_spin;
	bool should_leave;
	bool has_left;
};

static char static_stacks[STATIC_STACKS][STATIC_STACK_SIZE] __attribute__((aligned(65536)));

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t request = PTHREAD_COND_INITIALIZER;
static pthread_cond_t answer = PTHREAD_COND_INITIALIZER;

static struct worker *workers;
static size_t worker_count, worker_room;
static size_t busy_workers; /* workers that still have an answer to give; under the lock */

/*
 * Writes to each page from the current one down to lowest, and puts back what was there: the red
 * zone of this frame may lie in one of them.
 */
static void __attribute__((noinline)) touch_down(struct worker *w, uintptr_t lowest)
{
	uintptr_t here = page_floor((uintptr_t)__builtin_frame_address(0));

	for (uintptr_t page = here; page >= lowest; page -= page_size) {
		volatile char *byte = (volatile char *)page;

		*byte = *byte;
	}
	w->lowest = lowest < here ? lowest : here;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	volatile char local = 0;

	prctl(PR_SET_NAME, w->name);
	pthread_mutex_lock(&lock);
	w->tid = (pid_t)syscall(SYS_gettid);
	w->local = (uintptr_t)&local;
	busy_workers--;
	pthread_cond_signal(&answer);
	while (!w->should_leave && !w->should_spin) {
		pthread_cond_wait(&request, &lock);
		if (w->touch_down_to) {
			touch_down(w, w->touch_down_to);
			w->touch_down_to = 0;
			busy_workers--;
			pthread_cond_signal(&answer);
		}
	}
	pthread_mutex_unlock(&lock);
	/* Nobody takes this wish back: a busy thread spins until the process ends. */
	while (w->should_spin)
		local++;
	return NULL;
}

/* Called with the lock held; returns when every worker has answered. */
static void wait_for_answers(void)
{
	while (busy_workers)
		pthread_cond_wait(&answer, &lock);
}

static void read_attributes(struct worker *w)
{
	pthread_attr_t attr;
	void *stackaddr;
	int ret = pthread_getattr_np(w->thread, &attr);

	if (ret)
		errx(1, "cannot get the attributes of a thread: %s", strerror(ret));
	pthread_attr_getstack(&attr, &stackaddr, &w->stacksize);
	pthread_attr_getguardsize(&attr, &w->guardsize);
	pthread_attr_destroy(&attr);
	w->stackaddr = (uintptr_t)stackaddr;
}

static void supply_stack(struct worker *w, pthread_attr_t *attr)
{
	int ret;

	if (w->index < STATIC_STACKS) {
		w->memory = "static";
		w->supplied = static_stacks[w->index];
		w->supplied_size = STATIC_STACK_SIZE;
	} else {
		w->memory = "mmap";
		w->supplied_size = option_size("user_stack", STATIC_STACK_SIZE);
		w->supplied = map_anywhere(w->supplied_size, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1);
	}
	ret = pthread_attr_setstack(attr, w->supplied, w->supplied_size);
	if (ret)
		errx(2, "user_stack=%zu: %s", w->supplied_size, strerror(ret));
}

static struct worker *start_worker(enum kind kind, size_t index, const char *guard,
				   const char *stack)
{
	struct worker *w = &workers[worker_count];
	pthread_attr_t attr;
	int ret = 0;

	if (worker_count == worker_room)
		return NULL;
	w->kind = kind;
	w->index = index;
	snprintf(w->name, sizeof(w->name), "%s-%zu", kind_names[kind], index);
	pthread_attr_init(&attr);
	if (kind == KIND_USER)
		supply_stack(w, &attr);
	else if (strcmp(stack, "default") != 0)
		ret = pthread_attr_setstacksize(&attr, parse_size(stack));
	if (ret)
		errx(2, "stack=%s: %s", stack, strerror(ret));
	if (strcmp(guard, "default") != 0)
		pthread_attr_setguardsize(&attr, parse_size(guard));
	if (kind == KIND_DETACHED)
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);

	pthread_mutex_lock(&lock);
	busy_workers++;
	pthread_mutex_unlock(&lock);
	ret = pthread_create(&w->thread, &attr, work, w);
	if (ret == EAGAIN)
		cannot_here("Cannot start thread %zu: %s.", worker_count + 1, strerror(ret));
	if (ret)
		errx(1, "cannot start thread %zu: %s", worker_count + 1, strerror(ret));
	pthread_attr_destroy(&attr);
	worker_count++;
	return w;
}

/* The depth is measured from the top of the stack, and the last page of it is left alone. */
static void request_touch(struct worker *w, size_t use)
{
	uintptr_t top = w->stackaddr + w->stacksize;
	size_t most = w->stacksize - page_size;

	if (!use)
		return;
	w->touch_down_to = page_floor(top - (use < most ? use : most));
	busy_workers++;
}

static void print_worker(const char *key, const struct worker *w)
{
	uintptr_t end = w->stackaddr + w->stacksize;
	size_t guard = w->kind == KIND_USER || w->kind == KIND_MAIN ? 0 : w->guardsize;

	json_begin(key, '{');
	json_text("kind", kind_names[w->kind]);
	json_number("tid", w->tid);
	json_text("name", w->name);
	json_address("pthread_self", (uintptr_t)w->thread);
	json_address("stackaddr", w->stackaddr);
	json_size("stacksize", w->stacksize);
	json_size("guardsize", w->guardsize);
	json_size("guard", guard);
	json_address("begin", w->stackaddr - guard);
	json_address("end", end);
	json_size("size", w->stacksize + guard);
	json_address("local", w->local);
	/* When a thread exits, glibc gives back what lies below its last frame. */
	if (w->lowest && !w->has_left) {
		json_address("lowest_touched", w->lowest);
		json_size("touched", end - w->lowest);
	} else {
		json_null("lowest_touched");
		json_null("touched");
	}
	json_text("memory", w->memory);
	json_bool("exited", w->has_left);
	if (w->has_left) {
		unsigned char present;

		/* Fails with ENOMEM if glibc has given the stack back: its cache has a limit. */
		json_bool("cached", mincore((void *)w->stackaddr, page_size, &present) == 0);
	}
	json_end('}');
}

static void describe_main(struct worker *w, size_t use)
{
	volatile char local = 0;

	w->kind = KIND_MAIN;
	w->thread = pthread_self();
	w->tid = getpid();
	prctl(PR_GET_NAME, w->name);
	w->local = (uintptr_t)&local;
	read_attributes(w);
	if (use)
		touch_down(w, page_floor((uintptr_t)&local - use));
}

static void leave(struct worker *w)
{
	pthread_mutex_lock(&lock);
	w->should_leave = true;
	pthread_cond_broadcast(&request);
	pthread_mutex_unlock(&lock);
	pthread_join(w->thread, NULL);
	w->has_left = true;
}

/* Learns the attributes of the workers from first on, and has them touch their stacks. */
static void settle(size_t first, size_t use)
{
	pthread_mutex_lock(&lock);
	wait_for_answers();
	for (size_t i = first; i < worker_count; i++) {
		read_attributes(&workers[i]);
		request_touch(&workers[i], use);
	}
	pthread_cond_broadcast(&request);
	wait_for_answers();
	for (size_t i = first; i < worker_count; i++)
		workers[i].should_spin = workers[i].kind == KIND_BUSY;
	pthread_cond_broadcast(&request);
	pthread_mutex_unlock(&lock);
}

static void make_threads(void)
{
	static const struct {
		enum kind kind;
		const char *key;
		size_t fallback;
	} wishes[] = {
		{ KIND_DEFAULT, "n", 14 },    { KIND_DETACHED, "detached", 0 },
		{ KIND_USER, "user", 0 },     { KIND_BUSY, "busy", 0 },
		{ KIND_CACHED, "cached", 0 },
	};

	const size_t wish_count = sizeof(wishes) / sizeof(wishes[0]);
	size_t use = option_size("use", 32768);
	const char *guard = option_text("guard", "default");
	const char *stack = option_text("stack", "default");
	static struct worker main_thread;

	worker_room = SPARE_WORKERS;
	for (size_t i = 0; i < wish_count; i++)
		worker_room += option_size(wishes[i].key, wishes[i].fallback);
	workers = calloc(worker_room, sizeof(*workers));
	if (!workers)
		err(1, "cannot allocate");
	for (size_t i = 0; i < wish_count; i++)
		for (size_t k = 0; k < option_size(wishes[i].key, wishes[i].fallback); k++)
			start_worker(wishes[i].kind, k, guard, stack);
	settle(0, use);
	for (size_t i = 0; i < worker_count; i++)
		if (workers[i].kind == KIND_CACHED)
			leave(&workers[i]);
	describe_main(&main_thread, use);

	json_begin("threads", '[');
	print_worker(NULL, &main_thread);
	for (size_t i = 0; i < worker_count; i++)
		print_worker(NULL, &workers[i]);
	json_end(']');
}

static struct worker *last_joinable(void)
{
	for (size_t i = worker_count; i-- > 0;)
		if (workers[i].kind == KIND_DEFAULT && !workers[i].has_left)
			return &workers[i];
	return NULL;
}

static void command_threads(char letter, const char *arg)
{
	struct worker *w = NULL;

	switch (letter) {
	case 'n':
		w = start_worker(KIND_DEFAULT, worker_count, "default", "default");
		if (w)
			settle(worker_count - 1, 32768);
		break;
	case 'e':
		w = last_joinable();
		if (w)
			leave(w);
		break;
	case 't':
		w = last_joinable();
		if (!w)
			break;
		pthread_mutex_lock(&lock);
		request_touch(w, parse_size(arg));
		pthread_cond_broadcast(&request);
		wait_for_answers();
		pthread_mutex_unlock(&lock);
		break;
	default:
		break;
	}
	if (w)
		print_worker(NULL, w);
	else
		json_error("no such command, or no thread for it: '%c'", letter);
}

const struct scenario scenario_threads = {
	.name = "threads",
	.summary = "threads with stacks of every kind",
	.keys = "n=14 guard=default stack=default use=32768 user=0 user_stack=262144 detached=0 "
		"busy=0"
		" cached=0",
	.commands = "n: one more default thread; e: the last default thread exits and is joined; t "
		    "BYTES:"
		    " the last default thread touches so much of its stack. Each answers with the "
		    "thread",
	.make = make_threads,
	.command = command_threads,
};

/* Starts guardless threads until two lie in one VMA: maps alone cannot tell them apart. */
static void make_merged(void)
{
	uintptr_t start = 0, end = 0;

	worker_room = SPARE_WORKERS;
	workers = calloc(worker_room, sizeof(*workers));
	if (!workers)
		err(1, "cannot allocate");
	for (;;) {
		struct worker *a, *b = start_worker(KIND_DEFAULT, worker_count, "0", "262144");

		if (!b)
			cannot_here("No two of %d guardless stacks became one VMA.", SPARE_WORKERS);
		settle(worker_count - 1, 32768);
		if (worker_count < 2)
			continue;
		a = b - 1;
		if (b->stackaddr + b->stacksize != a->stackaddr)
			continue;
		/* What the kernel made of it is the point here, so the kernel is asked. */
		if (!find_vma(a->stackaddr, NULL, &start, &end) || b->stackaddr < start)
			continue;
		break;
	}
	json_begin("vma", '{');
	json_address("start", start);
	json_address("end", end);
	json_end('}');
	json_begin("threads", '[');
	for (size_t i = 0; i < worker_count; i++)
		print_worker(NULL, &workers[i]);
	json_end(']');
}

const struct scenario scenario_merged = {
	.name = "merged",
	.summary = "two guardless stacks that the kernel has merged into one VMA: the last two "
		   "threads",
	.keys = "",
	.make = make_merged,
};
