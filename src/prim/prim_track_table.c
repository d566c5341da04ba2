/* SPDX-License-Identifier: MIT */
/*
 * prim_track_table.c: a bit for each page of a tracker, set by whoever hears of a write and taken by collect().
 *
 * A handler lets writes through and sets the bit under the lock, collect() clears the bit and arms the page under
 * the lock. So no write falls between a bit that is cleared and a page that is armed.
 */
#include <unistd.h>

#include "prim/prim_track_priv.h"
#include "sys/sys_signal.h"

/* Runs that are taken under one hold of the lock: a handler waits so long. */
enum { RUNS_AT_ONCE = 128, SPINS = 64, WORD_BITS = 64 };

/* Pages [first, end) of a tracker. */
struct run {
	size_t first;
	size_t end;
};

size_t vmat_track_add_run(struct vmat_range *runs, size_t have, char *start, char *end)
{
	if (have && runs[have - 1].end == start) {
		runs[have - 1].end = end;
		return have;
	}
	runs[have] = (struct vmat_range){ start, end };
	return have + 1;
}

void vmat_track_lock(struct vmat_track *track)
{
	pid_t self = getpid(), owner = 0;

	/* Acquire pairs with the release in unlock. A lock of another process was held by a thread that a
	 * fork did not bring along. */
	for (unsigned spin = 0; !atomic_compare_exchange_weak_explicit(
		     &track->locked_by, &owner, self, memory_order_acquire, memory_order_relaxed);
	     spin++) {
		if (owner == self)
			owner = 0;
		if (spin % SPINS == SPINS - 1)
			vmat_sys_yield();
	}
}

void vmat_track_unlock(struct vmat_track *track)
{
	atomic_store_explicit(&track->locked_by, 0, memory_order_release);
}

bool vmat_track_bit(const struct vmat_track *track, size_t page)
{
	return track->bits[page / WORD_BITS] >> (page % WORD_BITS) & 1;
}

/* Sets or clears `count` bits, a word at a time. */
static void change(struct vmat_track *track, size_t page, size_t count, bool is_set)
{
	while (count) {
		size_t first = page % WORD_BITS;
		size_t here = WORD_BITS - first < count ? WORD_BITS - first : count;
		uint64_t mask = (here == WORD_BITS ? ~0ULL : (1ULL << here) - 1) << first;

		if (is_set)
			track->bits[page / WORD_BITS] |= mask;
		else
			track->bits[page / WORD_BITS] &= ~mask;
		page += here;
		count -= here;
	}
}

void vmat_track_bits_set(struct vmat_track *track, size_t page, size_t count)
{
	change(track, page, count, true);
}

/* The first page from `page` on whose bit is `wanted`; track->pages when there is none. */
static size_t find(const struct vmat_track *track, size_t page, bool wanted)
{
	while (page < track->pages) {
		uint64_t word = track->bits[page / WORD_BITS];

		word = (wanted ? word : ~word) >> (page % WORD_BITS);
		if (word) {
			page += (size_t)__builtin_ctzll(word);
			return page < track->pages ? page : track->pages;
		}
		page += WORD_BITS - page % WORD_BITS;
	}
	return track->pages;
}

size_t vmat_track_bits_runs(const struct vmat_track *track)
{
	uint64_t carry = 0;
	size_t runs = 0;

	for (size_t i = 0; i * WORD_BITS < track->pages; i++) {
		uint64_t word = track->bits[i];

		/* A run begins where a bit is set and the one below it is not. */
		runs += (size_t)__builtin_popcountll(word & ~(word << 1 | carry));
		carry = word >> (WORD_BITS - 1);
	}
	return runs;
}

/* Arms what was taken, one run after the other or all of it at once. What cannot be armed stays written. */
static void arm_taken(struct vmat_track *track, const struct run *taken, size_t count)
{
	size_t at_once = track->ops->arms_spans ? count : 1;

	for (size_t i = 0; i < count; i += at_once) {
		size_t first = taken[i].first, end = taken[i + at_once - 1].end;

		if (track->ops->arm(track, first, end - first) == 0)
			continue;
		for (size_t k = i; k < i + at_once; k++)
			change(track, taken[k].first, taken[k].end - taken[k].first, true);
	}
}

/* Takes up to `count` runs from *page on. *page is then where to go on, track->pages at the end. */
static size_t take(struct vmat_track *track, size_t *page, struct run *taken, size_t count)
{
	size_t have = 0;

	vmat_track_lock(track);
	while (have < count) {
		size_t first = find(track, *page, true);

		*page = first;
		if (first == track->pages)
			break;
		*page = find(track, first, false);
		taken[have++] = (struct run){ first, *page };
		change(track, first, *page - first, false);
	}
	arm_taken(track, taken, have);
	vmat_track_unlock(track);
	return have;
}

ssize_t vmat_track_table_collect(struct vmat_track *track, struct vmat_range *runs, size_t count)
{
	size_t page = (size_t)(track->cursor - track->start) / track->page_size, have = 0;
	/* The caller's array may lie in the tracked range, so it is written without the lock. */
	struct run taken[RUNS_AT_ONCE];

	while (have < count && page < track->pages) {
		size_t wanted = count - have < RUNS_AT_ONCE ? count - have : RUNS_AT_ONCE, got;
		sigset_t mask;

		vmat_sys_signals_block(&mask);
		got = take(track, &page, taken, wanted);
		vmat_sys_signals_set(&mask);
		for (size_t i = 0; i < got; i++) {
			runs[have].start = track->start + taken[i].first * track->page_size;
			runs[have++].end = track->start + taken[i].end * track->page_size;
		}
		if (got < wanted)
			break;
	}
	track->cursor = have < count ? track->start : track->start + page * track->page_size;
	return (ssize_t)have;
}
