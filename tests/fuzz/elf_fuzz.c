/* SPDX-License-Identifier: MIT */
/*
 * The input is an ELF file: whatever it holds, the reader ends, and reads nothing but the file. The first
 * byte that is no part of a real file's identification (the ABI version) makes one page absent.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/elf.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct image {
	const uint8_t *bytes;
	size_t size;
	uint64_t absent; /* the page that cannot be read */
	size_t reads;
};

static int read_image(void *context, uint64_t offset, void *buffer, size_t size)
{
	struct image *image = context;

	/* More than the passes over all tables of a file of this size can need. */
	if (++image->reads > 1000000)
		abort();
	if (offset > image->size || size > image->size - offset)
		return -ENOEXEC;
	if (offset < image->absent + 4096 && offset + size > image->absent)
		return -ENODATA;
	memcpy(buffer, image->bytes + offset, size);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "first", "second", "_thread_db_pthread_list", "" };
	struct image image = { data, size, UINT64_MAX - 4096, 0 };
	struct vmat_symbol symbols[4];
	struct vmat_error err;
	struct vmat_elf elf;

	if (size > 8 && data[8])
		image.absent = (uint64_t)data[8] * 4096;
	if (vmat_elf_read(&elf, read_image, &image, &err) < 0)
		return 0;
	if (elf.segments_count > VMAT_ELF_SEGMENTS_MAX ||
	    elf.build_id_size > sizeof(elf.build_id) ||
	    strnlen(elf.soname, sizeof(elf.soname)) == sizeof(elf.soname))
		abort();
	for (size_t i = 0; i < elf.segments_count; i++) {
		uint64_t offset;

		(void)vmat_elf_offset(&elf, elf.segments[i].addr, elf.segments[i].file_size,
				      &offset);
	}
	(void)vmat_elf_symbols(&elf, read_image, &image, names, 4, symbols, &err);
	elf.dynamic_bias = 0x7f0000000000;
	(void)vmat_elf_symbols(&elf, read_image, &image, names, 4, symbols, &err);
	(void)vmat_elf_symbols_full(&elf, read_image, &image, names, 4, symbols, &err);
	return 0;
}
