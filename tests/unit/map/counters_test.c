/* SPDX-License-Identifier: MIT */
/* The process's own counters: bytes out of kB, counts as they are, and what is not there is unknown. */
#include <errno.h>

#include <vmatlas/map.h>

#include "recording.h"

static int read_counters(const char *status, const char *comm, struct vmat_counters *ret)
{
	struct recording recording;
	struct vmat_target *target;
	struct vmat_error err = { 0 };
	char text[512];
	int got;

	recording_init(&recording);
	snprintf(text, sizeof(text), STAT_TEXT, 77, comm, 'S', 0U, 1, 4711, 0ULL);
	recording_add(&recording, "77/stat", text);
	if (status)
		recording_add(&recording, "77/status", status);
	target = recording_open(&recording);
	got = vmat_counters_read(ret, target, &err);
	vmat_target_close(target);
	recording_deinit(&recording);
	return got;
}

static void test_all(void **state)
{
	static const char status[] =
		"Name:\tVmRSS:\\n\nTgid:\t77\nVmPeak:\t    1000 kB\nVmSize:\t     900 kB\nVmLck:\t       1 kB\n"
		"VmPin:\t       2 kB\nVmHWM:\t     800 kB\nVmRSS:\t     700 kB\nRssAnon:\t     400 kB\n"
		"RssFile:\t     200 kB\nRssShmem:\t     100 kB\nVmData:\t     300 kB\nVmStk:\t     132 kB\n"
		"VmPTE:\t      60 kB\nVmSwap:\t      50 kB\nHugetlbPages:\t    2048 kB\nThreads:\t3\n"
		"VmRSSx:\t9 kB\nThreadsX:\t9";
	struct vmat_counters c;

	(void)state;
	assert_int_equal(read_counters(status, "a) b (c", &c), 0);
	assert_int_equal(c.peak, 1000 << 10);
	assert_int_equal(c.size, 900 << 10);
	assert_int_equal(c.locked, 1 << 10);
	assert_int_equal(c.pinned, 2 << 10);
	assert_int_equal(c.rss_peak, 800 << 10);
	assert_int_equal(c.rss, 700 << 10);
	assert_int_equal(c.rss_anon, 400 << 10);
	assert_int_equal(c.rss_file, 200 << 10);
	assert_int_equal(c.rss_shmem, 100 << 10);
	assert_int_equal(c.data, 300 << 10);
	assert_int_equal(c.page_tables, 60 << 10);
	assert_int_equal(c.swap, 50 << 10);
	assert_int_equal(c.hugetlb, 2048 << 10);
	assert_int_equal(c.threads, 3);
	assert_int_equal(c.faults_minor, 11);
	assert_int_equal(c.faults_major, 22);
	assert_int_equal(vmat_reason(c.regions_max), VMAT_NOT_RECORDED);
}

static void test_missing(void **state)
{
	struct vmat_counters c = { .size = 77 };

	(void)state;
	assert_int_equal(read_counters(NULL, "x", &c), -ENOENT);
	assert_int_equal(c.size, 77); /* untouched on failure */
	assert_int_equal(read_counters("", "x", &c), 0);
	assert_int_equal(vmat_reason(c.size), VMAT_NOT_FOUND);
	assert_int_equal(vmat_reason(c.threads), VMAT_NOT_FOUND);
	assert_int_equal(c.faults_minor, 11);
	/* A name without a number is no 0. */
	assert_int_equal(read_counters("VmRSS:\nVmSize:\t kB\nVmPTE\nThreads:\tx", "x", &c), 0);
	assert_int_equal(vmat_reason(c.rss), VMAT_NOT_FOUND);
	assert_int_equal(vmat_reason(c.size), VMAT_NOT_FOUND);
	assert_int_equal(vmat_reason(c.page_tables), VMAT_NOT_FOUND);
	assert_int_equal(vmat_reason(c.threads), VMAT_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
