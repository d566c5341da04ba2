/* SPDX-License-Identifier: MIT */
/* Addresses, ranges and sizes as people type them. */
#include "cli/number.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

/* clang-format off: it needs the types of the headers above */
#include <cmocka.h>

/* clang-format on */

#define BAD UINT64_MAX

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t want;
	} cases[] = {
		{ "0", 0 },
		{ "4096", 4096 },
		{ "4K", 4096 },
		{ "4k", 4096 },
		{ "4KiB", 4096 },
		{ "4KB", 4096 },
		{ "1.5M", 1572864 },
		{ "0.5K", 512 },
		{ "2G", UINT64_C(2) << 30 },
		{ "0x1000", 4096 },
		{ "15E", UINT64_C(15) << 60 },
		{ "16E", BAD },
		{ "", BAD },
		{ "K", BAD },
		{ "4X", BAD },
		{ "4Kx", BAD },
		{ "-4", BAD },
		{ " 4", BAD },
		{ "4.", BAD },
		{ "0x", BAD },
		{ "0x10K", BAD },
		{ "18446744073709551616", BAD },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t got = BAD;
		bool is_right = cli_parse_size(cases[i].text, &got);

		if (is_right != (cases[i].want != BAD) || (is_right && got != cases[i].want))
			fail_msg("'%s' gives %" PRIu64, cases[i].text, got);
	}
}

static void test_addrs(void **state)
{
	uint64_t addr;

	(void)state;
	assert_true(cli_parse_addr("7f00", &addr) && addr == 0x7f00);
	assert_true(cli_parse_addr("0x7F00", &addr) && addr == 0x7f00);
	assert_true(cli_parse_addr("ffffffffff600000", &addr) && addr == 0xffffffffff600000);
	assert_false(cli_parse_addr("", &addr));
	assert_false(cli_parse_addr("0x", &addr));
	assert_false(cli_parse_addr("7g", &addr));
	assert_false(cli_parse_addr("10000000000000000", &addr));
}

static void test_ranges(void **state)
{
	uint64_t start, end;

	(void)state;
	assert_true(cli_parse_range("1000-3000", &start, &end) && start == 0x1000 && end == 0x3000);
	assert_true(cli_parse_range("0x1000+8K", &start, &end) && end == 0x3000);
	assert_true(cli_parse_range("1000+0x10", &start, &end) && end == 0x1010);
	assert_false(cli_parse_range("1000", &start, &end));
	assert_false(cli_parse_range("3000-1000", &start, &end));
	assert_false(cli_parse_range("1000-1000", &start, &end));
	assert_false(cli_parse_range("1000+0", &start, &end));
	assert_false(cli_parse_range("ffffffffffffffff+2", &start, &end));
	assert_false(cli_parse_range("-1000", &start, &end));
	assert_false(cli_parse_range("1000-", &start, &end));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_addrs),
		cmocka_unit_test(test_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
