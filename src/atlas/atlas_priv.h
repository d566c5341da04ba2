/* SPDX-License-Identifier: MIT */
/*
 * atlas_priv.h: an atlas that is being composed, for the files of this folder.
 *
 * Each of them looks at one source of evidence and claims ranges (vmat_atlas_claim). Claims are made
 * in the order of their strength: names of the kernel and files, stacks, heaps. What is claimed stays;
 * a later claim only gets what is still free. In the end atlas.c turns claims into owners and parts.
 */
#ifndef VMAT_ATLAS_PRIV_H
#define VMAT_ATLAS_PRIV_H

#include <vmatlas/atlas.h>

#include "base/arena.h"
#include "target/target_source.h"

struct vmat_claim {
	struct vmat_part part;
	size_t region;
	size_t order; /* a stronger claim was made before */
};

/* The first words of a region, which malloc's header would be. */
enum vmat_atlas_head {
	VMAT_HEAD_NONE, /* not looked for: its page was not there, or it is known what the region is */
	VMAT_HEAD_READ,
	VMAT_HEAD_UNREAD, /* could not be read though the page was there a moment before */
};

struct vmat_atlas_priv {
	struct vmat_strings strings;
	struct vmat_arena arena;   /* parts */
	struct vmat_claim *claims; /* by region and order once sorted */
	size_t claims_count;
	size_t claims_capacity;
	unsigned char *heads;       /* enum vmat_atlas_head, by region */
	struct vmat_target *target; /* while it is composed */
	unsigned word_size;
};

/*
 * Sets what a whole region is. `owner` and `why` live as long as the atlas, or for ever; NULL means
 * that there was no memory for them.
 */
int vmat_atlas_set(struct vmat_atlas *atlas, size_t region, enum vmat_kind kind, const char *owner,
		   const char *why);

/* Is it known already what the region is? */
static inline bool vmat_atlas_is_set(const struct vmat_atlas *atlas, size_t region)
{
	return atlas->owners[region].why != NULL;
}

/* Claims [start, end) of one or more regions, those that are not set as a whole. */
int vmat_atlas_claim(struct vmat_atlas *atlas, const struct vmat_part *part);

/*
 * Claims, around `addr`, what no other claim has of the region that holds it, 64 to 128 KiB to each side: for evidence that
 * speaks of one address where the kernel may have merged neighbours. `part` gives kind, owner, why and tid.
 */
int vmat_atlas_claim_rest(struct vmat_atlas *atlas, uint64_t addr, struct vmat_part part);

/* Makes owners and parts of the claims. 0 or -ENOMEM. */
int vmat_atlas_settle(struct vmat_atlas *atlas);

/* What the kernel and the files say: by name, backing and ELF headers. */
int vmat_atlas_add_files(struct vmat_atlas *atlas);

/* Stacks and guards of threads. */
int vmat_atlas_add_stacks(struct vmat_atlas *atlas);

/* The main thread's TLS. */
int vmat_atlas_add_tls(struct vmat_atlas *atlas);

/* Heaps of thread arenas and blocks that malloc mapped, by their own headers. */
int vmat_atlas_add_malloc(struct vmat_atlas *atlas);

/* What the dynamic loader keeps for itself. */
int vmat_atlas_add_loader(struct vmat_atlas *atlas);

/* A word of the target, when its page is present. */
bool vmat_atlas_read_words(struct vmat_atlas *atlas, uint64_t addr, uint64_t *words, size_t count);

#endif
