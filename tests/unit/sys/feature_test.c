/* SPDX-License-Identifier: MIT */
/*
 * The table of features. States are remembered for the life of a process, so each list of names in
 * VMAT_WITHOUT is tried in a child, before this process has asked for any of them.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmatlas/feature.h>

#include "cmocka_all.h"

/* Runs `check` in a child with VMAT_WITHOUT set to `list`; its result must be 0. */
static void in_child(const char *list, int (*check)(void))
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		setenv("VMAT_WITHOUT", list, 1);
		_exit(check());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_rows_are_whole(void **state)
{
	(void)state;
	for (int i = 0; i < VMAT_FEATURE_COUNT; i++) {
		const struct vmat_feature_info *info = vmat_feature_info((enum vmat_feature)i);

		assert_non_null(info);
		assert_true(strlen(info->name) > 3 && strlen(info->name) < 24);
		assert_int_equal(strspn(info->name, "abcdefghijklmnopqrstuvwxyz_"),
				 strlen(info->name));
		assert_true(strlen(info->sentence) > 10);
		assert_true(strlen(info->lost) > 10);
		assert_true(strlen(info->since) > 2);
		assert_non_null(info->needs);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(info->name,
						vmat_feature_info((enum vmat_feature)k)->name);
	}
	assert_null(vmat_feature_info(VMAT_FEATURE_COUNT));
	assert_int_equal(vmat_feature_state(VMAT_FEATURE_COUNT), VMAT_FEATURE_NO);
	assert_string_equal(vmat_feature_evidence(VMAT_FEATURE_COUNT), "");
}

/* Every probe comes to an end, says why, and leaves no descriptor behind. */
static void test_probes_leave_nothing(void **state)
{
	int before = dup(0), after;

	(void)state;
	close(before);
	for (int i = 0; i < VMAT_FEATURE_COUNT; i++) {
		enum vmat_feature_state first = vmat_feature_state((enum vmat_feature)i);

		assert_true(strlen(vmat_feature_evidence((enum vmat_feature)i)) > 5);
		assert_int_equal(vmat_feature_state((enum vmat_feature)i), first);
	}
	after = dup(0);
	close(after);
	assert_int_equal(after, before);
}

static int check_two_off(void)
{
	if (vmat_feature_state(VMAT_FEATURE_PIDFD) != VMAT_FEATURE_FORCED_OFF)
		return 1;
	if (vmat_feature_state(VMAT_FEATURE_PAGEMAP) != VMAT_FEATURE_FORCED_OFF)
		return 2;
	/* A name that another one begins with does not turn the other one off. */
	if (vmat_feature_state(VMAT_FEATURE_PAGEMAP_SCAN) == VMAT_FEATURE_FORCED_OFF)
		return 3;
	return strstr(vmat_feature_evidence(VMAT_FEATURE_PIDFD), "VMAT_WITHOUT") ? 0 : 4;
}

static int check_all_off(void)
{
	for (int i = 0; i < VMAT_FEATURE_COUNT; i++) {
		if (vmat_feature_state((enum vmat_feature)i) != VMAT_FEATURE_FORCED_OFF)
			return i + 1;
	}
	return 0;
}

static int check_none_off(void)
{
	for (int i = 0; i < VMAT_FEATURE_COUNT; i++) {
		if (vmat_feature_state((enum vmat_feature)i) == VMAT_FEATURE_FORCED_OFF)
			return i + 1;
	}
	return 0;
}

static int check_unknown_name(void)
{
	char name[8];

	if (!vmat_feature_unknown_name(name, sizeof(name)) || strcmp(name, "pidfdd") != 0)
		return 1;
	return vmat_feature_unknown_name(name, 4) && strcmp(name, "pid") == 0 ? 0 : 2;
}

static int check_no_unknown_name(void)
{
	char name[8] = "kept";

	return !vmat_feature_unknown_name(name, sizeof(name)) && strcmp(name, "kept") == 0 ? 0 : 1;
}

static void test_forced_off(void **state)
{
	(void)state;
	in_child("pidfd,pagemap", check_two_off);
	in_child(",,pagemap,,pidfd,", check_two_off);
	in_child("all", check_all_off);
	in_child("nothing,all", check_all_off);
	in_child("", check_none_off);
	in_child("pagema,pidfd ,PIDFD", check_none_off);
}

static void test_unknown_names(void **state)
{
	(void)state;
	in_child("pagemap,pidfdd,xx", check_unknown_name);
	in_child("", check_no_unknown_name);
	in_child("all,,pidfd", check_no_unknown_name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forced_off),
		cmocka_unit_test(test_unknown_names),
		cmocka_unit_test(test_rows_are_whole),
		cmocka_unit_test(test_probes_leave_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
