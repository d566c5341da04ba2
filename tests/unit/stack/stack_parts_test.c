/* SPDX-License-Identifier: MIT */
/*
 * The pure parts of reading stacks: texts of /proc, the bounds of the main stack by the rule of
 * pthread_getattr_np, guesses from regions, and what lies in gaps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "stack/stack_gaps.h"
#include "stack/stack_guess.h"
#include "stack/stack_tasks.h"

/* clang-format off: it needs the types of the headers above */
#include <cmocka.h>

/* clang-format on */

enum { RW = VMAT_PROT_READ | VMAT_PROT_WRITE };

static uint64_t sp_of(const char *text)
{
	return vmat_stack_syscall_parse(text, strlen(text));
}

static void test_syscall_text(void **state)
{
	(void)state;
	assert_int_equal(sp_of("202 0x7f11 0x80 0x2 0x0 0x0 0xffffffff 0x7ffd1230 0x7f0a11\n"),
			 0x7ffd1230);
	assert_int_equal(sp_of("-1 0x7ffd1230 0x7f0a11\n"), 0x7ffd1230);
	assert_int_equal(sp_of("running\n"), VMAT_UNKNOWN(VMAT_RUNNING));
	assert_int_equal(sp_of("-1 0x0 0x0\n"), VMAT_UNKNOWN(VMAT_NOT_APPLICABLE));
	assert_int_equal(sp_of(""), VMAT_UNKNOWN(VMAT_NOT_APPLICABLE));
	assert_int_equal(sp_of("0x"), VMAT_UNKNOWN(VMAT_NOT_APPLICABLE));
	assert_int_equal(sp_of("1 0xffffffffffffffff 0x1"), VMAT_UNKNOWN(VMAT_NOT_APPLICABLE));
}

static void test_nspid_text(void **state)
{
	static const char plain[] = "Name:\tx\nNSpid:\t77\nNSpgid:\t1\t2\n";
	static const char nested[] = "Name:\tNSpid: 9\nNSpid:\t77\t12\t3\nNSpgid:\t1\n";
	size_t depth;

	(void)state;
	assert_int_equal(vmat_stack_nspid_parse(plain, sizeof(plain) - 1, &depth), 77);
	assert_int_equal(depth, 1);
	assert_int_equal(vmat_stack_nspid_parse(nested, sizeof(nested) - 1, &depth), 3);
	assert_int_equal(depth, 3);
	assert_int_equal(vmat_stack_nspid_parse("", 0, &depth), 0);
	assert_int_equal(depth, 0);
}

static struct vmat_region regions[] = {
	{ .start = 0x1000, .end = 0x3000, .prot = VMAT_PROT_READ, .name = "/usr/bin/program" },
	{ .start = 0x10000, .end = 0x12000, .prot = 0, .name = "" },
	{ .start = 0x12000, .end = 0x20000, .prot = RW, .name = "" },
	{ .start = 0x20000, .end = 0x28000, .prot = RW, .name = "/lib/libc.so.6" },
	{ .start = 0x28000, .end = 0x29000, .prot = RW, .name = "/lib/libm.so.6" },
	{ .start = 0x29000, .end = 0x2a000, .prot = RW, .name = "/lib/libc.so.6" },
	{ .start = 0x700000, .end = 0x721000, .prot = RW, .name = "[stack]" },
};
static const struct vmat_map map = { .regions = regions, .count = 7, .base_page_size = 4096 };

static struct vmat_stack main_of(uint64_t limit, uint64_t sp, bool is_sure, bool is_there)
{
	struct vmat_process process = { .stack_addr = 0x720800, .stack_limit = limit };
	struct vmat_stack stack = { .sp = sp };

	assert_int_equal(vmat_stack_guess_main(&stack, &map, &process, is_sure), is_there);
	process.stack_addr = 0; /* not permitted: then the name must do */
	assert_int_equal(vmat_stack_guess_main(&stack, &map, &process, is_sure), is_there);
	return stack;
}

static void test_main_bounds(void **state)
{
	struct vmat_stack stack = main_of(0x100000, 0x720000, true, true);

	(void)state;
	assert_int_equal(stack.kind, VMAT_STACK_MAIN);
	assert_int_equal(stack.begin, 0x621000);
	assert_int_equal(stack.end, 0x721000);
	assert_int_equal(stack.size, 0x100000);
	assert_int_equal(stack.guard, 0);
	/* A limit that is no multiple of a page is rounded down; one of less than what is there holds. */
	assert_int_equal(main_of(0x100fff, 0, true, true).begin, 0x621000);
	assert_int_equal(main_of(0x2000, 0, true, true).begin, 0x71f000);
	/* It ends at the next mapping. */
	assert_int_equal(main_of(VMAT_STACK_UNLIMITED, 0, true, true).begin, 0x2a000);
	assert_int_equal(main_of(0x6f8000, 0, true, true).begin, 0x2a000);
	assert_int_equal(main_of(0, 0, true, true).begin, 0x700000);
	/* After a fork in another thread the main thread may be elsewhere. */
	main_of(0x100000, 0x13000, false, false);
	main_of(0x100000, 0x13000, true, true);
	main_of(0x100000, VMAT_UNKNOWN(VMAT_RUNNING), false, true);
}

static void test_guess(void **state)
{
	struct vmat_stack stack = { .sp = 0x13450 };

	(void)state;
	vmat_stack_guess(&stack, &map);
	assert_int_equal(stack.kind, VMAT_STACK_GUESSED);
	assert_int_equal(stack.begin, 0x10000);
	assert_int_equal(stack.guard, 0x2000);
	assert_int_equal(stack.end, 0x20000);
	assert_int_equal(stack.size, 0x10000);
	stack.sp = 0x28100; /* its neighbour below may be written */
	vmat_stack_guess(&stack, &map);
	assert_int_equal(stack.begin, 0x28000);
	assert_int_equal(stack.guard, 0);
	stack.sp = 0x700100; /* below it there is a hole, and then a range without rights */
	regions[5].prot = 0;
	vmat_stack_guess(&stack, &map);
	regions[5].prot = RW;
	assert_int_equal(stack.begin, 0x700000);
	stack.sp = 0x5000;
	vmat_stack_guess(&stack, &map);
	assert_int_equal(stack.begin, VMAT_UNKNOWN(VMAT_CHANGED));
	stack.sp = VMAT_UNKNOWN(VMAT_RUNNING);
	vmat_stack_guess(&stack, &map);
	assert_int_equal(stack.begin, VMAT_UNKNOWN(VMAT_RUNNING));
}

static void test_gaps(void **state)
{
	struct vmat_stack stacks[] = {
		{ .begin = 0x10000, .end = 0x20000 },   /* libc twice and libm, up to a hole */
		{ .begin = 0x40000, .end = 0x50000 },   /* nothing mapped behind */
		{ .begin = 0x60000, .end = 0x70000 },   /* the next one touches it */
		{ .begin = 0x70000, .end = 0x80000 },   /* holds the next one */
		{ .begin = 0x78000, .end = 0x79000 },   /* lies in the one before */
		{ .begin = 0x700000, .end = 0x721000 }, /* the last one */
	};
	struct vmat_strings strings = { 0 };

	(void)state;
	assert_int_equal(vmat_stack_gaps_fill(stacks, 6, &map, &strings), 0);
	assert_int_equal(stacks[0].gap, 0x20000);
	assert_int_equal(stacks[0].gap_holes, 0x16000);
	assert_string_equal(stacks[0].gap_what, "libc.so.6 +1, 40.0K");
	assert_int_equal(stacks[1].gap, 0x10000);
	assert_int_equal(stacks[1].gap_holes, 0x10000);
	assert_string_equal(stacks[1].gap_what, "free");
	assert_int_equal(stacks[2].gap, 0);
	assert_int_equal(stacks[2].gap_holes, 0);
	assert_string_equal(stacks[2].gap_what, "");
	assert_int_equal(stacks[3].gap, VMAT_UNKNOWN(VMAT_NOT_APPLICABLE));
	assert_int_equal(stacks[4].gap, VMAT_UNKNOWN(VMAT_NOT_APPLICABLE));
	assert_int_equal(stacks[5].gap, VMAT_UNKNOWN(VMAT_NOT_APPLICABLE));
	assert_int_equal(stacks[5].gap_holes, VMAT_UNKNOWN(VMAT_NOT_APPLICABLE));
	vmat_strings_deinit(&strings);
}

static void test_gap_names(void **state)
{
	struct vmat_stack stacks[] = {
		{ .begin = 0x5000, .end = 0x6000 },
		{ .begin = 0x20000, .end = 0x21000 },
		{ .begin = 0x28000, .end = 0x28800 },
		{ .begin = 0x28c00, .end = 0x29000 },
	};
	struct vmat_strings strings = { 0 };

	(void)state;
	assert_int_equal(vmat_stack_gaps_fill(stacks, 4, &map, &strings), 0);
	assert_string_equal(stacks[0].gap_what, "anonymous +1, 64.0K");
	assert_string_equal(stacks[1].gap_what, "libc.so.6, 28.0K");
	assert_string_equal(stacks[2].gap_what, "libm.so.6, 1.0K");
	assert_int_equal(stacks[2].gap_holes, 0);
	vmat_strings_deinit(&strings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_syscall_text), cmocka_unit_test(test_nspid_text),
		cmocka_unit_test(test_main_bounds),  cmocka_unit_test(test_guess),
		cmocka_unit_test(test_gaps),         cmocka_unit_test(test_gap_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
