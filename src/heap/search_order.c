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
};

#define SEARCHED_MAX (64ULL << 20)

/* link_map */
enum { L_LD = 2, L_NEXT = 3, L_PREV = 4, LINK_MAP_WORDS };

static bool is_same_file(const struct vmat_region *a, const struct vmat_region *b)
{
	return a->inode == b->inode && a->dev_major == b->dev_major && a->dev_minor == b->dev_minor;
}

const char *vmat_loaded_exports(struct vmat_mapped_elf *loaded, const char *const *names)
{
	for (size_t i = 0; names[i]; i++) {
		struct vmat_symbol symbol;

		if (vmat_elf_symbols(&loaded->elf, vmat_mapped_elf_reader(loaded),
				     vmat_mapped_elf_context(loaded), &names[i], 1, &symbol, NULL))
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

static uint32_t find_in_segment(struct vmat_mapped_elf *loaded, const struct vmat_segment *segment,
				const struct vmat_text *texts, size_t count)
{
	uint64_t size = segment->file_size < SEARCHED_MAX ? segment->file_size : SEARCHED_MAX;
	vmat_autofree char *window = malloc(WINDOW);
	uint32_t found = 0;

	for (uint64_t at = 0; window && at + OVERLAP < size; at += WINDOW - OVERLAP) {
		size_t now = size - at < WINDOW ? (size_t)(size - at) : WINDOW;

		if (vmat_mapped_elf_reader(loaded)(vmat_mapped_elf_context(loaded),
						   segment->offset + at, window, now))
			continue; /* pages that are not there */
		for (size_t i = 0; i < count; i++) {
			if (!(found >> i & 1) && has_text(window, now, &texts[i]))
				found |= 1U << i;
		}
	}
	return found;
}

uint32_t vmat_loaded_find_texts(struct vmat_mapped_elf *loaded, const struct vmat_text *texts,
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
static uint64_t debug_of(struct vmat_heap_memory *memory, const struct vmat_mapped_elf *loaded)
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
		struct vmat_mapped_elf loaded;
		uint64_t debug;

		if (!is_file_start(&map->regions[i]) ||
		    vmat_mapped_elf_open(&loaded, memory->target, map, i))
			continue;
		programs++;
		debug = debug_of(memory, &loaded);
		vmat_mapped_elf_close(&loaded);
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
