/* SPDX-License-Identifier: MIT */
/*
 * The walk of glibc's lists, in a memory made by hand: layouts that no glibc has yet, nodes that are
 * absent, lists that change while they are read.
 */
#include "stack/stack_lists.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off: it needs the types of the headers above */
#include <cmocka.h>

/* clang-format on */

enum {
	PAGE = 4096,
	HEADS = 0x1000,   /* address of the list heads */
	STACKS = 0x10000, /* of the first stack */
	STACK_SIZE = 8 * PAGE,
	THREADS_MAX = 64,
	MEMORY_SIZE = STACKS + THREADS_MAX * STACK_SIZE
};

/* Where a made-up glibc keeps its fields. */
struct shape {
	unsigned word_size;
	uint32_t pthread_size, list, tid, block;
};

static const struct shape shapes[] = {
	{ 8, 0x900, 0x2c0, 0x2d0, 0x690 }, /* glibc 2.36 on x86-64 */
	{ 4, 0x480, 0x160, 0x168, 0x348 }, { 8, 0x600, 0x30, 0x20, 0x48 },
	{ 8, 0x600, 0x100, 0x5fc, 0x5e0 }, { 4, 0x200, 0x10, 0x8, 0x1f4 },
};

static struct {
	struct shape shape;
	unsigned char bytes[MEMORY_SIZE];
	uint64_t absent; /* page */
	uint64_t nodes[VMAT_STACK_LISTS][THREADS_MAX];
	size_t counts[VMAT_STACK_LISTS];
	size_t threads;
	unsigned reads;
	void (*change)(unsigned read); /* called before each read */
} fake;

static void put(uint64_t addr, uint64_t value)
{
	memcpy(fake.bytes + addr, &value, fake.shape.word_size);
}

static ssize_t read_fake(void *context, uint64_t addr, void *buffer, size_t size)
{
	uint64_t end = addr + size;

	(void)context;
	if (fake.change)
		fake.change(fake.reads);
	fake.reads++;
	if (end > MEMORY_SIZE)
		end = MEMORY_SIZE;
	if (fake.absent && addr < fake.absent + PAGE && end > fake.absent)
		end = fake.absent > addr ? fake.absent : addr;
	if (end <= addr)
		return 0;
	memcpy(buffer, fake.bytes + addr, end - addr);
	return (ssize_t)(end - addr);
}

/* Links the nodes of all lists anew. */
static void link_lists(void)
{
	unsigned word = fake.shape.word_size;

	for (size_t list = 0; list < VMAT_STACK_LISTS; list++) {
		uint64_t head = HEADS + list * 2 * word, before = head;

		for (size_t i = 0; i < fake.counts[list]; i++) {
			put(before, fake.nodes[list][i]);
			put(fake.nodes[list][i] + word, before);
			before = fake.nodes[list][i];
		}
		put(before, head);
		put(head + word, before);
	}
}

/* A thread on the next stack, at the end of the list. Returns the address of its struct pthread. */
static uint64_t add_thread(enum vmat_stack_list list, int32_t tid, uint64_t guard)
{
	uint64_t block = STACKS + fake.threads++ * STACK_SIZE;
	uint64_t thread = (block + STACK_SIZE - fake.shape.pthread_size) & ~UINT64_C(63);
	unsigned word = fake.shape.word_size;

	memcpy(fake.bytes + thread + fake.shape.tid, &tid, sizeof(tid));
	put(thread + fake.shape.block, block);
	put(thread + fake.shape.block + word, STACK_SIZE);
	put(thread + fake.shape.block + 2 * word, guard);
	fake.nodes[list][fake.counts[list]++] = thread + fake.shape.list;
	return thread;
}

/* The main thread: no block, and the end of its stack instead of a size. */
static uint64_t add_main(int32_t tid)
{
	uint64_t thread = add_thread(VMAT_STACK_LIST_USER, tid, 0);

	put(thread + fake.shape.block, 0);
	put(thread + fake.shape.block + fake.shape.word_size, STACKS + 0x123);
	return thread;
}

static void begin(const struct shape *shape)
{
	memset(&fake, 0, sizeof(fake));
	fake.shape = *shape;
}

static struct vmat_stack_layout layout_of(bool knows_cache)
{
	unsigned word = fake.shape.word_size;

	return (struct vmat_stack_layout){
		.word_size = word,
		.pthread_size = fake.shape.pthread_size,
		.list_offset = fake.shape.list,
		.tid_offset = fake.shape.tid,
		.heads = { HEADS, HEADS + 2 * word, knows_cache ? HEADS + 4 * word : 0 },
	};
}

static struct vmat_stack_lists walk(bool knows_cache, size_t limit)
{
	struct vmat_region region = { .start = HEADS,
				      .end = MEMORY_SIZE,
				      .prot = VMAT_PROT_READ | VMAT_PROT_WRITE };
	struct vmat_map map = { .regions = &region, .count = 1, .base_page_size = PAGE };
	struct vmat_stack_layout layout = layout_of(knows_cache);
	struct vmat_stack_lists lists = { 0 };

	link_lists();
	assert_int_equal(vmat_stack_lists_read(&lists, &layout, &map, read_fake, NULL, limit), 0);
	return lists;
}

static size_t count(const struct vmat_stack_lists *lists, enum vmat_stack_list list)
{
	size_t n = 0;

	for (size_t i = 0; i < lists->count; i++)
		n += lists->entries[i].list == list;
	return n;
}

static void test_any_layout(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct vmat_stack_lists lists;
		uint64_t thread, main_thread;

		begin(&shapes[i]);
		main_thread = add_main(100);
		thread = add_thread(VMAT_STACK_LIST_USED, 101, PAGE);
		add_thread(VMAT_STACK_LIST_USED, 102, 0);
		add_thread(VMAT_STACK_LIST_USER, 103, 0);
		add_thread(VMAT_STACK_LIST_CACHE, -1, PAGE);
		lists = walk(false, 100);
		assert_false(lists.is_partial);
		assert_int_equal(lists.count, 5);
		assert_int_equal(lists.block_offset, shapes[i].block);
		assert_int_equal(count(&lists, VMAT_STACK_LIST_USED), 2);
		assert_int_equal(count(&lists, VMAT_STACK_LIST_CACHE), 1);
		assert_int_equal(lists.entries[0].thread_addr, main_thread);
		assert_false(lists.entries[0].has_block);
		assert_int_equal(lists.entries[0].tid, 100);
		assert_int_equal(lists.entries[1].thread_addr, thread);
		assert_true(lists.entries[1].has_block);
		assert_int_equal(lists.entries[1].tid, 101);
		assert_int_equal(lists.entries[1].block, STACKS + STACK_SIZE);
		assert_int_equal(lists.entries[1].size, STACK_SIZE);
		assert_int_equal(lists.entries[1].guard, PAGE);
		vmat_stack_lists_deinit(&lists);
	}
}

/* Three words that could be the block of a thread. */
static void put_block(uint64_t addr, uint64_t thread)
{
	put(addr, thread - 2 * (uint64_t)PAGE - thread % PAGE);
	put(addr + 8, 4 * (uint64_t)PAGE);
	put(addr + 16, 0);
}

/* Where no offset holds for all threads, none is taken, and what depends on it is left out. */
static void test_no_offset(void **state)
{
	struct vmat_stack_lists lists;

	(void)state;
	begin(&shapes[0]);
	add_main(1);
	for (int32_t tid = 2; tid < 30; tid++) {
		uint64_t thread = add_thread(VMAT_STACK_LIST_USED, tid, PAGE);

		if (tid % 3 == 0)
			put(thread + fake.shape.block, 0x77);
	}
	lists = walk(false, 100);
	assert_int_equal(lists.block_offset, 0);
	assert_int_equal(lists.count, 1);
	assert_true(lists.is_partial);
	vmat_stack_lists_deinit(&lists);
}

/* Words that look like a block of some threads, but not of all. */
static void test_decoys(void **state)
{
	struct vmat_stack_lists lists;

	(void)state;
	begin(&shapes[0]);
	add_main(1);
	for (int32_t tid = 2; tid < 30; tid++) {
		uint64_t thread = add_thread(VMAT_STACK_LIST_USED, tid, PAGE);

		if (tid % 3 == 0)
			continue;
		put_block(thread + 0x400, thread);
		put_block(thread + 0x700, thread);
	}
	lists = walk(false, 100);
	assert_int_equal(lists.block_offset, shapes[0].block);
	assert_false(lists.is_partial);
	vmat_stack_lists_deinit(&lists);
}

static void test_main_alone(void **state)
{
	struct vmat_stack_lists lists;

	(void)state;
	begin(&shapes[0]);
	add_main(1);
	lists = walk(false, 100);
	assert_int_equal(lists.count, 1);
	assert_false(lists.is_partial);
	assert_false(lists.entries[0].has_block);
	assert_int_equal(lists.block_offset, 0);
	vmat_stack_lists_deinit(&lists);
}

/* The list is followed from its other end too, so that only the node that is swapped out is missing. */
static void test_absent_node(void **state)
{
	struct vmat_stack_lists lists;
	uint64_t gone = 0;

	(void)state;
	begin(&shapes[0]);
	add_main(1);
	for (int32_t tid = 2; tid < 12; tid++) {
		uint64_t thread = add_thread(VMAT_STACK_LIST_USED, tid, PAGE);

		if (tid == 5)
			gone = thread;
	}
	fake.absent = gone & ~(uint64_t)(PAGE - 1);
	lists = walk(false, 100);
	assert_int_equal(lists.count, 10);
	assert_true(lists.is_partial);
	assert_non_null(strstr(lists.partial_why, "swapped"));
	for (size_t i = 0; i < lists.count; i++)
		assert_int_not_equal(lists.entries[i].tid, 5);
	vmat_stack_lists_deinit(&lists);
}

static void test_absent_head(void **state)
{
	struct vmat_region region = { .start = HEADS, .end = MEMORY_SIZE, .prot = VMAT_PROT_WRITE };
	struct vmat_map map = { .regions = &region, .count = 1, .base_page_size = PAGE };
	struct vmat_stack_lists lists = { .count = 7 };
	struct vmat_stack_layout layout;

	(void)state;
	begin(&shapes[0]);
	layout = layout_of(true);
	fake.absent = HEADS;
	assert_int_equal(vmat_stack_lists_read(&lists, &layout, &map, read_fake, NULL, 10),
			 -ENOENT);
	layout.word_size = 3;
	assert_int_equal(vmat_stack_lists_read(&lists, &layout, &map, read_fake, NULL, 10),
			 -EINVAL);
	assert_int_equal(lists.count, 7); /* untouched */
}

/* While the used list is walked for the first time, its third node moves to the cache. */
static void move_to_cache(unsigned read)
{
	if (read != 3) /* just before the walk comes to it */
		return;
	fake.nodes[VMAT_STACK_LIST_CACHE][fake.counts[VMAT_STACK_LIST_CACHE]++] =
		fake.nodes[VMAT_STACK_LIST_USED][2];
	memmove(&fake.nodes[VMAT_STACK_LIST_USED][2], &fake.nodes[VMAT_STACK_LIST_USED][3],
		7 * sizeof(uint64_t));
	fake.counts[VMAT_STACK_LIST_USED]--;
	link_lists();
}

static void test_moved_node(void **state)
{
	struct vmat_stack_lists lists;

	(void)state;
	begin(&shapes[0]);
	add_main(1);
	for (int32_t tid = 2; tid < 12; tid++)
		add_thread(VMAT_STACK_LIST_USED, tid, PAGE);
	fake.change = move_to_cache;
	lists = walk(true, 100);
	assert_int_equal(lists.count, 11);
	assert_false(lists.is_partial); /* the second walk saw it all */
	assert_int_equal(count(&lists, VMAT_STACK_LIST_USED), 9);
	assert_int_equal(count(&lists, VMAT_STACK_LIST_CACHE), 1);
	vmat_stack_lists_deinit(&lists);
}

/* A list that never comes back to its head. */
static void test_loop(void **state)
{
	struct vmat_stack_lists lists;

	(void)state;
	begin(&shapes[0]);
	add_main(1);
	for (int32_t tid = 2; tid < 12; tid++)
		add_thread(VMAT_STACK_LIST_USED, tid, PAGE);
	lists = walk(true, 8);
	assert_true(lists.is_partial);
	assert_true(lists.count <= 8);
	assert_non_null(strstr(lists.partial_why, "longer"));
	vmat_stack_lists_deinit(&lists);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_layout),  cmocka_unit_test(test_decoys),
		cmocka_unit_test(test_no_offset),   cmocka_unit_test(test_main_alone),
		cmocka_unit_test(test_absent_node), cmocka_unit_test(test_absent_head),
		cmocka_unit_test(test_moved_node),  cmocka_unit_test(test_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
