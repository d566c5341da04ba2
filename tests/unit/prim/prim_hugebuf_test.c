/* SPDX-License-Identifier: MIT */
/*
 * The huge buffer, with what the pool of this machine has (tests/live/prim_hugebuf.py raises it): what is reported must be what
 * pagemap says, and the pool must be as full afterwards as before. Where there is no huge page, that must be said.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmatlas/prim/hugebuf.h>

#include "cmocka_all.h"

#define PAGE ((size_t)4096)
#define MIB  ((size_t)1 << 20)

static size_t pool_free(void)
{
	char text[24] = "";
	FILE *file = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");

	if (!file)
		return 0;
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	fclose(file);
	return strtoul(text, NULL, 10);
}

/* The physical address of a byte as pagemap tells it; 0 without the right. */
static uint64_t physical_of(const void *address)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &entry, 8, (off_t)((uintptr_t)address / PAGE * 8)), 8);
	close(fd);
	return (entry & ((1ULL << 55) - 1)) * PAGE;
}

/* Skips where the pool is empty, after it has looked at what is said then. */
static struct vmat_hugebuf *make(size_t size, uint32_t flags)
{
	struct vmat_hugebuf *buf = NULL;
	int r = vmat_hugebuf_new(&buf, size, flags);

	if (r || !buf) {
		assert_int_equal(r, -ENOMEM);
		assert_null(buf);
		skip();
		return NULL; /* not reached: for a checker that does not know skip() */
	}
	assert_true(buf->size >= size && buf->size % buf->page_size == 0);
	assert_true((uintptr_t)buf->data % buf->page_size == 0);
	return buf;
}

static void check_extents(const struct vmat_hugebuf *buf)
{
	size_t offset = 0;

	if (!buf->has_frames) {
		assert_int_equal(buf->extents_count, 0);
		assert_false(buf->is_ascending);
		assert_true(strlen(buf->why) > 10);
		return;
	}
	for (size_t i = 0; i < buf->extents_count; i++) {
		const struct vmat_hugebuf_extent *extent = &buf->extents[i];

		assert_int_equal(extent->offset, offset);
		for (size_t at = 0; at < extent->bytes; at += 2 * MIB)
			assert_int_equal(physical_of(buf->data + offset + at),
					 extent->physical + at);
		if (i && buf->is_ascending)
			assert_true(extent->physical > extent[-1].physical + extent[-1].bytes);
		offset += extent->bytes;
	}
	assert_int_equal(offset, buf->size);
}

static void check(size_t size, uint32_t flags)
{
	size_t before = pool_free();
	struct vmat_hugebuf *buf = make(size, flags);

	check_extents(buf);
	if (!(flags & VMAT_HUGEBUF_UNSORTED) && buf->has_frames)
		assert_true(buf->is_ascending);
	/* What was taken to choose from has gone back. */
	if (buf->page_size == 2 * MIB)
		assert_int_equal(before - pool_free(), buf->size / (2 * MIB));
	for (size_t at = 0; at < buf->size; at += PAGE)
		assert_int_equal(buf->data[at], 0);
	memset(buf->data, 0x77, buf->size);
	check_extents(buf);
	assert_null(vmat_hugebuf_free(buf));
	assert_int_equal(pool_free(), before);
}

static void test_sorted(void **state)
{
	(void)state;
	check(1, 0);
	check(6 * MIB + 1, 0);
	check(12 * MIB, VMAT_HUGEBUF_ONLY_2M);
}

static void test_unsorted(void **state)
{
	(void)state;
	check(6 * MIB, VMAT_HUGEBUF_UNSORTED);
}

static void test_more_than_there_is(void **state)
{
	size_t before = pool_free();
	struct vmat_hugebuf *buf = NULL;

	(void)state;
	errno = 4711;
	assert_int_equal(vmat_hugebuf_new(&buf, (before + 100000) * 2 * MIB, 0), -ENOMEM);
	assert_int_equal(vmat_hugebuf_new(&buf, 0, 0), -EINVAL);
	assert_int_equal(vmat_hugebuf_new(&buf, MIB, 1U << 31), -EINVAL);
	assert_int_equal(vmat_hugebuf_new(&buf, SIZE_MAX, 0), -EOVERFLOW);
	assert_int_equal(vmat_hugebuf_new(&buf, SIZE_MAX / 9, 0), -ENOMEM);
	assert_int_equal(errno, 4711);
	assert_null(buf);
	assert_int_equal(pool_free(), before);
	assert_null(vmat_hugebuf_free(NULL));
}

static void test_fork(void **state)
{
	struct vmat_hugebuf *buf = make(2 * MIB, 0);
	int status;
	pid_t child;

	(void)state;
	memset(buf->data, 0x55, buf->size);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		vmat_hugebuf_free(buf);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(buf->data[buf->size - 1], 0x55);
	check_extents(buf);
	vmat_hugebuf_free(buf);
}

/* Without the driver it says so and leaves all as it was; with it, the descriptor reads what the buffer holds. */
static void test_pin(void **state)
{
	struct vmat_hugebuf *buf = make(2 * MIB, 0);
	bool has_driver = access("/dev/vmatlas", R_OK | W_OK) == 0;
	unsigned char byte = 0;
	int fd;

	(void)state;
	errno = 4711;
	fd = vmat_hugebuf_pin(buf);
	assert_int_equal(errno, 4711);
	assert_int_equal(buf->is_pinned, fd >= 0);
	if (!has_driver) {
		assert_true(fd == -ENOENT || fd == -EACCES);
	} else if (fd >= 0) {
		buf->data[buf->size - 1] = 0x77;
		assert_int_equal(pread(fd, &byte, 1, (off_t)buf->size - 1), 1);
		assert_int_equal(byte, 0x77);
		close(fd);
	}
	check_extents(buf);
	vmat_hugebuf_free(buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sorted),
		cmocka_unit_test(test_unsorted),
		cmocka_unit_test(test_more_than_there_is),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_pin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
