/* SPDX-License-Identifier: MIT */
/* The edges of chunks, found by an index and moved between two: the same as sums over plain numbers. */
#include "reach/edge_index.h"

#include <errno.h>

#include "cmocka_all.h"

enum { CHUNKS = 10000 };

static uint32_t counts[CHUNKS];

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 33;
}

/* Few for most; 254, 255, 256 and very many for some. */
static void make_counts(uint64_t seed)
{
	for (size_t i = 0; i < CHUNKS; i++) {
		uint64_t kind = next_random(&seed) % 50;

		counts[i] = kind < 40   ? (uint32_t)(next_random(&seed) % 5)
			    : kind < 47 ? 250 + (uint32_t)(next_random(&seed) % 10)
			    : kind < 49 ? (uint32_t)(next_random(&seed) % 100000)
					: 0;
	}
}

static void add_all(struct vmat_edge_index *index, size_t from, size_t to)
{
	uint32_t end = 0;

	for (size_t i = from; i < to; i++)
		assert_int_equal(vmat_edge_index_add(index, end += counts[i]), 0);
}

static void check(const struct vmat_edge_index *index, size_t count)
{
	uint32_t first = 0;

	assert_int_equal(index->count, count);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(vmat_edge_count(index, i), counts[i]);
		assert_int_equal(vmat_edge_first(index, i), first);
		if (counts[i]) {
			assert_int_equal(vmat_edge_owner(index, first), i);
			assert_int_equal(vmat_edge_owner(index, first + counts[i] - 1), i);
		}
		first += counts[i];
	}
	assert_int_equal(index->end, first);
}

static void test_counts(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct vmat_edge_index index;

		make_counts(seed);
		assert_int_equal(vmat_edge_index_init(&index, CHUNKS), 0);
		add_all(&index, 0, CHUNKS);
		check(&index, CHUNKS);
		assert_int_equal(vmat_edge_index_add(&index, index.end), -E2BIG);
		vmat_edge_index_deinit(&index);
	}
}

static void test_move(void **state)
{
	const size_t splits[] = { 0, 1, 15, 16, 17, 5003, CHUNKS - 1, CHUNKS };

	(void)state;
	make_counts(77);
	for (size_t i = 0; i < sizeof(splits) / sizeof(splits[0]); i++) {
		struct vmat_edge_index index, part;

		assert_int_equal(vmat_edge_index_init(&index, CHUNKS), 0);
		assert_int_equal(vmat_edge_index_init(&part, CHUNKS), 0);
		add_all(&index, 0, splits[i]);
		add_all(&part, splits[i], CHUNKS);
		assert_int_equal(vmat_edge_index_move(&index, &part), 0);
		check(&index, CHUNKS);
		assert_int_equal(part.count, 0);
		vmat_edge_index_deinit(&part);
		vmat_edge_index_deinit(&index);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
