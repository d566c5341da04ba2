/* SPDX-License-Identifier: MIT */
/* The same samples get the same verdict, whether they are looked at live (kept by a keeper) or come out of a recording. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmatlas/store.h>

#include "../../factory/behaviour_series.h"
#include "../cmocka_all.h"

static char folder[64];

static void expect_same(const char *name, const char *how, const struct vmat_judgement *a,
			const struct vmat_judgement *b)
{
	if (strcmp(a->sentence, b->sentence) != 0)
		fail_msg("%s: \"%s\", %s: \"%s\"", name, a->sentence, how, b->sentence);
	assert_int_equal(a->verdict, b->verdict);
	assert_memory_equal(&a->confidence, &b->confidence, sizeof(double));
	assert_memory_equal(&a->growth_bytes_per_s, &b->growth_bytes_per_s, sizeof(double));
	assert_memory_equal(&a->floor_bytes_per_s, &b->floor_bytes_per_s, sizeof(double));
	assert_int_equal(a->sure_after_ns, b->sure_after_ns);
	assert_int_equal(a->findings_count, b->findings_count);
	for (size_t i = 0; i < a->findings_count; i++) {
		assert_string_equal(a->findings[i].id, b->findings[i].id);
		assert_string_equal(a->findings[i].evidence, b->findings[i].evidence);
		assert_string_equal(a->findings[i].advice, b->findings[i].advice);
	}
}

static void record(const char *path, const struct vmat_series *series)
{
	struct vmat_store *store;
	uint32_t who;

	assert_int_equal(vmat_store_create(&store, path, NULL, NULL), 0);
	assert_int_equal(vmat_store_process(store, series, &who, NULL), 0);
	for (size_t i = 0; i < series->samples_count; i++)
		assert_int_equal(vmat_store_sample(store, who, &series->samples[i], NULL), 0);
	for (size_t i = 0; i < series->events_count; i++)
		assert_int_equal(vmat_store_event(store, who, &series->events[i], NULL), 0);
	assert_int_equal(vmat_store_close(store, NULL), 0);
}

static void judge_recorded(struct vmat_judgement *ret, const char *path)
{
	struct vmat_recording *recording;
	struct vmat_series series;

	assert_int_equal(vmat_recording_open(&recording, path, NULL, NULL), 0);
	assert_int_equal(vmat_recording_series(recording, 0, &series, NULL, NULL), 0);
	vmat_judge(ret, &series);
	vmat_recording_series_free(&series);
	vmat_recording_close(recording);
}

/* One that has room for all of them, as `check` has for what it watches. */
static void judge_kept(struct vmat_judgement *ret, const struct vmat_series *series)
{
	static struct vmat_tick tick;
	struct vmat_keeper keeper;
	size_t event = 0;

	vmat_keeper_init(&keeper, series->samples_count + 1, series->events_count + 1);
	for (size_t i = 0; i < series->samples_count; i++) {
		tick.sample = series->samples[i];
		tick.events_count = 0;
		while (event < series->events_count && tick.events_count < VMAT_TICK_EVENTS_MAX &&
		       series->events[event].mono_ns <= tick.sample.mono_ns)
			tick.events[tick.events_count++] = series->events[event++];
		assert_int_equal(vmat_keeper_add(&keeper, &tick, true), 0);
	}
	assert_int_equal(keeper.series.samples_count, series->samples_count);
	assert_int_equal(keeper.series.events_count, series->events_count);
	keeper.series.interval_ns = series->interval_ns;
	vmat_judge(ret, &keeper.series);
	vmat_keeper_deinit(&keeper);
}

static void test_same(void **state)
{
	static struct vmat_judgement judgements[3];
	struct vmat_series series;
	char path[128];

	(void)state;
	for (size_t i = 0; i < behaviours_count; i++) {
		snprintf(path, sizeof(path), "%s/%zu.vmatlas", folder, i);
		behaviour_make(&series, &behaviours[i], 1 + i,
			       behaviour_rate(&behaviours[i], 1 + i, 1));
		vmat_judge(&judgements[0], &series);
		record(path, &series);
		judge_recorded(&judgements[1], path);
		judge_kept(&judgements[2], &series);
		expect_same(behaviours[i].name, "recorded", &judgements[0], &judgements[1]);
		expect_same(behaviours[i].name, "kept", &judgements[0], &judgements[2]);
		behaviour_free(&series);
		assert_int_equal(unlink(path), 0);
	}
}

/* Of more samples than are read, every n-th is: the verdict may not hang on that. */
static void test_long(void **state)
{
	static struct vmat_judgement judgements[2];
	static struct vmat_sample samples[4001];
	struct vmat_series series = { .samples = samples, .interval_ns = 1000000000 };
	struct vmat_recording_options options = { .size = sizeof(options), .samples_max = 1000 };
	struct vmat_recording *recording;
	char path[128];
	uint64_t stride;

	(void)state;
	for (size_t i = 0; i < 4001; i++) {
		vmat_sample_init(&samples[i]);
		samples[i].mono_ns = samples[i].boot_ns = (i + 1) * 1000000000;
		samples[i].values[VMAT_METRIC_RSS_ANON] = (100 << 20) + 8192 * i;
	}
	series.samples_count = 4001;
	snprintf(path, sizeof(path), "%s/long.vmatlas", folder);
	record(path, &series);
	vmat_judge(&judgements[0], &series);
	assert_int_equal(vmat_recording_open(&recording, path, &options, NULL), 0);
	assert_int_equal(vmat_recording_series(recording, 0, &series, &stride, NULL), 0);
	assert_true(stride > 1);
	vmat_judge(&judgements[1], &series);
	assert_int_equal(judgements[0].verdict, VMAT_VERDICT_LEAK);
	assert_int_equal(judgements[1].verdict, VMAT_VERDICT_LEAK);
	assert_true(judgements[1].growth_bytes_per_s > 8000 &&
		    judgements[1].growth_bytes_per_s < 8400);
	vmat_recording_series_free(&series);
	vmat_recording_close(recording);
	assert_int_equal(unlink(path), 0);
}

static int make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/vmatlas-judged-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
