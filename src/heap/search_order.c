/* SPDX-License-Identifier: MIT */
/*
 * search_order.c: see search_order.h. The loader's list begins at DT_DEBUG of the program: struct r_debug, whose
 * second word is the first link_map {l_addr, l_name, l_ld, l_next, l_prev} (link.h). musl keeps the same.
 */
#include "heap/search_order.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

enum {
	REGIONS_NEAR = 64, /* of one file */
	PROGRAMS_MAX =
		256, /* files that are asked for DT_DEBUG: the program is nearly always the first */
	DYNAMIC_MAX = 256,
	LINK_MAPS_MAX = 65536,
	WINDOW = 64 << 10,
	OVERLAP = 64, /* the longest text that is looked for */
	PAGE_SIZE = 4096,
};

#define SEARCHED_MAX (64ULL << 20)

/* link_map */
enum { L_LD = 2, L_NEXT = 3, L_PREV = 4, LINK_MAP_WORDS };

static bool is_same_file(const struct vmat_region *a, const struct vmat_region *b)
{
	return a->inode == b->inode && a->dev_major == b->dev_major && a->dev_minor == b->dev_minor;
}

/* A vmat_elf_read_fn over the pages of the file that the process has in memory. */
static int read_mapped(void *context, uint64_t offset, void *buffer, size_t size)
{
	const struct vmat_loaded *loaded = context;
	const struct vmat_region *first = &loaded->map->regions[loaded->region];
	size_t stop = loaded->region + REGIONS_NEAR;
	char *bytes = buffer;

	for (size_t i = loaded->region; size && i < loaded->map->count && i < stop; i++) {
		const struct vmat_region *region = &loaded->map->regions[i];
		uint64_t skip = offset - region->offset, length = vmat_region_size(region);
		size_t now;

		if (!is_same_file(region, first) || offset < region->offset || skip >= length)
			continue;
		now = size < length - skip ? size : (size_t)(length - skip);
		if (vmat_source_read(loaded->target, region->start + skip, bytes, now) !=
		    (ssize_t)now)
			return -ENODATA;
		bytes += now;
		offset += now;
		size -= now;
	}
	return size ? -ENODATA : 0;
}

static vmat_elf_read_fn *reader_of(const struct vmat_loaded *loaded)
{
	return loaded->fd < 0 ? read_mapped : vmat_elf_read_fd;
}

static void *context_of(struct vmat_loaded *loaded)
{
	return loaded->fd < 0 ? (void *)loaded : (void *)&loaded->fd;
}

void vmat_loaded_close(struct vmat_loaded *loaded)
{
	if (loaded->fd >= 0)
		close(loaded->fd);
	loaded->fd = -1;
}

int vmat_loaded_open(struct vmat_loaded *ret, struct vmat_target *target,
		     const struct vmat_map *map, size_t region)
{
	const struct vmat_region *first = &map->regions[region];
	int err;

	*ret = (struct vmat_loaded){ .target = target, .map = map, .region = region };
	/* A file that was replaced since, or may hang, is not opened; its pages are as good. */
	ret->fd = vmat_source_open_file(target, first->name, first->dev_major, first->dev_minor,
					first->inode);
	err = vmat_elf_read(&ret->elf, reader_of(ret), context_of(ret), NULL);
	for (size_t i = 0; !err && i < ret->elf.segments_count; i++) {
		const struct vmat_segment *segment = &ret->elf.segments[i];

		if (segment->type != VMAT_SEGMENT_LOAD || segment->offset >= PAGE_SIZE)
			continue;
		ret->bias = first->start + segment->offset - segment->addr;
		if (ret->fd < 0)
			ret->elf.dynamic_bias = ret->bias;
		return 0;
	}
	vmat_loaded_close(ret);
	return err ? err : -ENOEXEC;
}

const char *vmat_loaded_exports(struct vmat_loaded *loaded, const char *const *names)
{
	for (size_t i = 0; names[i]; i++) {
		struct vmat_symbol symbol;

		if (vmat_elf_symbols(&loaded->elf, reader_of(loaded), context_of(loaded), &names[i],
				     1, &symbol, NULL))
			return NULL;
		if (vmat_is_known(symbol.addr))
			return names[i];
	}
	return NULL;
}

static bool has_text(const char *bytes, size_t size, const struct vmat_text *text)
{
	size_t length = strlen(text->rest);
	const char *at = bytes + 1;

	while ((at = memmem(at, size - (size_t)(at - bytes), text->rest, length))) {
		if (at[-1] == text->first)
			return true;
		at++;
	}
	return false;
}

static uint32_t find_in_segment(struct vmat_loaded *loaded, const struct vmat_segment *segment,
				const struct vmat_text *texts, size_t count)
{
	uint64_t size = segment->file_size < SEARCHED_MAX ? segment->file_size : SEARCHED_MAX;
	vmat_autofree char *window = malloc(WINDOW);
	uint32_t found = 0;

	for (uint64_t at = 0; window && at + OVERLAP < size; at += WINDOW - OVERLAP) {
		size_t now = size - at < WINDOW ? (size_t)(size - at) : WINDOW;

		if (reader_of(loaded)(context_of(loaded), segment->offset + at, window, now))
			continue; /* pages that are not there */
		for (size_t i = 0; i < count; i++) {
			if (!(found >> i & 1) && has_text(window, now, &texts[i]))
				found |= 1U << i;
		}
	}
	return found;
}

uint32_t vmat_loaded_find_texts(struct vmat_loaded *loaded, const struct vmat_text *texts,
				size_t count)
{
	const struct vmat_elf *elf = &loaded->elf;
	bool has_data = false;
	uint32_t found = 0;

	/* Linkers put constants behind the code, in a segment of their own, or, older ones, into that of the code. */
	for (size_t i = 0; i < elf->segments_count; i++)
		has_data |= elf->segments[i].type == VMAT_SEGMENT_LOAD &&
			    elf->segments[i].prot == 4 && elf->segments[i].offset;
	for (size_t i = 0; i < elf->segments_count; i++) {
		if (elf->segments[i].type == VMAT_SEGMENT_LOAD &&
		    elf->segments[i].prot == (has_data ? 4 : 5))
			found |= find_in_segment(loaded, &elf->segments[i], texts, count);
	}
	return found;
}

static bool is_file_start(const struct vmat_region *region)
{
	return region->offset == 0 && region->inode && region->backing == VMAT_BACKING_FILE &&
	       region->name[0] == '/';
}

/* DT_DEBUG of a mapped file: struct r_debug; 0 when it has none. */
static uint64_t debug_of(struct vmat_heap_memory *memory, const struct vmat_loaded *loaded)
{
	uint64_t addr = loaded->bias + loaded->elf.dynamic_addr, words[2];

	for (int i = 0; loaded->elf.has_dynamic && i < DYNAMIC_MAX; i++) {
		if (!vmat_heap_words(memory, addr, words, 2) || words[0] == DT_NULL)
			return 0;
		if (words[0] == DT_DEBUG)
			return words[1];
		addr += 2ULL * memory->word_size;
	}
	return 0;
}

static uint64_t find_debug(struct vmat_heap_memory *memory, const struct vmat_map *map)
{
	int programs = 0;

	for (size_t i = 0; i < map->count && programs < PROGRAMS_MAX; i++) {
		struct vmat_loaded loaded;
		uint64_t debug;

		if (!is_file_start(&map->regions[i]) ||
		    vmat_loaded_open(&loaded, memory->target, map, i))
			continue;
		programs++;
		debug = debug_of(memory, &loaded);
		vmat_loaded_close(&loaded);
		if (debug)
			return debug;
	}
	return 0;
}

/* The region from which the file begins that has a segment at addr; SIZE_MAX if there is none. */
static size_t file_start_of(const struct vmat_map *map, uint64_t addr)
{
	const struct vmat_region *region = vmat_map_at(map, addr);
	size_t i = region ? (size_t)(region - map->regions) : 0;

	if (!region || region->backing != VMAT_BACKING_FILE)
		return SIZE_MAX;
	for (int n = 0; n < REGIONS_NEAR; n++, i--) {
		if (is_file_start(&map->regions[i]) && is_same_file(&map->regions[i], region))
			return i;
		if (i == 0)
			break;
	}
	return SIZE_MAX;
}

size_t vmat_search_order(struct vmat_heap_memory *memory, const struct vmat_map *map,
			 size_t *regions, size_t count)
{
	uint64_t debug = find_debug(memory, map), words[LINK_MAP_WORDS], previous = 0;
	size_t found = 0;

	if (!debug || !vmat_heap_words(memory, debug, words, 2))
		return 0;
	for (uint64_t at = words[1], n = 0; at && n < LINK_MAPS_MAX && found < count; n++) {
		if (!vmat_heap_words(memory, at, words, LINK_MAP_WORDS) ||
		    words[L_PREV] != previous)
			return found;
		regions[found] = file_start_of(map, words[L_LD]);
		found += regions[found] != SIZE_MAX; /* the vdso is no file */
		previous = at;
		at = words[L_NEXT];
	}
	return found;
}

size_t vmat_program_region(struct vmat_target *target, const struct vmat_map *map)
{
	vmat_cleanup(vmat_buffer_deinit) struct vmat_buffer path = { 0 };
	size_t first = SIZE_MAX;
	bool is_named = vmat_source_link(target, "exe", &path) == 0;
	for (size_t i = 0; i < map->count; i++) {
		if (!is_file_start(&map->regions[i]))
			continue;
		if (is_named && strcmp(map->regions[i].name, path.data) == 0)
			return i;
		first = first == SIZE_MAX ? i : first;
	}
	return first;
}
