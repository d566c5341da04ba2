/* SPDX-License-Identifier: MIT */
/*
 * explanation.h: all that is known of one address, on all sheets: region, owner, pages, block, and the way from
 * a root to it.
 *
 * The nouns:
 *   reference  a word that holds the address of a block, or one into it, and where that word lies
 *   chain      references from a root to a block, each into the block that holds the next
 */
#ifndef VMATLAS_EXPLANATION_H
#define VMATLAS_EXPLANATION_H

#include <vmatlas/atlas.h>
#include <vmatlas/reach.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmat_reference {
	uint64_t addr; /* of the word; VMAT_UNKNOWN(VMAT_NOT_APPLICABLE) for a register */
	uint64_t
		block_addr; /* the block that holds it; VMAT_UNKNOWN(VMAT_NOT_APPLICABLE) for a root */
	uint64_t block_size;
	uint64_t block_offset; /* of the word in that block */
	uint64_t to_addr;      /* the block that it refers to */
	uint64_t to_size;
	bool is_into; /* it holds an address into that block, not its beginning */
	const char
		*type; /* what the block that holds it is, as in struct vmat_leak; "" for a root */
	const char *what; /* what the root is: "global `cache` in server.c"; "" for a block */
};

enum vmat_place_state {
	VMAT_PLACE_MAPPED,
	VMAT_PLACE_FREE,          /* in no region */
	VMAT_PLACE_NOT_CANONICAL, /* no processor takes it for an address */
	VMAT_PLACE_KERNEL,        /* in the kernel's half */
	VMAT_PLACE_STATES,
};

const char *vmat_place_state_name(enum vmat_place_state state);

enum vmat_reach_state {
	VMAT_REACH_UNKNOWN,  /* why_no_block, or the block is free */
	VMAT_REACH_REACHED,  /* by addresses of beginnings */
	VMAT_REACH_INTERIOR, /* only by an address into it, or into what leads to it */
	VMAT_REACH_HELD,     /* leaked; other leaked blocks refer to it */
	VMAT_REACH_LEAKED,   /* leaked; nothing refers to it */
	VMAT_REACH_STATES,
};

const char *vmat_reach_state_name(enum vmat_reach_state state);

enum { VMAT_CHAIN_MAX = 16, VMAT_REFERRERS_MAX = 16 };

struct vmat_explanation {
	uint64_t addr;
	enum vmat_place_state state;
	uint64_t start, end; /* of the region, or of the free range */
	size_t region;       /* index in the atlas's map; map->count when in none */
	const char *kind;    /* vmat_kind_name of the part; "" when not mapped */
	const char *owner;
	const char *why;  /* evidence of the kind; of a free range what lies around it */
	const char *name; /* symbol, place in a stack; "" when there is none */
	const char *name_why_not;

	bool is_page_known;
	uint32_t page_flags; /* enum vmat_page_flag */
	bool is_page_copied; /* a private copy of a page of the file */
	uint64_t page_size;  /* really in use */

	const char *why_no_block; /* "" when there is a block, else why not */
	struct vmat_chunk block;
	uint64_t block_offset; /* of addr behind what malloc returned; unknown in its header */
	const char *type;      /* as in struct vmat_leak; "" when not known */
	const char *preview;

	enum vmat_reach_state reach;
	struct vmat_reference
		chain[VMAT_CHAIN_MAX]; /* from the root on; in the middle some may be missing */
	size_t chain_count;
	uint64_t chain_total;
	struct vmat_reference referrers[VMAT_REFERRERS_MAX]; /* roots first */
	size_t referrers_count;
	uint64_t referrers_total; /* unknown when not looked for */
};

struct vmat_explanations {
	struct vmat_explanation *list;
	size_t count;
	uint64_t stopped_ns; /* unknown when the process was not stopped */
	bool is_partial;
	char partial_why[508];
	struct vmat_explanations_priv *priv;
};

/*
 * Explains the addresses. `atlas` has owners and pages. The process is stopped only when an address may lie in a
 * heap and options->heap.is_running_allowed is false; else blocks are unknown.
 *
 * Errors: as vmat_leaks_read, but for a heap that is not walked: then blocks are unknown.
 * Cost: as vmat_leaks_read, and a search over all references; 8 more bytes of our memory for each.
 */
int vmat_explanations_read(struct vmat_explanations **ret, struct vmat_target *target,
			   const struct vmat_atlas *atlas, const uint64_t *addrs, size_t count,
			   const struct vmat_leaks_options *options, struct vmat_error *err);
struct vmat_explanations *vmat_explanations_free(struct vmat_explanations *explanations);

#ifdef __cplusplus
}
#endif
#endif
