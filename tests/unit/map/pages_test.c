/* SPDX-License-Identifier: MIT */
/* Runs of pages of a range: recorded ones, own memory with and without frames, page sizes. */
#include <errno.h>

#include <vmatlas/feature.h>
#include <vmatlas/page.h>

#include "own_target.h"
#include "recording.h"
#include "sys/uapi_new.h"

static struct vmat_map *read_map(struct vmat_target *target)
{
	struct vmat_map_options options = { .size = sizeof(options), .want = VMAT_WANT_REGIONS };
	struct vmat_map *map = NULL;

	CHECK(vmat_map_read(&map, target, &options, NULL) == 0);
	return map;
}

static void test_recorded(void **state)
{
	static const struct {
		uint64_t start, end, page_size;
		uint32_t flags;
		bool is_copied, is_invisible;
		size_t region;
	} want[] = {
		{ 0x11000, 0x12000, 4096, VMAT_PAGE_PRESENT | VMAT_PAGE_FILE, false, false, 0 },
		{ 0x12000, 0x13000, 4096, 0, false, false, 0 },
		{ 0x13000, 0x14000, 4096, VMAT_PAGE_PRESENT, true, false, 0 },
		{ 0x14000, 0x16000, 4096, VMAT_PAGE_SWAPPED, true, false, 0 },
		{ 0x16000, 0x20000, 4096, 0, false, false, 0 },
		{ 0x20000, 0x22000, 4096, VMAT_PAGE_PRESENT, false, false, 1 },
		{ 0x22000, 0x30000, 4096, 0, false, false, 1 },
		{ 0x200000, 0x400000, 2 << 20, VMAT_PAGE_PRESENT | VMAT_PAGE_HUGE, false, false,
		  2 },
		{ 0x500000, 0x510000, 4096, 0, false, true, 3 },
	};
	struct recording recording;
	struct vmat_target *target;
	struct vmat_pages *pages = NULL;
	struct vmat_error err;
	struct vmat_map *map;

	(void)state;
	recording_init(&recording);
	recording_add_process(&recording);
	recording_add(
		&recording, "77/maps",
		"00010000-00020000 rw-p 00000000 fe:01 5 /a\n00020000-00030000 rw-p 00000000 00:00 0 \n"
		"00200000-00400000 rw-p 00000000 00:00 0 \n00500000-00510000 r--p 00000000 00:00 0 [vvar]\n"
		"00600000-00610000 r--p 00000000 00:00 0 \n");
	recording_add(&recording, "77/pages",
		      "10000 12000 present,file\n13000 14000 present\n14000 16000 swapped\n"
		      "20000 21000 present\n21000 22000 present\n200000 400000 present,huge\n");
	target = recording_open(&recording);
	map = read_map(target);
	assert_int_equal(vmat_pages_read(&pages, target, map, 0x11000, 0x600000, 0, &err), 0);
	assert_int_equal(pages->count, sizeof(want) / sizeof(want[0]));
	for (size_t i = 0; i < pages->count; i++) {
		const struct vmat_pages_run *run = &pages->runs[i];

		assert_int_equal(run->start, want[i].start);
		assert_int_equal(run->end, want[i].end);
		assert_int_equal(run->page_size, want[i].page_size);
		assert_int_equal(run->flags, want[i].flags);
		assert_int_equal(run->is_copied, want[i].is_copied);
		assert_int_equal(run->is_invisible, want[i].is_invisible);
		assert_int_equal(run->region, want[i].region);
		assert_int_equal(vmat_reason(run->pfn), VMAT_NOT_ASKED);
	}
	vmat_pages_free(pages);
	vmat_pages_free(NULL);
	pages = NULL;
	assert_int_equal(vmat_pages_read(&pages, target, map, 0x1000, 0x1000, 0, &err), -EINVAL);
	assert_int_equal(vmat_pages_read(&pages, target, map, 0x1001, 0x3000, 0, &err), -EINVAL);
	assert_int_equal(vmat_pages_read(&pages, target, map, 0x3000, 0x1000, 0, &err), -EINVAL);
	assert_null(pages);
	assert_int_equal(vmat_pages_read(&pages, target, map, 0x1000, 0x3000, 0, &err), 0);
	assert_int_equal(pages->count, 0); /* nothing is mapped there */
	vmat_pages_free(pages);
	vmat_map_free(map);
	vmat_target_close(target);
	recording_deinit(&recording);
}

static void check_own(void)
{
	struct vmat_target *target = open_process(getpid());
	bool has_frames = vmat_feature_has(VMAT_FEATURE_PAGE_FRAMES);
	volatile char *memory = map_pages(1200);
	uint64_t start = (uintptr_t)memory;
	struct vmat_pages *pages = NULL;
	struct vmat_map *map;
	size_t present = 0;

	for (size_t page = 3; page < 1200; page++) /* through several blocks of entries */
		memory[page * PAGE] = 1;
	map = read_map(target);
	CHECK(vmat_pages_read(&pages, target, map, start, start + 1200UL * PAGE,
			      VMAT_PAGES_FRAMES | VMAT_PAGES_EXCLUSIVE, NULL) == 0);
	CHECK(pages->count >= 2 && pages->runs[0].end == start + 3 * PAGE);
	CHECK(pages->runs[0].flags == 0);
	for (size_t i = 1; i < pages->count; i++) {
		const struct vmat_pages_run *run = &pages->runs[i];

		CHECK(run->start == pages->runs[i - 1].end);
		CHECK(run->flags == (VMAT_PAGE_PRESENT | VMAT_PAGE_EXCLUSIVE) && !run->is_copied);
		present += (run->end - run->start) / PAGE;
		/* VMAT_WITHOUT hides the feature, not the right: frames are 0 without the right. */
		if (has_frames)
			CHECK(vmat_is_known(run->pfn) && run->pfn_runs >= 1 &&
			      run->pfn_runs <= (run->end - run->start) / PAGE);
	}
	CHECK(present == 1197);
	vmat_pages_free(pages);
	vmat_map_free(map);
	vmat_target_close(target);
}

/* Flags of frames, where they may be seen: an anonymous page says that it is one. */
static void check_flags(void)
{
	struct vmat_target *target = open_process(getpid());
	volatile char *memory = map_pages(4);
	uint64_t start = (uintptr_t)memory;
	struct vmat_pages *pages = NULL;
	struct vmat_map *map;

	memory[PAGE] = 1;
	map = read_map(target);
	CHECK(vmat_pages_read(&pages, target, map, start, start + 4UL * PAGE, VMAT_PAGES_KPAGEFLAGS,
			      NULL) == 0);
	CHECK(pages->count == 3 && pages->runs[1].start == start + PAGE);
	if (vmat_feature_has(VMAT_FEATURE_KPAGEFLAGS)) {
		CHECK(vmat_is_known(pages->runs[1].kpageflags) &&
		      pages->runs[1].kpageflags & 1 << 12 /* ANON */);
		CHECK(pages->runs[1].mapcount == 1);
	} else {
		CHECK(!vmat_is_known(pages->runs[1].kpageflags));
	}
	CHECK(!vmat_is_known(pages->runs[0].kpageflags));
	vmat_pages_free(pages);
	vmat_map_free(map);
	vmat_target_close(target);
}

static void check_pagesize(void)
{
	struct vmat_target *target = open_process(getpid());
	volatile char *memory = map_pages(4);
	struct vmat_pagesize size;
	struct vmat_map *map;

	memory[PAGE] = 1;
	map = read_map(target);
	CHECK(vmat_pagesize_read(&size, target, map, (uintptr_t)memory + PAGE + 77, NULL) == 0);
	CHECK(size.is_mapped && size.is_present && size.mapping == PAGE && size.why[0]);
	CHECK(size.in_use == PAGE || vmat_reason(size.in_use) == VMAT_KERNEL_LACKS);
	CHECK(vmat_pagesize_read(&size, target, map, (uintptr_t)memory, NULL) == 0);
	CHECK(size.is_mapped && !size.is_present && size.mapping == PAGE);
	CHECK(vmat_reason(size.in_use) == VMAT_NOT_APPLICABLE && size.why[0]);
	CHECK(vmat_pagesize_read(&size, target, map, 8, NULL) == 0);
	CHECK(!size.is_mapped && size.region == map->count && !vmat_is_known(size.mapping));
	vmat_map_free(map);
	vmat_target_close(target);
}

/* A process that ends after its map was read: no answer that all its memory is empty. */
static void check_ended(void)
{
	char *memory = map_pages(4);
	struct vmat_pages *pages = NULL;
	struct vmat_cow *cow = NULL;
	struct vmat_target *target;
	struct vmat_map *map;
	pid_t child;
	int got;

	memset(memory, 1, 4 * PAGE);
	child = start_child();
	target = open_process(child);
	map = read_map(target);
	CHECK(vmat_pages_read(&pages, target, map, (uintptr_t)memory, (uintptr_t)memory + 4 * PAGE,
			      0, NULL) == 0);
	CHECK(pages->count == 1 && !pages->is_partial);
	vmat_pages_free(pages);
	CHECK(vmat_cow_read(&cow, target, map, NULL) == 0 && cow->count);
	vmat_cow_free(cow);
	end_child(child);
	pages = NULL;
	cow = NULL;
	got = vmat_pages_read(&pages, target, map, (uintptr_t)memory, (uintptr_t)memory + 4 * PAGE,
			      0, NULL);
	CHECK(got == -ESRCH || (got == 0 && pages->is_partial));
	vmat_pages_free(pages);
	got = vmat_cow_read(&cow, target, map, NULL);
	CHECK(got == -ESRCH || (got == 0 && cow->is_partial));
	vmat_cow_free(cow);
	vmat_map_free(map);
	vmat_target_close(target);
}

static void test_own(void **state)
{
	(void)state;
	in_children(check_own);
	in_children(check_flags);
	in_child("kpageflags", check_flags);
}

static void test_pagesize(void **state)
{
	(void)state;
	in_children(check_pagesize);
	in_child("procmap_query,pagemap_scan,page_frames,kpageflags", check_pagesize);
}

static void test_ended(void **state)
{
	(void)state;
	in_children_of_all(check_ended);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recorded),
		cmocka_unit_test(test_own),
		cmocka_unit_test(test_pagesize),
		cmocka_unit_test(test_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
