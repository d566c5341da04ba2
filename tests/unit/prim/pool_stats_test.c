/* SPDX-License-Identifier: MIT */
/* variant: VMAT_WITHOUT=all */
/*
 * What the pool tells of itself: costs that were measured, also to those who ask first, and counts that add up.
 */
#include <errno.h>
#include <pthread.h>

#include <vmatlas/feature.h>
#include <vmatlas/prim/pool.h>

#include "cmocka_all.h"

static pthread_barrier_t together;

static void *ask(void *context)
{
	struct vmat_pool_costs *costs = context;

	pthread_barrier_wait(&together);
	*costs = (struct vmat_pool_costs){ .size = sizeof(*costs) };
	assert_int_equal(vmat_pool_costs(costs), 0);
	return NULL;
}

/* Threads that ask first, at the same time, are all told the same: that what was measured, and no assumption. */
static void test_first_answers(void **state)
{
	enum { COUNT = 8 };
	struct vmat_pool_costs costs[COUNT];
	pthread_t threads[COUNT];

	(void)state;
	pthread_barrier_init(&together, NULL, COUNT);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask, &costs[i]), 0);
	for (int i = 0; i < COUNT; i++)
		pthread_join(threads[i], NULL);
	for (int i = 1; i < COUNT; i++)
		assert_memory_equal(&costs[i], &costs[0], sizeof(costs[0]));
}

static void test_costs(void **state)
{
	struct vmat_pool_costs costs = { .size = sizeof(costs) };

	(void)state;
	assert_int_equal(vmat_pool_costs(&costs), 0);
	assert_true(costs.clear_page_ns > 0 && costs.fault_page_ns > costs.clear_page_ns);
	assert_true((costs.scan_call_ns > 0) == vmat_feature_has(VMAT_FEATURE_PAGEMAP));
	costs.size = 0;
	assert_int_equal(vmat_pool_costs(&costs), -EINVAL);
}

/* A cache is granted more of the budget than it keeps: what trim tells is what was kept. */
static void test_trim(void **state)
{
	struct vmat_pool_options options = { .size = sizeof(options),
					     .region_size = 65536,
					     .regions_max = 64,
					     .budget_bytes = VMAT_POOL_NO_LIMIT };
	struct vmat_pool_stats stats = { .size = sizeof(stats) };
	struct vmat_pool *pool;
	uint64_t back = 0;
	void *region;

	(void)state;
	assert_int_equal(vmat_pool_new(&options, &pool), 0);
	assert_int_equal(vmat_pool_acquire(pool, &region), 0);
	assert_int_equal(vmat_pool_release_written(pool, region, &(uint64_t){ 7 }), 0);
	assert_int_equal(vmat_pool_stats(pool, &stats), 0);
	assert_int_equal(stats.kept_bytes, 3 * 4096);
	assert_true(stats.kept_peak_bytes >= stats.kept_bytes);
	assert_int_equal(vmat_pool_trim(pool, 0, &back), 0);
	assert_int_equal(back, 3 * 4096);
	assert_int_equal(vmat_pool_trim(pool, 0, &back), 0);
	assert_int_equal(back, 0);
	vmat_pool_free(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_answers),
		cmocka_unit_test(test_costs),
		cmocka_unit_test(test_trim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
