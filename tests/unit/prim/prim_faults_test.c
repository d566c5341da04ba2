/* SPDX-License-Identifier: MIT */
/* Counts and addresses of faults on pages that this test touches one by one, so it knows each of them. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmatlas/prim/faults.h>

#include "cmocka_all.h"

#define PAGE  ((size_t)4096)
#define PAGES ((size_t)300)

/* What the test does beside touching its pages faults a little, too; a sanitizer's shadow and quarantine do more. */
#ifdef __SANITIZE_ADDRESS__
enum { ELSEWHERE = 300 };
#else
enum { ELSEWHERE = 20 };
#endif

static char *fresh_pages(size_t count)
{
	char *start = mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);

	assert_ptr_not_equal(start, MAP_FAILED);
	madvise(start, count * PAGE, MADV_NOHUGEPAGE);
	return start;
}

/* Pages in an order of its own: 7 and 300 have no common divisor. */
static size_t nth(size_t i, size_t count)
{
	return i * 7 % count;
}

/* A sanitizer would touch its shadow of each page, too. */
__attribute__((noinline, no_sanitize("address", "undefined"))) static void touch(char *start,
										 size_t count)
{
	for (size_t i = 0; i < count; i++)
		*(volatile char *)(start + nth(i, count) * PAGE + 123) = 1;
}

static void *touch_in_thread(void *start)
{
	touch(start, PAGES);
	return NULL;
}

static void test_counts(void **state)
{
	struct vmat_faults before, all_before, thread, all;
	char *start = fresh_pages(PAGES), *other = fresh_pages(PAGES);
	pthread_t id;

	(void)state;
	/* What these functions need themselves has been there once. */
	assert_int_equal(vmat_faults_of_process(&all_before), 0);
	assert_int_equal(vmat_faults_of_thread(&before), 0);
	assert_int_equal(vmat_faults_since(&before, &thread), 0);
	assert_int_equal(vmat_faults_of_thread(&before), 0);
	touch(start, PAGES);
	assert_int_equal(vmat_faults_since(&before, &thread), 0);
	assert_int_equal(thread.minor, PAGES);
	assert_int_equal(thread.major, 0);
	touch(start, PAGES);
	assert_int_equal(vmat_faults_since(&before, &thread), 0);
	assert_int_equal(thread.minor, PAGES);
	/* Another thread's are the process's, not ours. */
	assert_int_equal(vmat_faults_of_thread(&before), 0);
	assert_int_equal(vmat_faults_of_process(&all_before), 0);
	assert_int_equal(pthread_create(&id, NULL, touch_in_thread, other), 0);
	assert_int_equal(pthread_join(id, NULL), 0);
	assert_int_equal(vmat_faults_since(&before, &thread), 0);
	assert_int_equal(vmat_faults_of_process(&all), 0);
	assert_in_range(thread.minor, 0, PAGES / 3);
	assert_true(all.minor - all_before.minor >= PAGES);
	munmap(start, PAGES * PAGE);
	munmap(other, PAGES * PAGE);
}

/* Skips where no log is allowed, after it has looked at the reason. */
static struct vmat_fault_log *open_log(size_t room, uint64_t every)
{
	struct vmat_fault_log *log = NULL;
	int r = vmat_fault_log_open(&log, 0, room, every);

	if (r) {
		assert_null(log);
		assert_true(r == -EACCES || r == -EPERM || r == -ENOTSUP);
		assert_true(strlen(vmat_fault_log_why(r)) > 20);
		skip();
	}
	return log;
}

static struct vmat_fault_log_info info_of(const struct vmat_fault_log *log)
{
	struct vmat_fault_log_info info = { .size = sizeof(info) };

	assert_int_equal(vmat_fault_log_info(log, &info), 0);
	assert_int_equal(info.faults_count, info.read_count + info.kept_count + info.lost_count);
	return info;
}

static void test_addresses(void **state)
{
	static struct vmat_fault faults[2 * PAGES];
	struct vmat_fault_log *log = open_log(0, 1);
	char *start = fresh_pages(PAGES);
	size_t mine = 0;
	ssize_t found;

	(void)state;
	touch(start, PAGES / 3); /* before it runs */
	madvise(start, PAGES * PAGE, MADV_DONTNEED);
	memset(faults, 0, sizeof(faults));
	assert_int_equal(vmat_fault_log_start(log), 0);
	touch(start, PAGES);
	assert_int_equal(vmat_fault_log_stop(log), 0);
	madvise(start, PAGES * PAGE, MADV_DONTNEED);
	touch(start, PAGES); /* after it was stopped */
	found = vmat_fault_log_read(log, faults, 2 * PAGES);
	assert_in_range(found, PAGES, PAGES + 10);
	for (ssize_t i = 0; i < found; i++) {
		if (faults[i].address < (uintptr_t)start ||
		    faults[i].address >= (uintptr_t)start + PAGES * PAGE)
			continue;
		assert_int_equal(faults[i].address,
				 (uintptr_t)start + nth(mine, PAGES) * PAGE + 123);
		assert_int_equal(faults[i].tid, gettid());
		assert_true(!i || faults[i].time_ns >= faults[i - 1].time_ns);
		assert_in_range(faults[i].code, (uintptr_t)touch, (uintptr_t)touch + 4096);
		mine++;
	}
	assert_int_equal(mine, PAGES);
	assert_int_equal(info_of(log).lost_count, 0);
	assert_int_equal(vmat_fault_log_read(log, faults, 2 * PAGES), 0);
	assert_null(vmat_fault_log_close(log));
	munmap(start, PAGES * PAGE);
}

/* More faults than there is room for: each is counted, some are lost, and the log goes on when it has been read. */
static void test_is_bounded(void **state)
{
	struct vmat_fault_log *log = open_log(100, 1);
	struct vmat_fault_log_info info;
	struct vmat_fault fault;
	char *start = fresh_pages(PAGES);
	size_t read = 0, strange = 0;

	(void)state;
	assert_int_equal(vmat_fault_log_start(log), 0);
	for (int round = 0; round < 40; round++) {
		touch(start, PAGES);
		madvise(start, PAGES * PAGE, MADV_DONTNEED);
		for (int i = 0; i < 37 && vmat_fault_log_read(log, &fault, 1) == 1; i++) {
			strange += fault.address < (uintptr_t)start ||
				   fault.address >= (uintptr_t)start + PAGES * PAGE;
			read++;
		}
	}
	assert_int_equal(vmat_fault_log_stop(log), 0);
	info = info_of(log);
	assert_in_range(info.faults_count, 40 * PAGES, 40 * PAGES + ELSEWHERE);
	assert_int_equal(info.read_count, read);
	assert_int_equal(read, 40 * 37);
	assert_in_range(strange, 0, ELSEWHERE);
	assert_in_range(info.kept_count, 1, info.room_count);
	assert_true(info.lost_count > 9000);
	assert_int_equal(vmat_fault_log_info(log, &(struct vmat_fault_log_info){ .size = 3 }),
			 -EINVAL);
	vmat_fault_log_close(log);
	munmap(start, PAGES * PAGE);
}

static void test_one_of_many(void **state)
{
	static struct vmat_fault faults[PAGES];
	struct vmat_fault_log *log = open_log(0, 16);
	char *start = fresh_pages(PAGES);

	(void)state;
	assert_int_equal(vmat_fault_log_start(log), 0);
	touch(start, PAGES);
	assert_int_equal(vmat_fault_log_stop(log), 0);
	assert_in_range(vmat_fault_log_read(log, faults, PAGES), PAGES / 16 - 1, PAGES / 16 + 2);
	assert_in_range(info_of(log).faults_count, PAGES, PAGES + 10);
	vmat_fault_log_close(log);
	munmap(start, PAGES * PAGE);
}

static void test_fork(void **state)
{
	struct vmat_fault_log *log = open_log(0, 1);
	struct vmat_fault fault;
	int status;
	pid_t child;

	(void)state;
	assert_int_equal(vmat_fault_log_start(log), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct vmat_fault_log *own = NULL;
		bool is_right = vmat_fault_log_read(log, &fault, 1) == -ECHILD &&
				vmat_fault_log_start(log) == -ECHILD &&
				vmat_fault_log_stop(log) == -ECHILD;

		vmat_fault_log_close(log);
		is_right = is_right && !vmat_fault_log_open(&own, 0, 0, 1) &&
			   !vmat_fault_log_start(own);
		_exit(is_right ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(vmat_fault_log_stop(log), 0);
	vmat_fault_log_close(log);
	vmat_fault_log_close(NULL);
}

static void test_bad_input(void **state)
{
	struct vmat_fault_log *log = NULL;

	(void)state;
	errno = 4711;
	assert_int_equal(vmat_fault_log_open(&log, 0, 1000001, 1), -EINVAL);
	assert_int_equal(vmat_fault_log_open(&log, -1, 0, 1), -EINVAL);
	assert_true(vmat_fault_log_open(&log, 0x7ffffff0, 0, 1) < 0);
	assert_null(log);
	assert_int_equal(errno, 4711);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts),     cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_is_bounded), cmocka_unit_test(test_one_of_many),
		cmocka_unit_test(test_fork),       cmocka_unit_test(test_bad_input),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
