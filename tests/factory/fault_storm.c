/* SPDX-License-Identifier: MIT */
/*
 * fault_storm: a program with page faults of one cause, again and again.
 *
 * usage: fault_storm MODE [key=value ...]
 *   first_touch   new pages of a large mapping
 *   malloc        size=N live=N touch=N: blocks that are allocated, touched at some pages and freed; what becomes of that depends on
 *                 malloc's settings: the storm of docs/cases/fault-storm.md with size=2097152 live=4 touch=6
 *   remap         a mapping of its own that is made, touched and unmapped; cured: kept
 *   fork          a fork, and writes to pages that it shares; cured: they are kept out of the fork (MADV_DONTFORK)
 *   child         a child that writes to what its parent has filled, and is what reports
 *   file          a file that is mapped, read and unmapped; cured: stays mapped
 *   stack         threads that come, use their stacks and go; cured: one thread that stays
 *   split         huge pages of which parts are given back; cured: whole ones are
 *   dontneed      pages that are given back and touched; cured: by MADV_FREE
 *   idle          nothing
 *   threads=N     so many threads that do nothing stand beside it
 *   cured=1       the same work with the advice followed
 *   ops=N         ends after so many operations; default: works until told
 *
 * An operation is one round of that; after each, and within where memory is held, it sleeps for pause=N microseconds (1000). Prints `ready` and as JSON its pid and the
 * range of addresses that it works on, where it knows one. A line on stdin is answered with the operations done so far, getrusage's
 * faults and the CPU time in microseconds; `exec` lets it execute itself with idle; the end of stdin ends it. 77: this machine cannot do it.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, HUGE = 2 << 20, LIVE_MAX = 64 };

static size_t size = 2 << 20, live = 4, touch = 6, threads, pause_us = 1000, ops_max;
static int is_cured;
static char *work, *work_end;
static unsigned long ops;

__attribute__((noinline)) static void storm_touch(volatile char *page)
{
	*page = 1;
}

__attribute__((noinline)) static char storm_read(const volatile char *page)
{
	return *page;
}

static void *must(void *memory)
{
	if (memory == MAP_FAILED || !memory) {
		perror("fault_storm");
		exit(77);
	}
	return memory;
}

static void set_work(void *memory, size_t bytes)
{
	work = memory;
	work_end = work + bytes;
}

static char *map(size_t bytes)
{
	char *memory = must(mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));

	madvise(memory, bytes, MADV_NOHUGEPAGE);
	return memory;
}

/* Works on what it has, so to speak: whoever looks may find it. */
static void rest(void)
{
	const struct timespec time = { 0, (long)pause_us * 1000 };

	if (pause_us)
		nanosleep(&time, NULL);
}

static void begin_first_touch(void)
{
	set_work(map((size_t)1 << 30), (size_t)1 << 30);
}

static void op_first_touch(void)
{
	for (size_t i = 0; i < touch; i++) {
		char *page = work + (ops * touch + i) * PAGE;

		if (page < work_end)
			storm_touch(page);
	}
}

static void op_malloc(void)
{
	char *blocks[LIVE_MAX];

	for (size_t i = 0; i < live; i++) {
		blocks[i] = must(malloc(size));
		for (size_t k = 0; k < touch; k++)
			storm_touch(blocks[i] + k * PAGE + 100);
	}
	rest();
	for (size_t i = 0; i < live; i++)
		free(blocks[i]);
}

static void op_remap(void)
{
	static char *kept;
	char *memory = is_cured && kept ? kept : map(size);

	for (size_t i = 0; i < touch; i++)
		storm_touch(memory + i * PAGE);
	rest();
	if (is_cured)
		kept = memory;
	else
		munmap(memory, size);
}

static void begin_fork(void)
{
	set_work(map(touch * PAGE), touch * PAGE);
	memset(work, 1, touch * PAGE);
	if (is_cured)
		madvise(work, touch * PAGE, MADV_DONTFORK);
}

static void op_fork(void)
{
	int go[2];
	char c;
	pid_t pid;

	if (pipe(go))
		exit(1);
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		_exit(read(go[0], &c, 1) != 0);
	}
	for (size_t i = 0; i < touch; i++)
		storm_touch(work + i * PAGE);
	close(go[0]);
	close(go[1]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

/* The parent only waits; its child, which shares all of the work, goes on in its place. */
static void begin_child(void)
{
	pid_t pid;
	int status;

	begin_first_touch();
	memset(work, 1, 256 << 20);
	work_end = work + (256 << 20);
	pid = fork();
	if (pid > 0) {
		waitpid(pid, &status, 0);
		exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static int file = -1;

static void begin_file(void)
{
	char name[] = "/tmp/fault_storm.XXXXXX";
	char *page = must(calloc(1, PAGE));

	file = mkstemp(name);
	if (file < 0)
		exit(77);
	unlink(name);
	for (size_t i = 0; i < 1024; i++) {
		if (write(file, page, PAGE) != PAGE)
			exit(77);
	}
}

static void op_file(void)
{
	static char *kept;
	char *memory = is_cured && kept
			       ? kept
			       : must(mmap(NULL, 1024 * PAGE, PROT_READ, MAP_SHARED, file, 0));

	for (size_t i = 0; i < 1024; i += 32)
		storm_read(memory + i * PAGE);
	rest();
	if (is_cured)
		kept = memory;
	else
		munmap(memory, 1024 * PAGE);
}

static void *use_stack(void *argument)
{
	volatile char frame[64 * PAGE];

	for (size_t i = 0; i < 64; i++)
		storm_touch(&frame[i * PAGE]);
	return argument;
}

static void op_stack(void)
{
	pthread_t thread;

	if (is_cured) {
		use_stack(NULL);
		return;
	}
	if (pthread_create(&thread, NULL, use_stack, NULL))
		exit(1);
	pthread_join(thread, NULL);
}

enum { HUGES = 64 };

/* Bytes in huge pages of the whole process. */
static size_t huge_bytes(void)
{
	FILE *rollup = fopen("/proc/self/smaps_rollup", "re");
	char line[128];
	size_t bytes = 0;

	while (rollup && fgets(line, sizeof(line), rollup)) {
		if (!strncmp(line, "AnonHugePages:", 14))
			bytes = strtoul(line + 14, NULL, 10) << 10;
	}
	if (rollup)
		fclose(rollup);
	return bytes;
}

static void begin_split(void)
{
	char *memory = must(mmap(NULL, (HUGES + 1) * (size_t)HUGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	memory = (char *)(((uintptr_t)memory + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
	if (madvise(memory, HUGES * (size_t)HUGE, MADV_HUGEPAGE))
		exit(77);
	set_work(memory, HUGES * (size_t)HUGE);
	memset(memory, 1, HUGES * (size_t)HUGE);
	if (huge_bytes() < HUGES * (size_t)HUGE / 2)
		exit(77);
}

/* Every other page of the next huge page, or, cured, all of it. When all are in pieces they are made huge again. */
static void op_split(void)
{
	char *memory = work + ops % HUGES * HUGE;

	if (is_cured) {
		madvise(memory, HUGE, MADV_DONTNEED);
		storm_touch(memory);
		return;
	}
	if (ops && ops % HUGES == 0) {
		madvise(work, HUGES * (size_t)HUGE, MADV_DONTNEED);
		for (size_t i = 0; i < HUGES; i++)
			storm_touch(work + i * HUGE);
		rest();
	}
	for (size_t i = 0; i < HUGE / PAGE; i += 2)
		madvise(memory + i * PAGE, PAGE, MADV_DONTNEED);
	for (size_t i = 0; i < HUGE / PAGE; i += 2)
		storm_touch(memory + i * PAGE);
}

static void begin_dontneed(void)
{
	set_work(map(size), size);
}

static void op_dontneed(void)
{
	for (size_t i = 0; i < touch; i++)
		storm_touch(work + i * PAGE);
	madvise(work, touch * PAGE, is_cured ? MADV_FREE : MADV_DONTNEED);
}

static const struct mode {
	const char *name;
	void (*begin)(void);
	void (*op)(void);
} modes[] = {
	{ "first_touch", begin_first_touch, op_first_touch },
	{ "malloc", NULL, op_malloc },
	{ "remap", NULL, op_remap },
	{ "fork", begin_fork, op_fork },
	{ "child", begin_child, op_first_touch },
	{ "file", begin_file, op_file },
	{ "stack", NULL, op_stack },
	{ "split", begin_split, op_split },
	{ "dontneed", begin_dontneed, op_dontneed },
	{ "idle", NULL, NULL },
};

static void *wait_for_ever(void *argument)
{
	for (;;)
		pause();
	return argument;
}

static void read_arguments(int argc, char **argv)
{
	const struct {
		const char *name;
		size_t *to;
	} keys[] = {
		{ "size=", &size },       { "live=", &live },   { "touch=", &touch },
		{ "threads=", &threads }, { "ops=", &ops_max }, { "pause=", &pause_us },
	};

	for (int i = 2; i < argc; i++) {
		for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
			if (!strncmp(argv[i], keys[k].name, strlen(keys[k].name)))
				*keys[k].to = strtoul(argv[i] + strlen(keys[k].name), NULL, 0);
		}
		is_cured |= !strcmp(argv[i], "cured=1");
	}
	if (live > LIVE_MAX)
		exit(2);
}

static void report(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	printf("{\"ops\": %lu, \"minor\": %ld, \"major\": %ld, \"cpu_us\": %ld}\n", ops,
	       usage.ru_minflt, usage.ru_majflt,
	       (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
		       usage.ru_stime.tv_usec);
	fflush(stdout);
}

/* False at the end of stdin. */
static int answer(char **argv, int timeout_ms)
{
	struct pollfd in = { .fd = 0, .events = POLLIN };
	char line[16] = "";

	if (poll(&in, 1, timeout_ms) <= 0)
		return 1;
	if (read(0, line, sizeof(line) - 1) <= 0)
		return 0;
	if (!strncmp(line, "exec", 4)) {
		execl("/proc/self/exe", argv[0], "idle", (char *)NULL);
		exit(1);
	}
	report();
	return 1;
}

int main(int argc, char **argv)
{
	const struct mode *mode = NULL;

	for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (!strcmp(argv[1], modes[i].name))
			mode = &modes[i];
	}
	if (!mode)
		return 2;
	read_arguments(argc, argv);
	if (mode->begin)
		mode->begin();
	for (size_t i = 0; i < threads; i++) {
		pthread_attr_t attr;
		pthread_t thread;

		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, 64 << 10);
		if (pthread_create(&thread, &attr, wait_for_ever, NULL))
			return 77;
	}
	printf("{\"ready\": true, \"pid\": %d, \"start\": %zu, \"end\": %zu}\n", getpid(),
	       (size_t)work, (size_t)work_end);
	fflush(stdout);
	if (!mode->op)
		while (answer(argv, -1))
			;
	for (; mode->op && answer(argv, 0); ops++) {
		if (ops_max && ops == ops_max) {
			report();
			return 0;
		}
		mode->op();
		rest();
	}
	return 0;
}
