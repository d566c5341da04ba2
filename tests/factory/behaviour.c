/* SPDX-License-Identifier: MIT */
/*
 * behaviour MODE [TICK_MS [SEED]]: a process that uses memory in one way over time, for `vmatlas check` and the bench of verdicts.
 *
 * It says "MODE" on stdout when it begins, makes one step of its behaviour each TICK_MS (10) and ends with stdin. What would take hours in a
 * server takes seconds here: only the scale of time differs. SEED changes the sizes by up to a half and the order of what is random.
 */
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { KIB = 1024, MIB = 1024 * 1024, SLOTS = 4096, POOL = 400, CYCLE = 150 };

static void *slots[SLOTS];
static uint64_t state = 88172645463325252u;
static size_t percent = 100; /* of the sizes */

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
	touched(1 + random_next() % scaled(64 * KIB));
}

static void step_leak_slow(unsigned tick)
{
	(void)tick;
	requests(100, 8 * KIB);
	touched(1 + random_next() % scaled(8 * KIB));
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
	touched(1 + random_next() % scaled(16 * KIB));
}

/*
 * Blocks are filled and then cut to what is needed, as parsers do: the rest becomes a hole between two blocks in use, and each
 * round asks for a little more than fits into the holes of those before.
 */
static void step_fragment(unsigned tick)
{
	size_t size = scaled(8 * KIB) + 16 * (size_t)(tick % 4000);
	char *row[2] = { touched(size), touched(size) };

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

/* Keys come at random; each that is new takes its slot: ever fewer are. */
static void step_cache(unsigned tick)
{
	static size_t keys;

	(void)tick;
	for (int i = 0; i < 2; i++) {
		size_t slot = random_next() % scaled(2000);

		if (slots[slot])
			continue;
		slots[slot] = touched(8 * KIB);
		keys++;
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
};

int main(int argc, char **argv)
{
	int tick_ms = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 10;
	size_t mode = 0;

	while (mode < sizeof(modes) / sizeof(*modes) &&
	       (argc < 2 || strcmp(argv[1], modes[mode].mode) != 0))
		mode++;
	if (mode == sizeof(modes) / sizeof(*modes)) {
		fprintf(stderr, "usage: behaviour MODE [TICK_MS [SEED]]\n");
		return 2;
	}
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
	puts(modes[mode].mode);
	fflush(stdout);
	for (unsigned tick = 0;; tick++) {
		struct pollfd end = { .fd = STDIN_FILENO, .events = POLLIN };

		if (poll(&end, 1, tick_ms) > 0)
			return 0;
		modes[mode].step(tick);
	}
}
