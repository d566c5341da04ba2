/* SPDX-License-Identifier: MIT */
/*
 * The names of the driver's buffers in maps, which come from the target. The driver itself is tried in tests/kernel.
 */
#include "sys/sys_driver.h"

#include <errno.h>
#include <unistd.h>

#include "cmocka_all.h"

static void test_names(void **state)
{
	static const struct {
		const char *name;
		uint64_t number;
	} names[] = {
		{ "anon_inode:[vmatlas:1]", 1 },
		{ "anon_inode:[vmatlas:18446744073709551615]", UINT64_MAX },
		{ "anon_inode:[vmatlas:]", 0 },
		{ "anon_inode:[vmatlas:7", 0 },
		{ "anon_inode:[vmatlas:7] ", 0 },
		{ "anon_inode:[vmatlas:-7]", 0 },
		{ "/tmp/anon_inode:[vmatlas:7]", 0 }, /* what a file of that name is called */
		{ "anon_inode:[io_uring]", 0 },
		{ "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(vmat_sys_driver_number(names[i].name), names[i].number);
}

/* A descriptor that is something else is told by the kernel, not believed. */
static void test_no_buffer(void **state)
{
	struct vmatlas_extent *extents = NULL;
	size_t count = 4711;
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(vmat_sys_driver_extents(ends[0], &extents, &count), -ENOTTY);
	assert_int_equal(vmat_sys_driver_extents(-1, &extents, &count), -EBADF);
	assert_null(extents);
	assert_int_equal(count, 4711);
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_no_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
