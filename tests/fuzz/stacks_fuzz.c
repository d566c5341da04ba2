/* SPDX-License-Identifier: MIT */
/*
 * glibc's lists of stacks in a hostile memory: the walk ends, reads no more than it may, and what it
 * reports makes sense.
 *
 * The input: a header of 16 bytes, then two images of the same memory, each half of the rest, at
 * 0x10000. After some reads the second takes the place of the first: the process runs meanwhile. The
 * header: word size (odd: 4), size of struct pthread in words, offset of its list in words, of its tid in
 * half words; the offsets of the three list heads in units of 8 bytes, two bytes each, 0 for none; reads
 * before the change, two bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "stack/stack_lists.h"
#include "stack/stack_tasks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADER = 16, BASE = 0x10000, LIMIT = 64 };

struct memory {
	const uint8_t *images[2];
	size_t size; /* of each */
	unsigned change_at;
	unsigned reads;
};

static ssize_t read_memory(void *context, uint64_t addr, void *buffer, size_t size)
{
	struct memory *memory = context;
	const uint8_t *image = memory->images[memory->reads >= memory->change_at];

	/* Each of three lists: four attempts, there and back, and as many reads as nodes. */
	if (++memory->reads > 3 * 4 * 2 * (LIMIT + 8))
		abort();
	if (addr < BASE || addr - BASE >= memory->size)
		return 0;
	if (size > memory->size - (addr - BASE))
		size = memory->size - (addr - BASE);
	memcpy(buffer, image + (addr - BASE), size);
	return (ssize_t)size;
}

static void check(const struct vmat_stack_lists *lists)
{
	if (lists->count > LIMIT)
		abort();
	for (size_t i = 0; i < lists->count; i++) {
		const struct vmat_stack_entry *entry = &lists->entries[i];

		if (i && entry[-1].thread_addr >= entry->thread_addr)
			abort();
		if (entry->has_block && (entry->thread_addr < entry->block ||
					 entry->thread_addr - entry->block >= entry->size ||
					 entry->guard >= entry->size || !lists->block_offset))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Stacks of 16 KiB and more fit in here, although only the first pages are in memory. */
	struct vmat_region regions[] = {
		{ .start = BASE, .end = BASE + 0x80000, .prot = VMAT_PROT_READ | VMAT_PROT_WRITE },
		{ .start = BASE + 0x80000, .end = BASE + 0x90000, .prot = VMAT_PROT_READ },
		{ .start = BASE + 0xa0000, .end = BASE + 0xb0000, .prot = VMAT_PROT_WRITE },
	};
	struct vmat_map map = { .regions = regions, .count = 3, .base_page_size = 4096 };
	struct vmat_stack_layout layout = { 0 };
	struct vmat_stack_lists lists;
	struct memory memory;
	size_t depth;

	(void)vmat_stack_syscall_parse((const char *)data, size);
	(void)vmat_stack_nspid_parse((const char *)data, size, &depth);
	if (size < HEADER)
		return 0;
	layout.word_size = data[0] & 1 ? 4 : 8;
	layout.pthread_size = data[1] * layout.word_size;
	layout.list_offset = data[2] * layout.word_size;
	layout.tid_offset = data[3] * 2;
	for (size_t i = 0; i < VMAT_STACK_LISTS; i++) {
		uint64_t offset = (uint64_t)(data[4 + 2 * i] | data[5 + 2 * i] << 8) * 8;

		layout.heads[i] = offset ? BASE + offset : 0;
	}
	memory = (struct memory){ { data + HEADER, data + HEADER + (size - HEADER) / 2 },
				  (size - HEADER) / 2,
				  data[10] | (unsigned)data[11] << 8,
				  0 };
	if (vmat_stack_lists_read(&lists, &layout, &map, read_memory, &memory, LIMIT) < 0)
		return 0;
	check(&lists);
	vmat_stack_lists_deinit(&lists);
	return 0;
}
