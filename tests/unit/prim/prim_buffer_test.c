/* SPDX-License-Identifier: MIT */
/*
 * The growable buffer against a plain array that goes through the same operations, against mincore for what is
 * given back, and against limits.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmatlas/prim/buffer.h>

#include "cmocka_all.h"

#define PAGE ((size_t)4096)
#define MIB  ((size_t)1 << 20)

static size_t present_pages(const void *start, size_t bytes)
{
	static unsigned char present[1 << 16];
	size_t count = 0, pages = (bytes + PAGE - 1) / PAGE;

	assert_true(pages <= sizeof(present));
	assert_int_equal(mincore((void *)(uintptr_t)start, bytes, present), 0);
	for (size_t i = 0; i < pages; i++)
		count += present[i] & 1;
	return count;
}

static unsigned next_random(unsigned *seed)
{
	*seed = *seed * 1103515245 + 12345;
	return *seed >> 8;
}

/* One random operation on both; `shadow` has room for all. */
static void both(struct vmat_buf *buf, unsigned char *shadow, size_t *size, unsigned *seed)
{
	size_t n = next_random(seed) % 40000, at = *size ? next_random(seed) % *size : 0;
	void *room;

	switch (next_random(seed) % 6) {
	case 0:
		memset(shadow + *size, (int)n, n);
		assert_int_equal(vmat_buf_append(buf, shadow + *size, n), 0);
		*size += n;
		break;
	case 1: /* a part of itself */
		n = n < *size - at ? n : *size - at;
		memcpy(shadow + *size, shadow + at, n);
		assert_int_equal(vmat_buf_append(buf, n ? buf->data + at : NULL, n), 0);
		*size += n;
		break;
	case 2: /* not all of the room is taken, but all of it is written */
		assert_int_equal(vmat_buf_reserve(buf, n + 100, &room), 0);
		memset(room, 0xee, n + 100);
		assert_int_equal(vmat_buf_commit(buf, n), 0);
		memset(shadow + *size, 0xee, n);
		*size += n;
		break;
	case 3:
		n = next_random(seed) % 8 ? *size + n : at;
		if (n > *size)
			memset(shadow + *size, 0, n - *size);
		assert_int_equal(vmat_buf_resize(buf, n), 0);
		*size = n;
		break;
	case 4:
		n = n < *size - at ? n : *size - at;
		memset(shadow + at, 0, n);
		assert_int_equal(vmat_buf_punch(buf, at, n), 0);
		break;
	default:
		assert_int_equal(vmat_buf_shrink(buf), 0);
	}
	assert_int_equal(buf->size, *size);
	assert_true(buf->size <= buf->capacity && buf->capacity <= buf->reserved);
}

static void check_random(size_t reserve_bytes, uint32_t flags, bool moves)
{
	enum { STEPS = 400 };

	unsigned char *shadow = malloc((size_t)STEPS * 50000);
	unsigned seed = (unsigned)reserve_bytes + flags;
	const unsigned char *first;
	struct vmat_buf buf;
	size_t size = 0;

	assert_non_null(shadow);
	assert_int_equal(vmat_buf_init(&buf, reserve_bytes, flags), 0);
	first = buf.data;
	for (int i = 0; i < STEPS; i++) {
		both(&buf, shadow, &size, &seed);
		if (i % 16 == 0 && size)
			assert_memory_equal(buf.data, shadow, size);
		if (!moves)
			assert_ptr_equal(buf.data, first);
	}
	assert_true(!size || memcmp(buf.data, shadow, size) == 0);
	if (moves)
		assert_true(buf.reserved > reserve_bytes);
	else
		assert_int_equal(buf.moves_count, 0);
	vmat_buf_deinit(&buf);
	assert_null(buf.data);
	free(shadow);
}

static void test_is_an_array(void **state)
{
	(void)state;
	check_random(0, 0, false);
	check_random(64 * MIB, VMAT_BUF_HUGE, false);
	/* Behind its reservation it is the same, but may move. */
	check_random(PAGE, 0, true);
	check_random(300000, 0, true);
	check_random(2 * MIB, VMAT_BUF_HUGE, true);
}

static void test_address_stays_to_the_last_byte(void **state)
{
	struct vmat_buf buf;
	unsigned char *first;
	char byte = 'x';

	(void)state;
	assert_int_equal(vmat_buf_init(&buf, 8 * MIB, 0), 0);
	first = buf.data;
	assert_int_equal(vmat_buf_resize(&buf, 8 * MIB - 1), 0);
	assert_int_equal(vmat_buf_append(&buf, &byte, 1), 0);
	assert_ptr_equal(buf.data, first);
	assert_int_equal(buf.capacity, buf.reserved);
	/* Whether it has to move now is for the kernel to say. */
	assert_int_equal(vmat_buf_append(&buf, &byte, 1), 0);
	assert_int_equal(buf.moves_count, buf.data != first);
	assert_int_equal(buf.data[8 * MIB - 1], 'x');
	assert_int_equal(buf.data[8 * MIB], 'x');
	vmat_buf_deinit(&buf);
}

static void test_gives_back(void **state)
{
	struct vmat_buf buf;

	(void)state;
	assert_int_equal(vmat_buf_init(&buf, 64 * MIB, 0), 0);
	assert_int_equal(vmat_buf_resize(&buf, 4 * MIB), 0);
	assert_int_equal(present_pages(buf.data, 4 * MIB), 0);
	memset(buf.data, 'a', 4 * MIB);
	assert_int_equal(present_pages(buf.data, 4 * MIB), 1024);
	/* 100 bytes stay of the first page, 200 of the last. */
	assert_int_equal(vmat_buf_punch(&buf, 100, 2 * MIB + PAGE - 300), 0);
	assert_int_equal(present_pages(buf.data, 4 * MIB), 1024 - 511);
	assert_int_equal(buf.data[99], 'a');
	assert_int_equal(buf.data[2 * MIB + PAGE - 200], 'a');
	for (size_t i = 100; i < 2 * MIB + PAGE - 200; i++)
		assert_int_equal(buf.data[i], 0);
	assert_int_equal(vmat_buf_resize(&buf, PAGE + 1), 0);
	assert_int_equal(vmat_buf_shrink(&buf), 0);
	/* The second one is the page of zeroes, since it was read above. */
	assert_int_equal(present_pages(buf.data, 4 * MIB), 2);
	assert_int_equal(buf.data[0], 'a');
	vmat_buf_deinit(&buf);
}

/* Pages are made present in groups only above 1 MiB, and never more than the rest of one group too many. */
static void test_is_not_present_too_early(void **state)
{
	static char bytes[5000];
	struct vmat_buf buf;

	(void)state;
	assert_int_equal(vmat_buf_init(&buf, 64 * MIB, 0), 0);
	for (int i = 0; i < 1500; i++) {
		size_t pages;

		assert_int_equal(vmat_buf_append(&buf, bytes, sizeof(bytes)), 0);
		pages = (buf.size + PAGE - 1) / PAGE;
		assert_in_range(present_pages(buf.data, buf.capacity), pages,
				pages + (buf.size > MIB ? 15 : 0));
	}
	vmat_buf_deinit(&buf);
}

static void test_take(void **state)
{
	struct vmat_buf buf = { 0 };
	struct vmat_buf_taken taken, empty;
	unsigned char *first;

	(void)state;
	assert_int_equal(vmat_buf_append(&buf, "hello", 5), 0);
	first = buf.data;
	assert_int_equal(vmat_buf_take(&buf, &taken), 0);
	assert_ptr_equal(taken.data, first);
	assert_int_equal(taken.size, 5);
	assert_int_equal(taken.mapped_bytes, PAGE);
	assert_null(buf.data);
	assert_int_equal(vmat_buf_take(&buf, &empty), 0);
	assert_null(empty.data);
	vmat_buf_taken_free(&empty);
	/* It goes on, elsewhere. */
	assert_int_equal(vmat_buf_append(&buf, "world", 5), 0);
	assert_ptr_not_equal(buf.data, first);
	assert_memory_equal(buf.data, "world", 5);
	assert_memory_equal(taken.data, "hello", 5);
	assert_int_equal(munmap(taken.data, taken.mapped_bytes), 0);
	vmat_buf_deinit(&buf);
	vmat_buf_deinit(NULL);
	vmat_buf_taken_free(NULL);
}

static void test_read(void **state)
{
	struct vmat_buf buf;
	char text[] = "from a pipe";
	int ends[2];

	(void)state;
	assert_int_equal(vmat_buf_init(&buf, MIB, 0), 0);
	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(vmat_buf_read(&buf, ends[0], 100), -EAGAIN);
	assert_int_equal(buf.size, 0);
	assert_int_equal(write(ends[1], text, 11), 11);
	assert_int_equal(vmat_buf_read(&buf, ends[0], 4), 4);
	assert_int_equal(vmat_buf_read(&buf, ends[0], 100), 7);
	assert_memory_equal(buf.data, text, 11);
	/* No room is left over from a read. */
	close(ends[1]);
	assert_int_equal(vmat_buf_read(&buf, ends[0], 100), 0);
	assert_int_equal(vmat_buf_read(&buf, -1, 100), -EBADF);
	assert_int_equal(buf.size, 11);
	close(ends[0]);
	vmat_buf_deinit(&buf);
}

static void test_bad_input(void **state)
{
	struct vmat_buf buf, untouched;

	(void)state;
	memset(&untouched, 0x5a, sizeof(untouched));
	buf = untouched;
	errno = 4711;
	assert_int_equal(vmat_buf_init(&buf, 0, 1U << 31), -EINVAL);
	assert_int_equal(vmat_buf_init(&buf, SIZE_MAX, 0), -EOVERFLOW);
	assert_int_equal(vmat_buf_init(&buf, SIZE_MAX / 2 - MIB, 0), -ENOMEM);
	assert_memory_equal(&buf, &untouched, sizeof(buf));
	assert_int_equal(vmat_buf_init(&buf, MIB, 0), 0);
	assert_int_equal(vmat_buf_commit(&buf, 1), -EINVAL);
	assert_int_equal(vmat_buf_append(&buf, "abc", 3), 0);
	assert_int_equal(vmat_buf_commit(&buf, 1), -EINVAL);
	assert_int_equal(vmat_buf_reserve(&buf, SIZE_MAX, NULL), -EOVERFLOW);
	assert_int_equal(vmat_buf_reserve(&buf, SIZE_MAX - 3, NULL), -EOVERFLOW);
	assert_int_equal(vmat_buf_reserve(&buf, SIZE_MAX / 8, NULL), -ENOMEM);
	assert_int_equal(vmat_buf_resize(&buf, SIZE_MAX), -EOVERFLOW);
	assert_int_equal(vmat_buf_punch(&buf, 2, 2), -EINVAL);
	assert_int_equal(vmat_buf_punch(&buf, 2, SIZE_MAX), -EINVAL);
	assert_int_equal(vmat_buf_punch(&buf, 3, 0), 0);
	assert_int_equal(buf.size, 3);
	assert_memory_equal(buf.data, "abc", 3);
	assert_int_equal(errno, 4711);
	vmat_buf_deinit(&buf);
}

/* With a limit on addresses the reservation is smaller, what does not fit is refused, and the rest stays. */
static void test_address_limit(void **state)
{
	struct rlimit before, limit;
	struct vmat_buf buf;
	char *statm_end;
	char statm[32] = "";
	FILE *file = fopen("/proc/self/statm", "re");

	(void)state;
	assert_non_null(file);
	assert_non_null(fgets(statm, sizeof(statm), file));
	fclose(file);
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	limit = before;
	limit.rlim_cur = strtoul(statm, &statm_end, 10) * PAGE + 128 * MIB;
	if (limit.rlim_cur > (rlim_t)1 << 40)
		skip(); /* a sanitizer has taken all addresses there are */
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
	assert_int_equal(vmat_buf_init(&buf, 0, 0), 0);
	assert_in_range(buf.reserved, MIB, limit.rlim_cur / 8 + PAGE);
	assert_int_equal(vmat_buf_resize(&buf, 10), 0);
	memcpy(buf.data, "0123456789", 10);
	assert_int_equal(vmat_buf_resize(&buf, 200 * MIB), -ENOMEM);
	assert_int_equal(buf.size, 10);
	assert_int_equal(vmat_buf_resize(&buf, 40 * MIB), 0);
	assert_memory_equal(buf.data, "0123456789", 10);
	/* What was asked for in numbers is given or refused. */
	vmat_buf_deinit(&buf);
	assert_int_equal(vmat_buf_init(&buf, 200 * MIB, 0), -ENOMEM);
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
}

static void test_fork(void **state)
{
	struct vmat_buf buf;
	int status;
	pid_t child;

	(void)state;
	assert_int_equal(vmat_buf_init(&buf, PAGE, 0), 0);
	assert_int_equal(vmat_buf_append(&buf, "parent", 6), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		bool is_right = memcmp(buf.data, "parent", 6) == 0 &&
				!vmat_buf_resize(&buf, 3 * MIB) && memset(buf.data, 'c', 3 * MIB) &&
				!vmat_buf_punch(&buf, 0, PAGE);

		vmat_buf_deinit(&buf);
		_exit(is_right ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(buf.size, 6);
	assert_memory_equal(buf.data, "parent", 6);
	vmat_buf_deinit(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_is_an_array),
		cmocka_unit_test(test_address_stays_to_the_last_byte),
		cmocka_unit_test(test_gives_back),
		cmocka_unit_test(test_is_not_present_too_early),
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_bad_input),
		cmocka_unit_test(test_address_limit),
		cmocka_unit_test(test_fork),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
