/* SPDX-License-Identifier: MIT */
/* Texts of errors and reasons: never too long, never without a meaning. */
#include <errno.h>
#include <string.h>

#include <vmatlas/base.h>

#include "cmocka_all.h"

static void test_set(void **state)
{
	struct vmat_error err = { 0 };

	(void)state;
	assert_int_equal(vmat_error_set(&err, -EPERM, "no %s", "way"), -EPERM);
	assert_int_equal(err.code, -EPERM);
	assert_string_equal(err.text, "no way");
	assert_int_equal(vmat_error_set(NULL, -EPERM, "no %s", "way"), -EPERM);
}

static void test_prefix(void **state)
{
	struct vmat_error err;

	(void)state;
	vmat_error_set(&err, -ENOENT, "it is gone");
	assert_int_equal(vmat_error_prefix(&err, "reading %d", 7), -ENOENT);
	assert_string_equal(err.text, "reading 7: it is gone");
	assert_int_equal(vmat_error_prefix(NULL, "x"), 0);
}

/* All lengths of text and prefix around the size of the field: cut, ended, never beyond. */
static void test_lengths(void **state)
{
	char text[700], prefix[700];

	struct {
		struct vmat_error err;
		unsigned char behind[16];
	} guarded;

	(void)state;
	for (size_t a = 0; a<sizeof(text); a += a> 490 && a < 520 ? 1 : 70) {
		for (size_t b = 0; b<sizeof(prefix); b += b> 490 && b < 520 ? 1 : 70) {
			size_t kept;

			memset(text, 't', a);
			text[a] = '\0';
			memset(prefix, 'p', b);
			prefix[b] = '\0';
			memset(&guarded, 0xa5, sizeof(guarded));
			vmat_error_set(&guarded.err, -EIO, "%s", text);
			assert_int_equal(strlen(guarded.err.text), a < 507 ? a : 507);
			vmat_error_prefix(&guarded.err, "%s", prefix);
			kept = strlen(guarded.err.text);
			assert_true(kept <= 507);
			if (b + 2 + a <= 507)
				assert_int_equal(kept, b + 2 + a);
			assert_non_null(strstr(guarded.err.text, ": "));
			for (size_t i = 0; i < sizeof(guarded.behind); i++)
				assert_int_equal(guarded.behind[i], 0xa5);
		}
	}
}

static void test_reasons(void **state)
{
	(void)state;
	for (int reason = VMAT_NOT_ASKED; reason < VMAT_REASON_END; reason++) {
		uint64_t fact = VMAT_UNKNOWN(reason);

		assert_false(vmat_is_known(fact));
		assert_int_equal(vmat_reason(fact), reason);
		assert_true(strlen(vmat_reason_text((enum vmat_reason)reason)) > 5);
	}
	assert_string_equal(vmat_reason_text((enum vmat_reason)0), "");
	assert_string_equal(vmat_reason_text(VMAT_REASON_END), "");
	assert_true(vmat_is_known(0));
	assert_true(vmat_is_known(UINT64_MAX / 2)); /* VMAT_STACK_UNLIMITED */
	assert_int_equal(vmat_reason(4096), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
