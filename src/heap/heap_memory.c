/* SPDX-License-Identifier: MIT */
/*
 * heap_memory.c: words of the target for the walk (heap_priv.h), of 8 bytes or of 4. Only pages that are present
 * are read, so neither the target's memory nor our time depends on what a broken heap points at.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "heap/heap_priv.h"

enum { EMPTY = 1 };

void vmat_heap_memory_drop(struct vmat_heap_memory *memory)
{
	memory->window_size = 0;
	memory->absent = EMPTY;
	for (size_t i = 0; i < VMAT_HEAP_CACHE; i++)
		memory->cached[i] = EMPTY;
}

int vmat_heap_memory_init(struct vmat_heap_memory *memory, struct vmat_target *target)
{
	memory->target = target;
	memory->word_size = vmat_target_process(target)->word_size == 4 ? 4 : 8;
	memory->window = malloc(VMAT_HEAP_WINDOW);
	memory->cache = malloc((size_t)VMAT_HEAP_CACHE * VMAT_HEAP_PAGE);
	vmat_heap_memory_drop(memory);
	return memory->window && memory->cache ? 0 : -ENOMEM;
}

void vmat_heap_memory_deinit(struct vmat_heap_memory *memory)
{
	free(memory->window);
	free(memory->cache);
}

bool vmat_heap_next_window(struct vmat_heap_memory *memory, uint64_t addr, size_t size)
{
	ssize_t got;

	memory->window_start = addr & ~(uint64_t)(VMAT_HEAP_PAGE - 1);
	memory->window_size = 0;
	if (memory->lock)
		pthread_mutex_lock(memory->lock);
	got = vmat_source_read(memory->target, memory->window_start, memory->window,
			       VMAT_HEAP_WINDOW);
	if (memory->lock)
		pthread_mutex_unlock(memory->lock);
	if (got < 0)
		memory->error = (int)got;
	if (got < 0 || (uint64_t)got < addr - memory->window_start + size)
		return false;
	memory->window_size = (size_t)got;
	return true;
}

/* The bytes of a page, or NULL when it is absent. */
static const unsigned char *cached_page(struct vmat_heap_memory *memory, uint64_t page)
{
	size_t slot = (size_t)(page / VMAT_HEAP_PAGE) % VMAT_HEAP_CACHE;
	unsigned char *bytes = memory->cache + slot * VMAT_HEAP_PAGE;
	ssize_t got;

	if (memory->cached[slot] == page)
		return bytes;
	if (memory->absent == page) /* whoever searches a page word by word asks for it again */
		return NULL;
	memory->cached[slot] = EMPTY;
	got = vmat_source_read(memory->target, page, bytes, VMAT_HEAP_PAGE);
	if (got < 0)
		memory->error = (int)got;
	if (got != VMAT_HEAP_PAGE) {
		memory->absent = page;
		return NULL;
	}
	memory->cached[slot] = page;
	return bytes;
}

bool vmat_heap_words(struct vmat_heap_memory *memory, uint64_t addr, uint64_t *words, size_t count)
{
	for (size_t i = 0; i < count; i++, addr += memory->word_size) {
		uint64_t page = addr & ~(uint64_t)(VMAT_HEAP_PAGE - 1);
		const unsigned char *bytes =
			addr & (memory->word_size - 1) ? NULL : cached_page(memory, page);

		if (!bytes)
			return false;
		vmat_heap_unpack(&words[i], bytes + (addr - page), 1, memory->word_size);
	}
	return true;
}

size_t vmat_heap_threads(struct vmat_heap_memory *memory)
{
	size_t count;
	pid_t *tids;

	if (!vmat_source_is_live(memory->target) ||
	    vmat_source_threads(memory->target, &tids, &count))
		return 1;
	free(tids);
	return count;
}

bool vmat_heap_word(struct vmat_heap_memory *memory, uint64_t addr, uint64_t *word)
{
	return vmat_heap_words(memory, addr, word, 1);
}
