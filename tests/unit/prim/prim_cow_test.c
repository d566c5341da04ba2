/* SPDX-License-Identifier: MIT */
/*
 * Copies and shared pages against what the test itself wrote, for files, memfd, anonymous memory, huge pages, guards, and
 * answers of one run at a time.
 */
/* variant: VMAT_WITHOUT=pagemap_scan */
/* variant: VMAT_WITHOUT=procmap_query */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmatlas/feature.h>
#include <vmatlas/prim/cow.h>

#include "cmocka_all.h"
#include "sys/uapi_new.h"

enum { PAGE = 4096, PAGES = 1500 };

typedef ssize_t ask_fn(const void *start, size_t size, struct vmat_range *runs, size_t count);

/* Marks what is reported, asking for `at_once` runs a time. */
static void ask_all(ask_fn *ask, char *memory, size_t pages, size_t at_once, bool *seen)
{
	struct vmat_range runs[64];
	char *next = memory, *end = memory + pages * PAGE;
	ssize_t got = (ssize_t)at_once;

	memset(seen, 0, pages);
	while (got == (ssize_t)at_once && next < end) {
		got = ask(next, (size_t)(end - next), runs, at_once);
		assert_true(got >= 0 && got <= (ssize_t)at_once);
		for (ssize_t i = 0; i < got; i++) {
			assert_true(runs[i].start >= next && runs[i].start < runs[i].end);
			next = runs[i].end;
			assert_true(next <= end);
			for (const char *page = runs[i].start; page < next; page += PAGE)
				seen[(page - memory) / PAGE] = true;
		}
	}
}

static char *map_memfd(int flags)
{
	int fd = memfd_create("cow", MFD_CLOEXEC);
	char *memory;

	assert_int_equal(ftruncate(fd, PAGES * PAGE), 0);
	memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	close(fd);
	return memory;
}

static char *map_file(int flags)
{
	int fd = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char *memory;

	assert_int_equal(ftruncate(fd, PAGES * PAGE), 0);
	memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	close(fd);
	return memory;
}

/* Writes some pages, reads others. */
static void write_some(char *memory, bool *shadow)
{
	for (size_t page = 0; page < PAGES; page++) {
		shadow[page] = rand() % 3 == 0;
		if (shadow[page])
			memory[page * PAGE + (size_t)rand() % PAGE] = 1;
		else if (rand() % 2)
			(void)*(volatile char *)(memory + page * PAGE);
	}
}

static void test_copied(void **state)
{
	bool shadow[PAGES], seen[PAGES], none[PAGES] = { false };
	char *private[] = { map_memfd(MAP_PRIVATE), map_file(MAP_PRIVATE) };
	char *others[] = { map_memfd(MAP_SHARED), map_file(MAP_SHARED),
			   mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) };
	static const size_t at_once[] = { 1, 7, 64 };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		write_some(private[i], shadow);
		for (size_t k = 0; k < 3; k++) {
			ask_all(vmat_cow_copied, private[i], PAGES, at_once[k], seen);
			assert_memory_equal(seen, shadow, PAGES);
		}
		assert_int_equal(madvise(private[i], 700 * PAGE, MADV_DONTNEED), 0);
		memset(shadow, 0, 700);
		ask_all(vmat_cow_copied, private[i], PAGES, 64, seen);
		assert_memory_equal(seen, shadow, PAGES);
		munmap(private[i], PAGES * PAGE);
	}
	for (size_t i = 0; i < 3; i++) {
		write_some(others[i], shadow);
		ask_all(vmat_cow_copied, others[i], PAGES, 64, seen);
		assert_memory_equal(seen, none, PAGES);
		munmap(others[i], PAGES * PAGE);
	}
}

/* Guard pages look swapped, and are nothing. */
static void test_guards(void **state)
{
	char *memory = map_memfd(MAP_PRIVATE);
	bool seen[PAGES], none[PAGES] = { false };

	(void)state;
	/* Files have guards since Linux 6.15. */
	madvise(memory, 9 * PAGE, VMAT_UAPI_MADV_GUARD_INSTALL);
	ask_all(vmat_cow_copied, memory, PAGES, 64, seen);
	assert_memory_equal(seen, none, PAGES);
	munmap(memory, PAGES * PAGE);
}

/* What the child sees; the parent's view is checked around it. */
static int child_of(char *memory, const bool *shadow)
{
	bool seen[PAGES], mine[PAGES];

	ask_all(vmat_cow_shared, memory, PAGES, 64, seen);
	if (memcmp(seen, shadow, PAGES) != 0)
		return 1;
	memcpy(mine, shadow, PAGES);
	for (size_t page = 0; page < PAGES; page += 5) {
		memory[page * PAGE] = 2;
		mine[page] = false;
	}
	ask_all(vmat_cow_shared, memory, PAGES, 3, seen);
	return memcmp(seen, mine, PAGES) == 0 ? 0 : 2;
}

static void test_shared(void **state)
{
	char *memories[] = { map_memfd(MAP_PRIVATE),
			     mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) };
	bool shadow[PAGES], seen[PAGES], none[PAGES] = { false };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		char *memory = memories[i];
		int status, ends[2];
		char byte;
		pid_t child;

		madvise(memory, PAGES * PAGE, MADV_NOHUGEPAGE);
		/* Before Linux 6.7 pages that were read cannot be told from shared ones. */
		for (size_t page = 0; page < PAGES; page++) {
			shadow[page] = rand() % 3 == 0;
			if (shadow[page])
				memory[page * PAGE] = 1;
			else if (vmat_feature_has(VMAT_FEATURE_PAGEMAP_SCAN))
				(void)*(volatile char *)(memory + page * PAGE);
		}
		ask_all(vmat_cow_shared, memory, PAGES, 64, seen);
		assert_memory_equal(seen, none, PAGES);
		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		child = fork();
		if (child == 0) {
			int code = child_of(memory, shadow);

			close(ends[0]);
			if (write(ends[1], "", 1) != 1)
				code = 3;
			pause();
			_exit(code);
		}
		close(ends[1]);
		assert_int_equal(read(ends[0], &byte, 1), 1);
		for (size_t page = 0; page < PAGES; page += 5)
			shadow[page] = false;
		ask_all(vmat_cow_shared, memory, PAGES, 64, seen);
		assert_memory_equal(seen, shadow, PAGES);
		kill(child, SIGKILL);
		assert_int_equal(waitpid(child, &status, 0), child);
		ask_all(vmat_cow_shared, memory, PAGES, 64, seen);
		assert_memory_equal(seen, none, PAGES);
		close(ends[0]);
		munmap(memory, PAGES * PAGE);
	}
}

static void test_child(void **state)
{
	char *memory = map_memfd(MAP_PRIVATE);
	bool shadow[PAGES];
	int status;
	pid_t child;

	(void)state;
	for (size_t page = 0; page < PAGES; page++) {
		shadow[page] = rand() % 3 == 0;
		if (shadow[page])
			memory[page * PAGE] = 1;
	}
	child = fork();
	if (child == 0)
		_exit(child_of(memory, shadow));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	munmap(memory, PAGES * PAGE);
}

static void test_bad_ranges(void **state)
{
	ask_fn *const asks[] = { vmat_cow_copied, vmat_cow_shared };
	char *memory = map_memfd(MAP_PRIVATE);
	struct vmat_range run;

	(void)state;
	munmap(memory + 8 * PAGE, PAGE);
	for (size_t i = 0; i < 2; i++) {
		errno = 5;
		assert_int_equal(asks[i](memory + 1, PAGE, &run, 1), -EINVAL);
		assert_int_equal(asks[i](memory, 0, &run, 1), -EINVAL);
		assert_int_equal(asks[i](memory, PAGE + 5, &run, 1), -EINVAL);
		assert_int_equal(asks[i](memory, PAGE, &run, 0), -EINVAL);
		assert_int_equal(asks[i](memory, PAGE, NULL, 1), -EINVAL);
		assert_int_equal(asks[i](memory, (size_t)0 - PAGE, &run, 1), -EINVAL);
		assert_int_equal(asks[i](memory, 16 * PAGE, &run, 1), -ENOMEM);
		assert_int_equal(asks[i](NULL, PAGE, &run, 1), -ENOMEM);
		assert_int_equal(errno, 5);
	}
	munmap(memory, PAGES * PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copied),     cmocka_unit_test(test_guards),
		cmocka_unit_test(test_shared),     cmocka_unit_test(test_child),
		cmocka_unit_test(test_bad_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
