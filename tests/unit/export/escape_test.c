/* SPDX-License-Identifier: MIT */
/* Which bytes of a hostile text pass, and what the others become. */
#include "export/escape.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <vmatlas/export.h>

/* clang-format off: it needs the types of the headers above */
#include <cmocka.h>

/* clang-format on */

static void check(const char *text, uint32_t flags, const char *want, size_t want_width)
{
	char got[256];
	size_t width, size = vmat_escape(got, text, strlen(text), flags, &width);

	got[size] = '\0';
	assert_string_equal(got, want);
	assert_int_equal(width, want_width);
}

static void test_texts(void **state)
{
	(void)state;
	check("libc.so.6", 0, "libc.so.6", 9);
	check("a\033[31mb\n", VMAT_ESCAPE_UTF8, "a\\x1b[31mb\\x0a", 14);
	check("a\nb", VMAT_ESCAPE_LINES, "a\nb", 3);
	check("a b", VMAT_ESCAPE_BLANKS, "a\\x20b", 6);
	check("\"$`\\", VMAT_ESCAPE_SHELL, "\\x22\\x24\\x60\\x5c", 16);
	check("\"$`\\", 0, "\"$`\\", 4);
	/* a name that holds an escape of ours is not taken for one */
	check("\\x1b \\n", 0, "\\x5cx1b \\n", 10);
	check("gr\xc3\xbc\xc3\x9f", VMAT_ESCAPE_UTF8, "gr\xc3\xbc\xc3\x9f", 4);
	check("gr\xc3\xbc", 0, "gr\\xc3\\xbc", 10);
	check("\xe6\xbc\xa2", VMAT_ESCAPE_UTF8, "\xe6\xbc\xa2", 2); /* wide */
	check("\xff\xc3", VMAT_ESCAPE_UTF8, "\\xff\\xc3", 8);
	check("\xc2\x9b"
	      "31m",
	      VMAT_ESCAPE_UTF8, "\\xc2\\x9b31m", 11); /* C1: CSI */
	check("\xe2\x80\xae"
	      "exe",
	      VMAT_ESCAPE_UTF8, "\\xe2\\x80\\xaeexe", 15); /* U+202E */
	check("", 0, "", 0);
}

/* RFC 3629: overlong forms, surrogates, beyond U+10FFFF and torn sequences are no UTF-8. */
static void test_utf8(void **state)
{
	static const struct {
		const char *text;
		unsigned length;
		uint32_t character;
	} cases[] = {
		{ "A", 1, 'A' },
		{ "\xc2\x80", 2, 0x80 },
		{ "\xdf\xbf", 2, 0x7ff },
		{ "\xe0\xa0\x80", 3, 0x800 },
		{ "\xef\xbf\xbf", 3, 0xffff },
		{ "\xf0\x90\x80\x80", 4, 0x10000 },
		{ "\xf4\x8f\xbf\xbf", 4, 0x10ffff },
		{ "\xc0\x80", 0, 0 },
		{ "\xc1\xbf", 0, 0 },
		{ "\xe0\x9f\xbf", 0, 0 },
		{ "\xed\xa0\x80", 0, 0 },
		{ "\xf0\x8f\xbf\xbf", 0, 0 },
		{ "\xf4\x90\x80\x80", 0, 0 },
		{ "\xf5\x80\x80\x80", 0, 0 },
		{ "\x80", 0, 0 },
		{ "\xe2\x82", 0, 0 },
		{ "\xe2\x82"
		  "A",
		  0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t character = 0;
		unsigned length =
			vmat_utf8_decode(cases[i].text, strlen(cases[i].text), &character);

		assert_int_equal(length, cases[i].length);
		if (length)
			assert_int_equal(character, cases[i].character);
	}
}

/* No byte and no pair of bytes lets anything through that a terminal obeys. */
static void test_all_bytes(void **state)
{
	(void)state;
	for (unsigned pair = 0; pair < 65536; pair++) {
		char text[2] = { (char)(pair >> 8), (char)pair }, got[16];
		uint32_t flags = pair & 1 ? VMAT_ESCAPE_UTF8 : 0;
		size_t size = vmat_escape(got, text, 2, flags, NULL);

		assert_true(size >= 2 && size <= 8);
		for (size_t i = 0; i < size;) {
			uint32_t character = 0;
			unsigned length = vmat_utf8_decode(got + i, size - i, &character);

			assert_int_not_equal(length, 0);
			assert_false(vmat_character_is_harmful(character));
			i += length;
		}
	}
}

static void test_prefix(void **state)
{
	size_t width;

	(void)state;
	assert_int_equal(vmat_escaped_prefix("abcdef", 6, 4, &width), 4);
	assert_int_equal(width, 4);
	assert_int_equal(vmat_escaped_prefix("\xc3\xbc\xc3\xbc", 4, 1, &width), 2);
	assert_int_equal(width, 1);
	/* half of a wide character does not fit */
	assert_int_equal(vmat_escaped_prefix("a\xe6\xbc\xa2", 4, 2, &width), 1);
	assert_int_equal(width, 1);
	assert_int_equal(vmat_escaped_prefix("ab", 2, 9, &width), 2);
}

static void test_bounded(void **state)
{
	char got[8];

	(void)state;
	assert_int_equal(vmat_text_escape(got, sizeof(got), "ab\033cd", true, false), 8);
	assert_string_equal(got, "ab\\x1bc");
	assert_int_equal(vmat_text_escape(got, sizeof(got), "ab\033\033", true, false), 10);
	assert_string_equal(got, "ab\\x1b"); /* an escape is not torn */
	assert_int_equal(vmat_text_escape(got, sizeof(got), "", true, false), 0);
	assert_string_equal(got, "");
	assert_int_equal(vmat_text_escape(NULL, 0, "\\x", true, false), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),     cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_all_bytes), cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_bounded),
	};

	setlocale(LC_ALL, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
