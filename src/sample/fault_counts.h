/* SPDX-License-Identifier: MIT */
/*
 * fault_counts.h: how many samples each key had: pages, and instructions. A table of bounded size; what finds no room in it
 * is counted as such.
 */
#ifndef VMAT_FAULT_COUNTS_H
#define VMAT_FAULT_COUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmat_fault_count {
	uint64_t key;  /* 0: empty */
	uint64_t last; /* what the caller said of it the last time */
	uint32_t minor, major;
};

struct vmat_fault_counts {
	struct vmat_fault_count *slots;
	size_t used, slots_count, slots_max; /* powers of two */
	uint64_t left_out;
};

/* 0 or -ENOMEM. `slots_max`: a power of two; three quarters of it are used at most. */
int vmat_fault_counts_init(struct vmat_fault_counts *ret, size_t slots_max);
void vmat_fault_counts_deinit(struct vmat_fault_counts *counts);

/* key is not 0. */
void vmat_fault_counts_add(struct vmat_fault_counts *counts, uint64_t key, uint64_t last,
			   bool is_major);

#endif
