/* SPDX-License-Identifier: MIT */
/* Numbers as text, against printf, and sizes against a table. */
#include "export/format.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <vmatlas/export.h>

/* clang-format off: it needs the types of the headers above */
#include <cmocka.h>

/* clang-format on */

static void test_numbers(void **state)
{
	uint64_t number = 0;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		char got[VMAT_FORMAT_MAX + 1], want[VMAT_FORMAT_MAX + 1];

		got[vmat_format_number(got, number)] = '\0';
		snprintf(want, sizeof(want), "%" PRIu64, number);
		assert_string_equal(got, want);
		got[vmat_format_addr(got, number)] = '\0';
		snprintf(want, sizeof(want), "0x%" PRIx64, number);
		assert_string_equal(got, want);
		/* all lengths: a random number of random size */
		number = (number * UINT64_C(6364136223846793005) + 1442695040888963407u);
		number >>= i % 64;
	}
}

static void test_sizes(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *want;
	} cases[] = {
		{ 0, "0" },
		{ 1, "1B" },
		{ 1023, "1023B" },
		{ 1024, "1K" },
		{ 1024 + 51, "1K" },
		{ 1024 + 52, "1.1K" },
		{ 1536, "1.5K" },
		{ 4096, "4K" },
		{ 8392704, "8M" },
		{ 1048575, "1M" }, /* 1023.999K is not 1024K */
		{ 1048576, "1M" },
		{ UINT64_C(1) << 30, "1G" },
		{ (UINT64_C(1) << 40) + (UINT64_C(1) << 39), "1.5T" },
		{ UINT64_C(0x7fffffffffffffff), "8E" },
		{ UINT64_MAX, "16E" },
	};

	char got[VMAT_FORMAT_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		got[vmat_format_bytes(got, cases[i].bytes)] = '\0';
		assert_string_equal(got, cases[i].want);
	}
	vmat_text_bytes(got, sizeof(got), VMAT_UNKNOWN(VMAT_NOT_PERMITTED));
	assert_string_equal(got, "-");
	assert_int_equal(vmat_text_bytes(got, 3, 1536), 4);
	assert_string_equal(got, "1.");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
