/* SPDX-License-Identifier: MIT */
/*
 * libfail_alloc.so: preloaded, makes the n-th allocation of a program fail.
 *
 *   FAIL_ALLOC_AT=N        the N-th allocation returns NULL, from 1
 *   FAIL_ALLOC_ON=1        so do all after it
 *   FAIL_ALLOC_COUNT=FILE  writes how many there were, at the end
 *
 * Counted are malloc, calloc, realloc and the aligned ones, from the moment on when all libraries are
 * set up: main is about to begin. What the C library allocates for itself counts too: its callers see
 * it fail.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))

/* dlsym may allocate before the functions behind ours are known. */
static _Alignas(16) char early[16384];
static size_t early_used;

static struct {
	void *(*malloc)(size_t);
	void *(*calloc)(size_t, size_t);
	void *(*realloc)(void *, size_t);
	void *(*memalign)(size_t, size_t);
	void (*free)(void *);
} next;

static _Atomic long allocations;
static long fail_at;
static bool fails_on, is_counting, is_looking_up;
static char count_file[4096];

static void *function(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

static void find_next(void)
{
	if (next.free || is_looking_up)
		return;
	is_looking_up = true;
	next.malloc = (void *(*)(size_t))(uintptr_t)function("malloc");
	next.calloc = (void *(*)(size_t, size_t))(uintptr_t)function("calloc");
	next.realloc = (void *(*)(void *, size_t))(uintptr_t)function("realloc");
	next.memalign = (void *(*)(size_t, size_t))(uintptr_t)function("memalign");
	next.free = (void (*)(void *))(uintptr_t)function("free");
	is_looking_up = false;
}

static bool is_early(const void *block)
{
	return (const char *)block >= early && (const char *)block < early + sizeof(early);
}

static void *early_block(size_t size)
{
	char *block = early + early_used;

	size = (size + 15) & ~(size_t)15;
	if (size > sizeof(early) - early_used)
		_exit(125);
	early_used += size;
	return block;
}

/* Shall this allocation fail? */
static bool fails(void)
{
	long number;

	if (!is_counting)
		return false;
	number = ++allocations;
	if (!fail_at || (fails_on ? number < fail_at : number != fail_at))
		return false;
	errno = ENOMEM;
	return true;
}

PUBLIC void *malloc(size_t size)
{
	find_next();
	if (!next.malloc)
		return early_block(size);
	return fails() ? NULL : next.malloc(size);
}

PUBLIC void *calloc(size_t count, size_t size)
{
	find_next();
	if (!next.calloc)
		return early_block(count * size);
	return fails() ? NULL : next.calloc(count, size);
}

PUBLIC void *realloc(void *block, size_t size)
{
	find_next();
	if (is_early(block)) {
		size_t most = (size_t)(early + sizeof(early) - (char *)block);
		void *copy = malloc(size);

		return copy ? memcpy(copy, block, size < most ? size : most) : NULL;
	}
	return fails() ? NULL : next.realloc(block, size);
}

PUBLIC void *memalign(size_t alignment, size_t size)
{
	find_next();
	return fails() ? NULL : next.memalign(alignment, size);
}

PUBLIC void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

PUBLIC int posix_memalign(void **ret, size_t alignment, size_t size)
{
	void *block = memalign(alignment, size);

	if (!block)
		return ENOMEM;
	*ret = block;
	return 0;
}

PUBLIC void free(void *block)
{
	find_next();
	if (!is_early(block) && next.free)
		next.free(block);
}

/* Not the last constructor that runs, but after those of the libraries that it needs. */
__attribute__((constructor)) static void begin(void)
{
	const char *at = getenv("FAIL_ALLOC_AT"), *file = getenv("FAIL_ALLOC_COUNT");

	fail_at = at ? atol(at) : 0;
	fails_on = getenv("FAIL_ALLOC_ON") != NULL;
	if (file && strlen(file) < sizeof(count_file))
		memcpy(count_file, file, strlen(file) + 1);
	is_counting = true;
}

__attribute__((destructor)) static void end(void)
{
	char text[32];
	int length, fd;

	is_counting = false;
	if (!count_file[0])
		return;
	fd = open(count_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	length = snprintf(text, sizeof(text), "%ld\n", allocations);
	if (fd < 0 || write(fd, text, (size_t)length) != length || close(fd))
		_exit(125);
}
