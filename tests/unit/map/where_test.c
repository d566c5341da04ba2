/* SPDX-License-Identifier: MIT */
/*
 * Free ranges and where the next mapping goes: on maps made by hand, then foretold for this process and
 * checked by mapping.
 */
#include <errno.h>

#include <vmatlas/map.h>

#include "own_target.h"
#include "recording.h"

enum { MIB = 1 << 20 };

static struct vmat_region region_of(uint64_t start, uint64_t end, const char *name)
{
	return (struct vmat_region){ .start = start, .end = end, .name = name, .page_size = 4096 };
}

static void test_gaps(void **state)
{
	struct vmat_region regions[] = {
		region_of(0x400000, 0x500000, "/a"),
		region_of(0x500000, 0x600000, ""),
		region_of(0x700000, 0x701000, "[heap]"),
		region_of(0x7f0000000000, 0x7f0000100000, ""),
		region_of(0x7ffc00000000, 0x7ffc00021000, "[stack]"),
		region_of(0x7ffffffff000, 0x7ffffffff000 + 4096, "odd"),
		region_of(0xffffffffff600000, 0xffffffffff601000, "[vsyscall]"),
	};
	struct vmat_map map = { .regions = regions, .count = 7 };
	struct vmat_gap *gaps = NULL;
	size_t count = 0;

	(void)state;
	assert_int_equal(vmat_map_gaps(&map, &gaps, &count), 0);
	assert_int_equal(count, 4);
	assert_true(gaps[0].start == 0x600000 && gaps[0].end == 0x700000 && gaps[0].above == 2);
	assert_true(gaps[1].start == 0x701000 && gaps[1].end == 0x7f0000000000 &&
		    gaps[1].above == 3);
	assert_true(gaps[2].end == 0x7ffc00000000 && gaps[2].above == 4);
	assert_true(gaps[3].start == 0x7ffc00021000 && gaps[3].end == 0x7ffffffff000);
	free(gaps);
	/* Without vsyscall the last gap has nothing above it. */
	map.count = 5;
	assert_int_equal(vmat_map_gaps(&map, &gaps, &count), 0);
	assert_int_equal(count, 4);
	assert_true(gaps[3].end == 0x7ffffffff000 && gaps[3].above == 5);
	free(gaps);
	/* 32 bit: the address space ends below 4 GiB. */
	map.count = 3;
	assert_int_equal(vmat_map_gaps(&map, &gaps, &count), 0);
	assert_int_equal(count, 2);
	assert_true(gaps[1].start == 0x701000 && gaps[1].end == 0xffffe000);
	free(gaps);
	map.count = 0;
	assert_int_equal(vmat_map_gaps(&map, &gaps, &count), 0);
	assert_int_equal(count, 0);
	free(gaps);
}

static struct vmat_target *open_recorded(struct recording *recording, const char *personality)
{
	/* words of 4 bytes: the rule is not tried on the own address space, and the answer is plain */
	static const uint32_t auxv[] = { 32, 0xf7f00000, 0, 0 };

	recording_init(recording);
	recording_add_process(recording);
	recording_add_bytes(recording, "77/auxv", auxv, sizeof(auxv));
	if (personality)
		recording_add(recording, "77/personality", personality);
	return recording_open(recording);
}

static void test_where_by_hand(void **state)
{
	struct vmat_region regions[] = {
		region_of(0x8048000, 0x8050000, "/a"),
		region_of(0xf0000000, 0xf0100000, ""),
		region_of(0xf0200000, 0xf0300000, ""), /* a hole of 1 MiB below */
		region_of(0xf7000000, 0xf7100000, "/lib/ld-linux.so.2"),
		region_of(0xff800000, 0xff821000, "[stack]"),
	};
	struct vmat_map map = { .regions = regions, .count = 5 };
	struct vmat_where where = { .start = 77 };
	struct vmat_error err = { 0 };
	struct recording recording;
	struct vmat_target *target = open_recorded(&recording, "00000000\n");

	(void)state;
	assert_int_equal(vmat_map_where(&map, target, 1, &where, &err), 0);
	assert_true(where.start == 0xf6fff000 && where.end == 0xf7000000);
	assert_false(where.is_rule_checked);
	assert_true(strlen(where.why) > 10);
	assert_int_equal(vmat_map_where(&map, target, 4097, &where, &err), 0);
	assert_true(where.start == 0xf6ffe000);
	assert_int_equal(vmat_map_where(&map, target, 0xf7000000 - 0xf0300000, &where, &err), 0);
	assert_true(where.start == 0xf0300000);
	/* One page more does not fit there, nor into the hole: below all. */
	assert_int_equal(vmat_map_where(&map, target, 0xf7000000 - 0xf0300000 + 1, &where, &err),
			 0);
	assert_true(where.end == 0xf0000000);
	where.start = 77;
	assert_int_equal(vmat_map_where(&map, target, 0xf0000000, &where, &err), -ENOMEM);
	assert_int_equal(vmat_map_where(&map, target, 0, &where, &err), -EINVAL);
	assert_int_equal(vmat_map_where(&map, target, UINT64_MAX, &where, &err), -EINVAL);
	assert_int_equal(vmat_map_where(&map, target, 1ULL << 48, &where, &err), -EINVAL);
	map.count = 4; /* no [stack] */
	assert_int_equal(vmat_map_where(&map, target, 1, &where, &err), -EOPNOTSUPP);
	map.count = 0;
	assert_int_equal(vmat_map_where(&map, target, 1, &where, &err), -EOPNOTSUPP);
	assert_int_equal(where.start, 77);
	vmat_target_close(target);
	recording_deinit(&recording);
}

static void check_legacy(const char *personality, const char *sysctl)
{
	struct vmat_region regions[] = {
		region_of(0x8048000, 0x8050000, "/a"),
		region_of(0xf7000000, 0xf7100000, "/lib/ld-linux.so.2"),
		region_of(0xff800000, 0xff821000, "[stack]"),
	};
	struct vmat_map map = { .regions = regions, .count = 3 };
	struct recording recording;
	struct vmat_target *target = open_recorded(&recording, personality);
	struct vmat_where where;

	if (sysctl)
		recording_add(&recording, "sys/vm/legacy_va_layout", sysctl);
	assert_int_equal(vmat_map_where(&map, target, 1, &where, NULL), -EOPNOTSUPP);
	vmat_target_close(target);
	recording_deinit(&recording);
}

static void test_legacy_layout(void **state)
{
	(void)state;
	check_legacy("00200000\n", NULL);
	check_legacy("00240000\n", NULL);
	check_legacy("00000000\n", "1\n");
}

static void check_own(void)
{
	static const uint64_t sizes[] = {
		1,       4096,    12288,           1 * MIB,    2 * MIB,
		3 * MIB, 4 * MIB, 64 * MIB + 4096, 1ULL << 30, 1ULL << 33
	};
	struct vmat_target *target = open_process(getpid());
	struct vmat_map_options options = { .size = sizeof(options) };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct vmat_where where = { 0 };
		struct vmat_map *map = NULL;
		void *real;

		for (int twice = 0; twice < 2; twice++) { /* what malloc needs is there by then */
			vmat_map_free(map);
			map = NULL;
			CHECK(vmat_map_read(&map, target, &options, NULL) == 0);
			CHECK(vmat_map_where(map, target, sizes[i], &where, NULL) == 0);
		}
		real = mmap(NULL, sizes[i], PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			    -1, 0);
		CHECK(real != MAP_FAILED);
		CHECK(where.is_rule_checked);
		CHECK(where.start == (uintptr_t)real);
		CHECK(where.end - where.start == (sizes[i] + 4095) / 4096 * 4096);
		munmap(real, sizes[i]);
		vmat_map_free(map);
	}
	vmat_target_close(target);
}

static void test_own(void **state)
{
	(void)state;
	if (!IS_SANITIZED) /* the sanitizer maps memory between the map and the mapping */
		in_child("", check_own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gaps),
		cmocka_unit_test(test_where_by_hand),
		cmocka_unit_test(test_legacy_layout),
		cmocka_unit_test(test_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
