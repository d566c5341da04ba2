/* SPDX-License-Identifier: MIT */
/* The growing buffer: its NUL, its growth, and sizes that no memory has. */
#include "base/buffer.h"

#include <errno.h>
#include <string.h>

#include "cmocka_all.h"

static void test_always_ends_in_nul(void **state)
{
	struct vmat_buffer buffer = { 0 };

	(void)state;
	assert_int_equal(vmat_buffer_add(&buffer, "", 0), 0);
	assert_string_equal(buffer.data, "");
	for (size_t i = 0; i < 3000; i++) {
		assert_int_equal(vmat_buffer_add(&buffer, "x", 1), 0);
		assert_int_equal(buffer.size, i + 1);
		assert_int_equal(strlen(buffer.data), i + 1);
		assert_true(buffer.capacity > buffer.size);
	}
	vmat_buffer_deinit(&buffer);
	assert_null(buffer.data);
	vmat_buffer_deinit(&buffer);
}

/* The sizes around each doubling: one byte too few would be the NUL's. */
static void test_reserve_at_the_edge(void **state)
{
	(void)state;
	for (size_t more = 250; more < 1030; more++) {
		struct vmat_buffer buffer = { 0 };

		assert_int_equal(vmat_buffer_reserve(&buffer, more), 0);
		assert_true(buffer.capacity > more);
		memset(buffer.data, 'y', more + 1);
		vmat_buffer_deinit(&buffer);
	}
}

static void test_too_large(void **state)
{
	struct vmat_buffer buffer = { 0 };

	(void)state;
	assert_int_equal(vmat_buffer_add(&buffer, "kept", 4), 0);
	assert_int_equal(vmat_buffer_reserve(&buffer, SIZE_MAX), -ENOMEM);
	assert_int_equal(vmat_buffer_reserve(&buffer, SIZE_MAX / 4 + 1), -ENOMEM);
	assert_string_equal(buffer.data, "kept");
	assert_int_equal(buffer.size, 4);
	vmat_buffer_deinit(&buffer);
}

static void test_printf(void **state)
{
	struct vmat_buffer buffer = { 0 };
	char longer[600];

	(void)state;
	memset(longer, 'z', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(vmat_buffer_printf(&buffer, "%d-%s", 7, "a"), 0);
	assert_int_equal(vmat_buffer_printf(&buffer, "%s", longer), 0);
	assert_int_equal(buffer.size, 3 + 599);
	assert_int_equal(strlen(buffer.data), buffer.size);
	assert_memory_equal(buffer.data, "7-azzz", 6);
	vmat_buffer_deinit(&buffer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_always_ends_in_nul),
		cmocka_unit_test(test_reserve_at_the_edge),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_printf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
