/* SPDX-License-Identifier: MIT */
/*
 * explain_truth: a program with known ways to its blocks, and with places of each kind. One line of JSON names them.
 *
 *   global    cache (of this file) -> a +16 -> b +24 -> c
 *   list      a list of 100 nodes from the static `head`: the last one is deep
 *   tls       a thread's own variable -> t
 *   stack     a variable of main -> s; another refers to b, too
 *   lost      l1 -> l2, to which nothing refers
 *   into      referred to by an address 8 bytes into it only
 *   freed     a block that was freed (kept by the thread's cache)
 *   holes     an address in a region that was unmapped, between two that were not
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct a {
	char text[16];
	struct b *b;
};

struct b {
	long numbers[3];
	struct c *c;
};

struct c {
	char text[120];
};

struct node {
	struct node *next;
	long payload[5];
};

extern struct a *volatile cache[4];
struct a *volatile cache[4];
static struct node *volatile head;
static char *volatile interior;
static __thread void *volatile own;
static volatile uintptr_t hidden; /* an address, all bits inverted */
static pthread_barrier_t barrier;
static char constant[64] = "initialised data";
static uintptr_t truth[32];

static void *work(void *unused)
{
	char frame[64] = "a frame";

	(void)unused;
	own = memset(malloc(200), 't', 200);
	truth[0] = ~(uintptr_t)own;
	truth[1] = (uintptr_t)&own;
	truth[2] = (uintptr_t)frame;
	pthread_barrier_wait(&barrier);
	for (;;)
		pause();
	return NULL;
}

static __attribute__((noinline)) void make(void)
{
	struct a *a = calloc(1, sizeof(*a));
	struct b *b = calloc(1, sizeof(*b));
	struct c *c = calloc(1, sizeof(*c));
	struct node *last = NULL;
	void *freed = malloc(1000);
	char *lost_2 = memset(malloc(300), 'l', 300), *into = memset(malloc(150), 'i', 150);
	char **lost_1 = malloc(80);

	memset(lost_1, 0, 80);
	lost_1[5] = lost_2;
	strcpy(a->text, "the first");
	strcpy(c->text, "the third");
	a->b = b;
	b->c = c;
	cache[2] = a;
	for (int i = 0; i < 100; i++) {
		struct node *node = calloc(1, sizeof(*node));

		node->next = head;
		head = node;
		if (i == 0)
			last = node;
	}
	interior = into + 8;
	truth[10] = ~(uintptr_t)freed;
	free(freed);
	truth[3] = ~(uintptr_t)a;
	truth[4] = ~(uintptr_t)b;
	truth[5] = ~(uintptr_t)c;
	truth[6] = ~(uintptr_t)last;
	truth[7] = ~(uintptr_t)lost_1;
	truth[8] = ~(uintptr_t)lost_2;
	truth[9] = ~(uintptr_t)into;
}

static __attribute__((noinline)) void clobber(void)
{
	volatile char room[32768];

	for (size_t i = 0; i < sizeof(room); i++)
		room[i] = (char)i;
}

/* Of its own frame, which clobber() overwrites. */
static __attribute__((noinline)) void say(size_t hole, size_t variable, size_t block)
{
	printf("{\"pid\": %d, \"cache\": %zu, \"a\": %zu, \"b\": %zu, \"c\": %zu, \"deep\": %zu, \"lost_1\": %zu, "
	       "\"lost_2\": %zu, \"into\": %zu, \"freed\": %zu, \"t\": %zu, \"own\": %zu, \"frame\": %zu, \"s\": %zu, "
	       "\"on_stack\": %zu, \"hole\": %zu, \"constant\": %zu, \"work\": %zu, \"head\": %zu}\n",
	       (int)getpid(), (size_t)cache, ~truth[3], ~truth[4], ~truth[5], ~truth[6], ~truth[7],
	       ~truth[8], ~truth[9], ~truth[10], ~truth[0], truth[1], truth[2], block, variable,
	       hole, (size_t)constant, (size_t)work, (size_t)&head);
	fflush(stdout);
}

int main(void)
{
	char *volatile on_stack = memset(malloc(500), 's', 500);
	char *region = mmap(NULL, 3 * 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct b *volatile also;
	pthread_t thread;

	munmap(region + 65536, 65536);
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&thread, NULL, work, NULL);
	pthread_barrier_wait(&barrier);
	make();
	clobber();
	also = cache[2]->b;
	say((size_t)region + 65536 + 4096, (size_t)&on_stack, (size_t)on_stack);
	clobber();
	while (getchar() != EOF)
		;
	free(on_stack);
	return hidden == 1 || !also;
}
