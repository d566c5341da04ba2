/* SPDX-License-Identifier: MIT */
/* Pages of a recorded process: runs out of a text, cut and filtered like a living one's. */
#include <errno.h>

#include "recording.h"
#include "target/target_source.h"

static const char pages[] = "0x10000 0x12000 present\n"
			    "12000 13000 present,huge\n"
			    "13000 20000 swapped\n"
			    "0x7fff00000000 0x7fff00001000 present,file,unknown_flag,exclusive\n";

static void test_scan(void **state)
{
	struct vmat_page_run runs[8];
	struct recording recording;
	struct vmat_target *target;
	uint64_t at = 0x11000;
	uint32_t known = 0;

	(void)state;
	recording_init(&recording);
	recording_add_process(&recording);
	recording_add(&recording, "77/pages", pages);
	target = recording_open(&recording);
	assert_int_equal(vmat_source_scan(target, &at, 0x14000, UINT32_MAX, runs, 8, &known), 3);
	assert_int_equal(at, 0x14000);
	assert_int_equal(known, UINT32_MAX & ~(uint32_t)(VMAT_PAGE_SOFT_DIRTY | VMAT_PAGE_LEFT_OUT |
							 VMAT_PAGE_DUMPED));
	assert_int_equal(runs[0].start, 0x11000);
	assert_int_equal(runs[0].end, 0x12000);
	assert_int_equal(runs[0].flags, VMAT_PAGE_PRESENT);
	assert_int_equal(runs[1].flags, VMAT_PAGE_PRESENT | VMAT_PAGE_HUGE);
	assert_int_equal(runs[2].start, 0x13000);
	assert_int_equal(runs[2].end, 0x14000);
	assert_int_equal(runs[2].flags, VMAT_PAGE_SWAPPED);
	/* Only what is wanted, one at a time. */
	at = 0;
	assert_int_equal(
		vmat_source_scan(target, &at, UINT64_MAX, VMAT_PAGE_PRESENT, runs, 1, &known), 1);
	assert_int_equal(runs[0].end, 0x12000);
	assert_int_equal(at, 0x12000);
	assert_int_equal(
		vmat_source_scan(target, &at, UINT64_MAX, VMAT_PAGE_PRESENT, runs, 1, &known), 1);
	assert_int_equal(runs[0].flags, VMAT_PAGE_PRESENT);
	assert_int_equal(
		vmat_source_scan(target, &at, UINT64_MAX, VMAT_PAGE_PRESENT, runs, 1, &known), 1);
	assert_true(runs[0].start == 0x7fff00000000);
	assert_true(at == UINT64_MAX);
	at = 0x30000;
	assert_int_equal(vmat_source_scan(target, &at, 0x31000, UINT32_MAX, runs, 8, &known), 0);
	assert_int_equal(vmat_source_scan(target, &at, 0x31000, UINT32_MAX, runs, 8, &known),
			 -EINVAL);
	assert_int_equal(vmat_source_read(target, 0x10000, runs, 8), -ENOENT);
	assert_int_equal(vmat_source_read_pieces(target, NULL, 0), 0);
	assert_int_equal(vmat_source_pagemap(target, 0x10000, &at, 1), -ENOENT);
	assert_int_equal(vmat_source_open_file(target, "/etc/passwd", 0, 0, 1), -ENOENT);
	assert_false(vmat_source_is_char_device(target, "/dev/null"));
	assert_false(vmat_source_is_live(target));
	assert_int_equal(vmat_target_check(target, NULL), 0);
	vmat_target_close(target);
	recording_deinit(&recording);
}

static void test_malformed(void **state)
{
	static const char *const texts[] = {
		"nonsense\n",
		"10000 10000 present\n",
		"12000 10000 present\n",
		"10001 12000 present\n",
		"10000 12001 present\n",
		"10000\n",
		"10000 12000 present\n11000 13000 present\n",
		"10000 12000 present\n8000 9000 present\n",
		"10000 12000 present\n\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct recording recording;
		struct vmat_page_run runs[4];
		struct vmat_target *target;
		uint32_t known;

		recording_init(&recording);
		recording_add_process(&recording);
		recording_add(&recording, "77/pages", texts[i]);
		target = recording_open(&recording);
		for (int again = 0; again < 2; again++) {
			uint64_t at = 0;
			int got =
				vmat_source_scan(target, &at, 0x20000, UINT32_MAX, runs, 4, &known);

			if (got != -EINVAL)
				fail_msg("text %zu: %d", i, got);
		}
		/* Mended meanwhile: nothing of the failed attempts is left. */
		recording_add(&recording, "77/pages", "10000 12000 present");
		uint64_t at = 0;

		assert_int_equal(
			vmat_source_scan(target, &at, 0x20000, UINT32_MAX, runs, 4, &known), 1);
		assert_int_equal(runs[0].end, 0x12000);
		vmat_target_close(target);
		recording_deinit(&recording);
	}
}

static void test_none(void **state)
{
	struct recording recording;
	struct vmat_page_run run;
	struct vmat_target *target;
	uint64_t at = 0;
	uint32_t known;

	(void)state;
	recording_init(&recording);
	recording_add_process(&recording);
	target = recording_open(&recording);
	assert_int_equal(vmat_source_scan(target, &at, 4096, UINT32_MAX, &run, 1, &known), -ENOENT);
	recording_add(&recording, "77/pages", "");
	assert_int_equal(vmat_source_scan(target, &at, 4096, UINT32_MAX, &run, 1, &known), 0);
	assert_int_equal(at, 4096);
	vmat_target_close(target);
	recording_deinit(&recording);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scan),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
