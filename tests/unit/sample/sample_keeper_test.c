/* SPDX-License-Identifier: MIT */
/* Thinning keeps the span and the rare facts, and clocks tell what happened between two samples. */
#include "cmocka_all.h"
#include "sample/sampler_priv.h"

#define SECOND 1000000000ULL

static struct vmat_tick tick;

static void add(struct vmat_keeper *keeper, uint64_t number, bool has_regions)
{
	vmat_sample_init(&tick.sample);
	tick.sample.mono_ns = number;
	tick.sample.values[VMAT_METRIC_SIZE] = number;
	if (has_regions)
		tick.sample.values[VMAT_METRIC_REGIONS] = number;
	tick.events_count = 0;
	assert_int_equal(vmat_keeper_add(keeper, &tick, true), 0);
}

static void test_all_kept(void **state)
{
	struct vmat_keeper keeper;

	(void)state;
	vmat_keeper_init(&keeper, 101, 10); /* pairs: 100 */
	for (uint64_t i = 0; i < 100; i++)
		add(&keeper, i, false);
	assert_int_equal(keeper.series.samples_count, 100);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(keeper.series.samples[i].mono_ns, i);
	vmat_keeper_deinit(&keeper);
}

static void test_thinned(void **state)
{
	struct vmat_keeper keeper;
	uint64_t stride;

	(void)state;
	vmat_keeper_init(&keeper, 64, 10);
	for (uint64_t i = 0; i < 10000; i++) {
		add(&keeper, i, false);
		assert_in_range(keeper.series.samples_count, i < 32 ? i + 1 : 32, 64);
	}
	stride = keeper.stride;
	assert_int_equal(stride & (stride - 1), 0);
	for (size_t i = 0; i < keeper.series.samples_count; i++)
		assert_int_equal(keeper.series.samples[i].mono_ns, i * stride);
	assert_in_range((keeper.series.samples_count) * stride, 10000, 10000 + stride);
	vmat_keeper_deinit(&keeper);
}

/* One in a hundred knows the regions: of 1000 ticks in 64 places each of these ten must be kept. */
static void test_rare_kept(void **state)
{
	struct vmat_keeper keeper;
	uint64_t last = 0;
	size_t known = 0;

	(void)state;
	vmat_keeper_init(&keeper, 64, 10);
	for (uint64_t i = 0; i < 1000; i++)
		add(&keeper, i, i % 100 == 37);
	for (size_t i = 0; i < keeper.series.samples_count; i++) {
		const struct vmat_sample *sample = &keeper.series.samples[i];

		assert_true(!i || sample->mono_ns > last);
		last = sample->mono_ns;
		known += vmat_is_known(sample->values[VMAT_METRIC_REGIONS]);
	}
	assert_int_equal(known, 10);
	assert_int_equal(keeper.series.samples[0].mono_ns, 0);
	vmat_keeper_deinit(&keeper);
}

static void test_events(void **state)
{
	struct vmat_keeper keeper;

	(void)state;
	vmat_keeper_init(&keeper, 4, 10);
	for (uint64_t i = 0; i < 1000; i++) {
		tick.events_count = 0;
		vmat_tick_add(&tick, VMAT_EVENT_THREADS, i, "");
		assert_int_equal(vmat_keeper_add(&keeper, &tick, false), 0);
		assert_in_range(keeper.series.events_count, i < 6 ? i + 1 : 5, 10);
		assert_int_equal(keeper.series.events_count + keeper.events_dropped, i + 1);
	}
	assert_int_equal(keeper.series.events[0].number, 0);
	assert_int_equal(keeper.series.events[keeper.series.events_count - 1].number, 999);
	assert_int_equal(keeper.series.events[1].number, 1000 - keeper.series.events_count + 1);
	assert_int_equal(keeper.series.samples_count, 0);
	vmat_keeper_deinit(&keeper);
}

static void clocks(struct vmat_sample *sample, uint64_t mono, uint64_t boot, uint64_t wall)
{
	vmat_sample_init(sample);
	sample->mono_ns = mono;
	sample->boot_ns = boot;
	sample->wall_ns = wall;
}

static void test_clocks(void **state)
{
	struct vmat_sample before;

	(void)state;
	clocks(&before, 100 * SECOND, 150 * SECOND, 900 * SECOND);
	tick.events_count = 0;
	clocks(&tick.sample, 102 * SECOND, 152 * SECOND, 902 * SECOND + SECOND / 1000);
	vmat_sample_clock_events(&tick, &before);
	assert_int_equal(tick.events_count, 0);
	/* an hour of sleep is no step of the wall clock */
	clocks(&tick.sample, 102 * SECOND, 3752 * SECOND, 4502 * SECOND);
	vmat_sample_clock_events(&tick, &before);
	assert_int_equal(tick.events_count, 1);
	assert_int_equal(tick.events[0].type, VMAT_EVENT_SLEPT);
	assert_int_equal(tick.events[0].number, 3600 * SECOND);
	/* set back by ten minutes, two seconds later */
	tick.events_count = 0;
	clocks(&tick.sample, 102 * SECOND, 152 * SECOND, 302 * SECOND);
	vmat_sample_clock_events(&tick, &before);
	assert_int_equal(tick.events_count, 1);
	assert_int_equal(tick.events[0].type, VMAT_EVENT_CLOCK_SET);
	assert_int_equal((int64_t)tick.events[0].number, -600 * (int64_t)SECOND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_kept),  cmocka_unit_test(test_thinned),
		cmocka_unit_test(test_rare_kept), cmocka_unit_test(test_events),
		cmocka_unit_test(test_clocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
