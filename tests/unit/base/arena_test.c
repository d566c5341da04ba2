/* SPDX-License-Identifier: MIT */
/* Memory that is freed at once, and strings of which equal ones are one. */
#include "base/arena.h"

#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"

static void test_aligned_and_zeroed(void **state)
{
	struct vmat_arena arena = { 0 };

	(void)state;
	for (size_t size = 0; size < 70000; size += 1 + size / 3) {
		unsigned char *memory = vmat_arena_alloc(&arena, size);

		assert_non_null(memory);
		assert_int_equal((uintptr_t)memory % 8, 0);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(memory[i], 0);
		memset(memory, 0xee, size); /* must not be seen by the next one */
	}
	vmat_arena_deinit(&arena);
	assert_null(arena.last);
	vmat_arena_deinit(&arena);
}

static void test_sizes_that_no_memory_has(void **state)
{
	struct vmat_arena arena = { 0 };

	(void)state;
	assert_null(vmat_arena_alloc(&arena, SIZE_MAX));
	assert_null(vmat_arena_alloc(&arena, SIZE_MAX / 2 + 1));
	assert_null(vmat_arena_string(&arena, "", SIZE_MAX));
	vmat_arena_deinit(&arena);
}

static void test_strings_and_printf(void **state)
{
	struct vmat_arena arena = { 0 };
	const char *text;

	(void)state;
	text = vmat_arena_string(&arena, "abcdef", 3);
	assert_string_equal(text, "abc");
	assert_string_equal(vmat_arena_string(&arena, NULL, 0), "");
	assert_string_equal(vmat_arena_printf(&arena, "%s/%d", text, 5), "abc/5");
	vmat_arena_deinit(&arena);
}

/* Thousands of strings, through several growths of the table: equal ones keep one address. */
static void test_equal_strings_are_one(void **state)
{
	static const char *first[5000];
	struct vmat_strings strings = { 0 };
	char text[32];

	(void)state;
	for (int i = 0; i < 5000; i++) {
		snprintf(text, sizeof(text), "/usr/lib/%d.so", i);
		first[i] = vmat_strings_intern(&strings, text, strlen(text));
		assert_string_equal(first[i], text);
	}
	assert_int_equal(strings.count, 5000);
	for (int i = 0; i < 5000; i++)
		assert_ptr_equal(vmat_strings_printf(&strings, "/usr/lib/%d.so", i), first[i]);
	assert_int_equal(strings.count, 5000);
	/* A beginning of another string is a string of its own. */
	assert_ptr_not_equal(vmat_strings_intern(&strings, "/usr/lib/1.soup", 13), first[0]);
	assert_ptr_equal(vmat_strings_intern(&strings, "/usr/lib/1.soup", 13), first[1]);
	assert_string_equal(vmat_strings_intern(&strings, "", 0), "");
	vmat_strings_deinit(&strings);
}

static void test_nul_within(void **state)
{
	struct vmat_strings strings = { 0 };
	const char *text = vmat_strings_intern(&strings, "ab\0cd", 5);

	(void)state;
	assert_string_equal(text, "ab");
	assert_ptr_equal(vmat_strings_intern(&strings, "ab\0ef", 5), text);
	vmat_strings_deinit(&strings);
}

/* Each string is the beginning of one that is there already. */
static void test_beginnings(void **state)
{
	struct vmat_strings strings = { 0 };
	char text[2000];

	(void)state;
	memset(text, 'b', sizeof(text));
	for (size_t size = sizeof(text); size > 0; size--)
		assert_int_equal(strlen(vmat_strings_intern(&strings, text, size)), size);
	assert_int_equal(strings.count, sizeof(text));
	vmat_strings_deinit(&strings);
}

static void test_long_printf(void **state)
{
	struct vmat_strings strings = { 0 };
	char text[1000];
	const char *interned;

	(void)state;
	/* 255 is the longest that needs no memory of its own, 256 the first that does. */
	for (size_t size = 250; size < 260; size++) {
		memset(text, 'q', size);
		text[size] = '\0';
		interned = vmat_strings_printf(&strings, "%s", text);
		assert_string_equal(interned, text);
		assert_ptr_equal(vmat_strings_intern(&strings, text, size), interned);
	}
	vmat_strings_deinit(&strings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_aligned_and_zeroed),
		cmocka_unit_test(test_sizes_that_no_memory_has),
		cmocka_unit_test(test_strings_and_printf),
		cmocka_unit_test(test_equal_strings_are_one),
		cmocka_unit_test(test_nul_within),
		cmocka_unit_test(test_beginnings),
		cmocka_unit_test(test_long_printf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
