/* SPDX-License-Identifier: MIT */
/*
 * The sampler on this process itself, which changes its map at each tick, and on a child that does nothing: what is read, how
 * often, and what the budget does.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cmocka_all.h"
#include "own_target.h"
#include "sample/sampler_priv.h"

#define SECOND 1000000000ULL

enum { TICKS = 12, STEP = 4 << 20 };

static struct vmat_tick tick;

static struct vmat_sampler *open_pid(pid_t target, double budget, uint64_t interval_ns,
				     uint64_t kinds_ns)
{
	struct vmat_sampler_options options = { .size = sizeof(options),
						.interval_ns = interval_ns,
						.budget = budget,
						.want = VMAT_SAMPLER_KINDS,
						.kinds_interval_ns = kinds_ns };
	struct vmat_sampler *sampler = NULL;
	struct vmat_error err = { 0 };
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)target);
	assert_int_equal(vmat_sampler_open(&sampler, pid, &options, &err), 0);
	return sampler;
}

static struct vmat_sampler *open_own(double budget, uint64_t interval_ns, uint64_t kinds_ns)
{
	return open_pid(getpid(), budget, interval_ns, kinds_ns);
}

static size_t events_of(enum vmat_event_type type)
{
	size_t found = 0;

	for (size_t i = 0; i < tick.events_count; i++)
		found += tick.events[i].type == type;
	return found;
}

/* How many of the ticks read the regions, when each finds another map. */
static size_t readings(struct vmat_sampler *sampler, size_t *ret_postponed)
{
	void *maps[TICKS];
	size_t read = 0;

	*ret_postponed = 0;
	for (size_t i = 0; i < TICKS; i++) {
		maps[i] = mmap(NULL, STEP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			       0);
		assert_int_equal(vmat_sampler_tick(sampler, &tick), 1);
		read += vmat_is_known(tick.sample.values[VMAT_METRIC_REGIONS]);
		*ret_postponed += events_of(VMAT_EVENT_POSTPONED);
	}
	for (size_t i = 0; i < TICKS; i++)
		munmap(maps[i], STEP);
	return read;
}

static void test_no_budget(void **state)
{
	struct vmat_sampler *sampler = open_own(0, SECOND, 0);
	size_t postponed;

	(void)state;
	assert_int_equal(readings(sampler, &postponed), TICKS);
	assert_int_equal(postponed, 0);
	vmat_sampler_close(sampler);
}

/* A budget that a reading overdraws for hours: only the first one is made, and it is said. Ticks are not stretched by it. */
static void test_budget(void **state)
{
	struct vmat_sampler *sampler = open_own(1e-7, SECOND, 0);
	size_t postponed;

	(void)state;
	assert_int_equal(readings(sampler, &postponed), 1);
	assert_int_equal(postponed, 1);
	vmat_sampler_close(sampler);
}

/* One that the cheap part overdraws: ticks are further apart. What others spend counts, too. */
static void test_stretched(void **state)
{
	struct vmat_sampler *sampler = open_own(1e-9, 1000000, 0);
	uint64_t now;

	(void)state;
	assert_int_equal(vmat_sampler_tick(sampler, &tick), 1);
	now = tick.sample.mono_ns;
	assert_true(vmat_sampler_due_ns(sampler) >
		    now + 100 * SECOND); /* 100 ns would be enough for 100 s */
	assert_true(vmat_sampler_cpu_ns(sampler) > 0);
	now = vmat_sampler_cpu_ns(sampler);
	vmat_sampler_charge(sampler, 5);
	assert_int_equal(vmat_sampler_cpu_ns(sampler), now + 5);
	vmat_sampler_close(sampler);
}

/* Nothing changes that the cheap facts show: the regions are left alone, also without a budget and without a rest. */
static void test_unchanged(void **state)
{
	pid_t child = start_child();
	struct vmat_sampler *sampler = open_pid(child, 0, SECOND, 0);
	uint64_t before[VMAT_METRIC_COUNT];
	size_t same = 0, read = 0;

	(void)state;
	assert_int_equal(vmat_sampler_tick(sampler, &tick), 1);
	for (size_t i = 0; i < TICKS; i++) {
		bool is_same;

		memcpy(before, tick.sample.values, sizeof(before));
		assert_int_equal(vmat_sampler_tick(sampler, &tick), 1);
		is_same = !memcmp(before, tick.sample.values,
				  (VMAT_METRIC_PAGE_TABLES + 1) * sizeof(before[0]));
		same += is_same;
		read += is_same && vmat_is_known(tick.sample.values[VMAT_METRIC_REGIONS]);
	}
	assert_true(same > 0);
	assert_in_range(read, 0, TICKS - same);
	vmat_sampler_close(sampler);
	end_child(child);
}

static void test_rest(void **state)
{
	struct vmat_sampler *sampler = open_own(0, SECOND, 1000 * SECOND);
	size_t postponed;

	(void)state;
	assert_int_equal(readings(sampler, &postponed), 1);
	vmat_sampler_close(sampler);
}

/* A glance says of a process what its sampler says. */
static void test_glance(void **state)
{
	pid_t child = start_child();
	struct vmat_sampler *sampler = open_pid(child, 0, SECOND, 0);
	struct vmat_sample with, without;
	struct vmat_glance who = { 0 };
	struct vmat_series series = { 0 };
	pid_t *pids;
	size_t count, found = 0;

	(void)state;
	vmat_sampler_describe(sampler, &series);
	vmat_sample_init(&with);
	vmat_sample_init(&without);
	assert_int_equal(vmat_sample_glance(&with, &who, child, true), 0);
	assert_int_equal(vmat_sample_glance(&without, &who, child, false), 0);
	assert_int_equal(who.pid, child);
	assert_int_equal(who.ppid, getpid());
	assert_int_equal(who.start_ns, series.start_ns);
	assert_string_equal(who.name, series.name);
	assert_int_equal(with.values[VMAT_METRIC_SIZE], without.values[VMAT_METRIC_SIZE]);
	assert_int_equal(with.values[VMAT_METRIC_DATA], without.values[VMAT_METRIC_DATA]);
	assert_int_equal(with.values[VMAT_METRIC_THREADS], 1);
	assert_true(vmat_is_known(with.values[VMAT_METRIC_SWAP]));
	assert_false(vmat_is_known(without.values[VMAT_METRIC_SWAP]));
	assert_false(vmat_is_known(with.values[VMAT_METRIC_REGIONS]));
	assert_int_equal(vmat_sample_glance(&with, &who, 4194999, false),
			 -ESRCH); /* above pid_max */
	assert_int_equal(vmat_sample_pids(&pids, &count), 0);
	for (size_t i = 0; i < count; i++)
		found += pids[i] == child;
	assert_int_equal(found, 1);
	free(pids);
	vmat_sampler_close(sampler);
	end_child(child);
}

static void test_not_there(void **state)
{
	struct vmat_sampler_options options = { .size = sizeof(options) };
	struct vmat_sampler *sampler = NULL;
	struct vmat_error err = { 0 };

	(void)state;
	assert_int_equal(vmat_sampler_open(&sampler, "4194999", &options, &err), -ESRCH);
	assert_true(vmat_sampler_open(&sampler, "/dev/null", &options, &err) < 0);
	assert_true(err.code < 0 && err.text[0]);
	assert_null(sampler);
	assert_null(vmat_sampler_close(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_budget), cmocka_unit_test(test_budget),
		cmocka_unit_test(test_stretched), cmocka_unit_test(test_unchanged),
		cmocka_unit_test(test_rest),      cmocka_unit_test(test_glance),
		cmocka_unit_test(test_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
