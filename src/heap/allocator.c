/* SPDX-License-Identifier: MIT */
/*
 * allocator.c: whose malloc a process uses, and how we know.
 *
 * The first file in the loader's search order that exports `malloc` owns it, preloaded ones included; what it is, other
 * names that it exports tell. A program that carries an allocator of its own, under whatever names, is known by
 * the texts of its messages. Static programs that carry none have libc's, which its structures tell (heap.c). Where
 * nothing of all that can be read, names of files must do.
 *
 * redis with jemalloc has a tiny glibc heap beside it, which is not redis's heap: an allocator with a name of its own
 * comes before libc's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "heap/search_order.h"

enum { FILES_MAX = 4096, LIBCS = 2 /* the first of the table */ };

static const struct known {
	const char *name;
	const char *symbols[4]; /* one of them is exported by no other */
	struct vmat_text text;  /* of a message; rest is NULL where there is none */
	const char *file;       /* of a library */
	const char *help;       /* what tells of its heap where we do not */
} allocators[] = {
	{ "glibc malloc", { "gnu_get_libc_version" }, { 0 }, "/libc.so.6", "" },
	{ "musl mallocng", { "__dls3" }, { 0 }, "/ld-musl-", "" },
	{ "jemalloc",
	  { "mallctl", "je_mallctl", "malloc_stats_print" },
	  { '<', "jemalloc>: Error in " },
	  "/libjemalloc",
	  "it tells of itself: MALLOC_CONF=stats_print:true, or jeprof" },
	{ "tcmalloc",
	  { "tc_malloc", "MallocExtension_GetNumericProperty", "TCMallocInternalMalloc" },
	  { 'M', "ALLOC: + %12" },
	  "/libtcmalloc",
	  "it tells of itself: MallocExtension's GetStats, or HEAPPROFILE and pprof" },
	{ "mimalloc",
	  { "mi_malloc", "mi_version" },
	  { 'm', "imalloc: warning: " },
	  "/libmimalloc",
	  "" },
	{ "AddressSanitizer",
	  { "__asan_init" },
	  { 0 },
	  "/libasan.so",
	  "its own LeakSanitizer reports leaks" },
	{ "ThreadSanitizer", { "__tsan_init" }, { 0 }, "/libtsan.so", "" },
	{ "MemorySanitizer", { "__msan_init" }, { 0 }, "/libmsan.so", "" },
	{ "Hoard", { "xxmalloc" }, { 0 }, "/libhoard", "" },
	{ "rpmalloc", { "rpmalloc" }, { 0 }, "/librpmalloc", "" },
	{ "snmalloc", { "sn_malloc" }, { 0 }, "/libsnmalloc", "" },
};

enum { ALLOCATORS = sizeof(allocators) / sizeof(allocators[0]) };

/* What is found out. */
struct evidence {
	size_t files;             /* in search order; 0: there is no such order */
	size_t place;             /* of the one that exports malloc, from 1 on; 0: none does */
	const char *path;         /* its path */
	const struct known *what; /* NULL: not known */
	const char *symbol;       /* that it exports and only this allocator has */
	const char *program;
	const struct known *carried; /* by the program itself; NULL: none */
};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The owner of malloc by the order in which the loader looks for it. */
static void find_owner(struct evidence *evidence, struct vmat_heap_memory *memory,
		       const struct vmat_map *map)
{
	static const char *const wanted[] = { "malloc", NULL };
	vmat_autofree size_t *regions = calloc(FILES_MAX, sizeof(*regions));

	if (!regions)
		return;
	evidence->files = vmat_search_order(memory, map, regions, FILES_MAX);
	for (size_t i = 0; i < evidence->files && !evidence->place; i++) {
		struct vmat_mapped_elf loaded;

		if (vmat_mapped_elf_open(&loaded, memory->target, map, regions[i]))
			continue;
		if (vmat_loaded_exports(&loaded, wanted)) {
			evidence->place = i + 1;
			evidence->path = map->regions[regions[i]].name;
			/* libc last: what carries glibc's names too is more than glibc. */
			for (size_t k = ALLOCATORS; k-- > 0 && !evidence->what;) {
				evidence->symbol =
					vmat_loaded_exports(&loaded, allocators[k].symbols);
				evidence->what = evidence->symbol ? &allocators[k] : NULL;
			}
		}
		vmat_mapped_elf_close(&loaded);
	}
}

/* An allocator within the program itself, under whatever names. */
static void find_carried(struct evidence *evidence, struct vmat_target *target,
			 const struct vmat_map *map)
{
	size_t region = vmat_program_region(target, map);
	struct vmat_text texts[ALLOCATORS];
	const struct known *of[ALLOCATORS];
	struct vmat_mapped_elf loaded;
	size_t count = 0;
	uint32_t found;

	if (region == SIZE_MAX || vmat_mapped_elf_open(&loaded, target, map, region))
		return;
	evidence->program = map->regions[region].name;
	for (size_t i = 0; i < ALLOCATORS; i++) {
		if (!allocators[i].text.rest)
			continue;
		texts[count] = allocators[i].text;
		of[count++] = &allocators[i];
	}
	found = vmat_loaded_find_texts(&loaded, texts, count);
	vmat_mapped_elf_close(&loaded);
	if (found)
		evidence->carried = of[__builtin_ctz(found)];
}

/* By the names of mapped files, where the loader's list cannot be read. */
static const struct known *find_by_name(const struct vmat_map *map)
{
	const struct known *libc = NULL;

	for (size_t i = 0; i < map->count; i++) {
		const char *name = map->regions[i].name;

		for (size_t k = LIBCS; k < ALLOCATORS; k++) {
			if (strstr(name, allocators[k].file))
				return &allocators[k];
		}
		for (size_t k = 0; k < LIBCS && !libc; k++) {
			if (strstr(name, allocators[k].file))
				libc = &allocators[k];
		}
		if (!libc && strstr(name, "/libc-2."))
			libc = &allocators[0];
	}
	return libc;
}

static bool is_libc(const struct known *what)
{
	return what && what < allocators + LIBCS;
}

#define WHY(...) snprintf(ret->why, sizeof(ret->why), __VA_ARGS__)

static void judge(struct vmat_allocator *ret, const struct evidence *evidence,
		  const struct vmat_map *map)
{
	const struct known *what = evidence->what;

	if (evidence->carried && (!what || is_libc(what))) {
		what = evidence->carried;
		WHY("%s holds its messages; malloc is that of %s", base_name(evidence->program),
		    evidence->place ? base_name(evidence->path) : "the same file");
	} else if (what) {
		WHY("%s, file %zu of %zu searched, owns malloc; it exports %s",
		    base_name(evidence->path), evidence->place, evidence->files, evidence->symbol);
	} else if (evidence->place) {
		/* Mostly a wrapper that counts or traces, and hands on to libc. */
		what = find_by_name(map);
		what = is_libc(what) ? what : NULL;
		ret->is_behind = true;
		WHY("malloc is that of %s, which is not known; this is libc's behind it",
		    base_name(evidence->path));
	} else if (!evidence->files) {
		what = find_by_name(map);
		if (what)
			WHY("by the name of a mapped file");
		else
			WHY("no file with a malloc is known by its name");
	} else {
		WHY("none of %zu files searched exports malloc", evidence->files);
	}
	ret->name = what ? what->name : "";
	ret->help = what ? what->help : "";
}

int vmat_allocator_read(struct vmat_allocator *ret, struct vmat_target *target,
			const struct vmat_map *map, struct vmat_error *err)
{
	struct vmat_heap_memory memory = { 0 };
	struct evidence evidence = { 0 };

	if (vmat_heap_memory_init(&memory, target)) {
		vmat_heap_memory_deinit(&memory);
		return vmat_error_set(err, -ENOMEM, "out of memory");
	}
	*ret = (struct vmat_allocator){ .name = "", .help = "" };
	find_owner(&evidence, &memory, map);
	if (!evidence.what || is_libc(evidence.what))
		find_carried(&evidence, target, map);
	judge(ret, &evidence, map);
	vmat_heap_memory_deinit(&memory);
	return 0;
}
