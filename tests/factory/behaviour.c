/* SPDX-License-Identifier: MIT */
/*
 * behaviour MODE [TICK_MS [SEED]]: a process that uses memory in one way over time, for `vmatlas check` and the bench of verdicts.
 *
 * It says "MODE" on stdout when it begins, makes one step of its behaviour each TICK_MS (10) and ends with stdin; then it says as JSON for how
 * long it ran and how many bytes it lost meanwhile, so that a growth that was told can be compared. What would take hours in a
 * server takes seconds here: only the scale of time differs, and a tick that comes late on a busy machine is made up for.
 * SEED changes the sizes by up to a half and the order of what is random. 77: this machine cannot do it, and stderr says why.
 */
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KIB = 1024, MIB = 1024 * 1024, SLOTS = 4096, POOL = 400, CYCLE = 150 };

enum { PAGE = 4096, HUGE = 2 * MIB, HUGES = 16, TICKS_LATE_MS = 1000 };

static void *slots[SLOTS];
static uint64_t state = 88172645463325252u;
static size_t percent = 100; /* of the sizes */
static size_t lost;          /* bytes of blocks that nothing points to any more */

static uint64_t random_next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static size_t scaled(size_t size)
{
	return size * percent / 100;
}

static void fail(const char *what)
{
	perror(what);
	exit(70);
}

static void *touched(size_t size)
{
	char *block = malloc(size);

	if (!block)
		fail("malloc");
	memset(block, 1, size);
	/* Else the compiler leaves out a block that is freed at once. */
	__asm__ volatile("" : : "r"(block) : "memory");
	return block;
}

static void *mapped(size_t size, int prot)
{
	void *place = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (place == MAP_FAILED)
		fail("mmap");
	return place;
}

static void lose(size_t size)
{
	touched(size);
	lost += size;
}

/* Blocks come and go in `count` slots: as much is taken as is given back. */
static void requests(size_t count, size_t most)
{
	for (int i = 0; i < 8; i++) {
		size_t slot = random_next() % count;

		free(slots[slot]);
		slots[slot] = touched(16 + random_next() % most);
	}
}

static void step_flat(unsigned tick)
{
	(void)tick;
}

static void step_noisy(unsigned tick)
{
	(void)tick;
	requests(200, scaled(16 * KIB));
}

static void step_warm(unsigned tick)
{
	if (tick < 300)
		touched(scaled(48 * KIB));
	requests(100, 8 * KIB);
}

static void step_step(unsigned tick)
{
	if (tick == 250)
		touched(scaled(16 * MIB));
	requests(100, 8 * KIB);
}

static void step_leak(unsigned tick)
{
	(void)tick;
	requests(100, 8 * KIB);
	lose(1 + random_next() % scaled(64 * KIB));
}

static void step_leak_slow(unsigned tick)
{
	(void)tick;
	requests(100, 8 * KIB);
	lose(1 + random_next() % scaled(8 * KIB));
}

/* Near to what can just be seen in half a minute beside such requests. */
static void step_leak_faint(unsigned tick)
{
	(void)tick;
	requests(100, 8 * KIB);
	lose(1 + random_next() % scaled(640));
}

/* Blocks are taken for half of a cycle and given back in the other half. */
static void step_cycle(unsigned tick)
{
	unsigned at = tick % CYCLE, half = CYCLE / 2;

	if (at < half) {
		slots[at] = touched(scaled(24 * KIB));
	} else if (at - half < half) {
		free(slots[at - half]);
		slots[at - half] = NULL;
	}
}

static void step_leak_cycle(unsigned tick)
{
	step_cycle(tick);
	lose(1 + random_next() % scaled(16 * KIB));
}

/*
 * Blocks are filled and then cut to what is needed, as parsers do: the rest becomes a hole between two blocks in use, into which
 * a block as large as the one before does not fit any more. The second hole is the heap's end and used again.
 */
static void step_fragment(unsigned tick)
{
	size_t size = scaled(8 * KIB);
	char *row[2] = { touched(size), touched(size) };

	(void)tick;
	for (size_t i = 0; i < 2; i++)
		if (!realloc(row[i], 24))
			fail("realloc");
}

/* A pool of threads, each of which waits for its first work. */
static sem_t turns[POOL];

static void *arena_thread(void *arg)
{
	/* A new thread's first malloc makes an arena; what it frees stays there. */
	void *blocks[64];

	sem_wait(arg);
	for (size_t i = 0; i < 64; i++)
		blocks[i] = touched(16 * KIB);
	for (size_t i = 0; i < 63; i++)
		free(blocks[i]);
	pause();
	return NULL;
}

static void *idle_thread(void *arg)
{
	(void)arg;
	pause();
	return NULL;
}

static void *short_thread(void *arg)
{
	return arg;
}

static void start_thread(void *(*body)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, body, arg))
		fail("pthread_create");
}

static void step_threads(unsigned tick)
{
	if (tick % 5 == 0)
		start_thread(idle_thread, NULL);
}

static void step_unjoined(unsigned tick)
{
	if (tick % 5 == 0)
		start_thread(short_thread, NULL);
}

static void step_arenas(unsigned tick)
{
	if (tick % 15 == 0 && tick / 15 < POOL)
		sem_post(&turns[tick / 15]);
}

static void start_pool(void)
{
	mallopt(M_ARENA_MAX, 1000);
	for (size_t i = 0; i < POOL; i++) {
		sem_init(&turns[i], 0, 0);
		start_thread(arena_thread, &turns[i]);
	}
}

/* Protections that differ keep neighbours from becoming one region. */
static void step_mappings(unsigned tick)
{
	mapped(4 * KIB, tick % 2 ? PROT_READ : PROT_NONE);
}

static void step_touched(unsigned tick)
{
	size_t size = scaled(32 * KIB);
	char *place = mapped(size, PROT_READ | PROT_WRITE);

	(void)tick;
	memset(place, 1, size);
	mapped(4 * KIB, PROT_NONE);
}

static void step_untouched(unsigned tick)
{
	(void)tick;
	mapped(scaled(MIB), PROT_READ | PROT_WRITE);
}

/* Several large blocks live at once, taken and given back: each is a mapping of its own every time. */
static void step_churn_mmap(unsigned tick)
{
	if (tick == 0)
		mallopt(M_MMAP_THRESHOLD, 128 * KIB);
	for (int i = 0; i < 4; i++)
		free(touched(scaled(512 * KIB)));
}

/* The end of the heap goes back at each free. */
static void step_churn_trim(unsigned tick)
{
	if (tick == 0) {
		mallopt(M_MMAP_THRESHOLD, 32 * MIB);
		mallopt(M_TRIM_THRESHOLD, 128 * KIB);
	}
	for (int i = 0; i < 4; i++)
		free(touched(scaled(512 * KIB)));
}

static void step_churn_dontneed(unsigned tick)
{
	static char *place;

	(void)tick;
	if (!place)
		place = mapped(2 * MIB, PROT_READ | PROT_WRITE);
	madvise(place, 2 * MIB, MADV_NOHUGEPAGE);
	memset(place, 1, 2 * MIB);
	if (madvise(place, 2 * MIB, MADV_DONTNEED))
		fail("madvise");
}

/* Pages are shared with a child for as long as they are written to: each is copied. */
static void step_churn_fork(unsigned tick)
{
	static char *place;
	size_t size = scaled(MIB);
	int go[2];
	char end;
	pid_t pid;

	(void)tick;
	if (!place) {
		place = mapped(size, PROT_READ | PROT_WRITE);
		madvise(place, size, MADV_NOHUGEPAGE);
	}
	if (pipe2(go, O_CLOEXEC))
		fail("pipe2");
	pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		close(go[1]);
		_exit(read(go[0], &end, 1) != 0);
	}
	memset(place, 1, size);
	close(go[0]);
	close(go[1]);
	waitpid(pid, NULL, 0);
}

/* A file is mapped to be read, each time anew. The kernel maps 16 pages around each that is touched. */
static void step_churn_file(unsigned tick)
{
	static int file = -1;
	size_t size = scaled(MIB) / PAGE * PAGE;

	(void)tick;
	if (file < 0) {
		char name[] = "/tmp/behaviour.XXXXXX";
		char page[PAGE] = { 1 };

		file = mkstemp(name);
		if (file < 0 || unlink(name))
			fail("mkstemp");
		for (size_t i = 0; i < size; i += PAGE)
			if (write(file, page, PAGE) != PAGE)
				fail("write");
	}
	for (int i = 0; i < 16; i++) {
		const volatile char *text = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);

		if (text == MAP_FAILED)
			fail("mmap");
		for (size_t at = 0; at < size; at += 16 * PAGE)
			(void)text[at];
		munmap((void *)(uintptr_t)text, size);
	}
}

static void *deep_thread(void *arg)
{
	volatile char frame[64 * PAGE];

	for (size_t at = 0; at < scaled(40) * PAGE; at += PAGE)
		frame[at] = 1;
	__asm__ volatile("" : : "r"(frame) : "memory");
	return arg;
}

/* Threads that come, use their stacks and go. */
static void step_churn_stack(unsigned tick)
{
	(void)tick;
	for (int i = 0; i < 4; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, deep_thread, NULL))
			fail("pthread_create");
		pthread_join(thread, NULL);
	}
}

/* Huge bytes of the process, as the kernel counts them. */
static size_t huge_bytes(void)
{
	FILE *rollup = fopen("/proc/self/smaps_rollup", "re");
	char line[128];
	size_t kib = 0;

	while (rollup && fgets(line, sizeof(line), rollup))
		if (!strncmp(line, "AnonHugePages:", 14))
			kib = strtoul(line + 14, NULL, 10);
	if (rollup)
		fclose(rollup);
	return kib * KIB;
}

static char *huge;

static void make_huge(void)
{
	char *place = mapped((HUGES + 1) * (size_t)HUGE, PROT_READ | PROT_WRITE);

	place += -(uintptr_t)place % HUGE;
	madvise(place, HUGES * (size_t)HUGE, MADV_HUGEPAGE);
	memset(place, 1, HUGES * (size_t)HUGE);
	if (huge_bytes() < HUGES * (size_t)HUGE / 2) {
		fprintf(stderr, "behaviour: the kernel gives no transparent huge pages\n");
		exit(77);
	}
	huge = place;
}

/* Every other page of a huge page is given back and used again. When all are in pieces, they are made whole. */
static void step_churn_split(unsigned tick)
{
	char *page = huge + tick % HUGES * HUGE;

	if (tick && tick % HUGES == 0) {
		madvise(huge, HUGES * (size_t)HUGE, MADV_DONTNEED);
		for (size_t i = 0; i < HUGES; i++)
			huge[i * HUGE] = 1;
	}
	for (size_t at = 0; at < HUGE; at += (size_t)2 * PAGE)
		madvise(page + at, PAGE, MADV_DONTNEED);
	for (size_t at = 0; at < HUGE; at += (size_t)2 * PAGE)
		page[at] = 1;
}

/*
 * Keys come at random; each that is new takes its slot: ever fewer are. In 30 s of ticks of 10 ms the curve bends, and its end is
 * not reached: its constant is a quarter to two thirds of that.
 */
static void step_cache(unsigned tick)
{
	(void)tick;
	for (int i = 0; i < 2; i++) {
		size_t slot = random_next() % scaled(2600);

		if (!slots[slot])
			slots[slot] = touched(8 * KIB);
	}
}

static const struct {
	const char *mode;
	void (*step)(unsigned tick);
} modes[] = {
	{ "flat", step_flat },
	{ "noisy", step_noisy },
	{ "warm", step_warm },
	{ "step", step_step },
	{ "cache", step_cache },
	{ "cycle", step_cycle },
	{ "leak", step_leak },
	{ "leak_slow", step_leak_slow },
	{ "leak_faint", step_leak_faint },
	{ "leak_cycle", step_leak_cycle },
	{ "fragment", step_fragment },
	{ "arenas", step_arenas },
	{ "threads", step_threads },
	{ "unjoined", step_unjoined },
	{ "mappings", step_mappings },
	{ "touched", step_touched },
	{ "untouched", step_untouched },
	{ "churn_mmap", step_churn_mmap },
	{ "churn_trim", step_churn_trim },
	{ "churn_dontneed", step_churn_dontneed },
	{ "churn_fork", step_churn_fork },
	{ "churn_file", step_churn_file },
	{ "churn_stack", step_churn_stack },
	{ "churn_split", step_churn_split },
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* By the clock: else a busy machine would change what the behaviour is. Who was stopped for long does not make up for all of it. */
static void run(void (*step)(unsigned tick), int tick_ms)
{
	int64_t begin = now_ms(), next = begin;
	struct pollfd end = { .fd = STDIN_FILENO, .events = POLLIN };
	unsigned tick = 0;

	for (;; tick++) {
		int64_t wait;

		next += tick_ms;
		wait = next - now_ms();
		if (wait < -TICKS_LATE_MS)
			next -= wait;
		if (poll(&end, 1, wait > 0 ? (int)wait : 0) > 0)
			break;
		step(tick);
	}
	printf("{\"seconds\": %.3f, \"ticks\": %u, \"lost_bytes\": %zu}\n",
	       (double)(now_ms() - begin) / 1000, tick, lost);
}

static int usage(void)
{
	fprintf(stderr, "usage: behaviour MODE [TICK_MS [SEED]]\nmodes:");
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		fprintf(stderr, " %s", modes[i].mode);
	fputc('\n', stderr);
	return 2;
}

int main(int argc, char **argv)
{
	int tick_ms = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 10;
	size_t mode = 0;

	while (mode < sizeof(modes) / sizeof(*modes) &&
	       (argc < 2 || strcmp(argv[1], modes[mode].mode) != 0))
		mode++;
	if (mode == sizeof(modes) / sizeof(*modes))
		return usage();
	if (argc > 3) {
		state ^= strtoull(argv[3], NULL, 10) * 0x9e3779b97f4a7c15u;
		for (int i = 0; i < 16; i++)
			random_next();
		percent = 60 + random_next() % 90;
	}
	/* Held from the start, so that it has a size to compare a growth with. */
	touched(4 * MIB);
	if (modes[mode].step == step_arenas)
		start_pool();
	if (modes[mode].step == step_churn_split)
		make_huge();
	puts(modes[mode].mode);
	fflush(stdout);
	run(modes[mode].step, tick_ms);
	return 0;
}
