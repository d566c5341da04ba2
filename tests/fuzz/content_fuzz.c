/* SPDX-License-Identifier: MIT */
/*
 * What blocks hold, in a hostile memory: tables of classes and type_infos that lie, cross pages, and lead nowhere.
 *
 * A library at 0x10000 has code, a table of a class with its type_info and name, and those of the type_info itself; the heap
 * at 0x20000 begins with an object of that class. The input is a list of changes, 11 bytes each: an offset (three bytes)
 * and eight bytes to put there.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "reach/content.h"
#include "target/target_ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	CODE = 0x10000,
	TABLES = 0x12000,
	HEAP = 0x14000,
	END = 0x16000,
	TABLE = TABLES + 0x110,
	INFO = TABLES + 0x200,
	INFO_TABLE = TABLES + 0x310,
	NAME = TABLES + 0x400,
};

static uint8_t memory[END - CODE];

static void put(uint64_t addr, uint64_t word)
{
	memcpy(memory + (addr - CODE), &word, sizeof(word));
}

/* The last page of the tables is absent. */
static ssize_t read_memory(struct vmat_target *target, uint64_t addr, void *buffer, size_t size)
{
	uint64_t end = addr < HEAP ? HEAP - 4096 : END;

	(void)target;
	if (addr < CODE || addr >= end)
		return 0;
	if (size > end - addr)
		size = (size_t)(end - addr);
	memcpy(buffer, memory + (addr - CODE), size);
	return (ssize_t)size;
}

static int open_file(struct vmat_target *target, const char *path, uint32_t dev_major,
		     uint32_t dev_minor, uint64_t inode)
{
	(void)target;
	(void)path;
	(void)dev_major;
	(void)dev_minor;
	(void)inode;
	return -ENOENT;
}

static void build(void)
{
	memset(memory, 0, sizeof(memory));
	put(TABLE - 8, INFO);
	put(TABLE, CODE + 0x100);
	put(INFO, INFO_TABLE);
	put(INFO + 8, NAME);
	put(INFO_TABLE, CODE + 0x200);
	memcpy(memory + (NAME - CODE), "N4shop4ItemE", 13);
	put(HEAP, TABLE);
	put(HEAP + 64, 3);
	put(HEAP + 72, TABLE);
	memcpy(memory + (HEAP + 128 - CODE), "some text", 10);
}

static void look(struct vmat_contents *contents, bool is_untouched)
{
	uint32_t classes[(END - HEAP) / 16];
	struct vmat_content content;

	for (uint64_t addr = HEAP; addr < END; addr += 16) {
		vmat_contents_look(contents, addr, 48, &content, &classes[(addr - HEAP) / 16]);
		if (!content.type ||
		    strnlen(content.preview, sizeof(content.preview)) == sizeof(content.preview))
			abort();
	}
	if (vmat_contents_name(contents) && vmat_contents_name(contents) != -ENOMEM)
		abort();
	if (is_untouched &&
	    (strcmp(vmat_contents_class(contents, classes[0]), "N4shop4ItemE") != 0 ||
	     strcmp(vmat_contents_class(contents, classes[4]), "N4shop4ItemE[]") != 0))
		abort();
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		const char *type = vmat_contents_class(contents, classes[i]);

		/* No child parses here, so names are as memory has them, an array's with its sign. */
		if (type && !vmat_content_is_type_name(type, strcspn(type, "[") + 1) &&
		    type[strcspn(type, "[")] != '[')
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmat_region regions[] = {
		{ .start = CODE,
		  .end = TABLES,
		  .prot = VMAT_PROT_READ | VMAT_PROT_EXEC,
		  .backing = VMAT_BACKING_FILE,
		  .inode = 7,
		  .name = "/lib/libshop.so" },
		{ .start = TABLES,
		  .end = HEAP,
		  .offset = TABLES - CODE,
		  .prot = VMAT_PROT_READ,
		  .backing = VMAT_BACKING_FILE,
		  .inode = 7,
		  .name = "/lib/libshop.so" },
		{ .start = HEAP,
		  .end = END,
		  .prot = VMAT_PROT_READ | VMAT_PROT_WRITE,
		  .backing = VMAT_BACKING_ANON,
		  .name = "[heap]" },
	};
	struct vmat_map map = { .regions = regions, .count = 3, .base_page_size = 4096 };
	const struct vmat_target_ops ops = { .read = read_memory, .open_file = open_file };
	struct vmat_target target = { .ops = &ops };
	struct vmat_strings strings = { 0 };
	const bool is_untouched = size == 0;
	struct vmat_contents *contents;

	setenv("VMAT_WITHOUT", "seccomp", 1);
	build();
	for (; size >= 11; data += 11, size -= 11) {
		size_t at = (data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16) %
			    (sizeof(memory) - 8);

		memcpy(memory + at, data + 3, 8);
	}
	contents = vmat_contents_new(&target, &map, HEAP, END, &strings);
	if (contents)
		look(contents, is_untouched);
	vmat_contents_free(contents);
	vmat_strings_deinit(&strings);
	return 0;
}
