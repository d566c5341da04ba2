/* SPDX-License-Identifier: MIT */
/*
 * heap_truth: a program that keeps its own list of the blocks that it got from malloc.
 *
 * usage: heap_truth THREADS BLOCKS KIND LIST
 *
 * Each thread allocates and frees at random (seeded, so every run is the same) until about half of its BLOCKS
 * slots hold a block. KIND is letters, or "-":
 *   m  some blocks are large or aligned, and some were resized
 *   s  all blocks are small, and every slot holds one
 *   a  some blocks are large and aligned to more than a page, and some of them were resized
 *   o  somebody else moves brk by whole pages now and then, and u by odd numbers of bytes
 *   b  brk cannot grow at all, and B not beyond the first half of the work
 *   f  it is a forked child that tells and goes on
 *   d  more blocks come from a second copy of libc (dlmopen)
 *
 * Then the live blocks are written to the file LIST, "address usable_size" a line, and one line of JSON says what
 * mallinfo2 says. Commands on stdin: `t` calls malloc_trim(0) and prints how many resident bytes that gave back; EOF
 * ends the program.
 */
#ifndef HEAP_TRUTH_STATIC
#include <dlfcn.h>
#endif
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS_MAX = 64 };

struct worker {
	pthread_t thread;
	unsigned seed;
	void **blocks;
};

static struct worker workers[THREADS_MAX];
static pthread_barrier_t barrier;
static size_t blocks_count;
static const char *kind;
static struct mallinfo2 (*other_mallinfo2)(void);
static void **other_blocks;

static int is_kind(char letter)
{
	return strchr(kind, letter) != NULL;
}

static unsigned pick(struct worker *worker, unsigned below)
{
	return (unsigned)rand_r(&worker->seed) % below;
}

/* A page that stands in the way of brk. */
static void block_brk(void)
{
	uintptr_t end = ((uintptr_t)sbrk(0) + 4095) & ~(uintptr_t)4095;

	if (mmap((void *)end, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
		 -1, 0) == MAP_FAILED)
		abort();
}

static void *resize(void *block, size_t size)
{
	void *resized = realloc(block, size);

	return resized ? resized : block;
}

static void *new_block(struct worker *worker)
{
	size_t size = pick(worker, is_kind('s') ? 64 : 600) + 1;
	void *block;

	if (is_kind('o') && pick(worker, 2000) == 0)
		sbrk(4096 * (intptr_t)(1 + pick(worker, 3)));
	if (is_kind('u') && pick(worker, 2000) == 0)
		sbrk((intptr_t)pick(worker, 9000));
	if (is_kind('a') && pick(worker, 200) == 0) {
		block = memalign((size_t)4096 << pick(worker, 8), 200000 + pick(worker, 400000));
		return block && pick(worker, 2) ? resize(block, 100000 + pick(worker, 900000))
						: block;
	}
	if (is_kind('m') && pick(worker, 200) == 0)
		size = pick(worker, 400000);
	if (is_kind('m') && pick(worker, 50) == 0)
		return memalign((size_t)64 << pick(worker, 4), size);
	block = malloc(size);
	return block && is_kind('m') && pick(worker, 20) == 0 ? resize(block, size * 2 + 1) : block;
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	worker->blocks = calloc(blocks_count, sizeof(*worker->blocks));
	for (size_t i = 0; worker->blocks && i < 2 * blocks_count; i++) {
		size_t slot = is_kind('s') ? i % blocks_count
					   : (size_t)rand_r(&worker->seed) % blocks_count;

		if (is_kind('B') && i == blocks_count && worker == workers)
			block_brk();
		if (worker->blocks[slot] && is_kind('s') && i % 3 != 0)
			continue;
		if (worker->blocks[slot]) {
			free(worker->blocks[slot]);
			worker->blocks[slot] = NULL;
		} else {
			worker->blocks[slot] = new_block(worker);
			if (worker->blocks[slot])
				memset(worker->blocks[slot], 1,
				       malloc_usable_size(worker->blocks[slot]));
		}
	}
	pthread_barrier_wait(&barrier);
	pause();
	return NULL;
}

/* Of the page tables: statm adds up what each processor has counted only when it is 32 pages. */
static long resident(void)
{
	long kib = 0;
	FILE *file = fopen("/proc/self/smaps_rollup", "re");

	if (file) {
		if (fscanf(file, "%*[^\n] Rss: %ld", &kib) != 1)
			kib = 0;
		fclose(file);
	}
	return kib * 1024;
}

static void write_list(FILE *list, size_t threads)
{
	for (size_t i = 0; i < threads; i++) {
		for (size_t k = 0; workers[i].blocks && k < blocks_count; k++) {
			void *block = workers[i].blocks[k];

			if (block)
				fprintf(list, "%p %zu\n", block, malloc_usable_size(block));
		}
	}
	for (size_t k = 0; other_blocks && k < blocks_count; k++)
		fprintf(list, "%p %zu\n", other_blocks[k], malloc_usable_size(other_blocks[k]));
	fflush(list);
}

/* Blocks from a libc of its own, which has an arena, mp_ and lists of its own. */
static void use_other_libc(void)
{
#ifndef HEAP_TRUTH_STATIC
	void *(*other_malloc)(size_t size) = NULL;
	void *libc = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);

	if (!libc)
		abort();
	*(void **)&other_malloc = dlsym(libc, "malloc");
	*(void **)&other_mallinfo2 = dlsym(libc, "mallinfo2");
	other_blocks = calloc(blocks_count, sizeof(*other_blocks));
	if (!other_malloc || !other_mallinfo2 || !other_blocks)
		abort();
	for (size_t i = 0; i < blocks_count; i++) {
		size_t size = i % 1000 == 999 ? 300000 : 1 + i * 7 % 900;

		other_blocks[i] = other_malloc(size);
		if (!other_blocks[i])
			abort();
		memset(other_blocks[i], 2, size);
	}
#endif
}

/* Before glibc 2.33 there was only mallinfo, with numbers of 31 bits. */
#pragma weak mallinfo2
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static struct mallinfo2 this_mallinfo2(void)
{
	struct mallinfo2 info = { 0 };
	struct mallinfo old;

	if (&mallinfo2 != NULL)
		return mallinfo2();
	old = mallinfo();
	info.arena = (unsigned)old.arena;
	info.ordblks = (unsigned)old.ordblks;
	info.smblks = (unsigned)old.smblks;
	info.fsmblks = (unsigned)old.fsmblks;
	info.uordblks = (unsigned)old.uordblks;
	info.fordblks = (unsigned)old.fordblks;
	info.hblks = (unsigned)old.hblks;
	info.hblkhd = (unsigned)old.hblkhd;
	return info;
}

static void print_truth(void)
{
	struct mallinfo2 info = this_mallinfo2();

	if (other_mallinfo2) {
		struct mallinfo2 other = other_mallinfo2();

		info.arena += other.arena;
		info.ordblks += other.ordblks;
		info.smblks += other.smblks;
		info.fsmblks += other.fsmblks;
		info.uordblks += other.uordblks;
		info.fordblks += other.fordblks;
		info.hblks += other.hblks;
		info.hblkhd += other.hblkhd;
	}
	printf("{\"pid\": %d, \"arena\": %zu, \"ordblks\": %zu, \"smblks\": %zu, \"fsmblks\": %zu, "
	       "\"uordblks\": %zu, \"fordblks\": %zu, \"hblks\": %zu, \"hblkhd\": %zu}\nready\n",
	       (int)getpid(), info.arena, info.ordblks, info.smblks, info.fsmblks, info.uordblks,
	       info.fordblks, info.hblks, info.hblkhd);
}

int main(int argc, char **argv)
{
	static char list_room[65536], out_room[4096], in_room[64];
	size_t threads;
	FILE *list;
	int c;

	if (argc != 5)
		return 2;
	threads = strtoul(argv[1], NULL, 10);
	blocks_count = strtoul(argv[2], NULL, 10);
	kind = argv[3];
	if (is_kind('b'))
		block_brk();
	list = fopen(argv[4], "we");
	if (!list || !threads || threads > THREADS_MAX || !blocks_count)
		return 2;
	/* Buffers of our own, so that stdio allocates nothing behind mallinfo2's back. */
	setvbuf(list, list_room, _IOFBF, sizeof(list_room));
	setvbuf(stdin, in_room, _IOFBF, sizeof(in_room));
	setvbuf(stdout, out_room, _IOLBF, sizeof(out_room));
	pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1);
	for (size_t i = 0; i < threads; i++) {
		workers[i].seed = (unsigned)i * 77 + 1;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			return 1;
	}
	pthread_barrier_wait(&barrier);
	if (is_kind('d'))
		use_other_libc();
	if (is_kind('f')) {
		pid_t child = fork();

		if (child > 0)
			return waitpid(child, NULL, 0) < 0;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	}
	write_list(list, threads);
	print_truth();
	while ((c = getchar_unlocked()) != EOF) {
		long before = resident();

		if (c != 't')
			continue;
		malloc_trim(0);
		printf("%ld\n", before - resident());
	}
	return 0;
}
