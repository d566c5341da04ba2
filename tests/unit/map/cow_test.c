/* SPDX-License-Identifier: MIT */
/* Copies of file pages, and what is still shared after a fork: recorded, and in own memory. */
#include <errno.h>

#include <vmatlas/page.h>

#include "own_target.h"
#include "recording.h"

static struct vmat_map *read_map(struct vmat_target *target)
{
	struct vmat_map_options options = { .size = sizeof(options), .want = VMAT_WANT_REGIONS };
	struct vmat_map *map = NULL;

	CHECK(vmat_map_read(&map, target, &options, NULL) == 0);
	return map;
}

static void test_recorded(void **state)
{
	struct recording recording;
	struct vmat_target *target;
	struct vmat_cow *cow = NULL;
	struct vmat_map *map;

	(void)state;
	recording_init(&recording);
	recording_add_process(&recording);
	recording_add(&recording, "77/maps",
		      "00010000-00020000 rw-p 00000000 fe:01 5 /a\n" /* copies */
		      "00020000-00030000 r--p 00000000 fe:01 5 /a\n" /* none */
		      "00030000-00040000 rw-p 00000000 00:00 0 \n"   /* shared after fork */
		      "00040000-00050000 rw-p 00000000 00:00 0 \n"   /* all exclusive */
		      "00050000-00060000 rw-s 00000000 fe:01 6 /b\n" /* shared mapping */
		      "00060000-00070000 r-xp 00000000 00:00 0 [vdso]\n");
	recording_add(
		&recording, "77/pages",
		"10000 11000 present,exclusive\n11000 12000 swapped\n12000 13000 present\n"
		"13000 14000 present,zero\n14000 15000 present,file\n16000 17000 present,exclusive\n"
		"20000 24000 present,file\n30000 32000 present\n32000 33000 present,exclusive\n"
		"33000 34000 guard\n34000 35000 present\n40000 44000 present,exclusive\n"
		"50000 54000 present\n60000 61000 present\n");
	target = recording_open(&recording);
	map = read_map(target);
	assert_int_equal(vmat_cow_read(&cow, target, map, NULL), 0);
	assert_int_equal(cow->count, 2);
	assert_int_equal(cow->regions[0].region, 0);
	assert_int_equal(cow->regions[0].pages, 16);
	assert_int_equal(cow->regions[0].copied_pages, 4);
	assert_int_equal(cow->regions[0].exclusive_pages, 2);
	assert_int_equal(cow->regions[0].shared_pages, 1);
	assert_int_equal(cow->regions[0].ranges_count, 2);
	assert_int_equal(cow->regions[0].ranges[0].start, 0x10000);
	assert_int_equal(cow->regions[0].ranges[0].end, 0x13000);
	assert_int_equal(cow->regions[0].ranges[1].start, 0x16000);
	assert_int_equal(cow->regions[1].region, 2);
	assert_int_equal(vmat_reason(cow->regions[1].copied_pages), VMAT_NOT_APPLICABLE);
	assert_int_equal(cow->regions[1].exclusive_pages, 1);
	assert_int_equal(cow->regions[1].shared_pages, 3);
	assert_int_equal(cow->regions[1].ranges_count, 2);
	vmat_cow_free(cow);
	vmat_cow_free(NULL);
	vmat_map_free(map);
	vmat_target_close(target);
	recording_deinit(&recording);
}

static void test_no_pages(void **state)
{
	struct recording recording;
	struct vmat_target *target;
	struct vmat_error err = { 0 };
	struct vmat_cow *cow = NULL;
	struct vmat_map *map;

	(void)state;
	recording_init(&recording);
	recording_add_process(&recording);
	recording_add(&recording, "77/maps", "00010000-00020000 rw-p 00000000 00:00 0 \n");
	target = recording_open(&recording);
	map = read_map(target);
	assert_int_equal(vmat_cow_read(&cow, target, map, &err), -ENOENT);
	assert_null(cow);
	assert_non_null(strstr(err.text, "no pages"));
	vmat_map_free(map);
	vmat_target_close(target);
	recording_deinit(&recording);
}

static const struct vmat_cow_region *find(const struct vmat_cow *cow, const struct vmat_map *map,
					  const void *addr)
{
	for (size_t i = 0; i < cow->count; i++)
		if (map->regions[cow->regions[i].region].start == (uintptr_t)addr)
			return &cow->regions[i];
	return NULL;
}

/* Four pages of a file, 0 and 2 written; then a fork, after which the child writes page 2 again. */
static void check_own(void)
{
	struct vmat_target *target = open_process(getpid());
	int fd = memfd_create("cow_test", MFD_CLOEXEC);
	const struct vmat_cow_region *region;
	struct vmat_cow *cow = NULL;
	volatile char *memory;
	struct vmat_map *map;
	pid_t child;

	CHECK(fd >= 0 && ftruncate(fd, 4 * PAGE) == 0);
	memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(memory != MAP_FAILED);
	memory[0] = 1;
	(void)memory[PAGE];
	memory[2 * PAGE] = 1;
	map = read_map(target);
	CHECK(vmat_cow_read(&cow, target, map, NULL) == 0);
	region = find(cow, map, (const void *)(uintptr_t)memory);
	CHECK(region && region->copied_pages == 2 && region->exclusive_pages == 2);
	CHECK(region->shared_pages == 0 && region->ranges_count == 2 && region->pages == 4);
	CHECK(region->ranges[1].start == (uintptr_t)memory + 2 * PAGE);
	CHECK(region->ranges[1].end == (uintptr_t)memory + 3 * PAGE);
	vmat_cow_free(cow);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	memory[2 * PAGE] = 2;
	cow = NULL;
	CHECK(vmat_cow_read(&cow, target, map, NULL) == 0);
	region = find(cow, map, (const void *)(uintptr_t)memory);
	CHECK(region && region->copied_pages == 2 && region->exclusive_pages == 1 &&
	      region->shared_pages == 1);
	end_child(child);
	vmat_cow_free(cow);
	vmat_map_free(map);
	vmat_target_close(target);
}

static void test_own(void **state)
{
	(void)state;
	in_children_of_all(check_own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recorded),
		cmocka_unit_test(test_no_pages),
		cmocka_unit_test(test_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
