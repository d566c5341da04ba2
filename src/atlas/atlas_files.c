/* SPDX-License-Identifier: MIT */
/*
 * atlas_files.c: what the kernel's names and the ELF headers of mapped files say about regions.
 *
 * The ELF header is read out of the target's own memory where its page is present, which it nearly always
 * is: that cannot hang, and it is the file that runs, even when another has its name by now. Else the file
 * is opened, if it is still the same. Else the rights of its mappings must do.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <vmatlas/elf.h>

#include "atlas/atlas_priv.h"
#include "base/cleanup.h"

enum { PAGE_SIZE = 4096, SEGMENTS_NEAR = 8 };

/* A program or library as it lies in memory. */
struct image {
	struct vmat_elf elf;
	bool is_valid;
	bool is_unread; /* its header cannot be read, but code is mapped from it */
	uint64_t bias;
	uint64_t end;
	uint64_t inode;
	const char *path;
	const char *owner;
};

struct memory_file {
	struct vmat_target *target;
	uint64_t base;
	uint64_t size;
};

static int read_memory_file(void *context, uint64_t offset, void *buffer, size_t size)
{
	const struct memory_file *file = context;

	if (offset > file->size || size > file->size - offset)
		return -ENODATA;
	return vmat_source_read(file->target, file->base + offset, buffer, size) == (ssize_t)size
		       ? 0
		       : -ENODATA;
}

/* Returns -ENODATA when nothing of the file could be read. */
static int read_elf(struct vmat_atlas *atlas, const struct vmat_region *region,
		    struct vmat_elf *elf)
{
	struct memory_file file = { atlas->priv->target, region->start, vmat_region_size(region) };
	vmat_autoclose int fd = -1;
	int err = -ENODATA;

	if (region->prot & VMAT_PROT_READ && region->first_present_addr == region->start)
		err = vmat_elf_read(elf, read_memory_file, &file, NULL);
	if (err != -ENODATA)
		return err;
	fd = vmat_source_open_file(atlas->priv->target, region->name, region->dev_major,
				   region->dev_minor, region->inode);
	return fd < 0 ? -ENODATA : vmat_elf_read(elf, vmat_elf_read_fd, &fd, NULL);
}

static uint64_t page_down(uint64_t addr)
{
	return addr & ~(uint64_t)(PAGE_SIZE - 1);
}

static uint64_t page_up(uint64_t addr)
{
	return page_down(addr + PAGE_SIZE - 1);
}

/* The base name, with a mark when the file is gone. */
static const char *owner_of_path(struct vmat_atlas *atlas, const struct vmat_region *region)
{
	const char *slash = strrchr(region->name, '/');
	const char *base = slash ? slash + 1 : region->name;

	if (!region->is_deleted)
		return base;
	return vmat_strings_printf(&atlas->priv->strings, "%s (deleted)", base);
}

/* The load segment that a region maps a part of, by its offset in the file. */
static const struct vmat_segment *find_segment(const struct image *image,
					       const struct vmat_region *region)
{
	for (size_t i = 0; i < image->elf.segments_count; i++) {
		const struct vmat_segment *segment = &image->elf.segments[i];
		uint64_t start = page_down(segment->addr) + image->bias;

		if (segment->type == VMAT_SEGMENT_LOAD && region->start >= start &&
		    region->start < page_up(segment->addr + segment->mem_size) + image->bias &&
		    region->start - start == region->offset - page_down(segment->offset))
			return segment;
	}
	return NULL;
}

/* Is code mapped from the file that begins here? Its segments follow each other closely. */
static bool has_code(const struct vmat_map *map, const struct vmat_region *region)
{
	const struct vmat_region *end = map->regions + map->count;

	for (const struct vmat_region *r = region; r < end && r < region + SEGMENTS_NEAR; r++)
		if (r->prot & VMAT_PROT_EXEC && r->inode == region->inode &&
		    strcmp(r->name, region->name) == 0)
			return true;
	return false;
}

/* A new image begins at a mapping of the beginning of a file. */
static void begin_image(struct vmat_atlas *atlas, struct image *image,
			const struct vmat_region *region)
{
	int err = read_elf(atlas, region, &image->elf);

	image->is_valid = false;
	image->is_unread = err == -ENODATA && has_code(atlas->map, region);
	image->inode = region->inode;
	image->path = region->name;
	image->owner = owner_of_path(atlas, region);
	if (err || !image->elf.load_addr_max)
		return;
	for (size_t i = 0; i < image->elf.segments_count && !image->is_valid; i++) {
		const struct vmat_segment *segment = &image->elf.segments[i];

		if (segment->type == VMAT_SEGMENT_LOAD && page_down(segment->offset) == 0) {
			image->bias = region->start - page_down(segment->addr);
			image->is_valid = true;
		}
	}
	image->end = page_up(image->elf.load_addr_max) + image->bias;
}

static bool is_in_relro(const struct image *image, const struct vmat_region *region)
{
	for (size_t i = 0; i < image->elf.segments_count; i++) {
		const struct vmat_segment *segment = &image->elf.segments[i];

		if (segment->type == VMAT_SEGMENT_RELRO &&
		    region->start >= page_down(segment->addr + image->bias) &&
		    region->end <= page_up(segment->addr + segment->mem_size + image->bias))
			return true;
	}
	return false;
}

static int set_segment(struct vmat_atlas *atlas, size_t i, const struct image *image)
{
	const struct vmat_region *region = &atlas->map->regions[i];

	if (!(region->prot & (VMAT_PROT_READ | VMAT_PROT_WRITE | VMAT_PROT_EXEC)))
		return vmat_atlas_set(atlas, i, VMAT_KIND_RESERVED, image->owner,
				      "gap between the segments of its ELF file");
	if (region->prot & VMAT_PROT_EXEC)
		return vmat_atlas_set(atlas, i, VMAT_KIND_TEXT, image->owner,
				      "executable segment of its ELF file");
	if (region->prot & VMAT_PROT_WRITE)
		return vmat_atlas_set(atlas, i, VMAT_KIND_DATA, image->owner,
				      "writable segment of its ELF file");
	if (is_in_relro(image, region))
		return vmat_atlas_set(atlas, i, VMAT_KIND_RELRO, image->owner,
				      "PT_GNU_RELRO of its ELF file");
	return vmat_atlas_set(atlas, i, VMAT_KIND_RODATA, image->owner,
			      "read-only segment of its ELF file");
}

/* A segment of a program whose header cannot be read: what its rights tell. */
static int set_by_rights(struct vmat_atlas *atlas, size_t i, const struct image *image)
{
	uint8_t prot = atlas->map->regions[i].prot;

	if (prot & VMAT_PROT_EXEC)
		return vmat_atlas_set(atlas, i, VMAT_KIND_TEXT, image->owner,
				      "executable; its ELF header cannot be read");
	if (prot & VMAT_PROT_WRITE)
		return vmat_atlas_set(
			atlas, i, VMAT_KIND_DATA, image->owner,
			"writable, of a file with code; its ELF header cannot be read");
	return vmat_atlas_set(atlas, i, VMAT_KIND_RODATA, image->owner,
			      "read-only, of a file with code; its ELF header cannot be read");
}

/* Anonymous memory within an image: what a segment has in memory and not in the file. */
static int set_within_image(struct vmat_atlas *atlas, size_t i, const struct image *image)
{
	const struct vmat_region *region = &atlas->map->regions[i];

	for (size_t k = 0; k < image->elf.segments_count; k++) {
		const struct vmat_segment *segment = &image->elf.segments[k];
		uint64_t file_end = segment->addr + segment->file_size + image->bias;
		uint64_t end = segment->addr + segment->mem_size + image->bias;

		if (segment->type != VMAT_SEGMENT_LOAD || segment->mem_size <= segment->file_size)
			continue;
		if (region->start < page_down(file_end) || region->start >= page_up(end))
			continue;
		if (region->end <= page_up(end)) {
			if (is_in_relro(image, region) && !(region->prot & VMAT_PROT_WRITE))
				return vmat_atlas_set(atlas, i, VMAT_KIND_RELRO, image->owner,
						      "PT_GNU_RELRO of its ELF file");
			return vmat_atlas_set(atlas, i, VMAT_KIND_BSS, image->owner,
					      "memory size of its ELF segment beyond the file's");
		}
		/* Merged with what was mapped right behind it. */
		return vmat_atlas_claim(
			atlas, &(struct vmat_part){
				       .start = region->start,
				       .end = page_up(end),
				       .kind = VMAT_KIND_BSS,
				       .owner = image->owner,
				       .why = "memory size of its ELF segment beyond the file's",
				       .tid = VMAT_UNKNOWN(VMAT_NOT_APPLICABLE),
			       });
	}
	return 0;
}

static int set_file(struct vmat_atlas *atlas, size_t i, struct image *image)
{
	const struct vmat_region *region = &atlas->map->regions[i];
	bool continues = image->is_valid && region->start < image->end &&
			 region->inode == image->inode && strcmp(region->name, image->path) == 0;

	if (!continues && region->offset == 0) {
		begin_image(atlas, image, region);
		continues = image->is_valid;
	}
	if (continues && find_segment(image, region))
		return set_segment(atlas, i, image);
	if (image->is_unread && region->inode == image->inode &&
	    strcmp(region->name, image->path) == 0)
		return set_by_rights(atlas, i, image);
	return vmat_atlas_set(atlas, i, VMAT_KIND_FILE, owner_of_path(atlas, region),
			      region->backing == VMAT_BACKING_DEVICE
				      ? "maps: a character device"
				      : "maps: a file that is not mapped as a program");
}

static const char *owner_of_shm(struct vmat_atlas *atlas, const struct vmat_region *region)
{
	if (strncmp(region->name, "/SYSV", 5) == 0)
		return vmat_strings_printf(&atlas->priv->strings, "System V key 0x%.8s",
					   region->name + 5);
	if (strcmp(region->name, "/dev/zero") == 0)
		return "shared anonymous memory";
	if (region->name[0] == '[') {
		const char *colon = strchr(region->name, ':');

		return vmat_strings_printf(&atlas->priv->strings, "\"%.*s\"",
					   colon ? (int)strcspn(colon + 1, "]") : 0,
					   colon ? colon + 1 : "");
	}
	return owner_of_path(atlas, region);
}

static int set_memory_file(struct vmat_atlas *atlas, size_t i)
{
	const struct vmat_region *region = &atlas->map->regions[i];
	const char *name = region->name;

	if (region->backing == VMAT_BACKING_MEMFD)
		return vmat_atlas_set(atlas, i, VMAT_KIND_MEMFD,
				      strlen(name) > 7 ? name + 7 : "memfd without a name",
				      "maps: memfd on the kernel's own tmpfs");
	if (region->backing == VMAT_BACKING_HUGETLB)
		return vmat_atlas_set(atlas, i, VMAT_KIND_HUGETLB,
				      strcmp(name, "/anon_hugepage") == 0
					      ? "anonymous huge pages"
					      : owner_of_path(atlas, region),
				      "maps: a file system of huge pages");
	return vmat_atlas_set(atlas, i, VMAT_KIND_SHM, owner_of_shm(atlas, region),
			      "maps: a file system in memory");
}

static int set_kernel(struct vmat_atlas *atlas, size_t i)
{
	const char *name = atlas->map->regions[i].name;

	if (strcmp(name, "[vdso]") == 0)
		return vmat_atlas_set(atlas, i, VMAT_KIND_VDSO, "kernel", "maps: [vdso]");
	return vmat_atlas_set(atlas, i, VMAT_KIND_KERNEL, "kernel",
			      vmat_strings_printf(&atlas->priv->strings, "maps: %s", name));
}

static int set_region(struct vmat_atlas *atlas, size_t i, struct image *image)
{
	const struct vmat_region *region = &atlas->map->regions[i];

	switch ((enum vmat_backing)region->backing) {
	case VMAT_BACKING_KERNEL:
		return set_kernel(atlas, i);
	case VMAT_BACKING_FILE:
	case VMAT_BACKING_DEVICE:
		return set_file(atlas, i, image);
	case VMAT_BACKING_SHMEM:
		/* A program may lie on a file system in memory too. */
		if (region->name[0] == '/' && region->offset == 0 &&
		    !(region->prot & VMAT_PROT_SHARED))
			begin_image(atlas, image, region);
		if (image->is_valid && region->inode == image->inode && find_segment(image, region))
			return set_segment(atlas, i, image);
		return set_memory_file(atlas, i);
	case VMAT_BACKING_MEMFD:
	case VMAT_BACKING_HUGETLB:
		return set_memory_file(atlas, i);
	case VMAT_BACKING_ANON:
		break;
	}
	if (strncmp(region->name, "[heap", 5) == 0)
		return vmat_atlas_set(atlas, i, VMAT_KIND_HEAP, "brk heap", "maps: [heap]");
	if (image->is_valid && region->start < image->end)
		return set_within_image(atlas, i, image);
	return 0;
}

int vmat_atlas_add_files(struct vmat_atlas *atlas)
{
	struct image image = { 0 };

	for (size_t i = 0; i < atlas->map->count; i++) {
		int err = set_region(atlas, i, &image);

		if (err)
			return err;
	}
	return 0;
}
