/* SPDX-License-Identifier: MIT */
/*
 * The scan of a living process over memory of known shape, by PAGEMAP_SCAN and by each fallback: the
 * same pages for every size of the caller's array, and never more nor fewer runs than there are.
 */
#include <errno.h>
#include <fcntl.h>

#include <vmatlas/feature.h>

#include "own_target.h"
#include "sys/uapi_new.h"

enum {
	ALL = VMAT_PAGE_PRESENT | VMAT_PAGE_SWAPPED | VMAT_PAGE_FILE | VMAT_PAGE_ZERO |
	      VMAT_PAGE_HUGE | VMAT_PAGE_GUARD | VMAT_PAGE_EXCLUSIVE
};

enum { PLAIN = ALL & ~(VMAT_PAGE_FILE | VMAT_PAGE_EXCLUSIVE) };

/* Scans all of it with an array of `count` runs; the flags of each page; how many runs there were. */
static size_t scan(struct vmat_target *target, const char *memory, size_t pages, uint32_t want,
		   size_t count, uint32_t *flags, uint32_t *known)
{
	uint64_t start = (uintptr_t)memory, end = start + pages * PAGE, at = start, last = start;
	struct vmat_page_run *runs = calloc(count, sizeof(*runs));
	uint32_t last_flags = 0;
	size_t found = 0;

	CHECK(runs);
	if (flags)
		memset(flags, 0, pages * sizeof(*flags));
	while (at < end) {
		uint64_t before = at;
		int got = vmat_source_scan(target, &at, end, want, runs, count, known);

		CHECK(got >= 0 && (size_t)got <= count);
		CHECK(at > before && at <= end);
		for (int i = 0; i < got; i++) {
			CHECK(runs[i].start >= last && runs[i].start < runs[i].end);
			CHECK(runs[i].start >= before && runs[i].end <= at);
			CHECK(runs[i].flags && !(runs[i].flags & ~want));
			/* Cut only where one call ends: then it is one run all the same. */
			found += runs[i].start != last || runs[i].flags != last_flags;
			last = runs[i].end;
			last_flags = runs[i].flags;
			for (uint64_t page = runs[i].start; flags && page < runs[i].end;
			     page += PAGE)
				flags[(page - start) / PAGE] = runs[i].flags;
		}
	}
	free(runs);
	return found;
}

static bool has_guards(void)
{
	return vmat_feature_state(VMAT_FEATURE_MADV_GUARD) != VMAT_FEATURE_NO;
}

static void check_pattern(void)
{
	struct vmat_target *target = open_process(getpid());
	uint32_t want_flags[64] = { 0 }, flags[64], known = 0;
	volatile char *memory = map_pages(64);

	memory[0] = 1;
	want_flags[0] = VMAT_PAGE_PRESENT;
	(void)memory[2 * PAGE];
	want_flags[2] = VMAT_PAGE_PRESENT | VMAT_PAGE_ZERO;
	if (has_guards() &&
	    madvise((char *)(uintptr_t)memory + 3 * PAGE, PAGE, VMAT_UAPI_MADV_GUARD_INSTALL) == 0)
		want_flags[3] = VMAT_PAGE_GUARD;
	for (int i = 4; i < 9; i++) {
		memory[i * PAGE] = 1;
		want_flags[i] = VMAT_PAGE_PRESENT;
	}
	madvise((char *)(uintptr_t)memory + 8 * PAGE, PAGE, MADV_DONTNEED);
	want_flags[8] = 0;
	memory[63 * PAGE] = 1;
	want_flags[63] = VMAT_PAGE_PRESENT;
	for (size_t count = 1; count < 600; count += count < 5 ? 1 : 507) {
		scan(target, (char *)(uintptr_t)memory, 64, PLAIN, count, flags, &known);
		CHECK((known & VMAT_PAGE_PRESENT) && (known & VMAT_PAGE_SWAPPED));
		for (int i = 0; i < 64; i++)
			CHECK(flags[i] == (want_flags[i] & known));
	}
	/* Each flag asked for alone, and with what only pagemap has. */
	for (uint32_t flag = VMAT_PAGE_PRESENT; flag <= VMAT_PAGE_GUARD; flag <<= 1) {
		scan(target, (char *)(uintptr_t)memory, 64, flag, 8, flags, &known);
		for (int i = 0; i < 64; i++)
			CHECK(flags[i] == (want_flags[i] & known & flag));
	}
	scan(target, (char *)(uintptr_t)memory, 64, ALL, 3, flags, &known);
	CHECK(known & VMAT_PAGE_EXCLUSIVE);
	for (int i = 0; i < 64; i++) {
		CHECK((flags[i] & PLAIN) == (want_flags[i] & known));
		if (want_flags[i] == VMAT_PAGE_PRESENT)
			CHECK(flags[i] & VMAT_PAGE_EXCLUSIVE);
	}
	vmat_target_close(target);
}

/* Every second page, for each size around the kernel's own buffer of 512. */
static void check_many_runs(void)
{
	static const size_t counts[] = { 1, 2, 3, 511, 512, 513, 1024, 2000, 4096 };
	struct vmat_target *target = open_process(getpid());
	char *memory = map_pages(4096);
	uint32_t known = 0;

	for (size_t page = 0; page < 4000; page += 2)
		memory[page * PAGE] = 1;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		CHECK(scan(target, memory, 4096, PLAIN, counts[i], NULL, &known) == 2000);
		CHECK(scan(target, memory, 4096, ALL, counts[i], NULL, &known) == 2000);
		/* The walk ends by itself right behind the last run, and far behind it. */
		CHECK(scan(target, memory, 3999, PLAIN, counts[i], NULL, &known) == 2000);
		CHECK(scan(target, memory, 2 * 512, PLAIN, counts[i], NULL, &known) == 512);
		CHECK(scan(target, memory, 2 * 512 + 1, PLAIN, counts[i], NULL, &known) == 513);
		CHECK(scan(target, memory, 2 * 512 - 1, PLAIN, counts[i], NULL, &known) == 512);
	}
	vmat_target_close(target);
}

static size_t count_present(const uint32_t *flags, size_t pages)
{
	size_t present = 0;

	for (size_t i = 0; i < pages; i++)
		present += (flags[i] & VMAT_PAGE_PRESENT) != 0;
	return present;
}

/* Dense memory beyond the limit of pages of one call, with a hole just at that limit. */
static void check_dense(void)
{
	enum { PAGES = 20000 };

	static uint32_t flags[PAGES];
	struct vmat_target *target = open_process(getpid());
	char *memory = map_pages(PAGES);
	uint32_t known = 0;

	for (size_t page = 0; page < PAGES; page++)
		memory[page * PAGE] = 1;
	CHECK(scan(target, memory, PAGES, ALL, 1, flags, &known) == 1);
	CHECK(count_present(flags, PAGES) == PAGES);
	madvise(memory + 8192UL * PAGE, PAGE, MADV_DONTNEED);
	madvise(memory + 16383UL * PAGE, PAGE, MADV_DONTNEED);
	CHECK(scan(target, memory, PAGES, ALL, 1, flags, &known) == 3);
	CHECK(count_present(flags, PAGES) == PAGES - 2);
	/* An array that is never full: only the limit of pages says where to go on. */
	CHECK(scan(target, memory, PAGES, ALL, 64, flags, &known) == 3);
	CHECK(count_present(flags, PAGES) == PAGES - 2);
	CHECK(!flags[8192] && !flags[16383]);
	vmat_target_close(target);
}

static void check_sparse(void)
{
	enum { SIZE_GIB = 6 };
	struct vmat_target *target = open_process(getpid());
	size_t pages = (size_t)SIZE_GIB << 18;
	char *memory = map_pages(pages);
	uint32_t known = 0;

	for (size_t gib = 0; gib < SIZE_GIB; gib++)
		memory[(gib << 30) + 7 * PAGE * gib] = 1;
	CHECK(scan(target, memory, pages, PLAIN, 2, NULL, &known) == SIZE_GIB);
	munmap(memory, pages * PAGE);
	vmat_target_close(target);
}

/* Private copies of file pages are those that are no file pages any more; shared memory is all file. */
static void check_files(void)
{
	struct vmat_target *target = open_process(getpid());
	int fd = memfd_create("live_scan_test", MFD_CLOEXEC);
	uint32_t flags[8] = { 0 }, known = 0;
	volatile char *memory;

	CHECK(fd >= 0 && ftruncate(fd, 8 * PAGE) == 0);
	memory = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(memory != MAP_FAILED);
	(void)memory[0];
	memory[2 * PAGE] = 1;
	memory[5 * PAGE] = 1;
	scan(target, (char *)(uintptr_t)memory, 8, ALL, 2, flags, &known);
	CHECK(known & VMAT_PAGE_FILE);
	CHECK((flags[0] & (VMAT_PAGE_PRESENT | VMAT_PAGE_FILE)) ==
	      (VMAT_PAGE_PRESENT | VMAT_PAGE_FILE));
	CHECK((flags[2] & (VMAT_PAGE_PRESENT | VMAT_PAGE_FILE)) == VMAT_PAGE_PRESENT);
	CHECK((flags[5] & (VMAT_PAGE_PRESENT | VMAT_PAGE_FILE)) == VMAT_PAGE_PRESENT);
	memory = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(memory != MAP_FAILED);
	memory[6 * PAGE] = 1;
	scan(target, (char *)(uintptr_t)memory, 8, ALL, 2, flags, &known);
	CHECK((flags[6] & (VMAT_PAGE_PRESENT | VMAT_PAGE_FILE)) ==
	      (VMAT_PAGE_PRESENT | VMAT_PAGE_FILE));
	CHECK(!flags[0] && !flags[7]);
	close(fd);
	vmat_target_close(target);
}

/* What a child shares with its parent is exclusive no more, until one of them writes. */
static void check_exclusive(void)
{
	char *memory = map_pages(4);
	struct vmat_target *target = open_process(getpid());
	uint32_t flags[4] = { 0 }, known = 0;
	pid_t child;

	memset(memory, 1, 4 * PAGE);
	child = start_child();
	memory[PAGE] = 2;
	scan(target, memory, 4, ALL, 4, flags, &known);
	CHECK(!(flags[0] & VMAT_PAGE_EXCLUSIVE) && (flags[1] & VMAT_PAGE_EXCLUSIVE));
	CHECK(!(flags[2] & VMAT_PAGE_EXCLUSIVE) && !(flags[3] & VMAT_PAGE_EXCLUSIVE));
	end_child(child);
	scan(target, memory, 4, ALL, 4, flags, &known);
	CHECK(flags[0] & VMAT_PAGE_EXCLUSIVE);
	vmat_target_close(target);
}

/* Huge pages, where the kernel gives them: smaps says whether it did. */
static void check_huge(void)
{
	enum { HUGE = 2 << 20, PAGES = HUGE / PAGE };

	static uint32_t flags[PAGES];
	struct vmat_target *target = open_process(getpid());
	char *memory = mmap(NULL, 4 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t known = 0;

	CHECK(memory != MAP_FAILED);
	memory = (char *)(((uintptr_t)memory + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
	CHECK(mprotect(memory, 2 * HUGE, PROT_READ | PROT_WRITE) == 0);
	madvise(memory, 2 * HUGE, MADV_HUGEPAGE);
	memory[5] = 1;
	(void)*(volatile char *)(memory + HUGE);
	scan(target, memory, PAGES, ALL, 4, flags, &known);
	if (smaps_fact(getpid(), memory, "AnonHugePages:") >= 2048) {
		CHECK(count_present(flags, PAGES) == PAGES);
		CHECK(((flags[9] & VMAT_PAGE_HUGE) != 0) == ((known & VMAT_PAGE_HUGE) != 0));
	}
	/* The huge zero page costs no memory, and smaps does not count it. */
	scan(target, memory + HUGE, PAGES, ALL, 4, flags, &known);
	if (known & VMAT_PAGE_HUGE && flags[9] & VMAT_PAGE_HUGE &&
	    smaps_fact(getpid(), memory, "Rss:") == 2048)
		CHECK(flags[9] & VMAT_PAGE_ZERO);
	vmat_target_close(target);
}

static void check_arguments(void)
{
	struct vmat_target *target = open_process(getpid());
	uint64_t start = (uintptr_t)map_pages(2), at = start, entries[4];
	struct vmat_page_run run;
	uint32_t known = 0;
	int got;

	CHECK(vmat_source_scan(target, &at, start + PAGE, ALL, &run, 0, &known) == -EINVAL);
	CHECK(vmat_source_scan(target, &at, start, ALL, &run, 1, &known) == -EINVAL);
	CHECK(at == start);
	CHECK(vmat_source_pagemap(target, start, entries, 2) == 2);
	/* The upper half belongs to the kernel: no reason to take the process for ended. */
	at = 0xffffffffff600000;
	got = vmat_source_scan(target, &at, at + PAGE, ALL, &run, 1, &known);
	CHECK(got < 0 && got != -ESRCH);
	vmat_target_close(target);
}

static void test_pattern(void **state)
{
	(void)state;
	in_children(check_pattern);
}

static void test_many_runs(void **state)
{
	(void)state;
	in_children(check_many_runs);
}

static void test_dense(void **state)
{
	(void)state;
	in_children(check_dense);
}

static void test_sparse(void **state)
{
	(void)state;
	in_child("", check_sparse);
	in_child("page_guard", check_sparse);
}

static void test_files(void **state)
{
	(void)state;
	in_children(check_files);
}

static void test_exclusive(void **state)
{
	(void)state;
	in_children(check_exclusive);
}

static void test_huge(void **state)
{
	(void)state;
	in_children(check_huge);
}

static void test_arguments(void **state)
{
	(void)state;
	in_children(check_arguments);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pattern), cmocka_unit_test(test_many_runs),
		cmocka_unit_test(test_dense),   cmocka_unit_test(test_sparse),
		cmocka_unit_test(test_files),   cmocka_unit_test(test_exclusive),
		cmocka_unit_test(test_huge),    cmocka_unit_test(test_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
