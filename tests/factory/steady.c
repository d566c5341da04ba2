/* SPDX-License-Identifier: MIT */
/*
 * steady: a process with one thread that holds known values in all its registers, over and over, and looks
 * whether they are still there.
 *
 * usage: steady KIND
 *   spin    it counts in user space meanwhile
 *   nap     it sleeps for a millisecond (clock_nanosleep, which the kernel goes on with after a stop)
 *   epoll   it waits for a millisecond (epoll_wait, which a stop would break with EINTR)
 *   read    it waits for a byte
 *   stopped as spin, after SIGSTOP to itself
 * Prints {"pid": of that process, "word": the address of a word of its own that changes in each round}, then "ready". Command on standard input, answered by a line of JSON:
 *   report  {"rounds": n, "wrong": n, "what": what was wrong first, "result": the last wrong result}
 *
 * Each round compares all general registers but those that a system call changes, 16 vector registers
 * (256 bits wide, where there are such), mxcsr, the stack pointer, the red zone, errno, the signal mask, the signal
 * stack, the end of the heap, the result of the call, and that waitpid(-1) finds no child.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef __x86_64__
int main(void)
{
	fprintf(stderr, "the registers of this processor are not known\n");
	return 77;
}
#else

enum { GENERAL = 13, VECTORS = 16, VECTOR_SIZE = 32, RED_WORDS = 16, CANNOT = 77 };

/* The assembler below knows these offsets. */
struct area {
	uint64_t number;             /* 0: of the system call, or -1 to spin */
	uint64_t count;              /* 8: of turns when it spins */
	int64_t result;              /* 16 */
	uint64_t has_avx;            /* 24 */
	uint64_t sp_in, sp_out;      /* 32, 40 */
	uint64_t in[GENERAL];        /* 48: rbx rcx rdx rsi rdi rbp r8 r9 r10 r11 r12 r13 r14 */
	uint64_t out[GENERAL];       /* 152 */
	uint64_t red_in[RED_WORDS];  /* 256 */
	uint64_t red_out[RED_WORDS]; /* 384 */
	unsigned char vectors_in[VECTORS][VECTOR_SIZE];  /* 512 */
	unsigned char vectors_out[VECTORS][VECTOR_SIZE]; /* 1024 */
	uint32_t mxcsr_in, mxcsr_out, mxcsr_old, pad;    /* 1536, 1540, 1544 */
};

_Static_assert(offsetof(struct area, in) == 48, "the assembler's offsets");
_Static_assert(offsetof(struct area, red_in) == 256, "the assembler's offsets");
_Static_assert(offsetof(struct area, vectors_in) == 512, "the assembler's offsets");
_Static_assert(offsetof(struct area, mxcsr_in) == 1536, "the assembler's offsets");

void steady_round(struct area *area);

__asm__(".text\n"
	".globl steady_round\n"
	".type steady_round, @function\n"
	"steady_round:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rdi, %r15\n"
	"	mov %rsp, 32(%r15)\n"
	"	stmxcsr 1544(%r15)\n"
	"	ldmxcsr 1536(%r15)\n"
	"	cmpq $0, 24(%r15)\n"
	"	je 1f\n"
	".set i, 0\n"
	".irp v, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
	"	vmovdqu 512+32*\\v(%r15), %ymm\\v\n"
	".endr\n"
	"	jmp 2f\n"
	"1:\n"
	".irp v, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
	"	movdqu 512+32*\\v(%r15), %xmm\\v\n"
	".endr\n"
	"2:\n"
	".irp w, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
	"	mov 256+8*\\w(%r15), %rax\n"
	"	mov %rax, -8-8*\\w(%rsp)\n"
	".endr\n"
	"	mov 48(%r15), %rbx; mov 56(%r15), %rcx; mov 64(%r15), %rdx; mov 72(%r15), %rsi\n"
	"	mov 80(%r15), %rdi; mov 88(%r15), %rbp; mov 96(%r15), %r8; mov 104(%r15), %r9\n"
	"	mov 112(%r15), %r10; mov 120(%r15), %r11; mov 128(%r15), %r12; mov 136(%r15), %r13\n"
	"	mov 144(%r15), %r14\n"
	"	mov (%r15), %rax\n"
	"	cmp $-1, %rax\n"
	"	je 3f\n"
	"	syscall\n"
	"	mov %rax, 16(%r15)\n"
	"	jmp 4f\n"
	"3:	mov 8(%r15), %rax\n"
	"5:	dec %rax\n"
	"	jnz 5b\n"
	"	mov %rax, 16(%r15)\n"
	"4:\n"
	"	mov %rbx, 152(%r15); mov %rcx, 160(%r15); mov %rdx, 168(%r15); mov %rsi, 176(%r15)\n"
	"	mov %rdi, 184(%r15); mov %rbp, 192(%r15); mov %r8, 200(%r15); mov %r9, 208(%r15)\n"
	"	mov %r10, 216(%r15); mov %r11, 224(%r15); mov %r12, 232(%r15); mov %r13, 240(%r15)\n"
	"	mov %r14, 248(%r15)\n"
	"	mov %rsp, 40(%r15)\n"
	".irp w, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
	"	mov -8-8*\\w(%rsp), %rax\n"
	"	mov %rax, 384+8*\\w(%r15)\n"
	".endr\n"
	"	cmpq $0, 24(%r15)\n"
	"	je 6f\n"
	".irp v, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
	"	vmovdqu %ymm\\v, 1024+32*\\v(%r15)\n"
	".endr\n"
	"	vzeroupper\n"
	"	jmp 7f\n"
	"6:\n"
	".irp v, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
	"	movdqu %xmm\\v, 1024+32*\\v(%r15)\n"
	".endr\n"
	"7:\n"
	"	stmxcsr 1540(%r15)\n"
	"	ldmxcsr 1544(%r15)\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n"
	".size steady_round, . - steady_round\n"
	".section .note.GNU-stack,\"\",@progbits\n"
	".text\n");

struct report {
	_Atomic uint64_t rounds, wrong;
	_Atomic int64_t result;
	char what[64];
};

static volatile sig_atomic_t child_signals;

static void on_child_signal(int number)
{
	(void)number;
	child_signals++;
}

static const char *kind;
static volatile uint64_t turns;
static int epoll_fd, pipe_ends[2];
static struct timespec nap = { .tv_nsec = 1000000 };
static struct epoll_event event;
static char byte;

static void fill(struct area *area)
{
	unsigned char *bytes = (unsigned char *)area;
	size_t first = offsetof(struct area, in), last = offsetof(struct area, mxcsr_in);

	for (size_t i = first; i < last; i++)
		bytes[i] = (unsigned char)(i * 37 + 11);
	area->mxcsr_in = 0x3f80; /* rounds down: not the usual */
	area->has_avx = __builtin_cpu_supports("avx") != 0;
	area->number = UINT64_MAX;
	area->count = 20000;
	if (strcmp(kind, "nap") == 0) {
		area->number = SYS_clock_nanosleep;
		area->in[4] = CLOCK_MONOTONIC;
		area->in[3] = 0;
		area->in[2] = (uintptr_t)&nap;
		area->in[8] = 0;
	} else if (strcmp(kind, "epoll") == 0) {
		area->number = SYS_epoll_wait;
		area->in[4] = (uint64_t)epoll_fd;
		area->in[3] = (uintptr_t)&event;
		area->in[2] = 1;
		area->in[8] = 1;
	} else if (strcmp(kind, "read") == 0) {
		area->number = SYS_read;
		area->in[4] = (uint64_t)pipe_ends[0];
		area->in[3] = (uintptr_t)&byte;
		area->in[2] = 1;
	}
}

static const char *general_difference(const struct area *area)
{
	static const char *const names[GENERAL] = { "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8",
						    "r9",  "r10", "r11", "r12", "r13", "r14" };

	for (size_t i = 0; i < GENERAL; i++) {
		bool is_changed_by_call = i == 1 || i == 9;

		if (area->number != UINT64_MAX && is_changed_by_call)
			continue;
		if (area->in[i] != area->out[i])
			return names[i];
	}
	return NULL;
}

static bool are_vectors_equal(const struct area *area)
{
	size_t size = area->has_avx ? VECTOR_SIZE : VECTOR_SIZE / 2;

	for (size_t i = 0; i < VECTORS; i++) {
		if (memcmp(area->vectors_in[i], area->vectors_out[i], size) != 0)
			return false;
	}
	return true;
}

/* What is not as it was; NULL. */
static const char *difference(const struct area *area, const sigset_t *mask, const stack_t *stack,
			      const void *heap_end)
{
	const char *name = general_difference(area);
	sigset_t mask_now;
	stack_t stack_now;
	int expected = strcmp(kind, "read") == 0;

	if (errno != 123)
		return "errno";
	if (name)
		return name;
	if (area->result != expected)
		return "result";
	if (area->sp_in != area->sp_out)
		return "rsp";
	if (memcmp(area->red_in, area->red_out, sizeof(area->red_in)) != 0)
		return "red zone";
	if (!are_vectors_equal(area))
		return "vectors";
	if (area->mxcsr_in != (area->mxcsr_out & ~UINT32_C(0x3f)))
		return "mxcsr";
	sigprocmask(SIG_SETMASK, NULL, &mask_now);
	if (memcmp(mask, &mask_now, sizeof(uint64_t)) != 0)
		return "signal mask";
	sigaltstack(NULL, &stack_now);
	if (stack_now.ss_sp != stack->ss_sp || stack_now.ss_size != stack->ss_size ||
	    stack_now.ss_flags != 0)
		return "signal stack";
	if (sbrk(0) != heap_end)
		return "end of the heap";
	if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD)
		return "children";
	return child_signals ? "SIGCHLD" : NULL;
}

static void check_for_ever(struct report *report)
{
	static unsigned char signal_stack[65536];
	stack_t stack = { .ss_sp = signal_stack, .ss_size = sizeof(signal_stack) };
	struct sigaction action = { .sa_handler = on_child_signal };
	static struct area area;
	const void *heap_end;
	sigset_t mask;

	sigaction(SIGCHLD, &action, NULL);
	sigaltstack(&stack, NULL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	sigaddset(&mask, SIGRTMIN + 3);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	sigprocmask(SIG_SETMASK, NULL, &mask);
	heap_end = sbrk(0);
	fill(&area);
	if (strcmp(kind, "stopped") == 0)
		kill(getpid(), SIGSTOP);
	for (;;) {
		const char *what;

		errno = 123;
		steady_round(&area);
		what = difference(&area, &mask, &stack, heap_end);
		if (what && report->wrong++ == 0) {
			report->result = area.result;
			snprintf(report->what, sizeof(report->what), "%s", what);
		}
		report->rounds++;
		turns++;
	}
}

static void feed(void)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	for (;;) {
		if (write(pipe_ends[1], "x", 1) != 1)
			_exit(0);
		nanosleep(&pause, NULL);
	}
}

static pid_t start(void (*work)(struct report *), struct report *report)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (work)
		work(report);
	else
		feed();
	_exit(1);
}

int main(int argc, char **argv)
{
	struct report *report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char line[64];
	pid_t checker;

	kind = argc > 1 ? argv[1] : "spin";
	epoll_fd = epoll_create1(0);
	if (report == MAP_FAILED || epoll_fd < 0 || pipe(pipe_ends))
		return 1;
	checker = start(check_for_ever, report);
	if (strcmp(kind, "read") == 0)
		start(NULL, report);
	while (strcmp(kind, "stopped") != 0 && !report->rounds)
		usleep(1000);
	printf("{\"pid\": %d, \"word\": %llu}\nready\n", (int)checker,
	       (unsigned long long)(uintptr_t)&turns);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		printf("{\"rounds\": %llu, \"wrong\": %llu, \"what\": \"%s\", \"result\": %lld}\n",
		       (unsigned long long)report->rounds, (unsigned long long)report->wrong,
		       report->what, (long long)report->result);
		fflush(stdout);
	}
	kill(checker, SIGKILL);
	return 0;
}

#endif
