/* SPDX-License-Identifier: MIT */
/*
 * leak_truth: a program that loses blocks on purpose, and says how many.
 *
 * usage: leak_truth SCALE
 *
 * For each unit of SCALE it loses 100 single blocks, 50 rings of 3, 10 chains of 10, 1 mapped block of 200 KiB, and
 * 50 blocks in a second thread's arena; and it keeps 200 blocks in an array, a list of 100, 100 that are
 * referred to only by an address into them, and a C++-like object by its second base. One line of JSON says what
 * must be found; then it waits for the end of stdin.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SCALE_MAX = 1000, KEPT = 200, LISTED = 100, INTO = 100, MAPPED = 200 * 1024 };

struct node {
	struct node *next;
	char payload[56];
};

/* Not static: what nobody reads would be left out. */
extern void *volatile kept[];
extern char *volatile into[];
extern struct node *volatile list;
void *volatile kept[SCALE_MAX * KEPT];
char *volatile into[SCALE_MAX * INTO];
struct node *volatile list;
static volatile uintptr_t sink;

/* A block with something in it that is no address. */
static void *block(size_t size)
{
	char *memory = malloc(size);

	if (!memory)
		abort();
	memset(memory, 'v', size);
	memory[size - 1] = '\0';
	return memory;
}

static struct node *chain(size_t length, int is_ring)
{
	struct node *last = block(sizeof(*last)), *first = last;

	last->next = NULL;
	for (size_t i = 1; i < length; i++) {
		struct node *node = block(sizeof(*node));

		node->next = first;
		first = node;
	}
	if (is_ring)
		last->next = first;
	return first;
}

/* Of its own stack frame, which clobber() overwrites afterwards. */
static __attribute__((noinline)) void lose(size_t scale)
{
	for (size_t i = 0; i < scale; i++) {
		for (int k = 0; k < 100; k++)
			sink += (uintptr_t)block(100) & 1;
		for (int k = 0; k < 50; k++)
			sink += (uintptr_t)chain(3, 1) & 1;
		for (int k = 0; k < 10; k++)
			sink += (uintptr_t)chain(10, 0) & 1;
		sink += (uintptr_t)block(MAPPED) & 1;
	}
}

static __attribute__((noinline)) void keep(size_t scale)
{
	for (size_t i = 0; i < scale; i++) {
		for (size_t k = 0; k < KEPT; k++)
			kept[i * KEPT + k] = block(48);
		for (size_t k = 0; k < LISTED; k++) {
			struct node *node = block(sizeof(*node));

			node->next = list;
			list = node;
		}
		for (size_t k = 0; k < INTO; k++)
			into[i * INTO + k] = (char *)block(80) + 32;
	}
}

static __attribute__((noinline)) void clobber(void)
{
	volatile char room[64 * 1024];

	for (size_t i = 0; i < sizeof(room); i++)
		room[i] = (char)i;
}

static pthread_barrier_t barrier;

static __attribute__((noinline)) void lose_in_thread(size_t scale)
{
	for (size_t i = 0; i < scale * 50; i++)
		sink += (uintptr_t)block(120) & 1;
}

static void *work(void *scale)
{
	lose_in_thread(*(size_t *)scale);
	clobber();
	pthread_barrier_wait(&barrier);
	pause();
	return NULL;
}

int main(int argc, char **argv)
{
	size_t scale = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
	pthread_t thread;

	if (!scale || scale > SCALE_MAX)
		return 2;
	free(block(
		2000)); /* without any free, a static program gets musl's malloc that knows none */
	pthread_barrier_init(&barrier, NULL, 2);
	if (pthread_create(&thread, NULL, work, &scale))
		return 1;
	pthread_barrier_wait(&barrier);
	lose(scale);
	keep(scale);
	clobber();
	printf("{\"pid\": %d, \"direct\": %zu, \"indirect\": %zu, \"interior\": %zu, \"kept\": %zu}\nready\n",
	       (int)getpid(), scale * (100 + 50 + 10 + 1 + 50), scale * (100 + 90), scale * INTO,
	       scale * (KEPT + LISTED + INTO));
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
