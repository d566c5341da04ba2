/* SPDX-License-Identifier: MIT */
/*
 * core_image.c: the ELF files that a core's process had mapped: who they are, and the rights of their segments.
 *
 * Kernel and gdb keep the first page of a mapped ELF file, which has its headers and mostly its build id. With it the file
 * of today is known to be the one of then, and what the core left out of it is as good as dumped. Where
 * the core does not hold the id, no file is believed.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sys/sys_file.h"
#include "target/core.h"
#include "target/device.h"

enum { PAGE_SIZE = 4096, NOTE_MAX = 4096, HEADERS_MAX = 64 };

static uint64_t page_down(uint64_t addr)
{
	return addr & ~(uint64_t)(PAGE_SIZE - 1);
}

/* Gives all bytes or a negative errno. */
typedef int image_read_fn(void *context, void *buffer, size_t size, uint64_t offset);

struct image_source {
	image_read_fn *read;
	void *context;
};

/* Looks for NT_GNU_BUILD_ID in a note segment. */
static void find_build_id(struct vmat_core_image *image, const struct image_source *source,
			  const Elf64_Phdr *phdr)
{
	_Alignas(8) unsigned char notes[NOTE_MAX];
	uint64_t size = phdr->p_filesz < NOTE_MAX ? phdr->p_filesz : NOTE_MAX, at = 0;

	if (image->build_id_size || source->read(source->context, notes, size, phdr->p_offset))
		return;
	while (size - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr note;
		uint64_t desc, next;

		memcpy(&note, notes + at, sizeof(note));
		desc = at + sizeof(note) + (((uint64_t)note.n_namesz + 3) & ~UINT64_C(3));
		next = desc + (((uint64_t)note.n_descsz + 3) & ~UINT64_C(3));
		if (next > size)
			return;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
		    note.n_descsz <= sizeof(image->build_id) &&
		    memcmp(notes + at + sizeof(note), "GNU", 4) == 0) {
			memcpy(image->build_id, notes + desc, note.n_descsz);
			image->build_id_size = note.n_descsz;
			return;
		}
		at = next;
	}
}

static void add_segment(struct vmat_core_image *image, const Elf64_Phdr *phdr)
{
	size_t i = image->segments_count;

	if (i == sizeof(image->segments) / sizeof(image->segments[0]) || phdr->p_offset >> 62 ||
	    phdr->p_filesz >> 62)
		return;
	image->segments[i].start = page_down(phdr->p_offset);
	image->segments[i].end = page_down(phdr->p_offset + phdr->p_filesz + PAGE_SIZE - 1);
	image->segments[i].flags = phdr->p_flags & 7;
	image->segments_count++;
}

static void read_image(struct vmat_core_image *image, const struct image_source *source)
{
	Elf64_Ehdr header;
	bool is_wide;

	*image = (struct vmat_core_image){ 0 };
	if (source->read(source->context, &header, sizeof(header), 0) ||
	    memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_DATA] != ELFDATA2LSB)
		return;
	is_wide = header.e_ident[EI_CLASS] == ELFCLASS64;
	if (!is_wide) {
		Elf32_Ehdr narrow;

		memcpy(&narrow, &header, sizeof(narrow));
		header.e_phoff = narrow.e_phoff;
		header.e_phentsize = narrow.e_phentsize;
		header.e_phnum = narrow.e_phnum;
	}
	for (unsigned i = 0; i < header.e_phnum && i < HEADERS_MAX; i++) {
		uint64_t offset = header.e_phoff + (uint64_t)i * header.e_phentsize;
		Elf64_Phdr phdr;
		Elf32_Phdr narrow;
		int err = source->read(source->context, is_wide ? (void *)&phdr : (void *)&narrow,
				       is_wide ? sizeof(phdr) : sizeof(narrow), offset);

		if (err)
			return;
		if (!is_wide)
			phdr = (Elf64_Phdr){ .p_type = narrow.p_type,
					     .p_flags = narrow.p_flags,
					     .p_offset = narrow.p_offset,
					     .p_filesz = narrow.p_filesz };
		if (phdr.p_type == PT_LOAD)
			add_segment(image, &phdr);
		else if (phdr.p_type == PT_NOTE)
			find_build_id(image, source, &phdr);
	}
}

struct memory_image {
	struct vmat_target *target;
	const struct vmat_core_mapping *mapping; /* of offset 0 */
};

static int read_memory_image(void *context, void *buffer, size_t size, uint64_t offset)
{
	const struct memory_image *image = context;
	struct vmat_target *target = image->target;
	uint64_t addr = image->mapping->start + offset, length;
	size_t i = vmat_core_load_find(&target->core->file, addr);
	const struct vmat_core_load *load = &target->core->file.loads[i];

	length = image->mapping->end - image->mapping->start;
	if (offset > length || size > length - offset)
		return -ENODATA;
	/* Only what the core holds itself: a file that says who it is would prove nothing. */
	if (i == target->core->file.loads_count || load->start > addr || addr >= load->held ||
	    size > load->held - addr)
		return -ENODATA;
	return vmat_core_file_pread(&target->core->file, buffer, size,
				    load->offset + (addr - load->start));
}

static int read_file_image(void *context, void *buffer, size_t size, uint64_t offset)
{
	char *bytes = buffer;

	while (size) {
		ssize_t got = vmat_sys_pread(*(int *)context, bytes, size, offset);

		if (got <= 0)
			return got < 0 ? (int)got : -ENODATA;
		bytes += got;
		offset += (uint64_t)got;
		size -= (size_t)got;
	}
	return 0;
}

const struct vmat_core_image *vmat_core_image_of(struct vmat_target *target, uint32_t number)
{
	const struct vmat_core_file *core = &target->core->file;
	struct vmat_core_image_file *file;

	if (!number || number > target->core->files_count)
		return NULL;
	file = &target->core->files[number - 1];
	for (size_t i = 0; i < core->mappings_count && !file->is_image_read; i++) {
		struct memory_image image = { target, &core->mappings[i] };
		struct image_source source = { read_memory_image, &image };

		if (core->mappings[i].file != number || core->mappings[i].offset)
			continue;
		read_image(&file->image, &source);
		file->is_image_read = true;
	}
	file->is_image_read = true;
	return &file->image;
}

int vmat_core_open_same(struct vmat_target *target, const char *path,
			const struct vmat_core_image *wanted)
{
	vmat_autoclose int fd = -1;
	struct image_source source = { read_file_image, &fd };
	struct vmat_core_image found;
	struct stat stat;

	if (path[0] != '/' || !wanted || !wanted->build_id_size)
		return -ESTALE;
	if (vmat_device_may_hang(target, path, 0, 0))
		return -EOPNOTSUPP;
	fd = vmat_sys_open_at(AT_FDCWD, path, 0);
	if (fd < 0)
		return fd;
	if (vmat_sys_fstat(fd, &stat) || !S_ISREG(stat.st_mode))
		return -ESTALE;
	read_image(&found, &source);
	if (found.build_id_size != wanted->build_id_size ||
	    memcmp(found.build_id, wanted->build_id, found.build_id_size) != 0)
		return -ESTALE;
	return vmat_take_fd(&fd);
}

int vmat_core_mapped_fd(struct vmat_target *target, const struct vmat_core_mapping *mapping)
{
	struct vmat_core *core = target->core;
	struct vmat_core_image_file *file = &core->files[mapping->file - 1];

	if (file->fd == VMAT_FD_NOT_OPENED)
		file->fd = vmat_core_open_same(target, core->file.paths.data + mapping->path,
					       vmat_core_image_of(target, mapping->file));
	return file->fd;
}
