/* SPDX-License-Identifier: MIT */
#include "map/mapped_elf.h"

#include <errno.h>
#include <unistd.h>

#include "target/target_source.h"

enum { REGIONS_MAX = 64 /* of one file that are looked at */ };

static bool is_same_file(const struct vmat_region *a, const struct vmat_region *b)
{
	return a->inode == b->inode && a->dev_major == b->dev_major && a->dev_minor == b->dev_minor;
}

/* A vmat_elf_read_fn over the pages of the file that the process has in memory. */
static int read_mapped(void *context, uint64_t offset, void *buffer, size_t size)
{
	const struct vmat_mapped_elf *file = context;
	const struct vmat_region *first = &file->map->regions[file->region];
	size_t stop = file->region + REGIONS_MAX;
	char *bytes = buffer;

	for (size_t i = file->region; size && i < file->map->count && i < stop; i++) {
		const struct vmat_region *region = &file->map->regions[i];
		uint64_t skip = offset - region->offset, length = vmat_region_size(region);
		size_t now;

		if (!is_same_file(region, first) || offset < region->offset || skip >= length)
			continue;
		now = size < length - skip ? size : (size_t)(length - skip);
		if (vmat_source_read(file->target, region->start + skip, bytes, now) !=
		    (ssize_t)now)
			return -ENODATA;
		bytes += now;
		offset += now;
		size -= now;
	}
	return size ? -ENODATA : 0;
}

vmat_elf_read_fn *vmat_mapped_elf_reader(const struct vmat_mapped_elf *file)
{
	return file->fd < 0 ? read_mapped : vmat_elf_read_fd;
}

void *vmat_mapped_elf_context(struct vmat_mapped_elf *file)
{
	return file->fd < 0 ? (void *)file : (void *)&file->fd;
}

void vmat_mapped_elf_close(struct vmat_mapped_elf *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}

int vmat_mapped_elf_open(struct vmat_mapped_elf *ret, struct vmat_target *target,
			 const struct vmat_map *map, size_t region)
{
	const struct vmat_region *first = &map->regions[region];
	int err;

	*ret = (struct vmat_mapped_elf){ .target = target, .map = map, .region = region };
	/* A file that was replaced since, or may hang, is not opened; its pages are as good. */
	ret->fd = vmat_source_open_file(target, first->name, first->dev_major, first->dev_minor,
					first->inode);
	err = vmat_elf_read(&ret->elf, vmat_mapped_elf_reader(ret), vmat_mapped_elf_context(ret),
			    NULL);
	for (size_t i = 0; !err && i < ret->elf.segments_count; i++) {
		const struct vmat_segment *segment = &ret->elf.segments[i];

		if (segment->type != VMAT_SEGMENT_LOAD || segment->offset >= map->base_page_size)
			continue;
		ret->bias = first->start + segment->offset - segment->addr;
		if (ret->fd < 0)
			ret->elf.dynamic_bias = ret->bias;
		return 0;
	}
	vmat_mapped_elf_close(ret);
	return err ? err : -ENOEXEC;
}
