/* SPDX-License-Identifier: MIT */
/* What tasks take of each heap, against sums made by hand from the sources of heap_1.c to heap_5.c. */
#include <errno.h>
#include <string.h>

#include "cmocka_all.h"
#include "rtos/rtos_priv.h"

static struct vmat_plan plan_of(uint64_t word, uint64_t tcb_size, uint64_t depth)
{
	struct vmat_plan plan = {
		.count = 1,
		.word = word,
		.tcb_size = tcb_size,
		.heap_size = VMAT_UNKNOWN(VMAT_NOT_ASKED),
	};

	plan.tasks[0].depth = depth;
	return plan;
}

/* "I asked for 1000, and 4000 bytes went away." */
static void test_thousand_more_words(void **state)
{
	static const uint64_t words[] = { 1, 2, 4, 8 };

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		struct vmat_plan one = plan_of(words[i], 92, 1000);
		struct vmat_plan two = plan_of(words[i], 92, 2000);

		assert_int_equal(vmat_plan_compute(&one, NULL), 0);
		assert_int_equal(vmat_plan_compute(&two, NULL), 0);
		for (size_t heap = 0; heap < VMAT_RTOS_SCHEMES; heap++)
			assert_int_equal(two.sum.cost[heap] - one.sum.cost[heap], 1000 * words[i]);
	}
}

/* Measured on a Cortex-M3 with heap_4: 25480 bytes free before, 21368 behind a task of 1000 words. */
static void test_cortex_m3(void **state)
{
	struct vmat_plan plan = plan_of(4, 92, 1000);

	(void)state;
	plan.heap_size = 25600;
	assert_int_equal(vmat_plan_compute(&plan, NULL), 0);
	assert_int_equal(plan.tasks[0].stack, 4000);
	assert_int_equal(plan.tasks[0].cost[3], 25480 - 21368);
	assert_int_equal(plan.tasks[0].cost[0], 4000 + 96);
	assert_int_equal(plan.tasks[0].cost[1], plan.tasks[0].cost[3]);
	assert_int_equal(plan.tasks[0].cost[4], plan.tasks[0].cost[3]);
	/* newlib: a word before each, rounded up to 8. */
	assert_int_equal(plan.tasks[0].cost[2], 4008 + 96);
	assert_int_equal(plan.left[0], 25600 - 8 - 4096);
	assert_int_equal(plan.left[3], 25600 - 8 - 4112);
}

static void test_what_does_not_fit(void **state)
{
	struct vmat_plan plan = plan_of(4, 92, 6380);

	(void)state;
	plan.heap_size = 25600 + 20;
	assert_int_equal(vmat_plan_compute(&plan, NULL), 0);
	/* 25520 + 96 and an alignment; with headers 25528 + 104 */
	assert_false(plan.fits[0]);
	assert_false(vmat_is_known(plan.left[0]));
	plan.heap_size = 25616 + 8; /* all of it: heap_1 keeps the last byte */
	assert_int_equal(vmat_plan_compute(&plan, NULL), 0);
	assert_false(plan.fits[0]);
	plan.heap_size += 8;
	assert_int_equal(vmat_plan_compute(&plan, NULL), 0);
	assert_true(plan.fits[0]);
	assert_int_equal(plan.left[0], 8);
	assert_false(plan.fits[3]);
}

static void test_bytes_and_64_bits(void **state)
{
	struct vmat_plan avr = plan_of(1, 47, 100), posix = plan_of(8, 168, 100);

	(void)state;
	assert_int_equal(vmat_plan_compute(&avr, NULL), 0);
	assert_int_equal(avr.tasks[0].cost[0], 147);
	assert_int_equal(avr.tasks[0].cost[3], 147 + 2 * 4);
	assert_int_equal(vmat_plan_compute(&posix, NULL), 0);
	assert_int_equal(posix.tasks[0].cost[3], 816 + 184);
	/* glibc: chunks of 16 with one word of their own. */
	assert_int_equal(posix.tasks[0].cost[2], 816 + 176);
}

static void test_nonsense(void **state)
{
	struct vmat_plan plan = plan_of(3, 92, 10);

	(void)state;
	assert_int_equal(vmat_plan_compute(&plan, NULL), -EINVAL);
	plan = plan_of(4, 92, UINT64_MAX / 4 + 1);
	assert_int_equal(vmat_plan_compute(&plan, NULL), -EINVAL);
	plan = plan_of(4, 1ULL << 60, 10);
	assert_int_equal(vmat_plan_compute(&plan, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_thousand_more_words),
		cmocka_unit_test(test_cortex_m3),
		cmocka_unit_test(test_what_does_not_fit),
		cmocka_unit_test(test_bytes_and_64_bits),
		cmocka_unit_test(test_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
