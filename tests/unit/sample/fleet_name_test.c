/* SPDX-License-Identifier: MIT */
/* Names of groups: the unit in a control group, and names that are fit for a label. */
#include "sample/fleet_name.h"

#include <stdio.h>

#include "cmocka_all.h"

static void test_units(void **state)
{
	static const struct {
		const char *text, *unit;
	} cases[] = {
		{ "0::/system.slice/postgresql.service\n", "postgresql.service" },
		{ "0::/system.slice/docker-0123.scope\n", "docker-0123.scope" },
		{ "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.scope\n",
		  "app-x.scope" },
		{ "12:memory:/system.slice/a.service\n11:cpu:/system.slice/a.service/sub\n",
		  "a.service" },
		{ "0::/\n", NULL },
		{ "0::/user.slice\n", NULL },
		{ "", NULL },
		{ ".service", NULL },
		{ "0::/.service\n", NULL },
		{ "0::/a.service", "a.service" },
	};

	char unit[VMAT_GROUP_NAME];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(vmat_unit_of_cgroup(cases[i].text, unit, sizeof(unit)),
				 cases[i].unit != NULL);
		if (cases[i].unit)
			assert_string_equal(unit, cases[i].unit);
	}
}

static void test_clean(void **state)
{
	static const struct {
		const char *name, *clean;
	} cases[] = {
		{ "redis-server", "redis-server" },
		{ "a\"b\\c", "a\"b\\c" }, /* the writer escapes these */
		{ "a\nb\x1b[31m\x7f", "a?b?[31m?" },
		{ "gr\xc3\xbc\xc3\x9f"
		  "e \xe4\xbd\xa0",
		  "gr\xc3\xbc\xc3\x9f"
		  "e \xe4\xbd\xa0" },
		{ "cut \xe4\xbd", "cut ??" },
		{ "\xff\xc0\xaf", "???" },
		{ "\xed\xa0\x80", "???" },
		{ "\xf5\x80\x80\x80", "????" },
		{ "", "?" },
		{ "_other", "_other?" },
		{ "_others", "_others" },
	};

	char name[VMAT_GROUP_NAME];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(name, sizeof(name), "%s", cases[i].name);
		vmat_group_name_clean(name);
		assert_string_equal(name, cases[i].clean);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
