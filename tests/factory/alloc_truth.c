/* SPDX-License-Identifier: MIT */
/*
 * alloc_truth: a program that keeps its own list of its blocks, whatever its malloc is.
 *
 * usage: alloc_truth THREADS BLOCKS LIST
 *
 * Each thread fills BLOCKS slots of its own, at random (seeded: each run is the same): sizes from 1 byte to some MiB,
 * some aligned up to 64 KiB, some resized. Then each gives back a third of the blocks of the thread behind it, a
 * third of its own, and fills some of these again, and once more gives back some of the other's; every second
 * thread then ends and leaves its blocks behind.
 * The live blocks are written to LIST, "address usable_size" a line. `ready` is printed, and the end of
 * stdin waited for.
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
static size_t threads_count, blocks_count;
static pthread_barrier_t barrier; /* of all workers */
static pthread_barrier_t last;    /* of those that stay, and main */

static size_t pick(struct worker *worker, size_t below)
{
	return (size_t)rand_r(&worker->seed) % below;
}

static size_t pick_size(struct worker *worker)
{
	switch (pick(worker, 100)) {
	case 0:
		return pick(worker, 5 << 20) + 1;
	case 1 ... 4:
		return pick(worker, 300000) + 1;
	case 5 ... 19:
		return pick(worker, 20000) + 1;
	case 20 ... 39:
		return pick(worker, 16) + 1;
	default:
		return pick(worker, 600) + 1;
	}
}

static void *new_block(struct worker *worker)
{
	size_t size = pick_size(worker);
	void *block = NULL;

	if (pick(worker, 30) == 0) {
		if (posix_memalign(&block, (size_t)16 << pick(worker, 13), size))
			return NULL;
	} else {
		block = malloc(size);
		if (block && pick(worker, 15) == 0) {
			void *resized = realloc(block, pick_size(worker));

			block = resized ? resized : block;
		}
	}
	if (block)
		memset(block, 1, malloc_usable_size(block) < 64 ? malloc_usable_size(block) : 64);
	return block;
}

static void free_some(struct worker *worker, size_t from, size_t step)
{
	for (size_t i = from; i < blocks_count; i += step) {
		free(worker->blocks[i]);
		worker->blocks[i] = NULL;
	}
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	size_t number = (size_t)(worker - workers);
	struct worker *other = &workers[(number + 1) % threads_count];

	worker->blocks = calloc(blocks_count, sizeof(*worker->blocks));
	if (!worker->blocks)
		abort();
	for (size_t i = 0; i < blocks_count; i++)
		worker->blocks[i] = new_block(worker);
	pthread_barrier_wait(&barrier);
	free_some(other, 0, 3);
	pthread_barrier_wait(&barrier);
	for (size_t i = 1; i < blocks_count; i += 3) {
		free(worker->blocks[i]);
		worker->blocks[i] = pick(worker, 3) ? NULL : new_block(worker);
	}
	pthread_barrier_wait(&barrier);
	free_some(other, 2, 6);
	pthread_barrier_wait(&barrier);
	if (number % 2)
		return NULL;
	pthread_barrier_wait(&last);
	pause();
	return NULL;
}

static void write_list(FILE *list)
{
	for (size_t i = 0; i < threads_count; i++) {
		for (size_t k = 0; k < blocks_count; k++) {
			void *block = workers[i].blocks[k];

			if (block)
				fprintf(list, "%p %zu\n", block, malloc_usable_size(block));
		}
	}
	fclose(list);
}

int main(int argc, char **argv)
{
	FILE *list;

	if (argc != 4)
		return 2;
	threads_count = strtoul(argv[1], NULL, 10);
	blocks_count = strtoul(argv[2], NULL, 10);
	list = fopen(argv[3], "we");
	if (!list || !threads_count || threads_count > THREADS_MAX || !blocks_count)
		return 2;
	pthread_barrier_init(&barrier, NULL, (unsigned)threads_count);
	pthread_barrier_init(&last, NULL, (unsigned)(threads_count + 1) / 2 + 1);
	for (size_t i = 0; i < threads_count; i++) {
		workers[i].seed = (unsigned)i * 77 + 1;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			return 1;
	}
	for (size_t i = 1; i < threads_count; i += 2)
		pthread_join(workers[i].thread, NULL);
	pthread_barrier_wait(&last);
	write_list(list);
	puts("ready");
	fflush(stdout);
	setvbuf(stdin, NULL, _IONBF, 0); /* a buffer would come from malloc, while somebody looks */
	while (getchar() != EOF)
		;
	return 0;
}
