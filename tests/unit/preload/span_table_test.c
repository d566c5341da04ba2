/* SPDX-License-Identifier: MIT */
/* The table of page sizes against a plain array: random ranges, at every border of its three levels. */
#include "preload/span_table.h"

#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"

enum { PAGES = 3 << 15, ROUNDS = 3000 }; /* 384 MiB around a border of the upper table */

static const uintptr_t base = ((uintptr_t)5 << SPAN_MIDDLE_SHIFT) - ((uintptr_t)PAGES / 2 << 12);
static uint8_t shadow[PAGES];

static uint8_t at(uintptr_t addr)
{
	return vmat_span_is_in(vmat_span_last, addr) ? vmat_span_of_leaf(vmat_span_last, addr)
						     : vmat_span_find(addr);
}

static void compare(void)
{
	for (size_t i = 0; i < PAGES; i++) {
		if (at(base + (i << 12)) != shadow[i] || at(base + (i << 12) + 4095) != shadow[i])
			fail_msg("page %zu: %#x, not %#x", i, at(base + (i << 12)), shadow[i]);
	}
}

static void set(size_t first, size_t count, uint8_t code)
{
	vmat_span_set(base + (first << 12), base + ((first + count) << 12), code);
	memset(shadow + first, code, count);
}

static void test_against_array(void **state)
{
	static const size_t longest[] = { 1, 16, 1024, 5000, PAGES };
	unsigned seed = 7;

	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		size_t first = (size_t)rand_r(&seed) % PAGES;
		size_t count = 1 + (size_t)rand_r(&seed) % longest[rand_r(&seed) % 5];
		unsigned choice = (unsigned)rand_r(&seed) % 5;

		if (choice == 4) /* to a border of leaves */
			first &= ~(size_t)1023;
		if (count > PAGES - first)
			count = PAGES - first;
		set(first, count,
		    choice == 0 ? 0 : vmat_span_code(choice % 3, choice == 1 ? 21 : 12));
		if (i % 100 == 0)
			compare();
	}
	compare();
	vmat_span_forget(VMAT_SPAN_FILE);
	for (size_t i = 0; i < PAGES; i++) {
		if (shadow[i] >> 6 == VMAT_SPAN_FILE)
			shadow[i] = 0;
	}
	compare();
}

/* A terabyte at once, a hole in it, and what no table can hold. */
static void test_big(void **state)
{
	const uintptr_t start = (uintptr_t)40 << 40, size = (uintptr_t)1 << 40;
	const uint8_t code = vmat_span_code(VMAT_SPAN_SET, 12);

	(void)state;
	vmat_span_set(start, start + size, code);
	assert_int_equal(at(start), code);
	assert_int_equal(at(start + size - 1), code);
	assert_int_equal(at(start + size), 0);
	assert_int_equal(at(start - 1), 0);
	vmat_span_set(start + size / 2, start + size / 2 + 4096, 0);
	assert_int_equal(at(start + size / 2 - 1), code);
	assert_int_equal(at(start + size / 2), 0);
	assert_int_equal(at(start + size / 2 + 4095), 0);
	assert_int_equal(at(start + size / 2 + 4096), code);
	vmat_span_set(UINTPTR_MAX - 8191, UINTPTR_MAX, code);
	assert_int_equal(at(UINTPTR_MAX), 0);
	assert_int_equal(at(UINTPTR_MAX - 8000), 0);
	assert_int_equal(at((uintptr_t)1 << 47), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_array),
		cmocka_unit_test(test_big),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
