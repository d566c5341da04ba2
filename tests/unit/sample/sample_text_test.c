/* SPDX-License-Identifier: MIT */
/* Metrics out of status and statm: what ps calls size, what is cut, and what is not there. */
#include "sample/sample_text.h"

#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"

static uint64_t values[VMAT_METRIC_COUNT], peak;

static bool parse(const char *text)
{
	struct vmat_sample sample;

	vmat_sample_init(&sample);
	memcpy(values, sample.values, sizeof(values));
	peak = 0;
	return vmat_sample_parse_status(values, &peak, text, strlen(text));
}

static void test_status(void **state)
{
	(void)state;
	assert_true(parse(
		"Name:\tVmSize:\\n\nTgid:\t77\nVmPeak:\t    1000 kB\nVmSize:\t     900 kB\n"
		"VmHWM:\t     800 kB\nVmRSS:\t     700 kB\nRssAnon:\t     400 kB\n"
		"RssFile:\t     200 kB\nRssShmem:\t     100 kB\nVmData:\t     300 kB\n"
		"VmStk:\t     132 kB\nVmPTE:\t      60 kB\nVmSwap:\t      50 kB\nThreads:\t3\n"
		"VmRSSx:\t9 kB\n"));
	assert_int_equal(values[VMAT_METRIC_SIZE], 900 * 1024);
	assert_int_equal(values[VMAT_METRIC_DATA], (300 + 132) * 1024);
	assert_int_equal(values[VMAT_METRIC_RSS], 700 * 1024);
	assert_int_equal(values[VMAT_METRIC_RSS_ANON], 400 * 1024);
	assert_int_equal(values[VMAT_METRIC_RSS_FILE], 200 * 1024);
	assert_int_equal(values[VMAT_METRIC_RSS_SHMEM], 100 * 1024);
	assert_int_equal(values[VMAT_METRIC_PAGE_TABLES], 60 * 1024);
	assert_int_equal(values[VMAT_METRIC_SWAP], 50 * 1024);
	assert_int_equal(values[VMAT_METRIC_THREADS], 3);
	assert_int_equal(peak, 1000 * 1024);
	assert_false(vmat_is_known(values[VMAT_METRIC_FAULTS_MINOR]));
}

static void test_status_lacks(void **state)
{
	(void)state;
	/* Linux 4.4 has no RssAnon; half of a sum is no sum; a number at the end of the text may be cut */
	assert_true(parse("VmSize:\t     900 kB\nVmData:\t     300 kB\nVmSwap:\t     5"));
	assert_false(vmat_is_known(values[VMAT_METRIC_RSS_ANON]));
	assert_false(vmat_is_known(values[VMAT_METRIC_DATA]));
	assert_false(vmat_is_known(values[VMAT_METRIC_SWAP]));
	assert_false(vmat_is_known(peak));
	/* a zombie */
	assert_false(parse("Name:\tx\nState:\tZ (zombie)\nThreads:\t1\n"));
	assert_false(parse(""));
	assert_false(parse("VmSize:\n"));
	assert_false(parse("VmSize:\t x kB\n"));
}

static bool statm(const char *text)
{
	return vmat_sample_parse_statm(values, 4096, text, strlen(text));
}

static void test_statm(void **state)
{
	(void)state;
	parse("");
	assert_true(statm("765 424 396 5 0 123 0\n"));
	assert_int_equal(values[VMAT_METRIC_SIZE], 765 * 4096);
	assert_int_equal(values[VMAT_METRIC_RSS], 424 * 4096);
	assert_int_equal(values[VMAT_METRIC_RSS_ANON], 28 * 4096);
	assert_int_equal(values[VMAT_METRIC_DATA], 123 * 4096);
	assert_false(statm("0 0 0 0 0 0 0\n")); /* a zombie */
	assert_false(statm("765 424 396 5 0 123"));
	assert_false(statm("765 424 x"));
	assert_false(statm(""));
}

static void test_exit_code(void **state)
{
	static const char stat[] =
		"7 (a) 5 (b) Z 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 "
		"32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 1792\n";
	uint64_t code = 0;

	(void)state;
	assert_true(vmat_sample_parse_exit_code(&code, stat, sizeof(stat) - 1));
	assert_int_equal(code, 1792);
	assert_false(vmat_sample_parse_exit_code(&code, stat, sizeof(stat) - 7));
	assert_false(vmat_sample_parse_exit_code(&code, "7 (a)", 5));
	assert_false(vmat_sample_parse_exit_code(&code, "", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_status_lacks),
		cmocka_unit_test(test_statm),
		cmocka_unit_test(test_exit_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
