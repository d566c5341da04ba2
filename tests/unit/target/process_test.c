/* SPDX-License-Identifier: MIT */
/* The texts that say who a process is: plain data in, fields out. */
#include "target/process.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "recording.h"

static int parse(struct vmat_stat *ret, const char *text)
{
	/* In a block of exactly its size, so that a sanitizer sees a read beyond it. */
	size_t size = strlen(text);
	char *copy = malloc(size ? size : 1);
	int err;

	assert_non_null(copy);
	memcpy(copy, text, size);
	err = vmat_stat_parse(ret, copy, size);
	free(copy);
	return err;
}

static void check_comm(const char *comm)
{
	struct vmat_stat stat;
	char text[512];

	snprintf(text, sizeof(text), STAT_TEXT, 4242, comm, 'R', 0x404140U, 3, 987654,
		 0x7ffd12345670ULL);
	assert_int_equal(parse(&stat, text), 0);
	assert_string_equal(stat.comm, comm);
	assert_int_equal(stat.pid, 4242);
	assert_int_equal(stat.ppid, 1);
	assert_int_equal(stat.state, 'R');
	assert_int_equal(stat.flags, 0x404140);
	assert_int_equal(stat.faults_minor, 11);
	assert_int_equal(stat.faults_major, 22);
	assert_int_equal(stat.threads, 3);
	assert_int_equal(stat.start_ticks, 987654);
	assert_int_equal(stat.start_code, 1);
	assert_true(stat.stack_addr == 0x7ffd12345670);
}

static void test_stat_names(void **state)
{
	(void)state;
	check_comm("bash");
	check_comm("");
	check_comm(")");
	check_comm("a) R 1 2 (b");
	check_comm("((((((((((((((");
	check_comm("new\nline\n) S 9");
	check_comm("\x01\x1b[2J\xff ");
	check_comm("kworker/u16:3-events_unbound_and_much_longer_than_it_was_once");
}

/* Cut at every length: all that is needed, or -EINVAL and *ret untouched. */
static void test_stat_cut(void **state)
{
	char text[512], cut[512];
	size_t size, shortest = 0;

	(void)state;
	snprintf(text, sizeof(text), STAT_TEXT, 7, "x", 'S', 0U, 1, 55, 0x7ffd12345670ULL);
	size = strlen(text);
	for (size_t length = 0; length <= size; length++) {
		struct vmat_stat stat = { .pid = -9 };

		memcpy(cut, text, length);
		cut[length] = '\0';
		if (parse(&stat, cut) == 0) {
			if (!shortest)
				shortest = length;
			assert_int_equal(stat.pid, 7);
		} else {
			assert_int_equal(stat.pid, -9);
			assert_int_equal(shortest, 0); /* what was enough stays enough */
		}
	}
	assert_in_range(shortest, 60, size - 20);
}

static void test_stat_malformed(void **state)
{
	static const char *const texts[] = {
		"",
		"7",
		"7 (",
		"7 )",
		")(",
		"7 )x( S 1",
		"7 (x)",
		"7 (x) ",
		"7 (x) S",
		"7 (x) S ",
		"7 x S 1 1 1 0 -1 4 1 0 2 0 5 6 0 0 20 0 1 0 55 1000 25 1 1 1 1 1",
	};
	struct vmat_stat stat;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(parse(&stat, texts[i]), -EINVAL);
}

/* The first process of a small virtual machine starts before the first tick. */
static void test_stat_started_at_0(void **state)
{
	struct vmat_stat stat;
	char text[512];

	(void)state;
	snprintf(text, sizeof(text), STAT_TEXT, 1, "init", 'S', 0U, 1, 0, 0x7ffd12345670ULL);
	assert_int_equal(parse(&stat, text), 0);
	assert_int_equal(stat.start_ticks, 0);
	assert_int_equal(stat.pid, 1);
}

static void test_auxv_64(void **state)
{
	const uint64_t auxv[] = { AT_SYSINFO_EHDR, 0x7fff0000, AT_MINSIGSTKSZ, 3632,
				  AT_PHDR,         0x400040,   AT_BASE,        0x7f0000000000,
				  AT_NULL,         0,          AT_ENTRY,       99 };

	(void)state;
	assert_int_equal(vmat_auxv_word_size(auxv, sizeof(auxv)), 8);
	assert_int_equal(vmat_auxv_find(auxv, sizeof(auxv), 8, AT_PHDR), 0x400040);
	assert_true(vmat_auxv_find(auxv, sizeof(auxv), 8, AT_BASE) == 0x7f0000000000);
	assert_int_equal(vmat_auxv_find(auxv, sizeof(auxv), 8, AT_ENTRY), 0); /* behind the end */
	assert_int_equal(vmat_auxv_find(auxv, sizeof(auxv), 8, AT_HWCAP), 0);
	/* Cut within an entry: that one is not read. */
	assert_int_equal(vmat_auxv_find(auxv, 8 * 8 - 1, 8, AT_BASE), 0);
}

static void test_auxv_32(void **state)
{
	const uint32_t auxv[] = { AT_SYSINFO, 0xf7f00000, AT_SYSINFO_EHDR, 0xf7f01000, AT_PHDR,
				  0x8048034,  AT_BASE,    0xf7f02000,      AT_NULL,    0 };

	(void)state;
	assert_int_equal(vmat_auxv_word_size(auxv, sizeof(auxv)), 4);
	assert_int_equal(vmat_auxv_find(auxv, sizeof(auxv), 4, AT_SYSINFO_EHDR), 0xf7f01000);
	assert_int_equal(vmat_auxv_find(auxv, sizeof(auxv), 4, AT_BASE), 0xf7f02000);
	assert_int_equal(vmat_auxv_find(auxv, 7, 4, AT_SYSINFO), 0);
	for (size_t size = 0; size < 8; size++)
		assert_int_equal(vmat_auxv_word_size(auxv, size), 0);
}

static void test_limits(void **state)
{
	static const char limits[] =
		"Limit                     Soft Limit           Hard Limit           Units     \n"
		"Max cpu time              unlimited            unlimited            seconds   \n"
		"Max stack size            8388608              unlimited            bytes     \n"
		"Max core file size        0                    unlimited            bytes     \n"
		"Max address space         unlimited            unlimited            bytes     \n";

	(void)state;
	assert_int_equal(vmat_limit_parse(limits, "Max stack size"), 8388608);
	assert_int_equal(vmat_limit_parse(limits, "Max core file size"), 0);
	assert_true(vmat_limit_parse(limits, "Max address space") == VMAT_STACK_UNLIMITED);
	assert_int_equal(vmat_limit_parse(limits, "Max nothing"), 0);
	assert_int_equal(vmat_limit_parse("", "Max stack size"), 0);
	assert_int_equal(vmat_limit_parse("Max stack size", "Max stack size"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stat_names),     cmocka_unit_test(test_stat_cut),
		cmocka_unit_test(test_stat_malformed), cmocka_unit_test(test_stat_started_at_0),
		cmocka_unit_test(test_auxv_64),        cmocka_unit_test(test_auxv_32),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
