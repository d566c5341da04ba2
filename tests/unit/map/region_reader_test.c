/* SPDX-License-Identifier: MIT */
/*
 * Maps and smaps of recorded processes as regions: what lies behind each, the facts of old and new
 * kernels, and texts that no kernel writes.
 */
#include <errno.h>

#include <vmatlas/map.h>

#include "recording.h"

static const char mountinfo[] =
	"28 1 254:1 / / rw shared:1 - ext4 /dev/vda1 rw\n"
	"30 28 0:25 / /dev/shm rw - tmpfs tmpfs rw,size=1024k\n"
	"31 28 0:26 / /dev/hugepages rw - hugetlbfs hugetlbfs rw,pagesize=1024K\n"
	"32 28 0:27 / /tmp rw - tmpfs tmpfs rw\n";

static struct vmat_map *read_map(const char *name, const char *text, uint32_t want, int code)
{
	struct vmat_map_options options = { .size = sizeof(options), .want = want };
	struct recording recording;
	struct vmat_target *target;
	struct vmat_error err = { 0 };
	struct vmat_map *map = NULL;
	int got;

	recording_init(&recording);
	recording_add_process(&recording);
	recording_add(&recording, "77/mountinfo", mountinfo);
	if (text)
		recording_add(&recording, name, text);
	target = recording_open(&recording);
	got = vmat_map_read(&map, target, &options, &err);
	if (got != code)
		fail_msg("%d, not %d: %s", got, code, err.text);
	if (code) {
		assert_null(map);
		assert_true(strlen(err.text) > 10);
	}
	vmat_target_close(target);
	recording_deinit(&recording);
	return map;
}

static const struct {
	const char *line;
	enum vmat_backing backing;
	bool is_deleted;
	const char *name;
	uint64_t page_size;
} kinds[] = {
	{ "fe:01 5 /usr/bin/cat", VMAT_BACKING_FILE, false, "/usr/bin/cat", 4096 },
	{ "fe:01 5 /usr/bin/cat", VMAT_BACKING_FILE, false, "/usr/bin/cat", 4096 },
	{ "fe:01 6 /usr/bin/cat", VMAT_BACKING_FILE, false, "/usr/bin/cat", 4096 },
	{ "fe:01 7 /a b (deleted)", VMAT_BACKING_FILE, true, "/a b", 4096 },
	{ "fe:01 7 /a (deleted) (deleted)", VMAT_BACKING_FILE, true, "/a (deleted)", 4096 },
	{ "fe:01 8 /new\\012line\\\\012", VMAT_BACKING_FILE, false, "/new\nline\\\n", 4096 },
	{ "fe:01 8 /cut\\01", VMAT_BACKING_FILE, false, "/cut\\01", 4096 },
	{ "00:00 0 ", VMAT_BACKING_ANON, false, "", 4096 },
	{ "00:00 0", VMAT_BACKING_ANON, false, "", 4096 },
	{ "00:00 0 [heap]", VMAT_BACKING_ANON, false, "[heap]", 4096 },
	{ "00:00 0 [anon:a] b]", VMAT_BACKING_ANON, false, "[anon:a] b]", 4096 },
	{ "00:01 9 [anon_shmem:pool]", VMAT_BACKING_SHMEM, false, "[anon_shmem:pool]", 4096 },
	{ "00:00 0 [stack:78]", VMAT_BACKING_ANON, false, "[stack:78]",
	  4096 }, /* until Linux 4.4 */
	{ "00:01 77 /memfd:x (deleted)", VMAT_BACKING_MEMFD, true, "/memfd:x", 4096 },
	{ "00:01 78 /SYSV0000002a (deleted)", VMAT_BACKING_SHMEM, true, "/SYSV0000002a", 4096 },
	{ "00:01 79 /dev/zero (deleted)", VMAT_BACKING_SHMEM, true, "/dev/zero", 4096 },
	{ "00:0f 80 /anon_hugepage (deleted)", VMAT_BACKING_HUGETLB, true, "/anon_hugepage", 4096 },
	{ "fe:01 81 /memfd:x", VMAT_BACKING_FILE, false, "/memfd:x", 4096 }, /* just a file */
	{ "00:1a 82 /dev/hugepages/pool", VMAT_BACKING_HUGETLB, false, "/dev/hugepages/pool",
	  1 << 20 },
	{ "00:1a 82 /dev/hugepages/pool", VMAT_BACKING_HUGETLB, false, "/dev/hugepages/pool",
	  1 << 20 },
	{ "00:19 83 /dev/shm/sem", VMAT_BACKING_SHMEM, false, "/dev/shm/sem", 4096 },
	{ "00:1b 84 /tmp/plain", VMAT_BACKING_FILE, false, "/tmp/plain", 4096 },
	{ "00:00 0 [vvar]", VMAT_BACKING_KERNEL, false, "[vvar]", 4096 },
	{ "00:00 0 [vdso]", VMAT_BACKING_KERNEL, false, "[vdso]", 4096 },
	{ "00:00 0 [", VMAT_BACKING_KERNEL, false, "[", 4096 },
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static void test_backing(void **state)
{
	struct vmat_map *map;
	char text[8192];
	size_t size = 0;

	(void)state;
	for (size_t i = 0; i < KINDS; i++)
		size += (size_t)snprintf(text + size, sizeof(text) - size,
					 "%zx-%zx rw-p 00000000 %s\n", (i + 1) << 20,
					 ((i + 1) << 20) + 8192, kinds[i].line);
	map = read_map("77/maps", text, VMAT_WANT_REGIONS, 0);
	assert_int_equal(map->count, KINDS);
	assert_false(map->is_partial);
	for (size_t i = 0; i < KINDS; i++) {
		const struct vmat_region *region = &map->regions[i];

		if (region->backing != kinds[i].backing)
			fail_msg("'%s': backing %d", kinds[i].line, region->backing);
		assert_string_equal(region->name, kinds[i].name);
		assert_int_equal(region->is_deleted, kinds[i].is_deleted);
		assert_int_equal(region->page_size, kinds[i].page_size);
		assert_int_equal(vmat_region_size(region), 8192);
		assert_int_equal(vmat_reason(region->rss), VMAT_NOT_ASKED);
		assert_int_equal(vmat_reason(region->pss), VMAT_NOT_ASKED);
		assert_ptr_equal(vmat_map_at(map, region->start), region);
		assert_ptr_equal(vmat_map_at(map, region->end - 1), region);
		assert_null(vmat_map_at(map, region->end));
		assert_int_equal(vmat_map_find(map, region->start - 1), i);
	}
	assert_int_equal(vmat_map_find(map, UINT64_MAX), KINDS);
	assert_null(vmat_map_at(map, 0));
	/* Equal names are one string. */
	assert_ptr_equal(map->regions[0].name, map->regions[2].name);
	vmat_map_free(map);
	vmat_map_free(NULL);
}

static void test_malformed(void **state)
{
	static const char *const texts[] = {
		"1000-3000 rw-p 00000000 00:00 0\n2000-4000 rw-p 00000000 00:00 0\n", /* overlap */
		"3000-4000 rw-p 00000000 00:00 0\n1000-2000 rw-p 00000000 00:00 0\n", /* descending */
		"1000-2000 rw-p 00000000 00:00 0\n1000-2000 rw-p 00000000 00:00 0\n", /* twice */
		"1000-2000 rw-p 00000000 00:00 0\n\n",
		"1000-2000 rw-p 00000000 00:00 0\nRss: 4 kB\n",
		"1000-2000 rw-p 00000000 00:00 0", /* cut before its newline */
		"1000-2000 rw-p 00000000 00:00 0\n2000-3000 rw",
		"\n",
		"hello\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		read_map("77/maps", texts[i], VMAT_WANT_REGIONS, -EBADMSG);
	read_map("77/maps", NULL, VMAT_WANT_REGIONS, -ENOENT);
	read_map("77/maps", NULL, VMAT_WANT_SMAPS, -ENOENT);
}

/* Lines across every border of the window, and one that is longer than any path. */
static void test_long_texts(void **state)
{
	enum { LINES = 5000 };

	char *text = malloc(LINES * 120), *huge = malloc(200000);
	struct vmat_map *map;
	size_t size = 0;

	(void)state;
	assert_non_null(text);
	assert_non_null(huge);
	for (size_t i = 0; i < LINES; i++)
		size += (size_t)sprintf(
			text + size, "%zx-%zx r--p 00000000 fe:01 %zu /%.*s%zu\n", (i + 1) * 4096,
			(i + 2) * 4096, i + 1, (int)(i % 60),
			"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefgh", i);
	map = read_map("77/maps", text, VMAT_WANT_REGIONS, 0);
	assert_int_equal(map->count, LINES);
	for (size_t i = 0; i < LINES; i++) {
		assert_int_equal(map->regions[i].start, (i + 1) * 4096);
		assert_int_equal(map->regions[i].inode, i + 1);
		assert_int_equal(strtoul(map->regions[i].name + 1 + i % 60, NULL, 10), i);
	}
	vmat_map_free(map);
	size = (size_t)sprintf(huge, "1000-2000 r--p 00000000 fe:01 5 /");
	memset(huge + size, 'x', 199000 - size);
	memcpy(huge + 199000, "\n", 2);
	read_map("77/maps", huge, VMAT_WANT_REGIONS, -EBADMSG);
	free(text);
	free(huge);
}

#define HEAD "00400000-00402000 rw-p 00000000 fe:01 5                    /a\n"
#define NEXT "00500000-00502000 rw-p 00000000 00:00 0 \n"

/* Two regions, of which the second has other numbers, in the lines of a kernel. */
#define SMAPS_OLD(n)                                                                           \
	"Size:                  8 kB\nRss:                 " n "0 kB\nPss:                 " n \
	"1 kB\nShared_Clean:        " n "2 kB\nShared_Dirty:        " n                        \
	"3 kB\nPrivate_Clean:       " n "4 kB\nPrivate_Dirty:       " n                        \
	"5 kB\nReferenced:          " n "6 kB\nAnonymous:           " n                        \
	"7 kB\nAnonHugePages:       " n "8 kB\n"
#define SMAPS_4_4(n)                                                                              \
	SMAPS_OLD(n)                                                                              \
	"Shared_Hugetlb:      " n "9 kB\nPrivate_Hugetlb:     " n "0 kB\nSwap:                " n \
	"1 kB\nSwapPss:             " n                                                           \
	"2 kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\nLocked:              " n \
	"3 kB\nVmFlags: rd wr mr mw me ac sd \n"
#define SMAPS_NEW(n, middle, last)                                                                \
	"Size:                  8 kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\n" \
	"Rss:                 " n "0 kB\nPss:                 " n "1 kB\n" middle                 \
	"Shared_Clean:        " n "2 kB\nShared_Dirty:        " n "3 kB\nPrivate_Clean:       " n \
	"4 kB\nPrivate_Dirty:       " n "5 kB\nReferenced:          " n                           \
	"6 kB\nAnonymous:           " n "7 kB\n" last                                             \
	"LazyFree:              0 kB\nAnonHugePages:       " n                                    \
	"5 kB\nShmemPmdMapped:        2 kB\nFilePmdMapped:         1 kB\nShared_Hugetlb:      " n \
	"9 kB\nPrivate_Hugetlb:     " n "0 kB\nSwap:                " n                           \
	"1 kB\nSwapPss:             " n "2 kB\nLocked:              " n                           \
	"3 kB\nTHPeligible:           0\nVmFlags: rd wr mr mw me ac sd \n"
#define SMAPS_5_10(n) SMAPS_NEW(n, "", "")
#define SMAPS_6_1(n)  SMAPS_NEW(n, "Pss_Dirty:           7 kB\n", "")
#define SMAPS_6_18(n) SMAPS_NEW(n, "Pss_Dirty:             7 kB\n", "KSM:                   0 kB\n")
/* Lines that no kernel has yet, and those that there are in another order. */
#define SMAPS_FUTURE(n)                                                                           \
	"VmFlags: rd wr mr mw me ac sd zz q1 \nNewField:          77 kB\nLocked:              " n \
	"3 kB\nSwap:                " n "1 kB\nRss2:         99 kB\n" SMAPS_OLD(                  \
		n) "ProtectionKey:         0\nPrivate_Hugetlb:     " n                            \
		   "0 kB\nShared_Hugetlb:      " n "9 kB\nX:\nKernelPageSize:        4 kB\n"

static void check_smaps(const struct vmat_region *region, uint64_t ten)
{
	assert_int_equal(region->page_size, 4096);
	assert_int_equal(region->rss, (ten + 0) << 10);
	assert_int_equal(region->pss, (ten + 1) << 10);
	assert_int_equal(region->uss, (2 * ten + 4 + 5) << 10);
	assert_int_equal(region->dirty, (2 * ten + 3 + 5) << 10);
	assert_int_equal(region->referenced, (ten + 6) << 10);
	assert_int_equal(region->anonymous, (ten + 7) << 10);
	assert_int_equal(region->thp, (ten + 8) << 10);
	assert_int_equal(region->hugetlb, (2 * ten + 9) << 10);
	assert_int_equal(region->swap, (ten + 1) << 10);
	assert_int_equal(region->locked, (ten + 3) << 10);
	assert_true(vmat_is_known(region->vm_flags));
	for (unsigned bit = 0; bit < 64; bit++) {
		const struct vmat_vm_flag *flag = vmat_vm_flag(bit);
		bool is_there = flag && strstr("rd wr mr mw me ac sd", flag->code);

		assert_int_equal(region->vm_flags >> bit & 1, is_there);
	}
}

static void test_smaps_of_kernels(void **state)
{
	static const char *const texts[] = {
		HEAD SMAPS_4_4("1") NEXT SMAPS_4_4("2"),
		HEAD SMAPS_5_10("1") NEXT SMAPS_5_10("2"),
		HEAD SMAPS_6_1("1") NEXT SMAPS_6_1("2"),
		HEAD SMAPS_6_18("1") NEXT SMAPS_6_18("2"),
		HEAD SMAPS_FUTURE("1") NEXT SMAPS_FUTURE("2"),
		/* The order changes from one region to the next. */
		HEAD SMAPS_6_18("1") NEXT SMAPS_4_4("2"),
		HEAD SMAPS_4_4("1") NEXT SMAPS_6_18("2"),
		HEAD SMAPS_5_10("1") NEXT SMAPS_FUTURE("2"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct vmat_map *map = read_map("77/smaps", texts[i], VMAT_WANT_SMAPS, 0);

		assert_int_equal(map->count, 2);
		check_smaps(&map->regions[0], 10);
		check_smaps(&map->regions[1], 20);
		vmat_map_free(map);
	}
}

/* Thousands of regions whose lines get wider and narrower again: 8 digits of kB are 95 GiB. */
static void test_smaps_widths(void **state)
{
	enum { REGIONS = 3000, BLOCK = 1100 };

	static const uint64_t sizes[] = { 0, 4, 99999999, 100000000, 1234567890123, 7 };
	char *text = malloc(REGIONS * BLOCK);
	struct vmat_map *map;
	size_t size = 0;

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < REGIONS; i++) {
		unsigned long rss = sizes[i % 6], dirty = sizes[(i + i / 6) % 6];

		size += (size_t)snprintf(
			text + size, BLOCK,
			"%08zx-%08zx rw-p 00000000 00:00 0 \nSize:           %8lu kB\nKernelPageSize: "
			"%8lu kB\nRss:            %8lu kB\nPss:            %8lu kB\nPrivate_Dirty:  "
			"%8lu kB\nSwap:           %8zu kB\nTHPeligible:    %8d\nVmFlags: rd wr\n",
			(i + 1) * 8192, (i + 1) * 8192 + 4096, 4UL, 4UL, rss, rss / 2, dirty, i, 0);
	}
	map = read_map("77/smaps", text, VMAT_WANT_SMAPS, 0);
	assert_int_equal(map->count, REGIONS);
	for (size_t i = 0; i < REGIONS; i++) {
		assert_int_equal(map->regions[i].rss, sizes[i % 6] << 10);
		assert_int_equal(map->regions[i].pss, sizes[i % 6] / 2 << 10);
		assert_int_equal(map->regions[i].dirty, sizes[(i + i / 6) % 6] << 10);
		assert_int_equal(map->regions[i].swap, i << 10);
	}
	vmat_map_free(map);
	free(text);
}

/* What a kernel does not write is not known, and not 0. */
static void test_smaps_missing_fields(void **state)
{
	static const char text[] =
		HEAD "Rss:                  12 kB\nKernelPageSize:        0 kB\n";
	struct vmat_map *map = read_map("77/smaps", text, VMAT_WANT_SMAPS, 0);
	const struct vmat_region *region = map->regions;

	(void)state;
	assert_int_equal(region->rss, 12 << 10);
	assert_int_equal(region->page_size, 4096);
	assert_int_equal(vmat_reason(region->pss), VMAT_KERNEL_LACKS);
	assert_int_equal(vmat_reason(region->uss), VMAT_KERNEL_LACKS);
	assert_int_equal(vmat_reason(region->swap), VMAT_KERNEL_LACKS);
	assert_int_equal(vmat_reason(region->locked), VMAT_KERNEL_LACKS);
	assert_int_equal(vmat_reason(region->vm_flags), VMAT_KERNEL_LACKS);
	vmat_map_free(map);
}

/* The sum of the sizes is compared with statm: where they differ, the map says that it is partial. */
static void test_statm(void **state)
{
	struct vmat_map_options options = { .size = sizeof(options) };
	struct recording recording;
	struct vmat_target *target;
	struct vmat_map *map;

	(void)state;
	recording_init(&recording);
	recording_add_process(&recording);
	recording_add(&recording, "77/maps",
		      NEXT "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n");
	target = recording_open(&recording);
	recording_add(&recording, "77/statm", "2 1 1 1 0 1 0\n");
	assert_int_equal(vmat_map_read(&map, target, &options, NULL), 0);
	assert_false(map->is_partial);
	vmat_map_free(map);
	recording_add(&recording, "77/statm", "3 1 1 1 0 1 0\n");
	assert_int_equal(vmat_map_read(&map, target, &options, NULL), 0);
	assert_true(map->is_partial);
	assert_non_null(strstr(map->partial_why, "mapped or unmapped"));
	assert_int_equal(map->count, 2);
	vmat_map_free(map);
	vmat_target_close(target);
	recording_deinit(&recording);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_backing),      cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_long_texts),   cmocka_unit_test(test_smaps_of_kernels),
		cmocka_unit_test(test_smaps_widths), cmocka_unit_test(test_smaps_missing_fields),
		cmocka_unit_test(test_statm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
