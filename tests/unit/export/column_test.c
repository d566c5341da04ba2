/* SPDX-License-Identifier: MIT */
/* Choosing columns, sorting rows, and the promises that every column table keeps. */
#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include "sample_list.h"

/* clang-format off: it needs the types of the headers above */
#include <cmocka.h>

/* clang-format on */

static void test_parse(void **state)
{
	struct vmat_selection selection = { .count = 0 };
	struct vmat_error err = { 0 };

	(void)state;
	assert_int_equal(vmat_selection_parse(&selection, &sample_list, "name,SIZE", &err), 0);
	assert_int_equal(selection.count, 2);
	assert_int_equal(selection.columns[1], SAMPLE_SIZE);
	assert_int_equal(vmat_selection_parse(&selection, &sample_list, "+Flag", &err), 0);
	assert_int_equal(selection.count, 3);
	assert_int_equal(selection.columns[2], SAMPLE_FLAG);
	assert_int_equal(vmat_selection_needs(&selection, &sample_list), VMAT_NEED_SMAPS);
	vmat_selection_limit(&selection, &sample_list, VMAT_NEED_PAGES);
	assert_int_equal(selection.count, 2);
	/* a mistake leaves the selection as it was and lists the columns */
	assert_int_equal(vmat_selection_parse(&selection, &sample_list, "SIZE,nope", &err),
			 -EINVAL);
	assert_int_equal(selection.count, 2);
	assert_non_null(strstr(err.text, "'nope'"));
	assert_non_null(strstr(err.text, "NAME ADDR SIZE COUNT FLAG WORDS CHILDREN"));
	assert_int_equal(vmat_selection_parse(&selection, &sample_list, "", &err), -EINVAL);
	assert_int_equal(vmat_selection_parse(&selection, &sample_list, "SIZE,", &err), -EINVAL);
}

static void test_too_many(void **state)
{
	struct vmat_selection selection = { .count = 0 };
	char text[6 * (VMAT_COLUMNS_MAX + 1)] = "";

	(void)state;
	for (size_t i = 0; i < VMAT_COLUMNS_MAX; i++)
		memcpy(text + 5 * i, "SIZE,", 6);
	memcpy(text + 5 * VMAT_COLUMNS_MAX, "SIZE", 5);
	assert_int_equal(vmat_selection_parse(&selection, &sample_list, text, NULL), -EINVAL);
	text[5 * VMAT_COLUMNS_MAX - 1] = '\0';
	assert_int_equal(vmat_selection_parse(&selection, &sample_list, text, NULL), 0);
}

static void check_order(const struct sample *samples, size_t column, const size_t want[4])
{
	struct vmat_rows rows = { .list = &sample_list, .model = samples, .count = 4 };
	size_t *order;

	assert_int_equal(vmat_rows_sort(&rows, column, &order), 0);
	assert_memory_equal(order, want, 4 * sizeof(*want));
	free(order);
}

static void test_sort(void **state)
{
	static const struct sample samples[] = {
		{ .name = "b", .size = 7, .count = 5 },
		{ .name = NULL, .size = VMAT_UNKNOWN(VMAT_CHANGED), .count = 5 },
		{ .name = "a", .size = 9, .count = 5 },
		{ .name = "b", .size = 8, .count = 4 },
	};
	struct vmat_rows rows = { .list = &sample_list, .model = samples, .count = 4 };
	size_t *order;

	(void)state;
	check_order(samples, SAMPLE_NAME, (const size_t[]){ 2, 0, 3, 1 });
	check_order(samples, SAMPLE_SIZE, (const size_t[]){ 0, 3, 2, 1 });
	check_order(samples, SAMPLE_COUNT, (const size_t[]){ 3, 0, 1, 2 });
	assert_int_equal(vmat_rows_sort(&rows, SAMPLE_CHILDREN, &order), -EINVAL);
}

static const struct vmat_list *const lists[] = {
	&vmat_list_regions,   &vmat_list_parts, &vmat_list_process, &vmat_list_counters,
	&vmat_list_totals,    &vmat_list_gaps,  &vmat_list_where,   &vmat_list_owners,
	&vmat_list_threads,   &vmat_list_runs,  &vmat_list_cow,     &vmat_list_ranges,
	&vmat_list_pagesizes,
};

#define LISTS_COUNT (sizeof(lists) / sizeof(lists[0]))

static void check_column(const struct vmat_list *list, size_t number)
{
	const struct vmat_column *column = &list->columns[number];
	size_t last = strlen(column->meaning);

	for (const char *c = column->name; *c; c++)
		assert_true(isupper(*c) || isdigit(*c) || *c == '_');
	for (const char *c = column->key; *c; c++)
		assert_true(islower(*c) || isdigit(*c) || *c == '_');
	/* the first that has the name and the first that has the key: no other column may */
	assert_int_equal(vmat_column_find(list, column->name, strlen(column->name)), number);
	assert_int_equal(vmat_column_find(list, column->key, strlen(column->key)), number);
	assert_true(last > 0 && column->meaning[last - 1] != '.');
	assert_true(column->origin[0] != '\0');
	assert_true((column->type == VMAT_TYPE_WORDS) == (column->word != NULL));
	assert_true(column->ample <= 3);
	/* a number is never cut */
	assert_true(!column->ample || column->type == VMAT_TYPE_STRING ||
		    column->type == VMAT_TYPE_WORDS || column->type == VMAT_TYPE_ROWS);
	/* what is shown by default costs no smaps */
	if (list != &vmat_list_totals && column->show)
		assert_false(column->need & (VMAT_NEED_SMAPS | VMAT_NEED_KPAGEFLAGS));
}

static void test_tables(void **state)
{
	(void)state;
	for (size_t i = 0; i < LISTS_COUNT; i++) {
		assert_true(lists[i]->columns_count <= VMAT_COLUMNS_MAX);
		assert_true(lists[i]->meaning[0] != '\0');
		for (size_t k = 0; k < lists[i]->columns_count; k++)
			check_column(lists[i], k);
		if (lists[i]->children)
			assert_int_equal(lists[i]->columns[lists[i]->children - 1].type,
					 VMAT_TYPE_ROWS);
	}
}

/* The names that other programs rely on: docs/DESIGN.md, "JSON that other programs rely on". */
static void test_schema(void **state)
{
	static const struct {
		const struct vmat_list *list;
		const char *keys;
	} schema[] = {
		{ &vmat_list_regions,
		  "start end size prot kind owner why path offset rss pss uss swap "
		  "dirty copied page_size huge parts" },
		{ &vmat_list_totals, "kind count size rss pss uss swap copied" },
		{ &vmat_list_threads, "tid name state guard begin end size gap gap_holds sp used "
				      "resident high_water cached why" },
		{ &vmat_list_runs,
		  "start end pages page_size present swapped file copied exclusive "
		  "huge zero guard pfn pfn_runs" },
		{ &vmat_list_cow, "start end path pages copied ranges" },
		{ &vmat_list_ranges, "start end" },
		{ &vmat_list_process, "pid name exe" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(schema) / sizeof(schema[0]); i++)
		for (const char *key = schema[i].keys; *key;) {
			size_t size = strcspn(key, " ");
			size_t found = vmat_column_find(schema[i].list, key, size);

			if (found == schema[i].list->columns_count)
				fail_msg("%s lacks %.*s", schema[i].list->name, (int)size, key);
			assert_int_equal(strncmp(schema[i].list->columns[found].key, key, size), 0);
			key += size + (key[size] == ' ');
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),  cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_sort),   cmocka_unit_test(test_tables),
		cmocka_unit_test(test_schema),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
