/* SPDX-License-Identifier: MIT */
/*
 * name.c: from an address to a file, and to the symbol there.
 *
 * A file's image begins at a mapping of its beginning and reaches as far as its LOAD segments do, over
 * anonymous memory too (bss). The header is read from memory where it is present: it gives the build id of
 * what really runs. The symbols come from the file.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmatlas/elf.h>
#include <vmatlas/name.h>

#include "base/cleanup.h"
#include "target/target_source.h"

enum { PAGE_SIZE = 4096, REGIONS_BACK = 256 /* of one image */ };

/* A file as it is mapped. */
struct image {
	const struct vmat_region *first;
	struct vmat_elf elf;
	uint64_t bias;
	uint64_t end;
	int fd;
	int open_error;
};

struct memory_file {
	struct vmat_target *target;
	const struct vmat_region *region;
};

static int read_memory_file(void *context, uint64_t offset, void *buffer, size_t size)
{
	const struct memory_file *file = context;
	uint64_t length = vmat_region_size(file->region);

	if (offset > length || size > length - offset)
		return -ENODATA;
	return vmat_source_read(file->target, file->region->start + offset, buffer, size) ==
			       (ssize_t)size
		       ? 0
		       : -ENODATA;
}

static bool is_same_file(const struct vmat_region *a, const struct vmat_region *b)
{
	return a->inode == b->inode && a->dev_major == b->dev_major &&
	       a->dev_minor == b->dev_minor && strcmp(a->name, b->name) == 0;
}

static bool is_of_file(const struct vmat_region *region)
{
	return region->name[0] == '/' && region->inode &&
	       (region->backing == VMAT_BACKING_FILE || region->backing == VMAT_BACKING_SHMEM);
}

/* The mapping of the beginning of the file whose image may hold region `i`: the lowest of an unbroken run. */
static const struct vmat_region *first_of_image(const struct vmat_map *map, size_t i)
{
	const struct vmat_region *first = NULL, *file = NULL;

	for (size_t back = 0; back < REGIONS_BACK && back <= i; back++) {
		const struct vmat_region *region = &map->regions[i - back];

		if (!is_of_file(region)) {
			if (region->backing != VMAT_BACKING_ANON)
				break;
			continue;
		}
		if (file && !is_same_file(file, region))
			break;
		file = region;
		if (region->offset == 0)
			first = region;
	}
	return first;
}

static void open_image(struct image *image, struct vmat_target *target,
		       const struct vmat_region *first)
{
	struct memory_file file = { target, first };
	const struct vmat_elf *elf = &image->elf;
	int err;

	*image = (struct image){ .first = first, .fd = -1 };
	err = vmat_elf_read(&image->elf, read_memory_file, &file, NULL);
	image->fd = vmat_source_open_file(target, first->name, first->dev_major, first->dev_minor,
					  first->inode);
	image->open_error = image->fd < 0 ? image->fd : 0;
	if (err && image->fd >= 0)
		err = vmat_elf_read(&image->elf, vmat_elf_read_fd, &image->fd, NULL);
	for (size_t i = 0; !err && i < elf->segments_count; i++) {
		const struct vmat_segment *segment = &elf->segments[i];

		if (segment->type == VMAT_SEGMENT_LOAD && segment->offset < PAGE_SIZE) {
			image->bias = first->start - (segment->addr & ~(uint64_t)(PAGE_SIZE - 1));
			image->end = image->bias + ((elf->load_addr_max + PAGE_SIZE - 1) &
						    ~(uint64_t)(PAGE_SIZE - 1));
			return;
		}
	}
}

static void close_image(const struct image *image)
{
	vmat_cleanup_close(&image->fd);
}

/* The image among those met so far, or a new one at the end. */
static struct image *image_of(struct image *images, size_t *count, struct vmat_target *target,
			      const struct vmat_region *first)
{
	for (size_t i = 0; i < *count; i++) {
		if (images[i].first == first)
			return &images[i];
	}
	open_image(&images[*count], target, first);
	return &images[(*count)++];
}

static const char *why_closed(const struct image *image)
{
	switch (-image->open_error) {
	case EOPNOTSUPP:
		return "its file system may hang: the file is not opened";
	case EACCES:
	case EPERM:
		return "the file cannot be opened: not permitted";
	default:
		return image->first->is_deleted ? "the file is deleted"
						: "the file that is mapped is not there any more";
	}
}

/* Asks for all names of one image at once. */
static int ask_image(struct vmat_target *target, struct image *image, struct vmat_name *names,
		     const size_t *images_of, size_t index, size_t count)
{
	vmat_autofree struct vmat_place *places = calloc(count, sizeof(*places));
	vmat_autoclose int debug_fd =
		vmat_source_open_debug(target, image->elf.build_id, image->elf.build_id_size);
	const struct vmat_symbol_file file = {
		.fd = image->fd,
		.debug_fd = debug_fd < 0 ? -1 : debug_fd,
		.build_id = image->elf.build_id_size ? image->elf.build_id : NULL,
		.build_id_size = image->elf.build_id_size,
	};
	struct vmat_error err = { 0 };
	size_t asked = 0;
	int code;

	if (!places)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		if (images_of[i] == index)
			places[asked++] =
				(struct vmat_place){ .addr = names[i].addr - image->bias,
						     .wants_source = names[i].wants_source };
	}
	code = image->fd < 0 ? vmat_error_set(&err, image->open_error, "%s", why_closed(image))
			     : vmat_symbols_find(&file, places, asked, &err);
	if (code == -ENOMEM)
		return code;
	asked = 0;
	for (size_t i = 0; i < count; i++) {
		if (images_of[i] != index)
			continue;
		if (!code)
			names[i].place = places[asked++];
		if (code)
			snprintf(names[i].why_not, sizeof(names[i].why_not), "%.127s", err.text);
		else if (!vmat_is_known(names[i].place.begin))
			snprintf(names[i].why_not, sizeof(names[i].why_not),
				 "no symbol of the file begins before it in its section");
	}
	return 0;
}

static void find_images(struct vmat_target *target, const struct vmat_map *map,
			struct vmat_name *names, size_t *images_of, size_t count,
			struct image *images, size_t *images_count)
{
	for (size_t i = 0; i < count; i++) {
		struct vmat_name *name = &names[i];
		size_t at = vmat_map_find(map, name->addr);
		bool is_mapped = at < map->count && map->regions[at].start <= name->addr;
		const struct vmat_region *first = is_mapped ? first_of_image(map, at) : NULL;
		const struct image *image =
			first ? image_of(images, images_count, target, first) : NULL;

		images_of[i] = SIZE_MAX;
		name->path = NULL;
		name->place = (struct vmat_place){ .begin = VMAT_UNKNOWN(VMAT_NOT_FOUND) };
		snprintf(name->why_not, sizeof(name->why_not), "no program or library lies there");
		if (!image || name->addr >= image->end)
			continue;
		name->path = first->name;
		name->bias = image->bias;
		name->place.addr = name->addr - image->bias;
		name->why_not[0] = '\0';
		images_of[i] = (size_t)(image - images);
	}
}

int vmat_names_read(struct vmat_target *target, const struct vmat_map *map, struct vmat_name *names,
		    size_t count, struct vmat_error *err)
{
	vmat_autofree struct image *images = calloc(count + 1, sizeof(*images));
	vmat_autofree size_t *images_of = calloc(count + 1, sizeof(*images_of));
	size_t images_count = 0;
	int code = 0;

	if (!images || !images_of)
		return vmat_error_set(err, -ENOMEM, "out of memory");
	find_images(target, map, names, images_of, count, images, &images_count);
	for (size_t i = 0; i < images_count; i++) {
		if (!code)
			code = ask_image(target, &images[i], names, images_of, i, count);
		close_image(&images[i]);
	}
	return code ? vmat_error_set(err, code, "out of memory") : 0;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

size_t vmat_name_text(char *ret, size_t size, const struct vmat_name *name)
{
	const struct vmat_place *place = &name->place;
	const char *object = name->path ? base_name(name->path) : "";
	char offset[32] = "";
	int length;

	if (!name->path)
		length = snprintf(ret, size, "%s", "");
	else if (vmat_is_known(place->begin)) {
		if (place->addr != place->begin)
			snprintf(offset, sizeof(offset), "+%" PRIu64, place->addr - place->begin);
		length = snprintf(ret, size, "%s`%s`%s %s %s", place->is_near ? "near " : "",
				  place->name, offset, place->source[0] ? "in" : "of",
				  place->source[0] ? place->source : object);
	} else if (place->section[0])
		length = snprintf(ret, size, "%s of %s at 0x%" PRIx64, place->section, object,
				  place->addr);
	else
		length = snprintf(ret, size, "%s at 0x%" PRIx64, object, place->addr);
	return length < 0 ? 0 : (size_t)length;
}
