/* SPDX-License-Identifier: MIT */
/* The page size at addresses of this process, and what may be touched: against what the test mapped. */
#include <errno.h>
#include <sys/resource.h>

#include <vmatlas/feature.h>
#include <vmatlas/prim/pagesize.h>

#include "own_target.h"

static char *map_them(size_t pages, int prot)
{
	char *got = mmap(NULL, pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(got != MAP_FAILED);
	return got;
}

static void check_sizes(void)
{
	char *pages = map_them(3, PROT_READ | PROT_WRITE);
	struct vmat_page_info info = { .size = sizeof(info) };
	int on_stack = 0;

	errno = 77;
	CHECK(munmap(pages + PAGE, PAGE) == 0);
	CHECK(vmat_pagesize_at(pages) == PAGE);
	CHECK(vmat_pagesize_at(pages + PAGE) == -EFAULT);
	CHECK(vmat_pagesize_at(pages + 2 * PAGE - 1) == -EFAULT);
	CHECK(vmat_pagesize_at(pages + 2 * PAGE) == PAGE);
	CHECK(vmat_pagesize_at(NULL) == -EFAULT);
	CHECK(vmat_pagesize_at((void *)UINTPTR_MAX) == -EFAULT);
	CHECK(vmat_pagesize_exact(&on_stack) == PAGE);
	CHECK(vmat_pagesize_exact(&info) == PAGE);
	CHECK(vmat_pagesize_exact((void *)check_sizes) == PAGE);

	CHECK(vmat_page_at(pages, &info) == 0);
	CHECK(info.mapping_size == PAGE && info.is_present == 0 && info.in_use == -ENODATA);
	*(volatile char *)pages = 1;
	CHECK(vmat_page_at(pages, &info) == 0);
	CHECK(info.mapping_size == PAGE && info.is_present == 1);
	if (vmat_feature_has(VMAT_FEATURE_PAGEMAP_SCAN))
		CHECK(info.in_use == PAGE);
	CHECK(vmat_page_at(pages + PAGE, &info) == -EFAULT);
	info.size = 1;
	CHECK(vmat_page_at(pages, &info) == -EINVAL);
	CHECK(errno == 77);
}

static void check_access(void)
{
	char *pages = map_them(4, PROT_READ | PROT_WRITE);

	CHECK(mprotect(pages + PAGE, PAGE, PROT_READ) == 0);
	CHECK(mprotect(pages + 2 * PAGE, PAGE, PROT_NONE) == 0);
	CHECK(vmat_access(pages, PAGE, PROT_READ | PROT_WRITE) == 0);
	CHECK(vmat_access(pages, 2 * PAGE, PROT_READ) == 0);
	CHECK(vmat_access(pages, PAGE + 1, PROT_WRITE) == -EACCES);
	CHECK(vmat_access(pages, PAGE + 1, PROT_EXEC) == -EACCES);
	CHECK(vmat_access(pages, 4 * PAGE, PROT_NONE) == 0);
	CHECK(vmat_access(pages, 4 * PAGE, PROT_READ) == -EACCES);
	CHECK(munmap(pages + 3 * PAGE, PAGE) == 0);
	CHECK(vmat_access(pages + PAGE, 3 * PAGE, PROT_NONE) == -EFAULT);
	CHECK(vmat_access(pages + 3 * PAGE, 1, PROT_READ) == -EFAULT);
	CHECK(vmat_access(NULL, 1, PROT_READ) == -EFAULT);
	CHECK(vmat_access(NULL, 0, PROT_READ) == 0);
	CHECK(vmat_access(pages, 1, 64) == -EINVAL);
	CHECK(vmat_access(pages, SIZE_MAX, PROT_READ) == -EINVAL);
	CHECK(vmat_access((void *)check_access, 1, PROT_READ | PROT_EXEC) == 0);
	if (vmat_feature_has(VMAT_FEATURE_PAGE_GUARD)) {
		CHECK(madvise(pages, PAGE, 102) == 0);
		CHECK(vmat_access(pages, PAGE, PROT_READ) == -EFAULT);
		CHECK(vmat_access(pages + PAGE, PAGE, PROT_READ) == 0);
	}
}

/* Regions of a fork, and of a process whose descriptors were all closed by somebody. */
static void check_changes(void)
{
	char *pages = map_them(1, PROT_READ);
	pid_t child;
	int status = 0;

	CHECK(vmat_pagesize_exact(pages) == PAGE);
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	CHECK(vmat_pagesize_exact(pages) == PAGE);
	/* Another file under every number that could have been kept. */
	for (int i = 0; i < 300; i++)
		CHECK(dup(2) >= 0);
	CHECK(vmat_pagesize_exact(pages) == PAGE);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		CHECK(munmap(pages, PAGE) == 0);
		CHECK(vmat_pagesize_exact(pages) == -EFAULT);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(vmat_pagesize_exact(pages) == PAGE);
}

static void check_all(void)
{
	check_sizes();
	check_access();
	check_changes();
}

static void test_by_query(void **state)
{
	(void)state;
	in_child("", check_all);
}

static void test_by_text(void **state)
{
	(void)state;
	in_child("procmap_query", check_all);
}

static void test_without_anything(void **state)
{
	(void)state;
	in_child("all", check_all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_query),
		cmocka_unit_test(test_by_text),
		cmocka_unit_test(test_without_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
