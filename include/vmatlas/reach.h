/* SPDX-License-Identifier: MIT */
/*
 * reach.h: which blocks of a heap can still be reached, and which have leaked.
 *
 * A block is reachable when a root or a reachable block holds an address of it, or into it. Roots are the
 * registers and the used part of the stack of each thread, and all writable memory that is not heap. Nobody can
 * tell an address from a number that looks like one, so a block may be called reachable that is not; one
 * that is called leaked is referred to by no word of the process. Addresses that a program keeps encoded
 * (compressed, xored, in files or devices) cannot be seen.
 */
#ifndef VMATLAS_REACH_H
#define VMATLAS_REACH_H

#include <vmatlas/heap.h>
#include <vmatlas/stack.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmat_leak {
	uint64_t addr;           /* what malloc returned */
	uint64_t size;           /* that can be used */
	uint64_t indirect_count; /* blocks that only this one leads to */
	uint64_t indirect_bytes;
	/* a C++ class, "text", "pointers", "zeroes", "data"; "" when its page is absent */
	const char *type;
	char preview[40]; /* a text as it is, else the first words */
};

/* Leaks of one size and type. */
struct vmat_leak_group {
	const char *type;
	uint64_t size; /* of each */
	uint64_t count, bytes;
	uint64_t indirect_count, indirect_bytes; /* that these lead to */
	uint64_t addr;                           /* of the one with the lowest address */
};

struct vmat_leaks {
	struct vmat_heap *heap; /* the walk that it is about */
	struct vmat_leak *
		leaks; /* those that nothing refers to, the largest (with what hangs on them) first */
	size_t count;
	struct vmat_leak_group *groups; /* the largest (with what hangs on them) first */
	size_t groups_count;
	uint64_t direct_count, direct_bytes;
	uint64_t indirect_count, indirect_bytes;
	/* reached only by an address into them, none to their beginning: perhaps stale; not counted above */
	uint64_t interior_count, interior_bytes;
	uint64_t blocks;     /* in use, all that were judged */
	uint64_t root_bytes; /* memory that was searched for roots */
	bool is_partial;
	char partial_why[508];
	struct vmat_leaks_priv *priv;
};

/* Memory that is not to count as a root: [start, end). */
struct vmat_excluded {
	uint64_t start;
	uint64_t end;
};

struct vmat_leaks_options {
	size_t size;
	struct vmat_heap_options heap;
	const struct vmat_excluded *excluded; /* ascending, not overlapping */
	size_t excluded_count;
};

/*
 * Finds the leaks of the target. The process is stopped: without that there is no telling.
 *
 * Errors: as vmat_heap_read; -EOPNOTSUPP the heap is not walked (the text says why).
 * Cost: stops the process for about 0.6 s per GiB of heap; our own memory: a tenth of the heap.
 */
int vmat_leaks_read(struct vmat_leaks **ret, struct vmat_target *target, const struct vmat_map *map,
		    const struct vmat_leaks_options *options, struct vmat_error *err);
struct vmat_leaks *vmat_leaks_free(struct vmat_leaks *leaks);

#ifdef __cplusplus
}
#endif
#endif
