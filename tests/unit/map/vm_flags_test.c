/* SPDX-License-Identifier: MIT */
/* The names of flags: VmFlags of smaps, and the kernel's own of frames. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <vmatlas/page.h>

#include "cmocka_all.h"

static void test_vm_flags(void **state)
{
	unsigned count = 0;

	(void)state;
	for (unsigned bit = 0; bit < 64; bit++) {
		const struct vmat_vm_flag *flag = vmat_vm_flag(bit);

		if (!flag)
			continue;
		assert_int_equal(bit, count); /* no holes: the reader stops at the first */
		count++;
		assert_int_equal(strlen(flag->code), 2);
		assert_true(flag->code[0] >= 'a' && flag->code[0] <= 'z');
		assert_true(flag->code[1] >= 'a' && flag->code[1] <= 'z');
		assert_true(strlen(flag->meaning) > 4);
		for (unsigned other = 0; other < bit; other++)
			assert_string_not_equal(flag->code, vmat_vm_flag(other)->code);
	}
	assert_in_range(count, 30, 63);
	assert_null(vmat_vm_flag(64));
	assert_null(vmat_vm_flag(~0U));
}

/* Every code that this kernel prints for this process has a meaning. */
static void test_this_kernel(void **state)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	char line[512];
	bool is_any = false;

	(void)state;
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, "VmFlags: ", 9) != 0)
			continue;
		for (char *rest = line + 9, *code; (code = strsep(&rest, " \n"));) {
			bool is_named = !*code;

			for (unsigned bit = 0; vmat_vm_flag(bit) && !is_named; bit++)
				is_named = strcmp(vmat_vm_flag(bit)->code, code) == 0;
			if (!is_named)
				fail_msg("VmFlags: %s", code);
			is_any = true;
		}
	}
	fclose(file);
	assert_true(is_any);
}

static void test_kpageflags(void **state)
{
	/* include/uapi/linux/kernel-page-flags.h */
	static const char *const names[] = {
		"LOCKED",        "ERROR",         "REFERENCED", "UPTODATE",    "DIRTY",
		"LRU",           "ACTIVE",        "SLAB",       "WRITEBACK",   "RECLAIM",
		"BUDDY",         "MMAP",          "ANON",       "SWAPCACHE",   "SWAPBACKED",
		"COMPOUND_HEAD", "COMPOUND_TAIL", "HUGE",       "UNEVICTABLE", "HWPOISON",
		"NOPAGE",        "KSM",           "THP",        "OFFLINE",     "ZERO_PAGE",
		"IDLE",          "PGTABLE",
	};

	(void)state;
	for (unsigned bit = 0; bit < sizeof(names) / sizeof(names[0]); bit++)
		assert_string_equal(vmat_kpageflag_name(bit), names[bit]);
	for (unsigned bit = 27; bit < 32; bit++)
		assert_null(vmat_kpageflag_name(bit));
	assert_string_equal(vmat_kpageflag_name(32), "RESERVED");
	for (unsigned bit = 43; bit < 70; bit++)
		assert_null(vmat_kpageflag_name(bit));
	assert_null(vmat_kpageflag_name(~0U));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vm_flags),
		cmocka_unit_test(test_this_kernel),
		cmocka_unit_test(test_kpageflags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
