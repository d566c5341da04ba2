/* SPDX-License-Identifier: MIT */
/* fault_counts.c: see fault_counts.h. Open addressing, twice as large when it is three quarters full. */
#include "sample/fault_counts.h"

#include <errno.h>
#include <stdlib.h>

enum { SLOTS = 4096 };

int vmat_fault_counts_init(struct vmat_fault_counts *ret, size_t slots_max)
{
	*ret = (struct vmat_fault_counts){ .slots = calloc(SLOTS, sizeof(*ret->slots)),
					   .slots_count = SLOTS,
					   .slots_max = slots_max };
	return ret->slots ? 0 : -ENOMEM;
}

void vmat_fault_counts_deinit(struct vmat_fault_counts *counts)
{
	free(counts->slots);
	*counts = (struct vmat_fault_counts){ .slots = NULL };
}

static struct vmat_fault_count *slot_of(struct vmat_fault_count *slots, size_t count, uint64_t key)
{
	/* Fibonacci hashing: pages and instructions lie close to each other. */
	size_t i = (size_t)(key * 0x9e3779b97f4a7c15ULL >> 20) & (count - 1);

	while (slots[i].key && slots[i].key != key)
		i = (i + 1) & (count - 1);
	return &slots[i];
}

static bool double_slots(struct vmat_fault_counts *counts)
{
	size_t count = 2 * counts->slots_count;
	struct vmat_fault_count *slots;

	if (count > counts->slots_max)
		return false;
	slots = calloc(count, sizeof(*slots));
	if (!slots)
		return false;
	for (size_t i = 0; i < counts->slots_count; i++) {
		if (counts->slots[i].key)
			*slot_of(slots, count, counts->slots[i].key) = counts->slots[i];
	}
	free(counts->slots);
	counts->slots = slots;
	counts->slots_count = count;
	return true;
}

void vmat_fault_counts_add(struct vmat_fault_counts *counts, uint64_t key, uint64_t last,
			   bool is_major)
{
	struct vmat_fault_count *slot = slot_of(counts->slots, counts->slots_count, key);

	if (!slot->key) {
		if (counts->used >= counts->slots_count / 4 * 3) {
			if (!double_slots(counts)) {
				counts->left_out++;
				return;
			}
			slot = slot_of(counts->slots, counts->slots_count, key);
		}
		slot->key = key;
		counts->used++;
	}
	slot->last = last;
	if (is_major)
		slot->major++;
	else
		slot->minor++;
}
