/* SPDX-License-Identifier: MIT */
/* The JSON writer: exact bytes, and validity of what hostile names become. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include "sample_list.h"

/* clang-format off: it needs the types of the headers above */
#include <cmocka.h>

/* clang-format on */

static int write_rows(FILE *file, const struct vmat_rows *rows,
		      const struct vmat_selection *selection,
		      const struct vmat_text_options *options)
{
	struct vmat_json *json;

	(void)options;
	if (vmat_json_new(&json, file) < 0)
		return -ENOMEM;
	vmat_json_begin(json, NULL);
	vmat_json_rows(json, rows, selection);
	vmat_json_end(json);
	return vmat_json_finish(json);
}

static void check_rows(const struct sample *samples, size_t count, const char *columns,
		       const char *want)
{
	char *got = sample_write(write_rows, samples, count, columns, NULL);

	assert_non_null(got);
	assert_string_equal(got, want);
	free(got);
}

static void test_rows(void **state)
{
	static const struct sample samples[] = {
		{ "a", 8392704, 3, 0x7f00, 1, 9, false, 2 },
		{ NULL, VMAT_UNKNOWN(VMAT_NOT_PERMITTED), 0, 0, 0, 0, false, 0 },
		{ "c", 4096, 0, 0, 0, 0, true, 0 },
	};

	(void)state;
	check_rows(samples, 3, "NAME,ADDR,SIZE,COUNT,FLAG,WORDS,CHILDREN",
		   "{\"samples\":[\n"
		   "{\"name\":\"a\",\"addr\":\"0x7f00\",\"size\":8392704,\"count\":3,\"flag\":true,"
		   "\"words\":[\"zero\",\"three\"],\"children\":[{\"addr\":\"0x1000\",\"end\":"
		   "\"0x1800\"},"
		   "{\"addr\":\"0x2000\",\"end\":\"0x2800\"}]},\n"
		   "{\"name\":null,\"addr\":\"0x0\",\"size\":null,\"count\":0,\"flag\":false,"
		   "\"words\":[],"
		   "\"unknown\":{\"name\":\"not found\",\"size\":\"not permitted\"}},\n"
		   "{\"name\":\"c\",\"addr\":\"0x0\",\"size\":4096,\"count\":0,\"flag\":false,"
		   "\"words\":[],"
		   "\"upper_bound\":[\"size\"]}]}\n");
	/* a left out first member leaves no comma */
	check_rows(samples + 1, 1, "CHILDREN,COUNT", "{\"samples\":[\n{\"count\":0}]}\n");
	check_rows(samples, 0, "COUNT", "{\"samples\":[]}\n");
}

static void test_names(void **state)
{
	static const struct {
		const char *name, *want;
	} cases[] = {
		{ "a\"b\\c", "a\\\"b\\\\c" },
		{ "\033[2J\n", "\\u001b[2J\\u000a" },
		{ "\x7f\xc2\x9b", "\\u007f\\u009b" },
		{ "gr\xc3\xbc", "gr\xc3\xbc" },
		{ "\xff\xc3", "\\u00ff\\u00c3" },
		{ "\xe2\x80\xae", "\\u202e" },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sample sample = { .name = cases[i].name };
		char want[128];

		snprintf(want, sizeof(want), "{\"samples\":[\n{\"name\":\"%s\"}]}\n",
			 cases[i].want);
		check_rows(&sample, 1, "NAME", want);
	}
}

static void test_document(void **state)
{
	char *text = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);
	struct vmat_json *json;

	(void)state;
	assert_int_equal(vmat_json_new(&json, file), 0);
	vmat_json_begin(json, NULL);
	vmat_json_string(json, "schema", "x/1");
	vmat_json_begin(json, "inner");
	vmat_json_number(json, "a", 1);
	vmat_json_number(json, "b", VMAT_UNKNOWN(VMAT_CHANGED));
	vmat_json_end(json);
	vmat_json_bool(json, "partial", false);
	vmat_json_string(json, "why", NULL);
	vmat_json_end(json);
	assert_int_equal(vmat_json_finish(json), 0);
	fclose(file);
	assert_string_equal(text, "{\"schema\":\"x/1\",\n\"inner\":{\"a\":1,\"b\":null},\n"
				  "\"partial\":false,\n\"why\":null}\n");
	free(text);
}

/* The first error is told, and rows end there. */
static void test_full(void **state)
{
	static struct sample samples[100000];
	struct vmat_rows rows = { .list = &sample_list, .model = samples, .count = 100000 };
	struct vmat_selection selection;
	FILE *file = fopen("/dev/full", "we");

	(void)state;
	assert_non_null(file);
	vmat_selection_default(&selection, &sample_list, VMAT_SHOW_JSON);
	for (size_t i = 0; i < 100000; i++)
		samples[i].name = "some name";
	assert_int_equal(write_rows(file, &rows, &selection, NULL), -ENOSPC);
	fclose(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_document),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
