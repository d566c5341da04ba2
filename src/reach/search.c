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
	STACK = 1 << 15,
	FEW = STACK / 2,         /* chunks to follow, that a search by stack begins with */
	WORTH_A_THREAD = 100000, /* chunks: about 10 ms of work */
	WORTH_A_GIFT = 2048,     /* chunks on a stack, above which half of them are given away */
	WAITS = VMAT_SEARCH_WAITS,
};

/* What one thread has too much of, for the other that has nothing left to do. */
struct pool {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint32_t chunks[STACK / 2];
	size_t count;
	unsigned running; /* threads that have begun to follow */
	_Atomic unsigned waiting;
	bool is_over; /* all that run had nothing left: who begins later has only its own */
	_Atomic bool is_crowded; /* a stack was full: a sweep is the better way */
};

struct vmat_search {
	const struct vmat_search_graph *graph;
	struct pool *pool;
	unsigned char flag;
	bool only_starts;
	bool is_sweeping; /* what is found waits for a sweep; else it goes on the stack */
	uint32_t queue[QUEUE];
	size_t first, count;
	uint32_t stack[STACK];
	size_t stack_count;
	size_t followed; /* by the last sweep */
};

static void set_flags(const struct vmat_search *search, uint32_t chunk, unsigned flags)
{
	atomic_store_explicit(&search->graph->flags[chunk], (unsigned char)flags,
			      memory_order_relaxed);
}

/* Takes the oldest of the queue: one that is new is to be followed. Relaxed: see search.h. */
static void take_oldest(struct vmat_search *search)
{
	const struct vmat_search_graph *graph = search->graph;
	uint32_t target = search->queue[search->first];
	unsigned flags;

	search->first = (search->first + 1) % QUEUE;
	search->count--;
	flags = atomic_load_explicit(&graph->flags[target], memory_order_relaxed);
	if ((flags & (graph->in_use | search->flag)) != graph->in_use)
		return;
	if (search->is_sweeping || search->stack_count == STACK) {
		set_flags(search, target, flags | search->flag | WAITS);
		if (!search->is_sweeping)
			atomic_store_explicit(&search->pool->is_crowded, true,
					      memory_order_relaxed);
		return;
	}
	set_flags(search, target, flags | search->flag);
	__builtin_prefetch(&graph->index->counts[target]);
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

	const uint32_t *edges = graph->edges + vmat_edge_first(graph->index, chunk);
	uint32_t count = vmat_edge_count(graph->index, chunk);

	for (uint32_t i = 0; i < count; i++) {
		uint32_t edge = edges[i];

		if (edge != VMAT_NO_CHUNK && !(search->only_starts && edge & VMAT_EDGE_INTO))
			vmat_search_consider(search, VMAT_EDGE_CHUNK(edge));
	}
}

static void drain(struct vmat_search *search)
{
	while (search->count)
		take_oldest(search);
}

/*
 * Calls visit for the chunks of [from, to) that wait, until it returns false. Eight flags are looked at at once.
 */
static void visit_waiting(struct vmat_search *search, size_t from, size_t to,
			  bool (*visit)(struct vmat_search *search, uint32_t chunk))
{
	typedef uint64_t __attribute__((may_alias)) eight_flags;
	const eight_flags all_wait = UINT64_C(0x0101010101010101) * WAITS;
	_Atomic unsigned char *flags = search->graph->flags;
	/* malloc aligns it; of a chunk whose number is a multiple of eight, so is the word. */
	const eight_flags *words = (const void *)(uintptr_t)flags;

	for (size_t chunk = from; chunk < to; chunk++) {
		unsigned now;

		while (chunk % 8 == 0 && to - chunk > 8 &&
		       !(__atomic_load_n(&words[chunk / 8], __ATOMIC_RELAXED) & all_wait))
			chunk += 8;
		now = atomic_load_explicit(&flags[chunk], memory_order_relaxed);
		if (!(now & WAITS))
			continue;
		set_flags(search, (uint32_t)chunk, now & ~(unsigned)WAITS);
		if (!visit(search, (uint32_t)chunk))
			return;
	}
}

static bool follow_one(struct vmat_search *search, uint32_t chunk)
{
	consider_edges(search, chunk);
	search->followed++;
	return true;
}

static bool push_one(struct vmat_search *search, uint32_t chunk)
{
	search->stack[search->stack_count++] = chunk;
	return search->stack_count < STACK;
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

/* What is left to follow waits for the next sweep. */
static void leave_waiting(struct vmat_search *search)
{
	search->is_sweeping = true;
	drain(search);
	while (search->stack_count) {
		uint32_t chunk = search->stack[--search->stack_count];

		set_flags(search, chunk,
			  WAITS | atomic_load_explicit(&search->graph->flags[chunk],
						       memory_order_relaxed));
	}
}

/* Follows references until nothing new comes up anywhere, or too much does. */
static void follow(struct vmat_search *search)
{
	struct pool *pool = search->pool;

	pthread_mutex_lock(&pool->lock);
	pool->running++;
	pthread_mutex_unlock(&pool->lock);
	do {
		while (search->stack_count || search->count) {
			if (atomic_load_explicit(&pool->is_crowded, memory_order_relaxed)) {
				leave_waiting(search);
				break;
			}
			if (!search->stack_count) {
				take_oldest(search);
				continue;
			}
			if (search->stack_count > WORTH_A_GIFT &&
			    atomic_load_explicit(&pool->waiting, memory_order_relaxed))
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
	struct vmat_search *searches; /* one for each part */
	void (*seed)(struct vmat_search *search, void *context, unsigned i, unsigned parts);
	void *context;
};

/* The chunks of a part begin at a multiple of eight: two threads never clear flags that lie in one word. */
static size_t part_start(const struct vmat_search *search, unsigned i, unsigned parts)
{
	size_t count = search->graph->chunks_count;

	return i == parts ? count : (count * i / parts) & ~(size_t)7;
}

static void seed_part(void *context, unsigned i, unsigned parts)
{
	struct run *run = context;

	run->searches[i].is_sweeping = true;
	run->seed(&run->searches[i], run->context, i, parts);
	drain(&run->searches[i]);
}

static void sweep_part(void *context, unsigned i, unsigned parts)
{
	struct run *run = context;
	struct vmat_search *search = &run->searches[i];

	search->is_sweeping = true;
	search->followed = 0;
	visit_waiting(search, part_start(search, i, parts), part_start(search, i + 1, parts),
		      follow_one);
	drain(search);
}

static void follow_part(void *context, unsigned i, unsigned parts)
{
	struct run *run = context;
	struct vmat_search *search = &run->searches[i];

	search->is_sweeping = false;
	visit_waiting(search, part_start(search, i, parts), part_start(search, i + 1, parts),
		      push_one);
	if (search->stack_count == STACK)
		atomic_store_explicit(&search->pool->is_crowded, true, memory_order_relaxed);
	follow(search);
}

/*
 * Sweeps while much is to be followed, by stack when it is little; each turn of either follows FEW chunks at least, but for
 * the last: a sweep costs a thousandth of what it takes to read as many chunks from the target.
 */
static void search_all(struct run *run, unsigned parts)
{
	struct pool *pool = run->searches[0].pool;

	vmat_in_parts(seed_part, run, parts);
	do {
		size_t followed;

		do {
			vmat_in_parts(sweep_part, run, parts);
			followed = 0;
			for (unsigned i = 0; i < parts; i++)
				followed += run->searches[i].followed;
		} while (followed >= FEW);
		pool->running = 0;
		pool->waiting = 0;
		pool->is_over = false;
		atomic_store(&pool->is_crowded, false);
		vmat_in_parts(follow_part, run, parts);
	} while (atomic_load(&pool->is_crowded));
}

int vmat_search_run(const struct vmat_search_graph *graph, unsigned char flag, bool only_starts,
		    void (*seed)(struct vmat_search *search, void *context, unsigned i,
				 unsigned parts),
		    void *context)
{
	const unsigned parts = vmat_search_parts(graph->chunks_count);
	struct run run = { .seed = seed, .context = context };
	struct pool *pool = calloc(1, sizeof(*pool));
	int err;

	run.searches = calloc(parts, sizeof(*run.searches));
	err = pool && run.searches ? 0 : -ENOMEM;
	if (!err) {
		for (unsigned i = 0; i < parts; i++) {
			run.searches[i].graph = graph;
			run.searches[i].pool = pool;
			run.searches[i].flag = flag;
			run.searches[i].only_starts = only_starts;
		}
		pthread_mutex_init(&pool->lock, NULL);
		pthread_cond_init(&pool->changed, NULL);
		search_all(&run, parts);
		pthread_cond_destroy(&pool->changed);
		pthread_mutex_destroy(&pool->lock);
	}
	free(run.searches);
	free(pool);
	return err;
}
