/* SPDX-License-Identifier: MIT */
#include "reach/search.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	QUEUE = 32,
	PARTS_MAX = 2,
	WORTH_A_THREAD = 100000, /* chunks: about 10 ms of work */
	WORTH_A_GIFT = 2048,     /* chunks on a stack, above which half of them are given away */
};

/* What one thread has too much of, for the other that has nothing left to do. */
struct pool {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint32_t *chunks;
	size_t count;
	unsigned running; /* threads that have begun to follow */
	_Atomic unsigned waiting;
	bool is_over; /* all that run had nothing left: who begins later has only its own */
};

struct vmat_search {
	const struct vmat_search_graph *graph;
	struct pool *pool;
	unsigned char flag;
	bool only_starts;
	uint32_t queue[QUEUE];
	size_t first, count;
	uint32_t *stack;
	size_t stack_count;
};

/* Takes the oldest of the queue: one that is new goes on the stack. Relaxed: see search.h. */
static void take_oldest(struct vmat_search *search)
{
	const struct vmat_search_graph *graph = search->graph;
	uint32_t target = search->queue[search->first];
	unsigned char flags;

	search->first = (search->first + 1) % QUEUE;
	search->count--;
	flags = atomic_load_explicit(&graph->flags[target], memory_order_relaxed);
	if ((flags & (graph->in_use | search->flag)) != graph->in_use)
		return;
	atomic_store_explicit(&graph->flags[target], flags | search->flag, memory_order_relaxed);
	__builtin_prefetch(&graph->offsets[target]);
	search->stack[search->stack_count++] = target;
}

void vmat_search_consider(struct vmat_search *search, uint32_t chunk)
{
	if (search->count == QUEUE)
		take_oldest(search);
	__builtin_prefetch(&search->graph->flags[chunk], 1);
	search->queue[(search->first + search->count++) % QUEUE] = chunk;
}

static void consider_edges(struct vmat_search *search, uint32_t chunk)
{
	const struct vmat_search_graph *graph = search->graph;

	for (uint32_t i = graph->offsets[chunk]; i < graph->offsets[chunk + 1]; i++) {
		uint32_t edge = graph->edges[i];

		if (edge != VMAT_NO_CHUNK && !(search->only_starts && edge & VMAT_EDGE_INTO))
			vmat_search_consider(search, VMAT_EDGE_CHUNK(edge));
	}
}

/* The lower half of the stack, which leads furthest, for the thread that waits. */
static void give(struct vmat_search *search)
{
	struct pool *pool = search->pool;
	size_t half = search->stack_count / 2;

	pthread_mutex_lock(&pool->lock);
	if (!pool->count) {
		memcpy(pool->chunks, search->stack, half * sizeof(*search->stack));
		pool->count = half;
		search->stack_count -= half;
		memmove(search->stack, search->stack + half,
			search->stack_count * sizeof(*search->stack));
		pthread_cond_signal(&pool->changed);
	}
	pthread_mutex_unlock(&pool->lock);
}

/* Waits for a gift. False when nobody has anything left. */
static bool receive(struct vmat_search *search)
{
	struct pool *pool = search->pool;
	bool has_more;

	pthread_mutex_lock(&pool->lock);
	pool->waiting++;
	while (!pool->count && !pool->is_over) {
		if (pool->waiting == pool->running) {
			pool->is_over = true;
			pthread_cond_broadcast(&pool->changed);
		} else {
			pthread_cond_wait(&pool->changed, &pool->lock);
		}
	}
	has_more = pool->count > 0;
	if (has_more) {
		memcpy(search->stack, pool->chunks, pool->count * sizeof(*search->stack));
		search->stack_count = pool->count;
		pool->count = 0;
		pool->waiting--;
	}
	pthread_mutex_unlock(&pool->lock);
	return has_more;
}

/* Follows references until nothing new comes up anywhere. */
static void follow(struct vmat_search *search)
{
	pthread_mutex_lock(&search->pool->lock);
	search->pool->running++;
	pthread_mutex_unlock(&search->pool->lock);
	do {
		while (search->stack_count || search->count) {
			if (!search->stack_count) {
				take_oldest(search);
				continue;
			}
			if (search->stack_count > WORTH_A_GIFT &&
			    atomic_load_explicit(&search->pool->waiting, memory_order_relaxed))
				give(search);
			consider_edges(search, search->stack[--search->stack_count]);
		}
	} while (receive(search));
}

struct part {
	pthread_t thread;
	void (*run)(void *context, unsigned i, unsigned parts);
	void *context;
	unsigned i, parts;
	bool is_started;
};

static void *part_main(void *argument)
{
	const struct part *part = argument;

	part->run(part->context, part->i, part->parts);
	return NULL;
}

unsigned vmat_search_parts(size_t count)
{
	return count >= WORTH_A_THREAD && sysconf(_SC_NPROCESSORS_ONLN) > 1 ? PARTS_MAX : 1;
}

void vmat_in_parts(void (*part)(void *context, unsigned i, unsigned parts), void *context,
		   unsigned parts)
{
	struct part others[PARTS_MAX];

	for (unsigned i = 1; i < parts; i++) {
		others[i] =
			(struct part){ .run = part, .context = context, .i = i, .parts = parts };
		others[i].is_started =
			pthread_create(&others[i].thread, NULL, part_main, &others[i]) == 0;
	}
	part(context, 0, parts);
	for (unsigned i = 1; i < parts; i++) {
		if (others[i].is_started)
			pthread_join(others[i].thread, NULL);
		else
			part(context, i, parts);
	}
}

struct run {
	struct vmat_search searches[PARTS_MAX];
	void (*seed)(struct vmat_search *search, void *context, unsigned i, unsigned parts);
	void *context;
};

static void seed_part(void *context, unsigned i, unsigned parts)
{
	struct run *run = context;

	run->seed(&run->searches[i], run->context, i, parts);
}

static void follow_part(void *context, unsigned i, unsigned parts)
{
	struct run *run = context;

	(void)parts;
	follow(&run->searches[i]);
}

int vmat_search_run(const struct vmat_search_graph *graph, unsigned char flag, bool only_starts,
		    void (*seed)(struct vmat_search *search, void *context, unsigned i,
				 unsigned parts),
		    void *context)
{
	const size_t size = (graph->chunks_count + 1) * sizeof(uint32_t);
	const unsigned parts = vmat_search_parts(graph->chunks_count);
	struct pool pool = { 0 };
	struct run run = { .seed = seed, .context = context };
	bool has_memory = true;

	pool.chunks = malloc(size);
	for (unsigned i = 0; i < parts; i++) {
		run.searches[i] = (struct vmat_search){ .graph = graph,
							.pool = &pool,
							.flag = flag,
							.only_starts = only_starts,
							.stack = malloc(size) };
		has_memory &= run.searches[i].stack != NULL;
	}
	if (has_memory && pool.chunks) {
		pthread_mutex_init(&pool.lock, NULL);
		pthread_cond_init(&pool.changed, NULL);
		vmat_in_parts(seed_part, &run, parts);
		vmat_in_parts(follow_part, &run, parts);
		pthread_cond_destroy(&pool.changed);
		pthread_mutex_destroy(&pool.lock);
	}
	for (unsigned i = 0; i < parts; i++)
		free(run.searches[i].stack);
	has_memory &= pool.chunks != NULL;
	free(pool.chunks);
	return has_memory ? 0 : -ENOMEM;
}
