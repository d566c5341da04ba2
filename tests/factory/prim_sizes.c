/* SPDX-License-Identifier: MIT */
/*
 * prim_sizes: vmat_good_size() and vmat_usable_size() against the allocator that runs here, for tests/live/prim_goodsize.py, which
 * preloads one. Prints one JSON object. The allocator is asked after vmat_good_size() has answered.
 *
 *   prim_sizes sizes LIMIT COUNT   each size to LIMIT and COUNT random ones above, each block freed before the next one
 *   prim_sizes alive COUNT         random sizes, of blocks that live on for a while
 *   prim_sizes thread COUNT        the same in a second thread, which has an arena of its own
 *   prim_sizes pointers            blocks of malloc, and pointers that it never gave
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <vmatlas/prim/goodsize.h>

static struct {
	unsigned long checked, equal, larger, wrong;
	size_t first_wrong, first_usable;
	ssize_t first_good;
} sum;

static unsigned seed = 12345;

static size_t random_below(size_t limit)
{
	seed = seed * 1103515245 + 12345;
	return (size_t)((double)(seed >> 4) / (double)(1 << 28) * (double)limit);
}

/* glibc gives a free block whole when its rest were smaller than 32 bytes: then 16 more. */
static void *check(size_t size)
{
	ssize_t good = vmat_good_size(size);
	void *block = malloc(size);
	size_t usable = malloc_usable_size(block);

	sum.checked++;
	if ((ssize_t)usable == good) {
		sum.equal++;
	} else if ((ssize_t)usable == good + 16 && !strcmp(vmat_allocator(), "glibc")) {
		sum.larger++;
	} else if (!sum.wrong++) {
		sum.first_wrong = size;
		sum.first_usable = usable;
		sum.first_good = good;
	}
	return block;
}

static void print_sum(void)
{
	const char *name = vmat_allocator();

	printf("{\"allocator\": \"%s\", \"checked\": %lu, \"equal\": %lu, \"larger\": %lu, \"wrong\": %lu, "
	       "\"first_wrong\": %zu, \"first_usable\": %zu, \"first_good\": %zd}\n",
	       name ? name : "", sum.checked, sum.equal, sum.larger, sum.wrong, sum.first_wrong,
	       sum.first_usable, sum.first_good);
}

static void sizes(size_t limit, size_t count)
{
	for (size_t size = 0; size <= limit; size++)
		free(check(size));
	for (size_t i = 0; i < count; i++)
		free(check(limit + random_below((size_t)256 << 20)));
	print_sum();
}

static void alive(size_t count)
{
	static void *blocks[512];

	for (size_t i = 0; i < count; i++) {
		void **slot = &blocks[random_below(512)];

		free(*slot);
		*slot = check(random_below((size_t)1 << (4 + random_below(18))));
	}
	print_sum();
}

static void *alive_in_thread(void *count)
{
	alive(*(size_t *)count);
	return NULL;
}

static ssize_t worst(ssize_t a, ssize_t b)
{
	return a == b ? a : -9999;
}

/* What is said of pointers that are none: one number if all the same. */
static void pointers(void)
{
	static char data[4096] __attribute__((aligned(4096)));
	char stack[64] __attribute__((aligned(16))) = "";
	char *page =
		mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *none = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *wrong[] = { (void *)1,
			  (void *)16,
			  (void *)4096,
			  (void *)UINTPTR_MAX,
			  (void *)(UINTPTR_MAX - 15),
			  (void *)(1ULL << 63),
			  (void *)(1ULL << 47),
			  (void *)((1ULL << 47) - 16),
			  data,
			  data + 16,
			  stack,
			  page,
			  page + 16,
			  page + 4096,
			  none,
			  none + 16,
			  (void *)(uintptr_t)&pointers,
			  (void *)(uintptr_t)&malloc,
			  (void *)(uintptr_t) "text" };
	size_t right = 0, asked = 0;
	ssize_t strangers = (errno = 4711, vmat_usable_size(wrong[0])), inside;
	size_t inside_wrong = 0;

	memset(data, 0xff, sizeof(data));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		strangers = worst(strangers, vmat_usable_size(wrong[i]));
	if (errno != 4711)
		strangers = -9998;
	for (size_t size = 1; size < 3000000; size += 1 + size / 8) {
		char *block = malloc(size),
		     *more = aligned_alloc(4096, (size + 4095) & ~(size_t)4095);

		asked += 2;
		memset(block, 0x5a, size);
		right += vmat_usable_size(block) == (ssize_t)malloc_usable_size(block);
		right += vmat_usable_size(more) == (ssize_t)malloc_usable_size(more);
		/* What points into a block is none, or counts as that block. */
		inside = size > 64 ? vmat_usable_size(block + 32) : -EFAULT;
		inside_wrong += inside != -EFAULT && inside != (ssize_t)malloc_usable_size(block);
		free(block);
		free(more);
	}
	munmap(page, 1 << 20);
	printf("{\"allocator\": \"%s\", \"asked\": %zu, \"right\": %zu, \"strangers\": %zd, \"null\": %zd, \"gone\": %zd, "
	       "\"inside_wrong\": %zu}\n",
	       vmat_allocator(), asked, right, strangers, vmat_usable_size(NULL),
	       vmat_usable_size(page), inside_wrong);
}

int main(int argc, char **argv)
{
	size_t count = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	pthread_t thread;

	/* malloc has run before it is asked about. */
	free(malloc(1));
	if (argc == 4 && !strcmp(argv[1], "sizes"))
		sizes(strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
	else if (argc == 3 && !strcmp(argv[1], "alive"))
		alive(strtoul(argv[2], NULL, 10));
	else if (argc == 3 && !strcmp(argv[1], "thread") &&
		 !pthread_create(&thread, NULL, alive_in_thread, &count))
		pthread_join(thread, NULL);
	else if (argc == 2 && !strcmp(argv[1], "pointers"))
		pointers();
	else
		return 2;
	return 0;
}
