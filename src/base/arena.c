/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_SIZE = 64 * 1024, SLOTS_FIRST = 256 };

struct vmat_arena_chunk {
	struct vmat_arena_chunk *before;
	size_t used;
	size_t capacity;
	uint64_t data[]; /* of uint64_t, so that what is handed out is aligned */
};

void vmat_arena_deinit(struct vmat_arena *arena)
{
	while (arena->last) {
		struct vmat_arena_chunk *before = arena->last->before;

		free(arena->last);
		arena->last = before;
	}
}

void *vmat_arena_alloc(struct vmat_arena *arena, size_t size)
{
	struct vmat_arena_chunk *chunk = arena->last;
	void *memory;

	if (size > SIZE_MAX / 2)
		return NULL;
	size = (size + 7) & ~(size_t)7;
	if (!chunk || chunk->capacity - chunk->used < size) {
		size_t capacity = size > CHUNK_SIZE ? size : CHUNK_SIZE;

		chunk = calloc(1, sizeof(*chunk) + capacity);
		if (!chunk)
			return NULL;
		chunk->capacity = capacity;
		chunk->before = arena->last;
		arena->last = chunk;
	}
	memory = (char *)chunk->data + chunk->used;
	chunk->used += size;
	return memory;
}

char *vmat_arena_string(struct vmat_arena *arena, const char *text, size_t size)
{
	char *copy = size < SIZE_MAX ? vmat_arena_alloc(arena, size + 1) : NULL;

	if (copy && size)
		memcpy(copy, text, size);
	return copy;
}

VMAT_PRINTF(2, 0)

static char *arena_vprintf(struct vmat_arena *arena, const char *format, va_list args)
{
	va_list again;
	char *text = NULL;
	int size;

	va_copy(again, args);
	size = vsnprintf(NULL, 0, format, args);
	if (size >= 0)
		text = vmat_arena_alloc(arena, (size_t)size + 1);
	if (text)
		vsnprintf(text, (size_t)size + 1, format, again);
	va_end(again);
	return text;
}

char *vmat_arena_printf(struct vmat_arena *arena, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = arena_vprintf(arena, format, args);
	va_end(args);
	return text;
}

void vmat_strings_deinit(struct vmat_strings *strings)
{
	vmat_arena_deinit(&strings->arena);
	free(strings->slots);
	*strings = (struct vmat_strings){ 0 };
}

/* FNV-1a. */
static size_t hash_of(const char *text, size_t size)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
	return (size_t)(hash ^ hash >> 32);
}

/* The slot that holds the text, or the empty one where it belongs. There is always an empty one. */
static size_t slot_of(const char *const *slots, size_t slots_count, const char *text, size_t size)
{
	size_t i = hash_of(text, size) & (slots_count - 1);

	while (slots[i] && (strncmp(slots[i], text, size) != 0 || slots[i][size] != '\0'))
		i = (i + 1) & (slots_count - 1);
	return i;
}

static bool grow(struct vmat_strings *strings)
{
	size_t slots_count = strings->slots_count ? 2 * strings->slots_count : SLOTS_FIRST;
	const char **slots = calloc(slots_count, sizeof(*slots));

	if (!slots)
		return false;
	for (size_t i = 0; i < strings->slots_count; i++) {
		const char *text = strings->slots[i];

		if (text)
			slots[slot_of(slots, slots_count, text, strlen(text))] = text;
	}
	free(strings->slots);
	strings->slots = slots;
	strings->slots_count = slots_count;
	return true;
}

const char *vmat_strings_intern(struct vmat_strings *strings, const char *text, size_t size)
{
	size_t slot;

	/* A NUL within would make two different strings look equal: nothing behind it is kept. */
	size = strnlen(text, size);
	if (strings->count * 2 >= strings->slots_count && !grow(strings))
		return NULL;
	slot = slot_of(strings->slots, strings->slots_count, text, size);
	if (!strings->slots[slot]) {
		strings->slots[slot] = vmat_arena_string(&strings->arena, text, size);
		if (strings->slots[slot])
			strings->count++;
	}
	return strings->slots[slot];
}

const char *vmat_strings_printf(struct vmat_strings *strings, const char *format, ...)
{
	struct vmat_arena scratch = { 0 };
	const char *interned = NULL;
	char small[256];
	va_list args;
	int size;

	va_start(args, format);
	size = vsnprintf(small, sizeof(small), format, args);
	va_end(args);
	if (size < 0)
		return NULL;
	if ((size_t)size < sizeof(small))
		return vmat_strings_intern(strings, small, (size_t)size);
	va_start(args, format);
	char *text = arena_vprintf(&scratch, format, args);
	va_end(args);
	if (text)
		interned = vmat_strings_intern(strings, text, (size_t)size);
	vmat_arena_deinit(&scratch);
	return interned;
}
