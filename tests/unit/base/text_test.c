/* SPDX-License-Identifier: MIT */
/* The digits of hand-written parsers: each stops at `end`, and at the first byte that is no digit. */
#include "base/text.h"

#include <stdbool.h>
#include <string.h>

#include "cmocka_all.h"

static void test_every_byte(void **state)
{
	(void)state;
	for (int byte = 0; byte < 256; byte++) {
		char c = (char)byte;
		uint64_t number = 77;
		bool is_decimal = byte >= '0' && byte <= '9';
		bool is_hex =
			is_decimal || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');

		assert_ptr_equal(vmat_text_decimal(&c, &c + 1, &number), &c + is_decimal);
		assert_int_equal(number, is_decimal ? byte - '0' : 0);
		assert_ptr_equal(vmat_text_hex(&c, &c + 1, &number), &c + is_hex);
		assert_int_equal(number, !is_hex      ? 0
					 : is_decimal ? byte - '0'
						      : (byte | 32) - 'a' + 10);
	}
}

static void test_largest_numbers(void **state)
{
	static const char hex[] = "FFFFffffFFFFffff ", decimal[] = "18446744073709551615x";
	uint64_t number;

	(void)state;
	assert_int_equal(*vmat_text_hex(hex, hex + 17, &number), ' ');
	assert_true(number == UINT64_MAX);
	assert_int_equal(*vmat_text_decimal(decimal, decimal + 21, &number), 'x');
	assert_true(number == UINT64_MAX);
}

static void test_ends_where_told(void **state)
{
	static const char text[] = "123456";
	uint64_t number;

	(void)state;
	for (size_t size = 0; size <= 6; size++) {
		assert_ptr_equal(vmat_text_decimal(text, text + size, &number), text + size);
		assert_ptr_equal(vmat_text_hex(text, text + size, &number), text + size);
	}
	assert_int_equal(number, 0x123456);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_largest_numbers),
		cmocka_unit_test(test_ends_where_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
