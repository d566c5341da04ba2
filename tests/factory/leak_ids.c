/* SPDX-License-Identifier: MIT */
/*
 * leak_ids: a program whose blocks each have a size of their own, which is their number.
 *
 * usage: leak_ids [exit]
 *
 * Plain losses, chains, rings, blocks with a mapping of their own, losses of a second thread, and kept ones of each kind.
 * Prints "NUMBER ADDRESS" of all, then waits for the end of stdin, or exits at once: built with -fsanitize=leak
 * it then lists what it has lost by size (tests/live/leak_lsan.py).
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IDS = 600, MAPPED = 1 << 18 };

void *volatile kept[IDS];
static uintptr_t hidden[IDS];

/* The usable size of glibc's block is just this: 8 more than a multiple of 16. */
static size_t size_of(int id)
{
	return (id % 20 == 19 ? MAPPED : 24) + 16 * (size_t)id;
}

static void **block(int id)
{
	void **memory = malloc(size_of(id));

	memset(memory, 'x', size_of(id));
	memory[0] = NULL;
	hidden[id] = ~(uintptr_t)memory;
	return memory;
}

static __attribute__((noinline)) void make(int from, int to)
{
	void **chain = NULL, **first = NULL, **last = NULL;

	for (int id = from; id < to; id++) {
		void **memory = block(id);

		switch (id % 6) {
		case 0: /* lost */
			break;
		case 1: /* the end of a chain */
			chain = memory;
			break;
		case 2: /* its beginning, lost or kept */
			memory[1] = chain;
			kept[id] = id % 12 == 2 ? memory : NULL;
			break;
		case 3: /* a ring of two, lost or kept by an address into it */
			first = memory;
			break;
		case 4:
			last = memory;
			last[0] = first;
			first[0] = last;
			kept[id] = id % 12 == 4 ? (char *)last + 8 : NULL;
			break;
		default: /* kept */
			kept[id] = memory;
		}
	}
}

static __attribute__((noinline)) void clobber(void)
{
	volatile char room[100000];

	for (size_t i = 0; i < sizeof(room); i++)
		room[i] = (char)i;
}

static pthread_barrier_t barrier;

static void *work(void *unused)
{
	make(IDS / 2, IDS);
	clobber();
	pthread_barrier_wait(&barrier);
	pause();
	return unused;
}

static __attribute__((noinline)) void say(void)
{
	printf("%d\n", (int)getpid());
	for (int id = 0; id < IDS; id++)
		printf("%zu %zx\n", size_of(id), (size_t)~hidden[id]);
	printf("ready\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	pthread_t thread;

	(void)argv;
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&thread, NULL, work, NULL);
	pthread_barrier_wait(&barrier);
	make(0, IDS / 2);
	clobber();
	say();
	clobber();
	while (argc < 2 && getchar() != EOF)
		;
	return 0;
}
