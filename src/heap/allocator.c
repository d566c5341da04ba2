/* SPDX-License-Identifier: MIT */
/*
 * allocator.c: whose malloc a process uses, by the libraries that it maps.
 *
 * A library that brings its own malloc takes the place of libc's by being found first, so its presence
 * decides: redis with jemalloc has a tiny glibc heap beside it, which is not redis's heap.
 */
#include <string.h>

#include "heap/heap_priv.h"

static const struct {
	const char *file;
	const char *name;
} allocators[] = {
	{ "/libjemalloc", "jemalloc" },
	{ "/libtcmalloc", "tcmalloc" },
	{ "/libmimalloc", "mimalloc" },
	{ "/libasan.so", "AddressSanitizer" },
	{ "/libclang_rt.asan", "AddressSanitizer" },
	{ "/libhoard", "Hoard" },
	{ "/librpmalloc", "rpmalloc" },
	{ "/libsnmalloc", "snmalloc" },
	{ "/ld-musl-", "musl mallocng" },
	{ "/libc.musl-", "musl mallocng" },
	{ "-linux-musl/libc.so", "musl mallocng" },
};

void vmat_heap_find_allocator(struct vmat_heap *heap, const struct vmat_map *map)
{
	bool has_libc = false;

	for (size_t i = 0; i < map->count; i++) {
		const char *name = map->regions[i].name;

		for (size_t k = 0; k < sizeof(allocators) / sizeof(allocators[0]); k++) {
			if (strstr(name, allocators[k].file)) {
				heap->allocator = allocators[k].name;
				heap->allocator_why = "its library is mapped";
				return;
			}
		}
		has_libc |= strstr(name, "/libc.so.6") || strstr(name, "/libc-2.");
	}
	heap->allocator = has_libc ? "glibc malloc" : "";
	heap->allocator_why = has_libc ? "libc is mapped, and no library with a malloc of its own"
				       : "no library with a malloc is mapped";
}
