/* SPDX-License-Identifier: MIT */
/*
 * coroutines [COUNT [LIVE]]: COUNT coroutines, LIVE of them at once, each on a stack of a pool, taking turns.
 *
 * Each walks down some frames, yields in each of them, and adds up numbers on its way back. A stack that is released
 * serves the next coroutine; below each lies a guard, which the last one runs into, in a process of its own.
 */
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmatlas/prim/pool.h>

enum { STACK = 64 * 1024, GUARD = 4096, DEPTH_MAX = 16 };

#if defined(__x86_64__) && !defined(WITH_UCONTEXT)

/* A suspended coroutine is its stack pointer; below it lie the registers that a function must preserve. */
struct context {
	void *sp;
};

void switch_stacks(struct context *from, const struct context *to);

__asm__(".text\n"
	".globl switch_stacks\n"
	".type switch_stacks, @function\n"
	"switch_stacks:\n"
	"	endbr64\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq (%rsi), %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size switch_stacks, . - switch_stacks\n");

static void begin(struct context *context, char *stack, void (*entry)(void))
{
	uintptr_t *sp = (uintptr_t *)(void *)(stack + STACK);

	*--sp = 0; /* where entry would return to; it keeps the stack aligned as after a call */
	*--sp = (uintptr_t)entry;
	sp -= 6; /* the registers: zeroes, as the stack came */
	context->sp = sp;
}

#else

#include <ucontext.h>

struct context {
	ucontext_t saved;
};

static void switch_stacks(struct context *from, const struct context *to)
{
	swapcontext(&from->saved, &to->saved);
}

static void begin(struct context *context, char *stack, void (*entry)(void))
{
	getcontext(&context->saved);
	context->saved.uc_stack.ss_sp = stack;
	context->saved.uc_stack.ss_size = STACK;
	context->saved.uc_link = NULL;
	makecontext(&context->saved, entry, 0);
}

#endif

struct coroutine {
	struct context context;
	char *stack;
	unsigned number;
	bool has_ended;
};

static struct context scheduler;
static struct coroutine *current;
static unsigned long switches, sum;

static void yield(void)
{
	switch_stacks(&current->context, &scheduler);
}

/* One frame of 1 KiB for each level, whose contents must still be there after others have run. */
static unsigned long descend(unsigned number, unsigned depth)
{
	volatile unsigned char frame[1024];
	unsigned long below;

	memset((void *)(uintptr_t)frame, (int)(number + depth) & 0xff, sizeof(frame));
	yield();
	below = depth ? descend(number, depth - 1) : 0;
	for (size_t i = 0; i < sizeof(frame); i++)
		if (frame[i] != ((number + depth) & 0xff))
			abort();
	return below + number + depth;
}

static void work(void)
{
	sum += descend(current->number, current->number % DEPTH_MAX);
	current->has_ended = true;
	yield();
}

static void start(struct vmat_pool *pool, struct coroutine *coroutine, unsigned number)
{
	void *stack;
	int err = vmat_pool_acquire(pool, &stack);

	if (err) {
		fprintf(stderr, "coroutines: no stack: %s\n", strerrordesc_np(-err));
		exit(1);
	}
	*coroutine = (struct coroutine){ .stack = stack, .number = number };
	begin(&coroutine->context, stack, work);
}

/* Gives each its turn, and the stack of one that has ended to the next. The deepest use of a stack. */
static size_t run_all(struct vmat_pool *pool, unsigned count, unsigned live)
{
	struct coroutine *all = calloc(live, sizeof(*all));
	unsigned started = 0, ended = 0;
	size_t deepest = 0, depth;

	if (!all)
		exit(1);
	while (started < live)
		start(pool, &all[started], started), started++;
	while (ended < count) {
		for (unsigned i = 0; i < live; i++) {
			current = &all[i];
			if (!current->stack)
				continue;
			switch_stacks(&scheduler, &current->context);
			switches++;
			if (!current->has_ended)
				continue;
			ended++;
			if (vmat_pool_high_water(pool, current->stack, &depth) == 0 &&
			    depth > deepest)
				deepest = depth;
			vmat_pool_release(pool, current->stack);
			current->stack = NULL;
			if (started < count)
				start(pool, current, started++);
		}
	}
	free(all);
	return deepest;
}

/* Never ends by itself. */
static unsigned long overflow(unsigned long depth)
{
	volatile unsigned char frame[1024];

	frame[0] = (unsigned char)depth;
	return depth == ULONG_MAX ? 0 : overflow(depth + 1) + frame[0];
}

static void overflow_entry(void)
{
	sum = overflow(0);
}

/* The signal that ends a process whose coroutine has no stack left. */
static int overflow_signal(struct vmat_pool *pool)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		const struct sigaction dies = { .sa_handler = SIG_DFL };
		struct coroutine runaway;

		sigaction(SIGSEGV, &dies,
			  NULL); /* a sanitizer would tell where, and end in its own way */
		start(pool, &runaway, 0);
		begin(&runaway.context, runaway.stack, overflow_entry);
		current = &runaway;
		switch_stacks(&scheduler, &runaway.context);
		_exit(0);
	}
	return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

int main(int argc, char **argv)
{
	unsigned count = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100000;
	unsigned live = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1000;
	struct vmat_pool_options options = {
		.size = sizeof(options),
		.region_size = STACK,
		.regions_max = live,
		.guard_size = GUARD,
		.name = "coroutine stacks",
	};
	struct vmat_pool_stats stats = { .size = sizeof(stats) };
	struct vmat_pool *pool;
	size_t deepest;
	int sig;

	if (!live || count < live || vmat_pool_new(&options, &pool))
		return 2;
	deepest = run_all(pool, count, live);
	vmat_pool_stats(pool, &stats);
	printf("%u coroutines on %llu stacks, %lu switches, sum %lu\n", count,
	       (unsigned long long)stats.regions_made, switches, sum);
	printf("deepest stack %zu bytes; %llu guards without a mapping, %llu with\n", deepest,
	       (unsigned long long)stats.guards_madvise, (unsigned long long)stats.guards_mprotect);
	sig = overflow_signal(pool);
	printf("a coroutine without an end: %s\n", sig ? strsignal(sig) : "nothing stopped it");
	vmat_pool_free(pool);
	return 0;
}
