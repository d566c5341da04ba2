/* SPDX-License-Identifier: MIT */
/* Lines of maps as kernels write them, and everything that no kernel writes. */
#include "map/maps_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"

static int parse(struct vmat_maps_line *ret, const char *text)
{
	static char *copy; /* of exactly the line's size: a sanitizer sees a read beyond it */
	size_t size = strlen(text);

	free(copy);
	copy = malloc(size ? size : 1);
	assert_non_null(copy);
	memcpy(copy, text, size);
	return vmat_maps_line_parse(ret, copy, copy + size);
}

static const struct {
	const char *text;
	uint64_t start, end, offset, inode;
	uint32_t dev_major, dev_minor;
	unsigned prot;
	const char *name;
} good[] = {
	{ "55d0c8a00000-55d0c8a02000 r--p 00000000 fe:01 1234567                    /usr/bin/cat",
	  0x55d0c8a00000, 0x55d0c8a02000, 0, 1234567, 0xfe, 1, VMAT_PROT_READ, "/usr/bin/cat" },
	{ "7f0000000000-7f0000001000 rw-p 00000000 00:00 0 ", 0x7f0000000000, 0x7f0000001000, 0, 0,
	  0, 0, VMAT_PROT_READ | VMAT_PROT_WRITE, "" },
	{ "7f0000000000-7f0000001000 rw-p 00000000 00:00 0", 0x7f0000000000, 0x7f0000001000, 0, 0,
	  0, 0, VMAT_PROT_READ | VMAT_PROT_WRITE, "" },
	{ "08048000-08049000 r-xp 00001000 103:02 99                                 /bin/a b (deleted)",
	  0x8048000, 0x8049000, 0x1000, 99, 0x103, 2, VMAT_PROT_READ | VMAT_PROT_EXEC,
	  "/bin/a b (deleted)" },
	{ "f7700000-f7701000 ---s 100000000 00:05 18446744073709551615               /dev/shm/x",
	  0xf7700000, 0xf7701000, 0x100000000, UINT64_MAX, 0, 5, VMAT_PROT_SHARED, "/dev/shm/x" },
	{ "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]",
	  0xffffffffff600000, 0xffffffffff601000, 0, 0, 0, 0, VMAT_PROT_EXEC, "[vsyscall]" },
	{ "00400000-00401000 rwxs 00000000 08:11 5                                  /n\\012ew  line ",
	  0x400000, 0x401000, 0, 5, 8, 0x11,
	  VMAT_PROT_READ | VMAT_PROT_WRITE | VMAT_PROT_EXEC | VMAT_PROT_SHARED,
	  "/n\\012ew  line " },
	{ "7ffc0000-7ffd0000 -w-p ffffffffffffffff ffffffff:fffff 0 [anon: a:b]]", 0x7ffc0000,
	  0x7ffd0000, UINT64_MAX, 0, 0xffffffff, 0xfffff, VMAT_PROT_WRITE, "[anon: a:b]]" },
};

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct vmat_maps_line line;

		assert_int_equal(parse(&line, good[i].text), 0);
		assert_true(line.start == good[i].start && line.end == good[i].end);
		assert_true(line.offset == good[i].offset && line.inode == good[i].inode);
		assert_int_equal(line.dev_major, good[i].dev_major);
		assert_int_equal(line.dev_minor, good[i].dev_minor);
		assert_int_equal(line.prot, good[i].prot);
		assert_int_equal(line.name_size, strlen(good[i].name));
		assert_memory_equal(line.name, good[i].name, line.name_size);
	}
}

static void test_malformed(void **state)
{
	static const char *const texts[] = {
		"",
		" ",
		"-",
		"7f0000000000",
		"7f0000000000-",
		"7f0000000000-7f0000001000",
		"7f0000000000-7f0000001000 ",
		"7f0000000000-7f0000001000 rw-p",
		"7f0000000000-7f0000001000 rw-p ",
		"7f0000000000-7f0000001000 rw-p 00000000",
		"7f0000000000-7f0000001000 rw-p 00000000 00:00",
		"7f0000000000-7f0000001000 rw-p 00000000 00:00 ",
		"7f0000000000-7f0000001000 rw-p 00000000 00:00 x",
		"7f0000000000-7f0000001000 rw-p 00000000 00:00 -1",
		"7f0000000000-7f0000001000 rw-p 00000000 0000 0",
		"7f0000000000-7f0000001000 rw-p 00000000 :00 0",
		"7f0000000000-7f0000001000 rw-p 00000000 00: 0",
		"7f0000000000-7f0000001000 rw-p  00:00 0",
		"7f0000000000-7f0000001000 rw-p 0000000g 00:00 0",
		"7f0000000000-7f0000001000 rw- 00000000 00:00 0",
		"7f0000000000-7f0000001000 rw-pp 00000000 00:00 0",
		"7f0000000000-7f0000001000 rwxz 00000000 00:00 0",
		"7f0000000000-7f0000001000 wr-p 00000000 00:00 0",
		"7f0000000000-7f0000001000 rw_p 00000000 00:00 0",
		"7f0000000000-7f0000001000 rw-p 00000000 00:00 0/name",
		"7f0000000000 7f0000001000 rw-p 00000000 00:00 0",
		"7f0000000000-7f0000000000 rw-p 00000000 00:00 0", /* empty */
		"7f0000001000-7f0000000000 rw-p 00000000 00:00 0", /* turned around */
		"7f0000000001-7f0000001000 rw-p 00000000 00:00 0", /* no page's address */
		"7f0000000000-7f0000001001 rw-p 00000000 00:00 0",
		"00007f00000000000-7f0000001000 rw-p 00000000 00:00 0", /* 17 digits */
		"10000000000000000-7f0000001000 rw-p 00000000 00:00 0",
		" 7f0000000000-7f0000001000 rw-p 00000000 00:00 0",
		"7f0000000000-7f0000001000\trw-p 00000000 00:00 0",
		"Rss:                   4 kB",
	};
	struct vmat_maps_line line;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (parse(&line, texts[i]) != -EINVAL)
			fail_msg("taken for a region: '%s'", texts[i]);
	}
}

/* Cut at each length: an error, or a region whose name is cut. */
static void test_cut(void **state)
{
	const char *text = good[0].text;
	struct vmat_maps_line line;
	char cut[200];

	(void)state;
	for (size_t size = 0; size < strlen(text); size++) {
		memcpy(cut, text, size);
		cut[size] = '\0';
		if (parse(&line, cut) == 0) {
			assert_true(line.start == good[0].start && line.end == good[0].end);
			assert_true(line.name_size < strlen(good[0].name));
		}
	}
}

/* Digits at every place where eight at once are read: both cases, all values, all neighbours of digits. */
static void test_digits(void **state)
{
	struct vmat_maps_line line;
	char text[64];

	(void)state;
	for (int place = 0; place < 12; place++) {
		for (int byte = 1; byte < 256; byte++) {
			char *end;
			uint64_t want;
			bool is_hex;

			snprintf(text, sizeof(text),
				 "001234567000-fffffffff000 rw-p 00000000 00:00 0");
			text[place] = (char)byte;
			want = strtoull(text, &end, 16);
			is_hex = end == text + 12 && byte != '-' && byte != '+' &&
				 !strchr(" \t\n\v\f\rxX", byte) && !(want & 4095);
			assert_int_equal(parse(&line, text), is_hex ? 0 : -EINVAL);
			if (is_hex)
				assert_true(line.start == want);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_digits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
