/* SPDX-License-Identifier: MIT */
/*
 * fault_places.h: the places that have page faults, while a profile is taken, and what the looks at the map show of them.
 *
 * A place begins as the region that holds a sampled address in the newest atlas, or as the page alone when nothing lies there
 * any more; a later look that finds a region over it makes it as wide as that. Places ascend and do not overlap.
 */
#ifndef VMAT_FAULT_PLACES_H
#define VMAT_FAULT_PLACES_H

#include <vmatlas/fault.h>

enum { VMAT_FAULT_PLACES_MAX = 4096, VMAT_FAULT_RECENT = 32 };

struct vmat_fault_spot {
	struct vmat_fault_place place;
	char path[128];  /* of the file that is mapped there */
	uint64_t looked; /* looks that have measured pages */
	uint64_t recent[VMAT_FAULT_RECENT];
	size_t recent_count; /* since the last look */
};

struct vmat_fault_places {
	struct vmat_fault_spot *spots; /* VMAT_FAULT_PLACES_MAX of them */
	size_t count;
	uint64_t page_size;
	bool is_full; /* addresses were left out */
};

/* 0 or -ENOMEM. */
int vmat_fault_places_init(struct vmat_fault_places *ret, uint64_t page_size);
void vmat_fault_places_deinit(struct vmat_fault_places *places);

/* A fault at addr; `atlas` is that of the newest look, or NULL. */
void vmat_fault_places_note(struct vmat_fault_places *places, const struct vmat_atlas *atlas,
			    uint64_t addr);

/* Compares the places with a new atlas, and looks at the pages that had faults since the last one. */
void vmat_fault_places_look(struct vmat_fault_places *places, const struct vmat_atlas *atlas,
			    struct vmat_target *target);

/* The place that holds addr, or NULL. */
struct vmat_fault_spot *vmat_fault_places_find(const struct vmat_fault_places *places,
					       uint64_t addr);

#endif
