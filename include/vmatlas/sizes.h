/* SPDX-License-Identifier: MIT */
/*
 * sizes.h: the size grid of an allocator: what requests become.
 *
 * The nouns:
 *   class  the requests that get the same usable size
 *   row    a class, or several that follow each other in equal steps
 */
#ifndef VMATLAS_SIZES_H
#define VMATLAS_SIZES_H

#include <vmatlas/map.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmat_size_row {
	uint64_t asked_from, asked_to; /* both included */
	uint64_t usable_from,
		usable_to; /* of the first class and of the last; unknown where the grid is not known */
	uint64_t step;     /* from one usable size to the next; 0: one class */
	uint64_t
		spare; /* the last bytes of a block that may be used, but whoever asks for them gets the next size */
	uint64_t waste;         /* the most bytes that a request gets and did not ask for */
	uint64_t waste_percent; /* of its block, the most, rounded up */
};

struct vmat_sizes {
	char allocator[32]; /* "" when it is not known */
	char why[252];      /* how the grid is known */
	char why_not[252];  /* why there are no rows; "" */
	uint64_t
		mmap_threshold; /* glibc: a request whose chunk is at least so large is mapped; unknown */
	struct vmat_size_row *rows;
	size_t count;
};

/*
 * Makes the rows of a grid up to requests of `max` bytes. `usable` gives the usable size of a request; it does not
 * fall from one request to the next larger one, and may be unknown from some request on. With has_classes each class
 * is a row. Errors: -ENOMEM.
 */
int vmat_sizes_build(struct vmat_sizes **ret, uint64_t (*usable)(uint64_t size, void *context),
		     void *context, uint64_t max, bool has_classes);

/*
 * The grid of the target, whose map (with VMAT_WANT_PAGES) is `map`: by its allocator's rule, and for glibc by the thresholds
 * of this process. An allocator whose rule is not known from outside is no error (why_not).
 * Errors: those of vmat_heap_read(), without stopping the target. Cost: as that, for its arenas are found on the way.
 */
int vmat_sizes_read(struct vmat_sizes **ret, struct vmat_target *target, const struct vmat_map *map,
		    uint64_t max, bool has_classes, struct vmat_error *err);

/* NULL is nothing. Returns NULL. */
struct vmat_sizes *vmat_sizes_free(struct vmat_sizes *sizes);

#ifdef __cplusplus
}
#endif
#endif
