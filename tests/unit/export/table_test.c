/* SPDX-License-Identifier: MIT */
/* Aligned tables: widths, cuts, branches, colours; and the formats of one line a row. */
#include <errno.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include "sample_list.h"

/* clang-format off: it needs the types of the headers above */
#include <cmocka.h>

/* clang-format on */

static const struct sample samples[] = {
	{ "first thing", 8392704, 3, 0x7f00, 1, 9, false, 2 },
	{ NULL, VMAT_UNKNOWN(VMAT_NOT_PERMITTED), 12345, 0x10, 0, 0, false, 0 },
	{ "gr\xc3\xbc\033", 4096, 0, 0, 0, 0, true, 0 },
};

static void check(sample_writer *writer, const char *columns,
		  const struct vmat_text_options *options, const char *want)
{
	char *got = sample_write(writer, samples, 3, columns, options);

	assert_non_null(got);
	assert_string_equal(got, want);
	free(got);
}

static void test_aligned(void **state)
{
	struct vmat_text_options utf8 = { .size = sizeof(utf8), .is_utf8 = true };
	struct vmat_text_options ascii = { .size = sizeof(ascii), .is_exact = true };

	(void)state;
	check(vmat_write_table, "NAME,SIZE,COUNT,FLAG", &utf8,
	      "NAME        SIZE COUNT FLAG\n"
	      "first thing   8M     3 yes\n"
	      "├─0x1000               \n"
	      "└─0x2000               \n"
	      "-              - 12345 no\n"
	      "gr\xc3\xbc\\x1b     <=4K     0 no\n");
	check(vmat_write_table, "NAME,SIZE", &ascii,
	      "NAME              SIZE\n"
	      "first thing    8392704\n"
	      "|-0x1000              \n"
	      "`-0x2000              \n"
	      "-                    -\n"
	      "gr\\xc3\\xbc\\x1b  <=4096\n");
}

static void test_options(void **state)
{
	struct vmat_text_options bare = {
		.size = sizeof(bare), .is_utf8 = true, .no_headings = true, .no_children = true
	};
	struct vmat_text_options colour = {
		.size = sizeof(colour), .is_utf8 = true, .has_colour = true, .no_children = true
	};

	(void)state;
	check(vmat_write_table, "COUNT,NAME", &bare,
	      "    3 first thing\n12345 -\n    0 gr\xc3\xbc\\x1b\n");
	check(vmat_write_table, "ADDR,COUNT", &colour,
	      "ADDR   COUNT\n\033[31m0x7f00\033[0m     3\n0x10   12345\n0x0        0\n");
}

static void test_children_max(void **state)
{
	static const struct sample many[] = { { "a", 0, 0, 0, 0, 0, false, 9 } };
	struct vmat_text_options options = { .size = sizeof(options), .children_max = 2 };
	char *got = sample_write(vmat_write_table, many, 1, "NAME,COUNT", &options);

	(void)state;
	assert_string_equal(got, "NAME     COUNT\na            0\n|-0x1000      \n|-0x2000      \n"
				 "`-7 more      \n");
	free(got);
}

/* WORDS (3) goes before NAME (1); numbers never. */
static void test_cut(void **state)
{
	static const struct sample wide[] = { { "abcdefghijklmnop", 1, 123456, 0, 0, 9, false,
						0 } };
	struct vmat_text_options options = { .size = sizeof(options),
					     .is_utf8 = true,
					     .width = 28 };
	char *got = sample_write(vmat_write_table, wide, 1, "NAME,COUNT,WORDS", &options);

	(void)state;
	/* WORDS keeps its 10: below 16 it says nothing; NAME gives */
	assert_string_equal(got, "NAME        COUNT WORDS\nabcdefghi… 123456 zero,three\n");
	free(got);
	options.width = 5;
	options.is_utf8 = false;
	got = sample_write(vmat_write_table, wide, 1, "NAME,COUNT", &options);
	assert_string_equal(got, "NAME      COUNT\nabcdefg~ 123456\n");
	free(got);
}

static void test_raw(void **state)
{
	struct vmat_text_options options = { .size = sizeof(options), .is_utf8 = true };

	(void)state;
	check(vmat_write_raw, "NAME,SIZE,WORDS,CHILDREN", &options,
	      "NAME SIZE WORDS CHILDREN\n"
	      "first\\x20thing 8M zero,three 0x1000-0x1800,0x2000-0x2800\n"
	      "- - - -\n"
	      "gr\xc3\xbc\\x1b <=4K - -\n");
}

static void test_pairs(void **state)
{
	static const struct sample hostile[] = { { "a \"$(id)`\\", 1, 0, 0, 0, 0, false, 0 } };
	struct vmat_text_options options = { .size = sizeof(options), .is_utf8 = true };
	char *got = sample_write(vmat_write_pairs, hostile, 1, "NAME,SIZE", &options);

	(void)state;
	assert_string_equal(got, "NAME=\"a \\x22\\x24(id)\\x60\\x5c\" SIZE=\"1B\"\n");
	free(got);
}

static void test_csv(void **state)
{
	static const struct sample hostile[] = {
		{ "=1+1", 8392704, 1, 0, 0, 0, false, 0 },
		{ "+a, \"b\"", 1, 1, 0, 0, 0, false, 0 },
		{ "-x", 1, 1, 0, 0, 0, false, 0 },
		{ "@x\n", 1, 1, 0, 0, 0, false, 0 },
		{ NULL, VMAT_UNKNOWN(VMAT_RUNNING), 1, 0, 0, 0, false, 0 },
	};
	struct vmat_text_options options = { .size = sizeof(options), .is_utf8 = true };
	char *got = sample_write(vmat_write_csv, hostile, 5, "NAME,SIZE", &options);

	(void)state;
	assert_string_equal(
		got, "name,size\n'=1+1,8392704\n\"'+a, \"\"b\"\"\",1\n'-x,1\n'@x\\x0a,1\n,\n");
	free(got);
}

static void test_full(void **state)
{
	static sample_writer *const writers[] = { vmat_write_table, vmat_write_raw,
						  vmat_write_pairs, vmat_write_csv };
	struct vmat_text_options options = { .size = sizeof(options) };
	struct vmat_rows rows = { .list = &sample_list, .model = samples, .count = 3 };
	struct vmat_selection selection;

	(void)state;
	vmat_selection_all(&selection, &sample_list);
	for (size_t i = 0; i < sizeof(writers) / sizeof(writers[0]); i++) {
		FILE *file = fopen("/dev/full", "we");

		assert_non_null(file);
		assert_int_equal(writers[i](file, &rows, &selection, &options), -ENOSPC);
		fclose(file);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_aligned),      cmocka_unit_test(test_options),
		cmocka_unit_test(test_children_max), cmocka_unit_test(test_cut),
		cmocka_unit_test(test_raw),          cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_csv),          cmocka_unit_test(test_full),
	};

	setlocale(LC_ALL, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
