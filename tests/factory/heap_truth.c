/* SPDX-License-Identifier: MIT */
/*
 * heap_truth: a program that keeps its own list of the blocks that it got from malloc.
 *
 * usage: heap_truth THREADS BLOCKS MIX LIST
 *
 * Each thread allocates and frees at random (seeded, so every run is the same) until about half of its BLOCKS
 * slots hold a block; with MIX, some blocks are large or aligned, and some were resized. Then the live blocks
 * are written to the file LIST, "address usable_size" a line, and one line of JSON says what mallinfo2
 * says. Commands on stdin: `t` calls malloc_trim(0) and prints how many resident bytes that gave back; EOF
 * ends the program.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
static int is_mixed;

static unsigned pick(struct worker *worker, unsigned below)
{
	return (unsigned)rand_r(&worker->seed) % below;
}

static void *new_block(struct worker *worker)
{
	size_t size = pick(worker, 600) + 1;
	void *block;

	if (is_mixed && pick(worker, 200) == 0)
		size = pick(worker, 400000);
	if (is_mixed && pick(worker, 50) == 0)
		return memalign((size_t)64 << pick(worker, 4), size);
	block = malloc(size);
	if (block && is_mixed && pick(worker, 20) == 0) {
		void *resized = realloc(block, size * 2 + 1);

		block = resized ? resized : block;
	}
	return block;
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	worker->blocks = calloc(blocks_count, sizeof(*worker->blocks));
	for (size_t i = 0; worker->blocks && i < 2 * blocks_count; i++) {
		size_t slot = (size_t)rand_r(&worker->seed) % blocks_count;

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

static long resident(void)
{
	long size = 0, pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (file) {
		if (fscanf(file, "%ld %ld", &size, &pages) != 2)
			pages = 0;
		fclose(file);
	}
	return pages * sysconf(_SC_PAGESIZE);
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
	fflush(list);
}

static void print_truth(void)
{
	struct mallinfo2 info = mallinfo2();

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
	is_mixed = (int)strtol(argv[3], NULL, 10);
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
