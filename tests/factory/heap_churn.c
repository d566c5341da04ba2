/* SPDX-License-Identifier: MIT */
/*
 * heap_churn: a program whose threads allocate and free without a pause.
 *
 * usage: heap_churn THREADS
 *
 * Each thread keeps 2000 slots and replaces one after the other by a block of another random size; now and then a
 * large one. Prints `ready`, and at the end of stdin how many blocks all threads have made, so that a test sees
 * that they went on.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 2000, THREADS_MAX = 64 };

static _Atomic unsigned long blocks_made;
static _Atomic int is_over;

static void *work(void *argument)
{
	unsigned seed = (unsigned)(size_t)argument * 31 + 7;
	void *slots[SLOTS] = { NULL };

	while (!is_over) {
		size_t slot = (size_t)rand_r(&seed) % SLOTS,
		       size = (size_t)rand_r(&seed) % 1500 + 1;

		if (rand_r(&seed) % 500 == 0)
			size += 150000;
		free(slots[slot]);
		slots[slot] = malloc(size);
		if (slots[slot])
			memset(slots[slot], 1, 8 < size ? 8 : size);
		atomic_fetch_add_explicit(&blocks_made, 1, memory_order_relaxed);
	}
	for (size_t i = 0; i < SLOTS; i++)
		free(slots[i]);
	return NULL;
}

int main(int argc, char **argv)
{
	size_t threads = argc > 1 ? strtoul(argv[1], NULL, 10) : 4;
	pthread_t thread[THREADS_MAX];

	if (!threads || threads > THREADS_MAX)
		return 2;
	for (size_t i = 0; i < threads; i++) {
		if (pthread_create(&thread[i], NULL, work, (void *)i))
			return 1;
	}
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;
	is_over = 1;
	for (size_t i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	printf("%lu\n", blocks_made);
	return 0;
}
