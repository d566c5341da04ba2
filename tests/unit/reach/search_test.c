/* SPDX-License-Identifier: MIT */
/*
 * Which chunks can be reached, by sweeps and by stacks, with one thread and with two: the same as a search that is written down
 * here in the plainest way. Graphs are random ones, lists that run up, down and at random, trees, and combs, whose
 * long spine has teeth (each step of it finds more than it follows).
 */
#include "reach/search.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"

enum { USED = 1, REACHED = 2, EDGES_EACH = 8 };

struct graph {
	uint32_t count;
	struct vmat_edge_index index;
	uint32_t *edges;
	_Atomic unsigned char *flags;
	uint32_t root;
};

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 33;
}

static void make(struct graph *graph, uint32_t count)
{
	*graph = (struct graph){ .count = count };
	assert_int_equal(vmat_edge_index_init(&graph->index, count), 0);
	graph->edges = malloc(sizeof(*graph->edges) * EDGES_EACH * count);
	graph->flags = calloc(count, 1);
	assert_non_null(graph->edges);
	assert_non_null(graph->flags);
	for (uint32_t i = 0; i < count; i++)
		atomic_init(&graph->flags[i], USED);
}

static void add_edge(struct graph *graph, uint32_t *end, uint32_t to)
{
	graph->edges[(*end)++] = to;
}

static void end_chunk(struct graph *graph, uint32_t end)
{
	assert_int_equal(vmat_edge_index_add(&graph->index, end), 0);
}

/* Three edges each, some of them into chunks, some to none; a tenth of the chunks is not in use. */
static void make_random(struct graph *graph, uint32_t count)
{
	uint64_t state = count;
	uint32_t end = 0;

	make(graph, count);
	for (uint32_t i = 0; i < count; i++) {
		for (int k = 0; k < 3; k++) {
			uint64_t kind = next_random(&state) % 10;
			uint32_t to = (uint32_t)(next_random(&state) % count);

			add_edge(graph, &end,
				 kind == 0   ? VMAT_NO_CHUNK
				 : kind == 1 ? to | VMAT_EDGE_INTO
					     : to);
		}
		end_chunk(graph, end);
		if (next_random(&state) % 10 == 0)
			atomic_init(&graph->flags[i], 0);
	}
}

/* Chunk i leads to i + step; `teeth` others hang on it, which lie elsewhere. */
static void make_comb(struct graph *graph, uint32_t count, bool is_down, uint32_t teeth)
{
	uint32_t end = 0, spine = count > teeth ? count / (1 + teeth) : 1;

	make(graph, count);
	for (uint32_t i = 0; i < count; i++) {
		if (i < spine) {
			for (uint32_t k = 0; k < teeth && count > teeth; k++)
				add_edge(graph, &end, spine + i * teeth + k);
			if (is_down ? i > 0 : i + 1 < spine)
				add_edge(graph, &end, is_down ? i - 1 : i + 1);
		}
		end_chunk(graph, end);
	}
	graph->root = is_down ? spine - 1 : 0;
}

static void make_tree(struct graph *graph, uint32_t count)
{
	uint32_t end = 0;

	make(graph, count);
	for (uint32_t i = 0; i < count; i++) {
		for (uint32_t k = 1; k <= 2; k++) {
			if (2 * (uint64_t)i + k < count)
				add_edge(graph, &end, 2 * i + k);
		}
		end_chunk(graph, end);
	}
}

static void seed_root(struct vmat_search *search, void *context, unsigned i, unsigned parts)
{
	const struct graph *graph = context;

	(void)parts;
	if (i == 0)
		vmat_search_consider(search, graph->root);
}

/* What is reached is taken away from a plain search's; both must end empty. */
static void check(struct graph *graph, bool only_starts)
{
	struct vmat_search_graph over = { .flags = graph->flags,
					  .index = &graph->index,
					  .edges = graph->edges,
					  .chunks_count = graph->count,
					  .in_use = USED };
	unsigned char *plain = calloc(graph->count, 1);
	uint32_t *stack = malloc(sizeof(*stack) * (graph->count + 1)), depth = 0;

	assert_non_null(plain);
	assert_non_null(stack);
	assert_int_equal(vmat_search_run(&over, REACHED, only_starts, seed_root, graph), 0);
	if (graph->flags[graph->root] & USED)
		plain[stack[depth++] = graph->root] = 1;
	while (depth) {
		uint32_t chunk = stack[--depth], first = vmat_edge_first(&graph->index, chunk);

		for (uint32_t k = 0; k < vmat_edge_count(&graph->index, chunk); k++) {
			uint32_t edge = graph->edges[first + k], to = VMAT_EDGE_CHUNK(edge);

			if (edge == VMAT_NO_CHUNK || (only_starts && edge & VMAT_EDGE_INTO) ||
			    plain[to] || !(graph->flags[to] & USED))
				continue;
			plain[to] = 1;
			stack[depth++] = to;
		}
	}
	for (uint32_t i = 0; i < graph->count; i++) {
		unsigned want = (graph->flags[i] & USED) | (plain[i] ? REACHED : 0);

		if (graph->flags[i] != want)
			fail_msg("chunk %u of %u: flags %#x, and not %#x", i, graph->count,
				 graph->flags[i], want);
	}
	free(plain);
	free(stack);
	vmat_edge_index_deinit(&graph->index);
	free(graph->edges);
	free(graph->flags);
}

/* Small ones are searched by one thread, large ones by two where there are two processors. */
static const uint32_t sizes[] = { 1, 7, 8, 9, 1000, 99999, 300001 };

static void test_random(void **state)
{
	struct graph graph;

	(void)state;
	for (size_t n = 0; n < sizeof(sizes) / sizeof(sizes[0]); n++) {
		for (int only_starts = 0; only_starts < 2; only_starts++) {
			make_random(&graph, sizes[n]);
			check(&graph, only_starts);
		}
	}
}

static void test_combs(void **state)
{
	struct graph graph;

	(void)state;
	for (size_t n = 0; n < sizeof(sizes) / sizeof(sizes[0]); n++) {
		for (uint32_t teeth = 0; teeth < 4; teeth++) {
			make_comb(&graph, sizes[n], false, teeth);
			check(&graph, false);
			make_comb(&graph, sizes[n], true, teeth);
			check(&graph, false);
		}
	}
}

static void test_trees(void **state)
{
	struct graph graph;

	(void)state;
	for (size_t n = 0; n < sizeof(sizes) / sizeof(sizes[0]); n++) {
		make_tree(&graph, sizes[n]);
		check(&graph, false);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_combs),
		cmocka_unit_test(test_trees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
