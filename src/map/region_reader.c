/* SPDX-License-Identifier: MIT */
/*
 * region_reader.c: the list of regions out of maps, or with their facts out of smaps.
 *
 * Both texts come in pieces of at most 4 KiB however large the buffer is, and the target may change
 * between two of them. The kernel guarantees ascending addresses over a change, not a list that ever
 * was: so the sum of the sizes is compared with the process's own count (statm: size) before and after.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "map/map_priv.h"
#include "map/maps_text.h"

#define HUGE_SIZE ((size_t)2 << 20)

enum { READ_SIZE = 64 * 1024, TRIES = 3, LINE_MAX_SIZE = 64 * 1024 };

/* One pass over a text: a window that always begins with a whole line. */
struct reader {
	struct vmat_map *map;
	struct vmat_target *target;
	struct vmat_region *region; /* the one that smaps' lines belong to */
	struct vmat_smaps_layout layout;
	uint64_t size; /* of all regions that statm counts */
	bool is_torn;  /* regions overlapped, so the target changed meanwhile */
	const char *last_name;
	size_t last_name_size;
};

void vmat_map_mark_partial(struct vmat_map *map, const char *format, ...)
{
	va_list args;

	if (map->is_partial)
		return;
	map->is_partial = true;
	va_start(args, format);
	vsnprintf(map->partial_why, sizeof(map->partial_why), format, args);
	va_end(args);
}

enum vmat_reason vmat_reason_of_errno(int err)
{
	switch (err) {
	case -EACCES:
	case -EPERM:
		return VMAT_NOT_PERMITTED;
	case -ENOENT:
		return VMAT_NOT_RECORDED;
	case -ESRCH:
	case -ESTALE:
		return VMAT_CHANGED;
	default:
		return VMAT_KERNEL_LACKS;
	}
}

static bool starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

/* Is a file of just this name there, the one that is mapped? */
static bool is_there(struct reader *reader, const struct vmat_maps_line *line, const char *name)
{
	vmat_autoclose int fd = -1;

	if (name[0] != '/')
		return false;
	fd = vmat_source_open_file(reader->target, name, line->dev_major, line->dev_minor,
				   line->inode);
	return fd >= 0;
}

/* Puts a newline where \012 stands. Returns the new size. */
static size_t unescape(char *name)
{
	char *to = name;

	for (const char *from = name; *from; from++) {
		if (strncmp(from, "\\012", 4) == 0) {
			*to++ = '\n';
			from += 3;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
	return (size_t)(to - name);
}

/*
 * The name, unescaped and shared. The kernel writes a newline as \012 and nothing else: not a backslash,
 * and " (deleted)" behind the name of a deleted file as it may stand in a name itself. What it is, the
 * file tells, if it is still there.
 */
static const char *intern_name(struct reader *reader, const struct vmat_maps_line *line,
			       bool *is_deleted)
{
	static const char mark[] = " (deleted)";
	const size_t mark_size = sizeof(mark) - 1;
	char name[4 * 4096 + 64]; /* a path of newlines alone */
	size_t size = line->name_size < sizeof(name) ? line->name_size : sizeof(name) - 1;
	bool has_mark;

	memcpy(name, line->name, size);
	name[size] = '\0';
	has_mark = name[0] == '/' && size > mark_size + 1 && !strcmp(name + size - mark_size, mark);
	if (strstr(name, "\\012") && !is_there(reader, line, name))
		size = unescape(name);
	*is_deleted = has_mark && !is_there(reader, line, name);
	if (*is_deleted)
		size -= mark_size;
	return vmat_strings_intern(&reader->map->priv->names, name, size);
}

/* The kinds of names in brackets that the kernel gives. */
static enum vmat_backing bracket_backing(const char *name)
{
	if (starts_with(name, "[heap") || starts_with(name, "[stack") || starts_with(name, "[anon"))
		return starts_with(name, "[anon_shmem") ? VMAT_BACKING_SHMEM : VMAT_BACKING_ANON;
	return VMAT_BACKING_KERNEL;
}

static enum vmat_backing file_backing(struct reader *reader, struct vmat_region *region)
{
	const char *name = region->name;
	uint64_t page_size = 0;

	switch (vmat_source_device(reader->target, region->dev_major, region->dev_minor,
				   &page_size)) {
	case VMAT_DEVICE_HUGETLB:
		if (page_size)
			region->page_size = page_size;
		return VMAT_BACKING_HUGETLB;
	case VMAT_DEVICE_SHMEM:
		return starts_with(name, "/memfd:") ? VMAT_BACKING_MEMFD : VMAT_BACKING_SHMEM;
	case VMAT_DEVICE_TMPFS:
		if (starts_with(name, "/dev/shm/"))
			return VMAT_BACKING_SHMEM;
		break;
	case VMAT_DEVICE_OTHER:
		/* The device of the kernel's own file systems is not in a record: names must do. */
		if (region->dev_major == 0 && region->is_deleted &&
		    !vmat_source_is_live(reader->target)) {
			if (starts_with(name, "/memfd:"))
				return VMAT_BACKING_MEMFD;
			if (starts_with(name, "/SYSV") || strcmp(name, "/dev/zero") == 0)
				return VMAT_BACKING_SHMEM;
			if (strcmp(name, "/anon_hugepage") == 0)
				return VMAT_BACKING_HUGETLB;
		}
		/* Nor does a core know what is mounted where. */
		if (vmat_target_process(reader->target)->core && starts_with(name, "/dev/shm/"))
			return VMAT_BACKING_SHMEM;
		break;
	}
	if (strcmp(name, "/dev/zero") == 0 && !region->is_deleted)
		return region->prot & VMAT_PROT_SHARED ? VMAT_BACKING_SHMEM : VMAT_BACKING_ANON;
	if (vmat_source_is_buffer(name))
		return VMAT_BACKING_DEVICE;
	if (starts_with(name, "/dev/") && vmat_source_is_char_device(reader->target, name))
		return VMAT_BACKING_DEVICE;
	return VMAT_BACKING_FILE;
}

static int set_name(struct reader *reader, struct vmat_region *region,
		    const struct vmat_maps_line *line)
{
	const struct vmat_region *before = reader->region;

	if (line->name_size == 0) {
		region->name = "";
		region->backing = VMAT_BACKING_ANON;
		return 0;
	}
	/* Neighbours mostly map the same file. */
	if (before && before->inode == line->inode && line->inode &&
	    before->dev_major == line->dev_major && before->dev_minor == line->dev_minor &&
	    reader->last_name_size == line->name_size &&
	    memcmp(reader->last_name, line->name, line->name_size) == 0) {
		region->name = before->name;
		region->is_deleted = before->is_deleted;
		region->backing = before->backing;
		region->page_size = before->page_size;
		return 0;
	}
	region->name = intern_name(reader, line, &region->is_deleted);
	if (!region->name)
		return -ENOMEM;
	region->backing = (uint8_t)(region->name[0] == '[' ? bracket_backing(region->name)
							   : file_backing(reader, region));
	return 0;
}

/* A region of which nothing is known yet. */
static const struct vmat_region unknown_region = {
	.rss = VMAT_UNKNOWN(VMAT_NOT_ASKED),
	.swap = VMAT_UNKNOWN(VMAT_NOT_ASKED),
	.huge = VMAT_UNKNOWN(VMAT_NOT_ASKED),
	.zero = VMAT_UNKNOWN(VMAT_NOT_ASKED),
	.guard = VMAT_UNKNOWN(VMAT_NOT_ASKED),
	.first_present_addr = VMAT_UNKNOWN(VMAT_NOT_ASKED),
	.copied = VMAT_UNKNOWN(VMAT_NOT_ASKED),
	.pss = VMAT_UNKNOWN(VMAT_NOT_ASKED),
	.uss = VMAT_UNKNOWN(VMAT_NOT_ASKED),
	.dirty = VMAT_UNKNOWN(VMAT_NOT_ASKED),
	.referenced = VMAT_UNKNOWN(VMAT_NOT_ASKED),
	.anonymous = VMAT_UNKNOWN(VMAT_NOT_ASKED),
	.locked = VMAT_UNKNOWN(VMAT_NOT_ASKED),
	.thp = VMAT_UNKNOWN(VMAT_NOT_ASKED),
	.hugetlb = VMAT_UNKNOWN(VMAT_NOT_ASKED),
	.vm_flags = VMAT_UNKNOWN(VMAT_NOT_ASKED),
};

/*
 * Room for more regions. A large array lies in huge pages where the system gives them: it is written once
 * from front to back, and 4 KiB at a time its page faults cost as much as the parsing.
 */
static bool grow_regions(struct vmat_map *map)
{
	size_t capacity = map->priv->capacity ? 4 * map->priv->capacity : 256;
	size_t size = (capacity * sizeof(*map->regions) + HUGE_SIZE - 1) & ~(HUGE_SIZE - 1);
	struct vmat_region *more;

	if (size < 2 * HUGE_SIZE) {
		more = realloc(map->regions, capacity * sizeof(*more));
		if (!more)
			return false;
	} else {
		more = aligned_alloc(HUGE_SIZE, size);
		if (!more)
			return false;
		madvise(more, size, MADV_HUGEPAGE); /* a hint: nothing depends on it */
		memcpy(more, map->regions, map->count * sizeof(*more));
		free(map->regions);
	}
	map->regions = more;
	map->priv->capacity = capacity;
	return true;
}

static struct vmat_region *append_region(struct vmat_map *map)
{
	if (map->count == map->priv->capacity && !grow_regions(map))
		return NULL;
	return &map->regions[map->count++];
}

/*
 * A line that begins below the end of the one before. In a record that is an error. The kernel goes on
 * where the last line ended, and finds a region there that has meanwhile been merged with, or moved over,
 * what it told already: what is new of it is kept. 1 when that is nothing.
 */
static int cut_overlap(struct reader *reader, struct vmat_maps_line *line)
{
	uint64_t end = reader->map->regions[reader->map->count - 1].end;

	if (!vmat_source_is_live(reader->target))
		return -EINVAL;
	reader->is_torn = true;
	if (line->end <= end) {
		reader->region = NULL; /* the lines of smaps that follow belong to none */
		return 1;
	}
	if (line->inode)
		line->offset += end - line->start;
	line->start = end;
	return 0;
}

static int add_region(struct reader *reader, const struct vmat_maps_line *line, bool from_smaps)
{
	struct vmat_maps_line piece = *line;
	struct vmat_map *map = reader->map;
	struct vmat_region *region;
	int err;

	if (map->count && line->start < map->regions[map->count - 1].end) {
		err = cut_overlap(reader, &piece);
		if (err)
			return err > 0 ? 0 : err;
	}
	line = &piece;
	region = append_region(map);
	if (!region)
		return -ENOMEM;
	reader->region = map->count > 1 ? region - 1 : NULL;
	*region = unknown_region;
	region->start = line->start;
	region->end = line->end;
	region->offset = line->offset;
	region->inode = line->inode;
	region->dev_major = line->dev_major;
	region->dev_minor = line->dev_minor;
	region->prot = line->prot;
	region->prot_unknown = line->prot_unknown;
	region->page_size = map->base_page_size;
	err = set_name(reader, region, line);
	if (err)
		return err;
	if (from_smaps)
		vmat_smaps_region_begin(region, &reader->layout);
	reader->region = region;
	reader->last_name = line->name;
	reader->last_name_size = line->name_size;
	if (line->start >> 63 ==
	    0) /* [vsyscall] is no region of the process: statm leaves it out */
		reader->size += line->end - line->start;
	return 0;
}

static int add_line(struct reader *reader, const char *c, const char *end, bool from_smaps)
{
	struct vmat_maps_line line;
	int err;

	if (from_smaps && c < end && *c >= 'A' && *c <= 'Z') {
		if (reader->region)
			vmat_smaps_line_parse(reader->region, &reader->layout, c, end);
		return 0;
	}
	err = vmat_maps_line_parse(&line, c, end);
	if (!err)
		err = add_region(reader, &line, from_smaps);
	return err;
}

/* All whole lines of the window. Returns how many bytes they were, or -errno. */
static ssize_t add_lines(struct reader *reader, const char *window, size_t size, bool from_smaps)
{
	const char *c = window, *end = window + size;

	reader->last_name_size = 0; /* it lay in the window, which has moved */
	while (c < end) {
		const char *newline = memchr(c, '\n', (size_t)(end - c));
		bool is_header;
		int err;

		if (!newline)
			break;
		err = add_line(reader, c, newline, from_smaps);
		if (err)
			return err;
		is_header = *c < 'A' || *c > 'Z';
		c = newline + 1;
		if (from_smaps && is_header)
			c += vmat_smaps_block_parse(reader->region, &reader->layout, c, end);
	}
	return c - window;
}

static int read_text(struct reader *reader, int fd, bool from_smaps)
{
	vmat_autofree char *window = malloc(READ_SIZE + LINE_MAX_SIZE);
	size_t kept = 0;

	if (!window)
		return -ENOMEM;
	for (;;) {
		ssize_t used, got = vmat_source_read_text(fd, window + kept, READ_SIZE);

		if (got < 0)
			return (int)got;
		if (got == 0)
			return kept ? -EINVAL : 0;
		kept += (size_t)got;
		used = add_lines(reader, window, kept, from_smaps);
		if (used < 0)
			return (int)used;
		kept -= (size_t)used;
		if (kept > LINE_MAX_SIZE)
			return -EINVAL;
		memmove(window, window + used, kept);
	}
}

/* statm: size, in bytes. Unknown when it cannot be read. */
static uint64_t statm_size(struct vmat_target *target, uint64_t page_size)
{
	struct vmat_buffer text = { 0 };
	uint64_t pages = VMAT_UNKNOWN(VMAT_NOT_FOUND);

	if (!vmat_source_text(target, "statm", &text))
		vmat_text_decimal(text.data, text.data + text.size, &pages);
	vmat_buffer_deinit(&text);
	return vmat_is_known(pages) ? pages * page_size : pages;
}

static int read_once(struct vmat_map *map, struct vmat_target *target, bool from_smaps,
		     uint64_t *size)
{
	vmat_autoclose int fd = vmat_source_open_text(target, from_smaps ? "smaps" : "maps");
	struct reader reader = { .map = map, .target = target };
	int err;

	if (fd < 0)
		return fd;
	map->count = 0;
	err = read_text(&reader, fd, from_smaps);
	*size = reader.is_torn ? VMAT_UNKNOWN(VMAT_CHANGED) : reader.size;
	return err;
}

int vmat_map_read_regions(struct vmat_map *map, struct vmat_target *target, bool from_smaps)
{
	for (int try = 0; try < TRIES; try++) {
		uint64_t before = statm_size(target, map->base_page_size), size = 0, after;
		int err = read_once(map, target, from_smaps, &size);

		if (err)
			return err;
		after = statm_size(target, map->base_page_size);
		if (map->count == 0 && !vmat_is_known(after))
			return -ESRCH;
		if (size == before && size == after)
			return 0;
		if (!vmat_is_known(before) && !vmat_source_is_live(target))
			return 0; /* a record without statm: nothing to compare with */
	}
	vmat_map_mark_partial(map,
			      "the target mapped or unmapped memory while its map was read, %d "
			      "times in a row: regions may be missing or counted twice",
			      TRIES);
	return map->count ? 0 : -ESRCH;
}
