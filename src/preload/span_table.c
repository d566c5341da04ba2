/* SPDX-License-Identifier: MIT */
#include "preload/span_table.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	TOP_ENTRIES = 1 << (SPAN_ADDRESS_BITS - SPAN_MIDDLE_SHIFT),
	MIDDLE_ENTRIES = 1 << (SPAN_MIDDLE_SHIFT - SPAN_LEAF_SHIFT),
	SLAB_SIZE = 256 * 1024,
	SLAB_ALIGN = 64,
};

/*
 * An entry is 0 (nothing known below), a code in its upper bits and 1 in bit 0 (it holds for all below),
 * or a pointer to the next table.
 */
typedef _Atomic uintptr_t entry;

static entry top[TOP_ENTRIES];

/* A leaf of no address, so that the first look needs no test. */
static const struct vmat_span_leaf no_leaf = { .key = UINTPTR_MAX };

__thread const struct vmat_span_leaf *vmat_span_last __attribute__((tls_model("initial-exec"))) =
	&no_leaf;

static uintptr_t whole(uint8_t code)
{
	return code ? (uintptr_t)code << 1 | 1 : 0;
}

static bool is_table(uintptr_t value)
{
	return value && !(value & 1);
}

static uint8_t code_of(uintptr_t value)
{
	return (uint8_t)(value >> 1);
}

uint8_t vmat_span_find(uintptr_t addr)
{
	const struct vmat_span_leaf *leaf;
	uintptr_t value;

	if (addr >> SPAN_ADDRESS_BITS)
		return 0;
	/* Acquire: pairs with the release that publishes a table, whose contents must be seen. */
	value = atomic_load_explicit(&top[addr >> SPAN_MIDDLE_SHIFT], memory_order_acquire);
	if (is_table(value)) {
		entry *middle = (entry *)value;

		value = atomic_load_explicit(
			&middle[addr >> SPAN_LEAF_SHIFT & (MIDDLE_ENTRIES - 1)],
			memory_order_acquire);
	}
	if (!is_table(value))
		return code_of(value);
	leaf = (const struct vmat_span_leaf *)value;
	vmat_span_last = leaf;
	return vmat_span_of_leaf(leaf, addr);
}

/* A piece of memory that tables are cut from; its first bytes are this. */
struct slab {
	_Atomic size_t used;
};

/*
 * Memory that reads as zero and is never given back; NULL when there is none. By the bare system call:
 * mmap(2) of libc leads back to us. A signal handler may come in anywhere: it cuts elsewhere.
 */
static void *take_memory(size_t size)
{
	static struct slab *_Atomic current;
	struct slab *slab = atomic_load_explicit(&current, memory_order_relaxed);
	size_t at = SLAB_SIZE;
	long fresh;

	if (slab)
		at = atomic_fetch_add_explicit(&slab->used, size, memory_order_relaxed);
	if (at <= SLAB_SIZE - size)
		return (char *)slab + at;
	fresh = syscall(SYS_mmap, NULL, SLAB_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0L);
	if (fresh == -1)
		return NULL;
	slab = (struct slab *)fresh;
	atomic_init(&slab->used, SLAB_ALIGN + size);
	atomic_store_explicit(&current, slab, memory_order_relaxed);
	return (char *)slab + SLAB_ALIGN;
}

/*
 * The table behind an entry; one is made when there is none, with what held for all. NULL when there is
 * no memory: then nothing is known there any more.
 */
static void *split(entry *place, size_t size,
		   void (*fill)(void *table, uintptr_t key, uint8_t code), uintptr_t key)
{
	uintptr_t value = atomic_load_explicit(place, memory_order_relaxed);
	void *table;

	if (is_table(value))
		return (void *)value;
	table = take_memory(size);
	if (!table) {
		atomic_store_explicit(place, 0, memory_order_relaxed);
		return NULL;
	}
	fill(table, key, code_of(value));
	/* Release: see vmat_span_find. It fails when a signal handler on this thread was first: then its table holds. */
	if (!atomic_compare_exchange_strong_explicit(place, &value, (uintptr_t)table,
						     memory_order_release, memory_order_acquire))
		return is_table(value) ? (void *)value : NULL;
	return table;
}

static void fill_middle(void *table, uintptr_t key, uint8_t code)
{
	entry *middle = table;

	(void)key;
	for (size_t i = 0; code && i < MIDDLE_ENTRIES; i++)
		atomic_init(&middle[i], whole(code));
}

static void fill_leaf(void *table, uintptr_t key, uint8_t code)
{
	struct vmat_span_leaf *leaf = table;

	leaf->key = key;
	for (size_t i = 0; code && i < SPAN_LEAF_CODES; i++)
		atomic_init(&leaf->codes[i], code);
}

/* [start, end) lies within the 4 MiB of one entry. */
static void set_in_leaf(entry *place, uintptr_t start, uintptr_t end, uint8_t code)
{
	uintptr_t value = atomic_load_explicit(place, memory_order_relaxed);
	struct vmat_span_leaf *leaf;

	if (value == whole(code))
		return;
	if (end - start == (uintptr_t)1 << SPAN_LEAF_SHIFT && !is_table(value)) {
		atomic_store_explicit(place, whole(code), memory_order_relaxed);
		return;
	}
	leaf = split(place, sizeof(struct vmat_span_leaf), fill_leaf, start >> SPAN_LEAF_SHIFT);
	if (!leaf)
		return;
	for (uintptr_t at = start; at < end; at += 1 << SPAN_PAGE_SHIFT)
		atomic_store_explicit(&leaf->codes[at >> SPAN_PAGE_SHIFT & (SPAN_LEAF_CODES - 1)],
				      code, memory_order_relaxed);
}

static uintptr_t lower(uintptr_t a, uintptr_t b)
{
	return a < b ? a : b;
}

/* [start, end) lies within the 32 GiB of one entry. */
static void set_in_middle(entry *place, uintptr_t start, uintptr_t end, uint8_t code)
{
	uintptr_t value = atomic_load_explicit(place, memory_order_relaxed);
	entry *middle;

	if (value == whole(code))
		return;
	if (end - start == (uintptr_t)1 << SPAN_MIDDLE_SHIFT && !is_table(value)) {
		atomic_store_explicit(place, whole(code), memory_order_relaxed);
		return;
	}
	middle = split(place, MIDDLE_ENTRIES * sizeof(entry), fill_middle, 0);
	while (middle && start < end) {
		uintptr_t next = lower(end, ((start >> SPAN_LEAF_SHIFT) + 1) << SPAN_LEAF_SHIFT);

		set_in_leaf(&middle[start >> SPAN_LEAF_SHIFT & (MIDDLE_ENTRIES - 1)], start, next,
			    code);
		start = next;
	}
}

void vmat_span_set(uintptr_t start, uintptr_t end, uint8_t code)
{
	const uintptr_t page = (uintptr_t)1 << SPAN_PAGE_SHIFT;
	const uintptr_t limit = (uintptr_t)1 << SPAN_ADDRESS_BITS;

	end = lower(end, limit);
	end = (end + page - 1) & ~(page - 1);
	start &= ~(page - 1);
	while (start < end) {
		uintptr_t next =
			lower(end, ((start >> SPAN_MIDDLE_SHIFT) + 1) << SPAN_MIDDLE_SHIFT);

		set_in_middle(&top[start >> SPAN_MIDDLE_SHIFT], start, next, code);
		start = next;
	}
}

static bool is_of(uint8_t code, enum vmat_span_kind kind)
{
	return code && code >> 6 == (unsigned)kind;
}

static void forget_in_leaf(entry *place, enum vmat_span_kind kind)
{
	uintptr_t value = atomic_load_explicit(place, memory_order_relaxed);
	struct vmat_span_leaf *leaf = (struct vmat_span_leaf *)value;

	if (!is_table(value)) {
		if (is_of(code_of(value), kind))
			atomic_store_explicit(place, 0, memory_order_relaxed);
		return;
	}
	for (size_t i = 0; i < SPAN_LEAF_CODES; i++) {
		uint8_t code = atomic_load_explicit(&leaf->codes[i], memory_order_relaxed);

		if (is_of(code, kind))
			atomic_store_explicit(&leaf->codes[i], 0, memory_order_relaxed);
	}
}

void vmat_span_forget(enum vmat_span_kind kind)
{
	for (size_t i = 0; i < TOP_ENTRIES; i++) {
		uintptr_t value = atomic_load_explicit(&top[i], memory_order_relaxed);
		entry *middle = (entry *)value;

		if (!is_table(value)) {
			if (is_of(code_of(value), kind))
				atomic_store_explicit(&top[i], 0, memory_order_relaxed);
			continue;
		}
		for (size_t j = 0; j < MIDDLE_ENTRIES; j++)
			forget_in_leaf(&middle[j], kind);
	}
}
