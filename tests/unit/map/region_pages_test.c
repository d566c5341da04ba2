/* SPDX-License-Identifier: MIT */
/*
 * What the pages of regions add up to: recorded runs by arithmetic, then own memory with each way of
 * looking at pages forced.
 */
#include <errno.h>

#include <vmatlas/feature.h>
#include <vmatlas/map.h>

#include "own_target.h"
#include "recording.h"
#include "sys/uapi_new.h"

static const char maps[] =
	"00010000-00020000 r--p 00000000 fe:01 5 /a\n" /* 0: private file */
	"00020000-00030000 rw-p 00000000 00:00 0 \n"   /* 1: anonymous, right behind */
	"00030000-00040000 rw-s 00000000 fe:01 6 /b\n" /* 2: shared file */
	"00400000-00800000 rw-p 00000000 00:01 7 /anon_hugepage (deleted)\n" /* 3: hugetlb */
	"01000000-01010000 r--p 00000000 00:00 0 [vvar]\n"                   /* 4: shows no pages */
	"01010000-01020000 r-xp 00000000 00:00 0 [vdso]\n"                   /* 5 */
	"7f0000000000-7f0000010000 ---p 00000000 00:00 0 \n"                 /* 6: nothing there */
	"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n"; /* 7 */

/* 0x1f000-0x21000 reaches over the border of regions 0 and 1. */
static const char pages[] = "10000 11000 present,file\n"
			    "12000 14000 present\n"      /* two copies */
			    "14000 15000 swapped\n"      /* one more, in swap */
			    "15000 16000 swapped,file\n" /* migrating file page: no copy */
			    "1f000 21000 present\n"
			    "21000 22000 present,zero\n"
			    "23000 25000 guard\n"
			    "25000 26000 swapped\n"
			    "30000 32000 present,file\n"
			    "400000 600000 present,huge\n"
			    "1000000 1001000 present\n"
			    "1010000 1012000 present,file\n";

static struct vmat_map *read_recorded(const char *pages_text, uint32_t want)
{
	struct vmat_map_options options = { .size = sizeof(options), .want = want };
	struct recording recording;
	struct vmat_target *target;
	struct vmat_map *map = NULL;

	recording_init(&recording);
	recording_add_process(&recording);
	recording_add(&recording, "77/maps", maps);
	if (pages_text)
		recording_add(&recording, "77/pages", pages_text);
	target = recording_open(&recording);
	assert_int_equal(vmat_map_read(&map, target, &options, NULL), 0);
	vmat_target_close(target);
	recording_deinit(&recording);
	return map;
}

static void check(const struct vmat_region *region, unsigned rss, unsigned swap, unsigned huge,
		  unsigned zero, unsigned guard)
{
	assert_int_equal(region->rss, rss * PAGE);
	assert_int_equal(region->swap, swap * PAGE);
	assert_int_equal(region->huge, huge * PAGE);
	assert_int_equal(region->zero, zero * PAGE);
	assert_int_equal(region->guard, guard * PAGE);
	assert_false(region->rss_is_upper_bound);
}

static void test_arithmetic(void **state)
{
	struct vmat_map *map = read_recorded(pages, VMAT_WANT_PAGES | VMAT_WANT_COPIED);
	const struct vmat_region *r = map->regions;

	(void)state;
	assert_int_equal(map->count, 8);
	assert_false(map->is_partial);
	check(&r[0], 4, 2, 0, 0, 0);
	assert_int_equal(r[0].copied, 4 * PAGE);
	assert_int_equal(r[0].first_present_addr, 0x10000);
	check(&r[1], 1, 1, 0, 1, 2);
	assert_int_equal(r[1].first_present_addr, 0x20000);
	assert_int_equal(vmat_reason(r[1].copied), VMAT_NOT_APPLICABLE);
	check(&r[2], 2, 0, 0, 0, 0);
	assert_int_equal(vmat_reason(r[2].copied), VMAT_NOT_APPLICABLE);
	check(&r[3], 0, 0, 512, 0, 0);
	assert_int_equal(r[3].first_present_addr, 0x400000);
	check(&r[4], 0, 0, 0, 0, 0);
	check(&r[5], 2, 0, 0, 0, 0);
	check(&r[6], 0, 0, 0, 0, 0);
	assert_int_equal(vmat_reason(r[6].first_present_addr), VMAT_NOT_FOUND);
	check(&r[7], 0, 0, 0, 0, 0);
	vmat_map_free(map);
}

static void test_not_asked(void **state)
{
	struct vmat_map *map = read_recorded(pages, VMAT_WANT_PAGES);

	(void)state;
	check(&map->regions[0], 4, 2, 0, 0, 0);
	assert_int_equal(vmat_reason(map->regions[0].copied), VMAT_NOT_ASKED);
	vmat_map_free(map);
	map = read_recorded(pages, VMAT_WANT_REGIONS);
	assert_int_equal(vmat_reason(map->regions[0].rss), VMAT_NOT_ASKED);
	vmat_map_free(map);
}

static void test_not_recorded(void **state)
{
	struct vmat_map *map = read_recorded(NULL, VMAT_WANT_PAGES);

	(void)state;
	assert_true(map->is_partial);
	assert_int_equal(vmat_reason(map->regions[0].rss), VMAT_NOT_RECORDED);
	assert_int_equal(vmat_reason(map->regions[0].first_present_addr), VMAT_NOT_RECORDED);
	vmat_map_free(map);
	map = read_recorded("nonsense", VMAT_WANT_PAGES);
	assert_true(map->is_partial);
	assert_false(vmat_is_known(map->regions[0].rss));
	vmat_map_free(map);
}

static void on_progress(void *context, uint64_t done, uint64_t total)
{
	uint64_t *last = context;

	assert_true(done >= *last && total > 0);
	*last = done;
}

static void test_progress(void **state)
{
	uint64_t last = 0;
	struct vmat_map_options options = { .size = sizeof(options),
					    .want = VMAT_WANT_PAGES,
					    .progress = on_progress,
					    .progress_context = &last };
	struct recording recording;
	struct vmat_target *target;
	struct vmat_map *map;

	(void)state;
	recording_init(&recording);
	recording_add_process(&recording);
	recording_add(&recording, "77/maps", maps);
	recording_add(&recording, "77/pages", pages);
	target = recording_open(&recording);
	assert_int_equal(vmat_map_read(&map, target, &options, NULL), 0);
	assert_true(last > 0);
	vmat_map_free(map);
	vmat_target_close(target);
	recording_deinit(&recording);
}

static struct vmat_map *read_own(struct vmat_target *target, uint32_t want)
{
	struct vmat_map_options options = { .size = sizeof(options), .want = want };
	struct vmat_map *map = NULL;

	CHECK(vmat_map_read(&map, target, &options, NULL) == 0);
	return map;
}

/* Three regions of own memory: written, only read, with guards; found by their addresses. */
static void check_own(void)
{
	struct vmat_target *target = open_process(getpid());
	bool knows_zero = vmat_feature_has(VMAT_FEATURE_PAGEMAP_SCAN) ||
			  vmat_feature_has(VMAT_FEATURE_PAGE_FRAMES);
	volatile char *written = map_pages(64), *looked_at = map_pages(64);
	const struct vmat_region *region;
	bool has_guard;
	struct vmat_map *map;

	for (int i = 10; i < 20; i++)
		written[i * PAGE] = 1;
	has_guard =
		madvise((char *)(uintptr_t)written, 2 * PAGE, VMAT_UAPI_MADV_GUARD_INSTALL) == 0;
	looked_at[0] = 1;
	for (int i = 1; i < 8; i++)
		(void)looked_at[i * PAGE];
	map = read_own(target, VMAT_WANT_PAGES | VMAT_WANT_COPIED);
	region = vmat_map_at(map, (uintptr_t)written);
	CHECK(region && region->start == (uintptr_t)written);
	CHECK(region->rss == 10 * PAGE && region->swap == 0);
	CHECK(!has_guard || region->guard == 2 * PAGE);
	CHECK(region->first_present_addr == (uintptr_t)written + 10 * PAGE);
	CHECK(!region->rss_is_upper_bound); /* all its pages are exclusive: none can be the zero page */
	region = vmat_map_at(map, (uintptr_t)looked_at);
	CHECK(region && region->start == (uintptr_t)looked_at);
	CHECK(region->first_present_addr == (uintptr_t)looked_at);
	if (knows_zero) {
		CHECK(region->zero == 7 * PAGE && region->rss == PAGE);
		CHECK(!region->rss_is_upper_bound);
	} else {
		CHECK(vmat_reason(region->zero) == VMAT_KERNEL_LACKS && region->rss == 8 * PAGE);
		CHECK(region->rss_is_upper_bound);
	}
	vmat_map_free(map);
	vmat_target_close(target);
}

/* Without pagemap smaps still tells what is resident, where it is asked for. */
static void check_smaps_alone(void)
{
	struct vmat_target *target = open_process(getpid());
	char *memory = map_pages(64);
	const struct vmat_region *region;
	struct vmat_map *map;

	for (int i = 0; i < 5; i++)
		memory[i * PAGE] = 1;
	map = read_own(target, VMAT_WANT_PAGES | VMAT_WANT_SMAPS);
	region = vmat_map_at(map, (uintptr_t)memory);
	CHECK(region && region->rss == 5 * PAGE && region->swap == 0 && region->pss == 5 * PAGE);
	if (!vmat_feature_has(VMAT_FEATURE_PAGEMAP)) {
		CHECK(!vmat_is_known(region->guard) && !vmat_is_known(region->zero));
		CHECK(map->is_partial);
	}
	vmat_map_free(map);
	map = read_own(target, VMAT_WANT_PAGES);
	region = vmat_map_at(map, (uintptr_t)memory);
	CHECK(region && (vmat_is_known(region->rss) == vmat_feature_has(VMAT_FEATURE_PAGEMAP)));
	vmat_map_free(map);
	vmat_target_close(target);
}

/* A process that has ended gives no map, and one that ends meanwhile a partial one. */
static void check_ended(void)
{
	struct vmat_map_options options = { .size = sizeof(options), .want = VMAT_WANT_PAGES };
	struct vmat_error err = { 0 };
	struct vmat_map *map = NULL;
	pid_t child = start_child();
	struct vmat_target *target = open_process(child);
	siginfo_t info;
	int got;

	map = read_own(target, VMAT_WANT_PAGES);
	CHECK(!map->is_partial && map->count > 5);
	vmat_map_free(map);
	map = NULL;
	kill(child, SIGKILL);
	CHECK(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0);
	got = vmat_map_read(&map, target, &options, &err); /* a zombie */
	CHECK(got == -ESRCH && !map && strstr(err.text, "has ended"));
	CHECK(waitpid(child, NULL, 0) == child);
	CHECK(vmat_map_read(&map, target, &options, &err) == -ESRCH);
	vmat_target_close(target);
}

static void test_own(void **state)
{
	(void)state;
	in_children_of_all(check_own);
}

static void test_smaps_alone(void **state)
{
	(void)state;
	in_child("", check_smaps_alone);
	in_child("pagemap", check_smaps_alone);
}

static void test_ended(void **state)
{
	(void)state;
	in_children_of_all(check_ended);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arithmetic),   cmocka_unit_test(test_not_asked),
		cmocka_unit_test(test_not_recorded), cmocka_unit_test(test_progress),
		cmocka_unit_test(test_own),          cmocka_unit_test(test_smaps_alone),
		cmocka_unit_test(test_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
